/* SPDX-License-Identifier: MIT */
/*
 * One connection of the agent's: hears what is wanted, then copies a tree or runs a program, whose
 * streams are frames (src/agent/wire.h). Nobody is waited for while somebody else has something to
 * do: the host's frames are always read, since its standard input may not exceed a window, and output
 * is read from the program only when the frame before has gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "agent/copy.h"
#include "agent/wire.h"
#include "init.h"

#define WISHES_BYTES_MAX (4u << 20)
#define END_OF_TRANSMISSION 4 /* Ctrl-D */

enum { STREAM_IN, STREAM_OUT, STREAM_ERR, STREAMS };

/* Strings that the host has set, in a NULL-terminated array. */
struct strings {
	char **item;
	size_t count;
};

struct session {
	int connection;
	uint8_t *data; /* of the frame that comes, AGENT_FRAME_MAX + 1 bytes */
	struct agent_header header;
	size_t have;   /* of header and data, so far */

	struct strings arguments, variables;
	const char *directory, *user, *terminal;
	size_t wishes_bytes;

	pid_t child;
	bool alive, ended; /* the program; AGENT_EXIT is on its way */
	int status, signals;
	int stream[STREAMS]; /* our ends; -1: closed. A terminal is IN and OUT */
	uint8_t input[AGENT_WINDOW];
	size_t input_bytes;
	bool input_ends;
	uint32_t room_owed;

	uint8_t out[sizeof(struct agent_header) + AGENT_DATA_MAX];
	size_t out_start, out_end;
};

static _Noreturn void give_up(const struct session *session, const char *why)
{
	agent_send_text(session->connection, AGENT_FAIL, why);
	_exit(1);
}

/* ---- what is wanted ---- */

static void add_string(struct session *session, struct strings *strings, char *text)
{
	char **more = realloc(strings->item, (strings->count + 2) * sizeof(*more));

	if (!more)
		give_up(session, "no memory");
	strings->item = more;
	more[strings->count++] = text;
	more[strings->count] = NULL;
}

static void set(struct session *session, const char *text)
{
	char *copy = strdup(text);

	session->wishes_bytes += strlen(text) + sizeof(char *);
	if (!copy || session->wishes_bytes > WISHES_BYTES_MAX)
		give_up(session, "the arguments are too long");
	if (!strncmp(copy, "arg=", 4))
		add_string(session, &session->arguments, copy + 4);
	else if (!strncmp(copy, "env=", 4))
		add_string(session, &session->variables, copy + 4);
	else if (!strncmp(copy, "dir=", 4))
		session->directory = copy + 4;
	else if (!strncmp(copy, "user=", 5))
		session->user = copy + 5;
	else if (!strncmp(copy, "tty=", 4))
		session->terminal = copy + 4;
	else
		give_up(session, "the agent does not know what is wanted");
}

/* ---- the program ---- */

static void close_stream(struct session *session, int which)
{
	int fd = session->stream[which];

	session->stream[which] = -1;
	if (fd >= 0 && fd != session->stream[STREAM_IN] && fd != session->stream[STREAM_OUT])
		close(fd);
}

static void set_nonblocking(int fd)
{
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/* The program's end; both of ours are the other. */
static int open_terminal(struct session *session, const struct user *user)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), unlock = 0, slave = -1;
	unsigned rows = 0, columns = 0;

	if (master >= 0 && !ioctl(master, TIOCSPTLCK, &unlock))
		slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		give_up(session, "the guest has no terminal to give");
	sscanf(session->terminal, "%u %u", &rows, &columns);
	terminal_resize(master, rows, columns);
	(void)!fchown(slave, user->uid, (gid_t)-1);
	set_nonblocking(master);
	session->stream[STREAM_IN] = session->stream[STREAM_OUT] = master;
	return slave;
}

