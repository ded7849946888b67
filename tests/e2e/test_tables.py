# SPDX-License-Identifier: MIT
"""Intel's ASL compiler judges the ACPI tables: it disassembles each and compiles it again."""
import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("RINGLET_BUILD", ROOT / "build"))
TABLES = ["APIC", "DSDT", "FACP", "FACS", "HPET", "MCFG", "RSDT", "SPCR", "XSDT"]

pytestmark = pytest.mark.skipif(not shutil.which("iasl"), reason="no iasl: install acpica-tools")


@pytest.fixture(scope="module", params=["", "many"], ids=["3-cpus", "300-cpus"])
def tables(request, tmp_path_factory):
    """A directory with the tables, as the unit test read them from guest memory."""
    directory = tmp_path_factory.mktemp("tables")
    env = dict(os.environ, RINGLET_TABLES_DIR=str(directory))
    if request.param:
        env["RINGLET_TABLES_CPUS"] = request.param
    subprocess.run([BUILD / "tests/unit/test_tables"], env=env, check=True, capture_output=True)
    return directory


def iasl(directory, *args):
    """Runs iasl; its output."""
    done = subprocess.run(["iasl", *args], cwd=directory, capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", TABLES)
def test_disassembles_and_compiles_without_complaint(tables, name):
    said = iasl(tables, "-d", f"{name}.dat")
    assert "Warning" not in said and "Error" not in said, said
    said = iasl(tables, "-p", f"{name}_again", f"{name}.dsl")
    assert "0 Errors, 0 Warnings, 0 Remarks" in said, said
