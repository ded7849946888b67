/* SPDX-License-Identifier: MIT */
/* A look into a machine: its CPUs, how an address is mapped; and what makes a kernel talk. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/machine.h"

#define CPU_ALL (~0u)

struct debug_args {
	unsigned cpu;
	const char *address, *sysrq;
	bool nmi, json, help;
	uint64_t linear; /* what address says */
};

#define ARG(member) offsetof(struct debug_args, member)

const struct option_spec debug_options[] = {
	{ .name = "cpu", .type = OPTION_UINT, .offset = ARG(cpu), .metavar = "N",
	  .help = "look at this CPU only; send it an NMI" },
	{ .name = "address", .letter = 'a', .type = OPTION_STRING, .offset = ARG(address),
	  .metavar = "ADDRESS",
	  .help = "show how a linear address (hexadecimal) is mapped" },
	{ .name = "nmi", .type = OPTION_FLAG, .offset = ARG(nmi),
	  .help = "press the NMI button instead; with --cpu, send that CPU one" },
	{ .name = "sysrq", .type = OPTION_STRING, .offset = ARG(sysrq), .metavar = "KEY",
	  .help = "send the kernel's console a magic SysRq instead" },
	{ .name = "json", .type = OPTION_FLAG, .offset = ARG(json), .help = "print it as JSON" },
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG, .offset = ARG(help),
	  .help = "print this help" },
	{ .name = NULL },
};

static void fill_sysrq(struct json *arguments, const void *opaque)
{
	json_string(arguments, "key", opaque);
}

static void fill_nmi(struct json *arguments, const void *opaque)
{
	const struct debug_args *args = opaque;

	if (args->cpu != CPU_ALL)
		json_uint(arguments, "cpu", args->cpu);
}

static void fill_debug(struct json *arguments, const void *opaque)
{
	const struct debug_args *args = opaque;

	fill_nmi(arguments, args);
	if (args->address)
		json_hex(arguments, "address", args->linear);
}

static void print_lines(const struct client *client, const struct json_value *cpu, const char *name)
{
	const struct json_value *list = json_member(&client->answer, cpu, name), *line = NULL;

	while (list && (line = json_next(&client->answer, list, line)))
		if (json_text_of(line))
			printf("%s\n", json_text_of(line));
}

static void print_cpus(const struct client *client)
{
	const struct json_value *cpus = json_member(&client->answer, client->result, "cpus");
	const struct json_value *cpu = NULL;
	uint64_t number;

	while (cpus && (cpu = json_next(&client->answer, cpus, cpu))) {
		if (json_uint_of(json_member(&client->answer, cpu, "cpu"), &number))
			printf("CPU %lu\n", number);
		print_lines(client, cpu, "registers");
		print_lines(client, cpu, "code");
		print_lines(client, cpu, "address");
	}
}

static int parse_address(struct debug_args *args, struct error *err)
{
	char *end = NULL;

	if (!args->address)
		return 0;
	errno = 0;
	args->linear = strtoull(args->address, &end, 16);
	if (errno || *end || !*args->address || strpbrk(args->address, "+- "))
		return error_set(err, EINVAL, "'%s' is no address", args->address);
	return 0;
}

static int debug(struct client *client, void *opaque, char **operand, struct error *err)
{
	struct debug_args *args = opaque;
	int ret;

	(void)operand;
	if (args->sysrq)
		return client_ask(client, "sysrq", fill_sysrq, args->sysrq, err);
	if (args->nmi)
		return client_ask(client, "nmi", fill_nmi, args, err);
	ret = parse_address(args, err);
	if (!ret)
		ret = client_ask(client, "debug", fill_debug, args, err);
	if (ret)
		return ret;
	if (args->json)
		machine_print_json(&client->answer, client->result);
	else
		print_cpus(client);
	return 0;
}

int cmd_debug(int argc, char **argv)
{
	static const struct machine_verb verb = {
		.usage = "debug [OPTION]... [NAME]", .options = debug_options, .run = debug,
	};
	struct debug_args args = { .cpu = CPU_ALL };

	return machine_run(&verb, &args, &args.help, argc, argv);
}
