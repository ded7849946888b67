/* SPDX-License-Identifier: MIT */
/* Block back ends: options, requests and their limits, raw files, the pool that does the work. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "block/block.h"

#define DISK_BYTES (1u << 20)

struct bench {
	char path[32];
	struct block *block;
};

static int open_disk(struct bench *b, const char *options)
{
	struct block_options parsed;
	struct error err;
	char text[128];
	int ret;

	snprintf(text, sizeof(text), "%s%s", b->path, options);
	assert_int_equal(block_options_parse(&parsed, text, &err), 0);
	ret = block_open(&parsed, &b->block, &err);
	block_options_release(&parsed);
	return ret;
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	int fd;

	strcpy(b->path, "/tmp/ringlet-test.XXXXXX");
	fd = mkstemp(b->path);
	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, DISK_BYTES), 0);
	close(fd);
	*state = b;
	return open_disk(b, "");
}

static int teardown(void **state)
{
	struct bench *b = *state;

	block_close(b->block);
	unlink(b->path);
	free(b);
	return 0;
}

static void reopen(struct bench *b, const char *options)
{
	block_close(b->block);
	b->block = NULL;
	assert_int_equal(open_disk(b, options), 0);
}

static int access_disk(struct bench *b, enum block_op op, unsigned flags, uint64_t offset,
		       void *data, size_t length)
{
	const struct iovec iov[2] = { { data, length / 2 },
				      { (char *)data + length / 2, length - length / 2 } };
	const struct block_request request = {
		.op = op, .flags = flags, .offset = offset, .length = length,
		.iov = data ? iov : NULL, .iov_count = data ? 2 : 0,
	};

	return block_perform(b->block, &request);
}

static uint64_t blocks_on_host(const struct bench *b)
{
	struct stat st;

	assert_int_equal(stat(b->path, &st), 0);
	return (uint64_t)st.st_blocks;
}

static void test_options(void **state)
{
	struct block_options options;
	struct error err;

	(void)state;
	assert_int_equal(block_options_parse(&options, "a,,b=c,ro,format=raw,direct,discard", &err),
			 0);
	assert_string_equal(options.file, "a,b=c");
	assert_string_equal(options.format, "raw");
	assert_true(options.readonly && options.direct && options.discard);
	block_options_release(&options);
	assert_int_equal(block_options_parse(&options, "a,errors=wait", &err), 0);
	assert_int_equal(options.errors, BLOCK_ERRORS_WAIT);
	block_options_release(&options);
	assert_int_equal(block_options_parse(&options, "a,errors=no", &err), -EINVAL);
	assert_int_equal(block_options_parse(&options, "", &err), -EINVAL);
	assert_int_equal(block_options_parse(&options, "f,rw", &err), -EINVAL);
	assert_non_null(strstr(err.message, "did you mean 'ro'"));
	assert_int_equal(block_options_parse(&options, "f,ro=1", &err), -EINVAL);
	assert_int_equal(block_options_parse(&options, "f,format", &err), -EINVAL);
	assert_int_equal(block_options_parse(&options, "f,", &err), -EINVAL);
}

static void test_open_errors(void **state)
{
	struct block_options options = { .file = "/nonexistent/disk" };
	struct block *block;
	struct error err;

	(void)state;
	assert_int_equal(block_open(&options, &block, &err), -ENOENT);
	options.file = "/tmp";
	options.readonly = true;
	assert_int_equal(block_open(&options, &block, &err), -EISDIR);
	options.file = "/dev/null";
	assert_int_equal(block_open(&options, &block, &err), -EINVAL);
	options.format = "rwa";
	assert_int_equal(block_open(&options, &block, &err), -EINVAL);
	assert_non_null(strstr(err.message, "'raw'"));
}

/* One writer or many readers. */
static void test_locking(void **state)
{
	struct bench *b = *state;
	struct bench other = *b;

	assert_int_equal(open_disk(&other, ""), -EBUSY);
	assert_int_equal(open_disk(&other, ",ro"), -EBUSY);
	reopen(b, ",ro");
	assert_int_equal(open_disk(&other, ",ro"), 0);
	block_close(other.block);
}

