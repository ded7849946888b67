# SPDX-License-Identifier: MIT
"""Commands in a machine that runs, and files to and from it."""
import concurrent.futures
import os
import pty
import signal
import struct
import subprocess
import termios
import time

import pexpect
import pexpect.fdpexpect
import pytest

from guest import BOOT_S
from named_machine import COMMAND_S, Machine
from waiting import wait_until


@pytest.fixture(scope="module", name="machine")
def machine_fixture(ringlet, debian_kernel, tmp_path_factory):
    machine = Machine(ringlet, debian_kernel, tmp_path_factory.mktemp("exec"), "-c", "2")
    machine.exec("true")
    yield machine
    machine.close()


def runs(machine, pattern):
    """Whether a process of such a command line runs in the guest."""
    return machine.exec("pgrep", "-f", "-x", pattern).returncode == 0


# ---- streams and statuses ----

def test_streams_are_apart(machine):
    done = machine.exec("--", "sh", "-c", "tr a-z A-Z; echo err >&2; exit 7", input=b"some input")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"SOME INPUT", b"err\n")


@pytest.mark.parametrize("script, status", [("exit 0", 0), ("exit 255", 255), ("kill -9 $$", 137),
                                            ("kill -TERM $$", 143), ("exec nosuch", 127)])
def test_statuses(machine, script, status):
    assert machine.exec("sh", "-c", script).returncode == status


def test_what_cannot_run(machine):
    done = machine.exec("/nonexistent")
    assert (done.returncode, done.stdout) == (127, b"")
    assert done.stderr == b"ringlet: cannot run /nonexistent: No such file or directory\n"
    assert machine.exec("/etc/passwd").returncode == 126


def test_many_bytes_both_ways(machine):
    data = os.urandom(100_000_000)
    done = machine.exec("cat", input=data)
    assert done.returncode == 0 and done.stdout == data and done.stderr == b""


def test_output_that_cannot_be_written(machine):
    """A full disk is told of; a reader who has gone is nobody to tell."""
    with open("/dev/full", "wb") as full, machine.popen("exec", machine.name, "echo", "x", stdout=full,
                                                        stderr=subprocess.PIPE) as client:
        assert client.stderr.read() == (b"ringlet: error: cannot write standard output: "
                                        b"No space left on device\n")
    assert client.returncode != 0
    with machine.popen("exec", machine.name, "yes", stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE) as client:
        client.stdout.read(100)
        client.stdout.close()
        assert client.stderr.read() == b""
    assert client.returncode == -signal.SIGPIPE


def test_input_that_nobody_reads(machine):
    done = machine.exec("echo", "done", input=bytes(10_000_000))
    assert (done.returncode, done.stdout) == (0, b"done\n")


def test_input_that_is_read_late(machine):
    done = machine.exec("sh", "-c", "sleep 1; wc -c", input=bytes(5_000_000))
    assert done.stdout == b"5000000\n"


def test_output_of_who_stays(machine):
    """What was started in the background does not keep the command from ending."""
    done = machine.exec("sh", "-c", "sleep 500 & echo started")
    assert (done.returncode, done.stdout) == (0, b"started\n")
    machine.exec("pkill", "-x", "sleep", "-n")


def test_several_at_once(machine):
    def one(number):
        return machine.exec("sh", "-c", f"cat; echo {number}; sleep 0.2; exit {number}",
                            input=str(number).encode() * 50000)

    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        for number, done in enumerate(pool.map(one, range(12))):
            assert done.returncode == number
            assert done.stdout == str(number).encode() * 50000 + f"{number}\n".encode()


def test_a_reader_that_goes_away(machine):
    """As a program here would, it dies of SIGPIPE; so does what ran in the guest, of its end."""
    with machine.popen("exec", machine.name, "yes", "unread", stdout=subprocess.PIPE) as client:
        assert client.stdout.read(7) == b"unread\n"
        client.stdout.close()
        assert client.wait(COMMAND_S) == -signal.SIGPIPE
    wait_until(lambda: not runs(machine, "yes unread"), "it runs on")


def test_a_reader_that_is_slow(machine):
    with machine.popen("exec", machine.name, "sh", "-c", "seq 200000; echo end >&2",
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE) as client:
        time.sleep(1)
        assert machine.exec("echo", "others").stdout == b"others\n"
        assert client.stdout.read().split() == [str(n).encode() for n in range(1, 200001)]
        assert client.stderr.read() == b"end\n"


