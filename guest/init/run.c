/* SPDX-License-Identifier: MIT */
/*
 * The program: on a terminal of the guest's, or with pipes whose other ends are carried to ports of
 * the console, so that it sees what it would see in a pipeline. Process 1 also buries orphans. To
 * stop means that everybody is asked to end; as a service of systemd, we have that do it, and are
 * asked in our turn, by a SIGTERM to us alone: then it is the program's.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "init.h"

#define CHANNELS 3
#define BUFFER_BYTES (128u << 10)
#define GRACE_MS 5000 /* between being asked to end and being made to */

/* Bytes on their way from one descriptor to another; from is -1 at the end, to once all is through. */
struct channel {
	int from, to;
	size_t start, end;
	char *buffer;
};

static const char *const port_names[CHANNELS] = { "org.ringlet.stdin", "org.ringlet.stdout",
						  "org.ringlet.stderr" };

/* ---- carrying ---- */

static void channel_close(struct channel *channel)
{
	if (channel->from >= 0)
		close(channel->from);
	if (channel->to >= 0)
		close(channel->to);
	channel->from = channel->to = -1;
	channel->start = channel->end = 0;
}

static bool would_block(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* A step in each direction; at the end of the input, what is on its way goes first. */
static void channel_move(struct channel *channel)
{
	if (channel->from >= 0 && channel->start == channel->end) {
		ssize_t got = read(channel->from, channel->buffer, BUFFER_BYTES);

		channel->start = 0;
		channel->end = got > 0 ? (size_t)got : 0;
		if (!got || (got < 0 && !would_block())) {
			channel_close(channel);
			return;
		}
	}
	if (channel->to >= 0 && channel->start < channel->end) {
		ssize_t put = write(channel->to, channel->buffer + channel->start,
				    channel->end - channel->start);

		if (put > 0)
			channel->start += (size_t)put;
		else if (put < 0 && !would_block())
			channel_close(channel); /* nobody reads any more */
	}
}

static struct pollfd channel_interest(const struct channel *channel)
{
	if (channel->to < 0)
		return (struct pollfd){ .fd = -1 };
	if (channel->start < channel->end)
		return (struct pollfd){ .fd = channel->to, .events = POLLOUT };
	return (struct pollfd){ .fd = channel->from, .events = POLLIN };
}

/* A port whose reader is gone never becomes writable. */
static void channel_ready(struct channel *channel, short events)
{
	if (channel->start < channel->end && !(events & POLLOUT))
		channel_close(channel);
	else
		channel_move(channel);
}

static void set_nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* ---- process 1 ---- */

/* Buries who has died; true and its status when child was among them. */
static bool bury(pid_t child, int *status)
{
	bool found = false;
	int any;

	for (pid_t dead = waitpid(-1, &any, WNOHANG); dead > 0; dead = waitpid(-1, &any, WNOHANG)) {
		if (dead == child) {
			*status = any;
			found = true;
		}
	}
	return found;
}

/* A shell on a terminal goes when that is hung up. Who has stopped must go on to hear it. */
static void stop(pid_t child, bool hard)
{
	pid_t whom = getpid() == 1 ? -1 : -child;

	kill(whom, hard ? SIGKILL : config_get("tty") ? SIGHUP : SIGTERM);
	kill(whom, SIGCONT);
}

/* The host wants it. False: systemd will stop us when it is our turn. */
static bool stop_asked(pid_t child)
{
	if (getpid() != 1 && !kill(1, SIGRTMIN + 4)) /* "start poweroff.target": systemd(1) */
		return false;
	stop(child, false);
	return true;
}

/* -1: for ever. The dead write no more, but a slow reader of what they wrote may be waited for. */
static int patience_ms(const struct channel channels[CHANNELS], bool alive, bool stopping)
{
	bool rest = channels[1].start < channels[1].end || channels[2].start < channels[2].end;

	return alive && stopping ? GRACE_MS : alive || rest ? -1 : 0;
}

/* What signals tells; true: the child has died, *status is its. */
static bool hear_signals(int signals, pid_t child, int *status, bool *stopping)
{
	struct signalfd_siginfo info;
	bool died = false;

	while (read(signals, &info, sizeof(info)) > 0) {
		if (info.ssi_signo == SIGCHLD) {
			died |= bury(child, status);
		} else {
			*stopping = true;
			stop(child, false);
		}
	}
	return died;
}

/* Carries until child has died, then what is left in its pipes. */
static int carry(struct channel channels[CHANNELS], pid_t child, int signals, bool *stopping)
{
	bool alive = true;
	int status = 0;

	for (;;) {
		struct pollfd interest[CHANNELS + 2];
		int ready;

		for (unsigned i = 0; i < CHANNELS; i++)
			interest[i] = channel_interest(&channels[i]);
		interest[CHANNELS] = (struct pollfd){ .fd = signals, .events = POLLIN };
		interest[CHANNELS + 1] = (struct pollfd){ .fd = report_fd(), .events = POLLIN };
		ready = poll(interest, CHANNELS + 2, patience_ms(channels, alive, *stopping));
		if (!alive && ready == 0)
			return status;
		if (ready == 0)
			stop(child, true);
		for (unsigned i = 0; i < CHANNELS; i++)
			if (interest[i].fd >= 0 && interest[i].revents)
				channel_ready(&channels[i], interest[i].revents);
		if (interest[CHANNELS + 1].revents & POLLIN && report_stop_asked())
			*stopping |= stop_asked(child);
		if (interest[CHANNELS].revents &&
		    hear_signals(signals, child, &status, stopping)) {
			alive = false;
			channel_close(&channels[0]);
		}
	}
}

/* "UID GID GROUP..." */
static void parse_user(const char *text, struct user *user)
{
	char *at;

	user->given = true;
	user->uid = (uid_t)strtoul(text, &at, 10);
	user->gid = (gid_t)strtoul(at, &at, 10);
	while (*at && user->group_count < USER_GROUPS_MAX)
		user->groups[user->group_count++] = (gid_t)strtoul(at, &at, 10);
}

static void open_terminal(const char *name)
{
	const char *size = config_get("size");
	int rows = 0, columns = 0, fd;
	char path[64];

	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, O_RDWR);
	if (fd < 0)
		child_die("open", path);
	if (size)
		sscanf(size, "%d %d", &rows, &columns);
	terminal_resize(fd, (unsigned)rows, (unsigned)columns);
	child_take_terminal(fd);
}

