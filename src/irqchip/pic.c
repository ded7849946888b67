/* SPDX-License-Identifier: MIT */
/*
 * Two 8259As. Each chip: requests (IRR), mask (IMR), in service (ISR); the input with the highest
 * priority that may interrupt drives INT; priorities rotate.
 *
 * An edge is latched until it is acknowledged, as most clones do; the original wants the input to
 * stay high. A level request follows its wire.
 */
#include "irqchip/pic.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "dev/ranges.h"

#define CASCADE 2
#define SPURIOUS 7

/* ICW1 is told from OCW2 and OCW3 by bit 4; OCW3 by bit 3. */
#define ICW1 0x10
#define ICW1_NEEDS_ICW4 0x01
#define ICW1_SINGLE 0x02
#define ICW1_LEVEL 0x08
#define ICW4_AUTO_EOI 0x02
#define ICW4_FULLY_NESTED 0x10
#define OCW3 0x08
#define OCW3_READ_ISR 0x01
#define OCW3_READ 0x02
#define OCW3_POLL 0x04
#define OCW3_SPECIAL_MASK 0x20
#define OCW3_SET_SPECIAL_MASK 0x40

enum ocw2 {
	OCW2_ROTATE_AUTO_OFF = 0,
	OCW2_EOI = 1,
	OCW2_EOI_SPECIFIC = 3,
	OCW2_ROTATE_AUTO_ON = 4,
	OCW2_EOI_ROTATE = 5,
	OCW2_SET_PRIORITY = 6,
	OCW2_EOI_ROTATE_SPECIFIC = 7,
};

enum { EXPECT_NONE, EXPECT_ICW2, EXPECT_ICW3, EXPECT_ICW4 };

struct pic_chip {
	struct pic *pic;
	uint8_t irr, imr, isr;
	uint8_t lines;     /* wires now */
	uint8_t elcr;      /* 1: level-triggered */
	uint8_t icw1, icw4, vector_base;
	uint8_t expect;    /* which ICW comes next */
	uint8_t lowest;    /* the input with the lowest priority; the next one has the highest */
	bool special_mask, read_isr, poll, rotate_auto;
};

enum { MASTER, SLAVE, CHIPS };
#define RANGES (CHIPS + 1)

struct pic {
	struct device dev;
	struct pic_config config;
	struct bus *pio;
	struct bus_range range[RANGES];
	struct pic_chip chip[CHIPS];
	bool intr;
};

static const uint16_t chip_port[CHIPS] = { 0x20, 0xa0 };
static const uint8_t elcr_writable[CHIPS] = { 0xf8, 0xde };
#define ELCR_PORT 0x4d0

/* Distance from the highest priority, 0 … 7; 8 for an empty set. */
static unsigned best_priority(const struct pic_chip *chip, uint8_t set)
{
	unsigned rank = 0;

	while (rank < 8 && !(set >> ((chip->lowest + 1 + rank) & 7) & 1))
		rank++;
	return rank;
}

/* The input that interrupts now, or -1. */
static int chip_pending(const struct pic_chip *chip)
{
	uint8_t in_service = chip->isr;
	unsigned wanted = best_priority(chip, chip->irr & ~chip->imr);

	/* Special mask mode: a masked interrupt in service holds nobody off. */
	if (chip->special_mask)
		in_service &= ~chip->imr;
	/* Special fully nested: the slave's next, more urgent one passes its own in service. */
	if (chip->icw4 & ICW4_FULLY_NESTED && chip == &chip->pic->chip[MASTER])
		in_service &= ~(1u << CASCADE);
	if (wanted >= best_priority(chip, in_service))
		return -1;
	return (chip->lowest + 1 + wanted) & 7;
}

static void chip_line(struct pic_chip *chip, unsigned input, bool level)
{
	uint8_t bit = 1u << input;

	if ((chip->elcr | (chip->icw1 & ICW1_LEVEL ? 0xff : 0)) & bit)
		chip->irr = level ? chip->irr | bit : chip->irr & ~bit;
	else if (level && !(chip->lines & bit))
		chip->irr |= bit;
	chip->lines = level ? chip->lines | bit : chip->lines & ~bit;
}

/* Brings the cascade and INTR in agreement with the chips. */
static void pic_update(struct pic *pic)
{
	struct pic_chip *master = &pic->chip[MASTER];
	bool slave_int = chip_pending(&pic->chip[SLAVE]) >= 0;
	bool intr;

	/* INT stays high until it is acknowledged: the master sees a level here, not edges. */
	master->irr = slave_int ? master->irr | 1u << CASCADE : master->irr & ~(1u << CASCADE);
	intr = chip_pending(master) >= 0;
	if (intr == pic->intr)
		return;
	pic->intr = intr;
	irq_set(&pic->config.intr, intr);
}

