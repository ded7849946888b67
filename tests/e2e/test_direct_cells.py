# SPDX-License-Identifier: MIT
"""The processes that run guest programs' code (docs/DIRECT.md), and a host that does things to them."""
import itertools
import os
import pathlib
import resource
import signal
import time

BUSY_TICKS = 20
DIRECT = ("--accel", "translate", "--direct", "always")


def stat(number):
    """Name, state, parent and user time of a process; a state of X where there is none."""
    try:
        text = pathlib.Path(f"/proc/{number}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        return "", "X", 0, 0
    name, _, rest = text.partition("(")[2].rpartition(")")
    fields = rest.split()
    return name, fields[0], int(fields[1]), int(fields[11])


def cells(machine):
    """The numbers of a machine's cells that are alive."""
    for directory in pathlib.Path("/proc").glob("[0-9]*"):
        name, state, parent, _ = stat(directory.name)
        if parent == machine and name == "ringlet cell" and state != "Z":
            yield int(directory.name)


def signal_all(machine, number):
    """Returns how many there were."""
    found = list(cells(machine))
    for cell in found:
        os.kill(cell, number)
    return len(found)


def ticks(numbers):
    """User time of all these processes."""
    return sum(stat(number)[3] for number in numbers)


def test_killed(start, linux):
    """A program whose cell is killed as it runs gets a fault; one that does not run, nothing."""
    guest = start(*linux(), *DIRECT).ready()
    guest.sh("(while :; do :; done) & busy=$!")
    # Between two turns it loses nothing, and goes on in another cell.
    while "lives" in guest.sh("test -d /proc/$busy && echo lives || :"):
        used, cell = max((stat(cell)[3], cell) for cell in cells(guest.process.pid))
        if used > BUSY_TICKS:
            os.kill(cell, signal.SIGKILL)
    assert guest.sh("wait $busy; echo $?").strip().endswith("139")


def test_killed_between_turns(start, linux):
    """Nothing is lost with the cells of programs that wait."""
    guest = start(*linux(), *DIRECT).ready()
    for _ in range(5):
        assert guest.sh("echo $((6 * 7))") == "42\n"
        assert signal_all(guest.process.pid, signal.SIGKILL)


def test_signals_to_the_group(start, linux):
    """What ends others of the process group does not end a cell."""
    guest = start(*linux(), *DIRECT).ready()
    guest.sh("(while :; do :; done) & busy=$!")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        assert signal_all(guest.process.pid, number)
    assert guest.sh("echo $((6 * 7))") == "42\n"
    assert guest.sh("kill $busy; wait $busy; echo $?").strip().endswith("143")


def test_no_more_cells(start, linux):
    """Where the host gives no more, those that are there go on; later it is asked again."""
    guest = start(*linux(), *DIRECT).ready()
    machine = guest.process.pid
    more = "sleep 1000 & echo $((6 * 7))"
    guest.sh("(while :; do :; done) &")
    before = set(cells(machine))
    limits = resource.prlimit(machine, resource.RLIMIT_NOFILE)
    used = {int(name) for name in os.listdir(f"/proc/{machine}/fd")}
    free = next(number for number in itertools.count() if number not in used)
    resource.prlimit(machine, resource.RLIMIT_NOFILE, (free, limits[1]))
    for _ in range(5):
        assert guest.sh(more) == "42\n"
    used = ticks(before)
    while ticks(before) < used + BUSY_TICKS:
        assert set(cells(machine)) == before
        time.sleep(0.1)
    signal_all(machine, signal.SIGKILL)
    assert guest.sh(more) == "42\n" and not list(cells(machine))
    resource.prlimit(machine, resource.RLIMIT_NOFILE, limits)
    while not list(cells(machine)):
        assert guest.sh(more) == "42\n"
        time.sleep(0.1)


def test_end_with_the_monitor(start, linux):
    """A monitor that is killed leaves no cells."""
    guest = start(*linux(), *DIRECT).ready()
    guest.sh("true")
    left = list(cells(guest.process.pid))
    assert left
    os.kill(guest.process.pid, signal.SIGKILL)
    while any(stat(cell)[0] == "ringlet cell" and stat(cell)[1] != "Z" for cell in left):
        time.sleep(0.1)
