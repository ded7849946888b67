/* SPDX-License-Identifier: MIT */
/* From the Multiboot entry (32-bit, flat, no paging) to guest_main, in 32-bit or in 64-bit mode. */
	.section .multiboot, "a"
	.long 0x1badb002, 0, -0x1badb002

	.text
	.code32
	.globl _start
_start:
	mov %eax, boot_magic
	mov %ebx, boot_info
	cld
	lgdt gdt_pointer
	ljmp $0x38, $1f
1:	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	xor %eax, %eax
	mov %eax, %fs
	mov %eax, %gs
	mov $main_stack_top, %esp
#ifdef __x86_64__
	call build_tables
	call enter_long
	ljmp $0x08, $2f
	.code64
2:	mov $main_stack_top, %rsp
#else
	ljmp $0x08, $2f
2:
#endif
	xor %ebp, %ebp
	call guest_start
	.globl halt
halt:	cli
	hlt
	jmp halt

#ifdef __x86_64__
	.code32
	/* Identity map of the low 4 GiB by 2 MiB pages, open to ring 3. */
build_tables:
	movl $boot_pdpt + 7, boot_pml4
	mov $boot_pd, %edi
	mov $0xe7, %eax /* a large, dirty, accessed, writable user page */
1:	mov %eax, (%edi)
	movl $0, 4(%edi)
	add $8, %edi
	add $0x200000, %eax
	jnc 1b
	mov $boot_pd + 7, %eax
	mov $boot_pdpt, %edi
	mov $4, %ecx
2:	mov %eax, (%edi)
	add $0x1000, %eax
	add $8, %edi
	loop 2b
	ret

	/* CR4.PAE, CR3, EFER.LME, CR0.PG: also the way of the other processors. */
	.globl enter_long
enter_long:
	mov %cr4, %eax
	or $0x20, %eax
	mov %eax, %cr4
	mov $boot_pml4, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx
	rdmsr
	or $0x100, %eax
	wrmsr
	mov %cr0, %eax
	or $0x80000001, %eax
	mov %eax, %cr0
	ret

	.bss
	.balign 4096
	.globl boot_pml4, boot_pdpt, boot_pd
boot_pml4:
	.skip 4096
boot_pdpt:
	.skip 4096
boot_pd:
	.skip 4 * 4096
#endif

	.data
	.balign 8
	.globl boot_magic, boot_info
boot_magic: /* what Multiboot left in EAX and EBX */
	.long 0, 0
boot_info:
	.long 0, 0
	.globl gdt_pointer, gdt
	.word 0, 0, 0
gdt_pointer:
	.word gdt_end - gdt - 1
	.long gdt, 0
	.balign 8
gdt:	.quad 0
#ifdef __x86_64__
	.quad 0x00af9b000000ffff /* KCS */
#else
	.quad 0x00cf9b000000ffff
#endif
	.quad 0x00cf93000000ffff /* KDS */
	.quad 0x00cffb000000ffff /* UCS32 */
	.quad 0x00cff3000000ffff /* UDS */
	.quad 0x00affb000000ffff /* UCS64 */
	.quad 0x00cff3000000ffff /* UDS_SYSEXIT */
	.quad 0x00cf9b000000ffff /* KCS32 */
	.quad 0x00009b000000ffff /* KCS16 */
	.quad 0x000093000000ffff /* KDS16 */
	.skip 8 * 64 - (. - gdt)
gdt_end:

	.bss
	.balign 16
	.globl main_stack_top, stack_top, user_stack_top, fault_stack_top
	.skip 32768
main_stack_top:
	.skip 16384
stack_top: /* of ring 0 when entered from outside */
	.skip 16384
user_stack_top:
	.skip 16384
fault_stack_top:
	.skip 16
