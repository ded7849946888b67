/* SPDX-License-Identifier: MIT */
/*
 * x87, MMX, SSE … AVX-512 and the like are not emulated: the host runs the instruction itself,
 * while its vector registers hold the guest's (x86.h, rule 1). So every result is the processor's
 * own.
 *
 *	hostexec.c   which instructions, and what each needs to be allowed
 *	hostcode.c   the guest's instruction as a piece of host code
 *	hoststub.c   a callable stub around it, cached
 *	hostrun.c    calls it, with the memory operand's host address
 *	hostmem.c, gather.c   memory operands of which only some elements are touched
 *	tile.c       AMX
 *	x87env.c, fxsave.c, xsave.c   images of the state in guest memory, made in software
 *	hostfault.c  exceptions that the host raises in a stub
 *	vec.c        the state at rest
 *
 * Only instructions on the list here run: no system call, nothing that touches what belongs to the
 * monitor (FS and GS base, PKRU).
 */
#include "isa/x86/vector/hostexec.h"

#include <cpuid.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "gen/emit.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/vector/vec.h"

#define STUB_LIMIT 32768u /* a power of two */
#define CODE_BYTES (STUB_LIMIT * 96u)
#define XSAVE_ALIGNED 2u /* CPUID.0DH.n:ECX */
#define MXCSR_MASK_DEFAULT 0xffbfu /* of processors that report zero */

/* What processors note of x87 instructions varies (Intel SDM vol. 1, 8.1.8): ours is this one's. */
static void detect_x87_pointers(struct hostexec *he)
{
	uint8_t image[VEC_LEGACY_BYTES] __attribute__((aligned(16))) = { 0 };
	uint64_t operand = 0;

	__asm__ volatile("fninit; fldl %1; fxsave64 %0; fninit" : "=m"(image) : "m"(operand));
	he->fdp_on_error = !vec_get64(image, VEC_FDP);
	he->fop_on_error = !(vec_get32(image, VEC_FOP) & 0x7ff);
	vec_put64(image, VEC_FIP, 1ull << 56);
	__asm__ volatile("fxrstor64 %0; fxsave64 %0; fninit" : "+m"(image));
	he->fip_bits = vec_get64(image, VEC_FIP) ? 57 : 48;
}

static bool detect_host(struct hostexec *he)
{
	uint8_t probe[VEC_LEGACY_BYTES] __attribute__((aligned(16))) = { 0 };
	uint32_t a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE))
		return false;
	__asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	he->components = a & (VEC_BIT(VEC_X87) | VEC_BIT(VEC_SSE) | VEC_BIT(VEC_AVX));
	if ((a & VEC_AVX512) == VEC_AVX512)
		he->components |= VEC_AVX512;
	he->live = he->components;
	if ((a & VEC_AMX) == VEC_AMX && host_tiles_granted())
		he->components |= VEC_AMX;
	for (unsigned i = VEC_AVX; i < HOST_COMPONENTS; i++) {
		__cpuid_count(0xd, i, he->size[i], he->offset[i], c, d);
		if (he->offset[i] + he->size[i] > X86_XSAVE_MAX)
			return false;
		if (c & XSAVE_ALIGNED)
			he->aligned |= VEC_BIT(i);
	}
	__cpuid_count(0xd, 1, a, b, c, d);
	he->has_xsaveopt = a & 1;
	he->has_xgetbv1 = a & 4;
	__asm__ volatile("fxsave64 %0" : "=m"(probe));
	he->mxcsr_mask = vec_get32(probe, VEC_MXCSR_MASK);
	if (!he->mxcsr_mask)
		he->mxcsr_mask = MXCSR_MASK_DEFAULT;
	detect_x87_pointers(he);
	vec_put16(he->clean, VEC_FCW, VEC_FCW_DEFAULT);
	vec_put32(he->clean, VEC_MXCSR, VEC_MXCSR_DEFAULT);
	return true;
}

