/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the FUSE server, as a guest's kernel gone mad talks to it. An input is how the tree is
 * shared, and requests, each "opcode, node, length, bytes": the bytes follow the header.
 */
#include <linux/fuse.h>
#include <stdint.h>

#include "fs/fuse.h"
#include "input.h"
#include "tree_target.h"

#define REPLY_BYTES 4096
#define REQUESTS_MAX 64

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuse_config config = { .cache_ms = 1000 };
	static _Alignas(8) char reply[REPLY_BYTES];
	struct fuse *fuse;
	char shared[64];

	tree_target_begin(shared);
	config.tree.path = shared;
	config.tree.readonly = size && data[0] & 0x80;
	config.tree.map = size > 1 && data[1] & 0x80 ? TREE_MAP_XATTR : TREE_MAP_NONE;
	tree_target_require(!fuse_create(&fuse, &config, NULL));
	for (unsigned i = 0; i < REQUESTS_MAX && size >= 3; i++) {
		struct fuse_in_header head = { .opcode = data[0] & 0x7f, .nodeid = data[1] & 0x7f,
					       .unique = i };
		size_t length = data[2] < size - 3 ? data[2] : size - 3;
		struct iovec in[2] = { { &head, sizeof(head) }, { (void *)(data + 3), length } };
		struct iovec out = { reply, sizeof(reply) };

		tree_target_require(fuse_serve(fuse, in, 2, &out, 1) <= sizeof(reply));
		data += 3 + length;
		size -= 3 + length;
	}
	fuse_destroy(fuse);
	tree_target_end(shared);
	return 0;
}
