/* SPDX-License-Identifier: MIT */
/*
 * Making code: what the files of this room share while they do. One region at a time (region.c says what
 * that is), with the translator's mutex held and the vector state parked.
 */
#ifndef RINGLET_ISA_X86_MIRROR_TRANSLATE_H
#define RINGLET_ISA_X86_MIRROR_TRANSLATE_H

#include "isa/x86/block.h"
#include "isa/x86/decode.h"
#include "isa/x86/mirror/translator.h"
#include "mem/mem.h"

#define CPU_FIELD(field) offsetof(struct x86_cpu, field)
#define GPR_FIELD(number) (CPU_FIELD(state.gpr[0]) + 8 * (size_t)(number))

/* Of a jump table, from struct x86_cpu. */
#define JUMPS_FIELD(table, field) \
	((int32_t)(X86_TABLES_OFFSET + (table) * sizeof(struct x86_jumps) + \
		   offsetof(struct x86_jumps, field)))

/* Status flags as sets of their RFLAGS bits. */
#define FLAGS_ALL ((uint16_t)X86_STATUS_FLAGS)

/* What an instruction does to the status flags. */
struct flag_use {
	uint16_t reads;
	uint16_t kills;  /* leaves with a value of its own, whatever it was */
	bool writes;     /* anything at all */
};

#define REGION_BLOCKS 32
#define REGION_INSNS 200

/* Where a block's last instruction leads. Offsets are from the start of the page, and may leave it. */
enum ending_kind {
	ENDING_FALL,      /* next */
	ENDING_JUMP,      /* target */
	ENDING_CONDITION, /* target or next */
	ENDING_CALL,      /* target; it returns to next */
	ENDING_CALL_INDIRECT, /* somewhere; it returns to next */
	ENDING_UNKNOWN,
};

struct ending {
	enum ending_kind kind;
	int64_t next, target;
};

/* What an instruction does with memory, as far as it is simple: groups.c. */
struct operand_note {
	uint16_t written;   /* general-purpose registers, a bit each, moved aside */
	uint16_t wild;      /* … of these, but for such as a small constant was added to */
	int8_t base, moved; /* general-purpose registers, or -1 */
	int32_t disp;       /* the access is at [base + disp] */
	int32_t moved_by;   /* after it a constant is added to moved */
	uint8_t size_bytes;
	bool write;
};

/* A block of the region. */
struct member {
	struct x86_block *block;
	unsigned count;    /* instructions of it: the next member may begin in its middle */
	unsigned first;    /* the first one's index in the region */
	unsigned position; /* in the region */
	struct ending ending;
	bool loop_head;    /* somebody jumps back here: events are looked for */
	bool flags_in_memory; /* so it begins, if flags are wanted; else they are in the host's */
	uint16_t steady;   /* registers that stay in a page for long: steady.c */
	/* Flags wanted by what is outside of the region, where the ending leads there. */
	uint16_t wanted_target, wanted_next;
	struct masm_label start, event;
	bool twin;         /* there are ways into the member's twin, from this instruction on */
	unsigned twin_from;
	const struct insn *twin_x87; /* emit's x87_last there */
	uint32_t entry;    /* where it is entered from outside, in the code */
};

/* An exit that lies out of line, with the flags in the host. */
struct side_exit {
	struct masm_label enter;
	struct member *from;
	unsigned number;
	bool flags_in_memory;
};

/* The rest of a look-up in the jump table that did not find its key in the first way: lookup.c. */
struct second_look {
	struct masm_label enter, found;
	struct masm_label *otherwise;
};

/* A jump to another page whose slot does not know it. */
struct far_miss {
	struct masm_label enter;
	int64_t offset; /* of the destination, from the page */
	int32_t slot;   /* from struct x86_cpu */
};

/* The way off the beaten track of one instruction: the interpreter does it. */
struct cold_path {
	struct masm_label enter, back;
	struct masm_label *resume; /* in the member's twin: instead of back; or NULL */
	const struct insn *insn;
	bool in_twin;
	bool leaves;         /* what follows is not the next instruction: never back */
	bool restores_flags; /* the code at back has them in the host's flags */
	const struct insn *x87_last; /* emit's when the instruction began */
	bool may_fault;      /* the instruction itself … */
	uint32_t site;       /* … which is here in the code */
	bool site_flags;     /* … with the flags in the host alone */
	bool mapped;         /* … where it reads through memory/hostmap.h */
	int8_t map_in_r11;   /* emit's behind the instruction */
};

