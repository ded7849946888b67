/* SPDX-License-Identifier: MIT */
/*
 * Integer instructions against the processor we run on: random operands, registers and flags, each
 * instruction executed by our semantics and natively at the same addresses, everything compared.
 * The guest's memory is mapped at its own host address, so even pointers and RIP are equal.
 *
 * RINGLET_TEST_SEED and RINGLET_TEST_CASES (for each form) in the environment override defaults.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include <Zydis/Zydis.h>

#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/decode.h"
#include "mem/mem.h"
#include "x86_fixture.h"

#define DATA_BYTES 8192u
#define AREA (2u << 20)      /* data lies at the start of one of these, alone */
#define TABLES 0x10000u      /* guest-physical address of the page tables */
#define PTE_USER 7u          /* present, writable, user */

/* What the native snippet loads and stores, RIP-relative. */
struct native {
	uint64_t in[16], in_flags, out[16], out_flags, saved_rsp;
	uint8_t fell_through;
};

#define NATIVE_AT 0x800 /* in the code page */

struct bench {
	struct x86_fixture fixture;
	uint8_t *code, *slot, *epilogue;
	struct native *native;
	uint8_t *data;
	uint8_t before[DATA_BYTES], guest[DATA_BYTES];
	uint64_t random;
	uint64_t gpr[16], flags;
	uint8_t bytes[16];
	uint8_t length;
};

/* ---- native execution ---- */

static sigjmp_buf native_fault;

static void on_fault(int signal)
{
	siglongjmp(native_fault, signal);
}

/* In each test: cmocka sets handlers of its own before it. */
static void catch_faults(void)
{
	static const int signals[] = { SIGFPE, SIGSEGV, SIGILL, SIGBUS };
	struct sigaction action = { .sa_handler = on_fault, .sa_flags = SA_ONSTACK };

	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
}

static uint8_t *emit(uint8_t *at, unsigned count, const uint8_t *bytes)
{
	memcpy(at, bytes, count);
	return at + count;
}
#define EMIT(at, ...)                                                                              \
	emit(at, sizeof((const uint8_t[]){ __VA_ARGS__ }), (const uint8_t[]){ __VA_ARGS__ })

static uint8_t *emit_address(uint8_t *at, const void *target, unsigned bytes_after)
{
	int32_t displacement = (int32_t)((const uint8_t *)target - (at + 4 + bytes_after));

	memcpy(at, &displacement, 4);
	return at + 4;
}

/* opcode 8b: load, 89: store, of one 64-bit register. */
static uint8_t *emit_move(uint8_t *at, uint8_t opcode, unsigned reg, const void *where)
{
	at = EMIT(at, reg & 8 ? 0x4c : 0x48, opcode, (uint8_t)(5 | (reg & 7) << 3));
	return emit_address(at, where, 0);
}

static void build_snippet(struct bench *b)
{
	struct native *n = b->native;
	uint8_t *p = b->code;

	p = EMIT(p, 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57);
	p = emit_move(p, 0x89, X86_RSP, &n->saved_rsp);
	p = EMIT(p, 0xff, 0x35);
	p = emit_address(p, &n->in_flags, 0);
	p = EMIT(p, 0x9d);
	for (unsigned i = 0; i < 16; i++)
		p = emit_move(p, 0x8b, i, &n->in[i]);
	b->slot = p;
	p = b->epilogue = p + 64;
	for (unsigned i = 0; i < 16; i++)
		p = emit_move(p, 0x89, i, &n->out[i]);
	p = emit_move(p, 0x8b, X86_RSP, &n->saved_rsp);
	p = EMIT(p, 0x9c, 0x8f, 0x05);
	p = emit_address(p, &n->out_flags, 0);
	EMIT(p, 0xfc, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3);
}

/* After the instruction: note that it was reached, then out. Branches go over the note. */
#define NOTE_BYTES 7

static void place(struct bench *b)
{
	uint8_t *p = emit(b->slot, b->length, b->bytes);

	p = EMIT(p, 0xc6, 0x05);
	p = emit_address(p, &b->native->fell_through, 1);
	p = EMIT(p, 0x01, 0xe9);
	emit_address(p, b->epilogue, 0);
}

