# SPDX-License-Identifier: MIT
"""Debian's kernel on machines of several sizes: what it sees, does and says."""
import re
import shutil
import subprocess
import time

import pytest

from guest import bad_lines

MIB = 1 << 20
MACHINES = {"1-cpu": (1, "128M", 128), "2-cpus": (2, "1G", 1024), "4-cpus": (4, "8G", 8192)}


@pytest.fixture(scope="module", params=MACHINES.values(), ids=MACHINES.keys(), name="machine")
def machine_fixture(request, start_for_module, linux):
    """A booted guest with its numbers of CPUs and MiB."""
    cpus, mem, mebibytes = request.param
    guest = start_for_module(*linux(), "-c", cpus, "-m", mem)
    guest.ready()
    guest.cpus, guest.mebibytes = cpus, mebibytes
    return guest


def interrupts(guest):
    """/proc/interrupts: for each name the counts of the CPUs (or of all, for ERR and MIS)."""
    counts = {}
    for line in guest.sh("cat /proc/interrupts").splitlines()[1:]:
        name, _, rest = line.strip().partition(":")
        counts[name] = [int(word) for word in re.match(r"[\s\d]*", rest).group().split()]
    return counts


def test_tiles(machine, programs):
    """AMX is offered where this machine has it; products come out the same, in several processes
    at once too."""
    here = subprocess.run([programs["tiles"]], capture_output=True, text=True, check=False)
    offered = "amx_tile" in machine.sh("cat /proc/cpuinfo")
    assert offered == (here.returncode == 0)
    if not offered:
        pytest.skip("this machine has no AMX")
    assert machine.sh("tiles & tiles & tiles; wait").split() == [here.stdout.strip()] * 3


def test_processors(machine):
    assert int(machine.sh("nproc")) == machine.cpus
    for cpu in range(machine.cpus):
        where = machine.sh(f"taskset -c {cpu} cat /proc/self/stat").split()[38]
        assert int(where) == cpu


def test_memory(machine):
    """All of it but what kernel and firmware keep: the kernel's image, its page structures."""
    kib = int(re.search(r"MemTotal:\s+(\d+) kB", machine.sh("cat /proc/meminfo")).group(1))
    given = machine.mebibytes * 1024
    assert given * 0.97 - 80 * 1024 < kib < given


