/* SPDX-License-Identifier: MIT */
/*
 * Memory operands. Where the register that an address is formed with is steady (steady.c), it is checked
 * against a memo (x86.h): the page that was found the last time that this was done.
 *
 *	lea   rcx, [the operand's address]
 *	sub   rcx, [rsp + memo.tag]      ; offset in the page, if it is this page
 *	cmp   rcx, [rsp + memo.limit]    ; also catches what may run past the page's end
 *	jae   detour
 *	mov   r11, [rsp + memo.addend]   ; the access is at [base + r11 + displacement] …
 *	add   rcx, [rsp + memo.host]     ; … or with an index, at [rcx], and this instead
 *
 * The detour, out of line, looks the page up in the software TLB, and writes it into the memo:
 *
 *	lea   rcx, [the operand's address]
 *	rorx  r11, rcx, 7                ; page number × 32, the size of an entry
 *	and   r11d, 0x7ffe0              ; … modulo the number of entries
 *	add   r11, [rsp + tlb]
 *	sub   rcx, [r11 + tag]
 *	cmp   rcx, 4096 - size
 *	ja    second way                 ; the same for the entry's other place, or cold
 *
 * Where the register is not steady, this look-up is in line and no memo is used. Nor is one used in a
 * kernel's code, but for the stack: it hardly ever stays in a loop, and goes from one object to the next. What it
 * reads it mostly reads without any check: memory/hostmap.h.
 *
 * A tag that stands for "no" is the address of a page that belongs to another entry (x86.h), so the
 * difference is never small by accident; a memo for "no" has a limit of 0. A memo is for one enum
 * x86_mmu: that of user code, or of supervisor code with AC clear; what is found while another one
 * is current is not written into it.
 */
#include "isa/x86/memory/hostmap.h"
#include "isa/x86/mirror/recode.h"
#include "isa/x86/mirror/translate.h"

#define PAGE_BYTES 4096
#define ENTRY_SHIFT 5
#define NEAR_BYTES (1 << 20) /* what is further is a table's place, and the register an index */
#define FRAME_SHIFT 7
#define WAY_BYTES (int32_t)(X86_TLB_ENTRIES << ENTRY_SHIFT)
#define ENTRY_FIELD(field) (int32_t)offsetof(struct x86_tlb_entry, field)
#define MEMO_FIELD(memo, field) ((memo) + offsetof(struct x86_memo, field))

_Static_assert(sizeof(struct x86_tlb_entry) == 1 << ENTRY_SHIFT, "the check scales by it");

bool mirror_operand_simple(const struct emit *e, const ZydisDecodedOperand *op)
{
	int64_t disp = op->mem.disp.value;

	if (!mirror_wide(e))
		return mirror_narrow_operand_simple(e, op);
	if (op->mem.base == ZYDIS_REGISTER_RIP)
		disp += e->insn->page_offset + e->insn->length;
	return disp == (int32_t)disp && op->mem.type != ZYDIS_MEMOP_TYPE_VSIB &&
	       op->mem.base != ZYDIS_REGISTER_EIP;
}

struct mirror_address mirror_address_of(const struct emit *e, const ZydisDecodedOperand *op)
{
	bool high;
	struct mirror_address address = {
		.base = mirror_gpr(op->mem.base, &high), .index = mirror_gpr(op->mem.index, &high),
		.scale = e->insn->scale, .disp = (int32_t)e->insn->disp,
		.wide = e->insn->addrsize == 8,
		.seg = e->insn->flags & INSN_SEG_FLAT ? MIRROR_FLAT : (int8_t)e->insn->seg,
	};

	if (op->mem.base == ZYDIS_REGISTER_RIP) {
		address.base = MIRROR_RIP;
		address.disp += e->insn->page_offset + e->insn->length;
	} else if (e->insn->base == CPU_FIELD(zero)) {
		/* Zydis 4.0 takes a SIB without a base for R13D where addresses have 32 bits. */
		address.base = MIRROR_NONE;
	}
	return address;
}

struct mirror_address mirror_stack_address(const struct emit *e, int gpr, int32_t disp)
{
	return (struct mirror_address){ .base = gpr, .index = MIRROR_NONE, .disp = disp,
					.wide = mirror_wide(e), .seg = MIRROR_FLAT };
}

/* The host register of an address register; one that lives in memory is loaded into scratch. */
static uint8_t address_register(struct emit *e, int gpr, uint8_t scratch)
{
	if (gpr < 0)
		return H_MEMORY;
	if (mirror_reg((unsigned)gpr) != H_MEMORY)
		return mirror_reg((unsigned)gpr);
	masm_load(e->m, scratch, H_CPU, GPR_FIELD(gpr));
	return scratch;
}

