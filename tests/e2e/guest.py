# SPDX-License-Identifier: MIT
"""A machine under test: ringlet run with its console on a pseudo-terminal.

The initramfs of these tests (guest/init) runs each line that comes from the console and says its
status, so sh() gives a command's output. Standard error is kept apart, since the guest's console
is on standard output.
"""
import itertools
import os
import pathlib
import pty
import re
import subprocess
import termios
import time

import pexpect
import pexpect.fdpexpect

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]

# The kernel's tests of its ciphers are long in an interpreter; test_kernel_log.py has them.
PARAMS = "console=ttyS0 panic=-1 quiet cryptomgr.notests"
BOOT_S = 120   # far more than any boot takes, also on a busy host
COMMAND_S = 60

# What must not be in a kernel's log.
BAD = re.compile(
    r"WARNING:|BUG:|Oops|Call Trace|general protection|unchecked MSR|rcu.*(stall|detected)|lockup"
    r"|clocksource.*unstable|[Cc]locksource.*skew|hung_task|blocked for more than|Kernel panic"
    r"|[Ff]irmware [Bb]ug|ACPI (BIOS )?(Error|Warning|Exception)|spurious|nobody cared"
    r"|Unable to handle|segfault|trap invalid opcode|TSC.*(fail|unsynch)|tsc:.*unstable"
    r"|not responding|timed? ?out|Bogus|BIOS bug|MCE|Hardware Error|No irq handler|do_IRQ")
# What looks like it and says the opposite.
FINE = re.compile(
    r"rcu:.*(Adjusting|RCU_|rcu_nocbs|calculated)|Spectre|MDS|spurious.*enabled|mce: CPU\d+"
    r"|MCE banks|MCE support|In-kernel MCE|using timed")


NO_KVM = re.compile(r"^ringlet: warn: .*; the engine '\w+' runs the CPUs\r?\n", re.MULTILINE)


def make_initramfs(target, added):
    """An initramfs that runs what comes from the console, with files: pairs of name and path."""
    subprocess.run([ROOT / "tools/make-initramfs", "--output", target,
                    "--init", HERE / "guest/init",
                    *itertools.chain(*(("--add", f"{name}={path}") for name, path in added))],
                   check=True, capture_output=True)
    return target


def bad_lines(log):
    """The lines of a kernel's log that tell of something wrong."""
    return [line for line in log.splitlines() if BAD.search(line) and not FINE.search(line)]


def on_screen(text):
    """A pattern for a text that a BIOS puts on its screen, which comes to the console as what has
    changed since the last look: the cursor may be set between any two letters."""
    return r"(?:\s|\x1b\[[\d;?]*[A-Za-z])*".join(map(re.escape, text))


class Guest:
    """ringlet run ARGS. Every Guest must be closed."""

    def __init__(self, program, *args, log):
        self.lines = 0
        self.log_path = log
        self.log = open(log, "ab")
        self.errors_path = log.with_suffix(".stderr")
        self.master, self.slave = self.fds = list(pty.openpty())
        self.termios = termios.tcgetattr(self.slave)
        with open(self.errors_path, "wb") as errors:
            self.process = subprocess.Popen([program, "run", *args], stdin=self.slave,
                                            stdout=self.slave, stderr=errors,
                                            start_new_session=True)
        self.console = pexpect.fdpexpect.fdspawn(self.master, timeout=COMMAND_S, encoding="utf-8",
                                                 codec_errors="replace", logfile=None)
        self.console.logfile_read = _Decoded(self.log)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.hang_up()
        self.log.close()

    def hang_up(self):
        """Closes our end of the terminal."""
        while self.fds:
            os.close(self.fds.pop())

    # ---- the console ----

    def expect(self, pattern, timeout=COMMAND_S):
        """Waits until the console shows a regular expression; the match."""
        deadline = time.monotonic() + timeout
        while True:
            what = self.console.expect([pattern, pexpect.TIMEOUT], timeout=1)
            if what == 0:
                return self.console.match
            if self.process.poll() is not None:
                raise AssertionError(f"ended with {self.process.returncode} before {pattern!r}:\n"
                                     + self.tail())
            if time.monotonic() > deadline:
                raise AssertionError(f"no {pattern!r} in {timeout} s:\n" + self.tail())

    def send(self, text):
        """Types."""
        os.write(self.master, text.encode())

    def ready(self, timeout=BOOT_S):
        """Waits for the end of the boot."""
        self.expect("::ready::\r\n", timeout)
        return self

    def sh(self, command, timeout=COMMAND_S, status=0):
        """Runs a line in the guest; its output. Lines that came too late before are passed over."""
        self.lines += 1
        self.send(command + "\n")
        match = self.expect(rf"::line {self.lines} status (\d+)::\r\n", timeout)
        output = self.console.before.replace("\r\n", "\n")
        assert int(match.group(1)) == status, f"{command}: status {match.group(1)}\n{output}"
        return output

    def dmesg(self):
        """The kernel's log."""
        return self.sh("dmesg")

    # ---- the process ----

    def wait(self, timeout=COMMAND_S):
        """Waits for the end; the exit status, negative for a signal."""
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"still runs after {timeout} s:\n" + self.tail())
            self.console.expect(pexpect.TIMEOUT, timeout=0.1)
        self.console.expect(pexpect.TIMEOUT, timeout=0)
        return self.process.returncode

    def cpu_seconds(self):
        """Processor time that all threads have used."""
        total = 0
        for task in os.listdir(f"/proc/{self.process.pid}/task"):
            with open(f"/proc/{self.process.pid}/task/{task}/schedstat", encoding="ascii") as stat:
                total += int(stat.read().split()[0])
        return total / 1e9

    def errors(self):
        """What is on standard error, without the line that says why it is not KVM."""
        return NO_KVM.sub("", self.errors_path.read_text(errors="replace"))

    def output(self):
        """All that the console has shown."""
        self.log.flush()
        return self.log_path.read_text(errors="replace")

    def tail(self):
        """For messages: the end of the console, and standard error."""
        return self.output()[-3000:] + "\n---- standard error:\n" + self.errors()[-2000:]


class _Decoded:
    """A text stream on top of a binary one."""

    def __init__(self, stream):
        self.stream = stream

    def write(self, text):
        self.stream.write(text.encode())

    def flush(self):
        self.stream.flush()
