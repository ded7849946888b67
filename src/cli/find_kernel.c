/* SPDX-License-Identifier: MIT */
#include "cli/find_kernel.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/error.h"
#include "cli/debian.h"

/* path when it names a file that we may read; frees it otherwise. */
static char *if_readable(char *path)
{
	if (path && !access(path, R_OK))
		return path;
	free(path);
	return NULL;
}

static char *host_kernel(void)
{
	struct utsname host;
	char *path;

	if (uname(&host) || asprintf(&path, "/boot/vmlinuz-%s", host.release) < 0)
		return NULL;
	return if_readable(path);
}

/* XDG base directory specification. */
char *cache_path(const char *rest)
{
	const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	char *path = NULL;
	int ret = -1;

	/* The specification has relative paths ignored. */
	if (cache && *cache == '/')
		ret = asprintf(&path, "%s/ringlet/%s", cache, rest);
	else if (home && *home)
		ret = asprintf(&path, "%s/.cache/ringlet/%s", home, rest);
	return ret < 0 ? NULL : path;
}

int make_directories(char *path, struct error *err)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(path, 0777);
		*slash = '/';
	}
	if (mkdir(path, 0777) && errno != EEXIST)
		return error_set_errno(err, errno, "cannot make %s", path);
	return 0;
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

const char *cached_version(const char *path)
{
	return base_name(path) + strlen("vmlinuz-");
}

static int compare(const void *a, const void *b)
{
	return strverscmp(cached_version(*(char *const *)a), cached_version(*(char *const *)b));
}

void cached_kernels(glob_t *found)
{
	char *pattern = cache_path("kernels/*/boot/vmlinu[xz]-*");

	*found = (glob_t){ 0 };
	if (pattern && !glob(pattern, GLOB_NOSORT, NULL, found))
		qsort(found->gl_pathv, found->gl_pathc, sizeof(*found->gl_pathv), compare);
	free(pattern);
}

static char *cached_kernel(void)
{
	char *best = NULL;
	glob_t found;

	cached_kernels(&found);
	for (size_t i = found.gl_pathc; i-- > 0 && !best;)
		if (debian_arch_of(cached_version(found.gl_pathv[i])) == debian_host_arch())
			best = strdup(found.gl_pathv[i]);
	globfree(&found);
	return if_readable(best);
}

char *find_kernel(void)
{
	char *path = if_readable(strdup("./arch/x86/boot/bzImage"));

	if (!path)
		path = if_readable(strdup("./vmlinux"));
	if (!path)
		path = host_kernel();
	if (!path)
		path = cached_kernel();
	return path;
}
