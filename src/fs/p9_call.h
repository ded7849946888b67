/* SPDX-License-Identifier: MIT */
/*
 * Private to the 9P server: a request being answered, and what the operations share. An operation
 * finds its arguments taken apart (the table in p9.c says how), puts the answer's fields with
 * p9_put…, and returns 0 or an errno, which replaces them.
 */
#ifndef RINGLET_FS_P9_CALL_H
#define RINGLET_FS_P9_CALL_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "fs/p9_proto.h"
#include "fs/tree.h"

#define P9_MSIZE_MAX (1u << 20)
/* Of a request without what a Twrite carries: two strings are the longest. */
#define P9_ARGS_MAX (2u * 65536u + 64u)
/* Of an answer without data: the target of a link is the longest. */
#define P9_ANSWER_MAX 4608u
#define P9_FIDS_MAX (1u << 20)
#define P9_FID_BUCKETS (1u << 14)

/* An extended attribute as a file: to be read, or to be written and set when the fid is clunked. */
struct p9_xattr {
	bool writes;
	int flags;     /* … of setxattr */
	char *name;    /* … */
	size_t size, filled;
	uint8_t value[];
};

/*
 * What the guest means by a number. It does not change but for fd, which is set once, and where it
 * was found; so a request that makes it something else puts another in its place.
 */
struct p9_fid {
	uint32_t number;
	uint32_t uid;         /* of who attached */
	struct node *node;    /* remembered; in use while the fid is */
	_Atomic int fd;       /* -1: not open */
	pthread_mutex_t mutex; /* a directory's position; what xattr holds */
	struct p9_xattr *xattr; /* NULL: it is a file */
	/* Of the table, under its mutex. */
	struct node *parent;  /* remembered; NULL: the root … */
	char *name;           /* … or nobody knows */
	unsigned users;
	struct p9_fid *next;
	struct p9_fid *next_there, **link_there; /* of those that were found at places with the same hash */
};

struct p9_locks;

struct p9 {
	struct tree tree;
	_Atomic uint32_t msize;
	struct p9_locks *locks;
	pthread_mutex_t mutex; /* fids */
	unsigned fid_count;
	struct p9_fid *fids[P9_FID_BUCKETS];   /* by number */
	struct p9_fid *places[P9_FID_BUCKETS]; /* by where they were found, if anybody knows */
};

struct p9_call {
	struct p9 *p9;
	bool now;      /* EAGAIN of a read or a write: it would have to wait */
	uint32_t size; /* of the whole message */
	uint8_t type;
	uint16_t tag;
	const struct iovec *in, *out;
	unsigned in_count, out_count;
	size_t out_bytes; /* that an answer may have */

	/* The arguments: fids, numbers and strings, each counted for itself. */
	struct p9_fid *fid[2];
	uint64_t number[10];
	const char *text[2];
	uint8_t *args;
	size_t args_bytes, args_at;

	uint8_t answer[P9_ANSWER_MAX]; /* behind the header */
	size_t answer_bytes;
	size_t data_bytes; /* … and this many more are in out already */
};

/* ---- p9.c: arguments and answers ---- */

/* One more argument; false: the message has no such. A string has its NUL, and no other. */
bool p9_get(struct p9_call *call, unsigned bytes, uint64_t *value);
bool p9_get_text(struct p9_call *call, const char **text);

void p9_put(struct p9_call *call, unsigned bytes, uint64_t value);
/* At most what the answer has room for. */
void p9_put_text(struct p9_call *call, const char *text, size_t length);
void p9_put_qid(struct p9_call *call, const struct stat *status);
/* 9 bytes at to: type, version, and the path, that is, which file it is. */
void p9_encode_qid(struct p9 *p9, const struct stat *status, uint8_t to[P9_QID_BYTES]);
/* Little-endian. */
void p9_encode(uint8_t *to, unsigned bytes, uint64_t value);
uint64_t p9_decode(const uint8_t *from, unsigned bytes);

