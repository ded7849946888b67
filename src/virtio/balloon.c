/* SPDX-License-Identifier: MIT */
/*
 * The memory balloon: see balloon.h. Queues: inflate, deflate, then statistics and free page
 * reporting as far as the driver takes them (a queue that is not wanted leaves no gap). Memory that
 * is given away reads as zeros when the guest takes it back, so code made from it is stale.
 */
#include "virtio/balloon.h"

#include <errno.h>
#include <linux/virtio_balloon.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"

#define QUEUES 4
#define QUEUE_SIZE 128
#define QUEUE_INFLATE 0
#define QUEUE_DEFLATE 1
#define QUEUE_STATS 2
#define PAGE_BYTES (1u << VIRTIO_BALLOON_PFN_SHIFT)
#define STATS_MAX (sizeof(((struct virtio_balloon_figures *)0)->stat) / sizeof(uint64_t))

struct balloon {
	struct virtio_device virtio; /* must be first */
	struct virtio_balloon_config config;
	uint64_t stat[STATS_MAX];
	struct virtio_chain *stats; /* held until newer figures are wanted */
};

/* ---- pages ---- */

/* Pages that follow each other are given back together. */
static void inflate(struct balloon *balloon, const struct virtio_chain *chain)
{
	uint64_t first = 0, count = 0;
	uint32_t pfn;

	for (size_t at = 0; virtio_chain_read(chain, at, &pfn, sizeof(pfn)) == sizeof(pfn);
	     at += sizeof(pfn)) {
		if (count && pfn == first + count) {
			count++;
			continue;
		}
		dma_discard(&balloon->virtio.env->dma, first * PAGE_BYTES, count * PAGE_BYTES);
		first = pfn;
		count = 1;
	}
	dma_discard(&balloon->virtio.env->dma, first * PAGE_BYTES, count * PAGE_BYTES);
}

/* Free pages are the buffers themselves; push tells that they have changed. */
static size_t take_free(struct balloon *balloon, const struct virtio_chain *chain)
{
	for (unsigned i = 0; i < chain->in_count; i++)
		dma_discard(&balloon->virtio.env->dma, virtio_chain_in_gpa(chain, i),
			    chain->in[i].iov_len);
	return chain->in_bytes;
}

/* ---- statistics ---- */

static void forget_stats(struct balloon *balloon)
{
	for (unsigned i = 0; i < STATS_MAX; i++)
		balloon->stat[i] = UINT64_MAX;
}

static void read_stats(struct balloon *balloon, const struct virtio_chain *chain)
{
	struct virtio_balloon_stat stat;

	for (size_t at = 0; at < STATS_MAX * sizeof(stat) &&
			    virtio_chain_read(chain, at, &stat, sizeof(stat)) == sizeof(stat);
	     at += sizeof(stat))
		if (stat.tag < STATS_MAX)
			balloon->stat[stat.tag] = stat.val;
}

/* The driver gives one chain, and gets it back when newer figures are wanted. */
static void take_stats(struct balloon *balloon, struct virtio_queue *queue)
{
	struct virtio_chain *chain;

	while ((chain = virtio_queue_pop(queue))) {
		read_stats(balloon, chain);
		if (balloon->stats)
			virtio_queue_push(queue, balloon->stats, 0);
		balloon->stats = chain;
	}
	virtio_queue_notify(queue);
}

/* ---- the device ---- */

static void take_pages(struct balloon *balloon, struct virtio_queue *queue)
{
	unsigned index = virtio_queue_index(queue);
	struct virtio_chain *chain;

	while ((chain = virtio_queue_pop(queue))) {
		size_t written = 0;

		if (index == QUEUE_INFLATE)
			inflate(balloon, chain);
		else if (index != QUEUE_DEFLATE)
			written = take_free(balloon, chain);
		virtio_queue_push(queue, chain, written);
	}
	virtio_queue_notify(queue);
}

