/* SPDX-License-Identifier: MIT */
/* A pool of threads: see workers.h. One mutex guards everything; jobs run without it. */
#include "host/workers.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/error.h"
#include "host/thread.h"

struct workers {
	pthread_mutex_t mutex;
	pthread_cond_t work; /* there is a job, or the end has come */
	pthread_cond_t idle; /* nothing waits and nothing runs */
	const char *name;
	struct workers_job *first, **last;
	unsigned waiting; /* jobs */
	unsigned running; /* jobs */
	unsigned idlers;  /* threads that wait for one */
	bool end;
	unsigned threads, max_threads;
	pthread_t thread[];
};

static struct workers_job *take(struct workers *workers)
{
	struct workers_job *job = workers->first;

	workers->first = job->next;
	if (!workers->first)
		workers->last = &workers->first;
	workers->waiting--;
	return job;
}

static void *work(void *opaque)
{
	struct workers *workers = opaque;

	pthread_mutex_lock(&workers->mutex);
	for (;;) {
		struct workers_job *job;

		while (!workers->first && !workers->end) {
			workers->idlers++;
			pthread_cond_wait(&workers->work, &workers->mutex);
			workers->idlers--;
		}
		if (!workers->first)
			break;
		job = take(workers);
		workers->running++;
		pthread_mutex_unlock(&workers->mutex);
		job->run(job);
		pthread_mutex_lock(&workers->mutex);
		if (!--workers->running && !workers->first)
			pthread_cond_broadcast(&workers->idle);
	}
	pthread_mutex_unlock(&workers->mutex);
	return NULL;
}

static int add_thread(struct workers *workers, struct error *err)
{
	int ret = thread_create(&workers->thread[workers->threads], workers->name, work, workers,
				err);

	if (!ret)
		workers->threads++;
	return ret;
}

int workers_create(struct workers **out, const char *name, unsigned max_threads, struct error *err)
{
	struct workers *workers =
		calloc(1, sizeof(*workers) + max_threads * sizeof(workers->thread[0]));
	int ret;

	if (!workers)
		return error_set(err, ENOMEM, "no memory for the threads of %s", name);
	pthread_mutex_init(&workers->mutex, NULL);
	pthread_cond_init(&workers->work, NULL);
	pthread_cond_init(&workers->idle, NULL);
	workers->name = name;
	workers->last = &workers->first;
	workers->max_threads = max_threads;
	pthread_mutex_lock(&workers->mutex);
	ret = add_thread(workers, err);
	pthread_mutex_unlock(&workers->mutex);
	if (ret) {
		workers_destroy(workers);
		return ret;
	}
	*out = workers;
	return 0;
}

void workers_destroy(struct workers *workers)
{
	if (!workers)
		return;
	pthread_mutex_lock(&workers->mutex);
	workers->end = true;
	pthread_cond_broadcast(&workers->work);
	pthread_mutex_unlock(&workers->mutex);
	for (unsigned i = 0; i < workers->threads; i++)
		pthread_join(workers->thread[i], NULL);
	pthread_cond_destroy(&workers->idle);
	pthread_cond_destroy(&workers->work);
	pthread_mutex_destroy(&workers->mutex);
	free(workers);
}

void workers_submit(struct workers *workers, struct workers_job *job)
{
	job->next = NULL;
	pthread_mutex_lock(&workers->mutex);
	*workers->last = job;
	workers->last = &job->next;
	workers->waiting++;
	/* One thread more is a wish: those that there are get everything done. */
	if (workers->waiting > workers->idlers && workers->threads < workers->max_threads)
		add_thread(workers, NULL);
	pthread_cond_signal(&workers->work);
	pthread_mutex_unlock(&workers->mutex);
}

void workers_drain(struct workers *workers)
{
	pthread_mutex_lock(&workers->mutex);
	while (workers->first || workers->running)
		pthread_cond_wait(&workers->idle, &workers->mutex);
	pthread_mutex_unlock(&workers->mutex);
}
