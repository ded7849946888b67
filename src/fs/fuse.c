/* SPDX-License-Identifier: MIT */
/* From a request's bytes to its operation: see fuse.h. What an operation may rely on is in the table. */
#include "fs/fuse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/iov.h"
#include "fs/fuse_call.h"

#define VERSION_MINOR_MIN 27u
#define OPCODES 64

/* ---- what operations are there ---- */

struct op {
	fuse_op *run;
	size_t args;    /* bytes before the names */
	uint8_t names;
	uint8_t free;   /* of the last ones: they name no file, so they may be anything */
	uint8_t flags;
};

enum {
	CHANGES = 1, /* not on what is shared read-only */
	NO_NODE = 2, /* head.nodeid means nothing */
	DATA = 4,    /* what follows the arguments stays where it is */
	SLOW = 8,    /* moves data, or waits for a disk … */
	TRIES = 16,  /* … but finds out before it does */
};

static size_t fuse_init(struct fuse_call *call);
static size_t fuse_forget(struct fuse_call *call);
static size_t fuse_batch_forget(struct fuse_call *call);
static size_t fuse_destroy_session(struct fuse_call *call);

#define ARGS(type) sizeof(struct type)
static const struct op ops[OPCODES] = {
	/* Up to 7.35 without flags2. */
	[FUSE_INIT] = { fuse_init, offsetof(struct fuse_init_in, flags2), 0, 0, NO_NODE },
	[FUSE_DESTROY] = { fuse_destroy_session, 0, 0, 0, NO_NODE },
	[FUSE_FORGET] = { fuse_forget, ARGS(fuse_forget_in), 0, 0, NO_NODE },
	[FUSE_BATCH_FORGET] = { fuse_batch_forget, ARGS(fuse_batch_forget_in), 0, 0, NO_NODE },
	[FUSE_LOOKUP] = { fuse_lookup, 0, 1, 0, 0 },
	[FUSE_GETATTR] = { fuse_getattr, ARGS(fuse_getattr_in), 0, 0, 0 },
	[FUSE_SETATTR] = { fuse_setattr, ARGS(fuse_setattr_in), 0, 0, CHANGES },
	[FUSE_READLINK] = { fuse_readlink, 0, 0, 0, 0 },
	[FUSE_SYMLINK] = { fuse_symlink, 0, 2, 1, CHANGES },
	[FUSE_MKNOD] = { fuse_mknod, ARGS(fuse_mknod_in), 1, 0, CHANGES },
	[FUSE_MKDIR] = { fuse_mkdir, ARGS(fuse_mkdir_in), 1, 0, CHANGES },
	[FUSE_UNLINK] = { fuse_unlink, 0, 1, 0, CHANGES },
	[FUSE_RMDIR] = { fuse_rmdir, 0, 1, 0, CHANGES },
	[FUSE_RENAME] = { fuse_rename, ARGS(fuse_rename_in), 2, 0, CHANGES },
	[FUSE_RENAME2] = { fuse_rename2, ARGS(fuse_rename2_in), 2, 0, CHANGES },
	[FUSE_LINK] = { fuse_link, ARGS(fuse_link_in), 1, 0, CHANGES },
	[FUSE_OPEN] = { fuse_open, ARGS(fuse_open_in), 0, 0, 0 },
	[FUSE_CREATE] = { fuse_create_file, ARGS(fuse_create_in), 1, 0, CHANGES },
	[FUSE_READ] = { fuse_read, ARGS(fuse_read_in), 0, 0, NO_NODE | SLOW | TRIES },
	[FUSE_WRITE] = { fuse_write, ARGS(fuse_write_in), 0, 0, CHANGES | NO_NODE | DATA | SLOW | TRIES },
	[FUSE_STATFS] = { fuse_statfs, 0, 0, 0, 0 },
	[FUSE_RELEASE] = { fuse_release, ARGS(fuse_release_in), 0, 0, NO_NODE },
	[FUSE_RELEASEDIR] = { fuse_release, ARGS(fuse_release_in), 0, 0, NO_NODE },
	[FUSE_FSYNC] = { fuse_fsync, ARGS(fuse_fsync_in), 0, 0, NO_NODE | SLOW },
	[FUSE_FSYNCDIR] = { fuse_fsync, ARGS(fuse_fsync_in), 0, 0, NO_NODE | SLOW },
	[FUSE_SETXATTR] = { fuse_setxattr, FUSE_COMPAT_SETXATTR_IN_SIZE, 1, 1, CHANGES },
	[FUSE_GETXATTR] = { fuse_getxattr, ARGS(fuse_getxattr_in), 1, 1, 0 },
	[FUSE_LISTXATTR] = { fuse_listxattr, ARGS(fuse_getxattr_in), 0, 0, 0 },
	[FUSE_REMOVEXATTR] = { fuse_removexattr, 0, 1, 1, CHANGES },
	[FUSE_OPENDIR] = { fuse_opendir, ARGS(fuse_open_in), 0, 0, 0 },
	[FUSE_READDIR] = { fuse_readdir, ARGS(fuse_read_in), 0, 0, 0 },
	[FUSE_READDIRPLUS] = { fuse_readdirplus, ARGS(fuse_read_in), 0, 0, SLOW },
	[FUSE_FALLOCATE] = { fuse_fallocate, ARGS(fuse_fallocate_in), 0, 0, CHANGES | NO_NODE | SLOW },
	[FUSE_LSEEK] = { fuse_lseek, ARGS(fuse_lseek_in), 0, 0, NO_NODE },
	[FUSE_SETUPMAPPING] = { fuse_setup_mapping, ARGS(fuse_setupmapping_in), 0, 0, 0 },
	[FUSE_REMOVEMAPPING] = { fuse_remove_mapping, ARGS(fuse_removemapping_in), 0, 0, NO_NODE },
	[FUSE_COPY_FILE_RANGE] = { fuse_copy_range, ARGS(fuse_copy_file_range_in), 0, 0,
				   CHANGES | NO_NODE | SLOW },
};

