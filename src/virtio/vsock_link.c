/* SPDX-License-Identifier: MIT */
/*
 * A link's life and its socket: see vsock_link.h. A socket is watched only for what can be dealt
 * with at once, for events are level-triggered; hang-ups, which cannot be left out, end something
 * whenever they are seen.
 */
#include "virtio/vsock_link.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/iov.h"
#include "host/clock.h"
#include "host/loop.h"

#define UNWATCHED UINT32_MAX

/* ---- life ---- */

struct vsock_link *vsock_link_create(struct vsock *vsock, enum vsock_state state, uint16_t type,
				     int fd)
{
	struct vsock_link *link = NULL;

	if (vsock->link_count < VSOCK_LINKS_MAX)
		link = calloc(1, sizeof(*link));
	if (!link) {
		close(fd);
		return NULL;
	}
	link->vsock = vsock;
	link->state = state;
	link->type = type;
	link->fd = fd;
	link->watched = UNWATCHED;
	LIST_INSERT_HEAD(&vsock->links, link, all);
	vsock->link_count++;
	return link;
}

static struct vsock_list *bucket_of(struct vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	return &vsock->bucket[(guest_port ^ host_port * 31) % VSOCK_BUCKETS];
}

void vsock_link_key(struct vsock_link *link, uint32_t guest_port, uint32_t host_port)
{
	link->guest_port = guest_port;
	link->host_port = host_port;
	link->is_keyed = true;
	LIST_INSERT_HEAD(bucket_of(link->vsock, guest_port, host_port), link, bucket);
}

struct vsock_link *vsock_link_find(struct vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_link *link;

	LIST_FOREACH(link, bucket_of(vsock, guest_port, host_port), bucket)
		if (link->guest_port == guest_port && link->host_port == host_port)
			return link;
	return NULL;
}

/* The guest's side of it is no more. */
static void unkey(struct vsock_link *link)
{
	if (link->is_keyed)
		LIST_REMOVE(link, bucket);
	if (link->is_ready)
		TAILQ_REMOVE(&link->vsock->ready, link, ready);
	link->is_keyed = link->is_ready = false;
}

static void watch(struct vsock_link *link, uint32_t events);

static void close_socket(struct vsock_link *link)
{
	watch(link, UNWATCHED);
	if (link->fd >= 0)
		close(link->fd);
	link->fd = -1;
}

static void release_queue(struct vsock_link *link)
{
	fifo_release(&link->queue);
	free(link->ends);
	link->ends = NULL;
	link->partial = 0;
}

void vsock_link_kill(struct vsock_link *link)
{
	if (link->state == VSOCK_DEAD)
		return;
	unkey(link);
	close_socket(link);
	release_queue(link);
	free(link->message);
	link->message = NULL;
	link->state = VSOCK_DEAD;
	LIST_REMOVE(link, all);
	LIST_INSERT_HEAD(&link->vsock->dead, link, all);
}

/* Of what the guest sent, the host can be given some. */
static bool has_output(const struct vsock_link *link)
{
	return link->queue.used > link->partial;
}

void vsock_link_forget(struct vsock_link *link)
{
	if (!has_output(link)) {
		vsock_link_kill(link);
		return;
	}
	unkey(link);
	link->state = VSOCK_DRAINING;
}

void vsock_bury(struct vsock *vsock)
{
	struct vsock_link *link;

	while ((link = LIST_FIRST(&vsock->dead))) {
		LIST_REMOVE(link, all);
		free(link);
		vsock->link_count--;
	}
}

/* ---- credit ---- */

/* A guest that says it forwarded more than was sent, or takes less than is under way, has none. */
uint32_t vsock_link_credit(const struct vsock_link *link)
{
	uint32_t under_way = link->sent - link->guest_forwarded;

	return under_way < link->guest_alloc ? link->guest_alloc - under_way : 0;
}

uint32_t vsock_link_guest_credit(const struct vsock_link *link)
{
	return VSOCK_QUEUE_BYTES - (link->received - link->forwarded);
}

/* Each packet tells it; one of its own is due before the guest has to wait for it. */
static void forwarded(struct vsock_link *link, size_t bytes)
{
	link->forwarded += (uint32_t)bytes;
	if (link->forwarded - link->told_forwarded >= VSOCK_QUEUE_BYTES / 4)
		link->to_say |= VSOCK_SAY_CREDIT;
}

/* ---- from the guest ---- */

