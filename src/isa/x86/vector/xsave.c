/* SPDX-License-Identifier: MIT */
/*
 * XSAVE, XSAVEOPT, XSAVEC and XRSTOR between the parked image and guest memory, with the guest's
 * own XCR0. Intel SDM vol. 1, chapter 13. In guest memory components lie at the host's standard
 * offsets, or one behind the other in the compacted form. What IA32_XFD disables counts as if it
 * were in its initial configuration (13.14).
 *
 * XSAVEOPT leaves out what is in its initial configuration; that a component was not modified since
 * the last XRSTOR is an optimisation it may, and here does, forgo.
 *
 * While the guest's state is in the host's registers, the host's own instruction does it where it can,
 * and the state stays there: a kernel's context switch is not the end of vector code. It saves straight
 * to guest memory, which it only writes; it restores from a copy, made and checked as for the slow way.
 */
#include <string.h>

#include "isa/x86/memory/access.h"
#include "isa/x86/vector/fields.h"
#include "isa/x86/vector/fximage.h"
#include "isa/x86/vector/hostexec.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/vector/vec.h"
#include "mem/mem.h"

#define XSAVE_ALIGN 63u
#define COMPACTED (1ull << 63)
#define X87_FIRST_END VEC_MXCSR /* the x87 state is in two pieces around MXCSR */
#define MXCSR_BYTES 8u
#define PKRU_BYTES 4u /* of the eight that it has room for: the others are not touched */

/* An area in guest memory. */
struct area {
	struct fields image;
	uint64_t mask;    /* components asked for and enabled */
	uint64_t format;  /* XCOMP_BV; 0: standard */
};

static struct area open_area(struct x86_cpu *cpu, const struct insn *insn, enum x86_access access)
{
	const struct x86_state *state = &cpu->state;
	struct area area = {
		.mask = (state->gpr[X86_RDX] << 32 | (uint32_t)state->gpr[X86_RAX]) & state->xcr0,
	};

	host_check(cpu, insn->stub);
	area.image = fields_open(cpu, insn, VEC_HEADER_END, access);
	if (area.image.linear & XSAVE_ALIGN)
		x86_general_protection(cpu);
	return area;
}

/* Bytes of a component from AVX on that the mode has registers for. */
static unsigned component_bytes(const struct x86_cpu *cpu, unsigned i)
{
	unsigned size = i == VEC_PKRU ? PKRU_BYTES : cpu->hostexec->size[i];

	if (cpu->mode == X86_MODE_64)
		return size;
	if (i == VEC_HI16_ZMM)
		return 0;
	return i == VEC_AVX || i == VEC_ZMM_HI256 ? size / 2 : size;
}

/* Of a component's fields, as of fields.h. */
static unsigned component_field(unsigned i)
{
	static const uint8_t fields[HOST_COMPONENTS] = {
		[VEC_AVX] = 16, [VEC_OPMASK] = 8, [VEC_ZMM_HI256] = 32, [VEC_HI16_ZMM] = 64,
		[VEC_PKRU] = 4, [VEC_TILECFG] = 64, [VEC_TILEDATA] = 64,
	};

	return fields[i];
}

static unsigned component_offset(const struct x86_cpu *cpu, const struct area *area, unsigned i)
{
	unsigned at = VEC_HEADER_END;

	if (!area->format)
		return cpu->hostexec->offset[i];
	for (unsigned c = VEC_AVX; c <= i; c++) {
		if (!(area->format & VEC_BIT(c)))
			continue;
		if (cpu->hostexec->aligned & VEC_BIT(c))
			at = (at + XSAVE_ALIGN) & ~XSAVE_ALIGN;
		if (c < i)
			at += cpu->hostexec->size[c];
	}
	return at;
}

/* ---- to memory ---- */

/* Components that are not written are not touched: there may be no room for them. */
static void probe_area(struct x86_cpu *cpu, const struct area *area, uint64_t written)
{
	fields_probe(cpu, &area->image, 0, VEC_HEADER_END, 8);
	for (unsigned i = VEC_AVX; i < HOST_COMPONENTS; i++) {
		if (written & VEC_BIT(i))
			fields_probe(cpu, &area->image, component_offset(cpu, area, i),
				    component_bytes(cpu, i), component_field(i));
	}
}

