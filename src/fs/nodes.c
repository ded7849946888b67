/* SPDX-License-Identifier: MIT */
/*
 * See nodes.h: a table by number and a hash by device and inode, under one lock. Descriptors change
 * under it, and only those of nodes without users.
 */
#include "fs/nodes.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "fs/handles.h"

#define NODES_MAX (1u << 21)
#define HASH_BITS 16
#define DEVICES 256
#define DEVICE_SHIFT 56
#define PARK_AT_ONCE 16

struct nodes {
	pthread_mutex_t mutex;
	struct node **by_id; /* slot 0 is never used */
	uint64_t *free_ids;
	uint64_t ids, ids_limit, free_count;
	uint64_t generations;
	struct node *hash[1u << HASH_BITS];
	dev_t device[DEVICES];
	unsigned devices;
	struct handles *handles; /* NULL: nothing can be parked */
	unsigned open, open_limit;
	struct node *newest, *oldest;
};

static struct node **bucket(struct nodes *nodes, dev_t dev, ino_t ino)
{
	uint64_t key = ((uint64_t)ino ^ (uint64_t)dev << 32) * 0x9e3779b97f4a7c15ull;

	return &nodes->hash[key >> (64 - HASH_BITS)];
}

/* ---- descriptors ---- */

static void unlist(struct nodes *nodes, struct node *node)
{
	*(node->newer ? &node->newer->older : &nodes->newest) = node->older;
	*(node->older ? &node->older->newer : &nodes->oldest) = node->newer;
	node->newer = node->older = NULL;
}

static void list_first(struct nodes *nodes, struct node *node)
{
	node->older = nodes->newest;
	*(nodes->newest ? &nodes->newest->newer : &nodes->oldest) = node;
	nodes->newest = node;
}

static void set_fd(struct nodes *nodes, struct node *node, int fd)
{
	node->fd = fd;
	free(node->handle);
	node->handle = NULL;
	nodes->open++;
	list_first(nodes, node);
}

/* Its name is gone: its handle may find it as long as somebody has it open, or no more. */
static bool is_deleted(const struct node *node)
{
	struct stat status;

	return fstat(node->fd, &status) || !status.st_nlink;
}

static bool park(struct nodes *nodes, struct node *node)
{
	if (node->users || node->id == NODES_ROOT || is_deleted(node))
		return false;
	node->handle = handle_of(nodes->handles, node->fd);
	if (!node->handle)
		return false;
	close(node->fd);
	node->fd = -1;
	nodes->open--;
	unlist(nodes, node);
	return true;
}

/* Some of the oldest, if there are too many. Who cannot be parked is not asked again soon. */
static void park_some(struct nodes *nodes)
{
	unsigned tries = PARK_AT_ONCE;

	if (!nodes->handles || nodes->open <= nodes->open_limit)
		return;
	while (tries-- && nodes->oldest) {
		struct node *node = nodes->oldest;

		if (!park(nodes, node)) {
			unlist(nodes, node);
			list_first(nodes, node);
		}
	}
}

/* Whether node has its descriptor, again. */
static bool unpark(struct nodes *nodes, struct node *node)
{
	int fd;

	if (node->fd >= 0) {
		unlist(nodes, node);
		list_first(nodes, node);
		return true;
	}
	fd = handle_open(nodes->handles, node->handle);
	if (fd >= 0)
		set_fd(nodes, node, fd);
	return fd >= 0;
}

void nodes_limit(struct nodes *nodes, unsigned descriptors)
{
	pthread_mutex_lock(&nodes->mutex);
	nodes->open_limit = descriptors;
	pthread_mutex_unlock(&nodes->mutex);
}

/* ---- nodes ---- */

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
	*node = (struct node){ .id = id, .generation = nodes->generations++,
			       .type = status->st_mode & S_IFMT, .dev = status->st_dev,
			       .ino = status->st_ino, .next = *head };
	*head = node;
	nodes->by_id[id] = node;
	set_fd(nodes, node, fd);
	return node;
}

static void unhash(struct nodes *nodes, struct node *node)
{
	struct node **link = bucket(nodes, node->dev, node->ino);

	while (*link != node)
		link = &(*link)->next;
	*link = node->next;
	node->is_gone = true;
}

static void drop(struct nodes *nodes, struct node *node)
{
	if (!node->is_gone)
		unhash(nodes, node);
	nodes->by_id[node->id] = NULL;
	nodes->free_ids[nodes->free_count++] = node->id;
	if (node->fd >= 0) {
		unlist(nodes, node);
		nodes->open--;
		close(node->fd);
	}
	free(node->handle);
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
		nodes->open_limit = UINT32_MAX;
		nodes->handles = handles_create(root);
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
	handles_destroy(nodes->handles);
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
	if (node && unpark(nodes, node)) {
		node->users++;
		park_some(nodes);
	} else {
		node = NULL;
	}
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

/*
 * Whether fd is open on node's file. A descriptor that is held keeps its inode number from being given
 * to another file; of a parked node, another may have it. Then fd is node's.
 */
static bool is_same(struct nodes *nodes, struct node *node, int fd)
{
	struct handle *handle;
	bool same;

	if (node->fd >= 0) {
		close(fd);
		return unpark(nodes, node);
	}
	handle = handle_of(nodes->handles, fd);
	same = handle && handle_equal(handle, node->handle);
	free(handle);
	if (same)
		set_fd(nodes, node, fd);
	return same;
}

struct node *nodes_look_up(struct nodes *nodes, int fd, const struct stat *status)
{
	struct node *node;

	pthread_mutex_lock(&nodes->mutex);
	node = *bucket(nodes, status->st_dev, status->st_ino);
	while (node && (node->ino != status->st_ino || node->dev != status->st_dev))
		node = node->next;
	if (node && !is_same(nodes, node, fd)) {
		unhash(nodes, node);
		node = NULL;
	}
	if (!node)
		node = insert(nodes, fd, status);
	if (node) {
		node->lookups++;
		node->users++;
		park_some(nodes);
	} else {
		close(fd);
	}
	pthread_mutex_unlock(&nodes->mutex);
	return node;
}

void nodes_remember(struct nodes *nodes, struct node *node)
{
	pthread_mutex_lock(&nodes->mutex);
	node->lookups++;
	pthread_mutex_unlock(&nodes->mutex);
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
