/* SPDX-License-Identifier: MIT */
#include "host/thread.h"

#include <sched.h>
#include <signal.h>

#include "base/error.h"
#include "host/cpuid.h"

static void others_mask(sigset_t *mask)
{
	static const int own[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGABRT };

	sigfillset(mask);
	for (unsigned i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(mask, own[i]);
}

int thread_create(pthread_t *thread, const char *name, void *(*run)(void *opaque), void *opaque,
		  struct error *err)
{
	sigset_t blocked, before;
	int ret;

	/* A thread inherits that from its creator, and its mask: so there is no moment without it. */
	cpuid_allow();
	others_mask(&blocked);
	pthread_sigmask(SIG_SETMASK, &blocked, &before);
	ret = pthread_create(thread, NULL, run, opaque);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (ret)
		return error_set_errno(err, ret, "cannot start thread '%s'", name);
	pthread_setname_np(*thread, name);
	return 0;
}

unsigned thread_processors(void)
{
	cpu_set_t set;

	return sched_getaffinity(0, sizeof(set), &set) ? 1 : (unsigned)CPU_COUNT(&set);
}
