/* SPDX-License-Identifier: MIT */
/*
 * A console that several look at: a character device's back end in front of another one (the
 * terminal), to which others can be tapped. Everybody sees what the guest writes and may type; the
 * guest waits for the terminal alone. Machine lock held.
 */
#ifndef RINGLET_UI_HUB_H
#define RINGLET_UI_HUB_H

#include <stddef.h>
#include <stdint.h>

struct chardev;
struct error;
struct hub;

/* Its owner's, who sets the functions and opaque; they must not call back into the hub. */
struct hub_tap {
	/* The guest wrote this. */
	void (*output)(void *opaque, const uint8_t *data, size_t len);
	/* The guest has taken input: hub_room may be more than 0 now. */
	void (*input_room)(void *opaque);
	void *opaque;
	struct hub_tap *next;
};

/* back outlives the hub. */
int hub_create(struct chardev *back, struct hub **hub, struct error *err);
/* No tap is on it any more. */
void hub_destroy(struct hub *hub);

/* For the device. */
struct chardev *hub_chardev(struct hub *hub);

/* From now on; what the guest wrote last comes first. */
void hub_tap(struct hub *hub, struct hub_tap *tap);
void hub_untap(struct hub *hub, const struct hub_tap *tap);

/* How many bytes of input the guest takes now; and input, of at most so many. */
size_t hub_room(const struct hub *hub);
void hub_input(struct hub *hub, const uint8_t *data, size_t len);
void hub_break(struct hub *hub);

#endif
