/* SPDX-License-Identifier: MIT */
/*
 * What a loader hands to the board: everything is in guest memory, and the boot CPU shall start
 * like this. The board turns it into a struct x86_state.
 */
#ifndef RINGLET_BOOT_ENTRY_H
#define RINGLET_BOOT_ENTRY_H

#include <stdint.h>

enum boot_mode {
	BOOT_RESET,  /* the processor's reset state: firmware is mapped at its reset vector */
	BOOT_FLAT32, /* protected mode, paging off, flat CS/DS/ES/SS (selectors below), IF clear */
	BOOT_LONG64, /* 64-bit mode, paging on with cr3, flat selectors, IF clear */
};

struct boot_entry {
	enum boot_mode mode;
	uint64_t rip, rsp;
	uint64_t rax, rbx, rsi, rdi;
	uint64_t cr3;      /* BOOT_LONG64: identity map laid down by the loader */
	uint64_t gdt_gpa;  /* a GDT the loader laid down … */
	uint16_t gdt_limit;
	uint16_t cs, ds;   /* … and the flat selectors in it (ss = es = ds) */
};

#endif
