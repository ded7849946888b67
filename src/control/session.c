/* SPDX-License-Identifier: MIT */
/*
 * Clients come, send requests line by line, get an answer each, and go. Of a client, one request is in
 * hand at a time: the next is read when the answer is out, so that a client that does not read costs a
 * bounded amount of memory and nothing else.
 */
#include "control/session.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "control/control.h"
#include "host/clock.h"
#include "host/loop.h"
#include "vm/machine.h"

/* ---- life of a session ---- */

static void session_end(struct session *session)
{
	struct control *control = session->control;

	for (struct session **at = &control->sessions; *at; at = &(*at)->next) {
		if (*at == session) {
			*at = session->next;
			break;
		}
	}
	control->session_count--;
	console_detach(session);
	vm_unvisit(control->vm, &session->visit);
	loop_watch_remove(session->watch);
	close(session->fd);
	json_release(&session->request);
	free(session->out);
	free(session->in);
	free(session);
}

/* ---- answers ---- */

static void send_out(struct session *session)
{
	while (session->out) {
		ssize_t sent = send(session->fd, session->out + session->out_sent,
				    session->out_bytes - session->out_sent,
				    MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0) {
			session->broken |= errno != EAGAIN;
			return;
		}
		session->out_sent += (size_t)sent;
		if (session->out_sent < session->out_bytes)
			continue;
		free(session->out);
		session->out = NULL;
	}
}

/* Numbers and strings come back as they were; who sends something else gets null. */
static void write_id(const struct session *session, struct json *json)
{
	const struct json_value *id = json_member(&session->request, session->request.value, "id");
	uint64_t number;

	if (id && id->kind == JSON_NUMBER && json_uint_of(id, &number))
		json_uint(json, "id", number);
	else
		json_string(json, "id", json_text_of(id));
}

/* The answer as a line in session->out. Returns what run did. */
static int compose(struct session *session, session_run *run, struct error *err)
{
	const struct json_value *request = session->request.value;
	FILE *stream = open_memstream(&session->out, &session->out_bytes);
	struct json json;
	int ret;

	if (!stream)
		return error_set(err, ENOMEM, "no memory");
	json_init_line(&json, stream);
	json_object_begin(&json, NULL);
	write_id(session, &json);
	json_object_begin(&json, "result");
	ret = run(session, json_member(&session->request, request, "arguments"), &json, err);
	json_object_end(&json);
	json_object_end(&json);
	fclose(stream);
	return ret;
}

static void compose_error(struct session *session, const struct error *err)
{
	FILE *stream = open_memstream(&session->out, &session->out_bytes);
	struct json json;

	if (!stream)
		return;
	json_init_line(&json, stream);
	json_object_begin(&json, NULL);
	write_id(session, &json);
	json_object_begin(&json, "error");
	json_string(&json, "message", err->message);
	json_object_end(&json);
	json_object_end(&json);
	fclose(stream);
}

static void answer_error(struct session *session, const struct error *err)
{
	free(session->out);
	session->out = NULL;
	compose_error(session, err);
	session->broken |= !session->out;
}

void session_answer(struct session *session, session_run *run)
{
	struct error err;
	int ret = compose(session, run, &err);

	session->out_sent = 0;
	session->waits = ret == SESSION_LATER;
	if (session->waits) {
		free(session->out);
		session->out = NULL;
		return;
	}
	if (ret)
		answer_error(session, &err);
	json_release(&session->request);
	send_out(session);
	session_watch(session);
}

/* ---- requests ---- */

static int find_command(const struct json_text *request, session_run **run, struct error *err)
{
	const struct json_value *arguments = json_member(request, request->value, "arguments");
	const char *name = json_text_of(json_member(request, request->value, "command"));

	if (!name)
		return error_set(err, EINVAL, "a request is an object with the member \"command\"");
	if (arguments && arguments->kind != JSON_OBJECT)
		return error_set(err, EINVAL, "\"arguments\" is an object");
	for (const struct control_command *command = control_commands; command->name; command++) {
		if (!strcmp(command->name, name)) {
			*run = command->run;
			return 0;
		}
	}
	return error_set(err, EINVAL, "no command \"%.64s\"", name);
}

static void take_line(struct session *session, const char *line, size_t length)
{
	session_run *run = NULL;
	struct error err;
	int ret = json_read(&session->request, line, length, &err);

	if (!ret)
		ret = find_command(&session->request, &run, &err);
	if (!ret) {
		session_answer(session, run);
		return;
	}
	session->out_sent = 0;
	answer_error(session, &err);
	json_release(&session->request);
	send_out(session);
}

