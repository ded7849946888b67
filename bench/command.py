# SPDX-License-Identifier: MIT
"""A command with this machine's files, from nothing to its status: 'ringlet run -- true', and the same by QEMU."""
import statistics
import subprocess
import time

import machine

ROUNDS = 3


def command(engine, ringlet, kernel, initrd):
    if engine != "tcg":
        return [ringlet, "run", "--accel", engine, "-k", kernel, "-m", f"{machine.MEM_MIB}M", "--", "true"]
    return machine.command(engine, ringlet, kernel, initrd, 1, "bench_storage=1 bench_command=/bin/true") + [
        "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap", "-device",
        "virtio-9p-pci,fsdev=root,mount_tag=share"]


def measure(ringlet, engine, kernel, initrd):
    """Seconds: the median of some rounds."""
    times = []
    for _ in range(ROUNDS):
        start = time.monotonic()
        done = subprocess.run(command(engine, ringlet, kernel, initrd), stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=machine.TIMEOUT_S, check=False)
        times.append(time.monotonic() - start)
        if done.returncode or (engine == "tcg" and b"@done" not in done.stdout):
            raise machine.Failed(f"'true' failed by {engine}: {done.stderr.decode(errors='replace')}")
    return statistics.median(times)
