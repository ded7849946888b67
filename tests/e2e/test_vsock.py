# SPDX-License-Identifier: MIT
"""Sockets between guest and host, with the drivers of Debian's kernel."""
import contextlib
import hashlib
import json
import os
import pathlib
import socket
import subprocess
import threading

import pytest

from guest import bad_lines
from named_machine import Machine
from vsock_peer import (DEAF, DIGEST, ECHO, MESSAGE_MAX, MESSAGES, SOURCE, message_of, pieces_of)
from waiting import wait_until

PEER = pathlib.Path(__file__).parent / "vsock_peer.py"
MANY = 100_000_000


def read_all(end):
    data = bytearray()
    while piece := end.recv(1 << 16):
        data += piece
    return bytes(data)


@pytest.fixture(scope="module", name="machine")
def machine_fixture(ringlet, debian_kernel, tmp_path_factory):
    machine = Machine(ringlet, debian_kernel, tmp_path_factory.mktemp("vsock"), "--vsock", "42",
                      command=("python3", PEER, "serve"))
    machine.wait_for_output("serving")
    yield machine
    machine.close()


def test_echo_from_the_host(machine):
    with machine.connect(ECHO) as end:
        for text in (b"one", b"two" * 1000, b"\0\xff" * 30000):
            end.sendall(text)
            answer = b""
            while len(answer) < len(text):
                answer += end.recv(1 << 16)
            assert answer == text


def test_echo_from_the_guest(machine):
    """The guest half-closes; the host answers after that."""
    with machine.listen(7000) as listener:
        with machine.popen("exec", machine.name, "python3", PEER, "dial", 7000, "question",
                           stdout=subprocess.PIPE) as client:
            end, _ = listener.accept()
            with end:
                assert read_all(end) == b"question"
                end.sendall(b"answer")
            assert client.stdout.read() == b"answer\n"
    assert client.returncode == 0


def test_many_bytes_to_the_guest(machine):
    data = os.urandom(MANY)
    with machine.connect(DIGEST) as end:
        end.sendall(data)
        end.shutdown(socket.SHUT_WR)
        assert read_all(end).decode() == hashlib.md5(data).hexdigest()


def test_many_bytes_from_the_guest(machine):
    md5 = hashlib.md5()
    with machine.listen(7001) as listener:
        with machine.popen("exec", machine.name, "python3", PEER, "pour", 7001, MANY, 3,
                           stdout=subprocess.PIPE) as client:
            end, _ = listener.accept()
            with end:
                while piece := end.recv(1 << 18):
                    md5.update(piece)
            assert client.stdout.read().decode().strip() == md5.hexdigest()


def test_a_hundred_at_once(machine):
    ends = [machine.connect(ECHO) for _ in range(100)]
    for number, end in enumerate(ends):
        end.sendall(f"number {number}".encode())
    for number, end in reversed(list(enumerate(ends))):
        end.shutdown(socket.SHUT_WR)
        assert read_all(end) == f"number {number}".encode()
        end.close()


def test_a_hundred_from_the_guest(machine):
    """More at once than the server's queue holds: the others wait for it."""
    with machine.listen(7002) as listener:
        def serve():
            for _ in range(100):
                end, _ = listener.accept()
                with end:
                    end.sendall(b"<" + read_all(end) + b">")

        server = threading.Thread(target=serve)
        server.start()
        script = (f"import sys, threading; sys.path.insert(0, {str(PEER.parent)!r}); import vsock_peer;"
                  "threads = [threading.Thread(target=vsock_peer.dial, args=(7002, str(n)))"
                  " for n in range(100)]; [t.start() for t in threads]; [t.join() for t in threads]")
        done = machine.exec("python3", "-c", script)
        server.join()
    assert sorted(done.stdout.decode().split()) == sorted(f"<{n}>" for n in range(100)), done.stderr


def test_a_host_that_does_not_read(machine):
    """Nobody else waits for it, and it finds everything when it reads after all."""
    expected = b"".join(pieces_of(3_000_000, 5))
    with machine.connect(SOURCE) as slow:
        slow.sendall(b"3000000 5\n")
        for _ in range(20):
            test_echo_from_the_host(machine)
        assert read_all(slow) == expected


