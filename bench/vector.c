/* SPDX-License-Identifier: MIT */
/* Vector instructions that a program asks the processor for before it uses them. */
#include <immintrin.h>

#include "bench.h"

#define VECTOR_BYTES 16384
#define VECTOR_ROUNDS 64

static void *vector_prepare(void)
{
	uint64_t *words = bench_alloc(VECTOR_BYTES), state = 14;

	for (unsigned i = 0; i < VECTOR_BYTES / sizeof(*words); i++)
		words[i] = bench_next(&state);
	return words;
}

/* ---- AVX2: shifts, multiplications, shuffles of 32-bit numbers ---- */

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2");
}

__attribute__((target("avx2"))) static uint64_t avx2_run(void *data)
{
	const __m256i *from = data, factor = _mm256_set1_epi32(0x01000193);
	__m256i sum = _mm256_setzero_si256();
	uint64_t words[4];

	for (unsigned round = 0; round < VECTOR_ROUNDS; round++) {
		for (unsigned i = 0; i < VECTOR_BYTES / sizeof(*from); i++) {
			__m256i x = _mm256_xor_si256(from[i], sum);

			x = _mm256_mullo_epi32(x, factor);
			x = _mm256_xor_si256(x, _mm256_srli_epi32(x, 15));
			sum = _mm256_add_epi32(sum, _mm256_shuffle_epi32(x, 0x4b));
		}
	}
	_mm256_storeu_si256((__m256i *)words, sum);
	return words[0] ^ words[1] ^ words[2] ^ words[3];
}

const struct bench bench_avx2 = { "avx2", "vector", vector_prepare, avx2_run, has_avx2 };

/* ---- AVX-512: the same twice as wide, with a mask ---- */

static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx512f");
}

__attribute__((target("avx512f"))) static uint64_t avx512_run(void *data)
{
	const __m512i *from = data, factor = _mm512_set1_epi32(0x01000193);
	__m512i sum = _mm512_setzero_si512();

	for (unsigned round = 0; round < VECTOR_ROUNDS; round++) {
		for (unsigned i = 0; i < VECTOR_BYTES / sizeof(*from); i++) {
			__m512i x = _mm512_xor_si512(from[i], sum);
			__mmask16 odd = _mm512_test_epi32_mask(x, _mm512_set1_epi32(1));

			x = _mm512_mask_mullo_epi32(x, odd, x, factor);
			x = _mm512_xor_si512(x, _mm512_srli_epi32(x, 15));
			sum = _mm512_add_epi32(sum, _mm512_shuffle_epi32(x, _MM_PERM_BACD));
		}
	}
	return (uint64_t)_mm512_reduce_add_epi64(sum);
}

const struct bench bench_avx512 = { "avx512", "vector", vector_prepare, avx512_run, has_avx512 };

/* ---- AES: ten rounds on each block, chained ---- */

static bool has_aes(void)
{
	return __builtin_cpu_supports("aes");
}

__attribute__((target("aes,sse4.1"))) static uint64_t aes_run(void *data)
{
	const __m128i *from = data;
	__m128i block = _mm_set1_epi32(0x01234567);

	for (unsigned round = 0; round < VECTOR_ROUNDS / 4; round++) {
		for (unsigned i = 0; i + 11 < VECTOR_BYTES / sizeof(*from); i++) {
			block = _mm_xor_si128(block, from[i]);
			for (unsigned key = 1; key < 10; key++)
				block = _mm_aesenc_si128(block, from[i + key]);
			block = _mm_aesenclast_si128(block, from[i + 10]);
		}
	}
	return (uint64_t)_mm_extract_epi64(block, 0) ^ (uint64_t)_mm_extract_epi64(block, 1);
}

const struct bench bench_aes = { "aes", "vector", vector_prepare, aes_run, has_aes };
