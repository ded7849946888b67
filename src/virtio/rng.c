/* SPDX-License-Identifier: MIT */
/*
 * The entropy device: see rng.h. A tenth of a second's bytes at a time; when they are used up,
 * chains wait in the ring for the timer. Machine lock held throughout.
 */
#include "virtio/rng.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/error.h"
#include "host/clock.h"
#include "host/loop.h"

#define QUEUE_SIZE 64
#define PERIOD_NS (CLOCK_NS_PER_S / 10)

struct rng {
	struct virtio_device virtio; /* must be first */
	struct loop_timer *timer;
	size_t period_bytes; /* may be handed out in a period … */
	size_t left_bytes;   /* … and still may in this one */
};

static size_t fill_piece(const struct iovec *piece, size_t limit)
{
	size_t want = piece->iov_len < limit ? piece->iov_len : limit, done = 0;

	while (done < want) {
		ssize_t got = getrandom((uint8_t *)piece->iov_base + done, want - done, 0);

		if (got < 0 && errno != EINTR)
			break;
		done += got > 0 ? (size_t)got : 0;
	}
	return done;
}

static size_t fill(const struct virtio_chain *chain, size_t limit)
{
	size_t done = 0;

	for (unsigned i = 0; i < chain->in_count && done < limit; i++)
		done += fill_piece(&chain->in[i], limit - done);
	return done;
}

static void serve(struct rng *rng, struct virtio_queue *queue)
{
	struct virtio_chain *chain;

	while (rng->left_bytes && (chain = virtio_queue_pop(queue))) {
		size_t done = fill(chain, rng->left_bytes);

		rng->left_bytes -= done;
		virtio_queue_push(queue, chain, done);
	}
	virtio_queue_notify(queue);
}

static void rng_handle(struct virtio_device *dev, struct virtio_queue *queue)
{
	struct rng *rng = (struct rng *)dev;
	bool fresh = rng->left_bytes == rng->period_bytes;

	serve(rng, queue);
	if (fresh && rng->left_bytes < rng->period_bytes)
		loop_timer_arm(rng->timer, clock_now_ns() + PERIOD_NS);
}

static void period_over(void *opaque)
{
	struct rng *rng = opaque;

	rng->left_bytes = rng->period_bytes;
	rng_handle(&rng->virtio, virtio_queue(&rng->virtio, 0));
}

static void rng_destroy(struct virtio_device *dev)
{
	struct rng *rng = (struct rng *)dev;

	loop_timer_destroy(rng->timer);
	virtio_device_release(dev);
	free(rng);
}

static const struct virtio_class rng_class = {
	.name = "virtio-rng",
	.id = VIRTIO_ID_RNG,
	.pci_class = 0x00ff00,
	.handle = rng_handle,
	.destroy = rng_destroy,
};

int virtio_rng_create(const struct device_env *env, const struct virtio_rng_config *config,
		      struct virtio_device **dev, struct error *err)
{
	struct rng *rng = calloc(1, sizeof(*rng));
	const struct virtio_setup setup = {
		.class = &rng_class, .env = env, .queue_count = 1, .queue_size = QUEUE_SIZE,
	};
	unsigned rate = config->bytes_per_second ? config->bytes_per_second : VIRTIO_RNG_RATE;
	int ret;

	if (!rng)
		return error_set(err, ENOMEM, "no memory for virtio-rng");
	rng->period_bytes = rng->left_bytes = rate / 10 ? rate / 10 : 1;
	ret = virtio_device_init(&rng->virtio, &setup, err);
	if (!ret && loop_timer_create(env->loop, period_over, rng, &rng->timer))
		ret = error_set(err, ENOMEM, "no memory for virtio-rng");
	if (ret) {
		rng_destroy(&rng->virtio);
		return ret;
	}
	*dev = &rng->virtio;
	return 0;
}
