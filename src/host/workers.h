/* SPDX-License-Identifier: MIT */
/*
 * A pool of threads for work that may block. Threads come when there is work for them, up to a
 * bound, and stay. Jobs begin in the order in which they were submitted. Any thread.
 */
#ifndef RINGLET_HOST_WORKERS_H
#define RINGLET_HOST_WORKERS_H

struct error;
struct workers;

/* Embedded in what is to be done; its memory is the submitter's again once run is called. */
struct workers_job {
	void (*run)(struct workers_job *job);
	struct workers_job *next;
};

/* name: of the threads, at most 15 bytes. One thread is there from the beginning. */
int workers_create(struct workers **workers, const char *name, unsigned max_threads,
		   struct error *err);
/* Runs what waits, then ends the threads. NULL is allowed. */
void workers_destroy(struct workers *workers);

void workers_submit(struct workers *workers, struct workers_job *job);

/* Returns when all that was submitted has run; not to be called by a job. */
void workers_drain(struct workers *workers);

#endif
