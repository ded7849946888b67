/* SPDX-License-Identifier: MIT */
/*
 * An accelerator: a way to run a CPU. It knows the instruction set through cpu/isa.h alone, and no
 * device at all.
 */
#ifndef RINGLET_ACCEL_ACCEL_H
#define RINGLET_ACCEL_ACCEL_H

struct cpu;
struct error;

struct accel {
	const char *name;
	/* Can this host run it? 0, or -errno with the reason. */
	int (*probe)(struct error *err);
	/* Runs the CPU on the calling thread until CPU_REQ_STOP is set. */
	void (*run)(struct cpu *cpu);
};

extern const struct accel accel_interp;

#endif
