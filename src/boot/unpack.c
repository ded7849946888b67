/* SPDX-License-Identifier: MIT */
/*
 * Chooses the format and keeps the bounds: see unpack.h. The packed bytes are copied out of the
 * file once, so that no decoder sees them change.
 */
#include "boot/unpack.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "boot/image.h"
#include "boot/unpack_cache.h"
#include "boot/unpack_codecs.h"

#define PACKED_MIN 16
#define MAGIC_MAX 6

enum { LIB_LZMA, LIB_ZLIB, LIB_ZSTD, LIB_LZ4, LIBS };

static const struct {
	const char *name;
	bool present;
} libraries[LIBS] = {
	[LIB_LZMA] = { "liblzma", HAVE_LZMA },
	[LIB_ZLIB] = { "zlib", HAVE_ZLIB },
	[LIB_ZSTD] = { "libzstd", HAVE_ZSTD },
	[LIB_LZ4] = { "liblz4", HAVE_LZ4 },
};

struct codec {
	uint8_t magic_len;
	const char *magic;
	const char *name;
	unsigned library;
	int (*unpack)(const uint8_t *in, size_t len, struct unpack_sink *sink);
};

static const struct codec codecs[] = {
	{ 6, "\xfd" "7zXZ\0", "xz", LIB_LZMA, HAVE_LZMA ? unpack_xz : NULL },
	{ 3, "\x5d\0\0", "lzma", LIB_LZMA, HAVE_LZMA ? unpack_lzma : NULL },
	{ 2, "\x1f\x8b", "gzip", LIB_ZLIB, HAVE_ZLIB ? unpack_gzip : NULL },
	{ 4, "\x28\xb5\x2f\xfd", "zstd", LIB_ZSTD, HAVE_ZSTD ? unpack_zstd : NULL },
	{ 4, "\x02\x21\x4c\x18", "lz4", LIB_LZ4, HAVE_LZ4 ? unpack_lz4 : NULL },
};

const char *unpack_missing_library(unsigned index)
{
	for (unsigned i = 0; i < LIBS; i++)
		if (!libraries[i].present && !index--)
			return libraries[i].name;
	return NULL;
}

int unpack_write(struct unpack_sink *sink, const void *data, size_t len)
{
	const char *at = data;

	if (len > UNPACK_MAX - sink->size_bytes)
		return -EFBIG;
	sink->size_bytes += len;
	while (len) {
		ssize_t n = write(sink->fd, at, len);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n < 0)
			continue;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static const struct codec *find_codec(const uint8_t *head)
{
	for (size_t i = 0; i < sizeof(codecs) / sizeof(codecs[0]); i++)
		if (!memcmp(head, codecs[i].magic, codecs[i].magic_len))
			return &codecs[i];
	return NULL;
}

static int explain(int rc, const char *path, const struct codec *codec, struct error *err)
{
	if (rc == -EBADMSG)
		return error_set(err, ENOEXEC, "%s: its %s data is broken", path, codec->name);
	if (rc == -EFBIG)
		return error_set(err, EFBIG, "%s: its %s data unpacks to more than %llu MiB", path,
				 codec->name, UNPACK_MAX >> 20);
	return error_set_errno(err, -rc, "%s: cannot unpack its %s data", path, codec->name);
}

/* Into an anonymous file, which becomes out. */
static int unpack_bytes(const struct codec *codec, const uint8_t *in, size_t len,
			const char *path, struct image *out, struct error *err)
{
	struct unpack_sink sink = { .fd = memfd_create("unpacked", MFD_CLOEXEC) };
	int rc;

	if (sink.fd < 0)
		return error_set_errno(err, errno, "%s: cannot make room to unpack", path);
	rc = codec->unpack(in, len, &sink);
	*out = (struct image){ .fd = sink.fd, .size_bytes = sink.size_bytes, .path = path };
	if (!rc)
		return 0;
	image_close(out);
	return explain(rc, path, codec, err);
}

/* From the cache, or new and into it. */
static int unpack_or_find(const struct codec *codec, const uint8_t *in, size_t len,
			  const char *cache, struct image *out, struct error *err)
{
	int rc;

	if (unpack_cache_find(cache, in, len, out))
		return 0;
	rc = unpack_bytes(codec, in, len, out->path, out, err);
	if (!rc)
		unpack_cache_keep(cache, in, len, out);
	return rc;
}

int unpack_image(const struct image *packed, uint64_t offset, uint64_t size_bytes,
		 const char *cache, struct image *out, struct error *err)
{
	uint8_t head[MAGIC_MAX];
	const struct codec *codec;
	uint8_t *in;
	int rc;

	if (size_bytes < PACKED_MIN)
		return error_set(err, ENOTSUP, "%s: too short to be packed", packed->path);
	rc = image_read(packed, offset, head, sizeof(head), err);
	if (rc)
		return rc;
	codec = find_codec(head);
	if (!codec)
		return error_set(err, ENOTSUP, "%s: packed in a format that is not known",
				 packed->path);
	if (!codec->unpack)
		return error_set(err, ENOTSUP, "%s: packed with %s; this build has no %s",
				 packed->path, codec->name, libraries[codec->library].name);
	/* Checked before memory is asked for: the size is the file's word. */
	if (offset > packed->size_bytes || size_bytes > packed->size_bytes - offset)
		return error_set(err, ENOEXEC, "%s is truncated in its %s data", packed->path,
				 codec->name);
	out->path = packed->path;
	in = malloc(size_bytes);
	if (!in)
		return error_set(err, ENOMEM, "%s: no memory to unpack it", packed->path);
	rc = image_read(packed, offset, in, size_bytes, err);
	if (!rc)
		rc = unpack_or_find(codec, in, size_bytes, cache, out, err);
	free(in);
	return rc;
}
