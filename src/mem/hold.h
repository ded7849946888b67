/* SPDX-License-Identifier: MIT */
/*
 * Pages that were looked through and are executed as they are (MEM_PAGE_EXEC) must not change under whoever runs
 * them: who is about to write to a page holds it meanwhile. That takes the flag away, and nobody sets it as long
 * as somebody holds the page. To make those who still run it leave is the caller's affair.
 *
 * Holds are counted in the page's flags, up to fourteen; more of them last for good, at no more cost than that
 * the page is not executed as it is again. Any thread; callable beside live vector state.
 */
#ifndef RINGLET_MEM_HOLD_H
#define RINGLET_MEM_HOLD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct mem;

/* The page with these flags. True: it was executed as it is. */
bool mem_hold_page(_Atomic uint8_t *flags);
void mem_release_page(_Atomic uint8_t *flags);

/* All pages of [gpa, gpa+len), as far as they are memory. True: one of them was. */
bool mem_hold(const struct mem *mem, uint64_t gpa, uint64_t len);
void mem_release(const struct mem *mem, uint64_t gpa, uint64_t len);

#endif
