/* SPDX-License-Identifier: MIT */
/*
 * This terminal at a guest's console, beside whoever else is there. An event loop of our own has the
 * terminal on one side and the machine's control socket on the other.
 *
 * A console never says that it has answered. So when standard input was no terminal and has ended,
 * and the machine has taken what there was of it, we go when nothing was to be seen for QUIET_NS.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <linux/sockios.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/machine.h"
#include "host/clock.h"
#include "host/loop.h"
#include "host/machines.h"
#include "ui/chardev.h"
#include "ui/fifo.h"
#include "ui/terminal.h"

#define KEYS_BYTES 4096u
#define QUIET_NS 1000000000ull

struct console_args {
	bool help;
};

const struct option_spec console_options[] = {
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct console_args, help), .help = "print this help" },
	{ .name = NULL },
};

struct console {
	struct client *client;
	struct loop *loop;
	struct loop_watch *watch;
	struct terminal *terminal;
	struct chardev *chardev;
	struct fifo keys;  /* to the machine */
	bool terminal_full;
	bool input_ended;
	struct loop_timer *quiet;
};

static void watch(struct console *console)
{
	loop_watch_change(console->watch, (console->terminal_full ? 0 : EPOLLIN) |
					  (console->keys.used ? EPOLLOUT : 0u));
}

static void leave(void *opaque)
{
	struct console *console = opaque;

	loop_stop(console->loop);
}

/* ---- the end of input ---- */

static void wait_for_quiet(struct console *console)
{
	if (console->input_ended)
		loop_timer_arm(console->quiet, clock_now_ns() + QUIET_NS);
}

static void input_ended(void *opaque)
{
	struct console *console = opaque;

	console->input_ended = true;
	wait_for_quiet(console);
}

/* Is there input that the machine has not taken out of the socket? */
static bool has_unsent(const struct console *console)
{
	int bytes = 0;

	return console->keys.used || (!ioctl(console->client->fd, SIOCOUTQ, &bytes) && bytes);
}

static void quiet(void *opaque)
{
	struct console *console = opaque;

	if (console->terminal_full || has_unsent(console))
		wait_for_quiet(console);
	else
		leave(console);
}

/* ---- from the machine ---- */

/* What the terminal has no room for stays in the socket: it is looked at before it is taken. */
static void read_screen(struct console *console)
{
	uint8_t data[4096];
	ssize_t got = recv(console->client->fd, data, sizeof(data), MSG_PEEK | MSG_DONTWAIT);
	size_t taken;

	if (!got || (got < 0 && errno != EAGAIN && errno != EINTR))
		leave(console);
	if (got <= 0)
		return;
	wait_for_quiet(console);
	taken = chardev_write(console->chardev, data, (size_t)got);
	console->terminal_full = taken < (size_t)got;
	recv(console->client->fd, data, taken, MSG_DONTWAIT);
}

static void writable(void *opaque)
{
	struct console *console = opaque;

	console->terminal_full = false;
	watch(console);
}

/* ---- to the machine ---- */

static size_t can_receive(void *opaque)
{
	const struct console *console = opaque;

	return fifo_room(&console->keys);
}

static void receive(void *opaque, const uint8_t *data, size_t len)
{
	struct console *console = opaque;

	fifo_put(&console->keys, data, len);
	watch(console);
}

/* The console's bytes have no room for it: it goes another way. */
static void receive_break(void *opaque)
{
	const struct console *console = opaque;
	struct client other = { .fd = -1 };
	int dir = machines_open(NULL);

	if (dir < 0)
		return;
	if (!client_open(&other, dir, console->client->name, CLIENT_PATIENCE_S, NULL))
		client_ask(&other, "break", NULL, NULL, NULL);
	client_close(&other);
	close(dir);
}

static void write_keys(struct console *console)
{
	const uint8_t *data;
	size_t len;

	while ((len = fifo_peek(&console->keys, &data))) {
		ssize_t sent = send(console->client->fd, data, len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (sent <= 0)
			break;
		fifo_drop(&console->keys, (size_t)sent);
	}
	chardev_input_room(console->chardev);
}

static void on_socket(void *opaque, uint32_t events)
{
	struct console *console = opaque;

	if (events & EPOLLOUT)
		write_keys(console);
	if (events & EPOLLIN)
		read_screen(console);
	else if (events & (EPOLLHUP | EPOLLERR))
		leave(console);
	watch(console);
}

/* ---- life ---- */

static int set_up(struct console *console, struct error *err)
{
	const struct terminal_config config = {
		.loop = console->loop, .in_fd = STDIN_FILENO, .out_fd = STDOUT_FILENO,
		.quit = leave, .quit_help = "leave the console", .ended = input_ended,
		.opaque = console,
	};
	const struct chardev_front front = {
		.can_receive = can_receive, .receive = receive, .writable = writable,
		.receive_break = receive_break, .opaque = console,
	};
	int ret = fifo_init(&console->keys, KEYS_BYTES);

	if (!ret)
		ret = loop_timer_create(console->loop, quiet, console, &console->quiet);
	if (!ret)
		ret = loop_watch_add(console->loop, console->client->fd, EPOLLIN, on_socket, console,
				     &console->watch);
	if (ret)
		return error_set_errno(err, -ret, "cannot attach to the console");
	ret = terminal_create(&config, &console->terminal, err);
	if (ret)
		return ret;
	console->chardev = terminal_chardev(console->terminal);
	chardev_attach(console->chardev, &front);
	return 0;
}

static int attach(struct client *client, void *args, char **operand, struct error *err)
{
	struct console console = { .client = client };
	int ret = client_ask(client, "console", NULL, NULL, err);

	(void)args;
	(void)operand;
	if (!ret)
		ret = loop_create(&console.loop, err);
	if (ret)
		return ret;
	ret = set_up(&console, err);
	if (!ret)
		loop_run(console.loop);
	terminal_destroy(console.terminal);
	loop_watch_remove(console.watch);
	loop_timer_destroy(console.quiet);
	fifo_release(&console.keys);
	loop_destroy(console.loop);
	return ret;
}

int cmd_console(int argc, char **argv)
{
	static const struct machine_verb verb = {
		.usage = "console [NAME]", .options = console_options, .run = attach,
	};
	struct console_args args = { 0 };

	return machine_run(&verb, &args, &args.help, argc, argv);
}
