/* SPDX-License-Identifier: MIT */
/* What a machine has counted, and its guest's memory. */
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/machine.h"

#define FRESH_US 200000 /* for the guest to tell newer figures, which being asked has it do */

struct stat_args {
	bool json, help;
};

const struct option_spec stat_options[] = {
	{ .name = "json", .type = OPTION_FLAG, .offset = offsetof(struct stat_args, json),
	  .help = "print it as JSON" },
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct stat_args, help), .help = "print this help" },
	{ .name = NULL },
};

/* name with '_' as spaces; "…_bytes" in MiB. */
static void print_number(const struct json_value *value, uint64_t number)
{
	size_t length = strlen(value->name);
	bool bytes = length > 6 && !strcmp(value->name + length - 6, "_bytes");
	char label[64];

	snprintf(label, sizeof(label), "%.*s", (int)(bytes ? length - 6 : length), value->name);
	for (char *c = label; *c; c++)
		if (*c == '_')
			*c = ' ';
	printf("  %-22s ", label);
	if (bytes)
		printf("%" PRIu64 ".%" PRIu64 " MiB\n", number >> 20,
		       (number & 0xfffff) * 10 >> 20);
	else
		printf("%" PRIu64 "\n", number);
}

static uint64_t number_of(const struct json_text *text, const struct json_value *value,
			  const char *name)
{
	uint64_t number = 0;

	json_uint_of(json_member(text, value, name), &number);
	return number;
}

/* A line a queue. */
static void print_device(const struct json_text *text, const struct json_value *device)
{
	const struct json_value *queues = json_member(text, device, "queues"), *queue = NULL;
	const char *name = json_text_of(json_member(text, device, "device"));

	while (queues && (queue = json_next(text, queues, queue))) {
		uint64_t loans = number_of(text, queue, "loans");

		printf("  %-16s queue %2" PRIu64 ": %10" PRIu64 " chains %14" PRIu64 " bytes out %14"
		       PRIu64 " in %9" PRIu64 " interrupts", name ? name : "",
		       number_of(text, queue, "queue"), number_of(text, queue, "chains"),
		       number_of(text, queue, "from_driver_bytes"),
		       number_of(text, queue, "to_driver_bytes"),
		       number_of(text, queue, "interrupts"));
		if (loans)
			printf(", lent to the kernel %" PRIu64 " times", loans);
		putchar('\n');
	}
}

static void print_devices(const struct json_text *text, const struct json_value *devices)
{
	const struct json_value *device = NULL;

	printf("devices\n");
	while ((device = json_next(text, devices, device)))
		print_device(text, device);
}

static void print_value(const struct json_text *text, const struct json_value *value);

/* An array's objects are numbered, an object's members named. */
static void print_members(const struct json_text *text, const struct json_value *parent)
{
	const struct json_value *member = NULL;
	unsigned index = 0;

	while ((member = json_next(text, parent, member))) {
		if (member->name && !strcmp(member->name, "devices")) {
			print_devices(text, member);
			continue;
		}
		if (member->kind == JSON_OBJECT && parent->kind == JSON_ARRAY)
			printf("%s %u\n", parent->name, index++);
		else if (member->kind == JSON_OBJECT)
			printf("%s\n", member->name);
		print_value(text, member);
	}
}

static void print_value(const struct json_text *text, const struct json_value *value)
{
	uint64_t number;

	if (value->kind == JSON_OBJECT || value->kind == JSON_ARRAY)
		print_members(text, value);
	else if (value->kind == JSON_STRING)
		printf("  %s\n", value->text);
	else if (value->kind == JSON_BOOL)
		printf("  %-22s %s\n", value->name, value->truth ? "yes" : "no");
	else if (json_uint_of(value, &number))
		print_number(value, number);
}

static int stat_machine(struct client *client, void *opaque, char **operand, struct error *err)
{
	const struct stat_args *args = opaque;
	int ret = client_ask(client, "stat", NULL, NULL, err);

	(void)operand;
	if (!ret && json_member(&client->answer, client->result, "balloon")) {
		usleep(FRESH_US);
		ret = client_ask(client, "stat", NULL, NULL, err);
	}
	if (ret)
		return ret;
	if (args->json)
		machine_print_json(&client->answer, client->result);
	else
		print_members(&client->answer, client->result);
	return 0;
}

int cmd_stat(int argc, char **argv)
{
	static const struct machine_verb verb = {
		.usage = "stat [OPTION]... [NAME]", .options = stat_options, .run = stat_machine,
	};
	struct stat_args args = { 0 };

	return machine_run(&verb, &args, &args.help, argc, argv);
}
