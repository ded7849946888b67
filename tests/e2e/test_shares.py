# SPDX-License-Identifier: MIT
"""Shared directories by both protocols: what shares/ asks of a file system, and what hosts do."""
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import shares  # noqa: E402  pylint: disable=wrong-import-position

PYTHON = "/usr/bin/python3"  # the guest's, which has this host's files
CHECKS = f"cd {HERE}; {PYTHON} -m shares"
GUEST_S = 900
P9 = "trans=virtio,version=9p2000.L,msize=512000,cache="
NO_9P = ["fallocate", "rename_flags", "times"]
# Where the guest's writes wait in its own cache, its own rules have been applied to them before.
THROUGH_9P = NO_9P + ["lent_descriptors"]

# How a share is offered and mounted, and what it is known not to do (docs/SHARES.md); the ordinary
# ones are tested always.
VARIANTS = {
    "fs": ("--fs", "", []),
    "fs-none": ("--fs", ",cache=none", ["shared_mmap"]),
    "fs-always": ("--fs", ",cache=always", []),
    "fs-dax": ("--fs", ",dax", ["late_times"]),
    "fs-map": ("--fs", ",map=xattr", ["link_owner"]),
    "9p-none": ("--9p", "", THROUGH_9P + ["shared_mmap"]),
    "9p-mmap": ("--9p", "", THROUGH_9P + ["coherent_maps"]),
    "9p-loose": ("--9p", "", NO_9P),
    "9p-map": ("--9p", ",map=xattr", THROUGH_9P + ["shared_mmap", "link_owner"]),
}
ORDINARY = ("fs", "9p-mmap")
# Who may not give files away has their owners noted, but no link's.
NOTED = [] if os.geteuid() == 0 else ["link_owner"]


def mount(variant, tag, where):
    """A line of the shell."""
    if VARIANTS[variant][0] == "--fs":
        return f"mount -t virtiofs {tag} {where}"
    cache = "none" if variant == "9p-map" else variant.removeprefix("9p-")
    return f"mount -t 9p -o {P9}{cache} {tag} {where}"


@pytest.fixture(scope="module", name="in_guest")
def in_guest_fixture(ringlet, debian_kernel):
    """in_guest(options, script): what the script printed in a guest with this host's files."""
    def run(options, script):
        done = subprocess.run([ringlet, "run", "-k", debian_kernel, "-c", "2", "-m", "1G", *options,
                               "--", "sh", "-ec", script], check=False, capture_output=True,
                              stdin=subprocess.DEVNULL, timeout=GUEST_S)
        assert done.returncode == 0, done.stderr.decode()[-3000:] + done.stdout.decode()[-3000:]
        return done.stdout.decode()
    return run


@pytest.fixture(scope="module", name="outcomes", params=[
    variant if variant in ORDINARY else pytest.param(variant, marks=pytest.mark.long)
    for variant in VARIANTS])
def outcomes_fixture(request, in_guest, tmp_path_factory):
    """What each check said in a share of a kind."""
    variant = request.param
    option, more, limits = VARIANTS[variant]
    without = " ".join(f"--without {limit}" for limit in {*limits, *NOTED})
    output = in_guest([option, f"{tmp_path_factory.mktemp(variant)},tag{more}"],
                      f"mkdir /tmp/mnt; {mount(variant, 'tag', '/tmp/mnt')}; "
                      f"{CHECKS} {without} /tmp/mnt")
    return dict(map(json.loads, output.splitlines()))


@pytest.mark.parametrize("name", shares.CHECKS)
def test_posix(outcomes, name):
    assert outcomes[name] is None, outcomes[name]


@pytest.mark.skipif(os.geteuid() != 0, reason="they are root's, as in the guest")
def test_the_checks_themselves(tmp_path):
    """The host's own file system passes them."""
    done = subprocess.run(["sh", "-c", f"{CHECKS} {tmp_path}"], check=True, timeout=GUEST_S,
                          capture_output=True, text=True)
    outcomes = dict(map(json.loads, done.stdout.splitlines()))
    assert list(outcomes) == list(shares.CHECKS)
    assert not any(outcomes.values()), outcomes


# ---- files in shared memory ----

def test_memory_shared_with_the_host(in_guest, tmp_path):
    """What either side writes into a file, the other one sees in its mapping, and at once. What the guest sees of a file
    that the host makes shorter is its own affair."""
    share, exchange = tmp_path / "share", tmp_path / "exchange"
    share.mkdir()
    exchange.mkdir()
    (share / "file").write_bytes(b"host" + bytes(3 << 20))
    (share / "shrinks").write_bytes(b"x" * (1 << 20))
    (share / "secret").write_bytes(b"read only")

    def host():
        while not (exchange / "ready").exists():
            time.sleep(0.05)
        with open(share / "file", "r+b") as stream:
            stream.seek(1 << 20)
            stream.write(b"seen")
        os.truncate(share / "shrinks", 0)
        (exchange / "go").touch()
    thread = threading.Thread(target=host)
    thread.start()
    output = in_guest(["--fs", f"{share},tag,dax", "--fs", f"{exchange},exchange,cache=none"],
                      f"mkdir /tmp/mnt /tmp/ex; mount -t virtiofs tag /tmp/mnt; "
                      f"mount -t virtiofs exchange /tmp/ex; "
                      f"{PYTHON} {HERE}/shares/mapping.py /tmp/mnt /tmp/ex")
    thread.join()
    done = json.loads(output)
    assert done["before"] == "host" and done["seen"] == "seen"
    assert done["digest"] == hashlib.sha256(b"host" + bytes(3 << 20)).hexdigest()
    assert (share / "file").read_bytes()[:8] == b"GUEST" + bytes(3)
    assert done["shrunk"] in ("zeros", "signal"), done
    # Hidden files of ours do not come about.
    assert sorted(os.listdir(share)) == ["file", "secret", "shrinks"]


