# SPDX-License-Identifier: MIT
"""A machine with KVM in it, wherever the tests run: QEMU's TCG emulates a processor with AMD-V, Debian's
kernel drives it, and an initramfs holds Ringlet, its libraries, and guests for it.

It is slow, so that many jobs share a boot: a job is a name and a shell command.
"""
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = pathlib.Path(__file__).resolve().parent
# Of Debian's kernel, in the order in which they are loaded.
KVM = ["virt/lib/irqbypass.ko", "drivers/crypto/ccp/ccp.ko", "arch/x86/kvm/kvm.ko",
       "arch/x86/kvm/kvm-amd.ko"]
VHOST = ["drivers/net/tun.ko", "drivers/net/tap.ko", "drivers/vhost/vhost_iotlb.ko",
         "drivers/vhost/vhost.ko", "drivers/vhost/vhost_net.ko"]
CARD = ["drivers/virtio/virtio_ring.ko", "drivers/virtio/virtio.ko",
        "drivers/virtio/virtio_pci_modern_dev.ko", "drivers/virtio/virtio_pci_legacy_dev.ko",
        "drivers/virtio/virtio_pci.ko", "drivers/virtio/virtio_mmio.ko", "net/core/failover.ko",
        "drivers/net/net_failover.ko", "drivers/net/virtio_net.ko"]
QEMU = "qemu-system-x86_64"
MEM_MIB = 2048


def libraries(program):
    """Paths of the shared libraries that a program needs, its loader included."""
    done = subprocess.run(["ldd", program], check=True, capture_output=True, text=True)
    return re.findall(r"(/\S+) \(0x", done.stdout)


def make_initramfs(output, init, kernel, modules, files):
    """An initramfs with this init, which finds modules as /modules/00, 01 …, and with files."""
    version = pathlib.Path(kernel).name.removeprefix("vmlinuz-")
    there = pathlib.Path(kernel).parent.parent / "lib/modules" / version / "kernel"
    pairs = {f"modules/{number:02}": there / path for number, path in enumerate(modules)} | files
    subprocess.run([ROOT / "tools/make-initramfs", "--output", output, "--init", init,
                    *(f"--add={name}={path}" for name, path in pairs.items())],
                   check=True, capture_output=True)


class Nested:
    """Runs jobs in the machine; files: what the initramfs has, by its name there."""

    def __init__(self, ringlet, kernel, directory):
        self.kernel, self.directory, self.modules = kernel, directory, KVM
        self.files = {"bin/ringlet": ringlet}
        for library in libraries(ringlet):
            self.files[library.lstrip("/")] = library
        self.console = ""

    def run(self, jobs, timeout, cpus=1):
        """Status and output of each job, by name."""
        listing = self.directory / "jobs"
        listing.write_text("".join(f"{name} {command}\n" for name, command in jobs.items()))
        initrd = self.directory / "outer.cpio"
        make_initramfs(initrd, HERE / "init", self.kernel, self.modules,
                       {**self.files, "jobs": listing})
        command = ["nice", QEMU, "-accel", "tcg", "-cpu", "max", "-smp", str(cpus), "-m",
                   str(MEM_MIB), "-nographic", "-no-reboot", "-kernel", self.kernel, "-initrd", initrd,
                   "-append", "console=ttyS0 panic=-1 quiet cryptomgr.notests no_timer_check"]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True,
                                  timeout=timeout, check=False)
            output = done.stdout
        except subprocess.TimeoutExpired as late:
            output = late.stdout or b""
        self.console = output.decode(errors="replace").replace("\r\n", "\n")
        return self.results(jobs)

    def results(self, jobs):
        """From the console; a job that did not end has no entry."""
        found = {}
        for name in jobs:
            match = re.search(rf"::begin {re.escape(name)}::\n(.*?)::end {re.escape(name)} (\d+)::",
                              self.console, re.DOTALL)
            if match:
                found[name] = int(match[2]), match[1]
        return found


def available():
    """Whether this machine has what it takes; a reason if not."""
    return None if shutil.which(QEMU) else f"no {QEMU}: install qemu-system-x86"
