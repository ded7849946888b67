/* SPDX-License-Identifier: MIT */
/*
 * See pool.h. A job is in the list of those that are out from when it is submitted until it is given
 * back, under the machine lock; in that of the answered ones from when a thread is done with it, under
 * the pool's own.
 */
#include "virtio/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/error.h"
#include "host/loop.h"
#include "host/workers.h"
#include "virtio/virtio.h"

#define THREADS_MAX 8

struct job {
	struct workers_job job; /* must be first */
	struct virtio_pool *pool;
	struct virtio_queue *queue;
	struct virtio_chain *chain;
	uint16_t tag;
	size_t written;
	struct job *next_answered;
	struct job *next_out;  /* the one that was submitted before */
	struct job *followers; /* which wait for this; linked by next_out */
};

struct virtio_pool {
	struct virtio_device *dev;
	virtio_pool_fn *answer;
	void *opaque;
	struct workers *workers;
	struct job *out;        /* the newest first */
	pthread_mutex_t mutex;  /* the following */
	struct job *answered, **last_answered;
	bool posted;            /* give_back will run */
};

static struct job *take_answered(struct virtio_pool *pool)
{
	struct job *jobs;

	pthread_mutex_lock(&pool->mutex);
	jobs = pool->answered;
	pool->answered = NULL;
	pool->last_answered = &pool->answered;
	pthread_mutex_unlock(&pool->mutex);
	return jobs;
}

static void forget(struct virtio_pool *pool, struct job *job)
{
	struct job **link = &pool->out;

	while (*link != job)
		link = &(*link)->next_out;
	*link = job->next_out;
}

static void push(struct job *job)
{
	virtio_queue_push(job->queue, job->chain, job->written);
	virtio_queue_notify(job->queue);
}

/* On the caller's thread. */
static void answer_here(struct virtio_pool *pool, struct virtio_queue *queue,
			struct virtio_chain *chain)
{
	virtio_queue_push(queue, chain, pool->answer(pool->opaque, chain));
	virtio_queue_notify(queue);
}

/* After job, those that wait for it: the last one that came is the first one in the list. */
static void push_followers(struct virtio_pool *pool, struct job *follower)
{
	if (!follower)
		return;
	push_followers(pool, follower->next_out);
	answer_here(pool, follower->queue, follower->chain);
	free(follower);
}

static void give_back(void *opaque)
{
	struct virtio_pool *pool = opaque;
	struct job *job, *next;

	pthread_mutex_lock(&pool->mutex);
	pool->posted = false;
	pthread_mutex_unlock(&pool->mutex);
	for (job = take_answered(pool); job; job = next) {
		next = job->next_answered;
		forget(pool, job);
		push(job);
		push_followers(pool, job->followers);
		free(job);
	}
	if (!pool->out)
		virtio_quiet(pool->dev);
}

/* A thread of the device's. */
static void run(struct workers_job *generic)
{
	struct job *job = (struct job *)generic;
	struct virtio_pool *pool = job->pool;
	bool post;

	job->written = pool->answer(pool->opaque, job->chain);
	pthread_mutex_lock(&pool->mutex);
	*pool->last_answered = job;
	pool->last_answered = &job->next_answered;
	post = !pool->posted;
	pool->posted = true;
	pthread_mutex_unlock(&pool->mutex);
	if (post)
		loop_post(pool->dev->env->loop, give_back, pool);
}

void virtio_pool_submit(struct virtio_pool *pool, struct virtio_queue *queue,
			struct virtio_chain *chain, uint16_t tag)
{
	struct job *job = malloc(sizeof(*job));

	if (!job) {
		answer_here(pool, queue, chain);
		return;
	}
	*job = (struct job){ .job.run = run, .pool = pool, .queue = queue, .chain = chain, .tag = tag,
			     .next_out = pool->out };
	pool->out = job;
	workers_submit(pool->workers, &job->job);
}

void virtio_pool_answer_after(struct virtio_pool *pool, uint16_t tag, struct virtio_queue *queue,
			      struct virtio_chain *chain)
{
	struct job *before = pool->out, *job = NULL;

	while (before && before->tag != tag)
		before = before->next_out;
	if (before)
		job = malloc(sizeof(*job));
	if (!job) {
		answer_here(pool, queue, chain);
		return;
	}
	*job = (struct job){ .queue = queue, .chain = chain, .next_out = before->followers };
	before->followers = job;
}

/* In a reset. Who waits for another was not answered: there is nothing to tell the driver. */
static void drop(struct job *job)
{
	while (job) {
		struct job *next = job->next_out;

		drop(job->followers);
		virtio_queue_push(job->queue, job->chain, job->written);
		free(job);
		job = next;
	}
}

bool virtio_pool_quiesce(const struct virtio_pool *pool)
{
	return !pool->out;
}

void virtio_pool_stop(struct virtio_pool *pool)
{
	workers_drain(pool->workers);
	take_answered(pool);
	drop(pool->out);
	pool->out = NULL;
}

int virtio_pool_create(struct virtio_pool **out, struct virtio_device *dev, const char *name,
		       virtio_pool_fn *answer, void *opaque, struct error *err)
{
	struct virtio_pool *pool = malloc(sizeof(*pool));
	int ret;

	if (!pool)
		return error_set(err, ENOMEM, "no memory for %s", name);
	*pool = (struct virtio_pool){ .dev = dev, .answer = answer, .opaque = opaque,
				      .last_answered = &pool->answered };
	pthread_mutex_init(&pool->mutex, NULL);
	ret = workers_create(&pool->workers, name, THREADS_MAX, err);
	if (ret) {
		virtio_pool_destroy(pool);
		return ret;
	}
	*out = pool;
	return 0;
}

void virtio_pool_destroy(struct virtio_pool *pool)
{
	if (!pool)
		return;
	workers_destroy(pool->workers);
	pthread_mutex_destroy(&pool->mutex);
	free(pool);
}