/* 0, or the vector of the fault. */
static int run_native(struct bench *b)
{
	int signal;

	memcpy(b->native->in, b->gpr, sizeof(b->gpr));
	b->native->in_flags = b->flags;
	b->native->fell_through = 0;
	signal = sigsetjmp(native_fault, 1);
	if (!signal) {
		((void (*)(void))(uintptr_t)b->code)();
		return -1;
	}
	return signal == SIGFPE ? X86_DE : signal == SIGILL ? X86_UD : X86_GP;
}

static int run_guest(struct bench *b)
{
	struct x86_cpu *cpu = b->fixture.cpu;
	struct insn insn;

	assert_int_equal(x86_decode(cpu, X86_MODE_64, b->bytes, 15, &insn), b->length);
	memcpy(cpu->state.gpr, b->gpr, sizeof(b->gpr));
	cpu->state.rflags = b->flags;
	cpu->state.rip = (uintptr_t)b->slot;
	do {
		cpu->insn = &insn;
		cpu->block_stop = false;
		cpu->state.rip += insn.length;
		if (X86_RAISES(&b->fixture, insn.fn(cpu, &insn)))
			return cpu->fault.vector;
	} while (cpu->state.rip == (uintptr_t)b->slot);
	return -1;
}

/* ---- the machine ---- */

static void map_data(struct bench *b)
{
	const struct mem_region *ram = mem_find(b->fixture.mem, 0);
	uint64_t gpa = AREA - (uintptr_t)ram->host % AREA + AREA, linear;

	b->data = ram->host + gpa;
	linear = (uintptr_t)b->data;
	for (unsigned level = 0; level < 3; level++) {
		uint64_t table = TABLES + level * 0x1000, next = table + 0x1000;

		x86_poke(&b->fixture, table + ((linear >> (39 - 9 * level)) & 511) * 8,
			 next | PTE_USER, 8);
	}
	for (unsigned i = 0; i < DATA_BYTES / 4096; i++)
		x86_poke(&b->fixture, TABLES + 0x3000 + i * 8, (gpa + i * 4096) | PTE_USER, 8);
}

static int set_up(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	stack_t stack = { .ss_sp = malloc(1 << 16), .ss_size = 1 << 16 };
	const char *seed = getenv("RINGLET_TEST_SEED");

	sigaltstack(&stack, NULL);
	x86_fixture_create(&b->fixture);
	x86_cpuid_destroy(b->fixture.cpu->cpuid);
	if (x86_cpuid_create("host", 0, 1, NULL, &b->fixture.cpu->cpuid, NULL))
		return -1;
	map_data(b);
	x86_fixture_long(&b->fixture, 3, TABLES);
	b->code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	b->native = (struct native *)(b->code + NATIVE_AT);
	build_snippet(b);
	b->random = seed ? strtoull(seed, NULL, 0) : 0x9e3779b97f4a7c15;
	*state = b;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *b = *state;
	stack_t stack;

	sigaltstack(&(stack_t){ .ss_flags = SS_DISABLE }, &stack);
	free(stack.ss_sp);
	munmap(b->code, 4096);
	x86_fixture_destroy(&b->fixture);
	free(b);
	return 0;
}

/* ---- random things ---- */

static uint64_t next(struct bench *b)
{
	b->random ^= b->random << 13;
	b->random ^= b->random >> 7;
	b->random ^= b->random << 17;
	return b->random * 0x2545f4914f6cdd1d;
}

static uint64_t pick(struct bench *b, uint64_t count)
{
	return (next(b) >> 20) % count;
}

/* Numbers at the edges are likelier to matter than others. */
static uint64_t value(struct bench *b)
{
	uint64_t one = 1ull << pick(b, 64);

	switch (pick(b, 6)) {
	case 0: return pick(b, 3) - 1;
	case 1: return one - pick(b, 2);
	case 2: return -one;
	case 3: return pick(b, 70);
	default: return next(b);
	}
}

