/* SPDX-License-Identifier: MIT */
/*
 * Stubs and their cache. A stub is called as uint64_t stub(cpu, memory):
 *
 *	load the general-purpose registers and flags that the instruction reads
 *	the instruction, its memory operand at [RSI]
 *	store what it wrote
 *	xor eax, eax; ret
 *
 * RDI is the CPU throughout and nothing is on the stack while the instruction runs, so that a fault
 * in it can leave by the RET (hostfault.c). Stubs do not depend on addresses: instructions that
 * differ in their memory operand only share one, and any CPU of the machine may run it.
 */
#include <string.h>

#include "gen/emit.h"
#include "isa/x86/vector/hoststub.h"

#define RFLAGS_OFFSET ((int32_t)offsetof(struct x86_cpu, state.rflags))

static void emit_loads(struct emitter *e, const struct host_plan *plan)
{
	if (plan->flags_read) {
		emit_load64(e, EMIT_R11, EMIT_RDI, RFLAGS_OFFSET);
		emit_and_imm(e, EMIT_R11, (int32_t)X86_STATUS_FLAGS);
		emit_push(e, EMIT_R11);
		emit_popf(e);
	}
	for (unsigned i = 0; i < plan->gprs; i++) {
		const struct host_gpr *gpr = &plan->gpr[i];

		if (gpr->high)
			emit_load8(e, gpr->host, EMIT_RDI, gpr->offset);
		else
			emit_load64(e, gpr->host, EMIT_RDI, gpr->offset);
	}
}

static void emit_instruction(struct emitter *e, const struct host_plan *plan,
			     struct host_stub *stub)
{
	if (plan->memory_in_rdi) {
		emit_move(e, EMIT_R11, EMIT_RDI);
		emit_move(e, EMIT_RDI, EMIT_RSI);
	}
	if (plan->rows) {
		emit_byte(e, 0xb9); /* mov ecx, imm32 */
		emit_u32(e, HOST_TILE_STRIDE);
	}
	stub->insn_at = (uint8_t)e->size;
	emit_bytes(e, plan->bytes, plan->size);
	if (plan->memory_in_rdi)
		emit_move(e, EMIT_RDI, EMIT_R11);
}

static void emit_stores(struct emitter *e, const struct host_plan *plan)
{
	for (unsigned i = 0; i < plan->gprs; i++) {
		const struct host_gpr *gpr = &plan->gpr[i];

		if (gpr->size_bytes)
			emit_store(e, gpr->host, gpr->size_bytes, EMIT_RDI, gpr->offset);
	}
	if (!plan->flags_written)
		return;
	emit_pushf(e);
	emit_pop(e, EMIT_RAX);
	emit_load64(e, EMIT_RCX, EMIT_RDI, RFLAGS_OFFSET);
	emit_and_imm(e, EMIT_RAX, (int32_t)plan->flags_written);
	emit_and_imm(e, EMIT_RCX, (int32_t)~plan->flags_written);
	emit_or(e, EMIT_RCX, EMIT_RAX);
	emit_store(e, EMIT_RCX, 8, EMIT_RDI, RFLAGS_OFFSET);
}

static bool emit_stub(struct emitter *e, const struct host_plan *plan, struct host_stub *stub)
{
	*e = (struct emitter){ 0 };
	emit_loads(e, plan);
	emit_instruction(e, plan, stub);
	emit_stores(e, plan);
	emit_zero(e, EMIT_RAX);
	emit_ret(e);
	stub->code_size = (uint8_t)e->size;
	return !e->overflow && e->size <= UINT8_MAX;
}

/* FNV-1a */
static uint32_t hash_bytes(uint32_t hash, const void *bytes, size_t size)
{
	for (size_t i = 0; i < size; i++)
		hash = (hash ^ ((const uint8_t *)bytes)[i]) * 16777619u;
	return hash;
}

/* Everything about a stub but where its code lies and how the cache holds it. */
static uint32_t hash_stub(const struct host_stub *stub, const struct emitter *e)
{
	uint32_t hash = hash_bytes(2166136261u, e->code, e->size);

	return hash_bytes(hash, (const char *)stub + offsetof(struct host_stub, fn),
			  offsetof(struct host_stub, hash) - offsetof(struct host_stub, fn));
}

static bool same_stub(const struct host_stub *a, const struct host_stub *b, const struct emitter *e)
{
	return !memcmp((const char *)a + offsetof(struct host_stub, fn),
		       (const char *)b + offsetof(struct host_stub, fn),
		       offsetof(struct host_stub, hash) - offsetof(struct host_stub, fn)) &&
	       (!e->size || !memcmp((const void *)(uintptr_t)a->code, e->code, e->size));
}

static void set_code(struct host_stub *stub, const void *code)
{
	stub->code = (uint64_t (*)(struct x86_cpu *, void *))(uintptr_t)code;
}

struct host_stub *host_stub_get(struct hostexec *he, const struct host_plan *plan,
				struct host_stub *stub)
{
	struct emitter e = { 0 };
	struct host_stub **bucket, *found;
	const void *code = NULL;

	if (plan && !emit_stub(&e, plan, stub))
		return NULL;
	stub->hash = hash_stub(stub, &e);
	bucket = &he->buckets[stub->hash & (he->stub_limit - 1)];
	for (found = *bucket; found; found = found->next) {
		if (found->hash == stub->hash && same_stub(found, stub, &e))
			return found;
	}
	if (he->stubs == he->stub_limit)
		return NULL;
	if (plan) {
		code = codebuf_add(&he->code, e.code, e.size);
		if (!code)
			return NULL;
	}
	found = &he->pool[he->stubs++];
	*found = *stub;
	set_code(found, code);
	found->next = *bucket;
	*bucket = found;
	return found;
}

bool host_stub_transient(struct hostexec *he, const struct host_plan *plan,
			 const struct host_stub *stub)
{
	struct emitter e;

	he->transient = *stub;
	if (!plan)
		return true;
	if (!emit_stub(&e, plan, &he->transient))
		return false;
	codebuf_replace(&he->code, he->transient_code, e.code, e.size);
	set_code(&he->transient, he->transient_code);
	return true;
}
