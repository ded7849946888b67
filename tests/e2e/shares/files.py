# SPDX-License-Identifier: MIT
"""What is in files, and what is known of them."""
import errno
import fcntl
import mmap
import os
import random
import time

from .tools import (as_user, check, fails, get, mode_of, opened, punch, put, refused, without)


# ---- opening ----

@check
def open_flags():
    put("file", b"content")
    os.mkdir("dir")
    os.symlink("file", "link")
    os.symlink("made", "dangling")
    for name, flags, error in (
            ("file", os.O_CREAT | os.O_EXCL | os.O_WRONLY, errno.EEXIST),
            ("dangling", os.O_CREAT | os.O_EXCL | os.O_WRONLY, errno.EEXIST),
            ("none", os.O_RDONLY, errno.ENOENT), ("dangling", os.O_RDONLY, errno.ENOENT),
            ("file", os.O_DIRECTORY, errno.ENOTDIR), ("link", os.O_NOFOLLOW, errno.ELOOP),
            ("dir", os.O_WRONLY, errno.EISDIR), ("dir", os.O_RDWR, errno.EISDIR),
            ("file/x", os.O_RDONLY, errno.ENOTDIR)):
        with fails(error):
            os.open(name, flags, 0o644)
    with opened("dangling", os.O_CREAT | os.O_WRONLY) as fd:
        os.write(fd, b"by the link")
    assert get("made") == b"by the link"
    with opened("file", os.O_RDONLY) as fd, fails(errno.EBADF):
        os.write(fd, b"x")
    with opened("file", os.O_WRONLY) as fd, fails(errno.EBADF):
        os.read(fd, 1)
    with opened("file", os.O_WRONLY | os.O_TRUNC) as fd:
        assert os.fstat(fd).st_size == 0
        os.write(fd, b"abc")
    with opened("file", os.O_RDWR | os.O_SYNC) as fd:
        os.write(fd, b"X")
        os.fsync(fd)
        os.fdatasync(fd)
    assert get("file") == b"Xbc"
    # Made with rights that its maker would not have.
    with opened("readonly", os.O_CREAT | os.O_RDWR, 0o444) as fd:
        os.write(fd, b"x")
    assert get("readonly") == b"x" and mode_of("readonly") == 0o444


@check
def append():
    """Writers that do not know of each other: nothing is lost."""
    put("log")
    lines, writers = 100, 3
    children = []
    for number in range(writers):
        child = os.fork()
        if not child:
            with opened("log", os.O_WRONLY | os.O_APPEND) as fd:
                for line in range(lines):
                    os.write(fd, f"{number} {line}\n".encode())
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
    seen = sorted(tuple(map(int, line.split())) for line in get("log").splitlines())
    assert seen == [(w, n) for w in range(writers) for n in range(lines)], len(seen)
    with opened("log", os.O_RDWR | os.O_APPEND) as fd:
        size = os.fstat(fd).st_size
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"end")
        assert os.pread(fd, 3, size) == b"end"


@check
def reading_and_writing():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        assert os.write(fd, b"hello") == 5
        assert os.pwrite(fd, b"J", 0) == 1
        assert os.pread(fd, 100, 0) == b"Jello"
        assert os.read(fd, 100) == b""
        assert os.lseek(fd, -2, os.SEEK_END) == 3
        assert os.read(fd, 100) == b"lo"
        assert os.pwritev(fd, [b"ab", b"", b"cd"], 10) == 4
        assert os.pread(fd, 20, 0) == b"Jello\0\0\0\0\0abcd"
    data = random.Random(1).randbytes(3_000_001)
    put("big", data)
    assert get("big") == data
    with opened("big", os.O_RDONLY) as fd:
        for offset in (0, 4095, 1 << 20, 2_999_999, 3_000_001):
            assert os.pread(fd, 70000, offset) == data[offset:offset + 70000]


