/* SPDX-License-Identifier: MIT */
/*
 * The program of a cell (src/host/cell.h). It has no libc and no data but the shared memory; when it
 * has set itself up it unmaps everything else. What follows is one signal handler:
 *
 * 	guest code … a fault, a system call or a kick
 * 	handler: registers are in the signal's frame, in shared memory; give the turn, wait for it,
 * 	make the changes of mappings that were asked for, return to what is in the frame now
 *
 * Every system call that does not come from this program's own code becomes SIGSYS. Guest code may
 * find that code and jump anywhere into it. Therefore a filter sees to what it calls, and
 *
 * 	the calls that change something, rt_sigreturn among them, need a key of 64 bits, which is in
 * 	the shared memory;
 * 	all of that but the signal stack has a protection key that guest code has no right to. The handler
 * 	takes that right by WRPKRU, and then asks for the signals that are blocked: all of them, which
 * 	only a signal brings about, or an rt_sigreturn with the key. rt_sigreturn gives the right back.
 *
 * Guest code itself has no WRPKRU or XRSTOR: isa/x86/direct/scan.c. Where the processor has no
 * protection keys, the shared memory is but hard to find, and the key there as briefly as can be.
 *
 * Compiled without vector instructions: the guest's vector state is in the frame, which sigreturn
 * reads, but the handler's time is what counts.
 */
#include <asm/prctl.h>
#include <asm/sigcontext.h>
#include <asm/siginfo.h>
#include <asm/signal.h>
#include <asm/ucontext.h>
#include <asm/unistd.h>
#include <linux/audit.h>
#include <linux/errno.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/mman.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <linux/signal.h>
#include <stddef.h>

#define CELL_PROGRAM
#include "host/cell.h"
#include "host/handover.h"

#define PAGE_BYTES 4096ull
#define WIPED_BYTES 4096u
#define SA_RESTORER_FLAG 0x04000000ul
#define MAP_FLAGS (MAP_SHARED | MAP_FIXED | MAP_POPULATE)
#define SIGNAL_BIT(number) (1ul << ((number) - 1))
#define ALL_BLOCKED (~(SIGNAL_BIT(SIGKILL) | SIGNAL_BIT(SIGSTOP)))
/* Rights to memory without a protection key, and with ours. */
#define PKRU_HANDLER (0x55555554u & ~(3u << 2 * CELL_PKEY))

/* The linker's: all of this program. */
#define HIDDEN __attribute__((visibility("hidden"))) /* no relocation, which nobody would carry out */
extern const char __executable_start[] HIDDEN, __etext[] HIDDEN, _end[] HIDDEN;

static long call(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return ret;
}

/* An address as a value, not as part of a constant that the linker would have to fill in. */
static void *here(void *address)
{
	__asm__("" : "+r"(address));
	return address;
}

/* Where it is follows from where this program is: there is no variable that guest code could change. */
#define shared ((struct cell_shared *)((uint64_t)here((void *)__executable_start) + CELL_FROM_IMAGE))

static _Noreturn void leave(int status)
{
	for (;;)
		call(__NR_exit_group, status, 0, 0, 0, 0, 0);
}

/* ---- turns ---- */

/* The two ways to wait until we have the turn again: in a call, which tells, or for the word. */

static void hand_over(void)
{
	while (atomic_load(&shared->turn) == CELL_OURS)
		if (call(HANDOVER_CALL, 0, 0, 0, 0, 0, 0))
			leave(1);
}

static void wait_for_word(void)
{
	uint64_t start = __builtin_ia32_rdtsc();

	if (atomic_load(&shared->we_sleep))
		call(__NR_futex, (long)&shared->turn, FUTEX_WAKE, 1, 0, 0, 0);
	while (atomic_load(&shared->turn) == CELL_OURS) {
		if (__builtin_ia32_rdtsc() - start < shared->spin_ticks) {
			__builtin_ia32_pause();
			continue;
		}
		atomic_store(&shared->cell_sleeps, 1);
		call(__NR_futex, (long)&shared->turn, FUTEX_WAIT, CELL_OURS, 0, 0, 0);
		atomic_store(&shared->cell_sleeps, 0);
	}
}

static void pass_turn(void)
{
	atomic_store(&shared->turn, CELL_OURS);
	if (shared->hands_over)
		hand_over();
	else
		wait_for_word();
}

/*
 * The filter lets these pass with the key alone, in arguments, or in halves of arguments, that the kernel does not
 * look at. Nothing of it is left in registers or on the stack, which guest code might come to see.
 */
