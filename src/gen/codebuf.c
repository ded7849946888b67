/* SPDX-License-Identifier: MIT */
/* See codebuf.h. */
#include "gen/codebuf.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

#define PAGE_BYTES 4096u
#define ALIGN_BYTES 16u

static void *map(int fd, size_t size_bytes, int protection)
{
	void *at = mmap(NULL, size_bytes, protection, MAP_SHARED, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

int codebuf_create(struct codebuf *buf, size_t size_bytes, struct error *err)
{
	size_t size = (size_bytes + PAGE_BYTES - 1) & ~(size_t)(PAGE_BYTES - 1);
	int fd = memfd_create("ringlet-code", MFD_CLOEXEC), ret = 0;

	*buf = (struct codebuf){ .size_bytes = size };
	if (fd < 0)
		return error_set_errno(err, errno, "cannot create memory for generated code");
	if (ftruncate(fd, (off_t)size)) {
		ret = error_set_errno(err, errno, "cannot size memory for generated code");
		goto out;
	}
	buf->rw = map(fd, size, PROT_READ | PROT_WRITE);
	buf->rx = map(fd, size, PROT_READ | PROT_EXEC);
	if (!buf->rw || !buf->rx) {
		ret = error_set_errno(err, errno, "cannot map memory for generated code");
		codebuf_destroy(buf);
	}
out:
	close(fd);
	return ret;
}

void codebuf_destroy(struct codebuf *buf)
{
	if (buf->rw)
		munmap(buf->rw, buf->size_bytes);
	if (buf->rx)
		munmap((void *)buf->rx, buf->size_bytes);
	*buf = (struct codebuf){ 0 };
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
