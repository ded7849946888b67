/* SPDX-License-Identifier: MIT */
/* See ring.h. The mutex guards the counts and the ring's submitting side. */
#include "block/ring.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "block/block.h"
#include "block/file.h"
#include "host/thread.h"
#include "host/uring.h"

#define ENTRIES 256u
#define TAKEN_MAX 32u
#define LENGTH_MAX (1u << 30) /* what a result can tell */

struct block_ring {
	struct uring *uring;
	void (*again)(struct block_request *request);
	pthread_t thread;
	pthread_mutex_t mutex;
	pthread_cond_t idle;
	unsigned under_way; /* submitted, and not done */
	bool end;           /* the ring's thread's own */
};

/* ---- what is done ---- */

static void take(struct block_ring *ring, const struct io_uring_cqe *done)
{
	struct block_request *request = (void *)(uintptr_t)done->user_data;

	if (!request)
		ring->end = true;
	else if (done->res >= 0 && (uint64_t)done->res == request->length)
		request->done(request, 0);
	else
		ring->again(request);
}

static void *run(void *opaque)
{
	struct block_ring *ring = opaque;
	struct io_uring_cqe done[TAKEN_MAX];

	while (!ring->end) {
		unsigned count;

		uring_wait(ring->uring);
		/* With the mutex, so that not the kernel alone says that what was put is seen here. */
		pthread_mutex_lock(&ring->mutex);
		count = uring_take(ring->uring, done, TAKEN_MAX);
		pthread_mutex_unlock(&ring->mutex);
		for (unsigned i = 0; i < count; i++)
			take(ring, &done[i]);
		pthread_mutex_lock(&ring->mutex);
		ring->under_way -= count;
		if (!ring->under_way)
			pthread_cond_broadcast(&ring->idle);
		pthread_mutex_unlock(&ring->mutex);
	}
	return NULL;
}

/* ---- requests ---- */

/* user_data NULL is the thread's end. */
static bool put(struct block_ring *ring, const struct io_uring_sqe *entry)
{
	bool room;

	pthread_mutex_lock(&ring->mutex);
	room = ring->under_way < ENTRIES;
	if (room) {
		uring_put(ring->uring, entry);
		ring->under_way++;
	}
	pthread_mutex_unlock(&ring->mutex);
	return room;
}

bool block_ring_submit(struct block_ring *ring, const struct block_file *file,
		       struct block_request *request)
{
	struct io_uring_sqe entry = {
		.opcode = request->op == BLOCK_READ ? IORING_OP_READV : IORING_OP_WRITEV,
		.fd = file->fd, .off = request->offset, .addr = (uintptr_t)request->iov,
		.len = request->iov_count, .user_data = (uintptr_t)request,
		/* Else it would copy what it has in memory before the push returns. */
		.flags = file->direct ? 0 : IOSQE_ASYNC,
	};

	if ((request->op != BLOCK_READ && request->op != BLOCK_WRITE) || request->flags & BLOCK_FUA ||
	    request->length > LENGTH_MAX || request->iov_count > IOV_MAX || !request->length ||
	    !block_file_takes(file, request->iov, request->iov_count))
		return false;
	return put(ring, &entry);
}

void block_ring_push(struct block_ring *ring)
{
	int ret;

	pthread_mutex_lock(&ring->mutex);
	ret = uring_push(ring->uring);
	pthread_mutex_unlock(&ring->mutex);
	/* It takes what we give it: we know what is under way. */
	if (ret)
		log_error("io_uring: %s", strerror(-ret));
}

void block_ring_drain(struct block_ring *ring)
{
	pthread_mutex_lock(&ring->mutex);
	while (ring->under_way)
		pthread_cond_wait(&ring->idle, &ring->mutex);
	pthread_mutex_unlock(&ring->mutex);
}

/* ---- life ---- */

int block_ring_create(struct block_ring **out, void (*again)(struct block_request *request),
		      struct error *err)
{
	struct block_ring *ring = calloc(1, sizeof(*ring));
	int ret;

	if (!ring)
		return error_set(err, ENOMEM, "no memory for io_uring");
	ret = uring_create(&ring->uring, ENTRIES);
	if (ret) {
		free(ring);
		return error_set_errno(err, -ret, "this host's kernel refuses io_uring");
	}
	ring->again = again;
	pthread_mutex_init(&ring->mutex, NULL);
	pthread_cond_init(&ring->idle, NULL);
	ret = thread_create(&ring->thread, "block-ring", run, ring, err);
	if (!ret) {
		*out = ring;
		return 0;
	}
	uring_destroy(ring->uring);
	free(ring);
	return ret;
}

void block_ring_destroy(struct block_ring *ring)
{
	const struct io_uring_sqe end = { .opcode = IORING_OP_NOP };

	if (!ring)
		return;
	put(ring, &end);
	block_ring_push(ring);
	pthread_join(ring->thread, NULL);
	pthread_cond_destroy(&ring->idle);
	pthread_mutex_destroy(&ring->mutex);
	uring_destroy(ring->uring);
	free(ring);
}
