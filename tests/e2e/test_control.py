# SPDX-License-Identifier: MIT
"""Commands to machines that run, and the socket behind them (docs/CONTROL.md)."""
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import time

import pexpect
import pytest

from guest import BOOT_S, NO_KVM, bad_lines
from waiting import wait_until

CLIENTS_MAX = 16
LINE_MAX = 65536


@pytest.fixture(autouse=True)
def runtime(ringlet, tmp_path, monkeypatch):
    """A directory for sockets of the test's own; machines in the background end with it."""
    path = tmp_path / "runtime"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    yield path
    listed = subprocess.run([ringlet, "list", "--names"], capture_output=True, text=True,
                            env={"XDG_RUNTIME_DIR": str(path)}, check=False, timeout=60)
    for name in listed.stdout.split():
        subprocess.run([ringlet, "stop", "--force", name], env={"XDG_RUNTIME_DIR": str(path)},
                       check=False, capture_output=True, timeout=60)


@pytest.fixture(name="ask")
def ask_fixture(ringlet):
    """Runs a command: ask("list", "--json") is what came of it."""
    def ask(*args):
        return subprocess.run([ringlet, *map(str, args)], capture_output=True, text=True,
                              timeout=60, check=False, stdin=subprocess.DEVNULL)
    return ask


@pytest.fixture(name="idle")
def idle_fixture(start, tmp_path, runtime):
    """Starts a machine that sleeps: a firmware that halts for ever. idle("name", ...)"""
    firmware = tmp_path / "halt.bin"
    image = bytearray(b"\x90" * 65536)
    image[0xfff0:0xfff3] = bytes.fromhex("f4ebfd")  # 1: hlt; jmp 1b
    firmware.write_bytes(image)

    def begin(name, *args):
        guest = start("-f", firmware, "--name", name, *args)
        wait_until(lambda: answers(runtime, name))
        return guest
    return begin


class Connection:
    """A client of our own, who may misbehave."""

    def __init__(self, runtime, name):
        self.socket = socket.socket(socket.AF_UNIX)
        here = os.open(runtime / "ringlet", os.O_PATH)
        self.socket.connect(f"/proc/self/fd/{here}/{name}.sock")
        os.close(here)
        self.socket.settimeout(30)
        self.file = self.socket.makefile("rb")

    def send(self, data):
        self.socket.sendall(data)

    def line(self):
        """The next answer; None: the machine hung up."""
        text = self.file.readline()
        return json.loads(text) if text else None

    def ask(self, command, **arguments):
        self.send(json.dumps({"id": 7, "command": command, "arguments": arguments}).encode()
                  + b"\n")
        return self.line()

    def close(self):
        self.file.close()
        self.socket.close()


def answers(runtime, name):
    """A machine of that name is there; what a dead one left does not count."""
    try:
        client = Connection(runtime, name)
    except OSError:
        return False
    fine = client.ask("describe")["result"]["name"] == name
    client.close()
    return fine


def assert_refused(done, part, status=1):
    assert done.returncode == status and done.stdout == ""
    assert done.stderr.startswith("ringlet: error: ") and done.stderr.count("\n") == 1
    assert part in done.stderr


def state_of(ask, name):
    return {machine["name"]: machine["state"]
            for machine in json.loads(ask("list", "--json").stdout)}[name]


# ---- names ----

