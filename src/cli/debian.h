/* SPDX-License-Identifier: MIT */
/*
 * Debian's kernels by apt, as any user: which there are, and their packages. Those of this host's
 * architecture are in the lists that apt has; those of another are looked up in lists of our own, from
 * the same sources, because the host's need not know that architecture. Main thread.
 */
#ifndef RINGLET_CLI_DEBIAN_H
#define RINGLET_CLI_DEBIAN_H

#include <stddef.h>

struct error;

#define DEBIAN_IMAGE "linux-image-" /* what a kernel's package is called, before its version */

struct debian_arch {
	const char *name;
	const char *mark;   /* in its kernels' versions */
	const char *newest; /* the package that depends on the current one */
};

const struct debian_arch *debian_host_arch(void);
/* NULL: none of those that we know. */
const struct debian_arch *debian_arch_named(const char *name);
/* Whose a kernel's version is; the host's, if it does not say. */
const struct debian_arch *debian_arch_of(const char *version);
/* Names as in "a, b, c". */
void debian_arch_names(char *text, size_t size);

/* Brings lists of our own up to date, where they are needed; warns when that cannot be done. */
int debian_update(const struct debian_arch *arch, struct error *err);

/* *versions is an array that ends with NULL, into *text: both for the caller to free, always. */
int debian_versions(const struct debian_arch *arch, char ***versions, char **text,
		    struct error *err);

/* The package of the current kernel. -ENOENT: there is none. */
int debian_newest(const struct debian_arch *arch, char *package, size_t size, struct error *err);

/* The package's file into directory. On a terminal, apt shows how far it is. */
int debian_download(const struct debian_arch *arch, const char *package, const char *directory,
		    struct error *err);

#endif
