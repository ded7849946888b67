# SPDX-License-Identifier: MIT
"""Files that are made, and whose they are."""
import errno
import os
import socket
import stat

from .tools import (GROUP, OTHER, USER, as_user, check, fails, get, mode_of, opened, owner_of,
                    put, refused, without)


# ---- making, and what it is then ----

@check
def modes_of_new_files():
    os.umask(0o027)
    put("file", mode=0o666)
    os.mkdir("dir", 0o777)
    os.umask(0)
    put("all", mode=0o6777)
    os.mkfifo("fifo", 0o622)
    assert mode_of("file") == 0o640 and mode_of("dir") == 0o750
    assert mode_of("all") == 0o6777 and mode_of("fifo") == 0o622


@check
def owners_of_new_files():
    os.chmod(".", 0o777)

    def make():
        put("file")
        os.mkdir("dir")
        os.symlink("nowhere", "link")
        os.mkfifo("fifo")
        with socket.socket(socket.AF_UNIX) as server:
            server.bind("socket")
    as_user(make)
    for name in ("file", "dir", "fifo", "socket"):
        assert owner_of(name) == (USER, GROUP), name
    if "link_owner" not in without:
        assert owner_of("link") == (USER, GROUP)
    assert stat.S_ISSOCK(os.stat("socket").st_mode) and stat.S_ISFIFO(os.stat("fifo").st_mode)


@check
def a_directory_gives_its_group():
    os.mkdir("dir")
    os.chown("dir", USER, OTHER)
    os.chmod("dir", 0o2777)

    def make():
        put("dir/file")
        os.mkdir("dir/sub")
    as_user(make)
    assert owner_of("dir/file") == owner_of("dir/sub") == (USER, OTHER)
    assert mode_of("dir/sub") == 0o2755


