/* SPDX-License-Identifier: MIT */
/* The interpreter: exact, and the measure of every faster engine. One thread a CPU. */
#include "accel/accel.h"
#include "cpu/exclusive.h"
#include "cpu/isa.h"

/* Between two looks at the stop request; other requests are seen at once. */
#define BUDGET_INSTRUCTIONS (1ull << 20)

static int probe(struct error *err)
{
	(void)err;
	return 0;
}

static void run(struct cpu *cpu)
{
	exclusive_enter(cpu);
	while (!cpu_requested(cpu, CPU_REQ_STOP)) {
		if (cpu->isa->poll(cpu) == ISA_SLEEP) {
			exclusive_leave(cpu);
			cpu_sleep(cpu);
			exclusive_enter(cpu);
		} else {
			cpu->isa->interpret(cpu, BUDGET_INSTRUCTIONS);
		}
	}
	exclusive_leave(cpu);
}

const struct accel accel_interp = { .name = "interp", .probe = probe, .run = run };
