/* SPDX-License-Identifier: MIT */
/*
 * A guest whose root is a directory tree of the host: what the options of 'ringlet run' mean for the
 * machine (shares) and for what our init does in it (guest/init). Main thread.
 */
#ifndef RINGLET_CLI_GUEST_ROOT_H
#define RINGLET_CLI_GUEST_ROOT_H

#include <stdbool.h>

#include "base/options.h"
#include "vm/config.h"

struct error;

struct guest_root_options {
	const char *root;   /* the tree; NULL: the host's own */
	bool rw;            /* writes go to it; without, they are lost with the machine */
	struct option_list rwdirs, rodirs, overlay_dirs; /* parts of it that are otherwise */
	struct option_list shares, shares_9p; /* share.h: to be mounted by the guest itself */
	struct option_list env;    /* "NAME=VALUE" */
	const char *user;   /* NULL: root */
	bool systemd;       /* the tree's own is process 1 */
	bool detached;      /* what runs has a terminal, whatever our streams are */
	char **command;     /* what runs; count 0: the user's shell */
	unsigned command_count;
};

/* What guest_root_prepare made, for guest_root_release once the machine has ended. */
struct guest_root {
	int initramfs;   /* a file descriptor, or -1 */
	char initrd[32]; /* its path */
	char *paths[VM_SHARES_MAX], *tags[VM_SHARES_MAX];
};

/*
 * Adds the shares to config and makes the initial RAM disk, for config->kernel. -EINVAL, -ENOENT: an
 * option names what is not there, or the kernel lacks what is needed.
 */
int guest_root_prepare(struct guest_root *root, const struct guest_root_options *options,
		       struct vm_config *config, struct error *err);
/* Only the shares that the guest mounts itself, for one whose root is something else. */
int guest_root_share(struct guest_root *root, const struct guest_root_options *options,
		     struct vm_config *config, struct error *err);
void guest_root_release(struct guest_root *root);

#endif
