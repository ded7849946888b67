/* SPDX-License-Identifier: MIT */
/*
 * A program that does the same on the host, translated, and under direct execution (../test_direct.py). Each
 * file has a group of cases; a case says what it saw. It runs in a process of its own, and says nothing that
 * differs between two runs on one machine: no address that the kernel chose, no time.
 */
#ifndef DIRECT_CASES_H
#define DIRECT_CASES_H

#include <stdbool.h>
#include <stddef.h>

struct direct_case {
	const char *name;
	void (*run)(void);
	bool own; /* answers that a machine has of its own: not to be compared with the host's */
};

struct direct_group {
	const char *name;
	const struct direct_case *cases; /* the last one has no name */
	bool slow;                       /* minutes */
};

/* Adds to what this case says. Also from its other threads and processes, one at a time. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* For what must not fail: says which call did and ends the case. */
#define must(expression)                                                                           \
	({                                                                                         \
		__auto_type must_value = (expression);                                             \
		if ((long)must_value == -1)                                                        \
			give_up(#expression);                                                      \
		must_value;                                                                        \
	})
_Noreturn void give_up(const char *what);

/* Says how a child of the case ended. */
void say_end_of(int pid);

#endif
