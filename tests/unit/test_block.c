/* SPDX-License-Identifier: MIT */
/* Block back ends: options, requests and their limits, raw files, the pool that does the work. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
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
	assert_int_equal(block_options_parse(&options, "a,errors=pause", &err), 0);
	assert_int_equal(options.errors, BLOCK_ERRORS_PAUSE);
	block_options_release(&options);
	assert_int_equal(block_options_parse(&options, "a,errors=no", &err), -EINVAL);
	assert_int_equal(block_options_parse(&options, "a,io=threads", &err), 0);
	assert_int_equal(options.io, BLOCK_IO_THREADS);
	block_options_release(&options);
	assert_int_equal(block_options_parse(&options, "a,io=fast", &err), -EINVAL);
	assert_int_equal(block_options_parse(&options, "", &err), -EINVAL);
	assert_int_equal(block_options_parse(&options, "f,rw", &err), -EINVAL);
	assert_non_null(strstr(err.message, "did you mean 'ro'"));
	assert_int_equal(block_options_parse(&options, "f,colour=red", &err), -EINVAL);
	assert_non_null(strstr(err.message, "there are ro, direct, discard, "));
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

/* ---- io_uring ---- */

/* False, and said: this host refuses it. */
static bool reopen_with_uring(struct bench *b, const char *options)
{
	struct block_options parsed;
	struct error err;
	char text[128];
	int ret;

	block_close(b->block);
	b->block = NULL;
	snprintf(text, sizeof(text), "%s,io=uring%s", b->path, options);
	assert_int_equal(block_options_parse(&parsed, text, &err), 0);
	ret = block_open(&parsed, &b->block, &err);
	block_options_release(&parsed);
	if (ret)
		print_message("%s\n", err.message);
	return !ret;
}

#define RING_REQUESTS 600 /* more than the ring takes */
#define RING_BYTES 1024u

struct ring_test {
	struct block_request request;
	struct iovec iov[2];
	struct outcome {
		atomic_uint times;
		atomic_int result;
	} outcome;
	char data[RING_BYTES];
};

static void note(struct block_request *request, int result)
{
	struct outcome *outcome = request->opaque;

	outcome->result = result;
	atomic_fetch_add(&outcome->times, 1);
}

static void submit_to_ring(struct bench *b, struct ring_test *test, enum block_op op, uint64_t offset)
{
	*test = (struct ring_test){ .request = {
		.op = op, .offset = offset, .length = RING_BYTES, .iov = test->iov, .iov_count = 2,
		.done = note, .opaque = &test->outcome,
	} };
	test->iov[0] = (struct iovec){ test->data, 100 };
	test->iov[1] = (struct iovec){ test->data + 100, RING_BYTES - 100 };
	if (op == BLOCK_WRITE)
		memset(test->data, (int)(offset / RING_BYTES * 7 + 1), RING_BYTES);
	block_submit(b->block, &test->request);
}

static void test_uring(void **state)
{
	struct bench *b = *state;
	static struct ring_test tests[RING_REQUESTS];
	char want[RING_BYTES];

	if (!reopen_with_uring(b, ""))
		skip();
	assert_string_equal(block_io_name(b->block), "uring");
	for (unsigned pass = 0; pass < 2; pass++) {
		for (unsigned i = 0; i < RING_REQUESTS; i++) {
			submit_to_ring(b, &tests[i], pass ? BLOCK_READ : BLOCK_WRITE, i * RING_BYTES);
			if (i % 50 == 49)
				block_push(b->block);
		}
		block_drain(b->block);
		for (unsigned i = 0; i < RING_REQUESTS; i++) {
			assert_int_equal(tests[i].outcome.times, 1);
			assert_int_equal(tests[i].outcome.result, 0);
			memset(want, (int)(i * 7 + 1), sizeof(want));
			assert_memory_equal(tests[i].data, want, sizeof(want));
		}
	}
}

/* What the kernel does not do whole is done by a thread; what may not be is not asked of it. */
static void test_what_is_not_for_uring(void **state)
{
	struct bench *b = *state;
	static struct ring_test test[4];
	const char zeros[RING_BYTES] = "";

	block_close(b->block);
	b->block = NULL;
	assert_int_equal(truncate(b->path, 2 * RING_BYTES - 700), 0);
	if (!reopen_with_uring(b, ",ro"))
		skip();
	submit_to_ring(b, &test[0], BLOCK_READ, RING_BYTES);
	submit_to_ring(b, &test[1], BLOCK_READ, 2 * RING_BYTES);
	submit_to_ring(b, &test[2], BLOCK_WRITE, 0);
	submit_to_ring(b, &test[3], BLOCK_READ, -(uint64_t)RING_BYTES);
	block_push(b->block);
	block_drain(b->block);
	assert_int_equal(test[0].outcome.result, -EINVAL); /* the disk ends within it */
	assert_int_equal(test[1].outcome.result, -EINVAL);
	assert_int_equal(test[2].outcome.result, -EROFS);
	assert_int_equal(test[3].outcome.result, -EINVAL);
	/* A file that became shorter. */
	assert_int_equal(truncate(b->path, 100), 0);
	submit_to_ring(b, &test[0], BLOCK_READ, 0);
	block_push(b->block);
	block_drain(b->block);
	assert_int_equal(test[0].outcome.result, 0);
	assert_memory_equal(test[0].data + 100, zeros, RING_BYTES - 100);
}

/* The filter is this thread's and its children's. NULL: all is well. */
static void *use_without_uring(void *opaque)
{
	struct sock_filter statements[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = { 4, statements };
	struct bench *b = opaque;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return (void *)"no filter";
	if (open_disk(b, ",io=uring") != -EPERM)
		return (void *)"it is not refused";
	if (open_disk(b, ",direct"))
		return (void *)"the disk cannot be opened";
	return strcmp(block_io_name(b->block), "threads") ? (void *)"it is not threads" : NULL;
}

/* Where the kernel refuses it, as in many containers, threads do the work. */
static void test_without_uring(void **state)
{
	struct bench *b = *state;
	pthread_t thread;
	void *wrong;

	block_close(b->block);
	b->block = NULL;
	assert_int_equal(pthread_create(&thread, NULL, use_without_uring, b), 0);
	assert_int_equal(pthread_join(thread, &wrong), 0);
	if (wrong)
		fail_msg("%s", (const char *)wrong);
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
		cmocka_unit_test_setup_teardown(test_uring, setup, teardown),
		cmocka_unit_test_setup_teardown(test_what_is_not_for_uring, setup, teardown),
		cmocka_unit_test_setup_teardown(test_without_uring, setup, teardown),
		cmocka_unit_test(test_large_reads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
