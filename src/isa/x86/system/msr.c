/* SPDX-License-Identifier: MIT */
/*
 * See msr.h. One table says which registers there are; an entry is a field of the state with the
 * bits that may be set in it, or a pair of handlers. A register without a write handler faults when
 * it is written, and the other way round. What the table lacks does not exist: #GP.
 */
#include "isa/x86/system/msr.h"

#include "base/log.h"
#include "isa/x86/cpuid/cpuid.h"
#include "isa/x86/system/msr_table.h"
#include "isa/x86/vector/vec.h"
#include "isa/x86/x86.h"

#define EFER_WRITABLE (X86_EFER_SCE | X86_EFER_LME | X86_EFER_NXE)
#define TSC_HZ_PER_RATIO 100000000u /* the bus clock that ratios multiply */
#define MICROCODE_REVISION (1ull << 32)

/* IA32_MISC_ENABLE: fast strings on; BTS and PEBS unavailable. The rest is not offered. */
#define MISC_FAST_STRINGS (1ull << 0)
#define MISC_FIXED (1ull << 11 | 1ull << 12)
#define MISC_KNOWN (MISC_FAST_STRINGS | MISC_FIXED | 1ull << 3 | 1ull << 7 | 1ull << 16 |  \
		    1ull << 18 | 1ull << 22 | 1ull << 23 | 1ull << 34 | 1ull << 38)

#define SPEC_CTRL_IBRS (1ull << 0)
#define SPEC_CTRL_STIBP (1ull << 1)
/*
 * Against branch histories of the user's: see ARCH_CAPABILITIES. Linux asks for it even where
 * BHI_NO is told, and without it runs a loop of jumps in each system call.
 */
#define SPEC_CTRL_BHI_DIS_S (1ull << 10)
#define DEBUGCTL_LBR_BTF 3ull

/*
 * IA32_ARCH_CAPABILITIES: what a guest could do against these holes would not reach the processor, so
 * it is spared the effort. RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO,
 * IF_PSCHANGE_MC_NO, TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO,
 * ITS_NO.
 */
#define ARCH_CAPABILITIES                                                                          \
	(1ull << 0 | 1ull << 1 | 1ull << 3 | 1ull << 4 | 1ull << 5 | 1ull << 6 | 1ull << 8 |       \
	 1ull << 13 | 1ull << 14 | 1ull << 15 | 1ull << 20 | 1ull << 24 | 1ull << 26 |             \
	 1ull << 27 | 1ull << 62)

static uint64_t *field(struct x86_cpu *cpu, const struct msr *msr, uint32_t index)
{
	return (uint64_t *)((char *)cpu + msr->field) + (index - msr->first) / msr->stride;
}

static bool read_zero(struct x86_cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu, (void)index;
	*value = 0;
	return true;
}

static bool write_ignored(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	(void)cpu, (void)index, (void)value;
	return true;
}

static bool write_zero(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	(void)cpu, (void)index;
	return value == 0;
}

/* ---- time ---- */

uint64_t x86_tsc_read(const struct x86_cpu *cpu)
{
	return __builtin_ia32_rdtsc() + cpu->state.tsc_offset;
}

static bool intc_read(struct x86_cpu *cpu, uint32_t index, uint64_t *value)
{
	const struct cpu_intc *intc = cpu->cpu.env.intc;

	if (!intc)
		return false;
	x86_vec_park(cpu);
	return intc->msr_read(intc->opaque, index, value);
}

static bool intc_write(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	const struct cpu_intc *intc = cpu->cpu.env.intc;

	if (!intc)
		return false;
	x86_vec_park(cpu);
	return intc->msr_write(intc->opaque, index, value);
}

/* The deadline is a TSC value: when the TSC jumps, the timer has to be set anew. */
static void move_tsc(struct x86_cpu *cpu, uint64_t delta)
{
	uint64_t deadline = 0;

	cpu->state.tsc_offset += delta;
	if (intc_read(cpu, MSR_TSC_DEADLINE, &deadline) && deadline)
		intc_write(cpu, MSR_TSC_DEADLINE, deadline);
}

static bool read_tsc(struct x86_cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)index;
	*value = x86_tsc_read(cpu);
	return true;
}

static bool write_tsc(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	uint64_t delta = value - x86_tsc_read(cpu);

	(void)index;
	cpu->state.tsc_adjust += delta;
	move_tsc(cpu, delta);
	return true;
}

static bool write_tsc_adjust(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	uint64_t delta = value - cpu->state.tsc_adjust;

	(void)index;
	cpu->state.tsc_adjust = value;
	move_tsc(cpu, delta);
	return true;
}

/* ---- mode and segments ---- */

static bool write_efer(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	uint64_t old = cpu->state.efer;

	(void)index;
	if (value & ~(EFER_WRITABLE | X86_EFER_LMA))
		return false;
	if ((value ^ old) & X86_EFER_LME && cpu->state.cr0 & X86_CR0_PG)
		return false;
	/* LMA follows LME and CR0.PG; what is written to it does not count. */
	cpu->state.efer = (value & EFER_WRITABLE) | (old & X86_EFER_LMA);
	x86_update_mode(cpu);
	return true;
}

