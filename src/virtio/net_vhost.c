/* SPDX-License-Identifier: MIT */
/*
 * Pairs of queues that the host's kernel serves (net/vhost.h), where it can do all that we would:
 * it fills in how many buffers a frame took if they are mergeable, and says of checksums what it
 * knows, whether the driver wants to hear of it or not. The control queue stays ours.
 */
#include <errno.h>
#include <poll.h>

#include "base/error.h"
#include "net/vhost.h"
#include "virtio/loan.h"
#include "virtio/net_parts.h"

static bool may_lend(const struct nic *nic)
{
	return nic->net->info.vhost && !nic->gone && !nic->vhost_failed &&
	       virtio_may_lend(&nic->virtio) && nic->to_guest & NET_CSUM &&
	       virtio_has(&nic->virtio, VIRTIO_NET_F_MRG_RXBUF);
}

static struct vhost_ring ring_of(const struct virtio_loan *loan)
{
	return (struct vhost_ring){
		.size = loan->size, .position = loan->position,
		.desc = loan->desc, .driver = loan->driver, .device = loan->device,
		.kick = loan->kick, .call = loan->call, .fault = loan->fault,
	};
}

static int begin(struct nic_pair *pair, const struct virtio_loan *rx, const struct virtio_loan *tx,
		 struct error *err)
{
	const struct nic *nic = pair->nic;
	struct virtio_memory memory[VHOST_REGIONS_MAX];
	struct vhost_region regions[VHOST_REGIONS_MAX];
	struct vhost_plan plan = {
		.features = nic->virtio.driver_features, .regions = regions,
		.region_count = virtio_lent_memory(nic->virtio.env->mem, memory, VHOST_REGIONS_MAX),
		.ring = { [VHOST_RX] = ring_of(rx), [VHOST_TX] = ring_of(tx) },
		.tap = nic->net->fd[pair->index],
	};

	for (unsigned i = 0; i < plan.region_count; i++)
		regions[i] = (struct vhost_region){ memory[i].gpa, memory[i].bytes, memory[i].host };
	if (!plan.region_count)
		return error_set(err, E2BIG, "more than %u pieces of memory", VHOST_REGIONS_MAX);
	return vhost_begin(nic->net->vhost[pair->index], &plan, err);
}

static void fail(struct nic *nic, const char *why)
{
	nic->vhost_failed = true;
	log_guest(&nic->virtio.log_limit, "network tap: we serve it ourselves: %s", why);
}

static void lend(struct nic_pair *pair)
{
	struct nic *nic = pair->nic;
	struct virtio_loan rx, tx;
	struct error err;

	/* A driver may have enabled none of both, or one. */
	if (virtio_queue_lend(pair->rx, &rx))
		return;
	if (virtio_queue_lend(pair->tx, &tx)) {
		virtio_queue_take_back(pair->rx, rx.position);
		return;
	}
	if (begin(pair, &rx, &tx, &err)) {
		virtio_queue_take_back(pair->rx, rx.position);
		virtio_queue_take_back(pair->tx, tx.position);
		fail(nic, err.message);
		return;
	}
	pair->lent = true;
	nic_pair_handed_over(pair);
	virtio_queue_remind(pair->rx);
	virtio_queue_remind(pair->tx);
	log_debug("network tap: pair %u is the kernel's", pair->index);
}

static void take_back(struct nic_pair *pair)
{
	struct nic *nic = pair->nic;
	uint16_t position[VHOST_RINGS];
	int ret = vhost_end(nic->net->vhost[pair->index], position);

	pair->lent = false;
	dma_wrote_anywhere(&nic->virtio.env->dma);
	virtio_queue_take_back(pair->rx, position[VHOST_RX]);
	virtio_queue_take_back(pair->tx, position[VHOST_TX]);
	if (ret)
		virtio_break(&nic->virtio, "pair %u: the kernel does not say how far it came",
			     pair->index);
	log_debug("network tap: pair %u is ours", pair->index);
	nic_pair_handed_over(pair);
	nic_pair_send(pair);
}

void nic_settle(struct nic *nic)
{
	for (unsigned i = 0; i < nic->net->info.queues; i++) {
		struct nic_pair *pair = &nic->pair[i];
		bool wanted = i < nic->pairs_used && may_lend(nic) && (pair->lent || pair->watch);

		if (pair->lent && !wanted)
			take_back(pair);
		else if (!pair->lent && wanted)
			lend(pair);
	}
}

void nic_take_back(struct nic *nic)
{
	for (unsigned i = 0; i < nic->net->info.queues; i++)
		if (nic->pair[i].lent)
			take_back(&nic->pair[i]);
}

/* That an interface was taken away is heard of here: who waits for that alone is not woken. */
static bool is_gone(int tap)
{
	struct pollfd look = { .fd = tap };

	return poll(&look, 1, 0) == 1 && look.revents & (POLLERR | POLLHUP);
}

void nic_fault(struct nic *nic, unsigned queue)
{
	if (is_gone(nic->net->fd[queue / 2]))
		nic_gone(nic);
	else
		virtio_break(&nic->virtio, "queue %u: the host's kernel cannot make sense of it", queue);
}