/* What an address is made of; registers are the guest's. */
struct mirror_address {
	int base, index; /* MIRROR_…, or a general-purpose register's number */
	uint8_t scale;
	bool wide;       /* 64-bit addresses */
	int8_t seg;      /* enum x86_seg_index whose base is added, or MIRROR_FLAT */
	int32_t disp;
};

enum { MIRROR_FLAT = -1, MIRROR_NONE = -1, MIRROR_RIP = -2 };

/* The rest of a check that failed in line: memory.c. */
struct detour {
	struct masm_label enter, found, second_way, back;
	struct masm_label *otherwise; /* when the TLB has it not */
	struct mirror_address address;
	size_t memo; /* field of struct x86_cpu to update; 0: none */
	bool direct;
	int32_t tag, limit;
};

/* Bytes that were checked at once, from the base register's value then. */
struct known_range {
	int64_t low, high;
	int64_t moved; /* by how much the register has changed since */
	unsigned uses; /* accesses that are still to come; 0: nothing is known */
	bool write;
};

struct twin_entry {
	struct masm_label label;
	bool wanted;
};

/* Of a group's first access: what is checked. */
struct mirror_span {
	int32_t low; /* from the base register */
	unsigned size_bytes;
	bool write;
	struct masm_label *otherwise;
};

/* What is to be known while one region is made; there is one, the translator's. */
struct emit {
	struct x86_cpu *cpu;
	struct translator *translator;
	struct masm *m;
	const uint8_t *at;       /* where the code will run */
	unsigned member_count;
	struct member *member;   /* being translated … */
	const struct insn *insn; /* … and of it this */
	struct insn_info info;   /* of insn */
	bool flags_in_host, flags_in_memory;
	const struct insn *x87_last; /* the last x87 instruction, if the CPU does not know of it yet */
	bool uses_vec, uses_x87;
	/* Of the current member's instructions: what they do, and flags that are read later than
	 * before instruction i. */
	const struct flag_use *use;
	const uint16_t *live;
	const struct operand_note *notes;
	uint16_t all_live[REGION_INSNS + REGION_BLOCKS];
	unsigned watch_start, watch_end;    /* bytes of the page that liveness was read from */
	bool no_groups, in_twin;
	struct known_range known[X86_GPRS]; /* by base register */
	int8_t delta_in_r11;                /* the register whose mirror.delta is in R11 as well, or -1 */
	struct twin_entry twin[REGION_INSNS + REGION_BLOCKS]; /* by instruction, and behind the last */
	bool mapped;      /* the current instruction reads through memory/hostmap.h … */
	int8_t map_in_r11; /* … and R11 is what it adds to this register still, unless -1 */
	bool user_access; /* AC was set in this block: another enum x86_mmu than it began with */
	struct masm_label leave; /* by the exit in R11, to the run loop */
	unsigned cold_paths, detours, side_exits, second_looks, far_misses;

	/* What follows is written before it is read; the above begins as zero with each region. */
	struct member members[REGION_BLOCKS]; /* by ascending address, once it is laid out */
	struct insn_info all_info[REGION_INSNS];
	bool all_described[REGION_INSNS];     /* all_info knows the instruction */
	struct operand_note all_notes[REGION_INSNS];
	struct flag_use all_use[REGION_INSNS];
	/* Members and their twins; no instruction makes more than two checks. */
	struct cold_path cold[2 * REGION_INSNS];
	struct detour detour[4 * REGION_INSNS];
	struct side_exit side[4 * REGION_BLOCKS];
	struct second_look second_look[2 * REGION_BLOCKS];
	struct far_miss far[4 * REGION_BLOCKS];
};

/* 64-bit code; else flat 32-bit code (X86_KEY_FLAT), with addresses and stack words of 32 bits. */
static inline bool mirror_wide(const struct emit *e)
{
	return (e->cpu->block_key & X86_KEY_MODE) == X86_MODE_64;
}

static inline unsigned mirror_word_bytes(const struct emit *e)
{
	return mirror_wide(e) ? 8 : 4;
}

/* LEA of the guest's word size */
static inline void mirror_emit_lea(struct emit *e, uint8_t to, uint8_t base, int32_t disp)
{
	masm_rm(e->m, mirror_wide(e), 0x8d, to, base, disp);
}

/* The scratch register that is not in place. */
static inline uint8_t mirror_free_scratch(const struct masm_place *place)
{
	return place->base == H_RCX ? H_SCRATCH : H_RCX;
}

