/* SPDX-License-Identifier: MIT */
/*
 * The firmware tables as a guest finds them in memory: walked from the anchors, summed, counted.
 * With RINGLET_TABLES_DIR set, the ACPI tables are written there, for tests/e2e/test_tables.py.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "mem/mem.h"
#include "tables/aml.h"
#include "tables/tables.h"

#define LOW_RAM 0x100000u

struct machine {
	struct mem *mem;
	struct tables_blobs blobs;
	uint64_t rsdp;
};

static const struct machine_tables_config base_config = {
	.cpus = 3, .ioapic_id = 3, .pm_port = 0x600, .slp_typ_s5 = 5,
	.ram_low_bytes = 512 << 20, .ram_high_bytes = 1ull << 30,
	.mmio32_start = 0xc0000000, .mmio32_end = 0xfec00000,
	.mmio64_start = 0x800000000ull, .mmio64_size = 0x800000000ull,
	.ecam_start = 0xb0000000, .hpet_start = 0xfed00000, .com_ports = 0xf, .version = "1",
	.virtio_start = 0xfed80000, .virtio_gsi = 16, .virtio_count = 2,
};

static void make(struct machine *m, unsigned cpus)
{
	struct machine_tables_config config = base_config;
	struct error err = { "" };

	config.cpus = cpus;
	assert_int_equal(mem_create(&m->mem, &err), 0);
	assert_int_equal(mem_add(m->mem, 0, LOW_RAM, false, "ram", &err), 0);
	assert_int_equal(tables_build(&config, &m->blobs, &err), 0);
	assert_int_equal(tables_place(m->mem, &m->blobs, &m->rsdp, &err), 0);
}

static void unmake(struct machine *m)
{
	tables_free(&m->blobs);
	mem_destroy(m->mem);
}

static const uint8_t *at(const struct machine *m, uint64_t gpa, uint64_t len)
{
	const uint8_t *p = mem_ptr(m->mem, gpa, len);

	assert_non_null(p);
	return p;
}

static uint64_t get(const struct machine *m, uint64_t gpa, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, at(m, gpa, size), size);
	return value;
}

/* A table of the XSDT by signature; 0 when there is none. */
static uint64_t find_table(const struct machine *m, const char *signature)
{
	uint64_t xsdt = get(m, m->rsdp + 24, 8);
	uint64_t count = (get(m, xsdt + 4, 4) - 36) / 8;

	for (uint64_t i = 0; i < count; i++) {
		uint64_t table = get(m, xsdt + 36 + 8 * i, 8);

		if (!memcmp(at(m, table, 4), signature, 4))
			return table;
	}
	return 0;
}

static void check_sum(const struct machine *m, uint64_t gpa, uint64_t len)
{
	assert_int_equal(blob_checksum(at(m, gpa, len), len), 0);
}

static void check_table(const struct machine *m, uint64_t gpa, const char *signature)
{
	assert_true(gpa >= TABLES_AREA_START && gpa < TABLES_AREA_END);
	assert_memory_equal(at(m, gpa, 4), signature, 4);
	check_sum(m, gpa, get(m, gpa + 4, 4));
}

static void dump(const struct machine *m, const char *dir, const char *name, uint64_t gpa)
{
	char path[4096];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s.dat", dir, name);
	file = fopen(path, "wb");
	assert_non_null(file);
	assert_int_equal(fwrite(at(m, gpa, get(m, gpa + 4, 4)), get(m, gpa + 4, 4), 1, file), 1);
	fclose(file);
}

static void dump_all(const struct machine *m, const char *dir)
{
	static const char *const names[] = { "FACP", "APIC", "HPET", "MCFG", "SPCR" };
	uint64_t fadt = find_table(m, "FACP");

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		dump(m, dir, names[i], find_table(m, names[i]));
	dump(m, dir, "DSDT", get(m, fadt + 140, 8));
	dump(m, dir, "FACS", get(m, fadt + 36, 4));
	dump(m, dir, "XSDT", get(m, m->rsdp + 24, 8));
	dump(m, dir, "RSDT", get(m, m->rsdp + 16, 4));
}

