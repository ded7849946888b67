/* SPDX-License-Identifier: MIT */
#include "disk_model.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"

uint64_t disk_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed * 0x2545f4914f6cdd1dull;
}

int disk_shell(const char *fmt, ...)
{
	char command[1024];
	va_list args;
	int status;

	va_start(args, fmt);
	vsnprintf(command, sizeof(command), fmt, args);
	va_end(args);
	status = system(command);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

struct block *disk_open(const char *text)
{
	struct block_options options;
	struct block *block;
	struct error err;

	assert_int_equal(block_options_parse(&options, text, &err), 0);
	if (block_open(&options, &block, &err))
		fail_msg("%s", err.message);
	block_options_release(&options);
	return block;
}

int disk_access(struct block *block, enum block_op op, unsigned flags, uint64_t offset, void *data,
		uint64_t length)
{
	/* Three pieces, cut where blocks are not. */
	uint64_t a = length / 3, b = length / 2;
	const struct iovec iov[3] = { { data, a }, { (char *)data + a, b - a },
				      { (char *)data + b, length - b } };
	const struct block_request request = {
		.op = op, .flags = flags, .offset = offset, .length = length,
		.iov = data ? iov : NULL, .iov_count = data ? 3 : 0,
	};
	int ret = op == BLOCK_READ ? block_attempt(block, &request) : -EAGAIN;

	return ret == -EAGAIN ? block_perform(block, &request) : ret;
}

void disk_model_open(struct disk_model *model, const char *options, uint64_t seed)
{
	*model = (struct disk_model){
		.options = options, .seed = seed, .max_bytes = 200 << 10, .reopen = true,
	};
	model->block = disk_open(options);
	model->size_bytes = model->block->info.size_bytes;
	model->bytes = malloc(model->size_bytes);
	assert_non_null(model->bytes);
	assert_int_equal(disk_access(model->block, BLOCK_READ, 0, 0, model->bytes,
				     model->size_bytes), 0);
}

void disk_model_close(struct disk_model *model)
{
	block_close(model->block);
	free(model->bytes);
}

static void compare(struct disk_model *model, uint64_t offset, uint64_t length)
{
	uint8_t *data = malloc(length + 1);

	memset(data, 0xa5, length);
	assert_int_equal(disk_access(model->block, BLOCK_READ, 0, offset, data, length), 0);
	for (uint64_t i = 0; i < length; i++)
		if (data[i] != model->bytes[offset + i])
			fail_msg("%s: byte %#llx is %#x, not %#x", model->options,
				 (unsigned long long)(offset + i), data[i],
				 model->bytes[offset + i]);
	free(data);
}

void disk_model_compare(struct disk_model *model)
{
	compare(model, 0, model->size_bytes);
}

static void write_some(struct disk_model *model, uint64_t offset, uint64_t length)
{
	uint8_t *data = model->bytes + offset;
	uint64_t value = disk_random(&model->seed);

	for (uint64_t i = 0; i < length; i++)
		data[i] = (uint8_t)(value >> (i & 7) * 8) ^ (uint8_t)(i >> 9);
	assert_int_equal(disk_access(model->block, BLOCK_WRITE,
				     value % 50 ? 0 : BLOCK_FUA, offset, data, length), 0);
}

/* What was discarded is as it was, or zeros; from now on what it is. */
static void discard(struct disk_model *model, uint64_t offset, uint64_t length)
{
	uint8_t *data = malloc(length + 1);

	assert_int_equal(disk_access(model->block, BLOCK_DISCARD, 0, offset, NULL, length), 0);
	assert_int_equal(disk_access(model->block, BLOCK_READ, 0, offset, data, length), 0);
	for (uint64_t i = 0; i < length; i++)
		assert_true(!data[i] || data[i] == model->bytes[offset + i]);
	memcpy(model->bytes + offset, data, length);
	free(data);
}

static void step(struct disk_model *model)
{
	uint64_t blocks = model->size_bytes / model->block->info.block_bytes;
	uint64_t dice = disk_random(&model->seed) % 1000;
	uint64_t most = disk_random(&model->seed) % 8 ? 16 << 10 : model->max_bytes;
	uint64_t offset = disk_random(&model->seed) % blocks * model->block->info.block_bytes;
	uint64_t length = disk_random(&model->seed) % most / model->block->info.block_bytes *
			  model->block->info.block_bytes;

	if (length > model->size_bytes - offset)
		length = model->size_bytes - offset;
	if (dice < 350) {
		compare(model, offset, length);
	} else if (dice < 800) {
		write_some(model, offset, length);
	} else if (dice < 900) {
		memset(model->bytes + offset, 0, length);
		assert_int_equal(disk_access(model->block, BLOCK_WRITE_ZEROES,
					     dice & 1 ? BLOCK_UNMAP : 0, offset, NULL, length), 0);
	} else if (dice < 980) {
		discard(model, offset, length);
	} else if (dice < 998 || !model->reopen) {
		assert_int_equal(disk_access(model->block, BLOCK_FLUSH, 0, 0, NULL, 0), 0);
	} else {
		block_close(model->block);
		model->block = disk_open(model->options);
	}
}

void disk_model_steps(struct disk_model *model, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		step(model);
}

static char directory[64];

/* In memory, if possible: the host's disk is not what is tested. */
int disk_directory_enter(void **state)
{
	(void)state;
	snprintf(directory, sizeof(directory), "%s/ringlet-test.XXXXXX",
		 access("/dev/shm", W_OK) ? "/tmp" : "/dev/shm");
	return mkdtemp(directory) && !chdir(directory) ? 0 : -1;
}

int disk_directory_leave(void **state)
{
	(void)state;
	return chdir("/") || disk_shell("rm -r %s", directory);
}
