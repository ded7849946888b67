/* SPDX-License-Identifier: MIT */
/* Exceptions other than page faults; instructions that user code must not execute. */
#include <stdlib.h>
#include <sys/mman.h>

#include "cases.h"
#include "code.h"

CODE(undefined, "ud2");
CODE(undefined_1, "ud1 %eax, %ebx");
CODE(undefined_long, ".byte 0x0f, 0xff, 0xc0");
CODE(old_push_cs, ".byte 0x0e");
CODE(too_long, ".fill 15, 1, 0x66\n\tnop");
CODE(lock_on_register, ".byte 0xf0, 0x01, 0xc0");

static void undefined_instructions(void)
{
	code_prepare();
	TRY(undefined);
	TRY(undefined_1);
	TRY(undefined_long);
	TRY(old_push_cs);
	TRY(too_long);
	TRY(lock_on_register);
}

CODE(halt, "hlt");
CODE(no_interrupts, "cli");
CODE(interrupts, "sti");
CODE(input, "in $0x70, %al");
CODE(output, "out %al, $0x80");
CODE(input_string, "insb");
CODE(input_dx, "mov $0x3f8, %edx\n\tin %dx, %eax");
CODE(read_control, "mov %cr0, %rax");
CODE(write_control, "mov %rax, %cr3");
CODE(read_debug, "mov %dr7, %rax");
CODE(read_model_specific, "mov $0xc0000080, %ecx\n\trdmsr");
CODE(write_model_specific, "wrmsr");
CODE(read_counter, "mov $0, %ecx\n\trdpmc");
CODE(load_descriptors, "lgdt (%rdi)");
CODE(load_interrupts, "lidt (%rdi)");
CODE(load_task, "ltr %ax");
CODE(load_local, "lldt %ax");
CODE(clear_task_switched, "clts");
CODE(write_status_word, "lmsw %ax");
CODE(invalidate, "invd");
CODE(write_back, "wbinvd");
CODE(invalidate_page, "invlpg (%rdi)");
CODE(swap_base, "swapgs");
CODE(return_from_call, "sysretq");
CODE(exit_32, "sysexitl");
CODE(monitor, "mov %rdi, %rax\n\txor %ecx, %ecx\n\tmonitor");
CODE(wait_monitored, "mwait");
CODE(set_extended, "xor %ecx, %ecx\n\txsetbv");
CODE(allow_access, "stac");
CODE(resume_management, "rsm");
CODE(virtual_run, ".byte 0x0f, 0x01, 0xd8");
CODE(virtual_on, ".byte 0xf3, 0x0f, 0xc7, 0x37");

static void privileged(void)
{
	code_prepare();
	TRY(halt);
	TRY(no_interrupts);
	TRY(interrupts);
	TRY(input);
	TRY(output);
	TRY(input_string);
	TRY(input_dx);
	TRY(read_control);
	TRY(write_control);
	TRY(read_debug);
	TRY(read_model_specific);
	TRY(write_model_specific);
	TRY(read_counter);
	TRY(load_descriptors);
	TRY(load_interrupts);
	TRY(load_task);
	TRY(load_local);
	TRY(clear_task_switched);
	TRY(write_status_word);
	TRY(invalidate);
	TRY(write_back);
	TRY(invalidate_page);
	TRY(swap_base);
	TRY(return_from_call);
	TRY(exit_32);
	TRY(monitor);
	TRY(wait_monitored);
	TRY(set_extended);
	TRY(allow_access);
	TRY(resume_management);
	TRY(virtual_run);
	TRY(virtual_on);
}

CODE(breakpoint, "nop\n\tint3");
CODE(breakpoint_long, "nop\n\t.byte 0xcd, 0x03\n\tnop");
CODE(breakpoint_prefixed, "nop\n\t.byte 0x66, 0xcc\n\tnop");
CODE(breakpoint_long_prefixed, "nop\n\t.byte 0x40, 0xcd, 0x03\n\tnop");
CODE(breakpoint_behind_cd, ".byte 0x3c, 0xcd, 0xcc");
CODE(debug_trap, "nop\n\t.byte 0xf1\n\tnop");
CODE(debug_long, "int $1");
CODE(overflow_long, "nop\n\t.byte 0xcd, 0x04\n\tnop");
CODE(overflow_short, ".byte 0xce");
CODE(interrupt_0, "int $0");
CODE(interrupt_2, "int $2");
CODE(interrupt_5, "int $5");
CODE(interrupt_8, "int $8");
CODE(interrupt_14, "int $14");
CODE(interrupt_32, "int $32");
CODE(interrupt_129, "int $0x81");
CODE(interrupt_255, "int $255");

