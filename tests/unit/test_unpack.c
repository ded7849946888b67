/* SPDX-License-Identifier: MIT */
/*
 * Kernels that the loader unpacks: small bzImages whose payload is an ELF kernel of one segment,
 * packed here with each library that the build has; and streams that are broken in every way.
 */
#include <elf.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <asm/bootparam.h>
#include <cmocka.h>

#if HAVE_LZMA
#include <lzma.h>
#endif
#if HAVE_ZLIB
#include <zlib.h>
#endif
#if HAVE_ZSTD
#include <zstd.h>
#endif
#if HAVE_LZ4
#include <lz4.h>
#endif

#include "base/error.h"
#include "boot/boot.h"
#include "boot/image.h"
#include "boot/unpack.h"
#include "boot/unpack_cache.h"
#include "boot/unpack_codecs.h"
#include "mem/mem.h"

#define RAM_SIZE (64u << 20)
#define LINKED 0x1000000u /* where the kernel is linked to run */
#define CODE_SIZE 20000u
#define BSS_SIZE 9000u
#define INIT_SIZE 0x200000u
#define ENTRY_OFFSET 0x40u
#define SETUP_SIZE 1024u
#define HEAD_SIZE 0x400u /* of the protected-mode part, before the payload */
#define FILE_MAX 65536u
#define HDR_OFFSET 0x1f1u

typedef size_t pack_fn(const uint8_t *in, size_t len, uint8_t *out, size_t max);

struct packer {
	const char *name;
	pack_fn *pack;
};

#if HAVE_LZMA
/* As the kernel's build does it: x86 branches converted first, CRC32 as the check. */
static size_t pack_xz(const uint8_t *in, size_t len, uint8_t *out, size_t max)
{
	lzma_options_lzma options;
	lzma_filter filters[] = { { LZMA_FILTER_X86, NULL }, { LZMA_FILTER_LZMA2, &options },
				  { LZMA_VLI_UNKNOWN, NULL } };
	size_t size = 0;

	assert_false(lzma_lzma_preset(&options, 6));
	assert_int_equal(lzma_stream_buffer_encode(filters, LZMA_CHECK_CRC32, NULL, in, len, out,
						   &size, max), LZMA_OK);
	return size;
}

static size_t pack_lzma(const uint8_t *in, size_t len, uint8_t *out, size_t max)
{
	lzma_stream stream = LZMA_STREAM_INIT;
	lzma_options_lzma options;

	assert_false(lzma_lzma_preset(&options, 6));
	assert_int_equal(lzma_alone_encoder(&stream, &options), LZMA_OK);
	stream.next_in = in;
	stream.avail_in = len;
	stream.next_out = out;
	stream.avail_out = max;
	assert_int_equal(lzma_code(&stream, LZMA_FINISH), LZMA_STREAM_END);
	lzma_end(&stream);
	return max - stream.avail_out;
}
#endif

#if HAVE_ZLIB
static size_t pack_gzip(const uint8_t *in, size_t len, uint8_t *out, size_t max)
{
	z_stream stream = { .next_in = (Bytef *)in, .avail_in = (uInt)len, .next_out = out,
			    .avail_out = (uInt)max };

	assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 16 + MAX_WBITS, 8,
				      Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
	deflateEnd(&stream);
	return max - stream.avail_out;
}
#endif

#if HAVE_ZSTD
static size_t pack_zstd(const uint8_t *in, size_t len, uint8_t *out, size_t max)
{
	size_t size = ZSTD_compress(out, max, in, len, 19);

	assert_false(ZSTD_isError(size));
	return size;
}
#endif

#if HAVE_LZ4
static size_t pack_lz4(const uint8_t *in, size_t len, uint8_t *out, size_t max)
{
	int size = LZ4_compress_default((const char *)in, (char *)out + 8, (int)len, (int)max - 8);
	uint32_t packed = (uint32_t)size;

	assert_true(size > 0);
	memcpy(out, "\x02\x21\x4c\x18", 4);
	memcpy(out + 4, &packed, 4);
	return (size_t)size + 8;
}
#endif

static const struct packer packers[] = {
#if HAVE_LZMA
	{ "xz", pack_xz },
	{ "lzma", pack_lzma },
#endif
#if HAVE_ZLIB
	{ "gzip", pack_gzip },
#endif
#if HAVE_ZSTD
	{ "zstd", pack_zstd },
#endif
#if HAVE_LZ4
	{ "lz4", pack_lz4 },
#endif
	{ NULL, NULL },
};

/* ---- images ---- */

struct vmlinux {
	Elf64_Ehdr ehdr;
	Elf64_Phdr phdr;
	uint8_t code[CODE_SIZE];
};