int x86_hostexec_create(struct x86_cpu *cpu, struct error *err)
{
	static const uint8_t room[EMIT_MAX];
	struct hostexec *he = aligned_alloc(64, (sizeof(*he) + 63) & ~63ul);
	int ret;

	if (!he)
		return error_set(err, ENOMEM, "no memory for host execution");
	memset(he, 0, sizeof(*he));
	cpu->hostexec = he;
	he->stub_limit = STUB_LIMIT;
	he->buckets = calloc(he->stub_limit, sizeof(*he->buckets));
	he->pool = calloc(he->stub_limit, sizeof(*he->pool));
	if (!he->buckets || !he->pool) {
		ret = error_set(err, ENOMEM, "no memory for host execution's stubs");
		goto out;
	}
	if (!detect_host(he)) {
		ret = error_set(err, ENOTSUP, "this processor or its system has no XSAVE");
		goto out;
	}
	ret = codebuf_create(&he->code, CODE_BYTES, err);
	if (ret)
		goto out;
	he->transient_code = codebuf_add(&he->code, room, sizeof(room));
	ret = host_fault_install(err);
	if (!ret)
		return 0;
out:
	x86_hostexec_destroy(cpu);
	return ret;
}

void x86_hostexec_destroy(struct x86_cpu *cpu)
{
	struct hostexec *he = cpu->hostexec;

	if (!he)
		return;
	codebuf_destroy(&he->code);
	free(he->pool);
	free(he->buckets);
	free(he);
	cpu->hostexec = NULL;
}

/* ---- what an instruction is ---- */

static bool has_operand(const struct insn_info *info, ZydisRegisterClass class)
{
	for (unsigned i = 0; i < info->z.operand_count; i++) {
		if (info->op[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ZydisRegisterGetClass(info->op[i].reg.value) == class)
			return true;
	}
	return false;
}

static bool is_x87(const struct insn_info *info)
{
	return info->z.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
	       info->z.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT &&
	       ((info->z.opcode >= 0xd8 && info->z.opcode <= 0xdf) || info->z.opcode == 0x9b);
}

/* Instructions that leave the last instruction's and operand's address alone, or set it
 * themselves. */
static bool is_x87_control(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_FNCLEX: case ZYDIS_MNEMONIC_FLDCW: case ZYDIS_MNEMONIC_FNINIT:
	case ZYDIS_MNEMONIC_FNSTCW: case ZYDIS_MNEMONIC_FNSTSW: case ZYDIS_MNEMONIC_FNSTENV:
	case ZYDIS_MNEMONIC_FLDENV: case ZYDIS_MNEMONIC_FNSAVE: case ZYDIS_MNEMONIC_FRSTOR:
	case ZYDIS_MNEMONIC_FWAIT:
	/* The coprocessors' own, which nothing is left of. */
	case ZYDIS_MNEMONIC_FENI8087_NOP: case ZYDIS_MNEMONIC_FDISI8087_NOP:
	case ZYDIS_MNEMONIC_FSETPM287_NOP:
		return true;
	default:
		return false;
	}
}

/* Instructions that do not report an error that is pending. */
static bool is_x87_silent(ZydisMnemonic mnemonic)
{
	return is_x87_control(mnemonic) && mnemonic != ZYDIS_MNEMONIC_FLDCW &&
	       mnemonic != ZYDIS_MNEMONIC_FLDENV && mnemonic != ZYDIS_MNEMONIC_FRSTOR &&
	       mnemonic != ZYDIS_MNEMONIC_FWAIT;
}

static bool describe_x87(const struct insn_info *info, struct host_stub *stub)
{
	stub->flags |= HOST_VEC | HOST_X87;
	if (!is_x87_silent(info->z.mnemonic))
		stub->flags |= HOST_PENDING;
	if (info->z.opcode == 0x9b) {
		stub->cr0_forbid = X86_CR0_TS;
		stub->flags |= HOST_WAIT;
		return true;
	}
	stub->cr0_forbid = X86_CR0_TS | X86_CR0_EM;
	if (is_x87_control(info->z.mnemonic))
		return true;
	stub->flags |= HOST_X87_POINTERS | HOST_PRELOAD;
	stub->x87_opcode = (uint16_t)((info->z.opcode & 7) << 8 | info->z.raw.modrm.mod << 6 |
				      info->z.raw.modrm.reg << 3 | info->z.raw.modrm.rm);
	return true;
}

