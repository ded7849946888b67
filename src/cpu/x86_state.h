/* SPDX-License-Identifier: MIT */
/*
 * The architectural state of one x86 logical processor, in one struct that every engine, KVM and
 * snapshots exchange. Units and formats are the manual's (Intel SDM volumes 1 and 3).
 */
#ifndef RINGLET_CPU_X86_STATE_H
#define RINGLET_CPU_X86_STATE_H

#include <stdbool.h>
#include <stdint.h>

/* In encoding order. */
enum x86_gpr {
	X86_RAX, X86_RCX, X86_RDX, X86_RBX, X86_RSP, X86_RBP, X86_RSI, X86_RDI,
	X86_R8, X86_R9, X86_R10, X86_R11, X86_R12, X86_R13, X86_R14, X86_R15,
	X86_GPRS
};

/* In encoding order. */
enum x86_seg_index { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS, X86_SEGS };

/*
 * Attributes as in bytes 5 and 6 of a descriptor (VMX "access rights" format):
 *   3:0 type  4 S  6:5 DPL  7 P  12 AVL  13 L  14 D/B  15 G  16 unusable (null selector)
 */
enum {
	X86_SEG_TYPE = 0xf,
	X86_SEG_ACCESSED = 1 << 0,
	X86_SEG_WRITABLE = 1 << 1,   /* data */
	X86_SEG_READABLE = 1 << 1,   /* code */
	X86_SEG_EXPAND_DOWN = 1 << 2, /* data */
	X86_SEG_CONFORMING = 1 << 2, /* code */
	X86_SEG_CODE = 1 << 3,
	X86_SEG_S = 1 << 4,
	X86_SEG_DPL_SHIFT = 5,
	X86_SEG_DPL = 3 << 5,
	X86_SEG_P = 1 << 7,
	X86_SEG_AVL = 1 << 12,
	X86_SEG_L = 1 << 13,
	X86_SEG_DB = 1 << 14,
	X86_SEG_G = 1 << 15,
	X86_SEG_UNUSABLE = 1 << 16,
};

struct x86_seg {
	uint64_t base;
	uint32_t limit; /* in bytes, granularity applied */
	uint32_t attr;
	uint16_t selector;
};

struct x86_table {
	uint64_t base;
	uint16_t limit;
};

/* An event that an engine had begun to deliver when it stopped: the first thing when the CPU goes on. */
enum x86_pending_kind { X86_PENDING_NONE, X86_PENDING_EXTERNAL, X86_PENDING_EXCEPTION };

struct x86_pending {
	uint8_t kind; /* enum x86_pending_kind */
	uint8_t vector;
	bool has_error;
	uint32_t error;
};

#define X86_XSAVE_MAX 16384

struct x86_state {
	uint64_t gpr[X86_GPRS];
	uint64_t rip;
	uint64_t rflags;
	struct x86_seg seg[X86_SEGS];
	struct x86_seg ldtr, tr;
	struct x86_table gdtr, idtr;
	uint64_t cr0, cr2, cr3, cr4, cr8;
	uint64_t pdpte[4]; /* PAE paging: loaded by MOV CR3 */
	uint64_t dr[4], dr6, dr7;
	uint64_t efer, star, lstar, cstar, sfmask, kernel_gs_base;
	uint64_t sysenter_cs, sysenter_esp, sysenter_eip;
	uint64_t pat, tsc_aux, misc_enable, spec_ctrl, xss;
	uint64_t mtrr_def_type, mtrr_fixed[11], mtrr_phys_base[8], mtrr_phys_mask[8];
	uint64_t mcg_status, mc_ctl[4]; /* machine-check banks */
	uint64_t tsc_offset; /* guest TSC = host TSC + this */
	uint64_t tsc_adjust;
	uint64_t xcr0, xfd, xfd_err;
	uint32_t pkru;
	uint32_t smbase;

