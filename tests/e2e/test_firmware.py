# SPDX-License-Identifier: MIT
"""Software that is no Linux: a BIOS as firmware, a memory tester as kernel."""
import pathlib
import re

import pytest

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
    guest.expect("No bootable device", 120)
    guest.send(CTRL_A_X)
    assert guest.wait() == 0
    said = guest.errors()
    assert "SeaBIOS (version" in said
    assert "addr 0x0000000000100000 len 0x000000000ff00000 [RAM]" in said
    for part in ("Found 2 cpu(s)", "Found 4 serial ports", "PS2 keyboard initialized",
                 "Copying SMBIOS", "Booting from Hard Disk"):
        assert part in said
    assert not re.search(r"WARNING|ERROR|[Uu]nable to|Timeout", said), said


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
