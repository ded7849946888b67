/* SPDX-License-Identifier: MIT */
/*
 * Inside hostexec: stubs, what belongs to them, and the files' joints with each other. Others
 * include hostexec.h.
 */
#ifndef RINGLET_ISA_X86_HOSTSTUB_H
#define RINGLET_ISA_X86_HOSTSTUB_H

#include <stdbool.h>
#include <stdint.h>

#include "gen/codebuf.h"
#include "isa/x86/decode.h"
#include "isa/x86/insn.h"
#include "isa/x86/x86.h"

enum {
	HOST_VEC = 1 << 0,            /* works on the vector state: load it */
	HOST_PROTECTED_ONLY = 1 << 1, /* VEX and EVEX: #UD in real and virtual-8086 mode */
	HOST_EM_UNDEFINED = 1 << 2,   /* CR0.EM makes #UD, not #NM */
	HOST_WAIT = 1 << 3,           /* FWAIT: CR0.TS counts only together with MP */
	HOST_X87_POINTERS = 1 << 4,   /* leaves its address as the last x87 instruction's */
	HOST_MEMORY = 1 << 5,
	HOST_PRELOAD = 1 << 6,        /* a store that may leave bytes of its operand as they are */
	HOST_PENDING = 1 << 7,        /* a pending x87 error comes before any of its own faults */
	HOST_MMX = 1 << 8,
	HOST_UNALIGNED = 1 << 9,      /* its operand is never checked for alignment */
	HOST_X87 = 1 << 10,
};

/* Where the bits come from that say which elements of a memory operand are touched. */
enum host_mask { HOST_MASK_NONE, HOST_MASK_K, HOST_MASK_VECTOR, HOST_MASK_EXPAND };

/* Element-wise memory operands: masked, gathered, scattered. */
struct host_elements {
	uint8_t mask;        /* enum host_mask */
	uint8_t mask_reg;
	uint8_t count;       /* elements in memory */
	uint8_t size_bytes;  /* of one in memory */
	uint8_t mask_bits;   /* mask bits in use: count, or more when elements are broadcast */
	uint8_t data_reg, index_reg, index_bytes; /* gather and scatter */
	uint8_t vector_bytes; /* of the data register */
};

/*
 * One instruction's stub. code returns 0, or the vector of the exception that the host raised at
 * code + insn_at; the guest's state is as before the instruction then.
 */
struct host_stub {
	uint64_t (*code)(struct x86_cpu *cpu, void *memory);
	insn_fn *fn;
	uint32_t cr0_forbid, cr4_need, xcr0_need;
	uint32_t align_mask;   /* address bits that must be clear */
	uint16_t memory_bytes;
	uint16_t x87_opcode;   /* FOP */
	uint16_t flags;
	uint8_t code_size, insn_at;
	struct host_elements elements;
	uint32_t hash;
	struct host_stub *next;
};

/* Registers of the guest that an instruction names, and the host's that stand for them in its
 * stub. */
struct host_gpr {
	uint16_t offset;  /* into struct x86_cpu */
	uint8_t host;     /* enum emit_reg */
	uint8_t size_bytes; /* written; 0: only read */
	bool high;        /* AH … BH */
};

#define HOST_GPRS 6

/* What goes into a stub. */
struct host_plan {
	uint8_t bytes[64];
	uint8_t size;
	uint8_t gprs;
	struct host_gpr gpr[HOST_GPRS];
	bool memory_in_rdi;    /* MASKMOV* */
	bool rows;             /* of a tile: HOST_TILE_STRIDE apart, in RCX */
	uint32_t flags_read, flags_written;
};

#define HOST_COMPONENTS 19
#define HOST_BOUNCE_BYTES 256
#define HOST_TILE_STRIDE 64u /* a tile has at most 16 rows of as many bytes */
#define HOST_TILE_BYTES 1024u

struct hostexec {
	uint64_t components;           /* vector state components that guest and host share */
	uint64_t live;                 /* those that the host's registers may hold: without AMX's
					* unless the guest uses it, so that it costs nobody else */
	uint64_t aligned;              /* those that begin at a cache line in the compacted form */
	bool has_xsaveopt, has_xgetbv1;
	/* x87: the operand's address, the opcode are noted by instructions with an unmasked error
	 * only. */
	bool fdp_on_error, fop_on_error;
	uint8_t fip_bits;              /* of FIP, from which it is sign-extended when loaded */
	uint32_t offset[HOST_COMPONENTS], size[HOST_COMPONENTS]; /* of the standard format */
	uint32_t mxcsr_mask;
	struct codebuf code;
	struct host_stub **buckets;
	struct host_stub *pool;        /* stub_limit of them */
	unsigned stubs, stub_limit;
	struct host_stub transient;    /* what runs when the pool is full: made anew each time */
	const void *transient_code;
	struct insn transient_insn;
	/* What the host's registers hold while C has them. */
	uint8_t clean[1024] __attribute__((aligned(64)));
	uint8_t bounce[HOST_BOUNCE_BYTES] __attribute__((aligned(64)));
	uint8_t bounce2[HOST_BOUNCE_BYTES] __attribute__((aligned(64)));
	uint8_t tile[HOST_TILE_BYTES] __attribute__((aligned(64)));
	uint8_t image[X86_XSAVE_MAX] __attribute__((aligned(64))); /* of the guest's XSAVE area */
};