def test_two_machines(ask, idle, runtime):
    machines = {name: idle(name, "-m", "64M", "-c", cpus) for name, cpus in (("vm-10", 1),
                                                                             ("vm-2", 3))}
    rows = [line.split() for line in ask("list").stdout.splitlines()]
    assert [row[0] for row in rows] == ["NAME", "vm-2", "vm-10"]
    assert rows[1][1:5] == [str(machines["vm-2"].process.pid), "running", "3", "64M"]
    listed = json.loads(ask("list", "--json").stdout)
    assert [machine["name"] for machine in listed] == ["vm-2", "vm-10"]
    assert listed[1]["firmware"].endswith("halt.bin") and listed[1]["kernel"] is None
    assert (runtime / "ringlet").stat().st_mode & 0o777 == 0o700
    assert (runtime / "ringlet/vm-2.sock").stat().st_mode & 0o777 == 0o600
    assert_refused(ask("pause"), "several machines run, name one: vm-2, vm-10")
    assert_refused(ask("pause", "vm-3"), "no machine 'vm-3' runs")
    assert_refused(ask("pause", "../vm-2"), "is no machine's name")
    assert ask("stop", "--force", "vm-2").returncode == 0
    assert machines["vm-2"].wait() == 0
    # Which one it was is said, where it was not named.
    for command, doing in (["pause"], "pausing"), (["resume"], "resuming"), \
                          (["stop", "-f"], "stopping"):
        done = ask(*command)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{doing} vm-10\n", "")
    assert machines["vm-10"].wait() == 0
    assert os.listdir(runtime / "ringlet") == []
    assert ask("list").stdout == ""
    assert json.loads(ask("list", "--json").stdout) == []
    assert_refused(ask("stop"), "no machine runs")


def test_a_name_is_given_once(ask, idle, ringlet, tmp_path):
    idle("one")
    assert_refused(ask("run", "-f", tmp_path / "halt.bin", "--name", "one"), "'one' runs already")
    assert_refused(ask("run", "-f", tmp_path / "halt.bin", "--name", "a/b"), "no machine's name")
    assert state_of(ask, "one") == "running"


def test_two_that_start_at_once(ask, idle, ringlet, tmp_path):
    """One of them has the name; the other says so, and leaves it alone."""
    idle("other")
    for _ in range(5):
        args = [ringlet, "run", "-f", tmp_path / "halt.bin", "--name", "one", "--detach"]
        both = [subprocess.Popen(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                for _ in range(2)]
        said = sorted((process.communicate(timeout=60), process.returncode) for process in both)
        assert [status for _, status in said] == [1, 0], said
        assert said[0][0][0] == "" and "'one' runs already" in said[0][0][1]
        assert said[1][0][0] == "one\n" and state_of(ask, "one") == "running"
        assert ask("stop", "--force", "one").returncode == 0


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "/tmp/x", "a/b", ".hidden", "-x", "a b",
                                  "\u00e9", "x" * 65, "x" * 100000, "%n%s", "*"], ids=range(14))
def test_names_that_are_none(ask, runtime, name):
    for args in (["run", f"--name={name}"], ["pause", "--", name], ["stop", "-f", "--", name],
                 ["exec", "--", name, "true"], ["debug", "--", name]):
        assert_refused(ask(*args), "is no machine's name")
    assert not (runtime / "ringlet").exists() or os.listdir(runtime / "ringlet") == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user(idle, runtime):
    """Even one whom the files' modes let through is turned away."""
    idle("one")
    directory = runtime / "ringlet"
    directory.chmod(0o711)
    (directory / "one.sock").chmod(0o666)
    here = os.open(directory, os.O_PATH)
    child = os.fork()
    if not child:
        status = 1
        try:
            os.setresuid(65534, 65534, 65534)
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(f"/proc/self/fd/{here}/one.sock")
                client.settimeout(30)
                said = client.makefile().read()
            status = json.loads(said)["error"]["message"] != "this machine is another user's"
        finally:
            os._exit(status)
    os.close(here)
    assert os.waitpid(child, 0)[1] == 0
    assert answers(runtime, "one")


def test_a_name_of_its_own(ask, start, tmp_path, idle):
    """Who gives no name gets one."""
    idle("other")
    guest = start("-f", tmp_path / "halt.bin")
    name = f"guest-{guest.process.pid}"
    wait_until(lambda: name in ask("list").stdout)
    assert ask("stop", "-f", name).returncode == 0
    assert guest.wait() == 0


def test_a_machine_that_was_killed(ask, idle, runtime):
    """What it left goes away, and its name is free."""
    idle("one").process.kill()
    wait_until(lambda: ask("list").stdout == "")
    assert os.listdir(runtime / "ringlet") == []
    for command in (["pause", "one"], ["pause"], ["exec", "one", "--", "true"], ["console", "one"]):
        machine = idle("one", "--vsock", "auto")
        assert sorted(os.listdir(runtime / "ringlet")) == ["one.sock", "one.vsock",
                                                            "one.vsock_seqpacket"]
        machine.process.kill()
        machine.process.wait()
        assert_refused(ask(*command), "no machine")
        assert os.listdir(runtime / "ringlet") == [], command
    idle("two").process.send_signal(signal.SIGTERM)
    wait_until(lambda: "'two' runs" in ask("pause", "two").stderr)
    idle("two")
    assert state_of(ask, "two") == "running"


