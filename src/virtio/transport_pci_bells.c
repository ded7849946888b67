/* SPDX-License-Identifier: MIT */
/*
 * Doorbells (virtio 1.2, 4.1.4.4): where the machine has somebody who turns a write to one into an event
 * by itself, a queue's notification comes as a signal on a file descriptor to the loop's thread, and
 * the CPU does not wait. A write that comes to the bus nevertheless means the same.
 */
#include "virtio/transport_pci_common.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "host/loop.h"

#define BELL_BYTES 2u /* a queue's number, as drivers write it */

struct virtio_pci_bell {
	struct virtio_pci *pci;
	struct loop_watch *watch;
};

static void rung(void *opaque, uint32_t events)
{
	struct virtio_pci_bell *bell = opaque;
	unsigned queue = (unsigned)(bell - bell->pci->bells);
	uint64_t times;

	(void)events;
	if (read(bell->pci->doorbells[queue].fd, &times, sizeof(times)) == (ssize_t)sizeof(times))
		virtio_kick(bell->pci->virtio, queue);
}

static int add_bell(struct virtio_pci *pci, unsigned queue, uint32_t offset)
{
	struct bus_doorbell *doorbell = &pci->doorbells[queue];
	struct virtio_pci_bell *bell = &pci->bells[queue];

	doorbell->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (doorbell->fd < 0)
		return -errno;
	doorbell->offset = offset;
	doorbell->size_bytes = BELL_BYTES;
	pci->doorbell_count++;
	bell->pci = pci;
	return loop_watch_add(pci->virtio->env->loop, doorbell->fd, EPOLLIN, rung, bell, &bell->watch);
}

int virtio_pci_bells_create(struct virtio_pci *pci, uint32_t first, uint32_t distance,
			    struct error *err)
{
	unsigned queues = pci->virtio->queue_count;
	int ret = 0;

	if (!pci->virtio->env->doorbells)
		return 0;
	pci->bells = calloc(queues, sizeof(*pci->bells));
	pci->doorbells = calloc(queues, sizeof(*pci->doorbells));
	if (!pci->bells || !pci->doorbells)
		ret = -ENOMEM;
	for (unsigned i = 0; i < queues && !ret; i++)
		ret = add_bell(pci, i, first + i * distance);
	if (!ret)
		return 0;
	virtio_pci_bells_destroy(pci);
	return error_set_errno(err, -ret, "%s: cannot listen to its queues",
			       pci->virtio->class->name);
}

int virtio_pci_bell(void *opaque, unsigned queue, bool ours)
{
	struct virtio_pci *pci = opaque;

	if (queue >= pci->doorbell_count)
		return -1;
	loop_watch_change(pci->bells[queue].watch, ours ? EPOLLIN : 0);
	return pci->doorbells[queue].fd;
}

void virtio_pci_bells_destroy(struct virtio_pci *pci)
{
	for (unsigned i = 0; i < pci->doorbell_count; i++) {
		if (pci->bells[i].watch)
			loop_watch_remove(pci->bells[i].watch);
		close(pci->doorbells[i].fd);
	}
	free(pci->bells);
	free(pci->doorbells);
	pci->bells = NULL;
	pci->doorbells = NULL;
	pci->doorbell_count = 0;
}
