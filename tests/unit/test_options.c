/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/options.h"
#include "base/suggest.h"

struct args {
	const char *file;
	uint64_t size;
	unsigned count;
	int color;
	bool quick, loud;
	struct option_list disks;
};

static const struct option_choice colors[] = { { "red", 3 }, { "green", 7 }, { NULL, 0 } };

static const struct option_spec specs[] = {
	{ .name = "file", .letter = 'f', .type = OPTION_STRING, .offset = offsetof(struct args, file),
	  .metavar = "FILE", .help = "a file" },
	{ .name = "size", .letter = 's', .type = OPTION_SIZE, .offset = offsetof(struct args, size),
	  .metavar = "SIZE", .help = "a size", .min = 1 << 20, .max = 1ull << 40 },
	{ .name = "count", .letter = 'c', .type = OPTION_UINT, .offset = offsetof(struct args, count),
	  .metavar = "N", .help = "a number", .min = 1, .max = 9 },
	{ .name = "color", .type = OPTION_CHOICE, .offset = offsetof(struct args, color),
	  .choices = colors, .help = "a color" },
	{ .name = "quick", .letter = 'q', .type = OPTION_FLAG, .offset = offsetof(struct args, quick),
	  .help = "a flag whose help is so long that it needs more than one line of its column" },
	{ .name = "loud", .letter = 'l', .type = OPTION_FLAG, .offset = offsetof(struct args, loud),
	  .help = "another" },
	{ .name = "disk", .letter = 'd', .type = OPTION_LIST, .offset = offsetof(struct args, disks),
	  .metavar = "FILE", .help = "some files" },
	{ .name = "help", .type = OPTION_FLAG, .offset = offsetof(struct args, loud),
	  .help = "for a command line only", .not_in_file = true },
	{ .name = NULL },
};

static struct args args;
static struct error err;
static char *operand[20];
static int operands;

/* Parses words (ended by NULL); operands are left in operand[]. */
static int parse(const char *first, ...)
{
	int argc = 0;
	va_list list;

	memset(&args, 0, sizeof(args));
	err.message[0] = 0;
	va_start(list, first);
	for (const char *word = first; word; word = va_arg(list, const char *))
		operand[argc++] = (char *)word;
	va_end(list);
	return options_parse(specs, &args, argc, operand, &operands, &err);
}

static void all_spellings(void **state)
{
	(void)state;
	assert_int_equal(parse("--file", "a", "--size=2G", "-c", "4", "--color", "green", "-ql",
			       NULL), 0);
	assert_string_equal(args.file, "a");
	assert_int_equal(args.size, 2ull << 30);
	assert_int_equal(args.count, 4);
	assert_int_equal(args.color, 7);
	assert_true(args.quick && args.loud);
	assert_int_equal(operands, 0);
	assert_int_equal(parse("-qfname", "-s512", "--file=", NULL), 0);
	assert_true(args.quick);
	assert_string_equal(args.file, "");
	assert_int_equal(args.size, 512ull << 20);
}

static void operands_and_the_end_of_options(void **state)
{
	(void)state;
	assert_int_equal(parse("one", "-q", "-", "--", "--file", "-x", NULL), 0);
	assert_int_equal(operands, 4);
	assert_string_equal(operand[0], "one");
	assert_string_equal(operand[1], "-");
	assert_string_equal(operand[2], "--file");
	assert_string_equal(operand[3], "-x");
	assert_true(args.quick);
}

static void expect_error(int ret, const char *part)
{
	assert_int_equal(ret, -EINVAL);
	if (!strstr(err.message, part))
		fail_msg("'%s' is not in '%s'", part, err.message);
}

static void errors_name_the_cause(void **state)
{
	(void)state;
	expect_error(parse("--fiel", "x", NULL), "did you mean '--file'");
	expect_error(parse("--col=red", NULL), "did you mean '--color'");
	expect_error(parse("--zzzzzz", NULL), "unknown option '--zzzzzz'");
	assert_null(strstr(err.message, "mean"));
	expect_error(parse("-z", NULL), "'-z'");
	expect_error(parse("--file", NULL), "takes a value (FILE)");
	expect_error(parse("--quick=yes", NULL), "takes no value");
	expect_error(parse("--color", "blue", NULL), "red|green");
	expect_error(parse("-c", "10", NULL), "1 to 9");
	expect_error(parse("-c", "0", NULL), "1 to 9");
	expect_error(parse("-c", "-1", NULL), "number");
	expect_error(parse("-c", "4x", NULL), "number");
	expect_error(parse("-c", "", NULL), "number");
	expect_error(parse("-c", "99999999999999999999999", NULL), "1 to 9");
	expect_error(parse("-s", "1K", NULL), "1M to 1T");
	expect_error(parse("-s", "big", NULL), "512M or 2G");
}

static void lists(void **state)
{
	(void)state;
	assert_int_equal(parse("-d", "a", "-q", "--disk=b", "-dc", NULL), 0);
	assert_int_equal(args.disks.count, 3);
	assert_string_equal(args.disks.item[0], "a");
	assert_string_equal(args.disks.item[2], "c");
	expect_error(parse("-dd", "-dd", "-dd", "-dd", "-dd", "-dd", "-dd", "-dd", "-dd", "-dd",
			   "-dd", "-dd", "-dd", "-dd", "-dd", "-dd", "-dd", NULL), "16 times");
}

