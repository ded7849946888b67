/* SPDX-License-Identifier: MIT */
/* All groups of cases. */
#ifndef DIRECT_GROUPS_H
#define DIRECT_GROUPS_H

#include "cases.h"

extern const struct direct_group faults_group, traps_group, steps_group, huge_group;

static const struct direct_group *const groups[] = {
	&faults_group, &traps_group, &steps_group, &huge_group, NULL,
};

#endif
