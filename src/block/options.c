/* SPDX-License-Identifier: MIT */
/* FILE[,option]...: see struct block_options. The strings are cut out of one copy of the text. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/options.h"
#include "base/suggest.h"
#include "block/block.h"

static const struct word {
	const char *name;
	enum { WORD_FLAG, WORD_STRING, WORD_ERRORS } type;
	size_t offset;
} words[] = {
	{ "ro", WORD_FLAG, offsetof(struct block_options, readonly) },
	{ "direct", WORD_FLAG, offsetof(struct block_options, direct) },
	{ "discard", WORD_FLAG, offsetof(struct block_options, discard) },
	{ "backing", WORD_FLAG, offsetof(struct block_options, backing) },
	{ "snapshot", WORD_STRING, offsetof(struct block_options, snapshot) },
	{ "overlay", WORD_STRING, offsetof(struct block_options, overlay) },
	{ "format", WORD_STRING, offsetof(struct block_options, format) },
	{ "serial", WORD_STRING, offsetof(struct block_options, serial) },
	{ "errors", WORD_ERRORS, offsetof(struct block_options, errors) },
};

#define WORDS (sizeof(words) / sizeof(words[0]))

static int unknown_word(const char *word, const struct block_options *options, struct error *err)
{
	struct suggestion suggestion;

	suggest_begin(&suggestion, word);
	for (unsigned i = 0; i < WORDS; i++)
		suggest_consider(&suggestion, words[i].name);
	return error_set(err, EINVAL, "disk %s: there is no option '%s'%s%s%s", options->file, word,
			 suggestion.best ? "; did you mean '" : "",
			 suggestion.best ? suggestion.best : "", suggestion.best ? "'?" : "");
}

static int take_errors(enum block_errors *errors, const char *value,
		       const struct block_options *options, struct error *err)
{
	if (!strcmp(value, "report"))
		*errors = BLOCK_ERRORS_REPORT;
	else if (!strcmp(value, "wait"))
		*errors = BLOCK_ERRORS_WAIT;
	else
		return error_set(err, EINVAL, "disk %s: 'errors' is report or wait, not '%s'",
				 options->file, value);
	return 0;
}

static int take_word(struct block_options *options, char *text, struct error *err)
{
	char *value = strchr(text, '=');

	if (value)
		*value++ = 0;
	for (unsigned i = 0; i < WORDS; i++) {
		void *target = (char *)options + words[i].offset;

		if (strcmp(words[i].name, text))
			continue;
		if (!value != (words[i].type == WORD_FLAG) || (value && !*value))
			return error_set(err, EINVAL, "disk %s: '%s' takes %s value",
					 options->file, text,
					 words[i].type == WORD_FLAG ? "no" : "a");
		if (words[i].type == WORD_ERRORS)
			return take_errors(target, value, options, err);
		if (value)
			*(const char **)target = value;
		else
			*(bool *)target = true;
		return 0;
	}
	return unknown_word(text, options, err);
}

int block_options_parse(struct block_options *options, const char *text, struct error *err)
{
	char *rest;
	int ret = 0;

	*options = (struct block_options){ .text = strdup(text) };
	if (!options->text)
		return error_set(err, ENOMEM, "no memory for a disk's options");
	rest = options->text;
	options->file = options_cut(&rest);
	if (!*options->file)
		ret = error_set(err, EINVAL, "a disk needs a file: FILE[,ro][,format=NAME]...");
	while (rest && !ret)
		ret = take_word(options, options_cut(&rest), err);
	if (ret)
		block_options_release(options);
	return ret;
}

void block_options_release(struct block_options *options)
{
	free(options->text);
	*options = (struct block_options){ 0 };
}
