/* SPDX-License-Identifier: MIT */
/*
 * Port I/O. A device may change anything (lines, resets, requests to stop), so that every access
 * ends its block. String forms do one element after the other: each checks its memory before the port is
 * touched, because a port read cannot be taken back. Intel SDM vol. 1, chapter 19; vol. 2.
 */
#include "dev/bus.h"
#include "isa/x86/memory/access.h"
#include "isa/x86/system/debug.h"
#include "isa/x86/memory/segment.h"
#include "isa/x86/system/system.h"

#define TSS_IO_BASE 102u /* offset of the I/O bitmap's offset, in 32- and 64-bit TSSs */

/* #GP unless the current TSS' bitmap lets the program use the ports. */
static void check_bitmap(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
	const struct x86_seg *tr = &cpu->state.tr;
	unsigned type = tr->attr & X86_SEG_TYPE;
	uint32_t offset;
	uint64_t bits;

	if (tr->attr & X86_SEG_UNUSABLE || (type != X86_TYPE_TSS && type != X86_TYPE_TSS_BUSY) ||
	    tr->limit < TSS_IO_BASE + 1)
		x86_general_protection(cpu);
	offset = (uint32_t)x86_load_system(cpu, tr->base + TSS_IO_BASE, 2) + port / 8;
	/* Two bytes are always read, since the ports may straddle them. */
	if (offset + 1 > tr->limit)
		x86_general_protection(cpu);
	bits = x86_load_system(cpu, tr->base + offset, 2);
	if (bits >> port % 8 & ((1u << size) - 1))
		x86_general_protection(cpu);
}

static void check_port(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
	unsigned iopl = (cpu->state.rflags & X86_IOPL) >> 12;

	if (cpu->state.cr0 & X86_CR0_PE && (cpu->v86 || cpu->cpl > iopl))
		check_bitmap(cpu, port, size);
}

static uint64_t port_read(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
	cpu->debug_hits |= x86_debug_io_hits(cpu, port, size);
	x86_vec_park(cpu);
	return bus_read(cpu->cpu.env.pio, port, size, (int)cpu->cpu.index);
}

static void port_write(struct x86_cpu *cpu, uint16_t port, unsigned size, uint64_t value)
{
	cpu->debug_hits |= x86_debug_io_hits(cpu, port, size);
	x86_vec_park(cpu);
	bus_write(cpu->cpu.env.pio, port, size, value, (int)cpu->cpu.index);
}

static void in(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
	check_port(cpu, port, size);
	insn_write_reg(cpu, offsetof(struct x86_cpu, state.gpr[X86_RAX]), size,
		       port_read(cpu, port, size));
	cpu->block_stop = true;
}

static void out(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
	check_port(cpu, port, size);
	port_write(cpu, port, size,
		   insn_read_reg(cpu, offsetof(struct x86_cpu, state.gpr[X86_RAX]), size));
	cpu->block_stop = true;
}

void x86_in_imm(struct x86_cpu *cpu, const struct insn *insn)
{
	in(cpu, (uint8_t)insn->imm, insn->opsize);
}

void x86_in_dx(struct x86_cpu *cpu, const struct insn *insn)
{
	in(cpu, (uint16_t)cpu->state.gpr[X86_RDX], insn->opsize);
}

void x86_out_imm(struct x86_cpu *cpu, const struct insn *insn)
{
	out(cpu, (uint8_t)insn->imm, insn->opsize);
}

void x86_out_dx(struct x86_cpu *cpu, const struct insn *insn)
{
	out(cpu, (uint16_t)cpu->state.gpr[X86_RDX], insn->opsize);
}

/* ---- INS and OUTS ---- */

static uint64_t read_index(const struct x86_cpu *cpu, enum x86_gpr reg, unsigned addrsize)
{
	return insn_read_reg(cpu, (uint16_t)offsetof(struct x86_cpu, state.gpr[reg]), addrsize);
}

static void add_index(struct x86_cpu *cpu, enum x86_gpr reg, unsigned addrsize, int64_t delta)
{
	uint16_t offset = (uint16_t)offsetof(struct x86_cpu, state.gpr[reg]);

	insn_write_reg(cpu, offset, addrsize,
		       insn_read_reg(cpu, offset, addrsize) + (uint64_t)delta);
}

static int64_t step(const struct x86_cpu *cpu, const struct insn *insn)
{
	return cpu->state.rflags & X86_DF ? -(int64_t)insn->opsize : insn->opsize;
}

static void ins_once(struct x86_cpu *cpu, const struct insn *insn, uint16_t port)
{
	uint64_t offset = read_index(cpu, X86_RDI, insn->addrsize);
	uint64_t linear = x86_linear(cpu, X86_ES, offset, insn->opsize, X86_WRITE);

	x86_probe(cpu, linear, insn->opsize, X86_WRITE);
	x86_store(cpu, linear, insn->opsize, port_read(cpu, port, insn->opsize));
	add_index(cpu, X86_RDI, insn->addrsize, step(cpu, insn));
}

static void outs_once(struct x86_cpu *cpu, const struct insn *insn, uint16_t port)
{
	uint64_t offset = read_index(cpu, X86_RSI, insn->addrsize);
	uint64_t linear = x86_linear(cpu, insn->seg, offset, insn->opsize, X86_READ);

	port_write(cpu, port, insn->opsize, x86_load(cpu, linear, insn->opsize));
	add_index(cpu, X86_RSI, insn->addrsize, step(cpu, insn));
}

/*
 * Between elements the instruction can be left, with rip back at it and the registers saying how
 * far it came: for a fault, a request, a debug trap, or when it moved the ground it stands on.
 */
static void repeat(struct x86_cpu *cpu, const struct insn *insn,
		   void (*once)(struct x86_cpu *, const struct insn *, uint16_t))
{
	uint16_t port = (uint16_t)cpu->state.gpr[X86_RDX];

	check_port(cpu, port, insn->opsize);
	cpu->block_stop = false;
	while (read_index(cpu, X86_RCX, insn->addrsize)) {
		once(cpu, insn, port);
		add_index(cpu, X86_RCX, insn->addrsize, -1);
		if (!atomic_load_explicit(&cpu->cpu.requests, memory_order_relaxed) &&
		    !cpu->block_stop && !cpu->single_step && !cpu->debug_hits)
			continue;
		if (read_index(cpu, X86_RCX, insn->addrsize))
			cpu->state.rip -= insn->length;
		break;
	}
	cpu->block_stop = true;
}

static void string_io(struct x86_cpu *cpu, const struct insn *insn,
		      void (*once)(struct x86_cpu *, const struct insn *, uint16_t))
{
	uint16_t port = (uint16_t)cpu->state.gpr[X86_RDX];

	if (insn->rep != INSN_REP_NONE) {
		repeat(cpu, insn, once);
		return;
	}
	check_port(cpu, port, insn->opsize);
	once(cpu, insn, port);
	cpu->block_stop = true;
}

void x86_ins(struct x86_cpu *cpu, const struct insn *insn)
{
	string_io(cpu, insn, ins_once);
}

void x86_outs(struct x86_cpu *cpu, const struct insn *insn)
{
	string_io(cpu, insn, outs_once);
}