static void make_vmlinux(struct vmlinux *k)
{
	*k = (struct vmlinux){
		.ehdr = { .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT },
			  .e_type = ET_EXEC, .e_machine = EM_X86_64, .e_version = EV_CURRENT,
			  .e_entry = LINKED + ENTRY_OFFSET,
			  .e_phoff = offsetof(struct vmlinux, phdr), .e_ehsize = sizeof(k->ehdr),
			  .e_phentsize = sizeof(k->phdr), .e_phnum = 1 },
		.phdr = { .p_type = PT_LOAD, .p_offset = offsetof(struct vmlinux, code),
			  .p_vaddr = 0xffffffff81000000, .p_paddr = LINKED, .p_filesz = CODE_SIZE,
			  .p_memsz = CODE_SIZE + BSS_SIZE },
	};
	for (unsigned i = 0; i < CODE_SIZE; i++)
		k->code[i] = (uint8_t)(i * i / 7);
}

/* A 64-bit bzImage of protocol 2.15 around a payload, with the unpacked size behind that. */
static size_t make_bzimage(uint8_t *file, const void *payload, size_t payload_len)
{
	struct setup_header hdr = {
		.setup_sects = SETUP_SIZE / 512 - 1, .boot_flag = 0xaa55, .jump = 0x6aeb,
		.header = 0x53726448, .version = 0x20f, .loadflags = LOADED_HIGH | KASLR_FLAG,
		.initrd_addr_max = INT32_MAX, .kernel_alignment = 0x200000, .relocatable_kernel = 1,
		.xloadflags = XLF_KERNEL_64, .cmdline_size = 2047, .payload_offset = HEAD_SIZE,
		.payload_length = (uint32_t)payload_len + 4, .pref_address = LINKED,
		.init_size = INIT_SIZE,
	};
	size_t size = SETUP_SIZE + HEAD_SIZE + payload_len + 4;
	uint32_t unpacked = sizeof(struct vmlinux);

	hdr.syssize = (uint32_t)(size - SETUP_SIZE + 15) / 16;
	memset(file, 0, SETUP_SIZE + HEAD_SIZE);
	memcpy(file + HDR_OFFSET, &hdr, sizeof(hdr));
	memcpy(file + SETUP_SIZE + HEAD_SIZE, payload, payload_len);
	memcpy(file + size - 4, &unpacked, 4);
	return size;
}

/* ---- a machine to load them into ---- */

struct machine {
	struct mem *mem;
	struct e820_map e820;
	struct boot_config config;
	struct boot_entry entry;
	char path[32];
	uint8_t file[FILE_MAX];
	uint8_t packed[FILE_MAX / 2];
	struct vmlinux vmlinux;
};

static int setup(void **state)
{
	struct machine *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	assert_int_equal(mem_create(&m->mem, NULL), 0);
	assert_int_equal(mem_add(m->mem, 0, RAM_SIZE, false, "ram", NULL), 0);
	assert_int_equal(e820_set(&m->e820, 0, RAM_SIZE, E820_RAM), 0);
	m->config = (struct boot_config){ .kernel = m->path, .e820 = &m->e820, .cmdline = "a b" };
	make_vmlinux(&m->vmlinux);
	*state = m;
	return 0;
}

static int teardown(void **state)
{
	struct machine *m = *state;

	mem_destroy(m->mem);
	free(m);
	return 0;
}

static void load(struct machine *m, size_t size)
{
	struct error err = { "" };
	int fd, rc;

	strcpy(m->path, "/tmp/test_unpack.XXXXXX");
	fd = mkstemp(m->path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, m->file, size), (ssize_t)size);
	rc = boot_load(m->mem, &m->config, &m->entry, &err);
	close(fd);
	unlink(m->path);
	assert_string_equal(err.message, "");
	assert_int_equal(rc, 0);
}

static void load_payload(struct machine *m, const void *payload, size_t len)
{
	load(m, make_bzimage(m->file, payload, len));
}

static const struct boot_params *params(const struct machine *m)
{
	const struct boot_params *p = mem_ptr(m->mem, m->entry.rsi, sizeof(*p));

	assert_non_null(p);
	return p;
}

static void assert_unpacked(const struct machine *m)
{
	const uint8_t *code = mem_ptr(m->mem, LINKED, CODE_SIZE + BSS_SIZE);

	assert_int_equal(m->entry.mode, BOOT_LONG64);
	assert_int_equal(m->entry.rip, LINKED + ENTRY_OFFSET);
	assert_memory_equal(code, m->vmlinux.code, CODE_SIZE);
	for (unsigned i = CODE_SIZE; i < CODE_SIZE + BSS_SIZE; i++)
		assert_int_equal(code[i], 0);
}

