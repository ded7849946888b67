/* SPDX-License-Identifier: MIT */
/* Runs a command in a machine that runs, by its guest's agent. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/wire.h"
#include "base/error.h"
#include "base/options.h"
#include "cli/commands.h"
#include "cli/exec_session.h"
#include "cli/guest_socket.h"
#include "host/signals.h"

struct exec_args {
	struct option_list env;
	const char *user, *directory;
	unsigned wait_s;
	bool terminal, help;
};

#define ARG(member) offsetof(struct exec_args, member)

const struct option_spec exec_options[] = {
	{ .name = "tty", .letter = 't', .type = OPTION_FLAG, .offset = ARG(terminal),
	  .help = "give it a terminal, which is this one; so it is without a command" },
	{ .name = "env", .type = OPTION_LIST, .offset = ARG(env), .metavar = "NAME=VALUE",
	  .help = "a variable in its environment" },
	{ .name = "user", .type = OPTION_STRING, .offset = ARG(user), .metavar = "USER",
	  .help = "the guest's user who runs it: a name, UID or UID:GID (root)" },
	{ .name = "cwd", .type = OPTION_STRING, .offset = ARG(directory), .metavar = "DIR",
	  .help = "directory where it begins (where the machine's own command did)" },
	GUEST_WAIT_OPTION(struct exec_args, wait_s),
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG, .offset = ARG(help),
	  .help = "print this help" },
	{ .name = NULL },
};

static int help(void)
{
	printf("usage: ringlet exec [OPTION]... NAME [OPTION]... [[--] COMMAND [ARGUMENT]...]\n\n");
	options_help(exec_options, stdout);
	return finish_output(STATUS_OK);
}

/* ---- what is wanted ---- */

static int set(int fd, const char *key, const char *value)
{
	char *text;
	int length = asprintf(&text, "%s=%s", key, value), ret;

	if (length < 0)
		return -ENOMEM;
	ret = length > (int)AGENT_FRAME_MAX ? -E2BIG :
					      agent_send(fd, AGENT_SET, text, (size_t)length);
	free(text);
	return ret;
}

static int set_terminal(int fd)
{
	const char *term = getenv("TERM");
	struct winsize size = { 0 };
	char text[64];
	int ret;

	ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	snprintf(text, sizeof(text), "%u %u", size.ws_row, size.ws_col);
	ret = set(fd, "tty", text);
	if (ret || !term)
		return ret;
	snprintf(text, sizeof(text), "TERM=%s", term);
	return set(fd, "env", text);
}

static int set_all(int fd, const struct exec_args *args, char **command, struct error *err)
{
	int ret = args->terminal ? set_terminal(fd) : 0;

	for (unsigned i = 0; i < args->env.count && !ret; i++)
		ret = set(fd, "env", args->env.item[i]);
	if (!ret && args->user)
		ret = set(fd, "user", args->user);
	if (!ret && args->directory)
		ret = set(fd, "dir", args->directory);
	for (; *command && !ret; command++)
		ret = set(fd, "arg", *command);
	return ret ? error_set_errno(err, -ret, "cannot tell the agent what to run") : 0;
}

/* ---- all of it ---- */

static int exit_status(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run(const char *name, const struct exec_args *args, char **command)
{
	struct error err;
	int status = 0, ret;
	int fd = guest_agent_connect(name, args->wait_s, &err);

	if (fd < 0) {
		usage_error(err.message);
		return fd == -ENOENT || fd == -EINVAL ? STATUS_USAGE : STATUS_GUEST_LOST;
	}
	signals_ignore_pipe();
	ret = set_all(fd, args, command, &err);
	if (!ret)
		ret = exec_session(fd, args->terminal, &status, &err);
	close(fd);
	if (!ret)
		return exit_status(status);
	usage_error(err.message);
	return STATUS_GUEST_LOST;
}

int cmd_exec(int argc, char **argv)
{
	struct exec_args args = { .wait_s = GUEST_WAIT_S };
	struct error err;
	int operands, words = 0;
	const char *name;

	if (options_parse_before(exec_options, &args, argc, argv, &operands, &err))
		return usage_error(err.message);
	name = operands ? *argv++ : NULL;
	if (name && options_parse_before(exec_options, &args, operands - 1, argv, &words, &err))
		return usage_error(err.message);
	if (args.help)
		return help();
	if (!name)
		return usage_error("exec: no machine named: see 'ringlet exec --help'");
	argv[words] = NULL;
	if (!words)
		args.terminal |= isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
	else if (args.terminal && !(isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)))
		return usage_error("exec: -t needs a terminal on standard input and output");
	return run(name, &args, argv);
}
