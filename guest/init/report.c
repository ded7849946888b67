/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "init.h"

#define CONTROL_PORT "org.ringlet.control"
#define LINE_BYTES 512
#define NS_PER_S 1000000000u

static int control = -1;

void report_open(void)
{
	if (config_get("ports"))
		control = port_open(CONTROL_PORT, O_RDWR);
	/* Magic SysRq comes by the serial line, which its driver hears only while it is open. */
	open("/dev/ttyS0", O_RDONLY | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
}

int report_fd(void)
{
	return control;
}

/* Only the clock of the day shows that it stood still: all that measures spans is right as it is. */
static void put_clock_on(unsigned long long ns)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	ns += (unsigned long long)now.tv_nsec;
	now.tv_sec += (time_t)(ns / NS_PER_S);
	now.tv_nsec = (long)(ns % NS_PER_S);
	clock_settime(CLOCK_REALTIME, &now);
}

/* A line comes whole, perhaps with others. */
bool report_stop_asked(void)
{
	char lines[LINE_BYTES];
	ssize_t got = read(control, lines, sizeof(lines) - 1);
	bool stop = false;

	lines[got > 0 ? got : 0] = 0;
	for (char *line = strtok(lines, "\n"); line; line = strtok(NULL, "\n")) {
		unsigned long long ns;

		if (sscanf(line, "slept %llu", &ns) == 1)
			put_clock_on(ns);
		stop |= !strcmp(line, "stop");
	}
	return stop;
}

/* A port takes a line at once: it is shorter than the driver's buffer. */
static void tell(const char *line)
{
	while (control >= 0 && write(control, line, strlen(line)) < 0 && errno == EINTR)
		;
}

void power_off(void)
{
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

void die(const char *format, ...)
{
	char line[LINE_BYTES] = "fail ";
	size_t used = strlen(line);
	va_list args;

	va_start(args, format);
	vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	va_end(args);
	dprintf(STDERR_FILENO, "ringlet-init: %s\n", line + used);
	if (control < 0)
		_exit(1); /* a process 1 that ends is a panic: the host sees that it went wrong */
	strcat(line, "\n");
	tell(line);
	power_off();
}

void report_status(int status)
{
	char line[LINE_BYTES];

	if (WIFSIGNALED(status))
		snprintf(line, sizeof(line), "signal %d\n", WTERMSIG(status));
	else
		snprintf(line, sizeof(line), "exit %d\n", WEXITSTATUS(status));
	tell(line);
}
