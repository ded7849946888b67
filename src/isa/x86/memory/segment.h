/* SPDX-License-Identifier: MIT */
/*
 * Segment descriptors: finding, checking and loading them. Intel SDM vol. 3, chapters 3 and 5.
 *
 * Invariant: outside of real mode the DPL in SS's attributes is the CPL, also while SS is null, and
 * so is CS's RPL; x86_update_mode reads it back from there.
 *
 * All on the CPU's own thread; whatever takes a struct x86_report raises as that says, and all that
 * reads a descriptor table may raise #PF. A check changes nothing but the accessed bit.
 */
#ifndef RINGLET_ISA_X86_SEGMENT_H
#define RINGLET_ISA_X86_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "isa/x86/x86.h"

/* System descriptor types (SDM vol. 3, table 3-2). Bit 3: the 32-bit (or 64-bit) form. */
enum {
	X86_TYPE_TSS16 = 1, X86_TYPE_LDT = 2, X86_TYPE_TSS16_BUSY = 3, X86_TYPE_CALL_GATE16 = 4,
	X86_TYPE_TASK_GATE = 5, X86_TYPE_INT_GATE16 = 6, X86_TYPE_TRAP_GATE16 = 7,
	X86_TYPE_TSS = 9, X86_TYPE_TSS_BUSY = 11, X86_TYPE_CALL_GATE = 12, X86_TYPE_INT_GATE = 14,
	X86_TYPE_TRAP_GATE = 15,
	X86_TYPE_BUSY = 2, /* the bit that makes a TSS busy */
};

struct x86_descriptor {
	uint64_t low;
	uint64_t high;     /* second half of a 16-byte descriptor (IA-32e system segments), or 0 */
	uint64_t linear;   /* where it lies */
	uint16_t selector; /* it was found by */
};

/* A call, task, interrupt or trap gate taken apart. */
struct x86_gate {
	uint64_t offset;
	uint16_t selector;
	uint8_t type;
	uint8_t dpl;
	bool present;
	uint8_t count; /* 4:0 parameters of a call gate; 2:0 IST of a 64-bit interrupt gate */
};

/* What a failed check raises: #GP or #TS, and the error code's EXT bit (0 or 1). */
struct x86_report {
	enum x86_vector vector;
	uint32_t ext;
};

static inline unsigned x86_descriptor_type(const struct x86_descriptor *desc)
{
	return (desc->low >> 40) & X86_SEG_TYPE;
}

/* Attributes in struct x86_seg's format. */
static inline uint32_t x86_descriptor_attr(const struct x86_descriptor *desc)
{
	return (uint32_t)(desc->low >> 40) & 0xf0ff;
}

static inline unsigned x86_descriptor_dpl(const struct x86_descriptor *desc)
{
	return (desc->low >> 45) & 3;
}

static inline bool x86_descriptor_present(const struct x86_descriptor *desc)
{
	return (desc->low >> 47) & 1;
}

static inline bool x86_descriptor_is_system(const struct x86_descriptor *desc)
{
	return !((desc->low >> 44) & 1);
}

static inline bool x86_attr_is_code(uint32_t attr)
{
	return (attr & (X86_SEG_S | X86_SEG_CODE)) == (X86_SEG_S | X86_SEG_CODE);
}

static inline bool x86_attr_is_conforming(uint32_t attr)
{
	return (attr & (X86_SEG_CODE | X86_SEG_CONFORMING)) == (X86_SEG_CODE | X86_SEG_CONFORMING);
}

static inline bool x86_selector_null(uint16_t selector)
{
	return !(selector & 0xfffc);
}

/* Would code in cs run in 64-bit mode? */
static inline bool x86_is_code64(const struct x86_cpu *cpu, const struct x86_seg *cs)
{
	return cpu->long_mode && (cs->attr & X86_SEG_L);
}

/* Is CPU now in 64-bit mode (not compatibility mode)? */
static inline bool x86_in_64bit(const struct x86_cpu *cpu)
{
	return cpu->mode == X86_MODE_64;
}