static void randomise(struct bench *b)
{
	uint64_t *words = (uint64_t *)b->data;

	for (unsigned i = 0; i < 16; i++)
		b->gpr[i] = value(b);
	for (unsigned i = 0; i < DATA_BYTES / 8; i++)
		words[i] = value(b);
	b->gpr[X86_RSP] = (uintptr_t)b->data + 2048 + pick(b, 500) * 8;
	b->flags = X86_IF | X86_F1 | (next(b) & X86_STATUS_FLAGS);
}

/* ---- forms ---- */

enum operand {
	NONE, R, RM, M, I, I8, CL, AREG,
	RM8, RM16, RM32, /* of this size whatever the instruction's */
	RBIT,            /* a register that holds a bit offset near the operand */
	FORWARD,         /* a branch over the note */
	RTARGET,         /* the same, in a register or memory */
};

enum { S8 = 1, S16 = 2, S32 = 4, S64 = 8, SW = S16 | S32 | S64, SA = SW | S8, SV = S32 | S64 };
enum { LOCKABLE = 1, COUNTED = 2, ON_STACK = 4, MAY_FAULT = 8 };

struct form {
	ZydisMnemonic mnemonic;
	uint8_t sizes;
	uint8_t flags;
	enum operand op[4];
};

#define F(name, ...) { ZYDIS_MNEMONIC_##name, __VA_ARGS__ }
#define ALU(name)                                                                                  \
	F(name, SA, LOCKABLE, { RM, R }), F(name, SA, LOCKABLE, { RM, I }),                        \
	F(name, SA, 0, { R, RM })
#define UNARY(name) F(name, SA, LOCKABLE, { RM })
#define SHIFT(name) F(name, SA, 0, { RM, I8 }), F(name, SA, 0, { RM, CL })
#define BITS(name, lock) F(name, SW, lock, { RM, I8 }), F(name, SW, lock, { RM, RBIT })
#define TWO(name) F(name, SW, 0, { R, RM })

static const struct form arithmetic[] = {
	ALU(ADD), ALU(OR), ALU(ADC), ALU(SBB), ALU(AND), ALU(SUB), ALU(XOR), ALU(CMP),
	F(TEST, SA, 0, { RM, R }), F(TEST, SA, 0, { RM, I }),
	UNARY(INC), UNARY(DEC), UNARY(NEG), UNARY(NOT),
	F(MUL, SA, 0, { RM }), F(IMUL, SA, 0, { RM }), TWO(IMUL), F(IMUL, SW, 0, { R, RM, I }),
	F(DIV, SA, MAY_FAULT, { RM }), F(IDIV, SA, MAY_FAULT, { RM }),
	F(CBW, S8, 0, { 0 }), F(CWDE, S8, 0, { 0 }), F(CDQE, S8, 0, { 0 }),
	F(CWD, S8, 0, { 0 }), F(CDQ, S8, 0, { 0 }), F(CQO, S8, 0, { 0 }),
	F(ADCX, SV, 0, { R, RM }), F(ADOX, SV, 0, { R, RM }),
	F(XADD, SA, LOCKABLE, { RM, R }), F(CMPXCHG, SA, LOCKABLE, { RM, R }),
	F(XCHG, SA, LOCKABLE, { RM, R }),
};

static const struct form shifts[] = {
	SHIFT(ROL), SHIFT(ROR), SHIFT(RCL), SHIFT(RCR), SHIFT(SHL), SHIFT(SHR), SHIFT(SAR),
	F(SHLD, SW, 0, { RM, R, I8 }), F(SHLD, SW, 0, { RM, R, CL }),
	F(SHRD, SW, 0, { RM, R, I8 }), F(SHRD, SW, 0, { RM, R, CL }),
};

