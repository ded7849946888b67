/* SPDX-License-Identifier: MIT */
/*
 * For people who study the translator: a region's guest and host code as text (--debug-translate), and
 * names of generated code for perf (--perf-map: the file /tmp/perf-PID.map, a line a region).
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/error.h"
#include "isa/x86/mirror/translate.h"

#define TEXT_BYTES 128

static void dump_code(FILE *out, const uint8_t *bytes, size_t size, uint64_t address, bool wide)
{
	ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction instruction;
	ZydisFormatter formatter;
	ZydisDecoder decoder;
	char text[TEXT_BYTES];

	if (wide)
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	else
		ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32);
	ZydisFormatterInit(&formatter, ZYDIS_FORMATTER_STYLE_INTEL);
	for (size_t at = 0; at < size; at += instruction.length) {
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder, bytes + at, size - at,
							 &instruction, operands)))
			return;
		ZydisFormatterFormatInstruction(&formatter, &instruction, operands,
						instruction.operand_count_visible, text,
						sizeof(text), address + at, NULL);
		fprintf(out, "  %12lx  %s\n", address + at, text);
	}
}

static void dump_region(const struct emit *e, const void *code)
{
	fprintf(stderr, "region at physical %lx, %u blocks, %u bytes of host code\n",
		e->members[0].block->block.phys, e->member_count, e->m->size);
	for (unsigned i = 0; i < e->member_count; i++) {
		const struct member *member = &e->members[i];

		fprintf(stderr, " guest%s, in host code from %lx\n",
			member->loop_head ? ", loop head" : "",
			(unsigned long)(uintptr_t)code + member->start.position);
		for (unsigned k = 0; k < member->count; k++)
			dump_code(stderr, member->block->insn[k].bytes,
				  member->block->insn[k].length,
				  member->block->insn[k].page_offset, mirror_wide(e));
	}
	fprintf(stderr, " host\n");
	dump_code(stderr, e->m->code, e->m->size, (uint64_t)(uintptr_t)code, true);
}

int mirror_open_perf_map(struct translator *translator, struct error *err)
{
	char path[64];

	snprintf(path, sizeof(path), "/tmp/perf-%d.map", getpid());
	translator->perf_map = fopen(path, "we");
	if (!translator->perf_map)
		return error_set_errno(err, errno, "cannot write %s", path);
	return 0;
}

void mirror_tell(const struct emit *e, const void *code)
{
	if (e->translator->dump)
		dump_region(e, code);
	if (!e->translator->perf_map)
		return;
	fprintf(e->translator->perf_map, "%lx %x guest-%lx\n", (unsigned long)(uintptr_t)code,
		e->m->size, e->members[0].block->block.phys);
	fflush(e->translator->perf_map);
}
