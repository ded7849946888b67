/* SPDX-License-Identifier: MIT */
/* LZ compression and SHA-256 (FIPS 180-4), both by scalar instructions. */
#include <string.h>

#include "bench.h"

/* ---- compress: LZ77 with a hash of three bytes, greedy ---- */

#define INPUT_BYTES 65536
#define WINDOW_BITS 12

struct lz {
	uint8_t input[INPUT_BYTES];
	uint32_t last[1 << WINDOW_BITS]; /* where a hash was seen last, plus one */
};

void bench_words(uint8_t *text, size_t size, uint64_t *state)
{
	for (size_t at = 0; at < size;) {
		uint64_t word = 7 + (bench_next(state) >> 40) % 200;
		unsigned length = 2 + (unsigned)(word % 9);

		for (unsigned i = 0; i < length && at < size; i++)
			text[at++] = (uint8_t)('a' + bench_next(&word) % 26);
	}
}

static void *compress_prepare(void)
{
	struct lz *lz = bench_alloc(sizeof(*lz));
	uint64_t state = 6;

	bench_words(lz->input, INPUT_BYTES, &state);
	return lz;
}

static unsigned match_length(const uint8_t *a, const uint8_t *b, unsigned limit)
{
	unsigned length = 0;

	while (length < limit && a[length] == b[length])
		length++;
	return length;
}

static uint64_t compress_run(void *data)
{
	struct lz *lz = data;
	const uint8_t *input = lz->input;
	uint64_t sum = 0;

	memset(lz->last, 0, sizeof(lz->last));
	for (unsigned at = 0; at + 3 < INPUT_BYTES;) {
		uint32_t three = input[at] | (uint32_t)input[at + 1] << 8 |
				 (uint32_t)input[at + 2] << 16;
		uint32_t *last = &lz->last[three * 2654435761u >> (32 - WINDOW_BITS)];
		unsigned from = *last, length = 0, limit = INPUT_BYTES - at;

		*last = at + 1;
		if (from)
			length = match_length(input + from - 1, input + at,
					      limit < 255 ? limit : 255);
		if (length >= 3) {
			sum = bench_mix(sum, (uint64_t)(at - from) << 8 | length);
			at += length;
		} else {
			sum += input[at++];
		}
	}
	return sum;
}

const struct bench bench_compress = { "compress", "integer", compress_prepare, compress_run,
				      NULL };

/* ---- sha256 ---- */

#define SHA_BYTES 65536
#define SHA_BLOCK 64

struct sha {
	uint8_t input[SHA_BYTES];
	uint32_t k[64], start[8];
};

/* The first 32 bits of the fractional part of prime's square or cube root, by bisection. */
static uint32_t root_fraction(unsigned prime, bool cube)
{
	unsigned __int128 target = (unsigned __int128)prime << (cube ? 96 : 64);
	uint64_t root = 0;

	for (int bit = 36; bit >= 0; bit--) {
		unsigned __int128 guess = root | 1ull << bit;

		if ((cube ? guess * guess * guess : guess * guess) <= target)
			root = (uint64_t)guess;
	}
	return (uint32_t)root;
}

static bool is_prime(unsigned number)
{
	for (unsigned i = 2; i * i <= number; i++)
		if (number % i == 0)
			return false;
	return true;
}

static void *sha256_prepare(void)
{
	struct sha *sha = bench_alloc(sizeof(*sha));
	unsigned count = 0;

	for (unsigned prime = 2; count < 64; prime++) {
		if (!is_prime(prime))
			continue;
		if (count < 8)
			sha->start[count] = root_fraction(prime, false);
		sha->k[count++] = root_fraction(prime, true);
	}
	for (unsigned i = 0; i < SHA_BYTES; i++)
		sha->input[i] = (uint8_t)(i * 7 + (i >> 8));
	return sha;
}

static uint32_t rotate(uint32_t x, unsigned by)
{
	return x >> by | x << (32 - by);
}

static void sha_schedule(const uint8_t *block, uint32_t *w)
{
	for (unsigned i = 0; i < 16; i++) {
		uint32_t word;

		memcpy(&word, block + 4 * i, sizeof(word));
		w[i] = __builtin_bswap32(word);
	}
	for (unsigned i = 16; i < 64; i++) {
		uint32_t a = w[i - 15], b = w[i - 2];

		w[i] = w[i - 16] + w[i - 7] + (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) +
		       (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
	}
}

static void sha_block(const struct sha *sha, const uint8_t *block, uint32_t *hash)
{
	uint32_t w[64], v[8];

	sha_schedule(block, w);
	memcpy(v, hash, sizeof(v));
	for (unsigned i = 0; i < 64; i++) {
		uint32_t s1 = rotate(v[4], 6) ^ rotate(v[4], 11) ^ rotate(v[4], 25);
		uint32_t choice = (v[4] & v[5]) ^ (~v[4] & v[6]);
		uint32_t t1 = v[7] + s1 + choice + sha->k[i] + w[i];
		uint32_t s0 = rotate(v[0], 2) ^ rotate(v[0], 13) ^ rotate(v[0], 22);
		uint32_t majority = (v[0] & v[1]) ^ (v[0] & v[2]) ^ (v[1] & v[2]);

		memmove(v + 1, v, 7 * sizeof(v[0]));
		v[4] += t1;
		v[0] = t1 + s0 + majority;
	}
	for (unsigned i = 0; i < 8; i++)
		hash[i] += v[i];
}

static uint64_t sha256_run(void *data)
{
	const struct sha *sha = data;
	uint32_t hash[8];

	memcpy(hash, sha->start, sizeof(hash));
	for (unsigned at = 0; at < SHA_BYTES; at += SHA_BLOCK)
		sha_block(sha, sha->input + at, hash);
	return (uint64_t)hash[0] << 32 | hash[7];
}

const struct bench bench_sha256 = { "sha256", "integer", sha256_prepare, sha256_run, NULL };