	bool halted;         /* in HLT (or shut down) until an event */
	bool wait_for_sipi;  /* an application processor before its start-up IPI */
	bool nmi_blocked;    /* until IRET */
	bool nmi_pending;
	bool shadow_sti;     /* interrupts held off for one instruction, by STI */
	bool shadow_mov_ss;  /* … by MOV SS or POP SS: debug traps too */
	struct x86_pending event;

	/* x87 instruction and data pointers, which the XSAVE image cannot hold for a guest. */
	uint64_t fpu_ip, fpu_dp;
	uint16_t fpu_cs, fpu_ds, fpu_opcode;

	/* Standard-format XSAVE image: x87, SSE, AVX …; offsets as in host CPUID leaf 0xd. */
	uint8_t xsave[X86_XSAVE_MAX] __attribute__((aligned(64)));
};

/* RFLAGS */
#define X86_CF (1ull << 0)
#define X86_F1 (1ull << 1)
#define X86_PF (1ull << 2)
#define X86_AF (1ull << 4)
#define X86_ZF (1ull << 6)
#define X86_SF (1ull << 7)
#define X86_TF (1ull << 8)
#define X86_IF (1ull << 9)
#define X86_DF (1ull << 10)
#define X86_OF (1ull << 11)
#define X86_IOPL (3ull << 12)
#define X86_NT (1ull << 14)
#define X86_RF (1ull << 16)
#define X86_VM (1ull << 17)
#define X86_AC (1ull << 18)
#define X86_VIF (1ull << 19)
#define X86_VIP (1ull << 20)
#define X86_ID (1ull << 21)
#define X86_STATUS_FLAGS (X86_CF | X86_PF | X86_AF | X86_ZF | X86_SF | X86_OF)

#define X86_CR0_PE (1ull << 0)
#define X86_CR0_MP (1ull << 1)
#define X86_CR0_EM (1ull << 2)
#define X86_CR0_TS (1ull << 3)
#define X86_CR0_ET (1ull << 4)
#define X86_CR0_NE (1ull << 5)
#define X86_CR0_WP (1ull << 16)
#define X86_CR0_AM (1ull << 18)
#define X86_CR0_NW (1ull << 29)
#define X86_CR0_CD (1ull << 30)
#define X86_CR0_PG (1ull << 31)

#define X86_CR3_PCID 0xfffull
#define X86_CR4_VME (1ull << 0)
#define X86_CR4_PVI (1ull << 1)
#define X86_CR4_TSD (1ull << 2)
#define X86_CR4_DE (1ull << 3)
#define X86_CR4_PSE (1ull << 4)
#define X86_CR4_PAE (1ull << 5)
#define X86_CR4_MCE (1ull << 6)
#define X86_CR4_PGE (1ull << 7)
#define X86_CR4_PCE (1ull << 8)
#define X86_CR4_OSFXSR (1ull << 9)
#define X86_CR4_OSXMMEXCPT (1ull << 10)
#define X86_CR4_UMIP (1ull << 11)
#define X86_CR4_LA57 (1ull << 12)
#define X86_CR4_FSGSBASE (1ull << 16)
#define X86_CR4_PCIDE (1ull << 17)
#define X86_CR4_OSXSAVE (1ull << 18)
#define X86_CR4_SMEP (1ull << 20)
#define X86_CR4_SMAP (1ull << 21)
#define X86_CR4_PKE (1ull << 22)

#define X86_EFER_SCE (1ull << 0)
#define X86_EFER_LME (1ull << 8)
#define X86_EFER_LMA (1ull << 10)
#define X86_EFER_NXE (1ull << 11)

/* Exception vectors */
enum x86_vector {
	X86_DE = 0, X86_DB = 1, X86_NMI = 2, X86_BP = 3, X86_OF_TRAP = 4, X86_BR = 5, X86_UD = 6,
	X86_NM = 7, X86_DF_FAULT = 8, X86_TS = 10, X86_NP = 11, X86_SS_FAULT = 12, X86_GP = 13,
	X86_PF_FAULT = 14, X86_MF = 16, X86_AC_FAULT = 17, X86_MC = 18, X86_XM = 19,
};

#endif
