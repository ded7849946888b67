/* SPDX-License-Identifier: MIT */
/*
 * The PC's keyboard controller (Intel 8042 with IBM's program, PS/2 Technical Reference), ports
 * 0x60 and 0x64, with an AT keyboard (MF-II, scan sets 1 and 2) and an IntelliMouse. Machine lock.
 */
#ifndef RINGLET_LEGACY_I8042_H
#define RINGLET_LEGACY_I8042_H

#include <stdbool.h>
#include <stdint.h>

#include "dev/device.h"
#include "dev/irq.h"

struct i8042_config {
	struct irq_line keyboard_irq; /* ISA interrupt 1 */
	struct irq_line mouse_irq;    /* ISA interrupt 12 */
	/* The guest pulses the processor's reset line. */
	void (*reset)(void *opaque);
	/* The A20 gate moves. May be NULL. */
	void (*a20)(void *opaque, bool open);
	void *opaque;
};

enum { I8042_BUTTON_LEFT = 1, I8042_BUTTON_RIGHT = 2, I8042_BUTTON_MIDDLE = 4 };

int i8042_create(const struct device_env *env, const struct i8042_config *config,
		 struct device **dev, struct error *err);

/* A key goes down or up; code is KEY_… of <linux/input-event-codes.h>. Repeating is the caller's. */
void i8042_key(struct device *dev, unsigned code, bool down);

/* The mouse moves (right, up and wheel towards the user are positive); buttons are those down now. */
void i8042_mouse(struct device *dev, int dx, int dy, int dz, unsigned buttons);

#endif