/* region.c: which blocks become one piece of code */
/* Fills in e->members, by ascending address. */
void mirror_choose_region(struct emit *e, struct x86_block *head);
/* The member that begins at an offset in the page, or NULL. */
struct member *mirror_member_at(struct emit *e, int64_t offset);
/* The member's flags before its first instruction that are read by it or later. */
uint16_t mirror_live_at(const struct emit *e, const struct member *member);

/* translate.c */
/* Makes code of a hot block, and of what is around it. */
void mirror_translate(struct x86_cpu *cpu, struct x86_block *head);
/* The same of all blocks whose code is in the region with this offset into the buffer; block has been among them. */
void mirror_translate_again(struct x86_cpu *cpu, struct x86_block *block, uint32_t code);
/* The cold path of the current instruction (one an instruction). */
struct cold_path *mirror_cold(struct emit *e);
/* The next host instruction is the guest's and may fault. */
void mirror_site_here(struct emit *e);

/* describe.c: what Zydis says of an instruction as the host takes it; false: nothing. */
bool mirror_describe(struct x86_cpu *cpu, const uint8_t *bytes, unsigned size,
		     struct insn_info *info);
int mirror_describe_create(struct x86_cpu *cpu, struct error *err);
void mirror_describe_destroy(struct x86_cpu *cpu);

/* dump.c: what was made, for those who asked to be told. */
void mirror_tell(const struct emit *e, const void *code);

/* flags.c */
struct flag_use mirror_flag_use(const struct insn_info *info);
/* Liveness of all instructions, looking ahead at where the region leads. */
void mirror_find_live_flags(struct emit *e);
/* Host flags to mirror.flags and back, clobbering R11 alone; nothing when they are there already. */
void mirror_save_flags(struct emit *e);
void mirror_restore_flags(struct emit *e);
/* Flags that must survive the current instruction, and those that it needs before. */
uint16_t mirror_flags_through(const struct emit *e);

/* memory.c: where a memory operand is in the host's memory. */
bool mirror_operand_simple(const struct emit *e, const ZydisDecodedOperand *op);
struct mirror_address mirror_address_of(const struct emit *e, const ZydisDecodedOperand *op);
/* [gpr + disp], as pushes and pops have it. */
struct mirror_address mirror_stack_address(const struct emit *e, int gpr, int32_t disp);
/* Linear address to RCX (as said in address: with or without a segment); clobbers R11, keeps flags. */
void mirror_emit_address(struct emit *e, const struct mirror_address *address);
/* May the access address memory with the guest's own register? */
bool mirror_address_direct(const struct mirror_address *address);
/*
 * Where the operand is, or to the cold path; clobbers the host's flags. Not direct: in [RCX], and R11
 * is free; direct, if the address can be had so: RCX is free, and the place keeps R11.
 */
struct masm_place mirror_emit_access(struct emit *e, const struct mirror_address *address,
				     unsigned size_bytes, bool write, bool direct);
/* May the current instruction's reading of the operand go through memory/hostmap.h? */
bool mirror_is_mapped(const struct emit *e, const struct mirror_address *address, unsigned size_bytes);
/* May the mapped operand be addressed with the guest's own register? */
bool mirror_mapped_direct(const struct mirror_address *address);
/* R11 becomes what it adds to addresses that are formed with base, a host register; keeps flags. */
void mirror_emit_map(struct emit *e, uint8_t base);
/* Both for the operand, in place of mirror_emit_access; keeps flags. What accesses the place is a site. */
struct masm_place mirror_emit_mapped(struct emit *e, const struct mirror_address *address, bool direct);
/*
 * Behind one that is not direct, for a locked access: one that is not aligned is left to the
 * interpreter, since a host may make a lock that is split between cache lines ten thousand times as
 * slow as it need be.
 */
void mirror_emit_lock_check(struct emit *e, unsigned size_bytes);
/* Behind the block's code, before its cold paths. */
void mirror_emit_detours(struct emit *e);
/* Before a check: brings flags to safety that are read later. */
void mirror_spare_flags(struct emit *e);

/* The same, unless the access needs no check. */
void mirror_spare_flags_for(struct emit *e, const struct mirror_address *address,
			    unsigned size_bytes, bool write);

/* steady.c: which registers stay in a page for long; after liveness, which notes operands */
void mirror_find_steady(struct emit *e);
/* Whether addresses like this one of the current member do. */
bool mirror_address_steady(const struct emit *e, const struct mirror_address *address);

/* groups.c: one check for several accesses */
/* info: of insn, or NULL. */
void mirror_note_operands(struct operand_note *note, const struct insn *insn,
			  const struct insn_info *info);