def test_a_place_that_is_not_ours(ask, tmp_path, runtime, start):
    """Without a place for sockets, a machine with a name is refused, any other runs."""
    image = bytearray(65536)
    image[0xfff0:0xfff2] = bytes.fromhex("e6f4")  # out %al, $0xf4
    (tmp_path / "end.bin").write_bytes(image)
    (runtime / "ringlet").mkdir(mode=0o700)
    (runtime / "ringlet").chmod(0o777)
    assert_refused(ask("list"), "is not ours alone")
    assert_refused(ask("run", "-f", tmp_path / "end.bin", "--name", "one"), "is not ours alone")
    assert start("-f", tmp_path / "end.bin", "--debug-exit").wait() & 1


def test_a_machine_that_does_not_answer(ask, idle):
    machine = idle("one")
    idle("two")
    machine.process.send_signal(signal.SIGSTOP)
    assert state_of(ask, "one") == "silent" and state_of(ask, "two") == "running"
    machine.process.send_signal(signal.SIGCONT)
    wait_until(lambda: state_of(ask, "one") == "running")


# ---- the socket ----

@pytest.mark.parametrize("line, part", [
    (b"", "no JSON"),
    (b"hello", "no JSON"),
    (b"\xff\x00\xfe", "no JSON"),
    (b"[" * 5000, "no JSON"),
    (b"7", "\"command\""),
    (b"[]", "\"command\""),
    (b"{\"command\": 7}", "\"command\""),
    (b"{\"command\": \"fly\"}", "no command \"fly\""),
    (b"{\"command\": \"fly\\u0000\"}", "no JSON"),
    (b"{\"command\": \"describe\", \"arguments\": []}", "\"arguments\""),
    (b"{\"command\": \"balloon\"}", "\"bytes\""),
    (b"{\"command\": \"balloon\", \"arguments\": {\"bytes\": -1}}", "\"bytes\""),
    (b"{\"command\": \"balloon\", \"arguments\": {\"bytes\": 1e9}}", "\"bytes\""),
    (b"{\"command\": \"balloon\", \"arguments\": {\"bytes\": 1099511627776}}", "larger than"),
    (b"{\"command\": \"sysrq\", \"arguments\": {\"key\": \"two\"}}", "one character"),
])
def test_what_is_no_request(idle, runtime, line, part):
    idle("one")
    client = Connection(runtime, "one")
    client.send(line + b"\n")
    assert part in client.line()["error"]["message"]
    assert client.ask("describe")["result"]["name"] == "one"
    client.close()


def test_identifiers(idle, runtime):
    idle("one")
    client = Connection(runtime, "one")
    for given, back in ((7, 7), ("0x7", "0x7"), ("\u00e9\"\\\n", "\u00e9\"\\\n"), (None, None),
                        (1.5, None), ([1], None)):
        client.send(json.dumps({"id": given, "command": "resume"}).encode() + b"\n")
        assert client.line() == {"id": back, "result": {}}
    client.close()


def test_lines_have_an_end(idle, runtime):
    """A line as long as one may be is read, a longer one is the last of its client's."""
    idle("one")
    client = Connection(runtime, "one")
    request = b'{"command":"describe"}'
    client.send(request + b" " * (LINE_MAX - len(request) - 1) + b"\n")
    assert client.line()["result"]["name"] == "one"
    client.send(b" " * LINE_MAX)
    assert "65536" in client.line()["error"]["message"]
    assert client.line() is None
    client.close()


def test_clients_that_do_not_read(ask, idle, runtime):
    """Thousands of requests whose answers nobody takes: the machine answers others."""
    idle("one")
    rude = Connection(runtime, "one")
    rude.socket.setblocking(False)
    sent = 0
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline and sent < 64 << 20:
        try:
            sent += rude.socket.send(b'{"command":"stat"}\n' * 1000)
        except BlockingIOError:
            assert state_of(ask, "one") == "running"
    assert sent < 64 << 20
    rude.close()
    assert state_of(ask, "one") == "running"


