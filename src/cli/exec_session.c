/* SPDX-License-Identifier: MIT */
/*
 * See exec_session.h. Of standard input, no more goes out than the agent has room for, so that it
 * always reads what we send, and signals get through. A frame that our output has no room for is
 * kept, and none read behind it.
 */
#include "cli/exec_session.h"

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/wire.h"
#include "base/error.h"
#include "cli/guest_socket.h"
#include "host/loop.h"
#include "host/signals.h"
#include "ui/chardev.h"
#include "ui/sink.h"
#include "ui/source.h"
#include "ui/terminal.h"

#define HEADER_BYTES sizeof(struct agent_header)

/* Without a terminal, keys and others may send these: they are for the program. */
static const int passed_on[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };

#define SIGNALS (sizeof(passed_on) / sizeof(passed_on[0]) + 1)

struct exec;

struct exec_signal {
	struct exec *exec;
	int number, event_fd; /* -1: not watched */
	struct loop_watch *watch;
};

struct exec {
	int connection;
	struct loop *loop;
	struct loop_watch *watch; /* NULL: a frame waits for our output */
	struct terminal *terminal;
	struct source *source;
	struct sink *sink[2];
	struct chardev *in, *out[2];
	struct exec_signal signal[SIGNALS];
	uint32_t room; /* of standard input */
	bool unheard;  /* the agent reads no more */

	union {
		struct agent_header header;
		uint8_t bytes[HEADER_BYTES + AGENT_DATA_MAX];
	} frame;
	size_t have, shown; /* of the frame: read; of its data: written */

	int result, status; /* -EINPROGRESS until it is over */
};

static void finish(struct exec *exec, int result)
{
	if (exec->result == -EINPROGRESS)
		exec->result = result;
	loop_stop(exec->loop);
}

static void send_frame(struct exec *exec, enum agent_type type, const void *data, size_t len)
{
	/*
	 * It blocks for no time: all that may be on its way fits into the socket. If the agent has
	 * gone, what it said before is still to be read.
	 */
	if (!exec->unheard && agent_send(exec->connection, type, data, len))
		exec->unheard = true;
}

/* ---- from the guest ---- */

static void watch_connection(struct exec *exec);

static void unwatch_connection(struct exec *exec)
{
	loop_watch_remove(exec->watch);
	exec->watch = NULL;
}

/* False: some of it waits. */
static bool show(struct exec *exec, struct chardev *out)
{
	exec->shown += chardev_write(out, exec->frame.bytes + HEADER_BYTES + exec->shown,
				     exec->frame.header.len - exec->shown);
	if (exec->shown < exec->frame.header.len)
		return false;
	exec->shown = 0;
	return true;
}

static void take_numbers(struct exec *exec)
{
	uint32_t number;

	if (!agent_u32(&exec->frame.header, exec->frame.bytes + HEADER_BYTES, &number)) {
		finish(exec, -EPROTO);
	} else if (exec->frame.header.type == AGENT_EXIT) {
		exec->status = (int)number;
		finish(exec, 0);
	} else if (number <= AGENT_WINDOW - exec->room) {
		exec->room += number;
		chardev_input_room(exec->in);
	} else {
		finish(exec, -EPROTO);
	}
}

/* A whole frame has been read; false: it is not done with yet. */
static bool take_frame(struct exec *exec)
{
	switch (exec->frame.header.type) {
	case AGENT_STDOUT:
		return show(exec, exec->out[0]);
	case AGENT_STDERR:
		return show(exec, exec->out[1]);
	case AGENT_ROOM:
	case AGENT_EXIT:
		take_numbers(exec);
		return true;
	case AGENT_FAIL:
		finish(exec, -EREMOTEIO);
		return true;
	default:
		finish(exec, -EPROTO);
		return true;
	}
}

static void frame_read(struct exec *exec)
{
	if (take_frame(exec)) {
		if (exec->result == -EINPROGRESS)
			exec->have = 0;
	} else {
		unwatch_connection(exec);
	}
}

