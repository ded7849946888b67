# SPDX-License-Identifier: MIT
"""Virtio devices with the drivers of Debian's kernel."""
import hashlib
import json
import pathlib
import random
import re
import shutil
import subprocess

import pytest

from guest import bad_lines, on_screen
from waiting import wait_until

MIB = 1 << 20
DISK_MIB = 16
FILES = 20


@pytest.fixture(scope="module", name="machine",
                params=["translate", pytest.param("interp", marks=pytest.mark.long)])
def machine_fixture(request, start_for_module, linux_with, tmp_path_factory):
    """A guest with a disk vda, a read-only one vdb with random content, and their files."""
    directory = tmp_path_factory.mktemp("disks")
    disk, readonly = directory / "disk,with a comma", directory / "readonly"
    disk.write_bytes(bytes(DISK_MIB * MIB))
    readonly.write_bytes(random.Random(1).randbytes(3 * MIB + 700))
    guest = start_for_module(*linux_with("virtio_pci", "virtio_blk", "virtio-rng"), "-c", "2",
                             "--accel", request.param,
                             "-d", str(disk).replace(",", ",,") + ",discard,serial=ringlet-1",
                             "-d", f"{readonly},ro,format=raw")
    guest.ready()
    guest.sh("load")
    guest.disk, guest.readonly = disk, readonly
    return guest


def test_interrupts(machine):
    """A vector a queue, and they arrive."""
    machine.sh("dd if=/dev/vda of=/dev/null bs=64k count=1 iflag=direct")
    table = machine.sh("cat /proc/interrupts")
    for name in ("virtio0-input", "virtio2-req.0", "virtio2-req.1", "virtio3-req.0"):
        assert re.search(rf"PCI-MSI.*{name}", table), table
    counts = re.findall(r":\s+(\d+)\s+(\d+)\s.*virtio2-req", table)
    assert sum(int(count) for pair in counts for count in pair) > 0


def test_rng(machine):
    assert machine.sh("cat /sys/class/misc/hw_random/rng_current") == "virtio_rng.0\n"
    pieces = {machine.sh("dd if=/dev/hwrng bs=64 count=1 2>/dev/null | md5sum") for _ in range(3)}
    assert len(pieces) == 3


def test_disk_facts(machine):
    queue = "/sys/block/vda/queue"
    assert machine.sh("cat /sys/block/vda/serial") == "ringlet-1"
    assert machine.sh("cat /sys/block/vda/size").strip() == str(DISK_MIB * 2048)
    assert machine.sh("cat /sys/block/vdb/size").strip() == str(3 * 2048 + 2)
    assert machine.sh(f"ls /sys/block/vda/mq | wc -l").strip() == "2"
    assert int(machine.sh(f"cat {queue}/discard_max_bytes")) > MIB
    assert int(machine.sh(f"cat {queue}/write_zeroes_max_bytes")) > MIB
    assert machine.sh(f"cat {queue}/write_cache") == "write back\n"
    assert machine.sh("cat /sys/block/vdb/ro /sys/block/vda/ro").split() == ["1", "0"]


def test_reading(machine):
    """What is in the file, and zeros behind its end; directly and by the guest's page cache."""
    content = machine.readonly.read_bytes()
    content += bytes(-len(content) % 512)
    for flags in ("", "iflag=direct"):
        digest = machine.sh(f"dd if=/dev/vdb bs=512 {flags} 2>/dev/null | md5sum")
        assert digest.split()[0] == hashlib.md5(content).hexdigest()


def test_writing_is_seen_by_the_host(machine):
    machine.sh("dd if=/dev/urandom of=/tmp/piece bs=64k count=40 2>/dev/null")
    machine.sh("dd if=/tmp/piece of=/dev/vda bs=24k seek=7 conv=fsync 2>/dev/null")
    digest = machine.sh("md5sum </tmp/piece").split()[0]
    with open(machine.disk, "rb") as disk:
        disk.seek(7 * 24 * 1024)
        assert hashlib.md5(disk.read(40 * 65536)).hexdigest() == digest


