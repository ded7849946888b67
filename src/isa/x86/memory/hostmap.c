/* SPDX-License-Identifier: MIT */
/* See hostmap.h. */
#include "isa/x86/memory/hostmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/memory/paging.h"
#include "isa/x86/memory/segment.h"
#include "isa/x86/x86.h"
#include "mem/mem.h"

#define SLOT_BYTES (1ull << X86_HOSTMAP_SHIFT)
#define AREA_BYTES (SLOT_BYTES + 2 * X86_HOSTMAP_GUARD)
#define PLACES 8     /* kernels use four or five */
#define LEAVES 1024  /* then it starts again */
#define ROOM_PLACES 48 /* of the 128 TiB of addresses that Linux gives */
#define ROOM_LEAVES 16384 /* at worst, each is two of the 65530 mappings: itself, and what is behind it */
#define MISS_US 10     /* what one costs, about: a signal, and mapping, or some part of making the code again */
#define ENOUGH_US 100000 /* a kernel that boots takes half of that */
#define TIME_SHARE 16  /* one part of the time goes there, in the long run */
#define GIANT_BYTES (1ull << 30) /* the largest page */
#define AROUND_BYTES (64ull << 10)

/* A TiB that has one of the host's. */
struct place {
	uint64_t linear;
	uint8_t *host; /* where linear would be */
};

/* What is mapped by one entry of the guest's tables, or the part of it that is memory; or several small pages. */
struct leaf {
	uint64_t linear, bytes, phys;
	uint64_t page_shift; /* log2 of the guest's page */
};

struct x86_hostmap {
	struct x86_hostmap_room *room;
	uint64_t spent, counted_at; /* on misses, in ticks of the host's TSC; it is forgiven as time passes */
	bool rests;
	unsigned places, leaves;
	struct place place[PLACES];
	struct leaf leaf[LEAVES]; /* by linear address */
};

