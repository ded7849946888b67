# SPDX-License-Identifier: MIT
"""ringlet kernel: Debian's kernels, here from a Debian of our own that offers small ones."""
import functools
import hashlib
import http.server
import json
import os
import pty
import subprocess
import threading

import pytest

OFFERED = ["6.1.0-9-amd64", "6.1.0-10-amd64", "6.12.1+deb12-cloud-amd64"]


def make_package(path, version, arch, image="vmlinuz", depends=""):
    """A kernel's, or (depends: on it) the one that names the current one."""
    name = "linux-image-" + version
    tree = path.parent / f"{path.name}.tree"
    if not depends:
        (tree / "boot").mkdir(parents=True)
        (tree / f"boot/{image}-{version}").write_text(f"kernel {version}\n")
    (tree / "DEBIAN").mkdir(parents=True)
    control = (f"Package: {name}\nVersion: 1\nArchitecture: {arch}\nMaintainer: a <a@b.c>\n{depends}"
               "Description: a kernel\n")
    (tree / "DEBIAN/control").write_text(control)
    subprocess.run(["dpkg-deb", "--build", tree, path], check=True, capture_output=True)
    return control


@pytest.fixture(name="debian")
def debian_fixture(tmp_path):
    """Programs that stand for apt's; packages with a kernel each."""
    programs, packages = tmp_path / "bin", tmp_path / "packages"
    programs.mkdir()
    packages.mkdir()
    for version in OFFERED:
        make_package(packages / f"linux-image-{version}_1.deb", version, "amd64")
    names = "\\n".join(f"linux-image-{version}{suffix}" for version in OFFERED
                       for suffix in ("", "-dbg", "-unsigned"))
    (programs / "apt-cache").write_text(f"""#!/bin/sh
case "$*" in
"pkgnames linux-image-") printf '{names}\\nlinux-image-amd64\\nlinux-image-6.1-amd64\\n' ;;
"depends linux-image-amd64") printf 'linux-image-amd64\\n  Depends: linux-image-6.1.0-10-amd64\\n' ;;
*) exit 100 ;;
esac
""")
    (programs / "apt-get").write_text(f"""#!/bin/sh
for package; do :; done
[ -e {tmp_path}/broken ] && {{ echo "E: no network" >&2; exit 100; }}
cp {packages}/"$package"_1.deb .
""")
    for program in programs.iterdir():
        program.chmod(0o755)
    return tmp_path


@pytest.fixture(name="run")
def run_fixture(ringlet, debian):
    def run(*args):
        env = {"PATH": f"{debian}/bin:/usr/bin:/bin", "XDG_CACHE_HOME": str(debian / "cache")}
        return subprocess.run([ringlet, *args], capture_output=True, text=True, check=False,
                              env=env, timeout=60, stdin=subprocess.DEVNULL, cwd=debian)
    return run


def test_fetching(run, debian):
    """Into the cache, once; run takes the newest, whichever came last."""
    assert run("kernel", "list").stdout == ""
    kernels = debian / "cache/ringlet/kernels"
    for given, version in (((), "6.1.0-10-amd64"), (("6.1.0-9",), "6.1.0-9-amd64"),
                           ((OFFERED[2],), OFFERED[2])):
        path = kernels / f"linux-image-{version}/boot/vmlinuz-{version}"
        for _ in range(2):
            done = run("kernel", "fetch", *given)
            assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}\n", "")
            (debian / "broken").touch()
        (debian / "broken").unlink()
        assert path.read_text() == f"kernel {version}\n"
    assert [line.split()[0] for line in run("kernel", "list").stdout.splitlines()] == OFFERED
    assert sorted(os.listdir(kernels)) == sorted(f"linux-image-{version}" for version in OFFERED)
    if not os.path.exists(f"/boot/vmlinuz-{os.uname().release}"):
        assert json.loads(run("run", "--dry-run").stdout)["kernel"].endswith(OFFERED[2])


def test_listing(run):
    """What is here and what there is; symbols and names for the current one are no kernels."""
    run("kernel", "fetch", "6.1.0-9")
    listed = json.loads(run("kernel", "list", "--available", "--json").stdout)
    assert [kernel["version"] for kernel in listed] == OFFERED
    assert [kernel["path"] is not None for kernel in listed] == [True, False, False]
    assert {kernel["arch"] for kernel in listed} == {"amd64"}
    assert json.loads(run("kernel", "list", "--json").stdout) == listed[:1]