static void test_read_back(void **state)
{
	struct bench *b = *state;
	char data[4096], back[4096];

	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (char)(i * 7);
	assert_int_equal(access_disk(b, BLOCK_WRITE, BLOCK_FUA, 512, data, sizeof(data)), 0);
	assert_int_equal(access_disk(b, BLOCK_FLUSH, 0, 0, NULL, 0), 0);
	reopen(b, ",ro,direct");
	assert_int_equal(b->block->info.block_bytes, 4096);
	assert_int_equal(access_disk(b, BLOCK_READ, 0, 0, back, sizeof(back)), 0);
	assert_memory_equal(back + 512, data, sizeof(back) - 512);
	assert_int_equal(back[0], 0);
}

static void test_limits(void **state)
{
	struct bench *b = *state;
	char data[1024];

	assert_int_equal(access_disk(b, BLOCK_READ, 0, 1, data, 512), -EINVAL);
	assert_int_equal(access_disk(b, BLOCK_READ, 0, 0, data, 100), -EINVAL);
	assert_int_equal(access_disk(b, BLOCK_READ, 0, DISK_BYTES - 512, data, 1024), -EINVAL);
	assert_int_equal(access_disk(b, BLOCK_WRITE, 0, ~0ull - 511, data, 512), -EINVAL);
	assert_int_equal(access_disk(b, BLOCK_DISCARD, 0, 512, NULL, 0ull - 512), -EINVAL);
	assert_int_equal(access_disk(b, BLOCK_READ, 0, DISK_BYTES, NULL, 0), 0);
	reopen(b, ",ro");
	assert_int_equal(access_disk(b, BLOCK_WRITE, 0, 0, data, 512), -EROFS);
	assert_int_equal(access_disk(b, BLOCK_DISCARD, 0, 0, NULL, 512), -EROFS);
	assert_int_equal(access_disk(b, BLOCK_FLUSH, 0, 0, NULL, 0), 0);
}

static void test_zeroes_and_discard(void **state)
{
	struct bench *b = *state;
	static char data[65536], back[65536];

	memset(data, 0x5a, sizeof(data));
	reopen(b, ",discard");
	assert_int_equal(access_disk(b, BLOCK_WRITE, 0, 0, data, sizeof(data)), 0);
	assert_int_equal(access_disk(b, BLOCK_WRITE_ZEROES, 0, 4096, NULL, 8192), 0);
	assert_int_equal(access_disk(b, BLOCK_READ, 0, 0, back, sizeof(back)), 0);
	memset(data + 4096, 0, 8192);
	assert_memory_equal(back, data, sizeof(data));
	assert_int_equal(access_disk(b, BLOCK_FLUSH, 0, 0, NULL, 0), 0);
	assert_true(blocks_on_host(b) > 0);
	assert_int_equal(access_disk(b, BLOCK_DISCARD, 0, 0, NULL, DISK_BYTES), 0);
	assert_int_equal(blocks_on_host(b), 0);
}

/* A file that ends within a sector: the rest reads as zeros. */
static void test_odd_size(void **state)
{
	struct bench *b = *state;
	char back[1024];

	block_close(b->block);
	assert_int_equal(truncate(b->path, 700), 0);
	assert_int_equal(open_disk(b, ""), 0);
	assert_int_equal(b->block->info.size_bytes, 1024);
	memset(back, 1, sizeof(back));
	assert_int_equal(access_disk(b, BLOCK_READ, 0, 0, back, sizeof(back)), 0);
	for (unsigned i = 0; i < sizeof(back); i++)
		assert_int_equal(back[i], 0);
}

struct write_test {
	struct block_request request;
	struct iovec iov;
	char data[512];
};

static atomic_uint finished;

static void count_done(struct block_request *request, int result)
{
	(void)request;
	if (!result)
		atomic_fetch_add(&finished, 1);
}

/* Many at once; drain returns when the last is done. */
static void test_submit(void **state)
{
	struct bench *b = *state;
	static struct write_test writes[200];
	char back[512];

	for (unsigned i = 0; i < 200; i++) {
		memset(writes[i].data, (int)i, sizeof(writes[i].data));
		writes[i].iov = (struct iovec){ writes[i].data, sizeof(writes[i].data) };
		writes[i].request = (struct block_request){
			.op = BLOCK_WRITE, .offset = i * 512, .length = 512, .iov = &writes[i].iov,
			.iov_count = 1, .done = count_done,
		};
		block_submit(b->block, &writes[i].request);
	}
	block_drain(b->block);
	assert_int_equal(atomic_load(&finished), 200);
	for (unsigned i = 0; i < 200; i++) {
		assert_int_equal(access_disk(b, BLOCK_READ, 0, i * 512, back, 512), 0);
		assert_memory_equal(back, writes[i].data, 512);
	}
}

