/* SPDX-License-Identifier: MIT */
/*
 * The host clusters that hold metadata, so that no guest's data is ever written over them, whatever
 * the image says: a hash table of cluster numbers with open addressing. The image's mutex is held.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "block/qcow2_image.h"

#define EMPTY (~0ull)
#define BITS_MIN 8u
#define BITS_MAX 24u

static uint64_t slot_of(const struct qcow2_metadata *set, uint64_t cluster)
{
	return (cluster * 0x9e3779b97f4a7c15ull) >> (64 - set->bits);
}

/* Where it is, or would be. */
static uint64_t *find(const struct qcow2_metadata *set, uint64_t cluster)
{
	uint64_t mask = (1ull << set->bits) - 1, at = slot_of(set, cluster);

	while (set->slot[at] != EMPTY && set->slot[at] != cluster)
		at = (at + 1) & mask;
	return &set->slot[at];
}

static int grow(struct qcow2_metadata *set)
{
	struct qcow2_metadata larger = { .bits = set->slot ? set->bits + 1 : BITS_MIN };
	uint64_t slots = 1ull << larger.bits;

	if (larger.bits > BITS_MAX)
		return -E2BIG;
	larger.slot = malloc(slots * sizeof(larger.slot[0]));
	if (!larger.slot)
		return -ENOMEM;
	memset(larger.slot, 0xff, slots * sizeof(larger.slot[0]));
	for (uint64_t i = 0; set->slot && i < 1ull << set->bits; i++)
		if (set->slot[i] != EMPTY)
			*find(&larger, set->slot[i]) = set->slot[i];
	larger.count = set->count;
	free(set->slot);
	*set = larger;
	return 0;
}

static int add_one(struct qcow2_metadata *set, uint64_t cluster)
{
	uint64_t *slot;
	int ret;

	if (!set->slot || set->count >= (1ull << set->bits) / 4 * 3) {
		ret = grow(set);
		if (ret)
			return ret;
	}
	slot = find(set, cluster);
	if (*slot == cluster)
		return -EEXIST;
	*slot = cluster;
	set->count++;
	return 0;
}

int qcow2_metadata_add(struct qcow2_metadata *set, uint64_t cluster, uint64_t count)
{
	int ret = 0;

	for (uint64_t i = 0; i < count && !ret; i++)
		ret = add_one(set, cluster + i);
	return ret;
}

/* What follows in the same run moves up, so that no look-up stops early. */
void qcow2_metadata_remove(struct qcow2_metadata *set, uint64_t cluster)
{
	uint64_t mask = (1ull << set->bits) - 1, hole, at;
	uint64_t *slot;

	if (!set->slot)
		return;
	slot = find(set, cluster);
	if (*slot != cluster)
		return;
	hole = at = (uint64_t)(slot - set->slot);
	for (;;) {
		at = (at + 1) & mask;
		if (set->slot[at] == EMPTY)
			break;
		if (((at - slot_of(set, set->slot[at])) & mask) < ((at - hole) & mask))
			continue;
		set->slot[hole] = set->slot[at];
		hole = at;
	}
	set->slot[hole] = EMPTY;
	set->count--;
}

bool qcow2_metadata_has(const struct qcow2_metadata *set, uint64_t cluster, uint64_t count)
{
	for (uint64_t i = 0; set->slot && i < count; i++)
		if (*find(set, cluster + i) == cluster + i)
			return true;
	return false;
}

void qcow2_metadata_release(struct qcow2_metadata *set)
{
	free(set->slot);
	*set = (struct qcow2_metadata){ 0 };
}
