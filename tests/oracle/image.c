/* SPDX-License-Identifier: MIT */
/*
 * What seeds stand for. Numbers are drawn from kinds that matter to some instruction:
 * floating-point numbers around every edge of each format, small integers that serve as indices,
 * pointers to the data pages, packed decimals, plain noise.
 */
#include <string.h>

#include "oracle.h"

enum {
	FCW = 0, FSW = 2, FTW = 4, MXCSR = 24, ST = 32, XMM = 160, XSTATE_BV = 512, YMM = 576,
	OPMASK = 1088, ZMM_HI256 = 1152, HI16_ZMM = 1664,
};

static uint64_t special16(uint64_t *seed)
{
	static const uint16_t values[] = {
		0, 0x8000, 0x3c00, 0xbc00, 0x7c00, 0xfc00, 0x7e00, 0x7d00, 0xfe01, 1, 0x83ff,
		0x0400, 0x7bff, 0x4000, 0x3555, 0x6400,
	};

	return values[random_below(seed, 16)];
}

static uint64_t special32(uint64_t *seed)
{
	static const uint32_t values[] = {
		0, 0x80000000, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00000,
		0x7fa00000, 0xffc00001, 1, 0x807fffff, 0x00800000, 0x7f7fffff, 0x4f000000,
		0xcf000000, 0x5f000000,
	};

	return values[random_below(seed, 16)];
}

static uint64_t special64(uint64_t *seed)
{
	static const uint64_t values[] = {
		0, 1ull << 63, 0x3ff0000000000000, 0xbff0000000000000, 0x7ff0000000000000,
		0xfff0000000000000, 0x7ff8000000000000, 0x7ff4000000000000, 0xfff8000000000001, 1,
		0x800fffffffffffff, 0x0010000000000000, 0x7fefffffffffffff, 0x41e0000000000000,
		0xc3e0000000000000, 0x43f0000000000000,
	};

	return values[random_below(seed, 16)];
}

enum { KINDS = 12 };

static uint64_t draw(uint64_t *seed, unsigned kind)
{
	uint64_t r = random_next(seed);

	switch (kind) {
	case 0: return 0;
	case 1: return ~0ull;
	case 2: return special32(seed) | special32(seed) << 32;
	case 3: return special64(seed);
	case 4: return special16(seed) | special16(seed) << 16 | special16(seed) << 32 |
		       special16(seed) << 48;
	case 5: return (r & 0x3f) | (r & 0x3f00) << 24;
	case 6: return r & 0x3f;
	case 7: return (uint64_t)(int64_t)(int8_t)r;
	case 8: return DATA_BASE + (r & 0x2fff);
	case 9: return r & 0x0909090909090909;
	/* Ordinary numbers of one or two words: exponents near the bias. */
	case 10: return (r & 0x87ffffff87ffffff) | 0x3c0000003c000000;
	default: return r;
	}
}

static void fill(uint64_t *seed, uint8_t *bytes, unsigned size)
{
	unsigned kind = random_below(seed, KINDS + 4);

	for (unsigned at = 0; at < size; at += 8) {
		uint64_t value = draw(seed, kind < KINDS ? kind : random_below(seed, KINDS));

		memcpy(bytes + at, &value, 8);
	}
}

const uint8_t *image_page(unsigned number)
{
	static uint8_t pages[IMAGE_PAGES][PAGE_BYTES];
	static bool made;

	for (unsigned i = 1; i < IMAGE_PAGES && !made; i++) {
		uint64_t seed = i;

		/* Runs of one kind, so that an operand of any size finds elements alike. */
		for (unsigned at = 0; at < PAGE_BYTES; at += 128)
			fill(&seed, pages[i] + at, 128);
	}
	made = true;
	return pages[number % IMAGE_PAGES];
}

uint64_t image_page_address(unsigned page)
{
	return page < DATA_PAGES ? DATA_BASE + page * PAGE_BYTES :
				   STACK_BASE + (page - DATA_PAGES) * PAGE_BYTES;
}

int image_page_of(uint64_t address, unsigned *offset)
{
	for (unsigned i = 0; i < CASE_PAGES; i++) {
		uint64_t at = address - image_page_address(i);

		if (at <= PAGE_BYTES - 8) {
			*offset = (unsigned)at;
			return (int)i;
		}
	}
	return -1;
}

void image_pages(const struct oracle_case *c, uint8_t page[CASE_PAGES][PAGE_BYTES])
{
	for (unsigned i = 0; i < CASE_PAGES; i++)
		memcpy(page[i], image_page(c->page_seed[i]), PAGE_BYTES);
	for (unsigned i = 0; i < c->patches; i++) {
		unsigned offset;
		int at = image_page_of(c->patch[i].address, &offset);

		if (at >= 0)
			memcpy(page[at] + offset, &c->patch[i].value, 8);
	}
}

static void put16(uint8_t *at, unsigned value)
{
	memcpy(at, &(uint16_t){ (uint16_t)value }, 2);
}