static void on_connection(void *opaque, uint32_t events)
{
	struct exec *exec = opaque;
	size_t want = HEADER_BYTES;
	ssize_t got;

	(void)events;
	if (exec->have >= HEADER_BYTES)
		want += exec->frame.header.len;
	got = recv(exec->connection, exec->frame.bytes + exec->have, want - exec->have,
		   MSG_DONTWAIT);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		finish(exec, -EPIPE);
		return;
	}
	exec->have += (size_t)got;
	if (exec->have < HEADER_BYTES)
		return;
	if (exec->frame.header.len > AGENT_DATA_MAX)
		finish(exec, -EPROTO);
	else if (exec->have == HEADER_BYTES + exec->frame.header.len)
		frame_read(exec);
}

static void watch_connection(struct exec *exec)
{
	if (!exec->watch && loop_watch_add(exec->loop, exec->connection, EPOLLIN, on_connection,
					   exec, &exec->watch))
		finish(exec, -ENOMEM);
}

/* ---- our streams, as a device sees them ---- */

static void writable(void *opaque)
{
	struct exec *exec = opaque;

	if (exec->watch || exec->result != -EINPROGRESS)
		return;
	if (take_frame(exec)) {
		exec->have = 0;
		watch_connection(exec);
	}
}

/* Whoever read our output has gone: as for any program, that is its end. */
static void output_failed(void *opaque)
{
	struct exec *exec = opaque;

	signal(SIGPIPE, SIG_DFL);
	raise(SIGPIPE);
	finish(exec, -EPIPE);
}

static size_t can_receive(void *opaque)
{
	const struct exec *exec = opaque;

	return exec->room;
}

static void receive(void *opaque, const uint8_t *data, size_t len)
{
	struct exec *exec = opaque;

	exec->room -= (uint32_t)len;
	send_frame(exec, AGENT_STDIN, data, len);
}

static void input_ended(void *opaque)
{
	send_frame(opaque, AGENT_STDIN, NULL, 0);
}

static void user_leaves(void *opaque)
{
	finish(opaque, -ECANCELED);
}

static int open_terminal(struct exec *exec, struct error *err)
{
	const struct terminal_config config = {
		.loop = exec->loop, .in_fd = STDIN_FILENO, .out_fd = STDOUT_FILENO,
		.quit = user_leaves, .opaque = exec,
	};
	int ret = terminal_create(&config, &exec->terminal, err);

	if (!ret)
		exec->in = exec->out[0] = exec->out[1] = terminal_chardev(exec->terminal);
	return ret;
}

static int open_streams(struct exec *exec, struct error *err)
{
	int ret = source_create(exec->loop, STDIN_FILENO, &exec->source, err);

	for (int i = 0; i < 2 && !ret; i++)
		ret = sink_create(exec->loop, STDOUT_FILENO + i, &exec->sink[i], err);
	if (ret)
		return ret;
	exec->in = source_chardev(exec->source);
	for (int i = 0; i < 2; i++)
		exec->out[i] = sink_chardev(exec->sink[i]);
	return 0;
}

static void attach(struct exec *exec)
{
	const struct chardev_front in = { .can_receive = can_receive, .receive = receive,
					  .writable = writable, .hangup = input_ended,
					  .opaque = exec };
	const struct chardev_front out = { .writable = writable, .hangup = output_failed,
					   .opaque = exec };

	chardev_attach(exec->in, &in);
	for (int i = 0; i < 2 && !exec->terminal; i++)
		chardev_attach(exec->out[i], &out);
}

static void close_streams(struct exec *exec)
{
	terminal_destroy(exec->terminal);
	source_destroy(exec->source);
	sink_destroy(exec->sink[0]);
	sink_destroy(exec->sink[1]);
}

/* ---- signals ---- */

static void send_size(struct exec *exec)
{
	struct winsize size;

	if (!ioctl(STDOUT_FILENO, TIOCGWINSZ, &size)) {
		const uint32_t words[2] = { size.ws_row, size.ws_col };

		send_frame(exec, AGENT_RESIZE, words, sizeof(words));
	}
}

