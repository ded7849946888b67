/* SPDX-License-Identifier: MIT */
/* Small kernels of each format, made by hand, for the loaders' tests. */
#ifndef RINGLET_TESTS_UNIT_BOOT_IMAGES_H
#define RINGLET_TESTS_UNIT_BOOT_IMAGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TEST_IMAGE_MAX 16384

struct test_image {
	uint8_t bytes[TEST_IMAGE_MAX];
	size_t size_bytes;
};

struct setup_header;

/* A bzImage of protocol 2.15 with a 64-bit entry, 0x1000 bytes of protected-mode part (0xcc). */
void test_bzimage(struct test_image *image);
/* Its header, to be changed. */
struct setup_header *test_bzimage_header(struct test_image *image);

/* An ELF file: one segment at 1 MiB (0x100 bytes of 0xcc, 0x300 in memory), maybe a PVH note. */
void test_elf(struct test_image *image, bool class64, bool pvh);

/* A Multiboot kernel with address fields: header at file offset 0x40, loaded at 1 MiB. */
void test_multiboot(struct test_image *image);

/* Writes it to path. */
void test_image_save(const struct test_image *image, const char *path);

#endif
