/* SPDX-License-Identifier: MIT */
/* Snapshots of the CPU's state: see lockstep_state.h. */
#include "isa/x86/mirror/lockstep_state.h"

#include "isa/x86/vector/hostexec.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/vector/vec.h"

struct field {
	const char *name;
	uint16_t offset, size;
};

#define FIELD(member) { #member, offsetof(struct x86_state, member),                               \
			sizeof(((struct x86_state *)0)->member) }
#define SEGMENT(name) FIELD(name.base), FIELD(name.limit), FIELD(name.attr), FIELD(name.selector)
#define NAMED(name, member) { name, offsetof(struct x86_state, member),                            \
			      sizeof(((struct x86_state *)0)->member) }

/* All that is architectural state; what is between the fields is padding. */
static const struct field fields[] = {
	NAMED("rax", gpr[0]), NAMED("rcx", gpr[1]), NAMED("rdx", gpr[2]), NAMED("rbx", gpr[3]),
	NAMED("rsp", gpr[4]), NAMED("rbp", gpr[5]), NAMED("rsi", gpr[6]), NAMED("rdi", gpr[7]),
	NAMED("r8", gpr[8]), NAMED("r9", gpr[9]), NAMED("r10", gpr[10]), NAMED("r11", gpr[11]),
	NAMED("r12", gpr[12]), NAMED("r13", gpr[13]), NAMED("r14", gpr[14]), NAMED("r15", gpr[15]),
	FIELD(rip), SEGMENT(seg[0]), SEGMENT(seg[1]), SEGMENT(seg[2]), SEGMENT(seg[3]),
	SEGMENT(seg[4]), SEGMENT(seg[5]), SEGMENT(ldtr), SEGMENT(tr),
	FIELD(gdtr.base), FIELD(gdtr.limit), FIELD(idtr.base), FIELD(idtr.limit),
	FIELD(cr0), FIELD(cr2), FIELD(cr3), FIELD(cr4), FIELD(cr8), FIELD(pdpte), FIELD(dr),
	FIELD(dr6), FIELD(dr7), FIELD(efer), FIELD(star), FIELD(lstar), FIELD(cstar), FIELD(sfmask),
	FIELD(kernel_gs_base), FIELD(sysenter_cs), FIELD(sysenter_esp), FIELD(sysenter_eip),
	FIELD(pat), FIELD(tsc_aux), FIELD(misc_enable), FIELD(spec_ctrl), FIELD(xss),
	FIELD(mtrr_def_type), FIELD(mtrr_fixed), FIELD(mtrr_phys_base), FIELD(mtrr_phys_mask),
	FIELD(mcg_status), FIELD(mc_ctl), FIELD(tsc_offset), FIELD(tsc_adjust), FIELD(xcr0),
	FIELD(pkru), FIELD(smbase), FIELD(halted), FIELD(wait_for_sipi), FIELD(nmi_blocked),
	FIELD(nmi_pending), FIELD(shadow_sti), FIELD(shadow_mov_ss), FIELD(fpu_ip), FIELD(fpu_dp),
	FIELD(fpu_cs), FIELD(fpu_ds), FIELD(fpu_opcode),
};

#define FIELDS (sizeof(fields) / sizeof(fields[0]))

/* Pieces of the legacy region that hold state; the x87 pointers are struct x86_state's. */
struct piece {
	const char *name;
	uint16_t offset, size;
	uint8_t component;
};

static const struct piece pieces[] = {
	{ "x87 control, status, tags", VEC_FCW, 5, VEC_X87 },
	{ "mm0/st", VEC_ST + 0, 10, VEC_X87 },   { "mm1/st", VEC_ST + 16, 10, VEC_X87 },
	{ "mm2/st", VEC_ST + 32, 10, VEC_X87 },  { "mm3/st", VEC_ST + 48, 10, VEC_X87 },
	{ "mm4/st", VEC_ST + 64, 10, VEC_X87 },  { "mm5/st", VEC_ST + 80, 10, VEC_X87 },
	{ "mm6/st", VEC_ST + 96, 10, VEC_X87 },  { "mm7/st", VEC_ST + 112, 10, VEC_X87 },
	{ "xmm", VEC_XMM, 256, VEC_SSE },
};

#define PIECES (sizeof(pieces) / sizeof(pieces[0]))

