/* SPDX-License-Identifier: MIT */
/* FILE[,option]...: see struct block_options. The strings are cut out of one copy of the text. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/options.h"
#include "base/suboptions.h"
#include "block/block.h"
#include "block/qcow2_backing.h"

#define SUBJECT_BYTES 256

struct words {
	struct block_options options;
	const char *errors, *io;
};

#define WORD(name, type, member) { name, SUBOPTION_##type, offsetof(struct words, member), 0, 0 }

static const struct suboption words_table[] = {
	WORD("ro", FLAG, options.readonly),
	WORD("direct", FLAG, options.direct),
	WORD("discard", FLAG, options.discard),
	WORD("backing", FLAG, options.backing),
	WORD("snapshot", STRING, options.snapshot),
	WORD("overlay", STRING, options.overlay),
	WORD("format", STRING, options.format),
	WORD("serial", STRING, options.serial),
	WORD("errors", STRING, errors),
	WORD("io", STRING, io),
	{ .name = NULL },
};

static int take_errors(struct words *words, const char *subject, struct error *err)
{
	if (!words->errors)
		return 0;
	if (!strcmp(words->errors, "report"))
		words->options.errors = BLOCK_ERRORS_REPORT;
	else if (!strcmp(words->errors, "wait"))
		words->options.errors = BLOCK_ERRORS_WAIT;
	else if (!strcmp(words->errors, "pause"))
		words->options.errors = BLOCK_ERRORS_PAUSE;
	else
		return error_set(err, EINVAL, "%s: 'errors' is report, wait or pause, not '%s'",
				 subject, words->errors);
	return 0;
}

static int take_io(struct words *words, const char *subject, struct error *err)
{
	if (!words->io)
		return 0;
	if (!strcmp(words->io, "threads"))
		words->options.io = BLOCK_IO_THREADS;
	else if (!strcmp(words->io, "uring"))
		words->options.io = BLOCK_IO_URING;
	else
		return error_set(err, EINVAL, "%s: 'io' is threads or uring, not '%s'", subject,
				 words->io);
	return 0;
}

int block_options_parse(struct block_options *options, const char *text, struct error *err)
{
	struct words words = { .options = { .text = strdup(text) } };
	char subject[SUBJECT_BYTES], *rest = words.options.text;
	int ret;

	if (!rest)
		return error_set(err, ENOMEM, "no memory for a disk's options");
	words.options.file = options_cut(&rest);
	snprintf(subject, sizeof(subject), "disk %s", words.options.file);
	if (*words.options.file)
		ret = suboptions_parse(words_table, &words, rest, subject, err);
	else
		ret = error_set(err, EINVAL, "a disk needs a file: FILE[,ro][,format=NAME]...");
	if (!ret)
		ret = take_errors(&words, subject, err);
	if (!ret)
		ret = take_io(&words, subject, err);
	*options = words.options;
	if (ret)
		block_options_release(options);
	return ret;
}

void block_options_release(struct block_options *options)
{
	free(options->text);
	*options = (struct block_options){ 0 };
}

/* ---- two disks ---- */

static bool same_file(const char *one, const char *other)
{
	struct stat a, b;

	if (stat(one, &a) || stat(other, &b))
		return !strcmp(one, other);
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* What a disk writes to; NULL: nothing. */
static const char *written(const struct block_options *options)
{
	if (options->readonly || options->snapshot)
		return NULL;
	return options->overlay ? options->overlay : options->file;
}

static const char *written_of_used(const struct block_options *one,
				   const struct block_options *other)
{
	const char *file = written(one);

	if (file && (same_file(file, other->file) ||
		     (other->overlay && same_file(file, other->overlay))))
		return file;
	return NULL;
}

/* Does a disk read file by way of the images that it lies on? */
static bool lies_on(const struct block_options *options, const char *file)
{
	bool qcow2 = !strcmp(block_format_of(options), "qcow2"), found = false;
	char *path = options->backing ? strdup(options->file) : NULL;

	for (unsigned depth = 0; path && qcow2 && !found && depth < QCOW2_DEPTH_MAX; depth++) {
		char *below = qcow2_backing_of(path, &qcow2);

		found = below && same_file(file, below);
		free(path);
		path = below;
	}
	free(path);
	return found;
}

static const char *written_below(const struct block_options *one,
				 const struct block_options *other)
{
	const char *file = written(one);

	return file && lies_on(other, file) ? file : NULL;
}

int block_options_share(const struct block_options *one, const struct block_options *other,
			struct error *err)
{
	const char *file = written_of_used(one, other);

	if (!file)
		file = written_of_used(other, one);
	if (file)
		return error_set(err, EBUSY, "%s is in use by another disk of this machine: only "
				 "disks that are all read-only ('ro') share a file", file);
	file = written_below(one, other);
	if (!file)
		file = written_below(other, one);
	if (file)
		return error_set(err, EBUSY, "another disk of this machine lies on %s, which must "
				 "not change then: make that one read-only ('ro'), or give it an "
				 "overlay", file);
	return 0;
}