/* Members of vector instruction sets that use none of their state. */
static bool is_stateless(const struct insn_info *info)
{
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_CRC32: case ZYDIS_MNEMONIC_POPCNT: case ZYDIS_MNEMONIC_MOVNTI:
	case ZYDIS_MNEMONIC_LFENCE: case ZYDIS_MNEMONIC_MFENCE: case ZYDIS_MNEMONIC_SFENCE:
		return true;
	default:
		break;
	}
	switch (info->z.meta.isa_ext) {
	case ZYDIS_ISA_EXT_BASE: case ZYDIS_ISA_EXT_BMI1: case ZYDIS_ISA_EXT_BMI2:
	case ZYDIS_ISA_EXT_ADOX_ADCX: case ZYDIS_ISA_EXT_LZCNT: case ZYDIS_ISA_EXT_MOVBE:
	case ZYDIS_ISA_EXT_RDRAND: case ZYDIS_ISA_EXT_RDSEED: case ZYDIS_ISA_EXT_MOVDIR:
	case ZYDIS_ISA_EXT_SERIALIZE: case ZYDIS_ISA_EXT_CLFSH: case ZYDIS_ISA_EXT_CLFLUSHOPT:
	case ZYDIS_ISA_EXT_CLWB:
		return true;
	default:
		return info->z.meta.category == ZYDIS_CATEGORY_PREFETCH;
	}
}

/* MMX registers and nothing of SSE's: conversions use MXCSR, although it is no operand. */
static bool is_mmx_only(const struct insn_info *info)
{
	if (info->z.mnemonic == ZYDIS_MNEMONIC_EMMS)
		return true;
	return has_operand(info, ZYDIS_REGCLASS_MMX) &&
	       !has_operand(info, ZYDIS_REGCLASS_XMM) &&
	       info->z.meta.category != ZYDIS_CATEGORY_CONVERT;
}

static bool describe_legacy(const struct insn_info *info, struct host_stub *stub)
{
	if (is_stateless(info))
		return true;
	stub->flags |= HOST_VEC | HOST_EM_UNDEFINED;
	if (has_operand(info, ZYDIS_REGCLASS_MMX) || info->z.mnemonic == ZYDIS_MNEMONIC_EMMS)
		stub->flags |= HOST_PENDING | HOST_MMX;
	stub->cr0_forbid = X86_CR0_TS | X86_CR0_EM;
	stub->cr4_need = is_mmx_only(info) ? 0 : X86_CR4_OSFXSR;
	return true;
}

static bool is_tile(const struct insn_info *info)
{
	switch (info->z.meta.isa_ext) {
	case ZYDIS_ISA_EXT_AMX_BF16: case ZYDIS_ISA_EXT_AMX_INT8: case ZYDIS_ISA_EXT_AMX_TILE:
		return true;
	default:
		return false;
	}
}

static bool describe_vex(const struct insn_info *info, struct host_stub *stub)
{
	stub->flags |= HOST_PROTECTED_ONLY;
	if (is_tile(info)) {
		stub->flags |= HOST_VEC | HOST_UNALIGNED;
		stub->cr4_need = X86_CR4_OSXSAVE;
		stub->xcr0_need = VEC_AMX;
		return true;
	}
	if (is_stateless(info))
		return true;
	stub->flags |= HOST_VEC;
	stub->cr0_forbid = X86_CR0_TS;
	stub->cr4_need = X86_CR4_OSXSAVE;
	stub->xcr0_need = VEC_BIT(VEC_SSE) | VEC_BIT(VEC_AVX);
	if (info->z.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX ||
	    has_operand(info, ZYDIS_REGCLASS_MASK))
		stub->xcr0_need |= VEC_AVX512;
	return true;
}

