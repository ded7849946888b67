/* SPDX-License-Identifier: MIT */
/*
 * Debian's kernels: those in the cache, those that there are, and how one of those gets among these.
 * A kernel's package is downloaded by apt as any user and unpacked beside its place; nothing is
 * installed. What is in the cache, 'ringlet run' finds by itself.
 */
#include <errno.h>
#include <ftw.h>
#include <glob.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/find_kernel.h"
#include "host/child.h"

#define PACKAGE "linux-image-"
#define NEWEST "linux-image-amd64" /* depends on the current one */
#define ARCH "-amd64"

/* ---- which there are ---- */

/* Of a kernel's image: its version, behind "vmlinuz-". */
static const char *version_of(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash + 1 + strlen("vmlinuz-");
}

/* A package that holds a kernel, of several that have such names: the version in it, or NULL. */
static const char *offered_version(const char *package)
{
	static const char *const others[] = { "-dbg", "-unsigned" };
	size_t length = strlen(package);

	if (strncmp(package, PACKAGE, strlen(PACKAGE)) || !strstr(package, ARCH))
		return NULL;
	package += strlen(PACKAGE);
	length -= strlen(PACKAGE);
	if (*package < '0' || *package > '9')
		return NULL;
	for (unsigned i = 0; i < 2; i++)
		if (length > strlen(others[i]) &&
		    !strcmp(package + length - strlen(others[i]), others[i]))
			return NULL;
	/* "6.1-amd64" is a name for whichever is current. */
	return strchr(strchr(package, '.') ? strchr(package, '.') + 1 : package, '.') ? package : NULL;
}

static int compare(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

/* Asks apt; *versions is an array that ends with NULL, into *text: both for the caller to free. */
static int ask_offered(char ***versions, char **text, struct error *err)
{
	static const char *const argv[] = { "apt-cache", "pkgnames", PACKAGE, NULL };
	size_t count = 0, room = 1;
	int ret = child_run(argv, NULL, text, err);

	*versions = NULL;
	if (ret)
		return ret;
	for (const char *c = *text; c && *c; c++)
		room += *c == '\n';
	*versions = calloc(room + 1, sizeof(**versions));
	if (!*versions || !*text)
		return error_set(err, ENOMEM, "no memory");
	for (char *line = strtok(*text, "\n"); line; line = strtok(NULL, "\n"))
		if (offered_version(line))
			(*versions)[count++] = line + strlen(PACKAGE);
	qsort(*versions, count, sizeof(**versions), compare);
	return 0;
}

/* ---- list ---- */

struct list_args {
	bool available, json, help;
};

static const struct option_spec kernel_list_options[] = {
	{ .name = "available", .letter = 'a', .type = OPTION_FLAG,
	  .offset = offsetof(struct list_args, available),
	  .help = "those that can be fetched, too" },
	{ .name = "json", .type = OPTION_FLAG, .offset = offsetof(struct list_args, json),
	  .help = "print it as JSON" },
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct list_args, help), .help = "print this help" },
	{ .name = NULL },
};

static void print_kernel(const char *version, const char *path, struct json *json)
{
	if (!json) {
		printf("%-28s %s\n", version, path ? path : "-");
		return;
	}
	json_object_begin(json, NULL);
	json_string(json, "version", version);
	json_string(json, "path", path);
	json_object_end(json);
}

static bool is_cached(const glob_t *cached, const char *version)
{
	for (size_t i = 0; i < cached->gl_pathc; i++)
		if (!strcmp(version_of(cached->gl_pathv[i]), version))
			return true;
	return false;
}

static void print_list(const glob_t *cached, char *const *offered, bool as_json)
{
	struct json json;

	json_init(&json, stdout);
	if (as_json)
		json_array_begin(&json, NULL);
	for (size_t i = 0; i < cached->gl_pathc; i++)
		print_kernel(version_of(cached->gl_pathv[i]), cached->gl_pathv[i],
			     as_json ? &json : NULL);
	for (; offered && *offered; offered++)
		if (!is_cached(cached, *offered))
			print_kernel(*offered, NULL, as_json ? &json : NULL);
	if (as_json)
		json_array_end(&json);
}

static int kernel_list(int argc, char **argv)
{
	struct list_args args = { 0 };
	char **offered = NULL, *text = NULL;
	struct error err;
	glob_t cached;
	int operands, ret = 0;

	if (options_parse(kernel_list_options, &args, argc, argv, &operands, &err))
		return usage_error(err.message);
	if (operands)
		return usage_error("kernel list takes no operands");
	if (args.help) {
		printf("usage: ringlet kernel list [OPTION]...\n\n");
		options_help(kernel_list_options, stdout);
		return finish_output(STATUS_OK);
	}
	if (args.available)
		ret = ask_offered(&offered, &text, &err);
	cached_kernels(&cached);
	if (ret)
		usage_error(err.message);
	else
		print_list(&cached, offered, args.json);
	globfree(&cached);
	free(offered);
	free(text);
	return finish_output(ret ? STATUS_INTERNAL : STATUS_OK);
}

/* ---- fetch ---- */

struct fetch_args {
	bool help;
};

static const struct option_spec kernel_fetch_options[] = {
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct fetch_args, help), .help = "print this help" },
	{ .name = NULL },
};

/* The name of the package that holds this version, in package[]; "-amd64" may be left out. */
static int find_version(const char *version, char *package, size_t size, struct error *err)
{
	char **offered, *text = NULL;
	int ret = ask_offered(&offered, &text, err);

	*package = 0;
	for (char **at = offered; !ret && *at; at++)
		if (!strncmp(*at, version, strlen(version)) &&
		    (!strcmp(*at + strlen(version), "") || !strcmp(*at + strlen(version), ARCH)))
			snprintf(package, size, "%s%s", PACKAGE, *at);
	free(offered);
	free(text);
	if (ret || *package)
		return ret;
	return error_set(err, EINVAL, "no package has a kernel '%s': see 'ringlet kernel list "
			 "--available'", version);
}

