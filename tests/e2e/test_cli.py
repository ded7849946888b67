# SPDX-License-Identifier: MIT
"""The command line: what it says, where, and the exit status."""
import json
import os
import pathlib
import re
import signal
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture(name="run")
def run_fixture(ringlet, tmp_path):
    """Runs ringlet in an empty directory with an empty cache."""
    def run(*args, env=None, **kwargs):
        env = {"PATH": "/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache"), **(env or {})}
        return subprocess.run([ringlet, *args], capture_output=True, text=True, check=False,
                              cwd=tmp_path, env=env, timeout=60, stdin=subprocess.DEVNULL, **kwargs)
    return run


def assert_refused(done, part):
    """One line on standard error, nothing on standard output, status 1."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("ringlet: error: ") and done.stderr.count("\n") == 1
    assert part in done.stderr


@pytest.mark.parametrize("args, part", [
    ([], "no command"),
    (["rnu"], "did you mean 'run'"),
    (["zzzz"], "ringlet --help"),
    (["run", "--kernal", "x"], "did you mean '--kernel'"),
    (["run", "-i", "c", "true"], "'true': a command runs in the host's files"),
    (["run", "-m", "1K"], "1M to 64G"),
    (["run", "-m", "65G"], "1M to 64G"),
    (["run", "-k", "/dev/null", "-m", "1025K"], "multiple of 4K"),
    (["run", "-c", "0"], "1 to 254"),
    (["run", "--accel", "magic"], "auto|kvm|translate|interp"),
    (["run", "-f", "b", "-i", "c"], "an initrd needs a kernel"),
    (["run", "-k", "/nonexistent/kernel"], "/nonexistent/kernel"),
    (["run", "-f", "/nonexistent/bios"], "/nonexistent/bios"),
    (["run", "-k", "/etc/passwd"], "/etc/passwd"),
    (["run", "-k", "/"], "/"),
    (["version", "operand"], "no operands"),
])
def test_what_is_wrong_is_named(run, args, part):
    assert_refused(run(*args), part)


@pytest.mark.parametrize("words", [["run"], ["disk"], ["disk", "create"], ["kernel", "fetch"]])
def test_help_of_a_command(run, words):
    done = run("help", *words)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: ringlet {' '.join(words)} ")
    assert done.stdout == run(*words, "--help").stdout


def test_help_runs_nothing(run):
    """Whatever stands behind a command."""
    assert run("help", "run", "-k", "/nonexistent", "true").stdout == run("run", "--help").stdout
    assert_refused(run("help", "rnu"), "did you mean 'run'")


def test_help_lists_the_commands(run):
    done = run("--help")
    assert done.returncode == 0 and done.stderr == ""
    assert "run" in done.stdout and "version" in done.stdout


def test_version(run):
    done = run("version")
    assert done.returncode == 0
    assert done.stdout.startswith("ringlet ")
    assert "interp" in done.stdout


def commands_of(run, *prefix):
    """All commands with options, as lists of words: those that --help lists, and theirs."""
    done = run(*prefix, "--help")
    assert done.returncode == 0
    for name in re.findall(r"^  ([a-z]\S*) ", done.stdout, re.MULTILINE):
        words = [*prefix, name]
        if run(*words, "--help").stdout.startswith(f"usage: ringlet {' '.join(words)} COMMAND ["):
            yield from commands_of(run, *words)
        else:
            yield words


def test_the_manual_describes_every_option(run):
    manual = (ROOT / "ringlet.1").read_text().replace("\\-", "-")
    commands = list(commands_of(run))
    assert ["run"] in commands and ["disk", "create"] in commands
    for command in commands:
        assert command[-1] in manual
        options = re.findall(r"--[a-z][a-z-]*", run(*command, "--help").stdout)
        assert options
        for option in options:
            assert option in manual, f"{option} of ringlet {command}"


def test_a_full_standard_output_is_an_error(ringlet):
    with open("/dev/full", "w", encoding="utf-8") as full:
        done = subprocess.run([ringlet, "version"], stdout=full, stderr=subprocess.PIPE, text=True,
                              check=False)
    assert done.returncode == 4
    assert "standard output" in done.stderr


def test_dry_run_describes_the_machine(run, debian_kernel):
    done = run("run", "--dry-run", "-k", debian_kernel, "-m", "64M", "-c", "2", "-p", 'a="b"')
    assert done.returncode == 0, done.stderr
    machine = json.loads(done.stdout)
    assert machine["kernel"] == debian_kernel
    assert machine["initrd"] is None
    assert machine["params"] == 'console=ttyS0 quiet panic=-1 no_timer_check cryptomgr.notests a="b"'
    assert machine["cpus"] == 2
    assert machine["mem_bytes"] == 64 << 20


def test_given_parameters_are_respected(run, debian_kernel):
    done = run("run", "--dry-run", "-k", debian_kernel, "-p", "console=hvc0 panic=5")
    assert json.loads(done.stdout)["params"] == "no_timer_check cryptomgr.notests console=hvc0 panic=5"
    done = run("run", "--dry-run", "-k", debian_kernel, "-p", "console=hvc0 panic=5 cryptomgr.notests=0")
    assert json.loads(done.stdout)["params"] == "no_timer_check console=hvc0 panic=5 cryptomgr.notests=0"


def test_the_kernel_of_the_tree_is_found_first(run, tmp_path, debian_kernel):
    image = tmp_path / "arch/x86/boot/bzImage"
    image.parent.mkdir(parents=True)
    image.symlink_to(debian_kernel)
    done = run("run", "--dry-run")
    assert json.loads(done.stdout)["kernel"] == "./arch/x86/boot/bzImage"


def test_the_newest_cached_kernel_is_found(run, tmp_path, debian_kernel):
    if pathlib.Path(f"/boot/vmlinuz-{os.uname().release}").exists():
        pytest.skip("this host has a kernel of its own, which comes first")
    for version in ("6.1.0-9", "6.1.0-56"):
        boot = tmp_path / f"cache/ringlet/kernels/linux-image-{version}/boot"
        boot.mkdir(parents=True)
        (boot / f"vmlinuz-{version}").symlink_to(debian_kernel)
    done = run("run", "--dry-run")
    assert json.loads(done.stdout)["kernel"].endswith("/vmlinuz-6.1.0-56")


def test_doctor(run):
    """Whatever this host has: the same to people and to programs, and true of what auto takes."""
    text, found = run("doctor"), json.loads(run("doctor", "--json").stdout)
    assert text.returncode == 0 and text.stderr == ""
    assert f"--accel auto takes {found['auto']}:" in text.stdout
    for name in ("kvm", "translate"):
        usable, reason = found[name]["usable"], found[name]["reason"]
        assert (reason is None) == usable
        said = next(line for line in text.stdout.splitlines() if line.startswith(name))
        assert said.split(None, 1)[1] == ("yes" if usable else f"no: {reason}")
    assert (found["auto"] == "kvm") == found["kvm"]["usable"]
    direct = found["translate"]["direct"]
    said = re.search(r"^  direct execution (.*)", text.stdout, re.MULTILINE)[1]
    assert said.startswith("yes" if direct["usable"] else f"no: {direct['reason']}")
    assert ("protection keys" in said) == (direct["usable"] and not direct["protected"])
    for capability in found["kvm"]["capabilities"]:
        assert re.search(rf"^  {capability['name']} +{'yes' if capability['present'] else 'no: '}",
                         text.stdout, re.MULTILINE)


def test_a_capability_that_is_none(run):
    done = run("run", "--accel", "kvm", "--debug-kvm-without", "speed", "-f", "/dev/null")
    assert done.returncode in (1, 4)
    if os.path.exists("/dev/kvm"):
        assert "'speed' is no capability of KVM" in done.stderr


def test_stats_on_a_signal(ringlet, tmp_path):
    """With --stats, SIGUSR1 has the counts printed, as often as it comes; the machine goes on."""
    rom = bytearray(0x10000)
    # mov $0x3f8, %dx; mov $'R', %al; out %al, %dx; hlt; jmp .-1
    rom[0xfff0:0xfff9] = bytes.fromhex("baf803b052eef4ebfd")
    (tmp_path / "rom").write_bytes(rom)
    with subprocess.Popen([ringlet, "run", "--stats", "-f", tmp_path / "rom"], text=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        try:
            assert os.read(process.stdout.fileno(), 1) == b"R"
            for _ in range(2):
                process.send_signal(signal.SIGUSR1)
                for line in process.stderr:
                    if line.startswith("CPU 0: "):
                        break
                else:
                    pytest.fail("nothing was told")
            assert process.poll() is None
        finally:
            process.kill()


# ---- the configuration file ----

@pytest.fixture(name="configure")
def configure_fixture(tmp_path):
    """Writes the configuration file of what run starts; its path."""
    def configure(text):
        path = tmp_path / ".config/ringlet/config"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path
    return configure


def test_defaults_from_a_file(run, configure, debian_kernel, tmp_path):
    """They count as if given first; a command line counts more, and can leave them out."""
    configure("# mine\n[run]\nmem = 64M\ncpus = 3\nreboot = yes\ninitrd = none\n"
              f"kernel = {debian_kernel}\ndisk = {tmp_path}/one\n")

    def machine(*args):
        done = run("run", "--dry-run", *args, env={"HOME": str(tmp_path)})
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)
    for name in ("one", "two"):
        (tmp_path / name).write_bytes(bytes(512))
    found = machine()
    assert (found["mem_bytes"], found["cpus"], found["reboot"]) == (64 << 20, 3, True)
    found = machine("-c", "1", "-d", f"{tmp_path}/two")
    assert found["cpus"] == 1 and found["mem_bytes"] == 64 << 20
    assert found["disks"] == [f"{tmp_path}/one", f"{tmp_path}/two"]
    found = machine("--no-config", "-k", debian_kernel, "-i", "none")
    assert (found["mem_bytes"], found["reboot"], found["disks"]) == (512 << 20, False, [])


@pytest.mark.parametrize("text, part", [
    ("[run]\n\nkernal = x\n", "/config:3: unknown option '--kernal': did you mean '--kernel'?"),
    ("[run]\ndry-run = yes\n", "/config:2: --dry-run is for command lines only"),
    ("mem = 1G\n", "/config:1: a line before [run]"),
    (b"[run]\0", "is no text"),
    (b"#" * 70000, "is larger than"),
])
def test_what_is_wrong_in_a_file_is_named(run, configure, tmp_path, text, part):
    configure(text)
    assert_refused(run("run", env={"HOME": str(tmp_path)}), part)
    # Who leaves it out has another error.
    assert_refused(run("run", "--no-config", "-k", "/none", env={"HOME": str(tmp_path)}), "/none")


@pytest.mark.parametrize("name", ["config.toml", "config.ini"])
def test_a_configuration_by_another_name(run, configure, debian_kernel, tmp_path, name):
    """It is not read, and that is said, unless there is the right one."""
    def machine(*args):
        done = run("run", "--dry-run", "-k", debian_kernel, "-i", "none", *args,
                   env={"HOME": str(tmp_path)})
        assert done.returncode == 0 and json.loads(done.stdout)["cpus"] == 1
        return done.stderr
    path = configure("")
    path.rename(path.with_name(name))
    path.with_name(name).write_text("[run]\ncpus = 2\n")
    assert machine() == (f"ringlet: warn: {path.with_name(name)} is not read: "
                         f"defaults are in {path}\n")
    assert machine("--no-config") == machine("--log-level", "error") == ""
    configure("")
    assert machine() == ""


def test_a_configuration_that_is_no_file(run, configure, tmp_path):
    path = configure("")
    path.unlink()
    os.mkfifo(path)
    assert_refused(run("run", env={"HOME": str(tmp_path)}), "is no file")