/* false: null selector, no LDT, or beyond the table's limit. Raises #PF only. */
bool x86_descriptor_find(struct x86_cpu *cpu, uint16_t selector, struct x86_descriptor *desc);

/* As above; what is false there raises report.vector(selector). */
void x86_descriptor_get(struct x86_cpu *cpu, uint16_t selector, struct x86_report report,
			struct x86_descriptor *desc);

/* Sets and clears type bits of the descriptor at linear atomically, as a supervisor. */
void x86_descriptor_update(struct x86_cpu *cpu, uint64_t linear, uint8_t set, uint8_t clear);

/* Sets the accessed bit of a code or data descriptor where it is clear. */
void x86_descriptor_accessed(struct x86_cpu *cpu, struct x86_descriptor *desc);

/* The segment as the register's hidden part holds it. */
void x86_descriptor_to_seg(const struct x86_descriptor *desc, struct x86_seg *seg);

void x86_gate_parse(uint64_t low, uint64_t high, struct x86_gate *gate);

/* Raises vector with selector's error code: (selector & ~3) | ext. */
_Noreturn void x86_raise_selector(struct x86_cpu *cpu, enum x86_vector vector, uint16_t selector,
				  uint32_t ext);

/*
 * The checks of loading DS, ES, FS or GS (x86_check_data) and a stack segment (x86_check_stack) at
 * privilege level cpl. A null selector gives an unusable segment in DS … GS, and raises for SS.
 */
void x86_check_data(struct x86_cpu *cpu, uint16_t selector, unsigned cpl, struct x86_report report,
		    struct x86_seg *seg);
void x86_check_stack(struct x86_cpu *cpu, uint16_t selector, unsigned cpl,
		     struct x86_report report, struct x86_seg *seg);

/*
 * In IA-32e mode a code descriptor with L and D both set is reserved: raises #GP(selector). Then
 * the present bit: #NP(selector). Fills seg, with cpl as its selector's RPL, and marks it accessed.
 */
void x86_check_code_finish(struct x86_cpu *cpu, struct x86_descriptor *desc, unsigned cpl,
			   uint32_t ext, struct x86_seg *seg);

/* Raises #GP(ext) when rip lies beyond cs' limit or is not canonical. */
void x86_check_target(struct x86_cpu *cpu, const struct x86_seg *cs, uint64_t rip, uint32_t ext);

static inline bool x86_canonical(const struct x86_cpu *cpu, uint64_t linear)
{
	unsigned unused = cpu->state.cr4 & X86_CR4_LA57 ? 7 : 16;

	return (uint64_t)((int64_t)(linear << unused) >> unused) == linear;
}

/* Null SS of 64-bit mode. */
void x86_seg_set_null_stack(struct x86_seg *seg, uint16_t selector, unsigned cpl);
/* What virtual-8086 mode makes of a selector. */
void x86_seg_set_v86(struct x86_seg *seg, uint16_t selector);
/* Real mode: base and selector; limit and D/B stay what they were. */
void x86_seg_set_real(struct x86_seg *seg, uint16_t selector, bool code);

/* MOV, POP, LDS … of a segment register other than CS in the mode the CPU is in. */
void x86_load_segment(struct x86_cpu *cpu, enum x86_seg_index index, uint16_t selector);

/* After a return to an outer ring: data segments that it may not use become null. */
void x86_invalidate_inner_segments(struct x86_cpu *cpu, unsigned cpl);

/* LLDT's checks and load; a null selector makes the LDT unusable. */
void x86_load_ldt(struct x86_cpu *cpu, uint16_t selector, struct x86_report report);

/* The stack that the TSS holds for ring dpl; not for IA-32e mode. #TS(TR) beyond its limit. */
void x86_tss_stack(struct x86_cpu *cpu, unsigned dpl, uint32_t ext, uint16_t *ss, uint32_t *sp);
/* IA-32e: RSP0 to RSP2 (slots 0 to 2) or IST1 to IST7 (slots 4 to 10). #SS(ext): not canonical. */
uint64_t x86_tss_stack64(struct x86_cpu *cpu, unsigned slot, uint32_t ext);

#endif
