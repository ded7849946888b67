/* SPDX-License-Identifier: MIT */
/*
 * Reads JSON (RFC 8259) of at most JSON_VALUES_MAX values, JSON_DEPTH_MAX deep, whoever wrote it. The
 * values are in one array in the order of the text, each before those that it contains: the first is
 * the outermost. Strings are UTF-8 without NUL; what is not is refused. One thread.
 */
#ifndef RINGLET_BASE_JSON_READ_H
#define RINGLET_BASE_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define JSON_VALUES_MAX 65536u
#define JSON_DEPTH_MAX 32u

enum json_kind { JSON_NULL, JSON_BOOL, JSON_NUMBER, JSON_STRING, JSON_ARRAY, JSON_OBJECT };

struct json_value {
	enum json_kind kind;
	bool truth;       /* BOOL */
	const char *name; /* an object's member: its name; else NULL */
	const char *text; /* STRING: what it says; NUMBER: as it was written */
	unsigned next;    /* index of the first value that is not in this one */
};

struct json_text {
	char *text; /* that values point into */
	struct json_value *value;
	unsigned count;
};

/* Reads text of length bytes, which is copied. 0; -EINVAL: it is no such JSON; -ENOMEM. */
int json_read(struct json_text *json, const char *text, size_t length, struct error *err);
void json_release(struct json_text *json);

/* The member of an object, or NULL: it has none of that name, or is no object. object may be NULL. */
const struct json_value *json_member(const struct json_text *json, const struct json_value *object,
				     const char *name);
/* What an array or object contains, one after the other: after NULL the first; NULL: no more. */
const struct json_value *json_next(const struct json_text *json, const struct json_value *parent,
				   const struct json_value *before);

/* The string; NULL when value is NULL or none. */
const char *json_text_of(const struct json_value *value);
/* A number that is an integer from 0 to 2^64-1, or a string "0x…" of one. false: neither, or NULL. */
bool json_uint_of(const struct json_value *value, uint64_t *number);

#endif
