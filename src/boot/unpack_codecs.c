/* SPDX-License-Identifier: MIT */
/* The formats: see unpack_codecs.h. Each loop ends, since each round eats input or makes output. */
#include "boot/unpack_codecs.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#if HAVE_LZMA
#include <lzma.h>

#define LZMA_MEMORY_MAX (512ull << 20) /* dictionaries of kernels: 32 to 128 MiB */

static int unpack_with_lzma(lzma_stream *stream, const uint8_t *in, size_t len,
			    struct unpack_sink *sink)
{
	uint8_t *chunk = malloc(UNPACK_CHUNK);
	lzma_ret state = LZMA_OK;
	int rc = chunk ? 0 : -ENOMEM;

	stream->next_in = in;
	stream->avail_in = len;
	while (!rc && state == LZMA_OK) {
		stream->next_out = chunk;
		stream->avail_out = UNPACK_CHUNK;
		state = lzma_code(stream, LZMA_FINISH);
		if (state == LZMA_OK || state == LZMA_STREAM_END)
			rc = unpack_write(sink, chunk, UNPACK_CHUNK - stream->avail_out);
	}
	if (!rc && state != LZMA_STREAM_END)
		rc = state == LZMA_MEM_ERROR ? -ENOMEM : -EBADMSG;
	lzma_end(stream);
	free(chunk);
	return rc;
}

int unpack_xz(const uint8_t *in, size_t len, struct unpack_sink *sink)
{
	lzma_stream stream = LZMA_STREAM_INIT;

	if (lzma_stream_decoder(&stream, LZMA_MEMORY_MAX, 0) != LZMA_OK)
		return -ENOMEM;
	return unpack_with_lzma(&stream, in, len, sink);
}

int unpack_lzma(const uint8_t *in, size_t len, struct unpack_sink *sink)
{
	lzma_stream stream = LZMA_STREAM_INIT;

	if (lzma_alone_decoder(&stream, LZMA_MEMORY_MAX) != LZMA_OK)
		return -ENOMEM;
	return unpack_with_lzma(&stream, in, len, sink);
}
#endif

#if HAVE_ZLIB
#include <zlib.h>

#define GZIP_ONLY (16 + MAX_WBITS)

int unpack_gzip(const uint8_t *in, size_t len, struct unpack_sink *sink)
{
	z_stream stream = { .next_in = (Bytef *)in };
	uint8_t *chunk = malloc(UNPACK_CHUNK);
	int state = Z_OK, rc = 0;

	if (!chunk || inflateInit2(&stream, GZIP_ONLY) != Z_OK) {
		free(chunk);
		return -ENOMEM;
	}
	stream.avail_in = len < UINT32_MAX ? (uInt)len : UINT32_MAX;
	while (!rc && state == Z_OK) {
		stream.next_out = chunk;
		stream.avail_out = UNPACK_CHUNK;
		state = inflate(&stream, Z_NO_FLUSH);
		if (state == Z_OK || state == Z_STREAM_END)
			rc = unpack_write(sink, chunk, UNPACK_CHUNK - stream.avail_out);
	}
	if (!rc && state != Z_STREAM_END)
		rc = state == Z_MEM_ERROR ? -ENOMEM : -EBADMSG;
	inflateEnd(&stream);
	free(chunk);
	return rc;
}
#endif

#if HAVE_ZSTD
#include <zstd.h>

/* One frame. The library itself refuses windows over 128 MiB. */
int unpack_zstd(const uint8_t *in, size_t len, struct unpack_sink *sink)
{
	ZSTD_inBuffer input = { .src = in, .size = len };
	ZSTD_DStream *stream = ZSTD_createDStream();
	uint8_t *chunk = malloc(UNPACK_CHUNK);
	int rc = stream && chunk ? 0 : -ENOMEM;
	size_t left = 1; /* 0: the frame is complete */

	while (!rc && left) {
		ZSTD_outBuffer output = { .dst = chunk, .size = UNPACK_CHUNK };
		size_t before = input.pos;

		left = ZSTD_decompressStream(stream, &output, &input);
		if (ZSTD_isError(left) || (left && input.pos == before && !output.pos))
			rc = -EBADMSG;
		else
			rc = unpack_write(sink, chunk, output.pos);
	}
	ZSTD_freeDStream(stream);
	free(chunk);
	return rc;
}
#endif

#if HAVE_LZ4
#include <lz4.h>

#define LZ4_MAGIC_BYTES 4u
#define LZ4_BLOCK_MAX (8 << 20) /* of the legacy frame: every block but the last unpacks to it */

/*
 * The legacy frame (lz4_Frame_format.md): blocks behind their sizes, to the end of the input. The
 * kernel's build puts the unpacked size, 4 bytes, behind it.
 */
int unpack_lz4(const uint8_t *in, size_t len, struct unpack_sink *sink)
{
	uint8_t *block = malloc(LZ4_BLOCK_MAX);
	size_t at = LZ4_MAGIC_BYTES;
	int rc = block ? 0 : -ENOMEM;

	while (!rc && len - at > sizeof(uint32_t)) {
		uint32_t packed;
		int size = -1;

		memcpy(&packed, in + at, sizeof(packed));
		at += sizeof(packed);
		if (packed <= len - at && packed <= LZ4_COMPRESSBOUND(LZ4_BLOCK_MAX))
			size = LZ4_decompress_safe((const char *)in + at, (char *)block,
						   (int)packed, LZ4_BLOCK_MAX);
		rc = size > 0 ? unpack_write(sink, block, (size_t)size) : -EBADMSG;
		at += packed;
	}
	free(block);
	return rc;
}
#endif
