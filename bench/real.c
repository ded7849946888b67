/* SPDX-License-Identifier: MIT */
/* What distributions ship: compressors and an interpreter, by their libraries. */
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "bench.h"

#define TEXT_BYTES (16u << 10)
#define PACKED_BYTES (2 * TEXT_BYTES)

struct codec_buffers {
	uint8_t text[TEXT_BYTES], packed[PACKED_BYTES], unpacked[TEXT_BYTES];
};

static void *buffers_prepare(void)
{
	struct codec_buffers *buffers = bench_alloc(sizeof(*buffers));
	uint64_t state = 9;

	bench_words(buffers->text, TEXT_BYTES, &state);
	return buffers;
}

/* Unpacking has given the text back; what packing gave is the checksum. */
static uint64_t checked(const struct codec_buffers *buffers, size_t packed, size_t unpacked)
{
	uint64_t sum = packed;

	bench_check(unpacked == TEXT_BYTES && !memcmp(buffers->text, buffers->unpacked, TEXT_BYTES),
		    "unpacking gave something else");
	for (size_t i = 0; i < packed; i += 64)
		sum = bench_mix(sum, buffers->packed[i]);
	return sum;
}

static uint64_t gzip_run(void *data)
{
	struct codec_buffers *b = data;
	uLongf packed = PACKED_BYTES, unpacked = TEXT_BYTES;

	bench_check(compress2(b->packed, &packed, b->text, TEXT_BYTES, 6) == Z_OK, "compress2");
	bench_check(uncompress(b->unpacked, &unpacked, b->packed, packed) == Z_OK, "uncompress");
	return checked(b, packed, unpacked);
}

const struct bench bench_gzip = { "gzip", "integer", buffers_prepare, gzip_run, NULL };

static uint64_t zstd_run(void *data)
{
	struct codec_buffers *b = data;
	size_t packed = ZSTD_compress(b->packed, PACKED_BYTES, b->text, TEXT_BYTES, 9);
	size_t unpacked;

	bench_check(!ZSTD_isError(packed), "ZSTD_compress");
	unpacked = ZSTD_decompress(b->unpacked, TEXT_BYTES, b->packed, packed);
	return checked(b, packed, unpacked);
}

const struct bench bench_zstd = { "zstd", "integer", buffers_prepare, zstd_run, NULL };

static uint64_t xz_run(void *data)
{
	struct codec_buffers *b = data;
	size_t packed = 0, unpacked = 0, at = 0;
	uint64_t limit = UINT64_MAX;

	bench_check(lzma_easy_buffer_encode(0, LZMA_CHECK_CRC64, NULL, b->text, TEXT_BYTES, b->packed,
					    &packed, PACKED_BYTES) == LZMA_OK,
		    "lzma_easy_buffer_encode");
	bench_check(lzma_stream_buffer_decode(&limit, 0, NULL, b->packed, &at, packed, b->unpacked,
					      &unpacked, TEXT_BYTES) == LZMA_OK,
		    "lzma_stream_buffer_decode");
	return checked(b, packed, unpacked);
}

const struct bench bench_xz = { "xz", "integer", buffers_prepare, xz_run, NULL };

/* ---- lua: tables, strings, closures, and a recursive function ---- */

static const char lua_program[] =
	"local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end\n"
	"local function work()\n"
	"  local sum, words, sieve = fib(15), {}, {}\n"
	"  for i = 2, 2000 do\n"
	"    if not sieve[i] then sum = sum + i; for j = i * i, 2000, i do sieve[j] = true end end\n"
	"  end\n"
	"  for i = 1, 300 do words[#words + 1] = string.format('%d:%x', i, i * 7919 % 1009) end\n"
	"  table.sort(words)\n"
	"  local text = table.concat(words, ' ')\n"
	"  for a, b in text:gmatch('(%d+):(%x+)') do sum = sum + #a * tonumber(b, 16) end\n"
	"  return sum\n"
	"end\n"
	"return work\n";

static void *lua_prepare(void)
{
	lua_State *lua = luaL_newstate();

	bench_check(lua, "luaL_newstate");
	luaL_openlibs(lua);
	bench_check(!luaL_dostring(lua, lua_program), "the Lua program");
	return lua;
}

static uint64_t lua_run(void *data)
{
	lua_State *lua = data;
	uint64_t sum;

	lua_pushvalue(lua, 1);
	bench_check(!lua_pcall(lua, 0, 1, 0), "lua_pcall");
	sum = (uint64_t)lua_tointeger(lua, -1);
	lua_pop(lua, 1);
	return sum;
}

const struct bench bench_lua = { "lua", "integer", lua_prepare, lua_run, NULL };
