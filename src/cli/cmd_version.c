/* SPDX-License-Identifier: MIT */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "base/error.h"
#include "base/version.h"
#include "base/options.h"
#include "boot/unpack.h"
#include "cli/commands.h"
#include "net/options.h"
#include "vm/vm.h"

struct version_args {
	bool help;
};

const struct option_spec version_options[] = {
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct version_args, help), .help = "print this help" },
	{ .name = NULL },
};

static void print_missing(void)
{
	const char *(*const missing[])(unsigned index) = { unpack_missing_library,
							   net_missing_library };
	bool any = false;

	printf("\nmissing libraries:");
	for (unsigned i = 0; i < sizeof(missing) / sizeof(missing[0]); i++) {
		const char *name;

		for (unsigned j = 0; (name = missing[i](j)); j++, any = true)
			printf(" %s", name);
	}
	printf("%s\n", any ? "" : " none");
}

int cmd_version(int argc, char **argv)
{
	struct version_args args = { 0 };
	struct error err;
	int operands;

	if (options_parse(version_options, &args, argc, argv, &operands, &err))
		return usage_error(err.message);
	if (operands)
		return usage_error("version takes no operands");
	if (args.help) {
		printf("usage: ringlet version [OPTION]...\n\n");
		options_help(version_options, stdout);
		return finish_output(STATUS_OK);
	}
	printf("ringlet %s\naccelerators:", RINGLET_VERSION);
	for (const char *const *name = vm_accel_names(); *name; name++)
		printf(" %s", *name);
	printf("\nnetworks:%s tap%s none", net_has_user() ? " user" : "", net_has_vde() ? " vde" : "");
	print_missing();
	return finish_output(STATUS_OK);
}
