/* SPDX-License-Identifier: MIT */
/*
 * Most instructions that a kernel wants to see fault in user code, and so do they in a cell. What
 * remains are those that answer with something of the processor, of the host's kernel or of the
 * hypervisor:
 *
 * 	0F 34            SYSENTER (the host forgets where it came from)
 * 	0F A2            CPUID, where the processor or the host's kernel does not make it fault
 * 	0F 31            RDTSC, where the guest's counter is not the host's
 * 	0F AE /5 mem     XRSTOR (it may load PKRU, as below)
 * 	0F 01 C1, D9     VMCALL, VMMCALL
 * 	0F 01 EE         RDPKRU (the guest may not have switched keys on)
 * 	0F 01 EF         WRPKRU (pages have the guest's keys in its tables only)
 * 	0F 01 F9, FD     RDTSCP, RDPRU
 * 	F3 0F C7 /7 reg  RDPID
 * 	0F 03            LSL (Linux keeps the CPU's number in a limit)
 * 	0F 01 /0, /1, /4 SGDT, SIDT, SMSW (the host's kernel may make up an answer)
 *
 * All but the last two lines are looked for at every offset, whatever lies around them. Those two
 * are common as parts of displacements, and harmless; so such bytes count only where an instruction
 * begins: where one of several disassemblies comes to, begun at different places before. (A program
 * that jumps into the middle of an instruction in order to find an LSL there gets the host's
 * answer.)
 *
 * What else depends on segments (LAR, VERR, VERW, SLDT, STR, loads of segment registers) is the
 * same because direct.c looks that the guest's tables say what the host's say.
 */
#include "isa/x86/direct/scan.h"

#include <Zydis/Zydis.h>

#define PAGE_BYTES 4096u
#define MOST_PREFIXES 12u
#define SWEEPS 15u
#define SWEEP_BYTES 40u /* within so many, disassemblies agree on where instructions begin */

static bool tells(ZydisMnemonic mnemonic)
{
	return mnemonic == ZYDIS_MNEMONIC_LSL || mnemonic == ZYDIS_MNEMONIC_SGDT ||
	       mnemonic == ZYDIS_MNEMONIC_SIDT || mnemonic == ZYDIS_MNEMONIC_SMSW;
}

/*
 * In a disassembly that begins at start, is the byte at at one of such an instruction, or may it
 * be?
 */
static bool sweep_tells(const ZydisDecoder *decoder, const uint8_t *bytes, unsigned known, unsigned start,
			unsigned at)
{
	ZydisDecodedInstruction insn = { .mnemonic = ZYDIS_MNEMONIC_INVALID };

	while (start <= at) {
		ZyanStatus status =
			ZydisDecoderDecodeInstruction(decoder, NULL, bytes + start, known - start, &insn);

		if (status == ZYDIS_STATUS_NO_MORE_DATA)
			return true;
		if (ZYAN_FAILED(status)) {
			insn.mnemonic = ZYDIS_MNEMONIC_INVALID;
			start++;
		} else {
			start += insn.length;
		}
	}
	return tells(insn.mnemonic);
}

static bool begins_instruction(const uint8_t *bytes, unsigned known, unsigned at)
{
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	/* An instruction of the page before may end in any of the first bytes. */
	for (unsigned i = 0; i < SWEEPS && i <= at; i++)
		if (sweep_tells(&decoder, bytes, known,
				at > SWEEP_BYTES + i ? at - SWEEP_BYTES - i : i, at))
			return true;
	return false;
}

/* Among what can be prefixes of an opcode at at. Those in the page before are not known. */
static bool may_have_prefix(const uint8_t *bytes, unsigned at, uint8_t prefix)
{
	for (unsigned i = 1; i <= MOST_PREFIXES; i++)
		if (i > at || bytes[at - i] == prefix)
			return true;
	return false;
}

/* The same for what is found at [at] = 0F, of which two bytes are known at least. */
static bool differs(const uint8_t *bytes, unsigned known, unsigned at, unsigned quiet)
{
	uint8_t next = bytes[at + 1], modrm = at + 2 < known ? bytes[at + 2] : 0;
	unsigned reg = modrm >> 3 & 7;

	switch (next) {
	case 0x34:
		return true;
	case 0xa2:
		return quiet & SCAN_CPUID;
	case 0x31:
		return quiet & SCAN_RDTSC;
	case 0xae:
		return modrm < 0xc0 && reg == 5;
	case 0xc7:
		return modrm >= 0xf8 && may_have_prefix(bytes, at, 0xf3);
	case 0x03:
		return begins_instruction(bytes, known, at);
	case 0x01:
		if (modrm == 0xc1 || modrm == 0xd9 || modrm == 0xee || modrm == 0xef ||
		    modrm == 0xf9 || modrm == 0xfd)
			return true;
		return (modrm < 0xc0 ? reg == 0 || reg == 1 || reg == 4 : reg == 4) &&
		       begins_instruction(bytes, known, at);
	default:
		return false;
	}
}

bool scan_is_clean(const uint8_t *bytes, unsigned behind, unsigned quiet)
{
	unsigned known = PAGE_BYTES + behind;

	for (unsigned at = 0; at < PAGE_BYTES && at + 1 < known; at++)
		if (bytes[at] == 0x0f && differs(bytes, known, at, quiet))
			return false;
	return true;
}
