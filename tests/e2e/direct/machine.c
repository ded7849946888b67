/* SPDX-License-Identifier: MIT */
/* What the processor says of itself: the guest's, never the host's. */
#include <cpuid.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "cases.h"
#include "code.h"

static uint64_t mix(uint64_t sum, uint64_t value)
{
	sum = (sum ^ value) * 0x9e3779b97f4a7c15ull;
	return sum ^ sum >> 29;
}

/* All leaves; of those that have them, subleaves. What tells this CPU's number or its state is left out. */
static void identification(void)
{
	static const unsigned starts[] = { 0, 0x40000000, 0x80000000 };

	for (unsigned i = 0; i < 3; i++)
		for (unsigned leaf = starts[i]; leaf <= __get_cpuid_max(starts[i], NULL); leaf++) {
			uint64_t sum = 0;

			/* Frequencies are measured by each process of the monitor. */
			if (leaf == 0x15 || leaf == 0x16 || leaf == 0x40000010)
				continue;
			for (unsigned sub = 0; sub < 20; sub++) {
				unsigned a, b, c, d;

				__cpuid_count(leaf, sub, a, b, c, d);
				if (leaf == 1)
					b &= 0xffff; /* APIC number, logical processors */
				if (leaf == 1)
					d &= ~(1u << 28);
				if (leaf == 4)
					a &= 0x3fff; /* sharing */
				if (leaf == 0xb || leaf == 0x1f)
					a = b = d = 0;
				if (leaf == 0xd && sub == 1)
					b = 0;
				if (leaf == 0x80000008)
					c = 0;
				sum = mix(mix(mix(mix(sum, a), b), c), d);
			}
			say(" %x:%lx", leaf, sum);
		}
}

static void extended_control(void)
{
	say(" %llx", _xgetbv(0));
	for (unsigned i = 2; i < 4; i++) {
		unsigned a, b, c, d;

		__cpuid_count(0xd, i, a, b, c, d);
		say(" %x/%x/%x", a, b, c);
	}
}

__attribute__((target("xsave"))) static void components_in_use(void)
{
	uint64_t before, after;

	__asm__ volatile("vzeroall" : : : "memory");
	before = _xgetbv(1);
	__asm__ volatile("vpcmpeqd %%ymm7, %%ymm7, %%ymm7" : : : "memory");
	after = _xgetbv(1);
	say(" %lx %lx", before & 4, after & 4);
}

CODE(store_gdt, "sgdt (%rdi)\n\tmov (%rdi), %rax\n\tmov 2(%rdi), %rbx");
CODE(store_idt, "sidt (%rdi)\n\tmov (%rdi), %rax\n\tmov 2(%rdi), %rbx");
CODE(store_status, "smsw %rax\n\tsmsw (%rdi)\n\tmov (%rdi), %rbx");
CODE(store_status_16, "smsw %ax\n\tsmsw %ebx");
CODE(store_local, "sldt %rax\n\tsldt (%rdi)\n\tmov (%rdi), %rbx");
CODE(store_task, "str %rax\n\tstr (%rdi)\n\tmov (%rdi), %rbx");
CODE(store_nowhere, "xor %edi, %edi\n\tsgdt (%rdi)");

static void system_registers(void)
{
	code_prepare();
	TRY(store_gdt);
	TRY(store_idt);
	TRY(store_status);
	TRY(store_status_16);
	TRY(store_local);
	TRY(store_task);
	TRY(store_nowhere);
}