/* Sets that are the host's to run. What is missing here is #UD, or another group's. */
static bool is_listed(const struct insn_info *info)
{
	if (is_tile(info))
		return true;
	switch (info->z.meta.isa_ext) {
	case ZYDIS_ISA_EXT_X87: case ZYDIS_ISA_EXT_MMX:
	case ZYDIS_ISA_EXT_SSE: case ZYDIS_ISA_EXT_SSE2: case ZYDIS_ISA_EXT_SSE3:
	case ZYDIS_ISA_EXT_SSSE3: case ZYDIS_ISA_EXT_SSE4: case ZYDIS_ISA_EXT_SSE4A:
	case ZYDIS_ISA_EXT_AES: case ZYDIS_ISA_EXT_PCLMULQDQ: case ZYDIS_ISA_EXT_SHA:
	case ZYDIS_ISA_EXT_GFNI: case ZYDIS_ISA_EXT_AVX: case ZYDIS_ISA_EXT_AVX2:
	case ZYDIS_ISA_EXT_AVX2GATHER: case ZYDIS_ISA_EXT_AVXAES: case ZYDIS_ISA_EXT_AVX_VNNI:
	case ZYDIS_ISA_EXT_AVX512EVEX: case ZYDIS_ISA_EXT_AVX512VEX: case ZYDIS_ISA_EXT_F16C:
	case ZYDIS_ISA_EXT_FMA: case ZYDIS_ISA_EXT_VAES: case ZYDIS_ISA_EXT_VPCLMULQDQ:
	case ZYDIS_ISA_EXT_BMI1: case ZYDIS_ISA_EXT_BMI2: case ZYDIS_ISA_EXT_ADOX_ADCX:
	case ZYDIS_ISA_EXT_LZCNT: case ZYDIS_ISA_EXT_MOVBE: case ZYDIS_ISA_EXT_RDRAND:
	case ZYDIS_ISA_EXT_RDSEED: case ZYDIS_ISA_EXT_MOVDIR: case ZYDIS_ISA_EXT_SERIALIZE:
	case ZYDIS_ISA_EXT_CLFSH: case ZYDIS_ISA_EXT_CLFLUSHOPT: case ZYDIS_ISA_EXT_CLWB:
	case ZYDIS_ISA_EXT_XSAVE: case ZYDIS_ISA_EXT_XSAVEC: case ZYDIS_ISA_EXT_XSAVEOPT:
		return true;
	case ZYDIS_ISA_EXT_BASE:
		/* Sets without a name of their own. */
		return info->z.meta.isa_set == ZYDIS_ISA_SET_POPCNT ||
		       info->z.meta.isa_set == ZYDIS_ISA_SET_PREFETCH_NOP;
	default:
		return false;
	}
}

static bool describe_class(const struct insn_info *info, struct host_stub *stub)
{
	if (is_x87(info))
		return describe_x87(info, stub);
	switch (info->z.encoding) {
	case ZYDIS_INSTRUCTION_ENCODING_LEGACY: return describe_legacy(info, stub);
	case ZYDIS_INSTRUCTION_ENCODING_VEX:
	case ZYDIS_INSTRUCTION_ENCODING_EVEX: return describe_vex(info, stub);
	default: return false;
	}
}

/* ---- the memory operand ---- */

static const ZydisDecodedOperand *find_memory(const struct insn_info *info)
{
	for (unsigned i = 0; i < info->z.operand_count; i++) {
		if (info->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY)
			return &info->op[i];
	}
	return NULL;
}

/* MASKMOVQ and MASKMOVDQU: DS:rDI, or another segment, which decoding leaves to us. */
static void imply_memory(const struct insn_info *info, const ZydisDecodedOperand *op,
			 struct insn *insn)
{
	static const uint8_t segments[] = { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS };
	unsigned segment = op->mem.segment - ZYDIS_REGISTER_ES;

	insn->base = (uint16_t)(offsetof(struct x86_cpu, state.gpr) + 8 * X86_RDI);
	insn->index = (uint16_t)offsetof(struct x86_cpu, zero);
	insn->disp = 0;
	insn->seg = segment < X86_SEGS ? segments[segment] : X86_DS;
	insn->flags &= (uint8_t)~INSN_SEG_FLAT;
	if (info->mode == X86_MODE_64 && insn->seg != X86_FS && insn->seg != X86_GS)
		insn->flags |= INSN_SEG_FLAT;
}

