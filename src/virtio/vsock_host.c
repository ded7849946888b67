/* SPDX-License-Identifier: MIT */
/*
 * How links begin, seen from the host (docs/VSOCK.md). A client connects to the device's socket and
 * says "CONNECT PORT"; when the guest has accepted, it reads "OK PORT", and then the guest's bytes.
 * A guest that asks for a port of the host gets whoever listens at the path of that port.
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

	if (!parse_greeting(link->greeting, &port) || !virtio_running(&vsock->virtio)) {
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
	struct sockaddr_un address = link->vsock->address;
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

struct vsock_link *vsock_host_call(struct vsock *vsock, uint32_t guest_port, uint32_t host_port)
{
	struct vsock_link *link;
	int fd;

	if (vsock->listen_fd < 0)
		return NULL;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	link = fd < 0 ? NULL : vsock_link_create(vsock, VSOCK_CALLING, fd);
	if (!link)
		return NULL;
	vsock_link_key(link, guest_port, host_port);
	link->call_deadline_ns = clock_now_ns() + CALL_NS;
	if (!call(link))
		return link;
	vsock_link_kill(link);
	return NULL;
}

/* ---- listening ---- */

/* As many at once as can wait; the rest is for the next turn of the loop. */
static void on_clients(void *opaque, uint32_t events)
{
	struct vsock *vsock = opaque;

	(void)events;
	for (unsigned i = 0; i < BACKLOG; i++) {
		int fd = accept4(vsock->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct vsock_link *link;

		if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOBUFS ||
			       errno == ENOMEM)) {
			/* Who waits goes on waiting, and would wake us for ever. */
			loop_watch_remove(vsock->listen_watch);
			vsock->listen_watch = NULL;
			loop_timer_arm(vsock->retry, clock_now_ns() + RETRY_NS);
		}
		if (fd < 0)
			break;
		link = vsock_link_create(vsock, VSOCK_GREETING, fd);
		if (link)
			vsock_link_update(link);
	}
	vsock_bury(vsock);
}

static void watch_clients(struct vsock *vsock)
{
	if (loop_watch_add(vsock->virtio.env->loop, vsock->listen_fd, EPOLLIN, on_clients, vsock,
			   &vsock->listen_watch))
		vsock->listen_watch = NULL;
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
	if (!vsock->listen_watch)
		watch_clients(vsock);
	if (!vsock->listen_watch)
		loop_timer_arm(vsock->retry, clock_now_ns() + RETRY_NS);
	vsock_pump(vsock);
}

/* What a monitor left that was killed: nobody listens there. */
static bool is_left_over(const struct sockaddr_un *address)
{
	struct stat status;
	int fd;
	bool refused;

	if (lstat(address->sun_path, &status) || !S_ISSOCK(status.st_mode))
		return false;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	refused = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof(*address)) &&
		  errno == ECONNREFUSED;
	if (fd >= 0)
		close(fd);
	return refused;
}

static int bind_anew(int fd, const struct sockaddr_un *address)
{
	const struct sockaddr *generic = (const struct sockaddr *)address;

	if (!bind(fd, generic, sizeof(*address)))
		return 0;
	if (errno == EADDRINUSE && is_left_over(address) && !unlink(address->sun_path) &&
	    !bind(fd, generic, sizeof(*address)))
		return 0;
	return -errno;
}

int vsock_host_listen(struct vsock *vsock, const char *path, struct error *err)
{
	int ret;

	vsock->next_port = FIRST_PORT;
	vsock->address.sun_family = AF_UNIX;
	if (!*path || strlen(path) + sizeof(PORT_TEXT) > sizeof(vsock->address.sun_path))
		return error_set(err, EINVAL, "vsock: a socket's path has 1 to %zu bytes, not '%s'",
				 sizeof(vsock->address.sun_path) - sizeof(PORT_TEXT), path);
	strcpy(vsock->address.sun_path, path);
	vsock->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (vsock->listen_fd < 0)
		return error_set_errno(err, errno, "vsock: no socket");
	/* Before it has a name: nobody else can have connected. */
	ret = fchmod(vsock->listen_fd, 0600) ? -errno : bind_anew(vsock->listen_fd, &vsock->address);
	if (ret) {
		close(vsock->listen_fd);
		vsock->listen_fd = -1; /* nor is what is at path ours to remove */
		return error_set_errno(err, -ret, "vsock: cannot listen at %s", path);
	}
	if (listen(vsock->listen_fd, BACKLOG) ||
	    loop_timer_create(vsock->virtio.env->loop, retry, vsock, &vsock->retry))
		return error_set(err, ENOMEM, "vsock: cannot listen at %s", path);
	watch_clients(vsock);
	return vsock->listen_watch ? 0 : error_set(err, ENOMEM, "vsock: no memory");
}

void vsock_host_close(struct vsock *vsock)
{
	loop_watch_remove(vsock->listen_watch);
	loop_timer_destroy(vsock->retry);
	if (vsock->listen_fd < 0)
		return;
	unlink(vsock->address.sun_path);
	close(vsock->listen_fd);
}
