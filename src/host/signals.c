/* SPDX-License-Identifier: MIT */
/*
 * The undo list is read by signal handlers: nodes are linked in and out by one atomic store, and
 * the reader detaches the whole list first, so that an undo runs once even when a second signal,
 * or exit(), comes while the first is being handled.
 */
#include "host/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

static struct signals_undo *_Atomic undo_list;
static bool installed;
static _Atomic int forward_fd[NSIG];

void signals_undo_run(void)
{
	struct signals_undo *undo = atomic_exchange(&undo_list, NULL);

	for (; undo; undo = undo->next)
		undo->run(undo->opaque);
}

/* A handler that was installed after this one may have called it, so the action is set here. */
static void fatal(int signum)
{
	signals_undo_run();
	signal(signum, SIG_DFL);
	raise(signum);
}

static void install(void)
{
	static const int fatal_signals[] = {
		SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGABRT, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGSYS,
		SIGTRAP, SIGXCPU, SIGXFSZ, SIGALRM, SIGUSR1, SIGUSR2,
	};
	struct sigaction action = { .sa_handler = fatal, .sa_flags = SA_ONSTACK };

	sigemptyset(&action.sa_mask);
	for (unsigned i = 0; i < sizeof(fatal_signals) / sizeof(fatal_signals[0]); i++) {
		struct sigaction now;

		/* Ignored (nohup) stays ignored, and who handles a fault himself goes on doing so. */
		if (!sigaction(fatal_signals[i], NULL, &now) && now.sa_handler == SIG_DFL)
			sigaction(fatal_signals[i], &action, NULL);
	}
	atexit(signals_undo_run);
	installed = true;
}

void signals_undo_add(struct signals_undo *undo)
{
	if (!installed)
		install();
	undo->next = atomic_load(&undo_list);
	atomic_store(&undo_list, undo);
}

void signals_undo_remove(struct signals_undo *undo)
{
	struct signals_undo *before = atomic_load(&undo_list);

	if (before == undo) {
		atomic_store(&undo_list, undo->next);
		return;
	}
	while (before && before->next != undo)
		before = before->next;
	if (before)
		before->next = undo->next;
}

static void forward(int signum)
{
	int saved = errno, fd = atomic_load(&forward_fd[signum]);
	uint64_t one = 1;

	(void)!write(fd, &one, sizeof(one));
	errno = saved;
}

void signals_forward(int signum, int event_fd)
{
	struct sigaction action = { .sa_handler = forward, .sa_flags = SA_RESTART };

	sigemptyset(&action.sa_mask);
	if (event_fd < 0)
		action.sa_handler = SIG_DFL;
	else
		atomic_store(&forward_fd[signum], event_fd);
	sigaction(signum, &action, NULL);
}

static void nothing(int signum)
{
	(void)signum;
}

int signals_wakeup(void)
{
	struct sigaction action = { .sa_handler = nothing };
	int signum = SIGRTMIN;

	sigemptyset(&action.sa_mask);
	sigaction(signum, &action, NULL);
	return signum;
}

void signals_ignore_pipe(void)
{
	signal(SIGPIPE, SIG_IGN);
}