static void test_acpi(void **state)
{
	const char *dir = getenv("RINGLET_TABLES_DIR");
	struct machine m;
	uint64_t fadt;

	(void)state;
	make(&m, dir && getenv("RINGLET_TABLES_CPUS") ? 300 : 3);
	assert_memory_equal(at(&m, m.rsdp, 8), "RSD PTR ", 8);
	check_sum(&m, m.rsdp, 20);
	check_sum(&m, m.rsdp, 36);
	check_table(&m, get(&m, m.rsdp + 16, 4), "RSDT");
	check_table(&m, get(&m, m.rsdp + 24, 8), "XSDT");
	fadt = find_table(&m, "FACP");
	check_table(&m, fadt, "FACP");
	check_table(&m, get(&m, fadt + 40, 4), "DSDT");
	assert_int_equal(get(&m, fadt + 40, 4), get(&m, fadt + 140, 8));
	assert_int_equal(get(&m, fadt + 36, 4) % 64, 0);
	check_table(&m, find_table(&m, "APIC"), "APIC");
	check_table(&m, find_table(&m, "HPET"), "HPET");
	check_table(&m, find_table(&m, "MCFG"), "MCFG");
	check_table(&m, find_table(&m, "SPCR"), "SPCR");
	if (dir)
		dump_all(&m, dir);
	unmake(&m);
}

/* Counts the MADT's entries of a type, and checks that they fill the table exactly. */
static unsigned count_madt(const struct machine *m, unsigned type)
{
	uint64_t madt = find_table(m, "APIC");
	uint64_t end = madt + get(m, madt + 4, 4), entry = madt + 44;
	unsigned count = 0;

	for (; entry < end; entry += get(m, entry + 1, 1))
		count += get(m, entry, 1) == type;
	assert_int_equal(entry, end);
	return count;
}

static void test_many_cpus(void **state)
{
	struct machine m;

	(void)state;
	make(&m, 300);
	assert_int_equal(count_madt(&m, 0), 255);
	assert_int_equal(count_madt(&m, 9), 45);
	assert_int_equal(count_madt(&m, 10), 1);
	unmake(&m);
	make(&m, 2);
	assert_int_equal(count_madt(&m, 0), 2);
	assert_int_equal(count_madt(&m, 9), 0);
	assert_int_equal(count_madt(&m, 1), 1);
	assert_int_equal(count_madt(&m, 2), 2);
	unmake(&m);
}

static void test_too_many_cpus(void **state)
{
	struct machine m;
	struct machine_tables_config config = base_config;
	struct error err = { "" };

	(void)state;
	config.cpus = 4000;
	assert_int_equal(mem_create(&m.mem, &err), 0);
	assert_int_equal(mem_add(m.mem, 0, LOW_RAM, false, "ram", &err), 0);
	assert_int_equal(tables_build(&config, &m.blobs, &err), 0);
	assert_int_equal(tables_place(m.mem, &m.blobs, &m.rsdp, &err), -ENOSPC);
	assert_non_null(strstr(err.message, "fewer CPUs"));
	unmake(&m);
}

/* Finds an anchor on a 16-byte boundary, as an operating system does. */
static uint64_t find_anchor(const struct machine *m, const char *anchor)
{
	for (uint64_t gpa = 0xf0000; gpa < 0x100000; gpa += 16)
		if (!memcmp(at(m, gpa, 8), anchor, strlen(anchor)))
			return gpa;
	return 0;
}

static void test_smbios(void **state)
{
	struct machine m;
	uint64_t entry21, entry30, gpa, end;
	unsigned count = 0, last = 0;

	(void)state;
	make(&m, 3);
	entry21 = find_anchor(&m, "_SM_");
	entry30 = find_anchor(&m, "_SM3_");
	check_sum(&m, entry21, 31);
	check_sum(&m, entry21 + 16, 15);
	check_sum(&m, entry30, 24);
	gpa = get(&m, entry30 + 16, 8);
	assert_int_equal(gpa, get(&m, entry21 + 24, 4));
	end = gpa + get(&m, entry21 + 22, 2);
	while (gpa < end) {
		last = (unsigned)get(&m, gpa, 1);
		count++;
		for (gpa += get(&m, gpa + 1, 1); get(&m, gpa, 2); gpa++)
			;
		gpa += 2;
	}
	assert_int_equal(gpa, end);
	assert_int_equal(last, 127);
	assert_int_equal(count, get(&m, entry21 + 28, 2));
	unmake(&m);
}

