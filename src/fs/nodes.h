/* SPDX-License-Identifier: MIT */
/*
 * Files of the host that a guest knows, by number: each is held by an O_PATH descriptor, so that it
 * stays the same file whatever happens to its name. A node lives as long as the guest remembers it
 * (counted look-ups) or somebody uses it (nodes_get … nodes_put). Any thread.
 *
 * Guests remember more files than the process may have open. Of nodes that nobody uses, those that
 * were not for the longest time are parked: a handle (handles.h) stands for the descriptor until
 * the node is used again. Where that cannot be done, look-ups fail when there are too many.
 */
#ifndef RINGLET_FS_NODES_H
#define RINGLET_FS_NODES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

struct handle;
struct nodes;

struct node {
	int fd;             /* O_PATH; of a node that nobody uses, perhaps -1 */
	uint64_t id;
	uint64_t generation; /* differs from that of an earlier node with the same number */
	mode_t type;         /* S_IFMT bits */
	/* the table's own */
	dev_t dev;
	ino_t ino;
	uint64_t lookups;
	unsigned users;
	struct node *next;  /* with the same hash */
	bool is_gone;       /* in no hash: another file has its inode number */
	struct handle *handle; /* while it is parked */
	struct node *older, *newer; /* of those with a descriptor, by their last use */
};

#define NODES_ROOT 1u

/* Takes over root, which becomes number NODES_ROOT and is never forgotten. NULL: no memory. */
struct nodes *nodes_create(int root, const struct stat *status);
void nodes_destroy(struct nodes *nodes);
/* Forgets all but the root. Nobody uses any. */
void nodes_clear(struct nodes *nodes);

/* As many descriptors as it shall keep, about. */
void nodes_limit(struct nodes *nodes, unsigned descriptors);

/* The node with that number, for use until nodes_put; NULL: the guest knows no such, or it is gone. */
struct node *nodes_get(struct nodes *nodes, uint64_t id);
void nodes_put(struct nodes *nodes, struct node *node);

/*
 * The node of the file that fd (O_PATH, taken over) is open on, looked up once more, for use until
 * nodes_put. NULL: no memory, or too many.
 */
struct node *nodes_look_up(struct nodes *nodes, int fd, const struct stat *status);
/* One more look-up of a node that is in use, or looked up. */
void nodes_remember(struct nodes *nodes, struct node *node);
/* The guest forgets count look-ups. */
void nodes_forget(struct nodes *nodes, uint64_t id, uint64_t count);

/* A number for the file that no other of the tree has, though it may span file systems. */
uint64_t nodes_inode(struct nodes *nodes, const struct stat *status);

#endif
