/* SPDX-License-Identifier: MIT */
/*
 * What our init (guest/init) tells of the program that it ran, line by line over a port of the
 * console: "exit 3", "signal 9", "fail TEXT". The guest is hostile: what is no such line counts for
 * nothing. The other way goes "stop": the program shall end; and "slept NS": for so long the machine
 * was paused, of which its clocks, that of the day among them, know nothing. Machine lock held.
 */
#ifndef RINGLET_VM_REPORT_H
#define RINGLET_VM_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "ui/chardev.h"
#include "vm/vm.h"

#define REPORT_LINE_BYTES 512u

struct report {
	struct chardev chardev;
	struct vm_outcome outcome;
	char line[REPORT_LINE_BYTES];
	size_t length;
	bool to_stop;      /* "stop" is still to be told */
	uint64_t slept_ns; /* … and this */
};

void report_init(struct report *report);
/* Tells init to stop, as soon as it listens. */
void report_ask_stop(struct report *report);
/* Tells it of a pause, in the same way. */
void report_sleep(struct report *report, uint64_t ns);

#endif
