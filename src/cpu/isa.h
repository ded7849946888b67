/* SPDX-License-Identifier: MIT */
/*
 * What an accelerator needs of an instruction set: one vtable. accel/ includes this and never a
 * header of isa/.
 */
#ifndef RINGLET_CPU_ISA_H
#define RINGLET_CPU_ISA_H

#include <stddef.h>
#include <stdint.h>

#include "cpu/cpu.h"

struct error;

/* Whether user code runs on the host's processor as it is. */
enum translator_direct {
	TRANSLATOR_DIRECT_AUTO,   /* where that is worth it */
	TRANSLATOR_DIRECT_NEVER,
	TRANSLATOR_DIRECT_ALWAYS, /* wherever it can: for tests */
};

struct translator_config {
	size_t code_bytes; /* bounds the generated code */
	bool dump;         /* tell on stderr what is made */
	bool perf_map;     /* name it for perf, in /tmp/perf-PID.map */
	bool lockstep;     /* run it beside the interpreter and compare; one CPU */
	enum translator_direct direct;
};

enum isa_next {
	ISA_RUN,   /* go on */
	ISA_SLEEP, /* halted: cpu_sleep, then ask again */
};

struct isa {
	const char *name;

	/* The machine-wide part of translation. CPUs whose env has it translate what is executed often.
	 * -ENOTSUP: this host cannot. */
	int (*translator_create)(struct translator **translator, struct blocks *blocks,
				 const struct translator_config *config, struct error *err);
	void (*translator_destroy)(struct translator *translator);

	/* model: the CPU model's name, NULL for the default. The accelerator's thread owns the CPU. */
	int (*cpu_create)(const struct cpu_env *env, unsigned index, unsigned count,
			  const char *model, struct cpu **cpu, struct error *err);
	void (*cpu_destroy)(struct cpu *cpu);
	/* How fast the host's clock that guests read runs: spares measuring it. Before cpu_create. */
	void (*clock_known)(uint64_t hz);
	/* That clock and the host's monotonic one at the same moment; and a CPU's sight of the former set
	 * back by so much, while the CPU stands. */
	void (*clock_sample)(uint64_t *ticks, uint64_t *host_ns);
	void (*clock_set_back)(struct cpu *cpu, uint64_t ticks);
	/* CPUID's answers, those that do not change: for x86. */
	const struct x86_cpuid_leaves *(*cpuid)(struct cpu *cpu);
	/* Power-on state. */
	void (*cpu_reset)(struct cpu *cpu);

	/* At an instruction boundary: carries out what is requested (INIT, start-up …), without
	 * delivering anything. */
	void (*take_requests)(struct cpu *cpu);
	/* At an instruction boundary: handle requests, deliver the event with the highest priority. */
	enum isa_next (*poll)(struct cpu *cpu);

	/*
	 * Executes from the current state until a request is pending, the CPU halts or about
	 * budget instructions are done; always stops at an instruction boundary with exact state.
	 * All faults of the guest are delivered inside.
	 */
	void (*run)(struct cpu *cpu, uint64_t budget);

	/* Registers as text for humans (logs, debug): at most size bytes, NUL-terminated. */
	void (*describe)(struct cpu *cpu, char *text, size_t size);
	/* The same for the instructions around RIP, which "=>" marks; and for the page tables on the way to
	 * a linear address. */
	void (*describe_code)(struct cpu *cpu, char *text, size_t size);
	void (*describe_address)(struct cpu *cpu, uint64_t linear, char *text, size_t size);
	/* The same for what was counted while it ran: --stats. */
	void (*describe_stats)(struct cpu *cpu, char *text, size_t size);
	/* The architectural state (struct x86_state for x86): vector state included after this call. */
	void *(*state)(struct cpu *cpu);
	/* The state was written from outside: recompute what is derived from it. */
	void (*state_changed)(struct cpu *cpu);
	/* Guest instructions executed so far. */
	uint64_t (*instructions)(struct cpu *cpu);
};

extern const struct isa isa_x86;

#endif
