# SPDX-License-Identifier: MIT
"""What checks are made of."""
import contextlib
import ctypes
import errno
import os
import stat
import traceback

USER, GROUP, OTHER = 1234, 2345, 3456
# What a file system may be known not to do: a check that meets one demands that it is refused.
LIMITS = {
    "shared_mmap": "a file cannot be mapped shared and written",
    "fallocate": "no fallocate, SEEK_HOLE tells nothing",
    "rename_flags": "renameat2 takes no flags",
    "times": "times that are set are whole seconds, and not before 1970",
    "coherent_maps": "who reads does not see what is in a mapping until it is written back",
    "link_owner": "a link's owner is not kept",
    "late_times": "when a file was written to shows a second later",
    "lent_descriptors": "who writes is taken for who opened the file",
}
CHECKS = {}
without = set()
_libc = ctypes.CDLL(None, use_errno=True)


def check(function):
    """Enters a check."""
    CHECKS[function.__name__] = function
    return function


@contextlib.contextmanager
def fails(*errors):
    """The block must fail with one of these."""
    try:
        yield
    except OSError as error:
        assert error.errno in errors, f"{errno.errorcode[error.errno]}, not " + \
            " or ".join(errno.errorcode[e] for e in errors)
    else:
        raise AssertionError("succeeded, not " + " or ".join(errno.errorcode[e] for e in errors))


def as_user(function, uid=USER, gid=GROUP, groups=()):
    """Runs function as somebody else, in a process of its own."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setgroups(list(groups))
            os.setgid(gid)
            os.setuid(uid)
            os.umask(0o022)
            function()
            os._exit(0)
        except BaseException:  # pylint: disable=broad-except
            os.write(writer, traceback.format_exc().encode())
            os._exit(1)
    os.close(writer)
    with open(reader, "rb") as stream:
        text = stream.read().decode()
    assert os.waitpid(child, 0)[1] == 0, text


def put(name, data=b"", mode=0o644):
    fd = os.open(name, os.O_CREAT | os.O_WRONLY | os.O_TRUNC, mode)
    assert os.write(fd, data) == len(data)
    os.close(fd)


def get(name):
    with open(name, "rb") as stream:
        return stream.read()


def mode_of(name):
    return stat.S_IMODE(os.lstat(name).st_mode)


def owner_of(name):
    status = os.lstat(name)
    return status.st_uid, status.st_gid


def opened(name, flags, mode=0o644):
    return contextlib.closing(_Fd(os.open(name, flags, mode)))


class _Fd(int):
    def close(self):
        os.close(self)


def refused(function, error):
    """function() must fail with error."""
    with fails(error):
        function()


def punch(fd, offset, length):
    """Makes a hole."""
    keep_size_and_punch = 3
    if _libc.fallocate(fd, keep_size_and_punch, ctypes.c_long(offset), ctypes.c_long(length)):
        raise OSError(ctypes.get_errno(), "fallocate")


def renameat2(old, new, flags):
    """Python has none."""
    here = -100
    if _libc.renameat2(here, old, here, new, flags):
        raise OSError(ctypes.get_errno(), "renameat2")
