/* SPDX-License-Identifier: MIT */
/* 'ringlet disk': its subcommands, what they share, and those that make or change disks. */
#include "cli/cmd_disk.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "base/options.h"
#include "block/block.h"
#include "block/copy.h"
#include "block/image.h"
#include "block/qcow2.h"
#include "cli/commands.h"

const struct command disk_commands[] = {
	{ .name = "create", .summary = "make an empty disk, or one that lies on another",
	  .run = disk_create, .options = disk_create_options, .takes = COMMAND_TAKES_FILES },
	{ .name = "info", .summary = "tell what a file holds", .run = disk_info,
	  .options = disk_info_options, .takes = COMMAND_TAKES_FILES },
	{ .name = "check", .summary = "look for damage in a qcow2 image, and repair it",
	  .run = disk_check, .options = disk_check_options, .takes = COMMAND_TAKES_FILES },
	{ .name = "convert", .summary = "copy a disk into a file of another format",
	  .run = disk_convert, .options = disk_convert_options, .takes = COMMAND_TAKES_FILES },
	{ .name = "commit",
	  .summary = "write what an overlay holds into the file that it lies on",
	  .run = disk_commit, .options = disk_commit_options, .takes = COMMAND_TAKES_FILES },
	{ .name = NULL },
};

/* ---- what they share ---- */

bool disk_begin(const struct disk_usage *usage, void *args, const bool *help, int argc, char **argv,
		int *operands, int *status)
{
	struct error err;

	if (options_parse(usage->options, args, argc, argv, operands, &err)) {
		*status = usage_error(err.message);
		return false;
	}
	if (*help) {
		printf("usage: ringlet disk %s [OPTION]... %s\n\n", usage->name, usage->operands);
		options_help(usage->options, stdout);
		*status = finish_output(STATUS_OK);
		return false;
	}
	if (*operands < usage->min || *operands > usage->max) {
		error_set(&err, EINVAL, "usage: ringlet disk %s [OPTION]... %s", usage->name,
			  usage->operands);
		*status = usage_error(err.message);
		return false;
	}
	return true;
}

/* What the host could not do, against what was asked of it. */
int disk_failed(int ret, const struct error *err)
{
	usage_error(err->message);
	return ret == -EIO || ret == -ENOSPC || ret == -EDQUOT || ret == -ENOMEM ? STATUS_INTERNAL :
										   STATUS_USAGE;
}

static void report(void *opaque, uint64_t done, uint64_t total)
{
	(void)opaque;
	fprintf(stderr, "\r%3u %%", (unsigned)(done * 100.0 / (double)total));
}

struct block_progress disk_progress(void)
{
	return (struct block_progress){ .report = isatty(STDERR_FILENO) ? report : NULL };
}

void disk_progress_end(void)
{
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
}

/* ---- create, convert ---- */

static const struct option_choice cluster_choices[] = {
	{ "512", 512 }, { "1K", 1 << 10 }, { "2K", 2 << 10 }, { "4K", 4 << 10 },
	{ "8K", 8 << 10 }, { "16K", 16 << 10 }, { "32K", 32 << 10 }, { "64K", 64 << 10 },
	{ "128K", 128 << 10 }, { "256K", 256 << 10 }, { "512K", 512 << 10 }, { "1M", 1 << 20 },
	{ "2M", 2 << 20 }, { NULL, 0 },
};

struct create_args {
	struct image_creation creation;
	int cluster_bytes;
	bool help;
};

const struct option_spec disk_create_options[] = {
	{ .name = "format", .letter = 'f', .type = OPTION_STRING,
	  .offset = offsetof(struct create_args, creation.format), .metavar = "raw|qcow2",
	  .help = "the disk's format; without it, qcow2 if FILE ends in .qcow2, else raw" },
	{ .name = "backing", .letter = 'b', .type = OPTION_STRING,
	  .offset = offsetof(struct create_args, creation.backing), .metavar = "FILE",
	  .help = "what the disk lies on: it holds only what differs from that; relative to the "
		  "disk's own place" },
	{ .name = "backing-format", .type = OPTION_STRING,
	  .offset = offsetof(struct create_args, creation.backing_format), .metavar = "raw|qcow2",
	  .help = "that file's format; without it, as its name says" },
	{ .name = "cluster-size", .type = OPTION_CHOICE,
	  .offset = offsetof(struct create_args, cluster_bytes), .choices = cluster_choices,
	  .help = "the unit in which a qcow2 image grows (64K)" },
	{ .name = "preallocate", .type = OPTION_FLAG,
	  .offset = offsetof(struct create_args, creation.preallocate),
	  .help = "make all tables of a qcow2 image now" },
	{ .name = "force", .type = OPTION_FLAG,
	  .offset = offsetof(struct create_args, creation.force),
	  .help = "write over a file that is there" },
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct create_args, help), .help = "print this help" },
	{ .name = NULL },
};