static void host_shuts(struct vsock_link *link, uint32_t flags)
{
	if (flags & ~link->host_shutdown)
		link->to_say |= VSOCK_SAY_SHUTDOWN;
	link->host_shutdown |= flags;
}

/* The host reads no more: what comes from now on is dropped, and the guest told. */
static void write_failed(struct vsock_link *link)
{
	forwarded(link, link->queue.used);
	release_queue(link);
	link->write_ended = true;
	if (link->state == VSOCK_DRAINING)
		vsock_link_kill(link);
	else
		host_shuts(link, VIRTIO_VSOCK_SHUTDOWN_RCV);
}

/* All that the guest has sent so far is the host's, but for a message that is not whole. */
static void emptied(struct vsock_link *link)
{
	if (!link->queue.used)
		release_queue(link);
	if (link->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND && !link->write_ended) {
		shutdown(link->fd, SHUT_WR);
		link->write_ended = true;
	}
	if (link->state == VSOCK_DRAINING)
		vsock_link_kill(link);
}

/* Bytes that the host took, of a message all or none; may end the link's writing. */
static size_t send_pieces(struct vsock_link *link, struct iovec *pieces, size_t count)
{
	const struct msghdr message = { .msg_iov = pieces,
					.msg_iovlen = count < IOV_MAX ? count : IOV_MAX };
	ssize_t put;

	do
		put = sendmsg(link->fd, &message, MSG_NOSIGNAL);
	while (put < 0 && errno == EINTR);
	if (put < 0 && errno != EAGAIN)
		write_failed(link);
	if (put > 0)
		forwarded(link, (size_t)put);
	return put > 0 ? (size_t)put : 0;
}

static unsigned peek(const struct vsock_link *link, struct iovec pieces[2])
{
	const uint8_t *data;

	if (vsock_has_messages(link))
		return vsock_message_peek(link, pieces);
	pieces[0].iov_len = fifo_peek(&link->queue, &data);
	pieces[0].iov_base = (void *)data;
	return 1;
}

static void flush(struct vsock_link *link)
{
	struct iovec pieces[2];

	while (has_output(link)) {
		size_t put = send_pieces(link, pieces, peek(link, pieces));

		if (!put)
			return; /* also when writing has ended */
		if (vsock_has_messages(link))
			vsock_message_drop(link, put);
		else
			fifo_drop(&link->queue, put);
	}
	emptied(link);
}

static int make_queue(struct vsock_link *link)
{
	if (vsock_has_messages(link) && !(link->ends = calloc(1, VSOCK_QUEUE_BYTES / 8)))
		return -ENOMEM;
	return fifo_init(&link->queue, VSOCK_QUEUE_BYTES);
}

/* Puts what is behind the first skip bytes into the queue, where the guest's credit is room. */
static void keep(struct vsock_link *link, const struct iovec *pieces, unsigned count, size_t skip)
{
	if (!link->queue.data && make_queue(link)) {
		vsock_reset(link);
		return;
	}
	for (unsigned i = 0; i < count; i++) {
		size_t len = pieces[i].iov_len;

		if (skip < len)
			fifo_put(&link->queue, (const uint8_t *)pieces[i].iov_base + skip,
				 len - skip);
		skip -= skip < len ? skip : len;
	}
	if (vsock_has_messages(link))
		link->partial += (uint32_t)iov_bytes(pieces, count);
}

/* Without being kept. */
static bool may_send(const struct vsock_link *link, unsigned count, bool ends)
{
	if (link->write_ended || link->queue.used)
		return false;
	return !vsock_has_messages(link) || (ends && count <= IOV_MAX);
}

void vsock_link_receive(struct vsock_link *link, const struct iovec *pieces, unsigned count,
			size_t len, bool ends)
{
	size_t done = 0;

	link->received += (uint32_t)len;
	if (len && may_send(link, count, ends))
		done = send_pieces(link, (struct iovec *)pieces, count);
	if (link->write_ended)
		forwarded(link, len - done);
	else if (done < len)
		keep(link, pieces, count, done);
	if (ends && link->partial)
		vsock_message_end(link);
}

void vsock_link_guest_shutdown(struct vsock_link *link, uint32_t flags)
{
	link->guest_shutdown |= flags & VSOCK_BOTH;
	if (link->fd < 0)
		return;
	if (link->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV)
		shutdown(link->fd, SHUT_RD);
	if (!has_output(link))
		emptied(link);
}

/* ---- from the host ---- */

