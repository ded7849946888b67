/* SPDX-License-Identifier: MIT */
/*
 * Is code free of instructions that would do something else in a cell than in the guest? See
 * scan.c.
 */
#ifndef RINGLET_ISA_X86_DIRECT_SCAN_H
#define RINGLET_ISA_X86_DIRECT_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#define SCAN_PAGE_BYTES 4096u
#define SCAN_TAIL 96u  /* bytes at a page's end by which it is told what goes on in the next one */
#define SCAN_BEHIND 3u /* … and of that */

/* Instructions that differ now, and do not fault. */
enum { SCAN_RDTSC = 1, SCAN_CPUID = 2 };

/*
 * The instructions that lie in a page altogether. quiet: SCAN_…. Reads no memory but that. Vector state
 * is parked.
 */
bool scan_page(const uint8_t page[SCAN_PAGE_BYTES], unsigned quiet);
/* The others: SCAN_TAIL bytes at the page's end, and as far as known those behind it (0 or SCAN_BEHIND). */
bool scan_seam(const uint8_t *bytes, unsigned behind, unsigned quiet);

#endif