def test_memory_that_cannot_be_shared(ringlet, debian_kernel, tmp_path):
    done = subprocess.run([ringlet, "run", "-k", debian_kernel, "--fs", f"{tmp_path},tag,dax",
                           "--virtio-mmio", "--", "true"], check=False, capture_output=True, text=True,
                          timeout=60)
    assert done.returncode and "'dax' is for PCI" in done.stderr


# ---- what hosts have, and do ----

def git(directory, *args):
    return subprocess.run(["git", "-c", "safe.directory=*", "-C", directory, *args], check=True,
                          capture_output=True, text=True).stdout


@pytest.fixture(scope="module", name="repository")
def repository_fixture(tmp_path_factory):
    """A tree of 3,000 files under git, of which some have changed."""
    top = tmp_path_factory.mktemp("repository")
    for number in range(3000):
        path = top / f"dir{number % 60}/sub{number % 7}/file{number}.c"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"int f{number}(void)\n{{\n\treturn {number};\n}}\n" * (number % 9 + 1))
    git(top, "init", "-q")
    git(top, "add", ".")
    git(top, "-c", "user.name=n", "-c", "user.email=e@x", "commit", "-qm", "all")
    for number in range(0, 3000, 100):
        (top / f"dir{number % 60}/sub{number % 7}/file{number}.c").write_text("changed\n")
    (top / "dir1/new").write_text("new\n")
    os.unlink(top / "dir2/sub2/file2.c")
    return top


@pytest.mark.parametrize("variant", ORDINARY)
def test_git(in_guest, repository, variant):
    """It sees what it sees on the host, and writes what the host reads."""
    command = "git -c safe.directory='*'"
    output = in_guest([VARIANTS[variant][0], f"{repository},tag"],
                      f"mkdir /tmp/mnt; {mount(variant, 'tag', '/tmp/mnt')}; cd /tmp/mnt; "
                      f"{command} status --porcelain; echo ====; {command} diff; echo ====; "
                      f"{command} stash -q; {command} stash pop -q; {command} status --porcelain")
    status, diff, after = output.split("====\n")
    assert status == after == git(repository, "status", "--porcelain")
    assert status.count("\n") == 32
    assert diff == git(repository, "diff")
    git(repository, "fsck", "--strict")


class Swapper(threading.Thread):
    """Swaps a directory and a file of a tree with links out of it, all the time."""

    def __init__(self, tree, outside):
        super().__init__()
        self.tree, self.ends = tree, threading.Event()
        for name in ("dir", "spare"):
            (tree / name).mkdir()
        (tree / "file").write_text("inside")
        os.symlink("../outside", tree / "dirlink")
        os.symlink("../outside/secret", tree / "filelink")
        outside.mkdir()
        (outside / "secret").write_text("outside")
        self.swaps = 0

    def run(self):
        while not self.ends.is_set():
            for name, link in (("dir", "dirlink"), ("file", "filelink")):
                for one, two in ((name, "aside"), (link, name), ("aside", link)):
                    os.rename(self.tree / one, self.tree / two)
            self.swaps += 1
            time.sleep(0.0003)  # the guest has to come to something, too


def fingerprint(directory):
    """All that may not change."""
    found = {}
    for path in sorted([directory, *directory.rglob("*")]):
        status = os.lstat(path)
        found[str(path)] = (status.st_mode, status.st_uid, status.st_gid, status.st_size,
                            status.st_mtime_ns, status.st_ctime_ns,
                            path.read_bytes() if path.is_file() else None)
    return found


@pytest.mark.parametrize("variant", ("fs-none", "9p-none"))
def test_a_host_that_swaps_names_for_links(in_guest, tmp_path, variant):
    """Whatever the guest does to them meanwhile, nothing outside is touched."""
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    tree.mkdir()
    swapper = Swapper(tree, outside)
    before = fingerprint(outside)
    swapper.start()
    try:
        output = in_guest([VARIANTS[variant][0], f"{tree},tag{VARIANTS[variant][1]}"],
                          f"mkdir /tmp/mnt; {mount(variant, 'tag', '/tmp/mnt')}; "
                          f"{PYTHON} {HERE}/shares/storm.py /tmp/mnt")
    finally:
        swapper.ends.set()
        swapper.join()
    done = json.loads(output)
    assert fingerprint(outside) == before
    assert swapper.swaps > 100
    # It did succeed often, and met links often.
    assert done["done"] > 100 and done["refused"] > 0, done
    assert not done["secrets"], done