void vsock_link_host_gone(struct vsock_link *link)
{
	close_socket(link);
	forwarded(link, link->queue.used);
	release_queue(link);
	link->write_ended = link->ended = true;
	link->readable = false;
	host_shuts(link, VSOCK_BOTH);
}

void vsock_link_read_ended(struct vsock_link *link)
{
	struct pollfd poll_fd = { .fd = link->fd };

	link->readable = false;
	link->ended = true;
	host_shuts(link, VIRTIO_VSOCK_SHUTDOWN_SEND);
	if (poll(&poll_fd, 1, 0) > 0 && poll_fd.revents & POLLHUP)
		vsock_link_host_gone(link);
}

size_t vsock_link_read(struct vsock_link *link, const struct iovec *pieces, unsigned count,
		       bool *ends)
{
	ssize_t got;

	*ends = false;
	if (vsock_has_messages(link))
		return vsock_message_read(link, pieces, count, ends);
	do
		got = readv(link->fd, pieces, count < IOV_MAX ? (int)count : IOV_MAX);
	while (got < 0 && errno == EINTR);
	if (got > 0)
		return (size_t)got;
	link->readable = false;
	if (!got)
		vsock_link_read_ended(link);
	else if (errno != EAGAIN)
		vsock_link_host_gone(link);
	return 0;
}

/* ---- the socket ---- */

static bool may_read(const struct vsock_link *link)
{
	return !link->ended && !(link->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_RCV) &&
	       vsock_link_credit(link);
}

/* Events that can be dealt with; 0: hang-ups alone. */
static uint32_t interest(const struct vsock_link *link)
{
	uint32_t events = has_output(link) ? EPOLLOUT : 0;

	switch (link->state) {
	case VSOCK_GREETING:
		return EPOLLIN;
	case VSOCK_ASKING:
		return 0;
	case VSOCK_DRAINING:
		return events;
	case VSOCK_OPEN:
		if (may_read(link) && !link->readable)
			events |= EPOLLIN;
		/* With bytes unread, a hang-up is for later. */
		return events || link->ended ? events : UNWATCHED;
	case VSOCK_CALLING:
	case VSOCK_DEAD:
		break;
	}
	return UNWATCHED;
}

static void open_event(struct vsock_link *link, uint32_t events)
{
	const uint32_t broken = EPOLLHUP | EPOLLERR;

	if (events & EPOLLIN)
		link->readable = true;
	if (has_output(link) && events & (EPOLLOUT | broken))
		flush(link);
	else if (link->state == VSOCK_OPEN && link->ended && events & broken)
		vsock_link_host_gone(link);
}

static void on_event(void *opaque, uint32_t events)
{
	struct vsock_link *link = opaque;
	struct vsock *vsock = link->vsock;

	if (link->state == VSOCK_OPEN || link->state == VSOCK_DRAINING)
		open_event(link, events);
	else
		vsock_host_event(link, events);
	vsock_link_update(link);
	vsock_pump(vsock);
}

static void watch(struct vsock_link *link, uint32_t events)
{
	if (events == link->watched || (link->fd < 0 && !link->watch))
		return;
	link->watched = events;
	if (events == UNWATCHED) {
		loop_watch_remove(link->watch);
		link->watch = NULL;
	} else if (link->watch) {
		loop_watch_change(link->watch, events);
	} else if (loop_watch_add(link->vsock->virtio.env->loop, link->fd, events, on_event, link,
				  &link->watch)) {
		link->watch = NULL;
		vsock_reset(link);
	}
}

void vsock_link_update(struct vsock_link *link)
{
	watch(link, interest(link));
	if (!link->is_keyed || link->is_ready)
		return;
	if (link->to_say || (link->readable && may_read(link))) {
		TAILQ_INSERT_TAIL(&link->vsock->ready, link, ready);
		link->is_ready = true;
	}
}

void vsock_links_finish(struct vsock *vsock, int milliseconds)
{
	uint64_t deadline_ns = clock_now_ns() + (uint64_t)milliseconds * 1000000;
	struct vsock_link *link;

	while ((link = LIST_FIRST(&vsock->links))) {
		uint64_t now_ns = clock_now_ns();
		struct pollfd poll_fd = { .fd = link->fd, .events = POLLOUT };
		int left = now_ns < deadline_ns ? (int)((deadline_ns - now_ns) / 1000000) : 0;

		if (has_output(link) && poll(&poll_fd, 1, left) > 0)
			flush(link);
		else
			vsock_link_kill(link);
	}
	vsock_bury(vsock);
}
