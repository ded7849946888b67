/* SPDX-License-Identifier: MIT */
#include "cpu/exclusive.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

#include "base/error.h"
#include "cpu/cpu.h"

struct exclusive {
	pthread_mutex_t mutex;
	pthread_cond_t changed; /* owner or running changed */
	struct cpu *owner;
	unsigned running;       /* CPUs in run */
	unsigned count;
	struct cpu **cpus;
};

int exclusive_create(struct exclusive **out, struct error *err)
{
	struct exclusive *exclusive = calloc(1, sizeof(*exclusive));

	if (!exclusive)
		return error_set(err, ENOMEM, "no memory for the CPUs' safe points");
	pthread_mutex_init(&exclusive->mutex, NULL);
	pthread_cond_init(&exclusive->changed, NULL);
	*out = exclusive;
	return 0;
}

void exclusive_destroy(struct exclusive *exclusive)
{
	if (!exclusive)
		return;
	pthread_cond_destroy(&exclusive->changed);
	pthread_mutex_destroy(&exclusive->mutex);
	free(exclusive->cpus);
	free(exclusive);
}

int exclusive_add(struct exclusive *exclusive, struct cpu *cpu, struct error *err)
{
	struct cpu **cpus = realloc(exclusive->cpus, (exclusive->count + 1) * sizeof(struct cpu *));

	if (!cpus)
		return error_set(err, ENOMEM, "no memory for CPU %u", cpu->index);
	exclusive->cpus = cpus;
	exclusive->cpus[exclusive->count++] = cpu;
	return 0;
}

static void enter_locked(struct exclusive *exclusive, struct cpu *cpu)
{
	while (exclusive->owner)
		pthread_cond_wait(&exclusive->changed, &exclusive->mutex);
	cpu->in_run = true;
	exclusive->running++;
}

static void leave_locked(struct exclusive *exclusive, struct cpu *cpu)
{
	assert(cpu->in_run);
	cpu->in_run = false;
	exclusive->running--;
	pthread_cond_broadcast(&exclusive->changed);
}

void exclusive_enter(struct cpu *cpu)
{
	struct exclusive *exclusive = cpu->env.exclusive;

	pthread_mutex_lock(&exclusive->mutex);
	enter_locked(exclusive, cpu);
	pthread_mutex_unlock(&exclusive->mutex);
}

void exclusive_leave(struct cpu *cpu)
{
	struct exclusive *exclusive = cpu->env.exclusive;

	pthread_mutex_lock(&exclusive->mutex);
	leave_locked(exclusive, cpu);
	pthread_mutex_unlock(&exclusive->mutex);
}

void exclusive_yield(struct cpu *cpu)
{
	struct exclusive *exclusive = cpu->env.exclusive;

	pthread_mutex_lock(&exclusive->mutex);
	leave_locked(exclusive, cpu);
	cpu_request_clear(cpu, CPU_REQ_EXCLUSIVE);
	enter_locked(exclusive, cpu);
	pthread_mutex_unlock(&exclusive->mutex);
}

void exclusive_begin(struct cpu *cpu)
{
	struct exclusive *exclusive = cpu->env.exclusive;

	pthread_mutex_lock(&exclusive->mutex);
	leave_locked(exclusive, cpu);
	while (exclusive->owner)
		pthread_cond_wait(&exclusive->changed, &exclusive->mutex);
	exclusive->owner = cpu;
	for (unsigned i = 0; i < exclusive->count; i++)
		if (exclusive->cpus[i]->in_run)
			cpu_request(exclusive->cpus[i], CPU_REQ_EXCLUSIVE);
	while (exclusive->running)
		pthread_cond_wait(&exclusive->changed, &exclusive->mutex);
	cpu->in_run = true;
	exclusive->running = 1;
	pthread_mutex_unlock(&exclusive->mutex);
}

void exclusive_end(struct cpu *cpu)
{
	struct exclusive *exclusive = cpu->env.exclusive;

	pthread_mutex_lock(&exclusive->mutex);
	assert(exclusive->owner == cpu);
	exclusive->owner = NULL;
	pthread_cond_broadcast(&exclusive->changed);
	pthread_mutex_unlock(&exclusive->mutex);
}

/* The list of CPUs does not change once they run. */
void exclusive_request(struct exclusive *exclusive, uint32_t bits)
{
	for (unsigned i = 0; i < exclusive->count; i++) {
		struct cpu *cpu = exclusive->cpus[i];

		cpu_request_quietly(cpu, bits);
		if (cpu->kick)
			cpu->kick(cpu);
	}
}

void exclusive_recall(struct exclusive *exclusive, uint32_t bits)
{
	for (unsigned i = 0; i < exclusive->count; i++) {
		struct cpu *cpu = exclusive->cpus[i];
		uint32_t visit;

		cpu_request_quietly(cpu, bits);
		visit = atomic_load(&cpu->away);
		if (!(visit & 1))
			continue;
		/* Who is away again by the time that we look has seen the request. */
		cpu->kick(cpu);
		while (atomic_load(&cpu->away) == visit)
			sched_yield();
	}
}

void exclusive_each(struct exclusive *exclusive, void (*visit)(struct cpu *cpu, void *opaque),
		    void *opaque)
{
	for (unsigned i = 0; i < exclusive->count; i++)
		visit(exclusive->cpus[i], opaque);
}