static void line_set(void *opaque, unsigned input, bool level)
{
	struct pic *pic = opaque;

	chip_line(&pic->chip[input / 8], input % 8, level);
	pic_update(pic);
}

struct irq_line pic_line(struct device *dev, unsigned input)
{
	return (struct irq_line){ .set = line_set, .opaque = dev, .input = input };
}

static bool is_level(const struct pic_chip *chip, unsigned input)
{
	return chip->icw1 & ICW1_LEVEL || chip->elcr >> input & 1;
}

static void chip_acknowledge(struct pic_chip *chip, unsigned input)
{
	if (!is_level(chip, input))
		chip->irr &= ~(1u << input);
	if (!(chip->icw4 & ICW4_AUTO_EOI))
		chip->isr |= 1u << input;
	else if (chip->rotate_auto)
		chip->lowest = input;
}

int pic_acknowledge(struct device *dev)
{
	struct pic *pic = (struct pic *)dev;
	struct pic_chip *chip = &pic->chip[MASTER];
	int input = chip_pending(chip);

	if (input >= 0)
		chip_acknowledge(chip, input);
	if (input == CASCADE) {
		chip = &pic->chip[SLAVE];
		input = chip_pending(chip);
		if (input >= 0)
			chip_acknowledge(chip, input);
	}
	pic_update(pic);
	return chip->vector_base + (input >= 0 ? input : SPURIOUS);
}

static void end_of_interrupt(struct pic_chip *chip, int input, bool rotate)
{
	uint8_t candidates = chip->special_mask ? chip->isr & ~chip->imr : chip->isr;

	if (input < 0) {
		unsigned rank = best_priority(chip, candidates);

		if (rank == 8)
			return;
		input = (chip->lowest + 1 + rank) & 7;
	}
	chip->isr &= ~(1u << input);
	if (rotate)
		chip->lowest = input;
}

static void write_ocw2(struct pic_chip *chip, uint8_t value)
{
	int input = value & 7;

	switch (value >> 5) {
	case OCW2_EOI:
		end_of_interrupt(chip, -1, false);
		break;
	case OCW2_EOI_SPECIFIC:
		end_of_interrupt(chip, input, false);
		break;
	case OCW2_EOI_ROTATE:
		end_of_interrupt(chip, -1, true);
		break;
	case OCW2_EOI_ROTATE_SPECIFIC:
		end_of_interrupt(chip, input, true);
		break;
	case OCW2_SET_PRIORITY:
		chip->lowest = input;
		break;
	case OCW2_ROTATE_AUTO_ON:
		chip->rotate_auto = true;
		break;
	case OCW2_ROTATE_AUTO_OFF:
		chip->rotate_auto = false;
		break;
	default:
		break;
	}
}

static void write_ocw3(struct pic_chip *chip, uint8_t value)
{
	if (value & OCW3_POLL)
		chip->poll = true;
	else if (value & OCW3_READ)
		chip->read_isr = value & OCW3_READ_ISR;
	if (value & OCW3_SET_SPECIAL_MASK)
		chip->special_mask = value & OCW3_SPECIAL_MASK;
}

/* ICW1 clears the edge latches, the mask and all modes; levels ask again at once. */
static void write_icw1(struct pic_chip *chip, uint8_t value)
{
	chip->icw1 = value;
	chip->icw4 = 0;
	chip->imr = 0;
	chip->isr = 0;
	chip->irr = chip->lines & (value & ICW1_LEVEL ? 0xff : chip->elcr);
	chip->lowest = 7;
	chip->special_mask = chip->read_isr = chip->poll = chip->rotate_auto = false;
	chip->expect = EXPECT_ICW2;
}

static void write_data(struct pic_chip *chip, uint8_t value)
{
	bool icw4 = chip->icw1 & ICW1_NEEDS_ICW4;

	switch (chip->expect) {
	case EXPECT_ICW2:
		chip->vector_base = value & 0xf8;
		if (!(chip->icw1 & ICW1_SINGLE))
			chip->expect = EXPECT_ICW3;
		else
			chip->expect = icw4 ? EXPECT_ICW4 : EXPECT_NONE;
		break;
	case EXPECT_ICW3: /* the wiring, which is fixed */
		chip->expect = icw4 ? EXPECT_ICW4 : EXPECT_NONE;
		break;
	case EXPECT_ICW4:
		chip->icw4 = value;
		chip->expect = EXPECT_NONE;
		break;
	default:
		chip->imr = value;
		break;
	}
}

