/* SPDX-License-Identifier: MIT */
/* Data structures and algorithms on integers: what most programs spend their time with. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"

/* ---- sort: qsort with a comparison function ---- */

#define SORT_COUNT 10000

static void *sort_prepare(void)
{
	return bench_alloc(SORT_COUNT * sizeof(uint32_t));
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint64_t sort_run(void *data)
{
	uint32_t *numbers = data;
	uint64_t state = 1, sum = 0;

	for (unsigned i = 0; i < SORT_COUNT; i++)
		numbers[i] = (uint32_t)bench_next(&state);
	qsort(numbers, SORT_COUNT, sizeof(numbers[0]), compare);
	for (unsigned i = 0; i < SORT_COUNT; i += 100)
		sum = bench_mix(sum, numbers[i]);
	return sum;
}

const struct bench bench_sort = { "sort", "integer", sort_prepare, sort_run, NULL };

/* ---- hash: a table with open addressing ---- */

#define HASH_SLOTS 16384
#define HASH_KEYS 10000

static void *hash_prepare(void)
{
	return bench_alloc(HASH_SLOTS * sizeof(uint64_t));
}

static uint64_t *hash_slot(uint64_t *table, uint64_t key)
{
	uint64_t at = (key * 0x9e3779b97f4a7c15ull) >> 50;

	while (table[at] && table[at] != key)
		at = (at + 1) % HASH_SLOTS;
	return &table[at];
}

static uint64_t hash_run(void *data)
{
	uint64_t *table = data, state = 2, sum = 0;

	memset(table, 0, HASH_SLOTS * sizeof(*table));
	for (unsigned i = 0; i < HASH_KEYS; i++) {
		uint64_t key = bench_next(&state);

		*hash_slot(table, key) = key;
	}
	for (unsigned round = 0; round < 4; round++) {
		state = 2;
		for (unsigned i = 0; i < HASH_KEYS; i++)
			sum += *hash_slot(table, bench_next(&state));
	}
	return sum;
}

const struct bench bench_hash = { "hash", "integer", hash_prepare, hash_run, NULL };

/* ---- tree: insertion into and walks through an unbalanced binary tree ---- */

#define TREE_NODES 8000

struct node {
	uint64_t key;
	struct node *child[2];
};

static void *tree_prepare(void)
{
	return bench_alloc(TREE_NODES * sizeof(struct node));
}

static uint64_t tree_sum(const struct node *node)
{
	if (!node)
		return 0;
	return tree_sum(node->child[0]) + node->key + tree_sum(node->child[1]);
}

static uint64_t tree_run(void *data)
{
	struct node *nodes = data, *root = NULL;
	uint64_t state = 3;

	for (unsigned i = 0; i < TREE_NODES; i++) {
		struct node **link = &root;

		nodes[i] = (struct node){ .key = bench_next(&state) };
		while (*link)
			link = &(*link)->child[nodes[i].key > (*link)->key];
		*link = &nodes[i];
	}
	return tree_sum(root);
}

const struct bench bench_tree = { "tree", "integer", tree_prepare, tree_run, NULL };

/* ---- chase: a list in random order over 1 MiB ---- */

#define CHASE_COUNT (1u << 17)

static void *chase_prepare(void)
{
	uint64_t *next = bench_alloc(CHASE_COUNT * sizeof(*next)), state = 4;

	for (unsigned i = 0; i < CHASE_COUNT; i++)
		next[i] = i;
	/* Sattolo's algorithm: one cycle through all. */
	for (unsigned i = CHASE_COUNT - 1; i; i--) {
		unsigned j = (unsigned)(bench_next(&state) % i);
		uint64_t swap = next[i];

		next[i] = next[j];
		next[j] = swap;
	}
	return next;
}

static uint64_t chase_run(void *data)
{
	const uint64_t *next = data;
	uint64_t at = 0, sum = 0;

	for (unsigned i = 0; i < CHASE_COUNT; i++) {
		at = next[at];
		sum += at & 0xff;
	}
	return sum;
}

const struct bench bench_chase = { "chase", "integer", chase_prepare, chase_run, NULL };

/* ---- text: what awk '{ count[$2]++ }' does ---- */

#define TEXT_BYTES 65536
#define TEXT_COUNTERS 1024

struct text {
	char bytes[TEXT_BYTES];
	uint32_t count[TEXT_COUNTERS];
};

static void *text_prepare(void)
{
	struct text *text = bench_alloc(sizeof(*text));
	uint64_t state = 5;

	for (unsigned i = 0; i < TEXT_BYTES; i++) {
		unsigned kind = (unsigned)(bench_next(&state) >> 32) % 16;

		text->bytes[i] = kind == 0 ? '\n' : kind < 4 ? ' ' : (char)('a' + kind);
	}
	text->bytes[TEXT_BYTES - 1] = '\n';
	return text;
}

static unsigned word_hash(const char *word, const char *end)
{
	unsigned hash = 5381;

	while (word < end)
		hash = hash * 33 + (unsigned char)*word++;
	return hash % TEXT_COUNTERS;
}

static uint64_t text_run(void *data)
{
	struct text *text = data;
	const char *at = text->bytes, *end = at + TEXT_BYTES;
	uint64_t sum = 0;

	memset(text->count, 0, sizeof(text->count));
	while (at < end) {
		unsigned field = 0;

		while (*at != '\n') {
			const char *word;

			while (*at == ' ')
				at++;
			word = at;
			while (*at != ' ' && *at != '\n')
				at++;
			if (++field == 2)
				text->count[word_hash(word, at)]++;
		}
		at++;
	}
	for (unsigned i = 0; i < TEXT_COUNTERS; i++)
		sum = bench_mix(sum, text->count[i]);
	return sum;
}

const struct bench bench_text = { "text", "integer", text_prepare, text_run, NULL };
