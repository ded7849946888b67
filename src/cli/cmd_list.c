/* SPDX-License-Identifier: MIT */
/* The machines that run, each asked what it is. One that does not answer is listed as such. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/machine.h"
#include "host/machines.h"

#define PATIENCE_S 2u

struct list_args {
	bool names, json, help;
};

const struct option_spec list_options[] = {
	{ .name = "names", .type = OPTION_FLAG, .offset = offsetof(struct list_args, names),
	  .help = "print their names only, a line each" },
	{ .name = "json", .type = OPTION_FLAG, .offset = offsetof(struct list_args, json),
	  .help = "print it as JSON" },
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct list_args, help), .help = "print this help" },
	{ .name = NULL },
};

static uint64_t number(const struct client *client, const char *name)
{
	uint64_t value = 0;

	json_uint_of(json_member(&client->answer, client->result, name), &value);
	return value;
}

static const char *text(const struct client *client, const char *name)
{
	const char *value = json_text_of(json_member(&client->answer, client->result, name));

	return value ? value : "-";
}

static void print_uptime(uint64_t ms)
{
	uint64_t s = ms / 1000;
	char text_of[32];

	if (s < 3600)
		snprintf(text_of, sizeof(text_of), "%" PRIu64 ":%02" PRIu64, s / 60, s % 60);
	else
		snprintf(text_of, sizeof(text_of), "%" PRIu64 ":%02" PRIu64 ":%02" PRIu64, s / 3600,
			 s / 60 % 60, s % 60);
	printf(" %9s", text_of);
}

static void print_row(const struct client *client)
{
	const char *kernel = text(client, "kernel");
	char memory[24];

	snprintf(memory, sizeof(memory), "%" PRIu64 "M", number(client, "mem_bytes") >> 20);
	printf("%-16s %7" PRIu64 " %-8s %4" PRIu64 " %7s", client->name, number(client, "pid"),
	       text(client, "state"), number(client, "cpus"), memory);
	print_uptime(number(client, "uptime_ms"));
	printf(" %-9s %s\n", text(client, "accelerator"),
	       *kernel == '-' ? text(client, "firmware") : kernel);
}

static void print_silent(const char *name, struct json *json)
{
	if (!json) {
		printf("%-16s %7s %-8s\n", name, "-", "silent");
		return;
	}
	json_object_begin(json, NULL);
	json_string(json, "name", name);
	json_string(json, "state", "silent");
	json_object_end(json);
}

/* One that has ended since is not listed. */
static void print_machine(int dir, const char *name, struct json *json)
{
	struct client client;
	int ret = client_open(&client, dir, name, PATIENCE_S, NULL);

	if (!ret) {
		ret = client_ask(&client, "describe", NULL, NULL, NULL);
		if (ret)
			print_silent(name, json);
		else if (json)
			machine_copy(json, NULL, &client.answer, client.result);
		else
			print_row(&client);
	}
	client_close(&client);
}

static void print_names(char *const *names)
{
	for (; *names; names++)
		printf("%s\n", *names);
}

static void print_all(int dir, char *const *names, bool as_json)
{
	struct json json;

	json_init(&json, stdout);
	if (as_json)
		json_array_begin(&json, NULL);
	else if (*names)
		printf("%-16s %7s %-8s %4s %7s %9s %-9s %s\n", "NAME", "PID", "STATE", "CPUS",
		       "MEMORY", "UPTIME", "ACCEL", "KERNEL");
	for (; *names; names++)
		print_machine(dir, *names, as_json ? &json : NULL);
	if (as_json)
		json_array_end(&json);
}

int cmd_list(int argc, char **argv)
{
	struct list_args args = { 0 };
	char **names = NULL;
	struct error err;
	int operands, dir, ret;

	if (options_parse(list_options, &args, argc, argv, &operands, &err))
		return usage_error(err.message);
	if (operands)
		return usage_error("list takes no operands");
	if (args.help) {
		printf("usage: ringlet list [OPTION]...\n\n");
		options_help(list_options, stdout);
		return finish_output(STATUS_OK);
	}
	dir = machines_open(&err);
	ret = dir < 0 ? dir : machines_list(dir, &names, &err);
	if (ret)
		usage_error(err.message);
	else if (args.names)
		print_names(names);
	else
		print_all(dir, names, args.json);
	machines_free_names(names);
	if (dir >= 0)
		close(dir);
	return finish_output(machine_status(ret));
}
