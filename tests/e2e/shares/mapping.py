# SPDX-License-Identifier: MIT
"""mapping.py DIR EXCHANGE: maps files that the host changes meanwhile; prints what it saw, as JSON."""
import hashlib
import json
import mmap
import os
import sys
import time


def shrunk(path, view):
    """Looks behind the end in a process of its own, which may be killed for it."""
    child = os.fork()
    if not child:
        os._exit(1 if any(view[4096:]) else 0)
    status = os.waitpid(child, 0)[1]
    return "signal" if os.WIFSIGNALED(status) else "bytes" if status else "zeros"


def main(directory, exchange):
    done = {}
    with open(f"{directory}/file", "r+b") as file, open(f"{directory}/shrinks", "rb") as shrinks:
        view = mmap.mmap(file.fileno(), 0)
        other = mmap.mmap(shrinks.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ)
        done["before"] = view[:4].decode()
        done["digest"] = hashlib.sha256(view).hexdigest()
        assert set(other[:]) == {ord("x")}
        open(f"{exchange}/ready", "wb").close()
        while not os.path.exists(f"{exchange}/go"):
            time.sleep(0.05)
        done["seen"] = view[1 << 20:(1 << 20) + 4].decode()
        done["shrunk"] = shrunk("shrinks", other)
        view[:5] = b"GUEST"
        view.flush()
    print(json.dumps(done))


main(*sys.argv[1:])
