/* SPDX-License-Identifier: MIT */
/*
 * The 9P transport: see p9.h. As with the file system device, what needs no waiting is answered on the
 * CPU's own thread, all else by threads.
 */
#include "virtio/p9.h"

#include <errno.h>
#include <linux/virtio_9p.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "fs/p9.h"
#include "virtio/pool.h"

#define QUEUE_SIZE 256

struct virtio_p9 {
	struct virtio_device virtio; /* must be first */
	struct {
		uint16_t tag_len;
		char tag[VIRTIO_P9_TAG_BYTES];
	} __attribute__((packed)) config; /* struct virtio_9p_config */
	struct p9 *p9;
	struct virtio_pool *pool;
};

static size_t answer(void *opaque, const struct virtio_chain *chain)
{
	struct virtio_p9 *dev = opaque;

	return p9_serve(dev->p9, chain->out, chain->out_count, chain->in, chain->in_count);
}

static void handle_request(struct virtio_p9 *dev, struct virtio_queue *queue,
			   struct virtio_chain *chain)
{
	struct p9_request request = p9_peek(chain->out, chain->out_count);
	size_t size;

	if (request.is_flush) {
		virtio_pool_answer_after(dev->pool, request.flushes, queue, chain);
		return;
	}
	size = p9_serve_now(dev->p9, chain->out, chain->out_count, chain->in, chain->in_count);
	if (size == TREE_LATER) {
		virtio_pool_submit(dev->pool, queue, chain, request.tag);
		return;
	}
	virtio_queue_push(queue, chain, size);
	virtio_queue_notify(queue);
}

static void p9_handle(struct virtio_device *virtio, struct virtio_queue *queue)
{
	struct virtio_chain *chain;

	while ((chain = virtio_queue_pop(queue)))
		handle_request((struct virtio_p9 *)virtio, queue, chain);
}

static bool p9_quiesce(struct virtio_device *virtio)
{
	return virtio_pool_quiesce(((struct virtio_p9 *)virtio)->pool);
}

static void p9_stop(struct virtio_device *virtio)
{
	struct virtio_p9 *dev = (struct virtio_p9 *)virtio;

	virtio_pool_stop(dev->pool);
	p9_reset(dev->p9);
}

static void p9_free(struct virtio_device *virtio)
{
	struct virtio_p9 *dev = (struct virtio_p9 *)virtio;

	virtio_pool_destroy(dev->pool);
	p9_destroy(dev->p9);
	virtio_device_release(virtio);
	free(dev);
}

static const struct virtio_class p9_class = {
	.name = "virtio-9p",
	.id = VIRTIO_ID_9P,
	.pci_class = 0x018000, /* mass storage, other */
	.handle = p9_handle,
	.quiesce = p9_quiesce,
	.stop = p9_stop,
	.destroy = p9_free,
};

int virtio_p9_create(const struct device_env *env, const struct virtio_p9_config_host *config,
		     struct virtio_device **out, struct error *err)
{
	const size_t length = strlen(config->tag);
	struct virtio_p9 *dev;
	struct virtio_setup setup = { .class = &p9_class, .env = env,
				      .features = 1ull << VIRTIO_9P_MOUNT_TAG, .queue_count = 1,
				      .queue_size = QUEUE_SIZE };
	int ret;

	if (!length || length > VIRTIO_P9_TAG_BYTES)
		return error_set(err, EINVAL, "a share's tag has 1 to %u bytes, not '%s'",
				 VIRTIO_P9_TAG_BYTES, config->tag);
	dev = calloc(1, sizeof(*dev));
	if (!dev)
		return error_set(err, ENOMEM, "no memory for virtio-9p");
	dev->config.tag_len = (uint16_t)length;
	memcpy(dev->config.tag, config->tag, length);
	setup.config = &dev->config;
	setup.config_bytes = sizeof(dev->config.tag_len) + length;
	ret = virtio_device_init(&dev->virtio, &setup, err);
	if (!ret)
		ret = p9_create(&dev->p9, &config->tree, err);
	if (!ret)
		ret = virtio_pool_create(&dev->pool, &dev->virtio, "virtio-9p", answer, dev, err);
	if (ret) {
		p9_free(&dev->virtio);
		return ret;
	}
	*out = &dev->virtio;
	return 0;
}
