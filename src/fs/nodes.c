/* SPDX-License-Identifier: MIT */
/* See nodes.h: a table by number and a hash by device and inode, under one lock. */
#include "fs/nodes.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#define NODES_MAX (1u << 21)
#define HASH_BITS 16
#define DEVICES 256
#define DEVICE_SHIFT 56

struct nodes {
	pthread_mutex_t mutex;
	struct node **by_id; /* slot 0 is never used */
	uint64_t *free_ids;
	uint64_t ids, ids_limit, free_count;
	uint64_t generations;
	struct node *hash[1u << HASH_BITS];
	dev_t device[DEVICES];
	unsigned devices;
};

static struct node **bucket(struct nodes *nodes, dev_t dev, ino_t ino)
{
	uint64_t key = ((uint64_t)ino ^ (uint64_t)dev << 32) * 0x9e3779b97f4a7c15ull;

	return &nodes->hash[key >> (64 - HASH_BITS)];
}

/* Room for one more number; both tables grow together. */
static bool grow(struct nodes *nodes)
{
	uint64_t limit = nodes->ids_limit ? 2 * nodes->ids_limit : 256;
	struct node **by_id;
	uint64_t *free_ids;

	if (nodes->ids < nodes->ids_limit)
		return true;
	if (limit > NODES_MAX)
		return false;
	by_id = realloc(nodes->by_id, limit * sizeof(*by_id));
	if (by_id)
		nodes->by_id = by_id;
	free_ids = realloc(nodes->free_ids, limit * sizeof(*free_ids));
	if (free_ids)
		nodes->free_ids = free_ids;
	if (!by_id || !free_ids)
		return false;
	nodes->ids_limit = limit;
	return true;
}

static uint64_t new_id(struct nodes *nodes)
{
	if (nodes->free_count)
		return nodes->free_ids[--nodes->free_count];
	return grow(nodes) ? nodes->ids++ : 0;
}

static struct node *insert(struct nodes *nodes, int fd, const struct stat *status)
{
	struct node **head = bucket(nodes, status->st_dev, status->st_ino);
	struct node *node = malloc(sizeof(*node));
	uint64_t id = node ? new_id(nodes) : 0;

	if (!id) {
		free(node);
		return NULL;
	}
	*node = (struct node){ .fd = fd, .id = id, .generation = nodes->generations++,
			       .type = status->st_mode & S_IFMT, .dev = status->st_dev,
			       .ino = status->st_ino, .next = *head };
	*head = node;
	nodes->by_id[id] = node;
	return node;
}

static void drop(struct nodes *nodes, struct node *node)
{
	struct node **link = bucket(nodes, node->dev, node->ino);

	while (*link != node)
		link = &(*link)->next;
	*link = node->next;
	nodes->by_id[node->id] = NULL;
	nodes->free_ids[nodes->free_count++] = node->id;
	close(node->fd);
	free(node);
}

static void drop_unused(struct nodes *nodes, struct node *node)
{
	if (!node->lookups && !node->users)
		drop(nodes, node);
}

struct nodes *nodes_create(int root, const struct stat *status)
{
	struct nodes *nodes = calloc(1, sizeof(*nodes));
	struct node *node = NULL;

	if (nodes) {
		nodes->ids = NODES_ROOT;
		pthread_mutex_init(&nodes->mutex, NULL);
		node = insert(nodes, root, status);
	}
	if (!node) {
		close(root);
		nodes_destroy(nodes);
		return NULL;
	}
	assert(node->id == NODES_ROOT);
	node->lookups = 1;
	return nodes;
}

void nodes_clear(struct nodes *nodes)
{
	for (uint64_t id = NODES_ROOT + 1; id < nodes->ids; id++)
		if (nodes->by_id[id])
			drop(nodes, nodes->by_id[id]);
}

void nodes_destroy(struct nodes *nodes)
{
	if (!nodes)
		return;
	if (nodes->ids > NODES_ROOT) {
		nodes_clear(nodes);
		drop(nodes, nodes->by_id[NODES_ROOT]);
	}
	pthread_mutex_destroy(&nodes->mutex);
	free(nodes->by_id);
	free(nodes->free_ids);
	free(nodes);
}

static struct node *find(struct nodes *nodes, uint64_t id)
{
	return id >= NODES_ROOT && id < nodes->ids ? nodes->by_id[id] : NULL;
}

struct node *nodes_get(struct nodes *nodes, uint64_t id)
{
	struct node *node;

	pthread_mutex_lock(&nodes->mutex);
	node = find(nodes, id);
	if (node)
		node->users++;
	pthread_mutex_unlock(&nodes->mutex);
	return node;
}

void nodes_put(struct nodes *nodes, struct node *node)
{
	pthread_mutex_lock(&nodes->mutex);
	node->users--;
	drop_unused(nodes, node);
	pthread_mutex_unlock(&nodes->mutex);
}

struct node *nodes_look_up(struct nodes *nodes, int fd, const struct stat *status)
{
	struct node *node;

	pthread_mutex_lock(&nodes->mutex);
	node = *bucket(nodes, status->st_dev, status->st_ino);
	while (node && (node->ino != status->st_ino || node->dev != status->st_dev))
		node = node->next;
	/* A descriptor that is held keeps its inode number from being given to another file. */
	if (node)
		close(fd);
	else
		node = insert(nodes, fd, status);
	if (node) {
		node->lookups++;
		node->users++;
	} else {
		close(fd);
	}
	pthread_mutex_unlock(&nodes->mutex);
	return node;
}

void nodes_forget(struct nodes *nodes, uint64_t id, uint64_t count)
{
	struct node *node;

	pthread_mutex_lock(&nodes->mutex);
	node = find(nodes, id);
	if (node && id != NODES_ROOT) {
		node->lookups -= count < node->lookups ? count : node->lookups;
		drop_unused(nodes, node);
	}
	pthread_mutex_unlock(&nodes->mutex);
}

uint64_t nodes_inode(struct nodes *nodes, const struct stat *status)
{
	unsigned device;

	pthread_mutex_lock(&nodes->mutex);
	for (device = 0; device < nodes->devices; device++)
		if (nodes->device[device] == status->st_dev)
			break;
	if (device == nodes->devices && device < DEVICES)
		nodes->device[nodes->devices++] = status->st_dev;
	pthread_mutex_unlock(&nodes->mutex);
	return (uint64_t)status->st_ino ^ (uint64_t)(device % DEVICES) << DEVICE_SHIFT;
}