static const struct form bits[] = {
	BITS(BT, 0), BITS(BTS, LOCKABLE), BITS(BTR, LOCKABLE), BITS(BTC, LOCKABLE),
	TWO(BSF), TWO(BSR), TWO(POPCNT), TWO(LZCNT), TWO(TZCNT),
	F(BSWAP, SV, 0, { R }),
	F(CRC32, SV, 0, { R, RM8 }), F(CRC32, S32, 0, { R, RM16 }), F(CRC32, SV, 0, { R, RM }),
	F(ANDN, SV, 0, { R, R, RM }), F(PDEP, SV, 0, { R, R, RM }), F(PEXT, SV, 0, { R, R, RM }),
	F(MULX, SV, 0, { R, R, RM }),
	F(BEXTR, SV, 0, { R, RM, R }), F(BZHI, SV, 0, { R, RM, R }), F(SARX, SV, 0, { R, RM, R }),
	F(SHLX, SV, 0, { R, RM, R }), F(SHRX, SV, 0, { R, RM, R }), F(RORX, SV, 0, { R, RM, I8 }),
	F(BLSI, SV, 0, { R, RM }), F(BLSMSK, SV, 0, { R, RM }), F(BLSR, SV, 0, { R, RM }),
};

static const struct form moves[] = {
	F(MOV, SA, 0, { RM, R }), F(MOV, SA, 0, { R, RM }), F(MOV, SA, 0, { RM, I }),
	F(MOVZX, SW, 0, { R, RM8 }), F(MOVZX, SV, 0, { R, RM16 }),
	F(MOVSX, SW, 0, { R, RM8 }), F(MOVSX, SV, 0, { R, RM16 }), F(MOVSXD, S64, 0, { R, RM32 }),
	F(LEA, SW, 0, { R, M }), F(MOVBE, SW, 0, { R, M }), F(MOVBE, SW, 0, { M, R }),
	F(MOVNTI, SV, 0, { M, R }), F(MOVDIRI, SV, 0, { M, R }),
	F(PUSH, S16 | S64, ON_STACK, { RM }), F(POP, S16 | S64, ON_STACK, { RM }),
	F(PUSH, S64, ON_STACK, { I }), F(PUSHFQ, S8, 0, { 0 }), F(PUSHF, S8, 0, { 0 }),
	F(LAHF, S8, 0, { 0 }), F(SAHF, S8, 0, { 0 }), F(CLC, S8, 0, { 0 }), F(STC, S8, 0, { 0 }),
	F(CMC, S8, 0, { 0 }), F(CLD, S8, 0, { 0 }), F(STD, S8, 0, { 0 }), F(NOP, S8, 0, { 0 }),
};

