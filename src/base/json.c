/* SPDX-License-Identifier: MIT */
#include "base/json.h"

#include <inttypes.h>
#include <string.h>

#include "base/utf8.h"

void json_init(struct json *json, FILE *stream)
{
	*json = (struct json){ .stream = stream };
}

void json_init_line(struct json *json, FILE *stream)
{
	*json = (struct json){ .stream = stream, .one_line = true };
}

static void write_char(FILE *stream, const unsigned char *text, unsigned length)
{
	if (!length)
		fputs("\\ufffd", stream);
	else if (*text == '"' || *text == '\\')
		fprintf(stream, "\\%c", *text);
	else if (*text == '\n')
		fputs("\\n", stream);
	else if (*text == '\t')
		fputs("\\t", stream);
	else if (*text < 0x20 || *text == 0x7f)
		fprintf(stream, "\\u%04x", *text);
	else
		fwrite(text, 1, length, stream);
}

static void write_quoted(FILE *stream, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;

	putc('"', stream);
	while (*p) {
		unsigned length = utf8_length(p);

		write_char(stream, p, length);
		p += length ? length : 1;
	}
	putc('"', stream);
}

static void new_line(struct json *json)
{
	if (!json->one_line)
		fprintf(json->stream, "\n%*s", (int)json->depth * 2, "");
}

static void begin_value(struct json *json, const char *name)
{
	if (json->has_sibling)
		putc(',', json->stream);
	if (json->depth)
		new_line(json);
	if (name) {
		write_quoted(json->stream, name);
		fputs(json->one_line ? ":" : ": ", json->stream);
	}
	json->has_sibling = true;
}

static void open_level(struct json *json, const char *name, char bracket)
{
	begin_value(json, name);
	putc(bracket, json->stream);
	json->depth++;
	json->has_sibling = false;
}

static void close_level(struct json *json, char bracket)
{
	json->depth--;
	if (json->has_sibling)
		new_line(json);
	putc(bracket, json->stream);
	json->has_sibling = true;
	if (!json->depth)
		putc('\n', json->stream);
}

void json_object_begin(struct json *json, const char *name)
{
	open_level(json, name, '{');
}

void json_object_end(struct json *json)
{
	close_level(json, '}');
}

void json_array_begin(struct json *json, const char *name)
{
	open_level(json, name, '[');
}

void json_array_end(struct json *json)
{
	close_level(json, ']');
}

void json_string(struct json *json, const char *name, const char *text)
{
	begin_value(json, name);
	if (text)
		write_quoted(json->stream, text);
	else
		fputs("null", json->stream);
}

void json_uint(struct json *json, const char *name, uint64_t value)
{
	begin_value(json, name);
	fprintf(json->stream, "%" PRIu64, value);
}

void json_bool(struct json *json, const char *name, bool value)
{
	begin_value(json, name);
	fputs(value ? "true" : "false", json->stream);
}

void json_hex(struct json *json, const char *name, uint64_t value)
{
	begin_value(json, name);
	fprintf(json->stream, "\"0x%" PRIx64 "\"", value);
}
