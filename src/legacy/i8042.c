/* SPDX-License-Identifier: MIT */
/*
 * The keyboard controller. It has one output byte; whenever that is free it takes the next one: its
 * own answers first, then the keyboard's, then the mouse's. The interrupt lines follow the full
 * output byte, so each byte is an edge.
 */
#include "legacy/i8042.h"

#include <errno.h>
#include <stdlib.h>

#include "base/error.h"
#include "dev/ranges.h"
#include "legacy/ps2.h"

#define RANGES 2

#define STATUS_OUTPUT_FULL 0x01
#define STATUS_SYSTEM 0x04
#define STATUS_COMMAND 0x08
#define STATUS_UNLOCKED 0x10
#define STATUS_MOUSE 0x20

#define CONFIG_KEYBOARD_IRQ 0x01
#define CONFIG_MOUSE_IRQ 0x02
#define CONFIG_SYSTEM 0x04
#define CONFIG_KEYBOARD_OFF 0x10
#define CONFIG_MOUSE_OFF 0x20
#define CONFIG_TRANSLATE 0x40

#define OUTPUT_NO_RESET 0x01
#define OUTPUT_A20 0x02
#define OUTPUT_KEYBOARD_FULL 0x10
#define OUTPUT_MOUSE_FULL 0x20
#define OUTPUT_LINES_IDLE 0xc0

enum command {
	CMD_READ_RAM = 0x20,
	CMD_READ_RAM_LAST = 0x3f,
	CMD_WRITE_RAM = 0x60,
	CMD_WRITE_RAM_LAST = 0x7f,
	CMD_MOUSE_OFF = 0xa7,
	CMD_MOUSE_ON = 0xa8,
	CMD_TEST_MOUSE = 0xa9,
	CMD_TEST = 0xaa,
	CMD_TEST_KEYBOARD = 0xab,
	CMD_KEYBOARD_OFF = 0xad,
	CMD_KEYBOARD_ON = 0xae,
	CMD_READ_INPUT = 0xc0,
	CMD_READ_OUTPUT = 0xd0,
	CMD_WRITE_OUTPUT = 0xd1,
	CMD_ECHO_KEYBOARD = 0xd2,
	CMD_ECHO_MOUSE = 0xd3,
	CMD_WRITE_MOUSE = 0xd4,
	CMD_A20_OFF = 0xdd,
	CMD_A20_ON = 0xdf,
	CMD_TEST_LINES = 0xe0,
	CMD_PULSE = 0xf0, /* … 0xff: low bits clear pulse output port bits; bit 0 is reset */
};

enum source { FROM_NOBODY, FROM_CONTROLLER, FROM_KEYBOARD, FROM_MOUSE };

struct i8042 {
	struct device dev;
	struct i8042_config config;
	struct bus *pio;
	struct bus_range range[RANGES];
	struct ps2_keyboard keyboard;
	struct ps2_mouse mouse;
	uint8_t ram[32];      /* the first byte is the configuration */
	uint8_t status;
	uint8_t output;       /* the byte at port 0x60 */
	uint8_t output_port;
	uint8_t source;       /* of output: enum source */
	uint8_t answer;       /* the controller's own, waiting for the output byte */
	uint8_t answer_as;    /* enum source it pretends to come from; FROM_NOBODY: none */
	uint8_t command;      /* whose argument is awaited; 0: none */
	bool translate_break; /* 0xf0 was seen: the next code is a release */
};

static uint8_t *config_byte(struct i8042 *kbc)
{
	return &kbc->ram[0];
}

static void update_irq(struct i8042 *kbc)
{
	uint8_t config = *config_byte(kbc);
	bool mouse = kbc->source == FROM_MOUSE;
	bool keyboard = kbc->source == FROM_KEYBOARD || kbc->source == FROM_CONTROLLER;

	irq_set(&kbc->config.keyboard_irq, keyboard && config & CONFIG_KEYBOARD_IRQ);
	irq_set(&kbc->config.mouse_irq, mouse && config & CONFIG_MOUSE_IRQ);
}