/* 80-bit numbers: sign and exponent, then the significand with its explicit integer bit. */
static void fill_x87_register(uint64_t *seed, uint8_t *st)
{
	static const uint16_t exponents[] = { 0, 1, 0x3fff, 0x4000, 0x403e, 0x7ffe, 0x7fff, 0x3ffe,
					      0x401e, 0x3c01, 0x43fe, 0x3f81 };
	static const uint64_t significands[] = { 0, 1ull << 63, 3ull << 62, ~0ull, 1, 5ull << 61,
						 0x7fffffffffffffff, 0xc90fdaa22168c235 };
	uint64_t significand = one_in(seed, 2) ? random_next(seed) | 1ull << 63 :
						 significands[random_below(seed, 8)];
	unsigned exponent = exponents[random_below(seed, 12)];

	if (one_in(seed, 3))
		exponent = 0x3fc0 + random_below(seed, 0x80);
	if (one_in(seed, 16)) {
		significand = random_next(seed);
		exponent = random_below(seed, 0x8000);
	}
	memcpy(st, &significand, 8);
	put16(st + 8, exponent | random_below(seed, 2) << 15);
}

static void fill_x87(uint64_t seed, uint8_t *xsave)
{
	unsigned control = 0x7f | random_below(&seed, 4) << 10 | 0x300, status;

	if (one_in(&seed, 4))
		control = (control & ~0x300u) | random_below(&seed, 4) << 8;
	if (one_in(&seed, 6))
		control &= ~(1u << random_below(&seed, 6));
	status = random_below(&seed, 8) << 11 | (random_below(&seed, 16) & 7) << 8 |
		 random_below(&seed, 2) << 14;
	if (one_in(&seed, 6))
		status |= 1u << random_below(&seed, 7);
	/* An error that is pending shows in the summary bits. */
	if (status & ~control & 0x3f)
		status |= 0x8080;
	put16(xsave + FCW, control);
	put16(xsave + FSW, status);
	xsave[FTW] = one_in(&seed, 3) ? (uint8_t)random_next(&seed) : 0xff;
	for (unsigned i = 0; i < 8; i++)
		fill_x87_register(&seed, xsave + ST + 16 * i);
}

static void fill_vectors(uint64_t seed, uint8_t *xsave)
{
	for (unsigned i = 0; i < 32; i++) {
		uint8_t zmm[64];

		fill(&seed, zmm, sizeof(zmm));
		if (i >= 16) {
			memcpy(xsave + HI16_ZMM + 64 * (i - 16), zmm, 64);
			continue;
		}
		memcpy(xsave + XMM + 16 * i, zmm, 16);
		memcpy(xsave + YMM + 16 * i, zmm + 16, 16);
		memcpy(xsave + ZMM_HI256 + 32 * i, zmm + 32, 32);
	}
}

static void fill_masks(uint64_t seed, uint8_t *xsave)
{
	for (unsigned i = 0; i < 8; i++) {
		uint64_t value = random_next(&seed);

		switch (random_below(&seed, 4)) {
		case 0: value = ~0ull; break;
		case 1: value &= random_next(&seed) & random_next(&seed); break;
		case 2: value = 1ull << (value & 63); break;
		default: break;
		}
		memcpy(xsave + OPMASK + 8 * i, &value, 8);
	}
}

/* Half of them let any tiles be multiplied with each other. */
void image_tile_config(uint64_t *seed, uint8_t *config)
{
	bool alike = one_in(seed, 2);

	memset(config, 0, 64);
	config[0] = 1;
	if (one_in(seed, 6))
		config[1] = (uint8_t)random_below(seed, 18);
	for (unsigned i = 0; i < 8; i++) {
		unsigned bytes = alike ? 64 : 4 * (1 + random_below(seed, 16));
		unsigned rows = alike ? 16 : 1 + random_below(seed, 16);

		if (one_in(seed, 32))
			bytes = rows = 0;
		else if (one_in(seed, 64))
			bytes = random_below(seed, 64) | 1;
		put16(config + 16 + 2 * i, bytes);
		config[48 + i] = (uint8_t)rows;
	}
}

static void fill_tiles(uint64_t seed, uint8_t *xsave)
{
	uint8_t *config = xsave + XSAVE_TILECFG;

	image_tile_config(&seed, config);
	for (unsigned i = 0; i < 8; i++) {
		unsigned bytes = config[16 + 2 * i], rows = config[48 + i];

		for (unsigned row = 0; row < rows && row < 16; row++) {
			uint8_t data[64];

			fill(&seed, data, sizeof(data));
			memcpy(xsave + XSAVE_TILES + 1024 * i + 64 * row, data,
			       bytes < 64 ? bytes : 64);
		}
	}
}

void image_xsave(const struct oracle_case *c, uint8_t *xsave)
{
	uint64_t present = 0;

	memset(xsave, 0, XSAVE_BYTES);
	put16(xsave + FCW, 0x37f);
	memcpy(xsave + MXCSR, &c->mxcsr, 4);
	if (c->x87_seed) {
		fill_x87(c->x87_seed, xsave);
		present |= 1;
	}
	if (c->vector_seed) {
		fill_vectors(c->vector_seed, xsave);
		present |= 0xc6;
	}
	if (c->mask_seed) {
		fill_masks(c->mask_seed, xsave);
		present |= 0x20;
	}
	if (c->tile_seed) {
		fill_tiles(c->tile_seed, xsave);
		present |= 0x60000;
	}
	memcpy(xsave + XSTATE_BV, &present, 8);
}
