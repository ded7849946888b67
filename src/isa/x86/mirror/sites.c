/* SPDX-License-Identifier: MIT */
/* See sites.h. */
#include "isa/x86/mirror/sites.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/error.h"

#define SITE_EVERY_BYTES 16 /* no such instruction's hot and cold code is shorter, nor is a region */

static void *reserve(size_t bytes)
{
	void *table = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return table == MAP_FAILED ? NULL : table;
}

int mirror_sites_create(struct mirror_sites *sites, size_t code_bytes, struct error *err)
{
	sites->limit = code_bytes / SITE_EVERY_BYTES;
	sites->site = reserve(sites->limit * sizeof(*sites->site));
	sites->region = reserve(sites->limit * sizeof(*sites->region));
	if (!sites->site || !sites->region)
		return error_set_errno(err, errno, "no memory for the translator's tables");
	return 0;
}

void mirror_sites_destroy(struct mirror_sites *sites)
{
	if (sites->site)
		munmap(sites->site, sites->limit * sizeof(*sites->site));
	if (sites->region)
		munmap(sites->region, sites->limit * sizeof(*sites->region));
}

void mirror_sites_clear(struct mirror_sites *sites)
{
	atomic_store(&sites->count, 0);
	sites->regions = 0;
}

void mirror_sites_begin(struct mirror_sites *sites, uint32_t start)
{
	sites->region[sites->regions++] = start;
}

void mirror_sites_add(struct mirror_sites *sites, struct mirror_site site)
{
	size_t count = atomic_load(&sites->count);

	sites->site[count] = site;
	atomic_store(&sites->count, count + 1);
}

bool mirror_sites_room(const struct mirror_sites *sites, size_t count)
{
	return sites->limit - atomic_load(&sites->count) >= count && sites->regions < sites->limit;
}

const struct mirror_site *mirror_sites_find(const struct mirror_sites *sites, uint64_t code)
{
	size_t count = atomic_load(&sites->count), low = 0, high = count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (sites->site[middle].code < code)
			low = middle + 1;
		else
			high = middle;
	}
	return low < count && sites->site[low].code == code ? &sites->site[low] : NULL;
}

void mirror_sites_region(const struct mirror_sites *sites, uint32_t code, uint32_t *start,
			 uint32_t *end)
{
	size_t low = 0, high = sites->regions;

	while (high - low > 1) {
		size_t middle = (low + high) / 2;

		if (sites->region[middle] <= code)
			low = middle;
		else
			high = middle;
	}
	*start = sites->region[low];
	*end = high < sites->regions ? sites->region[high] : UINT32_MAX;
}
