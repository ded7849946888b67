/* SPDX-License-Identifier: MIT */
/*
 * AMX: tiles and their multiplication. Like other vector instructions these run on the host, whose
 * kernel must permit it; rows of a tile in memory are copied one by one, because each has an
 * address of its own. A row that faults leaves its number in TILECFG's start_row, so that the
 * instruction goes on there when it is executed again. IA32_XFD (13.14) lets a system find out who
 * uses tiles. Intel SDM vol. 1, chapters 13 and 18; vol. 2, TILELOADD, TILESTORED.
 *
 * hostexec.live says whether the host's registers may hold tiles now; only then are they saved and
 * loaded.
 */
#include <asm/prctl.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "isa/x86/memory/access.h"
#include "isa/x86/vector/hostexec.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/vector/vec.h"

/* TILECFG, as LDTILECFG and XSAVE have it. */
enum { CFG_PALETTE = 0, CFG_START_ROW = 1, CFG_ROW_BYTES = 16, CFG_ROWS = 48 };

/* A tile as an instruction with a memory operand sees it. */
struct rows {
	unsigned start, count;
	unsigned bytes; /* of one row */
};

bool host_tiles_request(void)
{
	return !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, VEC_TILEDATA);
}

bool host_tiles_granted(void)
{
	uint64_t granted = 0;

	return !syscall(SYS_arch_prctl, ARCH_GET_XCOMP_PERM, &granted) &&
	       (granted & VEC_AMX) == VEC_AMX;
}

void host_check_xfd(struct x86_cpu *cpu, uint64_t components)
{
	uint64_t disabled = components & cpu->state.xfd;

	if (likely(!disabled))
		return;
	cpu->state.xfd_err |= disabled;
	x86_raise(cpu, X86_NM);
}

static void begin(struct x86_cpu *cpu)
{
	x86_vec_load(cpu);
	cpu->hostexec->live |= VEC_AMX;
}

static void begin_data(struct x86_cpu *cpu, const struct insn *insn)
{
	host_check(cpu, insn->stub);
	host_check_xfd(cpu, VEC_BIT(VEC_TILEDATA));
	begin(cpu);
}

void host_tiles_settle(struct x86_cpu *cpu)
{
	begin(cpu);
	x86_vec_park(cpu);
}

/* ---- without rows in memory ---- */

void host_run_tile(struct x86_cpu *cpu, const struct insn *insn)
{
	begin_data(cpu, insn);
	host_call(cpu, insn, NULL);
}

void host_run_tile_config(struct x86_cpu *cpu, const struct insn *insn)
{
	host_check(cpu, insn->stub);
	begin(cpu);
	if (insn->mnemonic == ZYDIS_MNEMONIC_TILERELEASE)
		host_call(cpu, insn, NULL);
	else if (insn->mnemonic == ZYDIS_MNEMONIC_LDTILECFG)
		host_run_load(cpu, insn);
	else
		host_run_store(cpu, insn);
}

/* ---- rows ---- */

/* The tile that ModRM.reg names. */
static unsigned tile_number(const struct insn *insn)
{
	return insn->modrm_reg & 7;
}

/* Of this tile: #UD if it has none. */
static struct rows find_rows(struct x86_cpu *cpu, const struct insn *insn)
{
	uint8_t *config = cpu->hostexec->bounce;
	unsigned tile = tile_number(insn);
	struct rows rows;

	__asm__ volatile(".byte 0xc4, 0xe2, 0x79, 0x49, 0x00" /* sttilecfg (%rax) */
			 :
			 : "a"(config)
			 : "memory");
	rows.start = config[CFG_START_ROW];
	rows.count = config[CFG_ROWS + tile];
	rows.bytes = *(const uint16_t *)(config + CFG_ROW_BYTES + 2 * tile);
	if (!config[CFG_PALETTE] || !rows.count || !rows.bytes || rows.bytes % 4)
		x86_undefined(cpu);
	return rows;
}

/* Base and displacement, and the index as often as there are rows before. */
static uint64_t row_offset(struct x86_cpu *cpu, const struct insn *insn, unsigned row)
{
	uint64_t stride = INSN_GPR64(cpu, insn->index) << insn->scale;
	uint64_t offset = INSN_GPR64(cpu, insn->base) + (uint64_t)insn->disp + row * stride;

	return insn->addrsize == 4 ? (uint32_t)offset : offset;
}

