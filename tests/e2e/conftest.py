# SPDX-License-Identifier: MIT
"""What the end-to-end tests share: the guest's programs and files; machines that end with a test."""
import os
import pathlib
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("RINGLET_BUILD", ROOT / "build"))
sys.path.insert(0, str(HERE))

from guest import (  # noqa: E402  pylint: disable=wrong-import-position
    PARAMS, Guest, make_initramfs)
from modules import modules_of  # noqa: E402  pylint: disable=wrong-import-position


@pytest.fixture(scope="session")
def programs():
    """Paths of the static programs of guest/*.c, by name."""
    return {source.stem: BUILD / "tests/e2e" / source.stem for source in (HERE / "guest").glob("*.c")}


@pytest.fixture(scope="session")
def test_initramfs(programs, tmp_path_factory):
    """Path of an initramfs that runs what comes from the console."""
    target = tmp_path_factory.mktemp("initramfs") / "test.cpio"
    return make_initramfs(target, [(f"bin/{name}", path) for name, path in programs.items()])


@pytest.fixture(scope="session")
def linux_with(debian_kernel, programs, tmp_path_factory):
    """linux_with("virtio_blk", ...): what boots Debian's kernel with modules in its initramfs. The
    guest's command "load" loads them."""
    def arguments(*names, console="ttyS0", params=""):
        directory = tmp_path_factory.mktemp("initramfs")
        paths = modules_of(debian_kernel, names)
        load = directory / "load"
        load.write_text("#!/bin/sh -e\n" + "".join(f"insmod /lib/{path.name}\n" for path in paths))
        load.chmod(0o755)
        initramfs = make_initramfs(directory / "modules.cpio",
                                    [(f"lib/{path.name}", path) for path in paths]
                                    + [(f"bin/{name}", path) for name, path in programs.items()]
                                    + [("bin/load", load)])
        return ["-k", debian_kernel, "-i", initramfs, "-p",
                f"{PARAMS} {params}".strip().replace("ttyS0", console)]
    return arguments


def _starter(ringlet, directory):
    """A function that starts machines, and the list of those that it started."""
    guests = []

    def start(*args):
        guests.append(Guest(ringlet, *map(str, args), log=directory / f"console{len(guests)}"))
        return guests[-1]
    return start, guests


@pytest.fixture
def start(ringlet, tmp_path):
    """Starts machines that end with the test: start("-k", kernel, ...) is a Guest."""
    starter, guests = _starter(ringlet, tmp_path)
    yield starter
    for guest in guests:
        guest.close()


@pytest.fixture(scope="module")
def start_for_module(ringlet, tmp_path_factory):
    """The same for machines that several tests share."""
    starter, guests = _starter(ringlet, tmp_path_factory.mktemp("guests"))
    yield starter
    for guest in guests:
        guest.close()


@pytest.fixture(scope="session")
def linux(debian_kernel, test_initramfs):
    """What boots Debian's kernel with the test initramfs; linux("x=y") adds parameters."""
    def arguments(params=""):
        return ["-k", debian_kernel, "-i", test_initramfs, "-p", f"{PARAMS} {params}".strip()]
    return arguments
