/* SPDX-License-Identifier: MIT */
/* Requests to a CPU, and its sleep between them. */
#include "cpu/cpu.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

static void store_turn(struct cpu *cpu, unsigned table, uint32_t turn)
{
	atomic_store(&cpu->jump_turn[table], turn);
	atomic_store(&cpu->jump_key[table], CPU_JUMP_KEY(turn));
}

/*
 * Here the bits are set before the turns, in cpu_set_turn the turn before the bits are looked at: in whatever
 * order the two meet, the last turn that is stored is none.
 */
void cpu_request_quietly(struct cpu *cpu, uint32_t bits)
{
	atomic_fetch_or(&cpu->requests, bits);
	for (unsigned table = 0; table < CPU_TABLES; table++)
		store_turn(cpu, table, CPU_TURN_NONE);
}

void cpu_set_turn(struct cpu *cpu, unsigned table, uint32_t turn)
{
	if (atomic_load_explicit(&cpu->jump_turn[table], memory_order_relaxed) == turn &&
	    atomic_load_explicit(&cpu->jump_key[table], memory_order_relaxed) == CPU_JUMP_KEY(turn))
		return;
	store_turn(cpu, table, turn);
	if (atomic_load(&cpu->requests))
		store_turn(cpu, table, CPU_TURN_NONE);
}

static void wake(struct cpu *cpu)
{
	if (atomic_exchange(&cpu->asleep, 0))
		syscall(SYS_futex, &cpu->asleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void cpu_request(struct cpu *cpu, uint32_t bits)
{
	cpu_request_quietly(cpu, bits);
	wake(cpu);
	if (cpu->kick)
		cpu->kick(cpu);
}

void cpu_release(struct cpu *cpu)
{
	cpu_request_clear(cpu, CPU_REQ_HOLD);
	wake(cpu);
}

/* While those of the requests that mask names are just these. */
static void sleep_while(struct cpu *cpu, uint32_t mask, uint32_t requests)
{
	while ((atomic_load(&cpu->requests) & mask) == requests) {
		atomic_store(&cpu->asleep, 1);
		/* A change between the test and the store saw asleep 0 and woke nobody. */
		if ((atomic_load(&cpu->requests) & mask) != requests)
			break;
		syscall(SYS_futex, &cpu->asleep, FUTEX_WAIT_PRIVATE, 1, NULL, NULL, 0);
	}
	atomic_store(&cpu->asleep, 0);
}

void cpu_sleep(struct cpu *cpu)
{
	sleep_while(cpu, ~0u, 0);
}

void cpu_sleep_held(struct cpu *cpu)
{
	sleep_while(cpu, CPU_REQ_HOLD | CPU_REQ_STOP, CPU_REQ_HOLD);
}
