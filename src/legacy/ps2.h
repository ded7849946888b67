/* SPDX-License-Identifier: MIT */
/*
 * The two PS/2 devices as their controller sees them: bytes in by *_write, bytes out of the queue.
 * Plain state without pointers, so that the controller's snapshot can hold it. Machine lock.
 */
#ifndef RINGLET_LEGACY_PS2_H
#define RINGLET_LEGACY_PS2_H

#include <stdbool.h>
#include <stdint.h>

#define PS2_QUEUE_BYTES 32u
#define PS2_ACK 0xfa
#define PS2_RESEND 0xfe
#define PS2_TEST_OK 0xaa

struct ps2_queue {
	uint8_t data[PS2_QUEUE_BYTES];
	uint8_t head, count;
	uint8_t last; /* sent: for the resend command */
};

struct ps2_keyboard {
	struct ps2_queue queue;
	uint8_t command;  /* whose argument is awaited; 0: none */
	uint8_t scan_set; /* 1 or 2 */
	uint8_t leds;
	bool scanning;
};

struct ps2_mouse {
	struct ps2_queue queue;
	uint8_t command;
	uint8_t id;             /* 0; 3 with a wheel */
	uint8_t rate, resolution;
	uint8_t last_rates[2];  /* the two before: a sequence of three unlocks the wheel */
	uint8_t buttons;
	bool buttons_changed;
	bool remote, wrap, reporting, scaling_2_to_1;
	int32_t dx, dy, dz;     /* not yet reported */
};

/* ---- queue (ps2_queue.c) ---- */

/* false: no room for all of it, nothing was taken. */
bool ps2_queue_push(struct ps2_queue *queue, const uint8_t *data, unsigned len);
/* The queue must not be empty. */
uint8_t ps2_queue_pop(struct ps2_queue *queue);
void ps2_queue_clear(struct ps2_queue *queue);
/* After a snapshot: no index out of bounds. */
void ps2_queue_check(struct ps2_queue *queue);
/* Clears the queue and sends an answer of up to four bytes. */
void ps2_queue_answer(struct ps2_queue *queue, const uint8_t *data, unsigned len);

/* ---- devices ---- */

void ps2_keyboard_reset(struct ps2_keyboard *keyboard);
void ps2_keyboard_write(struct ps2_keyboard *keyboard, uint8_t byte);
void ps2_keyboard_key(struct ps2_keyboard *keyboard, unsigned code, bool down);

/* Scan set 2 to 1, one byte: what the controller's translation does. */
uint8_t ps2_translate(uint8_t code);

void ps2_mouse_reset(struct ps2_mouse *mouse);
void ps2_mouse_write(struct ps2_mouse *mouse, uint8_t byte);
void ps2_mouse_move(struct ps2_mouse *mouse, int dx, int dy, int dz, unsigned buttons);
/* Turns motion that waits into a packet when the queue has run empty. */
void ps2_mouse_poll(struct ps2_mouse *mouse);

#endif
