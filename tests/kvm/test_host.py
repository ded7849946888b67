# SPDX-License-Identifier: MIT
"""What each /dev/kvm can do, one in software that knows no 64-bit kernels, too: firmware and 32-bit code."""
import os
import pathlib
import subprocess

import pytest

WAYS = {"split": [], "whole": ["--debug-kvm-without", "all"],
        "no-readonly-mem": ["--debug-kvm-without", "readonly-mem"],
        "no-immediate-exit": ["--debug-kvm-without", "immediate-exit"]}
SEABIOS = pathlib.Path("/usr/share/seabios/bios.bin")
PASSED = 1

pytestmark = pytest.mark.skipif(not os.access("/dev/kvm", os.R_OK | os.W_OK),
                                reason="no /dev/kvm that we may use")


@pytest.mark.parametrize("way", WAYS)
def test_boot(ringlet, way):
    """Into protected mode, and what a kernel finds there."""
    image = pathlib.Path(ringlet).parent / "tests/guests/32/boot.guest"
    done = subprocess.run([ringlet, "run", "--accel", "kvm", "--debug-exit", "-i", "none", "-k",
                           image, *WAYS[way]], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=60, check=False)
    assert done.returncode == PASSED, done.stdout + done.stderr


@pytest.mark.skipif(not SEABIOS.exists(), reason=f"no {SEABIOS}: install seabios")
@pytest.mark.parametrize("way", ["split", "whole"])
def test_seabios(ringlet, way):
    """Real mode, shadowed ROM, timers by the PIC; found by its last words."""
    with subprocess.Popen([ringlet, "run", "--accel", "kvm", "-f", SEABIOS, *WAYS[way]],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace") as process:
        try:
            said = ""
            while "No bootable device" not in said:
                line = process.stdout.readline()
                assert line, said + process.stderr.read()
                said += line
        finally:
            process.kill()
    assert "SeaBIOS (version" in said


@pytest.mark.parametrize("way", ["split", "whole"])
def test_floating_point(ringlet, way, tmp_path):
    """fninit; fld1; fistp word [0x1000]; the byte there to the debug-exit port. A KVM in software has no x87
    instructions: the interpreter carries them out."""
    rom = bytearray(65536)
    rom[0xff00:0xff0e] = b"\xdb\xe3\xd9\xe8\xdf\x1e\x00\x10\xa0\x00\x10\xe6\xf4\xf4"
    rom[0xfff0:0xfff3] = b"\xe9\x0d\xff"
    (tmp_path / "rom").write_bytes(rom)
    done = subprocess.run([ringlet, "run", "--accel", "kvm", "--debug-exit", "-f", tmp_path / "rom",
                           *WAYS[way]], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60, check=False)
    assert done.returncode == 1 << 1 | 1, done.stderr
