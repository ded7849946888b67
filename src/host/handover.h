/* SPDX-License-Identifier: MIT */
/*
 * Two processes that take turns as if they were one thread. The one makes a system call, which a
 * filter holds (seccomp's user notification) until the other one answers it. Each wakes the other
 * on its own processor and then sleeps, so that a turn needs no other processor, moves no cache
 * lines, and does not depend on what else the host runs. Linux 6.6 and later.
 */
#ifndef RINGLET_HOST_HANDOVER_H
#define RINGLET_HOST_HANDOVER_H

#include <stdint.h>

/* The call, with any arguments; the number is of no meaning beyond that. It returns 0. */
#define HANDOVER_CALL __NR_sched_yield

/*
 * From now on all HANDOVER_CALLs of the calling thread, and of what it executes, are held. The
 * descriptor by which the other process waits for them (close-on-exec), or -1: the host cannot, or
 * somebody else has such a filter for us. When it is closed, the calls fail. Nothing but system
 * calls; sets no_new_privs.
 */
int handover_listen(void);

/*
 * Waits for a call for at most so many milliseconds: 1, then it is held; 0, none came yet; or
 * -ESRCH: nobody is left to make one, which hosts tell from Linux 6.11 on.
 */
int handover_wait(int listener, int milliseconds, uint64_t *call);

/* Lets it return. Who made it may be gone, or was stopped meanwhile, and makes it anew. */
void handover_answer(int listener, uint64_t call);

#endif
