/* SPDX-License-Identifier: MIT */
/*
 * Guest memory as instructions see it, the slow half: see access.h. Whoever comes here missed the
 * TLB's tags, crosses a page, or meets MMIO, ROM, code, a data breakpoint or alignment checking.
 *
 * Every access goes the same way: check the address (canonical form, alignment), resolve all its
 * pages into a span of guest-physical pieces (this may raise, and is the only part that does), then
 * read or write the pieces. So nothing has changed when an access raises.
 *
 * Segment checks: Intel SDM vol. 3, 5.3-5.5; alignment: vol. 3, chapter 6, interrupt 17.
 */
#include "isa/x86/memory/access.h"

#include <string.h>

#include "cpu/exclusive.h"
#include "isa/x86/system/debug.h"
#include "isa/x86/memory/phys.h"
#include "isa/x86/memory/segment.h"
#include "isa/x86/memory/tlb.h"
#include "mem/mem.h"

#define PAGE_OFFSET(linear) ((unsigned)(linear) & (MEM_PAGE_SIZE - 1))
#define CACHE_LINE 64

/* A span is no longer than a page. */
#define SPAN_PIECES 2

struct span {
	unsigned pieces;
	struct {
		uint64_t phys;
		unsigned len;
	} piece[SPAN_PIECES];
	struct x86_page page; /* of the last piece */
};

/* Who accesses: the instruction's own operands, or the processor on its behalf. */
enum who { WHO_CODE, WHO_SYSTEM };

/* ---- segments ---- */

static _Noreturn void segment_fault(struct x86_cpu *cpu, unsigned seg)
{
	x86_raise_error(cpu, seg == X86_SS ? X86_SS_FAULT : X86_GP, 0);
}

static bool within_limit(const struct x86_seg *seg, uint64_t offset, unsigned size)
{
	uint64_t last = offset + size - 1;

	if ((seg->attr & (X86_SEG_CODE | X86_SEG_EXPAND_DOWN)) == X86_SEG_EXPAND_DOWN)
		return offset > seg->limit &&
		       last <= (seg->attr & X86_SEG_DB ? 0xffffffffu : 0xffffu);
	/* The manual leaves it open whether an access may wrap in a segment of 4 GiB; processors
	 * let it where the segment's base is 0. */
	return last <= seg->limit || (seg->limit == 0xffffffffu && !seg->base);
}

static bool type_allows(uint32_t attr, enum x86_access access)
{
	if (attr & X86_SEG_UNUSABLE)
		return false;
	if (attr & X86_SEG_CODE)
		return access == X86_READ && (attr & X86_SEG_READABLE);
	return access == X86_READ || (attr & X86_SEG_WRITABLE);
}

static uint64_t linear_in_64(struct x86_cpu *cpu, unsigned seg, uint64_t offset, unsigned size)
{
	uint64_t linear = offset;

	if (seg == X86_FS || seg == X86_GS)
		linear += cpu->state.seg[seg].base;
	if (unlikely(!x86_canonical(cpu, linear) || !x86_canonical(cpu, linear + size - 1)))
		segment_fault(cpu, seg);
	return linear;
}

uint64_t x86_linear(struct x86_cpu *cpu, unsigned seg, uint64_t offset, unsigned size,
		    enum x86_access access)
{
	const struct x86_seg *segment = &cpu->state.seg[seg];

	if (cpu->mode == X86_MODE_64)
		return linear_in_64(cpu, seg, offset, size);
	if (cpu->protected_mode && !type_allows(segment->attr, access))
		segment_fault(cpu, seg);
	if (!within_limit(segment, offset, size))
		segment_fault(cpu, seg);
	return (uint32_t)(segment->base + offset);
}

uint64_t x86_operand_slow(struct x86_cpu *cpu, const struct insn *insn, unsigned size,
			  enum x86_access access)
{
	uint64_t offset = x86_effective(cpu, insn);

	if (insn->flags & INSN_SEG_FLAT)
		return offset;
	return x86_linear(cpu, insn->seg, offset, size, access);
}

/* ---- from linear to pieces ---- */

static unsigned mmu_of(const struct x86_cpu *cpu, enum who who)
{
	return who == WHO_CODE ? cpu->mmu : x86_system_mmu(cpu);
}

/* Linear addresses have 64 bits for 64-bit code and for the system tables of IA-32e mode. */
static bool is_wide(const struct x86_cpu *cpu, enum who who)
{
	return who == WHO_CODE ? cpu->mode == X86_MODE_64 : cpu->long_mode;
}

static unsigned need_of(enum x86_access access)
{
	return access == X86_READ ? X86_TLB_ALLOW_READ : X86_TLB_ALLOW_WRITE;
}

