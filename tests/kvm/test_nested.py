# SPDX-License-Identifier: MIT
"""Ringlet under KVM, in a machine that QEMU emulates, so that it can be shown anywhere: nested.py.

Its processor is the emulator's, which knows no segment limits, few alignment checks, and more that the
bare-metal guests check: so only those are here that the emulator itself passes. KVM does not see it
execute XSETBV, so that Linux does without XSAVE there; and it may be too slow for Linux to trust its
timers.
"""
import json
import re

import pytest

from nested import CARD, HERE, KVM, VHOST, make_initramfs

# The way to deliver interrupts, as options.
WAYS = {"split": "", "whole": "--debug-kvm-without all"}
# The emulator opens an interrupt window, which "whole" asks for, before a REP in the shadow of STI.
CHECKS = [("32-boot", "split"), ("32-boot", "whole"), ("64-shadows", "split"), ("64-smc", "split"),
          ("64-smc", "whole"), ("64-timers", "split"), ("64-timers", "whole")]
CAPABILITIES = ["split-irqchip", "signal-msi", "irq-routing", "mp-state", "immediate-exit",
                "tsc-deadline", "readonly-mem", "xsave2", "tsc-khz", "tsc-offset", "ioeventfd",
                "dirty-log", "kvmclock"]
TIMELY = ["split-irqchip", "immediate-exit", "tsc-deadline"]  # that interrupts depend on
# What is enough on a host with much other work, too.
QUICK_S, LONG_S = 900, 6000
PASSED = 1


# Guests with a card on a tap that the outer kernel serves, vhost-net: MiB each way, pauses, options.
LENT = {"plain": (4, 0, "-c 1"),
        "pauses": (16, 1000, "-c 1"),
        "pairs": (16, 10, "-c 2"),
        "switch": (4, 0, "-c 1 --debug-switch-accel 1000"),
        "whole": (4, 3, "-c 1 --debug-kvm-without all"),
        "no-ioeventfd": (4, 3, "-c 1 --debug-kvm-without ioeventfd"),
        "mmio": (4, 3, "-c 1 --virtio-mmio")}
LENT_LONG = [name for name in LENT if name != "plain"]


def lent_jobs(nested, names):
    """By vhost_host and vhost_guest, for which nested is made ready."""
    card = nested.directory / "card.cpio"
    make_initramfs(card, HERE / "vhost_guest", nested.kernel, CARD, {})
    nested.modules = KVM + VHOST
    nested.files.update({"vmlinuz": nested.kernel, "card.cpio": card, "vhost_host": HERE / "vhost_host"})
    return {name: "sh /vhost_host {} {} {}".format(*LENT[name]) for name in names}


def guest_job(guest, options):
    return (f"timeout 60 ringlet run --accel kvm --debug-exit -n none -i none -k /guests/{guest} {options}")


def quick_jobs():
    jobs = {"doctor": "ringlet doctor --json",
            "auto": "ringlet run --debug-exit -n none -i none -k /guests/32-boot --stats"}
    for guest, way in CHECKS:
        jobs[f"{guest}-{way}"] = guest_job(guest, WAYS[way])
    for capability in CAPABILITIES:
        guest = "64-timers" if capability in TIMELY else "32-boot"
        jobs[f"without-{capability}"] = guest_job(guest, f"--debug-kvm-without {capability}")
    jobs["switch"] = guest_job("64-timers", "--debug-switch-accel 20 --stats")
    return jobs


@pytest.fixture(scope="module", name="quick")
def quick_fixture(make_nested):
    """Results of the jobs that take seconds: status and output by name."""
    nested = make_nested()
    results = nested.run(quick_jobs() | lent_jobs(nested, ["plain"]), QUICK_S)
    assert results, nested.console[-3000:]
    return results


def test_doctor(quick):
    status, output = quick["doctor"]
    found = json.loads(output)
    assert status == 0
    assert found["kvm"]["usable"] and found["kvm"]["reason"] is None
    assert found["auto"] == "kvm"
    assert [c["name"] for c in found["kvm"]["capabilities"]] == CAPABILITIES


def test_auto_takes_it(quick):
    status, output = quick["auto"]
    assert status == PASSED, output
    assert "KVM exits: port" in output and "warn" not in output


