/* SPDX-License-Identifier: MIT */
/*
 * The block device: see blk.h. A request's life: parsed from a chain (blk_request.c), tried at
 * once, or submitted; back from the back end's thread through the list of those that are done,
 * which a timer that is due empties on the loop's thread. Machine lock held, but where a function
 * says that it runs on the back end's thread.
 */
#include "virtio/blk.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "host/clock.h"
#include "host/loop.h"
#include "virtio/blk_request.h"

#define QUEUE_SIZE 512
#define SEGMENTS_MAX (QUEUE_SIZE - 2) /* data, in a chain with header and status */
#define RANGE_SECTORS_MAX 0x3fffffu

struct blk {
	struct virtio_device virtio; /* must be first */
	struct virtio_blk_config config;
	struct block *block;
	char *file;
	char serial[VIRTIO_BLK_ID_BYTES];
	pthread_mutex_t mutex;    /* guards done */
	struct blk_request *done; /* by the back end, latest first */
	struct loop_timer *timer; /* due when there are any */
	enum block_errors errors;
	unsigned retry_ms;
	unsigned under_way;          /* requests that the back end has, or that are in done */
	struct blk_request *waiting; /* for the host to be able to carry them out */
	bool waited;                 /* the user has been told so */
	struct loop_timer *retry_timer; /* the guest's clock: while the machine is paused, nothing is tried */
};

/* ---- completion ---- */