/* Not checked yet. Tiles are for 64-bit mode only. */
static uint64_t row_linear(struct x86_cpu *cpu, const struct insn *insn, unsigned row)
{
	uint64_t base = insn->flags & INSN_SEG_FLAT ? 0 : cpu->state.seg[insn->seg].base;

	return base + row_offset(cpu, insn, row);
}

/* Raises what the segment has against it. */
static void check_row(struct x86_cpu *cpu, const struct insn *insn, unsigned row, unsigned bytes,
		      enum x86_access access)
{
	if (!(insn->flags & INSN_SEG_FLAT))
		x86_linear(cpu, insn->seg, row_offset(cpu, insn, row), bytes, access);
}

static void set_start_row(struct x86_cpu *cpu, unsigned row)
{
	const uint32_t *offset = cpu->hostexec->offset;

	x86_vec_park(cpu);
	vec_materialise(cpu, VEC_BIT(VEC_TILECFG));
	cpu->state.xsave[offset[VEC_TILECFG] + CFG_START_ROW] = (uint8_t)row;
}

/* Before a row that may fault: the rows that were read already stay, the others are gone. */
static void keep_rows(struct x86_cpu *cpu, unsigned tile, const struct rows *rows, unsigned end)
{
	uint8_t *image;

	set_start_row(cpu, end);
	vec_materialise(cpu, VEC_BIT(VEC_TILEDATA));
	image = cpu->state.xsave + cpu->hostexec->offset[VEC_TILEDATA] + tile * HOST_TILE_BYTES;
	for (unsigned row = rows->start; row < end; row++) {
		memcpy(image + row * HOST_TILE_STRIDE,
		       cpu->hostexec->tile + row * HOST_TILE_STRIDE, rows->bytes);
		memset(image + row * HOST_TILE_STRIDE + rows->bytes, 0,
		       HOST_TILE_STRIDE - rows->bytes);
	}
	if (end < HOST_TILE_BYTES / HOST_TILE_STRIDE)
		memset(image + end * HOST_TILE_STRIDE, 0, HOST_TILE_BYTES - end * HOST_TILE_STRIDE);
}

void host_run_tile_load(struct x86_cpu *cpu, const struct insn *insn)
{
	uint8_t *tile = cpu->hostexec->tile;
	struct rows rows;

	begin_data(cpu, insn);
	rows = find_rows(cpu, insn);
	for (unsigned row = rows.start; row < rows.count; row++) {
		uint64_t linear = row_linear(cpu, insn, row);
		const struct x86_tlb_entry *e = x86_tlb_at(cpu, linear);
		uint8_t *to = tile + row * HOST_TILE_STRIDE;

		if (likely(x86_tag_covers(e->read_tag, linear, rows.bytes))) {
			memcpy(to, (const void *)(linear + e->addend), rows.bytes);
			continue;
		}
		keep_rows(cpu, tile_number(insn), &rows, row);
		check_row(cpu, insn, row, rows.bytes, X86_READ);
		x86_load_bytes(cpu, linear, to, rows.bytes);
	}
	host_call(cpu, insn, tile);
}

void host_run_tile_store(struct x86_cpu *cpu, const struct insn *insn)
{
	const uint8_t *tile = cpu->hostexec->tile;
	unsigned start_row = 0; /* the host has done the instruction */
	struct rows rows;

	begin_data(cpu, insn);
	rows = find_rows(cpu, insn);
	host_call(cpu, insn, cpu->hostexec->tile);
	for (unsigned row = rows.start; row < rows.count; row++) {
		uint64_t linear = row_linear(cpu, insn, row);
		const struct x86_tlb_entry *e = x86_tlb_at(cpu, linear);
		const uint8_t *from = tile + row * HOST_TILE_STRIDE;

		if (likely(x86_tag_covers(e->write_tag, linear, rows.bytes))) {
			memcpy((void *)(linear + e->addend), from, rows.bytes);
			continue;
		}
		start_row = row;
		if (row)
			set_start_row(cpu, row);
		check_row(cpu, insn, row, rows.bytes, X86_WRITE);
		x86_store_bytes(cpu, linear, from, rows.bytes);
	}
	if (start_row)
		set_start_row(cpu, 0);
}