int disk_create(int argc, char **argv)
{
	static const struct disk_usage usage = { "create", "FILE [SIZE]", 1, 2, disk_create_options };
	struct create_args args = { 0 };
	struct error err;
	int operands, status, ret;

	if (!disk_begin(&usage, &args, &args.help, argc, argv, &operands, &status))
		return status;
	args.creation.cluster_bytes = (uint32_t)args.cluster_bytes;
	if (operands < 2 && !args.creation.backing)
		return usage_error("a disk needs a size, or another to lie on (--backing)");
	if (operands == 2 && options_parse_size(argv[1], &args.creation.size_bytes)) {
		error_set(&err, EINVAL, "'%s' is no size: a number with K, M, G or T behind it",
			  argv[1]);
		return usage_error(err.message);
	}
	ret = image_create(argv[0], &args.creation, &err);
	return ret ? disk_failed(ret, &err) : STATUS_OK;
}

struct convert_args {
	struct block_options source;
	struct image_creation creation;
	int cluster_bytes;
	bool help;
};

const struct option_spec disk_convert_options[] = {
	{ .name = "format", .letter = 'f', .type = OPTION_STRING,
	  .offset = offsetof(struct convert_args, source.format), .metavar = "raw|qcow2",
	  .help = "the source's format; without it, as its name says" },
	{ .name = "output-format", .letter = 'O', .type = OPTION_STRING,
	  .offset = offsetof(struct convert_args, creation.format), .metavar = "raw|qcow2",
	  .help = "the new disk's format; without it, as its name says" },
	{ .name = "backing", .type = OPTION_FLAG,
	  .offset = offsetof(struct convert_args, source.backing),
	  .help = "read the file, too, that the source says it lies on" },
	{ .name = "snapshot", .type = OPTION_STRING,
	  .offset = offsetof(struct convert_args, source.snapshot), .metavar = "NAME",
	  .help = "copy the source as it was in an internal snapshot" },
	{ .name = "cluster-size", .type = OPTION_CHOICE,
	  .offset = offsetof(struct convert_args, cluster_bytes), .choices = cluster_choices,
	  .help = "the unit in which a qcow2 image grows (64K)" },
	{ .name = "force", .type = OPTION_FLAG,
	  .offset = offsetof(struct convert_args, creation.force),
	  .help = "write over a file or block device that is there" },
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct convert_args, help), .help = "print this help" },
	{ .name = NULL },
};

int disk_convert(int argc, char **argv)
{
	static const struct disk_usage usage = { "convert", "SOURCE NEW", 2, 2, disk_convert_options };
	struct block_progress progress = disk_progress();
	struct convert_args args = { .source.readonly = true };
	struct error err;
	int operands, status, ret;

	if (!disk_begin(&usage, &args, &args.help, argc, argv, &operands, &status))
		return status;
	args.source.file = argv[0];
	args.creation.cluster_bytes = (uint32_t)args.cluster_bytes;
	ret = image_convert(&args.source, argv[1], &args.creation, &progress, &err);
	disk_progress_end();
	return ret ? disk_failed(ret, &err) : STATUS_OK;
}

/* ---- commit ---- */

struct commit_args {
	bool help;
};

const struct option_spec disk_commit_options[] = {
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct commit_args, help), .help = "print this help" },
	{ .name = NULL },
};

int disk_commit(int argc, char **argv)
{
	static const struct disk_usage usage = { "commit", "FILE", 1, 1, disk_commit_options };
	struct block_progress progress = disk_progress();
	struct commit_args args = { 0 };
	struct error err;
	int operands, status, ret;

	if (!disk_begin(&usage, &args, &args.help, argc, argv, &operands, &status))
		return status;
	ret = qcow2_merge(argv[0], &progress, &err);
	disk_progress_end();
	return ret ? disk_failed(ret, &err) : STATUS_OK;
}
