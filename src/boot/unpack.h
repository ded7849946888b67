/* SPDX-License-Identifier: MIT */
/*
 * Unpacking a compressed piece of an image on the host: what a kernel's own decompressor would do
 * in the guest, many times faster. Each format needs a library that the build may lack. The input
 * is hostile: output and memory are bounded, and a broken stream is an error. Any thread.
 */
#ifndef RINGLET_BOOT_UNPACK_H
#define RINGLET_BOOT_UNPACK_H

#include <stdint.h>

struct error;
struct image;

#define UNPACK_MAX (1ull << 30) /* bytes of output */

/*
 * Unpacks the stream at [offset, offset + size) of packed, whose format its first bytes say, into
 * an anonymous image that the caller closes; its path is packed's. What follows the end of the
 * stream is ignored. cache: the directory of what was unpacked before, or NULL. -ENOTSUP: no format that is known, or its library is missing; -ENOEXEC: the
 * stream is broken; -EFBIG: more than UNPACK_MAX bytes.
 */
int unpack_image(const struct image *packed, uint64_t offset, uint64_t size_bytes,
		 const char *cache, struct image *out, struct error *err);

/* The index-th of the libraries that this build lacks for it; NULL: no more. */
const char *unpack_missing_library(unsigned index);

#endif
