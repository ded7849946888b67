/* SPDX-License-Identifier: MIT */
/*
 * MOVS CMPS SCAS LODS STOS, alone and repeated. Intel SDM vol. 2; vol. 1, 7.3.9.
 *
 * A repeated instruction goes in steps: a run of elements within one page, done by the host's own
 * repeated instruction when all of it is plain RAM, or one element. The count and index registers
 * are exact after each step and a step faults only before its first element, so a fault or an
 * interrupt between steps leaves a state from which the instruction goes on.
 *
 * The host moves elements of the guest's size in the guest's order, so overlapping operands come
 * out as they would. Downward (DF) everything goes one by one: the element that faults must be the
 * first touched, and nobody is in a hurry there.
 *
 * CMPS and SCAS leave the flags of the last comparison, but a fault shows the flags from before the
 * instruction: they are put back ahead of every step.
 */
#include "isa/x86/gp/alu.h"
#include "isa/x86/gp/gp.h"

struct string_op {
	void (*once)(struct x86_cpu *cpu, const struct insn *insn);
	/* At most count elements (≥ 1) at once; the number done, 0 when that is not possible. */
	uint64_t (*run)(struct x86_cpu *cpu, const struct insn *insn, uint64_t count);
	bool compares;
};

#define RAX GP_OFFSET(X86_RAX)
#define RCX GP_OFFSET(X86_RCX)
#define RSI GP_OFFSET(X86_RSI)
#define RDI GP_OFFSET(X86_RDI)

static uint64_t string_linear(struct x86_cpu *cpu, const struct insn *insn, uint16_t reg,
			      enum x86_access access)
{
	uint64_t offset = insn_read_reg(cpu, reg, insn->addrsize);
	unsigned seg = reg == RDI ? X86_ES : insn->seg;

	if (cpu->mode == X86_MODE_64 && seg < X86_FS)
		return offset;
	return x86_linear(cpu, seg, offset, insn->opsize, access);
}

static void advance(struct x86_cpu *cpu, const struct insn *insn, uint16_t reg, uint64_t count)
{
	uint64_t delta = count * insn->opsize;

	if (cpu->state.rflags & X86_DF)
		delta = -delta;
	insn_write_reg(cpu, reg, insn->addrsize, insn_read_reg(cpu, reg, insn->addrsize) + delta);
}

/* How many elements upward from reg, whose linear address is given, share a page and cannot fault
 * on segment limits or wrap around. */
static uint64_t reach(struct x86_cpu *cpu, const struct insn *insn, uint16_t reg, uint64_t linear,
		      uint64_t count)
{
	uint64_t offset = insn_read_reg(cpu, reg, insn->addrsize);
	uint64_t last = gp_mask(insn->addrsize);
	const struct x86_seg *seg = &cpu->state.seg[reg == RDI ? X86_ES : insn->seg];
	uint64_t bytes = 0x1000 - (linear & 0xfff);

	/*
	 * With AC set each element of a user's may have to be checked for alignment. A kernel has
	 * it set whenever it copies from and to users, under SMAP.
	 */
	if (cpu->state.rflags & X86_DF || (cpu->cpl == 3 && cpu->state.rflags & X86_AC))
		return 0;
	if (cpu->mode != X86_MODE_64) {
		if ((seg->attr & (X86_SEG_CODE | X86_SEG_EXPAND_DOWN)) == X86_SEG_EXPAND_DOWN)
			return 0;
		if (seg->limit < last)
			last = seg->limit;
	}
	if (last - offset < bytes)
		bytes = last - offset + 1;
	bytes /= insn->opsize;
	return bytes < count ? bytes : count;
}

/* A direct pointer to *count elements or fewer at reg; *count becomes that. NULL: one by one. */
static const void *source(struct x86_cpu *cpu, const struct insn *insn, uint16_t reg,
			  uint64_t *count)
{
	uint64_t linear = string_linear(cpu, insn, reg, X86_READ);

	*count = reach(cpu, insn, reg, linear, *count);
	if (*count < 2)
		return NULL;
	return x86_direct(cpu, linear, (unsigned)*count * insn->opsize, X86_READ);
}

