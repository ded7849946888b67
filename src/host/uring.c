/* SPDX-License-Identifier: MIT */
/*
 * See uring.h and io_uring(7). Two rings are shared with the kernel: it consumes ours (sq) and fills its
 * own (cq), twice as long, which therefore never overflows. An index is published with release order by who
 * advances it, and read with acquire order by the other side.
 */
#include "host/uring.h"

#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct area {
	uint8_t *base;
	size_t size;
};

struct uring {
	int fd;
	struct area sq, cq, entries;
	struct io_uring_params params;
	unsigned put; /* since the last push */
};

static _Atomic uint32_t *field(const struct area *area, uint32_t offset)
{
	return (_Atomic uint32_t *)(void *)(area->base + offset);
}

static uint32_t load(const struct area *area, uint32_t offset)
{
	return atomic_load_explicit(field(area, offset), memory_order_acquire);
}

static void store(const struct area *area, uint32_t offset, uint32_t value)
{
	atomic_store_explicit(field(area, offset), value, memory_order_release);
}

/* ---- life ---- */

static int map(struct uring *uring, struct area *area, size_t size, off_t what)
{
	area->size = size;
	area->base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, uring->fd, what);
	if (area->base != MAP_FAILED)
		return 0;
	area->base = NULL;
	return -errno;
}

static int map_all(struct uring *uring)
{
	const struct io_uring_params *p = &uring->params;
	int ret = map(uring, &uring->sq, p->sq_off.array + p->sq_entries * sizeof(uint32_t),
		      IORING_OFF_SQ_RING);

	if (!ret)
		ret = map(uring, &uring->cq,
			  p->cq_off.cqes + p->cq_entries * sizeof(struct io_uring_cqe),
			  IORING_OFF_CQ_RING);
	if (!ret)
		ret = map(uring, &uring->entries, p->sq_entries * sizeof(struct io_uring_sqe),
			  IORING_OFF_SQES);
	return ret;
}

int uring_create(struct uring **out, unsigned entries)
{
	struct uring *uring = calloc(1, sizeof(*uring));
	int ret;

	if (!uring)
		return -ENOMEM;
	uring->fd = (int)syscall(SYS_io_uring_setup, entries, &uring->params);
	ret = uring->fd < 0 ? -errno : map_all(uring);
	if (ret) {
		uring_destroy(uring);
		return ret;
	}
	*out = uring;
	return 0;
}

static void unmap(const struct area *area)
{
	if (area->base)
		munmap(area->base, area->size);
}

void uring_destroy(struct uring *uring)
{
	if (!uring)
		return;
	unmap(&uring->sq);
	unmap(&uring->cq);
	unmap(&uring->entries);
	if (uring->fd >= 0)
		close(uring->fd);
	free(uring);
}

/* ---- requests ---- */

void uring_put(struct uring *uring, const struct io_uring_sqe *request)
{
	const struct io_sqring_offsets *at = &uring->params.sq_off;
	uint32_t tail = load(&uring->sq, at->tail);
	uint32_t index = tail & (uring->params.sq_entries - 1);

	((struct io_uring_sqe *)(void *)uring->entries.base)[index] = *request;
	store(&uring->sq, at->array + index * (uint32_t)sizeof(uint32_t), index);
	store(&uring->sq, at->tail, tail + 1);
	uring->put++;
}

int uring_push(struct uring *uring)
{
	while (uring->put) {
		long taken = syscall(SYS_io_uring_enter, uring->fd, uring->put, 0, 0, NULL, 0);

		if (taken >= 0)
			uring->put -= (unsigned)taken;
		else if (errno == EAGAIN || errno == EBUSY)
			sched_yield(); /* the kernel has no memory for the moment */
		else if (errno != EINTR)
			return -errno;
	}
	return 0;
}

void uring_wait(struct uring *uring)
{
	const struct io_cqring_offsets *at = &uring->params.cq_off;

	while (load(&uring->cq, at->head) == load(&uring->cq, at->tail))
		syscall(SYS_io_uring_enter, uring->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
}

unsigned uring_take(struct uring *uring, struct io_uring_cqe *done, unsigned max)
{
	const struct io_cqring_offsets *at = &uring->params.cq_off;
	const struct io_uring_cqe *entries = (const void *)(uring->cq.base + at->cqes);
	uint32_t head = load(&uring->cq, at->head), tail = load(&uring->cq, at->tail);
	unsigned count = 0;

	while (head != tail && count < max)
		done[count++] = entries[head++ & (uring->params.cq_entries - 1)];
	store(&uring->cq, at->head, head);
	return count;
}