static void check_canonical(struct x86_cpu *cpu, uint64_t linear, unsigned len, enum who who)
{
	const struct insn *insn = cpu->insn;
	bool stack;

	if (!is_wide(cpu, who) ||
	    (x86_canonical(cpu, linear) && x86_canonical(cpu, linear + len - 1)))
		return;
	stack = who == WHO_CODE && insn && (insn->flags & INSN_MEM) && insn->seg == X86_SS;
	segment_fault(cpu, stack ? X86_SS : X86_DS);
}

void x86_check_canonical(struct x86_cpu *cpu, uint64_t linear, unsigned len)
{
	check_canonical(cpu, linear, len, WHO_CODE);
}

/* The sizes of integers and x87 operands; the vector instructions' alignment is their own. */
void x86_check_alignment(struct x86_cpu *cpu, uint64_t linear, unsigned len)
{
	unsigned align = len == 10 ? 8 : len;

	if (likely(cpu->cpl != 3 || !(cpu->state.rflags & X86_AC) ||
		   !(cpu->state.cr0 & X86_CR0_AM)))
		return;
	/* What is not canonical is worse. */
	if ((align == 2 || align == 4 || align == 8) && (linear & (align - 1)) &&
	    (cpu->mode != X86_MODE_64 || x86_canonical(cpu, linear)))
		x86_raise_error(cpu, X86_AC_FAULT, 0);
}

/* The pages of [linear, linear+len); raises #PF. */
static void resolve(struct x86_cpu *cpu, uint64_t linear, unsigned len, enum x86_access access,
		    enum who who, struct span *span)
{
	unsigned mmu = mmu_of(cpu, who);

	span->pieces = 0;
	while (len) {
		unsigned offset = PAGE_OFFSET(linear);
		unsigned piece = MEM_PAGE_SIZE - offset;

		if (piece > len)
			piece = len;
		x86_tlb_page(cpu, linear, need_of(access), mmu, &span->page);
		span->piece[span->pieces].phys = span->page.phys | offset;
		span->piece[span->pieces++].len = piece;
		len -= piece;
		linear += piece;
		if (!is_wide(cpu, who))
			linear = (uint32_t)linear;
	}
}

/* All that may raise but for alignment, and the breakpoints that an access without a fault hits. */
static void prepare_bytes(struct x86_cpu *cpu, uint64_t linear, unsigned len,
			  enum x86_access access, enum who who, struct span *span)
{
	check_canonical(cpu, linear, len, who);
	resolve(cpu, linear, len, access, who, span);
	x86_debug_accessed(cpu, linear, len, access != X86_READ);
}

static void prepare(struct x86_cpu *cpu, uint64_t linear, unsigned len, enum x86_access access,
		    enum who who, struct span *span)
{
	check_canonical(cpu, linear, len, who);
	if (who == WHO_CODE)
		x86_check_alignment(cpu, linear, len);
	prepare_bytes(cpu, linear, len, access, who, span);
}

static void span_read(struct x86_cpu *cpu, const struct span *span, void *data)
{
	uint8_t *to = data;

	for (unsigned i = 0; i < span->pieces; i++) {
		x86_phys_read(cpu, span->piece[i].phys, to, span->piece[i].len);
		to += span->piece[i].len;
	}
}

static void span_write(struct x86_cpu *cpu, const struct span *span, const void *data)
{
	const uint8_t *from = data;

	for (unsigned i = 0; i < span->pieces; i++) {
		x86_phys_write(cpu, span->piece[i].phys, from, span->piece[i].len);
		from += span->piece[i].len;
	}
}

/* ---- loads and stores ---- */

static uint64_t load(struct x86_cpu *cpu, uint64_t linear, unsigned size, enum who who)
{
	struct span span;
	uint64_t value = 0;

	prepare(cpu, linear, size, X86_READ, who, &span);
	span_read(cpu, &span, &value);
	return value;
}

static void store(struct x86_cpu *cpu, uint64_t linear, unsigned size, uint64_t value,
		  enum who who)
{
	struct span span;

	prepare(cpu, linear, size, X86_WRITE, who, &span);
	span_write(cpu, &span, &value);
}

uint64_t x86_load_slow(struct x86_cpu *cpu, uint64_t linear, unsigned size)
{
	return load(cpu, linear, size, WHO_CODE);
}

void x86_store_slow(struct x86_cpu *cpu, uint64_t linear, unsigned size, uint64_t value)
{
	store(cpu, linear, size, value, WHO_CODE);
}

uint64_t x86_load(struct x86_cpu *cpu, uint64_t linear, unsigned size)
{
	switch (size) {
	case 1: return x86_load8(cpu, linear);
	case 2: return x86_load16(cpu, linear);
	case 4: return x86_load32(cpu, linear);
	case 8: return x86_load64(cpu, linear);
	default: return x86_load_slow(cpu, linear, size);
	}
}

