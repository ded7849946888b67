/* SPDX-License-Identifier: MIT */
/*
 * I/O APIC. A level-triggered pin that was sent has its remote IRR set and is not sent again until
 * its EOI; an edge that comes while the pin is masked is lost, as the data sheet says.
 */
#include "irqchip/ioapic.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "dev/bus.h"
#include "irqchip/apic.h"

#define IOAPIC_VERSION 0x20u
#define IOAPIC_SIZE 0x1000u

/* Offsets in the page; the index selects what the window shows. */
enum { IOAPIC_INDEX = 0x00, IOAPIC_WINDOW = 0x10, IOAPIC_EOI = 0x40 };

enum { REG_ID = 0, REG_VERSION = 1, REG_ARBITRATION = 2, REG_TABLE = 0x10 };

/*
 * Entry:  63:56 destination  16 masked  15 level  14 remote IRR  13 active low  12 pending
 *         11 logical  10:8 mode  7:0 vector
 */
#define ENTRY_LOGICAL (1u << 11)
#define ENTRY_PENDING (1u << 12)
#define ENTRY_REMOTE_IRR (1u << 14)
#define ENTRY_LEVEL (1u << 15)
#define ENTRY_MASKED (1u << 16)
#define ENTRY_LOW_WRITABLE (0x1ffffu & ~ENTRY_PENDING & ~ENTRY_REMOTE_IRR)
#define ENTRY_HIGH_WRITABLE 0xff000000u

struct ioapic {
	struct device dev;
	struct ioapic_config config;
	struct bus *mmio;
	uint8_t index, id;
	uint32_t lines; /* asserted pins */
	uint64_t table[IOAPIC_PINS];
};

static struct apic_message message_of(const struct ioapic *ioapic, unsigned pin)
{
	uint64_t entry = ioapic->table[pin];

	return (struct apic_message){
		.destination = entry >> 56,
		.logical = entry & ENTRY_LOGICAL,
		.broadcast = entry >> 56 == 0xff,
		.mode = entry >> 8 & 7,
		.vector = entry,
		.level = entry & ENTRY_LEVEL,
	};
}

static void deliver(struct ioapic *ioapic, unsigned pin)
{
	struct apic_message message = message_of(ioapic, pin);

	ioapic->config.deliver(ioapic->config.opaque, &message);
}

static void service_level(struct ioapic *ioapic, unsigned pin)
{
	uint64_t entry = ioapic->table[pin];

	if (!(ioapic->lines >> pin & 1) || !(entry & ENTRY_LEVEL) ||
	    entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR))
		return;
	ioapic->table[pin] |= ENTRY_REMOTE_IRR;
	deliver(ioapic, pin);
}

static void line_set(void *opaque, unsigned pin, bool level)
{
	struct ioapic *ioapic = opaque;
	uint32_t bit = 1u << pin;
	bool rising = level && !(ioapic->lines & bit);

	ioapic->lines = level ? ioapic->lines | bit : ioapic->lines & ~bit;
	if (ioapic->table[pin] & ENTRY_LEVEL)
		service_level(ioapic, pin);
	else if (rising && !(ioapic->table[pin] & ENTRY_MASKED))
		deliver(ioapic, pin);
}

void ioapic_eoi(struct device *dev, uint8_t vector)
{
	struct ioapic *ioapic = (struct ioapic *)dev;

	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++) {
		uint64_t entry = ioapic->table[pin];

		if ((uint8_t)entry != vector || !(entry & ENTRY_REMOTE_IRR))
			continue;
		ioapic->table[pin] &= ~(uint64_t)ENTRY_REMOTE_IRR;
		service_level(ioapic, pin);
	}
}

struct irq_line ioapic_line(struct device *dev, unsigned pin)
{
	return (struct irq_line){ .set = line_set, .opaque = dev, .input = pin };
}

static uint32_t read_window(const struct ioapic *ioapic)
{
	unsigned slot = ioapic->index - REG_TABLE;

	switch (ioapic->index) {
	case REG_ID:
	case REG_ARBITRATION:
		return (uint32_t)ioapic->id << 24;
	case REG_VERSION:
		return (IOAPIC_PINS - 1) << 16 | IOAPIC_VERSION;
	default:
		if (ioapic->index < REG_TABLE || slot / 2 >= IOAPIC_PINS)
			return ~0u;
		return ioapic->table[slot / 2] >> (slot % 2 ? 32 : 0);
	}
}

