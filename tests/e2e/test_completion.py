# SPDX-License-Identifier: MIT
"""Completion of command lines, asked of the shells themselves."""
import os
import pathlib
import re
import subprocess

import pexpect
import pytest

CASES = [
    ("ringlet di", ["disk"]),
    ("ringlet disk con", ["convert"]),
    ("ringlet disk create --forc", ["--force"]),
    ("ringlet run --ker", ["--kernel"]),
    ("ringlet run --accel tr", ["translate"]),
    ("ringlet run --accel=tr", ["translate"]),
    ("ringlet run --mem 1G --console vi", ["virtio"]),
    ("ringlet run -k fi", ["file-one", "file-two"]),
    ("ringlet run -k fi --initrd file-o", ["file-one"]),
    ("ringlet run --root d", ["directory"]),
    ("ringlet run -m 1G tru", ["true", "truncate"]),
    ("ringlet run -m 1G cat file-t", ["file-two"]),
    ("ringlet disk info file-o", ["file-one"]),
    ("ringlet stop mach", ["machine-1", "machine-2"]),
    ("ringlet debug --cpu 1 machine-1", ["machine-1"]),
    ("ringlet completion f", ["fish"]),
]


@pytest.fixture(name="here", autouse=True)
def here_fixture(ringlet, tmp_path, monkeypatch):
    """A directory with some files; ringlet in $PATH, with two machines that are there by name alone."""
    for name in ("file-one", "file-two"):
        (tmp_path / name).touch()
    (tmp_path / "directory").mkdir()
    (tmp_path / "bin").mkdir()
    wrapper = tmp_path / "bin/ringlet"
    wrapper.write_text("#!/bin/sh\n"
                       "[ \"$*\" = 'list --names' ] && printf '%s\\n' machine-1 machine-2 && exit\n"
                       f"exec {ringlet} \"$@\"\n")
    wrapper.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def bash_words(line):
    """As readline has it: "=" is a word of its own."""
    return [word for word in re.split(r"(=)|\s", line) if word]


def complete_by_bash(line):
    script = """eval "$(ringlet completion bash)"; compopt() { :; }
COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)); _ringlet; printf '%s\\n' "${COMPREPLY[@]}" """
    return subprocess.run(["bash", "-c", script, "bash", *bash_words(line)], text=True, timeout=60,
                          capture_output=True, check=True).stdout.split()


def complete_by_fish(line):
    done = subprocess.run(["fish", "-c", "ringlet completion fish | source; complete -C $argv[1]",
                           line], text=True, capture_output=True, check=True, timeout=60)
    return [re.sub(r"^--\w+=", "", found.split("\t")[0].rstrip("/"))
            for found in done.stdout.splitlines()]


@pytest.mark.parametrize("line, wanted", CASES)
@pytest.mark.parametrize("complete", [complete_by_bash, complete_by_fish])
def test_completion(complete, line, wanted):
    found = complete(line)
    assert set(wanted) <= set(found)
    last = re.split(r"[ =]", line)[-1]
    assert all(word.startswith(last) for word in found)


@pytest.fixture(name="zsh")
def zsh_fixture(here):
    """An interactive zsh with our function where it looks for one."""
    (here / "_ringlet").write_text(
        subprocess.run(["ringlet", "completion", "zsh"], text=True, capture_output=True,
                       check=True).stdout)
    shell = pexpect.spawn("zsh", ["-f", "-i"], encoding="utf-8", timeout=30,
                          env={**os.environ, "TERM": "dumb", "PS1": "> "})
    shell.expect_exact("> ")
    shell.send(f"fpath=({here} $fpath); autoload -U compinit; compinit -u -D; echo re''ady\n")
    shell.expect_exact("ready")
    shell.expect_exact("> ")
    yield shell
    shell.close(force=True)


@pytest.mark.parametrize("line, wanted", [case for case in CASES if len(case[1]) == 1])
def test_completion_by_zsh(zsh, line, wanted):
    """A tab puts what is unambiguous on the line, which the shell then echoes back."""
    zsh.send(f"{line}\t\x01: \x05;echo en''d\n")
    zsh.expect_exact("end\r\n")
    typed = zsh.before
    assert re.split(r"[ =]", line)[-1] in typed
    assert wanted[0] in typed.replace("\x08", ""), typed


def test_every_option_is_completed(ringlet):
    """What --help lists, for each command that completion knows."""
    script = subprocess.run([ringlet, "completion", "bash"], text=True, capture_output=True,
                            check=True).stdout
    rows = re.findall(r"^\t'([a-z ]+)'\) takes=\w+ options='([^']*)'", script, re.MULTILINE)
    assert {"run", "stop", "disk create", "completion bash"} <= {command for command, _ in rows}
    for command, options in rows:
        text = subprocess.run([ringlet, *command.split(), "--help"], text=True, check=True,
                              capture_output=True).stdout
        assert sorted(re.findall(r"^ .{4} (--[a-z0-9-]+)", text, re.MULTILINE)) \
            == sorted(word for word in options.split() if word.startswith("--")), command


def test_install(ringlet, tmp_path):
    """make install puts them where shells look."""
    root = pathlib.Path(__file__).resolve().parents[2]
    subprocess.run(["make", "-s", "-C", root, f"BUILD={pathlib.Path(ringlet).parent}",
                    f"DESTDIR={tmp_path}/to", "PREFIX=/usr", "install"], check=True, timeout=600)
    for shell, path in (("bash", "bash-completion/completions/ringlet"),
                        ("zsh", "zsh/site-functions/_ringlet"),
                        ("fish", "fish/vendor_completions.d/ringlet.fish")):
        text = (tmp_path / "to/usr/share" / path).read_text()
        assert f"ringlet completion {shell}" in text
