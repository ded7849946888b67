# SPDX-License-Identifier: MIT
"""The guest's side of test_vsock.py: servers that stay, or one connection to the host.

serve                   ports ECHO, DIGEST, SOURCE … until the machine ends
dial PORT TEXT          says TEXT to the host's port, half-closes, prints what comes back
letters PORT COUNT      COUNT messages to the host's port; prints the lengths of those that come back
pour PORT BYTES SEED    sends bytes to the host's port; prints their digest
refused PORT            prints how connecting to the host's port fails
"""
import hashlib
import itertools
import random
import socket
import sys
import threading

ECHO, DIGEST, SOURCE, DEAF, MESSAGES = 5000, 5001, 5002, 5003, 5004
HOST = 2
PIECE = 1 << 16
MESSAGE_MAX = 1 << 18


def echo(connection):
    while piece := connection.recv(PIECE):
        connection.sendall(piece)


def digest(connection):
    """Of all up to the end, which is a half close."""
    md5 = hashlib.md5()
    while piece := connection.recv(PIECE):
        md5.update(piece)
    connection.sendall(md5.hexdigest().encode())


def pieces_of(count, seed):
    """The same bytes for the same seed, in pieces of which no two are the same."""
    noise = random.Random(seed).randbytes(PIECE - 8)
    for number in itertools.count():
        piece = (number.to_bytes(8, "little") + noise)[:count]
        if not piece:
            return
        yield piece
        count -= len(piece)


def source(connection):
    """"BYTES SEED\\n" asks for them."""
    line = b""
    while not line.endswith(b"\n"):
        line += connection.recv(1)
    for piece in pieces_of(*map(int, line.split())):
        connection.sendall(piece)


def deaf(connection):
    """Reads nothing before the host has found out; then everything."""
    threading.Event().wait(3)
    digest(connection)


def echo_messages(connection):
    while message := connection.recv(MESSAGE_MAX):
        connection.sendall(message)


def message_of(number):
    """Of one byte, and of more than a packet holds; all are different."""
    length = (1, 7, 4096, 100000, 20)[number % 5]
    return random.Random(number).randbytes(length)


def serve_one(connection, serve):
    with connection:
        try:
            serve(connection)
        except OSError:
            pass


def listen(port, serve, kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_VSOCK, kind) as listener:
        listener.bind((socket.VMADDR_CID_ANY, port))
        listener.listen(200)
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=serve_one, args=(connection, serve), daemon=True).start()


def serve_all():
    for port, server in ((ECHO, echo), (DIGEST, digest), (SOURCE, source), (DEAF, deaf)):
        threading.Thread(target=listen, args=(port, server), daemon=True).start()
    threading.Thread(target=listen, args=(MESSAGES, echo_messages, socket.SOCK_SEQPACKET),
                     daemon=True).start()
    print("serving", flush=True)
    threading.Event().wait()


def dial(port, text):
    with socket.socket(socket.AF_VSOCK) as end:
        end.connect((HOST, int(port)))
        end.sendall(text.encode())
        end.shutdown(socket.SHUT_WR)
        answer = b""
        while piece := end.recv(PIECE):
            answer += piece
    print(answer.decode())


def letters(port, count):
    with socket.socket(socket.AF_VSOCK, socket.SOCK_SEQPACKET) as end:
        end.connect((HOST, int(port)))
        for number in range(int(count)):
            end.sendall(message_of(number))
        end.shutdown(socket.SHUT_WR)
        lengths = []
        while message := end.recv(MESSAGE_MAX):
            assert message == message_of(len(lengths))
            lengths.append(len(message))
    print(*lengths)


def pour(port, count, seed):
    md5 = hashlib.md5()
    with socket.socket(socket.AF_VSOCK) as end:
        end.connect((HOST, int(port)))
        for piece in pieces_of(int(count), int(seed)):
            md5.update(piece)
            end.sendall(piece)
    print(md5.hexdigest())


def refused(port):
    with socket.socket(socket.AF_VSOCK) as end:
        try:
            end.connect((HOST, int(port)))
            print("connected")
        except OSError as error:
            print(type(error).__name__)


if __name__ == "__main__":
    {"serve": serve_all, "dial": dial, "letters": letters, "pour": pour,
     "refused": refused}[sys.argv[1]](*sys.argv[2:])
