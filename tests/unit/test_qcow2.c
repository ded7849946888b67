/* SPDX-License-Identifier: MIT */
/*
 * qcow2 images: random requests beside an array of bytes, on images of all kinds that qemu-img
 * makes and that we make; qemu-img is the judge of what they become. Hostile ones:
 * test_qcow2_hostile.c.
 *
 * --operations N [--seed S]: that many on each kind of image.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "block/image.h"
#include "block/qcow2.h"
#include "disk_model.h"

static unsigned operations = 1000;
static uint64_t seed = 1;

/* ---- random requests ---- */

/* All 4K of the base hold something of their own; the rest of it are zeros. */
static void make_base(const char *path, uint64_t bytes)
{
	uint8_t data[4096];
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)bytes), 0);
	for (uint64_t at = 0; at < bytes / 2; at += sizeof(data)) {
		memset(data, (int)(at >> 12) + 1, sizeof(data));
		assert_int_equal(pwrite(fd, data, sizeof(data), (off_t)at), sizeof(data));
	}
	close(fd);
}

static void check_image(const char *path)
{
	struct qcow2_check check = { 0 };
	struct error err;

	assert_int_equal(disk_shell("qemu-img check -q -f qcow2 %s", path), 0);
	if (qcow2_check(path, false, &check, &err))
		fail_msg("%s", err.message);
	assert_int_equal(check.errors + check.leaks, 0);
}

/* What we read is what QEMU reads. */
static void compare_with_qemu(struct disk_model *model, const char *path)
{
	FILE *file = fopen("model", "w");

	assert_int_equal(fwrite(model->bytes, 1, model->size_bytes, file), model->size_bytes);
	fclose(file);
	assert_int_equal(disk_shell("qemu-img compare -q -f raw -F qcow2 model %s", path), 0);
}

static void run_model(const char *path, const char *options)
{
	struct disk_model model;

	disk_model_open(&model, options, seed * 0x9e3779b97f4a7c15ull | 1);
	disk_model_steps(&model, operations);
	disk_model_compare(&model);
	block_close(model.block);
	check_image(path);
	compare_with_qemu(&model, path);
	free(model.bytes);
}

static void test_kinds(void **state)
{
	static const char *const kinds[] = {
		"cluster_size=64k", "cluster_size=512", "cluster_size=4k,refcount_bits=1",
		"cluster_size=512,refcount_bits=64", "cluster_size=2M", "refcount_bits=2",
		"refcount_bits=4,cluster_size=1k", "refcount_bits=8", "refcount_bits=32",
		"compat=0.10", "compat=0.10,cluster_size=1k", "lazy_refcounts=on",
		"preallocation=metadata", "preallocation=falloc,cluster_size=8k",
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		assert_int_equal(disk_shell("qemu-img create -q -f qcow2 -o %s disk.qcow2 3M",
					    kinds[i]), 0);
		run_model("disk.qcow2", i & 1 ? "disk.qcow2,discard" : "disk.qcow2");
	}
}

static void test_ours(void **state)
{
	static const uint32_t clusters[] = { 512, 4096, 65536, 1 << 20 };
	struct image_creation creation = { .size_bytes = 3000 << 10, .force = true };
	struct error err;

	(void)state;
	for (unsigned i = 0; i < 8; i++) {
		creation.cluster_bytes = clusters[i % 4];
		creation.preallocate = i >= 4;
		assert_int_equal(image_create("disk.qcow2", &creation, &err), 0);
		check_image("disk.qcow2");
		run_model("disk.qcow2", "disk.qcow2,discard");
	}
}

/* The file grows beyond what its first refcount table can describe. */
static void test_reftable_grows(void **state)
{
	struct image_creation creation = {
		.size_bytes = 24 << 20, .force = true, .cluster_bytes = 512,
	};
	static uint8_t data[1 << 20];
	struct error err;
	struct block *block;

	(void)state;
	assert_int_equal(image_create("disk.qcow2", &creation, &err), 0);
	block = disk_open("disk.qcow2");
	for (unsigned i = 0; i < 24; i++) {
		memset(data, (int)i + 1, sizeof(data));
		assert_int_equal(disk_access(block, BLOCK_WRITE, 0, (uint64_t)i << 20, data,
					     sizeof(data)), 0);
	}
	block_close(block);
	check_image("disk.qcow2");
	block = disk_open("disk.qcow2");
	for (unsigned i = 0; i < 24; i++) {
		assert_int_equal(disk_access(block, BLOCK_READ, 0, (uint64_t)i << 20, data,
					     sizeof(data)), 0);
		assert_int_equal(data[12345], i + 1);
	}
	block_close(block);
}

