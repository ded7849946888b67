/* SPDX-License-Identifier: MIT */
/*
 * The option ROM that lets a BIOS start a Linux kernel out of the firmware configuration device's
 * numbered items, through the kernel's own real-mode entry (Linux: Documentation/arch/x86/boot.rst).
 * A BIOS calls it as a boot device (BIOS Boot Specification 1.01, appendix A). Everything is copied
 * by the device's DMA, which reaches all of memory from real mode. It runs in the guest, wherever
 * the BIOS put it; so addresses are relative to its start. fw_cfg_linux.c adds the check sum.
 *
 *	0x07c00  stack below; variables above       0x20000  command line
 *	0x10000  setup part, with its stack        0x100000  protected-mode part
 */
	.section .rodata
	.globl	linux_rom, linux_rom_end

	.set	PORT_DMA, 0x514
	.set	DMA_SELECT_READ, 0x0a
	.set	ITEM_KERNEL_SIZE, 0x08
	.set	ITEM_INITRD_SIZE, 0x0b
	.set	ITEM_KERNEL, 0x11
	.set	ITEM_INITRD, 0x12
	.set	ITEM_CMDLINE_SIZE, 0x14
	.set	ITEM_CMDLINE, 0x15
	.set	ITEM_SETUP_SIZE, 0x17
	.set	ITEM_SETUP, 0x18

	.set	VARIABLES, 0x7c00
	.set	ACCESS, VARIABLES	/* the DMA's command: control, length, address, big-endian */
	.set	ACCESS_LENGTH, VARIABLES + 4
	.set	ACCESS_HIGH, VARIABLES + 8
	.set	ACCESS_LOW, VARIABLES + 12
	.set	SIZE, VARIABLES + 16

	.set	SETUP_SEGMENT, 0x1000
	.set	CMDLINE, 0x20000
	.set	KERNEL, 0x100000
	.set	HEAP_END, 0xe000
	/* Fields of the kernel's header. */
	.set	VERSION, 0x206
	.set	TYPE_OF_LOADER, 0x210
	.set	LOADFLAGS, 0x211
	.set	RAMDISK_IMAGE, 0x218
	.set	RAMDISK_SIZE, 0x21c
	.set	HEAP_END_PTR, 0x224
	.set	CMD_LINE_PTR, 0x228
	.set	INITRD_ADDR_MAX, 0x22c
	.set	LOADER_OTHER, 0xff
	.set	CAN_USE_HEAP, 0x80

	.code16
linux_rom:
	.byte	0x55, 0xaa, (linux_rom_end - linux_rom) / 512
	lret				/* initialisation: nothing to do */
	.org	linux_rom + 0x1a
	.word	pnp - linux_rom
	.balign	4
pnp:
	.ascii	"$PnP"
	.byte	1, (pnp_end - pnp) / 16
	.word	0			/* no further header */
	.byte	0, 0			/* check sum of this header: not looked at */
	.long	0			/* device identifier */
	.word	0			/* manufacturer */
	.word	product - linux_rom
	.byte	0, 0, 0			/* device type */
	.byte	0x14			/* may be a boot device; is not needed for others */
	.word	0, 0			/* boot and disconnect vectors */
	.word	boot - linux_rom	/* bootstrap entry vector */
	.word	0, 0
	.balign	16
pnp_end:
product:
	.asciz	"Linux kernel (-k)"

boot:
	cli
	cld
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %ss
	movl	$VARIABLES, %esp
	movl	$ITEM_SETUP_SIZE << 16 | ITEM_SETUP, %eax
	movl	$SETUP_SEGMENT << 4, %edi
	call	copy
	movl	$ITEM_CMDLINE_SIZE << 16 | ITEM_CMDLINE, %eax
	movl	$CMDLINE, %edi
	call	copy
	movl	$ITEM_KERNEL_SIZE << 16 | ITEM_KERNEL, %eax
	movl	$KERNEL, %edi
	call	copy
	movw	$SETUP_SEGMENT, %ax
	movw	%ax, %es
	movb	$LOADER_OTHER, %es:TYPE_OF_LOADER
	orb	$CAN_USE_HEAP, %es:LOADFLAGS
	movw	$HEAP_END - 0x200, %es:HEAP_END_PTR
	movl	$CMDLINE, %es:CMD_LINE_PTR
	call	load_initrd
	cli
	movw	$SETUP_SEGMENT, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %fs
	movw	%ax, %gs
	movw	%ax, %ss
	movl	$HEAP_END, %esp
	ljmp	$SETUP_SEGMENT + 0x20, $0

/* As high as the kernel allows, below the RAM's end as the BIOS says: it keeps some for itself. */
load_initrd:
	movl	$ITEM_INITRD_SIZE, %eax
	call	read_size
	testl	%ecx, %ecx
	jz	2f
	pushl	%ecx
	call	ram_end
	popl	%ecx
	movl	$0x37ffffff, %eax
	cmpw	$0x203, %es:VERSION
	jb	0f
	movl	%es:INITRD_ADDR_MAX, %eax
0:	cmpl	%edx, %eax
	jae	1f
	leal	1(%eax), %edx
1:	subl	%ecx, %edx
	andl	$~0xfff, %edx
	movl	%edx, %es:RAMDISK_IMAGE
	movl	%ecx, %es:RAMDISK_SIZE
	movl	%edx, %edi
	movl	$ITEM_INITRD_SIZE << 16 | ITEM_INITRD, %eax
	jmp	copy
2:	ret

/* The end of RAM below 4 GiB to EDX: KiB from 1 MiB on, and from 16 MiB on blocks of 64 KiB. */
ram_end:
	movw	$0xe801, %ax
	xorw	%cx, %cx
	xorw	%dx, %dx
	int	$0x15
	movzwl	%dx, %edx
	shll	$16, %edx
	jz	0f
	addl	$16 << 20, %edx
	ret
0:	movzwl	%cx, %edx
	shll	$10, %edx
	addl	$1 << 20, %edx
	ret

/* The value of the item EAX, a size in bytes, to ECX. */
read_size:
	pushl	%eax
	pushl	%edi
	movl	$SIZE, %edi
	movl	$4, %ecx
	call	transfer
	movl	SIZE, %ecx
	popl	%edi
	popl	%eax
	ret

/* The item in EAX's lower half, whose size is the item in its upper half, to EDI. */
copy:
	pushl	%eax
	shrl	$16, %eax
	call	read_size
	popl	%eax
	movzwl	%ax, %eax

/* ECX bytes of the item EAX to the physical address EDI. The device is done when OUT is. */
transfer:
	shll	$16, %eax
	orb	$DMA_SELECT_READ, %al
	bswapl	%eax
	bswapl	%ecx
	bswapl	%edi
	movl	%eax, ACCESS
	movl	%ecx, ACCESS_LENGTH
	movl	$0, ACCESS_HIGH
	movl	%edi, ACCESS_LOW
	movw	$PORT_DMA, %dx
	xorl	%eax, %eax
	outl	%eax, %dx
	addw	$4, %dx
	movl	$ACCESS, %eax
	bswapl	%eax
	outl	%eax, %dx
	ret

	.byte	0			/* room for the check sum */
	.balign	512
linux_rom_end:
	.code64
	.section .note.GNU-stack, "", @progbits
