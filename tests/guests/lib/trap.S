/* SPDX-License-Identifier: MIT */
/* The recording handlers, CATCH's contexts, and the way to ring 3. */

/* One entry a vector, 16 bytes apart. Exceptions with an error code have pushed it. */
	.text
	.balign 16
	.globl vectors
vectors:
	.set vector, 0
	.rept 256
	.balign 16
	.if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17
	.else
	push $0
	.endif
	push $vector
	jmp common
	.set vector, vector + 1
	.endr

#ifdef __x86_64__
common:
	push %rax
	push %rcx
	push %rdx
	push %rbx
	push %rbp
	push %rsi
	push %rdi
	push %r8
	push %r9
	push %r10
	push %r11
	push %r12
	push %r13
	push %r14
	push %r15
	cld
	mov %rsp, %rdi
	mov %rsp, %rbp
	and $-16, %rsp
	call trap
	mov %rbp, %rsp
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %r11
	pop %r10
	pop %r9
	pop %r8
	pop %rdi
	pop %rsi
	pop %rbp
	pop %rbx
	pop %rdx
	pop %rcx
	pop %rax
	add $16, %rsp
	iretq

	.globl context_save, context_restore, enter
context_save:
	mov (%rsp), %rax
	mov %rax, context
	mov %rsp, context + 8
	mov %rbx, context + 16
	mov %rbp, context + 24
	mov %r12, context + 32
	mov %r13, context + 40
	mov %r14, context + 48
	mov %r15, context + 56
	movl $1, context_valid
	xor %eax, %eax
	ret
context_restore:
	mov $0x10, %eax
	mov %eax, %ss
	mov %eax, %ds
	mov %eax, %es
	mov context + 8, %rsp
	mov context + 16, %rbx
	mov context + 24, %rbp
	mov context + 32, %r12
	mov context + 40, %r13
	mov context + 48, %r14
	mov context + 56, %r15
	mov context, %rax
	mov %rax, (%rsp)
	movl $0, context_valid
	pushq $2
	popfq
	mov $1, %eax
	ret

enter: /* cs, ip, flags, ss, sp */
	mov $0x23, %eax
	mov %eax, %ds
	mov %eax, %es
	push %rcx
	push %r8
	push %rdx
	push %rdi
	push %rsi
	iretq
#else
common:
	pusha
	push %ds
	push %es
	push %fs
	push %gs
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	cld
	push %esp
	call trap
	add $4, %esp
	pop %gs
	pop %fs
	pop %es
	pop %ds
	popa
	add $8, %esp
	iret

	.globl context_save, context_restore, enter
context_save:
	mov (%esp), %eax
	mov %eax, context
	mov %esp, context + 4
	mov %ebx, context + 8
	mov %ebp, context + 12
	mov %esi, context + 16
	mov %edi, context + 20
	movl $1, context_valid
	xor %eax, %eax
	ret
context_restore:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov context + 4, %esp
	mov context + 8, %ebx
	mov context + 12, %ebp
	mov context + 16, %esi
	mov context + 20, %edi
	mov context, %eax
	mov %eax, (%esp)
	movl $0, context_valid
	pushl $2
	popfl
	mov $1, %eax
	ret

enter: /* cs, ip, flags, ss, sp on the stack */
	mov %esp, %ebp
	mov $0x23, %eax
	mov %eax, %ds
	mov %eax, %es
	pushl %ss:16(%ebp)
	pushl %ss:20(%ebp)
	pushl %ss:12(%ebp)
	pushl %ss:4(%ebp)
	pushl %ss:8(%ebp)
	iret
#endif

	.bss
	.balign 8
	.globl context_valid
context:
	.skip 64
context_valid:
	.skip 4
