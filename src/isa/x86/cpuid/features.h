/* SPDX-License-Identifier: MIT */
/*
 * The CPU features a model may offer: the one table from which the CPUID leaves, the models and the
 * gating of instructions come. Intel SDM vol. 2A, CPUID.
 *
 * X(name, word, bit, level, source, needs): word is the register that holds the bit; level the
 * first of the psABI's levels (x86-64-v1 … v3) that has the feature, HOST for those of the host
 * model alone; source says who carries it out: OURS is emulated here whatever the host is, NATIVE is
 * run by the host and offered only where it has the bit too, FACT tells how the host does it and is
 * the same there; needs: a feature this one is nothing without (named further up). OSXSAVE and OSPKE
 * are not here: they mirror CR4.
 *
 * Only what the engine really executes may stand here.
 */
#ifndef RINGLET_ISA_X86_FEATURES_H
#define RINGLET_ISA_X86_FEATURES_H

/* X(word, leaf, subleaf, register index in EAX EBX ECX EDX order) */
#define X86_FEATURE_WORDS(X)                                                                       \
	X(1_EDX, 0x1, 0, 3)                                                                        \
	X(1_ECX, 0x1, 0, 2)                                                                        \
	X(6_EAX, 0x6, 0, 0)                                                                        \
	X(7_EBX, 0x7, 0, 1)                                                                        \
	X(7_ECX, 0x7, 0, 2)                                                                        \
	X(7_EDX, 0x7, 0, 3)                                                                        \
	X(7_1_EAX, 0x7, 1, 0)                                                                      \
	X(7_2_EDX, 0x7, 2, 3)                                                                      \
	X(D_1_EAX, 0xd, 1, 0)                                                                      \
	X(X1_ECX, 0x80000001, 0, 2)                                                                \
	X(X1_EDX, 0x80000001, 0, 3)                                                                \
	X(X7_EDX, 0x80000007, 0, 3)                                                                \
	X(X8_EBX, 0x80000008, 0, 1)

