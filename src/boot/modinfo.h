/* SPDX-License-Identifier: MIT */
/*
 * What a kernel module says of itself: its section .modinfo, a sequence of "key=value", each ended
 * by a NUL. The file is hostile. Any thread.
 */
#ifndef RINGLET_BOOT_MODINFO_H
#define RINGLET_BOOT_MODINFO_H

struct error;
struct image;

/* The first value of key, for the caller to free; empty when there is none. -ENOEXEC: no module. */
int modinfo_read(const struct image *image, const char *key, char **value, struct error *err);

#endif