@check
def devices():
    os.mknod("null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    status = os.stat("null")
    assert stat.S_ISCHR(status.st_mode) and status.st_rdev == os.makedev(1, 3)
    with opened("null", os.O_RDWR) as fd:
        assert os.write(fd, b"x") == 1 and os.read(fd, 1) == b""
    os.mkfifo("fifo")
    reader = os.open("fifo", os.O_RDONLY | os.O_NONBLOCK)
    with opened("fifo", os.O_WRONLY) as writer:
        os.write(writer, b"through")
        assert os.read(reader, 10) == b"through"
    os.close(reader)
    with opened(".", os.O_RDONLY):
        kinds = {entry.name: entry.is_file(follow_symlinks=False) for entry in os.scandir(".")}
    assert kinds == {"null": False, "fifo": False}


@check
def mkdir():
    os.mkdir("dir")
    put("file")
    os.symlink("nowhere", "dangling")
    for name, error in (("dir", errno.EEXIST), ("file", errno.EEXIST), ("dangling", errno.EEXIST),
                        ("none/dir", errno.ENOENT), ("file/dir", errno.ENOTDIR),
                        ("x" * 256, errno.ENAMETOOLONG)):
        with fails(error):
            os.mkdir(name)
    os.mkdir("x" * 255)
    assert os.stat("dir").st_nlink in (1, 2)
    os.chmod("dir", 0o555)
    as_user(lambda: refused(lambda: os.mkdir("dir/sub"), errno.EACCES))


@check
def rmdir():
    os.makedirs("full/sub")
    put("file")
    os.symlink("full", "link")
    for name, errors in (("full", (errno.ENOTEMPTY, errno.EEXIST)), ("file", (errno.ENOTDIR,)),
                         ("none", (errno.ENOENT,)), ("link", (errno.ENOTDIR,)),
                         ("full/.", (errno.EINVAL,)), ("full/sub/..", (errno.ENOTEMPTY, errno.EEXIST))):
        with fails(*errors):
            os.rmdir(name)
    fd = os.open("full/sub", os.O_RDONLY)
    os.rmdir("full/sub")
    assert os.listdir("full") == []
    with fails(errno.ENOENT):
        os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    os.close(fd)
    os.rmdir("full")


# ---- rights and owners ----

@check
def chmod():
    put("file")
    os.mkdir("dir")
    for mode in (0o7777, 0o4711, 0o2755, 0o1777, 0, 0o444):
        for name in ("file", "dir"):
            os.chmod(name, mode)
            assert mode_of(name) == mode, oct(mode_of(name))
    as_user(lambda: refused(lambda: os.chmod("file", 0o777), errno.EPERM))
    put("mine")
    os.chown("mine", USER, GROUP)
    as_user(lambda: os.chmod("mine", 0o600))
    assert mode_of("mine") == 0o600
    # A link's mode is its target's.
    os.symlink("file", "link")
    os.chmod("link", 0o640)
    assert mode_of("file") == 0o640


@check
def chown():
    put("file")
    os.symlink("file", "link")
    os.chown("file", USER, -1)
    assert owner_of("file") == (USER, 0)
    os.chown("file", -1, GROUP)
    assert owner_of("file") == (USER, GROUP)
    os.chown("link", 0, 0)
    assert owner_of("file") == (0, 0)
    os.lchown("link", USER, GROUP)
    assert owner_of("file") == (0, 0)
    if "link_owner" not in without:
        assert owner_of("link") == (USER, GROUP)
    as_user(lambda: refused(lambda: os.chown("file", USER, -1), errno.EPERM))
    put("mine")
    os.chown("mine", USER, GROUP)
    os.chmod("mine", 0o6755)
    as_user(lambda: os.chown("mine", -1, OTHER), groups=(OTHER,))
    assert owner_of("mine") == (USER, OTHER)
    assert mode_of("mine") == 0o755


@check
def rights_are_kept():
    put("secret", b"x", 0o600)
    put("mine", b"x", 0o600)
    os.chown("mine", USER, GROUP)
    os.mkdir("closed", 0o700)
    put("closed/file", b"x")

    def look():
        for name in ("secret", "closed/file"):
            with fails(errno.EACCES):
                os.open(name, os.O_RDONLY)
        assert get("mine") == b"x"
        with fails(errno.EACCES):
            put("new")
    as_user(look)
    os.chmod("mine", 0)
    as_user(lambda: refused(lambda: get("mine"), errno.EACCES))


@check
def a_write_ends_set_user_id():
    names = ["write", "second_write", "truncate", "open"] + ["fallocate"] * ("fallocate" not in without)
    for name in names:
        put(name, b"x", 0o6777)
        os.chmod(name, 0o6777)
        os.chown(name, 0, 0)
        os.chmod(name, 0o6777)

    def change():
        with opened("write", os.O_WRONLY) as fd:
            os.write(fd, b"y")
        os.truncate("truncate", 0)
        with opened("open", os.O_WRONLY | os.O_TRUNC):
            pass
        if "fallocate" in names:
            with opened("fallocate", os.O_WRONLY) as fd:
                os.posix_fallocate(fd, 0, 5000)

    # What was right at the first write is so at the next ones.
    with opened("second_write", os.O_WRONLY) as fd:
        os.write(fd, b"y")
        assert mode_of("second_write") == 0o6777
        as_user(lambda: os.write(fd, b"z"))
    as_user(change)
    modes = {name: mode_of(name) for name in names}
    expected = dict.fromkeys(names, 0o777)
    if "lent_descriptors" in without:
        expected["second_write"] = 0o6777
    assert modes == expected, (modes, expected)


@check
def a_user_may_make_set_user_id():
    os.chmod(".", 0o777)

    def make():
        put("new", b"#!/bin/sh\n", 0o4755)
        os.chmod("new", 0o4755)
        with opened("trunc", os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o4755):
            pass
    as_user(make)
    assert mode_of("new") == mode_of("trunc") == 0o4755


@check
def sticky_directories():
    os.mkdir("dir")
    os.chmod("dir", 0o1777)
    put("dir/roots")
    put("dir/mine")
    os.chown("dir/mine", USER, GROUP)

    def remove():
        with fails(errno.EPERM, errno.EACCES):
            os.unlink("dir/roots")
        os.unlink("dir/mine")
    as_user(remove)
