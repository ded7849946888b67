# SPDX-License-Identifier: MIT
"""What the monitor costs before its guest does anything: a machine of one CPU and 128 MiB that halts with its first
instructions, so that all processor time is the monitor's own.
"""
import os
import subprocess
import time

import machine

ROUNDS = 9
# At the reset vector: cli; hlt; jmp back.
ROM = bytearray(65536)
ROM[0xfff0:0xfff4] = b"\xfa\xf4\xeb\xfd"


def cpu_ms(pid):
    """Processor time of all threads."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/schedstat", encoding="ascii") as stat:
            total += int(stat.read().split()[0])
    return total / 1e6


def settled(pid):
    """Processor time once it grows no more."""
    before, now = -1.0, cpu_ms(pid)
    while now != before:
        time.sleep(0.1)
        before, now = now, cpu_ms(pid)
    return now


def measure(ringlet, engine, directory):
    """Milliseconds of processor time and KiB of memory from exec on, the least of some rounds; None: it
    does not start."""
    rom = os.path.join(directory, "halt.rom")
    with open(rom, "wb") as stream:
        stream.write(ROM)
    best = None
    for _ in range(ROUNDS):
        command = [ringlet, "run", "--accel", engine, "-c", "1", "-m", "128", "-f", rom]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            time.sleep(0.1)
            if process.poll() is not None:
                return None
            found = settled(process.pid), machine.monitor_kib(process.pid)
            process.kill()
        best = min(best, found) if best else found
    return best