void mirror_emit_address(struct emit *e, const struct mirror_address *address)
{
	struct masm *m = e->m;

	if (address->base == MIRROR_RIP) {
		masm_load(m, H_RCX, H_CPU, CPU_FIELD(mirror.code_base));
		masm_lea(m, H_RCX, H_RCX, address->disp);
	} else {
		uint8_t base = address_register(e, address->base, H_RCX);
		uint8_t index = address_register(e, address->index, H_SCRATCH);

		if (index == H_MEMORY && base != H_MEMORY && address->wide)
			masm_lea(m, H_RCX, base, address->disp);
		else
			masm_rx(m, address->wide, 0x8d, H_RCX, base, index, address->scale,
				address->disp);
	}
	if (address->seg != MIRROR_FLAT) {
		masm_load(m, H_SCRATCH, H_CPU,
			  CPU_FIELD(state.seg[0]) + (size_t)address->seg * sizeof(struct x86_seg) +
				  offsetof(struct x86_seg, base));
		masm_rx(m, mirror_wide(e), 0x8d, H_RCX, H_RCX, H_SCRATCH, 0, 0);
	}
}

void mirror_spare_flags(struct emit *e)
{
	if (mirror_flags_through(e) | e->use[e->insn->position].reads)
		mirror_save_flags(e);
}

void mirror_spare_flags_for(struct emit *e, const struct mirror_address *address,
			    unsigned size_bytes, bool write)
{
	if (!mirror_access_known(e, address, size_bytes, write))
		mirror_spare_flags(e);
}

/* ---- which page ---- */

/* The enum x86_mmu that memos of this block are for. */
static unsigned memo_mmu(const struct emit *e)
{
	if (!(e->cpu->block_key & X86_KEY_CPL0))
		return X86_MMU_USER;
	return e->cpu->block_key & X86_KEY_SMAP ? X86_MMU_KERNEL_SMAP : X86_MMU_KERNEL;
}

/* Which of the memos by displacement: neighbours of 1 << shift bytes have another. */
static unsigned memo_way(const struct mirror_address *address, unsigned shift)
{
	return (uint32_t)address->disp >> shift & (X86_MEMO_WAYS - 1);
}

/* The number of the memo for an address; X86_MEMOS: there is none, or it would rarely be right. */
static unsigned memo_number(const struct emit *e, const struct mirror_address *address)
{
	bool flat = address->seg != X86_FS && address->seg != X86_GS;

	if (flat && address->base != MIRROR_RIP && !mirror_address_steady(e, address))
		return X86_MEMOS;
	if (flat && address->base == X86_RSP)
		return X86_MEMO_STACK + memo_way(address, FRAME_SHIFT);
	if (e->cpu->block_key & X86_KEY_CPL0)
		return X86_MEMOS;
	if (!flat)
		return address->seg == X86_FS ? X86_MEMO_FS : X86_MEMO_GS;
	if (address->base == MIRROR_RIP)
		return X86_MEMO_RIP + memo_way(address, MEM_PAGE_SHIFT);
	if (address->base != MIRROR_NONE)
		return (unsigned)address->base;
	return address->index != MIRROR_NONE ? (unsigned)address->index : X86_MEMOS;
}

/*
 * The field of the memo for an address, or 0: it is better looked up each time. Twins are for what lies
 * across pages' ends, where memos are wrong every other time.
 */
static size_t memo_of(const struct emit *e, const struct mirror_address *address, bool write)
{
	unsigned number = memo_number(e, address);

	if (e->user_access || e->in_twin || number == X86_MEMOS)
		return 0;
	return CPU_FIELD(mirror.memo[0][0][0]) +
	       ((memo_mmu(e) * 2 + write) * X86_MEMOS + number) * sizeof(struct x86_memo);
}

/* RCX, a linear address, becomes an offset in the page that the entry in R11 is for. */
static void emit_look_up(struct emit *e, struct detour *detour)
{
	struct masm *m = e->m;

	masm_rorx(m, H_SCRATCH, H_RCX, MEM_PAGE_SHIFT - ENTRY_SHIFT);
	masm_alu_imm(m, false, 4, H_SCRATCH, (X86_TLB_ENTRIES - 1) << ENTRY_SHIFT);
	masm_rm(m, true, 0x03, H_SCRATCH, H_CPU, (int32_t)CPU_FIELD(mirror.tlb));
	masm_rm(m, true, 0x2b, H_RCX, H_SCRATCH, detour->tag);
	masm_alu_imm(m, true, 7, H_RCX, detour->limit);
	masm_jcc(m, COND_A, &detour->second_way);
	masm_bind(m, &detour->found);
}

static struct detour *new_detour(struct emit *e, const struct mirror_span *span)
{
	struct detour *detour = &e->detour[e->detours++];

