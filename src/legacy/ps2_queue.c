/* SPDX-License-Identifier: MIT */
/* Bytes on their way from a PS/2 device to the controller. */
#include "legacy/ps2.h"

bool ps2_queue_push(struct ps2_queue *queue, const uint8_t *data, unsigned len)
{
	if (queue->count + len > PS2_QUEUE_BYTES)
		return false;
	for (unsigned i = 0; i < len; i++)
		queue->data[(queue->head + queue->count++) % PS2_QUEUE_BYTES] = data[i];
	return true;
}

uint8_t ps2_queue_pop(struct ps2_queue *queue)
{
	queue->last = queue->data[queue->head];
	queue->head = (queue->head + 1) % PS2_QUEUE_BYTES;
	queue->count--;
	return queue->last;
}

void ps2_queue_clear(struct ps2_queue *queue)
{
	queue->head = queue->count = 0;
}

void ps2_queue_check(struct ps2_queue *queue)
{
	queue->head %= PS2_QUEUE_BYTES;
	if (queue->count > PS2_QUEUE_BYTES)
		queue->count = PS2_QUEUE_BYTES;
}

void ps2_queue_answer(struct ps2_queue *queue, const uint8_t *data, unsigned len)
{
	ps2_queue_clear(queue);
	ps2_queue_push(queue, data, len);
}