static void open_pipes(struct session *session, int theirs[STREAMS])
{
	for (int i = 0; i < STREAMS; i++) {
		int ends[2];

		if (pipe2(ends, O_CLOEXEC))
			give_up(session, "the guest has no pipes left");
		theirs[i] = ends[i == STREAM_IN ? 0 : 1];
		session->stream[i] = ends[i == STREAM_IN ? 1 : 0];
		set_nonblocking(session->stream[i]);
	}
}

/* The environment of the machine's own program, of the user, and what the host adds. */
static char **make_environment(struct session *session, struct account *account)
{
	static char text[4][300];
	char **variables = config_all("env");
	struct strings all = { 0 };

	for (size_t i = 0; variables[i]; i++)
		add_string(session, &all, variables[i]);
	snprintf(text[0], sizeof(text[0]), "HOME=%s", account->home);
	snprintf(text[1], sizeof(text[1]), "USER=%s", account->name);
	snprintf(text[2], sizeof(text[2]), "LOGNAME=%s", account->name);
	snprintf(text[3], sizeof(text[3]), "SHELL=%s", account->shell);
	for (size_t i = 0; i < 4; i++)
		add_string(session, &all, text[i]);
	for (size_t i = 0; i < session->variables.count; i++)
		add_string(session, &all, session->variables.item[i]);
	return all.item;
}

static _Noreturn void become_program(struct session *session, struct account *account,
				     const int theirs[STREAMS], const sigset_t *signals)
{
	struct program program = { .directory = session->directory, .user = account->user };

	if (!session->arguments.count)
		add_string(session, &session->arguments, account->shell);
	program.arguments = session->arguments.item;
	program.variables = make_environment(session, account);
	child_begin(signals);
	if (session->terminal)
		child_take_terminal(theirs[0]);
	else
		for (int i = 0; i < STREAMS; i++)
			dup2(theirs[i], i);
	child_run(&program);
}

static void start(struct session *session)
{
	static struct account account;
	int theirs[STREAMS] = { -1, -1, -1 };
	sigset_t died, old;

	if (!find_account(session->user ? session->user : "0", &account))
		give_up(session, "the guest has no such user");
	if (session->terminal)
		theirs[0] = open_terminal(session, &account.user);
	else
		open_pipes(session, theirs);
	sigemptyset(&died);
	sigaddset(&died, SIGCHLD);
	sigprocmask(SIG_BLOCK, &died, &old);
	session->signals = signalfd(-1, &died, SFD_CLOEXEC | SFD_NONBLOCK);
	session->child = fork();
	if (session->child < 0 || session->signals < 0)
		give_up(session, "the guest cannot start a program");
	if (!session->child)
		become_program(session, &account, theirs, &old);
	for (int i = 0; i < STREAMS; i++)
		if (theirs[i] >= 0)
			close(theirs[i]);
	session->alive = true;
	set_nonblocking(session->connection);
}

/* ---- to the host ---- */

/* The frame, of which len bytes of data are in place, goes out as the host takes it. */
static void queue_frame(struct session *session, enum agent_type type, size_t len)
{
	const struct agent_header header = { .type = type, .len = (uint32_t)len };

	memcpy(session->out, &header, sizeof(header));
	session->out_start = 0;
	session->out_end = sizeof(header) + len;
}

static void queue_u32(struct session *session, enum agent_type type, uint32_t value)
{
	memcpy(session->out + sizeof(struct agent_header), &value, sizeof(value));
	queue_frame(session, type, sizeof(value));
}

static bool is_sending(const struct session *session)
{
	return session->out_start < session->out_end;
}

