/* SPDX-License-Identifier: MIT */
/*
 * The x86 CPU as its engines see it: the architectural state, what is derived from it, and the
 * ground rules every file of this room keeps.
 *
 * 1. THE VECTOR STATE IS THE HOST'S. While a CPU runs guest code, the guest's x87/MMX/XMM/YMM/ZMM/
 *    k/MXCSR state may live in the host's own registers (vec_live). Therefore everything in this
 *    room and in accel/soft.c is compiled with -mgeneral-regs-only and calls nothing that is not, save
 *    after x86_vec_park(cpu), which stores the state and gives the host registers back to C. That
 *    includes libc: memcpy uses vector registers. (The build checks the undefined symbols.)
 * 2. FAULTS UNWIND. x86_raise and friends do not return: they longjmp to the run loop, which delivers
 *    the exception. So an instruction checks and reads everything that may fault before it changes
 *    any state, or repairs the state itself. Never raise with a lock held.
 * 3. RIP. While an instruction's semantics run, state.rip is already the next instruction's and
 *    cpu->insn is the instruction. A fault subtracts insn->length; traps keep rip.
 * 4. FLAGS are exact in state.rflags after every instruction, undefined ones as the host leaves
 *    them: the arithmetic is done by the host's own instruction.
 *
 * All functions here run on the CPU's own thread.
 */
#ifndef RINGLET_ISA_X86_X86_H
#define RINGLET_ISA_X86_X86_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/log.h"
#include "cpu/cpu.h"
#include "cpu/x86_state.h"
#include "isa/x86/memory/codepages.h"

struct direct;
struct insn;
struct lockstep;
struct block_exit;
struct x86_block;
struct x86_cpuid;
struct x86_decoded;
struct x86_described;
struct x86_tlb_bank;
struct hostexec;

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/* How code is decoded and addresses are formed; part of a block's key. */
enum x86_mode { X86_MODE_16, X86_MODE_32, X86_MODE_64 };

/*
 * Software TLB. One entry maps a linear page to host memory for each kind of access: the tag is the
 * page's linear address when the access may go straight to host memory, x86_tlb_none otherwise: the
 * address of a page that another entry is for, so that no address that is looked up here is near it
 * (translated code asks whether address - tag is below the page size).
 * write_tag is never set for a page that holds code, has its dirty bit clear, is ROM or MMIO.
 */
#define X86_TLB_BITS 14
#define X86_TLB_ENTRIES (1u << X86_TLB_BITS)
/*
 * Two ways: a page's own slot, and one X86_TLB_ENTRIES further, where the page that was there before
 * moves when another wants it.
 */
#define X86_TLB_SLOTS (2 * X86_TLB_ENTRIES)
#define X86_TLB_WORDS (X86_TLB_SLOTS / 64)

enum { X86_TLB_ALLOW_READ = 1, X86_TLB_ALLOW_WRITE = 2, X86_TLB_ALLOW_EXEC = 4 };

struct x86_tlb_entry {
	uint64_t read_tag, write_tag;
	uintptr_t host;   /* where the page is in host memory */
	uintptr_t addend; /* host address = linear address + addend */
};

static inline uint64_t x86_tlb_none(unsigned slot)
{
	/* Page 0 for all but its own slots: a set is zeroed memory, and costs what of it is used. */
	return slot & (X86_TLB_ENTRIES - 1) ? 0 : 1 << 12;
}

/*
 * What translated code remembers of pages, memos for each register that addresses are formed
 * with: limit is X86_MEMO_LIMIT while the translation is right, 0 when it must be asked for again.
 * Whatever makes a translation of the current address space invalid forgets all memos (tlb.c).
 */
struct x86_memo {
	uint64_t tag;     /* linear address of the page */
	uint64_t limit;   /* offsets below it may be accessed, X86_MEMO_BYTES at once */
	uintptr_t host;   /* as in struct x86_tlb_entry */
	uintptr_t addend;
};

#define X86_MEMO_BYTES 64
#define X86_MEMO_LIMIT (4096 - X86_MEMO_BYTES + 1)

/*
 * The general-purpose registers, and what else addresses are made of. What many addresses are formed with
 * has several memos, by displacement: the stack for when a frame lies across a page's end.
 */
