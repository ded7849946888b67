/* SPDX-License-Identifier: MIT */
/* A fuzz input, taken piece by piece from its front; behind its end there are zeros. */
#ifndef RINGLET_TESTS_FUZZ_INPUT_H
#define RINGLET_TESTS_FUZZ_INPUT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* What each target implements: one input, judged by whether it returns. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct fuzz_input {
	const uint8_t *data;
	size_t left;
};

static inline void fuzz_take(struct fuzz_input *input, void *to, size_t size)
{
	size_t have = size < input->left ? size : input->left;

	memset(to, 0, size);
	if (have)
		memcpy(to, input->data, have);
	input->data += have;
	input->left -= have;
}

static inline uint64_t fuzz_uint(struct fuzz_input *input, unsigned size)
{
	uint64_t value = 0;

	fuzz_take(input, &value, size);
	return value;
}

static inline uint8_t fuzz_u8(struct fuzz_input *input)
{
	return (uint8_t)fuzz_uint(input, 1);
}

static inline uint16_t fuzz_u16(struct fuzz_input *input)
{
	return (uint16_t)fuzz_uint(input, 2);
}

static inline uint32_t fuzz_u32(struct fuzz_input *input)
{
	return (uint32_t)fuzz_uint(input, 4);
}

static inline uint64_t fuzz_u64(struct fuzz_input *input)
{
	return fuzz_uint(input, 8);
}

#endif
