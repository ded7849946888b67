/* SPDX-License-Identifier: MIT */
/*
 * A growing piece of bytes. Running out of memory sets failed, and what follows does nothing: the
 * builder asks once, at the end. Zeroed: empty.
 */
#ifndef RINGLET_TABLES_BLOB_H
#define RINGLET_TABLES_BLOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blob {
	uint8_t *data;
	size_t size_bytes, capacity;
	bool failed;
};

void blob_free(struct blob *blob);
void blob_append(struct blob *blob, const void *data, size_t len);
/* A little-endian number of 1 to 8 bytes. */
void blob_put(struct blob *blob, uint64_t value, unsigned size);
void blob_zeros(struct blob *blob, size_t len);
void blob_align(struct blob *blob, size_t align);
/* Makes place at offset, moving the rest up. */
void blob_insert(struct blob *blob, size_t offset, const void *data, size_t len);
/* Overwrites; offset + size lies within. */
void blob_set(struct blob *blob, size_t offset, uint64_t value, unsigned size);
uint64_t blob_get(const struct blob *blob, size_t offset, unsigned size);

/* The byte that makes len bytes at data sum to zero. */
uint8_t blob_checksum(const uint8_t *data, size_t len);

#endif