/* ---- what the processor is ---- */

static bool read_platform_info(struct x86_cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)index;
	*value = (x86_tsc_hz(cpu->cpuid) / TSC_HZ_PER_RATIO & 0xff) << 8;
	return true;
}

static bool read_microcode(struct x86_cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu, (void)index;
	*value = MICROCODE_REVISION;
	return true;
}

static bool read_arch_capabilities(struct x86_cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)cpu, (void)index;
	*value = ARCH_CAPABILITIES;
	return true;
}

static bool write_misc_enable(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	(void)index;
	if (value & ~MISC_KNOWN)
		return false;
	cpu->state.misc_enable = (value & MISC_FAST_STRINGS) | MISC_FIXED;
	return true;
}

/* An indirect-branch barrier: nothing here predicts a guest's branches. */
static bool write_pred_cmd(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	(void)cpu, (void)index;
	return value <= 1;
}

/* No branch records and no branch traps, but everybody may switch them off, and on. */
static bool write_debugctl(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	(void)cpu, (void)index;
	return !(value & ~DEBUGCTL_LBR_BTF);
}

/* ---- extended feature disable: only of AMX's tiles ---- */

static bool read_xfd(struct x86_cpu *cpu, uint32_t index, uint64_t *value)
{
	*value = index == MSR_XFD ? cpu->state.xfd : cpu->state.xfd_err;
	return x86_cpuid_has(cpu, X86_FEATURE_XFD);
}

static bool write_xfd(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	if (!x86_cpuid_has(cpu, X86_FEATURE_XFD) || value & ~VEC_BIT(VEC_TILEDATA))
		return false;
	if (index == MSR_XFD)
		cpu->state.xfd = value;
	else
		cpu->state.xfd_err = value;
	return true;
}

/* ---- machine check: banks that never report ---- */

static bool read_mcg_cap(struct x86_cpu *cpu, uint32_t index, uint64_t *value)
{
	(void)index;
	*value = sizeof(cpu->state.mc_ctl) / sizeof(cpu->state.mc_ctl[0]);
	return true;
}

static bool write_mc_ctl(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	cpu->state.mc_ctl[(index - MSR_MC0_CTL) / 4] = value;
	return true;
}

/* ---- the table ---- */

#define FIELD(member) .field = offsetof(struct x86_cpu, state.member)
#define ALL_BITS ~0ull
#define LOW_BITS 0xffffffffull

