/* SPDX-License-Identifier: MIT */
/*
 * Output gathers in a ring and goes to the host when a page of it is there or FLUSH_NS after the
 * first byte. When the host takes no more, a watch waits for it; when the ring is full too, the
 * device keeps its bytes (chardev.h). Input is always read, so that Ctrl-A x works with a guest
 * that hangs; what the guest cannot take yet waits in a ring. When that is full, a terminal's
 * further input is dropped, as a serial line would; a pipe's stays in the pipe.
 *
 * Everything here runs with the machine lock held, but undo_raw, which a signal handler may run.
 */
#include "ui/terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "host/clock.h"
#include "host/loop.h"
#include "host/signals.h"
#include "ui/chardev.h"
#include "ui/fifo.h"
#include "ui/stream.h"

#define ESCAPE 0x01 /* Ctrl-A */
#define OUTPUT_BYTES 65536
#define INPUT_BYTES 4096
#define FLUSH_AT_BYTES 4096
#define FLUSH_NS (5 * 1000000ull)
#define LAST_FLUSH_MS 3000

struct terminal {
	struct chardev chardev;
	struct terminal_config config;

	struct stream out;
	struct fifo output;
	struct loop_timer *flush_timer;
	struct loop_watch *out_watch; /* while the host takes no more */
	bool flush_armed;
	bool out_failed;  /* nobody reads any more: output vanishes */
	bool front_waits; /* a write was cut short */

	struct stream in;
	struct fifo input;
	struct loop_timer *deliver_timer;
	struct loop_watch *in_watch; /* NULL: paused, or cannot be watched */
	bool in_polled; /* a file, say: read when there is room for it, without being told */
	bool in_ended;
	bool end_awaited; /* config.ended is to be called yet */
	bool escaped;

	bool is_tty;
	int continue_fd; /* eventfd: SIGCONT came */
	struct loop_watch *continue_watch;
	struct termios cooked;
	atomic_bool raw;
	struct signals_undo undo;
};

/* ---- raw mode ---- */

/* A terminal that does not control our session knows no background. */
static bool in_foreground(const struct terminal *terminal)
{
	pid_t group = tcgetpgrp(terminal->config.in_fd);

	return group < 0 || group == getpgrp();
}

/* In the background the terminal is the shell's: a change would stop us with SIGTTOU. */
static void enter_raw(struct terminal *terminal)
{
	struct termios raw = terminal->cooked;

	if (!in_foreground(terminal))
		return;
	cfmakeraw(&raw);
	atomic_store(&terminal->raw, true);
	tcsetattr(terminal->config.in_fd, TCSANOW, &raw);
}

static void undo_raw(void *opaque)
{
	struct terminal *terminal = opaque;

	if (atomic_exchange(&terminal->raw, false) && in_foreground(terminal))
		tcsetattr(terminal->config.in_fd, TCSANOW, &terminal->cooked);
}

static void resume_input(struct terminal *terminal);

/* Stopped and continued, or brought to the foreground: the shell has set the terminal its way. */
static void on_continue(void *opaque, uint32_t events)
{
	struct terminal *terminal = opaque;
	uint64_t count;

	(void)events;
	(void)!read(terminal->continue_fd, &count, sizeof(count));
	enter_raw(terminal);
	resume_input(terminal);
}

static int setup_tty(struct terminal *terminal)
{
	int ret;

	if (tcgetattr(terminal->config.in_fd, &terminal->cooked))
		return 0;
	terminal->is_tty = true;
	terminal->continue_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (terminal->continue_fd < 0)
		return -errno;
	ret = loop_watch_add(terminal->config.loop, terminal->continue_fd, EPOLLIN, on_continue,
			     terminal, &terminal->continue_watch);
	if (ret)
		return ret;
	signals_forward(SIGCONT, terminal->continue_fd);
	terminal->undo = (struct signals_undo){ .run = undo_raw, .opaque = terminal };
	signals_undo_add(&terminal->undo);
	enter_raw(terminal);
	return 0;
}

static void release_tty(struct terminal *terminal)
{
	if (terminal->undo.run) {
		signals_forward(SIGCONT, -1);
		undo_raw(terminal);
		signals_undo_remove(&terminal->undo);
	}
	loop_watch_remove(terminal->continue_watch);
	if (terminal->continue_fd >= 0)
		close(terminal->continue_fd);
}

/* ---- output ---- */

static void fail_output(struct terminal *terminal, int errnum)
{
	if (!terminal->out_failed)
		log_warn("console output goes nowhere any more: %s", strerrordesc_np(errnum));
	terminal->out_failed = true;
	fifo_drop(&terminal->output, terminal->output.used);
}