def test_what_cannot_be_fetched(run, debian):
    def refused(status, part, *args):
        done = run("kernel", "fetch", *args)
        assert done.returncode == status and done.stdout == ""
        assert part in done.stderr.splitlines()[-1]
    refused(1, "no package has a kernel '6.1.0-11'", "6.1.0-11")
    refused(1, "no package has a kernel 'mips'", "mips")
    refused(1, "no package has a kernel '--help'", "--", "--help")
    refused(1, "usage", "1", "2")
    (debian / "broken").touch()
    refused(4, "cannot download linux-image-6.1.0-10-amd64")
    assert os.listdir(debian / "cache/ringlet/kernels") == []
    (debian / "bin/apt-cache").write_text("#!/bin/sh\n")
    refused(4, "run apt-get update")


# ---- other architectures: the real apt, and an archive on this host ----

FOREIGN = {  # by architecture: the image's name, the current kernel, what it is called by, others
    "arm64": ("vmlinuz", "6.1.0-10-arm64", "arm64", ["6.1.0-9-arm64", "6.1.0-10-arm64-dbg"]),
    "ppc64el": ("vmlinux", "6.1.0-10-powerpc64le", "powerpc64le", []),
    "i386": ("vmlinuz", "6.1.0-10-686-pae", "686-pae", []),
}


def make_archive(root):
    """An archive as Debian's are: dists/ and its indices, pool/. riscv64 is none of its own."""
    (root / "pool").mkdir(parents=True)
    sums = ""
    for arch, (image, current, newest, others) in FOREIGN.items():
        packages = ""
        for version in [current, *others, newest]:
            file = root / f"pool/{version}_{arch}.deb"
            depends = f"Depends: linux-image-{current}\n" if version == newest else ""
            control = make_package(file, version, arch, image, depends)
            packages += (f"{control}Filename: pool/{file.name}\nSize: {file.stat().st_size}\n"
                         f"SHA256: {hashlib.sha256(file.read_bytes()).hexdigest()}\n\n")
        index = f"main/binary-{arch}/Packages"
        (root / "dists/test" / index).parent.mkdir(parents=True)
        (root / "dists/test" / index).write_text(packages)
        sums += f" {hashlib.sha256(packages.encode()).hexdigest()} {len(packages)} {index}\n"
    (root / "dists/test/Release").write_text(
        f"Origin: Test\nSuite: test\nCodename: test\nArchitectures: {' '.join(FOREIGN)}\nComponents: main\n"
        f"Date: Sun, 01 Nov 2026 00:00:00 UTC\nSHA256:\n{sums}")


