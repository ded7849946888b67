/* SPDX-License-Identifier: MIT */
/*
 * An accelerator: a way to run a CPU. It knows the instruction set through cpu/isa.h alone, and no
 * device at all.
 *
 * While CPUs stand still, their state is in struct x86_state and in the interrupt controllers of this
 * process, whoever ran them. An accelerator that keeps it elsewhere takes it in resume and gives it
 * back in pause; so a machine may go on under another one.
 */
#ifndef RINGLET_ACCEL_ACCEL_H
#define RINGLET_ACCEL_ACCEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct accel_machine;
struct blocks;
struct cpu;
struct error;
struct irqchip_backend;
struct mem;
struct x86_cpuid_leaves;

struct accel_config {
	struct mem *mem;
	unsigned cpus;
	/* The CPUs have what the engine's CPU model and the accelerator both have, and nothing else:
	 * for named models, and machines that may go on under another accelerator. */
	bool portable;
	bool changes; /* it may go on under another accelerator */
	const char *without; /* capabilities of the host not to use, with commas: for tests; or NULL */
};

/* What the machine's parts must know of it, from create to destroy. */
struct accel_traits {
	const struct x86_cpuid_leaves *limit;  /* for struct cpu_env; NULL: none */
	uint64_t apic_timer_hz, tsc_hz;        /* 0: whatever they choose, unknown */
	bool doorbells;                        /* it listens to those of env.mmio */
	const struct irqchip_backend *irqchip; /* NULL: local APICs are in this process */
};

struct accel {
	const char *name;
	bool translates; /* its CPUs want the machine's translator */
	/* Can this host run it? 0, or -errno with the reason. */
	int (*probe)(struct error *err);

	/* NULL, all of these: it needs nothing but the CPUs. On the thread of the machine; CPUs stand. */
	int (*create)(const struct accel_config *config, struct accel_machine **machine,
		      struct error *err);
	void (*destroy)(struct accel_machine *machine);
	const struct accel_traits *(*traits)(struct accel_machine *machine);
	/* Before the threads of the CPUs start, and after they have ended. */
	int (*resume)(struct accel_machine *machine, struct cpu *const *cpus, unsigned count,
		      struct error *err);
	int (*pause)(struct accel_machine *machine, struct error *err);
	/* Forgets all that the guest made it keep: the machine is reset. */
	int (*reset)(struct accel_machine *machine, struct error *err);

	/* Tells blocks what the guest wrote since the last call, or more. */
	void (*report_writes)(struct accel_machine *machine, struct blocks *blocks);

	/* Runs the CPU on the calling thread until CPU_REQ_STOP is set. */
	void (*run)(struct cpu *cpu);
	/* What was counted, as lines: --stats. */
	void (*describe_stats)(struct cpu *cpu, char *text, size_t size);
};

/* In the order of preference. */
extern const struct accel accel_kvm, accel_translate, accel_interp;

#endif
