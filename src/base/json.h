/* SPDX-License-Identifier: MIT */
/*
 * Writes JSON (RFC 8259) to a stream, indented or as one line, member by member. The caller sees to
 * it that begins and ends pair up; commas, quotes and escapes are seen to here. name is NULL for an array's
 * elements and for the outermost value. Bytes that are not UTF-8 become U+FFFD, so that the
 * output is valid whatever it is given. Write errors stay in the stream: ask ferror. One thread.
 */
#ifndef RINGLET_BASE_JSON_H
#define RINGLET_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct json {
	FILE *stream;
	unsigned depth;
	bool one_line;
	bool has_sibling; /* something precedes in the object or array that is open */
};

/* stream stays the caller's. */
void json_init(struct json *json, FILE *stream);
/* The same without newlines, but for the one at the end. */
void json_init_line(struct json *json, FILE *stream);

void json_object_begin(struct json *json, const char *name);
void json_object_end(struct json *json);
void json_array_begin(struct json *json, const char *name);
void json_array_end(struct json *json);

/* text NULL writes null. */
void json_string(struct json *json, const char *name, const char *text);
void json_uint(struct json *json, const char *name, uint64_t value);
void json_bool(struct json *json, const char *name, bool value);
/* A number as "0x…" text, for addresses: JSON's own numbers are not exact beyond 53 bits. */
void json_hex(struct json *json, const char *name, uint64_t value);

#endif
