/* SPDX-License-Identifier: MIT */
/*
 * Commands to a machine that runs: what 'ringlet stop', 'pause' and their kin share. Each has an option
 * table, takes a machine's name, which may be left out where one machine runs, and asks it something.
 * Main thread.
 */
#ifndef RINGLET_CLI_MACHINE_H
#define RINGLET_CLI_MACHINE_H

#include <stdbool.h>

#include "base/options.h"
#include "control/client.h"

struct error;

struct machine_verb {
	const char *usage; /* behind "ringlet " */
	const struct option_spec *options;
	int operands;      /* behind the name */
	const char *doing; /* said with the name of a machine that was not named; NULL: nothing */
	/* Asks and prints; operand: those behind the name. 0, or -errno and err. */
	int (*run)(struct client *client, void *args, char **operand, struct error *err);
};

/* args: where the options go; help: the one among them. Returns the exit status. */
int machine_run(const struct machine_verb *verb, void *args, const bool *help, int argc,
		char **argv);

/* The status for what a function here or of control/client.h returned. */
int machine_status(int ret);

/* Copies a value that was read to json, as name. */
void machine_copy(struct json *json, const char *name, const struct json_text *text,
		  const struct json_value *value);
/* The same as all there is, to standard output. */
void machine_print_json(const struct json_text *text, const struct json_value *value);

#endif
