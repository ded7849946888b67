# SPDX-License-Identifier: MIT
"""A code cache that is far too small: thrown away again and again, for days if need be."""
import re

import pytest

MINUTES = 600
MIB = 1 << 20
ROUNDS = 4
# Between the same load once and several times more; what malloc keeps for itself is less.
GROWTH_BYTES = 4 * MIB
LOAD = ("for _ in 1 2; do storm 2 2; mix 1 20 >/dev/null; ls -lR /proc/self /sys/bus >/dev/null 2>&1; "
        "dd if=/dev/urandom bs=64K count=2 2>/dev/null | gzip | gunzip | md5sum >/dev/null; "
        "sort -r /etc/profile | awk '{ print length }' | sed s/1/2/ >/dev/null; done; true")


def own_bytes(guest):
    """Private memory that the process may write: what it has and, of tables that fill as they are used, all."""
    total = 0
    with open(f"/proc/{guest.process.pid}/maps", encoding="ascii") as maps:
        for line in maps:
            mapping, rights = line.split()[:2]
            if rights.startswith("rw") and rights.endswith("p"):
                begin, end = (int(address, 16) for address in mapping.split("-"))
                total += end - begin
    return total


@pytest.mark.long
@pytest.mark.parametrize("cpus", [1, 2])
def test_a_small_cache_for_long(start, linux, cpus):
    guest = start(*linux(), "--code-cache", "1M", "-m", "128M", "-c", cpus, "--stats",
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
