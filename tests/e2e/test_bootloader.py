# SPDX-License-Identifier: MIT
"""Kernels that a BIOS starts, through their real-mode entry: Linux, and GRUB, which loads others.

There is no disk. GRUB's files are in the BIOS's flash, where it knows coreboot's file system. It is
a kernel itself in two ways: for the Linux protocol behind lnxboot.img, and by a Multiboot header.
"""
import pathlib
import struct
import subprocess

import pytest

from guest import bad_lines, on_screen

BIOS = pathlib.Path("/usr/share/seabios/bios-256k.bin")
GRUB = pathlib.Path("/usr/lib/grub/i386-pc")
RESCUE_ISO = pathlib.Path("/usr/lib/grub-rescue/grub-rescue-cdrom.iso")
MODULES = ("biosdisk serial terminfo terminal normal test echo cbfs ls cat lsmmap cpuid date boot"
           " linux linux16 multiboot halt reboot").split()
CONFIG = """serial --unit=0
terminal_input serial
terminal_output serial
terminfo serial dumb
"""
FLASH_BYTES = 16 << 20
PROMPT = "grub> "
TIMEOUT_S = 120

by_engine = pytest.mark.parametrize("accel", ["interp", "translate"])
# Linux unpacks itself here, which the interpreter is slow at.
linux_by_engine = pytest.mark.parametrize(
    "accel", ["translate", pytest.param("interp", marks=pytest.mark.long)])
LINUX_TIMEOUT_S = 600


def kernel_of(core, path):
    """GRUB's core image as a kernel of the Linux protocol."""
    path.write_bytes((GRUB / "lnxboot.img").read_bytes() + core)
    return path


@pytest.fixture(scope="session", name="core")
def _core(tmp_path_factory):
    """GRUB's core image with the modules wanted here, on the serial port."""
    directory = tmp_path_factory.mktemp("grub")
    (directory / "config").write_text(CONFIG)
    subprocess.run(["grub-mkimage", "-O", "i386-pc", "-p", "(cbfsdisk)", "-c", directory / "config",
                    "-o", directory / "core.img", *MODULES], check=True)
    return (directory / "core.img").read_bytes()


def flash(files):
    """A flash chip: the BIOS at its end, before it files in coreboot's CBFS."""
    bios = BIOS.read_bytes()
    chip = bytearray(b"\xff" * FLASH_BYTES)
    align = at = 64
    struct.pack_into(">4s6I", chip, 0, b"ORBC", 0x31313132, FLASH_BYTES, len(bios), align, at, 0)
    for name, data in files.items():
        encoded = name.encode() + b"\0"
        header = (24 + len(encoded) + align - 1) // align * align
        struct.pack_into(f">8s4I{len(encoded)}s", chip, at, b"LARCHIVE", len(data), 0x50, 0, header,
                         encoded)
        chip[at + header:at + header + len(data)] = data
        at = (at + header + len(data) + align - 1) // align * align
    assert at <= FLASH_BYTES - len(bios)
    chip[-len(bios):] = bios
    struct.pack_into("<I", chip, FLASH_BYTES - 4, (1 << 32) - FLASH_BYTES)
    return bytes(chip)


@pytest.fixture(name="grub")
def _grub(start, core, tmp_path, accel):
    """Starts GRUB with these files in its flash and further options; the Guest, at the prompt."""
    def start_grub(files, *options):
        (tmp_path / "flash").write_bytes(flash(files))
        guest = start("--accel", accel, "-f", tmp_path / "flash",
                      "-k", kernel_of(core, tmp_path / "grub"), "-i", "none", *options)
        guest.expect(PROMPT, TIMEOUT_S)
        return guest
    return start_grub


def command(guest, line):
    """Has GRUB carry out a command."""
    guest.send(line + "\r")
    guest.expect(PROMPT, TIMEOUT_S)
    return guest.console.before


@by_engine
def test_grub_commands(grub):
    guest = grub({"hello": b"hello, flash\n"})
    memory = command(guest, "lsmmap")
    assert "base_addr = 0x0, length = 0x9fc00, available RAM" in memory
    assert "base_addr = 0x100000, length = 0x1fefe000, available RAM" in memory
    assert "long" in command(guest, "if cpuid -l; then echo long; fi").splitlines()[-2]
    assert "hello, flash" in command(guest, "cat (cbfsdisk)/hello")
    assert "error: file `/none' not found." in command(guest, "cat (cbfsdisk)/none")
    guest.send("halt\r")
    assert guest.wait() == 0


@by_engine
def test_grub_reboots(grub):
    guest = grub({})
    guest.send("reboot\r")
    assert guest.wait() == 2


@by_engine
def test_rescue_image(start, tmp_path, accel):
    """The kernel of Debian's rescue image, as it is: on the BIOS's screen and keys, for want of
    the disc with the rest it comes to its rescue prompt."""
    subprocess.run(["xorriso", "-osirrox", "on", "-indev", RESCUE_ISO, "-extract",
                    "/boot/grub/i386-pc/eltorito.img", tmp_path / "eltorito"],
                   check=True, capture_output=True)
    start_sectors = (GRUB / "cdboot.img").stat().st_size
    core = (tmp_path / "eltorito").read_bytes()[start_sectors:]
    guest = start("--accel", accel, "-f", BIOS, "-k", kernel_of(core, tmp_path / "grub"),
                  "-i", "none")
    guest.expect(on_screen("grub rescue> "), TIMEOUT_S)
    guest.send("set\r")
    guest.expect(on_screen("prefix=") + ".*" + on_screen("/boot/grub"), TIMEOUT_S)


@by_engine
def test_multiboot(grub, core, ringlet):
    """It loads itself, and then another Multiboot kernel, which ends the machine."""
    kernel = pathlib.Path(ringlet).parent / "tests/guests/64/longmode.guest"
    guest = grub({"grub": core, "kernel": kernel.read_bytes()}, "--debug-exit")
    command(guest, "multiboot (cbfsdisk)/grub")
    guest.send("boot\r")
    guest.expect(on_screen("Welcome to GRUB"), TIMEOUT_S)
    guest.expect(PROMPT, TIMEOUT_S)
    command(guest, "multiboot (cbfsdisk)/kernel")
    guest.send("boot\r")
    guest.wait(TIMEOUT_S)
    assert guest.process.returncode == 1, guest.tail()


def check_linux(guest):
    guest.ready(LINUX_TIMEOUT_S)
    assert "debian" in guest.sh("cat /proc/version").lower()
    log = guest.dmesg()
    assert "SMBIOS" in log and "DMI: " in log
    assert not bad_lines(log)
    guest.send("poweroff -f\n")
    assert guest.wait() == 0


@linux_by_engine
@pytest.mark.parametrize("protocol", ["linux", "linux16"])
def test_grub_loads_linux(grub, debian_kernel, test_initramfs, protocol):
    """Through the kernel's 32-bit entry and through its real-mode one."""
    initrd = "initrd" + protocol.removeprefix("linux")
    guest = grub({"vmlinuz": pathlib.Path(debian_kernel).read_bytes(),
                  "initrd": test_initramfs.read_bytes()}, "-c", "2")
    command(guest, f"{protocol} (cbfsdisk)/vmlinuz console=ttyS0 panic=-1 quiet cryptomgr.notests")
    command(guest, f"{initrd} (cbfsdisk)/initrd")
    guest.send("boot\r")
    check_linux(guest)


@linux_by_engine
def test_bios_loads_linux(start, linux, accel):
    check_linux(start("--accel", accel, "-f", BIOS, *linux(), "-c", "2"))
