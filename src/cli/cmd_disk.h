/* SPDX-License-Identifier: MIT */
/*
 * The subcommands of 'ringlet disk': as commands (commands.h), without "disk" and their own name.
 */
#ifndef RINGLET_CLI_CMD_DISK_H
#define RINGLET_CLI_CMD_DISK_H

#include <stdbool.h>

#include "base/options.h"

struct block_progress;
struct error;
extern const struct option_spec disk_create_options[], disk_info_options[], disk_check_options[],
	disk_convert_options[], disk_commit_options[];

int disk_create(int argc, char **argv);
int disk_info(int argc, char **argv);
int disk_check(int argc, char **argv);
int disk_convert(int argc, char **argv);
int disk_commit(int argc, char **argv);

struct disk_usage {
	const char *name, *operands;
	int min, max; /* operands */
	const struct option_spec *options;
};

/*
 * Parses what a subcommand was given. *help is among its options. false: there is nothing more to
 * do, *status is the command's.
 */
bool disk_begin(const struct disk_usage *usage, void *args, const bool *help, int argc, char **argv,
		int *operands, int *status);

/* Prints the message; the exit status for a function that returned ret. */
int disk_failed(int ret, const struct error *err);

/* A line on standard error, on a terminal only. */
struct block_progress disk_progress(void);
void disk_progress_end(void);

#endif
