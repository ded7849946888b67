/* SPDX-License-Identifier: MIT */
/* Fuzz target: the network card, and a host that sends, reads and refuses as it likes. */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/socket.h"
#include "virtio/net.h"
#include "virtio_target.h"

#define OFFLOADS (NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN | NET_UFO)

/* The network, the socket behind it, and the host's end. */
static struct {
	struct net net; /* must be first */
	struct net *socket;
	int peer;
	bool full;
} host;

static int host_send(struct net *net, unsigned queue, const struct iovec *iov, unsigned count)
{
	(void)net;
	return host.full ? -EAGAIN : net_send(host.socket, queue, iov, count);
}

static ssize_t host_receive(struct net *net, unsigned queue, void *frame, size_t size)
{
	(void)net;
	return net_receive(host.socket, queue, frame, size);
}

static void host_close(struct net *net)
{
	(void)net;
	net_close(host.socket);
	if (host.peer >= 0)
		close(host.peer);
}

static const struct net_class host_class = {
	.send = host_send, .receive = host_receive, .close = host_close,
};

static void inject(struct fuzz_input *input)
{
	uint8_t packet[NET_HEADER_BYTES + 4096] = { 0 };
	size_t len = fuzz_u16(input) % sizeof(packet);

	fuzz_take(input, packet, NET_HEADER_BYTES + 18);
	send(host.peer, packet, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void more(struct device_target *target, struct fuzz_input *input)
{
	uint8_t what = fuzz_u8(input), byte;

	(void)target;
	host.full = what & 0x10;
	switch (what & 3) {
	case 0:
		while (recv(host.peer, &byte, 1, MSG_DONTWAIT) >= 0)
			;
		break;
	case 3:
		if ((what & 0xe0) == 0xe0 && host.peer >= 0) {
			close(host.peer);
			host.peer = -1;
		}
		break;
	default:
		inject(input);
	}
}

static void setup(struct device_target *target)
{
	struct virtio_net_options options = { .net = &host.net, .mac = { 2, 0, 0, 0, 0, 1 } };
	struct virtio_device *virtio;
	int ends[2];

	host.full = false;
	host.net = (struct net){ .class = &host_class, .kind = "fuzz",
				 .info = { .queues = 1, .from_guest = OFFLOADS,
					   .to_guest = OFFLOADS, .mtu = 1500 } };
	virtio_target_open(target, more);
	if (net_socket_pair(ends, NULL) ||
	    net_socket_open("fuzz", ends[0], &host.net.info, &host.socket, NULL))
		abort();
	host.net.fd[0] = ends[0];
	host.peer = ends[1];
	if (virtio_net_create(&target->env, &options, &virtio, NULL))
		abort();
	virtio_target_plug(target, virtio);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
