/* SPDX-License-Identifier: MIT */
/*
 * Instructions that run as stubs: checks, the memory operand's host address, the call.
 *
 * Memory operands go straight to guest RAM where they lie in one page that may be accessed so. Else
 * they are bounced: read beforehand, or written afterwards, when nothing can fault any more. The
 * bounce buffer keeps the address's offset into a cache line, so that alignment is judged alike.
 */
#include "isa/x86/memory/access.h"
#include "isa/x86/vector/hostexec.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/mirror/lockstep.h"
#include "isa/x86/vector/vec.h"

#define LINE_MASK 63u

/* x87 status and control word. */
#define X87_ERRORS 0x3f
#define X87_PRECISION 0x20
#define X87_SUMMARY 0x80
#define X87_TOP 0x3800
#define TENBYTE 10u

void host_forbidden(struct x86_cpu *cpu, const struct host_stub *stub)
{
	const struct x86_state *state = &cpu->state;

	if (((stub->flags & HOST_PROTECTED_ONLY) && !cpu->protected_mode) ||
	    (~state->cr4 & stub->cr4_need) || (~state->xcr0 & stub->xcr0_need))
		x86_undefined(cpu);
	if ((stub->flags & HOST_EM_UNDEFINED) && (state->cr0 & X86_CR0_EM))
		x86_undefined(cpu);
	if ((stub->flags & HOST_WAIT) && !(state->cr0 & X86_CR0_MP))
		return;
	x86_raise(cpu, X86_NM);
}

/*
 * With CR0.NE clear an x87 error goes out as FERR# and comes back as an interrupt, before which the
 * instruction that noticed it does not proceed (Intel SDM vol. 1, D.2).
 */
static void signal_fpu_error(struct x86_cpu *cpu, const struct insn *insn)
{
	if (unlikely(cpu->lockstep))
		lockstep_outside(cpu);
	x86_vec_park(cpu);
	if (cpu->cpu.env.fpu_error)
		cpu->cpu.env.fpu_error(cpu->cpu.env.opaque);
	cpu->state.rip -= insn->length;
	cpu->block_stop = true;
}

bool host_fault(struct x86_cpu *cpu, const struct insn *insn, uint64_t vector)
{
	switch (vector) {
	case X86_MF:
		if (!(cpu->state.cr0 & X86_CR0_NE)) {
			signal_fpu_error(cpu, insn);
			return false;
		}
		x86_raise(cpu, X86_MF);
	case X86_XM:
		if (!(cpu->state.cr4 & X86_CR4_OSXMMEXCPT))
			x86_undefined(cpu);
		x86_raise(cpu, X86_XM);
	case X86_GP:
		x86_general_protection(cpu);
	case X86_AC_FAULT:
		x86_raise_error(cpu, X86_AC_FAULT, 0);
	default:
		x86_undefined(cpu);
	}
}

static uint16_t x87_status(void)
{
	uint16_t status;

	__asm__ volatile("fnstsw %0" : "=a"(status));
	return status;
}

bool host_begin(struct x86_cpu *cpu, const struct insn *insn)
{
	if (!(insn->stub->flags & HOST_PENDING))
		return true;
	x86_vec_load(cpu);
	if (x87_status() & X87_SUMMARY)
		return host_fault(cpu, insn, X86_MF);
	return true;
}

/* A direct pointer, for operands whose alignment is checked like other operands' or not at all. */
static void *direct(struct x86_cpu *cpu, const struct insn *insn, uint64_t linear, unsigned size,
		    enum x86_access access)
{
	if ((insn->stub->flags & HOST_UNALIGNED) && (cpu->state.rflags & X86_AC))
		return NULL;
	return x86_direct(cpu, linear, size, access);
}

static bool load_slow(struct x86_cpu *cpu, const struct insn *insn, uint64_t linear, unsigned size)
{
	void *memory;

	host_check_alignment(cpu, insn->stub, linear);
	memory = direct(cpu, insn, linear, size, X86_READ);
	if (!memory) {
		memory = cpu->hostexec->bounce + (linear & LINE_MASK);
		x86_load_bytes(cpu, linear, memory, size);
	}
	return host_call(cpu, insn, memory);
}

static inline bool run_load(struct x86_cpu *cpu, const struct insn *insn)
{
	const struct host_stub *stub = insn->stub;
	unsigned size = stub->memory_bytes;
	const struct x86_tlb_entry *e;
	uint64_t linear;

	host_check(cpu, stub);
	if (!host_begin(cpu, insn))
		return false;
	linear = x86_operand_linear(cpu, insn, size, X86_READ);
	e = x86_tlb_at(cpu, linear);
	if (likely((linear & ~0xfffull) == e->read_tag &&
		   ((linear + size - 1) & ~0xfffull) == e->read_tag))
		return host_call(cpu, insn, (void *)(linear + e->addend));
	return load_slow(cpu, insn, linear, size);
}

