/* SPDX-License-Identifier: MIT */
/*
 * How links begin, seen from the host (docs/VSOCK.md). A client connects to the device's socket and
 * says "CONNECT PORT"; when the guest has accepted, it reads "OK PORT", and then the guest's bytes.
 * A guest that asks for a port of the host gets whoever listens at the path of that port. The same
 * goes for messages, with sockets of that type.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "host/clock.h"
#include "host/loop.h"
#include "virtio/vsock_link.h"

#define BACKLOG 128
#define PORT_TEXT "_4294967295"
#define SEQPACKET_TEXT "_seqpacket"
#define FIRST_PORT (1u << 30)
#define RETRY_NS (CLOCK_NS_PER_S / 100)
#define CALL_NS (2 * CLOCK_NS_PER_S) /* as long as Linux waits for an answer */

/* ---- from the host to the guest ---- */

/* "CONNECT PORT\n" */
static bool parse_greeting(const char *text, uint32_t *port)
{
	const char *digits = text + strlen("CONNECT ");
	size_t count;
	unsigned long long value;

	if (strncmp(text, "CONNECT ", strlen("CONNECT ")))
		return false;
	count = strspn(digits, "0123456789");
	value = strtoull(digits, NULL, 10);
	*port = (uint32_t)value;
	return count && count <= 10 && value < UINT32_MAX &&
	       (!strcmp(digits + count, "\n") || !strcmp(digits + count, "\r\n"));
}

static void ask_guest(struct vsock_link *link)
{
	struct vsock *vsock = link->vsock;
	uint32_t port;

	if (!parse_greeting(link->greeting, &port) || !virtio_running(&vsock->virtio) ||
	    (vsock_has_messages(link) && !virtio_has(&vsock->virtio, VIRTIO_VSOCK_F_SEQPACKET))) {
		vsock_link_kill(link);
		return;
	}
	do
		vsock->next_port = vsock->next_port < UINT32_MAX - 1 ? vsock->next_port + 1 :
								       FIRST_PORT;
	while (vsock_link_find(vsock, port, vsock->next_port));
	vsock_link_key(link, port, vsock->next_port);
	link->state = VSOCK_ASKING;
	link->to_say |= VSOCK_SAY_REQUEST;
}

/* Takes the first line alone: what follows it is the guest's. */
static void hear_greeting(struct vsock_link *link)
{
	char *text = link->greeting + link->greeting_bytes, *end;
	size_t room = sizeof(link->greeting) - 1 - link->greeting_bytes, take;
	ssize_t got = recv(link->fd, text, room, MSG_PEEK);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		vsock_link_kill(link);
		return;
	}
	end = memchr(text, '\n', (size_t)got);
	take = end ? (size_t)(end - text) + 1 : (size_t)got;
	if (recv(link->fd, text, take, 0) != (ssize_t)take || (!end && take == room)) {
		vsock_link_kill(link);
		return;
	}
	link->greeting_bytes += (unsigned)take;
	text[take] = 0;
	if (end)
		ask_guest(link);
}

void vsock_host_event(struct vsock_link *link, uint32_t events)
{
	if (link->state == VSOCK_GREETING)
		hear_greeting(link);
	else if (events & (EPOLLHUP | EPOLLERR))
		vsock_reset(link);
}

void vsock_host_accepted(struct vsock_link *link)
{
	char text[32];
	int length = snprintf(text, sizeof(text), "OK %u\n", link->host_port);

	link->state = VSOCK_OPEN;
	/* Its first bytes: there is room for them if there is anybody. */
	if (send(link->fd, text, (size_t)length, MSG_NOSIGNAL) != length)
		vsock_reset(link);
}

/* ---- from the guest to the host ---- */

/* 0, or -errno; -EAGAIN: its queue is full. */
static int try_call(const struct vsock_link *link)
{
	struct sockaddr_un address = link->vsock->listener->address;
	size_t length = strlen(address.sun_path);

	snprintf(address.sun_path + length, sizeof(address.sun_path) - length, "_%u",
		 link->host_port);
	return connect(link->fd, (const struct sockaddr *)&address, sizeof(address)) ? -errno : 0;
}

/* 0: it is open, or will be tried again; else refuse. */
static int call(struct vsock_link *link)
{
	int ret = try_call(link);

	if (!ret) {
		link->state = VSOCK_OPEN;
		link->to_say |= VSOCK_SAY_RESPONSE;
		return 0;
	}
	if (ret != -EAGAIN || clock_now_ns() >= link->call_deadline_ns)
		return -ECONNREFUSED;
	loop_timer_arm(link->vsock->retry, clock_now_ns() + RETRY_NS);
	return 0;
}

