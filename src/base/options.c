/* SPDX-License-Identifier: MIT */
#include "base/options.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "base/suggest.h"

#define HELP_COLUMN 28
#define HELP_WIDTH 80

struct parser {
	const struct option_spec *specs;
	char *target;
	int argc;
	char **argv;
	int next; /* argument to look at */
	struct error *err;
};

/* ---- values ---- */

/* Plain decimal digits up to *end: no sign, no space, as strtoull would let pass. */
static int parse_digits(const char *text, uint64_t *value, const char **end)
{
	const char *p = text;
	uint64_t sum = 0;

	for (; *p >= '0' && *p <= '9'; p++)
		if (__builtin_mul_overflow(sum, 10, &sum) ||
		    __builtin_add_overflow(sum, (uint64_t)(*p - '0'), &sum))
			return -ERANGE;
	if (p == text)
		return -EINVAL;
	*value = sum;
	*end = p;
	return 0;
}

int options_parse_size(const char *text, uint64_t *size_bytes)
{
	static const char units[] = "KMGT";
	unsigned shift = 20;
	const char *end;
	uint64_t value;
	int ret = parse_digits(text, &value, &end);

	if (ret)
		return ret;
	if (*end) {
		const char *unit = strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end);

		if (!unit || end[1])
			return -EINVAL;
		shift = 10 * (unsigned)(unit - units + 1);
	}
	if (value > UINT64_MAX >> shift)
		return -ERANGE;
	*size_bytes = value << shift;
	return 0;
}

static void format_size(uint64_t bytes, char *text, size_t size)
{
	static const char units[] = "KMGT";
	unsigned unit = 0;

	bytes >>= 10;
	while (unit < 3 && bytes && !(bytes & 1023)) {
		bytes >>= 10;
		unit++;
	}
	snprintf(text, size, "%" PRIu64 "%c", bytes, units[unit]);
}

static void format_number(const struct option_spec *spec, uint64_t value, char *text, size_t size)
{
	if (spec->type == OPTION_SIZE)
		format_size(value, text, size);
	else
		snprintf(text, size, "%" PRIu64, value);
}

static int store_number(struct parser *parser, const struct option_spec *spec, const char *text)
{
	uint64_t max = spec->max ? spec->max : spec->type == OPTION_SIZE ? UINT64_MAX : UINT_MAX;
	uint64_t value = 0;
	const char *end = "";
	int ret;

	if (spec->type == OPTION_SIZE)
		ret = options_parse_size(text, &value);
	else
		ret = parse_digits(text, &value, &end);
	if (ret == -EINVAL || *end)
		return error_set(parser->err, EINVAL, "--%s takes a %s, not '%s'", spec->name,
				 spec->type == OPTION_SIZE ? "size such as 512M or 2G" : "number",
				 text);
	if (ret || value < spec->min || value > max) {
		char least[24], most[24];

		format_number(spec, spec->min, least, sizeof(least));
		format_number(spec, max, most, sizeof(most));
		return error_set(parser->err, EINVAL, "--%s must be %s to %s, not %s", spec->name,
				 least, most, text);
	}
	if (spec->type == OPTION_SIZE)
		*(uint64_t *)(parser->target + spec->offset) = value;
	else
		*(unsigned *)(parser->target + spec->offset) = (unsigned)value;
	return 0;
}

static void list_choices(const struct option_choice *choice, char *text, size_t size)
{
	size_t used = 0;

	*text = 0;
	for (const char *bar = ""; choice->name && used < size; choice++, bar = "|")
		used += (size_t)snprintf(text + used, size - used, "%s%s", bar, choice->name);
}

static int store_choice(struct parser *parser, const struct option_spec *spec, const char *text)
{
	char names[128];

	for (const struct option_choice *choice = spec->choices; choice->name; choice++) {
		if (!strcmp(choice->name, text)) {
			*(int *)(parser->target + spec->offset) = choice->value;
			return 0;
		}
	}
	list_choices(spec->choices, names, sizeof(names));
	return error_set(parser->err, EINVAL, "--%s takes %s, not '%s'", spec->name, names, text);
}

static int store_item(struct parser *parser, const struct option_spec *spec, const char *text)
{
	struct option_list *list = (struct option_list *)(parser->target + spec->offset);

	if (list->count == OPTION_LIST_MAX)
		return error_set(parser->err, EINVAL, "--%s can be given %u times at most",
				 spec->name, OPTION_LIST_MAX);
	list->item[list->count++] = text;
	return 0;
}

