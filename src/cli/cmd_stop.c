/* SPDX-License-Identifier: MIT */
/* Asks a guest to shut down; ends its machine if it does not. */
#include <errno.h>
#include <stddef.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/machine.h"

#define TIMEOUT_S 30u
#define TIMEOUT_MAX_S 86400u
#define END_S 10u /* for a machine that was told to end at once */

struct stop_args {
	unsigned timeout_s;
	bool force, help;
};

const struct option_spec stop_options[] = {
	{ .name = "timeout", .letter = 't', .type = OPTION_UINT,
	  .offset = offsetof(struct stop_args, timeout_s), .metavar = "SECONDS",
	  .max = TIMEOUT_MAX_S,
	  .help = "how long the guest may take before its machine is ended (30)" },
	{ .name = "force", .letter = 'f', .type = OPTION_FLAG,
	  .offset = offsetof(struct stop_args, force),
	  .help = "end the machine at once, as by pulling the plug" },
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct stop_args, help), .help = "print this help" },
	{ .name = NULL },
};

static int end_machine(struct client *client, struct error *err)
{
	int ret = client_ask(client, "kill", NULL, NULL, err);

	if (ret == -ENOENT)
		return 0; /* it ended by itself just now */
	if (!ret)
		ret = client_wait_end(client, END_S);
	return ret == -ETIMEDOUT ? error_set(err, ETIMEDOUT, "machine '%s' does not end: kill -9 %d",
					     client->name, (int)client->pid) : ret;
}

static int stop(struct client *client, void *opaque, char **operand, struct error *err)
{
	const struct stop_args *args = opaque;
	int ret;

	(void)operand;
	if (args->force)
		return end_machine(client, err);
	ret = client_ask(client, "power-button", NULL, NULL, err);
	if (!ret)
		ret = client_wait_end(client, args->timeout_s);
	if (ret != -ETIMEDOUT)
		return ret;
	log_warn("'%s' did not shut down in %u seconds: ending it", client->name, args->timeout_s);
	return end_machine(client, err);
}

int cmd_stop(int argc, char **argv)
{
	static const struct machine_verb verb = {
		.usage = "stop [OPTION]... [NAME]", .options = stop_options, .run = stop,
		.doing = "stopping",
	};
	struct stop_args args = { .timeout_s = TIMEOUT_S };

	return machine_run(&verb, &args, &args.help, argc, argv);
}
