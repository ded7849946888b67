/* SPDX-License-Identifier: MIT */
/*
 * The agent: a process that accepts connections of the host's on a vsock port and has each served
 * by a process of its own. It begins before the program does and ends with the machine.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/wire.h"
#include "init.h"

#define BACKLOG 64

static int listen_on(unsigned port)
{
	const struct sockaddr_vm address = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY,
					     .svm_port = port };
	int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && !bind(fd, (const struct sockaddr *)&address, sizeof(address)) &&
	    !listen(fd, BACKLOG))
		return fd;
	return -1;
}

static _Noreturn void serve(int listener)
{
	/* Who served a connection needs no burial. */
	signal(SIGCHLD, SIG_IGN);
	for (;;) {
		struct sockaddr_vm peer = { 0 };
		socklen_t size = sizeof(peer);
		int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);

		/* Programs of the guest's are no more than they are: this would make them root. */
		if (fd >= 0 && peer.svm_cid == VMADDR_CID_HOST && !fork()) {
			close(listener);
			serve_session(fd);
		}
		if (fd >= 0)
			close(fd);
		else if (errno != EINTR && errno != ECONNABORTED)
			sleep(1);
	}
}

void start_agent(void)
{
	int listener;

	if (!config_get("agent"))
		return;
	listener = listen_on(AGENT_PORT);
	if (listener < 0) {
		dprintf(STDERR_FILENO, "ringlet-init: no agent, since there is no vsock: %s\n",
			strerror(errno));
		return;
	}
	/* What connects from now on waits, if it must, until the agent runs. */
	if (!fork()) {
		setsid();
		serve(listener);
	}
	close(listener);
}
