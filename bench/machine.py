# SPDX-License-Identifier: MIT
"""Running bench/*.c: on the host itself, and in machines that are started for it."""
import re
import subprocess
import threading
import time

TIMEOUT_S = 900
MEM_MIB = 512
# The guest's memory as QEMU calls its mapping; ours is private memory of about that size.
GUEST_RAM = re.compile(r"/memfd:(memory-backend-memfd|guest memory)\b")
GUEST_RAM_MIB = MEM_MIB - 4
MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)$")


class Failed(Exception):
    """A run that gave no results; the message says why."""


class Run:
    """What one start of the programs gave."""

    def __init__(self):
        self.times = {}      # nanoseconds an iteration, by program; None: it cannot run there
        self.checksums = {}
        self.boot_s = None   # from exec to init
        self.whole_s = None  # from exec to the monitor's end
        self.monitor_kib = None

    def add(self, other):
        """Takes another run's programs."""
        self.times.update(other.times)
        self.checksums.update(other.checksums)

    def take(self, line):
        """Takes a program's line; others are none of our business."""
        words = line.split()
        if not words or words[0] != "@bench":
            return
        if words[2:] == ["unusable"]:
            self.times[words[1]] = None
        elif len(words) == 5 and words[3].isdigit():
            self.times[words[1]] = int(words[3])
            self.checksums[words[1]] = words[4]
        else:
            raise Failed(line.strip())


def run_native(program, classes, budget_ms, environment):
    """The programs on the host."""
    run = Run()
    done = subprocess.run([program, "run", str(budget_ms), *classes], capture_output=True, text=True,
                          timeout=TIMEOUT_S, check=True, env=environment)
    for line in done.stdout.splitlines():
        run.take(line)
    return run


def accelerators(ringlet):
    """Those that the build has, KVM aside: it is not what we compare."""
    done = subprocess.run([ringlet, "version"], check=True, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        if line.startswith("accelerators:"):
            return [name for name in line.split()[1:] if name != "kvm"]
    raise Failed(f"{ringlet} version names no accelerators")


def command(engine, ringlet, kernel, initrd, cpus, params):
    """How a machine is started; engine is an accelerator of ours, or tcg for QEMU."""
    params = f"console=ttyS0 panic=-1 quiet no_timer_check cryptomgr.notests {params}"
    if engine != "tcg":
        return [ringlet, "run", "--accel", engine, "-k", kernel, "-i", initrd, "-c", str(cpus),
                "-m", f"{MEM_MIB}M", "-p", params]
    return ["qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-nodefaults", "-no-user-config",
            "-display", "none", "-serial", "stdio", "-no-reboot", "-smp", str(cpus), "-m",
            str(MEM_MIB), "-object", f"memory-backend-memfd,id=ram,size={MEM_MIB}M", "-machine",
            "pc,memory-backend=ram", "-kernel", kernel, "-initrd", initrd, "-append", params]


def monitor_kib(pid):
    """Resident memory of a monitor, without what is its guest's."""
    total, guest = 0, False
    with open(f"/proc/{pid}/smaps", encoding="utf-8") as smaps:
        for line in smaps:
            mapping = MAPPING.match(line)
            if mapping:
                size_mib = (int(mapping[2], 16) - int(mapping[1], 16)) >> 20
                guest = bool(GUEST_RAM.match(mapping[3])) or \
                    (not mapping[3] and GUEST_RAM_MIB <= size_mib <= MEM_MIB)
            elif line.startswith("Rss:") and not guest:
                total += int(line.split()[1])
    return total


def run_machine(argv):
    """Boots a machine whose init runs the programs, and waits for its end."""
    run, console = Run(), []
    start = time.monotonic()
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        late = threading.Timer(TIMEOUT_S, process.kill)
        late.start()
        try:
            for line in process.stdout:
                console.append(line)
                if line.startswith("@init"):
                    run.boot_s = time.monotonic() - start
                    run.monitor_kib = monitor_kib(process.pid)
                run.take(line)
        finally:
            late.cancel()
            process.kill()
    run.whole_s = time.monotonic() - start
    if not any(line.startswith("@done") for line in console):
        raise Failed(f"{argv[0]} ended early:\n" + "".join(console[-20:]))
    return run