static void test_compressed(void **state)
{
	static const char *const kinds[] = {
		"-o cluster_size=64k", "-o cluster_size=4k", "-o compat=0.10",
		"-o compression_type=zstd", "-o cluster_size=2M",
	};

	(void)state;
	make_base("base.raw", 3 << 20);
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		assert_int_equal(disk_shell("qemu-img convert -c -O qcow2 %s base.raw disk.qcow2",
					    kinds[i]), 0);
		run_model("disk.qcow2", "disk.qcow2,discard");
	}
}

/* What a snapshot holds must not change. */
static void test_snapshots(void **state)
{
	static const char *const kinds[] = { "cluster_size=64k", "cluster_size=1k",
					     "compat=0.10,cluster_size=4k" };

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct disk_model before, model;

		make_base("base.raw", 3 << 20);
		assert_int_equal(disk_shell("qemu-img convert %s -O qcow2 -o %s base.raw "
					    "disk.qcow2 && qemu-img snapshot -c first disk.qcow2",
					    i & 1 ? "-c" : "", kinds[i]), 0);
		disk_model_open(&before, "disk.qcow2,snapshot=first", 1);
		assert_true(before.block->info.readonly);
		block_close(before.block);
		run_model("disk.qcow2", "disk.qcow2,discard");
		assert_int_equal(disk_shell("qemu-img snapshot -c second disk.qcow2"), 0);
		run_model("disk.qcow2", "disk.qcow2");
		before.block = disk_open("disk.qcow2,snapshot=first");
		disk_model_compare(&before);
		disk_model_close(&before);
		/* By its ID, too. */
		disk_model_open(&model, "disk.qcow2,snapshot=2", 1);
		disk_model_close(&model);
		assert_int_equal(disk_shell("qemu-img snapshot -d first disk.qcow2"), 0);
		run_model("disk.qcow2", "disk.qcow2,discard");
	}
}

static void test_backing(void **state)
{
	static const char *const kinds[] = { "cluster_size=64k", "cluster_size=512",
					     "compat=0.10,cluster_size=4k", "cluster_size=2M" };

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		/* The file below ends within a cluster. */
		make_base("base.raw", (2 << 20) + 1024);
		assert_int_equal(disk_shell("qemu-img create -q -f qcow2 -F raw -b base.raw "
					    "middle.qcow2 2500k && qemu-img create -q -f qcow2 -o "
					    "%s -F qcow2 -b middle.qcow2 disk.qcow2 3M",
					    kinds[i]), 0);
		run_model("middle.qcow2", "middle.qcow2,backing");
		run_model("disk.qcow2", "disk.qcow2,backing,discard");
	}
}

static void test_overlay(void **state)
{
	struct stat before, after;

	(void)state;
	make_base("base.raw", 3 << 20);
	assert_int_equal(stat("base.raw", &before), 0);
	run_model("top.qcow2", "base.raw,overlay=top.qcow2,discard");
	assert_int_equal(stat("base.raw", &after), 0);
	assert_int_equal(before.st_mtim.tv_nsec, after.st_mtim.tv_nsec);
	run_model("next.qcow2", "top.qcow2,backing,overlay=next.qcow2");
}

