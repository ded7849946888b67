/* SPDX-License-Identifier: MIT */
/* From a message's bytes to its operation, and back: see p9.h. */
#include "fs/p9.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/iov.h"
#include "fs/p9_call.h"

/* ---- what operations are there ---- */

/*
 * Arguments, a letter each: f a fid that is there; 1, 2, 4, 8 a number of so many bytes; s a string; n a
 * string that names a file.
 */
struct op {
	p9_op *run;
	const char *args;
	uint8_t flags;
};

enum {
	CHANGES = 1, /* not on what is shared read-only */
	SLOW = 2,    /* moves data, or waits for a disk … */
	TRIES = 16,  /* … but finds out before it does */
	DATA = 4,    /* what follows the arguments stays where it is */
	MORE = 8,    /* more arguments follow, whose number they say */
};

static p9_op version, auth, flush;

static const struct op ops[P9_TYPES] = {
	[P9_TVERSION] = { version, "4s", 0 },
	[P9_TAUTH] = { auth, "4ss4", 0 },
	[P9_TFLUSH] = { flush, "2", 0 },
	[P9_TATTACH] = { p9_attach, "44ss4", 0 },
	[P9_TWALK] = { p9_walk, "f42", MORE },
	[P9_TCLUNK] = { p9_clunk, "f", 0 },
	[P9_TREMOVE] = { p9_remove, "f", 0 }, /* clunks in any case */
	[P9_TGETATTR] = { p9_getattr, "f8", 0 },
	[P9_TSETATTR] = { p9_setattr, "f444488888", CHANGES },
	[P9_TREADLINK] = { p9_readlink, "f", 0 },
	[P9_TSTATFS] = { p9_statfs, "f", 0 },
	[P9_TLOPEN] = { p9_lopen, "f4", 0 },
	[P9_TLCREATE] = { p9_lcreate, "fn444", CHANGES },
	[P9_TREAD] = { p9_read, "f84", SLOW | TRIES },
	[P9_TWRITE] = { p9_write, "f84", CHANGES | SLOW | TRIES | DATA },
	[P9_TREADDIR] = { p9_readdir, "f84", 0 },
	[P9_TFSYNC] = { p9_fsync, "f4", SLOW },
	[P9_TLOCK] = { p9_lock, "f14884s", 0 },
	[P9_TGETLOCK] = { p9_getlock, "f1884s", 0 },
	[P9_TSYMLINK] = { p9_symlink, "fns4", CHANGES },
	[P9_TMKNOD] = { p9_mknod, "fn4444", CHANGES },
	[P9_TMKDIR] = { p9_mkdir, "fn44", CHANGES },
	[P9_TLINK] = { p9_link, "ffn", CHANGES },
	[P9_TRENAME] = { p9_rename, "ffn", CHANGES },
	[P9_TRENAMEAT] = { p9_renameat, "fnfn", CHANGES },
	[P9_TUNLINKAT] = { p9_unlinkat, "fn4", CHANGES },
	[P9_TXATTRWALK] = { p9_xattrwalk, "f4s", 0 },
	[P9_TXATTRCREATE] = { p9_xattrcreate, "fs84", CHANGES },
};

static const struct op *find_op(uint8_t type)
{
	return type < P9_TYPES && ops[type].run ? &ops[type] : NULL;
}

/* Bytes that the arguments take at least, and at most where none is a string. */
static size_t fixed_bytes(const char *args)
{
	size_t bytes = 0;

	for (; *args; args++)
		bytes += *args == 'f' ? 4 : *args == 's' || *args == 'n' ? 2 : (size_t)(*args - '0');
	return bytes;
}

/* ---- bytes ---- */

uint64_t p9_decode(const uint8_t *from, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes; i++)
		value |= (uint64_t)from[i] << 8 * i;
	return value;
}

void p9_encode(uint8_t *to, unsigned bytes, uint64_t value)
{
	for (unsigned i = 0; i < bytes; i++)
		to[i] = (uint8_t)(value >> 8 * i);
}

bool p9_get(struct p9_call *call, unsigned bytes, uint64_t *value)
{
	if (call->args_bytes - call->args_at < bytes)
		return false;
	*value = p9_decode(call->args + call->args_at, bytes);
	call->args_at += bytes;
	return true;
}

bool p9_get_text(struct p9_call *call, const char **text)
{
	uint64_t length;
	char *at;

	if (!p9_get(call, 2, &length) || call->args_bytes - call->args_at < length)
		return false;
	/* Its length makes room for the NUL. */
	at = memmove(call->args + call->args_at - 2, call->args + call->args_at, length);
	at[length] = 0;
	call->args_at += length;
	*text = at;
	return !memchr(at, 0, length);
}

