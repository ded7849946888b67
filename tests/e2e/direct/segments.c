/* SPDX-License-Identifier: MIT */
/* Segment registers, their bases, and 32-bit code in between. */
#include <asm/prctl.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cases.h"
#include "code.h"

CODE(read_all, "xor %eax, %eax\n\tmov %cs, %eax\n\tmov %ss, %ebx\n\tmov %ds, %ecx\n\tmov %es, %edx\n\tmov %fs, %r8d\n\t"
	       "mov %gs, %r9d");
#define LOAD(name, selector, register)                                                             \
	CODE(name, "mov $" selector ", %eax\n\tmov %eax, %" register "\n\tmov %" register ", %ecx\n\tmov (%rdi), %rdx\n\t" \
		   "xor %eax, %eax\n\tmov %eax, %" register "\n\tmov %" register ", %ebx")
LOAD(ds_data, "0x2b", "ds");
LOAD(es_data, "0x2b", "es");
LOAD(ds_code, "0x33", "ds");
LOAD(es_code_32, "0x23", "es");
LOAD(es_null, "3", "es");
LOAD(ds_kernel, "0x10", "ds");
LOAD(ds_kernel_3, "0x13", "ds");
LOAD(es_task, "0x43", "es");
LOAD(es_beyond, "0x103", "es");
LOAD(es_local, "0x7", "es");
LOAD(es_number, "0x7b", "es");
LOAD(es_threads, "0x63", "es");
CODE(ss_data, "mov $0x2b, %eax\n\tmov %eax, %ss\n\tpush %rbx\n\tpop %rcx");
CODE(ss_null, "xor %eax, %eax\n\tmov %eax, %ss\n\tnop");
CODE(ss_code, "mov $0x33, %eax\n\tmov %eax, %ss\n\tnop");
CODE(ss_number, "mov $0x7b, %eax\n\tmov %eax, %ss\n\tnop");
CODE(cs_move, ".byte 0x8e, 0xc8");
CODE(pop_gs, "push $0x2b\n\t.byte 0x0f, 0xa9\n\tmov %gs, %ebx\n\tpush $0\n\t.byte 0x0f, 0xa9");

static void selectors(void)
{
	code_prepare();
	TRY(read_all);
	TRY(ds_data);
	TRY(es_data);
	TRY(ds_code);
	TRY(es_code_32);
	TRY(es_null);
	TRY(ds_kernel);
	TRY(ds_kernel_3);
	TRY(es_task);
	TRY(es_beyond);
	TRY(es_local);
	TRY(es_number);
	TRY(es_threads);
	TRY(ss_data);
	TRY(ss_null);
	TRY(ss_code);
	TRY(ss_number);
	TRY(cs_move);
	TRY(pop_gs);
	TRY(read_all);
}

#define FARTHER(name, selector, text)                                                              \
	CODE(name, "push $" selector "\n\tlea 1f(%rip), %rax\n\tpush %rax\n\tlretq\n1:\t" text)
FARTHER(far_same, "0x33", "mov %cs, %ebx");
FARTHER(far_kernel, "0x10", "nop");
FARTHER(far_data, "0x2b", "nop");
FARTHER(far_null, "0", "nop");
FARTHER(far_number, "0x7b", "nop");

static void far_transfers(void)
{
	code_prepare();
	TRY(far_same);
	TRY(far_kernel);
	TRY(far_data);
	TRY(far_null);
	TRY(far_number);
}

/* 64-bit code that goes to 32-bit code (REG_RAX tells where it was) and comes back. */
#define IN_32(text)                                                                                \
	"push $0x23\n\tlea 1f(%rip), %rax\n\tpush %rax\n\tlretq\n1:\t.code32\n\t" text                \
	"\n\tljmp $0x33, $0x10001000\n\t.code64"
