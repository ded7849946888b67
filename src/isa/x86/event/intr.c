/* SPDX-License-Identifier: MIT */
/*
 * INT n, INT3, INTO, INT1. Intel SDM vol. 2, INT; vol. 3, 20.3.3 for virtual-8086 mode.
 *
 * What faults on the way is the instruction's fault: x86_deliver lets it unwind.
 */
#include "isa/x86/memory/access.h"
#include "isa/x86/system/far.h"
#include "isa/x86/event/trap.h"

#define TSS_IO_MAP_BASE 0x66
#define REDIRECTION_BYTES 32 /* they lie right below the I/O permission map */

static bool redirected_to_program(struct x86_cpu *cpu, unsigned vector)
{
	const struct x86_seg *tr = &cpu->state.tr;
	uint32_t at;

	if (!(cpu->state.cr4 & X86_CR4_VME))
		return false;
	if (!(tr->attr & 8) || tr->limit < TSS_IO_MAP_BASE + 1)
		x86_general_protection(cpu);
	at = (uint32_t)x86_load_system(cpu, (uint32_t)(tr->base + TSS_IO_MAP_BASE), 2);
	if (at < REDIRECTION_BYTES || at - REDIRECTION_BYTES + vector / 8 > tr->limit)
		x86_general_protection(cpu);
	at = (uint32_t)(tr->base + at - REDIRECTION_BYTES + vector / 8);
	return !(x86_load_system(cpu, at, 1) >> vector % 8 & 1);
}

void x86_int(struct x86_cpu *cpu, const struct insn *insn)
{
	unsigned vector = (uint8_t)insn->imm;

	if (cpu->v86) {
		if (redirected_to_program(cpu, vector)) {
			x86_deliver_v86_program(cpu, vector);
			return;
		}
		if ((cpu->state.rflags & X86_IOPL) != X86_IOPL)
			x86_general_protection(cpu);
	}
	x86_deliver(cpu, X86_EVENT_SOFTWARE, vector, false, 0);
}

void x86_int3(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	x86_deliver(cpu, X86_EVENT_SOFTWARE, X86_BP, false, 0);
}

void x86_into(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	if (cpu->state.rflags & X86_OF)
		x86_deliver(cpu, X86_EVENT_SOFTWARE, X86_OF_TRAP, false, 0);
}

void x86_int1(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	x86_deliver(cpu, X86_EVENT_ICEBP, X86_DB, false, 0);
}
