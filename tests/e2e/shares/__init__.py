# SPDX-License-Identifier: MIT
"""What POSIX and Linux promise of a file system, as checks that run in a directory of one, as root.

    python3 -m shares [--without LIMIT]... DIR

prints a line of JSON a check: its name, and null or what went wrong. A check has a directory of its own.
"""
from . import files, loads, names, rights  # noqa: F401  they enter their checks
from .tools import CHECKS  # noqa: F401
