/* SPDX-License-Identifier: MIT */
/* Fuzz target: a command line, its words ended by NULs, and a configuration file before them. */
#include <stdbool.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/options.h"
#include "input.h"

#define WORDS_MAX 32

struct values {
	bool flag, other;
	const char *string;
	unsigned number;
	uint64_t size_bytes;
	int choice;
	struct option_list list;
};

static const struct option_choice choices[] = { { "first", 1 }, { "second", 2 }, { NULL, 0 } };
static const struct option_spec specs[] = {
	{ .name = "flag", .letter = 'f', .type = OPTION_FLAG,
	  .offset = offsetof(struct values, flag), .help = "a flag" },
	{ .name = "other-flag", .type = OPTION_FLAG, .offset = offsetof(struct values, other),
	  .help = "another" },
	{ .name = "string", .letter = 's', .type = OPTION_STRING,
	  .offset = offsetof(struct values, string), .metavar = "TEXT", .help = "a string" },
	{ .name = "number", .letter = 'n', .type = OPTION_UINT,
	  .offset = offsetof(struct values, number), .metavar = "N", .help = "a number",
	  .min = 1, .max = 254 },
	{ .name = "mem", .letter = 'm', .type = OPTION_SIZE,
	  .offset = offsetof(struct values, size_bytes), .metavar = "SIZE", .help = "a size",
	  .min = 1 << 20, .max = 1ull << 36 },
	{ .name = "choice", .letter = 'c', .type = OPTION_CHOICE,
	  .offset = offsetof(struct values, choice), .help = "a choice", .choices = choices },
	{ .name = "list", .letter = 'l', .type = OPTION_LIST,
	  .offset = offsetof(struct values, list), .metavar = "TEXT", .help = "some strings" },
	{ .name = NULL },
};

static int split(char *text, size_t size, char **words)
{
	int count = 0;

	for (size_t at = 0; at < size && count < WORDS_MAX; at += strlen(text + at) + 1)
		words[count++] = text + at;
	return count;
}

static void check(const struct values *values)
{
	if ((values->number && (values->number < 1 || values->number > 254)) ||
	    (values->size_bytes && values->size_bytes < 1 << 20) || values->choice < 0 ||
	    values->choice > 2 || values->list.count > OPTION_LIST_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct values values = { .flag = false };
	char *words[WORDS_MAX + 1], *text = malloc(size + 1), *file;
	struct error err;
	uint64_t bytes;
	int count, operands;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = 0;
	options_parse_size(text, &bytes);
	file = strdup(text);
	if (file && !options_read(specs, &values, "run", file, "file", &err))
		check(&values);
	count = split(text, size, words);
	words[count] = NULL;
	if (!options_parse(specs, &values, count, words, &operands, &err)) {
		check(&values);
		if (operands < 0 || operands > count)
			abort();
	}
	free(file);
	free(text);
	return 0;
}
