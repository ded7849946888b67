/* SPDX-License-Identifier: MIT */
#include "cli/debian.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/find_kernel.h"
#include "host/child.h"

/* ---- architectures ---- */

static const struct debian_arch archs[] = {
	{ "amd64", "-amd64", DEBIAN_IMAGE "amd64" },
	{ "i386", "-686", DEBIAN_IMAGE "686-pae" },
	{ "arm64", "-arm64", DEBIAN_IMAGE "arm64" },
	{ "ppc64el", "-powerpc64le", DEBIAN_IMAGE "powerpc64le" },
	{ "riscv64", "-riscv64", DEBIAN_IMAGE "riscv64" },
};

#define ARCHS (sizeof(archs) / sizeof(archs[0]))

const struct debian_arch *debian_host_arch(void)
{
	return &archs[0];
}

const struct debian_arch *debian_arch_named(const char *name)
{
	for (size_t i = 0; i < ARCHS; i++)
		if (!strcmp(archs[i].name, name))
			return &archs[i];
	return NULL;
}

const struct debian_arch *debian_arch_of(const char *version)
{
	for (size_t i = 0; i < ARCHS; i++)
		if (strstr(version, archs[i].mark))
			return &archs[i];
	return debian_host_arch();
}

void debian_arch_names(char *text, size_t size)
{
	size_t used = 0;

	*text = 0;
	for (size_t i = 0; i < ARCHS && used < size; i++)
		used += (size_t)snprintf(text + used, size - used, "%s%s", i ? ", " : "",
					 archs[i].name);
}

/* ---- apt ---- */

#define OPTIONS 5u
#define WORDS_MAX 24u

/* A command line of apt's for the lists of an architecture. */
struct apt {
	const char *argv[WORDS_MAX];
	unsigned count;
	char *option[OPTIONS];
	char *state; /* the directory of lists of our own; NULL: apt has them */
};

static void add(struct apt *apt, const char *word)
{
	apt->argv[apt->count++] = word;
}

/* Each is "KEY=" and what follows it. False: no memory. */
static bool add_options(struct apt *apt, const char *arch)
{
	const char *const options[OPTIONS][2] = {
		{ "APT::Architecture=", arch },	      { "APT::Architectures=", arch },
		{ "Dir::State=", apt->state },	      { "Dir::Cache=", apt->state },
		{ "Dir::State::status=", "/dev/null" },
	};

	for (unsigned i = 0; i < OPTIONS; i++) {
		if (asprintf(&apt->option[i], "%s%s", options[i][0], options[i][1]) < 0) {
			apt->option[i] = NULL;
			return false;
		}
		add(apt, "-o");
		add(apt, apt->option[i]);
	}
	return true;
}

static void apt_end(struct apt *apt)
{
	for (unsigned i = 0; i < OPTIONS; i++)
		free(apt->option[i]);
	free(apt->state);
}

/* To be ended by apt_end, always. */
static int apt_begin(struct apt *apt, const char *program, const struct debian_arch *arch,
		     struct error *err)
{
	char rest[64];

	*apt = (struct apt){ .count = 0 };
	add(apt, program);
	if (arch == debian_host_arch())
		return 0;
	snprintf(rest, sizeof(rest), "apt/%s", arch->name);
	apt->state = cache_path(rest);
	if (!apt->state)
		return error_set(err, ENOENT, CACHE_PATH_MISSING);
	return add_options(apt, arch->name) ? 0 : error_set(err, ENOMEM, "no memory");
}

/* For what takes time: on a terminal, apt shows how far it is. */
static void add_transfer(struct apt *apt, const char *command)
{
	add(apt, isatty(STDERR_FILENO) ? "-y" : "-qq");
	/* Else, as root, it becomes a user who cannot write where we can. */
	add(apt, "-o");
	add(apt, "APT::Sandbox::User=root");
	add(apt, command);
}

int debian_update(const struct debian_arch *arch, struct error *err)
{
	struct apt apt;
	int ret = apt_begin(&apt, "apt-get", arch, err);

	if (!ret && apt.state) {
		ret = make_directories(apt.state, err);
		add_transfer(&apt, "update");
		if (!ret)
			ret = child_run(apt.argv, NULL, NULL, err);
	}
	apt_end(&apt);
	if (ret != -ECHILD)
		return ret;
	/* A part of them, or old ones, may do. */
	log_warn("the package lists of %s are not up to date: %s", arch->name, err->message);
	return 0;
}

/* ---- which there are ---- */

/* A package that holds a kernel, of several that have such names: the version in it, or NULL. */
static const char *offered_version(const struct debian_arch *arch, const char *package)
{
	static const char *const others[] = { "-dbg", "-unsigned" };
	size_t length = strlen(package);

	if (strncmp(package, DEBIAN_IMAGE, strlen(DEBIAN_IMAGE)) || !strstr(package, arch->mark))
		return NULL;
	package += strlen(DEBIAN_IMAGE);
	length -= strlen(DEBIAN_IMAGE);
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

static int ask(const struct debian_arch *arch, const char *command, const char *what, char **text,
	       struct error *err)
{
	struct apt apt;
	int ret = apt_begin(&apt, "apt-cache", arch, err);

	*text = NULL;
	if (!ret) {
		add(&apt, command);
		add(&apt, what);
		ret = child_run(apt.argv, NULL, text, err);
	}
	apt_end(&apt);
	return ret;
}

int debian_versions(const struct debian_arch *arch, char ***versions, char **text,
		    struct error *err)
{
	size_t count = 0, room = 1;
	int ret = ask(arch, "pkgnames", DEBIAN_IMAGE, text, err);

	*versions = NULL;
	if (ret)
		return ret;
	for (const char *c = *text; c && *c; c++)
		room += *c == '\n';
	*versions = calloc(room + 1, sizeof(**versions));
	if (!*versions || !*text)
		return error_set(err, ENOMEM, "no memory");
	for (char *line = strtok(*text, "\n"); line; line = strtok(NULL, "\n"))
		if (offered_version(arch, line))
			(*versions)[count++] = line + strlen(DEBIAN_IMAGE);
	qsort(*versions, count, sizeof(**versions), compare);
	return 0;
}

int debian_newest(const struct debian_arch *arch, char *package, size_t size, struct error *err)
{
	const char depends[] = "Depends: " DEBIAN_IMAGE;
	char *text = NULL, *at = NULL;
	int ret = ask(arch, "depends", arch->newest, &text, err);

	if (!ret)
		at = text ? strstr(text, depends) : NULL;
	if (at)
		snprintf(package, size, "%.*s", (int)strcspn(at + 9, "\n"), at + 9);
	else if ((!ret || ret == -ECHILD) && arch == debian_host_arch())
		ret = error_set(err, ENOENT, "%s is in no package list: run apt-get update",
				arch->newest);
	else if (!ret || ret == -ECHILD)
		ret = error_set(err, ENOENT, "apt's sources have no kernel for %s (no package %s)",
				arch->name, arch->newest);
	free(text);
	return ret;
}

/* ---- a package ---- */

int debian_download(const struct debian_arch *arch, const char *package, const char *directory,
		    struct error *err)
{
	struct apt apt;
	struct error cause;
	int ret = apt_begin(&apt, "apt-get", arch, err);

	if (!ret) {
		add_transfer(&apt, "download");
		add(&apt, package);
		ret = child_run(apt.argv, directory, NULL, &cause);
		if (ret == -EINTR)
			*err = cause;
		else if (ret)
			error_set(err, -ret, "cannot download %s: %s", package, cause.message);
	}
	apt_end(&apt);
	return ret;
}