# ---- surroundings ----

def test_surroundings(machine):
    script = "echo $HOME $USER $GREETING; id -u; pwd; ls -l /proc/self/fd | wc -l"
    done = machine.exec("--env", "GREETING=hello", "--", "sh", "-c", script)
    assert done.stdout.decode().splitlines()[:3] == ["/root root hello", "0", os.getcwd()]
    # 0, 1, 2, the directory itself, and ls's first line
    assert done.stdout.decode().splitlines()[3] == "5"
    done = machine.exec("--user", "nobody", "--cwd", "/tmp", "--", "sh", "-c", script + "; id -g")
    assert done.stdout.decode().splitlines()[:3] == ["/nonexistent nobody", "65534", "/tmp"]
    assert machine.exec("--user", "12:34", "sh", "-c", "id -u; id -g").stdout == b"12\n34\n"
    assert machine.exec("--cwd", "/nonexistent", "true").returncode == 127
    done = machine.exec("--user", "no such user", "true")
    assert (done.returncode, done.stderr) == (255, b"ringlet: error: the guest has no such user\n")


def test_arguments_of_any_kind(machine):
    arguments = ["", " ", "-t", "--", "a\nb", "\u00e4\u20ac", "x" * 100_000]
    done = machine.exec("--", "printf", "%s\\0", *arguments)
    assert done.stdout.decode().split("\0")[:-1] == arguments


# ---- signals ----

def start_waiting(machine, script):
    # A shell that would tell of a death to somebody who has gone dies of that.
    client = machine.popen("exec", machine.name, "sh", "-c",
                           "exec 2>/dev/null;" + script + "echo ready; while :; do sleep 0.1;"
                           " done", stdout=subprocess.PIPE)
    assert client.stdout.readline() == b"ready\n"
    return client


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_is_for_the_program(machine, number):
    with start_waiting(machine, f"trap 'exit 9' {number.name[3:]};") as client:
        client.send_signal(number)
        assert client.wait(COMMAND_S) == 9
    with start_waiting(machine, "") as client:
        client.send_signal(number)
        assert client.wait(COMMAND_S) == 128 + number


def test_a_second_signal_is_for_us(machine):

    script = "trap : INT; trap 'touch /tmp/hung-up; exit' HUP;"
    with start_waiting(machine, script) as client:
        client.send_signal(signal.SIGINT)
        time.sleep(0.5)
        assert client.poll() is None
        client.send_signal(signal.SIGINT)
        assert client.wait(COMMAND_S) == -signal.SIGINT
    wait_until(lambda: machine.exec("test", "-e", "/tmp/hung-up").returncode == 0, "not hung up")


def test_a_client_that_is_killed(machine):
    with start_waiting(machine, "trap 'touch /tmp/killed; exit' HUP;") as client:
        client.kill()
    wait_until(lambda: machine.exec("test", "-e", "/tmp/killed").returncode == 0, "not hung up")


# ---- a terminal ----

class Terminal:
    """ringlet exec on a pseudo-terminal of its own."""

    def __init__(self, machine, *args):
        self.master, self.slave = pty.openpty()
        self.resize(30, 100)
        self.before = termios.tcgetattr(self.slave)
        self.client = machine.popen("exec", *args, stdin=self.slave, stdout=self.slave,
                                    stderr=self.slave, start_new_session=True)
        self.console = pexpect.fdpexpect.fdspawn(self.master, timeout=COMMAND_S, encoding="utf-8")

    def resize(self, rows, columns):
        termios.tcsetwinsize(self.slave, (rows, columns))

    def is_restored(self):
        return termios.tcgetattr(self.slave) == self.before

    def close(self):
        if self.client.poll() is None:
            self.client.kill()
        self.client.wait()
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture(name="terminal")
def terminal_fixture(machine):
    opened = []

    def start(*args):
        opened.append(Terminal(machine, *args))
        return opened[-1]
    yield start
    for each in opened:
        each.close()


def test_a_terminal(machine, terminal):
    shell = terminal("--env", "PS1=ready> ", machine.name, "-t", "sh")
    console = shell.console
    console.expect_exact("ready> ")
    assert not shell.is_restored()
    console.send("tty; stty size; echo $TERM done\r")
    console.expect(r"/dev/pts/\d+\r\n30 100\r\n\S+ done\r\n")
    shell.resize(41, 77)
    os.kill(shell.client.pid, signal.SIGWINCH)
    console.expect_exact("ready> ")
    console.send("stty size\r")
    console.expect_exact("41 77")
    # A key for the program, not for us.
    console.send("sleep 100\r")
    time.sleep(0.5)
    console.send("\x03")
    console.expect_exact("ready> ")
    console.send("exit 5\r")
    assert shell.client.wait(COMMAND_S) == 5
    assert shell.is_restored()