/* ---- p9_fids.c ---- */

/* For use, together with its node, until p9_fid_put: 0, EBADF: no such, ESTALE: its file is gone. */
int p9_fid_get(struct p9 *p9, uint32_t number, struct p9_fid **fid);
void p9_fid_put(struct p9 *p9, struct p9_fid *fid);

/*
 * A fid for node, found as name in parent (both NULL: the root, or nobody knows), which are in use, or
 * remembered by another. NULL: no memory.
 */
struct p9_fid *p9_fid_new(struct p9 *p9, uint32_t number, uint32_t uid, struct node *node,
			  struct node *parent, const char *name);
/* Like old, with another number. */
struct p9_fid *p9_fid_copy(struct p9 *p9, const struct p9_fid *old, uint32_t number);
/*
 * Takes over fid: it goes into the table, in the place of old, if there is one. EINVAL: the number is
 * another's; ENFILE: too many.
 */
int p9_fid_add(struct p9 *p9, struct p9_fid *fid, struct p9_fid *old);
/* Out of the table; false: it was not there any more. */
bool p9_fid_remove(struct p9 *p9, struct p9_fid *fid);
/* Frees what is in no table and nobody's. */
void p9_fid_free(struct p9 *p9, struct p9_fid *fid);
/* All of them. */
void p9_fids_clear(struct p9 *p9);

/* What was old_name in from is new_name in to. */
void p9_fids_renamed(struct p9 *p9, const struct node *from, const char *old_name, struct node *to,
		     const char *new_name);
/*
 * Where fid was found: *parent in use, a copy of the name. ENOENT: it is there no longer. EBUSY: it
 * is the root.
 */
int p9_fid_place(struct p9 *p9, struct p9_fid *fid, struct node **parent, char **name);

/* ---- p9_locks.c: see there ---- */

struct p9_lock {
	int type;            /* P9_LOCK_… */
	uint64_t start, end; /* inclusive */
	uint32_t process;
	char client[64];
};

struct p9_locks *p9_locks_create(struct tree *tree);
void p9_locks_destroy(struct p9_locks *locks);
/* P9_LOCK_SUCCESS, _BLOCKED or _ERROR. */
int p9_locks_set(struct p9_locks *locks, const struct p9_fid *fid, const struct p9_lock *lock);
/* Replaces lock by one that is in its way; type P9_LOCK_NONE: there is none. 0 or an errno. */
int p9_locks_test(struct p9_locks *locks, const struct p9_fid *fid, struct p9_lock *lock);
/* fid is no longer. */
void p9_locks_drop(struct p9_locks *locks, const struct p9_fid *fid);

/* ---- the operations ---- */

typedef int p9_op(struct p9_call *call);
p9_op p9_attach, p9_walk, p9_clunk, p9_remove; /* p9_walk.c */
p9_op p9_getattr, p9_setattr, p9_readlink, p9_statfs; /* p9_attr.c */
p9_op p9_lopen, p9_lcreate, p9_read, p9_write, p9_readdir, p9_fsync, p9_lock, p9_getlock; /* p9_io.c */
p9_op p9_symlink, p9_mknod, p9_mkdir, p9_link, p9_rename, p9_renameat, p9_unlinkat; /* p9_names.c */
p9_op p9_xattrwalk, p9_xattrcreate; /* p9_xattr.c */
/* p9_xattr.c: sets what was written; 0 or an errno. */
int p9_xattr_finish(struct p9 *p9, struct p9_fid *fid);
/* Both return the number of bytes, or -errno. */
ssize_t p9_xattr_read(struct p9_call *call, struct p9_fid *fid, size_t skip, size_t size,
		      uint64_t position);
ssize_t p9_xattr_write(struct p9_call *call, struct p9_fid *fid, size_t skip, size_t size,
		       uint64_t position);

#endif
