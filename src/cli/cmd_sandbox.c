/* SPDX-License-Identifier: MIT */
/*
 * A command that sees of this host what it takes to run it, and no more: /usr and /etc, to read. It is
 * 'ringlet run' with such a root, without a network, and without the configuration file, which may
 * share more. The root is a skeleton in the cache: the same for every sandbox, since what a guest
 * writes to it stays in its memory.
 */
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/commands.h"
#include "cli/find_kernel.h"

#define WORDS_MAX 32 /* that stand before the user's */

/* What every root has, empty. */
static const char *const empty[] = { "", "/dev", "/home", "/proc", "/root", "/run", "/sys", "/var" };
/* What programs and their libraries are in, where it is no part of /usr. */
static const char *const programs[] = { "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32" };

struct sandbox {
	char root[PATH_MAX];
	char *word[WORDS_MAX]; /* of the command line for 'ringlet run' */
	int words;
};

static void add_word(struct sandbox *sandbox, const char *word)
{
	sandbox->word[sandbox->words++] = (char *)word;
}

static int make_directory(const struct sandbox *sandbox, const char *name, mode_t mode,
			  struct error *err)
{
	char path[PATH_MAX + 16];

	snprintf(path, sizeof(path), "%s%s", sandbox->root, name);
	/* The mode is not to depend on our umask. */
	if ((mkdir(path, 0700) && errno != EEXIST) || chmod(path, mode))
		return error_set_errno(err, errno, "cannot make %s", path);
	return 0;
}

/* A directory of the host's, to be read. */
static int add_part(struct sandbox *sandbox, const char *name, struct error *err)
{
	int ret = make_directory(sandbox, name, 0755, err);

	add_word(sandbox, "--rodir");
	add_word(sandbox, name);
	return ret;
}

/* As the host has it: a link into /usr, or a directory of its own. */
static int add_programs(struct sandbox *sandbox, const char *name, struct error *err)
{
	char target[PATH_MAX], path[PATH_MAX + 16];
	ssize_t length = readlink(name, target, sizeof(target) - 1);

	if (length < 0)
		return errno == EINVAL ? add_part(sandbox, name, err) : 0;
	target[length] = 0;
	snprintf(path, sizeof(path), "%s%s", sandbox->root, name);
	if (symlink(target, path) && errno != EEXIST)
		return error_set_errno(err, errno, "cannot make %s", path);
	return 0;
}

static int make_root(struct sandbox *sandbox, struct error *err)
{
	int ret = 0;

	for (size_t i = 0; i < sizeof(empty) / sizeof(empty[0]) && !ret; i++)
		ret = make_directory(sandbox, empty[i], 0755, err);
	if (!ret)
		ret = make_directory(sandbox, "/tmp", 01777, err);
	if (!ret)
		ret = make_directory(sandbox, "/var/tmp", 01777, err);
	for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]) && !ret; i++)
		ret = add_programs(sandbox, programs[i], err);
	if (!ret)
		ret = add_part(sandbox, "/usr", err);
	return ret ? ret : add_part(sandbox, "/etc", err);
}

static int prepare(struct sandbox *sandbox, struct error *err)
{
	char *cache = cache_path(""), *root = cache_path("sandbox");
	int ret;

	if (root)
		snprintf(sandbox->root, sizeof(sandbox->root), "%s", root);
	ret = root ? make_directories(cache, err) :
		     error_set(err, ENOENT, "no cache directory: neither XDG_CACHE_HOME nor HOME is set");
	add_word(sandbox, "--no-config");
	add_word(sandbox, "--network=none");
	add_word(sandbox, "--root");
	add_word(sandbox, sandbox->root);
	if (!ret)
		ret = make_root(sandbox, err);
	free(cache);
	free(root);
	return ret;
}

static int help(void)
{
	printf("usage: ringlet sandbox [OPTION]... [[--] COMMAND [ARGUMENT]...]\n\n"
	       "The options are those of 'ringlet run':\n\n");
	options_help(run_options, stdout);
	return finish_output(STATUS_OK);
}

int cmd_sandbox(int argc, char **argv)
{
	struct sandbox sandbox = { .words = 0 };
	struct error err;
	char **words;
	int status;

	if (argc == 1 && (!strcmp(argv[0], "--help") || !strcmp(argv[0], "-h")))
		return help();
	if (prepare(&sandbox, &err))
		return usage_error(err.message);
	words = calloc((size_t)(sandbox.words + argc + 1), sizeof(*words));
	if (!words)
		return usage_error("no memory");
	memcpy(words, sandbox.word, (size_t)sandbox.words * sizeof(*words));
	memcpy(words + sandbox.words, argv, (size_t)argc * sizeof(*words));
	status = cmd_run(sandbox.words + argc, words);
	free(words);
	return status;
}