/* Elements in memory, and mask bits that they are spread over. */
static void broadcast_counts(ZydisBroadcastMode mode, struct host_elements *elements)
{
	static const uint8_t counts[][2] = {
		[ZYDIS_BROADCAST_MODE_1_TO_2] = { 1, 2 },
		[ZYDIS_BROADCAST_MODE_1_TO_4] = { 1, 4 },
		[ZYDIS_BROADCAST_MODE_1_TO_8] = { 1, 8 },
		[ZYDIS_BROADCAST_MODE_1_TO_16] = { 1, 16 },
		[ZYDIS_BROADCAST_MODE_1_TO_32] = { 1, 32 },
		[ZYDIS_BROADCAST_MODE_1_TO_64] = { 1, 64 },
		[ZYDIS_BROADCAST_MODE_2_TO_4] = { 2, 4 },
		[ZYDIS_BROADCAST_MODE_2_TO_8] = { 2, 8 },
		[ZYDIS_BROADCAST_MODE_2_TO_16] = { 2, 16 },
		[ZYDIS_BROADCAST_MODE_4_TO_8] = { 4, 8 },
		[ZYDIS_BROADCAST_MODE_4_TO_16] = { 4, 16 },
		[ZYDIS_BROADCAST_MODE_8_TO_16] = { 8, 16 },
	};

	if (mode == ZYDIS_BROADCAST_MODE_INVALID || mode >= sizeof(counts) / sizeof(counts[0]))
		return;
	elements->count = counts[mode][0];
	elements->mask_bits = counts[mode][1];
}

/* Complex half-precision numbers: one mask bit a pair. */
static bool is_complex_half(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_VFMULCPH: case ZYDIS_MNEMONIC_VFCMULCPH:
	case ZYDIS_MNEMONIC_VFMADDCPH: case ZYDIS_MNEMONIC_VFCMADDCPH:
	case ZYDIS_MNEMONIC_VFMULCSH: case ZYDIS_MNEMONIC_VFCMULCSH:
	case ZYDIS_MNEMONIC_VFMADDCSH: case ZYDIS_MNEMONIC_VFCMADDCSH:
		return true;
	default:
		return false;
	}
}

/* Memory elements that one mask bit each stands for. */
static void count_elements(const struct insn_info *info, const ZydisDecodedOperand *memory,
			   struct host_elements *elements)
{
	unsigned bytes = memory->size / 8, count = memory->element_count;

	if (is_complex_half(info->z.mnemonic))
		count = bytes / 4;
	else if (info->op[0].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		 info->op[0].element_count < count)
		count = info->op[0].element_count;
	elements->count = elements->mask_bits = (uint8_t)(count ? count : 1);
	broadcast_counts(info->z.avx.broadcast.mode, elements);
	elements->size_bytes = (uint8_t)(bytes / elements->count);
}

/*
 * Instructions without fault suppression touch their whole operand, whatever the mask: those whose
 * mask's elements are not the memory's.
 */
static bool suppresses_faults(const struct insn_info *info)
{
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_VDBPSADBW: case ZYDIS_MNEMONIC_VGF2P8AFFINEQB:
	case ZYDIS_MNEMONIC_VGF2P8AFFINEINVQB: case ZYDIS_MNEMONIC_VPMULTISHIFTQB:
	case ZYDIS_MNEMONIC_VCVTNE2PS2BF16:
		return false;
	default:
		break;
	}
	switch (info->z.meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_E1NF: case ZYDIS_EXCEPTION_CLASS_E2NF:
	case ZYDIS_EXCEPTION_CLASS_E3NF: case ZYDIS_EXCEPTION_CLASS_E4NF:
	case ZYDIS_EXCEPTION_CLASS_E5NF: case ZYDIS_EXCEPTION_CLASS_E6NF:
	case ZYDIS_EXCEPTION_CLASS_E9NF: case ZYDIS_EXCEPTION_CLASS_E10NF:
	case ZYDIS_EXCEPTION_CLASS_E11NF:
		return false;
	default:
		return true;
	}
}

static uint8_t vector_number(ZydisRegister reg)
{
	return (uint8_t)ZydisRegisterGetId(reg);
}

static bool is_expand(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_VEXPANDPS: case ZYDIS_MNEMONIC_VEXPANDPD:
	case ZYDIS_MNEMONIC_VPEXPANDB: case ZYDIS_MNEMONIC_VPEXPANDW:
	case ZYDIS_MNEMONIC_VPEXPANDD: case ZYDIS_MNEMONIC_VPEXPANDQ:
		return true;
	default:
		return false;
	}
}

static bool is_masked(const struct insn_info *info)
{
	ZydisRegister mask = info->z.avx.mask.reg;

	return info->z.encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX && mask > ZYDIS_REGISTER_K0 &&
	       mask <= ZYDIS_REGISTER_K7;
}