static int store(struct parser *parser, const struct option_spec *spec, const char *text)
{
	switch (spec->type) {
	case OPTION_FLAG:
		*(bool *)(parser->target + spec->offset) = true;
		return 0;
	case OPTION_STRING:
		*(const char **)(parser->target + spec->offset) = text;
		return 0;
	case OPTION_UINT:
	case OPTION_SIZE:
		return store_number(parser, spec, text);
	case OPTION_CHOICE:
		return store_choice(parser, spec, text);
	case OPTION_LIST:
		return store_item(parser, spec, text);
	}
	return -EINVAL;
}

/* ---- spellings ---- */

static const struct option_spec *find_name(const struct option_spec *spec, const char *name,
					   size_t length)
{
	for (; spec->name; spec++)
		if (strlen(spec->name) == length && !memcmp(spec->name, name, length))
			return spec;
	return NULL;
}

static int unknown_name(struct parser *parser, const char *name, size_t length)
{
	struct suggestion near;
	char word[64];

	snprintf(word, sizeof(word), "%.*s", (int)(length < 63 ? length : 63), name);
	suggest_begin(&near, word);
	for (const struct option_spec *spec = parser->specs; spec->name; spec++)
		suggest_consider(&near, spec->name);
	if (near.best)
		return error_set(parser->err, EINVAL,
				 "unknown option '--%s': did you mean '--%s'?", word, near.best);
	return error_set(parser->err, EINVAL, "unknown option '--%s'", word);
}

/* Takes the next argument as an option's value. */
static int store_next(struct parser *parser, const struct option_spec *spec)
{
	if (parser->next >= parser->argc)
		return error_set(parser->err, EINVAL, "--%s takes a value (%s)", spec->name,
				 spec->metavar ? spec->metavar : "one of its choices");
	return store(parser, spec, parser->argv[parser->next++]);
}

/* name: behind the "--". */
static int parse_long(struct parser *parser, const char *name)
{
	size_t length = strcspn(name, "=");
	const struct option_spec *spec = find_name(parser->specs, name, length);

	if (!spec)
		return unknown_name(parser, name, length);
	if (!name[length])
		return spec->type == OPTION_FLAG ? store(parser, spec, NULL) :
						   store_next(parser, spec);
	if (spec->type == OPTION_FLAG)
		return error_set(parser->err, EINVAL, "--%s takes no value", spec->name);
	return store(parser, spec, name + length + 1);
}

/* letters: behind the "-". */
static int parse_short(struct parser *parser, const char *letters)
{
	for (; *letters; letters++) {
		const struct option_spec *spec = parser->specs;
		int ret;

		while (spec->name && spec->letter != *letters)
			spec++;
		if (!spec->name)
			return error_set(parser->err, EINVAL, "unknown option '-%c'", *letters);
		if (spec->type != OPTION_FLAG)
			return letters[1] ? store(parser, spec, letters + 1) :
					    store_next(parser, spec);
		ret = store(parser, spec, NULL);
		if (ret)
			return ret;
	}
	return 0;
}

static int parse(const struct option_spec *specs, void *target, int argc, char **argv,
		 bool operand_ends, int *operands, struct error *err)
{
	struct parser parser = { .specs = specs, .target = target, .argc = argc, .argv = argv,
				 .err = err };
	bool ended = false;

	*operands = 0;
	while (parser.next < argc) {
		char *arg = argv[parser.next++];
		int ret = 0;

		if (ended || arg[0] != '-' || !arg[1])
			argv[(*operands)++] = arg;
		else if (!strcmp(arg, "--"))
			ended = true;
		else if (arg[1] == '-')
			ret = parse_long(&parser, arg + 2);
		else
			ret = parse_short(&parser, arg + 1);
		if (ret)
			return ret;
		ended |= operand_ends && *operands;
	}
	return 0;
}

int options_parse(const struct option_spec *specs, void *target, int argc, char **argv,
		  int *operands, struct error *err)
{
	return parse(specs, target, argc, argv, false, operands, err);
}

int options_parse_before(const struct option_spec *specs, void *target, int argc, char **argv,
			 int *operands, struct error *err)
{
	return parse(specs, target, argc, argv, true, operands, err);
}

/* ---- files ---- */

