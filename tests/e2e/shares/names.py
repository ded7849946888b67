# SPDX-License-Identifier: MIT
"""Names, and directories full of them."""
import errno
import itertools
import os
import shutil
import stat

from .tools import (check, fails, get, opened, put, renameat2, without)


# ---- names ----

@check
def link():
    put("file", b"one")
    os.mkdir("dir")
    os.link("file", "second")
    assert os.stat("file").st_nlink == os.stat("second").st_nlink == 2
    assert os.path.samefile("file", "second")
    with open("second", "ab") as stream:
        stream.write(b" two")
    assert get("file") == b"one two"
    os.unlink("file")
    assert os.stat("second").st_nlink == 1 and get("second") == b"one two"
    for source, target, error in (("dir", "dirlink", errno.EPERM), ("second", "dir", errno.EEXIST),
                                  ("none", "x", errno.ENOENT), ("second", "none/x", errno.ENOENT)):
        with fails(error):
            os.link(source, target)
    os.symlink("second", "link")
    os.link("link", "link2", follow_symlinks=False)
    assert os.readlink("link2") == "second"


@check
def symlink():
    for target in ("nowhere", "/absolute/path", "../" * 30, "x" * 1000, "with\nnewline"):
        os.symlink(target, "link")
        assert os.readlink("link") == target
        assert os.lstat("link").st_size == len(target)
        os.unlink("link")
    os.symlink("loop2", "loop1")
    os.symlink("loop1", "loop2")
    with fails(errno.ELOOP):
        os.stat("loop1")
    put("file")
    with fails(errno.EEXIST):
        os.symlink("x", "file")
    with fails(errno.EINVAL):
        os.readlink("file")
    os.mkdir("dir")
    put("dir/inner", b"seen")
    os.symlink("dir", "way")
    assert get("way/inner") == b"seen"


def _make(kind, name):
    if kind == "file":
        put(name, name.encode())
    elif kind == "link":
        os.symlink("nowhere", name)
    elif kind in ("empty", "full"):
        os.mkdir(name)
        if kind == "full":
            put(name + "/inner")


def _clear():
    for name in ("from", "to"):
        if os.path.isdir(name) and not os.path.islink(name):
            shutil.rmtree(name)
        elif os.path.lexists(name):
            os.unlink(name)


@check
def rename_matrix():
    directories = ("empty", "full")
    for old, new in itertools.product(("file", "link", "empty", "full"),
                                      (None, "file", "link", "empty", "full")):
        _make(old, "from")
        _make(new, "to")
        before = os.lstat("from").st_ino
        if new == "full" and old in directories:
            expected = (errno.ENOTEMPTY, errno.EEXIST)
        elif old in directories and new in ("file", "link"):
            expected = (errno.ENOTDIR,)
        elif old not in directories and new in directories:
            expected = (errno.EISDIR,)
        else:
            expected = None
        try:
            if expected:
                with fails(*expected):
                    os.rename("from", "to")
                assert os.path.lexists("from") and os.path.lexists("to")
            else:
                os.rename("from", "to")
                assert not os.path.lexists("from") and os.lstat("to").st_ino == before
        except AssertionError as error:
            raise AssertionError(f"{old} to {new}: {error}") from error
        _clear()


@check
def rename():
    put("file", b"x")
    os.link("file", "same")
    os.rename("file", "same")  # one file: nothing happens
    assert os.path.exists("file") and os.path.exists("same")
    os.rename("file", "file")
    os.makedirs("a/b/c")
    for source, target, error in (("a", "a/b/d", errno.EINVAL), ("none", "x", errno.ENOENT),
                                  ("file", "none/x", errno.ENOENT), ("file", "same/x", errno.ENOTDIR),
                                  ("file", "x" * 256, errno.ENAMETOOLONG)):
        with fails(error):
            os.rename(source, target)
    with fails(errno.EINVAL, errno.EBUSY):
        os.rename("a/.", "z")
    # What is open, and where one stands, go along.
    put("a/b/c/open", b"still")
    here = os.open(".", os.O_RDONLY)
    with opened("a/b/c/open", os.O_RDWR) as fd:
        os.chdir("a/b")
        os.rename("../../a", "../../moved")
        assert os.read(fd, 10) == b"still" and get("c/open") == b"still"
        put("new", b"made below")
        os.rename("c/open", "up")
        os.fchdir(here)
        os.pwrite(fd, b"S", 0)
    assert get("moved/b/up") == b"Still" and get("moved/b/new") == b"made below"
    put("victim", b"old")
    put("other", b"new")
    with opened("victim", os.O_RDONLY) as fd:
        os.rename("other", "victim")
        assert os.read(fd, 10) == b"old" and get("victim") == b"new"
    os.close(here)


