/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/log.h"
#include "host/clock.h"
#include "host/loop.h"
#include "ui/chardev.h"
#include "ui/terminal.h"

#define LIMIT_NS (3 * CLOCK_NS_PER_S)

/* A machine of one serial port: it takes "room" bytes, then none until the test makes room. */
struct world {
	struct loop *loop;
	struct terminal *terminal;
	struct chardev *chardev;
	struct loop_timer *limit;
	uint8_t got[65536];
	size_t got_len, want_len, room;
	unsigned quits, breaks, writable;
};

static size_t can_receive(void *opaque)
{
	struct world *world = opaque;

	return world->room;
}

static void receive(void *opaque, const uint8_t *data, size_t len)
{
	struct world *world = opaque;

	assert_true(len <= world->room);
	memcpy(world->got + world->got_len, data, len);
	world->got_len += len;
	world->room -= len;
	if (world->got_len >= world->want_len)
		loop_stop(world->loop);
}

static void writable(void *opaque)
{
	struct world *world = opaque;

	world->writable++;
	loop_stop(world->loop);
}

static void receive_break(void *opaque)
{
	struct world *world = opaque;

	world->breaks++;
}

static void quit(void *opaque)
{
	struct world *world = opaque;

	world->quits++;
	loop_stop(world->loop);
}

static void stop(void *opaque)
{
	loop_stop(opaque);
}

static void begin(struct world *world, int in_fd, int out_fd)
{
	struct chardev_front front = {
		.can_receive = can_receive, .receive = receive, .writable = writable,
		.receive_break = receive_break, .opaque = world,
	};
	struct terminal_config config = { .in_fd = in_fd, .out_fd = out_fd, .quit = quit,
					  .opaque = world };
	struct error err;

	memset(world, 0, sizeof(*world));
	log_set_level(LOG_LEVEL_ERROR);
	assert_int_equal(loop_create(&world->loop, &err), 0);
	assert_int_equal(loop_timer_create(world->loop, stop, world->loop, &world->limit), 0);
	config.loop = world->loop;
	assert_int_equal(terminal_create(&config, &world->terminal, &err), 0);
	world->chardev = terminal_chardev(world->terminal);
	world->room = sizeof(world->got);
	world->want_len = SIZE_MAX;
	chardev_attach(world->chardev, &front);
}

static void end(struct world *world)
{
	terminal_destroy(world->terminal);
	loop_timer_destroy(world->limit);
	loop_destroy(world->loop);
}

/* Until a callback above stops the loop, or ns have passed. */
static void run(struct world *world, uint64_t ns)
{
	loop_timer_arm(world->limit, clock_now_ns() + ns);
	loop_run(world->loop);
	loop_timer_disarm(world->limit);
}

static void make_room(struct world *world, size_t room)
{
	world->room = room;
	chardev_input_room(world->chardev);
}

static bool is_raw(int fd)
{
	struct termios mode;

	assert_int_equal(tcgetattr(fd, &mode), 0);
	return !(mode.c_lflag & (ICANON | ECHO | ISIG));
}

static void type(int fd, const char *keys)
{
	assert_int_equal(write(fd, keys, strlen(keys)), (ssize_t)strlen(keys));
}

static void a_tty_is_raw_and_restored(void **state)
{
	struct world world;
	int master, slave;
	char text[8];

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	assert_false(is_raw(slave));
	begin(&world, slave, slave);
	assert_true(is_raw(slave));
	assert_false(fcntl(slave, F_GETFL) & O_NONBLOCK);
	assert_int_equal(chardev_write(world.chardev, (const uint8_t *)"hello", 5), 5);
	run(&world, 20000000);
	assert_int_equal(read(master, text, sizeof(text)), 5);
	assert_memory_equal(text, "hello", 5);
	end(&world);
	assert_false(is_raw(slave));
	close(master);
	close(slave);
}

static void escapes(void **state)
{
	struct world world;
	int master, slave;

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	begin(&world, slave, slave);
	world.want_len = 5;
	type(master, "a\x03\x01" "a\x01\x01\x01zb\x01" "b");
	run(&world, LIMIT_NS);
	assert_int_equal(world.got_len, 5);
	assert_memory_equal(world.got, "a\x03\x01\x01" "b", 5);
	assert_int_equal(world.breaks, 1);
	world.room = 0;
	type(master, "not taken\x01x");
	run(&world, LIMIT_NS);
	assert_int_equal(world.quits, 1);
	end(&world);
	close(master);
	close(slave);
}

static unsigned quits_after_hang_up(void)
{
	struct world world;
	int master, slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	begin(&world, slave, slave);
	close(master);
	run(&world, 20000000);
	assert_int_equal(chardev_write(world.chardev, (const uint8_t *)"lost", 4), 4);
	run(&world, 20000000);
	end(&world);
	close(slave);
	return world.quits;
}

static void a_hang_up_ends_all(void **state)
{
	(void)state;
	assert_int_equal(quits_after_hang_up(), 1);
}

static void a_hang_up_that_is_ignored_ends_input_alone(void **state)
{
	void (*before)(int) = signal(SIGHUP, SIG_IGN);

	(void)state;
	assert_int_equal(quits_after_hang_up(), 0);
	signal(SIGHUP, before);
}

