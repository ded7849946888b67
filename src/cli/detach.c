/* SPDX-License-Identifier: MIT */
#include "cli/detach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/commands.h"

static void to_nowhere(int fd, int flags)
{
	int null = open("/dev/null", flags | O_CLOEXEC);

	if (null >= 0) {
		dup2(null, fd);
		close(null);
	}
}

static void print_log(int log)
{
	char text[4096];
	ssize_t got;

	for (off_t at = 0; (got = pread(log, text, sizeof(text), at)) > 0; at += got)
		fwrite(text, 1, (size_t)got, stderr);
	close(log);
}

/* A name came, or the child ended without. */
static int wait_for(pid_t child, int fd, int log)
{
	char name[256];
	ssize_t got;
	int status = 0;

	do
		got = read(fd, name, sizeof(name));
	while (got < 0 && errno == EINTR);
	close(fd);
	while (got <= 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	print_log(log);
	if (got > 0) {
		fwrite(name, 1, (size_t)got, stdout);
		return finish_output(STATUS_OK);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : STATUS_INTERNAL;
}

bool detach_begin(struct detachment *detachment, int *status)
{
	int ends[2], log = memfd_create("log", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	pid_t child;

	if (log < 0 || pipe2(ends, O_CLOEXEC) || (child = fork()) < 0) {
		usage_error("no process for a machine in the background");
		*status = STATUS_INTERNAL;
		return false;
	}
	if (child) {
		close(ends[1]);
		*status = wait_for(child, ends[0], log);
		return false;
	}
	close(ends[0]);
	detachment->fd = ends[1];
	detachment->log = log;
	setsid();
	to_nowhere(STDIN_FILENO, O_RDONLY);
	to_nowhere(STDOUT_FILENO, O_WRONLY);
	dup2(log, STDERR_FILENO);
	return true;
}

void detach_finish(struct detachment *detachment, const char *name)
{
	if (detachment->fd < 0)
		return;
	/* Who goes on writing to it is refused, rather than fill the memory. */
	fcntl(detachment->log, F_ADD_SEALS, F_SEAL_GROW);
	close(detachment->log);
	/* A parent that is gone need not know. */
	dprintf(detachment->fd, "%s\n", name);
	close(detachment->fd);
	detachment->fd = -1;
}
