/* SPDX-License-Identifier: MIT */
/* The command table, and what all commands share. */
#include <stdio.h>
#include <string.h>

#include "base/suggest.h"
#include "cli/commands.h"

static const struct command commands[] = {
	{ "run", "start a machine and be its console", cmd_run },
	{ "list", "list the machines that run", cmd_list },
	{ "stop", "have a guest shut down", cmd_stop },
	{ "pause", "have a machine stand still", cmd_pause },
	{ "resume", "have a paused machine go on", cmd_resume },
	{ "balloon", "take memory from a guest, or give it back", cmd_balloon },
	{ "stat", "tell what a machine has counted", cmd_stat },
	{ "debug", "look at a machine's CPUs, send it NMIs and SysRqs", cmd_debug },
	{ "console", "attach this terminal to a guest's console", cmd_console },
	{ "doctor", "tell what this host has for running guests", cmd_doctor },
	{ "disk", "make, check and copy disks", cmd_disk },
	{ "version", "print the version and what this build can do", cmd_version },
	{ NULL, NULL, NULL },
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

static int help(void)
{
	printf("usage: ringlet COMMAND [OPTION]...\n\n");
	for (const struct command *command = commands; command->name; command++)
		printf("  %-10s %s\n", command->name, command->summary);
	printf("\n'ringlet COMMAND --help' lists a command's options; see also ringlet(1).\n");
	return finish_output(STATUS_OK);
}

static int unknown_command(const char *word)
{
	struct suggestion near;
	char message[256];

	suggest_begin(&near, word);
	for (const struct command *command = commands; command->name; command++)
		suggest_consider(&near, command->name);
	if (near.best)
		snprintf(message, sizeof(message), "unknown command '%s': did you mean '%s'?",
			 word, near.best);
	else
		snprintf(message, sizeof(message), "unknown command '%s': see 'ringlet --help'",
			 word);
	return usage_error(message);
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return usage_error("no command: see 'ringlet --help'");
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help"))
		return help();
	if (!strcmp(argv[1], "--version"))
		return cmd_version(argc - 2, argv + 2);
	for (const struct command *command = commands; command->name; command++)
		if (!strcmp(argv[1], command->name))
			return command->run(argc - 2, argv + 2);
	return unknown_command(argv[1]);
}