def test_a_shell_without_a_command(machine, terminal):
    shell = terminal("--env", "HOME=/nonexistent", machine.name)
    shell.console.send("echo me=$USER pid=$$\r")
    shell.console.expect(r"me=root pid=\d+")
    shell.console.send("exit\r")
    assert shell.client.wait(COMMAND_S) == 0


def test_leaving_a_terminal(machine, terminal):
    """Ctrl-A x leaves a program that does not care for keys, which is hung up."""
    shell = terminal(machine.name, "-t", "sh", "-c",
                     "trap 'touch /tmp/left; exit' HUP; stty raw; echo up; while :; do sleep 0.1; done")
    shell.console.expect_exact("up")
    shell.console.send("\x03\x01x")
    assert shell.client.wait(COMMAND_S) == 255
    assert shell.is_restored()
    wait_until(lambda: machine.exec("test", "-e", "/tmp/left").returncode == 0, "not hung up")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_terminal_is_restored_after_a_signal(machine, terminal, number):
    shell = terminal(machine.name, "-t", "sh", "-c", "echo up; sleep 100")
    shell.console.expect_exact("up")
    shell.client.send_signal(number)
    assert shell.client.wait(COMMAND_S) == -number
    assert shell.is_restored()


def test_a_terminal_needs_one(machine):
    done = machine.exec("-t", "true")
    assert done.returncode == 1 and b"-t needs a terminal" in done.stderr


# ---- machines that are not there, or no longer ----

@pytest.mark.parametrize("args, part", [
    (["exec"], "no machine named"),
    (["exec", "nosuch", "true"], "no machine 'nosuch' runs"),
    (["exec", "a/b", "true"], "is no machine's name"),
    (["cp", "a", "b"], "one of both is NAME:PATH"),
    (["cp", "m:a", "m:b"], "one of both is NAME:PATH"),
    (["cp", "a"], "a source and a destination"),
    (["cp", "m:", "b"], "a path is empty"),
    (["cp", "nosuch:/etc/passwd", "/tmp"], "no machine 'nosuch' runs"),
])
def test_wrong_use(machine, args, part):
    done = machine.run(args[0], *args[1:])
    assert done.returncode == 1
    assert part in done.stderr.decode() and done.stderr.count(b"\n") == 1


def test_a_machine_that_is_killed(ringlet, debian_kernel, tmp_path):
    machine = Machine(ringlet, debian_kernel, tmp_path, name="victim")
    try:
        # A guest that is still starting is waited for.
        assert machine.exec("true").returncode == 0
        with start_waiting(machine, "") as client:
            os.killpg(machine.process.pid, signal.SIGKILL)
            assert client.wait(COMMAND_S) == 255
        done = machine.exec("true")
        assert done.returncode == 1 and b"no machine 'victim' runs" in done.stderr
    finally:
        machine.close()


def test_a_guest_that_powers_off(ringlet, debian_kernel, tmp_path):
    """Its own command ends it, whatever else runs."""
    script = "until test -e /tmp/stop; do sleep 0.1; done; exit 3"
    machine = Machine(ringlet, debian_kernel, tmp_path, command=("sh", "-c", script), name="short")
    try:
        client = machine.popen("exec", machine.name, "sh", "-c", "echo here; exec sleep 100",
                               stdout=subprocess.PIPE)
        with client:
            assert client.stdout.readline() == b"here\n"
            machine.exec("touch", "/tmp/stop")
            assert client.wait(COMMAND_S) == 255
        assert machine.process.wait(BOOT_S) == 3
        assert not machine.socket.exists()
    finally:
        machine.close()


def test_a_machine_without_an_agent(ringlet, linux, debian_kernel, tmp_path):
    """Its guest has another init: said at once, if one does not want to wait."""
    machine = Machine(ringlet, debian_kernel, tmp_path, "-i", linux()[3], name="other", command=())
    try:
        done = machine.run("exec", "--wait", "0", machine.name, "true")
        assert done.returncode == 255 and b"no agent answers in 'other'" in done.stderr
    finally:
        machine.close()