static void assert_packed(const struct machine *m, uint64_t gpa)
{
	assert_int_equal(m->entry.mode, BOOT_LONG64);
	assert_int_equal(m->entry.rip, gpa + 0x200);
	assert_memory_equal(mem_ptr(m->mem, gpa, HEAD_SIZE + 16), m->file + SETUP_SIZE,
			    HEAD_SIZE + 16);
}

/* ---- tests ---- */

static void every_format_is_unpacked(void **state)
{
	struct machine *m = *state;

	for (const struct packer *p = packers; p->name; p++) {
		size_t len = p->pack((uint8_t *)&m->vmlinux, sizeof(m->vmlinux), m->packed,
				     sizeof(m->packed));

		print_message("%s: %zu bytes\n", p->name, len);
		mem_fill(m->mem, LINKED, 0xcc, INIT_SIZE);
		load_payload(m, m->packed, len);
		assert_unpacked(m);
	}
}

static void a_format_of_a_missing_library_is_left_packed(void **state)
{
	struct machine *m = *state;
	unsigned missing = 0;

	while (unpack_missing_library(missing))
		missing++;
	assert_int_equal(missing, !HAVE_LZMA + !HAVE_ZLIB + !HAVE_ZSTD + !HAVE_LZ4);
	load_payload(m, "LZOP and what follows", 21);
	assert_packed(m, LINKED);
}

/* A payload to start from, in the first format that the build has. */
static size_t some_payload(struct machine *m)
{
	if (!packers[0].name)
		skip();
	return packers[0].pack((uint8_t *)&m->vmlinux, sizeof(m->vmlinux), m->packed,
			       sizeof(m->packed));
}

static void the_kernels_own_header_is_passed_on(void **state)
{
	struct machine *m = *state;

	load_payload(m, m->packed, some_payload(m));
	assert_int_equal(params(m)->hdr.version, 0x20f);
	assert_int_equal(params(m)->hdr.init_size, INIT_SIZE);
	assert_int_equal(params(m)->hdr.loadflags, LOADED_HIGH); /* nothing was randomised */
	assert_string_equal(mem_ptr(m->mem, params(m)->hdr.cmd_line_ptr, 4), "a b");
}

static void a_kernel_may_be_told_to_unpack_itself(void **state)
{
	struct machine *m = *state;

	m->config.self_unpack = true;
	load_payload(m, m->packed, some_payload(m));
	assert_packed(m, LINKED);
	assert_int_equal(params(m)->hdr.code32_start, LINKED);
}

static void without_memory_where_it_is_linked_it_unpacks_itself(void **state)
{
	struct machine *m = *state;
	size_t len = some_payload(m);

	/* Inside its segment; then beyond, within what it says that it needs. */
	e820_set(&m->e820, LINKED + 0x1000, 0x1000, E820_RESERVED);
	load_payload(m, m->packed, len);
	assert_packed(m, 0x200000);
	e820_set(&m->e820, LINKED + 0x1000, 0x1000, E820_RAM);
	e820_set(&m->e820, LINKED + INIT_SIZE - 0x1000, 0x1000, E820_RESERVED);
	load_payload(m, m->packed, len);
	assert_packed(m, 0x200000);
}

static void what_unpacks_to_no_kernel_is_left_packed(void **state)
{
	struct machine *m = *state;

	m->vmlinux.ehdr.e_machine = EM_AARCH64;
	load_payload(m, m->packed, some_payload(m));
	assert_packed(m, LINKED);
	m->vmlinux.ehdr.e_machine = EM_X86_64;
	m->vmlinux.ehdr.e_entry = 0x100000;
	load_payload(m, m->packed, some_payload(m));
	assert_packed(m, LINKED);
	memset(&m->vmlinux, 'x', 64);
	load_payload(m, m->packed, some_payload(m));
	assert_packed(m, LINKED);
}

static void a_payload_outside_of_the_file_is_left_alone(void **state)
{
	static const uint32_t lies[][2] = { { HEAD_SIZE, UINT32_MAX }, { UINT32_MAX, 64 },
					    { UINT32_MAX, UINT32_MAX }, { HEAD_SIZE, 0 } };
	struct machine *m = *state;
	struct setup_header *hdr = (struct setup_header *)(m->file + HDR_OFFSET);

	for (unsigned i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
		size_t size = make_bzimage(m->file, m->packed, some_payload(m));

		memcpy(&hdr->payload_offset, &lies[i][0], 4);
		memcpy(&hdr->payload_length, &lies[i][1], 4);
		load(m, size);
		assert_packed(m, LINKED);
	}
}

