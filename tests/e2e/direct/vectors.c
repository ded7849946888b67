/* SPDX-License-Identifier: MIT */
/* Vector and floating-point registers: kept over whatever interrupts a program. */
#include <cpuid.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>
#include <x86intrin.h>

#include "cases.h"

#define IMAGE_BYTES 16384
#define HEADER 512

/* x87, SSE, AVX, and what AVX-512 adds. */
#define COMPONENTS 0xe7ull

static uint8_t loaded[IMAGE_BYTES] __attribute__((aligned(64)));
static uint8_t saved[IMAGE_BYTES] __attribute__((aligned(64)));

/* Of a standard image; 0 where the processor has no such component. */
static void component(unsigned number, unsigned *offset, unsigned *bytes)
{
	unsigned c, d;

	__cpuid_count(0xd, number, *bytes, *offset, c, d);
}

/* An image with values of its own in all registers. */
static uint64_t make_image(uint8_t *image, unsigned seed)
{
	uint64_t components = _xgetbv(0) & COMPONENTS;

	memset(image, 0, IMAGE_BYTES);
	for (unsigned i = 0; i < 8; i++) {
		memset(image + 32 + 16 * i, (int)(seed + i), 8);
		image[32 + 16 * i + 8] = 0xff;
		image[32 + 16 * i + 9] = 0x3f;
	}
	*(uint16_t *)image = 0x37f;
	image[4] = 0xff;
	*(uint32_t *)(image + 24) = 0x1f80 | (seed & 1 ? 0x6000 : 0);
	for (unsigned i = 0; i < 256; i++)
		image[160 + i] = (uint8_t)(seed * 3 + i);
	for (unsigned number = 2; number < 8; number++) {
		unsigned offset, bytes;

		if (!(components >> number & 1))
			continue;
		component(number, &offset, &bytes);
		for (unsigned i = 0; i < bytes; i++)
			image[offset + i] = (uint8_t)(seed * number + i);
	}
	*(uint64_t *)(image + HEADER) = components;
	return components;
}

/* FNV; what is between the registers does not count. */
static uint32_t sum_of(const uint8_t *image)
{
	uint32_t sum = 2166136261u;

	for (unsigned i = 0; i < 416; i++)
		if (i < 6 || (i >= 24 && i < 28) || (i >= 32 && (i >= 160 || i % 16 < 10)))
			sum = (sum ^ image[i]) * 16777619u;
	for (unsigned number = 2; number < 8; number++) {
		unsigned offset, bytes;
		bool used = *(const uint64_t *)(image + HEADER) >> number & 1;

		if (number == 3 || number == 4)
			continue;
		component(number, &offset, &bytes);
		for (unsigned i = 0; i < bytes; i++)
			sum = (sum ^ (used ? image[offset + i] : 0)) * 16777619u;
	}
	return sum;
}

/* Loads all registers, does something that no register survives unless it is kept, saves them. */
#define OVER(what, ...)                                                                            \
	do {                                                                                       \
		uint32_t low = (uint32_t)make_image(loaded, 17);                                   \
		memset(saved, 0, sizeof(saved));                                                   \
		__asm__ volatile("mov %2, %%eax\n\txor %%edx, %%edx\n\txrstor64 %0\n\t" what           \
				 "\n\tmov %2, %%eax\n\txor %%edx, %%edx\n\txsave64 %1\n\tfninit"              \
				 : "+m"(loaded), "+m"(saved)                                       \
				 : "r"(low)__VA_ARGS__                                             \
				 : "rax", "rcx", "rdx", "r8", "r9", "r10", "r11", "rdi", "rsi",    \
				   "rbx", "memory", "cc");                                         \
		_mm_setcsr(0x1f80);                                                                \
		say(" %x %s", sum_of(saved), sum_of(saved) == sum_of(loaded) ? "kept" : "changed"); \
	} while (0)

static void over_nothing(void)
{
	OVER("nop");
	OVER("vzeroupper");
	OVER("vzeroall");
	OVER("fninit");
	OVER("emms");
	OVER("vpaddq %%ymm3, %%ymm4, %%ymm5");
}

static void over_system_calls(void)
{
	OVER("mov $39, %%eax\n\tsyscall");
	OVER("mov $24, %%eax\n\tsyscall\n\tmov $24, %%eax\n\tsyscall");
	OVER("mov $20, %%eax\n\tint $0x80");
}

/* New pages, read and written. */
static void over_page_faults(void)
{
	uint8_t *at = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (at == MAP_FAILED)
		give_up("mmap");
	OVER("mov (%3), %%eax\n\tmov %%eax, 0x20000(%3)\n\tmov 0x40000(%3), %%eax\n\tmov %%eax, 0x60000(%3)",
	     , "r"(at));
	OVER("vmovups %%ymm3, 0x81ffc(%3)\n\tvmovups 0xa1ffc(%3), %%ymm3", , "r"(at));
}

