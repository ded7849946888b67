/* SPDX-License-Identifier: MIT */
/*
 * The AML writer: see aml.h. An object's length stands before it in one to four bytes, and
 * counts itself; so the bytes are inserted when the object is closed.
 */
#include "tables/aml.h"

#include <assert.h>
#include <string.h>

enum {
	AML_NAME_OP = 0x08,
	AML_BYTE = 0x0a,
	AML_WORD = 0x0b,
	AML_DWORD = 0x0c,
	AML_STRING = 0x0d,
	AML_QWORD = 0x0e,
	AML_SCOPE_OP = 0x10,
	AML_BUFFER_OP = 0x11,
	AML_PACKAGE_OP = 0x12,
	AML_METHOD_OP = 0x14,
	AML_DUAL_NAME = 0x2e,
	AML_MULTI_NAME = 0x2f,
	AML_EXT_OP = 0x5b,
	AML_ROOT = 0x5c,
	AML_ARG0 = 0x68,
	AML_STORE_OP = 0x70,
	AML_DEVICE_OP = 0x82, /* after AML_EXT_OP */
	AML_LEQUAL_OP = 0x93,
	AML_IF_OP = 0xa0,
	AML_RETURN_OP = 0xa4,
};

enum {
	RES_IRQ = 0x22,
	RES_DMA = 0x2a,
	RES_IO = 0x47,
	RES_END = 0x79,
	RES_MEMORY_FIXED = 0x86,
	RES_GSI = 0x89,
	RES_DWORD = 0x87,
	RES_WORD = 0x88,
	RES_QWORD = 0x8a,
};

enum { SPACE_MEMORY = 0, SPACE_IO = 1, SPACE_BUS = 2 };

#define WINDOW_FIXED 0x0c /* minimum and maximum fixed, producer, positive decode */
#define WINDOW_IO_ALL 3   /* ISA and non-ISA ranges */
#define WINDOW_WRITABLE 1
#define GSI_CONSUMER 1
#define GSI_ACTIVE_LOW 4
#define GSI_SHARED 8
#define WINDOW_CACHEABLE 2

static void op(struct aml *aml, uint8_t code)
{
	blob_put(aml->blob, code, 1);
}

/* PkgLength: 7:6 of the first byte say how many follow; 63 and less fit in it alone. */
static unsigned encode_length(size_t content, uint8_t bytes[4])
{
	unsigned count = content + 1 <= 0x3f ? 1 : content + 2 <= 0xfff ? 2 :
			 content + 3 <= 0xfffff ? 3 : 4;
	size_t length = content + count;

	if (count == 1) {
		bytes[0] = (uint8_t)length;
		return 1;
	}
	bytes[0] = (uint8_t)((count - 1) << 6 | (length & 0xf));
	for (unsigned i = 1; i < count; i++)
		bytes[i] = (uint8_t)(length >> (8 * i - 4));
	return count;
}

static void begin(struct aml *aml)
{
	assert(aml->depth < AML_DEPTH);
	aml->open[aml->depth++] = aml->blob->size_bytes;
}

void aml_end(struct aml *aml)
{
	size_t start = aml->open[--aml->depth];
	uint8_t bytes[4];
	unsigned count = encode_length(aml->blob->size_bytes - start, bytes);

	blob_insert(aml->blob, start, bytes, count);
}

/* One name segment, padded with underscores to four characters. */
static void put_segment(struct aml *aml, const char *name, size_t len)
{
	char segment[4] = { '_', '_', '_', '_' };

	assert(len <= 4);
	memcpy(segment, name, len);
	blob_append(aml->blob, segment, 4);
}

static void put_path(struct aml *aml, const char *path)
{
	unsigned segments = 1;

	if (*path == '\\') {
		op(aml, AML_ROOT);
		path++;
	}
	if (!*path) {
		op(aml, 0);
		return;
	}
	for (const char *p = path; *p; p++)
		segments += *p == '.';
	if (segments == 2)
		op(aml, AML_DUAL_NAME);
	if (segments > 2) {
		op(aml, AML_MULTI_NAME);
		op(aml, (uint8_t)segments);
	}
	while (*path) {
		size_t len = strcspn(path, ".");

		put_segment(aml, path, len);
		path += len + (path[len] == '.');
	}
}

void aml_scope(struct aml *aml, const char *path)
{
	op(aml, AML_SCOPE_OP);
	begin(aml);
	put_path(aml, path);
}

void aml_device(struct aml *aml, const char *path)
{
	op(aml, AML_EXT_OP);
	op(aml, AML_DEVICE_OP);
	begin(aml);
	put_path(aml, path);
}

void aml_method(struct aml *aml, const char *path, unsigned args, bool serialized)
{
	op(aml, AML_METHOD_OP);
	begin(aml);
	put_path(aml, path);
	op(aml, (uint8_t)(args | (serialized ? 8 : 0)));
}

void aml_package(struct aml *aml, unsigned elements)
{
	assert(elements < 256);
	op(aml, AML_PACKAGE_OP);
	begin(aml);
	op(aml, (uint8_t)elements);
}

void aml_if_equal(struct aml *aml, const char *path, uint64_t value)
{
	op(aml, AML_IF_OP);
	begin(aml);
	op(aml, AML_LEQUAL_OP);
	put_path(aml, path);
	aml_integer(aml, value);
}

void aml_name(struct aml *aml, const char *path)
{
	op(aml, AML_NAME_OP);
	put_path(aml, path);
}