#define X86_MEMO_WAYS 4
enum {
	X86_MEMO_STACK = 16,
	X86_MEMO_RIP = X86_MEMO_STACK + X86_MEMO_WAYS,
	X86_MEMO_FS = X86_MEMO_RIP + X86_MEMO_WAYS,
	X86_MEMO_GS,
	X86_MEMOS,
};

/* Slots of 1 TiB */
#define X86_HOSTMAP_SHIFT 40
#define X86_HOSTMAP_SLOTS 256

/* User/supervisor × what SMAP allows: the TLB set that data accesses use now. */
enum x86_mmu { X86_MMU_USER, X86_MMU_KERNEL, X86_MMU_KERNEL_SMAP, X86_MMUS };

struct x86_tlb {
	struct x86_tlb_entry entry[X86_TLB_SLOTS];
	/* Cold side, same index: the translation itself, whatever the tags leave out. */
	struct {
		uint64_t linear; /* page address, x86_tlb_none: empty */
		uint64_t exec_tag; /* linear when code may be fetched from host memory */
		uint64_t phys;   /* guest-physical page address */
		uint8_t allow;   /* X86_TLB_ALLOW_…: what paging permits without a further walk */
		uint8_t page_shift; /* log2 of the size of the page it was cut from */
	} info[X86_TLB_SLOTS];
	/* A bit an entry, so that flushing costs what was used: live, and live and global. */
	uint64_t used[X86_TLB_WORDS], global[X86_TLB_WORDS];
	/* A bit a word of used that may not be 0. */
	uint64_t busy[X86_TLB_WORDS / 64];
	/* Bloom filters over linear addresses >> 22 and >> 30 of entries cut from large pages. */
	uint64_t large, giant;
};

/* An exception on its way to delivery. */
struct x86_fault {
	uint8_t vector;
	bool has_error;
	bool is_trap;     /* rip stays after the instruction (trap) or goes back to it (fault) */
	uint32_t error;
};

/* What the run loop is to do: deliver cpu->fault; end. */
enum x86_unwind { X86_UNWIND_FAULT = 1, X86_UNWIND_STOP };

/* Bits of block_key. */
enum {
	X86_KEY_MODE = 3, /* enum x86_mode */
	X86_KEY_PROTECTED = 4,
	X86_KEY_VECTOR = 8, /* vector instructions raise no #UD, no #NM */
	X86_KEY_CPL0 = 16,
	X86_KEY_TSC = 32,   /* RDTSC is allowed */
	X86_KEY_SMAP = 64,
	X86_KEY_FLAT = 256, /* 32-bit code: CS, SS, DS and ES are all of the 4 GiB, with every right */
};

/*
 * Where translated code finds itself: which block is at a linear address. The entry of an address is at its
 * lower 16 bits plus the turn of the mapping that it belongs to (mirror/jumps.h); so an address that is
 * found there can be of no other mapping. Two ways, as in the TLB: an entry that another one pushes out
 * moves X86_JUMPS further.
 */
#define X86_JUMPS 65536u
#define X86_FAR_JUMPS 16384u

struct x86_jumps {
	struct x86_jump {
		uint64_t linear;
		struct x86_block *block;
	} way[2 * X86_JUMPS];
	/* Direct jumps to other pages, which know their slot. */
	struct x86_far_jump {
		uint64_t key; /* linear address + CPU_JUMP_KEY of the turn; 0: empty */
		struct x86_block *block;
	} far[X86_FAR_JUMPS];
};

enum x86_jump_table { X86_JUMP_SUPERVISOR, X86_JUMP_USER, X86_JUMP_TABLES };

/* How translated code fares: counted where it costs nothing, told by --stats. */
struct x86_mirror_stats {
	uint64_t entries;       /* mirror_run */
	uint64_t chained;       /* exits that were connected with their destination */
	uint64_t learned;       /* entries made in a jump table */
	uint64_t emptied;       /* jump tables thrown away as a whole */
	uint64_t interpreted;   /* instructions within blocks, cold paths included */
	uint64_t last;          /* … at the end of blocks */
	uint64_t last_left;     /* after which translated code was left */
	uint64_t walks;         /* page walks: what the TLB did not know */
	uint64_t translations;  /* pieces of code made */
	uint64_t missed, mapped; /* host mappings: memory/hostmap.h */
	uint64_t translating_ticks; /* of the host's TSC, spent on it */
	uint32_t *by_mnemonic;  /* both kinds, by ZydisMnemonic */
};

