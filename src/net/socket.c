/* SPDX-License-Identifier: MIT */
#include "net/socket.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

#define BUFFER_BYTES (1 << 20) /* each way; the system gives less to who may not have it */

int net_socket_pair(int ends[2], struct error *err)
{
	const int bytes = BUFFER_BYTES;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends))
		return error_set_errno(err, errno, "cannot create a network's socket");
	for (unsigned i = 0; i < 2; i++)
		if (setsockopt(ends[i], SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes)))
			setsockopt(ends[i], SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	return 0;
}

static int socket_send(struct net *net, unsigned queue, const struct iovec *iov, unsigned count)
{
	const struct msghdr message = { .msg_iov = (struct iovec *)iov, .msg_iovlen = count };

	if (sendmsg(net->fd[queue], &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return 0;
	return -errno;
}

static ssize_t socket_receive(struct net *net, unsigned queue, void *frame, size_t size)
{
	ssize_t got = recv(net->fd[queue], frame, size, MSG_DONTWAIT);

	if (got > 0)
		return got;
	if (!got || errno == ECONNRESET)
		return -EPIPE;
	return -errno;
}

static void socket_close(struct net *net)
{
	close(net->fd[0]);
	free(net);
}

static const struct net_class socket_class = {
	.send = socket_send,
	.receive = socket_receive,
	.close = socket_close,
};

int net_socket_open(const char *kind, int fd, const struct net_info *info, struct net **out,
		    struct error *err)
{
	struct net *net = calloc(1, sizeof(*net));

	if (!net) {
		close(fd);
		return error_set(err, ENOMEM, "no memory for a network");
	}
	*net = (struct net){ .class = &socket_class, .kind = kind, .info = *info, .fd = { fd } };
	*out = net;
	return 0;
}
