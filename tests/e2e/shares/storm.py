# SPDX-License-Identifier: MIT
"""Does all it can to names that somebody swaps: storm.py DIR prints what came of it as JSON."""
import json
import os
import sys

ROUNDS = 100


def main(top):
    os.chdir(top)
    counts = {"done": 0, "refused": 0, "secrets": 0}
    flags = os.O_NOFOLLOW

    def read(name):
        fd = os.open(name, os.O_RDONLY | flags)
        counts["secrets"] += b"outside" in os.read(fd, 100)
        os.close(fd)

    def write(name, more=0):
        fd = os.open(name, os.O_WRONLY | flags | more, 0o644)
        os.write(fd, b"storm")
        os.close(fd)

    for number in range(ROUNDS):
        name = f"dir/{number % 5}"
        for act in (lambda: write("file"), lambda: write("file", os.O_TRUNC), lambda: read("file"),
                    lambda: write(name, os.O_CREAT), lambda: read(name), lambda: os.chmod("file", 0o600),
                    lambda: os.chown("file", 5, 5, follow_symlinks=False), lambda: os.truncate(name, 3),
                    lambda: os.mkdir(f"dir/d{number}"), lambda: os.rename(name, name + "x"),
                    lambda: os.link("file", f"dir/l{number}"), lambda: os.unlink("dir/secret"),
                    lambda: os.unlink(f"dir/l{number}"), lambda: os.rmdir(f"dir/d{number}"),
                    lambda: write("dir/secret"), lambda: os.setxattr("file", "user.x", b"y"),
                    lambda: os.utime("file", ns=(1, 1), follow_symlinks=False),
                    lambda: os.listdir("dir")):
            try:
                act()
                counts["done"] += 1
            except OSError:
                counts["refused"] += 1
    print(json.dumps(counts))


main(sys.argv[1])