/* Gives the host what it takes now. False: it takes no more at present. */
static bool push_output(struct terminal *terminal)
{
	const uint8_t *data;
	size_t len;

	while ((len = fifo_peek(&terminal->output, &data))) {
		ssize_t put = stream_write(&terminal->out, data, len);

		if (put > 0)
			fifo_drop(&terminal->output, (size_t)put);
		else if (!put || put == -EAGAIN)
			return false;
		else if (put != -EINTR)
			fail_output(terminal, (int)-put);
	}
	return true;
}

static void on_out_ready(void *opaque, uint32_t events);

static void arm_flush(struct terminal *terminal)
{
	if (terminal->flush_armed || terminal->out_watch)
		return;
	loop_timer_arm(terminal->flush_timer, clock_now_ns() + FLUSH_NS);
	terminal->flush_armed = true;
}

/*
 * The watch is there only while it is needed: one without events still reports hang-ups, for ever.
 * What cannot be watched is tried again by the timer.
 */
static void flush_output(struct terminal *terminal)
{
	if (push_output(terminal)) {
		loop_watch_remove(terminal->out_watch);
		terminal->out_watch = NULL;
	} else if (!terminal->out_watch &&
		   loop_watch_add(terminal->config.loop, terminal->out.fd, EPOLLOUT, on_out_ready,
				  terminal, &terminal->out_watch)) {
		arm_flush(terminal);
	}
}

/* Told outside of the device's own write, which is not re-entered so. */
static void tell_front(struct terminal *terminal)
{
	if (terminal->front_waits && fifo_room(&terminal->output) >= FLUSH_AT_BYTES) {
		terminal->front_waits = false;
		chardev_writable(&terminal->chardev);
	}
}

static void on_flush_timer(void *opaque)
{
	struct terminal *terminal = opaque;

	terminal->flush_armed = false;
	flush_output(terminal);
	tell_front(terminal);
}

static void on_out_ready(void *opaque, uint32_t events)
{
	struct terminal *terminal = opaque;

	(void)events;
	flush_output(terminal);
	tell_front(terminal);
}

static size_t terminal_write(void *opaque, const uint8_t *data, size_t len)
{
	struct terminal *terminal = opaque;
	size_t put;

	if (terminal->out_failed)
		return len;
	put = fifo_put(&terminal->output, data, len);
	terminal->front_waits |= put < len;
	if (terminal->output.used >= FLUSH_AT_BYTES && !terminal->out_watch)
		flush_output(terminal);
	if (terminal->output.used || terminal->front_waits)
		arm_flush(terminal);
	return put;
}

static void say(struct terminal *terminal, const char *text)
{
	terminal_write(terminal, (const uint8_t *)text, strlen(text));
}

/* ---- input ---- */

static void deliver_ring(struct terminal *terminal)
{
	const uint8_t *data;
	size_t len, room;

	while ((len = fifo_peek(&terminal->input, &data)) &&
	       (room = chardev_can_receive(&terminal->chardev))) {
		if (len > room)
			len = room;
		chardev_receive(&terminal->chardev, data, len);
		fifo_drop(&terminal->input, len);
	}
}

static void note_end(struct terminal *terminal)
{
	if (!terminal->end_awaited || !terminal->in_ended || terminal->input.used)
		return;
	terminal->end_awaited = false;
	terminal->config.ended(terminal->config.opaque);
}

static void take_input(struct terminal *terminal);

/* What cannot be watched is read piece by piece, as the guest makes room. */
static void deliver(void *opaque)
{
	struct terminal *terminal = opaque;

	deliver_ring(terminal);
	while (terminal->in_polled && !terminal->in_ended && !terminal->input.used) {
		take_input(terminal);
		if (!terminal->input.used)
			break;
		deliver_ring(terminal);
	}
	if (fifo_room(&terminal->input))
		resume_input(terminal);
	note_end(terminal);
}

/* Called by the device in the middle of an access: what follows from it comes later. */
static void terminal_input_room(void *opaque)
{
	struct terminal *terminal = opaque;

	if (terminal->input.used || terminal->in_polled || terminal->end_awaited)
		loop_timer_arm(terminal->deliver_timer, 0);
}

static void escape_command(struct terminal *terminal, uint8_t key)
{
	switch (key) {
	case ESCAPE:
		fifo_put(&terminal->input, &key, 1);
		break;
	case 'x':
		terminal->config.quit(terminal->config.opaque);
		break;
	case 'b':
		chardev_receive_break(&terminal->chardev);
		break;
	case 'h':
	case '?':
		say(terminal, "\r\nCtrl-A x  ");
		say(terminal, terminal->config.quit_help);
		say(terminal, "\r\nCtrl-A b  send a break\r\n"
			      "Ctrl-A h  this help\r\n"
			      "Ctrl-A Ctrl-A (or a)  send Ctrl-A\r\n");
		break;
	case 'a':
		fifo_put(&terminal->input, &(uint8_t){ ESCAPE }, 1);
		break;
	default:
		break;
	}
}

