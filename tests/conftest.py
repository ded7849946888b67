# SPDX-License-Identifier: MIT
"""One runner for all tests: C test programs (cmocka) beside those written in Python.

Each test function of tests/{unit,oracle}/test_*.c is an item; its program runs once, when the first
of them is wanted, and every item reads its own result from the program's output. One more item a
program, "exits", fails when the program as a whole did: so a crash cannot hide, nor a test that is written otherwise.

Each fuzz target, tests/fuzz/fuzz_*.c, is an item, too: it runs the files of tests/fuzz/corpus/<target>/ once.
"""
import os
import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("RINGLET_BUILD", ROOT / "build"))
TIMEOUT_S = 600

# A function of this type that is not registered is unused, which the compiler reports.
TEST_FUNCTION = re.compile(r"^static void (\w+)\(void \*\*\w+\)$", re.MULTILINE)
RESULT = re.compile(r"^\[\s*(OK|FAILED|SKIPPED)\s*\] (\w+)", re.MULTILINE)


class ProgramFailed(Exception):
    """A C test failed; the message is what its program said."""


class Program(pytest.File):
    """A C test program."""

    ran = None

    def collect(self):
        for name in TEST_FUNCTION.findall(self.path.read_text()):
            yield CTest.from_parent(self, name=name)
        yield CExit.from_parent(self, name="exits")

    def run(self):
        """Exit status, output, and the results by test name."""
        if not self.ran:
            program = BUILD / self.path.relative_to(ROOT).with_suffix("")
            env = dict(os.environ, CMOCKA_MESSAGE_OUTPUT="STDOUT")
            try:
                done = subprocess.run([program], capture_output=True, text=True, errors="replace",
                                      timeout=TIMEOUT_S, check=False, cwd=ROOT, env=env)
                status, output = done.returncode, done.stdout + done.stderr
            except subprocess.TimeoutExpired as late:
                status = f"none after {TIMEOUT_S} s"
                output = (late.stdout or b"").decode(errors="replace")
            results = {name: result for result, name in RESULT.findall(output)}
            self.ran = status, output, results
        return self.ran


class CItem(pytest.Item):
    """What is common to the items of a program."""

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, ProgramFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self):
        return self.path, None, self.name


class CTest(CItem):
    """One test function."""

    def runtest(self):
        status, output, results = self.parent.run()
        result = results.get(self.name, "no result")
        if result == "SKIPPED":
            pytest.skip("the program skipped it")
        if result != "OK":
            raise ProgramFailed(f"{result}; exit status {status}\n{output}")


class CExit(CItem):
    """The program as a whole."""

    def runtest(self):
        status, output, _ = self.parent.run()
        if status != 0:
            raise ProgramFailed(f"exit status {status}\n{output}")


class FuzzTarget(pytest.File):
    """A fuzz target's program, which takes inputs as its arguments."""

    def collect(self):
        yield Corpus.from_parent(self, name="corpus")


class Corpus(CItem):
    """All inputs that are kept for a target; the last one named is the one that fails."""

    def runtest(self):
        program = BUILD / self.path.relative_to(ROOT).with_suffix("")
        target = self.path.stem.removeprefix("fuzz_")
        inputs = sorted((self.path.parent / "corpus" / target).iterdir())
        done = subprocess.run([program, *inputs], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, errors="replace", timeout=TIMEOUT_S, check=False)
        if done.returncode:
            raise ProgramFailed(f"exit status {done.returncode}\n{done.stdout[-20000:]}")


def pytest_collect_file(parent, file_path):
    if file_path.suffix == ".c" and file_path.name.startswith("fuzz_"):
        return FuzzTarget.from_parent(parent, path=file_path)
    if file_path.suffix == ".c" and file_path.name.startswith("test_"):
        return Program.from_parent(parent, path=file_path)
    return None


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="run the tests that take minutes, too")


def pytest_configure(config):
    config.addinivalue_line("markers", "long: takes minutes; run by make check-long")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--long"):
        return
    for item in items:
        if item.get_closest_marker("long"):
            item.add_marker(pytest.mark.skip(reason="long: make check-long runs it"))


@pytest.fixture(scope="session", autouse=True)
def no_configuration(tmp_path_factory):
    """The user's own configuration is none of the tests' business."""
    os.environ["XDG_CONFIG_HOME"] = str(tmp_path_factory.mktemp("config"))


@pytest.fixture(scope="session")
def ringlet():
    """Path of the program."""
    return str(BUILD / "ringlet")


@pytest.fixture(scope="session")
def debian_kernel():
    """Path of Debian's kernel image, from the cache."""
    return _tool("fetch-kernel")


@pytest.fixture(scope="session")
def shell_initramfs():
    """Path of the initramfs with a shell, from the cache."""
    return _tool("make-initramfs")


def _tool(name):
    done = subprocess.run([ROOT / "tools" / name], capture_output=True, text=True, check=True)
    return done.stdout.strip()