static void software_interrupts(void)
{
	code_prepare();
	TRY(breakpoint);
	TRY(breakpoint_long);
	TRY(breakpoint_prefixed);
	TRY(breakpoint_long_prefixed);
	TRY(breakpoint_behind_cd);
	TRY(debug_trap);
	TRY(debug_long);
	TRY(overflow_long);
	TRY(overflow_short);
	TRY(interrupt_0);
	TRY(interrupt_2);
	TRY(interrupt_5);
	TRY(interrupt_8);
	TRY(interrupt_14);
	TRY(interrupt_32);
	TRY(interrupt_129);
	TRY(interrupt_255);
}

/* The trap's last byte is a page's last, so that what is behind it cannot be read. */
static void breakpoint_at_a_page_end(void)
{
	static const uint8_t pieces[][2] = { { 0x90, 0xcc }, { 0xcd, 0x03 }, { 0xcd, 0x04 }, { 0x90, 0xf1 } };

	code_prepare();
	must(munmap((void *)(CODE_AT + 4096), CODE_BYTES - 4096));
	for (unsigned i = 0; i < 4; i++) {
		struct outcome outcome;
		greg_t regs[NGREG];

		code_start(regs);
		regs[REG_RIP] = CODE_AT + 4094;
		code_put(CODE_AT + 4094, pieces[i], 2);
		code_run(regs, &outcome);
		code_say("at the end", &outcome);
	}
}

CODE(divide_by_zero, "xor %ecx, %ecx\n\txor %edx, %edx\n\tdiv %ecx");
CODE(divide_too_large, "mov $-1, %edx\n\tmov $2, %ecx\n\tdiv %ecx");
CODE(divide_signed, "movabs $0x8000000000000000, %rax\n\tcqo\n\tmov $-1, %rcx\n\tidiv %rcx");
CODE(divide_memory, "movl $0, (%rdi)\n\tidivl (%rdi)");

static void divide_errors(void)
{
	code_prepare();
	TRY(divide_by_zero);
	TRY(divide_too_large);
	TRY(divide_signed);
	TRY(divide_memory);
}

#define X87(mask) "fninit\n\tpush $" mask "\n\tfldcw (%rsp)\n\tpop %rdx\n\t"
CODE(x87_divide, X87("0x37b") "fld1\n\tfldz\n\tfdivrp\n\tnop\n\tfwait");
CODE(x87_invalid, X87("0x37e") "fldz\n\tfldz\n\tfdivrp\n\tfld1");
CODE(x87_stack, X87("0x37e") "fstp %st(0)\n\tfwait");
CODE(x87_inexact, X87("0x35f") "fld1\n\tfldpi\n\tfdivrp\n\tfstl (%rdi)");
CODE(x87_late, X87("0x37b") "fld1\n\tfldz\n\tfdivrp\n\tmov $39, %eax\n\tsyscall\n\txor %eax, %eax\n\tfwait");
CODE(x87_no_wait, X87("0x37b") "fld1\n\tfldz\n\tfdivrp\n\tfnstsw %ax\n\tfnclex\n\tfwait");

#define SSE(mask) "movl $" mask ", (%rdi)\n\tldmxcsr (%rdi)\n\t"
#define ONE_AND_ZERO "mov $1, %eax\n\tcvtsi2sd %eax, %xmm1\n\txorps %xmm2, %xmm2\n\t"
CODE(sse_divide, SSE("0x1d80") ONE_AND_ZERO "divsd %xmm2, %xmm1");
CODE(sse_invalid, SSE("0x1f00") ONE_AND_ZERO "divsd %xmm2, %xmm2");
CODE(sse_inexact, SSE("0x0f80") ONE_AND_ZERO "mov $3, %eax\n\tcvtsi2sd %eax, %xmm2\n\tdivsd %xmm2, %xmm1");
CODE(sse_denormal, SSE("0x1e80") ONE_AND_ZERO "mov $1, %eax\n\tmovq %rax, %xmm2\n\taddsd %xmm2, %xmm1");
CODE(sse_mask, SSE("0xffff0000"));
CODE(avx_divide, SSE("0x1d80") ONE_AND_ZERO "vdivsd %xmm2, %xmm1, %xmm3");

