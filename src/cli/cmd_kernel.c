/* SPDX-License-Identifier: MIT */
/*
 * Debian's kernels: those in the cache, those that there are, and how one of those gets among these.
 * A kernel's package is downloaded (debian.h) and unpacked beside its place; nothing is installed.
 * What is in the cache for this host's architecture, 'ringlet run' finds by itself.
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
#include "cli/debian.h"
#include "cli/find_kernel.h"
#include "host/child.h"

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
	const char *arch = debian_arch_of(version)->name;

	if (!json) {
		printf("%-28s %-7s %s\n", version, arch, path ? path : "-");
		return;
	}
	json_object_begin(json, NULL);
	json_string(json, "version", version);
	json_string(json, "arch", arch);
	json_string(json, "path", path);
	json_object_end(json);
}

static bool is_cached(const glob_t *cached, const char *version)
{
	for (size_t i = 0; i < cached->gl_pathc; i++)
		if (!strcmp(cached_version(cached->gl_pathv[i]), version))
			return true;
	return false;
}

/* arch: NULL: all. */
static void print_list(const glob_t *cached, char *const *offered, const struct debian_arch *arch,
		       bool as_json)
{
	struct json json;

	json_init(&json, stdout);
	if (as_json)
		json_array_begin(&json, NULL);
	for (size_t i = 0; i < cached->gl_pathc; i++) {
		const char *version = cached_version(cached->gl_pathv[i]);

		if (!arch || debian_arch_of(version) == arch)
			print_kernel(version, cached->gl_pathv[i], as_json ? &json : NULL);
	}
	for (; offered && *offered; offered++)
		if (!is_cached(cached, *offered))
			print_kernel(*offered, NULL, as_json ? &json : NULL);
	if (as_json)
		json_array_end(&json);
}

static int unknown_arch(const char *name)
{
	char names[64], message[160];

	debian_arch_names(names, sizeof(names));
	snprintf(message, sizeof(message), "no architecture '%.32s': %s", name, names);
	return usage_error(message);
}

static int kernel_list(int argc, char **argv)
{
	const struct debian_arch *arch = NULL;
	struct list_args args = { 0 };
	char **offered = NULL, *text = NULL;
	struct error err;
	glob_t cached;
	int operands, ret = 0;

	if (options_parse(kernel_list_options, &args, argc, argv, &operands, &err))
		return usage_error(err.message);
	if (args.help) {
		printf("usage: ringlet kernel list [OPTION]... [ARCH]\n\n");
		options_help(kernel_list_options, stdout);
		return finish_output(STATUS_OK);
	}
	if (operands > 1)
		return usage_error("usage: ringlet kernel list [OPTION]... [ARCH]");
	if (operands && !(arch = debian_arch_named(argv[0])))
		return unknown_arch(argv[0]);
	if (args.available && !arch)
		arch = debian_host_arch();
	if (args.available)
		ret = debian_update(arch, &err);
	if (args.available && !ret)
		ret = debian_versions(arch, &offered, &text, &err);
	cached_kernels(&cached);
	if (ret)
		usage_error(err.message);
	else
		print_list(&cached, offered, operands ? arch : NULL, args.json);
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
static int find_version(const struct debian_arch *arch, const char *version, char *package,
			size_t size, struct error *err)
{
	char **offered, *text = NULL;
	int ret = debian_versions(arch, &offered, &text, err);

	*package = 0;
	for (char **at = offered; !ret && *at; at++)
		if (!strncmp(*at, version, strlen(version)) &&
		    (!strcmp(*at + strlen(version), "") ||
		     !strcmp(*at + strlen(version), arch->mark)))
			snprintf(package, size, "%s%s", DEBIAN_IMAGE, *at);
	free(offered);
	free(text);
	if (ret || *package)
		return ret;
	return error_set(err, EINVAL, "no package has a kernel '%s': see 'ringlet kernel list "
			 "--available %s'", version, arch->name);
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
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "unpacking ...");
	ret = unpack_file(found.gl_pathv[0], root, err);
	if (isatty(STDERR_FILENO))
		fprintf(stderr, "\r\033[K");
	globfree(&found);
	return ret;
}

/* Renamed when complete: another process sees all of it or nothing, and may have been faster. */
static int fetch_into(const struct debian_arch *arch, const char *cache, const char *package,
		      const char *work, struct error *err)
{
	char root[4096], place[4096];
	int ret = debian_download(arch, package, work, err);

	snprintf(root, sizeof(root), "%s/root", work);
	snprintf(place, sizeof(place), "%s/%s", cache, package);
	if (!ret)
		ret = unpack(work, root, err);
	if (!ret && rename(root, place) && errno != EEXIST && errno != ENOTEMPTY)
		ret = error_set_errno(err, errno, "cannot make %s", place);
	return ret;
}

static int fetch(const struct debian_arch *arch, const char *package, struct error *err)
{
	char *cache = cache_path("kernels"), *work = NULL;
	int ret;

	if (!cache)
		return error_set(err, ENOENT, CACHE_PATH_MISSING);
	ret = make_directories(cache, err);
	if (!ret && asprintf(&work, "%s/.fetch.XXXXXX", cache) < 0)
		ret = error_set(err, ENOMEM, "no memory");
	if (!ret && !mkdtemp(work))
		ret = error_set_errno(err, errno, "cannot make a directory in %s", cache);
	if (!ret) {
		ret = fetch_into(arch, cache, package, work, err);
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

	snprintf(rest, sizeof(rest), "kernels/%s/boot/vmlinu[xz]-*", package);
	pattern = cache_path(rest);
	there = pattern && !glob(pattern, 0, NULL, &found);
	free(pattern);
	if (!there)
		return false;
	printf("%s\n", found.gl_pathv[0]);
	globfree(&found);
	return true;
}

/* wanted: a version, an architecture, or NULL. */
static int fetch_wanted(const char *wanted, struct error *err)
{
	const struct debian_arch *arch = wanted ? debian_arch_named(wanted) : debian_host_arch();
	const char *version = arch ? NULL : wanted;
	char package[128];
	int ret;

	if (!arch)
		arch = debian_arch_of(version);
	ret = debian_update(arch, err);
	if (!ret)
		ret = version ? find_version(arch, version, package, sizeof(package), err) :
				debian_newest(arch, package, sizeof(package), err);
	if (ret || print_cached(package))
		return ret;
	ret = fetch(arch, package, err);
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
		printf("usage: ringlet kernel fetch [VERSION|ARCH]\n\n");
		options_help(kernel_fetch_options, stdout);
		return finish_output(STATUS_OK);
	}
	if (operands > 1)
		return usage_error("usage: ringlet kernel fetch [VERSION|ARCH]");
	ret = fetch_wanted(operands ? argv[0] : NULL, &err);
	if (ret)
		usage_error(err.message);
	if (ret == -EINTR)
		return STATUS_INTERRUPTED;
	return finish_output(!ret ? STATUS_OK : ret == -EINVAL ? STATUS_USAGE : STATUS_INTERNAL);
}

const struct command kernel_commands[] = {
	{ .name = "list", .summary = "list the kernels in the cache, or all that there are",
	  .run = kernel_list, .options = kernel_list_options },
	{ .name = "fetch", .summary = "fetch a kernel into the cache: the current one, VERSION, or ARCH's",
	  .run = kernel_fetch, .options = kernel_fetch_options },
	{ .name = NULL },
};