	*detour = (struct detour){
		.enter = MASM_LABEL_INIT, .second_way = MASM_LABEL_INIT, .found = MASM_LABEL_INIT,
		.back = MASM_LABEL_INIT, .otherwise = span->otherwise,
		.tag = span->write ? ENTRY_FIELD(write_tag) : ENTRY_FIELD(read_tag),
		.limit = PAGE_BYTES - (int32_t)span->size_bytes,
	};
	return detour;
}

bool mirror_address_direct(const struct mirror_address *address)
{
	return address->wide && address->seg == MIRROR_FLAT && address->base >= 0 &&
	       mirror_reg((unsigned)address->base) != H_MEMORY && address->index == MIRROR_NONE;
}

/* R11 becomes addend, with direct, or RCX the host address; RCX is the linear one. */
static void emit_remembered(struct emit *e, struct detour *detour, size_t memo, bool direct,
			    const struct mirror_span *span)
{
	struct masm *m = e->m;

	detour->memo = memo;
	detour->direct = direct;
	masm_rm(m, true, 0x2b, H_RCX, H_CPU, (int32_t)MEMO_FIELD(memo, tag));
	masm_rm(m, true, 0x3b, H_RCX, H_CPU, (int32_t)MEMO_FIELD(memo, limit));
	masm_jcc(m, COND_AE, &detour->enter);
	if (span->size_bytes > X86_MEMO_BYTES) {
		masm_alu_imm(m, true, 7, H_RCX, detour->limit);
		masm_jcc(m, COND_A, &detour->enter);
	}
	if (direct)
		masm_load(m, H_SCRATCH, H_CPU, MEMO_FIELD(memo, addend));
	else
		masm_rm(m, true, 0x03, H_RCX, H_CPU, (int32_t)MEMO_FIELD(memo, host));
	masm_bind(m, &detour->back);
	m->scratch_touched = true; /* in the detour */
}

static void emit_checked(struct emit *e, const struct mirror_address *address, bool direct,
			 const struct mirror_span *span)
{
	struct detour *detour = new_detour(e, span);
	size_t memo = memo_of(e, address, span->write);
	struct masm *m = e->m;

	detour->address = *address;
	mirror_emit_address(e, address);
	if (memo) {
		emit_remembered(e, detour, memo, direct, span);
	} else {
		emit_look_up(e, detour);
		if (direct)
			masm_load(m, H_SCRATCH, H_SCRATCH, ENTRY_FIELD(addend));
		else
			masm_rm(m, true, 0x03, H_RCX, H_SCRATCH, ENTRY_FIELD(host));
	}
	e->flags_in_host = false;
}

struct masm_place mirror_emit_access(struct emit *e, const struct mirror_address *address,
				     unsigned size_bytes, bool write, bool direct)
{
	struct mirror_span span = { .size_bytes = size_bytes, .write = write };
	struct mirror_address first = *address;

	direct &= mirror_address_direct(address);
	if (!mirror_wide(e) && address->seg != MIRROR_FLAT)
		mirror_emit_limit_check(e, address, size_bytes);
	if (direct && mirror_access_known(e, address, size_bytes, write))
		return mirror_emit_known(e, address);
	if (direct && mirror_begin_group(e, address, size_bytes, write, &span)) {
		first.disp = span.low;
		emit_checked(e, &first, true, &span);
		mirror_group_checked(e, address->base);
		return mirror_emit_known(e, address);
	}
	span.otherwise = &mirror_cold(e)->enter;
	emit_checked(e, address, direct, &span);
	if (!direct)
		return (struct masm_place){ .base = H_RCX, .index = H_MEMORY };
	return (struct masm_place){ .base = mirror_reg((unsigned)address->base),
				    .index = H_SCRATCH, .disp = address->disp };
}

/* ---- what the host's MMU checks ---- */

/* Is it likely that an address is in the same TiB as the register that it is formed with? */
bool mirror_mapped_direct(const struct mirror_address *address)
{
	return mirror_address_direct(address) && address->disp < NEAR_BYTES &&
	       address->disp > -NEAR_BYTES;
}

bool mirror_is_mapped(const struct emit *e, const struct mirror_address *address, unsigned size_bytes)
{
	return e->cpu->hostmap && e->cpu->block_key & X86_KEY_CPL0 && mirror_wide(e) &&
	       address->wide && !e->user_access && e->insn->elsewhere < INSN_ELSEWHERE && address->base != X86_RSP &&
	       !mirror_access_known(e, address, size_bytes, false) &&
	       !mirror_group_writes(e, address, size_bytes) && !x86_hostmap_rests(e->cpu);
}

void mirror_emit_map(struct emit *e, uint8_t base)
{
	masm_rorx(e->m, H_SCRATCH, base, X86_HOSTMAP_SHIFT);
	masm_rr(e->m, false, 0x0fb6, H_SCRATCH, H_SCRATCH); /* movzx */
	masm_rx(e->m, true, 0x8b, H_SCRATCH, H_CPU, H_SCRATCH, 3,
		(int32_t)CPU_FIELD(mirror.hostmap[0]));
}