static void a_pipe_waits_for_room(void **state)
{
	struct world world;
	int in[2], out[2];
	uint8_t sent[20000];

	(void)state;
	for (size_t i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 7);
	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	assert_int_equal(write(in[1], sent, sizeof(sent)), sizeof(sent));
	close(in[1]);
	begin(&world, in[0], out[1]);
	while (world.got_len < sizeof(sent)) {
		world.want_len = world.got_len + 13 < sizeof(sent) ? world.got_len + 13 :
								     sizeof(sent);
		make_room(&world, 13);
		run(&world, LIMIT_NS);
		assert_int_equal(world.got_len, world.want_len);
	}
	assert_memory_equal(world.got, sent, sizeof(sent));
	run(&world, 20000000);
	assert_int_equal(world.quits, 0);
	end(&world);
	close(in[0]);
	close(out[0]);
	close(out[1]);
}

static void a_file_is_input_too(void **state)
{
	char name[] = "/tmp/ringlet-terminal-XXXXXX";
	int in = mkstemp(name), out[2];
	struct world world;

	(void)state;
	assert_int_equal(pipe(out), 0);
	for (int i = 0; i < 1000; i++)
		type(in, "a line of text\n");
	lseek(in, 0, SEEK_SET);
	begin(&world, in, out[1]);
	world.want_len = 15000;
	run(&world, LIMIT_NS);
	assert_int_equal(world.got_len, 15000);
	assert_memory_equal(world.got + 14985, "a line of text\n", 15);
	end(&world);
	unlink(name);
	close(in);
	close(out[0]);
	close(out[1]);
}

#define LONG_OUTPUT 400000

static uint8_t nth(size_t i)
{
	return (uint8_t)(i ^ i >> 8);
}

/* Reads what is there and checks that it goes on from *count. */
static void read_some(int fd, size_t *count, size_t most)
{
	uint8_t data[30000];
	ssize_t len = read(fd, data, most < sizeof(data) ? most : sizeof(data));

	for (ssize_t i = 0; i < len; i++)
		assert_int_equal(data[i], nth((*count)++));
}

static void no_output_is_lost(void **state)
{
	static uint8_t all[LONG_OUTPUT];
	struct world world;
	int out[2], null = open("/dev/null", O_RDONLY);
	size_t put = 0, read_back = 0;

	(void)state;
	for (size_t i = 0; i < LONG_OUTPUT; i++)
		all[i] = nth(i);
	assert_int_equal(pipe(out), 0);
	begin(&world, null, out[1]);
	while (put < LONG_OUTPUT) {
		put += chardev_write(world.chardev, all + put, LONG_OUTPUT - put);
		if (put == LONG_OUTPUT)
			break;
		/* A reader that is slower than the guest. */
		while (!world.writable) {
			read_some(out[0], &read_back, 30000);
			run(&world, 2000000);
		}
		world.writable = 0;
	}
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	while (read_back < LONG_OUTPUT) {
		read_some(out[0], &read_back, 30000);
		run(&world, 2000000);
	}
	assert_false(fcntl(out[1], F_GETFL) & O_NONBLOCK);
	end(&world);
	close(out[0]);
	close(out[1]);
	close(null);
}

static void a_closed_pipe_swallows(void **state)
{
	static const uint8_t data[10000];
	struct world world;
	int out[2], null = open("/dev/null", O_RDONLY);

	(void)state;
	assert_int_equal(pipe(out), 0);
	close(out[0]);
	begin(&world, null, out[1]);
	for (int i = 0; i < 20; i++)
		assert_int_equal(chardev_write(world.chardev, data, sizeof(data)), sizeof(data));
	run(&world, 20000000);
	end(&world);
	close(out[1]);
	close(null);
}

static struct sigaction before;

/* As an engine does whose own instructions may fault: what is not its own goes on. */
static void pass_on(int signum)
{
	before.sa_handler(signum);
}

/* In a child: raw mode, then death by signum (0: exit); the terminal must be as before. */
static void dies_restoring(int signum, bool chained)
{
	int master, slave, status;
	struct world world;
	pid_t child;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	child = fork();
	if (!child) {
		/* The sanitizers have handlers of their own. */
		if (signum)
			signal(signum, SIG_DFL);
		begin(&world, slave, slave);
		if (!is_raw(slave))
			_exit(99);
		if (chained)
			sigaction(signum, &(struct sigaction){ .sa_handler = pass_on }, &before);
		if (signum)
			raise(signum);
		exit(7);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (signum)
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signum);
	else
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 7);
	assert_false(is_raw(slave));
	close(master);
	close(slave);
}

static void every_way_out_restores(void **state)
{
	static const int signals[] = { 0, SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGABRT, SIGSEGV,
				       SIGFPE, SIGBUS };

	(void)state;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		dies_restoring(signals[i], false);
	dies_restoring(SIGSEGV, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* First: handlers are set once a process, and its children shall set them. */
		cmocka_unit_test(every_way_out_restores),
		cmocka_unit_test(a_tty_is_raw_and_restored),
		cmocka_unit_test(escapes),
		cmocka_unit_test(a_hang_up_ends_all),
		cmocka_unit_test(a_hang_up_that_is_ignored_ends_input_alone),
		cmocka_unit_test(a_pipe_waits_for_room),
		cmocka_unit_test(a_file_is_input_too),
		cmocka_unit_test(no_output_is_lost),
		cmocka_unit_test(a_closed_pipe_swallows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