def test_a_guest_that_does_not_read(machine):
    """The host's writes stop when the guest's credit is used up."""
    piece, sent = bytes(range(256)) * 256, 0
    with machine.connect(DEAF) as end:
        end.settimeout(1)
        with pytest.raises(TimeoutError):
            while True:
                sent += end.send(piece[sent % 256:])
        end.settimeout(None)
        test_echo_from_the_host(machine)
        end.shutdown(socket.SHUT_WR)
        said = read_all(end).decode()
    whole = (bytes(range(256)) * (sent // 256 + 1))[:sent]
    assert said == hashlib.md5(whole).hexdigest()


def test_messages_from_the_host(machine):
    """Each comes back as it was, however long; a stream is not what listens there."""
    with machine.connect_for_messages(MESSAGES) as end:
        for number in range(100):
            end.sendall(message_of(number))
            assert end.recv(MESSAGE_MAX) == message_of(number)
        for number in range(0, 100, 5):
            end.sendall(message_of(number))
        end.shutdown(socket.SHUT_WR)
        for number in range(0, 100, 5):
            assert end.recv(MESSAGE_MAX) == message_of(number)
        assert end.recv(MESSAGE_MAX) == b""
    assert machine.connect_for_messages(4999) is None


def test_messages_from_the_guest(machine):
    with machine.listen(7003, messages=True) as listener:
        with machine.popen("exec", machine.name, "python3", PEER, "letters", 7003, 200,
                           stdout=subprocess.PIPE) as client:
            end, _ = listener.accept()
            with end:
                messages = []
                while message := end.recv(MESSAGE_MAX):
                    messages.append(message)
                assert messages == [message_of(number) for number in range(200)]
                end.setblocking(True)
                for message in messages:
                    end.sendall(message)
            lengths = client.stdout.read().split()
    assert [int(length) for length in lengths] == [len(message) for message in messages]


def test_nobody_there(machine):
    assert machine.connect(4999) is None
    assert machine.exec("python3", PEER, "refused", 6999).stdout == b"ConnectionResetError\n"


def test_address(machine):
    script = "import fcntl, struct; print(struct.unpack('I', fcntl.ioctl(open('/dev/vsock'), 0x7b9,"
    script += " b'    '))[0])"
    assert machine.exec("python3", "-c", script).stdout == b"42\n"


def test_rebinding(machine):
    """The driver lets go and comes back while connections are open and come."""
    script = """cd /sys/bus/virtio/drivers/vmw_vsock_virtio_transport
device=$(echo virtio*)
for i in 1 2 3 4 5 6 7 8 9 10; do
    echo $device >unbind; sleep 0.1; echo $device >bind; sleep 0.3
done"""
    machine.sh(f"(setsid sh -c '{script}' >/tmp/rebind.log 2>&1; touch /tmp/rebound) &")
    ends = [machine.connect(SOURCE) for _ in range(3)]
    for end in filter(None, ends):
        with contextlib.suppress(OSError):
            end.sendall(b"50000000 1\n")

    def rebound_under_load():
        if end := machine.connect(ECHO):
            with end, contextlib.suppress(OSError):
                end.sendall(b"x" * 100000)
        return machine.exec("test", "-e", "/tmp/rebound").returncode == 0

    wait_until(rebound_under_load, "the driver does not come back", pause=0)
    for end in filter(None, ends):
        end.close()
    assert machine.sh("cat /tmp/rebind.log") == ""
    test_echo_from_the_host(machine)
    test_echo_from_the_guest(machine)


def test_kernel_log_is_clean(machine):
    assert bad_lines(machine.sh("dmesg")) == []


def devices_of(ringlet, debian_kernel, runtime, *args):
    """What --dry-run says of socket devices."""
    done = subprocess.run([ringlet, "run", "-k", debian_kernel, "--dry-run", *args],
                          capture_output=True, check=True, timeout=60,
                          env=dict(os.environ, XDG_RUNTIME_DIR=str(runtime)))
    return [device for device in json.loads(done.stdout)["devices"]
            if device.get("virtio") == "virtio-vsock"]


def test_dry_run(ringlet, debian_kernel, tmp_path):
    """The device is there when it is asked for, or the machine has a name; its socket goes."""
    tmp_path.chmod(0o700)
    common = (ringlet, debian_kernel, tmp_path)
    assert devices_of(*common) == []
    assert [device["cid"] for device in devices_of(*common, "--vsock", "auto")] == [3]
    assert [device["cid"] for device in devices_of(*common, "--name", "a")] == [3]
    assert devices_of(*common, "--name", "a", "--vsock", "none") == []
    path = str(tmp_path / "s")
    (device,) = devices_of(*common, "--vsock", "77", "--vsock-path", path, "-i", "none")
    assert (device["cid"], device["socket"]) == (77, path)
    assert not os.path.exists(path)


@pytest.mark.parametrize("args, part", [
    (["--vsock", "2"], "address of 3 to"),
    (["--vsock", "4294967295"], "address of 3 to"),
    (["--vsock", "x"], "not 'x'"),
    (["--vsock-path", "/tmp/" + "x" * 100], "path has 1 to"),
    (["--vsock-path", "/nonexistent/s"], "cannot listen at /nonexistent/s"),
    (["--vsock-path", "/etc/passwd"], "cannot listen at /etc/passwd"),
])
def test_wrong_options(ringlet, debian_kernel, args, part):
    done = subprocess.run([ringlet, "run", "-k", debian_kernel, *args, "--dry-run"],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False,
                          timeout=60)
    assert done.returncode in (1, 4) and not done.stdout
    assert part in done.stderr and done.stderr.count("\n") == 1
