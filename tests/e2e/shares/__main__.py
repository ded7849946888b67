# SPDX-License-Identifier: MIT
"""See __init__.py."""
import json
import os
import signal
import sys
import tempfile
import traceback

from . import CHECKS
from .tools import LIMITS, without


def run(name, directory):
    """None, or what went wrong."""
    os.umask(0o022)
    os.chmod(directory, 0o755)
    os.chdir(directory)
    try:
        CHECKS[name]()
        return None
    except Exception:  # pylint: disable=broad-except
        return traceback.format_exc()


def main(arguments):
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    while arguments and arguments[0] == "--without":
        assert arguments[1] in LIMITS
        without.add(arguments[1])
        arguments = arguments[2:]
    for name in CHECKS:
        directory = tempfile.mkdtemp(prefix=f"{name}-", dir=arguments[0])
        print(json.dumps([name, run(name, directory)]), flush=True)
        os.chdir("/")


main(sys.argv[1:])
