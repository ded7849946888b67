/* SPDX-License-Identifier: MIT */
/* The sixteen conditions of Jcc, SETcc and CMOVcc in encoding order. f: RFLAGS. */
#ifndef RINGLET_ISA_X86_COND_H
#define RINGLET_ISA_X86_COND_H

#include "isa/x86/x86.h"

/* OF is bit 11, SF bit 7. */
#define X86_COND_LESS(f) (((f) >> 4 ^ (f)) & X86_SF)

#define X86_CONDITIONS(X)                                                                          \
	X(o, (f & X86_OF) != 0)                                                                    \
	X(no, (f & X86_OF) == 0)                                                                   \
	X(b, (f & X86_CF) != 0)                                                                    \
	X(nb, (f & X86_CF) == 0)                                                                   \
	X(z, (f & X86_ZF) != 0)                                                                    \
	X(nz, (f & X86_ZF) == 0)                                                                   \
	X(be, (f & (X86_CF | X86_ZF)) != 0)                                                        \
	X(nbe, (f & (X86_CF | X86_ZF)) == 0)                                                       \
	X(s, (f & X86_SF) != 0)                                                                    \
	X(ns, (f & X86_SF) == 0)                                                                   \
	X(p, (f & X86_PF) != 0)                                                                    \
	X(np, (f & X86_PF) == 0)                                                                   \
	X(l, X86_COND_LESS(f) != 0)                                                                \
	X(nl, X86_COND_LESS(f) == 0)                                                               \
	X(le, (X86_COND_LESS(f) | (f & X86_ZF)) != 0)                                              \
	X(nle, (X86_COND_LESS(f) | (f & X86_ZF)) == 0)

#define X86_CONDITION_DEFINE(cc, expression)                                                       \
	static inline bool x86_cond_##cc(const struct x86_cpu *cpu)                                \
	{                                                                                          \
		uint64_t f = cpu->state.rflags;                                                    \
                                                                                                   \
		return expression;                                                                 \
	}
X86_CONDITIONS(X86_CONDITION_DEFINE)

#endif