static void put(struct i8042 *kbc, uint8_t byte, enum source source)
{
	kbc->output = byte;
	kbc->source = source;
	kbc->status |= STATUS_OUTPUT_FULL;
	if (source == FROM_MOUSE)
		kbc->status |= STATUS_MOUSE;
	else
		kbc->status &= ~STATUS_MOUSE;
}

/* One byte of the keyboard's; false: it was the prefix of a release and waits for the code. */
static bool put_keyboard(struct i8042 *kbc)
{
	uint8_t byte = ps2_queue_pop(&kbc->keyboard.queue);

	if (*config_byte(kbc) & CONFIG_TRANSLATE) {
		if (byte == 0xf0) {
			kbc->translate_break = true;
			return false;
		}
		byte = ps2_translate(byte) | (kbc->translate_break ? 0x80 : 0);
		kbc->translate_break = false;
	}
	put(kbc, byte, FROM_KEYBOARD);
	return true;
}

/* Fills the output byte if it is free and somebody has something. */
static void fill_output(struct i8042 *kbc)
{
	uint8_t config = *config_byte(kbc);

	if (kbc->status & STATUS_OUTPUT_FULL)
		return;
	ps2_mouse_poll(&kbc->mouse);
	if (kbc->answer_as != FROM_NOBODY) {
		put(kbc, kbc->answer, kbc->answer_as);
		kbc->answer_as = FROM_NOBODY;
	}
	while (!(kbc->status & STATUS_OUTPUT_FULL) && !(config & CONFIG_KEYBOARD_OFF) &&
	       kbc->keyboard.queue.count && !put_keyboard(kbc))
		;
	if (!(kbc->status & STATUS_OUTPUT_FULL) && !(config & CONFIG_MOUSE_OFF) &&
	    kbc->mouse.queue.count)
		put(kbc, ps2_queue_pop(&kbc->mouse.queue), FROM_MOUSE);
	update_irq(kbc);
}

static void answer_from(struct i8042 *kbc, uint8_t byte, enum source source)
{
	kbc->answer = byte;
	kbc->answer_as = source;
}

static void answer(struct i8042 *kbc, uint8_t byte)
{
	answer_from(kbc, byte, FROM_CONTROLLER);
}

static uint8_t read_data(struct i8042 *kbc)
{
	if (!(kbc->status & STATUS_OUTPUT_FULL))
		return kbc->output;
	kbc->status &= ~(STATUS_OUTPUT_FULL | STATUS_MOUSE);
	kbc->source = FROM_NOBODY;
	update_irq(kbc);
	return kbc->output;
}

static void set_a20(struct i8042 *kbc, bool open)
{
	kbc->output_port = open ? kbc->output_port | OUTPUT_A20 : kbc->output_port & ~OUTPUT_A20;
	if (kbc->config.a20)
		kbc->config.a20(kbc->config.opaque, open);
}

static void write_output_port(struct i8042 *kbc, uint8_t value)
{
	set_a20(kbc, value & OUTPUT_A20);
	if (!(value & OUTPUT_NO_RESET))
		kbc->config.reset(kbc->config.opaque);
}

static uint8_t read_output_port(const struct i8042 *kbc)
{
	uint8_t full = 0;

	if (kbc->source == FROM_MOUSE)
		full = OUTPUT_MOUSE_FULL;
	else if (kbc->source != FROM_NOBODY)
		full = OUTPUT_KEYBOARD_FULL;
	return (kbc->output_port & OUTPUT_A20) | OUTPUT_NO_RESET | OUTPUT_LINES_IDLE | full;
}

static void write_ram(struct i8042 *kbc, unsigned cell, uint8_t value)
{
	kbc->ram[cell] = value;
	if (cell)
		return;
	kbc->status = (kbc->status & ~STATUS_SYSTEM) | (value & CONFIG_SYSTEM);
	update_irq(kbc);
}