#define CONDITION(cc)                                                                              \
	F(CMOV##cc, SW, 0, { R, RM }), F(SET##cc, S8, 0, { RM }), F(J##cc, S8, 0, { FORWARD })
static const struct form conditions[] = {
	CONDITION(O), CONDITION(NO), CONDITION(B), CONDITION(NB), CONDITION(Z), CONDITION(NZ),
	CONDITION(BE), CONDITION(NBE), CONDITION(S), CONDITION(NS), CONDITION(P), CONDITION(NP),
	CONDITION(L), CONDITION(NL), CONDITION(LE), CONDITION(NLE),
	F(LOOP, S8, 0, { FORWARD }), F(LOOPE, S8, 0, { FORWARD }), F(LOOPNE, S8, 0, { FORWARD }),
	F(JRCXZ, S8, 0, { FORWARD }), F(JECXZ, S8, 0, { FORWARD }), F(JMP, S8, 0, { FORWARD }),
	F(CALL, S64, 0, { FORWARD }), F(CALL, S64, 0, { RTARGET }), F(JMP, S64, 0, { RTARGET }),
};

static ZydisRegister reg_of(unsigned size, unsigned id)
{
	static const ZydisRegisterClass classes[] = { [1] = ZYDIS_REGCLASS_GPR8,
						      [2] = ZYDIS_REGCLASS_GPR16,
						      [4] = ZYDIS_REGCLASS_GPR32,
						      [8] = ZYDIS_REGCLASS_GPR64 };

	return ZydisRegisterEncode(classes[size], (ZyanU8)id);
}

/* A base (never RSP, whose value is given), perhaps an index, that lead into the data. */
static void make_memory(struct bench *b, ZydisEncoderOperand *op, unsigned size)
{
	unsigned base = (unsigned)pick(b, 15), index = (unsigned)pick(b, 15);
	uint64_t target = (uintptr_t)b->data + 256 + pick(b, DATA_BYTES - 512);
	int64_t disp = pick(b, 2) ? (int8_t)next(b) : (int32_t)next(b);

	base += base >= X86_RSP;
	index += index >= X86_RSP;
	op->type = ZYDIS_OPERAND_TYPE_MEMORY;
	op->mem.base = reg_of(8, base);
	op->mem.displacement = disp;
	op->mem.size = (ZyanU16)size;
	b->gpr[base] = target - (uint64_t)disp;
	if (index != base && pick(b, 2)) {
		op->mem.index = reg_of(8, index);
		op->mem.scale = (ZyanU8)(1u << pick(b, 4));
		b->gpr[base] -= b->gpr[index] * op->mem.scale;
	}
}

static void make_register(struct bench *b, ZydisEncoderOperand *op, unsigned size)
{
	/* AL … BH, SPL … R15B: 20 names for bytes. RSP stays what it is. */
	unsigned id = (unsigned)pick(b, size == 1 ? 20 : 16);

	while (size > 1 && id == X86_RSP)
		id = (unsigned)pick(b, 16);
	op->type = ZYDIS_OPERAND_TYPE_REGISTER;
	op->reg.value = reg_of(size, id);
}

static void make_bit_register(struct bench *b, ZydisEncoderOperand *op, unsigned size,
			      bool in_memory)
{
	unsigned id = (unsigned)pick(b, 4) + X86_R12;

	op->type = ZYDIS_OPERAND_TYPE_REGISTER;
	op->reg.value = reg_of(size, id);
	if (in_memory)
		b->gpr[id] = (b->gpr[id] & ~0xffffull) | (uint16_t)(pick(b, 1024) - 512);
	if (in_memory && size > 2)
		b->gpr[id] = (uint64_t)(int64_t)(int16_t)b->gpr[id];
}

static void make_immediate(struct bench *b, ZydisEncoderOperand *op, unsigned size)
{
	int64_t v = (int64_t)value(b);

	op->type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
	op->imm.s = size == 1 ? (int8_t)v : size == 2 ? (int16_t)v : (int32_t)v;
}

static void make_operand(struct bench *b, enum operand kind, unsigned size,
			 ZydisEncoderRequest *req, unsigned which)
{
	ZydisEncoderOperand *op = &req->operands[which];
	bool memory = pick(b, 2);

	switch (kind) {
	case RM8: size = 1; break;
	case RM16: size = 2; break;
	case RM32: size = 4; break;
	default: break;
	}
	switch (kind) {
	case M:
		make_memory(b, op, size);
		break;
	case RM: case RM8: case RM16: case RM32: case RTARGET:
		if (memory) {
			make_memory(b, op, size);
			break;
		}
		make_register(b, op, size);
		break;
	case I:
		make_immediate(b, op, size);
		break;
	case I8:
		op->type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
		op->imm.u = pick(b, 2) ? pick(b, 3) : pick(b, 128);
		break;
	case CL:
		op->type = ZYDIS_OPERAND_TYPE_REGISTER;
		op->reg.value = ZYDIS_REGISTER_CL;
		break;
	case RBIT:
		make_bit_register(b, op, size, req->operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY);
		break;
	case FORWARD:
		op->type = ZYDIS_OPERAND_TYPE_IMMEDIATE;
		op->imm.u = NOTE_BYTES;
		break;
	default:
		make_register(b, op, size);
		break;
	}
}

/* The bit offset was chosen after the address that it must not be part of. */
static bool overwrites_address(const struct form *form, const ZydisEncoderRequest *req)
{
	const ZydisEncoderOperand *memory = &req->operands[0];
	unsigned id = (unsigned)ZydisRegisterGetId(req->operands[1].reg.value);

	if (form->op[1] != RBIT || memory->type != ZYDIS_OPERAND_TYPE_MEMORY)
		return false;
	return id == (unsigned)ZydisRegisterGetId(memory->mem.base) ||
	       id == (unsigned)ZydisRegisterGetId(memory->mem.index);
}

/* false: it cannot be encoded (a high byte beside REX), or its address was overwritten. */
static bool make(struct bench *b, const struct form *form, unsigned size)
{
	ZydisEncoderRequest req = { .machine_mode = ZYDIS_MACHINE_MODE_LONG_64,
				    .mnemonic = form->mnemonic };
	ZyanUSize length = 15;

	for (unsigned i = 0; i < 4 && form->op[i] != NONE; i++, req.operand_count++)
		make_operand(b, form->op[i], size, &req, i);
	if ((form->flags & LOCKABLE) && req.operands[0].type == ZYDIS_OPERAND_TYPE_MEMORY &&
	    pick(b, 2))
		req.prefixes |= ZYDIS_ATTRIB_HAS_LOCK;
	if (overwrites_address(form, &req))
		return false;
	memset(b->bytes, 0x90, sizeof(b->bytes));
	if (!ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(&req, b->bytes, &length)))
		return false;
	b->length = (uint8_t)length;
	return true;
}

