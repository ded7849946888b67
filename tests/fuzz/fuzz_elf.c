/* SPDX-License-Identifier: MIT */
/* Fuzz target: the ELF loader (with PVH) reads any file and touches nothing but guest RAM. */
#include "boot_target.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	target_load(data, size, elf_load);
	return 0;
}
