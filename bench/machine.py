# SPDX-License-Identifier: MIT
"""Running bench/*.c: on the host itself, and in machines that are started for it."""
import re
import subprocess
import threading
import time

TIMEOUT_S = 900  # of all commands of every day
TURN_S = 100     # of a start, or one program
MEM_MIB = 512
# The guest's memory as QEMU calls its mapping; ours is private memory of about that size.
GUEST_RAM = re.compile(r"/memfd:(memory-backend-memfd|guest memory)\b")
GUEST_RAM_MIB = MEM_MIB - 4
MAPPING = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \S+ *(.*)$")


class Failed(Exception):
    """A run that gave no results; the message says why."""


class Run:
    """What the programs gave in one round, and how the first machine started, if there was one."""

    def __init__(self):
        self.times = {}      # nanoseconds an iteration, by program; None: it cannot run there
        self.checksums = {}
        self.boot_s = None   # from exec to init
        self.monitor_kib = None

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


class Host:
    """The host itself."""

    def __init__(self, program, budget_ms, environment):
        self.argv, self.environment = [program, "run", str(budget_ms)], environment

    def turn(self, name, run):
        """Runs a program; its result goes to run."""
        done = subprocess.run([*self.argv, name], capture_output=True, text=True, timeout=TURN_S,
                              check=True, env=self.environment)
        for line in done.stdout.splitlines():
            run.take(line)

    def close(self):
        """Nothing is left of it."""


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


class Guest:
    """A machine whose init runs programs that it is told. run gets what its start costs."""

    def __init__(self, argv, run):
        self.console = []
        start = time.monotonic()
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True, errors="replace")
        try:
            self._await("@init")
            run.boot_s = run.boot_s or time.monotonic() - start
            run.monitor_kib = run.monitor_kib or monitor_kib(self.process.pid)
            self._await("@ready")
        except BaseException:
            self.close()
            raise

    def _await(self, word, run=None):
        """Reads the console up to a line that begins with word."""
        late = threading.Timer(TURN_S, self.process.kill)
        late.start()
        try:
            for line in self.process.stdout:
                self.console.append(line)
                if line.startswith(word):
                    return
                if run:
                    run.take(line)
        finally:
            late.cancel()
        raise Failed(f"{self.process.args[0]} ended early:\n" + "".join(self.console[-20:]))

    def turn(self, name, run):
        """Runs a program; its result goes to run."""
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        self._await("@ready", run)

    def close(self):
        """Its end, whatever it is doing."""
        self.process.kill()
        self.process.communicate()
