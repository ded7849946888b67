/* SPDX-License-Identifier: MIT */
/*
 * For bash: a function with the tables as case statements. It goes through the words before the
 * cursor to find the command and whether an operand was given; bash takes "--name=value" for three
 * words, of which "=" is one.
 */
#include <stdio.h>

#include "cli/commands.h"
#include "cli/completion.h"

static void print_names(const struct command *table)
{
	for (const struct command *command = table; command->name; command++)
		printf("%s%s", command == table ? "" : " ", command->name);
}

static void print_spellings(const struct option_spec *options, bool with_value)
{
	for (const struct option_spec *spec = options; spec->name; spec++) {
		if (with_value && spec->type == OPTION_FLAG)
			continue;
		printf("--%s ", spec->name);
		if (spec->letter)
			printf("-%c ", spec->letter);
	}
}

static void print_facts(const char *prefix, const struct command *command)
{
	static const char *const takes[] = {
		[COMMAND_TAKES_NOTHING] = "nothing", [COMMAND_TAKES_MACHINE] = "machine",
		[COMMAND_TAKES_FILES] = "file", [COMMAND_TAKES_PROGRAM] = "program",
	};

	printf("\t'%s%s') takes=%s options='", prefix, command->name, takes[command->takes]);
	print_spellings(command->options, false);
	printf("' valued='");
	print_spellings(command->options, true);
	printf("' ;;\n");
}

static void print_values(const char *prefix, const struct command *command)
{
	char words[256];

	for (const struct option_spec *spec = command->options; spec->name; spec++) {
		enum completion_value value = completion_value(spec, words, sizeof(words));

		if (value == VALUE_NONE || value == VALUE_ANY)
			continue;
		printf("\t'%s%s --%s'", prefix, command->name, spec->name);
		if (spec->letter)
			printf("|'%s%s -%c'", prefix, command->name, spec->letter);
		if (value == VALUE_WORDS)
			printf(") COMPREPLY=($(compgen -W '%s' -- \"$cur\")) ;;\n", words);
		else
			printf(") compopt -o filenames; COMPREPLY=($(compgen -%c -- \"$cur\")) ;;\n",
			       value == VALUE_FILE ? 'f' : 'd');
	}
}

static void print_groups(void)
{
	printf("\t'') takes=command words='");
	print_names(commands);
	printf("' ;;\n");
	for (const struct command *command = commands; command->name; command++) {
		if (!command->subcommands)
			continue;
		printf("\t'%s') takes=command words='", command->name);
		print_names(command->subcommands);
		printf("' ;;\n");
	}
}

void completion_bash(void)
{
	printf("# bash completion for ringlet, made by 'ringlet completion bash'\n\n"
	       "_ringlet_facts()\n{\n\toptions= valued= words=\n\tcase $command in\n");
	print_groups();
	completion_each(print_facts);
	printf("\t*) takes=nothing ;;\n\tesac\n}\n\n"
	       "_ringlet_value()\n{\n\tcase \"$command $1\" in\n");
	completion_each(print_values);
	printf("\tesac\n}\n\n"
	       "_ringlet()\n{\n"
	       "\tlocal cur=${COMP_WORDS[COMP_CWORD]} command= takes options valued words\n"
	       "\tlocal i=1 word value= operands=0\n"
	       "\t_ringlet_facts\n"
	       "\tCOMPREPLY=()\n"
	       "\tfor ((; i < COMP_CWORD; i++)); do\n"
	       "\t\tword=${COMP_WORDS[i]}\n"
	       "\t\tif [[ $takes == program && $operands -gt 0 ]]; then\n"
	       "\t\t\tbreak\n"
	       "\t\telif [[ \" $valued \" == *\" $word \"* ]]; then\n"
	       "\t\t\t[[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))\n"
	       "\t\t\t((i++))\n"
	       "\t\t\t((i >= COMP_CWORD)) && value=$word\n"
	       "\t\telif [[ $word == -- ]]; then\n"
	       "\t\t\tvalued= options=\n"
	       "\t\telif [[ $word != -* && $takes == command ]]; then\n"
	       "\t\t\tcommand=${command:+$command }$word\n"
	       "\t\t\t_ringlet_facts\n"
	       "\t\telif [[ $word != -* ]]; then\n"
	       "\t\t\t((operands++))\n"
	       "\t\tfi\n"
	       "\tdone\n"
	       "\t[[ $cur == = ]] && cur=\n"
	       "\tif [[ $value ]]; then\n"
	       "\t\t_ringlet_value \"$value\"\n"
	       "\telif [[ $takes == program && $operands -gt 0 ]]; then\n"
	       "\t\tcompopt -o filenames\n"
	       "\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n"
	       "\telif [[ $cur == -* ]]; then\n"
	       "\t\tCOMPREPLY=($(compgen -W \"$options\" -- \"$cur\"))\n"
	       "\telif [[ $takes == command ]]; then\n"
	       "\t\tCOMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n"
	       "\telif [[ $takes == machine ]]; then\n"
	       "\t\tCOMPREPLY=($(compgen -W \"$(ringlet list --names 2>/dev/null)\" -- \"$cur\"))\n"
	       "\telif [[ $takes == program ]]; then\n"
	       "\t\tCOMPREPLY=($(compgen -c -- \"$cur\"))\n"
	       "\telif [[ $takes == file ]]; then\n"
	       "\t\tcompopt -o filenames\n"
	       "\t\tCOMPREPLY=($(compgen -f -- \"$cur\"))\n"
	       "\tfi\n"
	       "}\n\n"
	       "complete -F _ringlet ringlet\n");
}
