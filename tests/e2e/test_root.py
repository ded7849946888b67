# SPDX-License-Identifier: MIT
"""The host's files as the guest's root."""
import os
import pathlib
import shutil
import subprocess

import pytest

from guest import BOOT_S

PROMPT = "ready> "


@pytest.fixture
def shell(start, debian_kernel, monkeypatch):
    """Starts a shell in the host's files; run(guest, line) gives what a line printed."""
    monkeypatch.setenv("SHELL", "/bin/sh")

    def begin(*args):
        guest = start("-k", debian_kernel, "--env", f"PS1={PROMPT}", *args)
        guest.expect(PROMPT, BOOT_S)
        return guest
    return begin


def run(guest, line):
    """What line prints. The marker is not what is typed, so the echo does not end it."""
    guest.send(f"{line}; echo st''atus=$?\n")
    guest.expect(r"status=(\d+)\r\n")
    output, status = guest.console.before, int(guest.console.match.group(1))
    # What is typed before the shell asks is echoed before it asks.
    guest.expect(PROMPT)
    return output.replace("\r\n", "\n").split("\n", 1)[1], status


def test_a_shell_where_we_stand(shell, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here").write_text("what the host wrote\n")
    (tmp_path / "mode").write_text("")
    (tmp_path / "mode").chmod(0o4751)
    os.symlink("here", tmp_path / "link")
    guest = shell("--env", "GREETING=hello")
    assert run(guest, "pwd") == (f"{tmp_path}\n", 0)
    assert run(guest, "cat link") == ("what the host wrote\n", 0)
    assert run(guest, "stat -c %a mode") == ("4751\n", 0)
    assert run(guest, "echo $GREETING; id -u; hostname") == ("hello\n0\nringlet\n", 0)
    # Everything is there, and what is written is only here.
    assert run(guest, "ls /usr/bin | wc -l")[0].strip() == str(len(os.listdir("/usr/bin")))
    assert run(guest, "echo changed > here; rm link; echo new > other; cat here") == ("changed\n", 0)
    guest.send("exit\n")
    assert guest.wait() == 0
    assert (tmp_path / "here").read_text() == "what the host wrote\n"
    assert (tmp_path / "link").is_symlink() and not (tmp_path / "other").exists()


def test_disks(shell, tmp_path):
    """The modules for what the machine has beside its root are there, too."""
    disk = tmp_path / "disk"
    disk.write_bytes(b"from the host\n".ljust(1 << 20, b"\0"))
    guest = shell("-d", disk, "--virtio-mmio")
    assert run(guest, "head -n 1 /dev/vda") == ("from the host\n", 0)
    assert run(guest, "cat /sys/block/vda/size") == ("2048\n", 0)


def test_parts_of_the_root(shell, tmp_path):
    directories = {name: tmp_path / name for name in ("write", "read", "copy", "tagged")}
    for directory in directories.values():
        directory.mkdir()
        (directory / "file").write_text("old\n")
    guest = shell("--rwdir", directories["write"], "--rodir", directories["read"],
                  "--overlay-rwdir", directories["copy"], "--fs", f"{directories['tagged']},mine")
    for name in ("write", "read", "copy"):
        run(guest, f"cd {directories[name]}; echo new > file; mkdir sub; mv file sub/moved")
    run(guest, "mkdir /tmp/mnt && mount -t virtiofs mine /tmp/mnt && echo new > /tmp/mnt/file")
    big = directories["write"] / "big"
    big.write_bytes(os.urandom(3_000_000))
    digest = subprocess.run(["sha256sum", big], check=True, capture_output=True, text=True).stdout
    assert run(guest, f"sleep 1.1; sha256sum {big}") == (digest, 0)
    assert run(guest, f"cp {big} {big}.copy && cmp {big} {big}.copy") == ("", 0)
    guest.send("exit\n")
    assert guest.wait() == 0
    assert (directories["write"] / "sub/moved").read_text() == "new\n"
    assert (directories["read"] / "file").read_text() == "old\n"
    assert (directories["copy"] / "file").read_text() == "old\n"
    assert (directories["tagged"] / "file").read_text() == "new\n"
    assert (directories["write"] / "big.copy").read_bytes() == big.read_bytes()


def test_another_tree_and_user(ringlet, debian_kernel, tmp_path):
    tree = tmp_path / "tree"
    for directory in ("bin", "dev", "proc", "sys", "run", "tmp"):
        (tree / directory).mkdir(parents=True)
    shutil.copy("/bin/busybox", tree / "bin/busybox")
    os.symlink("busybox", tree / "bin/sh")
    done = command(ringlet, debian_kernel, "--root", tree, "--user", "nobody", "sh", "-c",
                   "busybox pwd; busybox id -u; busybox ls -1 /bin")
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"/\n65534\nbusybox\nsh\n"


def command(ringlet, debian_kernel, *args, **kwargs):
    """Runs a command in the host's files; what subprocess.run says."""
    if "input" not in kwargs:
        kwargs.setdefault("stdin", subprocess.DEVNULL)
    return subprocess.run([ringlet, "run", "-k", debian_kernel, *args], check=False, timeout=BOOT_S,
                          capture_output=True, **kwargs)


def test_a_command_is_as_in_a_pipeline(ringlet, debian_kernel):
    """Its streams are apart, nothing else is in them, and its status is ours."""
    done = command(ringlet, debian_kernel, "--", "sh", "-c", "tr a-z A-Z; echo err >&2; exit 7",
                   input=b"some input")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"SOME INPUT", b"err\n")