static void *reserve(void)
{
	void *area = mmap(NULL, AREA_BYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return area == MAP_FAILED ? NULL : area;
}

void x86_hostmap_open(struct x86_hostmap_room *room)
{
	uint8_t *area = reserve();

	room->nowhere = area ? area + X86_HOSTMAP_GUARD : NULL;
	atomic_init(&room->places, ROOM_PLACES);
	atomic_init(&room->leaves, ROOM_LEAVES);
}

void x86_hostmap_close(struct x86_hostmap_room *room)
{
	if (room->nowhere)
		munmap(room->nowhere - X86_HOSTMAP_GUARD, AREA_BYTES);
}

static bool take(_Atomic unsigned *left)
{
	unsigned now = atomic_load(left);

	while (now)
		if (atomic_compare_exchange_weak(left, &now, now - 1))
			return true;
	return false;
}

/* The lowest address of the TiB that linear is in. */
static uint64_t slot_start(uint64_t linear)
{
	return (uint64_t)((int64_t)(linear << 16) >> 16) & ~(SLOT_BYTES - 1);
}

static void lead(struct x86_cpu *cpu, uint64_t slot, const uint8_t *host)
{
	cpu->mirror.hostmap[slot >> X86_HOSTMAP_SHIFT & (X86_HOSTMAP_SLOTS - 1)] =
		(uint64_t)(uintptr_t)host - slot;
}

int x86_hostmap_create(struct x86_cpu *cpu, struct x86_hostmap_room *room, struct error *err)
{
	struct x86_hostmap *map = calloc(1, sizeof(*map));

	if (!map)
		return error_set(err, ENOMEM, "no memory for CPU %u's mappings", cpu->cpu.index);
	map->room = room;
	for (uint64_t i = 0; i < X86_HOSTMAP_SLOTS; i++)
		lead(cpu, slot_start(i << X86_HOSTMAP_SHIFT), room->nowhere);
	cpu->hostmap = map;
	return 0;
}

static struct place *find_place(struct x86_hostmap *map, uint64_t linear)
{
	for (unsigned i = 0; i < map->places; i++)
		if (linear - map->place[i].linear < SLOT_BYTES)
			return &map->place[i];
	return NULL;
}

/* The place for linear, made if there is none yet. NULL: no room. */
static struct place *place_for(struct x86_cpu *cpu, uint64_t linear)
{
	struct x86_hostmap *map = cpu->hostmap;
	struct place *place = find_place(map, linear);
	uint8_t *area;

	if (place || map->places == PLACES || !take(&map->room->places))
		return place;
	area = reserve();
	if (!area) {
		atomic_fetch_add(&map->room->places, 1);
		return NULL;
	}
	place = &map->place[map->places++];
	*place = (struct place){ .linear = slot_start(linear), .host = area + X86_HOSTMAP_GUARD };
	lead(cpu, place->linear, place->host);
	return place;
}

/* ---- leaves ---- */

/* The index of the first leaf that ends above linear. */
static unsigned leaf_at(const struct x86_hostmap *map, uint64_t linear)
{
	unsigned low = 0, high = map->leaves;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (map->leaf[middle].linear + (map->leaf[middle].bytes - 1) < linear)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct leaf *find_leaf(struct x86_hostmap *map, uint64_t linear)
{
	unsigned i = leaf_at(map, linear);

	return i < map->leaves && linear >= map->leaf[i].linear ? &map->leaf[i] : NULL;
}

static uint8_t *host_of(struct x86_hostmap *map, uint64_t linear)
{
	struct place *place = find_place(map, linear);

	return place->host + (linear - place->linear);
}

/*
 * False: the host cannot have one mapping more, not even for nothing. Then there may be a hole in the place, where
 * the host may put anything, so the place is left as it is, and never used again.
 */
static bool unmap(struct x86_hostmap *map, const struct leaf *leaf)
{
	return mmap(host_of(map, leaf->linear), leaf->bytes, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != MAP_FAILED;
}

/* No address leads to a place any more. */
static void leave_places(struct x86_cpu *cpu)
{
	struct x86_hostmap *map = cpu->hostmap;

	for (unsigned i = 0; i < map->places; i++)
		lead(cpu, map->place[i].linear, map->room->nowhere);
	atomic_fetch_add(&map->room->leaves, map->leaves);
	map->places = map->leaves = 0;
}

/* Starts again, without places. */
static void close_all(struct x86_cpu *cpu)
{
	struct x86_hostmap *map = cpu->hostmap;

	for (unsigned i = 0; i < map->places; i++)
		munmap(map->place[i].host - X86_HOSTMAP_GUARD, AREA_BYTES);
	atomic_fetch_add(&map->room->places, map->places);
	leave_places(cpu);
}

void x86_hostmap_destroy(struct x86_cpu *cpu)
{
	struct x86_hostmap *map = cpu->hostmap;

	if (!map)
		return;
	close_all(cpu);
	free(map);
	cpu->hostmap = NULL;
}

static void remove_leaf(struct x86_cpu *cpu, struct leaf *leaf)
{
	struct x86_hostmap *map = cpu->hostmap;
	unsigned behind = map->leaves - (unsigned)(leaf - map->leaf) - 1;

	if (!unmap(map, leaf)) {
		leave_places(cpu);
		return;
	}
	memmove(leaf, leaf + 1, behind * sizeof(*leaf));
	map->leaves--;
	atomic_fetch_add(&map->room->leaves, 1);
}

static void add_leaf(struct x86_hostmap *map, const struct leaf *leaf)
{
	unsigned i = leaf_at(map, leaf->linear);

	memmove(&map->leaf[i + 1], &map->leaf[i], (map->leaves - i) * sizeof(*leaf));
	map->leaf[i] = *leaf;
	map->leaves++;
}

/* ---- what may be there ---- */

/* What the guest's tables say of linear, if that may be mapped. */
static bool look(struct x86_cpu *cpu, uint64_t linear, struct leaf *leaf, const struct mem_region **region)
{
	uint64_t offset, bytes, start;
	struct x86_walk walk;

	if ((int64_t)linear >= 0 || !x86_canonical(cpu, linear) || !(cpu->state.cr0 & X86_CR0_PG) ||
	    !cpu->long_mode || !x86_walk_look(cpu, linear, X86_MMU_KERNEL_SMAP, &walk) ||
	    !walk.readable || !walk.global)
		return false;
	*region = mem_find(cpu->cpu.env.mem, walk.phys);
	if (!*region || (*region)->is_window)
		return false;
	bytes = 1ull << walk.page_shift;
	offset = linear & (bytes - 1);
	start = walk.phys - offset;
	*leaf = (struct leaf){ .linear = linear - offset, .bytes = bytes, .phys = start,
			       .page_shift = walk.page_shift };
	if (start < (*region)->gpa) {
		leaf->linear += (*region)->gpa - start;
		leaf->bytes -= (*region)->gpa - start;
		leaf->phys = (*region)->gpa;
	}
	if (leaf->phys + leaf->bytes > (*region)->gpa + (*region)->size_bytes)
		leaf->bytes = (*region)->gpa + (*region)->size_bytes - leaf->phys;
	return true;
}

/* Is the small page at linear the one that goes on with what is at phys? */
static bool continues(struct x86_cpu *cpu, uint64_t linear, uint64_t phys,
		      const struct mem_region *region)
{
	const struct mem_region *other;
	struct leaf page;

	return !find_leaf(cpu->hostmap, linear) && look(cpu, linear, &page, &other) &&
	       page.page_shift == MEM_PAGE_SHIFT && page.phys == phys && other == region;
}

/* Each miss is dear, so small pages come with their neighbours, if these are neighbours in memory, too. */
static void widen(struct x86_cpu *cpu, struct leaf *leaf, const struct mem_region *region)
{
	uint64_t low = leaf->linear & ~(AROUND_BYTES - 1), high = low + AROUND_BYTES;

	if (leaf->page_shift != MEM_PAGE_SHIFT)
		return;
	while (leaf->linear > low &&
	       continues(cpu, leaf->linear - MEM_PAGE_SIZE, leaf->phys - MEM_PAGE_SIZE, region)) {
		leaf->linear -= MEM_PAGE_SIZE;
		leaf->phys -= MEM_PAGE_SIZE;
		leaf->bytes += MEM_PAGE_SIZE;
	}
	while (leaf->linear + leaf->bytes != high &&
	       continues(cpu, leaf->linear + leaf->bytes, leaf->phys + leaf->bytes, region))
		leaf->bytes += MEM_PAGE_SIZE;
}

static bool map_page(struct x86_cpu *cpu, uint64_t linear)
{
	struct x86_hostmap *map = cpu->hostmap;
	const struct mem_region *region;
	struct leaf leaf;
	void *host;

	if (!look(cpu, linear, &leaf, &region))
		return false;
	if (map->leaves == LEAVES)
		close_all(cpu);
	if (!place_for(cpu, linear) || !take(&map->room->leaves))
		return false;
	widen(cpu, &leaf, region);
	host = mmap(host_of(map, leaf.linear), leaf.bytes, PROT_READ, MAP_SHARED | MAP_FIXED,
		    mem_file(cpu->cpu.env.mem),
		    (off_t)(region->file_offset + (leaf.phys - region->gpa)));
	if (host == MAP_FAILED) {
		atomic_fetch_add(&map->room->leaves, 1);
		leave_places(cpu);
		return false;
	}
	add_leaf(map, &leaf);
	cpu->mirror.stats.mapped++;
	return true;
}

static bool map_missing(struct x86_cpu *cpu, uint64_t linear, unsigned size)
{
	if (!find_leaf(cpu->hostmap, linear))
		return map_page(cpu, linear);
	linear += size - 1;
	return !find_leaf(cpu->hostmap, linear) && map_page(cpu, linear);
}

static void count_time(struct x86_cpu *cpu, uint64_t more_us)
{
	uint64_t now = __builtin_ia32_rdtsc(), per_us = x86_tsc_hz(cpu->cpuid) / 1000000;
	struct x86_hostmap *map = cpu->hostmap;
	uint64_t forgiven = (now - map->counted_at) / TIME_SHARE;

	map->spent = (map->spent > forgiven ? map->spent - forgiven : 0) + more_us * per_us;
	map->counted_at = now;
	if (map->spent > ENOUGH_US * per_us)
		map->rests = true;
	else if (map->spent < ENOUGH_US * per_us / 2)
		map->rests = false;
}

bool x86_hostmap_rests(struct x86_cpu *cpu)
{
	count_time(cpu, 0);
	return cpu->hostmap->rests;
}

bool x86_hostmap_miss(struct x86_cpu *cpu, uint64_t linear, unsigned size)
{
	bool done = map_missing(cpu, linear, size);

	count_time(cpu, MISS_US);
	return done;
}

/* Nothing else is ever there. */
static bool may_hold(const struct x86_cpu *cpu, uint64_t linear)
{
	return (int64_t)linear < 0 && cpu->hostmap;
}

/* A large page that is not memory altogether may be there in pieces: all go. */
void x86_hostmap_forget(struct x86_cpu *cpu, uint64_t linear)
{
	struct x86_hostmap *map = cpu->hostmap;
	unsigned i;

	if (!may_hold(cpu, linear))
		return;
	i = leaf_at(map, linear & ~(GIANT_BYTES - 1));
	while (i < map->leaves && map->leaf[i].linear / GIANT_BYTES <= linear / GIANT_BYTES) {
		struct leaf *leaf = &map->leaf[i];

		if (leaf->linear >> leaf->page_shift == linear >> leaf->page_shift ||
		    linear - leaf->linear < leaf->bytes)
			remove_leaf(cpu, leaf);
		else
			i++;
	}
}

/* Do the tables still say the same of all of it? */
static bool holds(struct x86_cpu *cpu, const struct leaf *leaf)
{
	const struct mem_region *region;
	struct leaf now;

	for (uint64_t done = 0; done < leaf->bytes; done += now.bytes)
		if (!look(cpu, leaf->linear + done, &now, &region) ||
		    now.linear != leaf->linear + done || now.phys != leaf->phys + done ||
		    now.page_shift != leaf->page_shift || now.bytes > leaf->bytes - done)
			return false;
	return true;
}

void x86_hostmap_flush(struct x86_cpu *cpu)
{
	struct x86_hostmap *map = cpu->hostmap;
	unsigned kept = 0;

	if (!map)
		return;
	for (unsigned i = 0; i < map->leaves; i++) {
		struct leaf *leaf = &map->leaf[i];

		if (holds(cpu, leaf)) {
			map->leaf[kept++] = *leaf;
		} else if (!unmap(map, leaf)) {
			leave_places(cpu);
			return;
		}
	}
	atomic_fetch_add(&map->room->leaves, map->leaves - kept);
	map->leaves = kept;
}