def test_both_processors_at_once(machine):
    machine.sh("for i in 0 1; do taskset -c $i dd if=/tmp/piece of=/dev/vda bs=4k count=200 "
               "seek=$((i*1000+500)) oflag=direct 2>/dev/null & done; wait")
    machine.sh("dd if=/tmp/piece of=/tmp/part bs=4k count=200 2>/dev/null")
    digest = machine.sh("md5sum </tmp/part")
    for i in (0, 1):
        assert machine.sh(f"dd if=/dev/vda bs=4k count=200 skip={i * 1000 + 500} iflag=direct "
                          "2>/dev/null | md5sum") == digest


def test_discard_and_zeroes(machine):
    machine.sh("dd if=/dev/urandom of=/dev/vda bs=1M count=8 oflag=direct 2>/dev/null; sync")
    before = machine.disk.stat().st_blocks
    machine.sh("blkdiscard -o 1048576 -l 4194304 /dev/vda")
    assert machine.disk.stat().st_blocks <= before - 4 * 2048
    machine.sh("zeroout /dev/vda 6291456 1048576")
    content = machine.disk.read_bytes()
    assert not any(content[6 * MIB:7 * MIB])
    assert any(content[5 * MIB:6 * MIB]) and any(content[7 * MIB:8 * MIB])


def test_readonly_disk_stays_as_it_is(machine):
    before = machine.readonly.read_bytes()
    machine.sh("dd if=/dev/zero of=/dev/vdb bs=512 count=1 oflag=direct 2>/dev/null", status=1)
    assert machine.readonly.read_bytes() == before


def test_rebinding(machine):
    """Drivers that let go of their devices and take them again, while they are used."""
    machine.sh("cd /sys/bus/virtio/drivers/virtio_blk")
    for i in range(4):
        machine.sh("dd if=/dev/vda of=/dev/null bs=4k iflag=direct 2>/dev/null & "
                   "echo virtio2 >unbind; wait; echo virtio2 >bind")
        assert machine.sh("dd if=/dev/vda bs=4k count=1 2>/dev/null | wc -c").strip() == "4096", i
    machine.sh("cd ../virtio_rng; for i in 1 2 3 4 5; do echo virtio0 >unbind; echo virtio0 >bind; "
               "done; cd /root; dd if=/dev/hwrng bs=64 count=1 of=/dev/null 2>/dev/null")


def test_kernel_log_is_clean(machine):
    log = "\n".join(line for line in machine.dmesg().splitlines() if "I/O error" not in line)
    assert bad_lines(log) == []


def test_power_off_keeps_what_was_written(start, linux_with, tmp_path):
    """A file system written to and unmounted in one run is whole for the host and the next run."""
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(8 * MIB))
    subprocess.run(["/sbin/mkfs.ext4", "-q", disk], check=True)
    args = [*linux_with("virtio_pci", "virtio_blk", "crc32c_generic", "ext4"), "-d", disk]
    guest = start(*args).ready()
    guest.sh("load; mkdir -p /mnt; mount -t ext4 /dev/vda /mnt")
    guest.sh("dd if=/dev/urandom of=/mnt/file bs=1M count=3 2>/dev/null; "
             "md5sum </mnt/file >/mnt/sum")
    guest.sh("umount /mnt")
    guest.send("poweroff -f\n")
    assert guest.wait() == 0
    subprocess.run(["/sbin/e2fsck", "-f", "-n", disk], check=True, capture_output=True)
    guest = start(*args).ready()
    guest.sh("load; mkdir -p /mnt; mount -t ext4 -o ro /dev/vda /mnt; "
             "md5sum </mnt/file | cmp - /mnt/sum")


def test_programs_from_a_disk(start, linux_with, programs, tmp_path):
    """Pages of code that the disk overwrites again and again: what runs is what was read last."""
    tree, disk = tmp_path / "tree", tmp_path / "disk"
    tree.mkdir()
    for number in range(FILES):
        shutil.copy(programs["mix"], tree / f"mix{number}")
        (tree / f"noise{number}").write_bytes(random.Random(number).randbytes(MIB))
    disk.write_bytes(bytes(96 * MIB))
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-d", tree, disk], check=True)
    # Else the kernel zeroes each page before the disk writes to it, and so hides what we look for.
    args = linux_with("virtio_pci", "virtio_blk", "crc32c_generic", "ext4",
                      params="init_on_alloc=0")
    guest = start(*args, "-d", disk, "-m", "96M", "-c", "2")
    guest.ready()
    guest.sh("load; mkdir -p /mnt; mount -t ext4 /dev/vda /mnt")
    native = {seed: subprocess.run([programs["mix"], str(seed), "20"], check=True, text=True,
                                   capture_output=True).stdout for seed in range(4)}
    for number in range(FILES):
        guest.sh(f"md5sum /mnt/noise{number} >/dev/null & echo 3 >/proc/sys/vm/drop_caches; wait")
        assert guest.sh(f"/mnt/mix{number} {number % 4} 20") == native[number % 4]
    assert bad_lines(guest.dmesg()) == []