void x86_store(struct x86_cpu *cpu, uint64_t linear, unsigned size, uint64_t value)
{
	switch (size) {
	case 1: x86_store8(cpu, linear, (uint8_t)value); break;
	case 2: x86_store16(cpu, linear, (uint16_t)value); break;
	case 4: x86_store32(cpu, linear, (uint32_t)value); break;
	case 8: x86_store64(cpu, linear, value); break;
	default: x86_store_slow(cpu, linear, size, value); break;
	}
}

uint64_t x86_load_system_slow(struct x86_cpu *cpu, uint64_t linear, unsigned size)
{
	return load(cpu, linear, size, WHO_SYSTEM);
}

void x86_store_system_slow(struct x86_cpu *cpu, uint64_t linear, unsigned size, uint64_t value)
{
	store(cpu, linear, size, value, WHO_SYSTEM);
}

/* ---- read-modify-write ---- */

static bool splits_cache_line(uint64_t linear, unsigned size)
{
	return (linear & (CACHE_LINE - 1)) + size > CACHE_LINE;
}

static void bounce(struct x86_cpu *cpu, bool locked, const struct span *span, struct x86_rmw *rmw)
{
	rmw->bounced = true;
	rmw->exclusive = locked;
	rmw->host = rmw->bounce;
	if (locked) {
		x86_vec_park(cpu);
		exclusive_begin(&cpu->cpu);
	}
	span_read(cpu, span, rmw->bounce);
}

/* A LOCK across cache lines is bounced, because hosts may punish it as a split lock. */
static void rmw_begin_slow(struct x86_cpu *cpu, uint64_t linear, unsigned size, bool locked,
			   struct x86_rmw *rmw)
{
	struct span span;

	prepare(cpu, linear, size, X86_RMW, WHO_CODE, &span);
	rmw->slow = true;
	rmw->exclusive = false;
	rmw->linear = linear;
	rmw->size = (uint8_t)size;
	rmw->phys[0] = span.piece[0].phys;
	rmw->phys[1] = span.piece[span.pieces - 1].phys;
	if (span.pieces > 1 || !span.page.region || span.page.region->readonly ||
	    (locked && splits_cache_line(linear, size))) {
		bounce(cpu, locked, &span, rmw);
		return;
	}
	x86_phys_hold(cpu, span.page.region, rmw->phys[0]);
	rmw->bounced = false;
	rmw->host = span.page.host + PAGE_OFFSET(linear);
}

void x86_rmw_begin(struct x86_cpu *cpu, uint64_t linear, unsigned size, bool locked,
		   struct x86_rmw *rmw)
{
	const struct x86_tlb_entry *entry = x86_tlb_at(cpu, linear);

	if (likely(entry->write_tag == (linear & ~0xfffull) &&
		   !splits_cache_line(linear, size))) {
		rmw->host = (void *)(linear + entry->addend);
		rmw->slow = rmw->bounced = rmw->exclusive = false;
		return;
	}
	rmw_begin_slow(cpu, linear, size, locked, rmw);
}

void x86_rmw_end(struct x86_cpu *cpu, struct x86_rmw *rmw)
{
	unsigned first;

	if (likely(!rmw->slow))
		return;
	if (!rmw->bounced) {
		const struct mem_region *region = mem_find(cpu->cpu.env.mem, rmw->phys[0]);

		x86_phys_wrote(cpu, region, rmw->phys[0], rmw->size);
		x86_phys_release(region, rmw->phys[0]);
		return;
	}
	first = MEM_PAGE_SIZE - PAGE_OFFSET(rmw->linear);
	if (first >= rmw->size) {
		x86_phys_write(cpu, rmw->phys[0], rmw->bounce, rmw->size);
	} else {
		x86_phys_write(cpu, rmw->phys[0], rmw->bounce, first);
		x86_phys_write(cpu, rmw->phys[1], rmw->bounce + first, rmw->size - first);
	}
	if (rmw->exclusive)
		exclusive_end(&cpu->cpu);
}

/* ---- whole areas ---- */

static bool tag_matches(const struct x86_tlb_entry *entry, uint64_t linear, enum x86_access access)
{
	return (access == X86_READ ? entry->read_tag : entry->write_tag) == (linear & ~0xfffull);
}

