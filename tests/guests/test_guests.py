# SPDX-License-Identifier: MIT
"""The bare-metal guests of this directory, one item a guest and accelerator.

A guest ends by the debug-exit port; status 1 says that all its checks passed. What failed, it says
on its first serial port.
"""
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
GUESTS = sorted(f"{path.parent.name}/{path.stem}" for width in ("32", "64")
                for path in (HERE / width).glob("*.c") if path.stem != "ends")
ACCELERATORS = ["interp", "translate"]
# The two side by side, each stretch of translated code compared; only with one processor.
LOCKSTEP = "lockstep"
TIMEOUT_S = 120
PASSED = 1

# Those that want more than one processor.
CPUS = {"64/smp": 4}
SMP_RUNS = 40

# Of 32/ends: how the guest ends the machine, further options, the status that this gives.
ENDS = [
    ("cf9", [], 2),
    ("i8042", [], 2),
    ("port92", [], 2),
    ("reboot", ["--reboot"], PASSED),
    ("triple", [], 3),
    ("s5", [], 0),
    ("value", [], 21 << 1 | 1),
    ("big-value", [], (0x12345681 << 1 | 1) & 0xff),
]


@pytest.fixture(scope="session", name="run")
def _run(ringlet):
    """Runs a guest to its end."""
    images = pathlib.Path(ringlet).parent / "tests" / "guests"

    def run(guest, accel, *options):
        engine = ["--debug-lockstep"] if accel == LOCKSTEP else ["--accel", accel]
        command = [ringlet, "run", *engine, "--debug-exit", "--initrd", "none",
                   "--kernel", images / f"{guest}.guest", *options]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=TIMEOUT_S, check=False)
        return done.returncode, done.stdout + done.stderr

    return run


@pytest.mark.parametrize("guest,accel", [
    (guest, accel) for guest in GUESTS for accel in ACCELERATORS + [LOCKSTEP]
    if accel != LOCKSTEP or guest not in CPUS])
def test_checks(run, guest, accel):
    """All of a guest's checks pass."""
    cpus = CPUS.get(guest, 1)
    status, output = run(guest, accel, "--cpus", str(cpus), "--params", f"cpus={cpus}")
    assert status == PASSED, output


@pytest.mark.long
@pytest.mark.parametrize("cpus", [2, 4])
def test_processors_race(run, cpus):
    """Again and again: what two processors do to the same code at once goes wrong now and then."""
    for _ in range(SMP_RUNS):
        status, output = run("64/smp", "translate", "--cpus", str(cpus), "--params",
                             f"cpus={cpus}")
        assert status == PASSED, output


@pytest.mark.parametrize("accel", ACCELERATORS)
@pytest.mark.parametrize("end,options,want", ENDS, ids=[end for end, _, _ in ENDS])
def test_end(run, end, options, want, accel):
    """The machine ends as the guest wants it to."""
    status, output = run("32/ends", accel, "--params", f"end={end}", *options)
    assert status == want, output