def test_many_bytes_both_ways(ringlet, debian_kernel, tmp_path):
    data = os.urandom(100_000_000)
    source = tmp_path / "source"
    source.write_bytes(data)
    with open(source, "rb") as stdin:
        done = command(ringlet, debian_kernel, "cat", stdin=stdin)
    assert done.returncode == 0 and done.stdout == data and done.stderr == b""


@pytest.mark.parametrize("script, status", [("echo x", 4), ("echo x >&2", 0), ("echo x; exit 7", 7)])
def test_output_that_cannot_be_written(ringlet, debian_kernel, script, status):
    """A program that has ended by then cannot be told; who asked for it is."""
    with open("/dev/full", "wb") as full:
        done = subprocess.run([ringlet, "run", "-k", debian_kernel, "--", "sh", "-c", script],
                              stdin=subprocess.DEVNULL, stdout=full, stderr=subprocess.PIPE,
                              check=False, timeout=BOOT_S)
    assert done.returncode == status
    assert done.stderr == (b"ringlet: error: cannot write standard output: No space left on device\n"
                           if status else b"x\n")


@pytest.mark.parametrize("script, status", [("kill -9 $$", 137), ("exec nosuch", 127),
                                            ("exit 255", 255)])
def test_statuses(ringlet, debian_kernel, script, status):
    assert command(ringlet, debian_kernel, "sh", "-c", script).returncode == status


def test_systemd_is_process_1(ringlet, debian_kernel, tmp_path, monkeypatch):
    """The command is a service of the tree's own systemd, and all else is as without it."""
    monkeypatch.chdir(tmp_path)
    done = command(ringlet, debian_kernel, "--systemd", "--", "sh", "-c",
                   "cat /proc/1/comm; pwd; cat; systemctl show -p ActiveState --value basic.target; exit 7",
                   input=b"some input\n")
    assert (done.returncode, done.stderr) == (7, b"")
    assert done.stdout.decode().splitlines() == ["systemd", str(tmp_path), "some input", "active"]


def test_a_root_without_systemd(ringlet, debian_kernel, tmp_path):
    for name in ("dev", "proc", "sys", "run"):
        (tmp_path / name).mkdir()
    done = command(ringlet, debian_kernel, "--root", tmp_path, "--systemd", "true")
    assert done.returncode == 255 and b"the root has no systemd" in done.stderr


def test_a_reader_that_goes_away(ringlet, debian_kernel):
    """The writer in the guest gets its SIGPIPE."""
    with subprocess.Popen([ringlet, "run", "-k", debian_kernel, "yes"], stdout=subprocess.PIPE,
                          stdin=subprocess.DEVNULL) as process:
        assert process.stdout.read(6) == b"y\ny\ny\n"
        process.stdout.close()
        assert process.wait(BOOT_S) == 141


def test_a_guest_that_crashes(ringlet, debian_kernel):
    done = command(ringlet, debian_kernel, "sh", "-c", "echo c > /proc/sysrq-trigger")
    assert done.returncode == 255 and done.stdout == b""
    assert b"sysrq triggered crash" in done.stderr
    assert b"the guest ended before its program did" in done.stderr


def test_a_kernel_whose_modules_are_not_there(ringlet, debian_kernel, tmp_path):
    """It is said what is missing, at once."""
    kernel = shutil.copy(debian_kernel, tmp_path / "vmlinuz")
    done = command(ringlet, kernel, "true")
    assert done.returncode == 255
    assert b"ringlet-init: this kernel has no virtio console" in done.stderr


@pytest.mark.parametrize("args, part", [
    (["--root", "/nonexistent"], "cannot share /nonexistent"),
    (["--rwdir", "/nonexistent"], "cannot share /nonexistent"),
    (["--root", "/etc/passwd"], "/etc/passwd"),
    (["--fs", "/tmp"], "--fs takes DIR,TAG"),
    (["--fs", "/tmp,ro"], "--fs takes DIR,TAG: 'ro' is an option, and comes behind the tag"),
    (["--9p", "/tmp,map=none"], "'map=none' is an option"),
    (["--fs", "/tmp," + "x" * 37], "1 to 36 bytes"),
    (["--fs", "/tmp,tag,rw"], "no option 'rw'"),
    (["--fs", "/tmp,tag,map=root"], "none or xattr, not 'root'"),
    (["--fs", "/tmp,tag,cache=2"], "always, auto or none"),
    (["--9p", "/tmp"], "--9p takes DIR,TAG"),
    (["--9p", "/nonexistent,tag"], "cannot share /nonexistent"),
    (["--9p", "/tmp,tag,cache=none"], "no option 'cache'"),
    (["--systemd", "--rw"], "another systemd's"),
    (["--user", "no such user"], "no user 'no such user'"),
])
def test_wrong_options(ringlet, debian_kernel, args, part):
    done = subprocess.run([ringlet, "run", "-k", debian_kernel, *args], capture_output=True,
                          text=True, stdin=subprocess.DEVNULL, check=False, timeout=60)
    assert done.returncode == 1
    assert part in done.stderr and done.stderr.count("\n") == 1


