/* SPDX-License-Identifier: MIT */
/*
 * The two engines that need nothing of the host but its processor. Both run a CPU the same way; whether
 * the instruction set translates what is hot is said by the machine's translator. The interpreter is
 * exact, and the measure of every faster engine.
 */
#include <errno.h>

#include "accel/accel.h"
#include "base/error.h"
#include "cpu/exclusive.h"
#include "cpu/isa.h"

/* Between two looks at the stop request; other requests are seen at once. */
#define BUDGET_INSTRUCTIONS (1ull << 20)

static int probe_always(struct error *err)
{
	(void)err;
	return 0;
}

static int probe_translate(struct error *err)
{
	if (!__builtin_cpu_supports("bmi2"))
		return error_set(err, ENOTSUP, "translation needs a processor with BMI2");
	return 0;
}

static void run(struct cpu *cpu)
{
	exclusive_enter(cpu);
	while (!cpu_requested(cpu, CPU_REQ_STOP)) {
		bool held = cpu_requested(cpu, CPU_REQ_HOLD);

		if (held || cpu->isa->poll(cpu) == ISA_SLEEP) {
			exclusive_leave(cpu);
			(held ? cpu_sleep_held : cpu_sleep)(cpu);
			exclusive_enter(cpu);
		} else {
			cpu->isa->run(cpu, BUDGET_INSTRUCTIONS);
		}
	}
	exclusive_leave(cpu);
}

const struct accel accel_translate = {
	.name = "translate", .translates = true, .probe = probe_translate, .run = run,
};
const struct accel accel_interp = { .name = "interp", .probe = probe_always, .run = run };
