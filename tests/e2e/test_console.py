# SPDX-License-Identifier: MIT
"""The console: keys, the terminal's state, other kinds of standard input, and how machines end."""
import os
import signal
import subprocess
import termios
import time

import pytest

from guest import NO_KVM, bad_lines
from waiting import wait_until

CTRL_A = "\x01"
LFLAG = 3


@pytest.fixture(name="spinning")
def spinning_fixture(start, tmp_path):
    """A machine that is there at once and does nothing: a firmware that loops."""
    firmware = tmp_path / "loop.bin"
    image = bytearray(b"\xf4" * 65536)
    image[0xfff0:0xfff2] = b"\xeb\xfe"  # 1: jmp 1b
    firmware.write_bytes(image)
    guest = start("-f", firmware)
    wait_until(lambda: is_raw(guest), timeout=30)
    return guest


def is_raw(guest):
    return not termios.tcgetattr(guest.slave)[LFLAG] & (termios.ICANON | termios.ECHO)


def assert_restored(guest):
    assert termios.tcgetattr(guest.slave) == guest.termios


# ---- keys and signals ----

def test_ctrl_a_x_quits(spinning):
    spinning.send(CTRL_A + "x")
    assert spinning.wait() == 0
    assert_restored(spinning)


def test_ctrl_a_h_helps(spinning):
    spinning.send(CTRL_A + "h")
    spinning.expect("Ctrl-A x")
    spinning.send(CTRL_A + "x")
    assert spinning.wait() == 0
    assert "\n" in spinning.output()


def test_ctrl_c_is_the_guests(spinning):
    spinning.send("\x03\x1c\x1a")
    time.sleep(0.3)
    assert spinning.process.poll() is None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_leaves_the_terminal_as_it_was(spinning, number):
    spinning.process.send_signal(number)
    assert spinning.wait() == -number
    assert_restored(spinning)


def test_an_error_leaves_the_terminal_as_it_was(start):
    guest = start("-k", "/etc/passwd")
    assert guest.wait() == 1
    assert_restored(guest)


# ---- a session as a user has it ----

def test_an_interactive_shell(start, debian_kernel, shell_initramfs):
    """Typed commands, a job stopped by Ctrl-C, Ctrl-A sent on, SysRq by a break; then the end."""
    guest = start("-k", debian_kernel, "-i", shell_initramfs, "-p", "cryptomgr.notests quiet")
    guest.expect("# ", 120)
    guest.send("echo $((6 * 7))\r")
    guest.expect("\r\n42\r\n")
    guest.send("sleep 1000\r")
    time.sleep(1)
    guest.send("\x03")
    guest.expect("# ")
    guest.send("echo st$?atus\r")
    guest.expect("\r\nst130atus\r\n")
    guest.send("head -n 1 | cat -v\r")
    time.sleep(0.5)
    guest.send(f"<{CTRL_A}a{CTRL_A}{CTRL_A}>\r")
    guest.expect(r"\r\n<\^A\^A>\r\n")
    guest.send(f"{CTRL_A}bh")
    guest.expect("sysrq: HELP")
    guest.send("exit\r")
    assert guest.wait() == 0
    assert guest.errors() == ""
    assert_restored(guest)


def test_a_terminal_that_goes_away(spinning):
    """The machine does not outlive it, whoever was told by a signal."""
    spinning.hang_up()
    assert spinning.process.wait(60) == 0


# ---- standard input that is no terminal ----

@pytest.fixture(name="pipe_run")
def pipe_run_fixture(ringlet, linux):
    """Starts a guest with this standard input and pipes for the rest; ends it with the test."""
    processes = []

    def run(stdin):
        processes.append(subprocess.Popen([ringlet, "run", *map(str, linux())], stdin=stdin,
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE))
        return processes[-1]
    yield run
    for process in processes:
        process.kill()
        process.communicate()


def test_input_from_a_pipe(pipe_run):
    """All of it reaches the guest, who is not ready yet when it comes; its end ends nothing."""
    reader, writer = os.pipe()
    os.write(writer, b"echo one $((1 + 1))\nsleep 1\npoweroff -f\n")
    os.close(writer)
    process = pipe_run(reader)
    os.close(reader)
    output, errors = process.communicate(timeout=180)
    assert b"one 2" in output
    assert process.returncode == 0 and not NO_KVM.sub("", errors.decode())


def test_input_at_its_end(pipe_run):
    """With nothing on standard input, the guest boots all the same, and goes on."""
    process = pipe_run(subprocess.DEVNULL)
    for line in process.stdout:
        if b"::ready::" in line:
            break
    time.sleep(0.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM and not NO_KVM.sub("", errors.decode())


# ---- how machines end ----

def test_reset_ends_the_machine_with_status_2(start, linux):
    guest = start(*linux())
    guest.ready()
    guest.send("reboot -f\n")
    assert guest.wait() == 2
    assert guest.errors() == ""
    assert_restored(guest)


def test_reboot_starts_again(start, linux):
    """Twice, on two CPUs; each time all of the machine is as new."""
    guest = start(*linux(), "--reboot", "-c", 2)
    for _ in range(2):
        guest.ready()
        guest.lines = 0
        assert guest.sh("nproc").strip() == "2"
        assert guest.sh("test -e /tmp/mark", status=1) == ""
        assert not bad_lines(guest.dmesg())
        guest.sh("touch /tmp/mark")
        guest.send("reboot -f\n")
    guest.ready()
    guest.send("poweroff -f\n")
    assert guest.wait() == 0
    assert guest.errors() == ""


def test_panic(start, linux):
    """With panic=-1 Linux resets the machine: EXIT STATUS in the manual."""
    guest = start(*linux())
    guest.ready()
    guest.send("echo c >/proc/sysrq-trigger\n")
    assert guest.wait() == 2
    assert "Kernel panic - not syncing: sysrq triggered crash" in guest.output()


def test_triple_fault(start, linux):
    guest = start(*linux("reboot=t"))
    guest.ready()
    guest.send("reboot -f\n")
    assert guest.wait() == 3
    assert "triple fault" in guest.errors()


@pytest.mark.long
@pytest.mark.parametrize("way", ["k", "p", "a"])
def test_every_way_to_reset(start, linux, way):
    """By keyboard controller, port 0xcf9, ACPI reset register."""
    guest = start(*linux(f"reboot={way}"))
    guest.ready()
    guest.send("reboot -f\n")
    assert guest.wait() == 2
