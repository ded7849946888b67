# SPDX-License-Identifier: MIT
"""The bare-metal guests of this directory, one item a guest and accelerator.

A guest ends by the debug-exit port; status 1 says that all its checks passed. What it does
otherwise, it says on its first serial port.
"""
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
GUESTS = sorted(f"{path.parent.name}/{path.stem}" for width in ("32", "64")
                for path in (HERE / width).glob("*.c"))
ACCELERATORS = ["interp"]
TIMEOUT_S = 120
PASSED = 1

# CPUs of those that want more than one.
CPUS = {"64/smp": 4, "64/ipi": 2}
# How those end that end in another way than by their checks.
ENDS = {}


@pytest.fixture(scope="session")
def images(ringlet):
    """Directory of the built guests."""
    return pathlib.Path(ringlet).parent / "tests" / "guests"


@pytest.mark.parametrize("accel", ACCELERATORS)
@pytest.mark.parametrize("guest", GUESTS)
def test_guest(ringlet, images, guest, accel):
    """Runs a guest to its end."""
    command = [ringlet, "run", "--accel", accel, "--cpus", str(CPUS.get(guest, 1)), "--debug-exit",
               "--initrd", "none", "--kernel", images / f"{guest}.guest"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          errors="replace", timeout=TIMEOUT_S, check=False)
    assert done.returncode == ENDS.get(guest, PASSED), done.stdout + done.stderr
