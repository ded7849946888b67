# SPDX-License-Identifier: MIT
"""Files and numbers that cannot be: one line that says what is wrong, nothing else, status 1."""
import os
import pathlib
import struct
import subprocess

import pytest

BIOS = "/usr/share/seabios/bios.bin"


@pytest.fixture(name="refused")
def refused_fixture(ringlet, tmp_path):
    """Runs ringlet; gives the line that it must end with."""
    def refused(*args, status=1):
        done = subprocess.run([ringlet, "run", *map(str, args)], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, timeout=120, check=False, cwd=tmp_path,
                              env={"XDG_CACHE_HOME": str(tmp_path / "cache")})
        assert done.returncode == status, done.stderr
        assert done.stdout == ""
        assert done.stderr.startswith("ringlet: error: ") and done.stderr.count("\n") == 1
        return done.stderr
    return refused


@pytest.fixture(name="file")
def file_fixture(tmp_path):
    """Makes a file of bytes."""
    def make(data, name="file"):
        path = tmp_path / name
        path.write_bytes(data)
        return path
    return make


def elf(machine, kind=2, size=4096):
    """An ELF64 file of a machine, with one segment at 1 MiB."""
    header = struct.pack("<4sBBB9xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, kind, machine, 1, 0x100000,
                         64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0x100000, 0x100000, size, size, 4096)
    return (header + segment).ljust(size, b"\0")


ARM64 = bytes(56) + b"ARM\x64" + bytes(4000)
KERNELS = {
    "empty": (b"", "is empty"),
    "zeros": (bytes(65536), "is no kernel"),
    "text": (b"hello\n" * 200, "is no kernel"),
    "short": (b"MZ", "truncated"),
    "script": (b"#!/bin/sh\nexit 0\n", "is a script"),
    "gzip": (b"\x1f\x8b\x08" + bytes(1000), "gunzip"),
    "cpio": (b"070701" + b"0" * 104, "cpio"),
    "arm64 Image": (ARM64, "arm64"),
    "riscv Image": (bytes(56) + b"RSC\x05" + bytes(4000), "riscv"),
    "arm64 ELF": (elf(183), "aarch64"),
    "ppc64 ELF": (elf(21), "ppc64"),
    "s390 ELF": (elf(22), "s390"),
    "object": (elf(62, kind=1), "no executable"),
    "user program": (elf(62), "without a PVH entry note"),
    "truncated ELF": (elf(62)[:100], "truncated"),
    "deb": (b"!<arch>\ndebian-binary", "archive"),
    "qcow2": (b"QFI\xfb" + bytes(500), "qcow2"),
}


@pytest.mark.parametrize("data, part", KERNELS.values(), ids=KERNELS.keys())
def test_kernels_that_are_none(refused, file, data, part):
    path = file(data)
    message = refused("-k", path, "-i", "none")
    assert str(path) in message and part in message


@pytest.mark.parametrize("length", [512, 700, 20000, 1 << 20, -4096])
def test_truncated_kernel(refused, file, debian_kernel, length):
    path = file(pathlib.Path(debian_kernel).read_bytes()[:length])
    message = refused("-k", path, "-i", "none")
    assert str(path) in message and "truncated" in message


def test_a_kernel_that_cannot_be_read(refused, tmp_path):
    assert "No such file" in refused("-k", tmp_path / "nothing")
    assert "is a directory" in refused("-k", tmp_path)
    if os.getuid():
        (tmp_path / "secret").touch(mode=0)
        assert "Permission denied" in refused("-k", tmp_path / "secret")


def test_initrds(refused, file, debian_kernel, tmp_path):
    for path, part in ((tmp_path / "nothing", "No such file"), (file(b""), "is empty"),
                       (tmp_path, "is a directory")):
        message = refused("-k", debian_kernel, "-i", path)
        assert "initrd" in message and str(path) in message and part in message


def test_an_initrd_larger_than_the_memory(refused, tmp_path, debian_kernel):
    path = tmp_path / "large"
    with open(path, "wb") as large:
        large.truncate(300 << 20)
    message = refused("-k", debian_kernel, "-i", path, "-m", "256M")
    assert "300 MiB" in message and "-m" in message


def test_a_kernel_larger_than_the_memory(refused, debian_kernel):
    message = refused("-k", debian_kernel, "-i", "none", "-m", "32M")
    assert "memory" in message and "-m" in message


def test_a_command_line_that_is_too_long(refused, debian_kernel):
    assert "2047" in refused("-k", debian_kernel, "-i", "none", "-p", "x" * 3000)


@pytest.mark.parametrize("data, part", [
    (b"", "is empty"), (b"\xf4" * 4096, "64 KiB"), (b"\xf4" * 65537, "4 KiB"),
    (bytes((16 << 20) + 4096), "16 MiB")], ids=["empty", "small", "odd", "large"])
def test_firmware(refused, file, data, part):
    path = file(data)
    message = refused("-f", path)
    assert str(path) in message and part in message


def test_no_firmware(refused, tmp_path):
    assert "No such file" in refused("-f", tmp_path / "nothing")
    assert "is a directory" in refused("-f", tmp_path)


@pytest.mark.parametrize("args, part", [
    (["-m", "0"], "1M"), (["-m", "64K"], "1M"), (["-m", "1T"], "64G"), (["-m", "-1"], "-1"),
    (["-m", "12Q"], "12Q"), (["-m", ""], "mem"), (["-m", "99999999999999999999"], "mem"),
    (["-c", "0"], "254"), (["-c", "255"], "254"), (["-c", "-1"], "cpus"), (["-c", "two"], "two"),
    (["-c", "1.5"], "1.5"), (["-m"], "mem"), (["--frobnicate"], "frobnicate"),
    (["-z"], "z"), (["--reboot=yes"], "reboot"), (["--cpu", "pentium-minus"], "pentium-minus"),
    (["--log-level", "loud"], "loud")])
def test_options(refused, args, part):
    assert part in refused("-f", BIOS, *args)