struct masm_place mirror_emit_mapped(struct emit *e, const struct mirror_address *address, bool direct)
{
	e->mapped = true;
	if (!direct) {
		mirror_emit_address(e, address);
		mirror_emit_map(e, H_RCX);
		masm_rx(e->m, true, 0x8d, H_RCX, H_RCX, H_SCRATCH, 0, 0);
		return (struct masm_place){ .base = H_RCX, .index = H_MEMORY };
	}
	if (e->map_in_r11 != address->base || e->m->scratch_touched)
		mirror_emit_map(e, mirror_reg((unsigned)address->base));
	e->map_in_r11 = (int8_t)address->base;
	e->delta_in_r11 = -1;
	e->m->scratch_touched = false;
	return (struct masm_place){ .base = mirror_reg((unsigned)address->base), .index = H_SCRATCH,
				    .disp = address->disp };
}

/* ---- out of line ---- */

/* Copies field of the entry in R11 into the memo. */
static void emit_copy_field(struct emit *e, const struct detour *detour, int32_t from, size_t to)
{
	masm_load(e->m, H_RCX, H_SCRATCH, (size_t)from);
	masm_store(e->m, detour->memo + to, H_CPU, H_RCX);
}

static void emit_remember(struct emit *e, const struct detour *detour)
{
	struct masm *m = e->m;

	emit_copy_field(e, detour, detour->tag, offsetof(struct x86_memo, tag));
	emit_copy_field(e, detour, ENTRY_FIELD(host), offsetof(struct x86_memo, host));
	emit_copy_field(e, detour, ENTRY_FIELD(addend), offsetof(struct x86_memo, addend));
	masm_rm(m, true, 0xc7, 0, H_CPU, (int32_t)MEMO_FIELD(detour->memo, limit));
	masm_u32(m, X86_MEMO_LIMIT);
}

/* R11: an entry; RCX: an offset in its page. To back with what mirror_emit_access has there. */
static void emit_found(struct emit *e, struct detour *detour)
{
	struct masm_label other = MASM_LABEL_INIT;
	unsigned mmu = memo_mmu(e);
	struct masm *m = e->m;

	if (mmu != X86_MMU_KERNEL) {
		masm_cmp_byte(m, H_CPU, CPU_FIELD(mmu), (uint8_t)mmu);
		masm_jcc(m, COND_NE, &other);
	}
	emit_remember(e, detour);
	if (detour->direct) {
		masm_mov(m, H_SCRATCH, H_RCX);
	} else {
		mirror_emit_address(e, &detour->address);
		masm_rm(m, true, 0x03, H_RCX, H_CPU, (int32_t)MEMO_FIELD(detour->memo, addend));
	}
	masm_jmp(m, &detour->back);
	if (mmu == X86_MMU_KERNEL)
		return;
	masm_bind(m, &other);
	if (detour->direct)
		masm_load(m, H_SCRATCH, H_SCRATCH, ENTRY_FIELD(addend));
	else
		masm_rm(m, true, 0x03, H_RCX, H_SCRATCH, ENTRY_FIELD(host));
	masm_jmp(m, &detour->back);
}

static void emit_second_way(struct emit *e, struct detour *detour)
{
	struct masm *m = e->m;

	masm_bind(m, &detour->second_way);
	masm_rm(m, true, 0x03, H_RCX, H_SCRATCH, detour->tag);
	masm_alu_imm(m, true, 0, H_SCRATCH, WAY_BYTES);
	masm_rm(m, true, 0x2b, H_RCX, H_SCRATCH, detour->tag);
	masm_alu_imm(m, true, 7, H_RCX, detour->limit);
	masm_jcc(m, COND_A, detour->otherwise);
	masm_jmp(m, &detour->found);
}

void mirror_emit_detours(struct emit *e)
{
	for (unsigned i = 0; i < e->detours; i++) {
		struct detour *detour = &e->detour[i];

		if (detour->memo) {
			masm_bind(e->m, &detour->enter);
			mirror_emit_address(e, &detour->address);
			emit_look_up(e, detour);
			emit_found(e, detour);
		}
		emit_second_way(e, detour);
	}
}

void mirror_emit_lock_check(struct emit *e, unsigned size_bytes)
{
	if (size_bytes == 1)
		return;
	masm_mov(e->m, H_SCRATCH, H_RCX);
	masm_alu_imm(e->m, false, 4, H_SCRATCH, (int32_t)size_bytes - 1);
	masm_jcc(e->m, COND_NE, &mirror_cold(e)->enter);
	e->flags_in_host = false;
}