/* The mask over the memory operand, if there is one. */
static void describe_mask(const struct insn_info *info, const ZydisDecodedOperand *memory,
			  struct host_elements *elements)
{
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_VMASKMOVPS: case ZYDIS_MNEMONIC_VMASKMOVPD:
	case ZYDIS_MNEMONIC_VPMASKMOVD: case ZYDIS_MNEMONIC_VPMASKMOVQ:
		elements->mask = HOST_MASK_VECTOR;
		elements->mask_reg = vector_number(info->op[1].reg.value);
		elements->size_bytes = (uint8_t)(memory->element_size / 8);
		elements->count = elements->mask_bits =
			(uint8_t)(memory->size / memory->element_size);
		return;
	case ZYDIS_MNEMONIC_MASKMOVQ: case ZYDIS_MNEMONIC_MASKMOVDQU:
	case ZYDIS_MNEMONIC_VMASKMOVDQU:
		elements->mask = HOST_MASK_VECTOR;
		return;
	default:
		break;
	}
	if (!is_masked(info) || !suppresses_faults(info))
		return;
	elements->mask = is_expand(info->z.mnemonic) ? HOST_MASK_EXPAND : HOST_MASK_K;
	elements->mask_reg = (uint8_t)(info->z.avx.mask.reg - ZYDIS_REGISTER_K0);
	count_elements(info, memory, elements);
}

/* Legacy instructions with 16 bytes of memory want them aligned, but for these. */
static bool is_unaligned(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_MOVUPS: case ZYDIS_MNEMONIC_MOVUPD: case ZYDIS_MNEMONIC_MOVDQU:
	case ZYDIS_MNEMONIC_LDDQU: case ZYDIS_MNEMONIC_MASKMOVDQU:
	case ZYDIS_MNEMONIC_PCMPESTRI: case ZYDIS_MNEMONIC_PCMPESTRM:
	case ZYDIS_MNEMONIC_PCMPISTRI: case ZYDIS_MNEMONIC_PCMPISTRM:
		return true;
	default:
		return false;
	}
}

/* Alignment without which there is #GP, in bytes. */
static uint32_t find_alignment(const struct insn_info *info, unsigned bytes)
{
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_VMOVAPS: case ZYDIS_MNEMONIC_VMOVAPD: case ZYDIS_MNEMONIC_VMOVDQA:
	case ZYDIS_MNEMONIC_VMOVDQA32: case ZYDIS_MNEMONIC_VMOVDQA64:
	case ZYDIS_MNEMONIC_VMOVNTPS: case ZYDIS_MNEMONIC_VMOVNTPD:
	case ZYDIS_MNEMONIC_VMOVNTDQ: case ZYDIS_MNEMONIC_VMOVNTDQA:
		return bytes;
	default:
		break;
	}
	if (info->z.encoding != ZYDIS_INSTRUCTION_ENCODING_LEGACY || is_x87(info) || bytes != 16 ||
	    is_unaligned(info->z.mnemonic))
		return 1;
	return bytes;
}

/* How the slow paths go about it. */
static uint16_t memory_flags(const struct insn_info *info)
{
	uint16_t flags = is_masked(info) ? HOST_PRELOAD : 0;

	switch (info->z.meta.exception_class) {
	case ZYDIS_EXCEPTION_CLASS_AVX11: case ZYDIS_EXCEPTION_CLASS_E11:
	case ZYDIS_EXCEPTION_CLASS_E11NF:
		flags |= HOST_UNALIGNED;
		break;
	default:
		break;
	}
	return flags;
}

static bool describe_memory(const struct insn_info *info, struct insn *insn, struct host_stub *stub)
{
	const ZydisDecodedOperand *memory = find_memory(info);
	bool x87 = stub->flags & HOST_X87_POINTERS, written;

	if (!memory) {
		stub->fn = x87 ? host_run_x87_reg : host_run_reg;
		return true;
	}
	written = memory->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE;
	if (memory->mem.type != ZYDIS_MEMOP_TYPE_MEM || memory->size > 8 * 64 ||
	    (written && memory->actions & ZYDIS_OPERAND_ACTION_MASK_READ))
		return false;
	stub->flags |= HOST_MEMORY | memory_flags(info);
	stub->memory_bytes = memory->size / 8;
	stub->align_mask = find_alignment(info, stub->memory_bytes) - 1;
	if (memory->visibility != ZYDIS_OPERAND_VISIBILITY_EXPLICIT)
		imply_memory(info, memory, insn);
	describe_mask(info, memory, &stub->elements);
	if (stub->elements.mask)
		stub->fn = written ? host_run_masked_store : host_run_masked_load;
	else if (written && info->z.mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH)
		stub->fn = host_run_computed_store;
	else if (written && (stub->flags & HOST_MMX))
		stub->fn = host_run_mmx_store;
	else if (x87)
		stub->fn = written ? host_run_x87_store : host_run_x87_load;
	else
		stub->fn = written ? host_run_store : host_run_load;
	return true;
}

