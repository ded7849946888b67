# SPDX-License-Identifier: MIT
"""fio in the guest writes blocks that carry checksums, through several queues, with many requests under way
and discards beside them; it reads them back there, and again on the host."""
import json
import subprocess

import pytest

MIB = 1 << 20

GLOBAL = """[global]
ioengine=libaio
direct=1
iodepth=16
verify=crc32c
verify_fatal=1
"""

# Of a disk's quarters, the first and the third are written, and the second is discarded meanwhile.
JOBS = """[{name}-first]
filename={file}
rw={rw}
bsrange={sizes}
verify_backlog={backlog}
size={quarter}
[{name}-third]
filename={file}
rw={rw}
bsrange={sizes}
verify_backlog={backlog}
offset={half}
size={quarter}
"""
DISCARDS = """[{name}-discards]
filename={file}
rw=randtrim
verify=0
bs=64k
offset={quarter}
size={quarter}
loops=4
"""


def jobs(files, disk_bytes, sizes, rw="randwrite", discards=True):
    """A job file for the disks in files."""
    values = {"quarter": disk_bytes // 4, "half": disk_bytes // 2, "sizes": sizes, "rw": rw,
              "backlog": 64}
    return GLOBAL + "".join((JOBS + DISCARDS * discards).format(name=f"disk{i}", file=file, **values)
                            for i, file in enumerate(files))


def in_guest(ringlet, kernel, tmp_path, disks, text, options=()):
    """Runs a job file in a guest with these disks; by job, what fio tells."""
    (tmp_path / "jobs.fio").write_text(text)
    done = subprocess.run(
        [ringlet, "run", "--no-config", "-k", kernel, "-c", "2", "-m", "768M", *options,
         *(arg for disk in disks for arg in ("-d", disk)), "--",
         "fio", "--output-format=json", str(tmp_path / "jobs.fio")],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=3000)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return {job["jobname"]: job for job in json.loads(done.stdout)["jobs"]}


def check_jobs(told, disk_bytes):
    """That they did what they were to do, and found no error."""
    for name, job in told.items():
        assert job["error"] == 0
        if name.endswith("discards"):
            assert job["trim"]["total_ios"] == disk_bytes // 4 // (64 << 10) * 4
        else:
            # Everything was read back.
            assert job["write"]["io_bytes"] == job["read"]["io_bytes"] == disk_bytes // 4


def check_on_host(tmp_path, raw, disk_bytes, sizes, rw="randwrite"):
    """What the guest wrote is what a file of this host holds."""
    text = jobs([raw], disk_bytes, sizes, rw, discards=False).replace("direct=1\n", "")
    (tmp_path / "host.fio").write_text(text.replace("verify_backlog=64\n", ""))
    done = subprocess.run(["fio", "--verify_only", "host.fio"], cwd=tmp_path, capture_output=True, text=True,
                          check=False, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


def as_raw(tmp_path, image):
    """A copy that QEMU makes of an image that it finds nothing wrong with."""
    subprocess.run(["qemu-img", "check", "-q", image], cwd=tmp_path, check=True)
    subprocess.run(["qemu-img", "convert", "-O", "raw", image, "copy.raw"], cwd=tmp_path, check=True)
    return "copy.raw"


def make(ringlet, tmp_path, name, disk_bytes, *options):
    subprocess.run([ringlet, "disk", "create", name, f"{disk_bytes // MIB}M", *options], cwd=tmp_path, check=True)


def test_raw_and_qcow2(ringlet, debian_kernel, tmp_path):
    size, sizes = 16 * MIB, "4k-128k"
    make(ringlet, tmp_path, "a.raw", size)
    make(ringlet, tmp_path, "b.qcow2", size)
    told = in_guest(ringlet, debian_kernel, tmp_path, ["a.raw,discard", "b.qcow2,discard"],
                    jobs(["/dev/vda", "/dev/vdb"], size, sizes))
    check_jobs(told, size)
    check_on_host(tmp_path, "a.raw", size, sizes)
    check_on_host(tmp_path, as_raw(tmp_path, "b.qcow2"), size, sizes)
    # Nobody wrote to the last quarter, and what was discarded has no place any more.
    assert (tmp_path / "a.raw").read_bytes()[size // 4 * 3:] == bytes(size // 4)
    assert (tmp_path / "a.raw").stat().st_blocks * 512 <= size // 2 + MIB


@pytest.mark.long
@pytest.mark.parametrize("disk, cluster", [
    ("a.raw,discard", None), ("a.raw,discard,io=uring", None), ("a.raw,discard,direct", None),
    ("a.raw,discard,direct,io=threads", None), ("a.qcow2,discard", "4K"),
    ("a.qcow2,discard", "2M"), ("a.qcow2,discard,direct", "64K"),
])
@pytest.mark.parametrize("rw", ["randwrite", "write"])
@pytest.mark.parametrize("sizes", ["4k-64k", "64k-2m"])
def test_much_of_it(ringlet, debian_kernel, tmp_path, disk, cluster, rw, sizes):
    size, name = 256 * MIB, disk.split(",", maxsplit=1)[0]
    make(ringlet, tmp_path, name, size, *(["--cluster-size", cluster] if cluster else []))
    told = in_guest(ringlet, debian_kernel, tmp_path, [disk], jobs(["/dev/vda"], size, sizes, rw))
    check_jobs(told, size)
    check_on_host(tmp_path, as_raw(tmp_path, name) if cluster else name, size, sizes, rw)


@pytest.mark.long
def test_an_overlay(ringlet, debian_kernel, tmp_path):
    """Its base is written to by nobody."""
    size, sizes = 128 * MIB, "4k-256k"
    make(ringlet, tmp_path, "base.raw", size)
    with open(tmp_path / "base.raw", "r+b") as base:
        base.write(b"\x5a" * size)
    told = in_guest(ringlet, debian_kernel, tmp_path, ["base.raw,overlay=top.qcow2,discard"],
                    jobs(["/dev/vda"], size, sizes))
    check_jobs(told, size)
    check_on_host(tmp_path, as_raw(tmp_path, "top.qcow2"), size, sizes)
    assert (tmp_path / "base.raw").read_bytes() == b"\x5a" * size
    assert (tmp_path / "copy.raw").read_bytes()[size // 4 * 3:] == b"\x5a" * (size // 4)
