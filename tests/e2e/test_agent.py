# SPDX-License-Identifier: MIT
"""An agent that does as it likes, and what ringlet exec and cp make of it: no machine is needed."""
import os
import socket
import struct
import subprocess
import threading

import pytest

(HELLO, SET, RUN, STDIN, RESIZE, SIGNAL, GET, PUT, STDOUT, STDERR, ROOM, EXIT, FAIL, DIR, FILE, LINK,
 DATA, UP, WARN, END) = range(1, 21)
TIMEOUT_S = 60


def frame(kind, data=b""):
    return struct.pack("<II", kind, len(data)) + data


def word(kind, value):
    return frame(kind, struct.pack("<I", value))


def named(kind, name, mode=0o644):
    return frame(kind, struct.pack("<I", mode) + name)


HELLO_FRAME = word(HELLO, 1)


class Agent:
    """Listens where a machine's socket would be; says what it was given to each client, and keeps what
    it hears until somebody wants it."""

    def __init__(self, ringlet, runtime):
        self.ringlet = ringlet
        runtime.chmod(0o700)
        (runtime / "ringlet").mkdir(mode=0o700)
        self.environment = dict(os.environ, XDG_RUNTIME_DIR=str(runtime))
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(runtime / "ringlet/fake.vsock"))
        self.listener.listen(5)
        self.heard = b""

    def serve(self, speech):
        end, _ = self.listener.accept()
        with end:
            assert end.recv(100).startswith(b"CONNECT 1023\n")
            end.sendall(b"OK 1\n" + speech)
            end.shutdown(socket.SHUT_WR)
            try:
                while piece := end.recv(1 << 16):
                    self.heard += piece
            except ConnectionResetError:
                pass

    def meet(self, *args, speech, **kwargs):
        """What subprocess.run says of a client of an agent that says all of speech at once."""
        server = threading.Thread(target=self.serve, args=(speech,))
        server.start()
        if "input" not in kwargs:
            kwargs["stdin"] = subprocess.DEVNULL
        done = subprocess.run([self.ringlet, *map(str, args)], env=self.environment, check=False,
                              capture_output=True, timeout=TIMEOUT_S, **kwargs)
        server.join()
        return done


@pytest.fixture(name="agent")
def agent_fixture(ringlet, tmp_path):
    runtime = tmp_path / "run"
    runtime.mkdir()
    agent = Agent(ringlet, runtime)
    yield agent
    agent.listener.close()


def test_an_agent_that_behaves(agent):
    speech = HELLO_FRAME + frame(STDOUT, b"out") + frame(STDERR, b"err") + word(EXIT, 7 << 8)
    done = agent.meet("exec", "fake", "--env", "A=b", "--", "prog", "x y", speech=speech)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"out", b"err")
    assert agent.heard.startswith(frame(SET, b"env=A=b") + frame(SET, b"arg=prog")
                                  + frame(SET, b"arg=x y") + frame(RUN))


def test_no_more_input_than_there_is_room_for(agent):
    """What the agent has not told to have used up is never exceeded."""
    window = 128 << 10
    speech = HELLO_FRAME + word(ROOM, 0)
    done = agent.meet("exec", "fake", "cat", speech=speech, input=bytes(10 * window))
    assert done.returncode == 255
    start = agent.heard.index(frame(RUN)) + 8
    sent, at = 0, start
    while at < len(agent.heard):
        kind, length = struct.unpack_from("<II", agent.heard, at)
        assert kind == STDIN
        sent += length
        at += 8 + length
    assert sent <= window


@pytest.mark.parametrize("speech, part", [
    (b"", "does not answer"),
    (b"\1\0\0\0", "does not answer"),
    (word(HELLO, 2), "another version"),
    (frame(HELLO), "another version"),
    (word(EXIT, 0), "another version"),
    (struct.pack("<II", HELLO, 1 << 31), "does not answer"),
    (HELLO_FRAME, "before the program"),
    (HELLO_FRAME + frame(STDOUT, b"x")[:8], "before the program"),
    (HELLO_FRAME + struct.pack("<II", STDOUT, (64 << 10) + 1), "does not speak"),
    (HELLO_FRAME + struct.pack("<II", STDOUT, 0xffffffff), "does not speak"),
    (HELLO_FRAME + word(ROOM, 1), "does not speak"),
    (HELLO_FRAME + word(ROOM, 0xffffffff), "does not speak"),
    (HELLO_FRAME + frame(ROOM, b"\1"), "does not speak"),
    (HELLO_FRAME + frame(EXIT, b"12345"), "does not speak"),
    (HELLO_FRAME + frame(99), "does not speak"),
    (HELLO_FRAME + word(STDIN, 0), "does not speak"),
    (HELLO_FRAME + frame(FAIL, b"\x1b[31mred\x07\xff" + "\u00e4".encode()), "?[31mred??\u00e4"),
    (HELLO_FRAME + frame(FAIL), "error: \n"),
    (HELLO_FRAME + frame(FAIL, b"y" * (64 << 10)), "error: yyy"),
])
def test_nonsense_for_exec(agent, speech, part):
    done = agent.meet("exec", "fake", "true", speech=speech)
    assert done.returncode == 255 and not done.stdout
    assert part in done.stderr.decode() and done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("speech, part", [
    (frame(DIR, b"\0\0\0\0") + named(FILE, b"../evil"), "does not speak"),
    (frame(DIR, b"\0\0\0\0") + named(FILE, b".."), "does not speak"),
    (frame(DIR, b"\0\0\0\0") + named(LINK, b"l\0/etc") + named(FILE, b"l/x"), "does not speak"),
    (frame(DIR, b"\0\0\0\0") + named(LINK, b"l\0..") + named(DIR, b"l"), "l: Not a directory"),
    (frame(DIR, b"\0\0\0\0") + named(LINK, b"l\0../evil") + named(FILE, b"l"), "symbolic link"),
    (frame(END), "does not speak"),
    (frame(FAIL, b"\x1b]0;title\x07"), "in the guest: ?]0;title?"),
    (frame(DIR, b"\0\0\0\0"), "the connection to 'fake' broke"),
    (word(EXIT, 0), "does not speak"),
])
def test_nonsense_for_cp(agent, tmp_path, speech, part):
    (tmp_path / "to").mkdir()
    done = agent.meet("cp", "-r", "fake:/tree", tmp_path / "to/new", speech=HELLO_FRAME + speech)
    assert done.returncode == 1
    assert part in done.stderr.decode() and done.stderr.count(b"\n") == 1
    assert agent.heard == frame(GET, b"-r\0/tree")
    assert not (tmp_path / "evil").exists() and not (tmp_path / "to/evil").exists()
    assert sorted(os.listdir(tmp_path)) == ["run", "to"]


def test_a_receiver_that_gives_up(agent, tmp_path):
    (tmp_path / "source").write_bytes(bytes(5_000_000))
    speech = HELLO_FRAME + frame(FAIL, b"the disk is full")
    done = agent.meet("cp", tmp_path / "source", "fake:/x", speech=speech)
    assert done.returncode == 1 and b"in the guest: the disk is full" in done.stderr


def test_a_device_that_does_not_answer_as_one(agent):
    def serve():
        end, _ = agent.listener.accept()
        with end:
            end.recv(100)
            end.sendall(b"x" * 1000)

    server = threading.Thread(target=serve)
    server.start()
    done = subprocess.run([agent.ringlet, "exec", "fake", "true"], env=agent.environment, check=False,
                          capture_output=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL)
    server.join()
    assert done.returncode == 255 and done.stderr.count(b"\n") == 1
