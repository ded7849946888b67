/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: an input is an image. It is looked at, checked, read, written to and repaired. What
 * requests are made follows from the input's bytes. If a check finds no errors, the image has to
 * hold what is written to it, and no check behind that may find any.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "block/block.h"
#include "block/qcow2.h"
#include "input.h"

#define REQUESTS 24
#define REQUEST_BYTES (48u << 10)
#define NEAR_BYTES (4ull << 20) /* most requests are not farther from the disk's begin */

static void require(bool condition)
{
	if (!condition)
		abort();
}

/* ---- the file ---- */

struct image {
	char path[32];
	int fd;
	uint64_t seed;
};

static uint64_t next(struct image *image)
{
	image->seed ^= image->seed << 13;
	image->seed ^= image->seed >> 7;
	image->seed ^= image->seed << 17;
	return image->seed * 0x2545f4914f6cdd1dull;
}

static void make(struct image *image, const uint8_t *data, size_t size)
{
	image->fd = memfd_create("image", MFD_CLOEXEC);
	require(image->fd >= 0 && write(image->fd, data, size) == (ssize_t)size);
	snprintf(image->path, sizeof(image->path), "/proc/self/fd/%d", image->fd);
	image->seed = 0xcbf29ce484222325ull;
	for (size_t i = 0; i < size; i++)
		image->seed = (image->seed ^ data[i]) * 0x100000001b3ull;
	image->seed |= 1;
}

/* ---- requests ---- */

static int perform(struct block *block, enum block_op op, uint64_t offset, void *data,
		   uint64_t length)
{
	const struct iovec iov = { data, length };
	const struct block_request request = {
		.op = op, .flags = op == BLOCK_WRITE_ZEROES && offset & 512 ? BLOCK_UNMAP : 0,
		.offset = offset, .length = length, .iov = data ? &iov : NULL,
		.iov_count = data ? 1 : 0,
	};

	return block_perform(block, &request);
}

static void one_request(struct image *image, struct block *block, bool sound)
{
	static uint8_t data[REQUEST_BYTES], back[REQUEST_BYTES];
	uint64_t size = block->info.size_bytes, near = next(image) % 8 ? NEAR_BYTES : size;
	uint64_t offset = next(image) % (near < size ? near : size) & ~511ull;
	uint64_t length = next(image) % REQUEST_BYTES & ~511ull;
	int ret;

	if (length > size - offset)
		length = size - offset;
	switch (block->info.readonly ? 0 : next(image) % 6) {
	case 0:
		perform(block, BLOCK_READ, offset, back, length);
		break;
	case 1:
		perform(block, BLOCK_FLUSH, 0, NULL, 0);
		break;
	case 2:
		ret = perform(block, BLOCK_WRITE_ZEROES, offset, NULL, length);
		if (ret || !sound)
			break;
		memset(data, 0, length);
		require(!perform(block, BLOCK_READ, offset, back, length));
		require(!memcmp(data, back, length));
		break;
	case 3:
		perform(block, BLOCK_DISCARD, offset, NULL, length);
		break;
	default:
		memset(data, (int)next(image), length);
		ret = perform(block, BLOCK_WRITE, offset, data, length);
		if (ret || !sound)
			break;
		require(!perform(block, BLOCK_READ, offset, back, length));
		require(!memcmp(data, back, length));
	}
}

static void use(struct image *image, bool readonly, const char *snapshot, bool sound)
{
	const struct block_options options = {
		.file = image->path, .readonly = readonly, .snapshot = snapshot,
		.discard = next(image) & 1, .no_backing = true,
	};
	struct block *block;

	if (qcow2_open(&options, &block, NULL))
		return;
	for (unsigned i = 0; i < REQUESTS && block->info.size_bytes; i++)
		one_request(image, block, sound);
	block_close(block);
}

/* ---- tools ---- */

static bool check(struct image *image, bool repair)
{
	struct qcow2_check result = { 0 };

	return !qcow2_check(image->path, repair, &result, NULL) &&
	       result.errors == result.harmless && !result.was_corrupt;
}

static void look(struct image *image)
{
	struct qcow2_info info;

	if (qcow2_info_read(image->path, &info, NULL))
		return;
	for (uint32_t i = 0; i < info.snapshot_count && i < 3; i++)
		use(image, true, info.snapshots[i].name, false);
	qcow2_info_release(&info);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image image;
	bool sound;

	/* What is said about each broken image is of no interest. */
	if (fileno(stderr) == STDERR_FILENO)
		stderr = fopen("/dev/null", "w");
	make(&image, data, size);
	look(&image);
	sound = check(&image, false);
	use(&image, true, NULL, false);
	use(&image, false, NULL, sound);
	require(!sound || check(&image, false));
	if (check(&image, true)) {
		use(&image, false, NULL, true);
		require(check(&image, false));
	}
	close(image.fd);
	return 0;
}
