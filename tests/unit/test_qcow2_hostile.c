/* SPDX-License-Identifier: MIT */
/* qcow2 images whose tables lie. What fuzzing found out for good is here by name. */
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "block/image.h"
#include "block/qcow2.h"
#include "block/qcow2_format.h"
#include "disk_model.h"

#define CLUSTER 4096u
#define DISK_BYTES (4u << 20)

/* Where image_create puts them. */
#define REFTABLE (1 * CLUSTER)
#define REFBLOCK (2 * CLUSTER)
#define L1 (3 * CLUSTER)

#define FIELD(name) offsetof(struct qcow2_disk_header, name)

struct liar {
	char path[40];
	uint64_t l2, data; /* of the guest's first cluster, in the file */
};

static void poke(const struct liar *liar, uint64_t offset, uint64_t value, unsigned bytes)
{
	uint64_t big = htobe64(value << (64 - 8 * bytes));
	int fd = open(liar->path, O_WRONLY);

	assert_int_equal(pwrite(fd, &big, bytes, (off_t)offset), bytes);
	close(fd);
}

static uint64_t peek(const struct liar *liar, uint64_t offset)
{
	int fd = open(liar->path, O_RDONLY);
	uint64_t value;

	assert_int_equal(pread(fd, &value, sizeof(value), (off_t)offset), sizeof(value));
	close(fd);
	return be64toh(value);
}

/* An image whose first two clusters are written. */
static int setup(void **state)
{
	const struct image_creation creation = {
		.format = "qcow2", .size_bytes = DISK_BYTES, .cluster_bytes = CLUSTER,
		.force = true,
	};
	struct liar *liar = calloc(1, sizeof(*liar));
	uint8_t data[2 * CLUSTER];
	struct block *block;
	char options[64];

	strcpy(liar->path, "/tmp/ringlet-test.XXXXXX");
	close(mkstemp(liar->path));
	assert_int_equal(image_create(liar->path, &creation, NULL), 0);
	snprintf(options, sizeof(options), "%s,format=qcow2", liar->path);
	block = disk_open(options);
	memset(data, 'x', sizeof(data));
	assert_int_equal(disk_access(block, BLOCK_WRITE, 0, 0, data, sizeof(data)), 0);
	block_close(block);
	liar->l2 = peek(liar, L1) & QCOW2_OFFSET;
	liar->data = peek(liar, liar->l2) & QCOW2_OFFSET;
	*state = liar;
	return 0;
}

static int teardown(void **state)
{
	struct liar *liar = *state;

	unlink(liar->path);
	free(liar);
	return 0;
}

static int open_liar(const struct liar *liar, bool readonly, struct block **block,
		     struct error *err)
{
	const struct block_options options = {
		.file = liar->path, .format = "qcow2", .readonly = readonly,
	};

	return block_open(&options, block, err);
}

/* part: of what is said. */
static void refused(const struct liar *liar, bool readonly, const char *part)
{
	struct block *block;
	struct error err;

	if (!open_liar(liar, readonly, &block, &err))
		fail_msg("opened; expected: %s", part);
	if (!strstr(err.message, part))
		fail_msg("'%s' does not say '%s'", err.message, part);
}

static struct block *opened(const struct liar *liar, bool readonly)
{
	struct block *block;
	struct error err;

	if (open_liar(liar, readonly, &block, &err))
		fail_msg("%s", err.message);
	return block;
}

static int write_at(struct block *block, uint64_t offset)
{
	uint8_t data[512] = { 'y' };

	return disk_access(block, BLOCK_WRITE, 0, offset, data, sizeof(data));
}

static int read_at(struct block *block, uint64_t offset)
{
	uint8_t data[512];

	return disk_access(block, BLOCK_READ, 0, offset, data, sizeof(data));
}

static uint64_t errors_of(const struct liar *liar)
{
	struct qcow2_check check = { 0 };

	assert_int_equal(qcow2_check(liar->path, false, &check, NULL), 0);
	return check.errors;
}

/* ---- headers ---- */

