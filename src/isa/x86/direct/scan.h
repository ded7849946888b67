/* SPDX-License-Identifier: MIT */
/*
 * Is code free of instructions that would do something else in a cell than in the guest? See
 * scan.c.
 */
#ifndef RINGLET_ISA_X86_DIRECT_SCAN_H
#define RINGLET_ISA_X86_DIRECT_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#define SCAN_BEHIND 3u /* bytes of the next page that an instruction at the end may be told by */

/* Instructions that differ now, and do not fault. */
enum { SCAN_RDTSC = 1, SCAN_CPUID = 2 };

/*
 * bytes: a page of code and, as far as known, SCAN_BEHIND bytes of the next one (behind of them).
 * quiet: SCAN_…. Reads no memory but that. Vector state is parked.
 */
bool scan_is_clean(const uint8_t *bytes, unsigned behind, unsigned quiet);

#endif