/* Ascending, no overlaps. */
static const struct msr msrs[] = {
	{ 0x00, 0x01, 1, .read = read_zero, .write = write_ignored }, /* P5_MC_ADDR, _TYPE */
	{ 0x10, 0x10, 1, .read = read_tsc, .write = write_tsc },
	{ 0x17, 0x17, 1, .read = read_zero },                         /* IA32_PLATFORM_ID */
	{ 0x1b, 0x1b, 1, .read = intc_read, .write = intc_write },    /* IA32_APIC_BASE */
	{ 0x2a, 0x2a, 1, .read = read_zero, .write = write_ignored }, /* EBL_CR_POWERON */
	{ 0x3b, 0x3b, 1, FIELD(tsc_adjust), .write = write_tsc_adjust },
	{ 0x48, 0x48, 1, FIELD(spec_ctrl),
	  .bits = SPEC_CTRL_IBRS | SPEC_CTRL_STIBP | SPEC_CTRL_BHI_DIS_S },
	{ 0x49, 0x49, 1, .write = write_pred_cmd },
	{ 0x79, 0x79, 1, .write = write_ignored },                    /* IA32_BIOS_UPDT_TRIG */
	{ 0x8b, 0x8b, 1, .read = read_microcode, .write = write_ignored },
	{ 0xce, 0xce, 1, .read = read_platform_info },
	{ 0xfe, 0xfe, 1, .read = x86_mtrr_read_cap },
	{ 0x10a, 0x10a, 1, .read = read_arch_capabilities },
	{ 0x174, 0x174, 1, FIELD(sysenter_cs), .bits = LOW_BITS },
	{ 0x175, 0x175, 1, FIELD(sysenter_esp), .bits = ALL_BITS, .canonical = true },
	{ 0x176, 0x176, 1, FIELD(sysenter_eip), .bits = ALL_BITS, .canonical = true },
	{ 0x179, 0x179, 1, .read = read_mcg_cap },
	{ 0x17a, 0x17a, 1, FIELD(mcg_status), .bits = 7 },
	{ 0x198, 0x198, 1, .read = read_platform_info },              /* IA32_PERF_STATUS */
	{ 0x1a0, 0x1a0, 1, FIELD(misc_enable), .write = write_misc_enable },
	{ MSR_XFD, MSR_XFD + 1, 1, .read = read_xfd, .write = write_xfd }, /* and IA32_XFD_ERR */
	{ 0x1d9, 0x1d9, 1, .read = read_zero, .write = write_debugctl },
	{ 0x1db, 0x1de, 1, .read = read_zero },                       /* last branches */
	{ 0x200, 0x20e, 2, FIELD(mtrr_phys_base), .write = x86_mtrr_write_base },
	{ 0x201, 0x20f, 2, FIELD(mtrr_phys_mask), .write = x86_mtrr_write_mask },
	{ 0x250, 0x250, 1, FIELD(mtrr_fixed[0]), .write = x86_mtrr_write_fixed },
	{ 0x258, 0x259, 1, FIELD(mtrr_fixed[1]), .write = x86_mtrr_write_fixed },
	{ 0x268, 0x26f, 1, FIELD(mtrr_fixed[3]), .write = x86_mtrr_write_fixed },
	{ 0x277, 0x277, 1, FIELD(pat), .write = x86_mtrr_write_pat },
	{ 0x2ff, 0x2ff, 1, FIELD(mtrr_def_type), .write = x86_mtrr_write_def_type },
	{ MSR_MC0_CTL, MSR_MC0_CTL + 12, 4, FIELD(mc_ctl), .write = write_mc_ctl },
	{ 0x401, 0x40d, 4, .read = read_zero, .write = write_zero },  /* IA32_MCi_STATUS */
	{ 0x402, 0x40e, 4, .read = read_zero, .write = write_zero },  /* … ADDR */
	{ 0x403, 0x40f, 4, .read = read_zero, .write = write_zero },  /* … MISC */
	{ MSR_TSC_DEADLINE, MSR_TSC_DEADLINE, 1, .read = intc_read, .write = intc_write },
	{ 0x800, 0x8ff, 1, .read = intc_read, .write = intc_write },  /* x2APIC */
	{ 0xc0000080, 0xc0000080, 1, FIELD(efer), .write = write_efer },
	{ 0xc0000081, 0xc0000081, 1, FIELD(star), .bits = ALL_BITS },
	{ 0xc0000082, 0xc0000082, 1, FIELD(lstar), .bits = ALL_BITS, .canonical = true },
	{ 0xc0000083, 0xc0000083, 1, FIELD(cstar), .bits = ALL_BITS, .canonical = true },
	{ 0xc0000084, 0xc0000084, 1, FIELD(sfmask), .bits = LOW_BITS },
	{ 0xc0000100, 0xc0000100, 1, FIELD(seg[X86_FS].base), .bits = ALL_BITS, .canonical = true },
	{ 0xc0000101, 0xc0000101, 1, FIELD(seg[X86_GS].base), .bits = ALL_BITS, .canonical = true },
	{ 0xc0000102, 0xc0000102, 1, FIELD(kernel_gs_base), .bits = ALL_BITS, .canonical = true },
	{ 0xc0000103, 0xc0000103, 1, FIELD(tsc_aux), .bits = LOW_BITS },
};

static const struct msr *find(uint32_t index)
{
	for (unsigned i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
		const struct msr *msr = &msrs[i];

		if (index >= msr->first && index <= msr->last &&
		    (index - msr->first) % msr->stride == 0)
			return msr;
	}
	return NULL;
}

static bool canonical(uint64_t address)
{
	return (uint64_t)((int64_t)(address << 16) >> 16) == address;
}

static bool refused(struct x86_cpu *cpu, uint32_t index, const char *what)
{
	x86_vec_park(cpu);
	if (log_enabled(LOG_LEVEL_DEBUG))
		log_guest(&cpu->log_limit, "cpu %u: %s of MSR %#x: #GP", cpu->cpu.index, what,
			  index);
	return false;
}

bool x86_msr_read(struct x86_cpu *cpu, uint32_t index, uint64_t *value)
{
	const struct msr *msr = find(index);

	if (msr && msr->read)
		return msr->read(cpu, index, value) || refused(cpu, index, "read");
	if (!msr || !msr->field)
		return refused(cpu, index, "read");
	*value = *field(cpu, msr, index);
	return true;
}

bool x86_msr_write(struct x86_cpu *cpu, uint32_t index, uint64_t value)
{
	const struct msr *msr = find(index);

	if (msr && msr->write)
		return msr->write(cpu, index, value) || refused(cpu, index, "write");
	if (!msr || !msr->field || value & ~msr->bits || (msr->canonical && !canonical(value)))
		return refused(cpu, index, "write");
	*field(cpu, msr, index) = value;
	return true;
}

void x86_msr_reset(struct x86_cpu *cpu)
{
	cpu->state.misc_enable = MISC_FAST_STRINGS | MISC_FIXED;
	cpu->state.pat = X86_PAT_RESET;
	for (unsigned i = 0; i < sizeof(cpu->state.mc_ctl) / sizeof(cpu->state.mc_ctl[0]); i++)
		cpu->state.mc_ctl[i] = ~0ull;
}
