/* SPDX-License-Identifier: MIT */
#include "ui/fifo.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

int fifo_init(struct fifo *fifo, size_t capacity)
{
	*fifo = (struct fifo){ .data = malloc(capacity), .capacity = capacity };
	return fifo->data ? 0 : -ENOMEM;
}

void fifo_release(struct fifo *fifo)
{
	free(fifo->data);
	*fifo = (struct fifo){ 0 };
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

size_t fifo_put(struct fifo *fifo, const uint8_t *data, size_t len)
{
	size_t tail, first;

	len = least(len, fifo_room(fifo));
	tail = fifo->head + fifo->used;
	if (tail >= fifo->capacity)
		tail -= fifo->capacity;
	first = least(len, fifo->capacity - tail);
	memcpy(fifo->data + tail, data, first);
	memcpy(fifo->data, data + first, len - first);
	fifo->used += len;
	return len;
}

size_t fifo_peek(const struct fifo *fifo, const uint8_t **data)
{
	*data = fifo->data + fifo->head;
	return least(fifo->used, fifo->capacity - fifo->head);
}

void fifo_drop(struct fifo *fifo, size_t len)
{
	assert(len <= fifo->used);
	fifo->head += len;
	if (fifo->head >= fifo->capacity)
		fifo->head -= fifo->capacity;
	fifo->used -= len;
}
