/* SPDX-License-Identifier: MIT */
/* Fuzz target: the JSON writer's output is UTF-8 without control characters, whatever goes in. */
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "input.h"

#define DEPTH_MAX 64
#define TEXT_MAX 64

static void check(const char *text, size_t size)
{
	if (strlen(text) != size || mbstowcs(NULL, text, 0) == (size_t)-1)
		abort();
	for (size_t i = 0; i < size; i++)
		if ((uint8_t)text[i] < 0x20 && text[i] != '\n')
			abort();
}

/* One member, or one level down or up. */
static void write_piece(struct json *json, struct fuzz_input *input)
{
	unsigned op = fuzz_u8(input);
	char text[TEXT_MAX + 1] = "", name[TEXT_MAX + 1] = "";

	fuzz_take(input, name, fuzz_u8(input) % TEXT_MAX);
	switch (op % 6) {
	case 0:
		fuzz_take(input, text, fuzz_u8(input) % TEXT_MAX);
		json_string(json, name, op & 0x80 ? NULL : text);
		break;
	case 1:
		json_uint(json, name, fuzz_u64(input));
		break;
	case 2:
		json_hex(json, name, fuzz_u64(input));
		break;
	case 3:
		json_bool(json, name, op & 0x80);
		break;
	case 4:
		if (json->depth < DEPTH_MAX)
			json_object_begin(json, name);
		break;
	default:
		if (json->depth > 1)
			json_object_end(json);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct json json;
	char *text = NULL;
	size_t length = 0;
	FILE *stream = open_memstream(&text, &length);

	if (!stream || !setlocale(LC_CTYPE, "C.UTF-8"))
		abort();
	json_init(&json, stream);
	json_object_begin(&json, NULL);
	while (input.left)
		write_piece(&json, &input);
	while (json.depth)
		json_object_end(&json);
	fclose(stream);
	check(text, length);
	free(text);
	return 0;
}
