/* SPDX-License-Identifier: MIT */
/* See guest_socket.h; what is said on the way to a port of the guest is in docs/VSOCK.md. */
#include "cli/guest_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent/wire.h"
#include "base/error.h"
#include "base/utf8.h"
#include "control/client.h"
#include "host/clock.h"
#include "host/machines.h"

#define RETRY_US 50000

/* ---- for run ---- */

int guest_socket_choose(struct vm_config *config, const char *option, const char *name,
			struct error *err)
{
	unsigned long value;
	char *end;

	config->default_vsock = !option && !config->vsock_path;
	if (!option)
		option = name || config->vsock_path ? "auto" : "none";
	config->vsock_cid = 0;
	if (!strcmp(option, "none"))
		return 0;
	config->vsock_cid = VM_VSOCK_CID_AUTO;
	if (!strcmp(option, "auto"))
		return 0;
	value = strtoul(option, &end, 10);
	if (*option < '0' || *option > '9' || *end || value < VM_VSOCK_CID_AUTO ||
	    value >= UINT32_MAX)
		return error_set(err, EINVAL, "--vsock takes an address of 3 to 4294967294, auto or "
				 "none, not '%s'", option);
	config->vsock_cid = (uint32_t)value;
	return 0;
}

int guest_socket_place(struct guest_socket *place, struct vm_config *config, int dir,
		       struct error *err)
{
	if (!config->vsock_cid || config->vsock_path)
		return 0;
	if (dir < 0)
		return error_set(err, EINVAL, "--vsock: there is no directory for the machine's "
				 "socket: use --vsock-path");
	machines_address(dir, config->name, GUEST_SOCKET, &place->address);
	config->vsock_path = place->address.sun_path;
	return 0;
}

/* ---- for exec and cp ---- */

/* A socket, or -errno: -ENOENT: no such machine, -ECONNREFUSED: nobody listens. */
static int connect_device(int dir, const char *name)
{
	struct sockaddr_un address;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), ret;

	if (fd < 0)
		return -errno;
	machines_address(dir, name, GUEST_SOCKET, &address);
	if (!connect(fd, (const struct sockaddr *)&address, sizeof(address)))
		return fd;
	ret = -errno;
	close(fd);
	return ret;
}

/* 0: the guest has accepted; -EAGAIN: there is nobody yet. */
static int ask_for_agent(int fd)
{
	char text[32];
	int length = snprintf(text, sizeof(text), "CONNECT %u\n", AGENT_PORT), got = 0;

	if (send(fd, text, (size_t)length, MSG_NOSIGNAL) != length)
		return -EAGAIN;
	/* "OK PORT", and not a byte of what follows it. */
	do
		if (recv(fd, text + got, 1, 0) != 1)
			return -EAGAIN;
	while (text[got++] != '\n' && got < (int)sizeof(text));
	return text[0] == 'O' && text[1] == 'K' && text[got - 1] == '\n' ? 0 : -EPROTO;
}

static int hear_agent(int fd, const char *name, struct error *err)
{
	struct agent_header header;
	uint8_t *data = malloc(AGENT_FRAME_MAX + 1);
	uint32_t version = 0;
	int ret = data ? agent_receive(fd, &header, data) : -ENOMEM;

	if (!ret && (header.type != AGENT_HELLO || !agent_u32(&header, data, &version) ||
		     version != AGENT_VERSION))
		ret = error_set(err, EPROTO, "the agent in '%s' is of another version of ringlet",
				name);
	else if (ret)
		error_set_errno(err, -ret, "the agent in '%s' does not answer", name);
	free(data);
	return ret;
}

/* Why there is no socket: the machine may not be there at all. */
static int explain(int dir, const char *name, struct error *err)
{
	int fd = machines_connect(dir, name, err);

	if (fd < 0)
		return fd;
	close(fd);
	return error_set(err, ENOENT, "machine '%s' has no sockets between guest and host: start it "
			 "with --name or --vsock", name);
}

static int try_agent(int dir, const char *name, struct error *err)
{
	int fd = connect_device(dir, name), ret;

	if (fd == -ENOENT || fd == -ECONNREFUSED)
		return explain(dir, name, err);
	if (fd < 0)
		return error_set_errno(err, -fd, "cannot reach machine '%s'", name);
	ret = ask_for_agent(fd);
	if (ret)
		error_set(err, -ret, "no agent answers in '%s': its guest has none, or does not run "
			  "yet", name);
	else
		ret = hear_agent(fd, name, err);
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

void guest_text_clean(char *text)
{
	unsigned char *at = (unsigned char *)text;

	while (*at) {
		unsigned length = utf8_length(at);
		/* C0 and DEL; C1 has two bytes */
		bool control = *at < ' ' || *at == 0x7f || (*at == 0xc2 && at[1] < 0xa0);

		if (length && !control) {
			at += length;
		} else {
			for (unsigned i = 0; i < (length ? length : 1); i++)
				*at++ = '?';
		}
	}
}

/* Its guest would not answer, however long one waits. What the machine does not tell is fine. */
static int check_paused(int dir, const char *name, struct error *err)
{
	struct client client;
	const char *state = NULL;
	bool paused;

	if (!client_open(&client, dir, name, CLIENT_PATIENCE_S, NULL) &&
	    !client_ask(&client, "describe", NULL, NULL, NULL))
		state = json_text_of(json_member(&client.answer, client.result, "state"));
	paused = state && !strcmp(state, "paused");
	client_close(&client);
	return paused ? error_set(err, EBUSY, "machine '%s' is paused: resume it first", name) : 0;
}

int guest_agent_connect(const char *name, unsigned wait_s, struct error *err)
{
	uint64_t deadline_ns = clock_now_ns() + wait_s * CLOCK_NS_PER_S;
	int dir, ret = machines_check_name(name, err);

	if (ret)
		return ret;
	dir = machines_open(err);
	if (dir < 0)
		return dir;
	ret = check_paused(dir, name, err);
	if (ret) {
		close(dir);
		return ret;
	}
	while ((ret = try_agent(dir, name, err)) == -EAGAIN && clock_now_ns() < deadline_ns)
		usleep(RETRY_US);
	close(dir);
	return ret;
}
