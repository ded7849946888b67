/* SPDX-License-Identifier: MIT */
/*
 * Exceptions that the host raises while a stub runs the guest's instruction reach us as signals.
 * The handler makes the stub return the exception's vector instead of 0; the kernel then puts back
 * the vector state that the instruction faulted with, which is the guest's, exact.
 *
 * Signal handlers belong to the process, so what they were before is kept here for all machines: it
 * is written once. Which CPU's state a thread's registers hold is a fact of the thread.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <ucontext.h>

#include "base/error.h"
#include "host/cpuid.h"
#include "isa/x86/vector/hoststub.h"
#include "isa/x86/mirror/mirror.h"
#include "mem/window.h"

#define SIGNALS 4

static const int signals[SIGNALS] = { SIGFPE, SIGILL, SIGBUS, SIGSEGV };
static struct sigaction previous[SIGNALS];
static pthread_once_t installed = PTHREAD_ONCE_INIT;
static _Thread_local struct x86_cpu *bound;

void host_fault_bind(struct x86_cpu *cpu)
{
	bound = cpu;
}

/* Whether rip is where the stub runs the guest's instruction. */
static bool at_instruction(const struct host_stub *stub, uint64_t rip)
{
	return stub && stub->code && rip == (uint64_t)(uintptr_t)stub->code + stub->insn_at;
}

/* VZEROALL outside of 64-bit mode is several instructions, but none that faults. */
static const struct host_stub *running_stub(uint64_t rip)
{
	const struct x86_cpu *cpu = bound;

	if (!cpu || !cpu->insn || !cpu->hostexec)
		return NULL;
	if (at_instruction(cpu->insn->stub, rip))
		return cpu->insn->stub;
	return NULL;
}

/* The guest's exception, or 0: a memory access that failed is the monitor's own affair. */
static uint64_t guest_vector(const mcontext_t *context)
{
	uint64_t vector = (uint64_t)context->gregs[REG_TRAPNO];

	switch (vector) {
	case X86_UD: case X86_GP: case X86_MF: case X86_AC_FAULT: case X86_XM:
		return vector;
	default:
		return 0;
	}
}

static void chain(int signal, siginfo_t *info, void *context)
{
	for (unsigned i = 0; i < SIGNALS; i++) {
		const struct sigaction *action = &previous[i];

		if (signals[i] != signal)
			continue;
		if (action->sa_flags & SA_SIGINFO) {
			action->sa_sigaction(signal, info, context);
		} else if (action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN) {
			action->sa_handler(signal);
		} else {
			/* Back at the instruction it happens again, and ends the process. */
			struct sigaction fatal = { .sa_handler = SIG_DFL };

			sigaction(signal, &fatal, NULL);
		}
	}
}

/* Linux makes SIGBUS of #SS: an address through RBP or RSP that is not canonical. */
static bool is_memory(int signal, const mcontext_t *machine)
{
	return signal == SIGSEGV || machine->gregs[REG_TRAPNO] == X86_SS_FAULT;
}

/* Translated code leaves what faults to the interpreter, which will meet the fault in a stub. */
static bool resume_translated(mcontext_t *machine, bool memory)
{
	uint64_t resume = bound ? mirror_fault(bound, (uint64_t)machine->gregs[REG_RIP],
					       (uint64_t)machine->gregs[REG_EFL], memory) : 0;

	if (resume)
		machine->gregs[REG_RIP] = (greg_t)resume;
	return resume;
}

static void handle(int signal, siginfo_t *info, void *context)
{
	mcontext_t *machine = &((ucontext_t *)context)->uc_mcontext;
	const struct host_stub *stub = running_stub((uint64_t)machine->gregs[REG_RIP]);
	uint64_t vector = guest_vector(machine);

	/* A device's memory, whatever the instruction. */
	if (signal == SIGBUS && info->si_code == BUS_ADRERR && mem_window_fault(info->si_addr))
		return;
	if (info->si_code > 0 && (vector || machine->gregs[REG_TRAPNO] == X86_DE) &&
	    resume_translated(machine, false))
		return;
	if (info->si_code > 0 && is_memory(signal, machine) && resume_translated(machine, true))
		return;
	if (!stub || !vector || info->si_code <= 0) {
		if (!cpuid_fault(machine))
			chain(signal, info, context);
		return;
	}
	machine->gregs[REG_RAX] = (greg_t)vector;
	/* The stub's last byte is its RET. */
	machine->gregs[REG_RIP] = (greg_t)((uintptr_t)stub->code + stub->code_size - 1);
}

static void install(void)
{
	struct sigaction action = { .sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK };

	sigemptyset(&action.sa_mask);
	for (unsigned i = 0; i < SIGNALS; i++)
		sigaction(signals[i], &action, &previous[i]);
}

int host_fault_install(struct error *err)
{
	sigset_t set;
	int ret;

	pthread_once(&installed, install);
	sigemptyset(&set);
	for (unsigned i = 0; i < SIGNALS; i++)
		sigaddset(&set, signals[i]);
	ret = pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	return ret ? error_set_errno(err, ret, "cannot unblock signals") : 0;
}
