/* SPDX-License-Identifier: MIT */
/*
 * "DIR,TAG[,ro][,map=none|xattr][,cache=always|auto|none][,dax]": a share as --fs and --9p take it. Main
 * thread.
 */
#ifndef RINGLET_CLI_SHARE_H
#define RINGLET_CLI_SHARE_H

#include "vm/config.h"

struct error;

/* How long the guest may believe what it was told, if nobody says otherwise. */
#define SHARE_CACHE_MS 1000u

/*
 * share's path, without links, and tag are the caller's to free, also after an error. What it is
 * shared as is the caller's to set before: an option that it does not have is an error. -EINVAL, or
 * what is wrong with the directory.
 */
int share_parse(struct vm_share *share, const char *text, struct error *err);

#endif