static void floating_point(void)
{
	code_prepare();
	TRY(x87_divide);
	TRY(x87_invalid);
	TRY(x87_stack);
	TRY(x87_inexact);
	TRY(x87_late);
	TRY(x87_no_wait);
	TRY(sse_divide);
	TRY(sse_invalid);
	TRY(sse_inexact);
	TRY(sse_denormal);
	TRY(sse_mask);
	TRY(avx_divide);
}

#define WITH_AC "pushfq\n\torl $0x40000, (%rsp)\n\tpopfq\n\t"
#define WITHOUT_AC "pushfq\n\tandl $~0x40000, (%rsp)\n\tpopfq\n\t"
CODE(unaligned_load, WITH_AC "mov 1(%rdi), %eax");
CODE(unaligned_store, WITH_AC "mov %rax, 4(%rdi)");
CODE(unaligned_word, WITH_AC "mov 1(%rdi), %ax");
CODE(unaligned_vector, WITH_AC "movups 8(%rdi), %xmm0\n\tmovups 1(%rdi), %xmm0");
CODE(unaligned_vector_aligned, WITH_AC "movaps 8(%rdi), %xmm0");
CODE(unaligned_stack, WITH_AC "sub $3, %rsp\n\tpush %rax");
CODE(unaligned_locked, WITH_AC "lock incl 1(%rdi)");
CODE(unaligned_string, WITH_AC "inc %rsi\n\tmov $4, %ecx\n\trep movsl");
CODE(unaligned_x87, WITH_AC "fldl 4(%rdi)");
CODE(aligned_all_along,
     WITH_AC "mov $100000, %ecx\n1:\tmov (%rdi), %rax\n\tadd %rcx, 8(%rdi)\n\tdec %ecx\n\tjnz 1b\n\t"
	     "mov $39, %eax\n\tsyscall\n\tmov $39, %eax\n\tpushfq\n\tpop %rbx\n\t" WITHOUT_AC "mov 1(%rdi), %edx");
CODE(unaligned_and_missing, WITH_AC "mov $0x40000001, %edx\n\tmov (%rdx), %eax");

static void alignment_checks(void)
{
	code_prepare();
	TRY(unaligned_load);
	TRY(unaligned_store);
	TRY(unaligned_word);
	TRY(unaligned_vector);
	TRY(unaligned_vector_aligned);
	TRY(unaligned_stack);
	TRY(unaligned_locked);
	TRY(unaligned_string);
	TRY(unaligned_x87);
	TRY(unaligned_and_missing);
}

/* With AC set, over system calls (whose results differ, so they are written over). */
static void alignment_checks_over_calls(void)
{
	struct outcome outcome;

	code_prepare();
	code_try(aligned_all_along, (size_t)(aligned_all_along_end - aligned_all_along), &outcome);
	outcome.regs[REG_RAX] = 0;
	code_say("aligned all along", &outcome);
}

/* RSP at the end of memory: the handler has a stack of its own. */
CODE(push_for_ever, "1:\tpush %rax\n\tjmp 1b");
CODE(call_for_ever, "1:\tcall 1b");
CODE(stack_nowhere, "mov $0x123456789abc, %rsp\n\tpush %rax");
CODE(stack_not_canonical, "movabs $0x8000000000000000, %rsp\n\tpush %rax");
CODE(stack_not_canonical_frame, "movabs $0x8000000000000000, %rbp\n\tmov (%rbp), %rax");
CODE(leave_not_canonical, "movabs $0x8000000000000000, %rbp\n\tleave");

static void stacks(void)
{
	code_prepare();
	TRY(push_for_ever);
	TRY(call_for_ever);
	TRY(stack_nowhere);
	TRY(stack_not_canonical);
	TRY(stack_not_canonical_frame);
	TRY(leave_not_canonical);
}

static const struct direct_case cases[] = {
	{ "undefined", undefined_instructions, false },
	{ "privileged", privileged, false },
	{ "software interrupts", software_interrupts, false },
	{ "breakpoint at a page's end", breakpoint_at_a_page_end, false },
	{ "divide errors", divide_errors, false },
	{ "floating point", floating_point, false },
	{ "alignment checks", alignment_checks, false },
	{ "alignment checks over calls", alignment_checks_over_calls, false },
	{ "stacks", stacks, false },
	{ NULL, NULL, false },
};
const struct direct_group traps_group = { "traps", cases, false };
