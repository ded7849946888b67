/* SPDX-License-Identifier: MIT */
/* A recursive descent over a copy of the text, in which strings are unescaped where they stand. */
#include "base/json_read.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/utf8.h"

struct reader {
	struct json_text *json;
	char *at;
	unsigned depth, capacity;
	int status; /* -errno once it failed */
};

static bool fail(struct reader *reader, int errnum)
{
	if (!reader->status)
		reader->status = -errnum;
	return false;
}

static void skip_space(struct reader *reader)
{
	while (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' ||
	       *reader->at == '\r')
		reader->at++;
}

static bool take(struct reader *reader, char wanted)
{
	skip_space(reader);
	if (*reader->at != wanted)
		return false;
	reader->at++;
	return true;
}

/* Index of a new value, or UINT_MAX. */
static unsigned add_value(struct reader *reader, const char *name)
{
	struct json_text *json = reader->json;

	if (json->count == JSON_VALUES_MAX) {
		fail(reader, EINVAL);
		return ~0u;
	}
	if (json->count == reader->capacity) {
		unsigned capacity = reader->capacity ? 2 * reader->capacity : 16;
		struct json_value *more = realloc(json->value, capacity * sizeof(*more));

		if (!more) {
			fail(reader, ENOMEM);
			return ~0u;
		}
		json->value = more;
		reader->capacity = capacity;
	}
	json->value[json->count] = (struct json_value){ .name = name };
	return json->count++;
}

/* ---- strings ---- */

static bool hex4(const char *text, uint32_t *code)
{
	*code = 0;
	for (unsigned i = 0; i < 4; i++) {
		if (!isxdigit((unsigned char)text[i]))
			return false;
		*code = *code << 4 | (uint32_t)(text[i] <= '9' ? text[i] - '0' :
								 (text[i] | 0x20) - 'a' + 10);
	}
	return true;
}

/* Behind "\u": one code point, of one or two escapes. */
static bool unescape_code(struct reader *reader, char **to)
{
	uint32_t code, low;

	if (!hex4(reader->at, &code) || !code)
		return false;
	reader->at += 4;
	if (code >= 0xdc00 && code < 0xe000)
		return false;
	if (code >= 0xd800 && code < 0xdc00) {
		if (reader->at[0] != '\\' || reader->at[1] != 'u' || !hex4(reader->at + 2, &low) ||
		    low < 0xdc00 || low > 0xdfff)
			return false;
		code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
		reader->at += 6;
	}
	*to += utf8_encode(code, *to);
	return true;
}

static bool unescape(struct reader *reader, char **to)
{
	static const char from[] = "\"\\/bfnrt", is[] = "\"\\/\b\f\n\r\t";
	char letter = *++reader->at;
	const char *found = letter ? strchr(from, letter) : NULL;

	if (letter == 'u') {
		reader->at++;
		return unescape_code(reader, to);
	}
	if (!found)
		return false;
	*(*to)++ = is[found - from];
	reader->at++;
	return true;
}

/* Behind the opening quote. What an escape stands for is never longer than the escape. */
static const char *read_string(struct reader *reader)
{
	char *start = reader->at, *to = start;

	while (*reader->at != '"') {
		unsigned length = utf8_length((const unsigned char *)reader->at);

		if (*reader->at == '\\') {
			if (unescape(reader, &to))
				continue;
			length = 0;
		}
		if (!length || (unsigned char)*reader->at < 0x20) {
			fail(reader, EINVAL);
			return NULL;
		}
		memmove(to, reader->at, length);
		to += length;
		reader->at += length;
	}
	reader->at++;
	*to = 0;
	return start;
}

/* ---- numbers and words ---- */

static bool skip_digits(char **at)
{
	const char *start = *at;

	while (isdigit((unsigned char)**at))
		(*at)++;
	return *at > start;
}

/* The number's end, or NULL. */
static char *number_end(char *at)
{
	if (*at == '-')
		at++;
	if (*at == '0')
		at++;
	else if (!skip_digits(&at))
		return NULL;
	if (*at == '.' && (at++, !skip_digits(&at)))
		return NULL;
	if (*at == 'e' || *at == 'E') {
		at++;
		if (*at == '+' || *at == '-')
			at++;
		if (!skip_digits(&at))
			return NULL;
	}
	return at;
}

/* The text that is left begins where the number's copy ended, so that a NUL can stand behind it. */
static bool read_number(struct reader *reader, struct json_value *value)
{
	char *start = reader->at, *end = number_end(start);

	if (!end)
		return fail(reader, EINVAL);
	/* There is a byte before it: punctuation, white space, or the one that json_read put there. */
	memmove(start - 1, start, (size_t)(end - start));
	end[-1] = 0;
	value->kind = JSON_NUMBER;
	value->text = start - 1;
	reader->at = end;
	return true;
}

