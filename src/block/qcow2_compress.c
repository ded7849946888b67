/* SPDX-License-Identifier: MIT */
/*
 * Compressed clusters: raw deflate, or a Zstandard frame; they end when a cluster has come out.
 * What was unpacked last is kept, for small reads that follow each other: bytes that an entry
 * refers to never change. Called without the image's mutex, under a lock on the range.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/iov.h"
#include "base/log.h"
#include "block/qcow2_image.h"

#if HAVE_ZLIB
#include <zlib.h>

static int inflate_zlib(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes)
{
	z_stream stream = {
		.next_in = (Bytef *)in, .avail_in = (uInt)in_bytes,
		.next_out = out, .avail_out = (uInt)out_bytes,
	};
	int state;

	if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
		return -ENOMEM;
	state = inflate(&stream, Z_FINISH);
	inflateEnd(&stream);
	if (state == Z_MEM_ERROR)
		return -ENOMEM;
	/* What follows the cluster in its last sector is no affair of ours. */
	return (state == Z_STREAM_END || state == Z_BUF_ERROR) && !stream.avail_out ? 0 : -EIO;
}
#else
static int inflate_zlib(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes)
{
	(void)in, (void)in_bytes, (void)out, (void)out_bytes;
	return -EOPNOTSUPP;
}
#endif

#if HAVE_ZSTD
#include <zstd.h>

static int inflate_zstd(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes)
{
	ZSTD_inBuffer input = { .src = in, .size = in_bytes };
	ZSTD_outBuffer output = { .dst = out, .size = out_bytes };
	ZSTD_DStream *stream = ZSTD_createDStream();
	size_t left = 1;

	if (!stream)
		return -ENOMEM;
	while (output.pos < output.size) {
		size_t before = input.pos + output.pos;

		left = ZSTD_decompressStream(stream, &output, &input);
		if (ZSTD_isError(left) || input.pos + output.pos == before)
			break;
	}
	ZSTD_freeDStream(stream);
	return output.pos == output.size && !ZSTD_isError(left) ? 0 : -EIO;
}
#else
static int inflate_zstd(const uint8_t *in, size_t in_bytes, uint8_t *out, size_t out_bytes)
{
	(void)in, (void)in_bytes, (void)out, (void)out_bytes;
	return -EOPNOTSUPP;
}
#endif

bool qcow2_can_inflate(enum qcow2_compression compression)
{
	return compression == QCOW2_ZLIB ? HAVE_ZLIB : HAVE_ZSTD;
}

static int unpack(struct qcow2 *image, uint64_t offset, uint64_t bytes)
{
	uint64_t mask = image->file.align_bytes - 1, skip = offset & mask;
	uint64_t whole = (skip + bytes + mask) & ~mask;
	uint8_t *packed = malloc(whole);
	int ret = packed ? block_file_read(&image->file, packed, offset - skip, whole) : -ENOMEM;

	if (!ret && image->header.compression == QCOW2_ZSTD)
		ret = inflate_zstd(packed + skip, bytes, image->inflated, image->cluster_bytes);
	else if (!ret)
		ret = inflate_zlib(packed + skip, bytes, image->inflated, image->cluster_bytes);
	free(packed);
	return ret;
}

int qcow2_inflate(struct qcow2 *image, uint64_t entry, uint64_t skip, const struct iovec *iov,
		  unsigned count, uint64_t length)
{
	uint64_t offset, bytes;
	int ret = 0;

	qcow2_entry_compressed(image, entry, &offset, &bytes);
	pthread_mutex_lock(&image->inflate_mutex);
	if (!image->inflated)
		image->inflated = malloc(image->cluster_bytes);
	if (!image->inflated)
		ret = -ENOMEM;
	if (!ret && image->inflated_entry != entry) {
		image->inflated_entry = 0;
		ret = unpack(image, offset, bytes);
		if (ret == -EIO)
			log_guest(&image->inflate_log, "%s: a compressed cluster is damaged",
				  image->path);
		if (!ret)
			image->inflated_entry = entry;
	}
	if (!ret)
		iov_write(iov, count, 0, image->inflated + skip, length);
	pthread_mutex_unlock(&image->inflate_mutex);
	return ret;
}
