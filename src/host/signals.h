/* SPDX-License-Identifier: MIT */
/*
 * What signals do to this process. A signal's disposition belongs to the process, so this is
 * process-wide state by nature; it is kept here alone. Functions may be called from any thread but
 * serialise themselves in no way: set up and tear down happen on one thread.
 */
#ifndef RINGLET_HOST_SIGNALS_H
#define RINGLET_HOST_SIGNALS_H

/*
 * Something to undo whichever way the process ends (a terminal's mode): run at exit() and before a
 * fatal signal takes its effect. run is called at most once, must be async-signal-safe, and may run
 * on any thread. The struct stays the caller's.
 */
struct signals_undo {
	void (*run)(void *opaque);
	void *opaque;
	struct signals_undo *next;
};

/* The last added runs first. */
void signals_undo_add(struct signals_undo *undo);
void signals_undo_remove(struct signals_undo *undo);

/*
 * Runs what is to be undone, for handlers of their own that end the process. Async-signal-safe.
 * (Faults that have no handler when the first undo is added need none of this.)
 */
void signals_undo_run(void);

/* Each signum adds 1 to the eventfd from now on; fd -1 goes back to the default. */
void signals_forward(int signum, int event_fd);

/* A signal that does nothing but end the system call that a thread is in (EINTR). */
int signals_wakeup(void);

/* Writing to a closed pipe is an error code, not death. */
void signals_ignore_pipe(void);

#endif
