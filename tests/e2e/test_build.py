# SPDX-License-Identifier: MIT
"""A C project is built and tested in a guest with two CPUs, into a directory of the host's."""
import os
import subprocess

from guest import BOOT_S

PARTS = 12
MAKEFILE = """
OBJECTS := $(patsubst %.c,%.o,$(sort $(wildcard *.c)))
check: program
	./program
program: $(OBJECTS)
	$(CC) -o $@ $^
%.o: %.c parts.h
	$(CC) -O2 -Wall -Werror -c -o $@ $<
"""


def write_project(directory):
    """Each part is a function that the main program calls."""
    (directory / "Makefile").write_text(MAKEFILE)
    declarations = "".join(f"int part{i}(int x);\n" for i in range(PARTS))
    (directory / "parts.h").write_text(declarations)
    for i in range(PARTS):
        (directory / f"part{i}.c").write_text(f'#include "parts.h"\nint part{i}(int x) {{ return x + {i}; }}\n')
    calls = "".join(f"\tsum = part{i}(sum);\n" for i in range(PARTS))
    (directory / "main.c").write_text('#include <stdio.h>\n#include "parts.h"\nint main(void)\n{\n\tint sum = 0;\n'
                                      f'{calls}\tprintf("sum %d\\n", sum);\n\treturn 0;\n}}\n')


def test_a_project_is_built_and_checked(ringlet, debian_kernel, tmp_path):
    write_project(tmp_path)
    done = subprocess.run([ringlet, "run", "-k", debian_kernel, "-c", "2", "--rwdir", tmp_path, "--", "make",
                           "-C", tmp_path, "-j2", "check"], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=3 * BOOT_S, check=False)
    expected = sum(range(PARTS))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"sum {expected}\n" in done.stdout
    # What the guest made is here, and runs here.
    ours = subprocess.run([os.fspath(tmp_path / "program")], capture_output=True, text=True, check=True)
    assert ours.stdout == f"sum {expected}\n"
