/* SPDX-License-Identifier: MIT */
/* Where the other processors start: real mode, copied to the page that SIPI names. */
	.text
	.code16
	.globl ap_code, ap_code_end
ap_code:
	cli
	mov %cs, %ax
	mov %ax, %ds
	lgdtl ap_gdt_pointer - ap_code
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $0x38, $ap_flat
	.balign 4
ap_gdt_pointer:
	.word 511
	.long gdt
ap_code_end:
	.code32
ap_flat:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $1, %ebx
	lock xadd %ebx, ap_next
	imul $8192, %ebx, %esp
	add $ap_stacks + 8192, %esp
	call enter_long
	ljmp $0x08, $1f
	.code64
1:	lidt ap_idt_pointer
	call ap_main
2:	cli
	hlt
	jmp 2b

	.data
	.globl ap_next
ap_next:
	.long 0
ap_idt_pointer:
	.word 4095
	.quad idt
	.bss
	.balign 16
ap_stacks:
	.skip 8192 * 16
