/* SPDX-License-Identifier: MIT */
/* Fuzz target: the firmware configuration device and its DMA. */
#include <stdlib.h>

#include "device_target.h"
#include "legacy/fw_cfg.h"
#include "mem/mem.h"

#define COMMAND_GPA 0x1000

/* The guest prepares a command; an access makes the device look at it. */
static void event(struct device_target *target, struct fuzz_input *input)
{
	uint8_t command[16];
	uint8_t where = fuzz_u8(input);

	fuzz_take(input, command, sizeof(command));
	mem_write(target->env.mem,
		  where & 1 ? TARGET_RAM - sizeof(command) : COMMAND_GPA + (uint64_t)where, command,
		  sizeof(command));
}

static void setup(struct device_target *target)
{
	struct e820_map e820 = { .count = 0 };
	struct fw_cfg_config config = {
		.cpus = 2, .low_ram_bytes = TARGET_RAM, .e820 = &e820, .boot_menu_wait_ms = 10,
		.console_port = 0x3f8,
	};

	e820_set(&e820, 0, TARGET_RAM, E820_RAM);
	target->event = event;
	device_target_keep(target,
			   fw_cfg_create(&target->env, &config, &target->device[0], NULL));
	if (fw_cfg_add_file(target->device[0], "etc/a", "abcdef", 6, NULL) ||
	    fw_cfg_add_file(target->device[0], "etc/b", "", 0, NULL))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