/* NULL: there is no such operation. */
static const struct op *find_op(const struct fuse_in_header *head)
{
	const struct op *op = head->opcode < OPCODES ? &ops[head->opcode] : NULL;

	return op && op->run ? op : NULL;
}

/* ---- answers ---- */

size_t fuse_room(const struct fuse_call *call)
{
	size_t head = sizeof(struct fuse_out_header);

	return call->out_bytes > head ? call->out_bytes - head : 0;
}

static size_t put_header(struct fuse_call *call, int error, size_t size)
{
	struct fuse_out_header head = { .len = (uint32_t)(sizeof(head) + size), .error = -error,
					.unique = call->head.unique };

	if (call->out_bytes < sizeof(head))
		return 0;
	iov_write(call->out, call->out_count, 0, &head, sizeof(head));
	return sizeof(head) + size;
}

size_t fuse_reply_error(struct fuse_call *call, int error)
{
	return put_header(call, error, 0);
}

size_t fuse_reply_in_place(struct fuse_call *call, size_t size)
{
	return put_header(call, 0, size);
}

size_t fuse_reply(struct fuse_call *call, const void *data, size_t size)
{
	if (size > fuse_room(call))
		return fuse_reply_error(call, ERANGE);
	iov_write(call->out, call->out_count, sizeof(struct fuse_out_header), data, size);
	return put_header(call, 0, size);
}

/* ---- the session ---- */

/* Which files are to be seen in it, we say of each. */
static void offer_window(const struct fuse_call *call, const struct fuse_init_in *in,
			 struct fuse_init_out *out)
{
	const uint32_t flags = FUSE_MAP_ALIGNMENT | FUSE_INIT_EXT;

	/* We do not see what is written there. */
	out->flags &= ~(uint32_t)FUSE_HANDLE_KILLPRIV_V2;
	if (call->args_bytes < sizeof(*in) || (in->flags & flags) != flags)
		return;
	out->flags |= flags;
	out->flags2 = in->flags2 & (uint32_t)(FUSE_HAS_INODE_DAX >> 32);
	out->map_alignment = FUSE_WINDOW_SHIFT;
}

static size_t fuse_init(struct fuse_call *call)
{
	const struct fuse_init_in *in = (const struct fuse_init_in *)call->args;
	const uint32_t wanted = FUSE_ASYNC_READ | FUSE_BIG_WRITES | FUSE_ATOMIC_O_TRUNC |
				FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
				FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | FUSE_MAX_PAGES |
				FUSE_CACHE_SYMLINKS | FUSE_HANDLE_KILLPRIV_V2;
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = in->max_readahead, .flags = in->flags & wanted,
		.max_background = 64, .congestion_threshold = 48, .max_write = FUSE_IO_MAX,
		.time_gran = 1, .max_pages = FUSE_PAGES_MAX,
	};

	if (call->fuse->window)
		offer_window(call, in, &out);
	if (in->major != FUSE_KERNEL_VERSION || in->minor < VERSION_MINOR_MIN)
		return fuse_reply_error(call, EPROTO);
	return fuse_reply(call, &out, sizeof(out));
}

static size_t fuse_destroy_session(struct fuse_call *call)
{
	return fuse_reply_error(call, 0);
}

static size_t fuse_forget(struct fuse_call *call)
{
	const struct fuse_forget_in *in = (const struct fuse_forget_in *)call->args;

	nodes_forget(call->fuse->tree.nodes, call->head.nodeid, in->nlookup);
	return 0;
}

