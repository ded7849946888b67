/* SPDX-License-Identifier: MIT */
/* Single steps by the trap flag: one signal an instruction, wherever it goes. */
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "cases.h"
#include "code.h"

#define MOST_STEPS 64
#define FLAG_TF 0x100ul

/* What each step's signal saw. */
static struct step {
	uint64_t rip, flags;
	int signal, code;
} steps[MOST_STEPS];
static unsigned stepped;

static greg_t back[NGREG], begin[NGREG];

static void start(int number, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)number, (void)info;
	memcpy(back, regs, sizeof(back));
	memcpy(regs, begin, REG_CSGSFS * sizeof(greg_t));
}

static void step(int number, siginfo_t *info, void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

	steps[stepped++] = (struct step){ (uint64_t)regs[REG_RIP], (uint64_t)regs[REG_EFL], number,
					  info->si_code };
	if (number == SIGSEGV)
		must(mprotect((void *)DATA_AT, DATA_BYTES, PROT_READ | PROT_WRITE));
	if (number == SIGILL || stepped == MOST_STEPS)
		memcpy(regs, back, sizeof(back));
}

static void handle(int number, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	must(sigaction(number, &action, NULL));
}

/* Code runs from CODE_AT until it meets UD2. */
static void run_steps(const char *name, const void *code, size_t bytes, uint64_t flags)
{
	handle(SIGUSR2, start);
	handle(SIGTRAP, step);
	handle(SIGILL, step);
	handle(SIGSEGV, step);
	memset((void *)CODE_AT, 0, CODE_BYTES);
	code_put(CODE_AT, code, bytes);
	code_put(CODE_AT + bytes, "\x0f\x0b", 2);
	code_start(begin);
	begin[REG_EFL] |= (greg_t)flags;
	stepped = 0;
	raise(SIGUSR2);
	say(" %s:", name);
	for (unsigned i = 0; i < stepped; i++)
		say(" %lx/%lx/%d/%d", steps[i].rip - CODE_AT, steps[i].flags, steps[i].signal,
		    steps[i].code);
}

#define STEP(name) code_prepare(), run_steps(#name, name, (size_t)(name##_end - name), FLAG_TF)
#define STEP_FROM_CODE(name) code_prepare(), run_steps(#name, name, (size_t)(name##_end - name), 0)
#define SET_TF "pushfq\n\torl $0x100, (%rsp)\n\tpopfq\n\t"
#define CLEAR_TF "pushfq\n\tandl $~0x100, (%rsp)\n\tpopfq\n\t"

CODE(straight, "nop\n\tmov $1, %eax\n\tlea 1(%rax), %ecx\n\tadd %ecx, %eax");
CODE(jumps, "mov $3, %ecx\n1:\tdec %ecx\n\tjnz 1b\n\tcall 2f\n\tjmp 3f\n2:\tret\n3:\tnop");
CODE(strings, "mov $3, %ecx\n\tcld\n\trep stosb\n\tlodsb\n\tmov $2, %ecx\n\trepne scasb");
CODE(calls, "mov $39, %eax\n\tsyscall\n\tnop\n\tmov $39, %eax\n\tsyscall\n\tnop");
CODE(old_calls, "mov $20, %eax\n\tint $0x80\n\tnop");
CODE(pushes_flags, "pushfq\n\tpop %rax\n\tnop");

static void from_outside(void)
{
	STEP(straight);
	STEP(jumps);
	STEP(strings);
	STEP(calls);
	STEP(old_calls);
	STEP(pushes_flags);
}

CODE(set, SET_TF "nop\n\tnop");
CODE(set_and_clear, SET_TF CLEAR_TF "nop\n\tnop");
CODE(set_and_clear_at_once,
     "pushfq\n\tpushfq\n\torl $0x100, (%rsp)\n\tpopfq\n\tpopfq\n\tnop\n\tnop");
CODE(set_and_clear_by_iret,
     "mov %ss, %eax\n\tpush %rax\n\tlea (%rsp), %rbx\n\tpush %rbx\n\tpushfq\n\tmov %cs, %eax\n\tpush %rax\n\t"
     "lea 1f(%rip), %rax\n\tpush %rax\n\tpushfq\n\torl $0x100, (%rsp)\n\tpopfq\n\tiretq\n1:\tnop\n\tnop");
CODE(set_by_iret,
     "mov %ss, %eax\n\tpush %rax\n\tlea (%rsp), %rbx\n\tpush %rbx\n\tpushfq\n\torl $0x100, (%rsp)\n\tmov %cs, %eax\n\t"
     "push %rax\n\tlea 1f(%rip), %rax\n\tpush %rax\n\tiretq\n\tud2\n1:\tnop\n\tnop");
CODE(set_and_call, "mov $39, %eax\n\t" SET_TF "syscall\n\tnop");
CODE(set_and_old_call, "mov $20, %eax\n\t" SET_TF "int $0x80\n\tnop");
CODE(set_and_trap, SET_TF "int3\n\tnop");
CODE(set_and_trap_long, SET_TF ".byte 0xcd, 0x03\n\tnop");
CODE(set_and_debug_trap, SET_TF ".byte 0xf1\n\tnop");
CODE(set_and_string, "mov $3, %ecx\n\t" SET_TF "rep stosb\n\tnop");
CODE(set_and_new_page, SET_TF "mov 0x2000(%rdi), %eax\n\tmov %eax, 0x3000(%rdi)\n\tnop");
CODE(set_and_segment, "mov %ss, %eax\n\t" SET_TF "mov %eax, %ss\n\tnop\n\tnop");
CODE(set_and_jump_to_new_page, SET_TF "jmp 1f\n\t.fill 8192, 1, 0x90\n1:\tnop");
CODE(set_and_counter, SET_TF "rdtsc\n\tnop\n\tcpuid\n\tnop");

static void by_the_code(void)
{
	STEP_FROM_CODE(set);
	STEP_FROM_CODE(set_and_clear);
	STEP_FROM_CODE(set_and_clear_at_once);
	STEP_FROM_CODE(set_and_clear_by_iret);
	STEP_FROM_CODE(set_by_iret);
	STEP_FROM_CODE(set_and_call);
	STEP_FROM_CODE(set_and_old_call);
	STEP_FROM_CODE(set_and_trap);
	STEP_FROM_CODE(set_and_trap_long);
	STEP_FROM_CODE(set_and_debug_trap);
	STEP_FROM_CODE(set_and_string);
	STEP_FROM_CODE(set_and_new_page);
	STEP_FROM_CODE(set_and_segment);
	STEP_FROM_CODE(set_and_jump_to_new_page);
	STEP_FROM_CODE(set_and_counter);
}

/* A step's instruction faults, is mended, and done again. */
static void over_faults(void)
{
	code_prepare();
	must(mprotect((void *)DATA_AT, DATA_BYTES, PROT_NONE));
	run_steps("fault", set_and_new_page, (size_t)(set_and_new_page_end - set_and_new_page), 0);
}

static const struct direct_case cases[] = {
	{ "from outside", from_outside, false },
	{ "by the code", by_the_code, false },
	{ "over faults", over_faults, false },
	{ NULL, NULL, false },
};
const struct direct_group steps_group = { "steps", cases, false };