/* ---- comparison ---- */

static void explain(const struct bench *b, const char *what)
{
	const struct x86_state *guest = &b->fixture.cpu->state;
	ZydisDisassembledInstruction text;

	ZydisDisassembleIntel(ZYDIS_MACHINE_MODE_LONG_64, (uintptr_t)b->slot, b->bytes, 15, &text);
	print_error("%s differs: %s\n", what, text.text);
	print_error("flags in %lx, guest %lx, native %lx\n", b->flags, guest->rflags,
		    b->native->out_flags);
	for (unsigned i = 0; i < 16; i++)
		print_error("gpr %2u in %016lx guest %016lx native %016lx%s\n", i, b->gpr[i],
			    guest->gpr[i], b->native->out[i],
			    guest->gpr[i] == b->native->out[i] ? "" : " <--");
	fail();
}

static void run_case(struct bench *b)
{
	const struct x86_state *guest = &b->fixture.cpu->state;
	uint64_t past = (uintptr_t)b->slot + b->length;
	int guest_fault, native_fault_vector;

	place(b);
	memcpy(b->before, b->data, DATA_BYTES);
	guest_fault = run_guest(b);
	memcpy(b->guest, b->data, DATA_BYTES);
	memcpy(b->data, b->before, DATA_BYTES);
	native_fault_vector = run_native(b);
	if (guest_fault != native_fault_vector) {
		print_error("guest fault %d, native %d\n", guest_fault, native_fault_vector);
		explain(b, "fault");
	}
	if (guest_fault >= 0)
		return;
	if (memcmp(guest->gpr, b->native->out, sizeof(guest->gpr)))
		explain(b, "a register");
	if (guest->rflags != b->native->out_flags)
		explain(b, "flags");
	if (memcmp(b->guest, b->data, DATA_BYTES))
		explain(b, "memory");
	if (guest->rip != past + (b->native->fell_through ? 0 : NOTE_BYTES))
		explain(b, "rip");
}

static unsigned cases(void)
{
	const char *text = getenv("RINGLET_TEST_CASES");

	return text ? (unsigned)strtoul(text, NULL, 0) : 150;
}

/* The word that an indirect branch reads. */
static void aim(struct bench *b, const struct form *form)
{
	uint64_t target = (uintptr_t)b->slot + b->length + NOTE_BYTES;
	ZydisDecoder decoder;
	ZydisDecodedInstruction z;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
	uint64_t address;

	if (form->op[0] != RTARGET)
		return;
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ZydisDecoderDecodeFull(&decoder, b->bytes, 15, &z, op);
	if (op[0].type == ZYDIS_OPERAND_TYPE_REGISTER) {
		b->gpr[op[0].reg.value - ZYDIS_REGISTER_RAX] = target;
		return;
	}
	address = b->gpr[op[0].mem.base - ZYDIS_REGISTER_RAX] + (uint64_t)op[0].mem.disp.value;
	if (op[0].mem.index != ZYDIS_REGISTER_NONE)
		address += b->gpr[op[0].mem.index - ZYDIS_REGISTER_RAX] * op[0].mem.scale;
	memcpy((void *)address, &target, 8);
}

