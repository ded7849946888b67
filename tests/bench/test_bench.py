# SPDX-License-Identifier: MIT
"""The benchmark itself: its report, and that guests compute what the host computes. No timing."""
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "bench"))

import machine  # noqa: E402  pylint: disable=wrong-import-position
import report  # noqa: E402  pylint: disable=wrong-import-position


def run_of(*lines):
    run = machine.Run()
    for line in lines:
        run.take(line)
    return run


def test_a_line_of_a_program_is_a_result():
    run = run_of("[    0.1] noise", "@init", "@bench sort 12 1500 00ff", "@bench avx512 unusable")
    assert run.times == {"sort": 1500, "avx512": None}
    assert run.checksums == {"sort": "00ff"}


def test_a_program_that_fails_is_no_result():
    for line in ("@bench failed: sort died with status 0x8b", "@bench sort 12 15", "@bench"):
        with pytest.raises(machine.Failed):
            run_of(line)


def test_ratios_are_to_the_host():
    results = {"native": [run_of("@bench sort 1 100 1", "@bench hash 1 10 1")],
               "interp": [run_of("@bench sort 1 200 1", "@bench hash 1 80 1")],
               "tcg": [run_of("@bench sort 1 300 1", "@bench hash unusable")]}
    rows = report.program_rows({"integer": ["sort", "hash"]}, results, ["interp", "tcg"])
    assert rows[0][3:] == ["2.00", "3.00"]
    assert rows[1][3:] == ["8.00", "–"]
    assert rows[2][3:] == ["**4.00**", "**3.00**"]


def test_a_ratio_is_of_one_round():
    results = {"native": [run_of("@bench sort 1 100 1"), run_of("@bench sort 1 300 1"), run_of("@bench sort 1 200 1")],
               "tcg": [run_of("@bench sort 1 200 1"), run_of("@bench sort 1 600 1"), run_of("@bench sort 1 900 1")]}
    assert report.ratio(results["tcg"], results["native"], "sort") == 2
    assert report.ratio(results["tcg"], results["native"], "hash") is None


def test_a_differing_checksum_is_found():
    results = {"native": [run_of("@bench sort 1 100 1")], "tcg": [run_of("@bench sort 1 100 2")]}
    assert report.differing(results) == [("sort", "tcg", "2", "1")]


def test_a_report_goes_between_the_markers(tmp_path):
    path = tmp_path / "report.md"
    path.write_text(f"head\n{report.BEGIN}\nold\n{report.END}\ntail\n", encoding="utf-8")
    report.write_between_markers(path, "new\n")
    assert path.read_text(encoding="utf-8") == f"head\n{report.BEGIN}\nnew\n{report.END}\ntail\n"
    path.write_text("no markers", encoding="utf-8")
    with pytest.raises(ValueError):
        report.write_between_markers(path, "new\n")


@pytest.mark.long
def test_guests_compute_what_the_host_computes(ringlet):
    build = pathlib.Path(ringlet).parent
    subprocess.run(["make", "-C", ROOT, f"BUILD={build}", "bench-program"], check=True)
    for engine in machine.accelerators(ringlet):
        done = subprocess.run([sys.executable, ROOT / "bench/run.py", "--build", build, "--rounds", "1",
                               "--ms", "0", "--engines", engine], capture_output=True, text=True,
                              check=False)
        assert done.returncode == 0, done.stderr
