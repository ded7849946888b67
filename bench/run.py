#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Compares guests with the host and with QEMU's TCG: boot, memory, and the programs of bench/*.c.

With each program the host, each of our engines and QEMU take turns, in machines that are up together: what
the host's processors are worth changes within seconds. Medians of the rounds are reported. The host should have
nothing else to do.
"""
import argparse
import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile

import command
import machine
import network
import report
import startup
import storage

ROOT = pathlib.Path(__file__).resolve().parent.parent
# Classes that want two processors.
TWO_CPUS = ["smp"]


def tool(name, *args):
    """What a tool of this tree prints."""
    done = subprocess.run([ROOT / "tools" / name, *args], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def programs(program, chosen):
    """Names of programs by class."""
    classes = {}
    done = subprocess.run([program, "list"], check=True, capture_output=True, text=True)
    for line in done.stdout.splitlines():
        name, class_name = line.split()
        classes.setdefault(class_name, []).append(name)
    classes[command.CLASS] = command.names()
    unknown = set(chosen or []) - set(classes)
    if unknown:
        sys.exit(f"no such class: {', '.join(unknown)}; there are: {', '.join(classes)}")
    return {name: names for name, names in classes.items() if not chosen or name in chosen}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build", metavar="DIR")
    parser.add_argument("--engines", metavar="LIST",
                        help="of ours and tcg, with commas; without it, all that the build has, and tcg")
    parser.add_argument("--classes", metavar="LIST", help="of programs, with commas; all without it")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ms", type=int, default=300, help="time for each program (300)")
    parser.add_argument("--kernel", metavar="FILE", help="Debian's without it")
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE",
                        help="put the report between this file's markers")
    return parser.parse_args()


class Bench:
    """The whole comparison."""

    def __init__(self, args, directory):
        self.args = args
        self.ringlet, self.program = args.build / "ringlet", args.build / "bench/bench"
        self.kernel = args.kernel or tool("fetch-kernel")
        self.initrd = tool("make-initramfs", "--output", f"{directory}/bench.cpio", "--init",
                           f"{ROOT}/bench/init", "--add", f"bin/bench={self.program}",
                           *storage.additions(self.kernel, directory))
        self.storage, self.network = storage.Storage(directory), network.Network()
        self.classes = programs(self.program, args.classes and args.classes.split(","))
        engines = args.engines.split(",") if args.engines else machine.accelerators(self.ringlet) + ["tcg"]
        self.results = {name: [] for name in ["native"] + engines}
        self.engines = engines

    def guest(self, engine, cpus, devices, run):
        """A machine of an engine, ready for programs."""
        params, options = f"bench_ms={self.args.ms}", []
        if devices:
            params += " bench_storage=1" + self.network.params()
            options = self.storage.options(engine) + self.network.options(engine)
        argv = machine.command(engine, self.ringlet, self.kernel, self.initrd, cpus, params)
        return machine.Guest(argv + options, run)

    def take_turns(self, names, cpus, devices, runs):
        """These programs, by all in turn."""
        with contextlib.ExitStack() as ends:
            places = {"native": machine.Host(self.program, self.args.ms,
                                             {**self.storage.environment(), **self.network.environment()})}
            def turn(engine, name):
                """What is not up is started first."""
                if engine not in places:
                    places[engine] = self.guest(engine, cpus, devices, runs[engine])
                    ends.callback(places[engine].close)
                if name:
                    places[engine].turn(name, runs[engine])

            for name in [None] + names:
                for engine in runs:
                    try:
                        turn(engine, name)
                    except machine.Failed as failure:
                        # QEMU's machines stall now and then, for good.
                        if engine != "tcg":
                            raise
                        print(f"bench: {name or 'start'}, again in another machine: {failure}", file=sys.stderr)
                        places.pop(engine, None)
                        turn(engine, name)

    def round(self):
        """Classes that want more than a processor have machines of their own."""
        runs = {engine: machine.Run() for engine in self.results}
        special = [(TWO_CPUS, 2, False), ([*storage.CLASSES, network.CLASS], 1, True)]
        apart = [command.CLASS] + [name for names, _, _ in special for name in names]
        usual = [name for name in self.classes if name not in apart]
        for classes, cpus, devices in [(usual, 1, False)] + special:
            names = [name for class_name in classes for name in self.classes.get(class_name, [])]
            if names:
                self.take_turns(names, cpus, devices, runs)
        for engine, run in runs.items():
            if command.CLASS in self.classes:
                command.everyday(self.ringlet, engine, self.kernel, self.initrd, run)
            self.results[engine].append(run)

    def starts(self, directory):
        """What starting costs, by engine; KVM, too, of whatever kind."""
        engines = ["kvm"] + [name for name in self.engines if name not in ("kvm", "tcg")]
        return {name: startup.measure(self.ringlet, name, directory) for name in engines}

    def commands(self):
        """Seconds that a command takes which does nothing, by engine."""
        return {name: command.measure(self.ringlet, name, self.kernel, self.initrd) for name in self.engines}

    def run(self):
        for number in range(self.args.rounds):
            print(f"round {number + 1} of {self.args.rounds}", file=sys.stderr)
            self.round()


def main():
    args = arguments()
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory(prefix="ringlet-bench-") as directory:
        bench = Bench(args, directory)
        try:
            starts = bench.starts(directory)
            commands = bench.commands()
            bench.run()
        except machine.Failed as failure:
            sys.exit(f"bench: {failure}")
    load.append(os.getloadavg()[0])
    wrong = report.differing(bench.results)
    for name, engine, got, expected in wrong:
        print(f"bench: {name} computed {got} on {engine}, not {expected}", file=sys.stderr)
    text = report.report(bench.classes, bench.results, pathlib.Path(bench.kernel).name, load, starts, commands)
    print(text)
    if args.write and not wrong:
        report.write_between_markers(args.write, text)
    return 1 if wrong else 0


sys.exit(main())