/* What translated code keeps at hand: isa/x86/mirror/mirror.h. */
struct x86_mirror {
	void *tlb;               /* cpu->tlb[cpu->mmu]->entry */
	struct x86_jumps *jumps; /* the table of the current privilege */
	uint64_t code_base;      /* linear address of the page that executes */
	uint16_t flags;          /* status flags as LAHF and SETO give them: SF … CF << 8 | OF */
	uint64_t spare;          /* a value that has no register for a moment */
	uint64_t host_rsp;       /* of mirror_run's frame */
	struct block_exit *exit; /* through which translated code was left, or NULL */
	bool must_leave;         /* the code that called us is gone */
	struct x86_jumps *tables; /* X86_JUMP_TABLES, at X86_TABLES_OFFSET: translated code knows */
	struct x86_table_owner {
		uint64_t generation; /* the mapping's that turn is for */
		uint64_t epoch;      /* turns are used once in it; then the table is emptied */
		uint32_t turn;       /* 0: the table was emptied */
		uint32_t key;        /* block_key of its blocks */
	} owner[X86_JUMP_TABLES];
	bool local_code;         /* supervisor code in pages that are not global is in its table */
	struct x86_code_pages code_pages; /* pages that the tables know code in */
	struct x86_mirror_stats stats;
	struct x86_described *described; /* describe.c */
	uint64_t delta[X86_GPRS]; /* from linear to host addresses, of a register's group of accesses */
	struct x86_memo memo[X86_MMUS][2][X86_MEMOS]; /* for reading, for writing */
	uint64_t hostmap[X86_HOSTMAP_SLOTS]; /* from linear to host addresses: memory/hostmap.h */
	const uint8_t *missed;   /* the code that found nothing there just now, or NULL */
};

struct x86_cpu {
	struct cpu cpu; /* must be first */
	struct x86_state state;

	/* Derived from state by x86_update_mode (call it after CR0, CR4, EFER, CS, SS, CPL change). */
	uint8_t mode;      /* enum x86_mode of the code segment */
	uint8_t cpl;
	bool long_mode;    /* EFER.LMA: IA-32e, compatibility mode included */
	bool protected_mode; /* CR0.PE and not virtual-8086 */
	bool v86;
	uint8_t stack_size; /* 2, 4 or 8 bytes: width of SP and of implicit stack addressing */
	uint8_t mmu;        /* enum x86_mmu for explicit data accesses now (CPL, SMAP, AC) */
	bool debug_active;  /* breakpoints enabled in DR7: block execution checks each instruction */
	uint32_t block_key; /* all that decoding and translating depend on */
	uint8_t open[X86_SEGS]; /* 32-bit code: the segment has a limit of 4 GiB, and every right */

	bool interrupt_maybe;       /* the interrupt controller had a vector when last heard of */
	const struct insn *insn;    /* executing now */
	bool block_stop;            /* leave the block after this instruction: it was modified, a mode
				       changed, an interrupt window opened … */
	bool single_step;           /* TF was set when this instruction began */
	uint64_t instructions;      /* executed */
	uint64_t debug_hits;        /* DR6 bits of data breakpoints hit by this instruction */
	jmp_buf *unwind;            /* to whoever takes faults now: the run loop, or what runs below it
				       (_setjmp: no signal mask), with enum x86_unwind */
	struct x86_fault fault;
	uint64_t fault_address;     /* CR2 to be */

	bool vec_live;              /* guest vector state is in the host's registers */
	bool x87_live;              /* … and no x87 error is unmasked, so that none can wait: translated
				       x87 instructions may run */
	struct hostexec *hostexec;  /* runs vector instructions on the host: hostexec.h */
	struct x86_cpuid *cpuid;    /* the model's CPUID table: cpuid.h */
	struct log_limit log_limit;

