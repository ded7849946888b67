/* SPDX-License-Identifier: MIT */
/* See loan.h. */
#include "virtio/loan.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "host/loop.h"
#include "mem/mem.h"
#include "virtio/ring.h"

#define USED_FLAGS 0u /* offsets in a split ring's device area */
#define USED_IDX 2u

struct ring_loan {
	struct virtio_queue *queue;
	int kick, call, fault;
	bool own_kick; /* nobody else has an event for the driver's notifications */
	struct loop_watch *call_watch, *fault_watch;
};

/* ---- events ---- */

/* Whether it was signalled since the last time. */
static bool take_event(int fd)
{
	uint64_t times;

	return read(fd, &times, sizeof(times)) == (ssize_t)sizeof(times);
}

static void signal_event(int fd)
{
	const uint64_t once = 1;

	(void)!write(fd, &once, sizeof(once));
}

static void pass_call(struct ring_loan *loan)
{
	struct virtio_queue *queue = loan->queue;
	const struct virtio_device *dev = queue->dev;

	if (!take_event(loan->call) || !virtio_running(dev))
		return;
	queue->counts.interrupts++;
	dev->transport->queue_interrupt(dev->transport_opaque, queue->index);
}

static void called(void *opaque, uint32_t events)
{
	(void)events;
	pass_call(opaque);
}

static void failed(void *opaque, uint32_t events)
{
	struct ring_loan *loan = opaque;

	(void)events;
	if (take_event(loan->fault))
		loan->queue->dev->class->fault(loan->queue->dev, loan->queue);
}

void ring_loan_kick(struct virtio_queue *queue)
{
	signal_event(queue->loan->kick);
}

void virtio_queue_remind(struct virtio_queue *queue)
{
	ring_loan_kick(queue);
}

/* ---- making and ending one ---- */

/* The transport's event, or one that we signal. */
static int find_kick(struct ring_loan *loan)
{
	const struct virtio_queue *queue = loan->queue;
	const struct virtio_transport *transport = queue->dev->transport;

	loan->kick = transport->queue_doorbell ?
		     transport->queue_doorbell(queue->dev->transport_opaque, queue->index, false) : -1;
	loan->own_kick = loan->kick < 0;
	if (loan->own_kick)
		loan->kick = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	return loan->kick < 0 ? -errno : 0;
}

static int add_event(struct ring_loan *loan, int *fd, void (*ready)(void *opaque, uint32_t events),
		     struct loop_watch **watch)
{
	*fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (*fd < 0)
		return -errno;
	return loop_watch_add(loan->queue->dev->env->loop, *fd, EPOLLIN, ready, loan, watch);
}

static void remove_event(int fd, struct loop_watch *watch)
{
	loop_watch_remove(watch);
	if (fd >= 0)
		close(fd);
}

static void end_loan(struct ring_loan *loan)
{
	const struct virtio_queue *queue = loan->queue;

	remove_event(loan->call, loan->call_watch);
	remove_event(loan->fault, loan->fault_watch);
	if (!loan->own_kick)
		queue->dev->transport->queue_doorbell(queue->dev->transport_opaque, queue->index, true);
	else if (loan->kick >= 0)
		close(loan->kick);
	free(loan);
}

bool virtio_may_lend(const struct virtio_device *dev)
{
	return dev->env->unseen_writes && virtio_running(dev) &&
	       dev->transport->is_master(dev->transport_opaque);
}

int virtio_queue_lend(struct virtio_queue *queue, struct virtio_loan *out)
{
	struct ring_loan *loan;
	int ret;

	if (!virtio_may_lend(queue->dev) || !virtio_queue_ready(queue))
		return -EPERM;
	if (queue->packed)
		return -ENOTSUP;
	if (queue->in_flight)
		return -EBUSY;
	loan = calloc(1, sizeof(*loan));
	if (!loan)
		return -ENOMEM;
	*loan = (struct ring_loan){ .queue = queue, .call = -1, .fault = -1 };
	ret = find_kick(loan);
	if (!ret)
		ret = add_event(loan, &loan->call, called, &loan->call_watch);
	if (!ret)
		ret = add_event(loan, &loan->fault, failed, &loan->fault_watch);
	if (ret) {
		end_loan(loan);
		return ret;
	}
	queue->loan = loan;
	queue->counts.loans++;
	*out = (struct virtio_loan){
		.size = queue->size, .position = queue->next_avail,
		.desc = queue->host[VIRTIO_AREA_DESC], .driver = queue->host[VIRTIO_AREA_DRIVER],
		.device = queue->host[VIRTIO_AREA_DEVICE],
		.kick = loan->kick, .call = loan->call, .fault = loan->fault,
	};
	return 0;
}

void virtio_queue_take_back(struct virtio_queue *queue, uint16_t position)
{
	bool faulted = take_event(queue->loan->fault);

	/* What he used before he ended may not have been told yet. */
	pass_call(queue->loan);
	end_loan(queue->loan);
	queue->loan = NULL;
	queue->next_avail = position;
	queue->next_used = ring_load16(queue->host[VIRTIO_AREA_DEVICE] + USED_IDX);
	queue->unsignalled = queue->signalled_valid = false;
	/* He may have wished for no notifications; we never do. */
	ring_store16(queue->host[VIRTIO_AREA_DEVICE] + USED_FLAGS, 0);
	ring_wrote(queue, VIRTIO_AREA_DEVICE, USED_FLAGS, 2);
	if (faulted)
		queue->dev->class->fault(queue->dev, queue);
}

bool virtio_queue_is_lent(const struct virtio_queue *queue)
{
	return queue->loan;
}

/* ---- memory ---- */

unsigned virtio_lent_memory(const struct mem *mem, struct virtio_memory *memory, unsigned max)
{
	unsigned count = 0;

	for (unsigned i = 0; i < mem_region_count(mem); i++) {
		const struct mem_region *region = mem_region_at(mem, i);

		/* ROM would be written to; what a window shows goes and comes. */
		if (region->readonly || region->is_window)
			continue;
		if (count == max)
			return 0;
		memory[count++] = (struct virtio_memory){ region->gpa, region->size_bytes,
							  region->host };
	}
	return count;
}
