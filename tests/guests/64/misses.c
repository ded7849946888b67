/* SPDX-License-Identifier: MIT */
/*
 * A kernel with more small pages than an engine that reads them by the host's MMU can have mapped,
 * read one after the other; then one whose pages are not global, read by much code. All that it finds
 * out page by page, or instruction by instruction, costs it a lot: test_guests.py looks how often.
 */
#include "guest.h"

#define LOCAL 3ul
#define GLOBAL 0x103ul
#define HIGH 0xffff900000000000ul
#define FRAME 0x800000ul
#define PAGES 2048u
#define ROUNDS 50
#define ROUTINES 256u
#define ROUTINE_BYTES 1024

extern word boot_pml4[512];
static word level[2][512] __attribute__((aligned(4096)));
static word pt[PAGES] __attribute__((aligned(4096)));

CODE(load, "mov (%rdi), %rax; ret");
CODE(routines, ".rept 256\n 7:\n .rept 64\n add (%rdi), %rax; mov 8(%rdi), %rdx\n .endr\n ret; .org 7b + 1024\n"
     ".endr\n");

static void map(word rights)
{
	for (unsigned i = 0; i < PAGES; i++)
		pt[i] = (FRAME + i % 8 * 4096) | rights;
	WRITE_REG(cr4, READ_REG(cr4) & ~CR4_PGE);
	WRITE_REG(cr4, READ_REG(cr4) | CR4_PGE);
}

void guest_main(void)
{
	unsigned wrong = 0;

	boot_pml4[HIGH / (1ul << 39) % 512] = (word)level[0] | LOCAL;
	level[0][0] = (word)level[1] | LOCAL;
	for (unsigned i = 0; i < PAGES / 512; i++)
		level[1][i] = (word)&pt[512 * i] | LOCAL;
	for (word i = 0; i < 8; i++)
		*(volatile word *)(FRAME + i * 4096) = i;
	map(GLOBAL);
	for (unsigned round = 0; round < ROUNDS; round++)
		for (word i = 0; i < PAGES; i++)
			wrong += read_by(load, HIGH + i * 4096) != i % 8;
	CHECK_EQ(wrong, 0);
	map(LOCAL);
	for (unsigned round = 0; round < ROUNDS; round++)
		for (word i = 0; i < ROUTINES; i++)
			wrong += read_by((const char *)routines + i * ROUTINE_BYTES, HIGH + 0x1000) != 64;
	CHECK_EQ(wrong, 0);
}
