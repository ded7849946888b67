/* SPDX-License-Identifier: MIT */
/*
 * The mirror itself: an instruction as the host shall run it, the same opcode with other register
 * numbers and with its memory operand elsewhere. Works on the encoding alone, so that it holds
 * for general-purpose and for vector instructions.
 */
#ifndef RINGLET_ISA_X86_MIRROR_RECODE_H
#define RINGLET_ISA_X86_MIRROR_RECODE_H

#include "isa/x86/decode.h"
#include "isa/x86/mirror/masm.h"

/*
 * host_of: the host register of each guest register that info names explicitly (in ModRM, VEX.vvvv or
 * the opcode); implied registers are not renamed. place: of its memory operand, if any. false, and m unchanged: it has no such encoding
 * (AH … BH together with a register that needs REX).
 */
bool mirror_recode(struct masm *m, const struct insn_info *info, const uint8_t *bytes,
		   const uint8_t host_of[X86_GPRS], const struct masm_place *place);

/* A general-purpose register's number, -1 for any other. high: AH … BH. */
int mirror_gpr(ZydisRegister reg, bool *high);

#endif
