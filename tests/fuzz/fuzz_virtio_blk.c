/* SPDX-License-Identifier: MIT */
/* Fuzz target: the block device on a small disk in memory. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "block/block.h"
#include "virtio/blk.h"
#include "virtio_target.h"

#define DISK_BYTES (256u << 10)

static struct block *disk;

/* What was submitted gets done. */
static void more(struct device_target *target, struct fuzz_input *input)
{
	(void)target, (void)input;
	block_drain(disk);
}

static struct block *open_disk(void)
{
	struct block_options options = { .discard = true };
	struct block *block;
	char path[32];
	int fd = memfd_create("disk", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, DISK_BYTES))
		abort();
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	options.file = path;
	if (block_open(&options, &block, NULL))
		abort();
	close(fd);
	return block;
}

static void setup(struct device_target *target)
{
	struct virtio_blk_options options = { .serial = "fuzz", .file = "disk", .queues = 2 };
	struct virtio_device *virtio;

	virtio_target_open(target, more);
	options.block = disk = open_disk();
	if (virtio_blk_create(&target->env, &options, &virtio, NULL))
		abort();
	virtio_target_plug(target, virtio);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