static void take_keys(struct terminal *terminal, const uint8_t *keys, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (terminal->escaped) {
			terminal->escaped = false;
			escape_command(terminal, keys[i]);
		} else if (keys[i] == ESCAPE) {
			terminal->escaped = true;
		} else {
			fifo_put(&terminal->input, &keys[i], 1);
		}
	}
}

/* Without a watch rather than with one that has no events: that would report hang-ups for ever. */
static void pause_input(struct terminal *terminal)
{
	loop_watch_remove(terminal->in_watch);
	terminal->in_watch = NULL;
}

/* As under nohup(1). */
static bool ignores_hang_ups(void)
{
	struct sigaction action;

	return !sigaction(SIGHUP, NULL, &action) && action.sa_handler == SIG_IGN;
}

static void take_input(struct terminal *terminal)
{
	uint8_t data[512];
	size_t room = sizeof(data);
	ssize_t got;

	if (!terminal->is_tty && fifo_room(&terminal->input) < room)
		room = fifo_room(&terminal->input);
	got = stream_read(&terminal->in, data, room);
	if (got == -EAGAIN || got == -EINTR)
		return;
	if (got <= 0) {
		terminal->in_ended = true;
		pause_input(terminal);
		/* A terminal's input never ends but with it: nobody can see the guest any more, or end it. */
		if (terminal->is_tty && !ignores_hang_ups())
			terminal->config.quit(terminal->config.opaque);
	} else if (terminal->is_tty) {
		take_keys(terminal, data, (size_t)got);
	} else {
		fifo_put(&terminal->input, data, (size_t)got);
	}
}

static void on_in_ready(void *opaque, uint32_t events)
{
	struct terminal *terminal = opaque;

	(void)events;
	/* In the background, keys are the shell's; SIGCONT tells when that ends. */
	if (terminal->is_tty ? !in_foreground(terminal) : !fifo_room(&terminal->input)) {
		pause_input(terminal);
		return;
	}
	take_input(terminal);
	deliver_ring(terminal);
	note_end(terminal);
}

static void resume_input(struct terminal *terminal)
{
	int ret;

	if (terminal->in_watch || terminal->in_polled || terminal->in_ended)
		return;
	ret = loop_watch_add(terminal->config.loop, terminal->in.fd, EPOLLIN, on_in_ready,
			     terminal, &terminal->in_watch);
	if (ret == -EPERM)
		terminal->in_polled = true;
	else if (ret)
		terminal->in_ended = true;
}

/* ---- life ---- */

static int set_up(struct terminal *terminal)
{
	int ret;

	stream_open(&terminal->in, terminal->config.in_fd, O_RDONLY);
	stream_open(&terminal->out, terminal->config.out_fd, O_WRONLY);
	ret = fifo_init(&terminal->output, OUTPUT_BYTES);
	if (!ret)
		ret = fifo_init(&terminal->input, INPUT_BYTES);
	if (!ret)
		ret = loop_timer_create(terminal->config.loop, on_flush_timer, terminal,
					&terminal->flush_timer);
	if (!ret)
		ret = loop_timer_create(terminal->config.loop, deliver, terminal,
					&terminal->deliver_timer);
	if (!ret)
		ret = setup_tty(terminal);
	if (ret)
		return ret;
	terminal->end_awaited = terminal->config.ended && !terminal->is_tty;
	resume_input(terminal);
	return 0;
}

int terminal_create(const struct terminal_config *config, struct terminal **out, struct error *err)
{
	static const struct chardev_ops ops = {
		.write = terminal_write,
		.input_room = terminal_input_room,
	};
	struct terminal *terminal = calloc(1, sizeof(*terminal));
	int ret;

	if (!terminal)
		return error_set(err, ENOMEM, "no memory for the terminal");
	terminal->chardev = (struct chardev){ .ops = &ops, .opaque = terminal };
	terminal->config = *config;
	terminal->continue_fd = -1;
	signals_ignore_pipe();
	ret = set_up(terminal);
	if (ret) {
		error_set_errno(err, -ret, "cannot use the terminal");
		terminal_destroy(terminal);
		return ret;
	}
	*out = terminal;
	return 0;
}

void terminal_destroy(struct terminal *terminal)
{
	if (!terminal)
		return;
	while (terminal->output.used && !push_output(terminal))
		if (!stream_wait_writable(&terminal->out, LAST_FLUSH_MS))
			break;
	release_tty(terminal);
	pause_input(terminal);
	loop_watch_remove(terminal->out_watch);
	loop_timer_destroy(terminal->deliver_timer);
	loop_timer_destroy(terminal->flush_timer);
	fifo_release(&terminal->input);
	fifo_release(&terminal->output);
	stream_close(&terminal->in);
	stream_close(&terminal->out);
	free(terminal);
}

struct chardev *terminal_chardev(struct terminal *terminal)
{
	return &terminal->chardev;
}