static bool read_word(struct reader *reader, struct json_value *value)
{
	static const struct {
		const char *word;
		struct json_value value;
	} words[] = {
		{ "null", { .kind = JSON_NULL } },
		{ "true", { .kind = JSON_BOOL, .truth = true } },
		{ "false", { .kind = JSON_BOOL } },
	};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		size_t length = strlen(words[i].word);

		if (strncmp(reader->at, words[i].word, length))
			continue;
		value->kind = words[i].value.kind;
		value->truth = words[i].value.truth;
		reader->at += length;
		return true;
	}
	return fail(reader, EINVAL);
}

/* ---- values ---- */

static bool read_value(struct reader *reader, const char *name);

static bool read_member(struct reader *reader)
{
	const char *name = take(reader, '"') ? read_string(reader) : NULL;

	if (!name || !take(reader, ':'))
		return fail(reader, EINVAL);
	return read_value(reader, name);
}

static bool read_contents(struct reader *reader, char closing)
{
	if (reader->depth == JSON_DEPTH_MAX)
		return fail(reader, EINVAL);
	if (take(reader, closing))
		return true;
	reader->depth++;
	do {
		if (closing == '}' ? !read_member(reader) : !read_value(reader, NULL))
			return false;
	} while (take(reader, ','));
	reader->depth--;
	return take(reader, closing) || fail(reader, EINVAL);
}

/* values may move while what one contains is read. */
static bool read_value(struct reader *reader, const char *name)
{
	unsigned index = add_value(reader, name);
	struct json_value *value;
	bool fine;

	if (index == ~0u)
		return false;
	value = &reader->json->value[index];
	skip_space(reader);
	switch (*reader->at) {
	case '{':
	case '[':
		value->kind = *reader->at == '{' ? JSON_OBJECT : JSON_ARRAY;
		fine = read_contents(reader, *reader->at++ == '{' ? '}' : ']');
		break;
	case '"':
		reader->at++;
		value->kind = JSON_STRING;
		value->text = read_string(reader);
		fine = value->text;
		break;
	case '-':
	case '0' ... '9':
		fine = read_number(reader, value);
		break;
	default:
		fine = read_word(reader, value);
	}
	reader->json->value[index].next = reader->json->count;
	return fine;
}

int json_read(struct json_text *json, const char *text, size_t length, struct error *err)
{
	struct reader reader = { .json = json };

	*json = (struct json_text){ .text = malloc(length + 2) };
	if (!json->text)
		return error_set(err, ENOMEM, "no memory");
	*json->text = ' ';
	memcpy(json->text + 1, text, length);
	json->text[length + 1] = 0;
	reader.at = json->text + 1;
	if (read_value(&reader, NULL)) {
		skip_space(&reader);
		if (reader.at != json->text + 1 + length)
			fail(&reader, EINVAL);
	}
	if (!reader.status)
		return 0;
	json_release(json);
	return reader.status == -ENOMEM ? error_set(err, ENOMEM, "no memory") :
		error_set(err, EINVAL, "no JSON, or more than is read of it, at byte %zu",
			  (size_t)(reader.at - json->text) - 1);
}

void json_release(struct json_text *json)
{
	free(json->value);
	free(json->text);
	*json = (struct json_text){ 0 };
}

/* ---- what was read ---- */

const struct json_value *json_next(const struct json_text *json, const struct json_value *parent,
				   const struct json_value *before)
{
	unsigned index = before ? before->next : (unsigned)(parent - json->value) + 1;

	return index < parent->next ? &json->value[index] : NULL;
}

const struct json_value *json_member(const struct json_text *json, const struct json_value *object,
				     const char *name)
{
	const struct json_value *member = NULL;

	if (!object || object->kind != JSON_OBJECT)
		return NULL;
	while ((member = json_next(json, object, member)))
		if (!strcmp(member->name, name))
			return member;
	return NULL;
}

const char *json_text_of(const struct json_value *value)
{
	return value && value->kind == JSON_STRING ? value->text : NULL;
}

bool json_uint_of(const struct json_value *value, uint64_t *number)
{
	bool hex = value && value->kind == JSON_STRING && !strncmp(value->text, "0x", 2);
	const char *digits = !value ? NULL : hex ? value->text + 2 :
			     value->kind == JSON_NUMBER ? value->text : NULL;
	char *end;

	if (!digits || !isxdigit((unsigned char)*digits) ||
	    (!hex && !isdigit((unsigned char)*digits)))
		return false;
	errno = 0;
	*number = strtoull(digits, &end, hex ? 16 : 10);
	return !errno && !*end;
}
