# SPDX-License-Identifier: MIT
"""A user without privileges is the usual one: tests of the guest's root, of shares and of commands once more, as such a
user, with an empty home and a runtime directory of its own. Its number has no name."""
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BUILD = pathlib.Path(os.environ.get("RINGLET_BUILD", ROOT / "build"))
TIMEOUT_S = 3600
# Nothing in another user's home, where a shell that looks for a command is turned away.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SOME = "a_shell_where_we_stand or as_in_a_pipeline or systemd_is or streams_are_apart or test_posix[fs-"


def _unused_number():
    used = {entry.pw_uid for entry in pwd.getpwall()}
    return next(number for number in range(54321, 60000) if number not in used)


def _link_or_copy(source, target):
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@pytest.fixture(scope="module", name="home")
def home_fixture(debian_kernel, programs):
    """Where the user has the tests, the program and a kernel, whoever may read the originals."""
    if os.geteuid():
        pytest.skip("started by an ordinary user: every other test is this one")
    home = pathlib.Path(tempfile.mkdtemp(prefix="ringlet-user-"))
    user = _unused_number()
    package = pathlib.Path(debian_kernel).parents[1]
    own = [home, home / "tmp", home / "run", home / ".cache", home / ".cache/ringlet",
           home / ".cache/ringlet/kernels"]
    for directory in own[1:]:
        directory.mkdir()
    shutil.copytree(package, own[-1] / package.name, copy_function=_link_or_copy, symlinks=True)
    for part in ("tests/e2e", "tools"):
        shutil.copytree(ROOT / part, home / "tree" / part,
                        ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy2(ROOT / "tests/conftest.py", home / "tree/tests")
    (home / "tree/build/tests/e2e").mkdir(parents=True)
    shutil.copy2(BUILD / "ringlet", home / "tree/build")
    for program in programs.values():
        shutil.copy2(program, home / "tree/build/tests/e2e")
    for directory in own:
        os.chown(directory, user, user)
        directory.chmod(0o700)
    yield home
    shutil.rmtree(home)


def _run_tests(home, *args):
    """What pytest says of the tests that are the user's."""
    status = home.stat()
    environment = {"HOME": home, "XDG_RUNTIME_DIR": home / "run", "TMPDIR": home / "tmp",
                   "PATH": PATH, "LANG": "C.UTF-8", "TERM": "dumb",
                   "PYTHONDONTWRITEBYTECODE": "1", "RINGLET_BUILD": home / "tree/build"}
    names = [f"tests/e2e/test_{name}.py" for name in ("root", "shares", "exec")]
    done = subprocess.run(["setpriv", f"--reuid={status.st_uid}", f"--regid={status.st_gid}",
                           "--clear-groups", sys.executable, "-m", "pytest", "-q",
                           "-p", "no:cacheprovider", *args, *names],
                          check=False, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          timeout=TIMEOUT_S, cwd=home / "tree", env=environment)
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]
    return {what: int(count) for count, what in re.findall(r"(\d+) (passed|skipped)", done.stdout)}


def test_the_usual(home):
    counts = _run_tests(home, "-k", SOME)
    assert counts["passed"] >= 30, counts


@pytest.mark.long
def test_everything(home):
    counts = _run_tests(home, "--long")
    assert counts["passed"] >= 200, counts