def test_clients_that_hang(ask, idle, runtime):
    """So many clients that say nothing, and no more; when they go, there is room again."""
    idle("one")
    clients = [Connection(runtime, "one") for _ in range(CLIENTS_MAX)]
    clients[0].send(b'{"command":')
    late = Connection(runtime, "one")
    assert late.line()["error"]["message"] == "too many clients"
    assert late.line() is None
    late.close()
    clients[0].send(b'"describe"}\n')
    assert clients[0].line()["result"]["name"] == "one"
    for client in clients:
        client.close()
    wait_until(lambda: ask("pause", "one").returncode == 0)


def test_requests_in_one_piece(idle, runtime):
    """Answers come in order, also those that take until the CPUs stand."""
    idle("one", "-c", 2)
    client = Connection(runtime, "one")
    names = ["describe", "pause", "describe", "pause", "resume", "describe"]
    client.send(b"".join(json.dumps({"id": name + str(index), "command": name}).encode() + b"\n"
                         for index, name in enumerate(names)))
    answers = [client.line() for _ in names]
    assert [answer["id"] for answer in answers] == [f"{n}{i}" for i, n in enumerate(names)]
    assert [answers[i]["result"]["state"] for i in (0, 2, 5)] == ["running", "paused", "running"]
    client.close()


def test_a_client_that_goes_while_it_is_served(ask, idle, runtime):
    """What was begun is done, what comes after it perhaps not; others are served."""
    idle("one", "-c", 4)
    for _ in range(20):
        client = Connection(runtime, "one")
        client.send(b'{"command":"pause"}\n{"command":"resume"}\n{"command":"stat"}\n')
        client.close()
    assert state_of(ask, "one") in ("running", "paused")
    assert ask("resume", "one").returncode == 0
    assert state_of(ask, "one") == "running"


# ---- pausing ----

@pytest.mark.parametrize("cpus", [1, 2])
def test_a_pause_is_not_seen(ask, start, linux, cpus):
    """For a guest, the time that it was paused has not been, however slow it is otherwise."""
    guest = start(*linux(), "--name", "one", "-c", cpus).ready()
    guest.sh("dmesg -c >/dev/null")

    def uptime():
        return float(guest.sh("cut -d' ' -f1 /proc/uptime"))
    began, at_first, paused = time.monotonic(), uptime(), 0
    for _ in range(3):
        assert ask("pause", "one").returncode == 0
        stands = time.monotonic()
        assert state_of(ask, "one") == "paused"
        assert ask("pause", "one").returncode == 0
        time.sleep(3)
        paused += time.monotonic() - stands
        assert ask("resume", "one").returncode == 0
        assert state_of(ask, "one") == "running"
    assert uptime() - at_first < time.monotonic() - began - paused + 0.1
    assert guest.sh("cat /sys/devices/system/clocksource/clocksource0/current_clocksource") \
        .strip() == "tsc"
    assert not bad_lines(guest.dmesg())
    guest.send("poweroff -f\n")
    assert guest.wait() == 0


CLOCKS = "import sys, time\nfor line in sys.stdin: print(time.time(), time.monotonic(), flush=True)"


