# SPDX-License-Identifier: MIT
"""Networks: the guest's programs and the host's talk to each other, in every way that there is."""
import contextlib
import hashlib
import http.server
import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from guest import NO_KVM
from waiting import wait_until

GUEST_S = 150  # a boot and what is done in it, on a busy host
MIB = 1 << 20
LOOPBACK = "127.0.0.1"
HOST = "10.0.2.2"

# What the scripts in guests have.
PRELUDE = """
import hashlib, os, socket, subprocess, sys, threading, time, urllib.request
def say(*words): print(*words, flush=True)
def sh(line): return subprocess.run(line, shell=True, check=True, capture_output=True, text=True).stdout
def connect(host, port): return socket.create_connection((host, port), timeout=60)
def receive_all(stream):
    return b"".join(iter(lambda: stream.recv(1 << 20), b""))
"""


def start_guest(ringlet, kernel, script, *args):
    """A guest that runs a Python script; its streams are pipes."""
    return subprocess.Popen([ringlet, "run", "-k", kernel, *map(str, args), "--", "python3", "-c",
                             PRELUDE + script], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def finish(guest, timeout=GUEST_S):
    """What the script printed; it must have ended well."""
    try:
        output, errors = guest.communicate(timeout=timeout)
    finally:
        guest.kill()
    assert guest.returncode == 0, output + errors
    assert not NO_KVM.sub("", errors), errors
    return output


@pytest.fixture
def run_guest(ringlet, debian_kernel):
    """run_guest(script, options ...) is what the script printed in a guest."""
    def run(script, *args, timeout=GUEST_S):
        return finish(start_guest(ringlet, debian_kernel, script, *args), timeout)
    return run


@pytest.fixture
def begin_guest(ringlet, debian_kernel):
    """The same for one that goes on meanwhile."""
    guests = []

    def begin(script, *args):
        guests.append(start_guest(ringlet, debian_kernel, script, *args))
        return guests[-1]
    yield begin
    for guest in guests:
        guest.kill()
        guest.communicate()


@contextlib.contextmanager
def serving(handle, family=socket.AF_INET, address=LOOPBACK):
    """A TCP server of the host's: handle(stream) for each connection. Its port."""
    listener = socket.create_server((address, 0), family=family)
    threads = []

    def serve():
        with contextlib.suppress(OSError):
            while True:
                stream, _ = listener.accept()
                threads.append(threading.Thread(target=lambda s=stream: answer(s)))
                threads[-1].start()

    def answer(stream):
        with stream:
            handle(stream)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()
        for each in threads:
            each.join(GUEST_S)


def free_port(kind=socket.SOCK_STREAM):
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind((LOOPBACK, 0))
        return probe.getsockname()[1]


def expect_line(guest, wanted):
    line = guest.stdout.readline()
    assert line.strip() == wanted, line + guest.stderr.read()


# ---- user mode ----

class Hello(http.server.BaseHTTPRequestHandler):
    """Says what it was asked for."""

    def do_GET(self):  # pylint: disable=invalid-name
        text = f"hello {self.path}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *args):  # pylint: disable=arguments-differ
        pass


def test_http_to_the_host(run_guest):
    """The default network reaches a server on the host's loopback."""
    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Hello) as server:
        threading.Thread(target=server.serve_forever).start()
        port = server.server_address[1]
        said = run_guest(f"say(urllib.request.urlopen('http://{HOST}:{port}/x', timeout=60).read())")
        server.shutdown()
    assert said == "b'hello /x'\n"


