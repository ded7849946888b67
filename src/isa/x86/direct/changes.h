/* SPDX-License-Identifier: MIT */
/*
 * What the cell is to map and unmap before it runs guest code again. The CPU's thread, or an
 * exclusive section that it waits for.
 */
#ifndef RINGLET_ISA_X86_DIRECT_CHANGES_H
#define RINGLET_ISA_X86_DIRECT_CHANGES_H

#include "isa/x86/direct/pages.h"

/* false: there is no room for it. protection 0 unmaps. */
bool direct_change(struct direct_pages *pages, uint64_t linear, uint64_t bytes, uint64_t offset,
		   unsigned protection);

/*
 * All changes from number first on unmap, and what they unmap has no entry: they become as few as
 * possible. false: less than half of the room is free then, and to go on like this is not worth it.
 */
bool direct_changes_join(struct direct_pages *pages, unsigned first);

/* Does the cell need any of this itself, or is it no user memory? */
bool direct_taken(const struct direct_pages *pages, uint64_t linear, uint64_t bytes);

#endif