static void on_signal(void *opaque, uint32_t events)
{
	struct exec_signal *mine = opaque;
	const uint32_t number = (uint32_t)mine->number;
	uint64_t count;

	(void)events;
	(void)!read(mine->event_fd, &count, sizeof(count));
	if (mine->number == SIGWINCH) {
		send_size(mine->exec);
		return;
	}
	send_frame(mine->exec, AGENT_SIGNAL, &number, sizeof(number));
	/* Should the program not care, the next one is for us. */
	signals_forward(mine->number, -1);
}

static bool is_ignored(int number)
{
	struct sigaction now;

	return !sigaction(number, NULL, &now) && now.sa_handler == SIG_IGN;
}

static int watch_signal(struct exec *exec, struct exec_signal *mine, int number)
{
	*mine = (struct exec_signal){ .exec = exec, .number = number, .event_fd = -1 };
	/* nohup, or a background job's SIGINT */
	if (is_ignored(number))
		return 0;
	mine->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (mine->event_fd < 0 || loop_watch_add(exec->loop, mine->event_fd, EPOLLIN, on_signal,
						 mine, &mine->watch))
		return -ENOMEM;
	signals_forward(number, mine->event_fd);
	return 0;
}

static int watch_signals(struct exec *exec, struct error *err)
{
	int ret = 0;

	for (size_t i = 0; i < SIGNALS; i++)
		exec->signal[i].event_fd = -1;
	if (exec->terminal)
		ret = watch_signal(exec, &exec->signal[0], SIGWINCH);
	for (size_t i = 0; i < SIGNALS - 1 && !exec->terminal && !ret; i++)
		ret = watch_signal(exec, &exec->signal[i], passed_on[i]);
	return ret ? error_set_errno(err, -ret, "cannot wait for signals") : 0;
}

static void ignore_signals(struct exec *exec)
{
	for (size_t i = 0; i < SIGNALS; i++) {
		if (exec->signal[i].event_fd < 0)
			continue;
		signals_forward(exec->signal[i].number, -1);
		loop_watch_remove(exec->signal[i].watch);
		close(exec->signal[i].event_fd);
	}
}

/* ---- all of it ---- */

static int explain(struct exec *exec, struct error *err)
{
	exec->frame.bytes[exec->have < sizeof(exec->frame) ? exec->have : exec->have - 1] = 0;
	switch (-exec->result) {
	case 0:
		return 0;
	case EREMOTEIO:
		guest_text_clean((char *)exec->frame.bytes + HEADER_BYTES);
		return error_set(err, EREMOTEIO, "%s", exec->frame.bytes + HEADER_BYTES);
	case EPIPE:
		return error_set(err, EPIPE, "the machine ended, or its agent did, before the "
				 "program");
	case ECANCELED:
		return error_set(err, ECANCELED, "left; the program was hung up");
	default:
		return error_set(err, -exec->result, "the agent does not speak as it should");
	}
}

int exec_session(int connection, bool terminal, int *status, struct error *err)
{
	struct exec *exec = calloc(1, sizeof(*exec));
	int ret;

	if (!exec)
		return error_set(err, ENOMEM, "no memory");
	exec->connection = connection;
	exec->room = AGENT_WINDOW;
	exec->result = -EINPROGRESS;
	signals_ignore_pipe();
	ret = loop_create(&exec->loop, err);
	if (!ret)
		ret = terminal ? open_terminal(exec, err) : open_streams(exec, err);
	if (!ret)
		ret = watch_signals(exec, err);
	if (!ret) {
		send_frame(exec, AGENT_RUN, NULL, 0);
		watch_connection(exec);
		attach(exec);
		loop_run(exec->loop);
		ret = explain(exec, err);
		*status = exec->status;
	}
	if (exec->loop)
		ignore_signals(exec);
	close_streams(exec);
	if (exec->loop)
		loop_destroy(exec->loop);
	free(exec);
	return ret;
}
