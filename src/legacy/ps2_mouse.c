/* SPDX-License-Identifier: MIT */
/*
 * A PS/2 mouse with Microsoft's wheel extension. Motion is summed up until the last packet has
 * left, so that a slow guest sees large steps instead of a long delay.
 */
#include "legacy/ps2.h"

#define PACKET_MAX 4u
#define MOTION_MAX 255
#define WHEEL_MAX 7
#define SUM_MAX 65535

enum command {
	MOUSE_SCALING_1 = 0xe6,
	MOUSE_SCALING_2 = 0xe7,
	MOUSE_RESOLUTION = 0xe8,
	MOUSE_STATUS = 0xe9,
	MOUSE_STREAM = 0xea,
	MOUSE_READ = 0xeb,
	MOUSE_WRAP_END = 0xec,
	MOUSE_WRAP = 0xee,
	MOUSE_REMOTE = 0xf0,
	MOUSE_ID = 0xf2,
	MOUSE_RATE = 0xf3,
	MOUSE_ENABLE = 0xf4,
	MOUSE_DISABLE = 0xf5,
	MOUSE_DEFAULTS = 0xf6,
	MOUSE_RESEND = 0xfe,
	MOUSE_RESET = 0xff,
};

static int32_t clamp(int32_t value, int32_t limit)
{
	if (value > limit)
		return limit;
	return value < -limit ? -limit : value;
}

static void forget_motion(struct ps2_mouse *mouse)
{
	mouse->dx = mouse->dy = mouse->dz = 0;
	mouse->buttons_changed = false;
}

static void set_defaults(struct ps2_mouse *mouse)
{
	mouse->rate = 100;
	mouse->resolution = 2;
	mouse->remote = mouse->reporting = mouse->scaling_2_to_1 = false;
	mouse->command = 0;
	forget_motion(mouse);
}

void ps2_mouse_reset(struct ps2_mouse *mouse)
{
	*mouse = (struct ps2_mouse){ .buttons = mouse->buttons };
	set_defaults(mouse);
}

/* Packet: 7 y overflow  6 x overflow  5 y sign  4 x sign  3 one  2:0 buttons;  x;  y;  wheel */
static unsigned make_packet(struct ps2_mouse *mouse, uint8_t *data)
{
	int32_t dx = clamp(mouse->dx, MOTION_MAX);
	int32_t dy = clamp(mouse->dy, MOTION_MAX);
	int32_t dz = clamp(mouse->dz, WHEEL_MAX);

	data[0] = 0x08 | mouse->buttons | (dx < 0 ? 0x10 : 0) | (dy < 0 ? 0x20 : 0);
	data[1] = dx;
	data[2] = dy;
	data[3] = dz;
	mouse->dx -= dx;
	mouse->dy -= dy;
	mouse->dz -= dz;
	mouse->buttons_changed = false;
	return mouse->id ? 4 : 3;
}

void ps2_mouse_poll(struct ps2_mouse *mouse)
{
	uint8_t data[PACKET_MAX];
	bool news = mouse->dx || mouse->dy || (mouse->dz && mouse->id) || mouse->buttons_changed;

	if (news && mouse->reporting && !mouse->remote && !mouse->wrap && !mouse->queue.count)
		ps2_queue_push(&mouse->queue, data, make_packet(mouse, data));
}

void ps2_mouse_move(struct ps2_mouse *mouse, int dx, int dy, int dz, unsigned buttons)
{
	mouse->buttons_changed |= mouse->buttons != (buttons & 7);
	mouse->buttons = buttons & 7;
	if (!mouse->reporting && !mouse->remote)
		return;
	mouse->dx = clamp(mouse->dx + clamp(dx, SUM_MAX), SUM_MAX);
	mouse->dy = clamp(mouse->dy + clamp(dy, SUM_MAX), SUM_MAX);
	mouse->dz = clamp(mouse->dz + clamp(dz, SUM_MAX), SUM_MAX);
	ps2_mouse_poll(mouse);
}

static void answer(struct ps2_mouse *mouse, uint8_t byte)
{
	ps2_queue_answer(&mouse->queue, &byte, 1);
}