/* What Debian's package for the current kernel depends on. */
static int ask_newest(char *package, size_t size, struct error *err)
{
	static const char *const argv[] = { "apt-cache", "depends", NEWEST, NULL };
	const char depends[] = "Depends: " PACKAGE;
	char *text = NULL, *at = NULL;
	int ret = child_run(argv, NULL, &text, err);

	if (!ret)
		at = text ? strstr(text, depends) : NULL;
	if (at)
		snprintf(package, size, "%.*s", (int)strcspn(at + 9, "\n"), at + 9);
	else if (!ret || ret == -ECHILD)
		ret = error_set(err, ENOENT, NEWEST " is in no package list: run apt-get update");
	free(text);
	return ret;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *walk)
{
	(void)st;
	(void)type;
	(void)walk;
	return remove(path);
}

static void remove_tree(const char *path)
{
	nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

/* The package's file into directory. On a terminal, apt shows how far it is. */
static int download(const char *package, const char *directory, struct error *err)
{
	const char *const argv[] = {
		"apt-get", isatty(STDERR_FILENO) ? "-y" : "-qq",
		/* Else, as root, it becomes a user who cannot write there. */
		"-o", "APT::Sandbox::User=root", "download", package, NULL,
	};
	struct error cause;
	int ret = child_run(argv, directory, NULL, &cause);

	return ret ? error_set(err, -ret, "cannot download %s: %s", package, cause.message) : 0;
}

static int unpack_file(const char *deb, const char *root, struct error *err)
{
	const char *const argv[] = { "dpkg-deb", "-x", deb, root, NULL };

	return child_run(argv, NULL, NULL, err);
}

static int unpack(const char *directory, const char *root, struct error *err)
{
	char pattern[4096];
	glob_t found;
	int ret;

	snprintf(pattern, sizeof(pattern), "%s/*.deb", directory);
	if (glob(pattern, GLOB_NOSORT, NULL, &found))
		return error_set(err, ENOENT, "apt-get has downloaded nothing");
	ret = unpack_file(found.gl_pathv[0], root, err);
	globfree(&found);
	return ret;
}

/* Renamed when complete: another process sees all of it or nothing, and may have been faster. */
static int fetch_into(const char *cache, const char *package, const char *work, struct error *err)
{
	char root[4096], place[4096];
	int ret = download(package, work, err);

	snprintf(root, sizeof(root), "%s/root", work);
	snprintf(place, sizeof(place), "%s/%s", cache, package);
	if (!ret)
		ret = unpack(work, root, err);
	if (!ret && rename(root, place) && errno != EEXIST && errno != ENOTEMPTY)
		ret = error_set_errno(err, errno, "cannot make %s", place);
	return ret;
}

static int fetch(const char *package, struct error *err)
{
	char *cache = cache_path("kernels"), *work = NULL;
	int ret;

	if (!cache)
		return error_set(err, ENOENT, "no cache directory: neither XDG_CACHE_HOME nor HOME is "
				 "set");
	ret = make_directories(cache, err);
	if (!ret && asprintf(&work, "%s/.fetch.XXXXXX", cache) < 0)
		ret = error_set(err, ENOMEM, "no memory");
	if (!ret && !mkdtemp(work))
		ret = error_set_errno(err, errno, "cannot make a directory in %s", cache);
	if (!ret) {
		ret = fetch_into(cache, package, work, err);
		remove_tree(work);
	}
	free(work);
	free(cache);
	return ret;
}

/* Prints where the kernel of package is in the cache; false: nowhere. */
static bool print_cached(const char *package)
{
	char *pattern, rest[256];
	glob_t found;
	bool there;

	snprintf(rest, sizeof(rest), "kernels/%s/boot/vmlinuz-*", package);
	pattern = cache_path(rest);
	there = pattern && !glob(pattern, 0, NULL, &found);
	free(pattern);
	if (!there)
		return false;
	printf("%s\n", found.gl_pathv[0]);
	globfree(&found);
	return true;
}

static int fetch_version(const char *version, struct error *err)
{
	char package[128];
	int ret = version ? find_version(version, package, sizeof(package), err) :
			    ask_newest(package, sizeof(package), err);

	if (ret || print_cached(package))
		return ret;
	ret = fetch(package, err);
	if (!ret && !print_cached(package))
		ret = error_set(err, ENOENT, "%s holds no kernel", package);
	return ret;
}

static int kernel_fetch(int argc, char **argv)
{
	struct fetch_args args = { 0 };
	struct error err;
	int operands, ret;

	if (options_parse(kernel_fetch_options, &args, argc, argv, &operands, &err))
		return usage_error(err.message);
	if (args.help) {
		printf("usage: ringlet kernel fetch [VERSION]\n\n");
		options_help(kernel_fetch_options, stdout);
		return finish_output(STATUS_OK);
	}
	if (operands > 1)
		return usage_error("usage: ringlet kernel fetch [VERSION]");
	ret = fetch_version(operands ? argv[0] : NULL, &err);
	if (ret)
		usage_error(err.message);
	return finish_output(!ret ? STATUS_OK : ret == -EINVAL ? STATUS_USAGE : STATUS_INTERNAL);
}

const struct command kernel_commands[] = {
	{ .name = "list", .summary = "list the kernels in the cache, or all that there are",
	  .run = kernel_list, .options = kernel_list_options },
	{ .name = "fetch", .summary = "fetch a kernel into the cache: the current one, or VERSION",
	  .run = kernel_fetch, .options = kernel_fetch_options },
	{ .name = NULL },
};
