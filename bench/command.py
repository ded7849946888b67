# SPDX-License-Identifier: MIT
"""Commands with this machine's files, by 'ringlet run --', and by QEMU with the same files over 9p."""
import pathlib
import statistics
import subprocess
import time

import machine

ROUNDS = 3
CLASS = "commands"
COMMANDS = pathlib.Path(__file__).resolve().parent / "commands"


def names():
    """Of the commands of every day."""
    return subprocess.run([COMMANDS, "list"], check=True, capture_output=True, text=True).stdout.split()


def command(engine, ringlet, kernel, initrd, program):
    if engine == "native":
        return [program]
    if engine != "tcg":
        return [ringlet, "run", "--accel", engine, "-k", kernel, "-m", f"{machine.MEM_MIB}M", "--", program]
    return machine.command(engine, ringlet, kernel, initrd, 1, f"bench_storage=1 bench_command={program}") + [
        "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap", "-device",
        "virtio-9p-pci,fsdev=root,mount_tag=share"]


def run(engine, ringlet, kernel, initrd, program):
    """What it writes; none but ours gives a status."""
    done = subprocess.run(command(engine, ringlet, kernel, initrd, program), stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, errors="replace", timeout=machine.TIMEOUT_S,
                          check=False)
    if done.returncode or (engine == "tcg" and "@done" not in done.stdout):
        raise machine.Failed(f"'{program}' failed by {engine}: {done.stdout[-2000:]}{done.stderr}")
    return done.stdout


def measure(ringlet, engine, kernel, initrd):
    """Seconds that a command takes which does nothing: the median of some rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.monotonic()
        run(engine, ringlet, kernel, initrd, "/bin/true")
        times.append(time.monotonic() - start)
    return statistics.median(times)


def everyday(ringlet, engine, kernel, initrd, result):
    """The commands of every day; what they took goes to result."""
    for line in run(engine, ringlet, kernel, initrd, str(COMMANDS)).splitlines():
        result.take(line)
