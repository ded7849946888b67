/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/completion.h"

struct completion_args {
	bool help;
};

const struct option_spec completion_options[] = {
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct completion_args, help), .help = "print this help" },
	{ .name = NULL },
};

/* ---- what the scripts share ---- */

static void add_word(char *words, size_t size, const char *word, size_t length)
{
	size_t used = strlen(words);

	snprintf(words + used, size - used, "%s%.*s", used ? " " : "", (int)length, word);
}

enum completion_value completion_value(const struct option_spec *spec, char *words, size_t size)
{
	const char *metavar = spec->metavar ? spec->metavar : "";

	*words = 0;
	if (spec->type == OPTION_FLAG)
		return VALUE_NONE;
	for (const struct option_choice *choice = spec->choices; choice && choice->name; choice++)
		add_word(words, size, choice->name, strlen(choice->name));
	while (strchr(metavar, '|')) {
		size_t length = strcspn(metavar, "|");

		add_word(words, size, metavar, length);
		metavar += length + (metavar[length] == '|');
		if (!strchr(metavar, '|'))
			add_word(words, size, metavar, strlen(metavar));
	}
	if (*words)
		return VALUE_WORDS;
	if (!strncmp(metavar, "FILE", 4))
		return VALUE_FILE;
	return !strncmp(metavar, "DIR", 3) || !strcmp(metavar, "PATH") ? VALUE_DIRECTORY : VALUE_ANY;
}

void completion_print(const char *text, const char *special)
{
	for (; *text; text++) {
		if (strchr(special, *text))
			putchar('\\');
		putchar(*text);
	}
}

static void visit_table(const char *prefix, const struct command *table,
			void (*visit)(const char *prefix, const struct command *command))
{
	for (const struct command *command = table; command->name; command++) {
		char longer[64];

		snprintf(longer, sizeof(longer), "%s%s ", prefix, command->name);
		if (command->subcommands)
			visit_table(longer, command->subcommands, visit);
		else
			visit(prefix, command);
	}
}

void completion_each(void (*visit)(const char *prefix, const struct command *command))
{
	visit_table("", commands, visit);
}

/* ---- the commands ---- */

static int print_script(const char *shell, void (*print)(void), int argc, char **argv)
{
	struct completion_args args = { 0 };
	struct error err;
	int operands;

	if (options_parse(completion_options, &args, argc, argv, &operands, &err))
		return usage_error(err.message);
	if (operands)
		return usage_error("completion takes a shell's name alone");
	if (args.help) {
		printf("usage: ringlet completion %s [OPTION]...\n\n", shell);
		options_help(completion_options, stdout);
	} else {
		print();
	}
	return finish_output(STATUS_OK);
}

static int run_bash(int argc, char **argv)
{
	return print_script("bash", completion_bash, argc, argv);
}

static int run_zsh(int argc, char **argv)
{
	return print_script("zsh", completion_zsh, argc, argv);
}

static int run_fish(int argc, char **argv)
{
	return print_script("fish", completion_fish, argc, argv);
}

const struct command completion_shells[] = {
	{ .name = "bash", .summary = "for bash: eval \"$(ringlet completion bash)\"", .run = run_bash,
	  .options = completion_options },
	{ .name = "zsh", .summary = "for zsh: a file _ringlet in a directory of $fpath",
	  .run = run_zsh, .options = completion_options },
	{ .name = "fish", .summary = "for fish: ringlet completion fish | source", .run = run_fish,
	  .options = completion_options },
	{ .name = NULL },
};