static void sizes(void **state)
{
	static const struct {
		const char *text;
		int ret;
		uint64_t bytes;
	} cases[] = {
		{ "1", 0, 1 << 20 }, { "1k", 0, 1024 }, { "3M", 0, 3 << 20 },
		{ "64g", 0, 64ull << 30 }, { "2T", 0, 2ull << 40 }, { "0", 0, 0 },
		{ "", -EINVAL, 0 }, { "M", -EINVAL, 0 }, { "1MB", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 }, { "+1", -EINVAL, 0 }, { "1.5G", -EINVAL, 0 },
		{ "17592186044416", -ERANGE, 0 }, { "18446744073709551616K", -ERANGE, 0 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t bytes = 0;

		assert_int_equal(options_parse_size(cases[i].text, &bytes), cases[i].ret);
		assert_int_equal(bytes, cases[i].bytes);
	}
}

static void help_lists_every_option(void **state)
{
	char *text = NULL;
	size_t size;
	FILE *stream = open_memstream(&text, &size);
	char *line;

	(void)state;
	options_help(specs, stream);
	fclose(stream);
	assert_non_null(strstr(text, "  -f, --file FILE"));
	assert_non_null(strstr(text, "      --color red|green"));
	assert_non_null(strstr(text, "  -q, --quick  "));
	for (line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
		assert_true(strlen(line) <= 80);
	free(text);
}

static const char *nearest(const char *word)
{
	struct suggestion near;

	suggest_begin(&near, word);
	suggest_consider(&near, "run");
	suggest_consider(&near, "version");
	suggest_consider(&near, "list");
	suggest_consider(&near, "stat");
	return near.best;
}

static void suggestions(void **state)
{
	(void)state;
	assert_string_equal(nearest("rnu"), "run");
	assert_string_equal(nearest("runn"), "run");
	assert_string_equal(nearest("verison"), "version");
	assert_string_equal(nearest("vers"), "version");
	assert_string_equal(nearest("ls"), "list");
	assert_string_equal(nearest("vrson"), "version");
	/* Two letters of a short word are too much of it. */
	assert_null(nearest("cat"));
	assert_null(nearest("rm"));
	assert_null(nearest("lose"));
	assert_null(nearest("vn"));
	assert_null(nearest("x"));
	assert_null(nearest("xyz"));
	assert_null(nearest(""));
	assert_null(nearest("a-word-that-is-much-longer-than-any-name-that-there-is-in-the-table-of"));
}

/* Of a command that takes a command: what follows its name is its own. */
static void the_first_operand_ends_options(void **state)
{
	char *argv[] = { (char *)"-q", (char *)"cmd", (char *)"-l", (char *)"--", (char *)"--nosuch" };

	(void)state;
	args = (struct args){ 0 };
	assert_int_equal(options_parse_before(specs, &args, 5, argv, &operands, &err), 0);
	assert_true(args.quick && !args.loud);
	assert_int_equal(operands, 4);
	assert_string_equal(argv[0], "cmd");
	assert_string_equal(argv[1], "-l");
	assert_string_equal(argv[2], "--");
	assert_string_equal(argv[3], "--nosuch");
}

/* ---- files ---- */

static int read_text(const char *given)
{
	static char text[512];

	memset(&args, 0, sizeof(args));
	snprintf(text, sizeof(text), "%s", given);
	return options_read(specs, &args, "run", text, "file", &err);
}

static void a_file(void **state)
{
	(void)state;
	assert_int_equal(read_text("# comment\n\n  ; another\r\n[run]\r\n file = a b # c \t\n"
				   "size=2M\ncount\t=\t3\ncolor = green\nquick = yes\nloud = true\n"
				   "loud = no\ndisk = one\ndisk =\n[run]\ndisk = \" two \""), 0);
	assert_string_equal(args.file, "a b # c");
	assert_int_equal(args.size, 2 << 20);
	assert_int_equal(args.count, 3);
	assert_int_equal(args.color, 7);
	assert_true(args.quick && !args.loud);
	assert_int_equal(args.disks.count, 3);
	assert_string_equal(args.disks.item[1], "");
	assert_string_equal(args.disks.item[2], " two ");
	assert_int_equal(read_text(""), 0);
	assert_int_equal(read_text("\n[run]"), 0);
	assert_int_equal(read_text("[run]\nfile=\""), 0);
	assert_string_equal(args.file, "\"");
}

static void wrong_files(void **state)
{
	static const struct {
		const char *text, *message;
	} cases[] = {
		{ "size = 2M", "file:1: a line before [run]" },
		{ "\n[stop]", "file:2: there is no section [stop]" },
		{ "[run", "file:1: there is no section [run" },
		{ "[run]\ncolour = red", "file:2: unknown option '--colour': did you mean '--color'" },
		{ "[run]\nsize", "file:2: a line is 'name = value'" },
		{ "[run]\n\nsize = much", "file:3: --size takes a size" },
		{ "[run]\ncount = 10", "file:2: --count must be 1 to 9" },
		{ "[run]\nquick = 7", "file:2: quick is yes or no, not '7'" },
		{ "[run]\n--quick = yes", "file:2: unknown option" },
		{ "[run]\n= yes", "file:2: unknown option" },
		{ "[run]\nhelp = yes", "file:2: --help is for command lines only" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(read_text(cases[i].text), -EINVAL);
		if (strncmp(err.message, cases[i].message, strlen(cases[i].message)))
			fail_msg("%s", err.message);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_spellings),
		cmocka_unit_test(operands_and_the_end_of_options),
		cmocka_unit_test(the_first_operand_ends_options),
		cmocka_unit_test(errors_name_the_cause),
		cmocka_unit_test(lists),
		cmocka_unit_test(sizes),
		cmocka_unit_test(help_lists_every_option),
		cmocka_unit_test(suggestions),
		cmocka_unit_test(a_file),
		cmocka_unit_test(wrong_files),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
