/* SPDX-License-Identifier: MIT */
/*
 * The log: lines on stderr, "ringlet: level: text". The level is the one process-wide setting
 * in the program: cli/ sets it once, before the first thread starts. Any thread may log.
 */
#ifndef RINGLET_BASE_LOG_H
#define RINGLET_BASE_LOG_H

#include <stdbool.h>
#include <stdint.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG, LOG_LEVEL_TRACE };

void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);

void log_write(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...) log_write(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warn(...) log_write(LOG_LEVEL_WARN, __VA_ARGS__)
#define log_info(...) log_write(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...) log_write(LOG_LEVEL_DEBUG, __VA_ARGS__)

/*
 * For what a guest can cause at will: at most ten lines a second for each limit, then one line
 * that says how many were dropped. The owner of the limit zeroes it and serialises its use.
 */
struct log_limit {
	uint64_t window_start_ns;
	unsigned in_window;
	unsigned dropped;
};

void log_guest(struct log_limit *limit, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
