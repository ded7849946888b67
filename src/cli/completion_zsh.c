/* SPDX-License-Identifier: MIT */
/* For zsh: one function a command, of which _arguments does the work (zshcompsys(1)). */
#include <stdio.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/completion.h"

/* text inside '…', with what _arguments and _describe would take for theirs escaped. */
static void print_text(const char *text)
{
	for (; *text; text++) {
		if (*text == '\'')
			printf("'\\''");
		else if (strchr("[]:\\", *text))
			printf("\\%c", *text);
		else
			putchar(*text);
	}
}

static void print_function(const char *prefix, const char *name)
{
	printf("_ringlet_");
	for (; *prefix; prefix++)
		putchar(*prefix == ' ' ? '_' : *prefix);
	printf("%s", name);
}

static void print_option(const struct option_spec *spec)
{
	char words[256];
	enum completion_value value = completion_value(spec, words, sizeof(words));

	printf(" \\\n\t\t%s'--%s%s[", spec->type == OPTION_LIST ? "'*'" : "", spec->name,
	       value == VALUE_NONE ? "" : "=");
	print_text(spec->help);
	printf("]");
	if (value != VALUE_NONE) {
		printf(":");
		print_text(spec->metavar && value != VALUE_WORDS ? spec->metavar : "value");
		printf(":");
	}
	if (value == VALUE_WORDS)
		printf("(%s)", words);
	else if (value == VALUE_FILE || value == VALUE_DIRECTORY)
		printf("_files%s", value == VALUE_FILE ? "" : " -/");
	printf("'");
	if (!spec->letter)
		return;
	printf(" \\\n\t\t%s'-%c%s[", spec->type == OPTION_LIST ? "'*'" : "", spec->letter,
	       value == VALUE_NONE ? "" : "+");
	print_text(spec->help);
	printf("]%s'", value == VALUE_NONE ? "" : value == VALUE_FILE ? ":file:_files" : ":value:");
}

static void print_command(const char *prefix, const struct command *command)
{
	static const char *const takes[] = {
		[COMMAND_TAKES_NOTHING] = "",
		[COMMAND_TAKES_MACHINE] = " \\\n\t\t'*:machine:_ringlet_machines'",
		[COMMAND_TAKES_FILES] = " \\\n\t\t'*:file:_files'",
		[COMMAND_TAKES_PROGRAM] = " \\\n\t\t'(-)1:program:_command_names -e' '*::argument:_normal'",
	};
	print_function(prefix, command->name);
	printf("()\n{\n\t_arguments -s -S");
	for (const struct option_spec *spec = command->options; spec->name; spec++)
		print_option(spec);
	printf("%s\n}\n\n", takes[command->takes]);
}

/* A function that takes the name of one of table, and goes on with that one's. */
static void print_group(const char *function, const struct command *table)
{
	printf("%s()\n{\n\tlocal curcontext=$curcontext state line\n\tlocal -a names\n"
	       "\t_arguments -C '1: :->name' '*:: :->argument'\n"
	       "\tcase $state in\n\tname)\n\t\tnames=(", function);
	for (const struct command *command = table; command->name; command++) {
		printf("\n\t\t\t'%s:", command->name);
		print_text(command->summary);
		printf("'");
	}
	printf(")\n\t\t_describe command names ;;\n"
	       "\targument)\n\t\t(( $+functions[%s_$words[1]] )) && %s_$words[1] ;;\n"
	       "\tesac\n}\n\n", function, function);
}

void completion_zsh(void)
{
	printf("#compdef ringlet\n# made by 'ringlet completion zsh'\n\n"
	       "_ringlet_machines()\n{\n\tlocal -a names\n"
	       "\tnames=(${(f)\"$(ringlet list --names 2>/dev/null)\"})\n"
	       "\tcompadd -a names\n}\n\n");
	completion_each(print_command);
	for (const struct command *command = commands; command->name; command++) {
		char function[64];

		snprintf(function, sizeof(function), "_ringlet_%s", command->name);
		if (command->subcommands)
			print_group(function, command->subcommands);
	}
	print_group("_ringlet", commands);
	printf("_ringlet \"$@\"\n");
}
