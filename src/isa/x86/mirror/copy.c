/* SPDX-License-Identifier: MIT */
/*
 * Instructions that are themselves on the host: same opcode, other register numbers, the memory operand
 * behind a checked address. Registers that live in memory are fetched into a scratch before and
 * stored after.
 */
#include "isa/x86/vector/hostexec.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/mirror/recode.h"
#include "isa/x86/mirror/translate.h"

/* A guest register that one instruction has in another place than where it lives. */
struct borrowed {
	unsigned gpr;
	uint8_t host; /* H_RCX or H_SCRATCH */
	bool load, store;
};

struct copy {
	const ZydisDecodedOperand *memory;
	struct mirror_address address; /* of memory */
	unsigned memory_bytes;
	bool memory_write;
	bool direct; /* memory is addressed with the guest's register; RCX is free, R11 is not */
	bool host;   /* hostexec knows it: its other registers are vector registers */
	bool faults; /* may raise an exception on the host */
	bool x87_noted;
	bool mapped; /* memory/hostmap.h */
	bool count_in_cl;
	uint8_t host_of[X86_GPRS];
	unsigned borrowings;
	struct borrowed borrowed[2];
};

/* The general-purpose instructions that are themselves. */
static bool is_copyable(const struct emit *e)
{
	switch (e->info.z.mnemonic) {
	case ZYDIS_MNEMONIC_ADD: case ZYDIS_MNEMONIC_OR: case ZYDIS_MNEMONIC_ADC:
	case ZYDIS_MNEMONIC_SBB: case ZYDIS_MNEMONIC_AND: case ZYDIS_MNEMONIC_SUB:
	case ZYDIS_MNEMONIC_XOR: case ZYDIS_MNEMONIC_CMP: case ZYDIS_MNEMONIC_TEST:
	case ZYDIS_MNEMONIC_INC: case ZYDIS_MNEMONIC_DEC: case ZYDIS_MNEMONIC_NEG:
	case ZYDIS_MNEMONIC_NOT: case ZYDIS_MNEMONIC_MOVZX: case ZYDIS_MNEMONIC_MOVSX:
	case ZYDIS_MNEMONIC_MOVSXD: case ZYDIS_MNEMONIC_XCHG: case ZYDIS_MNEMONIC_XADD:
	case ZYDIS_MNEMONIC_CMPXCHG: case ZYDIS_MNEMONIC_SHL: case ZYDIS_MNEMONIC_SHR:
	case ZYDIS_MNEMONIC_SAR: case ZYDIS_MNEMONIC_ROL: case ZYDIS_MNEMONIC_ROR:
	case ZYDIS_MNEMONIC_RCL: case ZYDIS_MNEMONIC_RCR: case ZYDIS_MNEMONIC_SHLD:
	case ZYDIS_MNEMONIC_SHRD: case ZYDIS_MNEMONIC_MUL: case ZYDIS_MNEMONIC_IMUL:
	case ZYDIS_MNEMONIC_CBW: case ZYDIS_MNEMONIC_CWDE: case ZYDIS_MNEMONIC_CDQE:
	case ZYDIS_MNEMONIC_CWD: case ZYDIS_MNEMONIC_CDQ: case ZYDIS_MNEMONIC_CQO:
	case ZYDIS_MNEMONIC_BSF: case ZYDIS_MNEMONIC_BSR: case ZYDIS_MNEMONIC_POPCNT:
	case ZYDIS_MNEMONIC_LZCNT: case ZYDIS_MNEMONIC_TZCNT: case ZYDIS_MNEMONIC_BSWAP:
	case ZYDIS_MNEMONIC_MOVBE: case ZYDIS_MNEMONIC_CRC32: case ZYDIS_MNEMONIC_ADCX:
	case ZYDIS_MNEMONIC_ADOX: case ZYDIS_MNEMONIC_ANDN: case ZYDIS_MNEMONIC_BEXTR:
	case ZYDIS_MNEMONIC_BLSI: case ZYDIS_MNEMONIC_BLSMSK: case ZYDIS_MNEMONIC_BLSR:
	case ZYDIS_MNEMONIC_BZHI: case ZYDIS_MNEMONIC_PDEP: case ZYDIS_MNEMONIC_PEXT:
	case ZYDIS_MNEMONIC_RORX: case ZYDIS_MNEMONIC_SARX: case ZYDIS_MNEMONIC_SHLX:
	case ZYDIS_MNEMONIC_SHRX: case ZYDIS_MNEMONIC_MULX:
	case ZYDIS_MNEMONIC_CLC: case ZYDIS_MNEMONIC_STC: case ZYDIS_MNEMONIC_CMC:
	case ZYDIS_MNEMONIC_LAHF: case ZYDIS_MNEMONIC_SAHF: case ZYDIS_MNEMONIC_MOVNTI:
	case ZYDIS_MNEMONIC_DIV: case ZYDIS_MNEMONIC_IDIV:
		return true;
	case ZYDIS_MNEMONIC_MOV: /* of moffs has no ModRM */
		return !(e->insn->flags & INSN_MEM) ||
		       (e->info.z.attributes & ZYDIS_ATTRIB_HAS_MODRM);
	case ZYDIS_MNEMONIC_BT: case ZYDIS_MNEMONIC_BTS: case ZYDIS_MNEMONIC_BTR:
	case ZYDIS_MNEMONIC_BTC: /* a register offset reaches beyond the operand */
		return !(e->insn->flags & INSN_MEM) ||
		       e->info.op[1].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
	default:
		return e->info.z.meta.category == ZYDIS_CATEGORY_CMOV ||
		       e->info.z.meta.category == ZYDIS_CATEGORY_SETCC;
	}
}

