/* SPDX-License-Identifier: MIT */
/*
 * 'ringlet disk info' and 'ringlet disk check'. Names out of images are printed clean of control
 * bytes.
 */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/error.h"
#include "base/json.h"
#include "base/options.h"
#include "block/block.h"
#include "block/image.h"
#include "block/qcow2.h"
#include "cli/cmd_disk.h"
#include "cli/commands.h"

/* ---- info ---- */

struct info_args {
	const char *format;
	bool json, help;
};

const struct option_spec disk_info_options[] = {
	{ .name = "format", .letter = 'f', .type = OPTION_STRING,
	  .offset = offsetof(struct info_args, format), .metavar = "raw|qcow2",
	  .help = "what the file holds; without it, qcow2 if FILE ends in .qcow2, else raw" },
	{ .name = "json", .type = OPTION_FLAG, .offset = offsetof(struct info_args, json),
	  .help = "print it as JSON" },
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct info_args, help), .help = "print this help" },
	{ .name = NULL },
};

struct finding {
	const char *file, *format;
	uint64_t size_bytes, host_bytes;
	bool is_qcow2;
	struct qcow2_info qcow2;
};

static void print_size(const char *name, uint64_t bytes)
{
	static const char units[] = "KMGTPE";
	double value = (double)bytes;
	int unit = -1;

	while (value >= 1024 && unit < 5) {
		value /= 1024;
		unit++;
	}
	printf("%-14s %" PRIu64 " bytes", name, bytes);
	if (unit >= 0)
		printf(" (%.4g %c)", value, units[unit]);
	printf("\n");
}

static void print_text(const char *name, const char *text)
{
	printf("%-14s ", name);
	for (; *text; text++)
		putchar((unsigned char)*text < ' ' || *text == 127 ? '?' : *text);
	putchar('\n');
}

static void print_snapshots(const struct qcow2_info *info)
{
	for (uint32_t i = 0; i < info->snapshot_count; i++) {
		const struct qcow2_snapshot_info *snapshot = &info->snapshots[i];
		time_t date = snapshot->date_s;
		struct tm utc;
		char when[32] = "";

		if (gmtime_r(&date, &utc))
			strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S UTC", &utc);
		print_text("snapshot", snapshot->name);
		print_text("  id", snapshot->id);
		print_text("  taken", when);
		print_size("  size", snapshot->size_bytes);
		if (snapshot->vm_state_bytes)
			print_size("  machine", snapshot->vm_state_bytes);
	}
}

static void print_qcow2(const struct qcow2_info *info)
{
	printf("%-14s %u\n", "version", info->version);
	print_size("clusters", info->cluster_bytes);
	printf("%-14s %u bits\n", "refcounts", info->refcount_bits);
	print_text("compression", info->compression);
	if (info->backing)
		print_text("backing file", info->backing);
	if (info->backing)
		print_text("  format", info->backing_format ? info->backing_format : "not said");
	if (info->lazy_refcounts)
		printf("%-14s lazy refcounts\n", "feature");
	if (info->bitmaps)
		printf("%-14s bitmaps\n", "feature");
	if (info->dirty)
		printf("%-14s not closed: refcounts are counted anew when it is next written to\n",
		       "state");
	if (info->corrupt)
		printf("%-14s corrupt: see 'ringlet disk check --repair'\n", "state");
	print_snapshots(info);
}

static void print(const struct finding *finding)
{
	print_text("file", finding->file);
	print_text("format", finding->format);
	print_size("size", finding->size_bytes);
	print_size("on the host", finding->host_bytes);
	if (finding->is_qcow2)
		print_qcow2(&finding->qcow2);
}

static void describe_qcow2(struct json *json, const struct qcow2_info *info)
{
	json_object_begin(json, "qcow2");
	json_uint(json, "version", info->version);
	json_uint(json, "cluster_bytes", info->cluster_bytes);
	json_uint(json, "refcount_bits", info->refcount_bits);
	json_string(json, "compression", info->compression);
	json_string(json, "backing", info->backing);
	json_string(json, "backing_format", info->backing_format);
	json_bool(json, "lazy_refcounts", info->lazy_refcounts);
	json_bool(json, "bitmaps", info->bitmaps);
	json_bool(json, "dirty", info->dirty);
	json_bool(json, "corrupt", info->corrupt);
	json_array_begin(json, "snapshots");
	for (uint32_t i = 0; i < info->snapshot_count; i++) {
		json_object_begin(json, NULL);
		json_string(json, "id", info->snapshots[i].id);
		json_string(json, "name", info->snapshots[i].name);
		json_uint(json, "seconds", info->snapshots[i].date_s);
		json_uint(json, "bytes", info->snapshots[i].size_bytes);
		json_uint(json, "machine_bytes", info->snapshots[i].vm_state_bytes);
		json_object_end(json);
	}
	json_array_end(json);
	json_object_end(json);
}

