# SPDX-License-Identifier: MIT
"""A disk and a shared directory for the programs of the classes disk and files, in guests and on the host."""
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests/e2e"))

from modules import modules_of  # noqa: E402  pylint: disable=wrong-import-position

CLASSES = ["disk", "files"]
DISK_BYTES = 64 << 20
TAG = "share"
# Loaded by the guest's init, whichever of them it needs.
MODULES = ["virtio_pci", "virtio_blk", "virtiofs", "9p", "9pnet_virtio", "virtio_net"]


class Storage:
    """The host's side, in a directory that lives as long."""

    def __init__(self, directory):
        self.directory = directory
        self.shared = os.path.join(directory, "shared")
        os.mkdir(self.shared)

    def _disk(self, engine):
        """An image for each: machines that are up together lock theirs."""
        path = os.path.join(self.directory, f"disk-{engine}.raw")
        with open(path, "ab") as stream:
            stream.truncate(DISK_BYTES)
        return path

    def environment(self):
        """For the programs on the host."""
        return {**os.environ, "BENCH_DISK": self._disk("native"), "BENCH_DIR": self.shared}

    def options(self, engine):
        """For a machine that has both."""
        disk = self._disk(engine)
        if engine != "tcg":
            return ["-d", disk, "--fs", f"{self.shared},{TAG},dax"]
        return ["-drive", f"file={disk},if=none,id=disk,format=raw", "-device",
                "virtio-blk-pci,drive=disk", "-fsdev",
                f"local,id=share,path={self.shared},security_model=none", "-device",
                f"virtio-9p-pci,fsdev=share,mount_tag={TAG}"]


def additions(kernel, directory):
    """What the initramfs needs: arguments of make-initramfs."""
    paths = modules_of(kernel, MODULES)
    order = pathlib.Path(directory) / "order"
    order.write_text("".join(f"/modules/{path.name}\n" for path in paths), encoding="ascii")
    yield f"--add=modules/order={order}"
    for path in paths:
        yield f"--add=modules/{path.name}={path}"