def resident_kib(guest):
    """Memory of the guest that the host holds, and of the monitor, which does not change much."""
    with open(f"/proc/{guest.process.pid}/status", encoding="ascii") as status:
        text = status.read()
    # The guest's is private, or a file's in memory.
    return sum(int(re.search(rf"{kind}:\s+(\d+) kB", text)[1]) for kind in ("RssAnon", "RssShmem"))


def available_kib(guest):
    return int(re.search(r"MemAvailable:\s+(\d+)", guest.sh("cat /proc/meminfo"))[1])


def test_balloon(start, linux_with):
    """The guest gives 100 MiB; memory that it has used and freed comes back unasked."""
    guest = start(*linux_with("virtio_pci", "virtio_balloon"), "-m", "512M", "--balloon", "100M")
    guest.ready()
    before = available_kib(guest)
    guest.sh("load")
    wait_until(lambda: before - available_kib(guest) > 95 * 1024, "the balloon stays flat")
    guest.sh("mkdir /big; mount -t tmpfs tmpfs /big; "
             "dd if=/dev/zero of=/big/file bs=1M count=150 2>/dev/null")
    full = resident_kib(guest)
    guest.sh("umount /big")
    wait_until(lambda: resident_kib(guest) < full - 120 * 1024, "what is free is not given back")
    # What comes back is good memory.
    guest.sh("mount -t tmpfs tmpfs /big; "
             "dd if=/dev/urandom of=/big/file bs=1M count=120 2>/dev/null")
    assert guest.sh("md5sum /big/file") == guest.sh("md5sum /big/file")
    guest.sh("rmmod virtio_balloon")
    wait_until(lambda: available_kib(guest) > before - 200 * 1024, "nothing comes back")
    assert bad_lines(guest.dmesg()) == []


def test_console(start, linux_with):
    """Much output, and input typed faster than it is read; nothing gets lost."""
    guest = start(*linux_with("virtio_pci", "virtio_console", console="hvc0"), "-c", "2",
                  "--console", "virtio")
    guest.ready()
    assert "hvc0" in guest.sh("tty")
    lines = guest.sh("seq 20000").split()
    assert lines == [str(number) for number in range(1, 20001)]
    text = "".join(chr(65 + i % 26) for i in range(3000))
    assert guest.sh(f"echo {text}") == text + "\n"
    assert bad_lines(guest.dmesg()) == []
    guest.send("poweroff -f\n")
    assert guest.wait() == 0


@pytest.mark.parametrize("rounds", [2, pytest.param(100, marks=pytest.mark.long)])
def test_rebinding_all(start, linux_with, tmp_path, rounds):
    """Every driver lets go and comes back while it works; functions leave the bus and return."""
    disk = tmp_path / "disk"
    disk.write_bytes(random.Random(3).randbytes(4 * MIB))
    digest = hashlib.md5(disk.read_bytes()).hexdigest()
    guest = start(*linux_with("virtio_pci", "virtio_blk", "virtio-rng", "virtio_balloon",
                              "virtio_console"), "-d", disk, "-c", "2", "--balloon", "64M", "-n", "none")
    guest.ready()
    guest.sh("load")
    guest.sh("rebind() { echo $2 >/sys/bus/virtio/drivers/$1/unbind; "
             "echo $2 >/sys/bus/virtio/drivers/$1/bind; }")
    guest.sh("gone() { echo 1 >/sys/bus/pci/devices/0000:00:$1/remove; "
             "echo 1 >/sys/bus/pci/rescan; }")
    for _ in range(rounds):
        guest.sh("dd if=/dev/hwrng of=/dev/null bs=512 count=40 2>/dev/null & "
                 "dd if=/dev/vda of=/dev/null bs=4k iflag=direct 2>/dev/null & "
                 "rebind virtio_rng virtio0; rebind virtio_balloon virtio1; "
                 "rebind virtio_blk virtio2; wait")
        guest.sh("dd if=/dev/vda of=/dev/null bs=64k iflag=direct 2>/dev/null & "
                 "gone 02.0; gone 03.0; gone 04.0; wait")
        said = guest.sh("dd if=/dev/vda bs=8k iflag=direct 2>/dev/null | md5sum")
        assert said.split()[0] == digest
        # What was taken off the bus comes back under the next free number, which is its old one.
        assert guest.sh("ls /sys/bus/virtio/devices").split() == ["virtio0", "virtio1", "virtio2"]
    guest.sh("dd if=/dev/hwrng of=/dev/null bs=64 count=1 2>/dev/null")
    log = [line for line in guest.dmesg().splitlines() if "I/O error" not in line]
    assert bad_lines("\n".join(log)) == []