/* Past the host's page cache, where blocks are larger. */
static void test_direct(void **state)
{
	struct block_options options = { .file = "base.raw", .direct = true };
	struct block *block;
	struct error err;

	(void)state;
	make_base("base.raw", 3 << 20);
	if (block_open(&options, &block, &err)) {
		assert_non_null(strstr(err.message, "cannot do direct I/O"));
		skip();
	}
	block_close(block);
	assert_int_equal(disk_shell("qemu-img create -q -f qcow2 -F raw -b base.raw disk.qcow2 "
				    "3076k"), 0);
	run_model("disk.qcow2", "disk.qcow2,backing,direct,discard");
	assert_int_equal(disk_shell("qemu-img convert -c -O qcow2 -o cluster_size=4k base.raw "
				    "disk.qcow2 && qemu-img snapshot -c s disk.qcow2"), 0);
	run_model("disk.qcow2", "disk.qcow2,direct");
	assert_int_equal(disk_shell("qemu-img create -q -f qcow2 -o cluster_size=2k disk.qcow2 3M"),
			 0);
	options = (struct block_options){ .file = "disk.qcow2", .direct = true };
	assert_int_equal(block_open(&options, &block, &err), -EINVAL);
	assert_non_null(strstr(err.message, "clusters are smaller"));
}

/* ---- many at once ---- */

#define THREADS 6u
#define PAGE 4096u

struct worker {
	pthread_t thread;
	struct block *block;
	uint64_t seed;
	uint8_t *bytes;
	unsigned number;
	bool failed;
};

/* Each has pages of its own, which share clusters with those of others. */
static void *work(void *opaque)
{
	struct worker *w = opaque;
	uint64_t pages = w->block->info.size_bytes / PAGE / THREADS;
	uint8_t data[PAGE];

	for (unsigned i = 0; i < 2 * operations && !w->failed; i++) {
		uint64_t page = disk_random(&w->seed) % pages * THREADS + w->number;
		uint8_t *mine = w->bytes + page * PAGE;
		unsigned dice = disk_random(&w->seed) % 100;
		int ret = 0;

		if (dice < 40) {
			memset(mine, (int)i, PAGE);
			ret = disk_access(w->block, BLOCK_WRITE, 0, page * PAGE, mine, PAGE);
		} else if (dice < 50) {
			memset(mine, 0, PAGE);
			ret = disk_access(w->block, BLOCK_WRITE_ZEROES, BLOCK_UNMAP, page * PAGE,
					  NULL, PAGE);
		} else if (dice < 53) {
			ret = disk_access(w->block, BLOCK_FLUSH, 0, 0, NULL, 0);
		} else {
			ret = disk_access(w->block, BLOCK_READ, 0, page * PAGE, data, PAGE);
			if (memcmp(data, mine, PAGE))
				ret = -EILSEQ;
		}
		w->failed = ret;
	}
	return NULL;
}

static void run_threads(const char *options)
{
	struct worker workers[THREADS];
	struct disk_model model;

	disk_model_open(&model, options, seed);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .block = model.block, .seed = seed + i * 77 + 1,
					      .bytes = model.bytes, .number = i };
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(workers[i].thread, NULL);
		assert_false(workers[i].failed);
	}
	disk_model_compare(&model);
	disk_model_close(&model);
}

static void test_threads(void **state)
{
	(void)state;
	assert_int_equal(disk_shell("qemu-img create -q -f qcow2 disk.qcow2 3M"), 0);
	run_threads("disk.qcow2,discard");
	check_image("disk.qcow2");
	make_base("base.raw", 3 << 20);
	assert_int_equal(disk_shell("qemu-img convert -c -O qcow2 base.raw disk.qcow2 && "
				    "qemu-img snapshot -c s disk.qcow2"), 0);
	run_threads("disk.qcow2,discard");
	check_image("disk.qcow2");
	assert_int_equal(disk_shell("qemu-img create -q -f qcow2 -o cluster_size=512 disk.qcow2 "
				    "3M"), 0);
	run_threads("disk.qcow2,discard");
	check_image("disk.qcow2");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kinds),
		cmocka_unit_test(test_ours),
		cmocka_unit_test(test_reftable_grows),
		cmocka_unit_test(test_compressed),
		cmocka_unit_test(test_snapshots),
		cmocka_unit_test(test_backing),
		cmocka_unit_test(test_overlay),
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_threads),
	};

	for (int i = 1; i + 1 < argc; i += 2) {
		if (!strcmp(argv[i], "--operations"))
			operations = (unsigned)strtoul(argv[i + 1], NULL, 0);
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[i + 1], NULL, 0);
	}
	return cmocka_run_group_tests(tests, disk_directory_enter, disk_directory_leave);
}
