/* SPDX-License-Identifier: MIT */
/*
 * Cases on the processor itself, in a child process. There is no assembly in it: a case ends with a
 * signal, whose handler finds everything that the code left behind in the signal frame, puts the
 * next case's state in its place and returns. The kernel's sigreturn loads all of it, the vector
 * registers and the code segment (so 32-bit code, too) included; FS and GS base the handler writes
 * itself.
 *
 * The case's code has no system calls by intention; one that it strays into is caught by a seccomp
 * filter that allows them from the child's own text only. A case that runs too long is ended by a
 * periodic signal. When the child dies nevertheless, another is made and the case is said to have
 * killed it.
 *
 * In the handler nothing may rely on the FS base or on flags before they are put back.
 */
#include <asm/prctl.h>
#include <cpuid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "oracle.h"

#define XSAVE_SOFTWARE 464 /* bytes of the frame's image that are the kernel's own */
#define XSAVE_HEADER 512
#define ALTERNATE_STACK (64u << 10)
#define TICK_US 20000

/* Shared with the child. */
struct batch {
	unsigned count;
	unsigned done;   /* cases whose outcome is there */
	uint32_t pkru;
	struct oracle_case cases[NATIVE_BATCH];
	struct outcome outcomes[NATIVE_BATCH];
};

struct native {
	struct batch *batch;
	pid_t child;
	int to_child, from_child;
};

/* The child's own; set before the first case, in a process of its own. */
static struct {
	struct batch *batch;
	int input, output;
	uint64_t fs_base;
	uint8_t *code; /* the code pages where they may be written */
	uint8_t *page[CASE_PAGES];
	unsigned running; /* index of the case, + 1 */
	unsigned ticked;  /* the case that ran when the last tick came */
	bool tiles;       /* AMX is there, and frames have room for it */
} child;

