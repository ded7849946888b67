/* SPDX-License-Identifier: MIT */
/*
 * Links of messages (virtio 1.2, 5.10.6.6): what SOCK_SEQPACKET has and a stream has not. Between the
 * devices a message is cut into packets, of which the last one says so; on the host it is one
 * datagram. A socket of the host's takes all of it or nothing, and gives it once: so both ways it
 * is put together here. Messages without a byte are lost: to read one looks like the end. Loop's
 * thread, machine lock held.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/iov.h"
#include "virtio/vsock_link.h"

#define WORD_BITS 64u

/* ---- from the guest ---- */

void vsock_message_end(struct vsock_link *link)
{
	size_t last = (link->queue.head + link->queue.used - 1) % VSOCK_QUEUE_BYTES;

	link->ends[last / WORD_BITS] |= 1ull << last % WORD_BITS;
	link->partial = 0;
}

/* Where the first byte from at on is that ends a message; there is one. */
static size_t find_end(const struct vsock_link *link, size_t at)
{
	uint64_t word;

	while (!(word = link->ends[at / WORD_BITS] >> at % WORD_BITS))
		at = (at / WORD_BITS + 1) * WORD_BITS % VSOCK_QUEUE_BYTES;
	return at + (unsigned)__builtin_ctzll(word);
}

unsigned vsock_message_peek(const struct vsock_link *link, struct iovec pieces[2])
{
	size_t head = link->queue.head, end = find_end(link, head);
	uint8_t *data = link->queue.data;

	if (end >= head) {
		pieces[0] = (struct iovec){ data + head, end - head + 1 };
		return 1;
	}
	pieces[0] = (struct iovec){ data + head, VSOCK_QUEUE_BYTES - head };
	pieces[1] = (struct iovec){ data, end + 1 };
	return 2;
}

void vsock_message_drop(struct vsock_link *link, size_t bytes)
{
	size_t end = (link->queue.head + bytes - 1) % VSOCK_QUEUE_BYTES;

	link->ends[end / WORD_BITS] &= ~(1ull << end % WORD_BITS);
	fifo_drop(&link->queue, bytes);
}

/* ---- from the host ---- */

static bool is_end(int fd)
{
	struct pollfd poll_fd = { .fd = fd, .events = POLLRDHUP };
	int left = 0;

	return poll(&poll_fd, 1, 0) > 0 && poll_fd.revents & (POLLRDHUP | POLLHUP) &&
	       !ioctl(fd, FIONREAD, &left) && !left;
}

/* The next message's bytes; 0: there is none, or none with bytes. */
static size_t next_bytes(struct vsock_link *link)
{
	ssize_t bytes;

	do
		bytes = recv(link->fd, NULL, 0, MSG_PEEK | MSG_TRUNC);
	while (bytes < 0 && errno == EINTR);
	if (bytes > 0)
		return (size_t)bytes;
	if (!bytes && is_end(link->fd))
		vsock_link_read_ended(link);
	else if (!bytes)
		recv(link->fd, NULL, 0, 0);
	else if (errno == EAGAIN)
		link->readable = false;
	else
		vsock_link_host_gone(link);
	return 0;
}

/* False: there is none; or one that would never find room in the guest, and the link is over. */
static bool fetch(struct vsock_link *link)
{
	size_t bytes = next_bytes(link);

	if (!bytes)
		return false;
	link->message_sent = 0;
	link->message_bytes = bytes;
	if (bytes <= VSOCK_QUEUE_BYTES && bytes <= link->guest_alloc)
		link->message = malloc(bytes);
	if (link->message && recv(link->fd, link->message, bytes, 0) == (ssize_t)bytes)
		return true;
	free(link->message);
	link->message = NULL;
	vsock_link_host_gone(link);
	return false;
}

size_t vsock_message_read(struct vsock_link *link, const struct iovec *pieces, unsigned count,
			  bool *ends)
{
	size_t bytes;

	if (!link->message && !fetch(link))
		return 0;
	bytes = iov_write(pieces, count, 0, link->message + link->message_sent,
			  link->message_bytes - link->message_sent);
	link->message_sent += bytes;
	*ends = link->message_sent == link->message_bytes;
	if (*ends) {
		free(link->message);
		link->message = NULL;
	}
	return bytes;
}
