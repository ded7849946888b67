/* SPDX-License-Identifier: MIT */
/* See handover.h. */
#include "host/handover.h"

#include <asm/unistd.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Linux 6.6's, which wakes the other side on this processor. */
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, __u64)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP 1ul
#endif

int handover_listen(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, HANDOVER_CALL, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };
	int listener;

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -1;
	/* A guest's speculation is its own business: no mitigation that would slow it. */
	listener = (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER,
				SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_SPEC_ALLOW,
				&program);
	if (listener >= 0 && ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS,
				   SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP)) {
		close(listener);
		return -1;
	}
	return listener;
}

int handover_wait(int listener, int milliseconds, uint64_t *call)
{
	struct pollfd calls = { .fd = listener, .events = POLLIN };

	for (;;) {
		struct seccomp_notif notification = { .id = 0 };
		int ready = poll(&calls, 1, milliseconds);

		if (!ready)
			return 0;
		if (ready > 0 && calls.revents & POLLIN) {
			if (!ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notification)) {
				*call = notification.id;
				return 1;
			}
			/* Who made it was stopped since, and will make it anew. */
			if (errno != ENOENT && errno != EINTR)
				return -ESRCH;
		} else if (ready > 0 ? calls.revents & (POLLHUP | POLLNVAL) : errno != EINTR) {
			return -ESRCH;
		}
	}
}

void handover_answer(int listener, uint64_t call)
{
	struct seccomp_notif_resp response = { .id = call };

	while (ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response) && errno == EINTR)
		;
}