static int unpack(const uint8_t *data, size_t len)
{
	struct image in, out;
	struct error err = { "" };
	int rc;

	assert_int_equal(image_open_bytes(&in, "test", data, len, &err), 0);
	rc = unpack_image(&in, 0, len, NULL, &out, &err);
	if (rc)
		assert_true(*err.message);
	else
		image_close(&out);
	image_close(&in);
	return rc;
}

static void broken_streams_are_errors(void **state)
{
	struct machine *m = *state;

	for (const struct packer *p = packers; p->name; p++) {
		size_t len = p->pack((uint8_t *)&m->vmlinux, sizeof(m->vmlinux), m->packed,
				     sizeof(m->packed));

		assert_int_equal(unpack(m->packed, len), 0);
		for (size_t cut = 1; cut < len; cut += 1 + cut / 16)
			if (unpack(m->packed, cut) == 0)
				assert_string_equal(p->name, "lz4"); /* its frame has no end */
		/* Whatever comes of it, it ends. */
		for (size_t at = 0; at < len; at += 1 + at / 16) {
			m->packed[at] ^= 0x55;
			unpack(m->packed, len);
			m->packed[at] ^= 0x55;
		}
	}
}

static uint64_t size_in_cache(const char *dir, const uint8_t *packed, size_t len)
{
	struct image image;

	if (!unpack_cache_find(dir, packed, len, &image))
		return 0;
	image_close(&image);
	return image.size_bytes;
}

static void the_cache_keeps_a_few(void **state)
{
	char top[] = "/tmp/test-unpack-XXXXXX", dir[64], command[256];
	uint8_t packed[32] = { 0 }, back[8];
	struct error err = { "" };
	struct image image;

	(void)state;
	assert_non_null(mkdtemp(top));
	snprintf(dir, sizeof(dir), "%s/a/b", top);
	assert_false(unpack_cache_find(dir, packed, sizeof(packed), &image));
	assert_false(unpack_cache_find(NULL, packed, sizeof(packed), &image));
	for (uint8_t i = 0; i < 10; i++) {
		assert_int_equal(image_open_bytes(&image, "test", "unpacked", 8, &err), 0);
		packed[31] = i;
		unpack_cache_keep(dir, packed, sizeof(packed), &image);
		image_close(&image);
		assert_int_equal(size_in_cache(dir, packed, sizeof(packed)), 8);
		/* The first is of use all the time. */
		packed[31] = 0;
		assert_int_equal(size_in_cache(dir, packed, sizeof(packed)), 8);
	}
	packed[31] = 1;
	assert_int_equal(size_in_cache(dir, packed, sizeof(packed)), 0);
	packed[31] = 9;
	assert_int_equal(size_in_cache(dir, packed, sizeof(packed) - 1), 0);
	image.path = "test";
	assert_true(unpack_cache_find(dir, packed, sizeof(packed), &image));
	assert_int_equal(image_read(&image, 0, back, 8, &err), 0);
	assert_memory_equal(back, "unpacked", 8);
	image_close(&image);
	/* Broken ones, and what others may write, are no use. */
	snprintf(command, sizeof(command), "truncate -s -1 %s/*", dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(size_in_cache(dir, packed, sizeof(packed)), 0);
	snprintf(command, sizeof(command), "truncate -s +1 %s/*; chmod o+w %s/*", dir, dir);
	assert_int_equal(system(command), 0);
	assert_int_equal(size_in_cache(dir, packed, sizeof(packed)), 0);
	snprintf(command, sizeof(command), "rm -r %s", top);
	assert_int_equal(system(command), 0);
}

static void output_is_bounded(void **state)
{
	struct unpack_sink sink = { .fd = -1, .size_bytes = UNPACK_MAX - 1 };

	(void)state;
	assert_int_equal(unpack_write(&sink, "ab", 2), -EFBIG);
	assert_int_equal(sink.size_bytes, UNPACK_MAX - 1);
	sink.size_bytes = UNPACK_MAX;
	assert_int_equal(unpack_write(&sink, "a", 1), -EFBIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_format_is_unpacked, setup, teardown),
		cmocka_unit_test_setup_teardown(a_format_of_a_missing_library_is_left_packed,
						setup, teardown),
		cmocka_unit_test_setup_teardown(the_kernels_own_header_is_passed_on, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_kernel_may_be_told_to_unpack_itself, setup,
						teardown),
		cmocka_unit_test_setup_teardown(
			without_memory_where_it_is_linked_it_unpacks_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(what_unpacks_to_no_kernel_is_left_packed, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_payload_outside_of_the_file_is_left_alone,
						setup, teardown),
		cmocka_unit_test_setup_teardown(broken_streams_are_errors, setup, teardown),
		cmocka_unit_test(the_cache_keeps_a_few),
		cmocka_unit_test(output_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
