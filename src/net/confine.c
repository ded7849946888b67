/* SPDX-License-Identifier: MIT */
/*
 * What libslirp, glib and libc call once the network stands: found by reading and by strace. No way to
 * start a program or a process, to make code, to write a file, to reach another process or a Unix
 * socket. /etc and /run are where resolv.conf is, which libslirp looks at again when it changes.
 */
#include "net/confine.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>

#include "host/sandbox.h"

#define WRITES (O_ACCMODE | O_CREAT | O_TRUNC)

#define ANY(name) { .number = SYS_##name }
#define ONLY(name, n, mask, value) \
	{ .number = SYS_##name, .arg = (n), .arg_mask = (mask), .arg_value = (value) }

static const struct sandbox_call calls[] = {
	ANY(poll), ANY(recvfrom), ANY(sendmsg), ANY(sendto), ANY(recvmsg), ANY(read), ANY(write),
	ANY(readv), ANY(writev), ANY(futex),
	ONLY(socket, 0, ~0u, AF_INET), ONLY(socket, 0, ~0u, AF_INET6),
	ANY(connect), ANY(accept), ANY(accept4), ANY(bind), ANY(listen), ANY(shutdown), ANY(close),
	ANY(getsockname), ANY(getpeername), ANY(getsockopt), ANY(setsockopt), ANY(fcntl),
	ONLY(ioctl, 1, ~0u, FIONREAD), ONLY(ioctl, 1, ~0u, FIONBIO),
	ANY(brk), ANY(munmap), ANY(mremap), ANY(madvise),
	ONLY(mmap, 2, PROT_EXEC, 0), ONLY(mprotect, 2, PROT_EXEC, 0),
	ONLY(openat, 2, WRITES, 0), ONLY(open, 1, WRITES, 0),
	ANY(stat), ANY(fstat), ANY(newfstatat), ANY(statx), ANY(lseek),
	ANY(clock_gettime), ANY(gettimeofday), ANY(getrandom), ANY(sysinfo), ANY(getpid), ANY(gettid),
	ANY(ppoll), ANY(select), ANY(pselect6), ANY(restart_syscall),
	ANY(rt_sigreturn), ANY(rt_sigprocmask), ANY(rt_sigaction), ANY(sigaltstack),
	ANY(exit), ANY(exit_group),
};

int net_user_confine(struct error *err)
{
	static const char *const readable[] = { "/etc", "/run", NULL };
	const struct sandbox sandbox = { .calls = calls,
					 .call_count = sizeof(calls) / sizeof(calls[0]),
					 .readable = readable };

	return sandbox_enter(&sandbox, err);
}