static void too_long(struct session *session)
{
	struct error err;

	error_set(&err, EINVAL, "a line of more than %u bytes", CONTROL_LINE_MAX);
	session->out_sent = 0;
	answer_error(session, &err);
	send_out(session);
	session->broken = true;
}

static bool is_idle(const struct session *session)
{
	return !session->out && !session->waits && !session->broken && !session->attached;
}

/* As many lines as are there, while their answers go out. */
static void take_lines(struct session *session)
{
	char *end;

	while (is_idle(session) && (end = memchr(session->in, '\n', session->in_used))) {
		size_t length = (size_t)(end - session->in);

		take_line(session, session->in, length);
		session->in_used -= length + 1;
		memmove(session->in, end + 1, session->in_used);
	}
	if (is_idle(session) && session->in_used == CONTROL_LINE_MAX)
		too_long(session);
}

static void read_in(struct session *session)
{
	ssize_t got = recv(session->fd, session->in + session->in_used,
			   CONTROL_LINE_MAX - session->in_used, MSG_DONTWAIT);

	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		session->broken = true;
		return;
	}
	session->in_used += (size_t)got;
	take_lines(session);
}

/* ---- the socket ---- */

/* Lines that were read while an earlier one was in hand: the socket, which can be written, brings us
 * back to them. */
static bool has_lines(const struct session *session)
{
	return is_idle(session) && memchr(session->in, '\n', session->in_used);
}

void session_watch(struct session *session)
{
	uint32_t events = 0;

	if (session->out || (session->attached && session->screen.used) || has_lines(session))
		events |= EPOLLOUT;
	if (session->attached ? console_room(session) > 0 : !session->out && !session->waits)
		events |= EPOLLIN;
	loop_watch_change(session->watch, events);
}

static void on_session(void *opaque, uint32_t events)
{
	struct session *session = opaque;

	if (events & EPOLLOUT) {
		send_out(session);
		if (session->attached && !session->out)
			console_write(session);
		take_lines(session);
	}
	if (events & EPOLLIN) {
		if (session->attached)
			console_read(session);
		else
			read_in(session);
	}
	session->broken |= !(events & (EPOLLIN | EPOLLOUT));
	if (session->broken)
		session_end(session);
	else
		session_watch(session);
}

/* ---- new clients ---- */

static bool may_command(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return !getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) &&
	       (peer.uid == geteuid() || !peer.uid);
}

static void refuse(int fd, const char *why)
{
	dprintf(fd, "{\"id\":null,\"error\":{\"message\":\"%s\"}}\n", why);
	close(fd);
}

static void session_begin(struct control *control, int fd)
{
	struct session *session = calloc(1, sizeof(*session));

	if (session)
		session->in = malloc(CONTROL_LINE_MAX);
	if (!session || !session->in ||
	    loop_watch_add(control->vm->env.loop, fd, EPOLLIN, on_session, session,
			   &session->watch)) {
		if (session)
			free(session->in);
		free(session);
		refuse(fd, "no memory for another client");
		return;
	}
	session->control = control;
	session->fd = fd;
	session->next = control->sessions;
	control->sessions = session;
	control->session_count++;
}

/* Out of descriptors, the listener would be ready for ever: one is given up to turn the client away. */
static void turn_away(struct control *control)
{
	int fd;

	close(control->spare);
	fd = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC);
	if (fd >= 0)
		close(fd);
	control->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
}

static void on_listener(void *opaque, uint32_t events)
{
	struct control *control = opaque;
	int fd = accept4(control->listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)events;
	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		turn_away(control);
	if (fd < 0)
		return;
	if (!may_command(fd))
		refuse(fd, "this machine is another user's");
	else if (control->session_count == CONTROL_CLIENTS_MAX)
		refuse(fd, "too many clients");
	else
		session_begin(control, fd);
}

/* ---- life ---- */

int control_create(struct vm *vm, int listener, struct control **out, struct error *err)
{
	struct control *control = calloc(1, sizeof(*control));
	int ret;

	if (!control)
		return error_set(err, ENOMEM, "no memory for the control socket");
	control->vm = vm;
	control->listener = listener;
	control->began_ns = clock_now_ns();
	control->spare = open("/dev/null", O_RDONLY | O_CLOEXEC);
	ret = loop_watch_add(vm->env.loop, listener, EPOLLIN, on_listener, control,
			     &control->watch);
	if (ret) {
		error_set_errno(err, -ret, "cannot wait for commands");
		control_destroy(control);
		return ret;
	}
	*out = control;
	return 0;
}

void control_destroy(struct control *control)
{
	if (!control)
		return;
	while (control->sessions)
		session_end(control->sessions);
	loop_watch_remove(control->watch);
	if (control->spare >= 0)
		close(control->spare);
	free(control);
}