static void set_config_bit(struct i8042 *kbc, uint8_t bit, bool on)
{
	*config_byte(kbc) = on ? *config_byte(kbc) | bit : *config_byte(kbc) & ~bit;
}

/* A command with a byte to follow at the data port. */
static void take_argument(struct i8042 *kbc, uint8_t value)
{
	uint8_t command = kbc->command;

	kbc->command = 0;
	switch (command) {
	case CMD_WRITE_RAM ... CMD_WRITE_RAM_LAST:
		write_ram(kbc, command - CMD_WRITE_RAM, value);
		break;
	case CMD_WRITE_OUTPUT:
		write_output_port(kbc, value);
		break;
	case CMD_ECHO_KEYBOARD:
		answer_from(kbc, value, FROM_KEYBOARD);
		break;
	case CMD_ECHO_MOUSE:
		answer_from(kbc, value, FROM_MOUSE);
		break;
	case CMD_WRITE_MOUSE:
		set_config_bit(kbc, CONFIG_MOUSE_OFF, false);
		ps2_mouse_write(&kbc->mouse, value);
		break;
	default:
		break;
	}
}

static void write_data(struct i8042 *kbc, uint8_t value)
{
	kbc->status &= ~STATUS_COMMAND;
	if (kbc->command) {
		take_argument(kbc, value);
		return;
	}
	/* Sending to the keyboard enables it. */
	set_config_bit(kbc, CONFIG_KEYBOARD_OFF, false);
	kbc->translate_break = false;
	ps2_keyboard_write(&kbc->keyboard, value);
}

static void self_test(struct i8042 *kbc)
{
	kbc->status |= STATUS_SYSTEM;
	set_config_bit(kbc, CONFIG_SYSTEM, true);
	answer(kbc, 0x55);
}

static void write_command(struct i8042 *kbc, uint8_t value)
{
	kbc->status |= STATUS_COMMAND;
	kbc->command = 0;
	switch (value) {
	case CMD_READ_RAM ... CMD_READ_RAM_LAST:
		answer(kbc, kbc->ram[value - CMD_READ_RAM]);
		break;
	case CMD_WRITE_RAM ... CMD_WRITE_RAM_LAST:
	case CMD_WRITE_OUTPUT:
	case CMD_ECHO_KEYBOARD:
	case CMD_ECHO_MOUSE:
	case CMD_WRITE_MOUSE:
		kbc->command = value;
		break;
	case CMD_MOUSE_OFF:
	case CMD_MOUSE_ON:
		set_config_bit(kbc, CONFIG_MOUSE_OFF, value == CMD_MOUSE_OFF);
		break;
	case CMD_KEYBOARD_OFF:
	case CMD_KEYBOARD_ON:
		set_config_bit(kbc, CONFIG_KEYBOARD_OFF, value == CMD_KEYBOARD_OFF);
		break;
	case CMD_TEST:
		self_test(kbc);
		break;
	case CMD_TEST_MOUSE:
	case CMD_TEST_KEYBOARD:
	case CMD_TEST_LINES:
		answer(kbc, 0x00);
		break;
	case CMD_READ_INPUT:
		answer(kbc, 0x80);
		break;
	case CMD_READ_OUTPUT:
		answer(kbc, read_output_port(kbc));
		break;
	case CMD_A20_OFF:
	case CMD_A20_ON:
		set_a20(kbc, value == CMD_A20_ON);
		break;
	default:
		if (value >= CMD_PULSE && !(value & OUTPUT_NO_RESET))
			kbc->config.reset(kbc->config.opaque);
		break;
	}
}

static uint64_t data_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct i8042 *kbc = opaque;
	uint8_t value = read_data(kbc);

	(void)offset;
	(void)size;
	(void)cpu;
	fill_output(kbc);
	return value;
}

static void data_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	(void)offset;
	(void)size;
	(void)cpu;
	write_data(opaque, value);
	fill_output(opaque);
}

static uint64_t status_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	const struct i8042 *kbc = opaque;

	(void)offset;
	(void)size;
	(void)cpu;
	return kbc->status | STATUS_UNLOCKED;
}

