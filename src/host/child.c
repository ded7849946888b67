/* SPDX-License-Identifier: MIT */
#include "host/child.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

extern char **environ;

/* All that comes through the pipe. */
static char *read_all(int fd)
{
	char *text = NULL, piece[4096];
	size_t size = 0;
	FILE *stream = open_memstream(&text, &size);
	ssize_t got;

	if (!stream)
		return NULL;
	while ((got = read(fd, piece, sizeof(piece))) > 0 || (got < 0 && errno == EINTR))
		if (got > 0)
			fwrite(piece, 1, (size_t)got, stream);
	fclose(stream);
	return text;
}

/* to: the child's standard output. 0 or an errno. */
static int spawn(pid_t *pid, const char *const *argv, const char *directory, int to)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attr;
	sigset_t interrupt;
	int errnum;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, to, STDOUT_FILENO);
	if (directory)
		posix_spawn_file_actions_addchdir_np(&actions, directory);
	sigemptyset(&interrupt);
	sigaddset(&interrupt, SIGINT);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigdefault(&attr, &interrupt);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGDEF);
	errnum = posix_spawnp(pid, argv[0], &actions, &attr, (char *const *)argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&actions);
	return errnum;
}

static int judge(const char *name, int status, struct error *err)
{
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return 0;
	if (WIFEXITED(status))
		return error_set(err, ECHILD, "%s failed with status %d", name, WEXITSTATUS(status));
	/* Who ends it with Ctrl-C wants no more of us, either. */
	if (WTERMSIG(status) == SIGINT)
		return error_set(err, EINTR, "interrupted");
	return error_set(err, ECHILD, "%s was ended by signal %d", name, WTERMSIG(status));
}

int child_run(const char *const *argv, const char *directory, char **output, struct error *err)
{
	const struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction before;
	int ends[2] = { -1, STDERR_FILENO }, status = 0, errnum;
	pid_t pid;

	if (output && pipe2(ends, O_CLOEXEC))
		return error_set_errno(err, errno, "no pipe");
	sigaction(SIGINT, &ignore, &before);
	errnum = spawn(&pid, argv, directory, ends[1]);
	if (output) {
		close(ends[1]);
		*output = errnum ? NULL : read_all(ends[0]);
		close(ends[0]);
	}
	while (!errnum && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	sigaction(SIGINT, &before, NULL);
	if (errnum)
		return error_set_errno(err, errnum, "cannot run %s", argv[0]);
	return judge(argv[0], status, err);
}
