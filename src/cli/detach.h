/* SPDX-License-Identifier: MIT */
/*
 * A machine in the background: a child process, in a session of its own, that its parent waits for
 * until the machine runs. Until then, what it says on standard error is kept in memory for the parent
 * to print, so that neither it nor a helper of its holds on to ours. Main thread, before there is any
 * other.
 */
#ifndef RINGLET_CLI_DETACH_H
#define RINGLET_CLI_DETACH_H

#include <stdbool.h>

struct detachment {
	int fd;  /* to the parent, who waits; -1: nobody does */
	int log; /* what went to standard error */
};

/*
 * True in the child, whose standard input and output are no more. False in the parent, once the
 * machine runs or has failed to; *status is what to exit with.
 */
bool detach_begin(struct detachment *detachment, int *status);

/* In the child: the machine runs, by this name. What goes to standard error from now on is lost. */
void detach_finish(struct detachment *detachment, const char *name);

#endif