#define WITH_DATA "mov $0x2b, %eax\n\tmov %eax, %ds\n\tmov %eax, %es\n\t"
CODE(to_32, IN_32("mov %cs, %ecx\n\tmov $0xffffffff, %eax\n\tinc %eax\n\t.byte 0x40"));
CODE(to_32_and_call, IN_32("xor %ebx, %ebx\n\tmov $27, %eax\n\tint $0x80\n\tmov %cs, %ecx"));
CODE(to_32_and_fault, WITH_DATA IN_32("mov 0x40000000, %eax"));
CODE(to_32_and_divide, IN_32("xor %ecx, %ecx\n\tdiv %ecx"));
CODE(to_32_and_trap, IN_32("int3"));
CODE(to_32_and_trap_long, IN_32(".byte 0xcd, 3"));
CODE(to_32_and_overflow, IN_32("mov $0x7fffffff, %eax\n\tinc %eax\n\tinto"));
CODE(to_32_and_no_overflow, IN_32("xor %eax, %eax\n\tinto"));
CODE(to_32_and_overflow_long, IN_32(".byte 0xcd, 4"));
CODE(to_32_and_load, WITH_DATA IN_32("mov (%edi), %ecx\n\tmov %eax, %es:4(%edi)"));
CODE(to_32_and_bound, WITH_DATA IN_32("movl $1, (%edi)\n\tmovl $2, 4(%edi)\n\tmov $3, %eax\n\tbound %eax, (%edi)"));
CODE(to_32_and_decimal, IN_32("mov $0x19, %eax\n\tadd $0x28, %al\n\tdaa\n\taam"));
CODE(to_32_and_stack, WITH_DATA IN_32("pusha\n\tpopa\n\tpush %cs\n\tpop %edx\n\tpushf\n\tpop %ebx\n\tpush %ds\n\tpop %ecx"));
CODE(to_32_and_address, WITH_DATA IN_32("mov $0xfffffff0, %ebx\n\tmov 0x20000010(%ebx), %ecx"));
CODE(to_32_and_syscall, IN_32("syscall"));
CODE(to_32_and_wide_vector, IN_32("vpcmpeqd %ymm1, %ymm1, %ymm1\n\tvmovd %xmm1, %ecx"));
CODE(to_32_and_arpl, IN_32("mov $3, %eax\n\tmov $0x10, %ecx\n\tarpl %ax, %cx"));
CODE(to_32_and_spin, IN_32("mov $1000000, %ecx\n1:\tdec %ecx\n\tjnz 1b"));
CODE(to_32_and_load_segment, IN_32("mov $0x2b, %eax\n\tmov %eax, %ds\n\tmov %eax, %es\n\tmov (%edi), %ecx\n\t"
				   "xor %eax, %eax\n\tmov %eax, %ds\n\tmov %eax, %es"));
CODE(to_32_with_null_segment, IN_32("mov %ds:(%edi), %ecx"));

