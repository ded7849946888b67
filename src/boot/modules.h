/* SPDX-License-Identifier: MIT */
/*
 * A kernel's own modules, found on the host: which file a module is, what it needs loaded before it,
 * its bytes unpacked. Only what every module tree has is used (modules.order, modules.builtin, and
 * what modules say of themselves), so that a build tree and a package that was never installed do,
 * too. Files are hostile. One thread.
 */
#ifndef RINGLET_BOOT_MODULES_H
#define RINGLET_BOOT_MODULES_H

#include <stdbool.h>

#include "boot/image.h"

struct error;
struct modules;

#define MODULES_MAX 64 /* of one list */

struct module {
	char *name;
	struct image image; /* an ELF file */
};

/* In the order in which they must be loaded. */
struct module_list {
	unsigned count;
	struct module module[MODULES_MAX];
};

/*
 * The modules of the kernel at path: of the build tree that it lies in, beside it (../lib/modules),
 * or in /lib/modules. -ENOENT: none found; the message says where it was looked.
 */
int modules_open(struct modules **modules, const char *kernel, struct error *err);
void modules_close(struct modules *modules);

/*
 * Appends module name and all that it needs, leaving out what is built in or in the list already.
 * -ENOENT: this kernel has no such module; -ENOEXEC: not a module; -E2BIG: more than MODULES_MAX.
 * What was appended before an error stays.
 */
int modules_add(struct modules *modules, const char *name, struct module_list *list,
		struct error *err);
void modules_free_list(struct module_list *list);

#endif
