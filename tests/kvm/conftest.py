# SPDX-License-Identifier: MIT
"""Machines with KVM in them, shared by the tests of a run: see nested.py."""
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from nested import Nested, available  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture(scope="session")
def make_nested(ringlet, debian_kernel, tmp_path_factory):
    """A Nested that has the bare-metal guests, too."""
    if available():
        pytest.skip(available())

    def make():
        nested = Nested(ringlet, debian_kernel, tmp_path_factory.mktemp("nested"))
        for image in (pathlib.Path(ringlet).parent / "tests/guests").glob("*/*.guest"):
            nested.files[f"guests/{image.parent.name}-{image.stem}"] = image
        return nested
    return make