#define DEFINE_BASE(seg)                                                                           \
	static inline uint64_t read_##seg##_base(void)                                             \
	{                                                                                          \
		uint64_t base;                                                                     \
                                                                                                   \
		__asm__ volatile("rd" #seg "base %0" : "=r"(base));                                \
		return base;                                                                       \
	}                                                                                          \
	static inline void write_##seg##_base(uint64_t base)                                       \
	{                                                                                          \
		__asm__ volatile("wr" #seg "base %0" : : "r"(base));                               \
	}
DEFINE_BASE(fs)
DEFINE_BASE(gs)

/* ---- memory ---- */

static void *map_at(uint64_t address, size_t size, int protection, int fd, off_t offset)
{
	void *at = mmap((void *)(uintptr_t)address, size, protection,
			MAP_FIXED_NOREPLACE | MAP_SHARED | MAP_POPULATE, fd, offset);

	if (at == MAP_FAILED)
		_exit(10);
	return at;
}

static void map_pages(void)
{
	size_t code = CODE_PAGES * PAGE_BYTES, all = code + (size_t)CASE_PAGES * PAGE_BYTES;
	int fd = memfd_create("oracle", MFD_CLOEXEC);
	uint8_t *writable;

	if (fd < 0 || ftruncate(fd, (off_t)all))
		_exit(11);
	writable = mmap(NULL, all, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (writable == MAP_FAILED)
		_exit(12);
	child.code = writable;
	memset(child.code, 0xcc, code);
	map_at(CODE_BASE, code, PROT_READ | PROT_EXEC, fd, 0);
	for (unsigned i = 0; i < CASE_PAGES; i++) {
		bool readonly = i >= DATA_WRITABLE && i < DATA_PAGES;
		off_t offset = (off_t)(code + (size_t)i * PAGE_BYTES);

		child.page[i] = writable + offset;
		map_at(image_page_address(i), PAGE_BYTES,
		       readonly ? PROT_READ : PROT_READ | PROT_WRITE, fd, offset);
	}
	close(fd);
}

/* ---- a case's begin and end ---- */

static void put_code(const struct oracle_case *c, bool present)
{
	if (present)
		memcpy(child.code + c->code_offset, c->code, c->code_size);
	else
		memset(child.code + c->code_offset, 0xcc, c->code_size);
}

static const int gregs[X86_GPRS] = {
	[X86_RAX] = REG_RAX, [X86_RCX] = REG_RCX, [X86_RDX] = REG_RDX, [X86_RBX] = REG_RBX,
	[X86_RSP] = REG_RSP, [X86_RBP] = REG_RBP, [X86_RSI] = REG_RSI, [X86_RDI] = REG_RDI,
	[X86_R8] = REG_R8, [X86_R9] = REG_R9, [X86_R10] = REG_R10, [X86_R11] = REG_R11,
	[X86_R12] = REG_R12, [X86_R13] = REG_R13, [X86_R14] = REG_R14, [X86_R15] = REG_R15,
};

static void load_case(const struct oracle_case *c, ucontext_t *context)
{
	greg_t *regs = context->uc_mcontext.gregs;
	uint8_t image[XSAVE_BYTES] __attribute__((aligned(64)));
	uint8_t *frame = (uint8_t *)context->uc_mcontext.fpregs;
	uint64_t kept;

	for (unsigned i = 0; i < X86_GPRS; i++)
		regs[gregs[i]] = (greg_t)c->gpr[i];
	regs[REG_RIP] = (greg_t)(CODE_BASE + c->code_offset);
	regs[REG_EFL] = (greg_t)(c->rflags | X86_F1 | X86_IF);
	/* CS, GS, FS, SS from the lowest. */
	regs[REG_CSGSFS] = (greg_t)((c->bits == 64 ? USER_CS : USER_CS32) |
				    (uint64_t)USER_DS << 48);
	memcpy(&kept, frame + XSAVE_HEADER, 8);
	image_xsave(c, image);
	memcpy(frame, image, XSAVE_SOFTWARE);
	memcpy(frame + XSAVE_HEADER, image + XSAVE_HEADER, XSAVE_VECTORS_END - XSAVE_HEADER);
	if (child.tiles && c->tile_seed)
		memcpy(frame + XSAVE_TILECFG, image + XSAVE_TILECFG, XSAVE_BYTES - XSAVE_TILECFG);
	/* Components that are not compared (PKRU) stay. */
	kept = (kept & ~XSTATE_COMPARED) | (*(uint64_t *)(image + XSAVE_HEADER) & XSTATE_COMPARED);
	memcpy(frame + XSAVE_HEADER, &kept, 8);
	image_pages(c, (uint8_t(*)[PAGE_BYTES])child.page[0]);
	put_code(c, true);
}

static uint16_t read_selector(unsigned seg)
{
	uint16_t value = 0;

	switch (seg) {
	case X86_ES: __asm__ volatile("mov %%es, %0" : "=r"(value)); break;
	case X86_DS: __asm__ volatile("mov %%ds, %0" : "=r"(value)); break;
	case X86_FS: __asm__ volatile("mov %%fs, %0" : "=r"(value)); break;
	case X86_GS: __asm__ volatile("mov %%gs, %0" : "=r"(value)); break;
	default: break;
	}
	return value;
}

static void store_outcome(const ucontext_t *context, int signal, struct outcome *out)
{
	const greg_t *regs = context->uc_mcontext.gregs;
	const uint8_t *frame = (const uint8_t *)context->uc_mcontext.fpregs;

	out->kind = signal == SIGSYS ? OUTCOME_SYSCALL :
		    signal == SIGVTALRM ? OUTCOME_ENDLESS : OUTCOME_STOPPED;
	out->vector = (uint32_t)regs[REG_TRAPNO];
	out->error = (uint32_t)regs[REG_ERR];
	out->fault_address = (uint64_t)regs[REG_CR2];
	for (unsigned i = 0; i < X86_GPRS; i++)
		out->gpr[i] = (uint64_t)regs[gregs[i]];
	out->rip = (uint64_t)regs[REG_RIP];
	out->rflags = (uint64_t)regs[REG_EFL];
	for (unsigned i = 0; i < X86_SEGS; i++)
		out->selector[i] = read_selector(i);
	out->selector[X86_CS] = (uint16_t)regs[REG_CSGSFS];
	out->selector[X86_SS] = (uint16_t)((uint64_t)regs[REG_CSGSFS] >> 48);
	memcpy(out->xsave, frame, child.tiles ? XSAVE_BYTES : XSAVE_VECTORS_END);
	memcpy(out->page, child.page[0], sizeof(out->page));
}

/* In 64-bit code they hold null selectors, as Linux starts its processes. */
static void load_selectors(uint16_t selector)
{
	if (read_selector(X86_ES) != selector)
		__asm__ volatile("mov %0, %%es" : : "r"(selector));
	if (read_selector(X86_DS) != selector)
		__asm__ volatile("mov %0, %%ds" : : "r"(selector));
	if (read_selector(X86_FS) != selector)
		__asm__ volatile("mov %0, %%fs" : : "r"(selector));
	if (read_selector(X86_GS) != selector)
		__asm__ volatile("mov %0, %%gs" : : "r"(selector));
}

/* ---- the loop ---- */

static void exchange(void)
{
	char byte = 0;

	if (child.running && write(child.output, &byte, 1) != 1)
		_exit(0);
	if (read(child.input, &byte, 1) != 1)
		_exit(0);
	child.running = child.batch->done;
}

static void finish_case(const ucontext_t *context, int signal, uint64_t fs_base, uint64_t gs_base)
{
	struct batch *batch = child.batch;
	struct outcome *out = &batch->outcomes[child.running - 1];

	store_outcome(context, signal, out);
	out->fs_base = fs_base;
	out->gs_base = gs_base;
	put_code(&batch->cases[child.running - 1], false);
	batch->done = child.running;
	child.ticked = 0;
}

static const struct oracle_case *begin_case(ucontext_t *context)
{
	const struct oracle_case *c;

	if (!child.running || child.running == child.batch->count)
		exchange();
	c = &child.batch->cases[child.running++];
	load_case(c, context);
	return c;
}

static void handle(int signal, siginfo_t *info, void *opaque)
{
	const struct oracle_case *c;
	ucontext_t *context = opaque;
	uint64_t fs_base, gs_base;

	(void)info;
	__builtin_ia32_writeeflags_u64(X86_F1);
	fs_base = read_fs_base();
	gs_base = read_gs_base();
	write_fs_base(child.fs_base);
	if (signal == SIGVTALRM && (!child.running || child.ticked != child.running)) {
		child.ticked = child.running;
		write_fs_base(fs_base);
		return;
	}
	if (child.running)
		finish_case(context, signal, fs_base, gs_base);
	c = begin_case(context);
	load_selectors(c->bits == 64 ? 0 : USER_DS);
	write_fs_base(c->fs_base);
	write_gs_base(c->gs_base);
}

/* ---- making the child ---- */

static void forbid_system_calls(void)
{
	/* Offsets of the halves of struct seccomp_data's 64-bit fields: little-endian. */
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, instruction_pointer) + 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 7, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_rt_sigreturn, 4, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_read, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_write, 2, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_exit_group, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(filter) / sizeof(filter[0]), .filter = filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		_exit(13);
}

static void catch_signals(void)
{
	static const int signals[] = { SIGSEGV, SIGFPE, SIGILL, SIGBUS, SIGTRAP, SIGSYS,
				       SIGVTALRM };
	struct sigaction action = { .sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK };
	stack_t stack = { .ss_size = ALTERNATE_STACK };

	stack.ss_sp = mmap(NULL, ALTERNATE_STACK, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (stack.ss_sp == MAP_FAILED || sigaltstack(&stack, NULL))
		_exit(14);
	sigfillset(&action.sa_mask);
	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
}

/* The kernel makes room for tiles, in frames too, when they are used for the first time. */
static void use_tiles(void)
{
	uint8_t config[64] = { [0] = 1, [16] = 64, [48] = 16 };
	uint32_t a, at_config, at_data, c, d;

	__cpuid_count(0xd, 17, a, at_config, c, d);
	__cpuid_count(0xd, 18, a, at_data, c, d);
	if (at_config != XSAVE_TILECFG || at_data != XSAVE_TILES ||
	    syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, 18))
		return;
	__asm__ volatile(".byte 0xc4, 0xe2, 0x78, 0x49, 0x00\n\t" /* ldtilecfg (%%rax) */
			 ".byte 0xc4, 0xe2, 0x7b, 0x49, 0xc0\n\t" /* tilezero %%tmm0 */
			 ".byte 0xc4, 0xe2, 0x78, 0x49, 0xc0"     /* tilerelease */
			 :
			 : "a"(config), "m"(config));
	child.tiles = true;
}

static _Noreturn void run_child(struct batch *batch, int input, int output)
{
	static const struct itimerval tick = { { 0, TICK_US }, { 0, TICK_US } };

	child.batch = batch;
	child.input = input;
	child.output = output;
	child.fs_base = read_fs_base();
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	image_page(1);
	map_pages();
	catch_signals();
	use_tiles();
	setitimer(ITIMER_VIRTUAL, &tick, NULL);
	forbid_system_calls();
	__asm__ volatile("int3");
	_exit(15);
}

static bool start_child(struct native *native)
{
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC))
		return false;
	if (pipe2(out, O_CLOEXEC))
		return false;
	native->child = fork();
	if (native->child < 0)
		return false;
	if (!native->child) {
		close(in[1]);
		close(out[0]);
		run_child(native->batch, in[0], out[1]);
	}
	close(in[0]);
	close(out[1]);
	native->to_child = in[1];
	native->from_child = out[0];
	return true;
}

