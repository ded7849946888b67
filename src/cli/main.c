/* SPDX-License-Identifier: MIT */
/* The command table, and what all commands share. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/suggest.h"
#include "cli/commands.h"
#include "net/user.h"

const struct command commands[] = {
	{ .name = "run", .summary = "start a machine and be its console", .run = cmd_run,
	  .options = run_options, .takes = COMMAND_TAKES_PROGRAM },
	{ .name = "sandbox", .summary = "run a command that sees little of this host",
	  .run = cmd_sandbox, .options = run_options, .takes = COMMAND_TAKES_PROGRAM },
	{ .name = "list", .summary = "list the machines that run", .run = cmd_list,
	  .options = list_options },
	{ .name = "stop", .summary = "have a guest shut down", .run = cmd_stop,
	  .options = stop_options, .takes = COMMAND_TAKES_MACHINE },
	{ .name = "pause", .summary = "have a machine stand still", .run = cmd_pause,
	  .options = pause_options, .takes = COMMAND_TAKES_MACHINE },
	{ .name = "resume", .summary = "have a paused machine go on", .run = cmd_resume,
	  .options = pause_options, .takes = COMMAND_TAKES_MACHINE },
	{ .name = "balloon", .summary = "take memory from a guest, or give it back",
	  .run = cmd_balloon, .options = balloon_options, .takes = COMMAND_TAKES_MACHINE },
	{ .name = "stat", .summary = "tell what a machine has counted", .run = cmd_stat,
	  .options = stat_options, .takes = COMMAND_TAKES_MACHINE },
	{ .name = "debug", .summary = "look at a machine's CPUs, send it NMIs and SysRqs",
	  .run = cmd_debug, .options = debug_options, .takes = COMMAND_TAKES_MACHINE },
	{ .name = "console", .summary = "attach this terminal to a guest's console",
	  .run = cmd_console, .options = console_options, .takes = COMMAND_TAKES_MACHINE },
	{ .name = "exec", .summary = "run a command in a machine that runs", .run = cmd_exec,
	  .options = exec_options, .takes = COMMAND_TAKES_MACHINE },
	{ .name = "cp", .summary = "copy files to and from a machine that runs", .run = cmd_cp,
	  .options = cp_options, .takes = COMMAND_TAKES_FILES },
	{ .name = "doctor", .summary = "tell what this host has for running guests",
	  .run = cmd_doctor, .options = doctor_options },
	{ .name = "disk", .summary = "make, check and copy disks", .subcommands = disk_commands },
	{ .name = "kernel", .summary = "list kernels, fetch Debian's",
	  .subcommands = kernel_commands },
	{ .name = "completion", .summary = "print what has a shell complete command lines",
	  .subcommands = completion_shells },
	{ .name = "version", .summary = "print the version and what this build can do",
	  .run = cmd_version, .options = version_options },
	{ .name = NULL },
};

int usage_error(const char *message)
{
	fprintf(stderr, "ringlet: error: %s\n", message);
	return STATUS_USAGE;
}

int finish_output(int status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return status;
	fprintf(stderr, "ringlet: error: cannot write to standard output\n");
	return STATUS_INTERNAL;
}

/* prefix: "" or, with a space behind it, the command whose subcommands these are. */
static int help(const char *prefix, const struct command *table)
{
	printf("usage: ringlet %sCOMMAND [OPTION]...\n\n", prefix);
	for (const struct command *command = table; command->name; command++)
		printf("  %-10s %s\n", command->name, command->summary);
	printf("\n'ringlet %sCOMMAND --help' lists a command's options; see also ringlet(1).\n",
	       prefix);
	return finish_output(STATUS_OK);
}

static int unknown_command(const char *prefix, const struct command *table, const char *word)
{
	struct suggestion near;
	struct error err;

	suggest_begin(&near, word);
	for (const struct command *command = table; command->name; command++)
		suggest_consider(&near, command->name);
	if (near.best)
		error_set(&err, EINVAL, "unknown command '%s%s': did you mean '%s'?", prefix, word,
			  near.best);
	else
		error_set(&err, EINVAL, "unknown command '%s%s': see 'ringlet %s--help'", prefix,
			  word, prefix);
	return usage_error(err.message);
}

static int help_of_command(const struct command *command)
{
	char option[] = "--help", *argv[] = { option, NULL };

	return command->run(1, argv);
}

/* is_help: behind the word 'help'; what comes after a command is left alone then. */
static int dispatch(const char *prefix, const struct command *table, bool is_help, int argc,
		    char **argv)
{
	char longer[64];
	struct error err;

	if (!argc && is_help)
		return help(prefix, table);
	if (!argc) {
		error_set(&err, EINVAL, "no command: see 'ringlet %s--help'", prefix);
		return usage_error(err.message);
	}
	if (!strcmp(argv[0], "help"))
		return dispatch(prefix, table, true, argc - 1, argv + 1);
	if (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h"))
		return help(prefix, table);
	for (const struct command *command = table; command->name; command++) {
		if (strcmp(argv[0], command->name))
			continue;
		if (command->run)
			return is_help ? help_of_command(command) :
					 command->run(argc - 1, argv + 1);
		snprintf(longer, sizeof(longer), "%s%s ", prefix, command->name);
		return dispatch(longer, command->subcommands, is_help, argc - 1, argv + 1);
	}
	return unknown_command(prefix, table, argv[0]);
}

int main(int argc, char **argv)
{
	if (argc > 1 && !strcmp(argv[1], "--version"))
		return cmd_version(argc - 2, argv + 2);
	if (argc > 1 && !strcmp(argv[1], NET_USER_COMMAND))
		return cmd_net_user();
	return dispatch("", commands, false, argc > 1 ? argc - 1 : 0, argv + 1);
}