@pytest.mark.parametrize("cpus", [1, 2])
def test_the_time_of_day_after_a_pause(ask, ringlet, debian_kernel, cpus):
    """Our init puts the clock on by as much; what measures spans stands still."""
    with subprocess.Popen([ringlet, "run", "-k", debian_kernel, "--name", "one", "-c", str(cpus), "--",
                           "python3", "-c", CLOCKS], text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        def late():
            """How much later the host's clocks are than the guest's, that of the day and the other."""
            process.stdin.write("\n")
            process.stdin.flush()
            day, span = map(float, process.stdout.readline().split())
            return time.time() - day, time.monotonic() - span
        try:
            before = late()
            for _ in range(2):
                assert ask("pause", "one").returncode == 0
                time.sleep(4)
                assert ask("resume", "one").returncode == 0
            wait_until(lambda: late()[0] < before[0] + 3)
            after = late()
            assert after[0] > before[0] - 3
            assert after[1] > before[1] + 8 - 0.1
            process.stdin.close()
            assert process.wait(60) == 0
        finally:
            process.kill()


def test_a_paused_machine_ends(ask, idle):
    machine = idle("one", "-c", 2)
    assert ask("pause", "one").returncode == 0
    assert_refused(ask("stop", "one"), "resume it first")
    assert_refused(ask("exec", "one", "true"), "machine 'one' is paused: resume it first", 255)
    assert_refused(ask("cp", "one:/x", "y"), "machine 'one' is paused: resume it first")
    assert ask("stop", "--force", "one").returncode == 0
    assert machine.wait() == 0


# ---- shutting down ----

def test_the_power_button(ask, start, linux_with):
    """As ACPI has it: the guest's driver tells who reads its input device."""
    guest = start(*linux_with("button", "evdev"), "--name", "one").ready()
    guest.sh("load")
    guest.sh("(head -c 24 /dev/input/event0 >/tmp/event && poweroff -f) &")
    guest.sh("sleep 0.2")
    assert ask("stop", "one").returncode == 0
    assert guest.wait() == 0
    assert guest.errors() == ""


def test_a_guest_that_ignores_the_button(ask, idle):
    machine = idle("one")
    done = ask("stop", "--timeout", "1", "one")
    assert done.returncode == 0
    assert "'one' did not shut down in 1 seconds: ending it" in done.stderr
    assert machine.wait() == 0


@contextlib.contextmanager
def said_here(ringlet, kernel, script):
    """A machine, called one, whose script has said "here"; it does not outlive the block."""
    with subprocess.Popen([ringlet, "run", "-k", kernel, "--name", "one", "--", "sh", "-c",
                           script], text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        try:
            first = process.stdout.readline()
            assert first == "here\n", process.communicate(timeout=30)
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("script, status", [
    ("echo here; sleep 1000", 143), ("trap 'exit 5' TERM; echo here; read x", 5)])
def test_a_command_is_asked_to_end(ask, ringlet, debian_kernel, script, status):
    """Our init has its program end, and the status is the program's."""
    with said_here(ringlet, debian_kernel, script) as process:
        assert ask("stop", "one").returncode == 0
        assert process.wait(60) == status


@pytest.mark.parametrize("timeout, status, said", [(1, 255, "the machine was ended before its program"),
                                                   (30, 137, "")])
def test_a_command_that_will_not_end(ask, ringlet, debian_kernel, timeout, status, said):
    """It is killed in its time, or the machine is, and then the command has not succeeded."""
    script = "trap '' TERM; echo here; while :; do sleep 0.1; done"
    with said_here(ringlet, debian_kernel, script) as process:
        assert ask("stop", "--timeout", timeout, "one").returncode == 0
        assert process.wait(60) == status
        assert said in NO_KVM.sub("", process.stderr.read())


SERVICE = """[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=/bin/sh -c "echo service was stopped >>{log}"
"""


def test_systemd_stops_its_services(ask, ringlet, debian_kernel, tmp_path):
    """The tree's systemd does it in its order; our program is one of them, and its status is ours."""
    log = tmp_path / "log"
    (tmp_path / "probe.service").write_text(SERVICE.format(log=log))
    script = (f"cp {tmp_path}/probe.service /run/systemd/system/ && systemctl start probe && "
              f"trap 'echo program was >>{log}; exit 5' TERM && echo here && while :; do sleep 0.1; done")
    with subprocess.Popen([ringlet, "run", "-k", debian_kernel, "--name", "one", "--systemd", "--rwdir",
                           tmp_path, "--", "sh", "-c", script], text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            first = process.stdout.readline()
            assert first == "here\n", process.communicate(timeout=30)
            done = ask("stop", "--timeout", 50, "one")
            assert (done.returncode, done.stderr) == (0, "")
            assert process.wait(60) == 5
        finally:
            process.kill()
    assert sorted(log.read_text().splitlines()) == ["program was", "service was stopped"]


def test_ctrl_c_leaves_the_machine_alone(ask, idle, ringlet):
    idle("one")
    with subprocess.Popen([ringlet, "stop", "--timeout", "60", "one"]) as client:
        time.sleep(0.5)
        client.send_signal(signal.SIGINT)
        assert client.wait(30) == -signal.SIGINT
    assert state_of(ask, "one") == "running"


# ---- memory ----

def test_the_balloon(ask, start, linux_with):
    guest = start(*linux_with("virtio_pci", "virtio_balloon"), "--name", "one", "-m", "256M")
    guest.ready()
    done = ask("balloon", "0")
    assert done.returncode == 0 and "'one' runs no balloon driver" in done.stderr
    guest.sh("load")
    assert ask("balloon", "0").stderr == ""

    def figure(name):
        return json.loads(ask("stat", "--json", "one").stdout)["balloon"].get(name)
    assert figure("actual_bytes") == 0
    assert figure("total_bytes") > 128 << 20
    assert ask("balloon", "one", "64M").returncode == 0
    wait_until(lambda: figure("actual_bytes") == 64 << 20)
    assert re.search(r"^  driver +yes$", ask("stat", "one").stdout, re.MULTILINE)
    assert re.search(r"^  actual +64\.0 MiB$", ask("stat", "one").stdout, re.MULTILINE)
    assert ask("balloon", "0").returncode == 0
    wait_until(lambda: figure("actual_bytes") == 0)
    assert_refused(ask("balloon", "one", "1G"), "larger than the memory")
    assert_refused(ask("balloon", "one", "much"), "no size")
    assert_refused(ask("balloon"), "usage: ringlet balloon")


# ---- devices ----

def test_what_devices_count(ask, start, linux_with, tmp_path):
    """What a disk has read, to the byte; a reset of the driver's takes nothing away."""
    (tmp_path / "disk").write_bytes(bytes(1 << 20))
    guest = start(*linux_with("virtio_pci", "virtio_blk"), "--name", "one", "-d", tmp_path / "disk")
    guest.ready()
    guest.sh("load")

    def counts():
        devices = json.loads(ask("stat", "--json", "one").stdout)["devices"]
        return next(device for device in devices if device["device"] == "virtio-blk")["queues"][0]
    before = counts()
    guest.sh("dd if=/dev/vda of=/dev/null bs=64k count=16 iflag=direct")
    after = counts()
    assert after["to_driver_bytes"] - before["to_driver_bytes"] == (1 << 20) + 16
    assert after["from_driver_bytes"] - before["from_driver_bytes"] == 16 * 16
    assert after["chains"] - before["chains"] == 16
    assert 0 < after["interrupts"] - before["interrupts"] <= 16
    assert re.search(r"^  virtio-blk +queue  0: +\d+ chains", ask("stat", "one").stdout,
                     re.MULTILINE)
    driver = "/sys/bus/virtio/drivers/virtio_blk"
    guest.sh(f"d=$(basename {driver}/virtio*); echo $d >{driver}/unbind; echo $d >{driver}/bind")
    assert counts()["chains"] > after["chains"]


# ---- SysRq ----

def test_sysrq_beside_a_command(ringlet, debian_kernel, runtime):
    """The kernel hears it though nobody sees its console."""
    with subprocess.Popen([ringlet, "run", "-k", debian_kernel, "--name", "one", "--", "sh", "-c",
                           "echo here; read x; dmesg"], text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout.readline() == "here\n"
            client = Connection(runtime, "one")
            assert client.ask("sysrq", key="h") == {"id": 7, "result": {}}
            assert "pipeline" in client.ask("console")["error"]["message"]
            client.close()
            time.sleep(1)
            assert "sysrq: HELP" in process.communicate("\n", timeout=BOOT_S)[0]
        finally:
            process.kill()


# ---- a look inside ----

def test_debug(ask, idle):
    """Code as the processor has it, 16 bits wide here; one CPU or all."""
    idle("one", "-c", 2)

    def code(text):
        return re.findall(r"^(=>|  ) [0-9a-f]{16}  (\w+) +(\w+)", text, re.MULTILINE)
    wait_until(lambda: ("=>", "ebfd", "jmp") in code(ask("debug", "--cpu", 0).stdout))
    assert ("  ", "f4", "hlt") in code(ask("debug", "one").stdout)
    assert [line for line in ask("debug").stdout.splitlines() if line.startswith("CPU")] \
        == ["CPU 0", "CPU 1"]
    cpus = json.loads(ask("debug", "--json", "--cpu", 1, "-a", "1234").stdout)["cpus"]
    assert [cpu["cpu"] for cpu in cpus] == [1]
    assert cpus[0]["address"] == ["0000000000001234 is at physical 1234"]
    assert ask("debug", "--nmi", "one").returncode == 0
    assert_refused(ask("debug", "--cpu", 2), "below 2")
    assert_refused(ask("debug", "-a", "0xzz"), "no address")
    assert_refused(ask("debug", "--sysrq", "hh"), "one character")


def test_page_tables(ask, start, linux):
    """The way to the kernel's text, and to an address that nothing is at; the guest is not upset."""
    guest = start(*linux("sysrq_always_enabled"), "--name", "one", "-c", 2).ready()
    guest.sh("dmesg -c >/dev/null")
    lines = ask("debug", "--address", "ffffffff81000000", "--cpu", 0).stdout.splitlines()
    assert lines[-1] == "ffffffff81000000 is at physical 1000000"
    assert re.match(r"PML4E at [0-9a-f]{12}: [0-9a-f]{16} PWU?A", lines[-4])
    lines = ask("debug", "-a", "7000dead0000", "--cpu", "0").stdout.splitlines()
    assert lines[-1] == "00007000dead0000 is not mapped"
    for _ in range(30):
        assert ask("debug", "one").returncode == 0
    assert ask("debug", "--sysrq", "h", "one").returncode == 0
    wait_until(lambda: "sysrq: HELP" in guest.dmesg())
    assert not bad_lines(guest.dmesg())


def test_nmis(ask, start, linux):
    """The button is wired to the first CPU; any can be had by its number."""
    guest = start(*linux(), "--name", "one", "-c", 2).ready()

    def taken():
        return re.findall(r"NMI received for unknown reason \w+ on CPU (\d)", guest.dmesg())
    for args, cpus in ((), ["0"]), (("--cpu", 1), ["0", "1"]), ((), ["0", "1", "0"]):
        assert ask("debug", "--nmi", *args, "one").returncode == 0
        wait_until(lambda n=len(cpus): len(taken()) >= n)
        assert taken() == cpus
    assert_refused(ask("debug", "--nmi", "--cpu", 2), "below 2")


def test_an_nmi_that_is_masked(ask, start, tmp_path, runtime):
    """Port 0x70's bit cuts the button off."""
    image = bytearray(65536)
    image[0xfff0:0xfff8] = bytes.fromhex("b08fe670f4ebfd90")  # mov $0x8f, %al; out; 1: hlt; jmp 1b
    (tmp_path / "mask.bin").write_bytes(image)
    start("-f", tmp_path / "mask.bin", "--name", "one")
    wait_until(lambda: answers(runtime, "one"))
    wait_until(lambda: "halted" in ask("debug").stdout)
    assert_refused(ask("debug", "--nmi"), "masked NMIs")
    assert ask("debug", "--nmi", "--cpu", 0).returncode == 0


# ---- in the background ----

def test_a_machine_in_the_background(ask, idle, ringlet, debian_kernel, attach, monkeypatch):
    """It is there when the command returns, and its console where one looks for it."""
    monkeypatch.setenv("SHELL", "/bin/sh")
    idle("other")
    for args, name in (((), None), (("--name", "one"), "one")):
        done = ask("run", "--detach", "-k", debian_kernel, "--env", "PS1=ready> ", *args)
        assert done.returncode == 0 and not NO_KVM.sub("", done.stderr)
        found = done.stdout.rstrip("\n")
        assert found == name or re.fullmatch(r"guest-\d+", found)
        assert state_of(ask, found) == "running"
        client = attach(found)
        client.expect("ready> ", timeout=BOOT_S)
        client.send("echo $((6 * 7)); tty\n")
        client.expect_exact("42\r\n/dev/hvc0\r\n")
        client.close(force=True)
        assert ask("stop", found).returncode == 0
        assert found not in ask("list").stdout


def test_what_cannot_run_in_the_background(ask, idle, tmp_path):
    """Errors come before the command returns, those of the kernel too."""
    idle("one")
    for args, part in ((("-k", "/etc/passwd", "-i", "none"), "/etc/passwd"),
                       (("-f", tmp_path / "halt.bin", "--name", "one"), "runs already"),
                       (("-f", "/dev/null"), "/dev/null")):
        assert_refused(ask("run", "--detach", *args), part)
    assert [line.split()[0] for line in ask("list").stdout.splitlines()] == ["NAME", "one"]


# ---- the console ----

@pytest.fixture(name="attach")
def attach_fixture(ringlet):
    """Starts ringlet console NAME on a terminal of its own; ends it with the test."""
    spawned = []

    def begin(name):
        spawned.append(pexpect.spawn(ringlet, ["console", name], timeout=60, encoding="utf-8"))
        return spawned[-1]
    yield begin
    for client in spawned:
        client.close(force=True)


def test_a_shared_console(start, linux, attach):
    """What was last on it, keys from everywhere, a way out, and the end."""
    guest = start(*linux(), "--name", "one").ready()
    first, second = attach("one"), attach("one")
    for client in (first, second):
        client.expect("::ready::\r\n")
    first.send("echo $((6 * 7))\n")
    second.expect_exact("42\r\n::line 1 status 0::\r\n")
    guest.expect("42\r\n::line 1 status 0::\r\n")
    second.send("\x01h")
    second.expect_exact("Ctrl-A x  leave the console")
    second.send("\x01x")
    second.expect(pexpect.EOF)
    second.wait()
    assert second.exitstatus == 0
    # A break by the second way; then SysRq's key.
    first.send("\x01b")
    time.sleep(0.5)
    first.send("h")
    guest.expect("sysrq: HELP")
    guest.send("poweroff -f\n")
    assert guest.wait() == 0
    first.expect(pexpect.EOF)
    first.wait()
    assert first.exitstatus == 0


def test_a_console_that_is_not_read(start, linux, attach):
    """The guest does not wait for it."""
    guest = start(*linux(), "--name", "one").ready()
    client = attach("one")
    client.expect("::ready::")
    os.kill(client.pid, signal.SIGSTOP)
    output = guest.sh("i=0; while [ $i -lt 4000 ]; do echo line $i of so many; i=$((i + 1)); done")
    assert output.endswith("line 3999 of so many\n")
    os.kill(client.pid, signal.SIGCONT)
    client.expect("line 100 of so many")
    guest.sh("true")
    client.expect_exact("::line 2 status 0::")


def test_a_console_as_a_pipe(start, linux, ringlet):
    guest = start(*linux(), "--name", "one").ready()
    with subprocess.Popen([ringlet, "console"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) \
            as client:
        client.stdin.write(b"echo $((6 * 7))\n")
        client.stdin.flush()
        guest.expect("42\r\n::line 1 status 0::\r\n")
        guest.send("poweroff -f\n")
        assert guest.wait() == 0
        assert b"42\r\n" in client.stdout.read()
        assert client.wait(30) == 0


def test_a_console_whose_input_ends(start, linux, ringlet, tmp_path):
    """All of it is typed, what comes of it is shown, and then that is all; the machine goes on."""
    guest = start(*linux(), "--name", "one").ready()
    script = tmp_path / "script"
    lines = 300
    script.write_text("cat\n" + "so many words\n" * lines + "\x04echo $((6 * 7))\n",
                      encoding="utf-8")
    with open(script, "rb") as file:
        done = subprocess.run([ringlet, "console", "one"], stdin=file, capture_output=True,
                              timeout=60, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert done.stdout.count(b"so many words") == lines
    assert b"\r\n42\r\n::line 2 status 0::\r\n" in done.stdout
    done = subprocess.run([ringlet, "console", "one"], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode == 0 and b"42\r\n" in done.stdout and not done.stderr
    done = subprocess.run(["sh", "-c", "(echo echo $((7 * 8)); sleep 1) | $0 console one | cat",
                           ringlet], capture_output=True, timeout=60, check=False)
    assert b"56\r\n::line 3 status 0::\r\n" in done.stdout and not done.stderr
    guest.send("poweroff -f\n")
    assert guest.wait() == 0
