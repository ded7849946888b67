/* SPDX-License-Identifier: MIT */
/*
 * The program of a cell (src/host/cell.h). It has no libc and no data but its own few pages and the
 * shared memory; when it has set itself up it unmaps everything else. What follows is one signal
 * handler:
 *
 * 	guest code … a fault, a system call or a kick
 * 	handler: registers are in the signal's frame, in shared memory; give the turn, wait for it,
 * 	make the changes of mappings that were asked for, return to what is in the frame now
 *
 * A filter turns every system call into SIGSYS that does not come from this program's own code.
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
#include <stddef.h>

#define CELL_PROGRAM
#include "host/cell.h"

#define PAGE_BYTES 4096ull
#define WIPED_BYTES 4096u
#define SA_RESTORER_FLAG 0x04000000ul
#define MAP_FLAGS (MAP_SHARED | MAP_FIXED | MAP_POPULATE)

/* The linker's: all of this program. */
#define HIDDEN __attribute__((visibility("hidden"))) /* no relocation, which nobody would carry out */
extern const char __executable_start[] HIDDEN, __etext[] HIDDEN, _end[] HIDDEN;

static struct cell_shared *shared;
static uint64_t entered_at; /* guest code */

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

static _Noreturn void leave(int status)
{
	for (;;)
		call(__NR_exit_group, status, 0, 0, 0, 0, 0);
}

/* ---- turns ---- */

static void give_turn(void)
{
	atomic_store(&shared->turn, CELL_OURS);
	if (atomic_load(&shared->we_sleep))
		call(__NR_futex, (long)&shared->turn, FUTEX_WAKE, 1, 0, 0, 0);
}

static void wait_for_turn(void)
{
	uint64_t start = __builtin_ia32_rdtsc();

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

/*
 * The filter lets a call of mmap pass that shows the key, in halves of arguments that the kernel does not look
 * at. Nothing of it is left in registers or on the stack, which guest code might come to see.
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

/* false: not all of them; then no guest code must run. */
static bool make_changes(void)
{
	const struct cell_change *change = shared->change;
	long ret;

	for (; shared->changes; shared->changes--, change++) {
		if (change->protection)
			ret = map(change);
		else
			ret = call(__NR_munmap, (long)change->linear, (long)change->bytes, 0, 0, 0, 0);
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

static void handle(int number, siginfo_t *info, void *context)
{
	uint64_t ran = __builtin_ia32_rdtsc() - entered_at;

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
	do {
		give_turn();
		wait_for_turn();
	} while (!make_changes());
	atomic_store(&shared->key, 0);
	atomic_store(&shared->turn, CELL_TAKEN);
	set_selectors();
	__builtin_ia32_wrfsbase64(shared->fs_base);
	__builtin_ia32_wrgsbase64(shared->gs_base);
	entered_at = __builtin_ia32_rdtsc();
}

/* ---- setting up ---- */

__attribute__((naked)) static void restorer(void)
{
	__asm__("mov %0, %%eax\n\tsyscall" : : "i"(__NR_rt_sigreturn));
}

#define SIGNAL_BIT(number) (1ul << ((number) - 1))

/* The other ones stay blocked: they were for the monitor, which is in the same process group. */
static void unblock_signals(void)
{
	const unsigned long blocked = ~(SIGNAL_BIT(SIGSEGV) | SIGNAL_BIT(SIGBUS) | SIGNAL_BIT(SIGILL) |
					SIGNAL_BIT(SIGFPE) | SIGNAL_BIT(SIGTRAP) | SIGNAL_BIT(SIGSYS) |
					SIGNAL_BIT(SIGUSR1));

	call(__NR_rt_sigprocmask, SIG_SETMASK, (long)&blocked, 0, sizeof(blocked), 0, 0);
}

static void take_signals(void)
{
	struct sigaltstack stack = { .ss_sp = shared->stack, .ss_size = CELL_STACK_BYTES };
	struct sigaction action = {
		.sa_handler = (__sighandler_t)here(handle), .sa_restorer = (__sigrestore_t)here(restorer),
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTORER_FLAG, .sa_mask = ~0ul,
	};
	const int numbers[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGTRAP, SIGSYS, SIGUSR1 };

	call(__NR_sigaltstack, (long)&stack, 0, 0, 0, 0, 0);
	for (unsigned i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
		if (call(__NR_rt_sigaction, numbers[i], (long)&action, 0, sizeof(action.sa_mask), 0, 0))
			leave(1);
}

#define ALLOW(number)                                                                              \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (number), 0, 1),                                       \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

/* What is not called from this program's code is the guest's. */
static __attribute__((noinline)) void filter_calls(void)
{
	uint64_t start = (uint64_t)__executable_start, end = (uint64_t)__etext;
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 6),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, instruction_pointer) + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(start >> 32), 0, 4),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, instruction_pointer)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (uint32_t)start, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, (uint32_t)end, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		ALLOW(__NR_futex),
		ALLOW(__NR_rt_sigreturn),
		ALLOW(__NR_munmap),
		/* The guest's memory, and none of the host's; and with the key: see map. */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_mmap, 0, 9),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MAP_FLAGS, 0, 7),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[3]) + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(shared->key >> 32), 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[4])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CELL_FD_MEMORY, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[4]) + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)shared->key, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
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
	take_signals();
	shared->cpuid_faults = !call(__NR_arch_prctl, ARCH_SET_CPUID, 0, 0, 0, 0, 0);
	filter_calls();
	wipe_stack();
	handle(number, info, context);
}

static void settle_on_signal_stack(void)
{
	struct sigaltstack stack = { .ss_sp = shared->stack, .ss_size = CELL_STACK_BYTES };
	struct sigaction action = {
		.sa_handler = (__sighandler_t)here(settle), .sa_restorer = (__sigrestore_t)here(restorer),
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTORER_FLAG, .sa_mask = ~0ul,
	};

	call(__NR_sigaltstack, (long)&stack, 0, 0, 0, 0, 0);
	call(__NR_rt_sigaction, SIGILL, (long)&action, 0, sizeof(action.sa_mask), 0, 0);
	__asm__ volatile("ud2");
}

/* Where we want it, and what we want it for, stands in itself. */
static void map_shared(void)
{
	long first = call(__NR_mmap, 0, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED,
			  CELL_FD_SHARED, 0);
	uint64_t self;

	if (first < 0 && first > -4096)
		leave(1);
	self = ((const struct cell_shared *)first)->self;
	if (call(__NR_mmap, (long)self, sizeof(*shared), PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_FIXED_NOREPLACE, CELL_FD_SHARED, 0) != (long)self)
		leave(1);
	shared = (struct cell_shared *)self;
}

static _Noreturn __attribute__((used)) void cell_main(void)
{
	map_shared();
	/* It may have ended before it could be said that we end with it. */
	if (call(__NR_prctl, PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0, 0) ||
	    call(__NR_getppid, 0, 0, 0, 0, 0, 0) != (long)shared->parent)
		leave(1);
	call(__NR_prctl, PR_SET_NAME, (long)"ringlet cell", 0, 0, 0, 0);
	unblock_signals();
	settle_on_signal_stack();
	leave(1);
}

__attribute__((naked, used)) void _start(void);

__attribute__((naked, used)) void _start(void)
{
	__asm__("xor %ebp, %ebp\n\tand $-16, %rsp\n\tcall cell_main");
}