/*
 * The same for writing at RDI. Pages that were code are cleared and copied to as a whole when they
 * get another use; one by one, each element would look for blocks to forget.
 */
static void *destination(struct x86_cpu *cpu, const struct insn *insn, uint64_t *count,
			 uint64_t *code)
{
	uint64_t linear = string_linear(cpu, insn, RDI, X86_WRITE);

	*count = reach(cpu, insn, RDI, linear, *count);
	if (*count < 2)
		return NULL;
	return x86_write_begin(cpu, linear, (unsigned)*count * insn->opsize, code);
}

/* The host's instruction (name without suffix) for the operand size; then flags, then operands. */
#define BY_SIZE(name, flags, ...)                                                                  \
	do {                                                                                       \
		switch (insn->opsize) {                                                            \
		case 1: __asm__ volatile(name "b" flags __VA_ARGS__); break;                       \
		case 2: __asm__ volatile(name "w" flags __VA_ARGS__); break;                       \
		case 4: __asm__ volatile(name "l" flags __VA_ARGS__); break;                       \
		default: __asm__ volatile(name "q" flags __VA_ARGS__); break;                      \
		}                                                                                  \
	} while (0)

/* ---- MOVS ---- */

static void movs_once(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t from = string_linear(cpu, insn, RSI, X86_READ);
	uint64_t value = x86_load(cpu, from, insn->opsize);

	x86_store(cpu, string_linear(cpu, insn, RDI, X86_WRITE), insn->opsize, value);
	advance(cpu, insn, RSI, 1);
	advance(cpu, insn, RDI, 1);
}

static uint64_t movs_run(struct x86_cpu *cpu, const struct insn *insn, uint64_t count)
{
	const void *from = source(cpu, insn, RSI, &count);
	uint64_t code, left;
	void *to = from ? destination(cpu, insn, &count, &code) : NULL;

	if (!to)
		return 0;
	left = count;
	BY_SIZE("rep movs", "", : "+S"(from), "+D"(to), "+c"(left) : : "memory");
	x86_write_end(cpu, code, (unsigned)count * insn->opsize);
	advance(cpu, insn, RSI, count);
	advance(cpu, insn, RDI, count);
	return count;
}

/* ---- STOS ---- */

static void stos_once(struct x86_cpu *cpu, const struct insn *insn)
{
	x86_store(cpu, string_linear(cpu, insn, RDI, X86_WRITE), insn->opsize,
		  insn_read_reg(cpu, RAX, insn->opsize));
	advance(cpu, insn, RDI, 1);
}

static uint64_t stos_run(struct x86_cpu *cpu, const struct insn *insn, uint64_t count)
{
	uint64_t code, left;
	void *to = destination(cpu, insn, &count, &code);

	if (!to)
		return 0;
	left = count;
	BY_SIZE("rep stos", "", : "+D"(to), "+c"(left) : "a"(cpu->state.gpr[X86_RAX]) : "memory");
	x86_write_end(cpu, code, (unsigned)count * insn->opsize);
	advance(cpu, insn, RDI, count);
	return count;
}

/* ---- LODS: of a run, only the last element is seen ---- */

static void lods_once(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t from = string_linear(cpu, insn, RSI, X86_READ);

	insn_write_reg(cpu, RAX, insn->opsize, x86_load(cpu, from, insn->opsize));
	advance(cpu, insn, RSI, 1);
}

static uint64_t lods_run(struct x86_cpu *cpu, const struct insn *insn, uint64_t count)
{
	const void *from = source(cpu, insn, RSI, &count);
	uint64_t left = count, value = cpu->state.gpr[X86_RAX];

	if (!from)
		return 0;
	BY_SIZE("rep lods", "", : "+S"(from), "+c"(left), "+a"(value) : : "memory");
	insn_write_reg(cpu, RAX, insn->opsize, value);
	advance(cpu, insn, RSI, count);
	return count;
}

