/* SPDX-License-Identifier: MIT */
/* The boards that there are. The first is the default. Any thread. */
#ifndef RINGLET_BOARD_CATALOG_H
#define RINGLET_BOARD_CATALOG_H

struct vm_board;

/* The board of that name, the first for NULL; NULL when there is none. */
const struct vm_board *board_find(const char *name);

#endif
