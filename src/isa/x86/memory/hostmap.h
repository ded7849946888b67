/* SPDX-License-Identifier: MIT */
/*
 * A kernel's memory where the host's own MMU finds it: for each TiB of the supervisor's half of the
 * linear addresses that the guest's kernel reads from, the CPU has one of the host's, in which the guest's
 * memory is mapped as the guest's page tables say, read-only. Translated code of privilege 0 gets from one to
 * the other by adding what cpu->mirror.hostmap says for the address's bits 40 to 47, with no check at all:
 *
 *	rorx  r11, base, 40
 *	movzx r11d, r11b
 *	mov   r11, [rsp + r11 * 8 + hostmap]
 *	mov   …, [base + r11 + displacement]
 *
 * What is not mapped there faults on the host, and the instruction's cold path does it (mirror_fault). Every
 * sum is in such a TiB, or less than 2 GiB beside it, where nothing is mapped either, or not canonical: a TiB
 * without one of its own leads to one that is empty, and if bits 48 to 63 are not what bit 47 is, nor are the sum's.
 *
 * The mappings are a TLB: pages are there from their first use on, if they are global, the supervisor's and
 * plain memory; INVLPG takes them away, and a flush those that the tables do not say any more. Intel SDM vol. 3, 4.10.
 *
 * The CPU's own thread.
 */
#ifndef RINGLET_ISA_X86_HOSTMAP_H
#define RINGLET_ISA_X86_HOSTMAP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct error;
struct x86_cpu;

/* Beside each TiB nothing is mapped, either. */
#define X86_HOSTMAP_GUARD (4ull << 30)

/*
 * What a machine's CPUs take from together. A process has 128 TiB of addresses and 65530 mappings, and needs some
 * for all else: a guest with many CPUs must not get hold of the last ones.
 */
struct x86_hostmap_room {
	uint8_t *nowhere;        /* the empty TiB; NULL: the host has no room for one */
	_Atomic unsigned places; /* TiBs that are left, */
	_Atomic unsigned leaves; /* and mappings */
};

void x86_hostmap_open(struct x86_hostmap_room *room);
void x86_hostmap_close(struct x86_hostmap_room *room);

/* Every address leads nowhere. -ENOMEM. The room stays the caller's. */
int x86_hostmap_create(struct x86_cpu *cpu, struct x86_hostmap_room *room, struct error *err);
void x86_hostmap_destroy(struct x86_cpu *cpu);

/*
 * An access of size bytes at linear found nothing, and the CPU does not rest. Maps what it wanted, for the next
 * time; false: there is nothing to map.
 */
bool x86_hostmap_miss(struct x86_cpu *cpu, uint64_t linear, unsigned size);
/*
 * What is missing costs a signal each time, a thousand times a look-up. Where so much is missing that it takes more
 * than a small part of the time, because the kernel's pages are many and small or not global, code is made without
 * this for a while.
 */
bool x86_hostmap_rests(struct x86_cpu *cpu);

/* INVLPG, or #PF for linear. */
void x86_hostmap_forget(struct x86_cpu *cpu, uint64_t linear);
/* A flush of global translations, too. */
void x86_hostmap_flush(struct x86_cpu *cpu);

#endif
