/* SPDX-License-Identifier: MIT */
/* direct --list; direct GROUP...: runs their cases and prints a line each. */
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cases.h"
#include "groups.h"

#define SAID_BYTES 65536u
#define PATIENCE_S 300

/* What the case that runs has said; shared with its process. */
static struct said {
	unsigned length;
	char text[SAID_BYTES];
} *said;

void say(const char *format, ...)
{
	va_list args;
	int length;

	va_start(args, format);
	length = vsnprintf(said->text + said->length, SAID_BYTES - said->length, format, args);
	va_end(args);
	if (length > 0 && said->length + (unsigned)length < SAID_BYTES)
		said->length += (unsigned)length;
}

void give_up(const char *what)
{
	say(" FAILED %s: %s", what, strerrorname_np(errno));
	_exit(1);
}

static void say_status(int status)
{
	if (WIFSIGNALED(status))
		say(" [signal %d]", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		say(" [status %d]", WEXITSTATUS(status));
}

void say_end_of(int pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			give_up("waitpid");
	say(" [child]");
	say_status(status);
}

/* Its status; a case that takes too long is ended. */
static int wait_for(int pid)
{
	const struct timespec pause = { .tv_nsec = 500000 };
	time_t deadline = time(NULL) + PATIENCE_S;
	int status;

	while (!waitpid(pid, &status, WNOHANG)) {
		if (time(NULL) > deadline) {
			kill(pid, SIGKILL);
			say(" TOO LONG");
		}
		nanosleep(&pause, NULL);
	}
	return status;
}

static void run_case(const struct direct_group *group, const struct direct_case *one)
{
	int pid;

	said->length = 0;
	said->text[0] = 0;
	fflush(stdout);
	pid = fork();
	if (!pid) {
		one->run();
		_exit(0);
	}
	say_status(wait_for(pid));
	printf("%s%s/%s:%s\n", one->own ? "~" : "", group->name, one->name, said->text);
}

static void run_group(const char *name)
{
	for (const struct direct_group *const *group = groups; *group; group++)
		if (!strcmp((*group)->name, name))
			for (const struct direct_case *one = (*group)->cases; one->name; one++)
				run_case(*group, one);
}

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "--list")) {
		for (const struct direct_group *const *group = groups; *group; group++)
			printf("%s%s\n", (*group)->name, (*group)->slow ? " slow" : "");
		return 0;
	}
	said = mmap(NULL, sizeof(*said), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (said == MAP_FAILED)
		return 1;
	for (int i = 1; i < argc; i++)
		run_group(argv[i]);
	return 0;
}
