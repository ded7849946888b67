/* SPDX-License-Identifier: MIT */
/*
 * Files of the host that a guest knows, by number: each is held by an O_PATH descriptor, so that it
 * stays the same file whatever happens to its name. A node lives as long as the guest remembers it
 * (counted look-ups) or somebody uses it (nodes_get … nodes_put). Any thread.
 */
#ifndef RINGLET_FS_NODES_H
#define RINGLET_FS_NODES_H

#include <stdint.h>
#include <sys/stat.h>

struct nodes;

struct node {
	int fd;             /* O_PATH */
	uint64_t id;
	uint64_t generation; /* differs from that of an earlier node with the same number */
	mode_t type;         /* S_IFMT bits */
	/* the table's own */
	dev_t dev;
	ino_t ino;
	uint64_t lookups;
	unsigned users;
	struct node *next;
};

#define NODES_ROOT 1u

/* Takes over root, which becomes number NODES_ROOT and is never forgotten. NULL: no memory. */
struct nodes *nodes_create(int root, const struct stat *status);
void nodes_destroy(struct nodes *nodes);
/* Forgets all but the root. Nobody uses any. */
void nodes_clear(struct nodes *nodes);

/* The node with that number, for use until nodes_put; NULL: the guest knows no such. */
struct node *nodes_get(struct nodes *nodes, uint64_t id);
void nodes_put(struct nodes *nodes, struct node *node);

/*
 * The node of the file that fd (O_PATH, taken over) is open on, looked up once more, for use until
 * nodes_put. NULL: no memory, or too many.
 */
struct node *nodes_look_up(struct nodes *nodes, int fd, const struct stat *status);
/* The guest forgets count look-ups. */
void nodes_forget(struct nodes *nodes, uint64_t id, uint64_t count);

/* A number for the file that no other of the tree has, though it may span file systems. */
uint64_t nodes_inode(struct nodes *nodes, const struct stat *status);

#endif