static void stop_child(struct native *native)
{
	close(native->to_child);
	close(native->from_child);
	kill(native->child, SIGKILL);
	waitpid(native->child, NULL, 0);
}

static uint32_t read_pkru(void)
{
	uint32_t low, high;

	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	if (!(low & 1u << 9))
		return 0;
	__asm__(".byte 0x0f, 0x01, 0xee" : "=a"(low), "=d"(high) : "c"(0)); /* rdpkru */
	return low;
}

struct native *native_create(void)
{
	struct native *native = calloc(1, sizeof(*native));

	if (!native)
		return NULL;
	native->batch = mmap(NULL, sizeof(*native->batch), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (native->batch == MAP_FAILED || !start_child(native)) {
		free(native);
		return NULL;
	}
	native->batch->pkru = read_pkru();
	return native;
}

void native_destroy(struct native *native)
{
	stop_child(native);
	munmap(native->batch, sizeof(*native->batch));
	free(native);
}

uint32_t native_pkru(const struct native *native)
{
	return native->batch->pkru;
}

static void kick(struct native *native)
{
	char byte = 0;

	/* A child that is gone shows when its answer is read. */
	if (write(native->to_child, &byte, 1) != 1)
		return;
}

void native_begin(struct native *native, const struct oracle_case *cases, unsigned count)
{
	struct batch *batch = native->batch;

	batch->count = count;
	batch->done = 0;
	memcpy(batch->cases, cases, count * sizeof(*cases));
	for (unsigned i = 0; i < count; i++)
		batch->outcomes[i].kind = OUTCOME_NONE;
	kick(native);
}

const struct outcome *native_finish(struct native *native)
{
	struct batch *batch = native->batch;

	for (;;) {
		char byte;
		ssize_t got = read(native->from_child, &byte, 1);

		if (got == 1)
			return batch->outcomes;
		if (got < 0 && errno == EINTR)
			continue;
		stop_child(native);
		batch->outcomes[batch->done].kind = OUTCOME_DIED;
		batch->done++;
		if (!start_child(native))
			abort();
		if (batch->done >= batch->count)
			return batch->outcomes;
		kick(native);
	}
}