static void run_forms(struct bench *b, const struct form *forms, size_t count)
{
	catch_faults();
	for (size_t i = 0; i < count; i++) {
		unsigned sizes = (unsigned)__builtin_popcount(forms[i].sizes);
		unsigned encoded = 0, wanted = cases() * sizes;

		for (unsigned tries = 0; encoded < wanted && tries < 4 * wanted; tries++) {
			unsigned size = 1u << pick(b, 4);

			if (!(forms[i].sizes & size))
				continue;
			randomise(b);
			if (!make(b, &forms[i], size))
				continue;
			aim(b, &forms[i]);
			run_case(b);
			encoded++;
		}
		if (!encoded)
			fail_msg("nothing encoded: %s",
				 ZydisMnemonicGetString(forms[i].mnemonic));
	}
}

#define GROUP(name)                                                                                \
	static void test_##name(void **state)                                                      \
	{                                                                                          \
		run_forms(*state, name, sizeof(name) / sizeof((name)[0]));                         \
	}
GROUP(arithmetic)
GROUP(shifts)
GROUP(bits)
GROUP(moves)
GROUP(conditions)

/* ---- what needs its operands arranged ---- */

static void set_bytes(struct bench *b, const uint8_t *bytes, unsigned length)
{
	memset(b->bytes, 0x90, sizeof(b->bytes));
	memcpy(b->bytes, bytes, length);
	b->length = (uint8_t)length;
}

/* Every string instruction and prefix, both ways, overlapping, across the page boundary. */
static void test_strings(void **state)
{
	static const uint8_t opcodes[] = { 0xa4, 0xa5, 0xa6, 0xa7, 0xaa, 0xab, 0xac, 0xad, 0xae,
					   0xaf };
	static const uint8_t reps[] = { 0x90, 0xf3, 0xf2 }, sizes[] = { 0x40, 0x66, 0x48 };
	struct bench *b = *state;

	catch_faults();
	for (unsigned i = 0; i < cases() * 60; i++) {
		uint8_t bytes[3] = { reps[pick(b, 3)], sizes[pick(b, 3)],
				     opcodes[pick(b, sizeof(opcodes))] };
		bool plain = bytes[0] == 0x90;

		randomise(b);
		set_bytes(b, bytes + plain, 3 - plain);
		if (pick(b, 2))
			memset(b->data + pick(b, 2048), (int)pick(b, 2) - 1, 4096);
		b->gpr[X86_RAX] = pick(b, 2) ? -pick(b, 2) : b->gpr[X86_RAX];
		b->gpr[X86_RSI] = (uintptr_t)b->data + 2048 + pick(b, 4096);
		b->gpr[X86_RDI] = pick(b, 2) ? b->gpr[X86_RSI] + pick(b, 40) - 20 :
					       (uintptr_t)b->data + 2048 + pick(b, 4096);
		b->gpr[X86_RCX] = pick(b, 3) ? pick(b, 20) : pick(b, 240);
		b->flags |= pick(b, 2) ? X86_DF : 0;
		run_case(b);
	}
}

static void test_compare_exchange_pairs(void **state)
{
	static const uint8_t forms[][5] = { { 0xf0, 0x0f, 0xc7, 0x0e }, { 0x3e, 0x0f, 0xc7, 0x0e },
					    { 0xf0, 0x48, 0x0f, 0xc7, 0x0e } };
	struct bench *b = *state;

	catch_faults();
	for (unsigned i = 0; i < cases() * 6; i++) {
		unsigned form = (unsigned)pick(b, 3);
		uint64_t *pair = (uint64_t *)(b->data + 1024);

		randomise(b);
		set_bytes(b, forms[form], form == 2 ? 5 : 4);
		b->gpr[X86_RSI] = (uintptr_t)pair + (pick(b, 8) ? 0 : 8);
		if (pick(b, 2)) {
			b->gpr[X86_RAX] = pair[0];
			b->gpr[X86_RDX] = form == 2 ? pair[1] : pair[0] >> 32;
		}
		run_case(b);
	}
}

