/* SPDX-License-Identifier: MIT */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#define GUEST_LINES_PER_SECOND 10

static const char *const level_names[] = { "error", "warn", "info", "debug", "trace" };
static enum log_level log_level = LOG_LEVEL_WARN;

void log_set_level(enum log_level level)
{
	log_level = level;
}

bool log_enabled(enum log_level level)
{
	return level <= log_level;
}

static void write_line(enum log_level level, const char *fmt, va_list args)
{
	char text[1024];

	vsnprintf(text, sizeof(text), fmt, args);
	/* A terminal may be raw; a file is none. */
	fprintf(stderr, "ringlet: %s: %s%s\n", level_names[level], text,
		isatty(STDERR_FILENO) ? "\r" : "");
}

void log_write(enum log_level level, const char *fmt, ...)
{
	va_list args;

	if (!log_enabled(level))
		return;
	va_start(args, fmt);
	write_line(level, fmt, args);
	va_end(args);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

void log_guest(struct log_limit *limit, const char *fmt, ...)
{
	uint64_t now = now_ns();
	va_list args;

	if (now - limit->window_start_ns >= 1000000000u) {
		if (limit->dropped)
			log_warn("%u more lines of the same kind", limit->dropped);
		*limit = (struct log_limit){ .window_start_ns = now };
	}
	if (limit->in_window >= GUEST_LINES_PER_SECOND) {
		limit->dropped++;
		return;
	}
	limit->in_window++;
	if (!log_enabled(LOG_LEVEL_WARN))
		return;
	va_start(args, fmt);
	write_line(LOG_LEVEL_WARN, fmt, args);
	va_end(args);
}
