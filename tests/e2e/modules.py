# SPDX-License-Identifier: MIT
"""The modules of a kernel package, with what they need, in the order in which they load."""
import pathlib
import subprocess


def modules_of(kernel, names):
    """Paths of modules, each behind those that it depends on. kernel: its image."""
    (tree,) = (pathlib.Path(kernel).parents[1] / "lib/modules").iterdir()
    paths = {path.name.split(".")[0].replace("-", "_"): path for path in tree.rglob("*.ko*")}
    found = []

    def add(name):
        path = paths[name.replace("-", "_")]
        if path in found:
            return
        depends = subprocess.run(["/sbin/modinfo", "-F", "depends", path], check=True, text=True,
                                 capture_output=True).stdout.strip()
        for other in filter(None, depends.split(",")):
            add(other)
        found.append(path)

    for name in names:
        add(name)
    return found
