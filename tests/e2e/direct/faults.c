/* SPDX-License-Identifier: MIT */
/* Page faults and general protection, as signals. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "cases.h"
#include "code.h"

#define UNMAPPED 0x40000000ul
#define KERNEL 0xffffffff81000000ul
#define NOT_CANONICAL 0x0000800000000000ul
#define LAST_PAGE 0x7fffffffe000ul

CODE(load, "mov (%rdi), %rax");
CODE(load_through_rbp, "mov (%rbp), %rax");
CODE(store, "movb $7, (%rdi)");
CODE(add_to, "addl $7, (%rdi)");
CODE(exchange, "xchg %rax, (%rdi)");
CODE(compare_exchange, "lock cmpxchg %rbx, (%rdi)");
CODE(jump, "jmp *%rdi");
CODE(call, "call *%rdi");
CODE(push_load, "push (%rdi)");
CODE(vector_load, "movups (%rdi), %xmm0");
CODE(vector_aligned, "movaps 1(%rsi), %xmm0");
CODE(vector_store, "movups %xmm0, (%rdi)");
CODE(string, "mov $64, %ecx\n\trep movsb");
CODE(string_in_words, "mov $9, %ecx\n\trep stosq");
CODE(x87_load, "fldt (%rdi)");
CODE(x87_store, "fnstenv (%rdi)");
CODE(return_there, "push %rdi\n\tret");
CODE(enter_there, "mov %rdi, %rsp\n\tenter $16, $0");

/* Each access at an address. */
static void access_all(uint64_t address)
{
	static const struct piece {
		const char *name;
		const uint8_t *code, *end;
	} pieces[] = {
#define PIECE(name) { #name, name, name##_end }
		PIECE(load), PIECE(load_through_rbp), PIECE(store), PIECE(add_to), PIECE(exchange),
		PIECE(compare_exchange), PIECE(jump), PIECE(call), PIECE(push_load), PIECE(vector_load),
		PIECE(vector_store), PIECE(string), PIECE(string_in_words), PIECE(x87_load),
		PIECE(x87_store), PIECE(return_there), PIECE(enter_there),
	};

	code_prepare();
	for (unsigned i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct outcome outcome;
		greg_t regs[NGREG];

		code_start(regs);
		memset((void *)CODE_AT, 0xcc, CODE_BYTES);
		code_put(CODE_AT, pieces[i].code, (size_t)(pieces[i].end - pieces[i].code));
		regs[REG_RDI] = regs[REG_RBP] = (greg_t)address;
		code_run(regs, &outcome);
		code_say(pieces[i].name, &outcome);
	}
}

static void unmapped(void)
{
	access_all(UNMAPPED);
}

static void null(void)
{
	access_all(0);
}

static void kernel(void)
{
	access_all(KERNEL);
}

static void not_canonical(void)
{
	access_all(NOT_CANONICAL);
	access_all(0xdeadbeefdeadbeeful);
}

static void protect(int protection)
{
	code_prepare();
	must(mprotect((void *)DATA_AT, DATA_BYTES, protection));
}

static void no_rights(void)
{
	protect(PROT_NONE);
	must(mmap((void *)UNMAPPED, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));
	access_all(UNMAPPED);
}

/* Touched before, so that there is a page of memory. */
static void read_only(void)
{
	char *page = must(mmap((void *)UNMAPPED, 8192, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));

	memset(page, 0xcc, 8192);
	must(mprotect(page, 8192, PROT_READ));
	access_all(UNMAPPED + 16);
	access_all(UNMAPPED + 4090);
}

/* From a page that may be accessed into one that may not. */
static void across(void)
{
	char *page = must(mmap((void *)UNMAPPED, 4096, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0));

	memset(page, 0x11, 4096);
	access_all(UNMAPPED + 4096 - 4);
	access_all(UNMAPPED - 4);
}

/* The last page that user space may have, and what begins behind it. */
static void end_of_user_space(void)
{
	char *page = mmap((void *)LAST_PAGE, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);

	say(" mapped %d", page != MAP_FAILED);
	access_all(LAST_PAGE + 4096 - 3);
	access_all(LAST_PAGE + 4096);
	if (page != MAP_FAILED) {
		struct outcome outcome;
		greg_t regs[NGREG];

		code_start(regs);
		memset(page, 0x90, 4096);
		regs[REG_RIP] = LAST_PAGE + 4000;
		code_run(regs, &outcome);
		code_say("run_off_the_end", &outcome);
		page[4094] = 0x0f;
		page[4095] = 0x05;
		regs[REG_RAX] = 39;
		code_run(regs, &outcome);
		say(" (system call at the end: signal %d)", outcome.signal);
	}
}

static void run_without_right(void)
{
	struct outcome outcome;
	greg_t regs[NGREG];

	code_prepare();
	memset((void *)CODE_AT, 0x90, CODE_BYTES);
	must(mprotect((void *)(CODE_AT + 4096), 4096, PROT_READ | PROT_WRITE));
	code_start(regs);
	regs[REG_RIP] += 4090;
	code_run(regs, &outcome);
	code_say("into data", &outcome);
	must(munmap((void *)(CODE_AT + 4096), 4096));
	code_run(regs, &outcome);
	code_say("into nothing", &outcome);
	/* The last instruction lies in both. */
	*(uint8_t *)(CODE_AT + 4095) = 0x48;
	code_run(regs, &outcome);
	code_say("half an instruction", &outcome);
}

static void general_protection(void)
{
	code_prepare();
	TRY(vector_aligned);
}

static const struct direct_case cases[] = {
	{ "unmapped", unmapped, false },
	{ "null", null, false },
	{ "kernel", kernel, false },
	{ "not canonical", not_canonical, false },
	{ "no rights", no_rights, false },
	{ "read only", read_only, false },
	{ "across pages", across, false },
	{ "end of user space", end_of_user_space, false },
	{ "run without right", run_without_right, false },
	{ "general protection", general_protection, false },
	{ NULL, NULL, false },
};
const struct direct_group faults_group = { "faults", cases, false };
