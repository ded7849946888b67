/* SPDX-License-Identifier: MIT */
/*
 * An MF-II keyboard: commands, and key codes to scan codes. Key codes of the main block are scan
 * set 1 by history, so that set 2 is the controller's translation table the other way round. Scan
 * set 3 is refused, as many keyboards do.
 */
#include "legacy/ps2.h"

#include <linux/input-event-codes.h>

#define SCAN_E0 0x100
#define SCAN_BREAK 0xf0
#define SCAN_OVERRUN 0x00
#define SEQUENCE_MAX 8u

enum command {
	KBD_LEDS = 0xed,
	KBD_ECHO = 0xee,
	KBD_SCAN_SET = 0xf0,
	KBD_ID = 0xf2,
	KBD_RATE = 0xf3,
	KBD_ENABLE = 0xf4,
	KBD_DISABLE = 0xf5,
	KBD_DEFAULTS = 0xf6,
	KBD_ALL_FIRST = 0xf7, /* … 0xfa: key types of all keys, which only scan set 3 has */
	KBD_ALL_LAST = 0xfa,
	KBD_KEY_FIRST = 0xfb, /* … 0xfd: of one key */
	KBD_KEY_LAST = 0xfd,
	KBD_RESEND = 0xfe,
	KBD_RESET = 0xff,
};

/* Index: scan set 2. What is 0x80 or more stays, but for two. */
static const uint8_t set2_to_set1[128] = {
	0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58,
	0x64, 0x44, 0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59,
	0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a,
	0x66, 0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b,
	0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c,
	0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d,
	0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07, 0x5e,
	0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f,
	0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b, 0x0a, 0x60,
	0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61,
	0x6d, 0x73, 0x28, 0x74, 0x1a, 0x0d, 0x62, 0x6e,
	0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76,
	0x55, 0x56, 0x77, 0x78, 0x79, 0x7a, 0x0e, 0x7b,
	0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f,
	0x52, 0x53, 0x50, 0x4c, 0x4d, 0x48, 0x01, 0x45,
	0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54,
};

uint8_t ps2_translate(uint8_t code)
{
	if (code < 128)
		return set2_to_set1[code];
	if (code == 0x83)
		return 0x41;
	return code == 0x84 ? 0x54 : code;
}

/* Keys behind the prefix 0xe0, in scan set 2. */
static const uint16_t extended[KEY_COMPOSE + 1] = {
	[KEY_KPENTER] = 0x5a, [KEY_RIGHTCTRL] = 0x14, [KEY_KPSLASH] = 0x4a, [KEY_RIGHTALT] = 0x11,
	[KEY_HOME] = 0x6c, [KEY_UP] = 0x75, [KEY_PAGEUP] = 0x7d, [KEY_LEFT] = 0x6b,
	[KEY_RIGHT] = 0x74, [KEY_END] = 0x69, [KEY_DOWN] = 0x72, [KEY_PAGEDOWN] = 0x7a,
	[KEY_INSERT] = 0x70, [KEY_DELETE] = 0x71, [KEY_POWER] = 0x37, [KEY_LEFTMETA] = 0x1f,
	[KEY_RIGHTMETA] = 0x27, [KEY_COMPOSE] = 0x2f,
};

/* Scan set 2 for a key, with SCAN_E0; 0: the keyboard has no such key. */
static unsigned scan_code(unsigned key)
{
	if (key <= KEY_F12) {
		/* F7 has two codes that translate to the same; 0x83 is the keyboard's. */
		if (key == KEY_F7)
			return 0x83;
		for (unsigned code = 1; key && code < 128; code++)
			if (set2_to_set1[code] == key)
				return code;
		return 0;
	}
	if (key <= KEY_COMPOSE && extended[key])
		return SCAN_E0 | extended[key];
	return 0;
}

static unsigned append_code(const struct ps2_keyboard *keyboard, uint8_t *data, unsigned code,
			    bool down)
{
	unsigned len = 0;

	if (code & SCAN_E0)
		data[len++] = 0xe0;
	if (keyboard->scan_set == 1) {
		data[len++] = ps2_translate(code) | (down ? 0 : 0x80);
		return len;
	}
	if (!down)
		data[len++] = SCAN_BREAK;
	data[len++] = code;
	return len;
}

/* Pause sends all at once when it goes down. */
static unsigned pause_sequence(const struct ps2_keyboard *keyboard, uint8_t *data, bool down)
{
	static const uint8_t set1[] = { 0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5 };
	static const uint8_t set2[] = { 0xe1, 0x14, 0x77, 0xe1, 0xf0, 0x14, 0xf0, 0x77 };
	const uint8_t *sequence = keyboard->scan_set == 1 ? set1 : set2;
	unsigned len = keyboard->scan_set == 1 ? sizeof(set1) : sizeof(set2);

	for (unsigned i = 0; down && i < len; i++)
		data[i] = sequence[i];
	return down ? len : 0;
}