static long map(const struct cell_change *change)
{
	register long offset __asm__("r9") = (long)change->offset;
	long ret = __NR_mmap;

	__asm__ volatile("mov %[key], %%r8\n\t"
			 "mov %%r8, %%r10\n\t"
			 "shl $32, %%r8\n\t"
			 "or %[fd], %%r8\n\t"
			 "shr $32, %%r10\n\t"
			 "shl $32, %%r10\n\t"
			 "or %[flags], %%r10\n\t"
			 "syscall\n\t"
			 "xor %%r8d, %%r8d\n\t"
			 "xor %%r10d, %%r10d"
			 : "+a"(ret)
			 : "D"(change->linear), "S"(change->bytes), "d"(change->protection),
			   "r"(offset), [key] "m"(shared->key), [fd] "i"(CELL_FD_MEMORY),
			   [flags] "i"(MAP_FLAGS)
			 : "r8", "r10", "rcx", "r11", "memory", "cc");
	return ret;
}

static long unmap_change(const struct cell_change *change)
{
	long ret = __NR_munmap;

	__asm__ volatile("mov %[key], %%rdx\n\t"
			 "syscall\n\t"
			 "xor %%edx, %%edx"
			 : "+a"(ret)
			 : "D"(change->linear), "S"(change->bytes), [key] "m"(shared->key)
			 : "rdx", "rcx", "r11", "memory", "cc");
	return ret;
}

/* To guest code, with the registers that are in the signal's frame. */
static _Noreturn void go_back(void *context)
{
	__asm__ volatile("mov %[context], %%rsp\n\t"
			 "xor %%edx, %%edx\n\t"
			 "xchg %%rdx, %[key]\n\t"
			 "syscall\n\t"
			 "ud2"
			 :
			 : "a"(__NR_rt_sigreturn), [context] "r"(context), [key] "m"(shared->key)
			 : "rdx", "memory");
	__builtin_unreachable();
}

/* false: not all of them; then no guest code must run. */
static bool make_changes(void)
{
	const struct cell_change *change = shared->change;
	long ret;

	for (; shared->changes; shared->changes--, change++) {
		ret = change->protection ? map(change) : unmap_change(change);
		if (ret < 0 && ret > -4096) {
			shared->failed = (int32_t)-ret;
			return false;
		}
	}
	return true;
}

#define SELECTOR(name) ({ uint16_t value; __asm__ volatile("mov %%" #name ", %0" : "=r"(value)); value; })
#define SET_SELECTOR(name, value)                                                                  \
	do {                                                                                       \
		if (SELECTOR(name) != (value))                                                     \
			__asm__ volatile("mov %0, %%" #name : : "r"(value));                       \
	} while (0)

static void set_selectors(void)
{
	SET_SELECTOR(ds, shared->ds);
	SET_SELECTOR(es, shared->es);
	SET_SELECTOR(fs, shared->fs);
	SET_SELECTOR(gs, shared->gs);
}

static _Noreturn __attribute__((used)) void handle(int number, siginfo_t *info, void *context)
{
	uint64_t ran = __builtin_ia32_rdtsc() - shared->entered_at;

	shared->guest_ticks += ran < shared->guest_ticks_most ? ran : shared->guest_ticks_most;
	shared->signal = (uint32_t)number;
	shared->code = info->si_code;
	shared->call_address = number == SIGSYS ? (uint64_t)info->si_call_addr : 0;
	shared->context = (uint64_t)context;
	shared->fs_base = __builtin_ia32_rdfsbase64();
	shared->gs_base = __builtin_ia32_rdgsbase64();
	shared->ds = SELECTOR(ds);
	shared->es = SELECTOR(es);
	shared->fs = SELECTOR(fs);
	shared->gs = SELECTOR(gs);
	do
		pass_turn();
	while (!make_changes());
	atomic_store(&shared->turn, CELL_TAKEN);
	set_selectors();
	__builtin_ia32_wrfsbase64(shared->fs_base);
	__builtin_ia32_wrgsbase64(shared->gs_base);
	shared->entered_at = __builtin_ia32_rdtsc();
	go_back(context);
}

/*
 * The signal handler where there are protection keys. Guest code may jump to any of these instructions; the stack
 * is used when it is known that it did not.
 */
__attribute__((naked)) static void handle_protected(void)
{
	__asm__("mov %%edi, %%ebx\n\t"
		"mov %%rsi, %%r12\n\t"
		"mov %%rdx, %%r13\n\t"
		"xor %%ecx, %%ecx\n\t"
		"xor %%edx, %%edx\n\t"
		"mov %[rights], %%eax\n\t"
		"wrpkru\n\t"
		"mov %[sigprocmask], %%eax\n\t"
		"xor %%edi, %%edi\n\t"
		"xor %%esi, %%esi\n\t"
		"lea __executable_start + %c[blocked](%%rip), %%r14\n\t"
		"mov %%r14, %%rdx\n\t"
		"mov $8, %%r10d\n\t"
		"syscall\n\t"
		"test %%rax, %%rax\n\t"
		"jnz 1f\n\t"
		"cmpq %[all], (%%r14)\n\t"
		"jne 1f\n\t"
		"mov %%ebx, %%edi\n\t"
		"mov %%r12, %%rsi\n\t"
		"mov %%r13, %%rdx\n\t"
		"jmp handle\n"
		"1:\tud2"
		:
		: [rights] "i"(PKRU_HANDLER), [sigprocmask] "i"(__NR_rt_sigprocmask),
		  [blocked] "i"(CELL_FROM_IMAGE + offsetof(struct cell_shared, blocked)),
		  [all] "i"(ALL_BLOCKED));
}

/* ---- setting up ---- */

/* Linux asks for one; nobody returns to it. */
__attribute__((naked)) static void restorer(void)
{
	__asm__("ud2");
}

/* The other ones stay blocked: they were for the monitor, which is in the same process group. */
static void unblock_signals(void)
{
	const unsigned long blocked = ~(SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) |
					SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGTRAP) | SIGNAL_BIT(SIGSYS) |
					SIGNAL_BIT(SIGUSR1));

	call(__NR_rt_sigprocmask, SIG_SETMASK, (long)&blocked, 0, sizeof(blocked), 0, 0);
}

