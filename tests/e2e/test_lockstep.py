# SPDX-License-Identifier: MIT
"""--debug-lockstep: the interpreter beside the translator, over whole systems."""
import re

import pytest

from guest import bad_lines

# Slower than the interpreter alone, and this host may be busy.
BOOT_S = 900
COMMAND_S = 300
COMPARED = re.compile(r"lockstep: (\d+) stretches of translated code compared, (\d+) instructions; "
                      r"(\d+) not")
EXECUTED = re.compile(r"instructions, about: (\d+)")


@pytest.mark.parametrize("args,part", [
    (["-c", "2"], "one CPU"), (["--accel", "interp"], "--accel translate")])
def test_what_cannot_be_compared(start, linux, args, part):
    guest = start(*linux(), "--debug-lockstep", *args)
    assert guest.wait() == 1
    assert part in guest.errors()


@pytest.mark.long
def test_linux_boots_without_a_difference(start, linux):
    """To a shell, processes, signals, vector code and back; nearly all of it was compared."""
    guest = start(*linux(), "--debug-lockstep", "-m", "256M").ready(BOOT_S)
    assert guest.sh("storm 2 3", timeout=COMMAND_S).endswith("broken=0\n")
    guest.sh("mix 1 20; ls -lR /proc/self >/dev/null; dd if=/dev/zero of=/tmp/z bs=64K count=20",
             timeout=COMMAND_S)
    assert not [line for line in bad_lines(guest.dmesg()) if "lockup" not in line]
    guest.send("poweroff -f\n")
    assert guest.wait(COMMAND_S) == 0
    said = guest.errors()
    assert "differ" not in said, said
    stretches, compared, outside = map(int, COMPARED.search(said).groups())
    executed = int(EXECUTED.search(said).group(1))
    assert stretches > 100000
    assert compared > 0.97 * executed
    assert outside < 0.01 * executed