static void describe(const struct finding *finding)
{
	struct json json;

	json_init(&json, stdout);
	json_object_begin(&json, NULL);
	json_string(&json, "file", finding->file);
	json_string(&json, "format", finding->format);
	json_uint(&json, "bytes", finding->size_bytes);
	json_uint(&json, "host_bytes", finding->host_bytes);
	if (finding->is_qcow2)
		describe_qcow2(&json, &finding->qcow2);
	json_object_end(&json);
}

static int find_out(struct finding *finding, const struct block_options *options, struct error *err)
{
	struct block *block;
	int ret;

	*finding = (struct finding){ .file = options->file, .format = block_format_of(options) };
	finding->is_qcow2 = !strcmp(finding->format, "qcow2");
	ret = image_host_bytes(options->file, &finding->host_bytes, err);
	if (!ret && finding->is_qcow2) {
		ret = qcow2_info_read(options->file, &finding->qcow2, err);
		finding->size_bytes = finding->qcow2.size_bytes;
		return ret;
	}
	if (!ret)
		ret = block_open(options, &block, err);
	if (ret)
		return ret;
	finding->size_bytes = block->info.size_bytes;
	block_close(block);
	return 0;
}

int disk_info(int argc, char **argv)
{
	static const struct disk_usage usage = { "info", "FILE", 1, 1, disk_info_options };
	struct info_args args = { 0 };
	struct block_options options = { .readonly = true };
	struct finding finding;
	struct error err;
	int operands, status, ret;

	if (!disk_begin(&usage, &args, &args.help, argc, argv, &operands, &status))
		return status;
	options.file = argv[0];
	options.format = args.format;
	ret = find_out(&finding, &options, &err);
	if (ret)
		return disk_failed(ret, &err);
	if (args.json)
		describe(&finding);
	else
		print(&finding);
	qcow2_info_release(&finding.qcow2);
	return finish_output(STATUS_OK);
}

/* ---- check ---- */

#define LINES_MAX 100u

struct check_args {
	bool repair, json, help;
	unsigned lines;
};

const struct option_spec disk_check_options[] = {
	{ .name = "repair", .type = OPTION_FLAG, .offset = offsetof(struct check_args, repair),
	  .help = "count the references to clusters anew, and write down what they are" },
	{ .name = "json", .type = OPTION_FLAG, .offset = offsetof(struct check_args, json),
	  .help = "print the result as JSON" },
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct check_args, help), .help = "print this help" },
	{ .name = NULL },
};

static void tell(void *opaque, const char *line)
{
	struct check_args *args = opaque;

	if (args->lines++ < LINES_MAX)
		fprintf(stderr, "%s\n", line);
	else if (args->lines == LINES_MAX + 1)
		fprintf(stderr, "... and more\n");
}

static void print_check(const struct qcow2_check *check)
{
	printf("%" PRIu64 " of %" PRIu64 " clusters have a place", check->used_clusters,
	       check->guest_clusters);
	if (check->repaired)
		printf("; %" PRIu64 " defects repaired", check->repaired);
	if (!check->errors && !check->leaks)
		printf("; nothing wrong\n");
	else
		printf("; %" PRIu64 " errors, %" PRIu64 " clusters lost\n", check->errors,
		       check->leaks);
}

static void describe_check(const char *file, const struct qcow2_check *check)
{
	struct json json;

	json_init(&json, stdout);
	json_object_begin(&json, NULL);
	json_string(&json, "file", file);
	json_uint(&json, "errors", check->errors);
	json_uint(&json, "leaks", check->leaks);
	json_uint(&json, "repaired", check->repaired);
	json_uint(&json, "used_clusters", check->used_clusters);
	json_uint(&json, "clusters", check->guest_clusters);
	json_object_end(&json);
}

int disk_check(int argc, char **argv)
{
	static const struct disk_usage usage = { "check", "FILE", 1, 1, disk_check_options };
	struct check_args args = { 0 };
	struct qcow2_check check = { .tell = tell, .opaque = &args };
	struct error err;
	int operands, status, ret;

	if (!disk_begin(&usage, &args, &args.help, argc, argv, &operands, &status))
		return status;
	ret = qcow2_check(argv[0], args.repair, &check, &err);
	if (ret)
		return disk_failed(ret, &err);
	if (args.json)
		describe_check(argv[0], &check);
	else
		print_check(&check);
	return finish_output(check.errors ? STATUS_DISK_ERRORS :
			     check.leaks  ? STATUS_DISK_LEAKS : STATUS_OK);
}
