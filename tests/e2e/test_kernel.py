# SPDX-License-Identifier: MIT
"""ringlet kernel: Debian's kernels, here from a Debian of our own that offers small ones."""
import json
import os
import subprocess

import pytest

OFFERED = ["6.1.0-9-amd64", "6.1.0-10-amd64", "6.12.1+deb12-cloud-amd64"]


@pytest.fixture(name="debian")
def debian_fixture(tmp_path):
    """Programs that stand for apt's; packages with a kernel each."""
    programs, packages = tmp_path / "bin", tmp_path / "packages"
    programs.mkdir()
    for version in OFFERED:
        tree = tmp_path / "trees" / version
        (tree / "boot").mkdir(parents=True)
        (tree / f"boot/vmlinuz-{version}").write_text(f"kernel {version}\n")
        (tree / "DEBIAN").mkdir()
        (tree / "DEBIAN/control").write_text(f"Package: linux-image-{version}\nVersion: 1\n"
                                             "Architecture: amd64\nMaintainer: a <a@b.c>\n"
                                             "Description: a kernel\n")
        packages.mkdir(exist_ok=True)
        subprocess.run(["dpkg-deb", "--build", tree, packages / f"linux-image-{version}_1.deb"],
                       check=True, capture_output=True)
    names = "\\n".join(f"linux-image-{version}{suffix}" for version in OFFERED
                       for suffix in ("", "-dbg", "-unsigned"))
    (programs / "apt-cache").write_text(f"""#!/bin/sh
case "$*" in
"pkgnames linux-image-") printf '{names}\\nlinux-image-amd64\\nlinux-image-6.1-amd64\\n' ;;
"depends linux-image-amd64") printf 'linux-image-amd64\\n  Depends: linux-image-6.1.0-10-amd64\\n' ;;
*) exit 100 ;;
esac
""")
    (programs / "apt-get").write_text(f"""#!/bin/sh
for package; do :; done
[ -e {tmp_path}/broken ] && {{ echo "E: no network" >&2; exit 100; }}
cp {packages}/"$package"_1.deb .
""")
    for program in programs.iterdir():
        program.chmod(0o755)
    return tmp_path


@pytest.fixture(name="run")
def run_fixture(ringlet, debian):
    def run(*args):
        env = {"PATH": f"{debian}/bin:/usr/bin:/bin", "XDG_CACHE_HOME": str(debian / "cache")}
        return subprocess.run([ringlet, *args], capture_output=True, text=True, check=False,
                              env=env, timeout=60, stdin=subprocess.DEVNULL, cwd=debian)
    return run


def test_fetching(run, debian):
    """Into the cache, once; run takes the newest, whichever came last."""
    assert run("kernel", "list").stdout == ""
    kernels = debian / "cache/ringlet/kernels"
    for given, version in (((), "6.1.0-10-amd64"), (("6.1.0-9",), "6.1.0-9-amd64"),
                           ((OFFERED[2],), OFFERED[2])):
        path = kernels / f"linux-image-{version}/boot/vmlinuz-{version}"
        for _ in range(2):
            done = run("kernel", "fetch", *given)
            assert (done.returncode, done.stdout, done.stderr) == (0, f"{path}\n", "")
            (debian / "broken").touch()
        (debian / "broken").unlink()
        assert path.read_text() == f"kernel {version}\n"
    assert [line.split()[0] for line in run("kernel", "list").stdout.splitlines()] == OFFERED
    assert sorted(os.listdir(kernels)) == sorted(f"linux-image-{version}" for version in OFFERED)
    if not os.path.exists(f"/boot/vmlinuz-{os.uname().release}"):
        assert json.loads(run("run", "--dry-run").stdout)["kernel"].endswith(OFFERED[2])


def test_listing(run):
    """What is here and what there is; symbols and names for the current one are no kernels."""
    run("kernel", "fetch", "6.1.0-9")
    listed = json.loads(run("kernel", "list", "--available", "--json").stdout)
    assert [kernel["version"] for kernel in listed] == OFFERED
    assert [kernel["path"] is not None for kernel in listed] == [True, False, False]
    assert json.loads(run("kernel", "list", "--json").stdout) == listed[:1]


def test_what_cannot_be_fetched(run, debian):
    def refused(status, part, *args):
        done = run("kernel", "fetch", *args)
        assert done.returncode == status and done.stdout == ""
        assert part in done.stderr.splitlines()[-1]
    refused(1, "no package has a kernel '6.1.0-11'", "6.1.0-11")
    refused(1, "no package has a kernel '--help'", "--", "--help")
    refused(1, "usage", "1", "2")
    (debian / "broken").touch()
    refused(4, "cannot download linux-image-6.1.0-10-amd64")
    assert os.listdir(debian / "cache/ringlet/kernels") == []
    (debian / "bin/apt-cache").write_text("#!/bin/sh\n")
    refused(4, "run apt-get update")
