/* SPDX-License-Identifier: MIT */
/* All groups of cases: each is in a file of its own. */
#ifndef DIRECT_GROUPS_H
#define DIRECT_GROUPS_H

#include "cases.h"

#define GROUPS(X)                                                                                  \
	X(faults)                                                                                  \
	X(traps)                                                                                   \
	X(steps)                                                                                   \
	X(huge)                                                                                    \
	X(calls)                                                                                   \
	X(signals)                                                                                 \
	X(segments)                                                                                \
	X(machine)                                                                                 \
	X(memory)                                                                                  \
	X(runs)                                                                                    \
	X(code)                                                                                    \
	X(vectors)                                                                                 \
	X(processes)                                                                               \
	X(hostile)

#define DECLARED(name) extern const struct direct_group name##_group;
#define LISTED(name) &name##_group,

GROUPS(DECLARED)

static const struct direct_group *const groups[] = { GROUPS(LISTED) NULL };

#endif
