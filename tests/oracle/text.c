/* SPDX-License-Identifier: MIT */
/*
 * A case as one line: "bits=64 code=0fa2:90 offset=… rax=… …", instructions separated by colons;
 * what is not named has its initial value. So a case that once differed can be kept in a file.
 */
#include <stdlib.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "oracle.h"

static const char *const gpr_names[] = { "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
					 "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15" };

void case_write(FILE *stream, const struct oracle_case *c)
{
	fprintf(stream, "bits=%u code=", c->bits);
	for (unsigned i = 0; i < c->insns; i++) {
		for (unsigned at = c->insn_at[i]; at < c->insn_at[i + 1]; at++)
			fprintf(stream, "%02x", c->code[at]);
		if (i + 1u < c->insns)
			fputc(':', stream);
	}
	fprintf(stream, " offset=%x flags=%lx mxcsr=%x", c->code_offset, c->rflags, c->mxcsr);
	for (unsigned i = 0; i < X86_GPRS; i++) {
		if (c->gpr[i])
			fprintf(stream, " %s=%lx", gpr_names[i], c->gpr[i]);
	}
	if (c->fs_base)
		fprintf(stream, " fs=%lx", c->fs_base);
	if (c->gs_base)
		fprintf(stream, " gs=%lx", c->gs_base);
	if (c->x87_seed)
		fprintf(stream, " x87=%lx", c->x87_seed);
	if (c->vector_seed)
		fprintf(stream, " vectors=%lx", c->vector_seed);
	if (c->mask_seed)
		fprintf(stream, " masks=%lx", c->mask_seed);
	if (c->tile_seed)
		fprintf(stream, " tiles=%lx", c->tile_seed);
	for (unsigned i = 0; i < CASE_PAGES; i++) {
		if (c->page_seed[i])
			fprintf(stream, " page%u=%x", i, c->page_seed[i]);
	}
	for (unsigned i = 0; i < c->patches; i++)
		fprintf(stream, " @%lx=%lx", c->patch[i].address, c->patch[i].value);
	fputc('\n', stream);
}

static bool read_code(const char *text, struct oracle_case *c)
{
	for (; *text; text++) {
		unsigned byte;

		if (*text == ':') {
			if (c->insns + 1 >= CASE_INSNS)
				return false;
			c->insn_at[++c->insns] = c->code_size;
			continue;
		}
		if (sscanf(text, "%2x", &byte) != 1 || c->code_size == CASE_CODE_BYTES)
			return false;
		c->code[c->code_size++] = (uint8_t)byte;
		text++;
	}
	c->insn_at[++c->insns] = c->code_size;
	return true;
}

static bool read_register(const char *name, uint64_t value, struct oracle_case *c)
{
	for (unsigned i = 0; i < X86_GPRS; i++) {
		if (strcmp(name, gpr_names[i]))
			continue;
		c->gpr[i] = value;
		return true;
	}
	return false;
}

static bool read_patch(const char *name, uint64_t value, struct oracle_case *c)
{
	if (name[0] != '@' || c->patches == CASE_PATCHES)
		return false;
	c->patch[c->patches++] = (struct patch){ strtoull(name + 1, NULL, 16), value };
	return true;
}

static bool read_item(const char *name, const char *text, struct oracle_case *c)
{
	uint64_t value = strtoull(text, NULL, 16);

	if (!strcmp(name, "bits"))
		c->bits = (uint8_t)strtoul(text, NULL, 10);
	else if (!strcmp(name, "code"))
		return read_code(text, c);
	else if (!strcmp(name, "offset"))
		c->code_offset = (uint16_t)value;
	else if (!strcmp(name, "flags"))
		c->rflags = value;
	else if (!strcmp(name, "mxcsr"))
		c->mxcsr = (uint32_t)value;
	else if (!strcmp(name, "fs"))
		c->fs_base = value;
	else if (!strcmp(name, "gs"))
		c->gs_base = value;
	else if (!strcmp(name, "x87"))
		c->x87_seed = value;
	else if (!strcmp(name, "vectors"))
		c->vector_seed = value;
	else if (!strcmp(name, "masks"))
		c->mask_seed = value;
	else if (!strcmp(name, "tiles"))
		c->tile_seed = value;
	else if (!strncmp(name, "page", 4) && name[4] >= '0' && name[4] < '0' + CASE_PAGES)
		c->page_seed[name[4] - '0'] = (uint16_t)value;
	else
		return read_register(name, value, c) || read_patch(name, value, c);
	return true;
}

bool case_read(const char *text, struct oracle_case *c)
{
	char line[4096], *rest = line, *item;

	*c = (struct oracle_case){ .mxcsr = 0x1f80 };
	for (unsigned i = 0; i < CASE_INSNS; i++)
		c->form[i] = -1;
	snprintf(line, sizeof(line), "%s", text);
	while ((item = strtok_r(rest, " \n", &rest))) {
		char *value = strchr(item, '=');

		if (!value)
			return false;
		*value++ = 0;
		if (!read_item(item, value, c))
			return false;
	}
	return (c->bits == 64 || c->bits == 32) && c->insns &&
	       c->code_offset + c->code_size <= CODE_PAGES * PAGE_BYTES;
}

void case_disassemble(FILE *stream, const struct oracle_case *c)
{
	ZydisMachineMode mode = c->bits == 64 ? ZYDIS_MACHINE_MODE_LONG_64 :
						ZYDIS_MACHINE_MODE_LONG_COMPAT_32;

	for (unsigned i = 0; i < c->insns; i++) {
		ZyanU64 address = CODE_BASE + c->code_offset + c->insn_at[i];
		ZydisDisassembledInstruction text;
		ZyanUSize size = CASE_CODE_BYTES - c->insn_at[i];
		bool known = ZYAN_SUCCESS(ZydisDisassembleIntel(mode, address,
								c->code + c->insn_at[i], size,
								&text));

		fprintf(stream, "  %08lx  ", address);
		for (unsigned at = c->insn_at[i]; at < c->insn_at[i + 1]; at++)
			fprintf(stream, "%02x", c->code[at]);
		fprintf(stream, "  %s\n", known ? text.text : "(undefined)");
	}
}