static void command_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	(void)offset;
	(void)size;
	(void)cpu;
	write_command(opaque, value);
	fill_output(opaque);
}

/* ---- input ---- */

void i8042_key(struct device *dev, unsigned code, bool down)
{
	struct i8042 *kbc = (struct i8042 *)dev;

	ps2_keyboard_key(&kbc->keyboard, code, down);
	fill_output(kbc);
}

void i8042_mouse(struct device *dev, int dx, int dy, int dz, unsigned buttons)
{
	struct i8042 *kbc = (struct i8042 *)dev;

	ps2_mouse_move(&kbc->mouse, dx, dy, dz, buttons);
	fill_output(kbc);
}

/* ---- life ---- */

/* As a firmware's self test leaves it: interrupts on, translating. */
static void i8042_reset(struct device *dev)
{
	struct i8042 *kbc = (struct i8042 *)dev;

	ps2_keyboard_reset(&kbc->keyboard);
	ps2_mouse_reset(&kbc->mouse);
	for (unsigned i = 0; i < sizeof(kbc->ram); i++)
		kbc->ram[i] = 0;
	*config_byte(kbc) = CONFIG_KEYBOARD_IRQ | CONFIG_MOUSE_IRQ | CONFIG_SYSTEM |
			    CONFIG_TRANSLATE;
	kbc->status = STATUS_SYSTEM;
	kbc->output = 0;
	kbc->output_port = OUTPUT_A20;
	kbc->source = kbc->answer_as = FROM_NOBODY;
	kbc->command = 0;
	kbc->translate_break = false;
	update_irq(kbc);
}

static void i8042_restored(struct device *dev)
{
	struct i8042 *kbc = (struct i8042 *)dev;

	ps2_queue_check(&kbc->keyboard.queue);
	ps2_queue_check(&kbc->mouse.queue);
	update_irq(kbc);
}

static void i8042_destroy(struct device *dev)
{
	struct i8042 *kbc = (struct i8042 *)dev;

	ranges_remove(kbc->pio, kbc->range, RANGES);
	free(kbc);
}

static const struct state_field i8042_fields[] = {
	STATE_FIELD(struct i8042, keyboard),
	STATE_FIELD(struct i8042, mouse),
	STATE_FIELD(struct i8042, ram),
	STATE_FIELD(struct i8042, status),
	STATE_FIELD(struct i8042, output),
	STATE_FIELD(struct i8042, output_port),
	STATE_FIELD(struct i8042, source),
	STATE_FIELD(struct i8042, answer),
	STATE_FIELD(struct i8042, answer_as),
	STATE_FIELD(struct i8042, command),
	STATE_FIELD(struct i8042, translate_break),
	STATE_FIELDS_END,
};

static const struct device_class i8042_class = {
	.name = "i8042",
	.reset = i8042_reset,
	.destroy = i8042_destroy,
	.fields = i8042_fields,
	.restored = i8042_restored,
};

int i8042_create(const struct device_env *env, const struct i8042_config *config,
		 struct device **dev, struct error *err)
{
	struct i8042 *kbc = calloc(1, sizeof(*kbc));
	int ret;

	if (!kbc)
		return error_set(err, ENOMEM, "i8042: out of memory");
	kbc->dev.class = &i8042_class;
	kbc->config = *config;
	kbc->pio = env->pio;
	kbc->range[0] = (struct bus_range){
		.base = 0x60, .size = 1, .name = "i8042-data", .max_width = 1,
		.opaque = kbc, .read = data_read, .write = data_write,
	};
	kbc->range[1] = (struct bus_range){
		.base = 0x64, .size = 1, .name = "i8042-command", .max_width = 1,
		.opaque = kbc, .read = status_read, .write = command_write,
	};
	ret = ranges_add(env->pio, kbc->range, RANGES, err);
	if (ret) {
		free(kbc);
		return ret;
	}
	i8042_reset(&kbc->dev);
	*dev = &kbc->dev;
	return 0;
}