@check
def truncate():
    put("file", b"0123456789")
    os.truncate("file", 4)
    assert get("file") == b"0123"
    os.truncate("file", 8)
    assert get("file") == b"0123\0\0\0\0"
    with opened("file", os.O_RDWR) as fd:
        os.ftruncate(fd, 2)
        assert os.fstat(fd).st_size == 2
        os.pwrite(fd, b"z", 5)
        assert os.pread(fd, 10, 0) == b"01\0\0\0z"
    with opened("file", os.O_RDONLY) as fd, fails(errno.EINVAL, errno.EBADF):
        os.ftruncate(fd, 0)
    os.mkdir("dir")
    with fails(errno.EISDIR):
        os.truncate("dir", 0)
    with fails(errno.EINVAL):
        os.truncate("file", -1)
    os.truncate("file", 5 << 30)
    with opened("file", os.O_RDWR) as fd:
        os.pwrite(fd, b"far", (5 << 30) - 3)
        assert os.pread(fd, 10, (5 << 30) - 5) == b"\0\0far"
    os.truncate("file", 0)
    os.chmod("file", 0o444)
    as_user(lambda: refused(lambda: os.truncate("file", 1), errno.EACCES))


@check
def holes():
    with opened("file", os.O_CREAT | os.O_RDWR) as fd:
        os.pwrite(fd, b"x" * 65536, 0)
        os.pwrite(fd, b"y" * 65536, 1 << 20)
        os.fsync(fd)
        assert os.pread(fd, 100, 65536) == bytes(100)
        assert os.fstat(fd).st_size == (1 << 20) + 65536
        if "fallocate" in without:
            with fails(errno.EOPNOTSUPP):
                punch(fd, 0, 4096)
            return
        assert os.fstat(fd).st_blocks * 512 < 1 << 20
        assert os.lseek(fd, 0, os.SEEK_HOLE) == 65536
        assert os.lseek(fd, 65536, os.SEEK_DATA) == 1 << 20
        with fails(errno.ENXIO):
            os.lseek(fd, 2 << 20, os.SEEK_DATA)
        punch(fd, 4096, 8192)
        assert os.pread(fd, 16384, 0) == b"x" * 4096 + bytes(8192) + b"x" * 4096
        os.posix_fallocate(fd, 0, 2 << 20)
        assert os.fstat(fd).st_size == 2 << 20


