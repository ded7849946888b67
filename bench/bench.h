/* SPDX-License-Identifier: MIT */
/*
 * The guest programs of the benchmark: one static binary, run on the host and in every guest.
 *
 * A program's iteration is a fixed piece of work, about a millisecond of a processor, that ends
 * in a checksum: the same one in each iteration, which main.c checks, and on each machine, which
 * run.py checks.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bench {
	const char *name;
	const char *class; /* programs of a class share a geometric mean */
	/* Before the clock starts; what it returns goes to run and lives until the program's end. */
	void *(*prepare)(void);
	uint64_t (*run)(void *data);
	bool (*usable)(void); /* does this processor have what it takes? NULL: yes */
};

#define BENCH_LIST(X)                                                                              \
	X(sort) X(hash) X(tree) X(chase) X(compress) X(sha256) X(dispatch) X(recursion)            \
	X(indirect) X(text) X(gzip) X(zstd) X(xz) X(lua)                                           \
	X(scalar_double) X(matmul) X(fft) X(x87) X(avx2) X(avx512) X(aes)                          \
	X(memcpy) X(memset) X(strlen) X(stream) X(random)                                          \
	X(null_syscall) X(signal) X(segv) X(fork) X(fork_exec) X(page_fault) X(pipe) X(switch16)   \
	X(mmap) X(tmpfs) X(script)                                                                 \
	X(alone) X(parallel) X(lock)                                                               \
	X(disk_read) X(disk_write) X(disk_random) X(files_meta) X(files_stream)         \
	X(net_send) X(net_receive) X(net_trips)

#define BENCH_DECLARE(name) extern const struct bench bench_##name;
BENCH_LIST(BENCH_DECLARE)

/* ---- for the programs ---- */

/* Memory of size bytes, aligned to 64; ends the process when there is none. */
void *bench_alloc(size_t size);
/* Ends the process with a message when ok is false: what went wrong measures nothing. */
void bench_check(bool ok, const char *what);

/* Words of a small vocabulary: text compresses like that. Moves *state on. */
void bench_words(uint8_t *text, size_t size, uint64_t *state);

/* The next number of a small generator (xorshift64*); state is not 0. */
static inline uint64_t bench_next(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}

/* Mixes value into a checksum. */
static inline uint64_t bench_mix(uint64_t sum, uint64_t value)
{
	return (sum ^ value) * 0x9e3779b97f4a7c15ull + 1;
}

/* Hides a value's origin from the compiler. */
#define BENCH_OPAQUE(value) __asm__ volatile("" : "+r"(value))

#endif
