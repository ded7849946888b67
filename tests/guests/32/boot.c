/* SPDX-License-Identifier: MIT */
/* What a Multiboot loader leaves behind (Multiboot specification 0.6.96, 3.2 and 3.3). */
#include "guest.h"

#define LOADER_MAGIC 0x2badb002
#define INFO_MEMORY 1
#define INFO_CMDLINE 4
#define INFO_MMAP 0x40
#define MIB (1ull << 20)

struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr, syms[4];
	uint32_t mmap_length, mmap_addr;
};

struct range {
	uint32_t size;
	uint64_t addr, len;
	uint32_t type;
} __attribute__((packed));

/* RAM is writable to its end, and is what the two numbers say. */
static void memory(const struct info *info)
{
	uint64_t upper = 0, lower = 0;

	for (word at = info->mmap_addr; at < info->mmap_addr + info->mmap_length;) {
		const struct range *range = (const struct range *)at;

		CHECK(range->size >= 20);
		CHECK(range->len > 0);
		if (range->type == 1 && range->addr == 0)
			lower = range->len;
		if (range->type == 1 && range->addr == MIB)
			upper = range->len;
		at += range->size + 4;
	}
	CHECK(lower >= 0x80000);
	CHECK(lower <= 0xa0000);
	CHECK(upper >= 16 * MIB);
	CHECK_EQ(info->mem_lower, lower >> 10);
	CHECK_EQ(info->mem_upper, upper >> 10);
	*(volatile uint32_t *)(word)(MIB + upper - 4) = 0x12345678;
	CHECK_EQ(*(volatile uint32_t *)(word)(MIB + upper - 4), 0x12345678);
}

void guest_main(void)
{
	const struct info *info = (const struct info *)boot_info;

	CHECK_EQ(boot_magic, LOADER_MAGIC);
	CHECK(READ_REG(cr0) & CR0_PE);
	CHECK(!(READ_REG(cr0) & CR0_PG));
	CHECK_EQ(info->flags & (INFO_MEMORY | INFO_CMDLINE | INFO_MMAP),
		 INFO_MEMORY | INFO_CMDLINE | INFO_MMAP);
	CHECK(info->cmdline != 0);
	memory(info);
}
