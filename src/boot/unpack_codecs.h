/* SPDX-License-Identifier: MIT */
/*
 * Private to unpack.c: one function a format, each there only when the build has its library
 * (HAVE_… is 1 or 0, from the Makefile). in is the whole stream with whatever follows it. Output
 * goes to the sink in pieces. 0; -EBADMSG: the stream is broken; -ENOMEM; or the sink's own error.
 */
#ifndef RINGLET_BOOT_UNPACK_CODECS_H
#define RINGLET_BOOT_UNPACK_CODECS_H

#include <stddef.h>
#include <stdint.h>

struct unpack_sink {
	int fd;
	uint64_t size_bytes; /* written so far */
};

#define UNPACK_CHUNK (256u << 10)

/* Appends; -EFBIG beyond UNPACK_MAX, or -errno. */
int unpack_write(struct unpack_sink *sink, const void *data, size_t len);

int unpack_xz(const uint8_t *in, size_t len, struct unpack_sink *sink);
int unpack_lzma(const uint8_t *in, size_t len, struct unpack_sink *sink);
int unpack_gzip(const uint8_t *in, size_t len, struct unpack_sink *sink);
int unpack_zstd(const uint8_t *in, size_t len, struct unpack_sink *sink);
int unpack_lz4(const uint8_t *in, size_t len, struct unpack_sink *sink);

#endif
