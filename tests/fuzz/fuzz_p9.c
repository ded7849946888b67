/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the 9P server, as a guest's kernel gone mad talks to it. An input is how the tree is
 * shared (a byte) and requests, each "type, length, bytes": the bytes follow the header. Fids 0 and 1 are
 * attached before, by root and another user.
 */
#include <stdint.h>
#include <string.h>

#include "fs/p9.h"
#include "fs/p9_proto.h"
#include "input.h"
#include "tree_target.h"

#define REPLY_BYTES 8192
#define REQUESTS_MAX 64

/* How long the message says it is: once in a while it lies. */
static void send(struct p9 *p9, uint8_t type, const uint8_t *data, uint8_t length, uint8_t more)
{
	static uint8_t reply[REPLY_BYTES];
	uint8_t header[P9_HEADER_BYTES] = { (uint8_t)(sizeof(header) + length + more), 0, 0, 0, type };
	struct iovec in[2] = { { header, sizeof(header) }, { (void *)data, length } };
	struct iovec out[2] = { { reply, 9 }, { reply + 9, sizeof(reply) - 9 } };
	size_t size;

	header[1] = sizeof(header) + length + more > 255;
	p9_peek(in, 2);
	size = p9_serve_now(p9, in, 2, out, 2);
	if (size == TREE_LATER)
		size = p9_serve(p9, in, 2, out, 2);
	tree_target_require(size >= P9_HEADER_BYTES && size <= sizeof(reply));
	tree_target_require((size_t)(reply[0] | reply[1] << 8) == size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint8_t attach[][16] = {
		{ 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0 },
		{ 1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xe8, 3, 0, 0 },
	};
	uint8_t how = size ? data[0] : 0;
	struct tree_config config = { .readonly = how & 1,
				      .map = how & 2 ? TREE_MAP_XATTR : TREE_MAP_NONE };
	struct p9 *p9;
	char shared[64];

	tree_target_begin(shared);
	config.path = shared;
	tree_target_require(!p9_create(&p9, &config, NULL));
	for (unsigned i = 0; i < 2; i++)
		send(p9, P9_TATTACH, attach[i], 16, 0);
	data += !!size;
	size -= !!size;
	for (unsigned i = 0; i < REQUESTS_MAX && size >= 2; i++) {
		uint8_t length = data[1] < size - 2 ? data[1] : (uint8_t)(size - 2);

		send(p9, data[0] & 0x7f, data + 2, length, data[0] >> 7);
		data += 2 + length;
		size -= 2 + (size_t)length;
	}
	p9_destroy(p9);
	tree_target_end(shared);
	return 0;
}
