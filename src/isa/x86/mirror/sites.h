/* SPDX-License-Identifier: MIT */
/*
 * Sites: places in translated code where an instruction may fault on the host, and where the interpreter does it
 * instead; and where regions begin, to know which one a site is in. Both tables grow with the code buffer. Written with
 * the translator's mutex held; mirror_fault reads them from a signal handler.
 */
#ifndef RINGLET_ISA_X86_MIRROR_SITES_H
#define RINGLET_ISA_X86_MIRROR_SITES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

struct mirror_site {
	uint32_t code;       /* offset into the code buffer */
	uint32_t cold : 30;  /* … from there */
	uint32_t flags : 1;  /* the guest's are the host's */
	uint32_t mapped : 1; /* it reads through memory/hostmap.h */
};

struct mirror_sites {
	struct mirror_site *site; /* by ascending code */
	_Atomic size_t count;
	uint32_t *region;         /* offsets into the code buffer, ascending */
	size_t regions;
	size_t limit;             /* of either */
};

/* For a code buffer of so many bytes: address space; touched pages cost. -ENOMEM. */
int mirror_sites_create(struct mirror_sites *sites, size_t code_bytes, struct error *err);
void mirror_sites_destroy(struct mirror_sites *sites);
/* No code is left. */
void mirror_sites_clear(struct mirror_sites *sites);

/* A region begins behind all others; then its sites follow, by ascending code. */
void mirror_sites_begin(struct mirror_sites *sites, uint32_t start);
void mirror_sites_add(struct mirror_sites *sites, struct mirror_site site);
/* Is there room for one more region with so many sites? */
bool mirror_sites_room(const struct mirror_sites *sites, size_t count);

/* The site of the instruction at code, or NULL. */
const struct mirror_site *mirror_sites_find(const struct mirror_sites *sites, uint64_t code);
/* The region that code is in begins at start, and the next one, if there is one, at end. */
void mirror_sites_region(const struct mirror_sites *sites, uint32_t code, uint32_t *start,
			 uint32_t *end);

#endif