def kernel_without(debian_kernel, directory, *names):
    """Debian's kernel, beside a module tree that lacks some."""
    package = pathlib.Path(debian_kernel).parents[1]
    release = pathlib.Path(debian_kernel).name.removeprefix("vmlinuz-")
    modules = pathlib.Path("lib/modules") / release
    (directory / modules).mkdir(parents=True)
    (directory / "boot").mkdir()
    for name in os.listdir(package / modules):
        (directory / modules / name).symlink_to(package / modules / name)
    order = directory / modules / "modules.order"
    lines = order.read_text().splitlines(keepends=True)
    order.unlink()
    order.write_text("".join(line for line in lines
                             if pathlib.Path(line.strip()).stem not in names))
    return shutil.copy(debian_kernel, directory / "boot")


def test_only_what_is_needed_is_asked_of_a_kernel(ringlet, debian_kernel, tmp_path):
    """Without an overlay, a kernel need not have one."""
    kernel = kernel_without(debian_kernel, tmp_path, "overlay")
    done = command(ringlet, kernel, "--rw", "--rodir", "/etc", "echo", "up")
    assert (done.returncode, done.stdout) == (0, b"up\n"), done.stderr
    done = command(ringlet, kernel, "true")
    assert done.returncode == 1
    assert b"this kernel has no module overlay" in done.stderr and b"--rw goes without" in done.stderr


def test_a_kernel_without_sockets(ringlet, debian_kernel, tmp_path):
    """A machine that has them for its name's sake alone does without."""
    kernel = kernel_without(debian_kernel, tmp_path, "vsock")
    done = command(ringlet, kernel, "--name", f"test-{os.getpid()}", "echo", "up")
    assert (done.returncode, done.stdout) == (0, b"up\n"), done.stderr
    done = command(ringlet, kernel, "--vsock", "auto", "true")
    assert done.returncode == 1 and b"--vsock none goes without" in done.stderr


def test_a_kernel_without_virtiofs_has_9p(ringlet, debian_kernel, tmp_path):
    kernel = kernel_without(debian_kernel, tmp_path / "tree", "virtiofs")
    write = tmp_path / "write"
    write.mkdir()
    done = command(ringlet, kernel, "--rwdir", write, "sh", "-c",
                   f"echo kept > {write}/file; echo lost > /etc/lost; cat /etc/lost; "
                   "grep -c ' 9p ' /proc/mounts")
    assert (done.returncode, done.stdout) == (0, b"lost\n1\n"), done.stderr
    assert (write / "file").read_text() == "kept\n" and not os.path.exists("/etc/lost")


def test_a_kernel_with_neither(ringlet, debian_kernel, tmp_path):
    done = command(ringlet, kernel_without(debian_kernel, tmp_path, "virtiofs", "9p"), "true")
    assert done.returncode == 1
    for part in (b"no module virtiofs", b"no module 9p", b"to share the root file system"):
        assert part in done.stderr


def test_a_sandbox(ringlet, debian_kernel, tmp_path, monkeypatch):
    """It has programs, and places to write to that are nobody else's; no network, nobody's files."""
    monkeypatch.setenv("SECRET", "of mine")
    (tmp_path / "file").write_text("seen\n")

    def sandbox(script, *options):
        return subprocess.run([ringlet, "sandbox", "-k", debian_kernel, *options, "--", "sh", "-c",
                               script], text=True, capture_output=True, check=False, timeout=120,
                              stdin=subprocess.DEVNULL)
    done = sandbox(f"ls -A /home /root /var/tmp; ls {tmp_path}; ls /sys/class/net; echo $SECRET;"
                   "touch /usr/file; touch /etc/file; echo x >/tmp/file && cat /tmp/file; exit 3")
    assert done.returncode == 3
    assert done.stdout == "/home:\n\n/root:\n\n/var/tmp:\nlo\n\nx\n"
    errors = done.stderr.splitlines()
    assert len(errors) == 3 and "No such file" in errors[0]
    assert all("Read-only file system" in line for line in errors[1:])
    done = sandbox(f"cat {tmp_path}/file; touch {tmp_path}/new", "--rodir", str(tmp_path))
    assert done.stdout == "seen\n" and "Read-only" in done.stderr and done.returncode == 1
    assert sorted(os.listdir(tmp_path)) == ["file"]