static void in_32_bits(void)
{
	code_prepare();
#define TRY_32(name)                                                                               \
	do {                                                                                       \
		struct outcome outcome;                                                            \
		greg_t regs[NGREG];                                                                \
		code_start(regs);                                                                  \
		memset((void *)CODE_AT, 0xcc, CODE_BYTES);                                         \
		memset((void *)DATA_AT, 0x11, 64);                                                 \
		code_put(CODE_AT, name, (size_t)(name##_end - name));                              \
		/* Back in 64-bit code. */                                                         \
		code_put(CODE_AT + 0x1000, "\x90\x48\x8c\xca\xcc", 5);                             \
		code_run(regs, &outcome);                                                          \
		code_say(#name, &outcome);                                                         \
	} while (0)
	TRY_32(to_32);
	TRY_32(to_32_and_call);
	TRY_32(to_32_and_fault);
	TRY_32(to_32_and_divide);
	TRY_32(to_32_and_trap);
	TRY_32(to_32_and_trap_long);
	TRY_32(to_32_and_overflow);
	TRY_32(to_32_and_no_overflow);
	TRY_32(to_32_and_overflow_long);
	TRY_32(to_32_and_load);
	TRY_32(to_32_and_bound);
	TRY_32(to_32_and_decimal);
	TRY_32(to_32_and_stack);
	TRY_32(to_32_and_address);
	TRY_32(to_32_and_syscall);
	TRY_32(to_32_and_wide_vector);
	TRY_32(to_32_and_arpl);
	TRY_32(to_32_and_spin);
	TRY_32(to_32_and_load_segment);
	TRY_32(to_32_with_null_segment);
}

CODE(write_bases,
     "movabs $0x123456789000, %rax\n\twrgsbase %rax\n\trdgsbase %rbx\n\tmov %gs, %ecx\n\tmov $162, %edx\n\t"
     "rdfsbase %r8\n\twrfsbase %rdi\n\tmov %fs:0, %r9\n\twrfsbase %r8\n\txor %r8, %r8");
CODE(write_base_32, "wrgsbase %eax\n\trdgsbase %rbx");
CODE(write_base_not_canonical, "movabs $0x8000000000000000, %rax\n\twrgsbase %rax");
CODE(fault_over_base, "wrgsbase %rdi\n\tmov %gs:0x20000000, %eax");
CODE(null_clears_base, "wrgsbase %rdi\n\txor %eax, %eax\n\tmov %eax, %gs\n\trdgsbase %rbx");
CODE(data_clears_base, "wrgsbase %rdi\n\tmov $0x2b, %eax\n\tmov %eax, %gs\n\trdgsbase %rbx\n\txor %eax, %eax\n\tmov %eax, %gs");

static void bases(void)
{
	unsigned long base = 0;

	code_prepare();
	*(uint64_t *)DATA_AT = 0xabcdef;
	TRY(write_bases);
	must(syscall(SYS_arch_prctl, ARCH_GET_GS, &base));
	say(" kernel: %lx", base);
	must(syscall(SYS_arch_prctl, ARCH_SET_GS, DATA_AT));
	say(" %llx", __builtin_ia32_rdgsbase64());
	say(" kernel's own: %ld", syscall(SYS_arch_prctl, ARCH_SET_GS, 0xffff800000000000ul));
	TRY(write_base_32);
	TRY(write_base_not_canonical);
	TRY(fault_over_base);
	TRY(null_clears_base);
	TRY(data_clears_base);
}

/* Bases are kept when others run. */
static void bases_kept(void)
{
	unsigned wrong = 0;

	for (unsigned child = 0; child < 3; child++) {
		if (fork())
			continue;
		__builtin_ia32_wrgsbase64(0x1000 * (child + 1));
		for (unsigned i = 0; i < 300; i++) {
			if (i % 10 == 0)
				usleep(100);
			wrong += __builtin_ia32_rdgsbase64() != 0x1000 * (child + 1);
		}
		_exit(wrong ? 1 : 0);
	}
	for (unsigned child = 0; child < 3; child++)
		say_end_of(-1);
}

/* What VERR, VERW, LAR and LSL answer about all of a table, and where an instruction tells of the system. */
static void descriptors(void)
{
	for (unsigned selector = 0; selector < 0x108; selector += selector & 3 ? 5 : 3) {
		unsigned rights = 0, limit = 0, readable, writable;
		bool has_rights, has_limit;

		__asm__ volatile("lar %2, %0" : "+r"(rights), "=@ccz"(has_rights) : "r"(selector));
		__asm__ volatile("lsl %2, %0" : "+r"(limit), "=@ccz"(has_limit) : "r"(selector));
		__asm__ volatile("verr %w1" : "=@ccz"(readable) : "r"(selector));
		__asm__ volatile("verw %w1" : "=@ccz"(writable) : "r"(selector));
		if ((selector & ~3u) == 0x78 && has_limit)
			limit = (limit & 0xfff) < (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
		if (has_rights || has_limit || readable || writable)
			say(" %x:%x/%x/%u%u", selector, rights, limit, readable, writable);
	}
}

static const struct direct_case cases[] = {
	{ "selectors", selectors, false },
	{ "far transfers", far_transfers, false },
	{ "in 32 bits", in_32_bits, false },
	{ "bases", bases, false },
	{ "bases kept", bases_kept, false },
	{ "descriptors", descriptors, true },
	{ NULL, NULL, false },
};
const struct direct_group segments_group = { "segments", cases, false };
