/* SPDX-License-Identifier: MIT */
/* Can this host run guest programs' code as it is? See docs/DIRECT.md. */
#ifndef RINGLET_ISA_X86_DIRECT_PROBE_H
#define RINGLET_ISA_X86_DIRECT_PROBE_H

#include <stdbool.h>

struct error;

/*
 * 0 or -ENOTSUP, err says why. is_protected: the processor keeps guest code away from the cell's own
 * pages. Any thread; starts a process and ends it.
 */
int direct_probe(bool *is_protected, struct error *err);

#endif
