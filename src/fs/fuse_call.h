/* SPDX-License-Identifier: MIT */
/*
 * Private to the FUSE server: a request being answered, and what the operations share. An operation
 * answers with one of the fuse_reply functions and returns what that returned.
 */
#ifndef RINGLET_FS_FUSE_CALL_H
#define RINGLET_FS_FUSE_CALL_H

#include <linux/fuse.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "fs/fuse.h"
#include "fs/tree.h"

/* Pages of a READ or WRITE: 1 MiB. */
#define FUSE_PAGES_MAX 256u
#define FUSE_IO_MAX (FUSE_PAGES_MAX * 4096u)
/* Of a request without what a WRITE carries: an extended attribute is the longest. */
#define FUSE_ARGS_MAX (65536u + 4096u)
#define FUSE_FILES_MAX (1u << 20)

/* A file or directory that the guest has open: until it is released and nobody uses it. */
struct fuse_file {
	int fd;
	unsigned users;
	bool released;
	pthread_mutex_t position; /* a directory's */
};

struct fuse {
	struct tree tree;
	unsigned cache_ms;
	bool direct;
	const struct fuse_window *window;
	pthread_mutex_t mutex; /* files */
	struct fuse_file **files; /* by number; number 0 is never used */
	unsigned file_limit, file_hint;
};

struct fuse_call {
	struct fuse *fuse;
	bool now; /* TREE_LATER is an answer, too */
	struct fuse_in_header head;
	const struct iovec *in, *out;
	unsigned in_count, out_count;
	size_t in_bytes, out_bytes;
	struct node *node;   /* of head.nodeid */
	char *args;          /* what follows the header, NUL behind it; not of a WRITE's data */
	size_t args_bytes;
	const char *name[2]; /* names at the end of args, as many as the operation has */
};

/* ---- answers: each returns the bytes that it takes ---- */

/* error: an errno, 0 for success without data. */
size_t fuse_reply_error(struct fuse_call *call, int error);
/* Data that fits or is cut: who sends more than the guest has room for gets ERANGE or less of it. */
size_t fuse_reply(struct fuse_call *call, const void *data, size_t size);
/* The data is in out already, behind the header. */
size_t fuse_reply_in_place(struct fuse_call *call, size_t size);
/* Bytes that data of an answer may have. */
size_t fuse_room(const struct fuse_call *call);

/* ---- fuse_attr.c ---- */

void fuse_fill_attr(struct fuse *fuse, const struct stat *status, struct fuse_attr *attr);
void fuse_fill_entry(struct fuse *fuse, const struct node *node, const struct stat *status,
		     struct fuse_entry_out *entry);
/* Without an error, node has been looked up; its use ends. */
size_t fuse_reply_entry(struct fuse_call *call, int error, struct node *node,
			const struct stat *status);

/* ---- fuse_open.c ---- */

/* Takes over fd; 0: too many. */
uint64_t fuse_file_add(struct fuse *fuse, int fd);
/* For use until fuse_file_put; NULL: no such. */
struct fuse_file *fuse_file_get(struct fuse *fuse, uint64_t number);
void fuse_file_put(struct fuse *fuse, struct fuse_file *file);
/* Closes all; nobody uses any. */
void fuse_files_clear(struct fuse *fuse);
/* Of the guest's flags those that are not its own. */
int fuse_open_flags(uint32_t flags);
/* FOPEN_… of a file's first answer. */
uint32_t fuse_open_answer(const struct fuse *fuse);

/* ---- the operations ---- */

typedef size_t fuse_op(struct fuse_call *call);
fuse_op fuse_lookup, fuse_getattr, fuse_setattr, fuse_readlink, fuse_statfs;
fuse_op fuse_symlink, fuse_mknod, fuse_mkdir, fuse_unlink, fuse_rmdir, fuse_rename, fuse_rename2,
	fuse_link, fuse_create_file;
fuse_op fuse_open, fuse_release, fuse_read, fuse_write, fuse_fsync, fuse_fallocate, fuse_lseek,
	fuse_copy_range;
fuse_op fuse_opendir, fuse_readdir, fuse_readdirplus;
fuse_op fuse_setup_mapping, fuse_remove_mapping;
fuse_op fuse_setxattr, fuse_getxattr, fuse_listxattr, fuse_removexattr;

#endif