/* The block's key says that vector instructions are allowed. */
static bool vector_copyable(const struct emit *e, struct copy *copy)
{
	const struct host_stub *stub = e->insn->stub;

	if (!mirror_uses_vector(e, e->insn) || !mirror_vector_simple(e))
		return false;
	copy->host = true;
	/* x87_live: no x87 error can come. */
	copy->faults = stub->flags & HOST_VEC && !(stub->flags & HOST_X87);
	copy->x87_noted = stub->flags & HOST_X87_POINTERS;
	copy->memory_bytes = stub->memory_bytes;
	return true;
}

/* Puts the free scratch registers into scratches and says how many there are. */
static unsigned free_scratches(const struct copy *copy, uint8_t scratches[2])
{
	unsigned count = 0;

	if (!copy->direct)
		scratches[count++] = H_SCRATCH;
	if (!copy->count_in_cl && (!copy->memory || copy->direct))
		scratches[count++] = H_RCX;
	return count;
}

/* CH has no name where RCX lives. */
static bool uses_ch(const struct emit *e)
{
	for (unsigned i = 0; i < e->info.z.operand_count; i++)
		if (e->info.op[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    e->info.op[i].reg.value == ZYDIS_REGISTER_CH)
			return true;
	return false;
}

static struct borrowed *find_borrowed(struct copy *copy, unsigned gpr)
{
	for (unsigned i = 0; i < copy->borrowings; i++)
		if (copy->borrowed[i].gpr == gpr)
			return &copy->borrowed[i];
	return NULL;
}

static bool choose_registers(const struct emit *e, struct copy *copy)
{
	bool ch = uses_ch(e);
	uint8_t scratches[2];
	unsigned available = free_scratches(copy, scratches);

	copy->borrowings = 0;
	if (ch && (!available || scratches[available - 1] != H_RCX))
		return false;
	for (unsigned gpr = 0; gpr < X86_GPRS; gpr++)
		copy->host_of[gpr] = mirror_reg(gpr);
	for (unsigned i = 0; i < e->info.z.operand_count; i++) {
		const ZydisDecodedOperand *op = &e->info.op[i];
		struct borrowed *b;
		bool high;
		int gpr;

		if (op->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		gpr = mirror_gpr(op->reg.value, &high);
		if (gpr < 0) {
			/* Segment, control and debug registers are nobody's to copy. */
			if (!copy->host && op->visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN)
				return false;
			continue;
		}
		if (op->encoding == ZYDIS_OPERAND_ENCODING_NONE &&
		    mirror_reg((unsigned)gpr) != gpr && !copy->count_in_cl)
			return false;
		if (mirror_reg((unsigned)gpr) != H_MEMORY && !(ch && gpr == X86_RCX))
			continue;
		b = find_borrowed(copy, (unsigned)gpr);
		if (!b) {
			if (copy->borrowings == available)
				return false;
			b = &copy->borrowed[copy->borrowings];
			*b = (struct borrowed){ .gpr = (unsigned)gpr,
						.host = gpr == X86_RCX ? H_RCX :
							scratches[copy->borrowings] };
			copy->borrowings++;
			copy->host_of[gpr] = b->host;
		}
		/* Also what is only written may keep its upper part, or not be written at all. */
		b->load |= (op->actions & ZYDIS_OPERAND_ACTION_MASK_READ) || op->size < 32 ||
			   (op->actions & ZYDIS_OPERAND_ACTION_CONDWRITE) ||
			   e->info.z.mnemonic == ZYDIS_MNEMONIC_BSF ||
			   e->info.z.mnemonic == ZYDIS_MNEMONIC_BSR;
		b->store |= (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
	}
	return true;
}

static bool find_memory(const struct emit *e, struct copy *copy)
{
	for (unsigned i = 0; i < e->info.z.operand_count; i++) {
		const ZydisDecodedOperand *op = &e->info.op[i];

		if (op->type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    op->encoding == ZYDIS_OPERAND_ENCODING_NONE &&
		    op->reg.value == ZYDIS_REGISTER_CL)
			copy->count_in_cl = true;
		if (op->type != ZYDIS_OPERAND_TYPE_MEMORY)
			continue;
		if (op->encoding != ZYDIS_OPERAND_ENCODING_MODRM_RM || copy->memory ||
		    !mirror_operand_simple(e, op))
			return false;
		copy->memory = op;
		copy->memory_write = (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
		if (!copy->memory_bytes)
			copy->memory_bytes = op->size / 8;
	}
	if (copy->memory)
		copy->address = mirror_address_of(e, copy->memory);
	return !copy->memory || copy->memory_bytes;
}

/* Flags that the instruction itself needs come back by way of R11. */
static bool wants_flags(const struct emit *e)
{
	const struct flag_use *use = &e->use[e->insn->position];

	return use->reads || (use->writes && mirror_flags_through(e));
}

static bool is_locked(const struct emit *e)
{
	return e->insn->flags & INSN_LOCK || e->info.z.mnemonic == ZYDIS_MNEMONIC_XCHG;
}

static bool can_recode(const struct emit *e, const struct copy *copy)
{
	struct masm_place place = { .base = H_ADDRESS, .index = H_MEMORY };
	uint32_t size = e->m->size;
	bool encodable;

	if (copy->direct)
		place = (struct masm_place){ .base = mirror_reg((unsigned)copy->address.base),
					     .index = H_SCRATCH };
	encodable = mirror_recode(e->m, &e->info, e->insn->bytes, copy->host_of, &place);
	e->m->size = size;
	return encodable;
}

static bool choose_way(const struct emit *e, struct copy *copy)
{
	if (copy->mapped)
		copy->direct = mirror_mapped_direct(&copy->address);
	else
		copy->direct = copy->memory && mirror_address_direct(&copy->address) &&
			       !is_locked(e) && !wants_flags(e);
	if (copy->direct && choose_registers(e, copy) && can_recode(e, copy))
		return true;
	copy->direct = false;
	return !(copy->memory && copy->count_in_cl) && choose_registers(e, copy) &&
	       can_recode(e, copy);
}

static bool plan_copy(const struct emit *e, struct copy *copy)
{
	*copy = (struct copy){ .memory = NULL };
	if (!vector_copyable(e, copy) && !is_copyable(e))
		return false;
	if (!find_memory(e, copy))
		return false;
	copy->mapped = copy->memory && !copy->memory_write && !copy->host && !is_locked(e) &&
		       mirror_is_mapped(e, &copy->address, copy->memory_bytes);
	if (!choose_way(e, copy))
		return false;
	if (e->info.z.mnemonic == ZYDIS_MNEMONIC_DIV || e->info.z.mnemonic == ZYDIS_MNEMONIC_IDIV)
		copy->faults = true;
	return true;
}

static void bring(struct emit *e, const struct borrowed *b)
{
	if (mirror_reg(b->gpr) == H_MEMORY)
		masm_load(e->m, b->host, H_CPU, GPR_FIELD(b->gpr));
	else
		masm_mov(e->m, b->host, mirror_reg(b->gpr));
}

static void take_back(struct emit *e, const struct borrowed *b)
{
	if (mirror_reg(b->gpr) == H_MEMORY)
		masm_store(e->m, GPR_FIELD(b->gpr), H_CPU, b->host);
	else
		masm_mov(e->m, mirror_reg(b->gpr), b->host);
}

static void emit_planned(struct emit *e, const struct copy *copy)
{
	struct masm_place place = { .base = H_MEMORY };

	if (copy->mapped) {
		if (wants_flags(e))
			mirror_restore_flags(e);
		place = mirror_emit_mapped(e, &copy->address, copy->direct);
	} else if (copy->memory) {
		if (!copy->direct)
			mirror_spare_flags(e);
		else
			mirror_spare_flags_for(e, &copy->address, copy->memory_bytes,
					       copy->memory_write);
		if (copy->x87_noted)
			mirror_keep_x87_operand(e, &copy->address);
		place = mirror_emit_access(e, &copy->address, copy->memory_bytes,
					   copy->memory_write, copy->direct);
		if (is_locked(e))
			mirror_emit_lock_check(e, copy->memory_bytes);
	}
	if (wants_flags(e) && !copy->mapped)
		mirror_restore_flags(e);
	if (copy->count_in_cl)
		masm_mov(e->m, H_RCX, mirror_reg(X86_RCX));
	for (unsigned i = 0; i < copy->borrowings; i++)
		if (copy->borrowed[i].load)
			bring(e, &copy->borrowed[i]);
	if (copy->faults || copy->mapped)
		mirror_site_here(e);
	mirror_recode(e->m, &e->info, e->insn->bytes, copy->host_of, &place);
	for (unsigned i = 0; i < copy->borrowings; i++)
		if (copy->borrowed[i].store)
			take_back(e, &copy->borrowed[i]);
	if (copy->x87_noted)
		mirror_after_x87(e);
	if (e->use[e->insn->position].writes) {
		e->flags_in_host = true;
		e->flags_in_memory = false;
	}
}

bool mirror_emit_copy(struct emit *e)
{
	struct copy copy;

	if (!plan_copy(e, &copy))
		return false;
	emit_planned(e, &copy);
	return true;
}
