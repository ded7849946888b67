/* SPDX-License-Identifier: MIT */
/*
 * mix SEED ROUNDS: integer, x87, SSE, AVX2 and AVX-512 arithmetic (what the processor has) whose
 * results all go into one number, while a timer's signal handler does arithmetic of its own in the
 * same registers. The same on every machine with the same features; prints those and the number.
 */
#include <immintrin.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define LANES 64

struct mix {
	uint64_t state;
	double doubles[LANES];
	float floats[LANES];
	uint32_t ints[LANES];
};

static uint64_t next(struct mix *mix)
{
	mix->state ^= mix->state << 13;
	mix->state ^= mix->state >> 7;
	mix->state ^= mix->state << 17;
	return mix->state;
}

static void absorb(struct mix *mix, const void *data, size_t len)
{
	const uint8_t *bytes = data;

	for (size_t i = 0; i < len; i++)
		mix->state = (mix->state ^ bytes[i]) * 0x100000001b3ull;
	mix->state |= 1;
}

static void fill(struct mix *mix)
{
	for (unsigned i = 0; i < LANES; i++) {
		mix->doubles[i] = (double)(next(mix) >> 11) / 1e9 + 0.5;
		mix->floats[i] = (float)(next(mix) >> 40) / 1e3f + 0.25f;
		mix->ints[i] = (uint32_t)next(mix);
	}
}

static void run_x87(struct mix *mix)
{
	long double sum = 1;
	double rounded;

	for (unsigned i = 0; i < LANES; i++) {
		long double x = mix->doubles[i];

		__asm__("fsqrt" : "+t"(x));
		sum = sum / (x + 3) + x * 1.0000001L;
	}
	rounded = (double)sum;
	absorb(mix, &rounded, sizeof(rounded));
}

static void run_sse(struct mix *mix)
{
	__m128d sum = _mm_set1_pd(1);
	__m128i bits = _mm_setzero_si128();
	double out[2];

	for (unsigned i = 0; i < LANES; i += 2)
		sum = _mm_add_pd(_mm_sqrt_pd(_mm_mul_pd(sum, _mm_loadu_pd(mix->doubles + i))),
				 _mm_set1_pd(0.125));
	for (unsigned i = 0; i < LANES; i += 4)
		bits = _mm_xor_si128(_mm_mul_epu32(bits, _mm_set1_epi32(77)),
				     _mm_loadu_si128((__m128i *)(mix->ints + i)));
	_mm_storeu_pd(out, sum);
	absorb(mix, out, sizeof(out));
	absorb(mix, &bits, sizeof(bits));
}

__attribute__((target("avx2,fma"))) static void run_avx2(struct mix *mix)
{
	__m256 sum = _mm256_set1_ps(1);
	__m256i bits = _mm256_set1_epi32(5);
	float out[8];

	for (unsigned i = 0; i < LANES; i += 8) {
		__m256i at = _mm256_and_si256(bits, _mm256_set1_epi32(LANES - 1));

		sum = _mm256_fmadd_ps(sum, _mm256_set1_ps(0.75f),
				      _mm256_i32gather_ps(mix->floats, at, 4));
		bits = _mm256_add_epi32(_mm256_mullo_epi32(bits, _mm256_set1_epi32(40503)),
					_mm256_loadu_si256((__m256i *)(mix->ints + i)));
	}
	_mm256_storeu_ps(out, sum);
	absorb(mix, out, sizeof(out));
	absorb(mix, &bits, sizeof(bits));
}

__attribute__((target("avx512f"))) static void run_avx512(struct mix *mix)
{
	__m512d sum = _mm512_set1_pd(2);
	double out[8];

	for (unsigned i = 0; i < LANES; i += 8) {
		__m512d x = _mm512_loadu_pd(mix->doubles + i);
		__mmask8 big = _mm512_cmp_pd_mask(x, sum, _CMP_GT_OQ);

		sum = _mm512_mask_add_pd(_mm512_mul_pd(sum, _mm512_set1_pd(1.5)), big, x,
					 _mm512_set1_pd(0.5));
	}
	_mm512_storeu_pd(out, sum);
	absorb(mix, out, sizeof(out));
}

/* Spoils every vector and x87 register that a signal frame must have kept. */
static void on_timer(int signal)
{
	struct mix mix = { .state = (uint64_t)signal };

	fill(&mix);
	run_x87(&mix);
	run_sse(&mix);
	if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
		run_avx2(&mix);
	if (__builtin_cpu_supports("avx512f"))
		run_avx512(&mix);
}

int main(int argc, char **argv)
{
	struct itimerval often = { { 0, 3000 }, { 0, 3000 } };
	struct mix mix = { .state = argc > 1 ? strtoull(argv[1], NULL, 0) | 1 : 1 };
	unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
	int avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
	int avx512 = !!__builtin_cpu_supports("avx512f");

	signal(SIGALRM, on_timer);
	setitimer(ITIMER_REAL, &often, NULL);
	while (rounds--) {
		fill(&mix);
		run_x87(&mix);
		run_sse(&mix);
		if (avx2)
			run_avx2(&mix);
		if (avx512)
			run_avx512(&mix);
	}
	printf("avx2=%d avx512=%d %016llx\n", avx2, avx512, (unsigned long long)mix.state);
	return 0;
}
