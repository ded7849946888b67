/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/json_read.h"

static const struct json_value *read_text(struct json_text *json, const char *text)
{
	assert_int_equal(json_read(json, text, strlen(text), NULL), 0);
	return json->value;
}

static void structure(void **state)
{
	struct json_text json;
	const struct json_value *root = read_text(&json,
		" { \"a\" : [ 1, [], {\"b\":null} , \"x\" ],\n\"c\":true, \"\":false,\t\"a\":7 }\r\n");
	const struct json_value *list = json_member(&json, root, "a"), *item = NULL;
	static const enum json_kind kinds[] = { JSON_NUMBER, JSON_ARRAY, JSON_OBJECT, JSON_STRING };

	(void)state;
	assert_int_equal(root->kind, JSON_OBJECT);
	assert_int_equal(list->kind, JSON_ARRAY);
	for (unsigned i = 0; i < 4; i++) {
		item = json_next(&json, list, item);
		assert_int_equal(item->kind, kinds[i]);
	}
	assert_string_equal(json_text_of(item), "x");
	assert_null(json_next(&json, list, item));
	assert_true(json_member(&json, root, "c")->truth);
	assert_false(json_member(&json, root, "")->truth);
	assert_null(json_member(&json, root, "b"));
	assert_null(json_member(&json, list, "b"));
	assert_null(json_member(&json, NULL, "b"));
	json_release(&json);
}

static void says(const char *text, const char *wanted)
{
	struct json_text json;

	assert_string_equal(json_text_of(read_text(&json, text)), wanted);
	json_release(&json);
}

static void strings(void **state)
{
	(void)state;
	says("\"\"", "");
	says("\"a\\\"\\\\\\/\\b\\f\\n\\r\\tz\"", "a\"\\/\b\f\n\r\tz");
	says("\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\"", "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
	says("\"\xc3\xa9\x7f\"", "\xc3\xa9\x7f");
}

static void numbers(void **state)
{
	struct json_text json;
	const struct json_value *list = read_text(&json,
		"[0,18446744073709551615,\"0xFf\", 18446744073709551616,-1,1.0,1e3,\"7\",\"0x\","
		"\"0x+1\",\"0x1z\",null]");
	const struct json_value *item = json_next(&json, list, NULL);
	uint64_t number;

	(void)state;
	assert_true(json_uint_of(item, &number) && number == 0);
	item = json_next(&json, list, item);
	assert_true(json_uint_of(item, &number) && number == UINT64_MAX);
	item = json_next(&json, list, item);
	assert_true(json_uint_of(item, &number) && number == 255);
	while ((item = json_next(&json, list, item)))
		assert_false(json_uint_of(item, &number));
	assert_false(json_uint_of(NULL, &number));
	json_release(&json);
}

static void refused(void **state)
{
	static const char *const texts[] = {
		"", " ", "{", "[1", "[1,]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}", "nul", "nulls",
		"1 2", "01", "-", "1.", "1e", "+1", ".5", "\"", "\"\\", "\"\\x\"", "\"\\u12\"",
		"\"\\u0000\"", "\"\\ud800\"", "\"\\udc00\"", "\"\\ud800\\u0041\"", "\"\t\"", "\"\xff\"",
		"\"\xc0\x80\"", "[1]]", "\"a\" \"b\"", "{\"a\":1 \"b\":2}",
	};
	struct json_text json;
	struct error err;

	(void)state;
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (json_read(&json, texts[i], strlen(texts[i]), &err) != -EINVAL)
			fail_msg("%s was taken", texts[i]);
	assert_int_equal(json_read(&json, "1\0" "2", 3, &err), -EINVAL);
}

/* A list of count - 1 numbers: count values. */
static int read_wide(unsigned count)
{
	char *text = malloc(2 * count + 1);
	struct json_text json;
	int ret;

	for (unsigned i = 0; i < count - 1; i++)
		memcpy(text + 2 * i + 1, "1,", 2);
	text[0] = '[';
	text[2 * count - 2] = ']';
	ret = json_read(&json, text, 2 * count - 1, NULL);
	free(text);
	if (!ret)
		json_release(&json);
	return ret;
}

static int read_deep(unsigned depth)
{
	char text[2 * JSON_DEPTH_MAX + 2];
	struct json_text json;
	int ret;

	memset(text, '[', depth);
	memset(text + depth, ']', depth);
	ret = json_read(&json, text, 2 * depth, NULL);
	if (!ret)
		json_release(&json);
	return ret;
}

static void limits(void **state)
{
	(void)state;
	assert_int_equal(read_deep(JSON_DEPTH_MAX), 0);
	assert_int_equal(read_deep(JSON_DEPTH_MAX + 1), -EINVAL);
	assert_int_equal(read_wide(JSON_VALUES_MAX), 0);
	assert_int_equal(read_wide(JSON_VALUES_MAX + 1), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(structure), cmocka_unit_test(strings), cmocka_unit_test(numbers),
		cmocka_unit_test(refused), cmocka_unit_test(limits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
