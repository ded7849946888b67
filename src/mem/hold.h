/* SPDX-License-Identifier: MIT */
/*
 * Pages that were looked through and are executed as they are (MEM_PAGE_EXEC) must not change under whoever runs
 * them: who is about to write to a page holds it meanwhile. Nobody begins to run a page that is
 * held. If the flag is set still, some may run it: the caller makes them leave, and then says that
 * they are stopped, which takes the flag away. Each of several who hold it does, as long as none
 * has said so: nobody writes because of another one who is still waiting.
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

/* The page with these flags. True: it may be executed as it is right now. */
bool mem_hold_page(_Atomic uint8_t *flags);
void mem_stopped_page(_Atomic uint8_t *flags);
void mem_release_page(_Atomic uint8_t *flags);

/* All pages of [gpa, gpa+len), as far as they are memory. True: one of them may be. */
bool mem_hold(const struct mem *mem, uint64_t gpa, uint64_t len);
void mem_stopped(const struct mem *mem, uint64_t gpa, uint64_t len);
void mem_release(const struct mem *mem, uint64_t gpa, uint64_t len);

#endif