/* The stack is used from its top whatever the stack pointer was. */
static void take_signal(int number, void *handler)
{
	struct sigaltstack stack = { .ss_sp = shared->stack, .ss_size = CELL_STACK_BYTES,
				     .ss_flags = (int)SS_AUTODISARM };
	struct sigaction action = {
		.sa_handler = (__sighandler_t)handler, .sa_restorer = (__sigrestore_t)here(restorer),
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTORER_FLAG, .sa_mask = ~0ul,
	};

	if (call(__NR_sigaltstack, (long)&stack, 0, 0, 0, 0, 0) ||
	    call(__NR_rt_sigaction, number, (long)&action, 0, sizeof(action.sa_mask), 0, 0))
		leave(1);
}

static void take_signals(void)
{
	const int numbers[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGUSR1 };
	void *handler = here(shared->is_protected ? (void *)handle_protected : (void *)handle);

	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		take_signal(numbers[i], handler);
}

/* All but the signal stack gets a protection key: a high one, which programs hardly use. */
static bool protect(void)
{
	long key;

	do
		key = call(__NR_pkey_alloc, 0, 0, 0, 0, 0, 0);
	while (key >= 0 && key < CELL_PKEY);
	return key == CELL_PKEY &&
	       !call(__NR_pkey_mprotect, (long)shared, offsetof(struct cell_shared, stack),
		     PROT_READ | PROT_WRITE, CELL_PKEY, 0, 0);
}

/* ---- the filter ---- */

#define AT(field) offsetof(struct seccomp_data, field)
#define LOAD(at) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (at))
#define TRAP BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP)
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
/* Of the next count instructions, to the end of what is to be known of a call. */
#define IF_CALL(number, count) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, (count))
/* Three instructions, six. */
#define NEED(at, value) LOAD(at), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 1, 0), TRAP
#define NEED_ALL(at, value) NEED(at, (uint32_t)(value)), NEED((at) + 4, (uint32_t)((value) >> 32))

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON 1
#endif

/*
 * Linux has two calls that no filter sees, for its probes in user code (uprobe, uretprobe). Other code
 * than ours does not get that far. Where this cannot be asked for, before Linux 5.11, they are not.
 */
static void divert_calls(void)
{
	uint64_t start = (uint64_t)__executable_start;

	call(__NR_prctl, PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, (long)start,
	     (long)((uint64_t)__etext - start), 0, 0);
}