	struct x86_tlb *tlb[X86_MMUS]; /* of the current PCID; one that always misses while every
					  user access must be checked for alignment */
	/*
	 * Other ones after each flush that may have changed where code lies; the user's for each
	 * PCID, and 0 until it is known whether it did (x86_tlb_confirm).
	 */
	uint64_t mapping_generation[X86_JUMP_TABLES];
	uint64_t user_flush;        /* another one after each flush of the current PCID's */
	struct x86_tlb_bank *tlb_bank; /* all sets and what they depend on: tlb.c */
	struct x86_mirror mirror;
	struct x86_hostmap *hostmap; /* NULL: none: memory/hostmap.h */
	struct direct *direct;      /* NULL: user code is never run directly: direct/direct.h */
	bool direct_on;             /* the current address space's is */
	bool direct_rests;          /* … but not in this run: direct/direct.h */
	uint32_t direct_looks;      /* then, look-ups until it asks whether that is still right */
	struct lockstep *lockstep;  /* --debug-lockstep, else NULL: mirror/lockstep.h */
	uint64_t zero;              /* stands for a missing base or index register */
	struct x86_block **jump_cache; /* blocks by physical address, this CPU's: block.c */
	struct x86_block *scratch;  /* a block that is not cached: block.c */
	struct x86_decoded *decoded; /* instructions by their shape: decode.c */
};

/* Where jump tables are behind struct x86_cpu, if it has some. */
#define X86_TABLES_OFFSET ((sizeof(struct x86_cpu) + 63) & ~(size_t)63)

static inline struct x86_cpu *x86_cpu(struct cpu *cpu)
{
	return (struct x86_cpu *)cpu;
}

/* ---- mode.c ---- */

/*
 * Recomputes what is derived from control registers, segments and debug registers (call it after a
 * change of DR0-DR3 and DR7 too), and stops the block. Empties the TLB when what its entries were
 * computed from changed: CR0.PG/WP, paging bits of CR4, EFER.NXE/LMA, PKRU, data breakpoints.
 */
void x86_update_mode(struct x86_cpu *cpu);
/* The same where nothing but CS, SS and EFLAGS changed; cheap from 64-bit code to 64-bit code. */
void x86_update_transfer(struct x86_cpu *cpu);
/* The part that depends on DS, ES, FS and GS. */
void x86_update_segments(struct x86_cpu *cpu);
/* The part that depends on EFLAGS.AC (CLAC, STAC, POPF): cpu->mmu and alignment checking. */
void x86_update_mmu(struct x86_cpu *cpu);

/* ---- trap.c: how instructions fault ---- */

/* Fault at the current instruction: rip goes back to it. */
_Noreturn void x86_raise(struct x86_cpu *cpu, enum x86_vector vector);
_Noreturn void x86_raise_error(struct x86_cpu *cpu, enum x86_vector vector, uint32_t error);
_Noreturn void x86_raise_page_fault(struct x86_cpu *cpu, uint64_t linear, uint32_t error);
/* #UD, #GP(0): the two that everybody needs. */
_Noreturn void x86_undefined(struct x86_cpu *cpu);
_Noreturn void x86_general_protection(struct x86_cpu *cpu);

/*
 * Delivers an exception, software interrupt or external interrupt through IVT or IDT, in every mode
 * (task gates, IST, error codes, double and triple faults). Faults inside delivery are handled here.
 * Called by the run loop with rip at the value to be pushed. kind: see trap.h.
 */
enum x86_event_kind { X86_EVENT_EXCEPTION, X86_EVENT_SOFTWARE, X86_EVENT_EXTERNAL, X86_EVENT_ICEBP };
void x86_deliver(struct x86_cpu *cpu, enum x86_event_kind kind, unsigned vector, bool has_error,
		 uint32_t error);

/* ---- vec.c: who owns the host's vector registers ---- */

/* Guest state to struct x86_state, host registers to C (default MXCSR and x87 control). */
void x86_vec_park(struct x86_cpu *cpu);
/* Guest state into the host's registers; hostexec.c calls it. */
void x86_vec_load(struct x86_cpu *cpu);

/* ---- tlb.c ---- */

/* Of every address space (PCID); see tlb.h for a single one's and for switching between them. */
void x86_tlb_flush_all(struct x86_cpu *cpu);
void x86_tlb_flush_nonglobal(struct x86_cpu *cpu);
void x86_tlb_flush_page(struct x86_cpu *cpu, uint64_t linear);

#endif