# ---- files ----

def test_copying_a_file(machine, tmp_path):
    data = os.urandom(3_000_001)
    source = tmp_path / "source"
    source.write_bytes(data)
    source.chmod(0o751)
    assert machine.run("cp", source, f"{machine.name}:/tmp/copy").stderr == b""
    assert machine.sh("stat -c '%a %s' /tmp/copy") == "751 3000001\n"
    # Into a directory, under its own name.
    back = tmp_path / "back"
    back.mkdir()
    assert machine.run("cp", f"{machine.name}:/tmp/copy", back).stderr == b""
    assert (back / "copy").read_bytes() == data
    assert (back / "copy").stat().st_mode & 0o777 == 0o751
    # Over a file that is there, and an empty one.
    source.write_bytes(b"")
    assert machine.run("cp", source, f"{machine.name}:/tmp/copy").returncode == 0
    assert machine.sh("stat -c '%s' /tmp/copy") == "0\n"
    assert machine.run("cp", f"{machine.name}:/proc/version", back / "version").returncode == 0
    assert b"Linux version" in (back / "version").read_bytes()


def make_tree(top):
    (top / "sub/deeper").mkdir(parents=True)
    (top / "empty").mkdir()
    (top / "file").write_text("content\n")
    (top / "sub/deeper/big").write_bytes(bytes(range(256)) * 2000)
    (top / "sub/link").symlink_to("deeper/big")
    (top / "dangling").symlink_to("/nowhere")
    (top / "readonly").mkdir()
    (top / "readonly/inside").write_text("x")
    (top / "readonly").chmod(0o555)
    (top / "a name with\nodd ch\u00e4rs").write_text("y")


def test_copying_a_tree(machine, tmp_path):
    make_tree(tmp_path / "tree")
    assert machine.run("cp", "-r", tmp_path / "tree", f"{machine.name}:/tmp").stderr == b""
    assert machine.run("cp", "-r", f"{machine.name}:/tmp/tree", tmp_path / "back").stderr == b""
    subprocess.run(["diff", "-r", "--no-dereference", tmp_path / "tree", tmp_path / "back"], check=True)
    assert (tmp_path / "back/readonly").stat().st_mode & 0o777 == 0o555
    assert os.readlink(tmp_path / "back/dangling") == "/nowhere"
    # Once more, over what is there; and what is in it rather than it.
    assert machine.run("cp", "-r", f"{machine.name}:/tmp/tree/.", tmp_path / "back").stderr == b""
    subprocess.run(["diff", "-r", "--no-dereference", tmp_path / "tree", tmp_path / "back"], check=True)


def test_what_cannot_be_copied(machine, tmp_path):
    name = machine.name
    (tmp_path / "tree").mkdir()
    os.mkfifo(tmp_path / "tree/fifo")
    (tmp_path / "tree/file").write_text("z")
    done = machine.run("cp", "-r", tmp_path / "tree", f"{name}:/tmp/partly")
    assert done.returncode == 0 and b"left out fifo: neither a file nor a directory" in done.stderr
    assert machine.sh("ls /tmp/partly") == "file\n"
    machine.sh("mkfifo \"/tmp/partly/$(printf 'p\\303\\266\\033pe')\"")
    done = machine.run("cp", "-r", f"{name}:/tmp/partly", tmp_path / "partly")
    # Nothing that a terminal would obey.
    assert done.returncode == 0 and "left out p\u00f6?pe" in done.stderr.decode()
    machine.sh("mkdir -p /tmp/full && mount -t tmpfs -o size=1M tmpfs /tmp/full")
    (tmp_path / "big").write_bytes(bytes(20_000_000))
    for args, part in (
            ((tmp_path / "tree", f"{name}:/tmp"), "use -r"),
            ((f"{name}:/tmp/partly", tmp_path), "in the guest: /tmp/partly: it is a directory"),
            ((f"{name}:/nowhere", tmp_path), "in the guest: /nowhere: No such file"),
            ((f"{name}:/etc/passwd", "/nowhere/else"), "cp: /nowhere/else: No such file"),
            ((tmp_path / "big", f"{name}:/nowhere/else"), "in the guest: /nowhere/else: No such file"),
            ((tmp_path / "big", f"{name}:/tmp/full"), "No space left"),
    ):
        done = machine.run("cp", *args)
        assert done.returncode == 1 and part in done.stderr.decode(), done.stderr
        assert done.stderr.count(b"\n") == 1
