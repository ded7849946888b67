/* SPDX-License-Identifier: MIT */
/* What is between fork() and a program of somebody's. Errors go where the program's would. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "init.h"

void child_die(const char *what, const char *which)
{
	dprintf(STDERR_FILENO, "ringlet: cannot %s %s: %s\n", what, which, strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

void child_begin(const sigset_t *signals)
{
	setsid();
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, signals, NULL);
}

void terminal_resize(int fd, unsigned rows, unsigned columns)
{
	struct winsize window = { .ws_row = (unsigned short)rows,
				  .ws_col = (unsigned short)columns };

	if (rows && columns)
		ioctl(fd, TIOCSWINSZ, &window);
}

void child_take_terminal(int fd)
{
	ioctl(fd, TIOCSCTTY, 1);
	for (int i = 0; i < 3; i++)
		dup2(fd, i);
	if (fd > 2)
		close(fd);
}

static void become(const struct user *user)
{
	if (setgroups(user->group_count, user->groups) || setgid(user->gid) || setuid(user->uid))
		child_die("become", "that user");
}

void child_run(const struct program *program)
{
	clearenv();
	for (unsigned i = 0; program->variables[i]; i++)
		putenv(program->variables[i]);
	if (program->user.given)
		become(&program->user);
	if (program->directory && chdir(program->directory))
		child_die("change to", program->directory);
	execvp(program->arguments[0], program->arguments);
	child_die("run", program->arguments[0]);
}
