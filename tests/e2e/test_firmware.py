# SPDX-License-Identifier: MIT
"""Software that is no Linux: a BIOS as firmware, a memory tester as kernel."""
import pathlib
import re
import subprocess

import pytest

from guest import on_screen

CTRL_A_X = "\x01x"
MEMTEST = "/boot/memtest86+{}.bin"


def installed(path, package):
    if not pathlib.Path(path).exists():
        pytest.skip(f"no {path}: install {package}")
    return path


@pytest.mark.parametrize("image", ["bios.bin", "bios-256k.bin"])
def test_seabios(start, image):
    """It finds the machine, tells its debug port (our log) and ends for want of a disk."""
    guest = start("-f", installed(f"/usr/share/seabios/{image}", "seabios"), "-c", 2, "-m", "256M",
                  "--log-level", "info")
    guest.expect(on_screen("No bootable device"), 120)
    guest.send(CTRL_A_X)
    assert guest.wait() == 0
    said = guest.errors()
    assert "SeaBIOS (version" in said
    assert "addr 0x0000000000100000 len 0x000000000ff00000 [RAM]" in said
    for part in ("Found 2 cpu(s)", "Found 4 serial ports", "PS2 keyboard initialized",
                 "Copying SMBIOS", "Booting from Hard Disk"):
        assert part in said
    assert not re.search(r"WARNING|ERROR|[Uu]nable to|Timeout", said), said


# Reads sector 1, writes it with its first byte increased to sector 2, and says that byte.
BOOT_SECTOR = """
	bits 16
	org 0x7c00
	xor ax, ax
	mov ds, ax
	mov si, packet
	mov ah, 0x42
	int 0x13
	jc end
	inc byte [0x8000]
	inc byte [sector]
	mov ax, 0x4300
	int 0x13
	jc end
	mov al, [0x8000]
end:	mov dx, 0xf4
	out dx, al
halt:	hlt
	jmp halt
packet:	db 16, 0
	dw 1, 0x8000, 0
sector:	dq 1
	times 510-($-$$) db 0
	dw 0xaa55
"""


@pytest.mark.parametrize("file", ["disk.raw", "disk.qcow2"])
def test_seabios_starts_from_a_disk(start, ringlet, tmp_path, file):
    """Its driver is not Linux's: small rings, one request at a time, no interrupts."""
    (tmp_path / "boot.asm").write_text(BOOT_SECTOR)
    subprocess.run(["nasm", "-f", "bin", "-o", "boot", "boot.asm"], cwd=tmp_path, check=True)
    sectors = [(tmp_path / "boot").read_bytes(), b"\x20" + b"data" * 127 + b"end"]
    (tmp_path / "disk.raw").write_bytes(b"".join(sectors).ljust(1 << 20, b"\0"))
    subprocess.run([ringlet, "disk", "convert", "disk.raw", "disk.qcow2"], cwd=tmp_path, check=True)
    guest = start("-f", installed("/usr/share/seabios/bios-256k.bin", "seabios"), "-m", "128M", "-c", 1,
                  "-d", tmp_path / file, "--debug-exit")
    assert guest.wait() == 0x21 << 1 | 1
    subprocess.run([ringlet, "disk", "convert", "--force", file, "after.raw"], cwd=tmp_path, check=True)
    after = (tmp_path / "after.raw").read_bytes()
    assert after[:1024] == b"".join(sectors)
    assert after[1024:1536] == b"\x21" + sectors[1][1:] and not any(after[1536:])


def start_memtest(start, flavour, *args):
    image = installed(MEMTEST.format(flavour), "memtest86+")
    return start("-k", image, "-i", "none", "-p", "console=ttyS0,115200", *args)


def screen(output):
    """The text of a screen drawn with escape sequences, without them."""
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "\n", output)


@pytest.mark.parametrize("flavour", ["x64", "ia32"])
def test_memtest_starts(start, flavour):
    """Long mode and 32-bit paging; it knows the memory's size and gets through its first tests."""
    guest = start_memtest(start, flavour, "-m", "16M")
    guest.expect("Memtest86.*v6", 60)
    guest.expect(r"#\d+ +\[(Moving|Block|Random|Modulo|Bit)", 240)
    guest.send(CTRL_A_X)
    assert guest.wait() == 0
    shown = screen(guest.output())
    assert re.search(r"Memory *: +16MB", shown)
    assert set(re.findall(r"Errors: *(\d+)", shown)) == {"0"}
    assert guest.errors() == ""


@pytest.mark.long
def test_memtest_passes(start):
    guest = start_memtest(start, "x64", "-m", "16M", "-c", 2)
    guest.expect(r"Pass: *1 ", 1500)
    guest.send(CTRL_A_X)
    assert guest.wait() == 0
    assert set(re.findall(r"Errors: *(\d+)", screen(guest.output()))) == {"0"}