static void chip_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct pic_chip *chip = opaque;

	(void)size;
	(void)cpu;
	if (offset)
		write_data(chip, value);
	else if (value & ICW1)
		write_icw1(chip, value);
	else if (value & OCW3)
		write_ocw3(chip, value);
	else
		write_ocw2(chip, value);
	pic_update(chip->pic);
}

/* The poll command makes the next read an acknowledge cycle. */
static uint8_t read_poll(struct pic_chip *chip)
{
	int input = chip_pending(chip);

	chip->poll = false;
	if (input < 0)
		return 0;
	chip_acknowledge(chip, input);
	pic_update(chip->pic);
	return 0x80 | input;
}

static uint64_t chip_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct pic_chip *chip = opaque;

	(void)size;
	(void)cpu;
	if (chip->poll)
		return read_poll(chip);
	if (offset)
		return chip->imr;
	return chip->read_isr ? chip->isr : chip->irr;
}

static uint64_t elcr_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct pic *pic = opaque;

	(void)size;
	(void)cpu;
	return pic->chip[offset].elcr;
}

static void elcr_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct pic *pic = opaque;
	struct pic_chip *chip = &pic->chip[offset];
	uint8_t level = value & elcr_writable[offset];
	uint8_t became_level = level & ~chip->elcr;

	(void)size;
	(void)cpu;
	chip->elcr = level;
	chip->irr = (chip->irr & ~became_level) | (chip->lines & level);
	pic_update(pic);
}

static void pic_reset(struct device *dev)
{
	struct pic *pic = (struct pic *)dev;

	for (unsigned i = 0; i < CHIPS; i++) {
		struct pic_chip *chip = &pic->chip[i];

		*chip = (struct pic_chip){ .pic = pic, .lines = chip->lines, .lowest = 7,
					   .imr = 0xff };
	}
	pic_update(pic);
}

static void pic_destroy(struct device *dev)
{
	struct pic *pic = (struct pic *)dev;

	ranges_remove(pic->pio, pic->range, RANGES);
	free(pic);
}

#define CHIP_FIELDS(i)                                                                             \
	STATE_FIELD(struct pic, chip[i].irr), STATE_FIELD(struct pic, chip[i].imr),                \
	STATE_FIELD(struct pic, chip[i].isr), STATE_FIELD(struct pic, chip[i].lines),              \
	STATE_FIELD(struct pic, chip[i].elcr), STATE_FIELD(struct pic, chip[i].icw1),              \
	STATE_FIELD(struct pic, chip[i].icw4), STATE_FIELD(struct pic, chip[i].vector_base),       \
	STATE_FIELD(struct pic, chip[i].expect), STATE_FIELD(struct pic, chip[i].lowest),          \
	STATE_FIELD(struct pic, chip[i].special_mask), STATE_FIELD(struct pic, chip[i].read_isr),  \
	STATE_FIELD(struct pic, chip[i].poll), STATE_FIELD(struct pic, chip[i].rotate_auto)

static const struct state_field pic_fields[] = {
	CHIP_FIELDS(MASTER),
	CHIP_FIELDS(SLAVE),
	STATE_FIELD(struct pic, intr),
	STATE_FIELDS_END,
};

static const struct device_class pic_class = {
	.name = "pic",
	.reset = pic_reset,
	.destroy = pic_destroy,
	.fields = pic_fields,
};

int pic_create(const struct device_env *env, const struct pic_config *config, struct device **dev,
	       struct error *err)
{
	struct pic *pic = calloc(1, sizeof(*pic));
	int ret;

	if (!pic)
		return error_set(err, ENOMEM, "pic: out of memory");
	pic->dev.class = &pic_class;
	pic->config = *config;
	pic->pio = env->pio;
	for (unsigned i = 0; i < CHIPS; i++)
		pic->range[i] = (struct bus_range){
			.base = chip_port[i], .size = 2, .name = "pic", .max_width = 1,
			.opaque = &pic->chip[i], .read = chip_read, .write = chip_write,
		};
	pic->range[CHIPS] = (struct bus_range){
		.base = ELCR_PORT, .size = CHIPS, .name = "elcr", .max_width = 1,
		.opaque = pic, .read = elcr_read, .write = elcr_write,
	};
	ret = ranges_add(env->pio, pic->range, RANGES, err);
	if (ret) {
		free(pic);
		return ret;
	}
	pic_reset(&pic->dev);
	*dev = &pic->dev;
	return 0;
}
