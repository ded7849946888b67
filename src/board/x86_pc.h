/* SPDX-License-Identifier: MIT */
/* The PC: see x86_pc.c. */
#ifndef RINGLET_BOARD_X86_PC_H
#define RINGLET_BOARD_X86_PC_H

#include "vm/machine.h"

extern const struct vm_board board_x86_pc;

#endif
