/* SPDX-License-Identifier: MIT */
/* See code.h. */
#include "code.h"

#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "cases.h"

#define FLAG_AC 0x40000ul
#define FLAGS 0x202ul
#define START_SIGNAL SIGUSR2
#define SAID_FLAGS 0x3f7fd5ul
#define TRAP_PAGE 14

static struct {
	greg_t start[NGREG], back[NGREG];
	struct outcome outcome;
} run;

/* What follows may be compiled to accesses that are not aligned. */
static inline void clear_alignment_checks(void)
{
	__asm__ volatile("pushfq\n\tandl $~0x40000, (%%rsp)\n\tpopfq" : : : "memory", "cc");
}

static void start(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)number, (void)info;
	memcpy(run.back, uc->uc_mcontext.gregs, sizeof(run.back));
	memcpy(uc->uc_mcontext.gregs, run.start, REG_CSGSFS * sizeof(greg_t));
	uc->uc_mcontext.gregs[REG_CSGSFS] = run.start[REG_CSGSFS] ? run.start[REG_CSGSFS]
								  : run.back[REG_CSGSFS];
}

static void ended(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	clear_alignment_checks();
	run.outcome.signal = number;
	run.outcome.code = info->si_code;
	run.outcome.address = (uint64_t)info->si_addr;
	memcpy(run.outcome.regs, uc->uc_mcontext.gregs, sizeof(run.outcome.regs));
	memcpy(run.outcome.fpu, uc->uc_mcontext.fpregs, sizeof(run.outcome.fpu));
	memcpy(uc->uc_mcontext.gregs, run.back, sizeof(run.back));
}

static void handle(int signal, void (*handler)(int, siginfo_t *, void *))
{
	struct sigaction action = { .sa_sigaction = handler, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	must(sigaction(signal, &action, NULL));
}

static void map(uint64_t address, uint64_t bytes, int protection)
{
	if (mmap((void *)address, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) ==
	    MAP_FAILED)
		give_up("mmap");
}

void code_prepare(void)
{
	static uint8_t stack[65536];
	const stack_t alternate = { .ss_sp = stack, .ss_size = sizeof(stack) };
	const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS };

	must(sigaltstack(&alternate, NULL));
	handle(START_SIGNAL, start);
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		handle(signals[i], ended);
	map(CODE_AT, CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC);
	map(DATA_AT, DATA_BYTES, PROT_READ | PROT_WRITE);
	map(STACK_AT, STACK_BYTES, PROT_READ | PROT_WRITE);
}

void code_start(greg_t regs[NGREG])
{
	memset(regs, 0, NGREG * sizeof(greg_t));
	for (unsigned i = REG_R8; i <= REG_RCX; i++)
		regs[i] = (greg_t)(0x0101010101010101ul * (i + 1));
	regs[REG_RDI] = regs[REG_RSI] = DATA_AT;
	regs[REG_RSP] = STACK_TOP;
	regs[REG_RIP] = CODE_AT;
	regs[REG_EFL] = FLAGS;
}

void code_put(uint64_t address, const void *code, size_t bytes)
{
	memcpy((void *)address, code, bytes);
}

void code_run(const greg_t regs[NGREG], struct outcome *outcome)
{
	memcpy(run.start, regs, sizeof(run.start));
	memset(&run.outcome, 0, sizeof(run.outcome));
	raise(START_SIGNAL);
	/* Only null selectors let a cell be entered again. */
	__asm__ volatile("fninit\n\tcld\n\tmov %0, %%ds\n\tmov %0, %%es" : : "r"(0) : "memory");
	__builtin_ia32_ldmxcsr(0x1f80);
	*outcome = run.outcome;
}

void code_try(const void *code, size_t bytes, struct outcome *outcome)
{
	greg_t regs[NGREG];

	code_start(regs);
	/* What follows a piece that does not fault is INT3. */
	memset((void *)CODE_AT, 0xcc, CODE_BYTES);
	code_put(CODE_AT, code, bytes);
	code_run(regs, outcome);
}

static void say_registers(const greg_t *regs)
{
	static const char *const names[] = { "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi",
					     "rsi", "rbp", "rbx", "rdx", "rax", "rcx", "rsp" };
	greg_t before[NGREG];

	code_start(before);
	for (unsigned i = REG_R8; i <= REG_RSP; i++)
		if (regs[i] != before[i])
			say(" %s=%llx", names[i], regs[i]);
}

void code_say(const char *name, const struct outcome *outcome)
{
	const greg_t *regs = outcome->regs;

	say(" %s(signal %d code %d address %lx trap %lld error %llx rip %llx flags %llx cs %llx", name,
	    outcome->signal, outcome->code, outcome->address, regs[REG_TRAPNO], regs[REG_ERR],
	    regs[REG_RIP], regs[REG_EFL] & (long long)SAID_FLAGS, regs[REG_CSGSFS] & 0xffff);
	if (regs[REG_TRAPNO] == TRAP_PAGE)
		say(" cr2 %llx", regs[REG_CR2]);
	say_registers(regs);
	say(")");
}
