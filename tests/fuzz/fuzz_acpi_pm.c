/* SPDX-License-Identifier: MIT */
/* Fuzz target: ACPI fixed hardware; the input's first byte says which kind. */
#include "device_target.h"
#include "legacy/acpi_pm.h"

static void poweroff(void *opaque)
{
	(void)opaque;
}

static void event(struct device_target *target, struct fuzz_input *input)
{
	uint8_t what = fuzz_u8(input);

	if (what & 0x80)
		acpi_pm_power_button(target->device[0]);
	else
		acpi_pm_gpe(target->device[0], what % ACPI_PM_GPES);
}

static void create(struct device_target *target, uint16_t smi_command_port, bool timer_32bit)
{
	struct acpi_pm_config config = {
		.smi_command_port = smi_command_port, .slp_typ_s5 = 5, .timer_32bit = timer_32bit,
		.sci = device_target_line(target, 9), .poweroff = poweroff,
	};

	target->event = event;
	device_target_keep(target,
			   acpi_pm_create(&target->env, &config, &target->device[0], NULL));
}

static void setup(struct device_target *target)
{
	create(target, 0xb2, true);
}

static void setup_plain(struct device_target *target)
{
	create(target, 0, false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!size)
		return 0;
	return device_target_fuzz(data + 1, size - 1, *data & 1 ? setup : setup_plain);
}
