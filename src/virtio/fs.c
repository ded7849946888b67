/* SPDX-License-Identifier: MIT */
/*
 * The file system device: see fs.h. What a look at the host's caches answers is answered at once, on
 * the CPU's own thread: no thread can be woken as fast. What moves data or waits for a disk goes to
 * threads of the device; what they have answered is given back on the loop's thread.
 */
#include "virtio/fs.h"

#include <errno.h>
#include <linux/virtio_fs.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "mem/window.h"
#include "virtio/pool.h"

/* Linux asks for no more pages at once than this, less a few: so that all of FUSE's 256 may be. */
#define QUEUE_SIZE 512
#define QUEUES 2 /* forgetting, and all else */

_Static_assert(sizeof(((struct virtio_fs_config *)0)->tag) == VIRTIO_FS_TAG_BYTES, "a tag's size");

struct virtio_fs {
	struct virtio_device virtio; /* must be first */
	struct virtio_fs_config config;
	struct fuse *fuse;
	struct virtio_pool *pool;
	struct fuse_window window; /* of virtio.window */
};

/* ---- the window ---- */

static bool is_in_window(const struct virtio_fs *fs, uint64_t at, uint64_t size)
{
	const uint64_t bytes = fs->virtio.window.bytes;

	return size && !((at | size) & ((1ull << FUSE_WINDOW_SHIFT) - 1)) && size <= bytes &&
	       at <= bytes - size;
}

/* Code that was made of what was there is stale. */
static int window_map(void *opaque, uint64_t at, uint64_t size, int fd, uint64_t offset, bool shared)
{
	const struct virtio_fs *fs = opaque;
	const struct dma *dma = &fs->virtio.env->dma;
	const uint64_t gpa = fs->virtio.window.gpa + at;
	int ret = is_in_window(fs, at, size) ?
			  mem_window_map(dma->mem, gpa, size, fd, offset, shared) : -EINVAL;

	if (!ret)
		dma_wrote(dma, gpa, size);
	return -ret;
}

static int window_unmap(void *opaque, uint64_t at, uint64_t size)
{
	const struct virtio_fs *fs = opaque;
	const struct dma *dma = &fs->virtio.env->dma;
	const uint64_t gpa = fs->virtio.window.gpa + at;
	int ret = is_in_window(fs, at, size) ? mem_window_unmap(dma->mem, gpa, size) : -EINVAL;

	if (!ret)
		dma_wrote(dma, gpa, size);
	return -ret;
}

static void window_clear(void *opaque)
{
	const struct virtio_fs *fs = opaque;

	window_unmap(opaque, 0, fs->virtio.window.bytes);
}

/* ---- requests ---- */

static size_t answer(void *opaque, const struct virtio_chain *chain)
{
	struct virtio_fs *fs = opaque;

	return fuse_serve(fs->fuse, chain->out, chain->out_count, chain->in, chain->in_count);
}

static void fs_handle(struct virtio_device *dev, struct virtio_queue *queue)
{
	struct virtio_fs *fs = (struct virtio_fs *)dev;
	struct virtio_chain *chain;

	while ((chain = virtio_queue_pop(queue))) {
		size_t size = fuse_serve_now(fs->fuse, chain->out, chain->out_count, chain->in,
					     chain->in_count);

		if (size == TREE_LATER) {
			virtio_pool_submit(fs->pool, queue, chain, 0);
			continue;
		}
		virtio_queue_push(queue, chain, size);
		virtio_queue_notify(queue);
	}
}

static bool fs_quiesce(struct virtio_device *dev)
{
	return virtio_pool_quiesce(((struct virtio_fs *)dev)->pool);
}

static void fs_stop(struct virtio_device *dev)
{
	struct virtio_fs *fs = (struct virtio_fs *)dev;

	virtio_pool_stop(fs->pool);
	fuse_reset(fs->fuse);
}

static void fs_destroy(struct virtio_device *dev)
{
	struct virtio_fs *fs = (struct virtio_fs *)dev;

	virtio_pool_destroy(fs->pool);
	fuse_destroy(fs->fuse);
	virtio_device_release(dev);
	free(fs);
}

static const struct virtio_class fs_class = {
	.name = "virtio-fs",
	.id = VIRTIO_ID_FS,
	.pci_class = 0x018000, /* mass storage, other */
	.handle = fs_handle,
	.quiesce = fs_quiesce,
	.stop = fs_stop,
	.destroy = fs_destroy,
};

static int create_server(struct virtio_fs *fs, const struct fuse_config *given, struct error *err)
{
	struct fuse_config config = *given;

	fs->window = (struct fuse_window){ .map = window_map, .unmap = window_unmap,
					   .clear = window_clear, .opaque = fs };
	if (fs->virtio.window.bytes)
		config.window = &fs->window;
	return fuse_create(&fs->fuse, &config, err);
}

int virtio_fs_create(const struct device_env *env, const struct virtio_fs_config_host *config,
		     struct virtio_device **dev, struct error *err)
{
	struct virtio_fs *fs;
	const size_t length = strlen(config->tag);
	int ret;

	if (!length || length > VIRTIO_FS_TAG_BYTES)
		return error_set(err, EINVAL, "a share's tag has 1 to %u bytes, not '%s'",
				 VIRTIO_FS_TAG_BYTES, config->tag);
	fs = calloc(1, sizeof(*fs));
	if (!fs)
		return error_set(err, ENOMEM, "no memory for virtio-fs");
	memcpy(fs->config.tag, config->tag, length);
	fs->config.num_request_queues = QUEUES - 1;
	ret = virtio_device_init(&fs->virtio,
				 &(struct virtio_setup){ .class = &fs_class, .env = env,
							 .config = &fs->config,
							 .config_bytes = sizeof(fs->config),
							 .queue_count = QUEUES,
							 .queue_size = QUEUE_SIZE,
							 .window = config->window },
				 err);
	if (!ret)
		ret = create_server(fs, &config->fuse, err);
	if (!ret)
		ret = virtio_pool_create(&fs->pool, &fs->virtio, "virtio-fs", answer, fs, err);
	if (ret) {
		fs_destroy(&fs->virtio);
		return ret;
	}
	*dev = &fs->virtio;
	return 0;
}
