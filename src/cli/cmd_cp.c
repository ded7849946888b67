/* SPDX-License-Identifier: MIT */
/* Copies a file or a directory between this host and a machine that runs, by its guest's agent. */
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/copy.h"
#include "agent/wire.h"
#include "base/error.h"
#include "base/log.h"
#include "base/options.h"
#include "cli/commands.h"
#include "cli/guest_socket.h"
#include "host/signals.h"

struct cp_args {
	unsigned wait_s;
	bool recursive, help;
};

#define ARG(member) offsetof(struct cp_args, member)

const struct option_spec cp_options[] = {
	{ .name = "recursive", .letter = 'r', .type = OPTION_FLAG, .offset = ARG(recursive),
	  .help = "copy a directory with all that is in it" },
	GUEST_WAIT_OPTION(struct cp_args, wait_s),
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG, .offset = ARG(help),
	  .help = "print this help" },
	{ .name = NULL },
};

struct copy {
	const char *machine, *from, *to;
	bool to_guest;
	struct agent_copy stream;
};

static int help(void)
{
	printf("usage: ringlet cp [OPTION]... NAME:PATH PATH\n"
	       "       ringlet cp [OPTION]... PATH NAME:PATH\n\n");
	options_help(cp_options, stdout);
	return finish_output(STATUS_OK);
}

/* Cuts "NAME:PATH" in two; NULL: it is a path of the host's. */
static const char *cut_machine(char *operand, const char **path)
{
	char *colon = operand + strcspn(operand, ":/");

	*path = operand;
	if (*colon != ':')
		return NULL;
	*colon = 0;
	*path = colon + 1;
	return operand;
}

static int parse_operands(struct copy *copy, char **operand, struct error *err)
{
	const char *from = cut_machine(operand[0], &copy->from);
	const char *to = cut_machine(operand[1], &copy->to);

	if (!from == !to)
		return error_set(err, EINVAL, "cp: one of both is NAME:PATH, the other a path here "
				 "(./a:b for one with a colon)");
	copy->machine = from ? from : to;
	copy->to_guest = !from;
	if (!*copy->from || !*copy->to)
		return error_set(err, EINVAL, "cp: a path is empty");
	return 0;
}

static void warn(void *opaque, const char *text)
{
	char clean[AGENT_TEXT_BYTES];

	(void)opaque;
	snprintf(clean, sizeof(clean), "%s", text);
	guest_text_clean(clean);
	log_warn("%s", clean);
}

/* The connection broke, or what is in failure happened. */
static int explain(struct copy *copy, int ret, struct error *err)
{
	guest_text_clean(copy->stream.failure);
	if (*copy->stream.failure)
		return error_set(err, EIO, "cp: %s%s", ret == -EREMOTEIO ? "in the guest: " : "",
				 copy->stream.failure);
	return error_set_errno(err, -ret, "cp: the connection to '%s' broke", copy->machine);
}

/* What the guest says in the end, or when it does not go on. */
static int hear_end(struct copy *copy)
{
	struct agent_header header;
	int ret = agent_receive(copy->stream.fd, &header, copy->stream.data);

	if (ret)
		return ret;
	if (header.type == AGENT_EXIT)
		return 0;
	if (header.type != AGENT_FAIL)
		return -EPROTO;
	snprintf(copy->stream.failure, sizeof(copy->stream.failure), "%s",
		 (const char *)copy->stream.data);
	return -EREMOTEIO;
}

static int put(struct copy *copy, bool recursive)
{
	const char *name;
	size_t to_bytes = strlen(copy->to) + 1, name_bytes = agent_last_name(copy->from, &name);
	int ret;

	if (to_bytes + name_bytes > AGENT_DATA_MAX)
		return -ENAMETOOLONG;
	memcpy(copy->stream.data, copy->to, to_bytes);
	memcpy(copy->stream.data + to_bytes, name, name_bytes);
	ret = agent_send(copy->stream.fd, AGENT_PUT, copy->stream.data, to_bytes + name_bytes);
	if (!ret)
		ret = agent_copy_send(&copy->stream, copy->from, recursive);
	/* When it was the guest that gave up, it says why. */
	return ret && *copy->stream.failure ? ret : hear_end(copy);
}

static int get(struct copy *copy, bool recursive)
{
	const char *last;
	size_t length = agent_last_name(copy->from, &last), path_bytes = strlen(copy->from);
	char *name = strndup(last, length);
	int ret = name && path_bytes < AGENT_DATA_MAX - 3 ? 0 : -ENAMETOOLONG;

	if (!ret) {
		size_t skip = recursive ? sizeof("-r") : 0;

		memcpy(copy->stream.data, "-r", sizeof("-r"));
		memcpy(copy->stream.data + skip, copy->from, path_bytes);
		ret = agent_send(copy->stream.fd, AGENT_GET, copy->stream.data, skip + path_bytes);
	}
	if (!ret)
		ret = agent_copy_receive(&copy->stream, copy->to, name);
	free(name);
	return ret;
}

static int run(struct copy *copy, const struct cp_args *args, struct error *err)
{
	int fd = guest_agent_connect(copy->machine, args->wait_s, err), ret;

	if (fd < 0)
		return fd;
	signals_ignore_pipe();
	copy->stream = (struct agent_copy){ .fd = fd, .data = malloc(AGENT_FRAME_MAX + 1), .warn = warn };
	ret = !copy->stream.data	? -ENOMEM :
	      copy->to_guest	? put(copy, args->recursive) :
				  get(copy, args->recursive);
	if (ret)
		ret = explain(copy, ret, err);
	free(copy->stream.data);
	close(fd);
	return ret;
}

int cmd_cp(int argc, char **argv)
{
	struct cp_args args = { .wait_s = GUEST_WAIT_S };
	struct copy copy;
	struct error err;
	int operands, ret;

	if (options_parse(cp_options, &args, argc, argv, &operands, &err))
		return usage_error(err.message);
	if (args.help)
		return help();
	if (operands != 2)
		return usage_error("cp: a source and a destination: see 'ringlet cp --help'");
	ret = parse_operands(&copy, argv, &err);
	if (!ret)
		ret = run(&copy, &args, &err);
	return ret ? usage_error(err.message) : STATUS_OK;
}
