/* SPDX-License-Identifier: MIT */
/*
 * A command's options: one table says how each is spelled, what it takes, where its value goes and
 * what it is for; parsing, --help and whatever else lists options derive from it. Values go into a
 * struct of the caller's at the option's offset, strings borrowed from argv. One thread.
 *
 * Spellings: --name VALUE, --name=VALUE, -n VALUE, -nVALUE, flags together (-ab); "--" ends the
 * options; what is no option is an operand, and options may follow it. The last of two counts,
 * but for lists.
 */
#ifndef RINGLET_BASE_OPTIONS_H
#define RINGLET_BASE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct error;

enum option_type {
	OPTION_FLAG,   /* bool, set to true */
	OPTION_STRING, /* const char * */
	OPTION_UINT,   /* unsigned */
	OPTION_SIZE,   /* uint64_t, bytes: a number with K, M, G or T behind it; without: MiB */
	OPTION_CHOICE, /* int: an enum's value, by name */
	OPTION_LIST,   /* struct option_list: the values of all that are given, in order */
};

#define OPTION_LIST_MAX 16u

struct option_list {
	const char *item[OPTION_LIST_MAX];
	unsigned count;
};

struct option_choice {
	const char *name;
	int value;
};

struct option_spec {
	const char *name; /* without "--"; NULL ends the table */
	char letter;      /* 0: none */
	enum option_type type;
	size_t offset;
	const char *metavar; /* what it takes, for --help; NULL for flags and choices */
	const char *help;
	uint64_t min, max;   /* UINT and SIZE, in their own unit; max 0: no limit */
	const struct option_choice *choices; /* CHOICE; ended by a NULL name */
	bool not_in_file; /* makes sense on a command line only */
};

/*
 * Parses argv[0 … argc-1], all of it arguments. Operands are moved to the front of argv in order
 * and counted. 0, or -EINVAL and err, which names what is wrong and what may have been meant.
 */
int options_parse(const struct option_spec *specs, void *target, int argc, char **argv,
		  int *operands, struct error *err);

/* The same, but the first operand ends the options: what follows it belongs to it, a command, say. */
int options_parse_before(const struct option_spec *specs, void *target, int argc, char **argv,
			 int *operands, struct error *err);

/*
 * Reads options from the text of a file, before a command line is parsed, whose options then count
 * more (a list's come behind). Lines are "[section]", "name = value" of the section before, or
 * comments behind '#' or ';'; a flag's value is yes or no; a value in double quotes keeps its spaces.
 * There is one section. text ends with a NUL, is written to, and outlives target. 0, or -EINVAL and
 * err, which begins with file and line.
 */
int options_read(const struct option_spec *specs, void *target, const char *section, char *text,
		 const char *file, struct error *err);

/* One line or more an option: spelling, what it takes, help text. */
void options_help(const struct option_spec *specs, FILE *stream);

/*
 * For values that are lists, with commas between: ends the one at *text, a doubled comma in it made a
 * single one, and returns it. *text is what follows, or NULL.
 */
char *options_cut(char **text);

/* A size as OPTION_SIZE takes it. 0, -EINVAL (no size) or -ERANGE (beyond 64 bits). */
int options_parse_size(const char *text, uint64_t *size_bytes);

#endif