/*
 * Runs an x87 store on memory of ours, for what it stores: its status comes back, the state stays.
 */
static uint16_t try_x87_store(struct x86_cpu *cpu, const struct insn *insn, void *memory)
{
	uint8_t *image = cpu->state.xsave, kept[VEC_XMM];
	uint16_t status;

	x86_vec_park(cpu);
	vec_materialise(cpu, VEC_BIT(VEC_X87));
	for (unsigned i = 0; i < VEC_XMM; i++)
		kept[i] = image[i];
	host_call(cpu, insn, memory);
	status = x87_status();
	x86_vec_park(cpu);
	vec_materialise(cpu, VEC_BIT(VEC_X87));
	for (unsigned i = 0; i < VEC_XMM; i++)
		image[i] = kept[i];
	return status;
}

/* An unmasked error keeps an x87 store from storing. */
static bool x87_store_fails(struct x86_cpu *cpu, const struct insn *insn)
{
	uint16_t control;

	x86_vec_load(cpu);
	__asm__ volatile("fnstcw %0" : "=m"(control));
	if (likely((control & X87_ERRORS) == X87_ERRORS) || (x87_status() & X87_SUMMARY))
		return false;
	return try_x87_store(cpu, insn, cpu->hostexec->bounce) & ~control &
	       (X87_ERRORS & ~X87_PRECISION);
}

/* Ten bytes go in two pieces, of which the first is stored even if the second then faults. */
static void store_significand(struct x86_cpu *cpu, const struct insn *insn, uint64_t linear,
			      void *memory)
{
	if (((linear + TENBYTE - 1) ^ (linear + 7)) & ~0xfffull) {
		try_x87_store(cpu, insn, memory);
		x86_check_alignment(cpu, linear, 8);
		x86_store_bytes(cpu, linear, memory, 8);
	}
}

static bool store_slow(struct x86_cpu *cpu, const struct insn *insn, uint64_t linear, unsigned size)
{
	void *memory = cpu->hostexec->bounce + (linear & LINE_MASK);
	unsigned flags = insn->stub->flags;

	if (flags & HOST_X87_POINTERS && size == TENBYTE)
		store_significand(cpu, insn, linear, memory);
	host_check_alignment(cpu, insn->stub, linear);
	memory = direct(cpu, insn, linear, size, X86_WRITE);
	if (memory)
		return host_call(cpu, insn, memory);
	memory = cpu->hostexec->bounce + (linear & LINE_MASK);
	x86_probe(cpu, linear, size, X86_WRITE);
	if (insn->stub->flags & HOST_PRELOAD)
		x86_load_bytes(cpu, linear, memory, size);
	if (!host_call(cpu, insn, memory))
		return false;
	x86_store_bytes(cpu, linear, memory, size);
	return true;
}

static inline bool run_store(struct x86_cpu *cpu, const struct insn *insn)
{
	const struct host_stub *stub = insn->stub;
	unsigned size = stub->memory_bytes;
	const struct x86_tlb_entry *e;
	uint64_t linear;

	host_check(cpu, stub);
	if (!host_begin(cpu, insn))
		return false;
	linear = x86_operand_linear(cpu, insn, size, X86_WRITE);
	e = x86_tlb_at(cpu, linear);
	if (likely((linear & ~0xfffull) == e->write_tag &&
		   ((linear + size - 1) & ~0xfffull) == e->write_tag))
		return host_call(cpu, insn, (void *)(linear + e->addend));
	return store_slow(cpu, insn, linear, size);
}

/*
 * A store of an MMX register clears the x87 stack's top, and does so even if it then faults; the
 * tags change only when it is done.
 */
void host_run_mmx_store(struct x86_cpu *cpu, const struct insn *insn)
{
	uint32_t environment[7];

	host_check(cpu, insn->stub);
	if (!host_begin(cpu, insn))
		return;
	if (x87_status() & X87_TOP) {
		__asm__ volatile("fnstenv %0" : "=m"(environment));
		environment[1] &= ~(uint32_t)X87_TOP;
		__asm__ volatile("fldenv %0" : : "m"(environment));
	}
	run_store(cpu, insn);
}

/* The value's exceptions, and their flags in MXCSR, come before the store's. */
void host_run_computed_store(struct x86_cpu *cpu, const struct insn *insn)
{
	uint8_t *memory = cpu->hostexec->bounce;

	host_check(cpu, insn->stub);
	host_call(cpu, insn, memory);
	x86_store_bytes(cpu, x86_operand_linear(cpu, insn, insn->stub->memory_bytes, X86_WRITE),
			memory, insn->stub->memory_bytes);
}