static uint8_t status_of(int result)
{
	return result == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP :
	       result		     ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static void complain(struct blk *blk, const struct blk_request *request)
{
	/* What the guest got wrong is its affair; what the host cannot do is the user's. */
	if (request->result == -EINVAL || request->result == -EROFS ||
	    request->result == -EOPNOTSUPP)
		return;
	log_guest(&blk->virtio.log_limit, "disk %s: %s", blk->file, strerror(-request->result));
}

static void finish(struct blk *blk, struct blk_request *request)
{
	struct virtio_chain *chain = request->chain;
	uint8_t status = status_of(request->result);

	if (request->result)
		complain(blk, request);
	virtio_chain_write(chain, chain->in_bytes - 1, &status, 1);
	virtio_queue_push(request->queue, chain, chain->in_bytes);
	free(request);
}

static struct blk_request *take_done(struct blk *blk)
{
	struct blk_request *list, *in_order = NULL, *next;

	pthread_mutex_lock(&blk->mutex);
	list = blk->done;
	blk->done = NULL;
	pthread_mutex_unlock(&blk->mutex);
	for (; list; list = next) {
		next = list->next;
		list->next = in_order;
		in_order = list;
	}
	return in_order;
}

/* ---- requests that wait for the host ---- */

static bool may_wait(const struct blk *blk, int result)
{
	bool space = result == -ENOSPC || result == -EDQUOT;

	return (space && blk->errors != BLOCK_ERRORS_REPORT) ||
	       (result == -EIO && (blk->errors == BLOCK_ERRORS_WAIT ||
				   blk->errors == BLOCK_ERRORS_PAUSE));
}

static void wait_for_host(struct blk *blk, struct blk_request *request)
{
	const struct device_env *env = blk->virtio.env;
	bool pause = blk->errors == BLOCK_ERRORS_PAUSE;

	if (!blk->waited || (pause && !blk->waiting))
		log_warn("disk %s: %s: %s", blk->file, strerror(-request->result),
			 pause ? "the machine is paused, until 'ringlet resume'" :
				 "the guest waits for it");
	blk->waited = true;
	if (!blk->waiting)
		loop_timer_arm(blk->retry_timer, loop_timer_now(blk->retry_timer) +
						 blk->retry_ms * (CLOCK_NS_PER_S / 1000));
	if (pause && !blk->waiting)
		env->pause(env->opaque);
	request->next = blk->waiting;
	blk->waiting = request;
}

static void submit(struct blk *blk, struct blk_request *request)
{
	blk->under_way++;
	block_submit(blk->block, &request->block);
}

static void retry(void *opaque)
{
	struct blk *blk = opaque;
	struct blk_request *request = blk->waiting, *next;

	blk->waiting = NULL;
	for (; request; request = next) {
		next = request->next;
		submit(blk, request);
	}
	block_push(blk->block);
}

static void host_did(struct blk *blk)
{
	if (!blk->waited || blk->waiting)
		return;
	log_warn("disk %s: the guest goes on", blk->file);
	blk->waited = false;
}

/* In a reset. What was read is in the guest's memory all the same. */
static void forget(struct blk_request *request)
{
	virtio_queue_push(request->queue, request->chain, request->chain->in_bytes);
	free(request);
}

static void forget_all(struct blk_request **list)
{
	while (*list) {
		struct blk_request *request = *list;

		*list = request->next;
		forget(request);
	}
}

/* The driver waits for what is under way to end, and wants nothing of it. */
static void finish_reset(struct blk *blk)
{
	struct blk_request *done = take_done(blk);

	for (struct blk_request *request = done; request; request = request->next)
		blk->under_way--;
	forget_all(&done);
	if (!blk->under_way)
		virtio_quiet(&blk->virtio);
}

static void finish_done(void *opaque)
{
	struct blk *blk = opaque;
	struct blk_request *request, *next;

	if (blk->virtio.resetting) {
		finish_reset(blk);
		return;
	}
	for (request = take_done(blk); request; request = next) {
		next = request->next;
		blk->under_way--;
		if (may_wait(blk, request->result)) {
			wait_for_host(blk, request);
			continue;
		}
		if (!request->result)
			host_did(blk);
		finish(blk, request);
	}
	for (unsigned i = 0; i < blk->virtio.queue_count; i++)
		virtio_queue_notify(virtio_queue(&blk->virtio, i));
}

/* On the back end's thread. */
static void back_end_done(struct block_request *block_request, int result)
{
	struct blk_request *request = block_request->opaque;
	struct blk *blk = request->owner;
	bool first;

	if (!result && blk_request_next(request)) {
		block_submit(blk->block, &request->block);
		block_push(blk->block);
		return;
	}
	request->result = result;
	pthread_mutex_lock(&blk->mutex);
	first = !blk->done;
	request->next = blk->done;
	blk->done = request;
	pthread_mutex_unlock(&blk->mutex);
	if (first)
		loop_timer_arm(blk->timer, 0);
}

/* ---- requests ---- */

static void get_id(struct blk *blk, struct blk_request *request)
{
	virtio_chain_write(request->chain, 0, blk->serial,
			   request->chain->in_bytes - 1 < sizeof(blk->serial) ?
				   request->chain->in_bytes - 1 : sizeof(blk->serial));
	finish(blk, request);
}

static void start(struct blk *blk, struct blk_request *request)
{
	if (request->type == VIRTIO_BLK_T_GET_ID && !request->result) {
		get_id(blk, request);
		return;
	}
	if (!request->result)
		request->result = request->ranges > 1 ? -EAGAIN :
				  block_attempt(blk->block, &request->block);
	if (request->result != -EAGAIN) {
		finish(blk, request);
		return;
	}
	request->result = 0;
	request->block.done = back_end_done;
	submit(blk, request);
}

static void blk_handle(struct virtio_device *dev, struct virtio_queue *queue)
{
	struct blk *blk = (struct blk *)dev;
	struct virtio_chain *chain;

	while ((chain = virtio_queue_pop(queue))) {
		struct blk_request *request = blk_request_make(dev, chain);

		if (!request) {
			virtio_chain_drop(queue, chain);
			break;
		}
		request->owner = blk;
		request->queue = queue;
		start(blk, request);
	}
	block_push(blk->block);
	virtio_queue_notify(queue);
}

/* What is under way ends; what is done is forgotten with the driver that asked for it. */
static void blk_stop(struct virtio_device *dev)
{
	struct blk *blk = (struct blk *)dev;
	struct blk_request *done;

	block_drain(blk->block);
	done = take_done(blk);
	forget_all(&done);
	forget_all(&blk->waiting);
	blk->under_way = 0;
	blk->waited = false;
}

/* A disk that hangs holds up who resets it, not who else wants the machine lock. */
static bool blk_quiesce(struct virtio_device *dev)
{
	struct blk *blk = (struct blk *)dev;

	forget_all(&blk->waiting);
	return !blk->under_way;
}

/* ---- life ---- */

static void blk_describe(const struct virtio_device *dev, struct json *json)
{
	const struct blk *blk = (const struct blk *)dev;

	json_string(json, "file", blk->file);
	json_string(json, "format", blk->block->class->name);
	json_string(json, "io", block_io_name(blk->block));
	json_uint(json, "bytes", blk->block->info.size_bytes);
	json_bool(json, "readonly", blk->block->info.readonly);
}

static void blk_destroy(struct virtio_device *dev)
{
	struct blk *blk = (struct blk *)dev;

	block_close(blk->block);
	loop_timer_destroy(blk->timer);
	loop_timer_destroy(blk->retry_timer);
	virtio_device_release(dev);
	pthread_mutex_destroy(&blk->mutex);
	free(blk->file);
	free(blk);
}

static const struct virtio_class blk_class = {
	.name = "virtio-blk",
	.id = VIRTIO_ID_BLOCK,
	.pci_class = 0x010000,
	.handle = blk_handle,
	.quiesce = blk_quiesce,
	.stop = blk_stop,
	.describe = blk_describe,
	.destroy = blk_destroy,
};

static uint64_t features_of(const struct block_info *info)
{
	uint64_t features = 1ull << VIRTIO_BLK_F_SEG_MAX | 1ull << VIRTIO_BLK_F_BLK_SIZE |
			    1ull << VIRTIO_BLK_F_MQ | 1ull << VIRTIO_BLK_F_FLUSH;

	if (info->readonly)
		return features | 1ull << VIRTIO_BLK_F_RO;
	if (info->discard)
		features |= 1ull << VIRTIO_BLK_F_DISCARD;
	return features | 1ull << VIRTIO_BLK_F_WRITE_ZEROES;
}

static struct virtio_blk_config config_of(const struct block_info *info, unsigned queues)
{
	return (struct virtio_blk_config){
		.capacity = info->size_bytes / BLOCK_SECTOR_BYTES,
		.seg_max = SEGMENTS_MAX,
		.blk_size = info->block_bytes,
		.num_queues = (uint16_t)queues,
		.max_discard_sectors = RANGE_SECTORS_MAX,
		.max_discard_seg = BLK_RANGES_MAX,
		.discard_sector_alignment = info->block_bytes / BLOCK_SECTOR_BYTES,
		.max_write_zeroes_sectors = RANGE_SECTORS_MAX,
		.max_write_zeroes_seg = BLK_RANGES_MAX,
		.write_zeroes_may_unmap = info->discard,
	};
}

int virtio_blk_create(const struct device_env *env, const struct virtio_blk_options *options,
		      struct virtio_device **dev, struct error *err)
{
	struct blk *blk = calloc(1, sizeof(*blk));
	struct virtio_setup setup = {
		.class = &blk_class, .env = env, .queue_count = options->queues,
		.queue_size = QUEUE_SIZE, .features = features_of(&options->block->info),
		.config_bytes = sizeof(blk->config),
	};
	int ret;

	if (!blk) {
		block_close(options->block);
		return error_set(err, ENOMEM, "no memory for a virtio disk");
	}
	blk->block = options->block;
	blk->file = strdup(options->file);
	blk->errors = options->errors;
	blk->retry_ms = options->retry_ms ? options->retry_ms : VIRTIO_BLK_RETRY_MS;
	blk->config = config_of(&blk->block->info, options->queues);
	/* Not ended by a zero when it fills the field. */
	if (options->serial)
		memcpy(blk->serial, options->serial,
		       strnlen(options->serial, sizeof(blk->serial)));
	pthread_mutex_init(&blk->mutex, NULL);
	setup.config = &blk->config;
	ret = virtio_device_init(&blk->virtio, &setup, err);
	if (!ret && (!blk->file || loop_timer_create(env->loop, finish_done, blk, &blk->timer) ||
		     loop_guest_timer_create(env->loop, retry, blk, &blk->retry_timer)))
		ret = error_set(err, ENOMEM, "no memory for a virtio disk");
	if (ret) {
		blk_destroy(&blk->virtio);
		return ret;
	}
	*dev = &blk->virtio;
	return 0;
}