static unsigned vec_bytes(const struct hostexec *he)
{
	unsigned bytes = VEC_HEADER_END;

	for (unsigned i = VEC_AVX; i < HOST_COMPONENTS; i++)
		if (he->components & VEC_BIT(i) && he->offset[i] + he->size[i] > bytes)
			bytes = he->offset[i] + he->size[i];
	return bytes;
}

void snapshot_take(struct x86_cpu *cpu, struct snapshot *snapshot)
{
	x86_vec_park(cpu);
	__builtin_memcpy(snapshot->head, &cpu->state, SNAPSHOT_HEAD);
	__builtin_memcpy(snapshot->vec, cpu->state.xsave, vec_bytes(cpu->hostexec));
	snapshot->instructions = cpu->instructions;
	snapshot->single_step = cpu->single_step;
	snapshot->fault = cpu->fault;
	snapshot->fault_address = cpu->fault_address;
}

void snapshot_restore(struct x86_cpu *cpu, const struct snapshot *snapshot)
{
	bool stop = cpu->block_stop;

	x86_vec_park(cpu);
	__builtin_memcpy(&cpu->state, snapshot->head, SNAPSHOT_HEAD);
	__builtin_memcpy(cpu->state.xsave, snapshot->vec, vec_bytes(cpu->hostexec));
	cpu->instructions = snapshot->instructions;
	cpu->single_step = snapshot->single_step;
	cpu->debug_hits = 0;
	cpu->insn = NULL;
	x86_update_mode(cpu);
	cpu->block_stop = stop;
}

/* ---- comparing ---- */

static bool same_bytes(const void *a, const void *b, unsigned size)
{
	const uint8_t *p = a, *q = b;
	unsigned i = 0;

	for (; i + 8 <= size; i += 8)
		if (*(const uint64_t *)(p + i) != *(const uint64_t *)(q + i))
			return false;
	for (; i < size; i++)
		if (p[i] != q[i])
			return false;
	return true;
}

static bool same_field(const struct snapshot *a, const struct snapshot *b,
		       const struct field *field)
{
	return same_bytes(a->head + field->offset, b->head + field->offset, field->size);
}

static uint64_t differing_flags(const struct snapshot *a, const struct snapshot *b,
				uint64_t ignored)
{
	return (snapshot_state(a)->rflags ^ snapshot_state(b)->rflags) & ~ignored;
}

static bool same_fault(const struct snapshot *a, const struct snapshot *b)
{
	if (a->end != b->end)
		return false;
	if (a->end != RUN_FAULTED)
		return true;
	return a->fault.vector == b->fault.vector && a->fault.has_error == b->fault.has_error &&
	       a->fault.is_trap == b->fault.is_trap &&
	       (!a->fault.has_error || a->fault.error == b->fault.error) &&
	       (a->fault.vector != X86_PF_FAULT || a->fault_address == b->fault_address);
}

static bool present(const struct snapshot *snapshot, unsigned component)
{
	return vec_get64(snapshot->vec, VEC_XSTATE_BV) & VEC_BIT(component);
}

/* A component without bytes in the image is zero, but for the x87 control word. */
static uint8_t vec_byte(const struct snapshot *snapshot, unsigned component, unsigned at)
{
	static const uint8_t fcw[] = { VEC_FCW_DEFAULT & 0xff, VEC_FCW_DEFAULT >> 8 };

	if (present(snapshot, component))
		return snapshot->vec[at];
	return at < sizeof(fcw) ? fcw[at] : 0;
}

static bool same_vec(const struct snapshot *a, const struct snapshot *b, unsigned component,
		     unsigned offset, unsigned size)
{
	if (!present(a, component) && !present(b, component))
		return true;
	if (present(a, component) && present(b, component))
		return same_bytes(a->vec + offset, b->vec + offset, size);
	for (unsigned i = 0; i < size; i++)
		if (vec_byte(a, component, offset + i) != vec_byte(b, component, offset + i))
			return false;
	return true;
}

static bool same_mxcsr(const struct snapshot *a, const struct snapshot *b)
{
	return vec_get32(a->vec, VEC_MXCSR) == vec_get32(b->vec, VEC_MXCSR);
}

bool snapshot_same_gprs(const struct snapshot *snapshot, const struct x86_cpu *cpu)
{
	const struct x86_state *state = snapshot_state(snapshot);

	for (unsigned i = 0; i < X86_GPRS; i++)
		if (state->gpr[i] != cpu->state.gpr[i])
			return false;
	return true;
}

