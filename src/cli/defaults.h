/* SPDX-License-Identifier: MIT */
/* Options that a configuration file has defaults for: FILES in ringlet.1. Main thread. */
#ifndef RINGLET_CLI_DEFAULTS_H
#define RINGLET_CLI_DEFAULTS_H

#include <stddef.h>

struct error;
struct option_spec;

struct defaults {
	const char *section;
	const struct option_spec *specs;
	size_t none_offset; /* in the target, of the flag that leaves the file out */
	char *text;         /* that the target's strings are in: freed by the caller after that */
};

/*
 * Parses a command line as options_parse_before does, into target of target_bytes, which holds what
 * is so without any option; between the two, the file's. -EINVAL: one of both is wrong.
 */
int defaults_parse(struct defaults *defaults, void *target, size_t target_bytes, int argc,
		   char **argv, int *operands, struct error *err);

/* Warns of a file by a name that it does not have, if the right one is not there. */
void defaults_warn(void);

#endif