def test_the_memory_is_there(machine):
    """A file as large as half of it, 128 MiB at most, can be written; its end is as it went in."""
    blocks = min(machine.mebibytes // 2 - 32, 128)
    machine.sh("mkdir -p /big; mount -t tmpfs -o size=90% tmpfs /big")
    machine.sh(f"dd if=/dev/zero of=/big/file bs=1M count={blocks} 2>/dev/null")
    machine.sh("dd if=/dev/urandom of=/tmp/piece bs=64K count=1 2>/dev/null; "
               "cat /tmp/piece >>/big/file")
    first, last, size = machine.sh("md5sum </tmp/piece; tail -c 65536 /big/file | md5sum; "
                                   "wc -c </big/file").split("\n")[:3]
    assert first == last and int(size) == blocks * MIB + 65536
    machine.sh("umount /big")


def test_time_of_day(machine):
    assert abs(int(machine.sh("date +%s")) - time.time()) < 5


def test_sleep(machine):
    """A second of sleep is about one on both clocks."""
    started = time.monotonic()
    output = machine.sh("read a b </proc/uptime; sleep 1; read c d </proc/uptime; echo $a $c")
    took = time.monotonic() - started
    before, after = map(float, output.split())
    assert 0.95 <= after - before < 3
    assert 0.95 <= took < 5


def test_clocks_agree(machine):
    """The guest's clock and the host's advance alike, whatever the guest does meanwhile."""
    guest_start, host_start = float(machine.sh("cut -d' ' -f1 /proc/uptime")), time.monotonic()
    machine.sh("i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; usleep 300000")
    guest_took = float(machine.sh("cut -d' ' -f1 /proc/uptime")) - guest_start
    assert abs(guest_took - (time.monotonic() - host_start)) < 0.5


def test_clock_source(machine):
    base = "/sys/devices/system/clocksource/clocksource0/"
    assert machine.sh(f"cat {base}current_clocksource").strip() == "tsc"
    assert "hpet" in machine.sh(f"cat {base}available_clocksource")


def test_interrupts(machine):
    machine.sh("echo something for the serial port")
    counts = interrupts(machine)
    timers = counts["LOC"]
    assert len(timers) == machine.cpus and all(timers)
    assert sum(counts["4"]) > 0
    assert counts["ERR"] == [0] and counts["MIS"] == [0]
    assert not any(counts["SPU"])
    assert not any(counts["NMI"]) and not any(counts["MCE"])
    if machine.cpus > 1:
        assert sum(counts["RES"]) + sum(counts["CAL"]) > 0


def test_fork_storm(machine):
    assert machine.sh("storm 3 4") == "processes=85 broken=0\n"
    machine.sh("i=0; while [ $i -lt 60 ]; do (true) & i=$((i+1)); done; wait")


def test_arithmetic_in_parallel(machine, programs):
    """Vector and x87 code of several processes, signals in between, gives what it gives here."""
    jobs = [(seed, 1000) for seed in range(1, machine.cpus + 3)]
    native = [subprocess.run([programs["mix"], str(seed), str(rounds)], check=True, text=True,
                             capture_output=True).stdout for seed, rounds in jobs]
    machine.sh("".join(f"mix {seed} {rounds} >/tmp/mix.{seed} & " for seed, rounds in jobs)
               + "wait")
    assert [machine.sh(f"cat /tmp/mix.{seed}") for seed, _ in jobs] == native


def test_an_idle_guest_costs_nothing(machine):
    """Under one percent of a core."""
    time.sleep(1)
    cpu, wall = machine.cpu_seconds(), time.monotonic()
    time.sleep(4)
    assert (machine.cpu_seconds() - cpu) / (time.monotonic() - wall) < 0.01


@pytest.mark.skipif(not shutil.which("iasl"), reason="no iasl: install acpica-tools")
def test_acpi_tables(machine, tmp_path):
    """The tables as the guest's kernel has them: iasl disassembles and compiles each."""
    names = machine.sh("cd /sys/firmware/acpi/tables; ls -p | grep -v /; cd /root").split()
    assert {"APIC", "DSDT", "FACP", "FACS", "HPET"} <= set(names)
    for name in names:
        table = bytes.fromhex(machine.sh(f"xxd -p /sys/firmware/acpi/tables/{name}"))
        assert table[:4].decode() == name[:4]
        if name != "FACS":
            assert sum(table) % 256 == 0
        (tmp_path / f"{name}.dat").write_bytes(table)
    for name in names:
        for args in (["-d", f"{name}.dat"], ["-p", f"{name}_again", f"{name}.dsl"]):
            done = subprocess.run(["iasl", *args], cwd=tmp_path, capture_output=True, text=True,
                                  check=False)
            said = done.stdout + done.stderr
            assert done.returncode == 0, said
            assert not re.search(r"[1-9]\d* (Errors|Warnings)|Error +\d|Warning +\d", said), said


def test_cpu_hotplug(machine):
    if machine.cpus == 1:
        pytest.skip("one CPU")
    last = f"/sys/devices/system/cpu/cpu{machine.cpus - 1}/online"
    for _ in range(3):
        machine.sh(f"echo 0 >{last}")
        assert int(machine.sh("nproc")) == machine.cpus - 1
        machine.sh(f"echo 1 >{last}")
        assert int(machine.sh("nproc")) == machine.cpus


def test_kernel_log_is_clean(machine):
    log = machine.dmesg()
    assert "Linux version" in log
    assert not bad_lines(log)


def test_power_off(machine):
    """Last: the machine is gone."""
    machine.send("poweroff -f\n")
    assert machine.wait() == 0
    assert machine.errors() == ""