static bool would_block(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* The host has gone: so does what ran for it. */
static _Noreturn void hang_up(const struct session *session)
{
	if (session->alive)
		kill(-session->child, SIGHUP);
	_exit(1);
}

static void send_some(struct session *session)
{
	ssize_t put = write(session->connection, session->out + session->out_start,
			    session->out_end - session->out_start);

	if (put > 0)
		session->out_start += (size_t)put;
	else if (put < 0 && !would_block())
		hang_up(session);
	if (session->ended && !is_sending(session))
		_exit(0);
}

static void take_output(struct session *session, int which)
{
	ssize_t got = read(session->stream[which], session->out + sizeof(struct agent_header),
			   AGENT_DATA_MAX);

	if (got > 0)
		queue_frame(session, which == STREAM_OUT ? AGENT_STDOUT : AGENT_STDERR,
			    (size_t)got);
	else if (!got || !would_block()) /* a terminal that nobody has open any more: EIO */
		close_stream(session, which);
}

/* ---- from the host ---- */

static void give_input(struct session *session)
{
	ssize_t put = 0;

	if (session->input_bytes)
		put = write(session->stream[STREAM_IN], session->input, session->input_bytes);
	if (put < 0 && would_block())
		return;
	if (put < 0) {
		/* Nobody reads it: it goes nowhere, and the host need not wait. */
		close_stream(session, STREAM_IN);
		put = (ssize_t)session->input_bytes;
	}
	session->input_bytes -= (size_t)put;
	session->room_owed += (uint32_t)put;
	memmove(session->input, session->input + put, session->input_bytes);
	if (session->input_ends && !session->input_bytes)
		close_stream(session, STREAM_IN);
}

static void add_input(struct session *session, const uint8_t *data, size_t len)
{
	static const uint8_t end = END_OF_TRANSMISSION;

	if (!len && session->terminal) {
		data = &end;
		len = 1;
	}
	if (len > sizeof(session->input) - session->input_bytes)
		hang_up(session); /* it had been told how much there is room for */
	if (!len)
		session->input_ends = true;
	memcpy(session->input + session->input_bytes, data, len);
	session->input_bytes += len;
	give_input(session);
}

/* To whom a terminal's keys would send it; else to all that the program has started. */
static void send_signal(const struct session *session, uint32_t number)
{
	pid_t group = session->terminal ? tcgetpgrp(session->stream[STREAM_OUT]) : session->child;

	if (session->alive && group > 0 && number < NSIG)
		kill(-group, (int)number);
}

static void take_frame(struct session *session)
{
	uint32_t words[2];

	switch (session->header.type) {
	case AGENT_STDIN:
		add_input(session, session->data, session->header.len);
		break;
	case AGENT_SIGNAL:
		if (agent_u32(&session->header, session->data, words))
			send_signal(session, words[0]);
		break;
	case AGENT_RESIZE:
		if (session->header.len == sizeof(words) && session->terminal) {
			memcpy(words, session->data, sizeof(words));
			terminal_resize(session->stream[STREAM_OUT], words[0], words[1]);
		}
		break;
	default:
		hang_up(session);
	}
}

static void read_some(struct session *session)
{
	const size_t header_bytes = sizeof(session->header);
	uint8_t *to = (uint8_t *)&session->header + session->have;
	size_t want = header_bytes - session->have;
	ssize_t got;

	if (session->have >= header_bytes) {
		to = session->data + session->have - header_bytes;
		want = session->header.len + header_bytes - session->have;
	}
	got = read(session->connection, to, want);
	if (!got || (got < 0 && !would_block()))
		hang_up(session);
	session->have += got > 0 ? (size_t)got : 0;
	if (session->have < header_bytes)
		return;
	if (session->header.len > AGENT_DATA_MAX)
		hang_up(session);
	if (session->have == header_bytes + session->header.len) {
		session->have = 0;
		take_frame(session);
	}
}

/* ---- all of it ---- */

static void bury(struct session *session)
{
	struct signalfd_siginfo info;

	while (read(session->signals, &info, sizeof(info)) > 0)
		;
	if (session->alive && waitpid(session->child, &session->status, WNOHANG) > 0)
		session->alive = false;
}

static struct pollfd interest(int fd, short events)
{
	return (struct pollfd){ .fd = events ? fd : -1, .events = events };
}

/* The streams' are in their order. */
enum { AT_CONNECTION, AT_SIGNALS, AT_STREAMS, POLLS = AT_STREAMS + STREAMS };

static void step(struct session *session)
{
	bool free = !is_sending(session);
	short from_host = session->alive ? POLLIN : 0;
	struct pollfd fds[POLLS] = {
		[AT_CONNECTION] = interest(session->connection, from_host | (free ? 0 : POLLOUT)),
		[AT_SIGNALS] = interest(session->signals, POLLIN),
		[AT_STREAMS + STREAM_IN] = interest(session->stream[STREAM_IN],
						    session->input_bytes ? POLLOUT : 0),
		[AT_STREAMS + STREAM_OUT] = interest(session->stream[STREAM_OUT],
						     free ? POLLIN : 0),
		[AT_STREAMS + STREAM_ERR] = interest(session->stream[STREAM_ERR],
						     free ? POLLIN : 0),
	};
	/* The dead write no more: what is there now is all. */
	int ready = poll(fds, POLLS, session->alive || !free ? -1 : 0);

	if (!ready) {
		session->ended = true;
		queue_u32(session, AGENT_EXIT, (uint32_t)session->status);
		return;
	}
	if (fds[AT_CONNECTION].revents & POLLOUT)
		send_some(session);
	if (session->alive && fds[AT_CONNECTION].revents & ~POLLOUT)
		read_some(session);
	if (fds[AT_SIGNALS].revents)
		bury(session);
	if (fds[AT_STREAMS + STREAM_IN].revents && session->stream[STREAM_IN] >= 0)
		give_input(session);
	for (int i = STREAM_OUT; i <= STREAM_ERR; i++)
		if (fds[AT_STREAMS + i].revents && !is_sending(session))
			take_output(session, i);
	if (session->room_owed && !is_sending(session)) {
		queue_u32(session, AGENT_ROOM, session->room_owed);
		session->room_owed = 0;
	}
}

static _Noreturn void run(struct session *session)
{
	start(session);
	for (;;)
		step(session);
}

/* ---- copying ---- */

static void warn_host(void *opaque, const char *text)
{
	const struct session *session = opaque;

	agent_send_text(session->connection, AGENT_WARN, text);
}

static _Noreturn void copy(struct session *session, bool put)
{
	static char path[4096], name[256];
	/* The frame's memory is the copy's from now on. */
	struct agent_copy stream = { .fd = session->connection, .data = session->data,
			     .warn = put ? NULL : warn_host, .opaque = session };
	const char *first = (const char *)session->data;
	const char *second = first + strlen(first) + 1;
	bool has_second = second <= first + session->header.len;
	bool directories = !put && has_second && !strcmp(first, "-r");
	int length = snprintf(path, sizeof(path), "%s", directories ? second : first), ret;

	if ((size_t)length >= sizeof(path))
		give_up(session, "the path is too long");
	snprintf(name, sizeof(name), "%s", put && has_second ? second : "");
	ret = put ? agent_copy_receive(&stream, path, name) : agent_copy_send(&stream, path, directories);
	if (ret && *stream.failure)
		give_up(session, stream.failure);
	if (!ret)
		agent_send_u32(session->connection, AGENT_EXIT, 0);
	_exit(0);
}

void serve_session(int connection)
{
	static struct session session;
	const char *directory = config_get("dir");

	session = (struct session){ .connection = connection, .stream = { -1, -1, -1 } };
	session.data = malloc(AGENT_FRAME_MAX + 1);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	if (directory)
		(void)!chdir(directory); /* where the machine's own program began */
	if (!session.data || agent_send_u32(connection, AGENT_HELLO, AGENT_VERSION))
		_exit(1);
	while (!agent_receive(connection, &session.header, session.data)) {
		switch (session.header.type) {
		case AGENT_SET:
			set(&session, (const char *)session.data);
			break;
		case AGENT_RUN:
			run(&session);
		case AGENT_GET:
		case AGENT_PUT:
			copy(&session, session.header.type == AGENT_PUT);
		default:
			give_up(&session, "the agent does not know what is wanted");
		}
	}
	_exit(1);
}
