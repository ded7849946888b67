# SPDX-License-Identifier: MIT
"""A machine that runs beside the test, with the host's files, and commands to it."""
import os
import pathlib
import signal
import socket
import subprocess

from guest import BOOT_S
from waiting import wait_until

COMMAND_S = 120


class Command(subprocess.Popen):
    """One of ours that runs beside the test. A test that fails does not wait for its end."""

    def __exit__(self, kind, value, traceback):
        if kind:
            self.kill()
        super().__exit__(kind, value, traceback)


class Machine:
    """ringlet run --name NAME ... -- COMMAND in a directory of its own for the machines' sockets. Every
    Machine must be closed."""

    def __init__(self, ringlet, kernel, directory, *args, name="vm", command=("sleep", "1000")):
        self.ringlet, self.name = ringlet, name
        self.runtime = pathlib.Path(directory) / "run"
        self.runtime.mkdir(mode=0o700, exist_ok=True)
        self.environment = dict(os.environ, XDG_RUNTIME_DIR=str(self.runtime))
        self.output = pathlib.Path(directory) / f"{name}.out"
        with open(self.output, "wb") as output:
            self.process = subprocess.Popen(
                [ringlet, "run", "-k", kernel, "--name", name, *map(str, args), "--", *command],
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=self.environment, start_new_session=True)
        self._wait(self.socket.exists, COMMAND_S)

    def _wait(self, condition, timeout):
        """Until condition() holds, while the machine runs."""
        def holds():
            held = condition()
            assert held or self.process.poll() is None, self.output.read_text()
            return held
        wait_until(holds, self.output.read_text, timeout)

    @property
    def socket(self):
        """The path by which the guest's ports are reached."""
        return self.runtime / "ringlet" / f"{self.name}.vsock"

    def wait_for_output(self, text):
        self._wait(lambda: text in self.output.read_text(), BOOT_S)

    def popen(self, command, *args, **kwargs):
        """Starts ringlet COMMAND for this user's machines."""
        return Command([self.ringlet, command, *map(str, args)], env=self.environment, **kwargs)

    def run(self, command, *args, timeout=COMMAND_S, **kwargs):
        """What subprocess.run says of ringlet COMMAND."""
        if "input" not in kwargs:
            kwargs.setdefault("stdin", subprocess.DEVNULL)
        return subprocess.run([self.ringlet, command, *map(str, args)], check=False,
                              capture_output=True, timeout=timeout, env=self.environment,
                              **kwargs)

    def exec(self, *command, **kwargs):
        """ringlet exec NAME ..."""
        return self.run("exec", "--wait", BOOT_S, self.name, *command, **kwargs)

    def sh(self, script):
        """What a shell script in the guest prints; it must succeed."""
        done = self.exec("--", "sh", "-c", script)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode()

    def connect(self, port):
        """A socket that is connected to a port of the guest's; None: it is refused."""
        end = socket.socket(socket.AF_UNIX)
        end.settimeout(COMMAND_S)
        end.connect(str(self.socket))
        end.sendall(f"CONNECT {port}\n".encode())
        answer = b""
        while not answer.endswith(b"\n"):
            byte = end.recv(1)
            if not byte:
                end.close()
                return None
            answer += byte
        assert answer.startswith(b"OK "), answer
        return end

    def connect_for_messages(self, port):
        """The same for messages."""
        end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        end.settimeout(COMMAND_S)
        end.connect(f"{self.socket}_seqpacket")
        end.sendall(f"CONNECT {port}\n".encode())
        answer = end.recv(100)
        if not answer:
            end.close()
            return None
        assert answer.startswith(b"OK ") and answer.endswith(b"\n"), answer
        return end

    def listen(self, port, messages=False):
        """A socket where the guest can reach the host's port."""
        end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET if messages
                            else socket.SOCK_STREAM)
        end.settimeout(COMMAND_S)
        path = pathlib.Path(f"{self.socket}_{port}")
        path.unlink(missing_ok=True)
        end.bind(str(path))
        end.listen(1)
        return end

    def close(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
