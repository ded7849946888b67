/* SPDX-License-Identifier: MIT */
/*
 * memcpy and its kin without vector registers, for the rooms that run while the guest's vector state
 * is in the host's registers (isa/x86/x86.h, rule 1). Makefile redirects those rooms' calls, also
 * the ones that the compiler makes up for struct copies, to these names.
 */
#include <stddef.h>
#include <stdint.h>

void *gro_memcpy(void *dst, const void *src, size_t len);
void *gro_memmove(void *dst, const void *src, size_t len);
void *gro_memset(void *dst, int value, size_t len);
int gro_memcmp(const void *a, const void *b, size_t len);

void *gro_memcpy(void *dst, const void *src, size_t len)
{
	void *to = dst;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(src), "+c"(len) : : "memory");
	return dst;
}

void *gro_memmove(void *dst, const void *src, size_t len)
{
	uint8_t *to = dst;
	const uint8_t *from = src;

	if (to <= from || to >= from + len)
		return gro_memcpy(dst, src, len);
	while (len--)
		to[len] = from[len];
	return dst;
}

void *gro_memset(void *dst, int value, size_t len)
{
	void *to = dst;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(value) : "memory");
	return dst;
}

int gro_memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *p = a, *q = b;

	for (size_t i = 0; i < len; i++)
		if (p[i] != q[i])
			return p[i] - q[i];
	return 0;
}

#ifdef GRO_SANITIZED
/*
 * The address sanitizer's functions that are called where no error is use vector registers: its
 * longjmp and what it calls before each function that does not return both clear its record of the
 * stack. These rooms' frames are not in that record, so nothing is to be done, and here is the jump
 * itself, out of a jmp_buf as glibc's _setjmp fills it in: RBX, RBP, R12-R15, RSP, RIP, of
 * which RBP, RSP and RIP are disguised with the thread's pointer guard.
 */
void gro_no_return(void);

void gro_no_return(void)
{
}

__asm__(".globl gro_longjmp\n"
	"gro_longjmp:\n"
	"	mov 0x08(%rdi), %rcx\n"
	"	mov 0x30(%rdi), %r8\n"
	"	mov 0x38(%rdi), %rdx\n"
	"	ror $0x11, %rcx\n"
	"	ror $0x11, %r8\n"
	"	ror $0x11, %rdx\n"
	"	xor %fs:0x30, %rcx\n"
	"	xor %fs:0x30, %r8\n"
	"	xor %fs:0x30, %rdx\n"
	"	mov 0x00(%rdi), %rbx\n"
	"	mov 0x10(%rdi), %r12\n"
	"	mov 0x18(%rdi), %r13\n"
	"	mov 0x20(%rdi), %r14\n"
	"	mov 0x28(%rdi), %r15\n"
	"	mov %esi, %eax\n"
	"	mov %rcx, %rbp\n"
	"	mov %r8, %rsp\n"
	"	jmp *%rdx\n");
#endif