static void announce(struct ioapic *ioapic, unsigned pin)
{
	bool wanted = (ioapic->table[pin] & (ENTRY_LEVEL | ENTRY_MASKED)) == ENTRY_LEVEL;
	struct apic_message message = message_of(ioapic, pin);

	if (ioapic->config.level_changed)
		ioapic->config.level_changed(ioapic->config.opaque, pin, wanted ? &message : NULL);
}

void ioapic_announce(struct device *dev)
{
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		announce((struct ioapic *)dev, pin);
}

static void write_entry(struct ioapic *ioapic, unsigned pin, bool high, uint32_t value)
{
	uint64_t entry = ioapic->table[pin];

	if (high) {
		entry = (uint32_t)entry | (uint64_t)(value & ENTRY_HIGH_WRITABLE) << 32;
	} else {
		entry &= ~(uint64_t)ENTRY_LOW_WRITABLE;
		entry |= value & ENTRY_LOW_WRITABLE;
		/* Systems that know no EOI register clear remote IRR by a moment as edge. */
		if (!(value & ENTRY_LEVEL))
			entry &= ~(uint64_t)ENTRY_REMOTE_IRR;
	}
	ioapic->table[pin] = entry;
	announce(ioapic, pin);
	service_level(ioapic, pin);
}

static void write_window(struct ioapic *ioapic, uint32_t value)
{
	unsigned slot = ioapic->index - REG_TABLE;

	if (ioapic->index == REG_ID)
		ioapic->id = value >> 24 & 0xf;
	else if (ioapic->index >= REG_TABLE && slot / 2 < IOAPIC_PINS)
		write_entry(ioapic, slot / 2, slot % 2, value);
}

static uint64_t page_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct ioapic *ioapic = opaque;

	(void)size;
	(void)cpu;
	switch (offset) {
	case IOAPIC_INDEX:
		return ioapic->index;
	case IOAPIC_WINDOW:
		return read_window(ioapic);
	default:
		return 0;
	}
}

static void page_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct ioapic *ioapic = opaque;

	(void)size;
	(void)cpu;
	switch (offset) {
	case IOAPIC_INDEX:
		ioapic->index = value;
		break;
	case IOAPIC_WINDOW:
		write_window(ioapic, value);
		break;
	case IOAPIC_EOI:
		ioapic_eoi(&ioapic->dev, value);
		break;
	default:
		break;
	}
}

/* The wires are others' state: they stay. */
static void ioapic_reset(struct device *dev)
{
	struct ioapic *ioapic = (struct ioapic *)dev;

	ioapic->index = 0;
	ioapic->id = ioapic->config.id & 0xf;
	for (unsigned pin = 0; pin < IOAPIC_PINS; pin++)
		ioapic->table[pin] = ENTRY_MASKED;
}

static void ioapic_destroy(struct device *dev)
{
	struct ioapic *ioapic = (struct ioapic *)dev;

	bus_remove(ioapic->mmio, ioapic->config.base);
	free(ioapic);
}

static const struct state_field ioapic_fields[] = {
	STATE_FIELD(struct ioapic, index),
	STATE_FIELD(struct ioapic, id),
	STATE_FIELD(struct ioapic, lines),
	STATE_FIELD(struct ioapic, table),
	STATE_FIELDS_END,
};

static const struct device_class ioapic_class = {
	.name = "ioapic",
	.reset = ioapic_reset,
	.destroy = ioapic_destroy,
	.fields = ioapic_fields,
};

int ioapic_create(const struct device_env *env, const struct ioapic_config *config,
		  struct device **dev, struct error *err)
{
	struct ioapic *ioapic = calloc(1, sizeof(*ioapic));
	struct bus_range range = {
		.base = config->base,
		.size = IOAPIC_SIZE,
		.name = "ioapic",
		.opaque = ioapic,
		.read = page_read,
		.write = page_write,
	};
	int ret;

	if (!ioapic)
		return error_set(err, ENOMEM, "ioapic: out of memory");
	ioapic->dev.class = &ioapic_class;
	ioapic->config = *config;
	ioapic->mmio = env->mmio;
	ret = bus_add(env->mmio, &range, err);
	if (ret) {
		free(ioapic);
		return ret;
	}
	ioapic_reset(&ioapic->dev);
	*dev = &ioapic->dev;
	return 0;
}
