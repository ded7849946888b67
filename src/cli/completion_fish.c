/* SPDX-License-Identifier: MIT */
/* For fish: a line an option, under the condition that its command was given. */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/completion.h"

/* prefix: "" or "disk ". */
static void print_condition(const char *prefix, const char *name)
{
	printf("complete -c ringlet -n '");
	if (*prefix)
		printf("__fish_seen_subcommand_from %.*s; and ", (int)strcspn(prefix, " "), prefix);
	printf("__fish_seen_subcommand_from %s'", name);
}

static void print_help(const char *text)
{
	printf(" -d '");
	completion_print(text, "'\\");
	printf("'\n");
}

static void print_option(const struct option_spec *spec)
{
	char words[256];

	printf(" -l %s", spec->name);
	if (spec->letter)
		printf(" -s %c", spec->letter);
	switch (completion_value(spec, words, sizeof(words))) {
	case VALUE_NONE:
		break;
	case VALUE_ANY:
		printf(" -x");
		break;
	case VALUE_FILE:
		printf(" -r -F");
		break;
	case VALUE_DIRECTORY:
		printf(" -x -a '(__fish_complete_directories)'");
		break;
	case VALUE_WORDS:
		printf(" -x -a '%s'", words);
		break;
	}
	print_help(spec->help);
}

static void print_command(const char *prefix, const struct command *command)
{
	for (const struct option_spec *spec = command->options; spec->name; spec++) {
		print_condition(prefix, command->name);
		print_option(spec);
	}
	if (command->takes == COMMAND_TAKES_NOTHING)
		return;
	print_condition(prefix, command->name);
	if (command->takes == COMMAND_TAKES_MACHINE)
		printf(" -a '(ringlet list --names 2>/dev/null)'\n");
	else if (command->takes == COMMAND_TAKES_FILES)
		printf(" -F\n");
	else
		printf(" -F -a '(__fish_complete_command)'\n");
}

/* The subcommands, as long as none is given. */
static void print_subcommands(const struct command *group)
{
	for (const struct command *command = group->subcommands; command->name; command++) {
		printf("complete -c ringlet -n '__fish_seen_subcommand_from %s; and not "
		       "__fish_seen_subcommand_from", group->name);
		for (const struct command *other = group->subcommands; other->name; other++)
			printf(" %s", other->name);
		printf("' -a %s", command->name);
		print_help(command->summary);
	}
}

void completion_fish(void)
{
	printf("# fish completion for ringlet, made by 'ringlet completion fish'\n\n"
	       "complete -c ringlet -f\n");
	for (const struct command *command = commands; command->name; command++) {
		printf("complete -c ringlet -n __fish_use_subcommand -a %s", command->name);
		print_help(command->summary);
		if (command->subcommands)
			print_subcommands(command);
	}
	completion_each(print_command);
}