static void test_mptable(void **state)
{
	static const uint8_t size[] = { 20, 8, 8, 8, 8 };
	struct machine m;
	uint64_t pointer, table, gpa, end;
	unsigned count = 0;

	(void)state;
	make(&m, 3);
	pointer = find_anchor(&m, "_MP_");
	check_sum(&m, pointer, 16);
	table = get(&m, pointer + 4, 4);
	assert_memory_equal(at(&m, table, 4), "PCMP", 4);
	end = table + get(&m, table + 4, 2);
	check_sum(&m, table, end - table);
	for (gpa = table + 44; gpa < end; gpa += size[get(&m, gpa, 1)]) {
		assert_true(get(&m, gpa, 1) < sizeof(size));
		count++;
	}
	assert_int_equal(gpa, end);
	assert_int_equal(count, get(&m, table + 34, 2));
	unmake(&m);
}

/* Firmware's view: the script names what is there, and stays within it. */
static void test_script(void **state)
{
	struct machine m;

	(void)state;
	make(&m, 3);
	assert_int_equal(m.blobs.script.size_bytes, (2 + m.blobs.fixups + m.blobs.sums) * 128);
	assert_int_equal(blob_get(&m.blobs.script, 0, 4), 1);
	assert_string_equal((char *)m.blobs.script.data + 4, "etc/acpi/tables");
	assert_string_equal((char *)m.blobs.script.data + 132, "etc/acpi/rsdp");
	for (unsigned i = 0; i < m.blobs.fixups; i++) {
		const struct tables_fixup *fixup = &m.blobs.fixup[i];
		const struct blob *blob = fixup->file == TABLES_ACPI ? &m.blobs.acpi :
								       &m.blobs.rsdp;

		assert_true(blob_get(blob, fixup->offset, fixup->size_bytes) <
			    m.blobs.acpi.size_bytes);
	}
	unmake(&m);
}

/* PkgLength at the edges of its encodings (ACPI 6.3, section 20.2.4). */
static void test_aml_length(void **state)
{
	static const struct {
		size_t content;
		unsigned bytes;
		uint8_t first;
	} cases[] = {
		{ 61, 1, 62 }, { 62, 1, 63 }, { 63, 2, 0x41 }, { 4093, 2, 0x4f }, { 4094, 3, 0x81 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct blob blob = { .data = NULL };
		struct aml aml = { .blob = &blob };

		aml_package(&aml, 0);
		blob_zeros(&blob, cases[i].content - 1);
		aml_end(&aml);
		assert_int_equal(blob.size_bytes, 1 + cases[i].bytes + cases[i].content);
		assert_int_equal(blob.data[1], cases[i].first);
		blob_free(&blob);
	}
}

static void test_aml_values(void **state)
{
	static const uint8_t expected[] = {
		0x00, 0x01, 0x0a, 0xff, 0x0b, 0x00, 0x01, 0x0c, 0x00, 0x00, 0x01, 0x00,
		0x0e, 0, 0, 0, 0, 1, 0, 0, 0,
		0x0c, 0x41, 0xd0, 0x0a, 0x03, /* PNP0A03 */
		0x08, 0x5c, 0x2f, 0x03, '_', 'S', 'B', '_', 'P', 'C', 'I', '0', 'A', '_', '_', '_',
	};
	struct blob blob = { .data = NULL };
	struct aml aml = { .blob = &blob };

	(void)state;
	aml_integer(&aml, 0);
	aml_integer(&aml, 1);
	aml_integer(&aml, 0xff);
	aml_integer(&aml, 0x100);
	aml_integer(&aml, 0x10000);
	aml_integer(&aml, 1ull << 32);
	aml_eisa_id(&aml, "PNP0A03");
	aml_name(&aml, "\\_SB.PCI0.A");
	assert_int_equal(blob.size_bytes, sizeof(expected));
	assert_memory_equal(blob.data, expected, sizeof(expected));
	blob_free(&blob);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_acpi),
		cmocka_unit_test(test_many_cpus),
		cmocka_unit_test(test_too_many_cpus),
		cmocka_unit_test(test_smbios),
		cmocka_unit_test(test_mptable),
		cmocka_unit_test(test_script),
		cmocka_unit_test(test_aml_length),
		cmocka_unit_test(test_aml_values),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