/* By RDTSCP, RDPID and LSL, on each CPU. */
__attribute__((target("rdpid"))) static void processor_number(void)
{
	unsigned processors = (unsigned)sysconf(_SC_NPROCESSORS_ONLN), wrong = 0;

	for (unsigned number = 0; number < processors; number++) {
		cpu_set_t set;
		unsigned aux, limit = 0;

		CPU_ZERO(&set);
		CPU_SET(number, &set);
		must(sched_setaffinity(0, sizeof(set), &set));
		__rdtscp(&aux);
		__asm__ volatile("lsl %1, %0" : "+r"(limit) : "r"(0x7b));
		wrong += (aux & 0xfff) != number;
		wrong += ((unsigned)_rdpid_u32() & 0xfff) != number;
		wrong += (limit & 0xfff) != number;
		wrong += (unsigned)sched_getcpu() != number;
	}
	say(" wrong %u", wrong);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	must(clock_gettime(CLOCK_MONOTONIC_RAW, &now));
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* The counter goes on, on whatever CPU, and as fast as the clock does (to a fifth, on a busy host). */
static void counter(void)
{
	unsigned processors = (unsigned)sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t start = __rdtsc(), start_ns = now_ns(), before = start, ticks[2], ns[2];
	bool backwards = false;

	for (unsigned half = 0; half < 2; half++) {
		for (unsigned i = 0; i < 200; i++) {
			cpu_set_t set;

			CPU_ZERO(&set);
			CPU_SET(i % processors, &set);
			must(sched_setaffinity(0, sizeof(set), &set));
			for (unsigned j = 0; j < 1000; j++) {
				uint64_t now = __rdtsc();

				backwards |= now < before;
				before = now;
			}
		}
		ticks[half] = __rdtsc() - start;
		ns[half] = now_ns() - start_ns;
	}
	say(" backwards %d, as fast %d", backwards,
	    (double)ticks[0] / (double)ns[0] / ((double)ticks[1] / (double)ns[1]) < 1.2 &&
		    (double)ticks[0] / (double)ns[0] / ((double)ticks[1] / (double)ns[1]) > 0.8);
}

/* ---- protection keys ---- */

CODE(read_keys, "xor %ecx, %ecx\n\trdpkru");
CODE(read_keys_wrong, "mov $1, %ecx\n\trdpkru");
CODE(write_keys_wrong, "xor %ecx, %ecx\n\tmov $1, %edx\n\tmov $0x55555554, %eax\n\twrpkru");
CODE(allow_and_store, "xor %ecx, %ecx\n\txor %edx, %edx\n\txor %eax, %eax\n\t"
	"wrpkru\n\tincb (%rdi)");
CODE(forbid_and_store, "xor %ecx, %ecx\n\txor %edx, %edx\n\tmov $0x55555554, %eax\n\t"
	"wrpkru\n\tincb (%rdi)");
CODE(load_byte, "mov (%rdi), %al");
CODE(store_byte, "mov %al, (%rdi)");

static void protection_keys(void)
{
	static const unsigned rights[] = { 0, PKEY_DISABLE_WRITE, PKEY_DISABLE_ACCESS };
	int key = pkey_alloc(0, 0);

	code_prepare();
	if (key < 0) {
		say(" none");
		return;
	}
	TRY(read_keys);
	TRY(read_keys_wrong);
	TRY(write_keys_wrong);
	must(pkey_mprotect((void *)DATA_AT, DATA_BYTES, PROT_READ | PROT_WRITE, key));
	for (unsigned i = 0; i < 3; i++) {
		struct outcome outcome;

		pkey_set(key, rights[i]);
		say(" rights %u: %d", rights[i], pkey_get(key));
		code_try(load_byte, (size_t)(load_byte_end - load_byte), &outcome);
		say(" load %d/%d/%llx", outcome.signal, outcome.code, outcome.regs[REG_ERR]);
		code_try(store_byte, (size_t)(store_byte_end - store_byte), &outcome);
		say(" store %d/%d/%llx", outcome.signal, outcome.code, outcome.regs[REG_ERR]);
		say(" now %d", pkey_get(key));
	}
	pkey_set(key, 0);
	say(" store %d", ++*(char *)DATA_AT);
	/* An access right behind the rights to it, and right behind their loss. */
	for (unsigned i = 0; i < 3; i++) {
		pkey_set(key, PKEY_DISABLE_ACCESS);
		TRY(allow_and_store);
		pkey_set(key, 0);
		TRY(forbid_and_store);
	}
}

/* Rights to memory without a key: to none of it, and to read it. Interrupts come meanwhile. */
CODE(compute_without, "xor %ecx, %ecx\n\txor %edx, %edx\n\tmov $3, %eax\n\twrpkru\n\t"
	"mov $300000000, %ebx\n1:\tdec %ebx\n\tjnz 1b\n\t"
	"rdpkru\n\tmov %eax, %ebp\n\txor %eax, %eax\n\twrpkru");
CODE(load_readonly, "xor %ecx, %ecx\n\txor %edx, %edx\n\tmov $2, %eax\n\twrpkru\n\t"
	"mov $300000000, %ebx\n1:\tmov (%rdi), %rsi\n\tdec %ebx\n\tjnz 1b\n\t"
	"rdpkru\n\tmov %eax, %ebp\n\txor %eax, %eax\n\twrpkru");

#define RSEQ_BYTES 32
#define RSEQ_UNREGISTER 1
#define RSEQ_SIGNATURE 0x53053053

static void no_keys(void)
{
	/* Linux writes there, with the program's rights, when it has been preempted. */
	must(syscall(SYS_rseq, (char *)__builtin_thread_pointer() + __rseq_offset, RSEQ_BYTES,
		     RSEQ_UNREGISTER, RSEQ_SIGNATURE));
	code_prepare();
	TRY(compute_without);
	TRY(load_readonly);
}

/* Rights and vector registers by one instruction, and what becomes of them. */
static void restored_keys(void)
{
	static uint8_t image[16384] __attribute__((aligned(64)));
	unsigned a, place, c, d;
	uint8_t vector[32];

	if (!__get_cpuid_count(0xd, 9, &a, &place, &c, &d) || !a) {
		say(" none");
		return;
	}
	for (unsigned i = 0; i < 8; i++) {
		uint64_t components = i & 4 ? 0x204 : 0x200, rights = i & 2 ? 0x55555550 : 0;
		uint64_t count = 30000000;
		unsigned now;

		memset(image, 0, sizeof(image));
		memset(image + 576, 0x40 + i, 16);
		*(uint64_t *)(image + 512) = i & 1 ? components : 4;
		*(uint64_t *)(image + place) = rights;
		__asm__ volatile("vpcmpeqd %%ymm0, %%ymm0, %%ymm0\n\t"
				 "xrstor %[image]\n"
				 "1:\tdec %[count]\n\tjnz 1b\n\t"
				 "vmovdqu %%ymm0, %[vector]\n\t"
				 "xor %%ecx, %%ecx\n\trdpkru"
				 : "=a"(now), [vector] "=m"(vector), [count] "+r"(count)
				 : [image] "m"(image), "a"((uint32_t)components), "d"(0)
				 : "rcx", "xmm0", "cc");
		say(" %x %x %x", now, vector[0], vector[31]);
	}
}

static const struct direct_case cases[] = {
	{ "identification", identification, true },
	{ "extended control", extended_control, false },
	{ "components in use", components_in_use, false },
	{ "system registers", system_registers, true },
	{ "processor number", processor_number, false },
	{ "counter", counter, false },
	{ "protection keys", protection_keys, false },
	{ "no keys", no_keys, false },
	{ "restored keys", restored_keys, false },
	{ NULL, NULL, false },
};
const struct direct_group machine_group = { "machine", cases, false };
