# SPDX-License-Identifier: MIT
"""A program (direct/) does the same here, translated, and run as it is by a cell (docs/DIRECT.md).

A case is a line. Lines that begin with ~ tell what a machine has of its own: they are compared
between machines alone.
"""
import functools
import os
import pathlib
import re
import subprocess

import pytest

from guest import PARAMS, make_initramfs

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = pathlib.Path(os.environ.get("RINGLET_BUILD", ROOT / "build")) / "tests/e2e/direct"
MINUTES = 600


def groups():
    """The names of all groups of cases, those that take long marked so."""
    listing = subprocess.run([PROGRAM, "--list"], check=True, capture_output=True, text=True)
    for line in listing.stdout.splitlines():
        name, _, slow = line.partition(" ")
        yield pytest.param(name, marks=[pytest.mark.long] if slow else [])


@functools.cache
def lines_here(group):
    """What the group's cases say on this machine."""
    return subprocess.run([PROGRAM, group], check=True, capture_output=True, text=True,
                          timeout=MINUTES).stdout.splitlines()


@pytest.fixture(scope="module", name="initramfs")
def initramfs_fixture(tmp_path_factory):
    """One with the program."""
    return make_initramfs(tmp_path_factory.mktemp("initramfs") / "direct.cpio",
                          [("bin/direct", PROGRAM)])


@pytest.fixture(scope="module", name="machine")
def machine_fixture(start_for_module, debian_kernel, initramfs):
    """machine("always", 2) is a machine with the program, started when it is first asked for."""
    @functools.cache
    def started(direct, cpus, params=""):
        return start_for_module("-k", debian_kernel, "-i", initramfs, "-p",
                                f"{PARAMS} vsyscall=xonly {params}", "-m", "1G",
                                "--accel", "translate", "--direct", direct, "-c", cpus).ready()
    return started


@pytest.fixture(scope="module", name="lines_in")
def lines_in_fixture(machine):
    """What the group's cases say in a machine."""
    @functools.cache
    def lines(group, *what):
        return machine(*what).sh(f"direct {group}", timeout=MINUTES).splitlines()
    return lines


def compared(lines):
    """Those that are the same on all machines."""
    return [line for line in lines if not line.startswith("~")]


def check(lines_in, group, *what):
    """What every machine says, and what our own machines say of themselves."""
    lines = lines_in(group, *what)
    assert compared(lines) == compared(lines_here(group))
    assert lines == lines_in(group, "never", 1)


@pytest.mark.parametrize("direct, cpus", [("never", 1), ("always", 1), ("always", 2)])
@pytest.mark.parametrize("group", groups())
def test_same(lines_in, group, direct, cpus):
    check(lines_in, group, direct, cpus)


def test_brief_runs_are_translated(start_for_module, debian_kernel, initramfs):
    """A program that has a cell does not use it for runs that are not worth it: the same results."""
    guest = start_for_module("-k", debian_kernel, "-i", initramfs, "-p", PARAMS, "-m", "1G",
                             "--accel", "translate", "-c", "1", "--stats").ready()
    assert guest.sh("direct runs", timeout=MINUTES).splitlines() == lines_here("runs")
    guest.send("poweroff -f\n")
    assert guest.wait(MINUTES) == 0
    entered, brief = re.search(r"entered (\d+).* brief runs translated (\d+)", guest.errors()).groups()
    assert int(entered) > 100 and int(brief) > 1000


@pytest.mark.long
@pytest.mark.parametrize("direct, params", [("auto", ""), ("always", "pti=on"), ("always", "nopcid")])
@pytest.mark.parametrize("group", groups())
def test_same_in_other_machines(lines_in, group, direct, params):
    """Now in a cell and now not; and with tables that the guest's kernel switches in other ways."""
    check(lines_in, group, direct, 2, params)