/* Parked and materialised beforehand: components to be written, of those asked for. */
static void store_legacy(struct x86_cpu *cpu, const struct insn *insn, const struct area *area,
			 uint64_t written)
{
	uint8_t *image = cpu->hostexec->image;
	uint64_t mxcsr_with = VEC_BIT(VEC_SSE) | (area->format ? 0 : VEC_BIT(VEC_AVX));

	fx_copy(image, cpu->state.xsave, 0, VEC_LEGACY_BYTES);
	vec_put32(image, VEC_MXCSR_MASK, cpu->hostexec->mxcsr_mask);
	fx_export_pointers(cpu, insn, image);
	if (written & VEC_BIT(VEC_X87)) {
		fx_store(cpu, &area->image, image, 0, X87_FIRST_END);
		fx_store(cpu, &area->image, image, VEC_ST, VEC_XMM);
	}
	if ((area->format ? written : area->mask) & mxcsr_with)
		fx_store(cpu, &area->image, image, VEC_MXCSR, VEC_MXCSR + MXCSR_BYTES);
	if (written & VEC_BIT(VEC_SSE))
		fx_store(cpu, &area->image, image, VEC_XMM, fx_xmm_end(cpu));
}

static void store_extended(struct x86_cpu *cpu, const struct area *area, uint64_t written)
{
	const struct hostexec *he = cpu->hostexec;

	for (unsigned i = VEC_AVX; i < HOST_COMPONENTS; i++) {
		unsigned size = component_bytes(cpu, i);
		const uint8_t *from = cpu->state.xsave + he->offset[i];

		if (!(written & VEC_BIT(i)))
			continue;
		if (i == VEC_PKRU)
			from = (const uint8_t *)&cpu->state.pkru;
		else if (cpu->state.xfd & VEC_BIT(i))
			from = memset(cpu->hostexec->image, 0, size);
		fields_store(cpu, &area->image, component_offset(cpu, area, i), from, size,
			    component_field(i));
	}
}

/* Saving changes nothing here: what was in its initial configuration stays so. */
static void store_components(struct x86_cpu *cpu, const struct insn *insn, const struct area *area,
			     uint64_t written)
{
	uint8_t *image = cpu->state.xsave;
	uint64_t present = vec_get64(image, VEC_XSTATE_BV);

	vec_materialise(cpu, written);
	vec_put64(image, VEC_XSTATE_BV, present);
	store_legacy(cpu, insn, area, written);
	store_extended(cpu, area, written);
}

/* ---- by the host ---- */

/* Never in the host's registers for a guest, or in their initial configuration there. */
#define NOT_ON_HOST (VEC_BIT(VEC_PKRU) | VEC_AMX)

static bool on_host(const struct x86_cpu *cpu)
{
	return cpu->vec_live && cpu->mode == X86_MODE_64 && !(cpu->hostexec->live & VEC_AMX);
}

/* Bytes of an area with these components. */
static unsigned area_bytes(const struct x86_cpu *cpu, const struct area *area, uint64_t components)
{
	unsigned end = VEC_HEADER_END;

	for (unsigned i = VEC_AVX; i < HOST_COMPONENTS; i++) {
		if (components & VEC_BIT(i)) {
			unsigned here = component_offset(cpu, area, i) + cpu->hostexec->size[i];

			end = here > end ? here : end;
		}
	}
	return end;
}

/* Where up to a page of bytes is in host memory, if all of it may be written now; or NULL. */
static uint8_t *find_writable(struct x86_cpu *cpu, uint64_t linear, unsigned bytes)
{
	uint64_t last = linear + bytes - 1;
	const struct x86_tlb_entry *a = x86_tlb_at(cpu, linear), *b = x86_tlb_at(cpu, last);

	if (bytes > MEM_PAGE_SIZE || !x86_tag_covers(a->write_tag, linear, 1) ||
	    !x86_tag_covers(b->write_tag, last, 1) || a->addend != b->addend)
		return NULL;
	return (uint8_t *)(linear + a->addend);
}

static void host_save(uint8_t *to, uint64_t mask, bool compacted)
{
	uint32_t low = (uint32_t)mask, high = (uint32_t)(mask >> 32);

	if (compacted)
		__asm__ volatile("xsavec64 (%0)" : : "r"(to), "a"(low), "d"(high) : "memory");
	else
		__asm__ volatile("xsave64 (%0)" : : "r"(to), "a"(low), "d"(high) : "memory");
}

