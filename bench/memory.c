/* SPDX-License-Identifier: MIT */
/* Memory: the C library's functions, streams, and random access that no TLB covers. */
#include <string.h>

#include "bench.h"

#define COPY_BYTES (1u << 20)
#define COPY_ROUNDS 8

static void *copy_prepare(void)
{
	uint64_t *words = bench_alloc(2 * COPY_BYTES), state = 21;

	for (unsigned i = 0; i < 2 * COPY_BYTES / sizeof(*words); i++)
		words[i] = bench_next(&state);
	return words;
}

static uint64_t memcpy_run(void *data)
{
	char *bytes = data;
	uint64_t word;

	for (unsigned round = 0; round < COPY_ROUNDS; round++) {
		memcpy(bytes + COPY_BYTES, bytes, COPY_BYTES);
		BENCH_OPAQUE(bytes);
	}
	memcpy(&word, bytes + 2 * COPY_BYTES - sizeof(word), sizeof(word));
	return word;
}

const struct bench bench_memcpy = { "memcpy", "memory", copy_prepare, memcpy_run, NULL };

static uint64_t memset_run(void *data)
{
	unsigned char *bytes = data;

	for (int round = 0; round < COPY_ROUNDS; round++) {
		memset(bytes, round, COPY_BYTES);
		BENCH_OPAQUE(bytes);
	}
	return bytes[0] + bytes[COPY_BYTES - 1];
}

const struct bench bench_memset = { "memset", "memory", copy_prepare, memset_run, NULL };

/* ---- strlen, memchr: of many strings, short and long ---- */

#define STRINGS_BYTES (1u << 18)

static void *strlen_prepare(void)
{
	char *bytes = bench_alloc(STRINGS_BYTES);
	uint64_t state = 22;

	memset(bytes, 'x', STRINGS_BYTES);
	for (unsigned at = 0; at < STRINGS_BYTES; at += 1 + bench_next(&state) % 256)
		bytes[at] = 0;
	bytes[STRINGS_BYTES - 1] = 0;
	return bytes;
}

static uint64_t strlen_run(void *data)
{
	const char *bytes = data, *end = bytes + STRINGS_BYTES;
	uint64_t sum = 0;

	for (unsigned round = 0; round < 16; round++) {
		for (const char *at = bytes; at < end; at++) {
			size_t length = strlen(at);
			const char *found = memchr(at, 0, (size_t)(end - at));

			sum = sum * 3 + length + (size_t)(found - at);
			at = found;
		}
	}
	return sum;
}

const struct bench bench_strlen = { "strlen", "memory", strlen_prepare, strlen_run, NULL };

/* ---- stream: sums over 8 MiB ---- */

#define STREAM_BYTES (8u << 20)

static void *stream_prepare(void)
{
	uint64_t *words = bench_alloc(STREAM_BYTES);

	for (unsigned i = 0; i < STREAM_BYTES / sizeof(*words); i++)
		words[i] = i * 7ull;
	return words;
}

static uint64_t stream_run(void *data)
{
	const uint64_t *words = data;
	uint64_t sum = 0;

	for (unsigned i = 0; i < STREAM_BYTES / sizeof(*words); i++)
		sum += words[i];
	return sum;
}

const struct bench bench_stream = { "stream", "memory", stream_prepare, stream_run, NULL };

/* ---- random: reads and writes all over 64 MiB ---- */

#define RANDOM_BYTES (64u << 20)
#define RANDOM_ACCESSES 30000

static void *random_prepare(void)
{
	uint64_t *words = bench_alloc(RANDOM_BYTES);

	memset(words, 0, RANDOM_BYTES);
	return words;
}

/* Adds and takes away again, so that the next iteration begins as this one did. */
static uint64_t random_run(void *data)
{
	uint64_t *words = data, sum = 0;

	for (unsigned pass = 0; pass < 2; pass++) {
		uint64_t state = 23;

		for (unsigned i = 0; i < RANDOM_ACCESSES; i++) {
			uint64_t *word = &words[bench_next(&state) % (RANDOM_BYTES / 8)];

			*word += pass ? -(uint64_t)i : i;
			sum = bench_mix(sum, *word);
		}
	}
	return sum;
}

const struct bench bench_random = { "random", "memory", random_prepare, random_run, NULL };
