/* SPDX-License-Identifier: MIT */
/*
 * An option's value that has options of its own: "WORD[,name][,name=value]...". A comma in a value is
 * doubled. Strings stay where they are, in the caller's copy of the text, which is cut up. Any thread.
 */
#ifndef RINGLET_BASE_SUBOPTIONS_H
#define RINGLET_BASE_SUBOPTIONS_H

#include <stddef.h>

struct error;

enum suboption_type {
	SUBOPTION_FLAG,   /* bool, set to true */
	SUBOPTION_STRING, /* const char * */
	SUBOPTION_LIST,   /* struct option_list (base/options.h): may be given several times */
	SUBOPTION_UINT,   /* unsigned */
};

struct suboption {
	const char *name; /* NULL ends the table */
	enum suboption_type type;
	size_t offset;
	unsigned min, max; /* UINT */
};

/*
 * Stores what rest (what options_cut left of a value; may be NULL) names into target. 0 or -EINVAL;
 * messages begin with subject, "disk FILE", say.
 */
int suboptions_parse(const struct suboption *table, void *target, char *rest, const char *subject,
		     struct error *err);

#endif
