/* SPDX-License-Identifier: MIT */
#include "hostexec_native.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <Zydis/Zydis.h>

#include "gen/emit.h"

#define PAGE 4096u
#define ROOM 512u

/* The list, one after the other. */
extern const uint8_t native_list[], native_list_end[];

static struct {
	struct native_context *context;
	uintptr_t start, end; /* the instruction */
} running;

static void handle(int signal_number, siginfo_t *info, void *opaque)
{
	ucontext_t *context = opaque;
	greg_t *rip = &context->uc_mcontext.gregs[REG_RIP];

	(void)info;
	if (!running.context || (uintptr_t)*rip != running.start) {
		signal(signal_number, SIG_DFL);
		return;
	}
	running.context->fault = (uint64_t)context->uc_mcontext.gregs[REG_TRAPNO];
	*rip = (greg_t)running.end;
}

int native_create(struct native *native)
{
	static const uint8_t room[ROOM];
	struct sigaction action = { .sa_sigaction = handle, .sa_flags = SA_SIGINFO };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGFPE, &action, NULL);
	sigaction(SIGILL, &action, NULL);
	native->context = aligned_alloc(64, sizeof(*native->context));
	native->memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!native->context || native->memory == MAP_FAILED ||
	    codebuf_create(&native->code, ROOM, NULL))
		return -1;
	memset(native->context, 0, sizeof(*native->context));
	native->context->components = 0xe7;
	native->context->clean[1] = 3;
	native->context->clean[0] = 0x7f;
	native->context->clean[24] = 0x80;
	native->context->clean[25] = 0x1f;
	native->room = codebuf_add(&native->code, room, sizeof(room));
	return 0;
}

void native_destroy(struct native *native)
{
	running.context = NULL;
	codebuf_destroy(&native->code);
	munmap(native->memory, 2 * PAGE);
	free(native->context);
}

void native_hole(struct native *native, bool hole)
{
	mprotect(native->memory + PAGE, PAGE, hole ? PROT_NONE : PROT_READ | PROT_WRITE);
}

bool native_next(struct native_insn *insn)
{
	const uint8_t *at = insn->bytes ? insn->bytes + insn->size : native_list;
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction decoded;
	ZydisFormatter formatter;
	ZydisDecoder decoder;

	if (at >= native_list_end)
		return false;
	ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	if (ZYAN_FAILED(ZydisDecoderDecodeFull(&decoder, at, (ZyanUSize)(native_list_end - at),
					       &decoded, operands))) {
		fprintf(stderr, "test list: bytes %02x %02x %02x %02x %02x %02x?\n", at[0], at[1],
			at[2], at[3], at[4], at[5]);
		abort();
	}
	ZydisFormatterFormatInstruction(&formatter, &decoded, operands,
					decoded.operand_count_visible, insn->name,
					sizeof(insn->name), 0, NULL);
	insn->bytes = at;
	insn->size = decoded.length;
	return true;
}

#define CONTEXT(member) ((int32_t)offsetof(struct native_context, member))
#define R15 ((enum emit_reg)15)

static void emit_saved(struct emitter *e, bool restore)
{
	static const uint8_t saved[] = { EMIT_RBX, EMIT_RBP, 12, 13, 14, 15 };

	for (unsigned i = 0; i < sizeof(saved); i++) {
		if (restore)
			emit_pop(e, saved[sizeof(saved) - 1 - i]);
		else
			emit_push(e, saved[i]);
	}
}

/* XSAVE or XRSTOR (opcode extension 4 or 5) at [r15 + disp]. */
static void emit_xsave(struct emitter *e, uint8_t extension, int32_t disp)
{
	emit_load64(e, EMIT_RAX, R15, CONTEXT(components));
	emit_zero(e, EMIT_RDX);
	emit_bytes(e, (const uint8_t[]){ 0x49, 0x0f, 0xae, (uint8_t)(0x87 | extension << 3) }, 4);
	emit_u32(e, (uint32_t)disp);
}

static bool is_moved(unsigned reg)
{
	return reg != EMIT_RSP && reg != 15;
}

void native_run(struct native *native, const struct native_insn *insn)
{
	struct native_context *context = native->context;
	struct emitter e = { 0 };
	unsigned start;

	emit_saved(&e, false);
	emit_move(&e, R15, EMIT_RDI);
	emit_xsave(&e, 5, CONTEXT(image));
	emit_load64(&e, EMIT_RAX, R15, CONTEXT(rflags));
	emit_push(&e, EMIT_RAX);
	emit_popf(&e);
	for (unsigned i = 0; i < 16; i++) {
		if (is_moved(i))
			emit_load64(&e, i, R15, (int32_t)(8 * i));
	}
	start = e.size;
	emit_bytes(&e, insn->bytes, insn->size);
	running.end = (uintptr_t)native->room + e.size;
	for (unsigned i = 0; i < 16; i++) {
		if (is_moved(i))
			emit_store(&e, i, 8, R15, (int32_t)(8 * i));
	}
	emit_pushf(&e);
	emit_pop(&e, EMIT_RAX);
	emit_store(&e, EMIT_RAX, 8, R15, CONTEXT(rflags));
	emit_xsave(&e, 4, CONTEXT(image));
	emit_xsave(&e, 5, CONTEXT(clean));
	emit_saved(&e, true);
	emit_ret(&e);
	if (e.overflow)
		abort();
	codebuf_replace(&native->code, native->room, e.code, e.size);
	running.start = (uintptr_t)native->room + start;
	running.context = context;
	context->fault = 0;
	context->gpr[EMIT_RSI] += (uintptr_t)native->memory;
	context->gpr[EMIT_RDI] += (uintptr_t)native->memory;
	((void (*)(struct native_context *))(uintptr_t)native->room)(context);
}