/* What the host does not know of the guest, or knows of itself. */
static void amend_saved(struct x86_cpu *cpu, const struct insn *insn, const struct area *area,
			uint8_t *to, uint64_t present)
{
	uint32_t pkru = cpu->state.pkru;

	if ((area->format ? present : area->mask) & VEC_BIT(VEC_X87))
		fx_export_pointers(cpu, insn, to);
	if (area->mask & VEC_BIT(VEC_PKRU) && (pkru || !area->format))
		vec_put32(to, component_offset(cpu, area, VEC_PKRU), pkru);
	if (area->mask & VEC_BIT(VEC_TILECFG) && !area->format)
		memset(to + cpu->hostexec->offset[VEC_TILECFG], 0,
		       cpu->hostexec->size[VEC_TILECFG]);
	present &= ~(area->mask & NOT_ON_HOST);
	if (area->mask & VEC_BIT(VEC_PKRU) && pkru)
		present |= VEC_BIT(VEC_PKRU);
	vec_put64(to, VEC_XSTATE_BV, present);
	if (area->format)
		vec_put64(to, VEC_XCOMP_BV, area->format);
}

/* False: it is left to the slow way, which may write the same once more. */
static bool save_by_host(struct x86_cpu *cpu, const struct insn *insn, const struct area *area)
{
	const struct x86_state *state = &cpu->state;
	/* Tiles are initial, for which the standard format alone has bytes. */
	uint64_t written = area->mask & ~(area->format ? VEC_AMX : 0), present;
	unsigned bytes = area_bytes(cpu, area, written);
	uint8_t *to;

	if (!on_host(cpu) || bytes > area->image.room)
		return false;
	to = find_writable(cpu, area->image.linear, bytes);
	if (!to)
		return false;
	host_save(to, area->mask & ~NOT_ON_HOST, area->format);
	present = vec_get64(to, VEC_XSTATE_BV);
	if (area->mask & ~present & VEC_BIT(VEC_X87) &&
	    (state->fpu_ip || state->fpu_dp || state->fpu_opcode))
		return false;
	amend_saved(cpu, insn, area, to, present);
	return true;
}

/* ---- the instructions that save ---- */

static uint64_t load_present(struct x86_cpu *cpu, const struct area *area)
{
	uint64_t present;

	fields_load(cpu, &area->image, VEC_XSTATE_BV, &present, sizeof(present), sizeof(present));
	return present;
}

static void store_word(struct x86_cpu *cpu, const struct area *area, unsigned at, uint64_t value)
{
	fields_store(cpu, &area->image, at, &value, sizeof(value), sizeof(value));
}

void host_run_xsave(struct x86_cpu *cpu, const struct insn *insn)
{
	struct area area = open_area(cpu, insn, X86_WRITE);
	bool optimise = insn->mnemonic == ZYDIS_MNEMONIC_XSAVEOPT ||
			insn->mnemonic == ZYDIS_MNEMONIC_XSAVEOPT64;
	uint64_t inuse, written, present;

	if (!optimise && save_by_host(cpu, insn, &area))
		return;
	x86_vec_park(cpu);
	inuse = x86_vec_inuse(cpu) & ~cpu->state.xfd;
	/* Other than XSAVEC and XGETBV these do not take SSE for used because of MXCSR. */
	inuse &= ~VEC_BIT(VEC_SSE) | vec_get64(cpu->state.xsave, VEC_XSTATE_BV);
	written = optimise ? area.mask & inuse : area.mask;
	probe_area(cpu, &area, written);
	present = load_present(cpu, &area);
	store_components(cpu, insn, &area, written);
	store_word(cpu, &area, VEC_XSTATE_BV, (present & ~area.mask) | (inuse & area.mask));
}

void host_run_xsavec(struct x86_cpu *cpu, const struct insn *insn)
{
	struct area area = open_area(cpu, insn, X86_WRITE);
	uint64_t inuse;

	area.format = area.mask | COMPACTED;
	if (save_by_host(cpu, insn, &area))
		return;
	x86_vec_park(cpu);
	inuse = x86_vec_inuse(cpu) & ~cpu->state.xfd & area.mask;
	probe_area(cpu, &area, inuse);
	store_components(cpu, insn, &area, inuse);
	store_word(cpu, &area, VEC_XSTATE_BV, inuse);
	store_word(cpu, &area, VEC_XCOMP_BV, area.format);
}

