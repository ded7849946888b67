/* SPDX-License-Identifier: MIT */
/*
 * Giving up what a thread could do (seccomp(2), landlock(7), capabilities(7)), before it works on what
 * somebody hostile sends. There is no way back, and what the thread starts inherits it. The calling thread.
 */
#ifndef RINGLET_HOST_SANDBOX_H
#define RINGLET_HOST_SANDBOX_H

#include <stdint.h>

struct error;

/* A system call that stays; if arg_mask, where (argument number arg & arg_mask) is arg_value. */
struct sandbox_call {
	int number;
	unsigned arg;
	uint32_t arg_mask, arg_value;
};

struct sandbox {
	/* All others fail with EPERM. One may be there several times, with several values. */
	const struct sandbox_call *calls;
	unsigned call_count; /* at most SANDBOX_CALLS_MAX */
	/*
	 * Directories whose files it may read, ended by NULL; all others are out of reach, where the
	 * kernel has Landlock. Those that are not there do not matter.
	 */
	const char *const *readable;
};

#define SANDBOX_CALLS_MAX 128u

/* 0, or -errno: it is not confined as it should be, and had better end. */
int sandbox_enter(const struct sandbox *sandbox, struct error *err);

#endif