void *x86_direct(struct x86_cpu *cpu, uint64_t linear, unsigned len, enum x86_access access)
{
	const struct x86_tlb_entry *entry = x86_tlb_at(cpu, linear);
	struct x86_page page;

	if (likely(tag_matches(entry, linear, access) &&
		   PAGE_OFFSET(linear) + len <= MEM_PAGE_SIZE))
		return (void *)(linear + entry->addend);
	check_canonical(cpu, linear, len, WHO_CODE);
	x86_check_alignment(cpu, linear, len);
	if (PAGE_OFFSET(linear) + len > MEM_PAGE_SIZE)
		return NULL;
	x86_tlb_page(cpu, linear, need_of(access), cpu->mmu, &page);
	entry = x86_tlb_entry_at(cpu, linear, cpu->mmu);
	return tag_matches(entry, linear, access) ? (void *)(linear + entry->addend) : NULL;
}

void *x86_write_begin(struct x86_cpu *cpu, uint64_t linear, unsigned len, uint64_t *code)
{
	void *host = x86_direct(cpu, linear, len, X86_WRITE);
	struct x86_page page;

	*code = X86_NO_CODE;
	if (likely(host) || PAGE_OFFSET(linear) + len > MEM_PAGE_SIZE)
		return host;
	x86_tlb_page(cpu, linear, X86_TLB_ALLOW_WRITE, cpu->mmu, &page);
	if (!page.region || page.region->readonly ||
	    x86_debug_watches_page(cpu, linear & ~0xfffull))
		return NULL;
	*code = page.phys | PAGE_OFFSET(linear);
	x86_phys_hold(cpu, page.region, *code);
	return page.host + PAGE_OFFSET(linear);
}

void x86_write_end(struct x86_cpu *cpu, uint64_t code, unsigned len)
{
	const struct mem_region *region;

	if (likely(code == X86_NO_CODE))
		return;
	region = mem_find(cpu->cpu.env.mem, code);
	x86_phys_wrote(cpu, region, code, len);
	x86_phys_release(region, code);
}

/* How much of [linear, linear+len) its first page holds. */
static unsigned in_page(uint64_t linear, unsigned len)
{
	unsigned left = MEM_PAGE_SIZE - PAGE_OFFSET(linear);

	return len < left ? len : left;
}

static void probe(struct x86_cpu *cpu, uint64_t linear, unsigned len, enum x86_access access,
		  enum who who)
{
	unsigned mmu = mmu_of(cpu, who);

	if (len)
		check_canonical(cpu, linear, len, who);
	while (len) {
		unsigned piece = in_page(linear, len);
		struct x86_page page;

		if (!x86_at_once(cpu, linear, piece, access, mmu))
			x86_tlb_page(cpu, linear, need_of(access), mmu, &page);
		linear += piece;
		len -= piece;
		if (!is_wide(cpu, who))
			linear = (uint32_t)linear;
	}
}

void x86_probe(struct x86_cpu *cpu, uint64_t linear, unsigned len, enum x86_access access)
{
	probe(cpu, linear, len, access, WHO_CODE);
}

void x86_probe_system(struct x86_cpu *cpu, uint64_t linear, unsigned len, enum x86_access access)
{
	probe(cpu, linear, len, access, WHO_SYSTEM);
}

static void load_in_page(struct x86_cpu *cpu, uint64_t linear, void *data, unsigned len)
{
	const void *host = x86_at_once(cpu, linear, len, X86_READ, cpu->mmu);
	struct span span;

	if (likely(host)) {
		memcpy(data, host, len);
		return;
	}
	prepare_bytes(cpu, linear, len, X86_READ, WHO_CODE, &span);
	span_read(cpu, &span, data);
}

static void store_in_page(struct x86_cpu *cpu, uint64_t linear, const void *data, unsigned len)
{
	void *host = x86_at_once(cpu, linear, len, X86_WRITE, cpu->mmu);
	struct span span;

	if (likely(host)) {
		memcpy(host, data, len);
		return;
	}
	prepare_bytes(cpu, linear, len, X86_WRITE, WHO_CODE, &span);
	span_write(cpu, &span, data);
}

void x86_load_bytes(struct x86_cpu *cpu, uint64_t linear, void *data, unsigned len)
{
	uint8_t *to = data;

	if (in_page(linear, len) < len)
		x86_probe(cpu, linear, len, X86_READ);
	while (len) {
		unsigned piece = in_page(linear, len);

		load_in_page(cpu, linear, to, piece);
		to += piece;
		linear += piece;
		len -= piece;
		if (!is_wide(cpu, WHO_CODE))
			linear = (uint32_t)linear;
	}
}

void x86_store_bytes(struct x86_cpu *cpu, uint64_t linear, const void *data, unsigned len)
{
	const uint8_t *from = data;

	if (in_page(linear, len) < len)
		x86_probe(cpu, linear, len, X86_WRITE);
	while (len) {
		unsigned piece = in_page(linear, len);

		store_in_page(cpu, linear, from, piece);
		from += piece;
		linear += piece;
		len -= piece;
		if (!is_wide(cpu, WHO_CODE))
			linear = (uint32_t)linear;
	}
}
