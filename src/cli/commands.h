/* SPDX-License-Identifier: MIT */
/*
 * The commands. Each gets its arguments without its own name, prints what it has to say and returns
 * the process's exit status (see EXIT STATUS in ringlet.1). Main thread.
 */
#ifndef RINGLET_CLI_COMMANDS_H
#define RINGLET_CLI_COMMANDS_H

#include "base/options.h"

/* Exit statuses; a debug exit's are any odd number up to 511, cut to eight bits by the system. */
enum {
	STATUS_OK = 0,
	STATUS_USAGE = 1,    /* wrong command line, or an input file that is none */
	STATUS_RESET = 2,    /* the guest asked for a reset, and --reboot was not given */
	STATUS_CRASHED = 3,  /* triple fault, or the guest said that it crashed */
	STATUS_GUEST_LOST = 255, /* 'run COMMAND': it is not known how the command ended */
	STATUS_INTERRUPTED = 130, /* by Ctrl-C, after which there was something to tidy up */
	STATUS_INTERNAL = 4, /* the host refused what the monitor needs; the engines disagree */

	STATUS_DISK_ERRORS = 2, /* 'disk check': there are errors */
	STATUS_DISK_LEAKS = 3,  /* 'disk check': only clusters that are lost */
};

/* What a command's operands are, for completion. */
enum command_takes {
	COMMAND_TAKES_NOTHING,
	COMMAND_TAKES_MACHINE, /* the name of one that runs */
	COMMAND_TAKES_FILES,
	COMMAND_TAKES_PROGRAM, /* a command and its arguments */
};

/* A row of a table, which a NULL name ends. */
struct command {
	const char *name;
	const char *summary;
	/* One of both: what it does, or more commands, whose names follow its own. */
	int (*run)(int argc, char **argv);
	const struct command *subcommands;
	const struct option_spec *options;
	enum command_takes takes;
};

extern const struct command commands[], disk_commands[], kernel_commands[], completion_shells[];

extern const struct option_spec run_options[], list_options[], stop_options[], pause_options[],
	balloon_options[], stat_options[], debug_options[], console_options[], exec_options[], cp_options[],
	doctor_options[], version_options[], completion_options[];

int cmd_run(int argc, char **argv);
int cmd_sandbox(int argc, char **argv);
int cmd_list(int argc, char **argv);
int cmd_stop(int argc, char **argv);
int cmd_pause(int argc, char **argv);
int cmd_resume(int argc, char **argv);
int cmd_balloon(int argc, char **argv);
int cmd_stat(int argc, char **argv);
int cmd_debug(int argc, char **argv);
int cmd_console(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_cp(int argc, char **argv);
int cmd_doctor(int argc, char **argv);
int cmd_version(int argc, char **argv);
/* Not for users: the process that net/user.h starts. */
int cmd_net_user(void);

/* Prints "ringlet: error: message" as every command does, and returns STATUS_USAGE. */
int usage_error(const char *message);

/* Flushes standard output. status, or STATUS_INTERNAL when it could not be written. */
int finish_output(int status);

#endif
