# SPDX-License-Identifier: MIT
"""'ringlet disk': what qemu-img makes is read by us, what we make is read by qemu-img."""
import fcntl
import hashlib
import json
import os
import pathlib
import pty
import random
import subprocess

import pytest

from guest import COMMAND_S
from waiting import wait_until

MIB = 1 << 20


@pytest.fixture(name="disk")
def disk_fixture(ringlet, tmp_path):
    """Runs ringlet disk in a directory of its own; fails the test unless the status is as expected."""
    def disk(*args, status=0):
        done = subprocess.run([ringlet, "disk", *args], capture_output=True, text=True, check=False,
                              cwd=tmp_path, timeout=120, stdin=subprocess.DEVNULL)
        assert done.returncode == status, done.stdout + done.stderr
        if status == 1:
            assert done.stdout == "" and done.stderr.count("\n") == 1
            assert done.stderr.startswith("ringlet: error: ")
        return done.stdout + done.stderr
    return disk


@pytest.fixture(name="qemu_img")
def qemu_img_fixture(tmp_path):
    def qemu_img(*args, status=0):
        done = subprocess.run(["qemu-img", *args], capture_output=True, text=True, check=False,
                              cwd=tmp_path, timeout=120)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout
    return qemu_img


def make_raw(path, size=8 * MIB, seed=1):
    """A disk with data here and there, holes between, and a size that is no multiple of a cluster."""
    rng = random.Random(seed)
    with open(path, "wb") as file:
        file.truncate(size + 512)
        for _ in range(20):
            file.seek(rng.randrange(size // 512) * 512)
            file.write(rng.randbytes(rng.randrange(1, 40) * 512)[:size + 512 - file.tell()])


@pytest.mark.parametrize("kind", [
    "", "-o compat=0.10", "-o cluster_size=512", "-o cluster_size=2M,refcount_bits=64",
    "-o refcount_bits=1", "-o lazy_refcounts=on", "-o preallocation=full", "-c",
    "-c -o compression_type=zstd", "-c -o cluster_size=1k",
])
def test_what_qemu_makes_is_read(disk, qemu_img, tmp_path, kind):
    make_raw(tmp_path / "a.raw")
    qemu_img("convert", "-O", "qcow2", *kind.split(), "a.raw", "b.qcow2")
    assert "nothing wrong" in disk("check", "b.qcow2")
    disk("convert", "b.qcow2", "c.raw")
    assert (tmp_path / "c.raw").read_bytes() == (tmp_path / "a.raw").read_bytes()


@pytest.mark.parametrize("cluster", ["512", "4K", "64K", "2M"])
def test_what_we_make_is_read(disk, qemu_img, tmp_path, cluster):
    make_raw(tmp_path / "a.raw")
    disk("convert", "a.raw", "b.qcow2", "--cluster-size", cluster)
    qemu_img("check", "b.qcow2")
    qemu_img("compare", "-f", "raw", "-F", "qcow2", "a.raw", "b.qcow2")
    disk("create", "c.qcow2", "1G", "--cluster-size", cluster)
    qemu_img("check", "c.qcow2")
    assert json.loads(qemu_img("info", "--output=json", "c.qcow2"))["virtual-size"] == 1 << 30


def test_holes_stay_holes(disk, tmp_path):
    make_raw(tmp_path / "a.raw", 64 * MIB)
    disk("convert", "a.raw", "b.qcow2")
    disk("convert", "b.qcow2", "c.raw")
    for name in ("b.qcow2", "c.raw"):
        assert (tmp_path / name).stat().st_blocks * 512 < 8 * MIB


def test_preallocation(disk, qemu_img, tmp_path):
    disk("create", "a.qcow2", "100M", "--preallocate")
    qemu_img("check", "a.qcow2")
    assert "1600 of 1600 clusters have a place" in disk("check", "a.qcow2")
    assert (tmp_path / "a.qcow2").stat().st_blocks * 512 < 2 * MIB


def test_backing_files(disk, qemu_img, tmp_path):
    (tmp_path / "sub").mkdir()
    make_raw(tmp_path / "sub/base.raw")
    # Relative to the image, not to the current directory; as large as the base.
    disk("create", "sub/top.qcow2", "--backing", "base.raw")
    qemu_img("compare", "-f", "raw", "-F", "qcow2", "sub/base.raw", "sub/top.qcow2")
    assert "base.raw, which is read only with" in disk("convert", "sub/top.qcow2", "x.raw", status=1)
    assert not (tmp_path / "x.raw").exists()
    disk("convert", "--backing", "sub/top.qcow2", "x.raw")
    assert (tmp_path / "x.raw").read_bytes() == (tmp_path / "sub/base.raw").read_bytes()
    assert "No such file" in disk("create", "y.qcow2", "--backing", "base.raw", status=1)
    assert not (tmp_path / "y.qcow2").exists()


def test_a_backing_file_without_a_format(disk, qemu_img, tmp_path):
    """It is not guessed: a raw disk's guest may have written the header of an image."""
    make_raw(tmp_path / "base.raw")
    disk("create", "top.qcow2", "--backing", "base.raw")
    image = bytearray((tmp_path / "top.qcow2").read_bytes())
    where = image.index(b"\xe2\x79\x2a\xca")
    image[where:where + 4] = b"\x01\x02\x03\x04"  # an extension that nobody knows
    (tmp_path / "top.qcow2").write_bytes(image)
    assert "does not say which format" in disk("convert", "--backing", "top.qcow2", "x", status=1)


@pytest.mark.parametrize("name, part", [
    ("nbd:localhost:10809", "no file's name"), ("json:{}", "no file's name"),
    ("./top.qcow2", "lies on itself"), ("/dev/zero", "neither a file"),
])
def test_backing_files_that_are_none(disk, qemu_img, name, part):
    qemu_img("create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", name, "top.qcow2", "1M")
    assert part in disk("convert", "--backing", "top.qcow2", "x.raw", status=1)


def test_images_that_lie_on_each_other(disk, qemu_img):
    for one, other in (("a", "b"), ("b", "a")):
        qemu_img("create", "-q", "-f", "qcow2", "-u", "-F", "qcow2", "-b", f"{other}.qcow2",
                 f"{one}.qcow2", "1M")
    assert "lies on itself" in disk("convert", "--backing", "a.qcow2", "x.raw", status=1)


def test_chains_end(disk, qemu_img):
    disk("create", "0.qcow2", "1M")
    for i in range(1, 20):
        qemu_img("create", "-q", "-f", "qcow2", "-u", "-F", "qcow2", "-b", f"{i - 1}.qcow2",
                 f"{i}.qcow2", "1M")
    disk("convert", "--backing", "10.qcow2", "x.raw")
    assert "more than 16" in disk("convert", "--backing", "19.qcow2", "y.raw", status=1)


def test_snapshots(disk, qemu_img, tmp_path):
    make_raw(tmp_path / "a.raw")
    qemu_img("convert", "-O", "qcow2", "a.raw", "b.qcow2")
    qemu_img("snapshot", "-c", "before", "b.qcow2")
    subprocess.run(["qemu-io", "-c", "write -P 7 0 1M", "b.qcow2"], cwd=tmp_path, check=True,
                   stdout=subprocess.DEVNULL)
    found = json.loads(disk("info", "--json", "b.qcow2"))
    assert [s["name"] for s in found["qcow2"]["snapshots"]] == ["before"]
    disk("convert", "--snapshot", "before", "b.qcow2", "c.raw")
    assert (tmp_path / "c.raw").read_bytes() == (tmp_path / "a.raw").read_bytes()
    disk("convert", "b.qcow2", "d.raw")
    assert (tmp_path / "d.raw").read_bytes()[:MIB] == b"\7" * MIB
    assert "no snapshot 'after'" in disk("convert", "--snapshot", "after", "b.qcow2", "e", status=1)


def test_info(disk, qemu_img):
    qemu_img("create", "-q", "-f", "qcow2", "-o", "compat=0.10,cluster_size=4k", "a.qcow2", "10M")
    found = json.loads(disk("info", "--json", "a.qcow2"))
    assert found["format"] == "qcow2" and found["bytes"] == 10 * MIB
    assert found["qcow2"]["version"] == 2 and found["qcow2"]["cluster_bytes"] == 4096
    text = disk("info", "a.qcow2")
    assert "10485760 bytes (10 M)" in text and "backing" not in text
    assert json.loads(disk("info", "--json", "-f", "raw", "a.qcow2"))["format"] == "raw"


def test_the_format_is_not_guessed(disk, tmp_path):
    """A raw disk whose guest wrote an image's header into it is a raw disk."""
    make_raw(tmp_path / "secret")
    disk("create", "disk.qcow2", "--backing", str(tmp_path / "secret"))
    (tmp_path / "disk.qcow2").rename(tmp_path / "disk")
    size = (tmp_path / "disk").stat().st_size
    found = disk("info", "disk")
    assert "looks like a qcow2 image" in found and f"{size} bytes" in found
    disk("convert", "disk", "copy.raw")
    assert (tmp_path / "copy.raw").read_bytes() == (tmp_path / "disk").read_bytes()


def test_commit(disk, qemu_img, tmp_path):
    make_raw(tmp_path / "base.raw", seed=1)
    disk("create", "top.qcow2", "--backing", "base.raw")
    for command in ("write -P 9 1M 3M", "write -z 5M 64k", "write -P 5 7M 512"):
        subprocess.run(["qemu-io", "-c", command, "top.qcow2"], cwd=tmp_path, check=True,
                       stdout=subprocess.DEVNULL)
    disk("convert", "--backing", "top.qcow2", "want.raw")
    disk("commit", "top.qcow2")
    assert (tmp_path / "base.raw").read_bytes() == (tmp_path / "want.raw").read_bytes()
    assert "0 of 129 clusters" in disk("check", "top.qcow2")
    qemu_img("check", "top.qcow2")
    qemu_img("compare", "-f", "qcow2", "-F", "raw", "top.qcow2", "want.raw")
    disk("create", "alone.qcow2", "1M")
    assert "lies on no other file" in disk("commit", "alone.qcow2", status=1)


def test_leaks_and_errors_are_repaired(disk, qemu_img, tmp_path):
    make_raw(tmp_path / "a.raw")
    disk("convert", "a.raw", "b.qcow2")
    image = bytearray((tmp_path / "b.qcow2").read_bytes())
    block = int.from_bytes(image[65536:65544], "big")
    image += bytes(-len(image) % 65536 + 65536)  # one more cluster, which is no one's
    last = len(image) // 65536 - 1
    for cluster, count, status, part in ((last, 1, 3, "1 clusters lost"), (9, 0, 2, "2 errors")):
        image[block + 2 * cluster:block + 2 * cluster + 2] = count.to_bytes(2, "big")
        (tmp_path / "b.qcow2").write_bytes(image)
        assert part in disk("check", "b.qcow2", status=status)
        assert json.loads(qemu_img("check", "--output=json", "b.qcow2", status=status))
        assert "repaired; nothing wrong" in disk("check", "--repair", "b.qcow2")
        qemu_img("check", "b.qcow2")
        qemu_img("compare", "-f", "raw", "-F", "qcow2", "a.raw", "b.qcow2")


def test_an_image_that_was_not_closed(disk, qemu_img, tmp_path):
    """With lazy refcounts, QEMU leaves them wrong and says so in the header."""
    qemu_img("create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", "a.qcow2", "8M")
    subprocess.run(["qemu-io", "-c", "write -P 3 0 2M", "-c", "flush", "-c", "abort", "a.qcow2"],
                   cwd=tmp_path, check=False, capture_output=True)
    assert json.loads(disk("info", "--json", "a.qcow2"))["qcow2"]["dirty"]
    disk("convert", "a.qcow2", "b.raw")  # to read it, they are not needed
    assert (tmp_path / "b.raw").read_bytes() == b"\3" * 2 * MIB + bytes(6 * MIB)
    assert "repaired; nothing wrong" in disk("check", "--repair", "a.qcow2")
    assert not json.loads(disk("info", "--json", "a.qcow2"))["qcow2"]["dirty"]
    qemu_img("check", "a.qcow2")


@pytest.mark.parametrize("args, part", [
    ([], "no command"),
    (["creat"], "did you mean 'create'"),
    (["create", "a.qcow2"], "needs a size"),
    (["create", "a.qcow2", "big"], "'big' is no size"),
    (["create", "a.qcow2", "1G", "--cluster-size", "3K"], "512|1K"),
    (["create", "a.qcow2", "1T", "--cluster-size", "512"], "larger clusters"),
    (["create", "a.raw", "1G", "--backing", "b"], "no backing file"),
    (["create", "a", "1G", "-f", "vmdk"], "no format 'vmdk'"),
    (["create", "there", "1G"], "there already"),
    (["info", "nowhere"], "No such file"),
    (["info", "-f", "qcow2", "there"], "is no qcow2 image"),
    (["check", "there"], "is no qcow2 image"),
    (["commit", "there"], "is no qcow2 image"),
    (["convert", "there"], "usage: ringlet disk convert [OPTION]... SOURCE NEW"),
    (["convert", "there", "b", "--snapshot", "x"], "no snapshots"),
])
def test_what_is_wrong_is_named(disk, tmp_path, args, part):
    (tmp_path / "there").write_bytes(bytes(4096))
    assert part in disk(*args, status=1)
    assert os.listdir(tmp_path) == ["there"]


@pytest.mark.parametrize("options, part", [
    ("data_file=data", "external data file"), ("extended_l2=on", "extended L2 entries"),
    ("encrypt.format=luks,encrypt.key-secret=s", "encrypted"),
])
def test_features_that_are_not_known(disk, qemu_img, options, part):
    qemu_img("create", "-q", "--object", "secret,id=s,data=x", "-f", "qcow2", "-o", options,
             "a.qcow2", "1M")
    assert part in disk("info", "a.qcow2", status=1)


def test_an_image_that_is_in_use(disk, ringlet, tmp_path):
    disk("create", "a.qcow2", "1M")
    with open(tmp_path / "a.qcow2", "r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        assert "in use" in disk("check", "a.qcow2", status=1)
        assert "in use" in disk("create", "a.qcow2", "1M", "--force", status=1)


def test_progress_on_a_terminal_only(disk, ringlet, tmp_path):
    make_raw(tmp_path / "a.raw")
    assert disk("convert", "a.raw", "b.qcow2") == ""
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(tmp_path)
        os.execl(ringlet, ringlet, "disk", "convert", "a.raw", "c.qcow2")
    text = b""
    try:
        while chunk := os.read(terminal, 4096):
            text += chunk
    except OSError:  # the other end is closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert b"100 %" in text and text.endswith(b"\r\x1b[K")


def test_a_full_host(disk, ringlet, tmp_path):
    """No space: one line, status 4, and nothing is left behind."""
    make_raw(tmp_path / "a.raw")
    done = subprocess.run(["sh", "-c", f"ulimit -f 100; trap '' XFSZ; "
                           f"exec {ringlet} disk convert a.raw b.qcow2"],
                          cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode in (1, 4) and "cannot write b.qcow2" in done.stderr
    assert not (tmp_path / "b.qcow2").exists()


def dry_run(ringlet, tmp_path, disk, status=0):
    """What a machine's description says of its disk, or the error."""
    done = subprocess.run([ringlet, "run", "--dry-run", "--no-config", "-c", "1", "-d", disk], text=True,
                          capture_output=True, check=False, cwd=tmp_path, stdin=subprocess.DEVNULL, timeout=60)
    assert done.returncode == status, done.stderr
    if status:
        return done.stderr
    return next(device for device in json.loads(done.stdout)["devices"]
                if device.get("virtio") == "virtio-blk")


def test_a_dry_run_makes_and_changes_nothing(ringlet, disk, qemu_img, tmp_path):
    make_raw(tmp_path / "base.raw")
    found = dry_run(ringlet, tmp_path, "base.raw,overlay=top.qcow2")
    assert os.listdir(tmp_path) == ["base.raw"]
    assert found["format"] == "qcow2" and found["bytes"] == 8 * MIB + 512 and not found["readonly"]
    assert "No such file" in dry_run(ringlet, tmp_path, "base.raw,overlay=no/top.qcow2", 1)
    disk("create", "top.qcow2", "--backing", "base.raw")
    # An image that a machine would repair first.
    qemu_img("create", "-q", "-f", "qcow2", "-o", "lazy_refcounts=on", "dirty.qcow2", "8M")
    subprocess.run(["qemu-io", "-c", "write -P 3 0 2M", "-c", "flush", "-c", "abort", "dirty.qcow2"],
                   cwd=tmp_path, check=False, capture_output=True)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert dry_run(ringlet, tmp_path, "base.raw,overlay=top.qcow2,ro")["readonly"]
    for options in ("base.raw,overlay=top.qcow2", "dirty.qcow2", "base.raw,discard"):
        assert not dry_run(ringlet, tmp_path, options)["readonly"]
    assert "is no overlay" in dry_run(ringlet, tmp_path, "base.raw,overlay=dirty.qcow2", 1)
    assert "for raw disks" in dry_run(ringlet, tmp_path, "dirty.qcow2,io=uring", 1)
    assert dry_run(ringlet, tmp_path, "base.raw,direct,io=threads")["io"] == "threads"
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_guest_on_an_overlay(start, linux_with, disk, qemu_img, tmp_path):
    """Its base stays as it is. What was synced is there when the monitor was killed; then it is brought down."""
    base, top = tmp_path / "base.raw", tmp_path / "top.qcow2"
    base.write_bytes(bytes(16 * MIB))
    subprocess.run(["/sbin/mkfs.ext4", "-q", base], check=True)
    before = base.read_bytes()
    args = [*linux_with("virtio_pci", "virtio_blk", "crc32c_generic", "ext4"), "-c", "2",
            "-d", f"{base},overlay={top},discard"]
    guest = start(*args).ready()
    guest.sh("load; mkdir -p /mnt; mount -t ext4 -o discard /dev/vda /mnt")
    guest.sh("for i in 1 2 3; do dd if=/dev/urandom of=/mnt/$i bs=700k count=3 2>/dev/null; done; "
             "rm /mnt/2; cd /mnt; md5sum 1 3 >sums; cd /; sync")
    guest.send("dd if=/dev/urandom of=/mnt/more bs=4k count=500\n")
    guest.process.kill()
    guest.process.wait()
    assert base.read_bytes() == before
    found = json.loads(subprocess.run(["qemu-img", "check", "--output=json", top], check=False,
                                      capture_output=True).stdout)
    assert not found["check-errors"] and not found.get("corruptions")
    guest = start(*args).ready()
    guest.sh("load; mkdir -p /mnt; mount -t ext4 /dev/vda /mnt; cd /mnt; md5sum -c sums; cd /; "
             "umount /mnt")
    guest.send("poweroff -f\n")
    assert guest.wait() == 0
    disk("check", "--repair", "top.qcow2")
    disk("convert", "--backing", "top.qcow2", "want.raw")
    disk("commit", "top.qcow2")
    assert base.read_bytes() == (tmp_path / "want.raw").read_bytes() != before
    subprocess.run(["/sbin/e2fsck", "-f", "-n", base], check=True, capture_output=True)


def test_a_guest_on_an_image(start, linux_with, disk, qemu_img, tmp_path):
    """Both processors write at once, directly; QEMU finds the same."""
    disk("create", "a.qcow2", "64M", "--cluster-size", "4K")
    guest = start(*linux_with("virtio_pci", "virtio_blk"), "-c", "2", "-d", tmp_path / "a.qcow2")
    guest.ready()
    guest.sh("load; dd if=/dev/urandom of=/tmp/piece bs=64k count=64 2>/dev/null")
    guest.sh("for i in 0 1; do taskset -c $i dd if=/tmp/piece of=/dev/vda bs=5k seek=$((i*4000)) "
             "oflag=direct 2>/dev/null & done; wait; zeroout /dev/vda 1048576 1048576")
    digest = guest.sh("dd if=/dev/vda bs=1M iflag=direct 2>/dev/null | md5sum").split()[0]
    guest.send("poweroff -f\n")
    assert guest.wait() == 0
    qemu_img("check", "a.qcow2")
    qemu_img("convert", "-O", "raw", "a.qcow2", "a.raw")
    assert hashlib.md5((tmp_path / "a.raw").read_bytes()).hexdigest() == digest


@pytest.fixture(name="loop_device")
def loop_device_fixture(tmp_path):
    """loop_device(size, "-b", "4096"): a block device on a file of zeros; its path, and the file's."""
    devices = []

    def make(size, *options):
        file = tmp_path / f"behind{len(devices)}"
        file.write_bytes(bytes(size))
        done = subprocess.run(["losetup", "--show", "-f", *options, file], capture_output=True, text=True,
                              check=False)
        if done.returncode:
            pytest.skip(f"no loop device to be had here: {done.stderr.strip()}")
        devices.append(done.stdout.strip())
        return devices[-1], file
    yield make
    for device in devices:
        subprocess.run(["losetup", "-d", device], check=True)


def test_block_devices(start, linux_with, loop_device, tmp_path):
    """Their blocks are the guest's; what it gives back are zeros; direct or not, it is the same device."""
    disks = [loop_device(16 * MIB), loop_device(16 * MIB, "-b", "4096"), loop_device(16 * MIB)]
    args = ["-d", f"{disks[0][0]},discard", "-d", disks[1][0], "-d", f"{disks[2][0]},direct"]
    guest = start(*linux_with("virtio_pci", "virtio_blk"), *args).ready()
    guest.sh("load; dd if=/dev/urandom of=/tmp/piece bs=1M count=8 2>/dev/null")
    for disk, block_bytes in (("vda", 512), ("vdb", 4096), ("vdc", 512)):
        assert guest.sh(f"blockdev --getss /dev/{disk}").split() == [str(block_bytes)]
        assert guest.sh(f"blockdev --getsize64 /dev/{disk}").split() == [str(16 * MIB)]
        guest.sh(f"dd if=/tmp/piece of=/dev/{disk} bs=64k seek=3 oflag=direct conv=fsync 2>/dev/null")
    guest.sh("blkdiscard -o 1048576 -l 2097152 /dev/vda")
    digest = guest.sh("md5sum /tmp/piece").split()[0]
    guest.send("poweroff -f\n")
    assert guest.wait() == 0
    for _, file in disks[1:]:
        data = file.read_bytes()
        assert hashlib.md5(data[3 << 16:][:8 * MIB]).hexdigest() == digest
        assert not any(data[:3 << 16]) and not any(data[(3 << 16) + 8 * MIB:])
    assert disks[0][1].read_bytes() == data[:MIB] + bytes(2 * MIB) + data[3 * MIB:]


def test_an_image_on_a_block_device(disk, qemu_img, loop_device, tmp_path):
    """A device is not empty behind what was written last, as a file is."""
    device, file = loop_device(16 * MIB)
    with open(file, "r+b") as stream:
        stream.write(b"\xa5" * 16 * MIB)
    make_raw(tmp_path / "a.raw")
    disk("convert", "a.raw", device, "-O", "qcow2", "--force")
    qemu_img("check", "-f", "qcow2", device)
    qemu_img("compare", "-f", "raw", "-F", "qcow2", "a.raw", device)
    disk("convert", "-f", "qcow2", device, "b.raw")
    assert (tmp_path / "b.raw").read_bytes() == (tmp_path / "a.raw").read_bytes()


@pytest.fixture(name="small_disk")
def small_disk_fixture(tmp_path):
    """A file system of 4 MiB, and what makes it larger."""
    path = tmp_path / "small"
    path.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path], capture_output=True,
                          text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    yield path, lambda: subprocess.run(["mount", "-o", "remount,size=64m", path], check=True)
    subprocess.run(["umount", "-l", path], check=True)


def wait_for_errors(guest, text):
    wait_until(lambda: text in guest.errors(), what=guest.errors)


@pytest.mark.parametrize("image", ["a.raw", "a.qcow2"])
@pytest.mark.parametrize("errors", ["pause", "wait"])
def test_a_full_host_and_a_guest(start, ringlet, linux_with, small_disk, tmp_path, monkeypatch, image, errors):
    """The machine stands, or its writes wait, until there is space; nothing is lost, and the guest sees no error."""
    directory, enlarge = small_disk
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    subprocess.run([ringlet, "disk", "create", directory / image, "32M"], check=True)
    guest = start(*linux_with("virtio_pci", "virtio_blk"), "--name", "one", "-d",
                  f"{directory / image},errors={errors}").ready()
    guest.sh("load; dd if=/dev/urandom of=/tmp/piece bs=1M count=12 2>/dev/null")
    guest.send("dd if=/tmp/piece of=/dev/vda bs=1M oflag=direct conv=fsync\n")
    wait_for_errors(guest, "No space left on device: the " + {"pause": "machine is paused",
                                                              "wait": "guest waits"}[errors])
    enlarge()
    if errors == "pause":
        told = subprocess.run([ringlet, "list", "--json"], capture_output=True, text=True, check=True)
        assert [machine["state"] for machine in json.loads(told.stdout)] == ["paused"]
        subprocess.run([ringlet, "resume", "one"], check=True)
    wait_for_errors(guest, "the guest goes on")
    guest.lines += 1
    guest.expect(f"::line {guest.lines} status 0::")
    guest.sh("dmesg | grep -i 'i/o error'", status=1)
    guest.sh("cmp -n 12582912 /tmp/piece /dev/vda")
    guest.send("poweroff -f\n")
    assert guest.wait() == 0


def unit_test(name, *args):
    """Runs a program of tests/unit as more than 'make test' does."""
    build = os.environ.get("RINGLET_BUILD", pathlib.Path(__file__).resolve().parents[2] / "build")
    subprocess.run([f"{build}/tests/unit/{name}", *args], check=True, timeout=3600)


@pytest.mark.long
def test_a_million_requests():
    """On images of every kind together; see tests/unit/test_qcow2.c."""
    unit_test("test_qcow2", "--operations", "20000", "--seed", "20")


@pytest.mark.long
@pytest.mark.parametrize("seed", ["1", "2"])
def test_every_crash(seed):
    """Behind each entry of the log; see tests/unit/test_qcow2_crash.c."""
    unit_test("test_qcow2_crash", "--points", "0", "--steps", "200", "--seed", seed)