/* ---- instructions with semantics of their own ---- */

/* VSIB: base and displacement as ever, the index comes from a vector. */
static bool describe_vsib(const struct insn_info *info, struct insn *insn, struct host_stub *stub)
{
	const ZydisDecodedOperand *memory = find_memory(info), *data = NULL, *mask = NULL;
	struct host_elements *elements = &stub->elements;
	unsigned index_bytes = 0, data_bytes, count;

	for (unsigned i = 0; i < info->z.operand_count; i++) {
		const ZydisDecodedOperand *op = &info->op[i];

		if (op->type != ZYDIS_OPERAND_TYPE_REGISTER)
			continue;
		if (op->encoding == ZYDIS_OPERAND_ENCODING_MODRM_REG)
			data = op;
		else if (op->encoding == ZYDIS_OPERAND_ENCODING_MASK ||
			 op->encoding == ZYDIS_OPERAND_ENCODING_NDSNDD)
			mask = op;
	}
	if (!data || !mask)
		return false;
	elements->mask = mask->encoding == ZYDIS_OPERAND_ENCODING_MASK ? HOST_MASK_K :
									 HOST_MASK_VECTOR;
	elements->mask_reg = elements->mask == HOST_MASK_K ?
				     (uint8_t)(mask->reg.value - ZYDIS_REGISTER_K0) :
				     vector_number(mask->reg.value);
	elements->data_reg = vector_number(data->reg.value);
	elements->index_reg = vector_number(memory->mem.index);
	elements->size_bytes = (uint8_t)(memory->element_size / 8);
	switch (info->z.mnemonic) {
	case ZYDIS_MNEMONIC_VGATHERDPS: case ZYDIS_MNEMONIC_VGATHERDPD:
	case ZYDIS_MNEMONIC_VPGATHERDD: case ZYDIS_MNEMONIC_VPGATHERDQ:
	case ZYDIS_MNEMONIC_VSCATTERDPS: case ZYDIS_MNEMONIC_VSCATTERDPD:
	case ZYDIS_MNEMONIC_VPSCATTERDD: case ZYDIS_MNEMONIC_VPSCATTERDQ:
		index_bytes = 4;
		break;
	default:
		index_bytes = 8;
		break;
	}
	elements->index_bytes = (uint8_t)index_bytes;
	/* The vector length is that of the wider of indices and data. */
	data_bytes = elements->size_bytes;
	count = info->z.avx.vector_length / 8;
	count /= data_bytes > index_bytes ? data_bytes : index_bytes;
	elements->count = elements->mask_bits = (uint8_t)count;
	elements->vector_bytes = (uint8_t)(count * data_bytes);
	insn->index = (uint16_t)offsetof(struct x86_cpu, zero);
	stub->memory_bytes = elements->size_bytes;
	return count != 0;
}

static insn_fn *select_image(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_FXSAVE: case ZYDIS_MNEMONIC_FXSAVE64: return host_run_fxsave;
	case ZYDIS_MNEMONIC_FXRSTOR: case ZYDIS_MNEMONIC_FXRSTOR64: return host_run_fxrstor;
	case ZYDIS_MNEMONIC_XSAVE: case ZYDIS_MNEMONIC_XSAVE64: return host_run_xsave;
	case ZYDIS_MNEMONIC_XSAVEOPT: case ZYDIS_MNEMONIC_XSAVEOPT64: return host_run_xsave;
	case ZYDIS_MNEMONIC_XSAVEC: case ZYDIS_MNEMONIC_XSAVEC64: return host_run_xsavec;
	case ZYDIS_MNEMONIC_XRSTOR: case ZYDIS_MNEMONIC_XRSTOR64: return host_run_xrstor;
	default: return NULL;
	}
}

