/* SPDX-License-Identifier: MIT */
/* Two processors: work of their own, and a word that both want. */
#include <pthread.h>
#include <sched.h>

#include "bench.h"

#define THREADS 2

struct crew {
	uint64_t (*work)(struct crew *crew, unsigned index);
	uint64_t result[THREADS];
	_Alignas(64) uint64_t shared;
};

struct hand {
	struct crew *crew;
	unsigned index;
};

static void *hand_run(void *opaque)
{
	struct hand *hand = opaque;
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(hand->index, &cpus);
	bench_check(!pthread_setaffinity_np(pthread_self(), sizeof(cpus), &cpus), "affinity");
	hand->crew->result[hand->index] = hand->crew->work(hand->crew, hand->index);
	return NULL;
}

static uint64_t crew_run(uint64_t (*work)(struct crew *, unsigned), unsigned count)
{
	struct crew crew = { .work = work };
	struct hand hands[THREADS];
	pthread_t threads[THREADS];
	uint64_t sum = 0;

	for (unsigned i = 0; i < count; i++) {
		hands[i] = (struct hand){ &crew, i };
		bench_check(!pthread_create(&threads[i], NULL, hand_run, &hands[i]), "thread");
	}
	for (unsigned i = 0; i < count; i++) {
		bench_check(!pthread_join(threads[i], NULL), "join");
		sum = bench_mix(sum, crew.result[i]);
	}
	return bench_mix(sum, crew.shared);
}

static bool has_two_cpus(void)
{
	cpu_set_t cpus;

	return !sched_getaffinity(0, sizeof(cpus), &cpus) && CPU_ISSET(0, &cpus) &&
	       CPU_ISSET(1, &cpus);
}

/* ---- parallel, and the same work of one thread alone ---- */

static uint64_t count_work(struct crew *crew, unsigned index)
{
	uint64_t state = index + 31, sum = 0;

	(void)crew;
	for (unsigned i = 0; i < 500000; i++)
		sum += bench_next(&state) >> 60;
	return sum;
}

static uint64_t alone_run(void *data)
{
	(void)data;
	return crew_run(count_work, 1);
}

const struct bench bench_alone = { "alone", "smp", NULL, alone_run, has_two_cpus };

static uint64_t parallel_run(void *data)
{
	(void)data;
	return crew_run(count_work, THREADS);
}

const struct bench bench_parallel = { "parallel", "smp", NULL, parallel_run, has_two_cpus };

/* ---- lock: LOCK XADD on one word ---- */

static uint64_t lock_work(struct crew *crew, unsigned index)
{
	for (unsigned i = 0; i < 20000; i++)
		__atomic_fetch_add(&crew->shared, index + 1, __ATOMIC_SEQ_CST);
	return 0;
}

static uint64_t lock_run(void *data)
{
	(void)data;
	return crew_run(lock_work, THREADS);
}

const struct bench bench_lock = { "lock", "smp", NULL, lock_run, has_two_cpus };
