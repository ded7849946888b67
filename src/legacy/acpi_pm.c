/* SPDX-License-Identifier: MIT */
/*
 * ACPI fixed hardware. The registers are an array of bytes, so that every width and offset that a
 * guest uses works; status bits are cleared by writing ones. The timer is the guest's clock; its
 * carry (TMR_STS) is brought up to date when somebody looks, and a host timer stands at the next
 * one only while the guest wants it.
 */
#include "legacy/acpi_pm.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "dev/ranges.h"
#include "host/clock.h"
#include "host/loop.h"

#define RANGES 2

#define PM1_TIMER (1u << 0)
#define PM1_GLOBAL (1u << 5)
#define PM1_POWER_BUTTON (1u << 8)
/* No event comes of it (FADT: FIX_RTC), but Linux reads back whether it could enable it. */
#define PM1_RTC (1u << 10)
#define PM1_ENABLES (PM1_TIMER | PM1_GLOBAL | PM1_POWER_BUTTON | PM1_RTC)

/* PM1 control:  13 SLP_EN  12:10 SLP_TYP  2 GBL_RLS  1 BM_RLD  0 SCI_EN */
#define CONTROL_SCI_EN (1u << 0)
#define CONTROL_BM_RLD (1u << 1)
#define CONTROL_SLP_TYP_SHIFT 10
#define CONTROL_SLP_TYP (7u << CONTROL_SLP_TYP_SHIFT)
#define CONTROL_SLP_EN (1u << 13)

struct acpi_pm {
	struct device dev;
	struct acpi_pm_config config;
	struct bus *pio;
	struct bus_range range[RANGES];
	unsigned ranges;
	struct loop_timer *timer;
	uint16_t pm1_status, pm1_enable, pm1_control;
	uint16_t gpe_status, gpe_enable;
	uint8_t smi_command;
	uint64_t carries; /* of the timer's top bit, up to which TMR_STS is done */
};

/* Ticks since the guest's clock began; the register shows the low bits. */
static uint64_t timer_ticks(const struct acpi_pm *pm)
{
	return (uint64_t)((unsigned __int128)loop_timer_now(pm->timer) * ACPI_PM_TIMER_HZ /
			  CLOCK_NS_PER_S);
}

/* TMR_STS is set whenever the highest bit changes: 23 or 31. */
static unsigned carry_shift(const struct acpi_pm *pm)
{
	return pm->config.timer_32bit ? 31 : 23;
}

static void update_timer_status(struct acpi_pm *pm)
{
	uint64_t carries = timer_ticks(pm) >> carry_shift(pm);

	if (carries != pm->carries)
		pm->pm1_status |= PM1_TIMER;
	pm->carries = carries;
}

static void update(struct acpi_pm *pm)
{
	bool event = pm->pm1_status & pm->pm1_enable || pm->gpe_status & pm->gpe_enable;

	irq_set(&pm->config.sci, event && pm->pm1_control & CONTROL_SCI_EN);
	if (pm->pm1_enable & ~pm->pm1_status & PM1_TIMER) {
		uint64_t ticks = (pm->carries + 1) << carry_shift(pm);
		uint64_t due = (uint64_t)((unsigned __int128)ticks * CLOCK_NS_PER_S /
					  ACPI_PM_TIMER_HZ) + 1;

		loop_timer_arm(pm->timer, due);
	} else {
		loop_timer_disarm(pm->timer);
	}
}

static void carry_due(void *opaque)
{
	struct acpi_pm *pm = opaque;

	update_timer_status(pm);
	update(pm);
}

void acpi_pm_power_button(struct device *dev)
{
	struct acpi_pm *pm = (struct acpi_pm *)dev;

	pm->pm1_status |= PM1_POWER_BUTTON;
	update(pm);
}

void acpi_pm_gpe(struct device *dev, unsigned event)
{
	struct acpi_pm *pm = (struct acpi_pm *)dev;

	pm->gpe_status |= 1u << event;
	update(pm);
}

static uint8_t byte_of(uint64_t value, unsigned index)
{
	return value >> 8 * index;
}

static uint8_t read_byte(const struct acpi_pm *pm, unsigned offset)
{
	switch (offset) {
	case 0 ... 1:
		return byte_of(pm->pm1_status, offset);
	case 2 ... 3:
		return byte_of(pm->pm1_enable, offset - 2);
	case 4 ... 5:
		return byte_of(pm->pm1_control, offset - 4);
	case 0x20 ... 0x21:
		return byte_of(pm->gpe_status, offset - 0x20);
	case 0x22 ... 0x23:
		return byte_of(pm->gpe_enable, offset - 0x22);
	default:
		return 0;
	}
}

static uint64_t read_timer(const struct acpi_pm *pm, unsigned byte)
{
	uint64_t mask = pm->config.timer_32bit ? 0xffffffffu : 0xffffffu;

	return (timer_ticks(pm) & mask) >> 8 * byte;
}

static uint64_t pm_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct acpi_pm *pm = opaque;
	uint64_t value = 0;

	(void)cpu;
	if (offset >= ACPI_PM_TIMER_OFFSET && offset < ACPI_PM_TIMER_OFFSET + 4)
		return read_timer(pm, offset - ACPI_PM_TIMER_OFFSET);
	update_timer_status(pm);
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)read_byte(pm, offset + i) << 8 * i;
	update(pm);
	return value;
}

static uint16_t with_byte(uint16_t old, unsigned index, uint8_t value)
{
	return (old & ~(0xffu << 8 * index)) | value << 8 * index;
}