@pytest.fixture(name="archive", params=["file", "http"])
def archive_fixture(request, tmp_path, monkeypatch):
    """Where it is; apt knows no other one."""
    root = tmp_path / "archive"
    make_archive(root)
    source, server = f"file:{root}", None
    if request.param == "http":
        handler = functools.partial(Quiet, directory=root)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever).start()
        source = f"http://127.0.0.1:{server.server_address[1]}/"
    (tmp_path / "sources").mkdir()
    (tmp_path / "sources/test.list").write_text(f"deb [trusted=yes] {source} test main\n")
    (tmp_path / "apt.conf").write_text(f'Dir::Etc::sourcelist "/dev/null";\n'
                                       f'Dir::Etc::sourceparts "{tmp_path}/sources";\n')
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield root
    if server:
        server.shutdown()
        server.server_close()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files, and says nothing."""

    def log_message(self, *args):  # pylint: disable=arguments-differ
        pass


@pytest.fixture(name="ask")
def ask_fixture(ringlet, tmp_path):
    def ask(*args):
        return subprocess.run([ringlet, "kernel", *args], capture_output=True, text=True,
                              check=False, timeout=60, stdin=subprocess.DEVNULL, cwd=tmp_path)
    return ask


def test_other_architectures(ask, archive, ringlet, tmp_path):
    """By their names or a version's; they are in the cache, and not what this machine's guests boot."""
    kernels = tmp_path / "cache/ringlet/kernels"
    for wanted, version, image in [("arm64", "6.1.0-10-arm64", "vmlinuz"),
                                   ("6.1.0-9-arm64", "6.1.0-9-arm64", "vmlinuz"),
                                   ("ppc64el", "6.1.0-10-powerpc64le", "vmlinux"),
                                   ("i386", "6.1.0-10-686-pae", "vmlinuz")]:
        path = kernels / f"linux-image-{version}/boot/{image}-{version}"
        done = ask("fetch", wanted)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}\n", "")
        assert path.read_text() == f"kernel {version}\n"
    assert [line.split()[:2] for line in ask("list").stdout.splitlines()] == [
        ["6.1.0-9-arm64", "arm64"], ["6.1.0-10-686-pae", "i386"], ["6.1.0-10-arm64", "arm64"],
        ["6.1.0-10-powerpc64le", "ppc64el"]]
    assert [line.split()[0] for line in ask("list", "ppc64el").stdout.splitlines()] \
        == ["6.1.0-10-powerpc64le"]
    listed = json.loads(ask("list", "--available", "--json", "arm64").stdout)
    assert [kernel["version"] for kernel in listed] == ["6.1.0-9-arm64", "6.1.0-10-arm64"]
    if not os.path.exists(f"/boot/vmlinuz-{os.uname().release}"):
        done = subprocess.run([ringlet, "run", "--dry-run"], capture_output=True, text=True,
                              check=False, timeout=60, cwd=tmp_path)
        assert done.returncode == 1 and "no kernel" in done.stderr
    assert (archive / "pool").exists()


def test_what_an_archive_has_not(ask, archive):
    """No such architecture there; no such version; a package that is gone; a damaged one."""
    def refused(status, part, *args):
        done = ask(*args)
        assert done.returncode == status and done.stdout == ""
        assert part in done.stderr.splitlines()[-1], done.stderr
    refused(4, "apt's sources have no kernel for riscv64 (no package linux-image-riscv64)",
            "fetch", "riscv64")
    refused(1, "see 'ringlet kernel list --available arm64'", "fetch", "6.1.0-11-arm64")
    refused(1, "no architecture 'mips': amd64, i386, arm64, ppc64el, riscv64", "list", "mips")
    image = archive / "pool/6.1.0-10-arm64_arm64.deb"
    whole = image.read_bytes()
    image.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(4, "cannot download linux-image-6.1.0-10-arm64", "fetch", "arm64")
    image.unlink()
    refused(4, "cannot download linux-image-6.1.0-10-arm64", "fetch", "arm64")
    assert ask("list").stdout == ""
    image.write_bytes(whole)
    assert ask("fetch", "arm64").returncode == 0
    # Off the network, what is here is enough.
    (archive / "dists").rename(archive / "gone")
    done = ask("fetch", "arm64")
    assert done.returncode == 0 and done.stdout.endswith("-arm64\n")
    assert "the package lists of arm64 are not up to date" in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("when", ["update", "download"])
def test_an_interrupt(ringlet, tmp_path, when):
    """Ctrl-C ends it, whichever program of apt's is under way, and leaves nothing."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "apt-get").write_text(f'#!/bin/sh\ncase "$*" in *" {when}"*) kill -INT $$ ;; esac\n')
    (programs / "apt-cache").write_text("#!/bin/sh\necho '  Depends: linux-image-6.1.0-10-arm64'\n")
    for program in programs.iterdir():
        program.chmod(0o755)
    done = subprocess.run([ringlet, "kernel", "fetch", "arm64"], capture_output=True, text=True,
                          check=False, timeout=60, cwd=tmp_path, stdin=subprocess.DEVNULL,
                          env={"PATH": f"{programs}:/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path)})
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "ringlet: error: interrupted\n")
    kernels = tmp_path / "ringlet/kernels"
    assert not kernels.exists() or os.listdir(kernels) == []


@pytest.mark.parametrize("archive", ["file"], indirect=True)
def test_progress_is_for_terminals(archive, ringlet, tmp_path):
    """Standard error shows how far it is on a terminal alone; standard output is the path as ever."""
    assert archive.exists()
    master, slave = pty.openpty()
    done = subprocess.run([ringlet, "kernel", "fetch", "arm64"], stdout=subprocess.PIPE,
                          stderr=slave, stdin=subprocess.DEVNULL, check=True, timeout=60,
                          cwd=tmp_path, env=dict(os.environ, NO_COLOR="1", TERM="xterm"))
    os.close(slave)
    shown = os.read(master, 65536)
    os.close(master)
    assert b"unpacking" in shown and b"\x1b[3" not in shown
    assert done.stdout.decode().count("\n") == 1 and done.stdout.endswith(b"-arm64\n")