/* ---- CMPS, SCAS ---- */

#define COMPARE(bits)                                                                              \
	__asm__("cmp %[b], %[a]" ALU_FLAGS_OUT                                                     \
		: "=a"(ax)                                                                         \
		: [a] "r"((uint##bits##_t)a), [b] "r"((uint##bits##_t)b)                           \
		: "cc")

static void compare(struct x86_cpu *cpu, uint64_t a, uint64_t b, unsigned size)
{
	uint16_t ax;

	switch (size) {
	case 1: COMPARE(8); break;
	case 2: COMPARE(16); break;
	case 4: COMPARE(32); break;
	default: COMPARE(64); break;
	}
	alu_set_flags(cpu, ax);
}

static void cmps_once(struct x86_cpu *cpu, const struct insn *insn)
{
	/* In this order: where both fault, processors tell of RDI's. */
	uint64_t b = x86_load(cpu, string_linear(cpu, insn, RDI, X86_READ), insn->opsize);
	uint64_t a = x86_load(cpu, string_linear(cpu, insn, RSI, X86_READ), insn->opsize);

	compare(cpu, a, b, insn->opsize);
	advance(cpu, insn, RSI, 1);
	advance(cpu, insn, RDI, 1);
}

#define CMPS_ASM(prefix)                                                                           \
	BY_SIZE(prefix " cmps", ALU_FLAGS_OUT,                                                     \
		: "+S"(a), "+D"(b), "+c"(left), "=a"(ax) : : "cc", "memory")

static uint64_t cmps_run(struct x86_cpu *cpu, const struct insn *insn, uint64_t count)
{
	const void *b = source(cpu, insn, RDI, &count);
	const void *a = b ? source(cpu, insn, RSI, &count) : NULL;
	uint64_t left = count;
	uint16_t ax;

	if (!a)
		return 0;
	if (insn->rep == INSN_REP_E)
		CMPS_ASM("repe");
	else
		CMPS_ASM("repne");
	alu_set_flags(cpu, ax);
	advance(cpu, insn, RSI, count - left);
	advance(cpu, insn, RDI, count - left);
	return count - left;
}

static void scas_once(struct x86_cpu *cpu, const struct insn *insn)
{
	uint64_t b = x86_load(cpu, string_linear(cpu, insn, RDI, X86_READ), insn->opsize);

	compare(cpu, insn_read_reg(cpu, RAX, insn->opsize), b, insn->opsize);
	advance(cpu, insn, RDI, 1);
}

#define SCAS_ASM(prefix)                                                                           \
	BY_SIZE(prefix " scas", ALU_FLAGS_OUT,                                                     \
		: "+D"(b), "+c"(left), "+a"(ax) : : "cc", "memory")

static uint64_t scas_run(struct x86_cpu *cpu, const struct insn *insn, uint64_t count)
{
	const void *b = source(cpu, insn, RDI, &count);
	uint64_t left = count, ax = cpu->state.gpr[X86_RAX];

	if (!b)
		return 0;
	if (insn->rep == INSN_REP_E)
		SCAS_ASM("repe");
	else
		SCAS_ASM("repne");
	alu_set_flags(cpu, (uint16_t)ax);
	advance(cpu, insn, RDI, count - left);
	return count - left;
}

/* ---- repetition ---- */

static bool must_pause(const struct x86_cpu *cpu)
{
	return cpu->block_stop || cpu->single_step || cpu->debug_hits ||
	       atomic_load_explicit(&cpu->cpu.requests, memory_order_relaxed);
}

static void repeat(struct x86_cpu *cpu, const struct insn *insn, const struct string_op *op)
{
	uint64_t flags = cpu->state.rflags;
	bool zero_goes_on = insn->rep == INSN_REP_E;

	for (;;) {
		uint64_t count = insn_read_reg(cpu, RCX, insn->addrsize), done;

		if (!count)
			return;
		cpu->state.rflags = flags;
		done = cpu->single_step ? 0 : op->run(cpu, insn, count);
		if (!done) {
			op->once(cpu, insn);
			done = 1;
		}
		insn_write_reg(cpu, RCX, insn->addrsize, count - done);
		if (count == done)
			return;
		if (op->compares && !(cpu->state.rflags & X86_ZF) == zero_goes_on)
			return;
		if (must_pause(cpu)) {
			/* A debug trap between iterations (Intel SDM vol. 3, 18.3.1.1). */
			if (cpu->single_step || cpu->debug_hits)
				cpu->state.rflags |= X86_RF;
			cpu->state.rip -= insn->length;
			cpu->block_stop = true;
			return;
		}
	}
}

#define STRING(name, is_compare)                                                                   \
	static void name(struct x86_cpu *cpu, const struct insn *insn)                             \
	{                                                                                          \
		static const struct string_op op = { name##_once, name##_run, is_compare };        \
                                                                                                   \
		repeat(cpu, insn, &op);                                                            \
	}
STRING(movs, false)
STRING(stos, false)
STRING(lods, false)
STRING(cmps, true)
STRING(scas, true)

/* ---- selection ---- */

#define PICK(name, size) (insn->opsize = (size), insn->rep ? name : name##_once)

insn_fn *x86_select_string(const struct insn_info *info, struct insn *insn)
{
	if (info->z.meta.category != ZYDIS_CATEGORY_STRINGOP)
		return NULL;
	if (insn->flags & INSN_LOCK)
		return gp_locked_undefined;
	for (unsigned i = 0; i < info->z.operand_count; i++) {
		const ZydisDecodedOperand *op = &info->op[i];

		if (op->type == ZYDIS_OPERAND_TYPE_MEMORY &&
		    (op->mem.base == ZYDIS_REGISTER_SI || op->mem.base == ZYDIS_REGISTER_ESI ||
		     op->mem.base == ZYDIS_REGISTER_RSI))
			insn->seg = gp_segment(op->mem.segment);
	}
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_MOVSB: return PICK(movs, 1);
	case ZYDIS_MNEMONIC_MOVSW: return PICK(movs, 2);
	case ZYDIS_MNEMONIC_MOVSD: return PICK(movs, 4);
	case ZYDIS_MNEMONIC_MOVSQ: return PICK(movs, 8);
	case ZYDIS_MNEMONIC_STOSB: return PICK(stos, 1);
	case ZYDIS_MNEMONIC_STOSW: return PICK(stos, 2);
	case ZYDIS_MNEMONIC_STOSD: return PICK(stos, 4);
	case ZYDIS_MNEMONIC_STOSQ: return PICK(stos, 8);
	case ZYDIS_MNEMONIC_LODSB: return PICK(lods, 1);
	case ZYDIS_MNEMONIC_LODSW: return PICK(lods, 2);
	case ZYDIS_MNEMONIC_LODSD: return PICK(lods, 4);
	case ZYDIS_MNEMONIC_LODSQ: return PICK(lods, 8);
	case ZYDIS_MNEMONIC_CMPSB: return PICK(cmps, 1);
	case ZYDIS_MNEMONIC_CMPSW: return PICK(cmps, 2);
	case ZYDIS_MNEMONIC_CMPSD: return PICK(cmps, 4);
	case ZYDIS_MNEMONIC_CMPSQ: return PICK(cmps, 8);
	case ZYDIS_MNEMONIC_SCASB: return PICK(scas, 1);
	case ZYDIS_MNEMONIC_SCASW: return PICK(scas, 2);
	case ZYDIS_MNEMONIC_SCASD: return PICK(scas, 4);
	case ZYDIS_MNEMONIC_SCASQ: return PICK(scas, 8);
	default: return NULL;
	}
}
