# SPDX-License-Identifier: MIT
"""Compilers in the guest that make code as they run: they compute there what they compute here."""
import itertools
import pathlib
import re
import shutil
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
MINUTES = 600


def libraries(program):
    """The shared libraries that a program is loaded with, its loader included."""
    listing = subprocess.run(["ldd", program], check=True, capture_output=True, text=True).stdout
    return re.findall(r"(/\S+) \(0x", listing)


@pytest.fixture(scope="session", name="with_program")
def with_program_fixture(debian_kernel, tmp_path_factory):
    """What boots a machine whose initramfs has a program of this host, and a file for it."""
    def arguments(program, script, params=""):
        target = tmp_path_factory.mktemp("initramfs") / "jit.cpio"
        files = [program, *libraries(program)]
        added = [f"{name}={name}" for name in files] + [f"work={HERE / 'jit' / script}"]
        subprocess.run([ROOT / "tools/make-initramfs", "--output", target,
                        "--init", HERE / "guest/init",
                        *itertools.chain(*(("--add", one) for one in added))],
                       check=True, capture_output=True)
        return ["-k", debian_kernel, "-i", target,
                "-p", f"console=ttyS0 panic=-1 quiet cryptomgr.notests {params}".strip()]
    return arguments


def needed(name):
    program = shutil.which(name)
    assert program, f"no {name}: make deps installs it"
    return program


def output_here(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_luajit(start, with_program):
    """Traces made, left, flushed and made anew in the same memory; with two CPUs, two at once."""
    luajit = needed("luajit")
    guest = start(*with_program(luajit, "work.lua"), "-c", 2).ready()
    want = output_here(luajit, HERE / "jit/work.lua", "5")
    guest.sh(f"{luajit} /work 5 >/tmp/other & {luajit} /work 5 >/tmp/this; wait", timeout=MINUTES)
    assert guest.sh("cat /tmp/this") == want
    assert guest.sh("cat /tmp/other") == want


@pytest.mark.long
def test_luajit_in_lockstep(start, with_program):
    """Every stretch of translated code compared with the interpreter, while the code changes."""
    luajit = needed("luajit")
    guest = start(*with_program(luajit, "work.lua"), "--debug-lockstep").ready(MINUTES)
    want = output_here(luajit, HERE / "jit/work.lua", "1")
    assert guest.sh(f"{luajit} /work 1", timeout=MINUTES) == want
    guest.send("poweroff -f\n")
    assert guest.wait(MINUTES) == 0
    assert "differ" not in guest.errors()


@pytest.mark.long
def test_node(start, with_program):
    """V8: four compilers, code that is patched, thrown away and moved, on several threads."""
    node = needed("node")
    guest = start(*with_program(node, "work.js"), "-c", 2, "-m", "1G").ready()
    assert guest.sh(f"{node} /work", timeout=MINUTES) == output_here(node, HERE / "jit/work.js")
