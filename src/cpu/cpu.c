/* SPDX-License-Identifier: MIT */
/* Requests to a CPU, and its sleep between them. */
#include "cpu/cpu.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

void cpu_request(struct cpu *cpu, uint32_t bits)
{
	atomic_fetch_or(&cpu->requests, bits);
	if (atomic_exchange(&cpu->asleep, 0))
		syscall(SYS_futex, &cpu->asleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	if (cpu->kick)
		cpu->kick(cpu);
}

void cpu_sleep(struct cpu *cpu)
{
	while (!atomic_load(&cpu->requests)) {
		atomic_store(&cpu->asleep, 1);
		/* A request between the test and the store saw asleep 0 and woke nobody. */
		if (atomic_load(&cpu->requests))
			break;
		syscall(SYS_futex, &cpu->asleep, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
	}
	atomic_store(&cpu->asleep, 0);
}
