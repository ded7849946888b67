/* SPDX-License-Identifier: MIT */
/*
 * Loops that read memory, and later a device, at whatever fill of an engine's code cache: what it
 * has learnt too late must not be found out for each access, because no room is left for other code.
 * test_guests.py looks.
 */
#include "guest.h"

#define KERNEL 0x103ul
#define HIGH 0xffff900000000000ul
#define FRAME 0x800000ul
#define ROUTINES 120u
#define ROUTINE_BYTES 2048
#define HOT 100

extern word boot_pml4[512];
static word level[3][512] __attribute__((aligned(4096)));

/* The load ends where another block begins that is known: nothing new is met there. */
CODE(loops, ".balign 4096\n .rept 120\n 7:\n mov $3000, %ecx; jmp 2f\n"
     "1: mov (%rdi), %eax\n 2: dec %ecx; jnz 1b; ret\n"
     ".org 7b + 2048\n .endr\n");
/* Much code of each. */
CODE(fillers, ".balign 4096\n .rept 120\n 7:\n .rept 12\n .rept 7\n"
     "mov (%rdi), %rax; add %rdx, %rax; mov (%rdi,%rax), %rax\n"
     ".endr\n jz 1f\n 1:\n .endr\n ret\n .org 7b + 2048\n .endr\n");

static void run(const void *code, word at)
{
	asm volatile("xor %%edx, %%edx; call *%1" : "+D"(at) : "b"(code)
		     : "rax", "rcx", "rdx", "r9", "r10", "r11", "memory", "cc");
}

/* The n-th routine; the first one is at a page's start. */
static const void *routine(const void *code, unsigned n)
{
	return (const void *)((((word)code + 4095) & ~4095ul) + n * ROUTINE_BYTES);
}

static void map(word frame)
{
	level[2][0] = frame | KERNEL;
	invlpg((void *)HIGH);
}

void guest_main(void)
{
	WRITE_REG(cr4, READ_REG(cr4) | CR4_PGE);
	boot_pml4[HIGH / (1ul << 39) % 512] = (word)level[0] | KERNEL;
	level[0][0] = (word)level[1] | KERNEL;
	level[1][0] = (word)level[2] | KERNEL;
	level[2][1] = FRAME | KERNEL;
	*(volatile word *)FRAME = 0;
	for (unsigned n = 0; n < ROUTINES; n++) {
		map(FRAME);
		for (unsigned i = 0; i < HOT; i++)
			run(routine(loops, n), HIGH);
		for (unsigned i = 0; i < HOT; i++)
			run(routine(fillers, n), HIGH + 0x1000);
		map(APIC_BASE);
		for (unsigned i = 0; i < 3; i++)
			run(routine(loops, n), HIGH);
	}
	CHECK(true);
}