/* Print Screen is a shifted key. */
static unsigned print_screen(const struct ps2_keyboard *keyboard, uint8_t *data, bool down)
{
	unsigned first = down ? 0x12 : 0x7c;
	unsigned second = down ? 0x7c : 0x12;
	unsigned len = append_code(keyboard, data, SCAN_E0 | first, down);

	return len + append_code(keyboard, data + len, SCAN_E0 | second, down);
}

void ps2_keyboard_key(struct ps2_keyboard *keyboard, unsigned code, bool down)
{
	static const uint8_t overrun = SCAN_OVERRUN;
	uint8_t data[SEQUENCE_MAX];
	unsigned len;

	if (!keyboard->scanning)
		return;
	if (code == KEY_PAUSE)
		len = pause_sequence(keyboard, data, down);
	else if (code == KEY_SYSRQ)
		len = print_screen(keyboard, data, down);
	else if (scan_code(code))
		len = append_code(keyboard, data, scan_code(code), down);
	else
		return;
	/* Room is kept for one overrun mark. */
	if (keyboard->queue.count + len < PS2_QUEUE_BYTES)
		ps2_queue_push(&keyboard->queue, data, len);
	else
		ps2_queue_push(&keyboard->queue, &overrun, 1);
}

static void set_defaults(struct ps2_keyboard *keyboard)
{
	keyboard->command = 0;
	keyboard->scan_set = 2;
}

void ps2_keyboard_reset(struct ps2_keyboard *keyboard)
{
	*keyboard = (struct ps2_keyboard){ .scan_set = 2, .scanning = true };
}

static void answer(struct ps2_keyboard *keyboard, uint8_t byte)
{
	ps2_queue_answer(&keyboard->queue, &byte, 1);
}

static void take_argument(struct ps2_keyboard *keyboard, uint8_t byte)
{
	uint8_t command = keyboard->command;
	const uint8_t which_set[] = { PS2_ACK, keyboard->scan_set };

	keyboard->command = 0;
	if (command == KBD_LEDS)
		keyboard->leds = byte & 7;
	if (command == KBD_SCAN_SET && !byte) {
		ps2_queue_answer(&keyboard->queue, which_set, sizeof(which_set));
		return;
	}
	if (command == KBD_SCAN_SET) {
		if (byte > 2) {
			answer(keyboard, PS2_RESEND);
			return;
		}
		keyboard->scan_set = byte;
	}
	answer(keyboard, PS2_ACK);
}

static void take_command(struct ps2_keyboard *keyboard, uint8_t byte)
{
	static const uint8_t id[] = { PS2_ACK, 0xab, 0x83 };
	static const uint8_t test[] = { PS2_ACK, PS2_TEST_OK };

	keyboard->command = 0;
	switch (byte) {
	case KBD_LEDS:
	case KBD_SCAN_SET:
	case KBD_RATE:
	case KBD_KEY_FIRST ... KBD_KEY_LAST:
		keyboard->command = byte;
		answer(keyboard, PS2_ACK);
		break;
	case KBD_ECHO:
		answer(keyboard, KBD_ECHO);
		break;
	case KBD_ID:
		ps2_queue_answer(&keyboard->queue, id, sizeof(id));
		break;
	case KBD_ENABLE:
		keyboard->scanning = true;
		answer(keyboard, PS2_ACK);
		break;
	case KBD_DISABLE:
	case KBD_DEFAULTS:
		set_defaults(keyboard);
		keyboard->scanning = byte == KBD_DEFAULTS;
		answer(keyboard, PS2_ACK);
		break;
	case KBD_ALL_FIRST ... KBD_ALL_LAST:
		answer(keyboard, PS2_ACK);
		break;
	case KBD_RESEND:
		answer(keyboard, keyboard->queue.last);
		break;
	case KBD_RESET:
		ps2_keyboard_reset(keyboard);
		ps2_queue_answer(&keyboard->queue, test, sizeof(test));
		break;
	default:
		answer(keyboard, PS2_RESEND);
		break;
	}
}

/* A command may come where an argument is due: they do not overlap. */
void ps2_keyboard_write(struct ps2_keyboard *keyboard, uint8_t byte)
{
	if (keyboard->command && byte < KBD_LEDS)
		take_argument(keyboard, byte);
	else
		take_command(keyboard, byte);
}