static void skip_it(int number, siginfo_t *info, void *context)
{
	(void)number, (void)info;
	((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 2;
	__asm__ volatile("vzeroall\n\tfninit\n\tfldpi" : : : "memory");
}

/* Its handler uses the registers, too. */
static void over_signals(void)
{
	struct sigaction action = { .sa_sigaction = skip_it, .sa_flags = SA_SIGINFO };

	must(sigaction(SIGILL, &action, NULL));
	OVER("ud2");
	OVER("ud2\n\tud2\n\tud2");
}

static void over_instructions_of_the_system(void)
{
	OVER("xor %%eax, %%eax\n\tcpuid");
	OVER("rdtsc\n\trdtscp");
	OVER("xor %%ecx, %%ecx\n\txgetbv");
	OVER("lsl %%ecx, %%eax\n\tsmsw %%eax\n\tstr %%eax");
}

/* For long enough to be interrupted, with others that have other values. */
static void compute(unsigned seed)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < 20; i++) {
		uint32_t low = (uint32_t)make_image(loaded, seed);

		memset(saved, 0, sizeof(saved));
		__asm__ volatile("mov %2, %%eax\n\txor %%edx, %%edx\n\txrstor64 %0\n\t"
				 "mov $1000000, %%ecx\n1:\tdec %%ecx\n\tjnz 1b\n\t"
				 "mov %2, %%eax\n\txor %%edx, %%edx\n\txsave64 %1\n\tfninit"
				 : "+m"(loaded), "+m"(saved)
				 : "r"(low)
				 : "rax", "rcx", "rdx", "memory", "cc");
		_mm_setcsr(0x1f80);
		wrong += sum_of(saved) != sum_of(loaded);
	}
	_exit(wrong ? 1 : 0);
}

static void over_switches(void)
{
	for (unsigned child = 0; child < 4; child++)
		if (!must(fork()))
			compute(40 + child);
	for (unsigned child = 0; child < 4; child++)
		say_end_of(-1);
}

/* Saved by the program in each way, and loaded again. */
static void saved_and_loaded(void)
{
	uint64_t components = make_image(loaded, 99);
	static uint8_t other[IMAGE_BYTES] __attribute__((aligned(64)));

	for (unsigned way = 0; way < 3; way++) {
		memset(saved, 0, sizeof(saved));
		memset(other, 0, sizeof(other));
		_xrstor64(loaded, components);
		if (way == 0)
			_xsave64(other, components);
		else if (way == 1)
			_xsaveopt64(other, components);
		else
			_xsavec64(other, components);
		__asm__ volatile("vzeroall\n\tfninit" : : : "memory");
		_xrstor64(other, components);
		_xsave64(saved, components);
		__asm__ volatile("fninit" : : : "memory");
		_mm_setcsr(0x1f80);
		say(" %d", sum_of(saved) == sum_of(loaded));
	}
}

/* What a signal's frame says, and that it is what is loaded afterwards. */
static void change_frame(int number, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	const struct _fpx_sw_bytes *note = (void *)((uint8_t *)uc->uc_mcontext.fpregs + 464);

	(void)number, (void)info;
	say(" %x", note->magic1);
	for (unsigned i = 0; i < 16; i++)
		say(" %x", uc->uc_mcontext.fpregs->_xmm[i].element[1]);
	say(" %x %x", uc->uc_mcontext.fpregs->cwd, uc->uc_mcontext.fpregs->mxcsr);
	uc->uc_mcontext.fpregs->_xmm[7].element[1] = 0x12345678;
	uc->uc_mcontext.gregs[REG_RIP] += 2;
}

static void in_a_frame(void)
{
	struct sigaction action = { .sa_sigaction = change_frame, .sa_flags = SA_SIGINFO };

	must(sigaction(SIGILL, &action, NULL));
	OVER("ud2");
}

#define PERMIT_COMPONENT 0x1023 /* arch_prctl */
#define TILE_DATA 18

/* Tiles, with a system call while they are in use. */
static void tiles(void)
{
	static const uint8_t config[64] __attribute__((aligned(64))) = {
		[0] = 1, [16] = 64, [18] = 64, [20] = 64, [48] = 16, [49] = 16, [50] = 16,
	};
	static uint8_t in[1024], out[1024];
	long pid = 0;

	if (syscall(SYS_arch_prctl, PERMIT_COMPONENT, TILE_DATA)) {
		say(" none");
		return;
	}
	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)(i * 7);
	for (unsigned i = 0; i < 20; i++) {
		__asm__ volatile("ldtilecfg %2\n\ttileloadd (%3,%4,1), %%tmm1\n\ttileloadd (%3,%4,1), %%tmm2\n\t"
				 "tilezero %%tmm0\n\tmov $39, %%eax\n\tsyscall\n\tmov %%rax, %0\n\t"
				 "tdpbssd %%tmm2, %%tmm1, %%tmm0\n\ttilestored %%tmm0, (%5,%4,1)\n\ttilerelease"
				 : "=&r"(pid), "+m"(out)
				 : "m"(config), "r"(in), "r"(64l), "r"(out)
				 : "rax", "rcx", "r11", "memory");
		in[i]++;
	}
	say(" %d", pid == getpid());
	for (unsigned i = 0; i < sizeof(out); i += 129)
		say(" %x", out[i]);
}

static const struct direct_case cases[] = {
	{ "over nothing", over_nothing, false },
	{ "over system calls", over_system_calls, false },
	{ "over page faults", over_page_faults, false },
	{ "over signals", over_signals, false },
	{ "over instructions of the system", over_instructions_of_the_system, false },
	{ "over switches", over_switches, false },
	{ "saved and loaded", saved_and_loaded, false },
	{ "in a frame", in_a_frame, false },
	{ "tiles", tiles, false },
	{ NULL, NULL, false },
};
const struct direct_group vectors_group = { "vectors", cases, false };