/* Last x87 instruction: what FNSTENV and its like show. */
static inline void note_x87(struct x86_cpu *cpu, const struct insn *insn, bool memory)
{
	const struct hostexec *he = cpu->hostexec;
	struct x86_state *state = &cpu->state;
	/* No instruction that is noted begins with a pending error, so it is this one's. */
	bool error = (he->fdp_on_error || he->fop_on_error) && (x87_status() & X87_SUMMARY);

	state->fpu_ip = state->rip - insn->length;
	state->fpu_cs = state->seg[X86_CS].selector;
	if (error || !he->fop_on_error)
		state->fpu_opcode = insn->stub->x87_opcode;
	if (memory && (error || !he->fdp_on_error)) {
		state->fpu_dp = x86_effective(cpu, insn);
		state->fpu_ds = state->seg[insn->seg].selector;
	}
}

/* Prefetches: hints, which never fault. */
void host_run_nothing(struct x86_cpu *cpu, const struct insn *insn)
{
	(void)cpu;
	(void)insn;
}

void host_run_reg(struct x86_cpu *cpu, const struct insn *insn)
{
	host_check(cpu, insn->stub);
	host_call(cpu, insn, NULL);
}

void host_run_load(struct x86_cpu *cpu, const struct insn *insn)
{
	run_load(cpu, insn);
}

void host_run_store(struct x86_cpu *cpu, const struct insn *insn)
{
	run_store(cpu, insn);
}

void host_run_x87_reg(struct x86_cpu *cpu, const struct insn *insn)
{
	host_check(cpu, insn->stub);
	if (host_call(cpu, insn, NULL))
		note_x87(cpu, insn, false);
}

void host_run_x87_load(struct x86_cpu *cpu, const struct insn *insn)
{
	if (run_load(cpu, insn))
		note_x87(cpu, insn, true);
}

void host_run_x87_store(struct x86_cpu *cpu, const struct insn *insn)
{
	host_check(cpu, insn->stub);
	if (unlikely(x87_store_fails(cpu, insn))) {
		host_call(cpu, insn, cpu->hostexec->bounce);
		note_x87(cpu, insn, true);
		return;
	}
	if (run_store(cpu, insn))
		note_x87(cpu, insn, true);
}

void host_run_fldcw(struct x86_cpu *cpu, const struct insn *insn)
{
	if (run_load(cpu, insn))
		vec_note_control(cpu);
}

void host_run_fninit(struct x86_cpu *cpu, const struct insn *insn)
{
	struct x86_state *state = &cpu->state;

	host_check(cpu, insn->stub);
	if (!host_call(cpu, insn, NULL))
		return;
	vec_note_control(cpu);
	state->fpu_ip = state->fpu_dp = 0;
	state->fpu_cs = state->fpu_ds = state->fpu_opcode = 0;
}

/*
 * The cache is full: the stub is made for this once. Kept in hostexec, not on the stack, because
 * the run loop looks at cpu->insn when an exception has unwound it.
 */
void host_run_transient(struct x86_cpu *cpu, const struct insn *insn)
{
	static const ZydisMachineMode machine_modes[] = {
		[X86_MODE_16] = ZYDIS_MACHINE_MODE_LEGACY_16,
		[X86_MODE_32] = ZYDIS_MACHINE_MODE_LEGACY_32,
		[X86_MODE_64] = ZYDIS_MACHINE_MODE_LONG_64,
	};
	static const ZydisStackWidth stack_widths[] = {
		[X86_MODE_16] = ZYDIS_STACK_WIDTH_16,
		[X86_MODE_32] = ZYDIS_STACK_WIDTH_32,
		[X86_MODE_64] = ZYDIS_STACK_WIDTH_64,
	};
	struct hostexec *he = cpu->hostexec;
	struct insn_info info = { .mode = cpu->mode, .cpu = cpu };
	struct host_plan plan;
	struct host_stub stub;
	ZydisDecoder decoder;
	bool has_code;

	x86_vec_park(cpu);
	ZydisDecoderInit(&decoder, machine_modes[cpu->mode], stack_widths[cpu->mode]);
	he->transient_insn = *insn;
	if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, insn->bytes, insn->length, &info.z,
					       info.op)) ||
	    !host_describe(&info, insn->bytes, &he->transient_insn, &stub, &plan, &has_code) ||
	    !host_stub_transient(he, has_code ? &plan : NULL, &stub))
		x86_undefined(cpu);
	he->transient_insn.stub = &he->transient;
	cpu->insn = &he->transient_insn;
	he->transient.fn(cpu, &he->transient_insn);
}
