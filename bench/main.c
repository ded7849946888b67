/* SPDX-License-Identifier: MIT */
/*
 * bench list                    every program and its class
 * bench exit                    nothing: what fork_exec executes
 * bench run MS NAME...          programs or classes of them, each for MS milliseconds or more
 *
 * A result is a line "@bench NAME ITERATIONS NANOSECONDS CHECKSUM", nanoseconds for one iteration;
 * "@bench NAME unusable" says that the processor cannot do it, "@bench failed: ..." that something
 * went wrong. Each program runs in a process of its own, so that none inherits another's heap.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define SAMPLES_MAX 4096

void *bench_alloc(size_t size)
{
	void *memory = aligned_alloc(64, (size + 63) & ~(size_t)63);

	bench_check(memory, "no memory");
	return memory;
}

void bench_check(bool ok, const char *what)
{
	if (ok)
		return;
	printf("@bench failed: %s\n", what);
	fflush(stdout);
	_exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static int earlier(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/*
 * The first iteration is not timed: it touches memory, fills caches, and gets code translated. Of
 * the others the median counts, since hosts have other things to do as well.
 */
static void measure(const struct bench *bench, uint64_t budget_ns)
{
	void *data = bench->prepare ? bench->prepare() : NULL;
	uint64_t *times = bench_alloc(SAMPLES_MAX * sizeof(*times));
	uint64_t sum = bench->run(data), before = now_ns(), end = before + budget_ns;
	unsigned count = 0;

	do {
		uint64_t now;

		bench_check(bench->run(data) == sum, "iterations differ");
		now = now_ns();
		times[count++] = now - before;
		before = now;
	} while (before < end && count < SAMPLES_MAX);
	qsort(times, count, sizeof(*times), earlier);
	printf("@bench %s %u %llu %016llx\n", bench->name, count,
	       (unsigned long long)times[count / 2], (unsigned long long)sum);
}

static void run_apart(const struct bench *bench, uint64_t budget_ns)
{
	int status;
	pid_t child;

	if (bench->usable && !bench->usable()) {
		printf("@bench %s unusable\n", bench->name);
		fflush(stdout);
		return;
	}
	child = fork();
	bench_check(child >= 0, "fork");
	if (!child) {
		measure(bench, budget_ns);
		fflush(stdout);
		_exit(0);
	}
	bench_check(waitpid(child, &status, 0) == child, "waitpid");
	if (status)
		printf("@bench failed: %s died with status %#x\n", bench->name, (unsigned)status);
	fflush(stdout);
}

static bool chosen(const struct bench *bench, char **names)
{
	for (; *names; names++)
		if (!strcmp(*names, bench->class) || !strcmp(*names, bench->name))
			return true;
	return false;
}

int main(int argc, char **argv)
{
#define BENCH_ADDRESS(name) &bench_##name,
	static const struct bench *const all[] = { BENCH_LIST(BENCH_ADDRESS) };
	const char *verb = argc > 1 ? argv[1] : "";

	if (!strcmp(verb, "exit"))
		return 0;
	if (!strcmp(verb, "list")) {
		for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
			printf("%s %s\n", all[i]->name, all[i]->class);
		return 0;
	}
	if (strcmp(verb, "run") || argc < 4) {
		fprintf(stderr, "usage: bench list | bench run MS NAME...\n");
		return 1;
	}
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		if (chosen(all[i], argv + 3))
			run_apart(all[i], strtoull(argv[2], NULL, 10) * 1000000);
	return 0;
}