def test_mmio(start, linux_with, tmp_path):
    """The same devices without the PCI bus."""
    disk = tmp_path / "disk"
    disk.write_bytes(random.Random(2).randbytes(2 * MIB))
    guest = start(*linux_with("virtio_mmio", "virtio_blk", "virtio-rng", "virtio_balloon"),
                  "--virtio-mmio", "-d", disk, "-c", "2")
    guest.ready()
    guest.sh("load")
    digest = guest.sh("dd if=/dev/vda bs=4k iflag=direct 2>/dev/null | md5sum").split()[0]
    assert digest == hashlib.md5(disk.read_bytes()).hexdigest()
    guest.sh("dd if=/dev/hwrng of=/dev/vda bs=512 count=1 conv=fsync 2>/dev/null")
    assert re.search(r"IO-APIC.*virtio2", guest.sh("cat /proc/interrupts"))
    for _ in range(5):
        guest.sh("cd /sys/bus/virtio/drivers/virtio_blk; echo virtio2 >unbind; "
                 "echo virtio2 >bind; cd /")
        guest.sh("dd if=/dev/vda of=/dev/null bs=64k 2>/dev/null")
    assert bad_lines(guest.dmesg()) == []


def test_mmio_reset_under_way(ringlet, debian_kernel, tmp_path):
    """The CPU that resets a disk which has much to do goes on when that has ended, and finds it reset."""
    disk = tmp_path / "disk"
    with open(disk, "wb") as file:
        file.truncate(1 << 30)
    done = run(ringlet, "-k", debian_kernel, "--virtio-mmio", "-c", "2", "-d", f"{disk},direct",
               "-p", "iomem=relaxed", "--", "sh", "-c", """
        device=$(readlink -f /sys/block/vda/device | sed 's,/virtio[0-9]*$,,; s,.*/,,')
        base=$(sed -n "s/^ *\\([0-9a-f]*\\)-.* $device$/\\1/p" /proc/iomem | head -n 1)
        for i in 0 1 2 3 4 5 6 7; do
            dd if=/dev/vda of=/dev/null bs=1M iflag=direct skip=$((i * 100)) 2>/dev/null &
        done
        sleep 0.2
        busybox devmem $((0x$base + 0x70)) 32
        busybox devmem $((0x$base + 0x70)) 32 0
        busybox devmem $((0x$base + 0x70)) 32
        echo o >/proc/sysrq-trigger
        sleep 60""")
    assert done.stdout.split() == ["0x0000000F", "0x00000000"], done.stderr


def run(ringlet, *args):
    return subprocess.run([ringlet, "run", *map(str, args)], capture_output=True, text=True,
                          timeout=30, check=False)


def test_disk_options(ringlet, linux, tmp_path):
    """What is wrong with a disk is said in one line."""
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(MIB))
    for option, status, said in (
            (f"{tmp_path}/none", 1, "No such file"),
            (f"{disk},rw", 1, "did you mean 'ro'"),
            (f"{disk},format=qcow", 1, "no format 'qcow'"),
            (tmp_path, 1, "s a directory"),
    ):
        done = run(ringlet, *linux(), "--dry-run", "-d", option)
        assert done.returncode == status and said in done.stderr, done.stderr
        assert done.stderr.count("\n") == 1 and not done.stdout


