/* SPDX-License-Identifier: MIT */
/*
 * memcpy and its kin without vector registers, for the rooms that run while the guest's vector state
 * is in the host's registers (isa/x86/x86.h, rule 1). Makefile redirects those rooms' calls, also
 * the ones that the compiler makes up for struct copies, to these names.
 */
#include <stddef.h>
#include <stdint.h>

void *gro_memcpy(void *dst, const void *src, size_t len);
void *gro_memmove(void *dst, const void *src, size_t len);
void *gro_memset(void *dst, int value, size_t len);
int gro_memcmp(const void *a, const void *b, size_t len);

void *gro_memcpy(void *dst, const void *src, size_t len)
{
	void *to = dst;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(src), "+c"(len) : : "memory");
	return dst;
}

void *gro_memmove(void *dst, const void *src, size_t len)
{
	uint8_t *to = dst;
	const uint8_t *from = src;

	if (to <= from || to >= from + len)
		return gro_memcpy(dst, src, len);
	while (len--)
		to[len] = from[len];
	return dst;
}

void *gro_memset(void *dst, int value, size_t len)
{
	void *to = dst;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(value) : "memory");
	return dst;
}

int gro_memcmp(const void *a, const void *b, size_t len)
{
	const uint8_t *p = a, *q = b;

	for (size_t i = 0; i < len; i++)
		if (p[i] != q[i])
			return p[i] - q[i];
	return 0;
}
