/* SPDX-License-Identifier: MIT */
#include "control/client.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "host/clock.h"
#include "host/machines.h"

#define ANSWER_MAX (16u << 20)

int client_open(struct client *client, int dir, const char *name, unsigned patience_s,
		struct error *err)
{
	const struct timeval patience = { .tv_sec = patience_s };
	struct ucred peer;
	socklen_t size = sizeof(peer);

	*client = (struct client){ .name = name, .fd = machines_connect(dir, name, err) };
	if (client->fd < 0)
		return client->fd;
	setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (!getsockopt(client->fd, SOL_SOCKET, SO_PEERCRED, &peer, &size))
		client->pid = peer.pid;
	return 0;
}

static void forget_answer(struct client *client)
{
	json_release(&client->answer);
	client->result = NULL;
}

void client_close(struct client *client)
{
	forget_answer(client);
	if (client->fd >= 0)
		close(client->fd);
}

/* ---- a request ---- */

static int gone(const struct client *client, struct error *err)
{
	return error_set(err, ENOENT, "machine '%s' ended", client->name);
}

static int send_line(const struct client *client, const char *line, size_t length,
		     struct error *err)
{
	size_t done = 0;

	while (done < length) {
		ssize_t sent = send(client->fd, line + done, length - done, MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0)
			return errno == EAGAIN ? error_set(err, ETIMEDOUT, "machine '%s' does not "
							   "answer", client->name) :
						 gone(client, err);
		done += (size_t)sent;
	}
	return 0;
}

static int send_request(const struct client *client, const char *command,
			void (*fill)(struct json *arguments, const void *opaque),
			const void *opaque, struct error *err)
{
	char *line = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&line, &length);
	struct json json;
	int ret;

	if (!stream)
		return error_set(err, ENOMEM, "no memory");
	json_init_line(&json, stream);
	json_object_begin(&json, NULL);
	json_string(&json, "command", command);
	json_object_begin(&json, "arguments");
	if (fill)
		fill(&json, opaque);
	json_object_end(&json);
	json_object_end(&json);
	ret = fclose(stream) ? error_set(err, ENOMEM, "no memory") :
			       send_line(client, line, length, err);
	free(line);
	return ret;
}

/* ---- its answer ---- */

/* Room for more in *text. */
static bool grow(char **text, size_t used, size_t *room)
{
	char *more;

	if (used < *room)
		return true;
	*room = *room ? 2 * *room : 65536;
	more = *room > ANSWER_MAX ? NULL : realloc(*text, *room);
	if (more)
		*text = more;
	return more;
}

/* What there is up to the line's end, which is taken as well; what follows is not ours: a console's
 * bytes. -errno, or how many. */
static ssize_t receive_piece(int fd, char *text, size_t room)
{
	ssize_t got = recv(fd, text, room, MSG_PEEK);
	const char *end = got > 0 ? memchr(text, '\n', (size_t)got) : NULL;

	if (got > 0)
		got = recv(fd, text, end ? (size_t)(end - text) + 1 : (size_t)got, 0);
	return got < 0 ? -errno : got;
}

static int receive_line(struct client *client, char **text, size_t *length, struct error *err)
{
	size_t room = 0;

	*text = NULL;
	*length = 0;
	do {
		ssize_t got;

		if (!grow(text, *length, &room))
			return error_set(err, ENOMEM, "no memory for what machine '%s' answers",
					 client->name);
		got = receive_piece(client->fd, *text + *length, room - *length);
		if (got == -EINTR)
			continue;
		if (got == -EAGAIN)
			return error_set(err, ETIMEDOUT, "machine '%s' does not answer",
					 client->name);
		if (got <= 0)
			return gone(client, err);
		*length += (size_t)got;
	} while (!*length || (*text)[*length - 1] != '\n');
	return 0;
}

static int read_answer(struct client *client, const char *text, size_t length, struct error *err)
{
	struct json_text *answer = &client->answer;
	const struct json_value *error, *message;
	int ret = json_read(answer, text, length, err);

	if (ret)
		return ret;
	client->result = json_member(answer, answer->value, "result");
	if (client->result)
		return 0;
	error = json_member(answer, answer->value, "error");
	message = json_member(answer, error, "message");
	return error_set(err, EREMOTEIO, "%s: %s", client->name,
			 json_text_of(message) ? json_text_of(message) : "no answer that is understood");
}

int client_ask(struct client *client, const char *command,
	       void (*fill)(struct json *arguments, const void *opaque), const void *opaque,
	       struct error *err)
{
	char *text = NULL;
	size_t length;
	int ret;

	forget_answer(client);
	ret = send_request(client, command, fill, opaque, err);
	if (!ret)
		ret = receive_line(client, &text, &length, err);
	if (!ret)
		ret = read_answer(client, text, length, err);
	free(text);
	return ret;
}

/* ---- the end ---- */

/* Until fd is readable or the time is over; signals are none of its business. */
static int wait_readable(int fd, uint64_t deadline_ns)
{
	struct pollfd interest = { .fd = fd, .events = POLLIN };

	for (;;) {
		uint64_t now = clock_now_ns();
		int left_ms = now < deadline_ns ? (int)((deadline_ns - now) / 1000000 + 1) : 0;
		int ready = poll(&interest, 1, left_ms);

		if (ready > 0)
			return 0;
		if (!ready)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

/* The connection ends a little before the process does. */
int client_wait_end(struct client *client, unsigned seconds)
{
	uint64_t deadline_ns = clock_now_ns() + seconds * CLOCK_NS_PER_S;
	int process = client->pid ? pidfd_open(client->pid, 0) : -1;
	int ret = wait_readable(process >= 0 ? process : client->fd, deadline_ns);

	if (process >= 0)
		close(process);
	return ret;
}