/* The end of text without trailing space, where a NUL is put. */
static void cut_space(char *text)
{
	size_t length = strlen(text);

	while (length && strchr(" \t\r", text[length - 1]))
		length--;
	text[length] = 0;
}

static int store_yes_no(struct parser *parser, const struct option_spec *spec, const char *text)
{
	bool yes = !strcmp(text, "yes") || !strcmp(text, "true");

	if (!yes && strcmp(text, "no") && strcmp(text, "false"))
		return error_set(parser->err, EINVAL, "%s is yes or no, not '%s'", spec->name, text);
	*(bool *)(parser->target + spec->offset) = yes;
	return 0;
}

/* line: "name = value", without leading space. */
static int read_setting(struct parser *parser, char *line)
{
	size_t length = strcspn(line, "= \t");
	const struct option_spec *spec = find_name(parser->specs, line, length);
	char *value = line + length + strspn(line + length, " \t");
	size_t value_length;

	if (!spec)
		return unknown_name(parser, line, length);
	if (spec->not_in_file)
		return error_set(parser->err, EINVAL, "--%s is for command lines only", spec->name);
	if (*value != '=')
		return error_set(parser->err, EINVAL, "a line is 'name = value'");
	value += 1 + strspn(value + 1, " \t");
	value_length = strlen(value);
	if (value_length > 1 && value[0] == '"' && value[value_length - 1] == '"') {
		value[value_length - 1] = 0;
		value++;
	}
	return spec->type == OPTION_FLAG ? store_yes_no(parser, spec, value) :
					   store(parser, spec, value);
}

static int read_section(struct parser *parser, const char *line, const char *section, bool *inside)
{
	size_t length = strlen(section);

	if (strncmp(line + 1, section, length) || strcmp(line + 1 + length, "]"))
		return error_set(parser->err, EINVAL, "there is no section %s: [%s] is one", line,
				 section);
	*inside = true;
	return 0;
}

static int read_line(struct parser *parser, char *line, const char *section, bool *inside)
{
	line += strspn(line, " \t");
	cut_space(line);
	if (!*line || *line == '#' || *line == ';')
		return 0;
	if (*line == '[')
		return read_section(parser, line, section, inside);
	if (!*inside)
		return error_set(parser->err, EINVAL, "a line before [%s]", section);
	return read_setting(parser, line);
}

int options_read(const struct option_spec *specs, void *target, const char *section, char *text,
		 const char *file, struct error *err)
{
	struct error cause;
	struct parser parser = { .specs = specs, .target = target, .err = &cause };
	bool inside = false;
	unsigned number = 1;

	for (char *line = text, *next; line; line = next, number++) {
		int ret;

		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		ret = read_line(&parser, line, section, &inside);
		if (ret)
			return error_set(err, -ret, "%s:%u: %s", file, number, cause.message);
	}
	return 0;
}

/* ---- help ---- */

/* Prints text from column on, broken at spaces. */
static void print_wrapped(FILE *stream, const char *text, size_t column)
{
	size_t width = HELP_WIDTH - column;

	while (strlen(text) > width) {
		size_t length = width;

		while (length && text[length] != ' ')
			length--;
		if (!length)
			break;
		fprintf(stream, "%.*s\n%*s", (int)length, text, (int)column, "");
		text += length + 1;
	}
	fprintf(stream, "%s\n", text);
}

void options_help(const struct option_spec *spec, FILE *stream)
{
	for (; spec->name; spec++) {
		char left[160], values[96] = "";
		int length;

		if (spec->choices)
			list_choices(spec->choices, values, sizeof(values));
		else if (spec->metavar)
			snprintf(values, sizeof(values), "%s", spec->metavar);
		length = snprintf(left, sizeof(left), "  %c%c%s--%s%s%s", spec->letter ? '-' : ' ',
				  spec->letter ? spec->letter : ' ', spec->letter ? ", " : "  ",
				  spec->name, *values ? " " : "", values);
		if (length < HELP_COLUMN - 1)
			fprintf(stream, "%-*s", HELP_COLUMN, left);
		else
			fprintf(stream, "%s\n%*s", left, HELP_COLUMN, "");
		print_wrapped(stream, spec->help, HELP_COLUMN);
	}
}

char *options_cut(char **text)
{
	char *value = *text, *to = value, *from = value;

	while (*from && (*from != ',' || from[1] == ',')) {
		from += *from == ',';
		*to++ = *from++;
	}
	*text = *from ? from + 1 : NULL;
	*to = 0;
	return value;
}
