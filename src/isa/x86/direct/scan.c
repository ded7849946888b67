/* SPDX-License-Identifier: MIT */
/*
 * Most instructions that a kernel wants to see fault in user code, and so do they in a cell. What
 * remains are those that answer with something of the processor, of the host's kernel or of the
 * hypervisor:
 *
 * 	0F 01 C1, D9     VMCALL, VMMCALL
 * 	0F 01 EF         WRPKRU, by which guest code could get at the cell's own pages …
 * 	0F AE /5 mem     XRSTOR, as well
 * 	0F 34            SYSENTER (the host forgets where it came from)
 * 	0F A2            CPUID, where the processor or the host's kernel does not make it fault
 * 	0F 31            RDTSC, where the guest's counter is not the host's
 * 	0F 01 F9, FD     RDTSCP, RDPRU
 * 	F3 0F C7 /7 reg  RDPID
 * 	0F 03            LSL (Linux keeps the CPU's number in a limit)
 * 	0F 01 /0, /1, /4 SGDT, SIDT, SMSW (the host's kernel may make up an answer)
 *
 * The first three are looked for at every offset, whatever lies around them. All others are common as
 * parts of displacements, so that whole programs would be kept from running for a page of theirs
 * that is always in use; and harmless. Such bytes count only where an instruction begins: where one
 * of several disassemblies comes to, begun at different places before. (A program that jumps into
 * the middle of an instruction in order to find one of these there gets the host's answer; behind
 * SYSENTER, it is somewhere else. So does code right behind data of which all disassemblies make
 * the beginning of an instruction that ends in it.)
 *
 * What else depends on segments (LAR, VERR, VERW, SLDT, STR, loads of segment registers) is the
 * same because direct.c looks that the guest's tables say what the host's say. Pages with a
 * protection key are never mapped.
 */
#include "isa/x86/direct/scan.h"

#include <Zydis/Zydis.h>

#define MOST_PREFIXES 12u
#define SWEEPS 15u
#define SWEEP_BYTES 40u /* within so many, disassemblies agree on where instructions begin */
#define SEAM_BYTES 16u  /* what begins in a page before these ends in it, prefixes included */

_Static_assert(SCAN_TAIL >= SEAM_BYTES + SWEEP_BYTES + SWEEPS + MOST_PREFIXES, "a seam is judged by its tail");

static bool tells(ZydisMnemonic mnemonic, unsigned quiet)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_SYSENTER:
	case ZYDIS_MNEMONIC_RDTSCP:
	case ZYDIS_MNEMONIC_RDPRU:
	case ZYDIS_MNEMONIC_RDPID:
	case ZYDIS_MNEMONIC_LSL:
	case ZYDIS_MNEMONIC_SGDT:
	case ZYDIS_MNEMONIC_SIDT:
	case ZYDIS_MNEMONIC_SMSW:
		return true;
	case ZYDIS_MNEMONIC_CPUID:
		return quiet & SCAN_CPUID;
	case ZYDIS_MNEMONIC_RDTSC:
		return quiet & SCAN_RDTSC;
	default:
		return false;
	}
}

/*
 * In a disassembly that begins at start, is the byte at at one of such an instruction, or may it
 * be?
 */
static bool sweep_tells(const ZydisDecoder *decoder, const uint8_t *bytes, unsigned known, unsigned start,
			unsigned at, unsigned quiet)
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
	return tells(insn.mnemonic, quiet);
}

static bool begins_instruction(const uint8_t *bytes, unsigned known, unsigned at, unsigned quiet)
{
	ZydisDecoder decoder;

	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	/* An instruction of the page before may end in any of the first bytes. */
	for (unsigned i = 0; i < SWEEPS && i <= at; i++)
		if (sweep_tells(&decoder, bytes, known,
				at > SWEEP_BYTES + i ? at - SWEEP_BYTES - i : i, at, quiet))
			return true;
	return false;
}

/* The same for what is found at [at] = 0F, of which two bytes are known at least. */
static bool differs(const uint8_t *bytes, unsigned known, unsigned at, unsigned quiet)
{
	uint8_t next = bytes[at + 1], modrm = at + 2 < known ? bytes[at + 2] : 0;
	unsigned reg = modrm >> 3 & 7;
	bool may;

	switch (next) {
	case 0x01:
		if (modrm == 0xc1 || modrm == 0xd9 || modrm == 0xef)
			return true;
		may = reg == 4 || modrm == 0xf9 || modrm == 0xfd ||
		      (modrm < 0xc0 && (reg == 0 || reg == 1));
		break;
	case 0x03:
	case 0x34:
		may = true;
		break;
	case 0x31:
		may = quiet & SCAN_RDTSC;
		break;
	case 0xa2:
		may = quiet & SCAN_CPUID;
		break;
	case 0xae:
		return reg == 5 && modrm < 0xc0;
	case 0xc7:
		may = modrm >= 0xf8;
		/* F3 may be in the page before. */
		if (may && at < MOST_PREFIXES)
			return true;
		break;
	default:
		return false;
	}
	return may && begins_instruction(bytes, known, at, quiet);
}

/* Of those instructions that have 0F in [from, to). */
static bool is_clean(const uint8_t *bytes, unsigned known, unsigned from, unsigned to, unsigned quiet)
{
	for (unsigned at = from; at < to && at + 1 < known; at++)
		if (bytes[at] == 0x0f && differs(bytes, known, at, quiet))
			return false;
	return true;
}

bool scan_page(const uint8_t page[SCAN_PAGE_BYTES], unsigned quiet)
{
	return is_clean(page, SCAN_PAGE_BYTES, 0, SCAN_PAGE_BYTES - SEAM_BYTES, quiet);
}

bool scan_seam(const uint8_t *bytes, unsigned behind, unsigned quiet)
{
	return is_clean(bytes, SCAN_TAIL + behind, SCAN_TAIL - SEAM_BYTES, SCAN_TAIL, quiet);
}
