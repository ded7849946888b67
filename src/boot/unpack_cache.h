/* SPDX-License-Identifier: MIT */
/*
 * What was unpacked before, kept in a directory: unpacking a distribution's kernel takes longer than
 * anything else that we do to start it. An entry has the packed bytes as well, which are compared, so
 * that no file can pass for another. A cache never fails: what goes wrong with it is not there, or not
 * kept. Any thread; several processes may use one directory.
 */
#ifndef RINGLET_BOOT_UNPACK_CACHE_H
#define RINGLET_BOOT_UNPACK_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct image;

/* Fills all but the path of out with what packed unpacks to; false: unknown. dir may be NULL. */
bool unpack_cache_find(const char *dir, const uint8_t *packed, size_t len, struct image *out);

/* Keeps it, in place of the entries that nobody asked for in the longest time. */
void unpack_cache_keep(const char *dir, const uint8_t *packed, size_t len,
		       const struct image *unpacked);

#endif