/* Of the host's side. */
static int open_socket(uint16_t type)
{
	int kind = type == VIRTIO_VSOCK_TYPE_SEQPACKET ? SOCK_SEQPACKET : SOCK_STREAM;

	return socket(AF_UNIX, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* A link of that type, which takes fd over. */
static struct vsock_link *make_link(struct vsock *vsock, enum vsock_state state, uint16_t type,
				    int fd)
{
	const int bytes = VSOCK_QUEUE_BYTES;

	/* A message as long as the guest's credit fits. */
	if (type == VIRTIO_VSOCK_TYPE_SEQPACKET)
		setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	return vsock_link_create(vsock, state, type, fd);
}

struct vsock_link *vsock_host_call(struct vsock *vsock, const struct virtio_vsock_hdr *packet)
{
	struct vsock_link *link;
	int fd;

	if (vsock->listener->fd < 0)
		return NULL;
	fd = open_socket(packet->type);
	link = fd < 0 ? NULL : make_link(vsock, VSOCK_CALLING, packet->type, fd);
	if (!link)
		return NULL;
	vsock_link_key(link, packet->src_port, packet->dst_port);
	link->call_deadline_ns = clock_now_ns() + CALL_NS;
	if (!call(link))
		return link;
	vsock_link_kill(link);
	return NULL;
}

/* ---- listening ---- */

static uint16_t type_of(const struct vsock_listener *listener)
{
	return listener == listener->vsock->listener ? VIRTIO_VSOCK_TYPE_STREAM :
						       VIRTIO_VSOCK_TYPE_SEQPACKET;
}

/* As many at once as can wait; the rest is for the next turn of the loop. */
static void on_clients(void *opaque, uint32_t events)
{
	struct vsock_listener *listener = opaque;
	struct vsock *vsock = listener->vsock;

	(void)events;
	for (unsigned i = 0; i < BACKLOG; i++) {
		int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct vsock_link *link;

		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			       errno == ENOMEM)) {
			/* Who waits goes on waiting, and would wake us for ever. */
			loop_watch_remove(listener->watch);
			listener->watch = NULL;
			loop_timer_arm(vsock->retry, clock_now_ns() + RETRY_NS);
		}
		if (fd < 0)
			break;
		link = make_link(vsock, VSOCK_GREETING, type_of(listener), fd);
		if (link)
			vsock_link_update(link);
	}
	vsock_bury(vsock);
}

/* False: it has to be tried again. */
static bool watch_clients(struct vsock_listener *listener)
{
	if (!listener->watch && listener->fd >= 0 &&
	    loop_watch_add(listener->vsock->virtio.env->loop, listener->fd, EPOLLIN, on_clients,
			   listener, &listener->watch))
		listener->watch = NULL;
	return listener->watch || listener->fd < 0;
}

static void retry(void *opaque)
{
	struct vsock *vsock = opaque;
	struct vsock_link *link, *next;

	for (link = LIST_FIRST(&vsock->links); link; link = next) {
		next = LIST_NEXT(link, all);
		if (link->state != VSOCK_CALLING)
			continue;
		if (call(link))
			vsock_reset(link);
		vsock_link_update(link);
	}
	for (unsigned i = 0; i < VSOCK_LISTENERS; i++)
		if (!watch_clients(&vsock->listener[i]))
			loop_timer_arm(vsock->retry, clock_now_ns() + RETRY_NS);
	vsock_pump(vsock);
}

/* What a monitor left that was killed: nobody listens there. */
static bool is_left_over(const struct sockaddr_un *address, uint16_t type)
{
	struct stat status;
	int fd;
	bool refused;

	if (lstat(address->sun_path, &status) || !S_ISSOCK(status.st_mode))
		return false;
	fd = open_socket(type);
	refused = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) &&
		  errno == ECONNREFUSED;
	if (fd >= 0)
		close(fd);
	return refused;
}

static int bind_anew(int fd, const struct sockaddr_un *address, uint16_t type)
{
	const struct sockaddr *generic = (const struct sockaddr *)address;

	if (!bind(fd, generic, sizeof(*address)))
		return 0;
	if (errno == EADDRINUSE && is_left_over(address, type) && !unlink(address->sun_path) &&
	    !bind(fd, generic, sizeof(*address)))
		return 0;
	return -errno;
}

static int begin_to_listen(struct vsock_listener *listener, struct error *err)
{
	const struct sockaddr_un *address = &listener->address;
	uint16_t type = type_of(listener);
	int fd = open_socket(type), ret;

	if (fd < 0)
		return error_set_errno(err, errno, "vsock: no socket");
	/* Before it has a name: nobody else can have connected. */
	ret = fchmod(fd, 0600) ? -errno : bind_anew(fd, address, type);
	if (ret) {
		/* Nor is what is there ours to remove. */
		close(fd);
		return error_set_errno(err, -ret, "vsock: cannot listen at %s", address->sun_path);
	}
	listener->fd = fd;
	if (listen(fd, BACKLOG) || !watch_clients(listener))
		return error_set(err, ENOMEM, "vsock: cannot listen at %s", address->sun_path);
	return 0;
}

int vsock_host_listen(struct vsock *vsock, const char *path, struct error *err)
{
	int ret = 0;

	vsock->next_port = FIRST_PORT;
	if (!*path || strlen(path) + sizeof(PORT_TEXT) > sizeof(vsock->listener->address.sun_path))
		return error_set(err, EINVAL, "vsock: a socket's path has 1 to %zu bytes, not '%s'",
				 sizeof(vsock->listener->address.sun_path) - sizeof(PORT_TEXT), path);
	if (loop_timer_create(vsock->virtio.env->loop, retry, vsock, &vsock->retry))
		return error_set(err, ENOMEM, "vsock: no memory");
	for (unsigned i = 0; i < VSOCK_LISTENERS && !ret; i++) {
		struct vsock_listener *listener = &vsock->listener[i];

		listener->vsock = vsock;
		listener->address.sun_family = AF_UNIX;
		snprintf(listener->address.sun_path, sizeof(listener->address.sun_path), "%s%s",
			 path, i ? SEQPACKET_TEXT : "");
		ret = begin_to_listen(listener, err);
	}
	return ret;
}

void vsock_host_close(struct vsock *vsock)
{
	loop_timer_destroy(vsock->retry);
	for (unsigned i = 0; i < VSOCK_LISTENERS; i++) {
		struct vsock_listener *listener = &vsock->listener[i];

		loop_watch_remove(listener->watch);
		if (listener->fd < 0)
			continue;
		unlink(listener->address.sun_path);
		close(listener->fd);
	}
}