/* ---- from memory ---- */

/* The header's rules: #GP. Returns XSTATE_BV. */
static uint64_t read_header(struct x86_cpu *cpu, struct area *area)
{
	uint8_t *image = cpu->hostexec->image;
	uint64_t xcr0 = cpu->state.xcr0, present, format, zero = 0;

	fields_load(cpu, &area->image, VEC_XSTATE_BV, image + VEC_XSTATE_BV,
		   VEC_HEADER_END - VEC_XSTATE_BV, 8);
	present = vec_get64(image, VEC_XSTATE_BV);
	format = vec_get64(image, VEC_XCOMP_BV);
	for (unsigned at = VEC_XCOMP_BV + 8; at < (format ? VEC_HEADER_END : VEC_XCOMP_BV + 16u);
	     at += 8)
		zero |= vec_get64(image, at);
	if (format && (!(format & COMPACTED) || (format & ~COMPACTED & ~xcr0) ||
		       (present & ~format)))
		x86_general_protection(cpu);
	if ((present & ~xcr0) || zero)
		x86_general_protection(cpu);
	area->format = format;
	return present;
}

static uint32_t current_mxcsr(const struct x86_cpu *cpu)
{
	uint32_t mxcsr;

	if (!cpu->vec_live)
		return vec_get32(cpu->state.xsave, VEC_MXCSR);
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	return mxcsr;
}

/* The MXCSR to be: from memory, initial, or as it is. */
static uint32_t load_mxcsr(struct x86_cpu *cpu, const struct area *area, uint64_t present)
{
	uint64_t with = VEC_BIT(VEC_SSE) | (area->format ? 0 : VEC_BIT(VEC_AVX));
	uint32_t mxcsr;

	if (!(area->mask & with))
		return current_mxcsr(cpu);
	if (area->format && !(present & VEC_BIT(VEC_SSE)))
		return VEC_MXCSR_DEFAULT;
	fields_load(cpu, &area->image, VEC_MXCSR, &mxcsr, sizeof(mxcsr), sizeof(mxcsr));
	if (mxcsr & ~cpu->hostexec->mxcsr_mask)
		x86_general_protection(cpu);
	return mxcsr;
}

/* All of the guest's bytes into he->image, at standard offsets, before anything changes. */
static void load_components(struct x86_cpu *cpu, const struct area *area, uint64_t loaded)
{
	struct hostexec *he = cpu->hostexec;

	if (loaded & VEC_BIT(VEC_X87)) {
		fx_load(cpu, &area->image, he->image, 0, X87_FIRST_END);
		fx_load(cpu, &area->image, he->image, VEC_ST, VEC_XMM);
	}
	if (loaded & VEC_BIT(VEC_SSE))
		fx_load(cpu, &area->image, he->image, VEC_XMM, fx_xmm_end(cpu));
	for (unsigned i = VEC_AVX; i < HOST_COMPONENTS; i++) {
		if (loaded & VEC_BIT(i))
			fields_load(cpu, &area->image, component_offset(cpu, area, i),
				   he->image + he->offset[i], component_bytes(cpu, i),
				   component_field(i));
	}
}

static void clear_range(uint8_t *image, unsigned start, unsigned end)
{
	memset(image + start, 0, end - start);
}

/* The x87 state to be, in he->image. */
static void make_x87(struct x86_cpu *cpu, const struct insn *insn, bool load)
{
	uint8_t *image = cpu->hostexec->image;

	if (!load) {
		clear_range(image, 0, X87_FIRST_END);
		clear_range(image, VEC_ST, VEC_XMM);
		vec_put16(image, VEC_FCW, VEC_FCW_DEFAULT);
	}
	fx_fix_words(image);
	fx_import_pointers(cpu, insn, image);
}

static void set_x87(struct x86_cpu *cpu, const struct insn *insn, bool load)
{
	const uint8_t *image = cpu->hostexec->image;

	make_x87(cpu, insn, load);
	fx_copy(cpu->state.xsave, image, 0, X87_FIRST_END);
	fx_copy(cpu->state.xsave, image, VEC_ST, VEC_XMM);
}

