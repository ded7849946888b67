/* SPDX-License-Identifier: MIT */
/*
 * See codepages.h. Open addressing, never more than three quarters full. A key is the page's address
 * with its size's number in the low bits, so pages of different sizes at one address are two.
 */
#include "isa/x86/memory/codepages.h"

#include "isa/x86/memory/paging.h"
#include "isa/x86/x86.h"

#define KEYS (1u << X86_CODE_PAGES_BITS)

static const uint8_t shifts[] = { 12, 21, 30 };
#define SIZES (sizeof(shifts) / sizeof(shifts[0]))

static uint64_t key_of(uint64_t linear, unsigned size)
{
	return (linear >> shifts[size] << shifts[size]) | (size + 1);
}

/* Where key is, or the free place where it would be. */
static unsigned find(const struct x86_code_pages *set, uint64_t key)
{
	unsigned at = (unsigned)((key * 0x9e3779b97f4a7c15ull) >> (64 - X86_CODE_PAGES_BITS));

	while (set->key[at] && set->key[at] != key)
		at = (at + 1) % KEYS;
	return at;
}

bool x86_code_pages_add(struct x86_code_pages *set, uint64_t linear, unsigned shift)
{
	unsigned size = shift >= 30 ? 2 : shift >= 21 ? 1 : 0;
	uint64_t key = key_of(linear, size);
	unsigned at = find(set, key);

	if (set->key[at])
		return true;
	if (set->count >= KEYS / 4 * 3)
		return false;
	set->key[at] = key;
	set->count++;
	set->sizes |= 1u << size;
	return true;
}

bool x86_code_pages_has(const struct x86_code_pages *set, uint64_t linear)
{
	for (unsigned size = 0; size < SIZES; size++)
		if ((set->sizes >> size & 1) && set->key[find(set, key_of(linear, size))])
			return true;
	return false;
}

void x86_code_pages_clear(struct x86_code_pages *set)
{
	if (!set->count)
		return;
	for (unsigned i = 0; i < KEYS; i++)
		set->key[i] = 0;
	set->count = set->sizes = 0;
}

/* ---- places ---- */

#define SLOTS (2 * X86_CODE_PLACES)

void x86_code_places_clear(struct x86_code_places *places)
{
	if (!places->count)
		return;
	for (unsigned i = 0; i < SLOTS; i++)
		places->slot[i].shift = 0;
	places->count = 0;
}

void x86_code_places_give_up(struct x86_code_places *places)
{
	places->count = X86_CODE_PLACES + 1;
}

/* A page that is noted in two places never holds: it is in one of them at most. */
void x86_code_places_add(struct x86_code_places *places, uint64_t linear, uint64_t phys,
			 unsigned shift)
{
	const struct x86_code_place *slot;
	unsigned at = (linear >> shifts[0]) % SLOTS;

	if (places->count > X86_CODE_PLACES)
		return;
	for (; (slot = &places->slot[at])->shift; at = (at + 1) % SLOTS)
		if (slot->linear == linear && slot->phys == phys && slot->shift == shift)
			return;
	places->slot[at] = (struct x86_code_place){ linear, phys, shift };
	places->count++;
}

/* A page whose accessed bit was taken away is no longer in a TLB: x86_walk_look has it not. */
static bool place_holds(struct x86_cpu *cpu, const struct x86_code_place *place)
{
	struct x86_walk walk;

	return x86_walk_look(cpu, place->linear, X86_MMU_USER, &walk) && walk.executable &&
	       walk.phys == place->phys && walk.page_shift == place->shift;
}

bool x86_code_places_hold(struct x86_cpu *cpu, const struct x86_code_places *places)
{
	if (places->count > X86_CODE_PLACES)
		return false;
	for (unsigned i = 0; i < SLOTS && places->count; i++)
		if (places->slot[i].shift && !place_holds(cpu, &places->slot[i]))
			return false;
	return true;
}
