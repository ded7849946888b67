# SPDX-License-Identifier: MIT
"""The bare-metal guests of this directory, one item a guest and accelerator.

A guest ends by the debug-exit port; status 1 says that all its checks passed. What failed, it says
on its first serial port.
"""
import pathlib
import re
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


def test_high_is_mapped(run):
    """What 64/high reads, it reads by the host's MMU: else its checks would say nothing of that."""
    status, output = run("64/high", "translate", "--stats")
    mapped = re.search(r"host mappings: (\d+) made, (\d+) reads missed", output)
    assert status == PASSED and mapped, output
    assert int(mapped[1]) > 3000
    # One for each that is made, and a few for each place that turns out to read something else.
    assert int(mapped[2]) < int(mapped[1]) + 300


def test_misses_end(run):
    """Who misses again and again is left alone: 100000 reads do not miss each time."""
    status, output = run("64/misses", "translate", "--stats")
    missed = re.search(r"host mappings: \d+ made, (\d+) reads missed", output)
    assert status == PASSED and missed, output
    assert int(missed[1]) < 50000


def test_misses_end_when_code_is_full(run):
    """What is learnt when no code can be made is not found out again and again until some can."""
    status, output = run("64/full", "translate", "--stats", "--code-cache", "1M")
    missed = re.search(r"host mappings: \d+ made, (\d+) reads missed", output)
    thrown = re.search(r"thrown away as a whole (\d+) times", output)
    assert status == PASSED and missed and thrown, output
    assert int(thrown[1]) > 0
    assert int(missed[1]) < 3000


def test_addresses_are_left(ringlet):
    """Of 128 TiB of addresses, a machine with many processors leaves some for all else."""
    image = pathlib.Path(ringlet).parent / "tests" / "guests" / "64" / "places.guest"
    command = [ringlet, "run", "--accel", "translate", "--initrd", "none", "--cpus", "9",
               "--params", "cpus=9", "--kernel", image]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True) as machine:
        try:
            said = next((at for at in machine.stdout if "ready" in at or "failed" in at), "")
            status = pathlib.Path(f"/proc/{machine.pid}/status").read_text(encoding="ascii")
        finally:
            machine.kill()
    assert "ready" in said
    assert int(re.search(r"VmSize:\s+(\d+) kB", status)[1]) < 60 << 30


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
