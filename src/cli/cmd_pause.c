/* SPDX-License-Identifier: MIT */
/* Has a machine stand still; has it go on. */
#include <stddef.h>

#include "cli/commands.h"
#include "cli/machine.h"

struct pause_args {
	bool help;
};

const struct option_spec pause_options[] = {
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct pause_args, help), .help = "print this help" },
	{ .name = NULL },
};

static int pause_machine(struct client *client, void *args, char **operand, struct error *err)
{
	(void)args;
	(void)operand;
	return client_ask(client, "pause", NULL, NULL, err);
}

static int resume_machine(struct client *client, void *args, char **operand, struct error *err)
{
	(void)args;
	(void)operand;
	return client_ask(client, "resume", NULL, NULL, err);
}

int cmd_pause(int argc, char **argv)
{
	static const struct machine_verb verb = {
		.usage = "pause [NAME]", .options = pause_options, .run = pause_machine,
		.doing = "pausing",
	};
	struct pause_args args = { 0 };

	return machine_run(&verb, &args, &args.help, argc, argv);
}

int cmd_resume(int argc, char **argv)
{
	static const struct machine_verb verb = {
		.usage = "resume [NAME]", .options = pause_options, .run = resume_machine,
		.doing = "resuming",
	};
	struct pause_args args = { 0 };

	return machine_run(&verb, &args, &args.help, argc, argv);
}