def test_http_through_a_forward(begin_guest):
    port = free_port()
    guest = begin_guest("""
import http.server
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"from the guest")
    def log_message(self, *args): pass
server = http.server.HTTPServer(("", 80), Hello)
say("ready")
server.handle_request()
""", "-n", f"user,hostfwd=tcp:{port}-:80")
    expect_line(guest, "ready")
    with socket.create_connection((LOOPBACK, port), timeout=60) as stream:
        stream.sendall(b"GET / HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: stream.recv(4096), b""))
    assert text.endswith(b"\r\n\r\nfrom the guest")
    finish(guest)


def noise(seed, size_mib):
    """Random bytes, in pieces: Python makes no gigabyte of them at once."""
    source = random.Random(seed)
    return b"".join(source.randbytes(MIB) for _ in range(size_mib))


@pytest.mark.parametrize("size", [32, pytest.param(1024, marks=pytest.mark.long)])
def test_large_transfers(run_guest, size):
    """Both ways at once, checksummed."""
    data = noise(5, size)
    found = []

    def handle(stream):
        sender = threading.Thread(target=lambda: (stream.sendall(data),
                                                  stream.shutdown(socket.SHUT_WR)))
        sender.start()
        digest = hashlib.sha256()
        while piece := stream.recv(MIB):
            digest.update(piece)
        sender.join()
        found.append(digest.hexdigest())

    with serving(handle) as port:
        said = run_guest(f"""
import random
source = random.Random(6)
data = b"".join(source.randbytes(1 << 20) for _ in range({size}))
stream = connect("{HOST}", {port})
def send(): stream.sendall(data); stream.shutdown(socket.SHUT_WR)
sender = threading.Thread(target=send)
sender.start()
digest = hashlib.sha256()
while piece := stream.recv(1 << 20): digest.update(piece)
sender.join()
say(digest.hexdigest())
""", "-c", "2", "-m", str(512 + 2 * size), timeout=GUEST_S + size)
    assert said.strip() == hashlib.sha256(data).hexdigest()
    assert found == [hashlib.sha256(noise(6, size)).hexdigest()]


def test_many_connections(run_guest):
    """Some at once, and some hundred in a row."""
    def handle(stream):
        stream.sendall(stream.recv(100).swapcase())

    with serving(handle) as port:
        said = run_guest(f"""
def talk(number):
    for i in range(20):
        with connect("{HOST}", {port}) as stream:
            stream.sendall(b"Number %d" % (20 * number + i))
            assert receive_all(stream) == b"nUMBER %d" % (20 * number + i)
threads = [threading.Thread(target=talk, args=(i,)) for i in range(10)]
for thread in threads: thread.start()
for thread in threads: thread.join()
say("done")
""", "-c", "2")
    assert said == "done\n"


UDP_SIZES = [0, 1, 1400, 9000, 16300, 20000]


def test_udp(begin_guest):
    """Datagrams out and in, those that are cut into fragments, too."""
    port = free_port(socket.SOCK_DGRAM)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind((LOOPBACK, 0))
        server.settimeout(GUEST_S)
        guest = begin_guest(f"""
inside = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
inside.bind(("", 7))
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
out.settimeout(60)
for size in {UDP_SIZES}:
    out.sendto(bytes([size % 251]) * size, ("{HOST}", {server.getsockname()[1]}))
    assert out.recv(65536) == bytes([size % 250]) * size, size
say("ready")
for size in {UDP_SIZES}:
    data, peer = inside.recvfrom(65536)
    inside.sendto(data[::-1], peer)
""", "-n", f"user,hostfwd=udp:{port}-:7")
        for size in UDP_SIZES:
            data, peer = server.recvfrom(65536)
            assert data == bytes([size % 251]) * size
            server.sendto(bytes([size % 250]) * size, peer)
    expect_line(guest, "ready")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(60)
        for size in UDP_SIZES:
            data = random.Random(size).randbytes(size)
            client.sendto(data, (LOOPBACK, port))
            assert client.recv(65536) == data[::-1]
    finish(guest)


def test_ipv6(run_guest):
    if not socket.has_ipv6 or not pathlib.Path("/proc/net/if_inet6").exists():
        pytest.skip("this host has no IPv6")
    with serving(lambda stream: stream.sendall(b"six"), socket.AF_INET6, "::1") as port:
        said = run_guest(f"""
for attempt in range(300): # until the router has been heard
    if "fd00::" in sh("ip -6 -o addr show dev eth0"): break
    time.sleep(0.1)
say(receive_all(connect("fd00::2", {port})))
""")
    assert said == "b'six'\n"


def test_addresses(run_guest):
    said = run_guest("""
say(sh("cat /sys/class/net/eth0/address /sys/class/net/eth1/address").split())
say(sh("ip -4 -o addr show dev eth0").split()[3], sh("ip -4 -o addr show dev eth1").split()[3])
say(sh("ip route show default").split("dev")[0])
say(open("/etc/resolv.conf").read())
open("/tmp/resolv", "w").write("x")
""", "-n", "user,net=10.11.12.0/24,host=10.11.12.1,mac=02:00:00:00:00:77", "-n", "user")
    assert said.splitlines() == ["['02:00:00:00:00:77', '02:72:6c:00:00:02']",
                                 "10.11.12.15/24 10.0.3.15/24", "default via 10.11.12.1 ",
                                 "nameserver 10.11.12.3", ""]


def test_several_cards(run_guest):
    with serving(lambda stream: stream.sendall(b"x")) as port:
        said = run_guest(f"say(*[receive_all(connect(f'10.0.{{n}}.2', {port})) for n in (2, 3, 4)])",
                         "-n", "user", "-n", "user", "-n", "user")
    assert said == "b'x' b'x' b'x'\n"


def test_restrict(begin_guest):
    """Out is closed, in is open."""
    inside = free_port()
    with serving(lambda stream: stream.sendall(b"x")) as port:
        guest = begin_guest(f"""
server = socket.create_server(("", 5))
say("ready")
stream, _ = server.accept()
try:
    socket.create_connection(("{HOST}", {port}), timeout=3)
    stream.sendall(b"got out")
except OSError:
    stream.sendall(b"locked in")
stream.close()
""", "-n", f"user,restrict,hostfwd=tcp:{inside}-:5")
        expect_line(guest, "ready")
        with socket.create_connection((LOOPBACK, inside), timeout=60) as stream:
            assert stream.recv(100) == b"locked in"
        finish(guest)


def test_none(run_guest):
    assert run_guest("say(os.listdir('/sys/class/net'))", "-n", "none") == "['lo']\n"


def test_mmio(run_guest):
    with serving(lambda stream: stream.sendall(b"x")) as port:
        assert run_guest(f"say(receive_all(connect('{HOST}', {port})))", "--virtio-mmio") == "b'x'\n"


# ---- names: a network namespace with a name server of ours ----

NAME_SERVER = r"""
import os, socket, struct, subprocess, sys
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
subprocess.run(["mount", "--bind", sys.argv[1], "/etc/resolv.conf"], check=True)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
if not os.fork():
    os.execvp(sys.argv[2], sys.argv[2:])
while True:
    query, peer = server.recvfrom(2000)
    end = query.index(b"\0", 12) + 5
    is_a = query[end - 4:end - 2] == b"\0\1"
    answer = b"\xc0\x0c\0\1\0\1" + struct.pack(">IH", 60, 4) + bytes([192, 0, 2, 33])
    server.sendto(query[:2] + b"\x81\x80\0\1" + struct.pack(">H", is_a) + b"\0\0\0\0"
                  + query[12:end] + (answer if is_a else b""), peer)
"""


def namespace(*flags):
    """A prefix for commands that gives them a network of their own, or a reason why not."""
    prefix = ["unshare", "-n", *flags] if os.getuid() == 0 else ["unshare", "-rn", *flags]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this host does not let us make network namespaces")
    return prefix


def test_names(ringlet, debian_kernel, tmp_path):
    """The host's name server answers the guest's questions; the host's own file stays as it is."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    (tmp_path / "server.py").write_text(NAME_SERVER)
    before = pathlib.Path("/etc/resolv.conf").read_bytes()
    process = subprocess.Popen(
        [*namespace("-m"), "python3", tmp_path / "server.py", tmp_path / "resolv.conf", ringlet, "run",
         "-k", debian_kernel, "--", "python3", "-c",
         PRELUDE + "say(socket.gethostbyname('ringlet.example'))"],
        stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout.readline() == "192.0.2.33\n"
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
    assert pathlib.Path("/etc/resolv.conf").read_bytes() == before


# ---- tap ----

TAP_HOST = r"""
import hashlib, os, random, socket, subprocess, sys
def ip(*words): subprocess.run(["ip", *words], check=True)
ip("link", "set", "lo", "up")
ip("tuntap", "add", "tap0", "mode", "tap", *sys.argv[1].split())
ip("addr", "add", "192.168.77.1/24", "dev", "tap0")
ip("link", "set", "tap0", "up")
data = random.Random(7).randbytes(64 << 20)
server = socket.create_server(("192.168.77.1", 9))
if not os.fork():
    os.execvp(sys.argv[2], sys.argv[2:])
def serve():
    stream, _ = server.accept()
    digest = hashlib.sha256()
    stream.sendall(data)
    stream.shutdown(socket.SHUT_WR)
    while piece := stream.recv(1 << 20): digest.update(piece)
    assert digest.digest() == hashlib.sha256(data).digest()
for _ in range(4): serve()
sys.exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""

TAP_GUEST = r"""
import random
sh("ip addr add 192.168.77.2/24 dev eth0")
def talk():
    stream = connect("192.168.77.1", 9)
    data = receive_all(stream)
    stream.sendall(data)
    return hashlib.sha256(data).hexdigest()
say(len({talk() for _ in range(3)}))
sh("ip link set eth0 mtu 1400")
say(talk())
say(sh("ls -d /sys/class/net/eth0/queues/rx-*").count("rx-"))
say(sh("ethtool -k eth0 2>/dev/null || true"))
"""


@pytest.mark.parametrize("flags, cpus, queues", [("", 1, 1), ("multi_queue", 3, 3), ("", 2, 1)])
def test_tap(ringlet, debian_kernel, tmp_path, flags, cpus, queues):
    """Large transfers over a tap, of one queue and of several."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("/dev/net/tun is not for us")
    (tmp_path / "host.py").write_text(TAP_HOST)
    done = subprocess.run(
        [*namespace(), "python3", tmp_path / "host.py", flags, ringlet, "run", "-k", debian_kernel,
         "-n", "tap,ifname=tap0", "-c", str(cpus), "--", "python3", "-c", PRELUDE + TAP_GUEST],
        capture_output=True, text=True, timeout=2 * GUEST_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[:3] == ["1", hashlib.sha256(random.Random(7).randbytes(64 * MIB)).hexdigest(),
                         str(queues)]


def test_tap_that_is_made(ringlet, debian_kernel, tmp_path):
    """An interface comes with the machine, and goes; the script is told its name."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("/dev/net/tun is not for us")
    script = tmp_path / "up"
    script.write_text("#!/bin/sh -e\nip addr add 192.168.78.1/24 dev $1\nip link set $1 up\n"
                      "ip addr show $1 >&2\n")
    script.chmod(0o755)
    line = (f"{ringlet} run -k {debian_kernel} -n tap,ifname=mine0,script={script},mtu=3000 -- "
            "sh -c 'ip addr add 192.168.78.2/24 dev eth0; cat /sys/class/net/eth0/mtu; "
            "ping -c 1 -W 20 192.168.78.1 >/dev/null || busybox ping -c 1 -W 20 192.168.78.1'; "
            "ls /sys/class/net; ip link show mine0 2>&1 | grep -c 'does not exist'")
    done = subprocess.run([*namespace(), "sh", "-c", line], capture_output=True, text=True,
                          timeout=GUEST_S, check=False)
    assert done.stdout.startswith("3000\n") and done.stdout.endswith("\n1\n"), done.stdout + done.stderr
    assert "192.168.78.1/24" in done.stderr


TAP_OPEN = """
import fcntl, os, struct, sys
fd = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", b"opened0", int(sys.argv[1], 16)))
os.set_inheritable(fd, True)
os.execv(sys.argv[2], [*sys.argv[2:5], "-n", f"tap,fd={fd}", "--dry-run"])
"""


@pytest.mark.parametrize("flags, good", [("5002", True), ("1002", False), ("5001", False)])
def test_tap_by_descriptor(ringlet, debian_kernel, flags, good):
    """A tap with headers will do, one without and a tun will not."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("/dev/net/tun is not for us")
    done = subprocess.run([*namespace(), "python3", "-c", TAP_OPEN, flags, ringlet, "run",
                           f"--kernel={debian_kernel}"], capture_output=True, text=True, timeout=60,
                          check=False)
    assert (done.returncode == 0) is good, done.stderr
    if good:
        (card,) = [device for device in json.loads(done.stdout)["devices"]
                   if device.get("virtio") == "virtio-net"]
        assert (card["network"], card["mtu"], card["queues"]) == ("tap", 1500, 1)
    else:
        assert "IFF_VNET_HDR" in done.stderr


@pytest.mark.parametrize("option", ["", ",vhost=auto", ",vhost=off"])
@pytest.mark.parametrize("accel", ["translate", "interp"])
def test_no_vhost_beside_an_engine(ringlet, debian_kernel, accel, option):
    """The kernel writes to memory unseen; the card is the one that it always was."""
    if not os.access("/dev/net/tun", os.R_OK | os.W_OK):
        pytest.skip("/dev/net/tun is not for us")
    done = subprocess.run([*namespace(), ringlet, "run", "-k", debian_kernel, "--accel", accel, "-n",
                           f"tap{option}", "--dry-run"], capture_output=True, text=True, timeout=60,
                          check=True)
    (card,) = [device for device in json.loads(done.stdout)["devices"]
               if device.get("virtio") == "virtio-net"]
    assert card["vhost"] is False and not done.stderr


# ---- vde ----

def test_vde(begin_guest, tmp_path):
    """Two guests at one switch."""
    switch = shutil.which("vde_switch")
    if not switch:
        pytest.skip("no vde_switch: install vde2")
    # It ends when nobody can type at it any more.
    process = subprocess.Popen([switch, "-s", tmp_path / "switch"], stdin=subprocess.PIPE,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until((tmp_path / "switch/ctl").exists, "the switch does not start", timeout=30)
        network = f"vde,url=vde://{tmp_path}/switch"
        server = begin_guest("""
sh("ip addr add 192.168.79.1/24 dev eth0")
listener = socket.create_server(("192.168.79.1", 9))
say("ready")
stream, _ = listener.accept()
data = receive_all(stream)
stream.sendall(hashlib.sha256(data).hexdigest().encode())
stream.close()
""", "-n", network)
        expect_line(server, "ready")
        client = begin_guest("""
data = bytes(range(256)) * 20000
sh("ip addr add 192.168.79.2/24 dev eth0")
stream = connect("192.168.79.1", 9)
stream.sendall(data)
stream.shutdown(socket.SHUT_WR)
say(receive_all(stream).decode() == hashlib.sha256(data).hexdigest())
""", "-n", network)
        assert finish(client) == "True\n"
        finish(server)
    finally:
        process.terminate()
        process.communicate()


# ---- life ----

@pytest.mark.parametrize("rounds", [3, pytest.param(100, marks=pytest.mark.long)])
def test_rebinding(run_guest, rounds):
    """The driver lets go and comes back in the middle of transfers."""
    data = random.Random(8).randbytes(4 * MIB)

    def handle(stream):
        with contextlib.suppress(OSError):
            stream.sendall(data)
            stream.shutdown(socket.SHUT_WR)
            stream.settimeout(1)
            stream.recv(1)

    with serving(handle) as port:
        said = run_guest(f"""
import contextlib
device = os.path.basename(os.path.realpath("/sys/class/net/eth0/device"))
def fetch(timeout):
    with contextlib.suppress(OSError):
        with socket.create_connection(("{HOST}", {port}), timeout=timeout) as stream:
            return receive_all(stream)
def rebind(file): open("/sys/bus/virtio/drivers/virtio_net/" + file, "w").write(device)
for i in range({rounds}):
    threads = [threading.Thread(target=fetch, args=(0.5,)) for _ in range(3)]
    for thread in threads: thread.start()
    time.sleep(0.05)
    rebind("unbind")
    rebind("bind")
    for thread in threads: thread.join()
    sh("ip addr add 10.0.2.15/24 dev eth0; ip link set eth0 up")
    say(hashlib.sha256(fetch(60)).hexdigest())
log = sh("dmesg")
for word in ("BUG", "WARNING", "Call Trace", "virtio_net: "): assert word not in log, log
""", "-c", "2", timeout=GUEST_S + 5 * rounds)
    assert said.split() == [hashlib.sha256(data).hexdigest()] * rounds


def helper_of(process):
    """The process of user mode's network, or None."""
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        with contextlib.suppress(OSError):
            if b"net-user" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    return None


def wait_for_helper(process):
    return wait_until(lambda: helper_of(process), "there is no net-user process", timeout=30)


def is_gone(pid):
    """Whether a process that need not be our child has ended."""
    try:
        stat = pathlib.Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rsplit(")", 1)[1].split()[0] == "Z"


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_the_helper_goes_with_the_machine(begin_guest, end):
    guest = begin_guest("say('ready'); time.sleep(1000)")
    expect_line(guest, "ready")
    helper = wait_for_helper(guest)
    guest.send_signal(end)
    guest.wait(60)
    wait_until(lambda: is_gone(helper), "it stays behind", timeout=30)


def test_the_machine_outlives_the_helper(begin_guest):
    guest = begin_guest("""
carrier = lambda: open("/sys/class/net/eth0/carrier").read().strip()
while carrier() != "1": time.sleep(0.1)
say("ready")
while carrier() != "0": time.sleep(0.1)
say("the cable is out")
""")
    expect_line(guest, "ready")
    os.kill(wait_for_helper(guest), signal.SIGKILL)
    output, errors = guest.communicate(timeout=GUEST_S)
    assert output == "the cable is out\n" and guest.returncode == 0
    assert "network (user) is gone" in errors


@pytest.mark.parametrize("args, part", [
    (["-n", "usr"], "no network 'usr'"),
    (["-n", "user,hostwfd=tcp:1-:2"], "did you mean 'hostfwd'"),
    (["-n", "user,foo"], "no option 'foo': there are mac, mtu, net, host, hostfwd, restrict\n"),
    (["-n", "none,foo"], "no option 'foo': it has none\n"),
    (["-n", "user,hostfwd=tcp:1"], "is no forward"),
    (["-n", "user,net=10.0.0.0/30"], "is no network"),
    (["-n", "tap,fd=3"], "descriptor 3"),
    (["-n", "tap,ifname=name-that-is-too-long"], "too long a name"),
    (["-n", "tap,vhost=on", "--accel", "translate"], "vhost=on is for --accel kvm: the engine 'translate'"),
    (["-n", "tap,vhost=on", "--accel", "interp"], "use vhost=off"),
    (["-n", "tap,vhost=maybe"], "vhost= is auto, on or off, not 'maybe'"),
    (["-n", "vde,url=vde:///nonexistent"], "cannot connect to vde:///nonexistent"),
])
def test_wrong_options(ringlet, debian_kernel, args, part):
    done = subprocess.run([ringlet, "run", "-k", debian_kernel, *args, "--dry-run"], check=False,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == 1 and part in done.stderr, done.stderr
    assert done.stderr.count("\n") == 1 and not done.stdout


@pytest.mark.parametrize("args, networks", [
    (["-n", "none"], []),
    (["-n", "user", "-n", "user,net=10.1.0.0/24", "-n", "none"], []),
    (["-n", "user", "-n", "none", "-n", "user,net=10.1.0.0/24"], ["user,net=10.1.0.0/24"]),
])
def test_none_takes_back_what_was_before(ringlet, debian_kernel, args, networks):
    """So a command line can do without what the configuration file has."""
    done = subprocess.run([ringlet, "run", "-k", debian_kernel, *args, "--dry-run"], check=True,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
    assert json.loads(done.stdout)["networks"] == networks


def test_a_port_that_is_taken(ringlet, debian_kernel):
    with socket.create_server((LOOPBACK, 0)) as server:
        port = server.getsockname()[1]
        done = subprocess.run([ringlet, "run", "-k", debian_kernel, "-n", f"user,hostfwd=tcp:{port}-:1",
                               "--dry-run"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode and f"cannot forward TCP port {port}" in done.stderr
    assert "in use" in done.stderr and done.stderr.count("\n") == 1