def test_a_disk_given_twice(ringlet, linux, tmp_path):
    """A dry run only looks at disks, but says what a real one would."""
    disk, link, base = tmp_path / "disk", tmp_path / "link", tmp_path / "base"
    disk.write_bytes(bytes(MIB))
    base.write_bytes(bytes(MIB))
    link.symlink_to(disk)
    new = tmp_path / "new"
    for one, other in ((disk, disk), (f"{disk},ro", link), (link, f"{disk},ro"),
                       (f"{base},overlay={new}", f"{disk},overlay={new}"),
                       (f"{disk},overlay={new}", disk)):
        for mode in ["--dry-run"], []:
            done = run(ringlet, *linux(), *mode, "-d", one, "-d", other)
            assert "in use by another disk of this machine" in done.stderr, (one, other, mode)
            assert done.returncode and done.stderr.count("\n") == 1 and not done.stdout
            new.unlink(missing_ok=True)
    for one, other in ((f"{disk},ro", f"{link},ro"),
                       (f"{base},overlay={new}", f"{base},overlay={new}2")):
        assert not run(ringlet, *linux(), "--dry-run", "-d", one, "-d", other).returncode


def test_a_disk_below_another(ringlet, linux, tmp_path):
    """What images lie on is as it was when they were made, or they are worth nothing."""
    base, middle, top, new = (tmp_path / name for name in ("base", "b.qcow2", "c.qcow2", "d.qcow2"))
    base.write_bytes(bytes(MIB))
    for image, below in (middle, base), (top, middle):
        subprocess.run([ringlet, "disk", "create", image, "--backing", below], check=True)
    for one, other, said in ((base, f"{middle},backing", base), (base, f"{top},backing,ro", base),
                             (f"{middle},backing", f"{top},backing", middle),
                             (base, f"{top},backing,overlay={new}", base)):
        for disks in (one, other), (other, one):
            for mode in ["--dry-run"], []:
                done = run(ringlet, *linux(), *mode, "-d", disks[0], "-d", disks[1])
                assert f"another disk of this machine lies on {said}," in done.stderr, disks
                assert done.returncode and done.stderr.count("\n") == 1 and not done.stdout
                assert not new.exists()
    for other in f"{base},ro", f"{base},overlay={new}", f"{middle},backing,ro":
        assert not run(ringlet, *linux(), "--dry-run", "-d", f"{top},backing",
                       "-d", other).returncode


def test_dry_run_lists_devices(ringlet, linux, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(bytes(MIB))
    done = run(ringlet, *linux(), "--dry-run", "-d", f"{disk},ro")
    devices = [device for device in json.loads(done.stdout)["devices"] if "virtio" in device]
    names = [device["virtio"] for device in devices]
    assert names == ["virtio-rng", "virtio-balloon", "virtio-blk", "virtio-net"]
    assert devices[2]["file"] == str(disk) and devices[2]["bytes"] == MIB
    assert devices[2]["readonly"] is True and devices[2]["pci"] == "04.0"


def test_a_container_used_as_raw_is_noticed(ringlet, linux, tmp_path):
    disk = tmp_path / "disk"
    disk.write_bytes(b"QFI\xfb" + bytes(MIB - 4))
    assert "looks like a qcow2" in run(ringlet, *linux(), "--dry-run", "-d", disk).stderr
    assert not run(ringlet, *linux(), "--dry-run", "-d", f"{disk},format=raw").stderr


def test_a_bios_boots_from_a_disk(start):
    """SeaBIOS reads GRUB from it."""
    image, bios = "/usr/lib/grub-rescue/grub-rescue-cdrom.iso", "/usr/share/seabios/bios.bin"
    for path, package in ((image, "grub-rescue-pc"), (bios, "seabios")):
        if not pathlib.Path(path).exists():
            pytest.skip(f"no {path}: install {package}")
    guest = start("-f", bios, "-d", f"{image},ro")
    guest.expect(on_screen("Booting from Hard Disk"), 120)
    guest.expect(on_screen("GNU GRUB"), 120)
    guest.send("\x01x")
    assert guest.wait() == 0
