/* SPDX-License-Identifier: MIT */
/* See vde.h. Frames have no header there; it comes and goes here. */
#include "net/vde.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "net/options.h"

#if HAVE_VDEPLUG
#include <fcntl.h>
#include <libvdeplug.h>
#include <unistd.h>

#include "base/iov.h"

#define MTU_DEFAULT 1500u

struct vde {
	struct net net; /* must be first */
	VDECONN *connection;
	uint8_t out[VDE_ETHBUFSIZE];
};

static int vde_send_frame(struct net *net, unsigned queue, const struct iovec *iov, unsigned count)
{
	struct vde *vde = (struct vde *)net;
	size_t len = iov_bytes(iov, count) - NET_HEADER_BYTES;

	(void)queue;
	if (len > sizeof(vde->out))
		return -EMSGSIZE;
	iov_read(iov, count, NET_HEADER_BYTES, vde->out, len);
	return vde_send(vde->connection, vde->out, len, 0) < 0 ? -errno : 0;
}

static ssize_t vde_receive(struct net *net, unsigned queue, void *frame, size_t size)
{
	struct vde *vde = (struct vde *)net;
	ssize_t got;

	(void)queue;
	errno = 0;
	got = vde_recv(vde->connection, (uint8_t *)frame + NET_HEADER_BYTES,
		       size - NET_HEADER_BYTES, 0);
	if (got < 0)
		return errno ? -errno : -EAGAIN;
	/* One byte is how the library says that it was nothing. */
	memset(frame, 0, NET_HEADER_BYTES);
	return got ? got + (ssize_t)NET_HEADER_BYTES : -EPIPE;
}

static void vde_close_net(struct net *net)
{
	vde_close(((struct vde *)net)->connection);
	free(net);
}

static const struct net_class vde_class = {
	.send = vde_send_frame,
	.receive = vde_receive,
	.close = vde_close_net,
};

int net_vde_open(const struct net_options *options, struct net **net, struct error *err)
{
	struct vde *vde = calloc(1, sizeof(*vde));
	unsigned mtu = options->mtu ? options->mtu : MTU_DEFAULT;
	int fd;

	if (!vde)
		return error_set(err, ENOMEM, "no memory for a network");
	if (mtu > VDE_MAXMTU) {
		free(vde);
		return error_set(err, EINVAL, "network vde: an MTU of at most %u, not %u",
				 VDE_MAXMTU, mtu);
	}
	vde->connection = vde_open((char *)options->url, (char *)"ringlet", NULL);
	if (!vde->connection) {
		free(vde);
		return error_set_errno(err, errno ? errno : ENOENT,
				       "network vde: cannot connect to %s",
				       options->url ? options->url : "the default switch");
	}
	fd = vde_datafd(vde->connection);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	vde->net = (struct net){ .class = &vde_class, .kind = "vde",
				 .info = { .queues = 1, .mtu = mtu }, .fd = { fd } };
	*net = &vde->net;
	return 0;
}

#else

int net_vde_open(const struct net_options *options, struct net **net, struct error *err)
{
	(void)options, (void)net;
	return error_set(err, ENOTSUP, "this build has no VDE: libvdeplug was missing");
}
#endif