static size_t fuse_batch_forget(struct fuse_call *call)
{
	const struct fuse_batch_forget_in *in = (const struct fuse_batch_forget_in *)call->args;
	const struct fuse_forget_one *one = (const struct fuse_forget_one *)(in + 1);
	size_t count = (call->args_bytes - sizeof(*in)) / sizeof(*one);

	if (count > in->count)
		count = in->count;
	for (size_t i = 0; i < count; i++)
		nodes_forget(call->fuse->tree.nodes, one[i].nodeid, one[i].nlookup);
	return 0;
}

/* ---- from bytes to a call ---- */

/* Finds count strings behind the arguments; all have their NUL within args_bytes. */
static int find_names(struct fuse_call *call, const struct op *op)
{
	size_t at = op->args;

	for (unsigned i = 0; i < op->names; i++) {
		size_t length = at < call->args_bytes ?
					strnlen(call->args + at, call->args_bytes - at) : 0;

		if (at + length >= call->args_bytes)
			return EINVAL;
		call->name[i] = call->args + at;
		at += length + 1;
	}
	for (unsigned i = 0; i + op->free < op->names; i++)
		if (!tree_good_name(call->name[i]))
			return EINVAL;
	return 0;
}

static size_t run_op(struct fuse_call *call, const struct op *op)
{
	int error = find_names(call, op);
	size_t size;

	if (error)
		return fuse_reply_error(call, error);
	if (op->flags & CHANGES && call->fuse->tree.readonly)
		return fuse_reply_error(call, EROFS);
	if (op->flags & NO_NODE)
		return op->run(call);
	call->node = nodes_get(call->fuse->tree.nodes, call->head.nodeid);
	if (!call->node)
		return fuse_reply_error(call, ESTALE);
	size = op->run(call);
	nodes_put(call->fuse->tree.nodes, call->node);
	return size;
}

static size_t serve(struct fuse *fuse, const struct iovec *in, unsigned in_count,
		    const struct iovec *out, unsigned out_count, bool now)
{
	struct fuse_call call = {
		.fuse = fuse, .now = now, .in = in, .in_count = in_count, .out = out, .out_count = out_count,
		.in_bytes = iov_bytes(in, in_count), .out_bytes = iov_bytes(out, out_count),
	};
	const struct op *op;
	size_t size;

	if (iov_read(in, in_count, 0, &call.head, sizeof(call.head)) < sizeof(call.head))
		return 0;
	op = find_op(&call.head);
	if (!op)
		return fuse_reply_error(&call, ENOSYS);
	if (now && (op->flags & (SLOW | TRIES)) == SLOW)
		return TREE_LATER;
	call.args_bytes = call.in_bytes - sizeof(call.head);
	if (op->flags & DATA && call.args_bytes > op->args)
		call.args_bytes = op->args;
	if (call.args_bytes < op->args || call.args_bytes > FUSE_ARGS_MAX)
		return fuse_reply_error(&call, EINVAL);
	call.args = malloc(call.args_bytes + 1);
	if (!call.args)
		return fuse_reply_error(&call, ENOMEM);
	iov_read(in, in_count, sizeof(call.head), call.args, call.args_bytes);
	call.args[call.args_bytes] = 0;
	size = run_op(&call, op);
	free(call.args);
	return size;
}

size_t fuse_serve(struct fuse *fuse, const struct iovec *in, unsigned in_count,
		  const struct iovec *out, unsigned out_count)
{
	return serve(fuse, in, in_count, out, out_count, false);
}

size_t fuse_serve_now(struct fuse *fuse, const struct iovec *in, unsigned in_count,
		      const struct iovec *out, unsigned out_count)
{
	return serve(fuse, in, in_count, out, out_count, true);
}

/* ---- life ---- */

int fuse_create(struct fuse **out, const struct fuse_config *config, struct error *err)
{
	struct fuse *fuse = calloc(1, sizeof(*fuse));
	int ret;

	if (!fuse)
		return error_set(err, ENOMEM, "no memory to share %s", config->tree.path);
	pthread_mutex_init(&fuse->mutex, NULL);
	fuse->cache_ms = config->cache_ms;
	fuse->direct = config->direct;
	fuse->window = config->window;
	ret = tree_open(&fuse->tree, &config->tree, err);
	if (ret) {
		fuse_destroy(fuse);
		return ret;
	}
	*out = fuse;
	return 0;
}

void fuse_reset(struct fuse *fuse)
{
	if (fuse->window)
		fuse->window->clear(fuse->window->opaque);
	fuse_files_clear(fuse);
	nodes_clear(fuse->tree.nodes);
}

void fuse_destroy(struct fuse *fuse)
{
	if (!fuse)
		return;
	fuse_files_clear(fuse);
	tree_close(&fuse->tree);
	pthread_mutex_destroy(&fuse->mutex);
	free(fuse->files);
	free(fuse);
}