/* A component from AVX on, or SSE's registers: bytes [start, end) of the image. */
static void set_range(struct x86_cpu *cpu, unsigned start, unsigned end, bool load)
{
	if (load)
		fx_copy(cpu->state.xsave, cpu->hostexec->image, start, end);
	else
		clear_range(cpu->state.xsave, start, end);
}

static void set_pkru(struct x86_cpu *cpu, bool load)
{
	const struct hostexec *he = cpu->hostexec;
	uint32_t pkru = load ? vec_get32(he->image, he->offset[VEC_PKRU]) : 0;

	if (pkru == cpu->state.pkru)
		return;
	cpu->state.pkru = pkru;
	x86_tlb_flush_all(cpu);
}

/* What is initialised whole may be forgotten: then the processor need not carry it on. */
static uint64_t forgettable(const struct x86_cpu *cpu, uint64_t initial)
{
	const uint64_t modeless = VEC_BIT(VEC_OPMASK) | VEC_AMX;

	return cpu->mode == X86_MODE_64 ? initial : initial & modeless;
}

static void forget(struct x86_cpu *cpu, uint64_t initial)
{
	uint8_t *image = cpu->state.xsave;

	vec_put64(image, VEC_XSTATE_BV, vec_get64(image, VEC_XSTATE_BV) & ~initial);
}

/* False: nothing was done. */
static bool restore_by_host(struct x86_cpu *cpu, const struct insn *insn, const struct area *area,
			    uint64_t loaded)
{
	uint64_t mask = area->mask & ~NOT_ON_HOST;
	uint8_t *image = cpu->hostexec->image;
	uint32_t mxcsr;

	if (!on_host(cpu) || (loaded & VEC_AMX))
		return false;
	mxcsr = load_mxcsr(cpu, area, loaded);
	load_components(cpu, area, loaded);
	if (area->mask & VEC_BIT(VEC_X87))
		make_x87(cpu, insn, loaded & VEC_BIT(VEC_X87));
	vec_put32(image, VEC_MXCSR, mxcsr);
	clear_range(image, VEC_XSTATE_BV, VEC_HEADER_END);
	vec_put64(image, VEC_XSTATE_BV, loaded & ~NOT_ON_HOST);
	__asm__ volatile("xrstor64 (%0)"
			 :
			 : "r"(image), "a"((uint32_t)mask), "d"((uint32_t)(mask >> 32))
			 : "memory");
	vec_note_control(cpu);
	if (area->mask & VEC_BIT(VEC_PKRU))
		set_pkru(cpu, loaded & VEC_BIT(VEC_PKRU));
	return true;
}

void host_run_xrstor(struct x86_cpu *cpu, const struct insn *insn)
{
	struct hostexec *he = cpu->hostexec;
	struct area area = open_area(cpu, insn, X86_READ);
	uint64_t present, loaded, initial, set;
	uint32_t mxcsr;

	present = read_header(cpu, &area);
	loaded = area.mask & present;
	host_check_xfd(cpu, loaded);
	if (restore_by_host(cpu, insn, &area, loaded))
		return;
	initial = forgettable(cpu, area.mask & ~loaded);
	set = area.mask & ~(initial & VEC_AMX); /* no need to write 8 KiB of zeros */
	x86_vec_park(cpu);
	mxcsr = load_mxcsr(cpu, &area, present);
	load_components(cpu, &area, loaded);
	vec_materialise(cpu, set);
	vec_put32(cpu->state.xsave, VEC_MXCSR, mxcsr);
	if (area.mask & VEC_BIT(VEC_X87))
		set_x87(cpu, insn, loaded & VEC_BIT(VEC_X87));
	if (area.mask & VEC_BIT(VEC_SSE))
		set_range(cpu, VEC_XMM, fx_xmm_end(cpu), loaded & VEC_BIT(VEC_SSE));
	for (unsigned i = VEC_AVX; i < HOST_COMPONENTS; i++) {
		if (set & VEC_BIT(i) && i != VEC_PKRU)
			set_range(cpu, he->offset[i], he->offset[i] + component_bytes(cpu, i),
				  loaded & VEC_BIT(i));
	}
	if (area.mask & VEC_BIT(VEC_PKRU))
		set_pkru(cpu, loaded & VEC_BIT(VEC_PKRU));
	forget(cpu, initial);
	if (loaded & VEC_BIT(VEC_TILECFG))
		host_tiles_settle(cpu);
}