static void take_rate(struct ps2_mouse *mouse, uint8_t rate)
{
	if (mouse->last_rates[0] == 200 && mouse->last_rates[1] == 100 && rate == 80)
		mouse->id = 3;
	mouse->last_rates[0] = mouse->last_rates[1];
	mouse->last_rates[1] = rate;
	mouse->rate = rate;
}

static void answer_status(struct ps2_mouse *mouse)
{
	uint8_t flags = (mouse->remote ? 0x40 : 0) | (mouse->reporting ? 0x20 : 0) |
			(mouse->scaling_2_to_1 ? 0x10 : 0);
	/* Unlike in a packet, the right button is bit 0 here and the left bit 2. */
	uint8_t buttons = (mouse->buttons & 1) << 2 | (mouse->buttons & 2) >> 1 |
			  (mouse->buttons & 4) >> 1;
	const uint8_t data[] = { PS2_ACK, flags | buttons, mouse->resolution, mouse->rate };

	ps2_queue_answer(&mouse->queue, data, sizeof(data));
}

static void answer_packet(struct ps2_mouse *mouse)
{
	uint8_t data[PACKET_MAX];
	unsigned len = make_packet(mouse, data);

	answer(mouse, PS2_ACK);
	ps2_queue_push(&mouse->queue, data, len);
}

static void answer_id(struct ps2_mouse *mouse)
{
	const uint8_t data[] = { PS2_ACK, mouse->id };

	ps2_queue_answer(&mouse->queue, data, sizeof(data));
}

static void answer_reset(struct ps2_mouse *mouse)
{
	static const uint8_t data[] = { PS2_ACK, PS2_TEST_OK, 0x00 };

	ps2_mouse_reset(mouse);
	ps2_queue_answer(&mouse->queue, data, sizeof(data));
}

/* Commands that only change a mode: false for others. */
static bool change_mode(struct ps2_mouse *mouse, uint8_t byte)
{
	switch (byte) {
	case MOUSE_SCALING_1:
	case MOUSE_SCALING_2:
		mouse->scaling_2_to_1 = byte == MOUSE_SCALING_2;
		return true;
	case MOUSE_STREAM:
		mouse->remote = false;
		return true;
	case MOUSE_REMOTE:
		mouse->remote = true;
		return true;
	case MOUSE_WRAP_END:
	case MOUSE_WRAP:
		mouse->wrap = byte == MOUSE_WRAP;
		return true;
	case MOUSE_ENABLE:
	case MOUSE_DISABLE:
		mouse->reporting = byte == MOUSE_ENABLE;
		forget_motion(mouse);
		return true;
	case MOUSE_DEFAULTS:
		set_defaults(mouse);
		return true;
	case MOUSE_RATE:
	case MOUSE_RESOLUTION:
		mouse->command = byte;
		return true;
	default:
		return false;
	}
}

static void take_command(struct ps2_mouse *mouse, uint8_t byte)
{
	if (change_mode(mouse, byte)) {
		answer(mouse, PS2_ACK);
		return;
	}
	switch (byte) {
	case MOUSE_STATUS:
		answer_status(mouse);
		break;
	case MOUSE_READ:
		answer_packet(mouse);
		break;
	case MOUSE_ID:
		answer_id(mouse);
		break;
	case MOUSE_RESET:
		answer_reset(mouse);
		break;
	case MOUSE_RESEND:
		answer(mouse, mouse->queue.last);
		break;
	default:
		answer(mouse, PS2_RESEND);
		break;
	}
}

void ps2_mouse_write(struct ps2_mouse *mouse, uint8_t byte)
{
	if (mouse->wrap && byte != MOUSE_RESET && byte != MOUSE_WRAP_END) {
		answer(mouse, byte);
		return;
	}
	if (!mouse->command) {
		take_command(mouse, byte);
		return;
	}
	if (mouse->command == MOUSE_RATE)
		take_rate(mouse, byte);
	else
		mouse->resolution = byte & 3;
	mouse->command = 0;
	answer(mouse, PS2_ACK);
}
