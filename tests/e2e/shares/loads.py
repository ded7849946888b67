# SPDX-License-Identifier: MIT
"""Many things at random, and several at once."""
import contextlib
import errno
import mmap
import os
import random
import traceback

from .tools import (check, get, opened, punch, put, without)


@check
def random_operations():
    """One file against a model of it, by several descriptors; some are mapped."""
    rng = random.Random(20)
    model = bytearray()
    put("file")
    fds = [os.open("file", os.O_RDWR) for _ in range(2)]
    limit = 300_000
    for step in range(1500):
        what = rng.choice(("write", "write", "read", "read", "truncate", "append", "reopen", "map",
                           "punch"))
        fd = rng.choice(fds)
        start, size = rng.randrange(limit), rng.choice((1, 100, 4096, 5000, 70000))
        if what == "write":
            data = rng.randbytes(size)
            if start > len(model):
                model.extend(bytes(start - len(model)))
            model[start:start + size] = data
            assert os.pwrite(fd, data, start) == size
        elif what == "append":
            if len(model) < limit:
                data = rng.randbytes(size % 5000)
                model.extend(data)
                with opened("file", os.O_WRONLY | os.O_APPEND) as end:
                    os.write(end, data)
        elif what == "truncate":
            size = rng.randrange(limit)
            os.ftruncate(fd, size)
            if size > len(model):
                model.extend(bytes(size - len(model)))
            del model[size:]
        elif what == "reopen":
            number = fds.index(fd)
            os.close(fd)
            fds[number] = os.open("file", os.O_RDWR)
        elif what == "map" and model and "shared_mmap" not in without:
            start %= len(model)
            data = rng.randbytes(min(size, len(model) - start))
            with mmap.mmap(fd, len(model)) as view:
                assert view[start:start + len(data)] == bytes(model[start:start + len(data)]), step
                view[start:start + len(data)] = data
                view.flush()
            model[start:start + len(data)] = data
        elif what == "punch" and "fallocate" not in without:
            end = min(start + size, len(model))
            if start < end:
                punch(fd, start, end - start)
                model[start:end] = bytes(end - start)
        got = os.pread(fd, size, start)
        assert got == bytes(model[start:start + size]), f"step {step}: {what}"
    assert os.fstat(fds[0]).st_size == len(model)
    for fd in fds:
        os.close(fd)
    assert get("file") == bytes(model)


def _one_of_many(number, directory):
    """Does a thousand things to its own files and those that all share; returns what its own must be."""
    rng = random.Random(number)
    own, content = f"own{number}", {}
    os.mkdir(own)
    for _ in range(250):
        name = f"{own}/f{rng.randrange(20)}"
        what = rng.choice(("write", "write", "rename", "unlink", "link", "shared", "shared", "list"))
        if what == "write":
            content[name] = rng.randbytes(rng.randrange(20000))
            # Of a file with two names, the other goes its own way.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            put(name, content[name])
        elif what == "rename" and name in content:
            target = f"{own}/f{rng.randrange(20)}"
            # Of two names for one file, both stay.
            same = target in content and os.path.samefile(name, target)
            os.rename(name, target)
            if not same:
                content[target] = content.pop(name)
        elif what == "unlink" and name in content:
            os.unlink(name)
            del content[name]
        elif what == "link" and name in content:
            target = f"{own}/f{rng.randrange(20)}"
            if target not in content:
                os.link(name, target)
                content[target] = content[name]
        elif what == "shared":
            _something_shared(rng, directory)
        elif what == "list":
            assert set(os.listdir(own)) == {os.path.basename(path) for path in content}
    for name, data in content.items():
        assert get(name) == data, name


def _something_shared(rng, directory):
    """What others do meanwhile may be in the way: only what must not be is an error."""
    name, other = (f"{directory}/s{rng.randrange(10)}" for _ in range(2))
    expected = (errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.EISDIR, errno.ENOTDIR, errno.EINVAL,
                errno.ELOOP, errno.EPERM, errno.ESTALE)
    try:
        rng.choice((lambda: put(name, b"shared" * rng.randrange(1000)), lambda: os.unlink(name),
                    lambda: os.rename(name, other), lambda: os.mkdir(name), lambda: os.rmdir(name),
                    lambda: os.link(name, other), lambda: os.symlink(other, name),
                    lambda: get(name), lambda: os.truncate(name, rng.randrange(9000)),
                    lambda: os.listdir(directory), lambda: os.chmod(name, rng.randrange(0o777) | 0o600)))()
    except OSError as error:
        if error.errno not in expected:
            raise


@check
def parallel_load():
    """Several processes at once: what each has alone is right in the end."""
    os.mkdir("shared")
    children = []
    reader, writer = os.pipe()
    for number in range(4):
        child = os.fork()
        if not child:
            try:
                _one_of_many(number, "shared")
                os._exit(0)
            except BaseException:  # pylint: disable=broad-except
                os.write(writer, traceback.format_exc().encode())
                os._exit(1)
        children.append(child)
    os.close(writer)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    with open(reader, "rb") as stream:
        text = stream.read().decode()
    assert not any(statuses), text