static void balloon_handle(struct virtio_device *dev, struct virtio_queue *queue)
{
	struct balloon *balloon = (struct balloon *)dev;
	bool stats = virtio_has(dev, VIRTIO_BALLOON_F_STATS_VQ);
	bool reporting = virtio_has(dev, VIRTIO_BALLOON_F_REPORTING);
	unsigned index = virtio_queue_index(queue);

	if (stats && index == QUEUE_STATS)
		take_stats(balloon, queue);
	else if (index <= QUEUE_DEFLATE || (reporting && index == QUEUE_STATS + (unsigned)stats))
		take_pages(balloon, queue);
}

static void balloon_stop(struct virtio_device *dev)
{
	struct balloon *balloon = (struct balloon *)dev;

	if (balloon->stats)
		virtio_chain_drop(virtio_queue(dev, QUEUE_STATS), balloon->stats);
	balloon->stats = NULL;
	balloon->config.actual = 0;
	forget_stats(balloon);
}

static void balloon_config_write(struct virtio_device *dev, unsigned offset, unsigned size,
				 uint32_t value)
{
	struct balloon *balloon = (struct balloon *)dev;

	if (offset == offsetof(struct virtio_balloon_config, actual) && size == 4)
		balloon->config.actual = value;
}

static void balloon_describe(const struct virtio_device *dev, struct json *json)
{
	const struct balloon *balloon = (const struct balloon *)dev;

	json_uint(json, "target_bytes", (uint64_t)balloon->config.num_pages * PAGE_BYTES);
}

static void balloon_destroy(struct virtio_device *dev)
{
	virtio_device_release(dev);
	free(dev);
}

static const struct virtio_class balloon_class = {
	.name = "virtio-balloon",
	.id = VIRTIO_ID_BALLOON,
	.pci_class = 0x00ff00,
	.handle = balloon_handle,
	.stop = balloon_stop,
	.config_write = balloon_config_write,
	.describe = balloon_describe,
	.destroy = balloon_destroy,
};

static uint32_t pages_of(uint64_t bytes)
{
	uint64_t pages = bytes / PAGE_BYTES;

	return pages < UINT32_MAX ? (uint32_t)pages : UINT32_MAX;
}

void virtio_balloon_set_target(struct virtio_device *dev, uint64_t bytes)
{
	struct balloon *balloon = (struct balloon *)dev;

	balloon->config.num_pages = pages_of(bytes);
	virtio_config_changed(dev);
}

void virtio_balloon_figures(struct virtio_device *dev, struct virtio_balloon_figures *figures)
{
	struct balloon *balloon = (struct balloon *)dev;
	struct virtio_queue *queue = virtio_queue(dev, QUEUE_STATS);

	figures->target_bytes = (uint64_t)balloon->config.num_pages * PAGE_BYTES;
	figures->actual_bytes = (uint64_t)balloon->config.actual * PAGE_BYTES;
	memcpy(figures->stat, balloon->stat, sizeof(figures->stat));
	if (!balloon->stats)
		return;
	virtio_queue_push(queue, balloon->stats, 0);
	balloon->stats = NULL;
	virtio_queue_notify(queue);
}

int virtio_balloon_create(const struct device_env *env,
			  const struct virtio_balloon_options *options,
			  struct virtio_device **dev, struct error *err)
{
	struct balloon *balloon = calloc(1, sizeof(*balloon));
	struct virtio_setup setup = {
		.class = &balloon_class, .env = env, .queue_count = QUEUES,
		.queue_size = QUEUE_SIZE,
		/* Fields of features that are not offered are not there. */
		.config_bytes = offsetof(struct virtio_balloon_config, free_page_hint_cmd_id),
		.features = 1ull << VIRTIO_BALLOON_F_STATS_VQ |
			    1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM |
			    1ull << VIRTIO_BALLOON_F_REPORTING,
	};
	int ret;

	if (!balloon)
		return error_set(err, ENOMEM, "no memory for a virtio balloon");
	setup.config = &balloon->config;
	balloon->config.num_pages = pages_of(options->target_bytes);
	forget_stats(balloon);
	ret = virtio_device_init(&balloon->virtio, &setup, err);
	if (ret) {
		free(balloon);
		return ret;
	}
	*dev = &balloon->virtio;
	return 0;
}
