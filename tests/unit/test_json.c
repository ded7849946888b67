/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/json.h"

static void structure(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	struct json json;

	(void)state;
	json_init(&json, stream);
	json_object_begin(&json, NULL);
	json_string(&json, "a", "b");
	json_array_begin(&json, "list");
	json_uint(&json, NULL, UINT64_MAX);
	json_object_begin(&json, NULL);
	json_object_end(&json);
	json_array_end(&json);
	json_bool(&json, "yes", true);
	json_hex(&json, "at", 0xfee00000);
	json_string(&json, "none", NULL);
	json_object_end(&json);
	fclose(stream);
	assert_string_equal(text, "{\n  \"a\": \"b\",\n  \"list\": [\n    18446744073709551615,\n"
				  "    {}\n  ],\n  \"yes\": true,\n  \"at\": \"0xfee00000\",\n"
				  "  \"none\": null\n}\n");
	free(text);
}

static void expect(const char *given, const char *written)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	struct json json;

	json_init(&json, stream);
	json_string(&json, NULL, given);
	fclose(stream);
	assert_string_equal(text, written);
	free(text);
}

static void strings(void **state)
{
	(void)state;
	expect("a\"b\\c\n\t\x01\x7f", "\"a\\\"b\\\\c\\n\\t\\u0001\\u007f\"");
	expect("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
}

static void what_is_not_utf8_is_replaced(void **state)
{
	(void)state;
	expect("\xff" "a", "\"\\ufffda\"");
	expect("\x80", "\"\\ufffd\"");
	expect("\xc3", "\"\\ufffd\"");
	expect("\xc0\x80", "\"\\ufffd\\ufffd\"");             /* overlong */
	expect("\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\"");  /* surrogate */
	expect("\xf4\x90\x80\x80", "\"\\ufffd\\ufffd\\ufffd\\ufffd\"");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(structure),
		cmocka_unit_test(strings),
		cmocka_unit_test(what_is_not_utf8_is_replaced),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