@check
def rename_flags():
    noreplace, exchange = 1, 2
    put("a", b"a")
    put("b", b"b")
    if "rename_flags" in without:
        with fails(errno.EINVAL):
            renameat2(b"a", b"b", exchange)
        return
    with fails(errno.EEXIST):
        renameat2(b"a", b"b", noreplace)
    renameat2(b"a", b"b", exchange)
    assert get("a") == b"b" and get("b") == b"a"
    renameat2(b"a", b"c", noreplace)
    assert get("c") == b"b"


@check
def unlink():
    put("file", b"content")
    os.mkdir("dir")
    with fails(errno.EISDIR, errno.EPERM):
        os.unlink("dir")
    with fails(errno.ENOENT):
        os.unlink("none")
    with opened("file", os.O_RDWR) as fd:
        inode = os.fstat(fd).st_ino
        os.unlink("file")
        assert not os.path.exists("file") and os.listdir(".") == ["dir"]
        status = os.fstat(fd)
        assert (status.st_nlink, status.st_size, status.st_ino) == (0, 7, inode)
        assert os.pread(fd, 10, 0) == b"content"
        os.pwrite(fd, b"C", 0)
        os.fchmod(fd, 0o600)
        os.ftruncate(fd, 3)
        assert os.pread(fd, 10, 0) == b"Con" and stat.S_IMODE(os.fstat(fd).st_mode) == 0o600
        put("file", b"another")
        assert os.stat("file").st_ino != inode and os.pread(fd, 10, 0) == b"Con"
    assert get("file") == b"another"
    os.symlink("file", "link")
    os.unlink("link")
    assert os.path.exists("file")


@check
def strange_names():
    names = ["with space", "new\nline", "back\\slash", "-dash", "ü" * 127, "...", "\x01\x7f", "a,b=c"]
    for name in names:
        put(name, name.encode())
    assert sorted(os.listdir(".")) == sorted(names)
    for name in names:
        assert get(name) == name.encode()
    raw = b"\xff\xfe not utf-8"
    put(raw)
    assert raw in os.listdir(b".")


@check
def a_long_way_down():
    depth = 60
    here = os.open(".", os.O_RDONLY)
    for level in range(depth):
        os.mkdir(f"level{level}")
        os.chdir(f"level{level}")
    put("bottom", b"deep")
    os.fchdir(here)
    path = "/".join(f"level{level}" for level in range(depth))
    assert get(path + "/bottom") == b"deep"
    assert os.path.samefile(path + "/../" * 10, "/".join(f"level{n}" for n in range(depth - 10)))
    os.close(here)


# ---- directories ----

@check
def many_names_while_they_change():
    """5,000 names, read while others come and go: each that stays is seen once."""
    count = 5000
    os.mkdir("dir")
    here = os.open("dir", os.O_RDONLY)
    for number in range(count):
        os.close(os.open(f"stays{number}", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    for number in range(200):
        os.close(os.open(f"goes{number}", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    seen = []
    for number, entry in enumerate(os.scandir("dir")):
        seen.append(entry.name)
        if number % 25 == 0 and number // 25 < 200:
            os.unlink(f"goes{number // 25}", dir_fd=here)
            os.close(os.open(f"comes{number}", os.O_CREAT | os.O_WRONLY, dir_fd=here))
    stays = [name for name in seen if name.startswith("stays")]
    assert len(stays) == len(set(stays)) == count, f"{len(stays)} seen, {len(set(stays))} different"
    assert len(os.listdir("dir")) == count + len([n for n in os.listdir("dir") if n[0] == "c"])
    os.lseek(here, 0, os.SEEK_SET)
    assert set(os.listdir(here)) >= set(stays)
    os.close(here)


@check
def kinds_of_entries():
    put("file")
    os.mkdir("dir")
    os.symlink("file", "link")
    with os.scandir(".") as entries:
        kinds = {entry.name: (entry.is_file(follow_symlinks=False), entry.is_dir(follow_symlinks=False),
                              entry.is_symlink(), entry.inode() == os.lstat(entry.name).st_ino)
                 for entry in entries}
    assert kinds == {"file": (True, False, False, True), "dir": (False, True, False, True),
                     "link": (False, False, True, True)}, kinds