@check
def mapped():
    put("file", b"a" * 10000)
    with opened("file", os.O_RDWR) as fd:
        with mmap.mmap(fd, 10000, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_WRITE) as private:
            private[0:3] = b"own"
            assert private[0:4] == b"owna"
        assert get("file")[:4] == b"aaaa"
        if "shared_mmap" in without:
            with fails(errno.EINVAL, errno.ENODEV):
                mmap.mmap(fd, 10000, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
            return
        with mmap.mmap(fd, 10000, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE) as shared:
            shared[5000:5005] = b"hello"
            if "coherent_maps" in without:
                assert os.pread(fd, 5, 5000) == b"aaaaa"
                shared.flush()
            assert os.pread(fd, 5, 5000) == b"hello"
            os.pwrite(fd, b"world", 9000)
            if "coherent_maps" not in without:
                assert shared[9000:9005] == b"world"
            shared.flush()
    assert get("file")[4999:5006] == b"ahelloa" and len(get("file")) == 10000


@check
def programs_run():
    put("script", b"#!/bin/sh\nexit 42\n", 0o755)
    assert os.spawnl(os.P_WAIT, "./script", "script") == 42
    put("copy", get("/bin/true"), 0o755)
    assert os.spawnl(os.P_WAIT, "./copy", "copy") == 0


# ---- times ----

@check
def times():
    put("file")
    second = 1_000_000_000
    for atime, mtime in ((second * second + 123_456_789, 2 * second * second + 987_654_321),
                         (-3 * second // 2, 0)):
        os.utime("file", ns=(atime, mtime))
        if "times" in without:
            atime, mtime = max(atime // second * second, 0), mtime // second * second
        status = os.stat("file")
        assert (status.st_atime_ns, status.st_mtime_ns) == (atime, mtime)
    put("link_target")
    os.symlink("link_target", "link")
    os.utime("link", ns=(5, 7_000_000_000), follow_symlinks=False)
    assert os.lstat("link").st_mtime_ns == 7_000_000_000
    assert os.stat("link_target").st_mtime_ns != 7_000_000_000
    os.utime("file")
    assert abs(os.stat("file").st_mtime - os.stat("link_target").st_mtime) < 3600
    as_user(lambda: refused(lambda: os.utime("file", ns=(1, 1)), errno.EPERM))
    as_user(lambda: refused(lambda: os.utime("file"), errno.EACCES))
    os.chmod("file", 0o666)
    as_user(lambda: os.utime("file"))


@check
def times_of_change():
    os.mkdir("dir")
    put("file", b"x")

    def pass_over(name, change, attribute):
        os.utime(name, ns=(10**18, 10**18))
        before = getattr(os.stat(name), attribute)
        change()
        after = getattr(os.stat(name), attribute)
        assert after > before, f"{name}: {attribute}"
    pass_over("dir", lambda: put("dir/new"), "st_mtime_ns")
    pass_over("dir", lambda: os.rename("dir/new", "dir/other"), "st_mtime_ns")
    pass_over("dir", lambda: os.unlink("dir/other"), "st_mtime_ns")

    def write():
        with opened("file", os.O_WRONLY) as fd:
            os.write(fd, b"y")
            os.fsync(fd)
        if "late_times" in without:
            time.sleep(1.1)
    pass_over("file", write, "st_mtime_ns")


# ---- attributes and locks ----

@check
def xattrs():
    put("file")
    assert os.listxattr("file") == []
    os.setxattr("file", "user.one", b"value\0with nul")
    os.setxattr("file", "user.empty", b"")
    assert os.getxattr("file", "user.one") == b"value\0with nul"
    assert os.getxattr("file", "user.empty") == b""
    assert sorted(os.listxattr("file")) == ["user.empty", "user.one"]
    with fails(errno.EEXIST):
        os.setxattr("file", "user.one", b"x", os.XATTR_CREATE)
    with fails(errno.ENODATA):
        os.setxattr("file", "user.two", b"x", os.XATTR_REPLACE)
    os.setxattr("file", "user.one", b"new", os.XATTR_REPLACE)
    assert os.getxattr("file", "user.one") == b"new"
    os.removexattr("file", "user.one")
    for call in (os.getxattr, os.removexattr):
        with fails(errno.ENODATA):
            call("file", "user.one")
    os.mkdir("dir")
    os.setxattr("dir", "user.big", b"b" * 2000)
    assert os.getxattr("dir", "user.big") == b"b" * 2000
    with opened("file", os.O_RDWR) as fd:
        os.setxattr(fd, "user.fd", b"1")
        assert os.getxattr("file", "user.fd") == b"1"


def _locked_by_others(name, start, length):
    """Whether another process can have a write lock; in one, since one's own do not count."""
    child = os.fork()
    if not child:
        with open(name, "r+b") as stream:
            try:
                fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
                os._exit(0)
            except OSError:
                os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


@check
def locks():
    put("file", b"x" * 100)
    with open("file", "r+b") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX, 10, 20)
        assert not _locked_by_others("file", 0, 20) and _locked_by_others("file", 29, 1)
        fcntl.lockf(stream, fcntl.LOCK_UN, 5, 20)
        assert not _locked_by_others("file", 20, 5) and _locked_by_others("file", 25, 1)
        fcntl.lockf(stream, fcntl.LOCK_SH, 0, 0)
        assert _locked_by_others("file", 90, 1)
    assert not _locked_by_others("file", 0, 0)
    # One waits until the other lets go.
    reader, writer = os.pipe()
    with open("file", "r+b") as stream:
        fcntl.lockf(stream, fcntl.LOCK_EX)
        child = os.fork()
        if not child:
            with open("file", "r+b") as again:
                os.write(writer, b"asks")
                fcntl.lockf(again, fcntl.LOCK_EX)
                os.write(writer, b"has")
            os._exit(0)
        assert os.read(reader, 4) == b"asks"
        fcntl.lockf(stream, fcntl.LOCK_UN)
        assert os.read(reader, 4) == b"has"
        os.waitpid(child, 0)


@check
def flock():
    put("file")
    with open("file", "rb") as one, open("file", "rb") as two:
        fcntl.flock(one, fcntl.LOCK_SH)
        fcntl.flock(two, fcntl.LOCK_SH)
        with fails(errno.EAGAIN):
            fcntl.flock(one, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(one, fcntl.LOCK_UN)
        fcntl.flock(two, fcntl.LOCK_EX | fcntl.LOCK_NB)
    # One process locks, another unlocks, as flock(1) in scripts.
    with open("file", "w+b") as shared:
        for how in (fcntl.LOCK_EX, fcntl.LOCK_UN):
            child = os.fork()
            if not child:
                fcntl.flock(shared, how)
                os._exit(0)
            os.waitpid(child, 0)
        with open("file", "w+b") as other:
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


@check
def statfs():
    status = os.statvfs(".")
    assert status.f_blocks >= status.f_bfree > 0 and status.f_namemax == 255