bool snapshot_same(const struct x86_cpu *cpu, const struct snapshot *a, const struct snapshot *b,
		   uint64_t ignored)
{
	const struct hostexec *he = cpu->hostexec;

	for (unsigned i = 0; i < FIELDS; i++)
		if (!same_field(a, b, &fields[i]))
			return false;
	for (unsigned i = 0; i < PIECES; i++)
		if (!same_vec(a, b, pieces[i].component, pieces[i].offset, pieces[i].size))
			return false;
	for (unsigned i = VEC_AVX; i < HOST_COMPONENTS; i++)
		if ((he->components & VEC_BIT(i)) && !same_vec(a, b, i, he->offset[i], he->size[i]))
			return false;
	return !differing_flags(a, b, ignored) && same_mxcsr(a, b) && same_fault(a, b) &&
	       a->single_step == b->single_step;
}

/* ---- telling ---- */

static void tell_hex(FILE *out, const uint8_t *bytes, unsigned size)
{
	while (size--)
		fprintf(out, "%02x", bytes[size]);
}

static void tell_field(FILE *out, const struct snapshot *t, const struct snapshot *i,
		       const struct field *field)
{
	fprintf(out, "  %-14s translated ", field->name);
	tell_hex(out, t->head + field->offset, field->size);
	fprintf(out, "  interpreted ");
	tell_hex(out, i->head + field->offset, field->size);
	fprintf(out, "\n");
}

/* Vector state in the units of registers: 16 bytes, the opmasks 8. */
static void tell_vec(FILE *out, const struct snapshot *t, const struct snapshot *i,
		     const char *name, unsigned component, unsigned offset, unsigned size)
{
	unsigned unit = component == VEC_OPMASK ? 8 : size < 16 ? size : 16;

	for (unsigned at = 0; at < size; at += unit) {
		if (same_vec(t, i, component, offset + at, unit))
			continue;
		fprintf(out, "  %s, component %u, byte %u: translated ", name, component, at);
		for (unsigned k = unit; k-- > 0;)
			fprintf(out, "%02x", vec_byte(t, component, offset + at + k));
		fprintf(out, "  interpreted ");
		for (unsigned k = unit; k-- > 0;)
			fprintf(out, "%02x", vec_byte(i, component, offset + at + k));
		fprintf(out, "\n");
	}
}

static void tell_end(FILE *out, const char *who, const struct snapshot *s)
{
	static const char *const ends[] = {
		[RUN_LEFT] = "goes on", [RUN_FAULTED] = "faults",
		[RUN_OUTSIDE] = "comes to an instruction that touches the outside",
	};

	fprintf(out, "  %s: %s at %lx", who, ends[s->end], snapshot_state(s)->rip);
	if (s->end == RUN_FAULTED)
		fprintf(out, ", vector %u, error code %x, address %lx", s->fault.vector,
			s->fault.error, s->fault_address);
	fprintf(out, "\n");
}

void snapshot_tell(FILE *out, const struct x86_cpu *cpu, const struct snapshot *t,
		   const struct snapshot *i, uint64_t ignored)
{
	const struct hostexec *he = cpu->hostexec;
	uint64_t flags = differing_flags(t, i, ignored);

	tell_end(out, "translated ", t);
	tell_end(out, "interpreted", i);
	for (unsigned k = 0; k < FIELDS; k++)
		if (!same_field(t, i, &fields[k]))
			tell_field(out, t, i, &fields[k]);
	if (flags)
		fprintf(out, "  rflags         translated %lx  interpreted %lx  differ in %lx\n",
			snapshot_state(t)->rflags, snapshot_state(i)->rflags, flags);
	if (!same_mxcsr(t, i))
		fprintf(out, "  mxcsr          translated %x  interpreted %x\n",
			vec_get32(t->vec, VEC_MXCSR), vec_get32(i->vec, VEC_MXCSR));
	if (t->single_step != i->single_step)
		fprintf(out, "  single step    translated %d  interpreted %d\n", t->single_step,
			i->single_step);
	for (unsigned k = 0; k < PIECES; k++)
		tell_vec(out, t, i, pieces[k].name, pieces[k].component, pieces[k].offset,
			 pieces[k].size);
	for (unsigned k = VEC_AVX; k < HOST_COMPONENTS; k++)
		if (he->components & VEC_BIT(k))
			tell_vec(out, t, i, "vector state", k, he->offset[k], he->size[k]);
}
