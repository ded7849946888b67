/* SPDX-License-Identifier: MIT */
/* Floating point as compilers make it of plain C: SSE2 scalars and vectors, x87. */
#include <string.h>

#include "bench.h"

static uint64_t bits_of(double number)
{
	uint64_t bits;

	memcpy(&bits, &number, sizeof(bits));
	return bits;
}

/* 0 … 1 */
static double random_double(uint64_t *state)
{
	return (double)(bench_next(state) >> 11) / 9007199254740992.0;
}

/* ---- scalar_double: five bodies that attract each other ---- */

#define BODIES 5
#define STEPS 10000

struct body {
	double place[3], speed[3], mass;
};

static void attract(struct body *a, struct body *b)
{
	double d[3], square = 0.01, force;

	for (unsigned i = 0; i < 3; i++) {
		d[i] = a->place[i] - b->place[i];
		square += d[i] * d[i];
	}
	force = 0.001 / (square * __builtin_sqrt(square));
	for (unsigned i = 0; i < 3; i++) {
		a->speed[i] -= d[i] * b->mass * force;
		b->speed[i] += d[i] * a->mass * force;
	}
}

static uint64_t scalar_double_run(void *data)
{
	struct body bodies[BODIES];
	uint64_t state = 11, sum = 0;

	(void)data;
	for (unsigned i = 0; i < BODIES; i++) {
		for (unsigned j = 0; j < 3; j++) {
			bodies[i].place[j] = random_double(&state);
			bodies[i].speed[j] = random_double(&state);
		}
		bodies[i].mass = random_double(&state);
	}
	for (unsigned step = 0; step < STEPS; step++) {
		for (unsigned i = 0; i < BODIES; i++)
			for (unsigned j = i + 1; j < BODIES; j++)
				attract(&bodies[i], &bodies[j]);
		for (unsigned i = 0; i < BODIES; i++)
			for (unsigned j = 0; j < 3; j++)
				bodies[i].place[j] += 0.001 * bodies[i].speed[j];
	}
	for (unsigned i = 0; i < BODIES; i++)
		sum = bench_mix(sum, bits_of(bodies[i].place[0]));
	return sum;
}

const struct bench bench_scalar_double = { "scalar_double", "vector", NULL, scalar_double_run,
					   NULL };

/* ---- matmul: the inner loop is vectorised by the compiler ---- */

#define ORDER 96

struct matrices {
	double a[ORDER][ORDER], b[ORDER][ORDER], c[ORDER][ORDER];
};

static void *matmul_prepare(void)
{
	struct matrices *m = bench_alloc(sizeof(*m));
	uint64_t state = 12;

	for (unsigned i = 0; i < ORDER; i++) {
		for (unsigned j = 0; j < ORDER; j++) {
			m->a[i][j] = random_double(&state);
			m->b[i][j] = random_double(&state);
		}
	}
	return m;
}

static uint64_t matmul_run(void *data)
{
	struct matrices *m = data;

	memset(m->c, 0, sizeof(m->c));
	for (unsigned i = 0; i < ORDER; i++)
		for (unsigned k = 0; k < ORDER; k++)
			for (unsigned j = 0; j < ORDER; j++)
				m->c[i][j] += m->a[i][k] * m->b[k][j];
	return bench_mix(bits_of(m->c[1][2]), bits_of(m->c[ORDER - 1][ORDER - 1]));
}

const struct bench bench_matmul = { "matmul", "vector", matmul_prepare, matmul_run, NULL };

/* ---- fft: radix 2, in place ---- */

#define FFT_BITS 13
#define FFT_SIZE (1u << FFT_BITS)

struct number {
	double re, im;
};

struct fft {
	struct number value[FFT_SIZE];
	struct number turn[FFT_BITS + 1]; /* e^(-2πi / 2^n), by halving angles: the same everywhere */
};

static void *fft_prepare(void)
{
	struct fft *fft = bench_alloc(sizeof(*fft));

	fft->turn[0] = (struct number){ 1, 0 };
	fft->turn[1] = (struct number){ -1, 0 };
	fft->turn[2] = (struct number){ 0, -1 };
	for (unsigned i = 3; i <= FFT_BITS; i++) {
		fft->turn[i].re = __builtin_sqrt((1 + fft->turn[i - 1].re) / 2);
		fft->turn[i].im = fft->turn[i - 1].im / (2 * fft->turn[i].re);
	}
	return fft;
}

static struct number product(struct number a, struct number b)
{
	return (struct number){ a.re * b.re - a.im * b.im, a.re * b.im + a.im * b.re };
}

static void butterflies(struct number *value, unsigned half, struct number turn)
{
	struct number w = { 1, 0 };

	for (unsigned i = 0; i < half; i++, w = product(w, turn)) {
		for (unsigned j = i; j < FFT_SIZE; j += 2 * half) {
			struct number a = value[j], b = value[j + half];

			value[j] = (struct number){ a.re + b.re, a.im + b.im };
			value[j + half] =
				product(w, (struct number){ a.re - b.re, a.im - b.im });
		}
	}
}

static uint64_t fft_run(void *data)
{
	struct fft *fft = data;
	uint64_t state = 13, sum = 0;

	for (unsigned i = 0; i < FFT_SIZE; i++)
		fft->value[i] = (struct number){ random_double(&state), 0 };
	for (unsigned bits = FFT_BITS; bits; bits--)
		butterflies(fft->value, 1u << (bits - 1), fft->turn[bits]);
	for (unsigned i = 0; i < FFT_SIZE; i += 64)
		sum = bench_mix(sum, bits_of(fft->value[i].re));
	return sum;
}

const struct bench bench_fft = { "fft", "vector", fft_prepare, fft_run, NULL };

/* ---- x87: long double ---- */

#define X87_TERMS 100000

static uint64_t x87_run(void *data)
{
	long double sum = 0, sign = 1;

	(void)data;
	for (unsigned i = 0; i < X87_TERMS; i++, sign = -sign)
		sum += sign / (2.0L * i + 1);
	return (uint64_t)(sum * 1e18L);
}

const struct bench bench_x87 = { "x87", "vector", NULL, x87_run, NULL };