#define X86_FEATURES(X)                                                                            \
	X(FPU, 1_EDX, 0, V1, OURS, FPU)                                                            \
	X(VME, 1_EDX, 1, V1, OURS, FPU)                                                            \
	X(DE, 1_EDX, 2, V1, OURS, FPU)                                                             \
	X(PSE, 1_EDX, 3, V1, OURS, FPU)                                                            \
	X(TSC, 1_EDX, 4, V1, OURS, FPU)                                                            \
	X(MSR, 1_EDX, 5, V1, OURS, FPU)                                                            \
	X(PAE, 1_EDX, 6, V1, OURS, FPU)                                                            \
	X(MCE, 1_EDX, 7, V1, OURS, FPU)                                                            \
	X(CX8, 1_EDX, 8, V1, OURS, FPU)                                                            \
	X(APIC, 1_EDX, 9, V1, OURS, FPU)                                                           \
	X(SEP, 1_EDX, 11, V1, OURS, FPU)                                                           \
	X(MTRR, 1_EDX, 12, V1, OURS, FPU)                                                          \
	X(PGE, 1_EDX, 13, V1, OURS, FPU)                                                           \
	X(MCA, 1_EDX, 14, V1, OURS, FPU)                                                           \
	X(CMOV, 1_EDX, 15, V1, OURS, FPU)                                                          \
	X(PAT, 1_EDX, 16, V1, OURS, FPU)                                                           \
	X(PSE36, 1_EDX, 17, V1, OURS, FPU)                                                         \
	X(CLFLUSH, 1_EDX, 19, V1, OURS, FPU)                                                       \
	X(MMX, 1_EDX, 23, V1, NATIVE, FPU)                                                         \
	X(FXSR, 1_EDX, 24, V1, OURS, FPU)                                                          \
	X(SSE, 1_EDX, 25, V1, NATIVE, FXSR)                                                        \
	X(SSE2, 1_EDX, 26, V1, NATIVE, SSE)                                                        \
	X(SS, 1_EDX, 27, V1, OURS, FPU)                                                            \
	X(HTT, 1_EDX, 28, V1, OURS, FPU)                                                           \
	X(SSE3, 1_ECX, 0, V2, NATIVE, SSE2)                                                        \
	X(PCLMUL, 1_ECX, 1, HOST, NATIVE, SSE2)                                                    \
	X(SSSE3, 1_ECX, 9, V2, NATIVE, SSE3)                                                       \
	X(CX16, 1_ECX, 13, V2, OURS, FPU)                                                          \
	X(PCID, 1_ECX, 17, V1, OURS, FPU)                                                          \
	X(SSE4_1, 1_ECX, 19, V2, NATIVE, SSSE3)                                                    \
	X(SSE4_2, 1_ECX, 20, V2, NATIVE, SSE4_1)                                                   \
	X(X2APIC, 1_ECX, 21, V1, OURS, FPU)                                                        \
	X(MOVBE, 1_ECX, 22, V3, NATIVE, FPU)                                                       \
	X(POPCNT, 1_ECX, 23, V2, NATIVE, FPU)                                                      \
	X(TSC_DEADLINE, 1_ECX, 24, V1, OURS, FPU)                                                  \
	X(AES, 1_ECX, 25, HOST, NATIVE, SSE2)                                                      \
	X(XSAVE, 1_ECX, 26, V3, NATIVE, FXSR)                                                      \
	X(AVX, 1_ECX, 28, V3, NATIVE, XSAVE)                                                       \
	X(FMA, 1_ECX, 12, V3, NATIVE, AVX)                                                         \
	X(F16C, 1_ECX, 29, V3, NATIVE, AVX)                                                        \
	X(RDRAND, 1_ECX, 30, HOST, NATIVE, FPU)                                                    \
	X(HYPERVISOR, 1_ECX, 31, V1, OURS, FPU)                                                    \
	X(ARAT, 6_EAX, 2, V1, OURS, FPU)                                                           \
	X(FSGSBASE, 7_EBX, 0, V1, OURS, FPU)                                                       \
	X(TSC_ADJUST, 7_EBX, 1, V1, OURS, FPU)                                                     \
	X(BMI1, 7_EBX, 3, V3, NATIVE, FPU)                                                         \
	X(AVX2, 7_EBX, 5, V3, NATIVE, AVX)                                                         \
	X(FDP_EXCPTN_ONLY, 7_EBX, 6, V1, FACT, FPU)                                                \
	X(SMEP, 7_EBX, 7, V1, OURS, FPU)                                                           \
	X(BMI2, 7_EBX, 8, V3, NATIVE, FPU)                                                         \
	X(ERMS, 7_EBX, 9, HOST, NATIVE, FPU)                                                       \
	X(INVPCID, 7_EBX, 10, V1, OURS, PCID)                                                      \
	X(ZERO_FCS_FDS, 7_EBX, 13, V1, FACT, FPU)                                                  \
	X(AVX512F, 7_EBX, 16, HOST, NATIVE, AVX2)                                                  \
	X(AVX512DQ, 7_EBX, 17, HOST, NATIVE, AVX512F)                                              \
	X(RDSEED, 7_EBX, 18, HOST, NATIVE, FPU)                                                    \
	X(ADX, 7_EBX, 19, HOST, NATIVE, FPU)                                                       \
	X(SMAP, 7_EBX, 20, V1, OURS, FPU)                                                          \
	X(AVX512_IFMA, 7_EBX, 21, HOST, NATIVE, AVX512F)                                           \
	X(CLFLUSHOPT, 7_EBX, 23, HOST, OURS, FPU)                                                  \
	X(CLWB, 7_EBX, 24, HOST, OURS, FPU)                                                        \
	X(AVX512CD, 7_EBX, 28, HOST, NATIVE, AVX512F)                                              \
	X(SHA, 7_EBX, 29, HOST, NATIVE, SSE2)                                                      \
	X(AVX512BW, 7_EBX, 30, HOST, NATIVE, AVX512F)                                              \
	X(AVX512VL, 7_EBX, 31, HOST, NATIVE, AVX512F)                                              \
	X(AVX512_VBMI, 7_ECX, 1, HOST, NATIVE, AVX512BW)                                           \
	X(UMIP, 7_ECX, 2, V1, OURS, FPU)                                                           \
	X(PKU, 7_ECX, 3, HOST, NATIVE, XSAVE)                                                      \
	X(AVX512_VBMI2, 7_ECX, 6, HOST, NATIVE, AVX512BW)                                          \
	X(GFNI, 7_ECX, 8, HOST, NATIVE, SSE2)                                                      \
	X(VAES, 7_ECX, 9, HOST, NATIVE, AVX)                                                       \
	X(VPCLMULQDQ, 7_ECX, 10, HOST, NATIVE, AVX)                                                \
	X(AVX512_VNNI, 7_ECX, 11, HOST, NATIVE, AVX512F)                                           \
	X(AVX512_BITALG, 7_ECX, 12, HOST, NATIVE, AVX512BW)                                        \
	X(AVX512_VPOPCNTDQ, 7_ECX, 14, HOST, NATIVE, AVX512F)                                      \
	X(RDPID, 7_ECX, 22, V1, OURS, FPU)                                                         \
	X(CLDEMOTE, 7_ECX, 25, HOST, OURS, FPU)                                                    \
	X(MOVDIRI, 7_ECX, 27, HOST, NATIVE, FPU)                                                   \
	X(MOVDIR64B, 7_ECX, 28, HOST, NATIVE, FPU)                                                 \
	X(FSRM, 7_EDX, 4, HOST, NATIVE, ERMS)                                                      \
	X(AVX512_VP2INTERSECT, 7_EDX, 8, HOST, NATIVE, AVX512F)                                    \
	X(SERIALIZE, 7_EDX, 14, HOST, NATIVE, FPU)                                                 \
	X(AVX512_FP16, 7_EDX, 23, HOST, NATIVE, AVX512BW)                                          \
	X(AMX_TILE, 7_EDX, 24, HOST, NATIVE, XSAVE)                                                \
	X(AMX_BF16, 7_EDX, 22, HOST, NATIVE, AMX_TILE)                                             \
	X(AMX_INT8, 7_EDX, 25, HOST, NATIVE, AMX_TILE)                                             \
	X(SPEC_CTRL, 7_EDX, 26, V1, OURS, FPU)                                                     \
	X(ARCH_CAPABILITIES, 7_EDX, 29, V1, OURS, FPU)                                             \
	X(AVX_VNNI, 7_1_EAX, 4, HOST, NATIVE, AVX2)                                                \
	X(AVX512_BF16, 7_1_EAX, 5, HOST, NATIVE, AVX512BW)                                         \
	X(FZRM, 7_1_EAX, 10, HOST, NATIVE, ERMS)                                                   \
	X(FSRS, 7_1_EAX, 11, HOST, NATIVE, ERMS)                                                   \
	X(FSRC, 7_1_EAX, 12, HOST, NATIVE, ERMS)                                                   \
	X(BHI_CTRL, 7_2_EDX, 4, V1, OURS, SPEC_CTRL)                                               \
	X(XSAVEOPT, D_1_EAX, 0, HOST, NATIVE, XSAVE)                                               \
	X(XSAVEC, D_1_EAX, 1, HOST, NATIVE, XSAVE)                                                 \
	X(XGETBV1, D_1_EAX, 2, HOST, OURS, XSAVE)                                                  \
	X(XFD, D_1_EAX, 4, HOST, NATIVE, AMX_TILE)                                                 \
	X(LAHF64, X1_ECX, 0, V1, OURS, FPU)                                                        \
	X(LZCNT, X1_ECX, 5, V3, NATIVE, FPU)                                                       \
	X(PREFETCHW, X1_ECX, 8, V1, OURS, FPU)                                                     \
	X(SYSCALL, X1_EDX, 11, V1, OURS, FPU)                                                      \
	X(NX, X1_EDX, 20, V1, OURS, FPU)                                                           \
	X(PAGE_1G, X1_EDX, 26, V1, OURS, FPU)                                                      \
	X(RDTSCP, X1_EDX, 27, V1, OURS, FPU)                                                       \
	X(LM, X1_EDX, 29, V1, OURS, FPU)                                                           \
	X(INVARIANT_TSC, X7_EDX, 8, V1, FACT, TSC)                                                 \
	X(WBNOINVD, X8_EBX, 9, V1, OURS, FPU)

enum x86_feature_word {
#define X(word, leaf, subleaf, reg) X86_WORD_##word,
	X86_FEATURE_WORDS(X)
#undef X
	X86_FEATURE_WORD_COUNT
};

/* word * 32 + bit */
enum x86_feature {
#define X(name, word, bit, level, source, needs) X86_FEATURE_##name = X86_WORD_##word * 32 + (bit),
	X86_FEATURES(X)
#undef X
};

#endif
