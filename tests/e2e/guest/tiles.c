/* SPDX-License-Identifier: MIT */
/*
 * Products of tiles, as a program under Linux makes them: prints a sum over the results. It sleeps
 * now and then, with tiles in its registers.
 */
#pragma GCC target("amx-tile,amx-int8,amx-bf16")
#include <immintrin.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_TILEDATA 18

static struct {
	uint8_t palette, start_row, reserved[14];
	uint16_t row_bytes[16];
	uint8_t rows[16];
} config = { .palette = 1 };
static int8_t a[16][64], b[16][64];
static float x[16][16], y[16][16];
static int32_t c[16][80];

static uint64_t sum;

static void add_result(void)
{
	for (unsigned i = 0; i < 16 * 80; i++)
		sum = sum * 31 + (uint32_t)c[i / 80][i % 80];
}

int main(void)
{
	if (syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_TILEDATA)) {
		perror("AMX");
		return 1;
	}
	for (unsigned i = 0; i < 8; i++) {
		config.row_bytes[i] = 64;
		config.rows[i] = 16;
	}
	for (unsigned i = 0; i < 16 * 64; i++) {
		a[i / 64][i % 64] = (int8_t)(i * 37 + i / 5);
		b[i / 64][i % 64] = (int8_t)(i * 11 - i / 3);
	}
	for (unsigned i = 0; i < 256; i++) {
		x[i / 16][i % 16] = (float)i * 0.5f;
		y[i / 16][i % 16] = 3.0f / (float)(i + 1);
	}
	_tile_loadconfig(&config);
	for (unsigned round = 0; round < 2000; round++) {
		_tile_zero(0);
		_tile_loadd(1, a, 64);
		_tile_loadd(2, b, 64);
		_tile_dpbssd(0, 1, 2);
		_tile_dpbusd(0, 2, 1);
		_tile_stored(0, c, sizeof(c[0]));
		_tile_loadd(3, x, 64);
		_tile_stream_loadd(4, y, 64);
		_tile_dpbf16ps(5, 3, 4);
		if (round % 100 == 0)
			usleep(1000);
		add_result();
		a[round % 16][round % 64]++;
	}
	_tile_stored(5, c, sizeof(c[0]));
	add_result();
	_tile_release();
	printf("%016lx\n", sum);
}
