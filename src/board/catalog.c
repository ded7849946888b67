/* SPDX-License-Identifier: MIT */
#include "board/catalog.h"

#include <stddef.h>
#include <string.h>

#include "board/x86_pc.h"
#include "vm/machine.h"

static const struct vm_board *const boards[] = { &board_x86_pc };

const struct vm_board *board_find(const char *name)
{
	if (!name)
		return boards[0];
	for (size_t i = 0; i < sizeof(boards) / sizeof(boards[0]); i++)
		if (!strcmp(boards[i]->name, name))
			return boards[i];
	return NULL;
}