static void test_headers(void **state)
{
	static const struct {
		uint64_t offset, value;
		unsigned bytes;
		const char *part;
	} lies[] = {
		{ FIELD(magic), 0x514649fa, 4, "is no qcow2 image" },
		{ FIELD(version), 4, 4, "version 4" },
		{ FIELD(cluster_bits), 8, 4, "clusters of 2^8" },
		{ FIELD(cluster_bits), 64, 4, "clusters of 2^64" },
		{ FIELD(encryption), 1, 4, "encrypted" },
		{ FIELD(size_bytes), ~0ull, 8, "too large" },
		{ FIELD(size_bytes), 1ull << 40, 8, "L1 table is too small" },
		{ FIELD(l1_entries), 0xffffffff, 4, "larger than 32 MiB" },
		{ FIELD(l1_entries), 0, 4, "L1 table is too small" },
		{ FIELD(l1_offset), L1 + 8, 8, "L1 table's place" },
		{ FIELD(l1_offset), 0, 8, "L1 table's place" },
		{ FIELD(l1_offset), 1ull << 63, 8, "L1 table's place" },
		{ FIELD(reftable_offset), REFTABLE + 512, 8, "refcount table's" },
		{ FIELD(reftable_clusters), 0, 4, "refcount table's" },
		{ FIELD(reftable_clusters), 0xffffffff, 4, "refcount table's" },
		{ FIELD(snapshots), 0xffffffff, 4, "number of snapshots" },
		{ FIELD(refcount_order), 7, 4, "more than 64 bits" },
		{ FIELD(header_bytes), 0xfffffff8, 4, "header's length" },
		{ FIELD(header_bytes), 8, 4, "header's length" },
		{ FIELD(incompatible), 1ull << 40, 8, "bit 40" },
		{ FIELD(incompatible), 1ull << 2, 8, "external data file" },
		{ FIELD(incompatible), 1ull << 3, 8, "contradicts itself about compression" },
		{ FIELD(compression), 1, 1, "contradicts itself about compression" },
		{ FIELD(backing_offset), CLUSTER + 1, 8, "not in the first cluster" },
	};
	const struct liar *liar = *state;

	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		unsigned shift = 64 - 8 * lies[i].bytes;
		uint64_t truth = peek(liar, lies[i].offset) >> shift;

		poke(liar, lies[i].offset, lies[i].value, lies[i].bytes);
		refused(liar, true, lies[i].part);
		poke(liar, lies[i].offset, truth, lies[i].bytes);
	}
	block_close(opened(liar, false));
	/* What is too long for the cluster. */
	poke(liar, FIELD(backing_offset), CLUSTER - 4, 8);
	poke(liar, FIELD(backing_bytes), 8, 4);
	refused(liar, true, "backing file's name");
}

static void test_header_extensions(void **state)
{
	const struct liar *liar = *state;

	uint64_t at = sizeof(struct qcow2_disk_header);

	poke(liar, at, QCOW2_EXTENSION_BACKING_FORMAT, 4);
	poke(liar, at + 4, 0xfffffff8, 4);
	refused(liar, true, "extension is too long");
	poke(liar, at + 4, CLUSTER - at - 8, 4);
	block_close(opened(liar, true));
}

/* ---- tables ---- */

/* A table that lies on another one is found before anything is written. */
static void test_tables_overlap(void **state)
{
	const struct liar *liar = *state;
	static const uint64_t places[] = { 0, REFTABLE, REFBLOCK, L1 };

	for (unsigned i = 1; i < 4; i++) {
		poke(liar, L1, places[i] | QCOW2_COPIED, 8);
		refused(liar, false, "tables overlap");
		assert_true(errors_of(liar) > 0);
		poke(liar, L1, liar->l2 | QCOW2_COPIED, 8);
	}
	/* Two entries, one table. */
	poke(liar, L1 + 8, liar->l2 | QCOW2_COPIED, 8);
	refused(liar, false, "tables overlap");
	assert_true(errors_of(liar) > 0);
	block_close(opened(liar, true));
	poke(liar, L1 + 8, 0, 8);
	poke(liar, REFTABLE, L1, 8);
	refused(liar, false, "tables overlap");
	poke(liar, REFTABLE, REFBLOCK + 512, 8);
	refused(liar, false, "tables overlap");
}

/* A guest's cluster that is one with metadata is read, but never written. */
static void test_data_on_metadata(void **state)
{
	const struct liar *liar = *state;
	const uint64_t places[] = { REFTABLE, REFBLOCK, L1, liar->l2 };

	for (unsigned i = 0; i < 4; i++) {
		struct block *block;

		poke(liar, liar->l2, places[i] | QCOW2_COPIED, 8);
		poke(liar, FIELD(incompatible), 0, 8);
		block = opened(liar, false);
		assert_int_equal(read_at(block, 0), 0);
		assert_int_equal(write_at(block, 0), -EIO);
		/* Nor is anything else. */
		assert_int_equal(write_at(block, CLUSTER), -EIO);
		assert_int_equal(disk_access(block, BLOCK_DISCARD, 0, 0, NULL, DISK_BYTES), 0);
		assert_int_equal(disk_access(block, BLOCK_WRITE_ZEROES, 0, 0, NULL, DISK_BYTES),
				 -EIO);
		assert_int_equal(disk_access(block, BLOCK_FLUSH, 0, 0, NULL, 0), -EIO);
		block_close(block);
		assert_int_equal(peek(liar, FIELD(incompatible)), QCOW2_INCOMPATIBLE_CORRUPT);
		refused(liar, false, "marked as corrupt");
		block_close(opened(liar, true));
	}
}

/* The same by way of a zero cluster that keeps its place. */
static void test_zeros_on_metadata(void **state)
{
	const struct liar *liar = *state;
	struct block *block;

	poke(liar, liar->l2, L1 | QCOW2_COPIED | QCOW2_ZERO, 8);
	block = opened(liar, false);
	assert_int_equal(write_at(block, 0), -EIO);
	block_close(block);
	assert_int_equal(peek(liar, L1) & QCOW2_OFFSET, liar->l2);
}

