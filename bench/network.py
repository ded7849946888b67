# SPDX-License-Identifier: MIT
"""What the programs of the class net talk to: a server on the host's loopback, which guests reach by
user-mode networking.
"""
import socket
import threading

CLASS = "net"
PART_BYTES = 4 << 20   # as in network.c
TRIP_BYTES = 64
GUESTS_HOST = "10.0.2.2"


def _take(stream, count, buffer):
    """Reads count bytes; False: the other side is gone."""
    while count:
        done = stream.recv_into(buffer, min(count, len(buffer)))
        if not done:
            return False
        count -= done
    return True


def _serve(stream):
    buffer = bytearray(1 << 20)
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with stream:
        while what := stream.recv(1):
            if what == b"s" and _take(stream, PART_BYTES, buffer):
                stream.sendall(b"x")
            elif what == b"r":
                stream.sendall(bytes(PART_BYTES))
            elif what == b"e" and _take(stream, TRIP_BYTES, buffer):
                stream.sendall(buffer[:TRIP_BYTES])


class Network:
    """The server, as long as this process lives."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            stream, _ = self.listener.accept()
            threading.Thread(target=_serve, args=(stream,), daemon=True).start()

    def environment(self):
        """For the programs on the host."""
        return {"BENCH_NET": f"127.0.0.1:{self.port}"}

    def params(self):
        """For a guest's command line."""
        return f" bench_net={GUESTS_HOST}:{self.port}"

    @staticmethod
    def options(engine):
        """For a machine."""
        return ["-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net"] if engine == "tcg" else []
