/* SPDX-License-Identifier: MIT */
/*
 * Pieces of code that are run with given registers at given places, and what became of them: the state that a
 * signal handler leaves for sigreturn to load, and the state of the next signal's frame.
 */
#ifndef DIRECT_CODE_H
#define DIRECT_CODE_H

#include <stddef.h>
#include <stdint.h>
#include <ucontext.h>

/* Where everything lies that a case may say the address of. */
#define CODE_AT 0x10000000ul
#define CODE_BYTES 0x4000ul
#define DATA_AT 0x20000000ul
#define DATA_BYTES 0x4000ul
#define STACK_AT 0x30000000ul
#define STACK_BYTES 0x4000ul
#define STACK_TOP (STACK_AT + STACK_BYTES)

/* A piece of code: name and name_end. */
#define CODE(name, text)                                                                           \
	extern const uint8_t name[], name##_end[];                                                 \
	__asm__(".pushsection .rodata\n" #name ":\n" text "\n" #name "_end:\n.popsection")

struct outcome {
	int signal, code;
	uint64_t address;
	greg_t regs[NGREG];
	uint8_t fpu[512];
};

/* Registers that a piece begins with: distinct values, DATA_AT in RDI and RSI, STACK_TOP in RSP. */
void code_start(greg_t regs[NGREG]);

/* Code, data and stack are there after it; handlers are set. */
void code_prepare(void);

/* Puts code to an address; jumps to regs[REG_RIP]; returns at the next signal. */
void code_put(uint64_t address, const void *code, size_t bytes);
void code_run(const greg_t regs[NGREG], struct outcome *outcome);

/* All in one: at CODE_AT. */
void code_try(const void *code, size_t bytes, struct outcome *outcome);

/* Says signal, code, address, trap, error, RIP, flags and registers that are not as code_start had them. */
void code_say(const char *name, const struct outcome *outcome);

#define TRY(name)                                                                                  \
	do {                                                                                       \
		struct outcome try_outcome;                                                        \
		code_try(name, (size_t)(name##_end - name), &try_outcome);                         \
		code_say(#name, &try_outcome);                                                     \
	} while (0)

#endif