@pytest.mark.parametrize("guest,way", CHECKS)
def test_checks(quick, guest, way):
    """All of a guest's checks pass."""
    status, output = quick[f"{guest}-{way}"]
    assert status == PASSED, output


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_without(quick, capability):
    """An older kernel will do."""
    status, output = quick[f"without-{capability}"]
    assert status == PASSED, output


def test_switch(quick):
    """A guest that lives by its timers goes on under the other engine and comes back."""
    status, output = quick["switch"]
    assert status == PASSED, output
    assert int(output.split("changes of the accelerator: ")[1].split()[0]) > 1


# ---- Debian's kernel, to its shell ----

def linux_job(cpus, options):
    """Types until there is a shell: it answers, and switches the machine off."""
    said = r'echo cpus=$(nproc) loc=$(grep -c LOC /proc/interrupts) bad=$(dmesg | grep -cE "BUG:|lockup|stall"); poweroff -f'
    typed = f"i=0; while [ $i -lt 200 ]; do sleep 2; echo '{said}'; i=$((i+1)); done"
    return (f"( {typed} ) 2>/dev/null | timeout 600 ringlet run --accel kvm -c {cpus} -n none -m 256 -k /vmlinuz "
            f"-i /shell.cpio -p 'quiet cryptomgr.notests noxsave' --stats {options}")


LINUX = {"split-1": (1, ""), "split-2": (2, ""),
         "whole-1": (1, "--debug-kvm-without all"), "whole-2": (2, "--debug-kvm-without all"),
         "switch-split-1": (1, "--debug-switch-accel 1500"),
         "switch-split-2": (2, "--debug-switch-accel 1500"),
         "switch-whole-1": (1, "--debug-switch-accel 1500 --debug-kvm-without all"),
         "switch-whole-2": (2, "--debug-switch-accel 1500 --debug-kvm-without all")}


@pytest.fixture(scope="module", name="booted")
def booted_fixture(make_nested, debian_kernel, shell_initramfs):
    nested = make_nested()
    nested.files.update({"vmlinuz": debian_kernel, "shell.cpio": shell_initramfs})
    results = nested.run({name: linux_job(*job) for name, job in LINUX.items()}, LONG_S)
    assert results, nested.console[-3000:]
    return results


@pytest.mark.long
@pytest.mark.parametrize("name", LINUX)
def test_linux(booted, name):
    status, output = booted[name]
    assert status == 0, output
    assert f"cpus={LINUX[name][0]} loc=1 bad=0" in output
    if name.startswith("switch"):
        assert int(output.split("changes of the accelerator: ")[1].split()[0]) > 2


# ---- vhost-net ----

def check_lent(status, output):
    """All frames came, by the kernel; it gave the queues back and took them again, to the guest's reset too."""
    assert status == 0, output
    data = output.split("host: data ")[1].split()[0]
    for time in ["first", "again"]:
        assert f"guest: {time} pings 3" in output, output
        assert f"guest: {time} received {data}" in output, output
        assert f"guest: {time} sent {data}" in output, output
        assert re.search(rf"guest: {time} queue  [01]: .* lent to the kernel \d+ times", output), output
    assert "guest: bad 0" in output and "serve it ourselves" not in output, output


def test_vhost(quick):
    check_lent(*quick["plain"])


@pytest.fixture(scope="module", name="lent")
def lent_fixture(make_nested):
    nested = make_nested()
    results = nested.run(lent_jobs(nested, LENT_LONG), LONG_S)
    assert results, nested.console[-3000:]
    return results


@pytest.mark.long
@pytest.mark.parametrize("name", LENT_LONG)
def test_vhost_long(lent, name):
    """Under each way to deliver notifications and interrupts, and taken back at any time."""
    status, output = lent[name]
    check_lent(status, output)
    pauses = int(re.search(r"host: paused (\d+) times", output)[1])
    assert pauses >= min(LENT[name][1], 10), output
    if name == "pairs":
        assert "guest: again threads 2" in output, output
        assert "queue  3: " in output, output
    if name == "switch":
        assert int(output.split("changes of the accelerator: ")[1].split()[0]) > 2
