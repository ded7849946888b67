/* SPDX-License-Identifier: MIT */
/* Fuzz target: the socket device, with clients and a server on the host that do as they like. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "virtio/vsock.h"
#include "virtio_target.h"

#define CID 3u
#define SOCKETS 4u

static struct host {
	struct device dev; /* destroyed before the device, so that nobody waits for its readers */
	char dir[32], path[48];
	int listener[2]; /* for streams, for messages */
	int fd[SOCKETS];
} host = { .listener = { -1, -1 }, .fd = { -1, -1, -1, -1 } };

static void must(bool ok)
{
	if (!ok)
		abort();
}

static struct sockaddr_un address(const char *suffix)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	snprintf(address.sun_path, sizeof(address.sun_path), "%s%s", host.path, suffix);
	return address;
}

static int open_socket(bool messages)
{
	int fd = socket(AF_UNIX, (messages ? SOCK_SEQPACKET : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	must(fd >= 0);
	return fd;
}

static void clean_up(void)
{
	unlink(address("_1").sun_path);
	unlink(address("_2").sun_path);
	rmdir(host.dir);
}

/* Once a process: where the sockets are, and the server. */
static void make_directory(void)
{
	struct sockaddr_un at;

	strcpy(host.dir, "/tmp/fuzz-vsock-XXXXXX");
	must(mkdtemp(host.dir));
	atexit(clean_up);
	snprintf(host.path, sizeof(host.path), "%s/v", host.dir);
	for (unsigned i = 0; i < 2; i++) {
		at = address(i ? "_2" : "_1");
		host.listener[i] = open_socket(i);
		must(!bind(host.listener[i], (struct sockaddr *)&at, sizeof(at)) &&
		     !listen(host.listener[i], 1));
	}
}

static void hang_up(unsigned which)
{
	if (host.fd[which] >= 0)
		close(host.fd[which]);
	host.fd[which] = -1;
}

static void host_reset(struct device *dev)
{
	(void)dev;
}

static void host_destroy(struct device *dev)
{
	int fd;

	(void)dev;
	for (unsigned i = 0; i < SOCKETS; i++)
		hang_up(i);
	for (unsigned i = 0; i < 2; i++)
		while ((fd = accept(host.listener[i], NULL, NULL)) >= 0)
			close(fd);
}

static const struct device_class host_class = {
	.name = "host", .reset = host_reset, .destroy = host_destroy,
};

static void begin(unsigned which, bool accepting, bool messages, struct fuzz_input *input)
{
	const struct sockaddr_un at = address(messages ? "_seqpacket" : "");
	char text[32];
	int length;

	hang_up(which);
	if (accepting) {
		host.fd[which] = accept4(host.listener[messages], NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		return;
	}
	host.fd[which] = open_socket(messages);
	if (connect(host.fd[which], (const struct sockaddr *)&at, sizeof(at)))
		return;
	length = snprintf(text, sizeof(text), "CONNECT %u\n", fuzz_u8(input));
	(void)!send(host.fd[which], text, (size_t)length, MSG_NOSIGNAL);
}

static void more(struct device_target *target, struct fuzz_input *input)
{
	static uint8_t data[65536];
	uint8_t what = fuzz_u8(input);
	unsigned which = what >> 4 & (SOCKETS - 1);
	int fd = host.fd[which];

	(void)target;
	switch (what & 7) {
	case 0: case 1:
		begin(which, what & 1, what & 8, input);
		break;
	case 2: case 3:
		fuzz_take(input, data, what & 2 ? 32 : 2);
		(void)!send(fd, data, what & 8 ? sizeof(data) : 32, MSG_NOSIGNAL);
		break;
	case 4: case 5:
		(void)!recv(fd, data, sizeof(data), 0);
		break;
	case 6:
		shutdown(fd, what & 8 ? SHUT_WR : SHUT_RD);
		break;
	default:
		hang_up(which);
	}
}

static void setup(struct device_target *target)
{
	const struct virtio_vsock_options options = { .cid = CID, .path = host.path };
	struct virtio_device *virtio;

	if (host.listener[0] < 0)
		make_directory();
	virtio_target_open(target, more);
	must(!virtio_vsock_create(&target->env, &options, &virtio, NULL));
	virtio_target_plug(target, virtio);
	host.dev.class = &host_class;
	target->device[target->devices] = &host.dev;
	device_target_keep(target, 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
