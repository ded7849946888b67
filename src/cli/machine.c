/* SPDX-License-Identifier: MIT */
#include "cli/machine.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/commands.h"
#include "host/machines.h"

int machine_status(int ret)
{
	if (!ret)
		return STATUS_OK;
	return ret == -ETIMEDOUT || ret == -ENOMEM ? STATUS_INTERNAL : STATUS_USAGE;
}

/* ---- which machine ---- */

static int no_name(char **names, struct error *err)
{
	char list[256] = "";
	size_t used = 0;

	if (!names[0])
		return error_set(err, ENOENT, "no machine runs");
	for (unsigned i = 0; names[i] && used < sizeof(list); i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used, "%s%s", i ? ", " : "",
					 names[i]);
	return error_set(err, EINVAL, "several machines run, name one: %s", list);
}

/* Connects to the only machine that runs. */
static int open_only(struct client *client, int dir, char ***names, struct error *err)
{
	int ret = machines_list(dir, names, err);

	if (ret)
		return ret;
	if (!(*names)[0] || (*names)[1])
		return no_name(*names, err);
	return client_open(client, dir, (*names)[0], CLIENT_PATIENCE_S, err);
}

static int run(const struct machine_verb *verb, void *args, int operands, char **operand,
	       struct error *err)
{
	struct client client = { .fd = -1 };
	bool named = operands > verb->operands;
	char **names = NULL;
	int dir = machines_open(err);
	int ret = dir;

	if (dir < 0)
		return ret;
	ret = named ? client_open(&client, dir, operand[0], CLIENT_PATIENCE_S, err) :
		      open_only(&client, dir, &names, err);
	/* Whoever thinks of another machine finds out at once, and not when that is missed. */
	if (!ret && !named && verb->doing) {
		printf("%s %s\n", verb->doing, client.name);
		fflush(stdout);
	}
	if (!ret)
		ret = verb->run(&client, args, operand + named, err);
	client_close(&client);
	machines_free_names(names);
	close(dir);
	return ret;
}

int machine_run(const struct machine_verb *verb, void *args, const bool *help, int argc,
		char **argv)
{
	struct error err;
	int operands, ret;

	if (options_parse(verb->options, args, argc, argv, &operands, &err))
		return usage_error(err.message);
	if (*help) {
		printf("usage: ringlet %s\n\n", verb->usage);
		options_help(verb->options, stdout);
		return finish_output(STATUS_OK);
	}
	if (operands < verb->operands || operands > verb->operands + 1) {
		char message[160];

		snprintf(message, sizeof(message), "usage: ringlet %s", verb->usage);
		return usage_error(message);
	}
	ret = run(verb, args, operands, argv, &err);
	if (ret)
		usage_error(err.message);
	return finish_output(machine_status(ret));
}

/* ---- answers ---- */

void machine_copy(struct json *json, const char *name, const struct json_text *text,
		  const struct json_value *value)
{
	const struct json_value *member = NULL;
	uint64_t number;

	switch (value->kind) {
	case JSON_OBJECT:
		json_object_begin(json, name);
		while ((member = json_next(text, value, member)))
			machine_copy(json, member->name, text, member);
		json_object_end(json);
		break;
	case JSON_ARRAY:
		json_array_begin(json, name);
		while ((member = json_next(text, value, member)))
			machine_copy(json, member->name, text, member);
		json_array_end(json);
		break;
	case JSON_NUMBER:
		/* Machines write no others. */
		json_uint(json, name, json_uint_of(value, &number) ? number : 0);
		break;
	case JSON_BOOL:
		json_bool(json, name, value->truth);
		break;
	default:
		json_string(json, name, json_text_of(value));
	}
}

void machine_print_json(const struct json_text *text, const struct json_value *value)
{
	struct json json;

	json_init(&json, stdout);
	machine_copy(&json, NULL, text, value);
}
