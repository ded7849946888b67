# SPDX-License-Identifier: MIT
"""The oracle over more than a million cases; test_oracle.c has the quick run."""
import os
import pathlib
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("RINGLET_BUILD", ROOT / "build"))
SEED = os.environ.get("ORACLE_SEED", "1000")


@pytest.mark.long
@pytest.mark.parametrize("engine, bits, cases", [
    ("interp", 64, 700_000),
    ("interp", 32, 400_000),
    ("translate", 64, 60_000),
    ("translate", 32, 30_000),
])
def test_engine_does_as_the_processor_does(engine, bits, cases):
    done = subprocess.run(
        [BUILD / "tests/oracle/test_oracle", "--engine", engine, "--bits", str(bits),
         "--cases", str(cases), "--seed", SEED],
        capture_output=True, text=True, errors="replace", check=False, cwd=ROOT)
    print(done.stdout)
    assert done.returncode == 0, done.stdout[-20000:] + done.stderr