void p9_put(struct p9_call *call, unsigned bytes, uint64_t value)
{
	p9_encode(call->answer + call->answer_bytes, bytes, value);
	call->answer_bytes += bytes;
}

void p9_put_text(struct p9_call *call, const char *text, size_t length)
{
	size_t room = P9_ANSWER_MAX - call->answer_bytes - 2;

	if (length > room)
		length = room;
	p9_put(call, 2, length);
	memcpy(call->answer + call->answer_bytes, text, length);
	call->answer_bytes += length;
}

/*
 * A version that changes with the content has the guest's kernel take a file for another when it looks
 * it up again. Where only the host writes, that is right. Where the guest does, it would have two
 * files in its cache for one, and the other's content.
 */
static uint32_t version_of(const struct p9 *p9, const struct stat *status)
{
	uint64_t time = (uint64_t)status->st_mtim.tv_sec * 1000000000 + (uint64_t)status->st_mtim.tv_nsec;

	return p9->tree.readonly ? (uint32_t)((time ^ time >> 32) << 1) | 1 : 1;
}

void p9_encode_qid(struct p9 *p9, const struct stat *status, uint8_t to[P9_QID_BYTES])
{
	p9_encode(to, 1, S_ISDIR(status->st_mode) ? P9_QID_DIR : S_ISLNK(status->st_mode) ? P9_QID_LINK : 0);
	p9_encode(to + 1, 4, version_of(p9, status));
	p9_encode(to + 5, 8, nodes_inode(p9->tree.nodes, status));
}

void p9_put_qid(struct p9_call *call, const struct stat *status)
{
	p9_encode_qid(call->p9, status, call->answer + call->answer_bytes);
	call->answer_bytes += P9_QID_BYTES;
}

/* ---- the session ---- */

static int version(struct p9_call *call)
{
	uint32_t msize = (uint32_t)call->number[0];
	bool known = !strcmp(call->text[0], P9_VERSION);
	const char *answer = known ? P9_VERSION : "unknown";

	if (msize < P9_MSIZE_MIN)
		return EINVAL;
	if (msize > P9_MSIZE_MAX)
		msize = P9_MSIZE_MAX;
	p9_fids_clear(call->p9);
	if (known)
		call->p9->msize = msize;
	p9_put(call, 4, msize);
	p9_put_text(call, answer, strlen(answer));
	return 0;
}

static int auth(struct p9_call *call)
{
	(void)call;
	return EOPNOTSUPP;
}

static int flush(struct p9_call *call)
{
	(void)call;
	return 0;
}

/* ---- from bytes to a call ---- */

static int take_arg(struct p9_call *call, char kind, unsigned *fids, unsigned *numbers,
		    unsigned *texts)
{
	uint64_t number;

	if (kind == 's' || kind == 'n') {
		const char **text = &call->text[(*texts)++];

		return p9_get_text(call, text) && (kind == 's' || tree_good_name(*text)) ? 0 : EINVAL;
	}
	if (kind != 'f')
		return p9_get(call, (unsigned)(kind - '0'), &call->number[(*numbers)++]) ? 0 : EINVAL;
	if (!p9_get(call, 4, &number))
		return EINVAL;
	return p9_fid_get(call->p9, (uint32_t)number, &call->fid[(*fids)++]);
}

static int run(struct p9_call *call, const struct op *op)
{
	unsigned fids = 0, numbers = 0, texts = 0;
	int error = 0;

	for (const char *kind = op->args; *kind && !error; kind++)
		error = take_arg(call, *kind, &fids, &numbers, &texts);
	if (!error && !(op->flags & (DATA | MORE)) && call->args_at != call->args_bytes)
		error = EINVAL;
	if (!error && op->flags & CHANGES && call->p9->tree.readonly)
		error = EROFS;
	if (!error)
		error = op->run(call);
	for (unsigned i = 0; i < fids; i++)
		if (call->fid[i])
			p9_fid_put(call->p9, call->fid[i]);
	return error;
}

