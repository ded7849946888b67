/* SPDX-License-Identifier: MIT */
#include "base/suboptions.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/options.h"
#include "base/suggest.h"

static int unknown(const struct suboption *table, const char *name, const char *subject,
		   struct error *err)
{
	struct suggestion near;
	char names[128] = "";
	size_t used = 0;

	suggest_begin(&near, name);
	for (; table->name; table++) {
		suggest_consider(&near, table->name);
		if (used < sizeof(names))
			used += (size_t)snprintf(names + used, sizeof(names) - used, "%s%s",
						 used ? ", " : "", table->name);
	}
	if (near.best)
		return error_set(err, EINVAL, "%s: there is no option '%s'; did you mean '%s'?",
				 subject, name, near.best);
	return error_set(err, EINVAL, "%s: there is no option '%s': %s%s", subject, name,
			 *names ? "there are " : "it has none", names);
}

static int store_number(const struct suboption *option, unsigned *target, const char *value,
			const char *subject, struct error *err)
{
	char *end;
	unsigned long number = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || number < option->min || number > option->max)
		return error_set(err, EINVAL, "%s: '%s' is a number from %u to %u, not '%s'", subject,
				 option->name, option->min, option->max, value);
	*target = (unsigned)number;
	return 0;
}

static int store(const struct suboption *option, void *target, const char *value,
		 const char *subject, struct error *err)
{
	struct option_list *list = target;

	switch (option->type) {
	case SUBOPTION_FLAG:
		*(bool *)target = true;
		break;
	case SUBOPTION_STRING:
		*(const char **)target = value;
		break;
	case SUBOPTION_LIST:
		if (list->count == OPTION_LIST_MAX)
			return error_set(err, EINVAL, "%s: '%s' can be given %u times at most", subject,
					 option->name, OPTION_LIST_MAX);
		list->item[list->count++] = value;
		break;
	case SUBOPTION_UINT:
		return store_number(option, target, value, subject, err);
	}
	return 0;
}

static int take(const struct suboption *table, void *target, char *text, const char *subject,
		struct error *err)
{
	char *value = strchr(text, '=');

	if (value)
		*value++ = 0;
	for (const struct suboption *option = table; option->name; option++) {
		if (strcmp(option->name, text))
			continue;
		if (!value != (option->type == SUBOPTION_FLAG) || (value && !*value))
			return error_set(err, EINVAL, "%s: '%s' takes %s value", subject, text,
					 option->type == SUBOPTION_FLAG ? "no" : "a");
		return store(option, (char *)target + option->offset, value, subject, err);
	}
	return unknown(table, text, subject, err);
}

int suboptions_parse(const struct suboption *table, void *target, char *rest, const char *subject,
		     struct error *err)
{
	int ret = 0;

	while (rest && !ret)
		ret = take(table, target, options_cut(&rest), subject, err);
	return ret;
}
