/* SPDX-License-Identifier: MIT */
/*
 * Processors, "cpus=N" on the command line, that all read from more TiB of addresses than kernels
 * use: what that takes of the host has a limit. With more than one, the machine stays up to be looked at.
 */
#include "guest.h"

#define KERNEL 0x103ul
#define HIGH 0xffff900000000000ul
#define TIB (1ul << 40)
#define TIBS 8
#define FRAME 0x800000ul
#define HOT 100

extern word boot_pml4[512];
static word level[3][512] __attribute__((aligned(4096)));
static unsigned cpus, started, finished, wrong;

CODE(load, "mov (%rdi), %rax; ret");

static void read_all(unsigned id)
{
	(void)id;
	WRITE_REG(cr4, READ_REG(cr4) | CR4_PGE);
	/* The code that is translated is the same for all. */
	__atomic_fetch_add(&started, 1, __ATOMIC_SEQ_CST);
	while (ONCE(started) < cpus)
		asm volatile("pause");
	for (unsigned i = 0; i < HOT; i++)
		for (word tib = 0; tib < TIBS; tib++)
			if (read_by(load, HIGH + tib * TIB) != 7)
				__atomic_fetch_add(&wrong, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
}

void guest_main(void)
{
	cpus = smp_wanted();
	*(volatile word *)FRAME = 7;
	for (word tib = 0; tib < TIBS; tib++)
		boot_pml4[(HIGH + tib * TIB) / (1ul << 39) % 512] = (word)level[0] | KERNEL;
	level[0][0] = (word)level[1] | KERNEL;
	level[1][0] = (word)level[2] | KERNEL;
	level[2][0] = FRAME | KERNEL;
	if (cpus > 1)
		CHECK_EQ(smp_start(read_all, cpus - 1), cpus - 1);
	read_all(0);
	CHECK(WAIT(ONCE(finished) == cpus));
	CHECK_EQ(wrong, 0);
	guest_print("ready\n");
	while (cpus > 1)
		asm volatile("cli; hlt");
}
