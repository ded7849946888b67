/* SPDX-License-Identifier: MIT */
/* Asks a guest for memory, or gives it back. */
#include <errno.h>
#include <stddef.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/commands.h"
#include "cli/machine.h"

struct balloon_args {
	bool help;
};

const struct option_spec balloon_options[] = {
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct balloon_args, help), .help = "print this help" },
	{ .name = NULL },
};

static void fill(struct json *arguments, const void *opaque)
{
	json_uint(arguments, "bytes", *(const uint64_t *)opaque);
}

static int balloon(struct client *client, void *args, char **operand, struct error *err)
{
	const struct json_value *driver;
	uint64_t bytes;
	int ret;

	(void)args;
	if (options_parse_size(operand[0], &bytes))
		return error_set(err, EINVAL, "'%s' is no size such as 512M or 2G", operand[0]);
	ret = client_ask(client, "balloon", fill, &bytes, err);
	if (ret)
		return ret;
	driver = json_member(&client->answer,
			     json_member(&client->answer, client->result, "balloon"), "driver");
	if (driver && !driver->truth)
		log_warn("the guest of '%s' runs no balloon driver, and gives nothing before it does",
			 client->name);
	return 0;
}

int cmd_balloon(int argc, char **argv)
{
	static const struct machine_verb verb = {
		.usage = "balloon [NAME] SIZE", .options = balloon_options, .operands = 1,
		.run = balloon,
	};
	struct balloon_args args = { 0 };

	return machine_run(&verb, &args, &args.help, argc, argv);
}
