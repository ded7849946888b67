/* SPDX-License-Identifier: MIT */
/* See codebuf.h. */
#include "gen/codebuf.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"

#define PAGE_BYTES 4096u
#define ALIGN_BYTES 16u
#define SETTLED_BYTES (256u << 10)
#define HUGE_BYTES (2ul << 20)

/* Linux 6.1; older headers lack it, older kernels refuse it. */
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

/* Address space for size bytes that begins where a huge page may, or MAP_FAILED. */
static uint8_t *reserve(size_t size)
{
	uint8_t *space = mmap(NULL, size + HUGE_BYTES, PROT_NONE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	size_t before;

	if (space == MAP_FAILED)
		return space;
	before = -(uintptr_t)space % HUGE_BYTES;
	if (before)
		munmap(space, before);
	munmap(space + before + size, HUGE_BYTES - before);
	return space + before;
}

static void *map_shared(size_t size)
{
	uint8_t *at = reserve(size);

	if (at == MAP_FAILED)
		return at;
	return mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
}

/* The same pages again: of a shared mapping, an old size of 0 makes another one. */
static void *map_again(void *shared, size_t size)
{
	uint8_t *at = reserve(size);

	if (at == MAP_FAILED)
		return at;
	return mremap(shared, 0, size, MREMAP_MAYMOVE | MREMAP_FIXED, at);
}

/* Shared memory without a file: perf looks its symbols up by address, in /tmp/perf-PID.map. */
int codebuf_create(struct codebuf *buf, size_t size_bytes, struct error *err)
{
	size_t size = (size_bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
	void *rw = map_shared(size), *rx;

	*buf = (struct codebuf){ .size_bytes = size };
	if (rw == MAP_FAILED)
		return error_set_errno(err, errno, "cannot map memory for generated code");
	buf->rw = rw;
	rx = map_again(rw, size);
	/* Of what is written, little is needed at a time: see forget_written. */
	madvise(rw, size, MADV_NOHUGEPAGE);
	if (rx != MAP_FAILED)
		buf->rx = rx;
	if (rx == MAP_FAILED || mprotect(rx, size, PROT_READ | PROT_EXEC)) {
		int ret = error_set_errno(err, errno, "cannot map generated code as executable");

		codebuf_destroy(buf);
		return ret;
	}
	return 0;
}

void codebuf_destroy(struct codebuf *buf)
{
	if (buf->rw)
		munmap(buf->rw, buf->size_bytes);
	if (buf->rx)
		munmap((void *)buf->rx, buf->size_bytes);
	*buf = (struct codebuf){ 0 };
}

/*
 * The writable mapping of what is written already only costs page tables, and counts as memory a second
 * time; the pages themselves stay, as they are shared.
 */
static void forget_written(struct codebuf *buf, size_t from, size_t to)
{
	from -= from % SETTLED_BYTES;
	to -= to % SETTLED_BYTES;
	if (from < to)
		madvise(buf->rw + from, to - from, MADV_DONTNEED);
}

/*
 * Code is spread over thousands of pages, more than processors remember translations for. So what
 * fills 2 MiB becomes one huge page, and what goes beyond the first is one from the start. Where
 * the host has none to give, or does not know how, nothing is lost.
 */
static void use_huge_pages(struct codebuf *buf, size_t from, size_t to)
{
	size_t chunk = from / HUGE_BYTES, next = to / HUGE_BYTES;

	if (chunk == next)
		return;
	for (size_t i = chunk ? chunk + 1 : 0; i <= next; i++)
		if ((i + 1) * HUGE_BYTES <= buf->size_bytes)
			madvise((void *)(buf->rx + i * HUGE_BYTES), HUGE_BYTES, MADV_COLLAPSE);
}

const void *codebuf_add(struct codebuf *buf, const void *code, size_t size)
{
	size_t at = buf->used_bytes;

	if (size > buf->size_bytes - at)
		return NULL;
	memcpy(buf->rw + at, code, size);
	at += (size + ALIGN_BYTES - 1) & ~(size_t)(ALIGN_BYTES - 1);
	at = at > buf->size_bytes ? buf->size_bytes : at;
	code = buf->rx + buf->used_bytes;
	use_huge_pages(buf, buf->used_bytes, at);
	forget_written(buf, buf->used_bytes, at);
	buf->used_bytes = at;
	return code;
}

/*
 * The manual asks for a serializing instruction when code was written through another linear
 * address than it runs at (Intel SDM vol. 3, 9.1.3). IRET to the next instruction is the cheapest
 * one that every processor and every hypervisor runs without a trap.
 */
static void serialize(void)
{
	uint64_t scratch;

	__asm__ volatile("lea -128(%%rsp), %%rsp\n\t" /* the red zone */
			 "mov %%rsp, %0\n\t"
			 "push %%rbx\n\t"
			 "mov %%ss, %%ebx\n\t"
			 "push %%rbx\n\t"
			 "push %0\n\t"
			 "pushfq\n\t"
			 "mov %%cs, %%ebx\n\t"
			 "push %%rbx\n\t"
			 "mov -8(%0), %%rbx\n\t"
			 "lea 1f(%%rip), %0\n\t"
			 "push %0\n\t"
			 "iretq\n"
			 "1:\n\t"
			 "lea 128(%%rsp), %%rsp"
			 : "=&a"(scratch)
			 :
			 : "memory", "cc");
}

void codebuf_replace(struct codebuf *buf, const void *where, const void *code, size_t size)
{
	memcpy(buf->rw + ((const uint8_t *)where - buf->rx), code, size);
	serialize();
}