/* ---- hostcode.c ---- */

/*
 * The instruction as 64-bit code that finds its memory operand at [RSI] and its general-purpose
 * registers in those of plan->gpr. false: it cannot be had so.
 */
bool host_recode(const struct insn_info *info, const uint8_t *bytes, struct host_plan *plan);
/* Of a general-purpose register; false for any other. high: AH … BH. */
bool host_gpr_offset(ZydisRegister reg, uint16_t *offset, bool *high);

/* ---- hoststub.c ---- */

/*
 * Completes stub with code for plan (NULL: none) and gives the cached one that equals it, made if
 * need be; NULL when there is no room.
 */
struct host_stub *host_stub_get(struct hostexec *he, const struct host_plan *plan,
				struct host_stub *stub);
/* The same into he->transient. */
bool host_stub_transient(struct hostexec *he, const struct host_plan *plan,
			 const struct host_stub *stub);

/* ---- hostexec.c ---- */

/* Describes info: its stub without code, and the plan for that. false: not for the host. */
bool host_describe(const struct insn_info *info, const uint8_t *bytes, struct insn *insn,
		   struct host_stub *stub, struct host_plan *plan, bool *has_code);

/* ---- hostrun.c: semantics ---- */

insn_fn host_run_reg, host_run_load, host_run_store;
insn_fn host_run_mmx_store, host_run_computed_store;
insn_fn host_run_x87_reg, host_run_x87_load, host_run_x87_store;
insn_fn host_run_fldcw, host_run_fninit, host_run_nothing, host_run_transient;

/* Raises what control registers and the mode have against stub. */
void host_forbidden(struct x86_cpu *cpu, const struct host_stub *stub);

static inline void host_check(struct x86_cpu *cpu, const struct host_stub *stub)
{
	const struct x86_state *state = &cpu->state;

	if (unlikely((state->cr0 & stub->cr0_forbid) || (~state->cr4 & stub->cr4_need) ||
		     (~state->xcr0 & stub->xcr0_need) ||
		     ((stub->flags & HOST_PROTECTED_ONLY) && !cpu->protected_mode)))
		host_forbidden(cpu, stub);
}

/*
 * Runs the stub's code. false: an x87 error with CR0.NE clear, which waits for its interrupt; the
 * instruction is to be begun again. Raises other exceptions.
 */
bool host_fault(struct x86_cpu *cpu, const struct insn *insn, uint64_t vector);

/*
 * Before anything else of an instruction with a memory operand faults, its address included. false:
 * an x87 error with CR0.NE clear, as from host_call. Elsewhere the host finds the pending error
 * itself.
 */
bool host_begin(struct x86_cpu *cpu, const struct insn *insn);

/* The host judges alignment itself, but a page fault must not come before. */
static inline void host_check_alignment(struct x86_cpu *cpu, const struct host_stub *stub,
					uint64_t linear)
{
	if (linear & stub->align_mask)
		x86_general_protection(cpu);
}

static inline bool host_call(struct x86_cpu *cpu, const struct insn *insn, void *memory)
{
	const struct host_stub *stub = insn->stub;
	uint64_t vector;

	if (unlikely(!cpu->vec_live) && (stub->flags & HOST_VEC))
		x86_vec_load(cpu);
	vector = stub->code(cpu, memory);
	return likely(!vector) || host_fault(cpu, insn, vector);
}

/* ---- hostmem.c, gather.c ---- */

insn_fn host_run_masked_load, host_run_masked_store, host_run_gather, host_run_scatter;

/* ---- tile.c ---- */

insn_fn host_run_tile, host_run_tile_config, host_run_tile_load, host_run_tile_store;
/* Asks the host's kernel for AMX; once granted, it is the process's for good. */
bool host_tiles_request(void);
/* Whether it was granted. */
bool host_tiles_granted(void);
/* What an invalid configuration becomes, after XRSTOR. */
void host_tiles_settle(struct x86_cpu *cpu);
/* #NM, if IA32_XFD has one of these components disabled. */
void host_check_xfd(struct x86_cpu *cpu, uint64_t components);

/* ---- x87env.c, fxsave.c, xsave.c ---- */

insn_fn host_run_fnstenv, host_run_fldenv, host_run_fnsave, host_run_frstor;
insn_fn host_run_fxsave, host_run_fxrstor;
insn_fn host_run_xsave, host_run_xsavec, host_run_xrstor;

/* ---- hostfault.c ---- */

/* Once a process: catches the signals that host exceptions become. */
int host_fault_install(struct error *err);
/* Exceptions on this thread are cpu's: before stubs or translated code run. */
void host_fault_bind(struct x86_cpu *cpu);

#endif