static size_t reply(struct p9_call *call, int error)
{
	uint8_t header[P9_HEADER_BYTES];
	uint8_t type = error ? P9_RLERROR : (uint8_t)(call->type + 1);
	size_t size;

	if (error) {
		call->answer_bytes = call->data_bytes = 0;
		p9_put(call, 4, (uint64_t)error);
	}
	size = sizeof(header) + call->answer_bytes + call->data_bytes;
	if (size > call->out_bytes)
		return error ? 0 : reply(call, ERANGE);
	p9_encode(header, 4, size);
	p9_encode(header + 4, 1, type);
	p9_encode(header + 5, 2, call->tag);
	iov_write(call->out, call->out_count, 0, header, sizeof(header));
	iov_write(call->out, call->out_count, sizeof(header), call->answer, call->answer_bytes);
	return size;
}

static size_t serve(struct p9_call *call)
{
	const struct op *op = find_op(call->type);
	size_t limit = P9_ARGS_MAX, size;
	int error;

	if (!op)
		return reply(call, EOPNOTSUPP);
	if (call->now && (op->flags & (SLOW | TRIES)) == SLOW)
		return TREE_LATER;
	if (op->flags & DATA)
		limit = fixed_bytes(op->args);
	call->args_bytes = call->size - P9_HEADER_BYTES;
	if (op->flags & DATA && call->args_bytes > limit)
		call->args_bytes = limit;
	if (call->args_bytes < fixed_bytes(op->args) || call->args_bytes > limit)
		return reply(call, EINVAL);
	call->args = malloc(call->args_bytes + 1);
	if (!call->args)
		return reply(call, ENOMEM);
	iov_read(call->in, call->in_count, P9_HEADER_BYTES, call->args, call->args_bytes);
	error = run(call, op);
	size = call->now && error == EAGAIN ? TREE_LATER : reply(call, error);
	free(call->args);
	return size;
}

static size_t take(struct p9 *p9, const struct iovec *in, unsigned in_count,
		   const struct iovec *out, unsigned out_count, bool now)
{
	const size_t in_bytes = iov_bytes(in, in_count);
	struct p9_call call = { .p9 = p9, .now = now, .in = in, .in_count = in_count, .out = out,
				.out_count = out_count,
				.out_bytes = iov_bytes(out, out_count) };
	uint8_t header[P9_HEADER_BYTES];

	if (iov_read(in, in_count, 0, header, sizeof(header)) < sizeof(header))
		return 0;
	call.size = (uint32_t)p9_decode(header, 4);
	call.type = header[4];
	call.tag = (uint16_t)p9_decode(header + 5, 2);
	if (call.out_bytes > p9->msize)
		call.out_bytes = p9->msize;
	if (call.size < sizeof(header) || call.size > in_bytes || call.size > p9->msize)
		return reply(&call, EINVAL);
	return serve(&call);
}

size_t p9_serve(struct p9 *p9, const struct iovec *in, unsigned in_count, const struct iovec *out,
		unsigned out_count)
{
	return take(p9, in, in_count, out, out_count, false);
}

size_t p9_serve_now(struct p9 *p9, const struct iovec *in, unsigned in_count, const struct iovec *out,
		    unsigned out_count)
{
	return take(p9, in, in_count, out, out_count, true);
}

struct p9_request p9_peek(const struct iovec *in, unsigned in_count)
{
	uint8_t start[P9_HEADER_BYTES + 2] = { 0 };

	iov_read(in, in_count, 0, start, sizeof(start));
	return (struct p9_request){
		.tag = (uint16_t)p9_decode(start + 5, 2),
		.is_flush = start[4] == P9_TFLUSH,
		.flushes = (uint16_t)p9_decode(start + P9_HEADER_BYTES, 2),
	};
}

/* ---- life ---- */

int p9_create(struct p9 **out, const struct tree_config *config, struct error *err)
{
	struct p9 *p9 = calloc(1, sizeof(*p9));
	int ret;

	if (!p9)
		return error_set(err, ENOMEM, "no memory to share %s", config->path);
	pthread_mutex_init(&p9->mutex, NULL);
	p9->msize = P9_MSIZE_MAX;
	ret = tree_open(&p9->tree, config, err);
	if (!ret) {
		p9->locks = p9_locks_create(&p9->tree);
		ret = p9->locks ? 0 : error_set(err, ENOMEM, "no memory to share %s", config->path);
	}
	if (ret) {
		p9_destroy(p9);
		return ret;
	}
	*out = p9;
	return 0;
}

void p9_reset(struct p9 *p9)
{
	p9_fids_clear(p9);
	p9->msize = P9_MSIZE_MAX;
}

void p9_destroy(struct p9 *p9)
{
	if (!p9)
		return;
	p9_fids_clear(p9);
	p9_locks_destroy(p9->locks);
	tree_close(&p9->tree);
	pthread_mutex_destroy(&p9->mutex);
	free(p9);
}