void aml_integer(struct aml *aml, uint64_t value)
{
	unsigned size = value < 2 ? 0 : value <= UINT8_MAX ? 1 : value <= UINT16_MAX ? 2 :
			value <= UINT32_MAX ? 4 : 8;
	const uint8_t prefix[] = { [1] = AML_BYTE, [2] = AML_WORD, [4] = AML_DWORD,
				   [8] = AML_QWORD };

	if (size)
		op(aml, prefix[size]);
	blob_put(aml->blob, value, size ? size : 1);
}

void aml_string(struct aml *aml, const char *string)
{
	op(aml, AML_STRING);
	blob_append(aml->blob, string, strlen(string) + 1);
}

static unsigned hex_digit(char c)
{
	return c <= '9' ? (unsigned)(c - '0') : (unsigned)(c - 'A' + 10);
}

/* Three letters of five bits, four hexadecimal digits; big-endian in a little-endian dword. */
void aml_eisa_id(struct aml *aml, const char *id)
{
	uint32_t value = (uint32_t)(id[0] - '@') << 26 | (uint32_t)(id[1] - '@') << 21 |
			 (uint32_t)(id[2] - '@') << 16;

	for (unsigned i = 0; i < 4; i++)
		value |= hex_digit(id[3 + i]) << (12 - 4 * i);
	op(aml, AML_DWORD);
	blob_put(aml->blob, __builtin_bswap32(value), 4);
}

void aml_return(struct aml *aml, const char *path)
{
	op(aml, AML_RETURN_OP);
	put_path(aml, path);
}

void aml_store_arg(struct aml *aml, unsigned arg, const char *path)
{
	op(aml, AML_STORE_OP);
	op(aml, (uint8_t)(AML_ARG0 + arg));
	put_path(aml, path);
}

/* ---- resources ---- */

void aml_resources(struct aml *aml)
{
	aml_name(aml, "_CRS");
	op(aml, AML_BUFFER_OP);
	begin(aml);
}

/* The buffer's size, which stands before its bytes, is known only now. */
void aml_resources_end(struct aml *aml)
{
	size_t start = aml->open[aml->depth - 1];
	uint8_t size[3] = { AML_WORD };
	size_t bytes;

	op(aml, RES_END);
	op(aml, 0); /* checksum: zero is always right */
	bytes = aml->blob->size_bytes - start;
	size[1] = (uint8_t)bytes;
	size[2] = (uint8_t)(bytes >> 8);
	if (bytes <= UINT8_MAX)
		size[0] = AML_BYTE;
	blob_insert(aml->blob, start, size, bytes <= UINT8_MAX ? 2 : 3);
	aml_end(aml);
}

void aml_irq(struct aml *aml, unsigned irq)
{
	op(aml, RES_IRQ); /* edge, active high, exclusive */
	blob_put(aml->blob, 1u << irq, 2);
}

void aml_gsi(struct aml *aml, unsigned gsi)
{
	op(aml, RES_GSI);
	blob_put(aml->blob, 6, 2);
	op(aml, GSI_CONSUMER | GSI_ACTIVE_LOW | GSI_SHARED);
	op(aml, 1); /* one number */
	blob_put(aml->blob, gsi, 4);
}

void aml_dma(struct aml *aml, unsigned channel)
{
	op(aml, RES_DMA);
	op(aml, (uint8_t)(1u << channel));
	op(aml, 0); /* compatibility timing, 8-bit */
}

void aml_io(struct aml *aml, uint16_t start, uint8_t len)
{
	op(aml, RES_IO);
	op(aml, 1); /* decodes 16 bits */
	blob_put(aml->blob, start, 2);
	blob_put(aml->blob, start, 2);
	op(aml, 1);
	op(aml, len);
}

void aml_memory_fixed(struct aml *aml, uint32_t start, uint32_t len)
{
	op(aml, RES_MEMORY_FIXED);
	blob_put(aml->blob, 9, 2);
	op(aml, WINDOW_WRITABLE);
	blob_put(aml->blob, start, 4);
	blob_put(aml->blob, len, 4);
}

static void window(struct aml *aml, uint8_t kind, unsigned width, uint8_t space, uint8_t flags,
		   uint64_t start, uint64_t end)
{
	op(aml, kind);
	blob_put(aml->blob, 3 + 5 * width, 2);
	op(aml, space);
	op(aml, WINDOW_FIXED);
	op(aml, flags);
	blob_put(aml->blob, 0, width); /* granularity */
	blob_put(aml->blob, start, width);
	blob_put(aml->blob, end, width);
	blob_put(aml->blob, 0, width); /* translation */
	blob_put(aml->blob, end - start + 1, width);
}

void aml_bus_window(struct aml *aml, uint16_t start, uint16_t end)
{
	window(aml, RES_WORD, 2, SPACE_BUS, 0, start, end);
}

void aml_io_window(struct aml *aml, uint16_t start, uint16_t end)
{
	window(aml, RES_WORD, 2, SPACE_IO, WINDOW_IO_ALL, start, end);
}

static uint8_t memory_flags(bool cacheable)
{
	return WINDOW_WRITABLE | (cacheable ? WINDOW_CACHEABLE : 0);
}

void aml_memory32_window(struct aml *aml, bool cacheable, uint32_t start, uint32_t end)
{
	window(aml, RES_DWORD, 4, SPACE_MEMORY, memory_flags(cacheable), start, end);
}

void aml_memory64_window(struct aml *aml, bool cacheable, uint64_t start, uint64_t end)
{
	window(aml, RES_QWORD, 8, SPACE_MEMORY, memory_flags(cacheable), start, end);
}