/* SLP_EN reads as zero and acts at once, in the byte that holds it. */
static void write_control(struct acpi_pm *pm, unsigned index, uint8_t value)
{
	uint16_t control = with_byte(pm->pm1_control, index, value);
	uint16_t kept = CONTROL_SLP_TYP | CONTROL_BM_RLD;

	/* SCI_EN is the firmware's to change, by way of the SMI command port. */
	pm->pm1_control = (control & kept) | (pm->pm1_control & CONTROL_SCI_EN);
	if (control & CONTROL_SLP_EN &&
	    (control & CONTROL_SLP_TYP) >> CONTROL_SLP_TYP_SHIFT == pm->config.slp_typ_s5)
		pm->config.poweroff(pm->config.opaque);
}

static void write_byte(struct acpi_pm *pm, unsigned offset, uint8_t value)
{
	switch (offset) {
	case 0 ... 1:
		pm->pm1_status &= ~(value << 8 * offset);
		break;
	case 2 ... 3:
		pm->pm1_enable = with_byte(pm->pm1_enable, offset - 2, value) & PM1_ENABLES;
		break;
	case 4 ... 5:
		write_control(pm, offset - 4, value);
		break;
	case 0x20 ... 0x21:
		pm->gpe_status &= ~(value << 8 * (offset - 0x20));
		break;
	case 0x22 ... 0x23:
		pm->gpe_enable = with_byte(pm->gpe_enable, offset - 0x22, value);
		break;
	default:
		break;
	}
}

static void pm_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct acpi_pm *pm = opaque;

	(void)cpu;
	update_timer_status(pm);
	for (unsigned i = 0; i < size; i++)
		write_byte(pm, offset + i, byte_of(value, i));
	update(pm);
}

/* ---- the SMI command port: there is no SMM, the device acts itself ---- */

static uint64_t smi_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct acpi_pm *pm = opaque;

	(void)offset;
	(void)size;
	(void)cpu;
	return pm->smi_command;
}

static void smi_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct acpi_pm *pm = opaque;

	(void)offset;
	(void)size;
	(void)cpu;
	pm->smi_command = value;
	if (value == ACPI_PM_SMI_ENABLE)
		pm->pm1_control |= CONTROL_SCI_EN;
	else if (value == ACPI_PM_SMI_DISABLE)
		pm->pm1_control &= ~CONTROL_SCI_EN;
	update(pm);
}

/* ---- life ---- */

static void acpi_pm_reset(struct device *dev)
{
	struct acpi_pm *pm = (struct acpi_pm *)dev;

	pm->pm1_status = pm->pm1_enable = 0;
	pm->gpe_status = pm->gpe_enable = 0;
	pm->pm1_control = pm->config.smi_command_port ? 0 : CONTROL_SCI_EN;
	pm->smi_command = 0;
	pm->carries = timer_ticks(pm) >> carry_shift(pm);
	update(pm);
}

static void acpi_pm_restored(struct device *dev)
{
	struct acpi_pm *pm = (struct acpi_pm *)dev;

	pm->carries = timer_ticks(pm) >> carry_shift(pm);
	update(pm);
}

static void acpi_pm_destroy(struct device *dev)
{
	struct acpi_pm *pm = (struct acpi_pm *)dev;

	ranges_remove(pm->pio, pm->range, pm->ranges);
	loop_timer_destroy(pm->timer);
	free(pm);
}

static const struct state_field acpi_pm_fields[] = {
	STATE_FIELD(struct acpi_pm, pm1_status),
	STATE_FIELD(struct acpi_pm, pm1_enable),
	STATE_FIELD(struct acpi_pm, pm1_control),
	STATE_FIELD(struct acpi_pm, gpe_status),
	STATE_FIELD(struct acpi_pm, gpe_enable),
	STATE_FIELD(struct acpi_pm, smi_command),
	STATE_FIELDS_END,
};

static const struct device_class acpi_pm_class = {
	.name = "acpi-pm",
	.reset = acpi_pm_reset,
	.destroy = acpi_pm_destroy,
	.fields = acpi_pm_fields,
	.restored = acpi_pm_restored,
};

static void describe_ranges(struct acpi_pm *pm)
{
	pm->range[0] = (struct bus_range){
		.base = pm->config.port, .size = ACPI_PM_PORTS, .name = "acpi-pm", .max_width = 4,
		.opaque = pm, .read = pm_read, .write = pm_write,
	};
	pm->range[1] = (struct bus_range){
		.base = pm->config.smi_command_port, .size = 1, .name = "smi-command",
		.max_width = 1, .opaque = pm, .read = smi_read, .write = smi_write,
	};
	pm->ranges = pm->config.smi_command_port ? 2 : 1;
}

int acpi_pm_create(const struct device_env *env, const struct acpi_pm_config *config,
		   struct device **dev, struct error *err)
{
	struct acpi_pm *pm = calloc(1, sizeof(*pm));
	int ret;

	if (!pm)
		return error_set(err, ENOMEM, "acpi-pm: out of memory");
	pm->dev.class = &acpi_pm_class;
	pm->config = *config;
	if (!pm->config.port)
		pm->config.port = ACPI_PM_DEFAULT_PORT;
	pm->pio = env->pio;
	describe_ranges(pm);
	ret = loop_guest_timer_create(env->loop, carry_due, pm, &pm->timer);
	if (ret) {
		error_set_errno(err, -ret, "acpi-pm: timer");
		goto free_pm;
	}
	ret = ranges_add(env->pio, pm->range, pm->ranges, err);
	if (ret)
		goto free_timer;
	acpi_pm_reset(&pm->dev);
	*dev = &pm->dev;
	return 0;

free_timer:
	loop_timer_destroy(pm->timer);
free_pm:
	free(pm);
	return ret;
}