static void test_clusters_nowhere(void **state)
{
	const struct liar *liar = *state;
	struct block *block;
	uint8_t data[512];

	/* In no cluster's place: an error; behind the file's end: zeros. */
	poke(liar, liar->l2, (liar->data + 512) | QCOW2_COPIED, 8);
	poke(liar, liar->l2 + 8, (QCOW2_OFFSET & ~(CLUSTER - 1ull)) | QCOW2_COPIED, 8);
	assert_true(errors_of(liar) >= 2);
	block = opened(liar, true);
	assert_int_equal(read_at(block, 0), -EIO);
	assert_int_equal(disk_access(block, BLOCK_READ, 0, CLUSTER, data, sizeof(data)), 0);
	assert_int_equal(data[0], 0);
	block_close(block);
	/* The same of an L2 table. */
	poke(liar, L1, (liar->l2 + 512) | QCOW2_COPIED, 8);
	refused(liar, false, "tables overlap");
	block = opened(liar, true);
	assert_int_equal(read_at(block, 0), -EIO);
	block_close(block);
}

/* What is compressed, and is not. */
static void test_compressed_rubbish(void **state)
{
	const struct liar *liar = *state;
	uint64_t entries[] = {
		QCOW2_COMPRESSED | liar->data, QCOW2_COMPRESSED | (~0ull >> 2),
		QCOW2_COMPRESSED | QCOW2_COPIED | (~0ull >> 8), QCOW2_COMPRESSED,
	};

	for (unsigned i = 0; i < 4; i++) {
		struct block *block;

		poke(liar, liar->l2, entries[i], 8);
		poke(liar, FIELD(incompatible), 0, 8);
		block = opened(liar, false);
		assert_int_equal(read_at(block, 0), -EIO);
		assert_int_equal(write_at(block, 0), -EIO);
		assert_int_equal(write_at(block, CLUSTER), 0);
		block_close(block);
	}
}

/* Metadata counts as free: it is not taken. */
static void test_metadata_counts_as_free(void **state)
{
	const struct liar *liar = *state;
	struct block *block;
	int ret = 0;

	for (unsigned i = 0; i < 8; i++)
		poke(liar, REFBLOCK + 2 * i, 0, 2);
	assert_true(errors_of(liar) > 0);
	block = opened(liar, false);
	for (unsigned i = 2; i < 20 && !ret; i++)
		ret = write_at(block, i * CLUSTER);
	assert_int_equal(ret, -EIO);
	block_close(block);
	assert_int_equal(peek(liar, L1) & QCOW2_OFFSET, liar->l2);
}

static void test_repair(void **state)
{
	const struct liar *liar = *state;
	struct qcow2_check check = { 0 };
	struct block *block;

	for (unsigned i = 0; i < 8; i++)
		poke(liar, REFBLOCK + 2 * i, 0, 2);
	assert_int_equal(qcow2_check(liar->path, true, &check, NULL), 0);
	assert_int_equal(check.errors + check.leaks, 0);
	assert_true(check.repaired >= 6);
	block = opened(liar, false);
	for (unsigned i = 2; i < 20; i++)
		assert_int_equal(write_at(block, i * CLUSTER), 0);
	block_close(block);
	assert_int_equal(errors_of(liar), 0);
	/* References that are damaged are none of what can be repaired. */
	poke(liar, liar->l2, liar->data + 512, 8);
	assert_int_equal(qcow2_check(liar->path, true, &check, NULL), -EINVAL);
}

static void test_snapshot_table(void **state)
{
	const struct liar *liar = *state;
	struct qcow2_disk_snapshot *snapshot = NULL;
	struct qcow2_info info;

	poke(liar, FIELD(snapshots), 1, 4);
	poke(liar, FIELD(snapshots_offset), liar->data, 8);
	/* 'x' everywhere: names and extra data of any length. */
	assert_int_equal(qcow2_info_read(liar->path, &info, NULL), -EINVAL);
	refused(liar, false, "snapshots is damaged");
	/* An L1 table that is none. */
	for (unsigned i = 0; i < sizeof(*snapshot); i += 8)
		poke(liar, liar->data + i, 0, 8);
	poke(liar, liar->data, 513, 8);
	assert_int_equal(qcow2_info_read(liar->path, &info, NULL), 0);
	assert_int_equal(info.snapshot_count, 1);
	qcow2_info_release(&info);
	assert_true(errors_of(liar) > 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_headers),
		TEST(test_header_extensions),
		TEST(test_tables_overlap),
		TEST(test_data_on_metadata),
		TEST(test_zeros_on_metadata),
		TEST(test_clusters_nowhere),
		TEST(test_compressed_rubbish),
		TEST(test_metadata_counts_as_free),
		TEST(test_repair),
		TEST(test_snapshot_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
