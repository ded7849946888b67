# SPDX-License-Identifier: MIT
"""A code cache that is far too small: thrown away again and again, for days if need be."""
import re

import pytest

MINUTES = 600
MIB = 1 << 20
ROUNDS = 4
# Between the same load once and several times more; what malloc keeps for itself is less.
GROWTH_BYTES = 4 * MIB
GUEST_MIB = 128
LOAD = ("for _ in 1 2; do storm 2 2; mix 1 20 >/dev/null; ls -lR /proc/self /sys/bus >/dev/null 2>&1; "
        "dd if=/dev/urandom bs=64K count=2 2>/dev/null | gzip | gunzip | md5sum >/dev/null; "
        "sort -r /etc/profile | awk '{ print length }' | sed s/1/2/ >/dev/null; done; true")


def own_bytes(guest):
    """Of the process in memory, without the guest's memory, which is one large mapping."""
    total = size = 0
    with open(f"/proc/{guest.process.pid}/smaps", encoding="ascii") as smaps:
        for line in smaps:
            what, _, rest = line.partition(":")
            if what == "Size":
                size = int(rest.split()[0])
            elif what == "Rss" and size < GUEST_MIB // 2 * 1024:
                total += int(rest.split()[0])
    return total * 1024


@pytest.mark.long
@pytest.mark.parametrize("cpus", [1, 2])
def test_a_small_cache_for_long(start, linux, cpus):
    guest = start(*linux(), "--code-cache", "1M", "-m", f"{GUEST_MIB}M", "-c", cpus, "--stats",
                  "--direct", "never")
    guest.ready(MINUTES)
    want = guest.sh("mix 3 20", timeout=MINUTES)
    guest.sh(LOAD, timeout=MINUTES)
    before = own_bytes(guest)
    for _ in range(ROUNDS - 1):
        guest.sh(LOAD, timeout=MINUTES)
    assert guest.sh("mix 3 20", timeout=MINUTES) == want
    assert own_bytes(guest) - before < GROWTH_BYTES
    guest.send("poweroff -f\n")
    assert guest.wait(MINUTES) == 0
    thrown = int(re.search(r"thrown away as a whole (\d+) times", guest.errors()).group(1))
    assert thrown > 25 * ROUNDS
