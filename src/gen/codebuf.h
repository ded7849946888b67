/* SPDX-License-Identifier: MIT */
/*
 * Memory for generated host code, mapped twice, writable and executable, never both at one address, on
 * huge pages where the host lets us. Allocation only grows; everything goes at once with the buffer.
 * The owner serialises calls; the code may run on any thread.
 */
#ifndef RINGLET_GEN_CODEBUF_H
#define RINGLET_GEN_CODEBUF_H

#include <stddef.h>
#include <stdint.h>

struct error;

struct codebuf {
	uint8_t *rw;       /* where code is written */
	const uint8_t *rx; /* the same bytes, where it runs */
	size_t size_bytes, used_bytes;
};

/* size_bytes: rounded up to pages; a page costs memory once it is used. -errno of mmap
 * and mprotect. */
int codebuf_create(struct codebuf *buf, size_t size_bytes, struct error *err);
/* Nothing may run in it any more. Harmless for a zeroed struct. */
void codebuf_destroy(struct codebuf *buf);

/* Copies size bytes of position-independent code in, 16-aligned; where it runs, or NULL when
 * full. */
const void *codebuf_add(struct codebuf *buf, const void *code, size_t size);
/*
 * Writes over code that codebuf_add gave out (at least as long), and makes this processor forget
 * what it has fetched of it. Only code that no other thread runs.
 */
void codebuf_replace(struct codebuf *buf, const void *where, const void *code, size_t size);

#endif
