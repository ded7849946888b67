/* SPDX-License-Identifier: MIT */
/* A ring of bytes of fixed capacity between one that puts and one that takes. Callers serialise. */
#ifndef RINGLET_UI_FIFO_H
#define RINGLET_UI_FIFO_H

#include <stddef.h>
#include <stdint.h>

struct fifo {
	uint8_t *data;
	size_t capacity;
	size_t head; /* index of the oldest byte */
	size_t used;
};

/* 0 or -ENOMEM. */
int fifo_init(struct fifo *fifo, size_t capacity);
void fifo_release(struct fifo *fifo);

/* Puts as much as fits and returns how much that was. */
size_t fifo_put(struct fifo *fifo, const uint8_t *data, size_t len);

/* The oldest bytes that lie in one piece: *data to them, returns how many (0: empty). */
size_t fifo_peek(const struct fifo *fifo, const uint8_t **data);
/* Drops the oldest len bytes; len is at most used. */
void fifo_drop(struct fifo *fifo, size_t len);

static inline size_t fifo_room(const struct fifo *fifo)
{
	return fifo->capacity - fifo->used;
}

#endif