/* ---- large reads, which are cut into parts ---- */

struct patterned {
	struct block block; /* must be first */
	uint64_t bad;       /* what reads there fails; 0: nothing does */
	atomic_uint reads;
};

static uint8_t pattern(uint64_t offset)
{
	return (uint8_t)(offset * 7 + (offset >> 9));
}

static int patterned_perform(struct block *block, const struct block_request *request)
{
	struct patterned *disk = (struct patterned *)block;
	uint64_t at = request->offset;

	atomic_fetch_add(&disk->reads, 1);
	if (disk->bad && at <= disk->bad && disk->bad < at + request->length)
		return -EIO;
	for (unsigned i = 0; i < request->iov_count; i++)
		for (size_t k = 0; k < request->iov[i].iov_len; k++)
			((uint8_t *)request->iov[i].iov_base)[k] = pattern(at++);
	return at == request->offset + request->length ? 0 : -EFAULT;
}

static const struct block_class patterned_class = {
	.name = "patterned", .perform = patterned_perform,
};

struct outcome {
	atomic_uint times;
	atomic_int result;
};

static void note(struct block_request *request, int result)
{
	struct outcome *outcome = request->opaque;

	outcome->result = result;
	atomic_fetch_add(&outcome->times, 1);
}

#define LARGE (9u << 20)
#define PIECES 3000u

/* Reads length bytes in many pieces; the result. */
static int read_large(struct patterned *disk, uint64_t offset, uint8_t *data, uint64_t length)
{
	static struct iovec iov[PIECES];
	struct outcome outcome = { .times = 0 };
	struct block_request request = {
		.op = BLOCK_READ, .offset = offset, .length = length, .iov = iov,
		.done = note, .opaque = &outcome,
	};

	for (uint64_t at = 0; at < length;) {
		uint64_t piece = 1 + (at * 31 + 977) % 8191;

		if (request.iov_count == PIECES - 1 || piece > length - at)
			piece = length - at;
		iov[request.iov_count++] = (struct iovec){ data + at, piece };
		at += piece;
	}
	disk->reads = 0;
	block_submit(&disk->block, &request);
	block_drain(&disk->block);
	assert_int_equal(outcome.times, 1);
	return outcome.result;
}

static void test_large_reads(void **state)
{
	static const struct {
		uint64_t offset, length;
	} reads[] = { { 0, 512 << 10 }, { 0, 1 << 20 }, { 512, 1 << 20 }, { 1536, (3 << 20) - 512 },
		      { (1 << 20) - 512, (512 << 10) + 512 }, { 0, LARGE }, { 4096, LARGE - 4096 } };
	struct patterned disk = {
		.block = { .class = &patterned_class,
			   .info = { .size_bytes = LARGE, .block_bytes = 512 } },
	};
	uint8_t *data = malloc(LARGE);

	(void)state;
	assert_int_equal(workers_create(&disk.block.workers, "patterned", 4, NULL), 0);
	for (unsigned i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
		memset(data, 0, LARGE);
		assert_int_equal(read_large(&disk, reads[i].offset, data, reads[i].length), 0);
		assert_int_equal(disk.reads > 1, reads[i].length > 512 << 10);
		for (uint64_t k = 0; k < LARGE; k++)
			assert_true(data[k] == (k < reads[i].length ? pattern(reads[i].offset + k) : 0));
	}
	/* One part's failure is the whole's; it is told once. */
	disk.bad = LARGE - 1;
	assert_int_equal(read_large(&disk, 0, data, LARGE), -EIO);
	disk.bad = 700 << 10;
	assert_int_equal(read_large(&disk, 0, data, LARGE), -EIO);
	/* Bounds are judged for the whole. */
	assert_int_equal(read_large(&disk, 512, data, LARGE), -EINVAL);
	assert_int_equal(read_large(&disk, -(1ull << 20), data, LARGE), -EINVAL);
	assert_int_equal(disk.reads, 0);
	workers_destroy(disk.block.workers);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_options),
		cmocka_unit_test(test_open_errors),
		cmocka_unit_test_setup_teardown(test_locking, setup, teardown),
		cmocka_unit_test_setup_teardown(test_read_back, setup, teardown),
		cmocka_unit_test_setup_teardown(test_limits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_zeroes_and_discard, setup, teardown),
		cmocka_unit_test_setup_teardown(test_odd_size, setup, teardown),
		cmocka_unit_test_setup_teardown(test_submit, setup, teardown),
		cmocka_unit_test(test_large_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
