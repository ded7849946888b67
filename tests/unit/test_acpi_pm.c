/* SPDX-License-Identifier: MIT */
/* ACPI fixed hardware, the ways to a reset, debug ports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "dev/bus.h"
#include "device_fixture.h"
#include "legacy/acpi_pm.h"
#include "legacy/debug_exit.h"
#include "legacy/debug_port.h"
#include "legacy/reset.h"

#define PM 0x600

struct setup {
	struct device_fixture *fixture;
	struct device *dev;
	struct test_wire sci;
	unsigned poweroffs, resets, exit_value;
	char line[300];
};

static void note_poweroff(void *opaque)
{
	((struct setup *)opaque)->poweroffs++;
}

static void note_reset(void *opaque)
{
	((struct setup *)opaque)->resets++;
}

static void note_exit(void *opaque, uint32_t value)
{
	((struct setup *)opaque)->exit_value = value;
}

static void note_line(void *opaque, const char *text)
{
	strcpy(((struct setup *)opaque)->line, text);
}

static void start_pm(void **state, struct setup *setup, uint16_t smi_port)
{
	struct acpi_pm_config config = {
		.smi_command_port = smi_port,
		.slp_typ_s5 = 5,
		.timer_32bit = true,
		.sci = test_wire_line(&setup->sci),
		.poweroff = note_poweroff,
		.opaque = setup,
	};

	*setup = (struct setup){ .fixture = *state };
	assert_int_equal(acpi_pm_create(&setup->fixture->env, &config, &setup->dev, NULL), 0);
}

static uint32_t in(struct setup *setup, uint16_t port, unsigned size)
{
	return bus_read(setup->fixture->env.pio, port, size, 0);
}

static void out(struct setup *setup, uint16_t port, unsigned size, uint32_t value)
{
	bus_write(setup->fixture->env.pio, port, size, value, 0);
}

static void test_power_button(void **state)
{
	struct setup setup;

	start_pm(state, &setup, 0);
	assert_int_equal(in(&setup, PM + 4, 2) & 1, 1);
	acpi_pm_power_button(setup.dev);
	assert_false(setup.sci.level);
	out(&setup, PM + 2, 2, 0x100);
	assert_true(setup.sci.level);
	assert_int_equal(in(&setup, PM, 2) & 0x100, 0x100);
	out(&setup, PM, 2, 0x100);
	assert_false(setup.sci.level);
	acpi_pm_gpe(setup.dev, 3);
	out(&setup, PM + 0x22, 2, 0x0008);
	assert_true(setup.sci.level);
	out(&setup, PM + 0x20, 1, 0x08);
	assert_false(setup.sci.level);
	device_free(setup.dev);
}

static void test_soft_off(void **state)
{
	struct setup setup;

	start_pm(state, &setup, 0);
	out(&setup, PM + 4, 2, 3 << 10 | 1 << 13); /* S-something else */
	assert_int_equal(setup.poweroffs, 0);
	out(&setup, PM + 4, 2, 5 << 10);
	assert_int_equal(setup.poweroffs, 0);
	out(&setup, PM + 4, 2, 5 << 10 | 1 << 13);
	assert_int_equal(setup.poweroffs, 1);
	assert_int_equal(in(&setup, PM + 4, 2), 5 << 10 | 1);
	device_free(setup.dev);
}

static void test_smi_command(void **state)
{
	struct setup setup;

	start_pm(state, &setup, 0xb2);
	assert_int_equal(in(&setup, PM + 4, 2), 0);
	out(&setup, 0xb2, 1, ACPI_PM_SMI_ENABLE);
	assert_int_equal(in(&setup, PM + 4, 2), 1);
	out(&setup, 0xb2, 1, ACPI_PM_SMI_DISABLE);
	assert_int_equal(in(&setup, PM + 4, 2), 0);
	device_free(setup.dev);
}

/* There is no such event, but Linux wants to see its enable bit stick. */
static void test_rtc_enable_sticks(void **state)
{
	struct setup setup;

	start_pm(state, &setup, 0);
	out(&setup, PM + 2, 2, 1 << 10);
	assert_int_equal(in(&setup, PM + 2, 2), 1 << 10);
	assert_false(setup.sci.level);
	device_free(setup.dev);
}

static void test_timer(void **state)
{
	struct setup setup;
	uint32_t first;

	start_pm(state, &setup, 0);
	first = in(&setup, PM + 8, 4);
	while (in(&setup, PM + 8, 4) == first)
		;
	assert_true(in(&setup, PM + 8, 4) - first < 1u << 31);
	device_free(setup.dev);
}

static void test_reset(void **state)
{
	struct setup setup = { .fixture = *state };
	struct reset_config config = { .map_reset_control = true, .reset = note_reset,
				       .opaque = &setup };

	assert_int_equal(reset_create(&setup.fixture->env, &config, &setup.dev, NULL), 0);
	out(&setup, 0xcf9, 1, 0x02);
	assert_int_equal(setup.resets, 0);
	out(&setup, 0xcf9, 1, 0x06);
	assert_int_equal(setup.resets, 1);
	assert_int_equal(in(&setup, 0x92, 1), 0x02);
	out(&setup, 0x92, 1, 0x03);
	assert_int_equal(setup.resets, 2);
	out(&setup, 0x92, 1, 0x03); /* only the rising edge */
	assert_int_equal(setup.resets, 2);
	device_free(setup.dev);
}

static void test_debug_port(void **state)
{
	struct setup setup = { .fixture = *state };
	struct debug_port_config config = { .line = note_line, .opaque = &setup };

	assert_int_equal(debug_port_create(&setup.fixture->env, &config, &setup.dev, NULL), 0);
	assert_int_equal(in(&setup, 0x402, 1), 0xe9);
	for (const char *p = "a\x1b[2J\r\n"; *p; p++)
		out(&setup, 0x402, 1, *p);
	assert_string_equal(setup.line, "a.[2J");
	for (unsigned i = 0; i < 1000; i++)
		out(&setup, 0xe9, 1, 'x');
	assert_int_equal(strlen(setup.line), 255);
	out(&setup, 0x80, 1, 0x55);
	assert_int_equal(in(&setup, 0x80, 1), 0x55);
	device_free(setup.dev);
}

static void test_debug_exit(void **state)
{
	struct setup setup = { .fixture = *state };
	struct debug_exit_config config = { .port = 0xf4, .exit = note_exit, .opaque = &setup };

	assert_int_equal(debug_exit_create(&setup.fixture->env, &config, &setup.dev, NULL), 0);
	out(&setup, 0xf4, 4, 0x21);
	assert_int_equal(setup.exit_value, 0x21);
	device_free(setup.dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_button),
		cmocka_unit_test(test_soft_off),
		cmocka_unit_test(test_smi_command),
		cmocka_unit_test(test_rtc_enable_sticks),
		cmocka_unit_test(test_timer),
		cmocka_unit_test(test_reset),
		cmocka_unit_test(test_debug_port),
		cmocka_unit_test(test_debug_exit),
	};

	return cmocka_run_group_tests_name("acpi_pm", tests, device_fixture_open,
					   device_fixture_close);
}