bool mirror_access_known(const struct emit *e, const struct mirror_address *address,
			 unsigned size_bytes, bool write);
/* Do accesses from this one on make a group that is written to? */
bool mirror_group_writes(const struct emit *e, const struct mirror_address *address, unsigned size_bytes);
/* Where a known operand is: as mirror_emit_access says of direct ones. Keeps flags. */
struct masm_place mirror_emit_known(struct emit *e, const struct mirror_address *address);
/* Whether the check for this access is to be made for a span that more of them will need. */
bool mirror_begin_group(struct emit *e, const struct mirror_address *address, unsigned size_bytes,
			bool write, struct mirror_span *span);
/* It is made; R11 is what addresses of this base register need. */
void mirror_group_checked(struct emit *e, int base);
/* Something was called that may have changed what is mapped, or registers. */
void mirror_forget_known(struct emit *e);
bool mirror_knows_any(const struct emit *e);
/* The current instruction is done. */
void mirror_after_operands(struct emit *e);
/* Where the current member's twin is at its instruction's start; then there has to be a twin. */
struct masm_label *mirror_twin_label(struct emit *e, unsigned position);
/* In the twin, before an instruction: it may be entered here. */
void mirror_enter_twin(struct emit *e, unsigned position);

/* copy.c: an instruction that is itself. False, and nothing emitted: it has to be interpreted. */
bool mirror_emit_copy(struct emit *e);

/* stack.c */
bool mirror_emit_stack(struct emit *e);

/* system.c: what kernels do all the time */
bool mirror_emit_system(struct emit *e);

/* rings.c: SYSCALL and SYSRET */
bool mirror_emit_ring(struct emit *e);

/* special.c: copies with a twist */
bool mirror_emit_special(struct emit *e);

/* strings.c */
bool mirror_emit_string(struct emit *e);

/*
 * vector.c: insn has a stub, and may be executed here: only then does its region run with the guest's
 * vector state in the host's registers (uses_vec), and may code touch them.
 */
bool mirror_uses_vector(const struct emit *e, const struct insn *insn);
/* vector.c: is running its stub all that is to be done for insn, once its operand is at hand? */
bool mirror_vector_simple(const struct emit *e);
/* Those that are not. */
bool mirror_emit_vector(struct emit *e);

/* x87.c: control instructions; what is noted of the others */
bool mirror_emit_x87(struct emit *e);
/* The current instruction is what FNSTENV shall tell of, once it is done. */
void mirror_after_x87(struct emit *e);
/* On processors that note every operand's address: it is kept in mirror.spare until then. */
void mirror_keep_x87_operand(struct emit *e, const struct mirror_address *operand);
/* Brings it home, if there is anything to bring: wherever somebody may look. Clobbers R11. */
void mirror_settle_x87(struct emit *e);
void mirror_note_x87(struct emit *e, const struct insn *last);

/* lookup.c: to other pages */
/*
 * RCX: where to. R11 becomes the index of its entry in the jump table; or it takes the current
 * instruction's cold path.
 */
void mirror_emit_look_up(struct emit *e);
/* Behind the region's code, before its cold paths. */
void mirror_emit_second_looks(struct emit *e);
/* After it: to the block. */
void mirror_emit_enter(struct emit *e);
/* To a place at a known distance from the page. */
void mirror_emit_far(struct emit *e, int64_t offset);
/* Behind the region's code. */
void mirror_emit_far_misses(struct emit *e);

/* narrow.c: what is special about 32-bit code */
bool mirror_narrow_operand_simple(const struct emit *e, const ZydisDecodedOperand *op);
/* To the cold path, if the operand is not within its segment, which is FS or GS. Clobbers flags, RCX. */
void mirror_emit_limit_check(struct emit *e, const struct mirror_address *address,
			     unsigned size_bytes);
/* A jump in 32-bit code that clears the upper half of EIP. */
bool mirror_narrow_jump_is_short(const struct x86_cpu *cpu, const struct insn *insn);
/* MOV between the accumulator and an address, in any mode. */
bool mirror_emit_offset_move(struct emit *e);

/* flow.c: the end of a block. False: it has to be interpreted. */
bool mirror_emit_flow(struct emit *e);
struct ending mirror_ending(struct x86_cpu *cpu, const struct insn *last);
/* On to the instruction that follows the current member, which does not end with a jump. */
void mirror_emit_fall(struct emit *e);
/* Behind the region's code. */
void mirror_emit_side_exits(struct emit *e);
void mirror_emit_leave(struct emit *e);

#endif
