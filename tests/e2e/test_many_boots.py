# SPDX-License-Identifier: MIT
"""A boot that hangs once in a thousand times shows up in nobody's test but this one: BOOTS says how many."""
import os
import subprocess

import pytest

from guest import BOOT_S

BOOTS = int(os.environ.get("BOOTS", "1000"))


@pytest.mark.long
def test_boots_in_a_row(ringlet, debian_kernel):
    """With one CPU and with two in turn; each runs a command, and ends with its status."""
    for number in range(BOOTS):
        cpus = 1 + number % 2
        done = subprocess.run([ringlet, "run", "-k", debian_kernel, "-c", str(cpus), "--", "sh", "-c",
                               "nproc; exit 3"], stdin=subprocess.DEVNULL, capture_output=True,
                              timeout=BOOT_S, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (3, b"%d\n" % cpus, b""), \
            f"boot {number + 1} of {BOOTS}"
