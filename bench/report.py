# SPDX-License-Identifier: MIT
"""From runs to a table in Markdown."""
import math
import os
import platform
import re
import statistics
import time

BUSY = "**The host was busy with other work: these are orders of magnitude, not results.**"
BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"


def median(numbers):
    """The median of those numbers that are there, or None."""
    known = [number for number in numbers if number is not None]
    return statistics.median(known) if known else None


def geometric_mean(numbers):
    return math.exp(sum(map(math.log, numbers)) / len(numbers)) if numbers else None


def human_time(nanoseconds):
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= size:
            return f"{nanoseconds / size:.3g} {unit}"
    return f"{nanoseconds:.0f} ns"


def cell(number, form="{:.2f}"):
    return "–" if number is None else form.format(number)


def spread(runs):
    """How far apart the rounds were: the median over programs of (slowest - fastest) / median."""
    widths = []
    for name in runs[0].times:
        times = [run.times[name] for run in runs if run.times.get(name)]
        if times:
            widths.append((max(times) - min(times)) / statistics.median(times))
    return median(widths)


def differing(results):
    """Programs whose checksums are not the same everywhere: (name, engine, got, expected)."""
    expected, found = {}, []
    for engine, runs in results.items():
        for run in runs:
            for name, checksum in run.checksums.items():
                if expected.setdefault(name, checksum) != checksum:
                    found.append((name, engine, checksum, expected[name]))
    return found


def ratio(runs, others, name):
    """The median of the rounds' ratios of a program's times, or None."""
    pairs = [(run.times.get(name), other.times.get(name)) for run, other in zip(runs, others)]
    return median([a / b for a, b in pairs if a and b])


def program_rows(classes, results, engines):
    """Rows of the table of programs, and the geometric mean of each class."""
    rows = []
    for class_name, names in classes.items():
        ratios = {engine: [ratio(results[engine], results["native"], name) for name in names]
                  for engine in engines}
        for index, name in enumerate(names):
            native = median([run.times.get(name) for run in results["native"]])
            rows.append([name, class_name, "–" if native is None else human_time(native)]
                        + [cell(ratios[engine][index]) for engine in engines])
        means = [geometric_mean([number for number in ratios[engine] if number]) for engine in engines]
        rows.append([f"**{class_name}**", "geometric mean", ""] + [f"**{cell(mean)}**" for mean in means])
    return rows


def table(head, rows):
    """A table whose first column is text and whose others are numbers."""
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    return lines + ["| " + " | ".join(row) + " |" for row in rows]


def machine_rows(results, engines):
    """Boot and memory: absolute figures, for the host has none of its own."""
    figures = [("boot to init, s", "boot_s", 1), ("monitor's own memory, MiB", "monitor_kib", 1024)]
    rows = []
    for title, name, scale in figures:
        numbers = [median([getattr(run, name) for run in results[engine]]) for engine in engines]
        rows.append([title] + [cell(number and number / scale) for number in numbers])
    return rows


def speedup(results, engine):
    """What the second CPU of a machine is worth: 2 if it does as much as the first."""
    rounds = [(run.times.get("alone"), run.times.get("parallel")) for run in results[engine]]
    return median([2 * alone / both for alone, both in rounds if alone and both])


def host():
    """The machine, in a line."""
    model = "unknown processor"
    with open("/proc/cpuinfo", encoding="utf-8") as cpuinfo:
        found = re.search(r"^model name\s*:\s*(.*)$", cpuinfo.read(), re.MULTILINE)
        if found:
            model = found[1]
    return f"{model}, {os.cpu_count()} CPUs, Linux {platform.release()}"


def start_line(starts):
    """What starting a machine that does nothing costs."""
    found = [f"{name} {cost[0]:.1f} ms of processor time, {cost[1] / 1024:.1f} MiB" if cost else
             f"{name} does not start" for name, cost in starts.items()]
    return f"From exec to a guest that halts (-c 1 -m 128): {'; '.join(found)}."


def report(classes, results, kernel, load, starts, commands):
    """The whole text between the markers."""
    engines = [engine for engine in results if engine != "native"]
    rounds = len(results["native"])
    noise = ", ".join(f"{engine} {spread(runs):.0%}" for engine, runs in results.items())
    lines = [f"Host: {host()}. Guest: {kernel}. {time.strftime('%Y-%m-%d')}.", "",
             f"Medians of {rounds} rounds; load average {load[0]:.1f} before, {load[1]:.1f} after. "
             f"Spread of the rounds (slowest less fastest, of the median): {noise}.", ""]
    if load[0] > os.cpu_count() / 2:
        lines += [BUSY, ""]
    rows = machine_rows(results, engines)
    rows.append(["'run -- true', s"] + [cell(commands[engine]) for engine in engines])
    rows.append(["two CPUs against one"] + [cell(speedup(results, engine)) for engine in engines])
    lines += table(["machine"] + engines, rows)
    native = speedup(results, "native")
    if native:
        lines += ["", f"On the host, two CPUs are worth {native:.2f}."]
    lines += ["", start_line(starts)]
    lines += ["", "Time of a program in a guest, divided by its time on the host:", ""]
    lines += table(["program", "class", "host"] + engines,
                   program_rows(classes, results, engines))
    return "\n".join(lines) + "\n"


def write_between_markers(path, text):
    """Puts text between the markers of the file at path."""
    old = path.read_text(encoding="utf-8")
    before, found, rest = old.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"{path} lacks {BEGIN} or {END}")
    path.write_text(f"{before}{BEGIN}\n{text}{END}{after}", encoding="utf-8")
