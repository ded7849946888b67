/* SPDX-License-Identifier: MIT */
/*
 * Threads of the monitor. Signals sent to the process are for the thread that started it: here they
 * are blocked, except those that a thread's own instruction causes.
 */
#ifndef RINGLET_HOST_THREAD_H
#define RINGLET_HOST_THREAD_H

#include <pthread.h>

struct error;

/* name: at most 15 bytes, as ps and debuggers show it. The caller joins. 0, or -errno and err. */
int thread_create(pthread_t *thread, const char *name, void *(*run)(void *opaque), void *opaque,
		  struct error *err);

/* How many processors the calling thread may run on. */
unsigned thread_processors(void);

#endif
