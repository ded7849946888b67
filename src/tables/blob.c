/* SPDX-License-Identifier: MIT */
/* A growing piece of bytes: see blob.h. Any thread, one at a time. */
#include "tables/blob.h"

#include <stdlib.h>
#include <string.h>

static bool reserve(struct blob *blob, size_t len)
{
	size_t capacity = blob->capacity ? blob->capacity : 512;
	uint8_t *data;

	while (capacity - blob->size_bytes < len)
		capacity *= 2;
	if (blob->failed || capacity == blob->capacity)
		return !blob->failed;
	data = realloc(blob->data, capacity);
	if (!data) {
		blob->failed = true;
		return false;
	}
	blob->data = data;
	blob->capacity = capacity;
	return true;
}

void blob_free(struct blob *blob)
{
	free(blob->data);
	*blob = (struct blob){ .data = NULL };
}

void blob_insert(struct blob *blob, size_t offset, const void *data, size_t len)
{
	if (!len || !reserve(blob, len))
		return;
	memmove(blob->data + offset + len, blob->data + offset, blob->size_bytes - offset);
	memcpy(blob->data + offset, data, len);
	blob->size_bytes += len;
}

void blob_append(struct blob *blob, const void *data, size_t len)
{
	blob_insert(blob, blob->size_bytes, data, len);
}

void blob_put(struct blob *blob, uint64_t value, unsigned size)
{
	uint8_t bytes[8];

	for (unsigned i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
	blob_append(blob, bytes, size);
}

void blob_zeros(struct blob *blob, size_t len)
{
	if (!reserve(blob, len))
		return;
	memset(blob->data + blob->size_bytes, 0, len);
	blob->size_bytes += len;
}

void blob_align(struct blob *blob, size_t align)
{
	blob_zeros(blob, -blob->size_bytes & (align - 1));
}

void blob_set(struct blob *blob, size_t offset, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size && !blob->failed; i++)
		blob->data[offset + i] = (uint8_t)(value >> (8 * i));
}

uint64_t blob_get(const struct blob *blob, size_t offset, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size && !blob->failed; i++)
		value |= (uint64_t)blob->data[offset + i] << (8 * i);
	return value;
}

uint8_t blob_checksum(const uint8_t *data, size_t len)
{
	uint8_t sum = 0;

	while (len--)
		sum += *data++;
	return -sum;
}
