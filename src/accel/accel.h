/* SPDX-License-Identifier: MIT */
/*
 * An accelerator: a way to run a CPU. It knows the instruction set through cpu/isa.h alone, and no
 * device at all.
 */
#ifndef RINGLET_ACCEL_ACCEL_H
#define RINGLET_ACCEL_ACCEL_H

#include <stdbool.h>

struct cpu;
struct error;

struct accel {
	const char *name;
	bool translates; /* its CPUs want the machine's translator */
	/* Can this host run it? 0, or -errno with the reason. */
	int (*probe)(struct error *err);
	/* Runs the CPU on the calling thread until CPU_REQ_STOP is set. */
	void (*run)(struct cpu *cpu);
};

/* In the order of preference. */
extern const struct accel accel_translate, accel_interp;

#endif