static insn_fn *select_environment(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_FNSTENV: return host_run_fnstenv;
	case ZYDIS_MNEMONIC_FLDENV: return host_run_fldenv;
	case ZYDIS_MNEMONIC_FNSAVE: return host_run_fnsave;
	case ZYDIS_MNEMONIC_FRSTOR: return host_run_frstor;
	default: return NULL;
	}
}

static insn_fn *select_vsib(const struct insn_info *info)
{
	switch (info->z.meta.category) {
	case ZYDIS_CATEGORY_GATHER:
	case ZYDIS_CATEGORY_AVX2GATHER: return host_run_gather;
	case ZYDIS_CATEGORY_SCATTER: return host_run_scatter;
	default: return NULL;
	}
}

static insn_fn *select_tile(ZydisMnemonic mnemonic)
{
	switch (mnemonic) {
	case ZYDIS_MNEMONIC_LDTILECFG: case ZYDIS_MNEMONIC_STTILECFG:
	case ZYDIS_MNEMONIC_TILERELEASE: return host_run_tile_config;
	case ZYDIS_MNEMONIC_TILELOADD: case ZYDIS_MNEMONIC_TILELOADDT1: return host_run_tile_load;
	case ZYDIS_MNEMONIC_TILESTORED: return host_run_tile_store;
	default: return host_run_tile;
	}
}

/* Images are made in software; the checks differ from the other instructions' of their set. */
static bool describe_image(const struct insn_info *info, struct insn *insn, struct host_stub *stub)
{
	bool fxsave = stub->fn == host_run_fxsave || stub->fn == host_run_fxrstor;

	stub->cr0_forbid = fxsave ? X86_CR0_TS | X86_CR0_EM : X86_CR0_TS;
	stub->cr4_need = fxsave ? 0 : X86_CR4_OSXSAVE;
	stub->flags = 0;
	/* opsize 8 says that instruction pointers are stored with 64 bits. */
	insn->opsize = info->mode == X86_MODE_64 && info->z.attributes & ZYDIS_ATTRIB_HAS_REX &&
			       info->z.raw.rex.W ? 8 : 4;
	return true;
}

bool host_describe(const struct insn_info *info, const uint8_t *bytes, struct insn *insn,
		   struct host_stub *stub, struct host_plan *plan, bool *has_code)
{
	memset(stub, 0, sizeof(*stub));
	*has_code = false;
	if (!is_listed(info) || info->z.attributes & ZYDIS_ATTRIB_HAS_LOCK ||
	    !describe_class(info, stub))
		return false;
	stub->fn = select_image(info->z.mnemonic);
	if (stub->fn)
		return describe_image(info, insn, stub);
	if (info->z.meta.category == ZYDIS_CATEGORY_PREFETCH) {
		stub->fn = host_run_nothing;
		return true;
	}
	stub->fn = select_vsib(info);
	if (stub->fn)
		return describe_vsib(info, insn, stub);
	stub->fn = select_environment(info->z.mnemonic);
	if (stub->fn)
		stub->memory_bytes = find_memory(info)->size / 8;
	else if (!describe_memory(info, insn, stub))
		return false;
	if (info->z.mnemonic == ZYDIS_MNEMONIC_FNINIT)
		stub->fn = host_run_fninit;
	if (info->z.mnemonic == ZYDIS_MNEMONIC_FLDCW)
		stub->fn = host_run_fldcw;
	if (is_tile(info))
		stub->fn = select_tile(info->z.mnemonic);
	*has_code = true;
	if (!host_recode(info, bytes, plan))
		return false;
	/* Comparisons and tests of vectors write all flags; the tables leave some of them out. */
	if (plan->flags_written && stub->flags & HOST_VEC)
		plan->flags_written = (uint32_t)X86_STATUS_FLAGS;
	return true;
}

insn_fn *x86_select_host(const struct insn_info *info, struct insn *insn)
{
	struct hostexec *he = info->cpu->hostexec;
	struct host_plan plan;
	struct host_stub stub;
	bool has_code;

	if (!host_describe(info, insn->bytes, insn, &stub, &plan, &has_code))
		return NULL;
	insn->stub = host_stub_get(he, has_code ? &plan : NULL, &stub);
	return insn->stub ? insn->stub->fn : host_run_transient;
}