static pid_t start(const int stdio[CHANNELS], const sigset_t *old_signals)
{
	const char *terminal = config_get("tty"), *user = config_get("user");
	struct program program = { .arguments = config_all("arg"), .variables = config_all("env"),
				   .directory = config_get("dir") };
	pid_t child = fork();

	if (child < 0)
		die("cannot fork: %s", strerror(errno));
	if (child)
		return child;
	child_begin(old_signals);
	if (terminal)
		open_terminal(terminal);
	else
		for (int i = 0; i < CHANNELS; i++)
			dup2(stdio[i], i);
	if (user)
		parse_user(user, &program.user);
	child_run(&program);
}

/* Pipes and ports: descriptor 0 is read by the child, 1 and 2 are written. */
static void open_channel(struct channel *channel, unsigned number, int *childs_end)
{
	bool in = number == 0;
	int port = port_open(port_names[number], in ? O_RDONLY : O_WRONLY), ends[2];

	if (pipe2(ends, O_CLOEXEC))
		die("no pipe: %s", strerror(errno));
	channel->buffer = malloc(BUFFER_BYTES);
	if (!channel->buffer)
		die("no memory");
	channel->from = in ? port : ends[0];
	channel->to = in ? ends[1] : port;
	*childs_end = in ? ends[0] : ends[1];
	set_nonblocking(channel->from);
	set_nonblocking(channel->to);
}

/* Our own, as a descriptor: SIGTERM only where somebody sends it. */
static int open_signals(sigset_t *old)
{
	sigset_t ours;
	int fd;

	sigemptyset(&ours);
	sigaddset(&ours, SIGCHLD);
	if (getpid() != 1)
		sigaddset(&ours, SIGTERM);
	sigprocmask(SIG_BLOCK, &ours, old);
	fd = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		die("no signalfd: %s", strerror(errno));
	signal(SIGPIPE, SIG_IGN);
	return fd;
}

int run_program(bool *stopping)
{
	struct channel channels[CHANNELS] = { { -1, -1, 0, 0, NULL }, { -1, -1, 0, 0, NULL },
					      { -1, -1, 0, 0, NULL } };
	int stdio[CHANNELS] = { -1, -1, -1 }, signals;
	sigset_t old;
	pid_t child;

	signals = open_signals(&old);
	if (!config_get("tty"))
		for (unsigned i = 0; i < CHANNELS; i++)
			open_channel(&channels[i], i, &stdio[i]);
	child = start(stdio, &old);
	for (unsigned i = 0; i < CHANNELS; i++)
		if (stdio[i] >= 0)
			close(stdio[i]);
	*stopping = false;
	return carry(channels, child, signals, stopping);
}