/* RET, LEAVE, ENTER, POPF, XLAT: their memory is named by fixed registers. */
static void test_fixed_registers(void **state)
{
	static const struct {
		uint8_t length, bytes[4];
	} forms[] = {
		{ 1, { 0xc3 } }, { 3, { 0xc2, 16, 0 } }, { 1, { 0xc9 } }, { 2, { 0x66, 0xc9 } },
		{ 4, { 0xc8, 32, 0, 0 } }, { 4, { 0xc8, 8, 0, 1 } }, { 4, { 0xc8, 64, 0, 9 } },
		{ 1, { 0x9d } }, { 2, { 0x66, 0x9d } }, { 1, { 0xd7 } },
		{ 3, { 0x66, 0x0f, 0xc8 } },       /* bswap ax */
		{ 3, { 0x8f, 0x04, 0x24 } },       /* pop [rsp] */
		{ 3, { 0xff, 0x34, 0x24 } },       /* push [rsp] */
		{ 1, { 0x54 } },                   /* push rsp */
		{ 1, { 0x5c } },                   /* pop rsp */
		{ 2, { 0x86, 0xe0 } },             /* xchg al, ah */
	};
	struct bench *b = *state;

	catch_faults();
	for (unsigned i = 0; i < cases() * 20; i++) {
		unsigned form = (unsigned)pick(b, sizeof(forms) / sizeof(forms[0]));
		uint64_t *top;

		randomise(b);
		set_bytes(b, forms[form].bytes, forms[form].length);
		top = (uint64_t *)b->gpr[X86_RSP];
		b->gpr[X86_RBP] = (uintptr_t)b->data + 2048 + pick(b, 500) * 8;
		b->gpr[X86_RBX] = (uintptr_t)b->data;
		if ((b->bytes[0] & 0xfe) == 0xc2)
			*top = (uintptr_t)b->slot + b->length + NOTE_BYTES;
		else if (forms[form].bytes[forms[form].length - 1] == 0x9d)
			*top &= ~(uint64_t)(X86_TF | X86_AC);
		if (b->bytes[0] == 0x66 && b->bytes[1] == 0xc9)
			b->gpr[X86_RBP] = (b->gpr[X86_RSP] & ~0xffull) | pick(b, 256);
		run_case(b);
	}
}

/* The decimal instructions, which the host lacks in 64-bit mode: known answers. */
static void test_decimal(void **state)
{
	static const struct {
		uint8_t bytes[2];
		uint16_t ax_in;
		uint16_t flags_in, ax_out, flags_out;
	} known[] = {
		{ { 0x37 }, 0x000a, 0, 0x0100, X86_AF | X86_CF | X86_ZF | X86_PF },
		{ { 0x37 }, 0x0305, 0, 0x0305, X86_PF },
		{ { 0x3f }, 0x0204, X86_AF, 0x000e, X86_AF | X86_CF },
		{ { 0x27 }, 0x009a, 0, 0x0000, X86_AF | X86_CF | X86_ZF | X86_PF },
		{ { 0x27 }, 0x0079, X86_AF, 0x007f, X86_AF },
		{ { 0x2f }, 0x0000, X86_AF, 0x00fa, X86_AF | X86_CF | X86_SF | X86_PF },
		{ { 0xd4, 10 }, 0x004f, X86_CF | X86_AF, 0x0709, X86_PF },
		{ { 0xd5, 10 }, 0x0907, X86_CF, 0x0061, X86_AF },
	};
	struct bench *b = *state;
	struct x86_cpu *cpu = b->fixture.cpu;

	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		uint8_t bytes[15] = { known[i].bytes[0], known[i].bytes[1] };
		struct insn insn;

		x86_decode(cpu, X86_MODE_32, bytes, 15, &insn);
		cpu->insn = &insn;
		cpu->state.gpr[X86_RAX] = 0xffff0000u | known[i].ax_in;
		cpu->state.rflags = X86_F1 | known[i].flags_in;
		insn.fn(cpu, &insn);
		assert_int_equal(cpu->state.gpr[X86_RAX], 0xffff0000u | known[i].ax_out);
		assert_int_equal(cpu->state.rflags, X86_F1 | known[i].flags_out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_arithmetic),
		cmocka_unit_test(test_shifts),
		cmocka_unit_test(test_bits),
		cmocka_unit_test(test_moves),
		cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_strings),
		cmocka_unit_test(test_compare_exchange_pairs),
		cmocka_unit_test(test_fixed_registers),
		cmocka_unit_test(test_decimal),
	};

	return cmocka_run_group_tests_name("general-purpose semantics", tests, set_up, tear_down);
}
