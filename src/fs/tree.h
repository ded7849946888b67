/* SPDX-License-Identifier: MIT */
/*
 * A directory tree of the host as file servers for guests use it, whatever protocol they speak.
 *
 * A guest names files by nodes (nodes.h) and single names, never by path: what it reaches is below
 * the shared directory, whatever it sends and whatever the host does to the tree meanwhile, because
 * each step is one call on a descriptor that follows no link. It acts with the monitor's rights.
 *
 * Who is root gives what is created to the guest's user. Who is not may have owners and modes that
 * the host does not keep noted in an attribute of the file (owner.h).
 *
 * Functions return 0 or a positive errno unless they say otherwise. Any thread; they block as the
 * host's file systems do.
 */
#ifndef RINGLET_FS_TREE_H
#define RINGLET_FS_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>

#include "fs/nodes.h"

struct error;

/* What a server says instead of an answer's size: it would have to wait for the host. */
#define TREE_LATER SIZE_MAX
/* Of a read or a write that is tried without waiting: more would keep the guest's CPU from its work. */
#define TREE_READ_NOW_MAX (128u << 10)
#define TREE_WRITE_NOW_MAX (16u << 10)

/* TREE_MAP_AUTO: noted where the monitor is not root and the host's file system can. */
enum tree_map { TREE_MAP_AUTO, TREE_MAP_NONE, TREE_MAP_XATTR };

struct tree_config {
	const char *path;
	bool readonly;
	enum tree_map map;
};

struct tree {
	struct nodes *nodes;
	bool readonly;
	bool is_root; /* the monitor is: what is created belongs to the guest's user … */
	bool notes;   /* … or is noted to */
	uid_t uid;    /* the monitor's */
};

/* -ENOENT and other errnos of open(2) for the path, -ENOTDIR, -ENOTSUP for the map, -ENOMEM. */
int tree_open(struct tree *tree, const struct tree_config *config, struct error *err);
/* Also of zeroed memory. Nobody uses a node. */
void tree_close(struct tree *tree);

/* ---- tree.c: finding, telling ---- */

/* A name is one step down: no slash, not ".", not "..", not empty. What the guest names is such. */
bool tree_good_name(const char *name);
/* name in directory as a node, looked up once more, for use until nodes_put. */
int tree_look_up(struct tree *tree, const struct node *directory, const char *name,
		 struct node **node, struct stat *status);
/* The same for what fd (O_PATH, taken over) is open on. */
int tree_adopt(struct tree *tree, int fd, struct node **node, struct stat *status);
/* Ends the use, and the look-up that came with it. */
void tree_release(struct tree *tree, struct node *node);
int tree_status(struct tree *tree, const struct node *node, struct stat *status);
/* The length of the target, cut at size, or -errno. */
ssize_t tree_read_link(const struct node *node, char *target, size_t size);
int tree_statfs(const struct node *node, struct statvfs *status);
/*
 * Another descriptor for node's file, regular files and directories only. flags are the guest's: of
 * them counts what has to. With O_APPEND, tree_write does not ask for the position.
 */
int tree_open_node(const struct tree *tree, const struct node *node, int flags, int *fd);
/* A path for a file that is held by an O_PATH descriptor, for calls that take none. */
#define TREE_PROC "/proc/self/fd"
#define TREE_PROC_PATH_BYTES 32
void tree_proc_path(int fd, char path[TREE_PROC_PATH_BYTES]);

/* ---- tree_change.c: attributes ---- */

struct tree_change {
	bool set_uid, set_gid, set_mode, set_size;
	uid_t uid;
	gid_t gid;
	mode_t mode;
	uint64_t size;
	struct timespec times[2]; /* as of utimensat; UTIME_OMIT twice: none */
};

/* fd: node's file, open for writing, or -1. */
int tree_change(struct tree *tree, const struct node *node, const struct tree_change *change, int fd);

/*
 * What a user other than root has written to sets no user or group any more. The host sees to that, but
 * not when the monitor is root, or where it is noted.
 */
void tree_drop_privileges(struct tree *tree, const struct node *node);

/* ---- tree_names.c: names that come, go and move; directory may be any node ---- */

struct tree_new {
	const char *name;
	uid_t uid;
	gid_t gid;
	mode_t mode; /* with the type */
	dev_t rdev;
};

/* Any but a regular file with a descriptor, or a link. The node is looked up as by tree_look_up. */
int tree_make(struct tree *tree, const struct node *directory, const struct tree_new *new,
	      struct node **node, struct stat *status);
int tree_make_link(struct tree *tree, const struct node *directory, const struct tree_new *new,
		   const char *target, struct node **node, struct stat *status);
/* A regular file, opened; one that is there already is opened, unless flags have O_EXCL. */
int tree_create(struct tree *tree, const struct node *directory, const struct tree_new *new,
		int flags, int *fd, struct node **node, struct stat *status);
int tree_link(const struct node *node, const struct node *directory, const char *name);
int tree_unlink(const struct node *directory, const char *name, bool is_directory);
/* flags: RENAME_… of renameat2. */
int tree_rename(const struct node *from, const char *old_name, const struct node *to,
		const char *new_name, unsigned flags);

/* ---- tree_xattr.c: extended attributes, but those that are ours ---- */

#define TREE_XATTR_MAX 65536u /* the host's limit, of values and of lists */

int tree_xattr_set(const struct tree *tree, const struct node *node, const char *name,
		   const void *value, size_t size, int flags);
int tree_xattr_remove(const struct tree *tree, const struct node *node, const char *name);
/* Up to TREE_XATTR_MAX bytes into buffer of that size; how many, or -errno. */
ssize_t tree_xattr_get(const struct tree *tree, const struct node *node, const char *name,
		       void *buffer);
ssize_t tree_xattr_list(const struct tree *tree, const struct node *node, char *buffer);

/* ---- tree_data.c: contents ---- */

/*
 * Between the host's page cache and the guest's memory, without a copy: size bytes at position, to
 * or from what follows the first skip bytes of iov. The number moved, or -errno. now: -EAGAIN if
 * not all of it is in the host's memory, or has to go to its disk, or it is too much.
 */
ssize_t tree_read(int fd, const struct iovec *iov, unsigned count, size_t skip, size_t size,
		  uint64_t position, bool now);
ssize_t tree_write(int fd, const struct iovec *iov, unsigned count, size_t skip, size_t size,
		   uint64_t position, bool now);

struct tree_entry {
	uint64_t ino;  /* the host's */
	uint64_t next; /* the position behind it */
	uint8_t type;  /* DT_… */
	const char *name;
};

/*
 * Calls each for what is in a directory from position on, until it says false. Moves the
 * descriptor's position: one caller at a time. chunk_bytes: how much to read at once, about. An
 * error after the first entry is none.
 */
int tree_list(const struct tree *tree, int fd, uint64_t position, size_t chunk_bytes,
	      bool (*each)(void *opaque, const struct tree_entry *entry), void *opaque);

#endif
