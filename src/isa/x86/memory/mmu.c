/* SPDX-License-Identifier: MIT */
/* INVLPG, INVPCID and the cache instructions. Intel SDM vol. 2; vol. 3, 4.10.4. */
#include "isa/x86/memory/access.h"
#include "isa/x86/system/system.h"
#include "isa/x86/memory/tlb.h"

enum invpcid_type { INVPCID_PAGE, INVPCID_CONTEXT, INVPCID_ALL, INVPCID_ALL_NONGLOBAL };

/* The operand names a page and is not accessed, so nothing about it can fault. */
void x86_invlpg(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t linear = x86_effective(cpu, insn);

	x86_require_cpl0(cpu);
	if (!(insn->flags & INSN_SEG_FLAT))
		linear += cpu->state.seg[insn->seg].base;
	if (cpu->mode != X86_MODE_64)
		linear = (uint32_t)linear;
	if (x86_is_canonical(linear))
		x86_tlb_flush_page(cpu, linear);
	cpu->block_stop = true;
}

static void check_descriptor(struct x86_cpu *cpu, uint64_t type, uint64_t pcid, uint64_t linear)
{
	if (type > INVPCID_ALL_NONGLOBAL || pcid >> 12)
		x86_general_protection(cpu);
	if (type == INVPCID_PAGE && !x86_is_canonical(linear))
		x86_general_protection(cpu);
	if (type <= INVPCID_CONTEXT && pcid && !(cpu->state.cr4 & X86_CR4_PCIDE))
		x86_general_protection(cpu);
}

/* With PCIDs off all translations belong to PCID 0. */
void x86_invpcid(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t type = insn_read_reg(cpu, insn->dst, x86_system_width(cpu));
	uint64_t descriptor[2];

	x86_require_cpl0(cpu);
	x86_load_bytes(cpu, x86_operand_linear(cpu, insn, sizeof(descriptor), X86_READ), descriptor,
		       sizeof(descriptor));
	check_descriptor(cpu, type, descriptor[0], descriptor[1]);
	switch ((enum invpcid_type)type) {
	case INVPCID_PAGE:
		x86_tlb_flush_pcid_page(cpu, (unsigned)descriptor[0], descriptor[1]);
		break;
	case INVPCID_CONTEXT:
		x86_tlb_flush_pcid(cpu, (unsigned)descriptor[0]);
		break;
	case INVPCID_ALL:
		x86_tlb_flush_all(cpu);
		break;
	case INVPCID_ALL_NONGLOBAL:
		x86_tlb_flush_nonglobal(cpu);
		break;
	}
	cpu->block_stop = true;
}

/* INVD, WBINVD, WBNOINVD: guest memory is coherent whatever the guest does. */
void x86_cache_control(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)insn;
	x86_require_cpl0(cpu);
}