/* What is not called from this program's code is the guest's. */
static __attribute__((noinline)) void filter_calls(void)
{
	uint64_t start = (uint64_t)__executable_start, end = (uint64_t)__etext, key = shared->key;
	struct sock_filter filter[] = {
		NEED(AT(arch), AUDIT_ARCH_X86_64),
		NEED(AT(instruction_pointer) + 4, (uint32_t)(start >> 32)),
		LOAD(AT(instruction_pointer)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)start, 1, 0),
		TRAP,
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (uint32_t)end, 0, 1),
		TRAP,
		LOAD(AT(nr)),
		/* To look at what is blocked. */
		IF_CALL(__NR_rt_sigprocmask, 7),
		NEED_ALL(AT(args[1]), 0ull),
		ALLOW,
		IF_CALL(__NR_rt_sigreturn, 7),
		NEED_ALL(AT(args[2]), key),
		ALLOW,
		/* The guest's memory, and none of the host's. */
		IF_CALL(__NR_mmap, 13),
		NEED(AT(args[3]), MAP_FLAGS),
		NEED(AT(args[3]) + 4, (uint32_t)(key >> 32)),
		NEED(AT(args[4]), CELL_FD_MEMORY),
		NEED(AT(args[4]) + 4, (uint32_t)key),
		ALLOW,
		/* How the turn is given; another filter holds the one of them. */
		IF_CALL(shared->hands_over ? HANDOVER_CALL : __NR_futex, 4),
		LOAD(AT(args[1])),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, FUTEX_WAKE, 0, 1),
		TRAP,
		ALLOW,
		IF_CALL(__NR_munmap, 7),
		NEED_ALL(AT(args[2]), key),
		ALLOW,
		TRAP,
	};
	struct sock_fprog program = { .len = sizeof(filter) / sizeof(filter[0]), .filter = filter };

	if (start >> 32 != end >> 32)
		leave(1);
	/* A guest's speculation is its own business: no mitigation that would slow it. */
	if (call(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0, 0) ||
	    call(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW,
		 (long)&program, 0, 0, 0))
		leave(1);
}

/* What the functions before left on the stack: the key was there. */
static __attribute__((noinline)) void wipe_stack(void)
{
	uint64_t dead[WIPED_BYTES / 8];

	for (unsigned i = 0; i < WIPED_BYTES / 8; i++)
		*(volatile uint64_t *)&dead[i] = 0;
}

/* ---- from the start ---- */

static void need(uint64_t start, uint64_t end)
{
	if (shared->ranges == CELL_RANGES)
		leave(1);
	shared->range[shared->ranges++] = (struct cell_range){ start, end };
}

/* All of [start, end), but for pages that the kernel keeps: it seals the vDSO on some hosts. */
static void unmap(uint64_t start, uint64_t end)
{
	uint64_t middle = start + ((end - start) / 2 & ~(PAGE_BYTES - 1));
	struct cell_range *last = &shared->range[shared->ranges - 1];

	if (start == end || !call(__NR_munmap, (long)start, (long)(end - start), 0, 0, 0, 0))
		return;
	if (end - start > PAGE_BYTES) {
		unmap(start, middle);
		unmap(middle, end);
	} else if (last->end == start) {
		last->end = end;
	} else {
		need(start, end);
	}
}

/* On the signal stack, after which nothing of the stack that we started with is used any more. */
static void settle(int number, siginfo_t *info, void *context)
{
	uint64_t image = (uint64_t)__executable_start & ~(PAGE_BYTES - 1);
	uint64_t image_end = ((uint64_t)_end + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
	uint64_t ours = (uint64_t)shared;
	uint64_t ours_end = ours + ((sizeof(*shared) + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1));

	need(image, image_end);
	need(ours, ours_end);
	if (image < ours) {
		unmap(0, image);
		unmap(image_end, ours);
		unmap(ours_end, CELL_LIMIT);
	} else {
		unmap(0, ours);
		unmap(ours_end, image);
		unmap(image_end, CELL_LIMIT);
	}
	shared->is_protected = protect();
	take_signals();
	shared->cpuid_faults = !call(__NR_arch_prctl, ARCH_SET_CPUID, 0, 0, 0, 0, 0);
	divert_calls();
	filter_calls();
	wipe_stack();
	handle(number, info, context);
}

/* Where we want it is said there, too: a program that the kernel put elsewhere is not ours. */
static void map_shared(void)
{
	const long self = (long)shared;

	if (call(__NR_mmap, self, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE,
		 CELL_FD_SHARED, 0) != self || (long)shared->self != self)
		leave(1);
}

static _Noreturn __attribute__((used)) void cell_main(void)
{
	map_shared();
	/* It may have ended before it could be said that we end with it. */
	if (call(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0, 0) ||
	    call(__NR_getppid, 0, 0, 0, 0, 0, 0) != (long)shared->parent)
		leave(1);
	/* A limit of 0 keeps nobody from giving a core to a program, as many hosts do. */
	if (call(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0, 0))
		leave(1);
	call(__NR_prctl, PR_SET_NAME, (long)"ringlet cell", 0, 0, 0, 0);
	unblock_signals();
	take_signal(SIGILL, here(settle));
	__asm__ volatile("ud2");
	leave(1);
}

__attribute__((naked, used)) void _start(void);

__attribute__((naked, used)) void _start(void)
{
	__asm__("xor %ebp, %ebp\n\tand $-16, %rsp\n\tcall cell_main");
}
