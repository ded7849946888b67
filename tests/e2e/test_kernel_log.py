# SPDX-License-Identifier: MIT
"""The kernel's own checks of the machine it runs on, with all that it has to say."""
import re

import pytest

from guest import bad_lines

# The tests of ciphers included, which other boots leave out.
EVERYTHING = "console=ttyS0 panic=-1 ignore_loglevel log_buf_len=1M {}"


def boot(start, debian_kernel, test_initramfs, params, *args):
    guest = start("-k", debian_kernel, "-i", test_initramfs, "-p", EVERYTHING.format(params), *args)
    guest.ready(300)
    return guest


@pytest.mark.parametrize("accel", ["auto", "interp"])
def test_nothing_to_complain_about(start, debian_kernel, test_initramfs, accel):
    guest = boot(start, debian_kernel, test_initramfs, "", "-c", 2, "-m", "384M", "--accel", accel)
    log = guest.dmesg()
    assert not bad_lines(log)
    assert not re.search(r"alg: .*(fail|differ)|self-?test.*fail|\bfailed\b", log, re.IGNORECASE)
    assert "smp: Brought up 1 node, 2 CPUs" in log
    assert re.search(r"x86/fpu: Supporting XSAVE feature 0x00[1-4]", log)
    assert "ACPI: Interpreter enabled" in log
    assert "Switched to clocksource tsc" in log
    # Not randomised: what is where is what the kernel's System.map says.
    assert int(guest.sh("grep ' _text$' /proc/kallsyms").split()[0], 16) == 0xffffffff81000000
    guest.send("poweroff -f\n")
    assert guest.wait() == 0
    assert guest.errors() == ""


@pytest.mark.long
def test_a_kernel_that_unpacks_itself(start, debian_kernel, test_initramfs):
    """--kaslr: all the code of the decompressor; where the kernel then is, is its own choice."""
    guest = boot(start, debian_kernel, test_initramfs, "cryptomgr.notests", "--kaslr", "-m", "1G")
    assert not bad_lines(guest.dmesg())
    assert int(guest.sh("grep ' _text$' /proc/kallsyms").split()[0], 16) > 0xffffffff80000000
    guest.send("poweroff -f\n")
    assert guest.wait() == 0


@pytest.mark.long
@pytest.mark.parametrize("params", [
    "nosmp", "noapic", "nolapic", "acpi=off", "nox2apic", "clocksource=hpet", "clocksource=acpi_pm",
    "nohpet notsc", "hpet=disable lapic=notscdeadline", "highres=off nohz=off", "idle=poll",
    "pti=on spectre_v2=on", "noxsave", "nosmap nosmep", "nopcid", "mce=off", "reboot=k",
    "earlyprintk=serial", "iommu=off pci=nommconf", "pci=conf1", "nomodeset vga=normal"])
def test_every_way_to_boot(start, debian_kernel, test_initramfs, params):
    """Parameters that take the kernel along other hardware; each machine works."""
    guest = boot(start, debian_kernel, test_initramfs, f"cryptomgr.notests {params}", "-c", 2)
    assert guest.sh("sleep 1; echo works") == "works\n"
    assert "Call Trace" not in guest.dmesg()
    guest.send("reboot -f\n")
    assert guest.wait() == 2
