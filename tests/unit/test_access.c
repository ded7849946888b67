/* SPDX-License-Identifier: MIT */
/*
 * Memory accesses above paging: segment and canonical checks, page crossing, MMIO, ROM, code pages,
 * alignment, breakpoints, read-modify-write, the stack, and the TLB that all of them go through.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "x86_fixture.h"

#include <cmocka.h>

#include "cpu/blocks.h"
#include "dev/bus.h"
#include "isa/x86/memory/access.h"
#include "isa/x86/memory/tlb.h"
#include "mem/mem.h"

enum { P = 1, W = 2, U = 4, G = 0x100, PS = 0x80 };

#define ROOT 0x10000u
#define PDPT 0x11000u
#define PD 0x12000u
#define PT 0x13000u
#define FRAME 0x100000u /* linear page n is physical page FRAME + n pages, backwards mapped */
#define PAGES 64

static int setup(void **state)
{
	static struct x86_fixture fixture;

	x86_fixture_create(&fixture);
	*state = &fixture;
	return 0;
}

static int teardown(void **state)
{
	x86_fixture_destroy(*state);
	return 0;
}

static uint64_t frame_of(uint64_t linear)
{
	return FRAME + (PAGES - 1 - (linear >> 12)) * 4096 + (linear & 0xfff);
}

static void map_page(struct x86_fixture *f, unsigned page, uint64_t entry)
{
	x86_poke(f, PT + page * 8, entry, 8);
	x86_tlb_flush_page(f->cpu, page * 4096);
}

/* 64-bit mode; PAGES pages from linear 0 to neighbours in reverse order, user and writable. */
static void long_mode(struct x86_fixture *f, unsigned cpl)
{
	x86_poke(f, ROOT, PDPT | P | W | U, 8);
	x86_poke(f, PDPT, PD | P | W | U, 8);
	x86_poke(f, PD, PT | P | W | U, 8);
	for (unsigned page = 0; page < PAGES; page++)
		x86_poke(f, PT + page * 8, frame_of(page * 4096) | P | W | U, 8);
	x86_fixture_long(f, cpl, ROOT);
}

static void assert_fault(struct x86_fixture *f, enum x86_vector vector, uint32_t error)
{
	assert_int_equal(f->cpu->fault.vector, vector);
	assert_int_equal(f->cpu->fault.error, error);
}

static void test_loads_and_stores(void **state)
{
	struct x86_fixture *f = *state;

	long_mode(f, 3);
	for (unsigned round = 0; round < 2; round++) { /* a miss, then hits */
		x86_store(f->cpu, 0x3008, 8, 0x1122334455667788);
		assert_true(x86_peek(f, frame_of(0x3008), 8) == 0x1122334455667788);
		assert_true(x86_load(f->cpu, 0x3008, 8) == 0x1122334455667788);
		assert_int_equal(x86_load(f->cpu, 0x3009, 1), 0x77);
		assert_int_equal(x86_load(f->cpu, 0x300b, 4), 0x22334455);
		assert_int_equal(x86_load(f->cpu, 0x3009, 3), 0x556677);
		x86_store(f->cpu, 0x300a, 2, 0xabcd);
		assert_true(x86_load(f->cpu, 0x3008, 8) == 0x11223344abcd7788);
	}
}

static void test_page_crossing(void **state)
{
	struct x86_fixture *f = *state;

	long_mode(f, 3);
	for (unsigned round = 0; round < 2; round++) {
		x86_store(f->cpu, 0x3ffd, 8, 0x1122334455667788);
		assert_int_equal(x86_peek(f, frame_of(0x3ffd), 1), 0x88);
		assert_int_equal(x86_peek(f, frame_of(0x4000), 1), 0x55);
		assert_true(x86_load(f->cpu, 0x3ffd, 8) == 0x1122334455667788);
		assert_int_equal(x86_load(f->cpu, 0x3fff, 2), 0x5566);
	}
	map_page(f, 4, 0);
	assert_true(X86_RAISES(f, x86_store(f->cpu, 0x3ffd, 8, 0)));
	assert_fault(f, X86_PF_FAULT, 6);
	assert_true(f->cpu->fault_address == 0x4000);
	assert_int_equal(x86_peek(f, frame_of(0x3ffd), 1), 0x88);
	map_page(f, 3, 0);
	assert_true(X86_RAISES(f, x86_load(f->cpu, 0x3ffd, 8)));
	assert_true(f->cpu->fault_address == 0x3ffd);
}

/* The pages around stay unmapped: whatever the TLB lets pass of them would be seen. */
static void test_accesses_at_the_edges_of_a_page(void **state)
{
	struct x86_fixture *f = *state;

	long_mode(f, 3);
	map_page(f, 2, 0);
	map_page(f, 4, 0);
	x86_store(f->cpu, 0x3000, 8, 0x1122334455667788);
	x86_store(f->cpu, 0x3ff8, 8, 0x99aabbccddeeff00);
	for (unsigned size = 1; size <= 8; size *= 2) {
		uint64_t mask = size == 8 ? ~0ull : (1ull << size * 8) - 1;

		assert_true(x86_load(f->cpu, 0x3000, size) == (0x1122334455667788 & mask));
		assert_true(x86_load(f->cpu, 0x4000 - size, size) ==
			    0x99aabbccddeeff00 >> (8 - size) * 8);
		assert_true(X86_RAISES(f, x86_load(f->cpu, 0x3000 - 1, size)));
		assert_true(f->cpu->fault_address == 0x2fff);
		assert_true(X86_RAISES(f, x86_load(f->cpu, 0x4000 - size + 1, size)));
		assert_true(f->cpu->fault_address == 0x4000);
		assert_true(X86_RAISES(f, x86_store(f->cpu, 0x4000 - size + 1, size, 0)));
		assert_true(f->cpu->fault_address == 0x4000);
	}
	assert_true(x86_load(f->cpu, 0x3ff8, 8) == 0x99aabbccddeeff00);
}

static void test_canonical_addresses(void **state)
{
	struct x86_fixture *f = *state;
	struct insn insn = { .flags = INSN_MEM, .seg = X86_DS };

	long_mode(f, 0);
	f->cpu->insn = &insn;
	assert_true(X86_RAISES(f, x86_load64(f->cpu, 1ull << 47)));
	assert_fault(f, X86_GP, 0);
	assert_true(X86_RAISES(f, x86_load64(f->cpu, (1ull << 47) - 4)));
	assert_fault(f, X86_GP, 0);
	insn.seg = X86_SS;
	assert_true(X86_RAISES(f, x86_store64(f->cpu, 1ull << 63, 0)));
	assert_fault(f, X86_SS_FAULT, 0);
	f->cpu->state.seg[X86_GS].base = 1ull << 46;
	assert_true(x86_linear(f->cpu, X86_GS, 8, 8, X86_READ) == (1ull << 46) + 8);
	assert_true(x86_linear(f->cpu, X86_DS, 8, 8, X86_READ) == 8);
	assert_true(X86_RAISES(f, x86_linear(f->cpu, X86_GS, 1ull << 46, 1, X86_READ)));
	assert_fault(f, X86_GP, 0);
	assert_true(X86_RAISES(f, x86_linear(f->cpu, X86_SS, 1ull << 47, 1, X86_READ)));
	assert_fault(f, X86_SS_FAULT, 0);
}

static bool refused(struct x86_fixture *f, unsigned seg, uint64_t offset, unsigned size,
		    enum x86_access access)
{
	return X86_RAISES(f, x86_linear(f->cpu, seg, offset, size, access));
}

static void test_segment_limits(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_seg *ds = &f->cpu->state.seg[X86_DS], *ss = &f->cpu->state.seg[X86_SS];

	x86_fixture_protected(f, 0);
	ds->base = 0xfffff000;
	ds->limit = 0x1fff;
	assert_true(x86_linear(f->cpu, X86_DS, 0x1ffc, 4, X86_WRITE) == 0xffc);
	assert_true(refused(f, X86_DS, 0x1ffd, 4, X86_READ));
	assert_fault(f, X86_GP, 0);
	assert_true(refused(f, X86_DS, 0xffffffff, 2, X86_READ));
	ds->limit = 0xffffffff;
	assert_true(refused(f, X86_DS, 0xffffffff, 4, X86_READ));
	ds->base = 0;
	assert_false(refused(f, X86_DS, 0xffffffff, 4, X86_READ));
	ss->limit = 0xfff;
	ss->attr |= X86_SEG_EXPAND_DOWN;
	assert_true(refused(f, X86_SS, 0xfff, 4, X86_READ));
	assert_fault(f, X86_SS_FAULT, 0);
	assert_false(refused(f, X86_SS, 0x1000, 4, X86_WRITE));
	assert_false(refused(f, X86_SS, 0xfffffffc, 4, X86_WRITE));
	assert_true(refused(f, X86_SS, 0xfffffffd, 4, X86_WRITE));
	ss->attr &= ~(uint32_t)X86_SEG_DB;
	assert_true(refused(f, X86_SS, 0xffff, 2, X86_WRITE));
	assert_false(refused(f, X86_SS, 0xfffe, 2, X86_WRITE));
}

static void test_segment_types(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_seg *ds = &f->cpu->state.seg[X86_DS], *cs = &f->cpu->state.seg[X86_CS];

	x86_fixture_protected(f, 0);
	ds->attr &= ~(uint32_t)X86_SEG_WRITABLE;
	assert_false(refused(f, X86_DS, 0, 4, X86_READ));
	assert_true(refused(f, X86_DS, 0, 4, X86_WRITE));
	assert_true(refused(f, X86_DS, 0, 4, X86_RMW));
	assert_false(refused(f, X86_CS, 0, 4, X86_READ));
	assert_true(refused(f, X86_CS, 0, 4, X86_WRITE));
	cs->attr &= ~(uint32_t)X86_SEG_READABLE;
	assert_true(refused(f, X86_CS, 0, 4, X86_READ));
	ds->attr |= X86_SEG_UNUSABLE;
	assert_true(refused(f, X86_DS, 0, 4, X86_READ));
	/* Real mode has limits but no types. */
	f->cpu->state.cr0 &= ~X86_CR0_PE;
	x86_update_mode(f->cpu);
	assert_false(refused(f, X86_CS, 0, 4, X86_WRITE));
	cs->limit = 0xffff;
	assert_true(refused(f, X86_CS, 0xffff, 2, X86_WRITE));
}

struct port {
	unsigned reads, writes, size;
	uint64_t offset, value;
};

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct port *port = opaque;

	(void)cpu;
	port->reads++;
	port->offset = offset;
	port->size = size;
	return 0xa5a5a5a5;
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct port *port = opaque;

	(void)cpu;
	port->writes++;
	port->offset = offset;
	port->size = size;
	port->value = value;
}

static void test_mmio(void **state)
{
	struct x86_fixture *f = *state;
	struct port port = { 0 };
	struct bus_range range = {
		.base = FIXTURE_MMIO, .size = 4096, .name = "port", .opaque = &port,
		.read = port_read, .write = port_write,
	};
	struct x86_rmw rmw;

	assert_int_equal(bus_add(f->cpu->cpu.env.mmio, &range, NULL), 0);
	long_mode(f, 0);
	map_page(f, 5, FIXTURE_MMIO | P | W);
	for (unsigned round = 1; round <= 2; round++) {
		assert_true(x86_load32(f->cpu, 0x5010) == 0xa5a5a5a5);
		assert_true(port.reads == round && port.offset == 0x10 && port.size == 4);
		x86_store16(f->cpu, 0x5020, 0x1234);
		assert_true(port.writes == round && port.offset == 0x20 && port.value == 0x1234);
	}
	assert_null(x86_direct(f->cpu, 0x5000, 4, X86_READ));
	x86_rmw_begin(f->cpu, 0x5010, 4, true, &rmw);
	*(uint32_t *)rmw.host += 1;
	x86_rmw_end(f->cpu, &rmw);
	assert_true(port.reads == 3 && port.writes == 3 && port.value == 0xa5a5a5a6);
	/* Nobody there at all. */
	map_page(f, 6, 0xd0000000 | P | W);
	assert_true(x86_load64(f->cpu, 0x6000) == ~0ull);
	x86_store64(f->cpu, 0x6000, 0);
}

static void test_rom(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_rmw rmw;

	long_mode(f, 0);
	x86_poke(f, FIXTURE_ROM, 0x1234, 8);
	map_page(f, 5, FIXTURE_ROM | P | W);
	assert_int_equal(x86_load64(f->cpu, 0x5000), 0x1234);
	x86_store64(f->cpu, 0x5000, 0);
	x86_rmw_begin(f->cpu, 0x5000, 8, false, &rmw);
	*(uint64_t *)rmw.host = 0;
	x86_rmw_end(f->cpu, &rmw);
	assert_int_equal(x86_load64(f->cpu, 0x5000), 0x1234);
	assert_non_null(x86_direct(f->cpu, 0x5000, 8, X86_READ));
	assert_null(x86_direct(f->cpu, 0x5000, 8, X86_WRITE));
}

static void test_rmw(void **state)
{
	struct x86_fixture *f = *state;
	const uint64_t places[] = { 0x3008, 0x303d, 0x3ffd };
	struct x86_rmw rmw;

	long_mode(f, 3);
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned locked = 0; locked < 2; locked++) {
			uint64_t want = 0x0102030405060708 * (locked + 1);

			x86_store64(f->cpu, places[i], want);
			x86_rmw_begin(f->cpu, places[i], 8, locked, &rmw);
			assert_true(*(uint64_t *)rmw.host == want);
			assert_int_equal(rmw.exclusive, locked && i > 0);
			*(uint64_t *)rmw.host ^= 0xff00ff;
			x86_rmw_end(f->cpu, &rmw);
			assert_true(x86_load64(f->cpu, places[i]) == (want ^ 0xff00ff));
		}
	}
	x86_rmw_begin(f->cpu, 0x2000, 16, true, &rmw);
	assert_false((uintptr_t)rmw.host & 15);
	x86_rmw_end(f->cpu, &rmw);
	/* Writing is what is checked. */
	map_page(f, 7, FRAME | P | U);
	assert_true(X86_RAISES(f, x86_rmw_begin(f->cpu, 0x7000, 4, false, &rmw)));
	assert_fault(f, X86_PF_FAULT, 7);
}

static void test_alignment(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_rmw rmw;

	long_mode(f, 3);
	assert_int_equal(x86_load32(f->cpu, 0x3001), 0);
	f->cpu->state.cr0 |= X86_CR0_AM;
	f->cpu->state.rflags |= X86_AC;
	x86_update_mode(f->cpu);
	assert_true(X86_RAISES(f, x86_load32(f->cpu, 0x3001)));
	assert_fault(f, X86_AC_FAULT, 0);
	assert_true(X86_RAISES(f, x86_store16(f->cpu, 0x3001, 0)));
	assert_true(X86_RAISES(f, x86_rmw_begin(f->cpu, 0x3004, 8, false, &rmw)));
	assert_false(X86_RAISES(f, x86_load32(f->cpu, 0x3004)));
	assert_false(X86_RAISES(f, x86_load8(f->cpu, 0x3001)));
	f->cpu->state.rflags &= ~X86_AC;
	x86_update_mmu(f->cpu);
	assert_false(X86_RAISES(f, x86_load32(f->cpu, 0x3001)));
	f->cpu->state.rflags |= X86_AC;
	x86_fixture_long(f, 0, ROOT); /* supervisors are not checked */
	assert_false(X86_RAISES(f, x86_load32(f->cpu, 0x3001)));
}

static void test_data_breakpoints(void **state)
{
	struct x86_fixture *f = *state;

	long_mode(f, 3);
	x86_store64(f->cpu, 0x3010, 0); /* the TLB knows the page as writable */
	f->cpu->state.dr[1] = 0x3010;
	f->cpu->state.dr[2] = 0x3020;
	/* 1: writes of 4 bytes; 2: reads and writes of 2 bytes. */
	f->cpu->state.dr7 = 1u << 2 | 1u << 4 | 0xdu << 20 | 0x7u << 24;
	x86_update_mode(f->cpu);
	assert_true(f->cpu->debug_active);
	x86_load64(f->cpu, 0x3010);
	assert_int_equal(f->cpu->debug_hits, 0);
	x86_store8(f->cpu, 0x300f, 0);
	x86_store8(f->cpu, 0x3014, 0);
	assert_int_equal(f->cpu->debug_hits, 0);
	x86_store8(f->cpu, 0x3013, 0);
	assert_int_equal(f->cpu->debug_hits, 2);
	f->cpu->debug_hits = 0;
	x86_load32(f->cpu, 0x301e);
	assert_int_equal(f->cpu->debug_hits, 4);
	assert_null(x86_direct(f->cpu, 0x3100, 4, X86_READ));
	f->cpu->debug_hits = 0;
	f->cpu->state.dr7 = 0;
	x86_update_mode(f->cpu);
	x86_store64(f->cpu, 0x3010, 0);
	assert_int_equal(f->cpu->debug_hits, 0);
	assert_non_null(x86_direct(f->cpu, 0x3100, 4, X86_WRITE));
}

static void mark_code(struct x86_fixture *f, uint64_t phys, bool code)
{
	const struct mem_region *region = mem_find(f->mem, phys);
	_Atomic uint8_t *flags = &region->page_flags[(phys - region->gpa) >> 12];

	if (code) {
		*flags |= MEM_PAGE_CODE;
		x86_tlb_drop_phys(f->cpu, phys & ~0xfffull);
	} else {
		*flags &= (uint8_t)~MEM_PAGE_CODE;
	}
}

static void test_code_pages(void **state)
{
	struct x86_fixture *f = *state;
	uint64_t phys;
	const uint8_t *host;

	long_mode(f, 3);
	x86_store8(f->cpu, 0x3000, 0x90);
	assert_non_null(x86_direct(f->cpu, 0x3000, 1, X86_WRITE));
	assert_true(x86_tlb_fetch(f->cpu, 0x3123, &phys, &host));
	assert_true(phys == frame_of(0x3123));
	mark_code(f, frame_of(0x3000), true);
	assert_null(x86_direct(f->cpu, 0x3000, 1, X86_WRITE));
	assert_non_null(x86_direct(f->cpu, 0x3000, 1, X86_READ));
	x86_store8(f->cpu, 0x3123, 0xcc);
	assert_int_equal(x86_load8(f->cpu, 0x3123), 0xcc);
	mark_code(f, frame_of(0x3000), false);
	assert_non_null(x86_direct(f->cpu, 0x3000, 1, X86_WRITE));
}

static void test_writing_a_page_of_code_at_once(void **state)
{
	struct x86_fixture *f = *state;
	uint64_t code = 0;
	uint8_t *host;

	long_mode(f, 3);
	assert_non_null(x86_write_begin(f->cpu, 0x3000, 4096, &code));
	assert_true(code == X86_NO_CODE);
	mark_code(f, frame_of(0x3000), true);
	host = x86_write_begin(f->cpu, 0x3010, 16, &code);
	assert_non_null(host);
	assert_true(code == frame_of(0x3010));
	host[0] = 0xcc;
	x86_write_end(f->cpu, code, 16);
	assert_int_equal(x86_load8(f->cpu, 0x3010), 0xcc);
	/* No block was made of it: it is a plain page again. */
	assert_non_null(x86_direct(f->cpu, 0x3000, 1, X86_WRITE));
	assert_null(x86_write_begin(f->cpu, 0x3ff8, 16, &code));
	map_page(f, 3, FIXTURE_ROM | P | W | U);
	x86_tlb_flush_all(f->cpu);
	assert_null(x86_write_begin(f->cpu, 0x3000, 16, &code));
	map_page(f, 3, FIXTURE_MMIO | P | W | U);
	x86_tlb_flush_all(f->cpu);
	assert_null(x86_write_begin(f->cpu, 0x3000, 16, &code));
}

static void test_fetch_faults(void **state)
{
	struct x86_fixture *f = *state;
	uint64_t phys;
	const uint8_t *host;

	long_mode(f, 3);
	f->cpu->state.efer |= X86_EFER_NXE;
	x86_update_mode(f->cpu);
	map_page(f, 3, FRAME | P | U | 1ull << 63);
	assert_int_equal(x86_load8(f->cpu, 0x3000), 0);
	assert_true(X86_RAISES(f, x86_tlb_fetch(f->cpu, 0x3000, &phys, &host)));
	assert_fault(f, X86_PF_FAULT, 0x15);
	assert_true(X86_RAISES(f, x86_tlb_fetch(f->cpu, 1ull << 47, &phys, &host)));
	assert_fault(f, X86_GP, 0);
	map_page(f, 3, FIXTURE_MMIO | P | U);
	assert_false(x86_tlb_fetch(f->cpu, 0x3008, &phys, &host));
	assert_true(phys == FIXTURE_MMIO + 8 && !host);
}

static void test_smap_sets(void **state)
{
	struct x86_fixture *f = *state;

	long_mode(f, 0);
	assert_false(X86_RAISES(f, x86_load8(f->cpu, 0x3000)));
	f->cpu->state.cr4 |= X86_CR4_SMAP;
	x86_update_mode(f->cpu);
	assert_true(X86_RAISES(f, x86_load8(f->cpu, 0x3000)));
	f->cpu->state.rflags |= X86_AC;
	x86_update_mmu(f->cpu);
	assert_false(X86_RAISES(f, x86_load8(f->cpu, 0x3000)));
	assert_true(X86_RAISES(f, x86_load_system(f->cpu, 0x3000, 8)));
	map_page(f, 3, FRAME | P | W);
	x86_store_system(f->cpu, 0x3000, 8, 77);
	x86_fixture_long(f, 3, ROOT);
	assert_true(X86_RAISES(f, x86_load8(f->cpu, 0x3000)));
	assert_int_equal(x86_load_system(f->cpu, 0x3000, 8), 77);
}

static void test_byte_areas(void **state)
{
	struct x86_fixture *f = *state;
	uint8_t *data = malloc(30000), *back = malloc(30000);

	long_mode(f, 3);
	for (unsigned i = 0; i < 30000; i++)
		data[i] = (uint8_t)(i * 7 + i / 256);
	x86_store_bytes(f->cpu, 0x1234, data, 30000);
	x86_load_bytes(f->cpu, 0x1234, back, 30000);
	assert_memory_equal(data, back, 30000);
	assert_int_equal(x86_peek(f, frame_of(0x1234 + 20000), 1), data[20000]);
	/* The last page is read-only: nothing at all is written. */
	map_page(f, 8, FRAME | P | U);
	memset(back, 0xff, 30000);
	assert_true(X86_RAISES(f, x86_store_bytes(f->cpu, 0x1234, back, 30000)));
	assert_true(f->cpu->fault_address == 0x8000);
	assert_int_equal(x86_load8(f->cpu, 0x1234), data[0]);
	assert_true(X86_RAISES(f, x86_probe(f->cpu, 0x7ff0, 0x20, X86_WRITE)));
	assert_false(X86_RAISES(f, x86_probe(f->cpu, 0x7ff0, 0x20, X86_READ)));
	/* And nothing is read. */
	map_page(f, 8, 0);
	assert_true(X86_RAISES(f, x86_load_bytes(f->cpu, 0x7ff0, back, 0x20)));
	assert_true(f->cpu->fault_address == 0x8000);
	assert_int_equal(back[0], 0xff);
	free(data);
	free(back);
}

static void test_stack_widths(void **state)
{
	struct x86_fixture *f = *state;
	uint64_t *rsp = &f->cpu->state.gpr[X86_RSP];

	f->cpu->state.seg[X86_SS].base = 0x20000;
	f->cpu->state.seg[X86_SS].limit = 0xffff;
	*rsp = 0xaaaa00000000;
	x86_push(f->cpu, 0x1234, 2);
	assert_true(*rsp == 0xaaaa0000fffe);
	assert_int_equal(x86_peek(f, 0x2fffe, 2), 0x1234);
	assert_int_equal(x86_pop(f->cpu, 2), 0x1234);
	assert_true(*rsp == 0xaaaa00000000);
	*rsp = 1;
	assert_true(X86_RAISES(f, x86_push(f->cpu, 0, 2)));
	assert_fault(f, X86_SS_FAULT, 0);
	assert_int_equal(*rsp, 1);
	x86_fixture_protected(f, 0);
	*rsp = 0x30000;
	x86_push(f->cpu, 0x11111111, 4);
	x86_push(f->cpu, 0x22222222, 4);
	assert_int_equal(x86_stack_peek(f->cpu, 4, 4), 0x11111111);
	x86_stack_adjust(f->cpu, 8);
	assert_int_equal(*rsp, 0x30000);
	long_mode(f, 0);
	*rsp = 0x4000;
	x86_push(f->cpu, 0x123456789abcdef0, 8);
	assert_int_equal(*rsp, 0x3ff8);
	assert_true(x86_pop(f->cpu, 8) == 0x123456789abcdef0);
	*rsp = (1ull << 47) + 8;
	assert_true(X86_RAISES(f, x86_push(f->cpu, 0, 8)));
	assert_fault(f, X86_SS_FAULT, 0);
}

static void test_modes(void **state)
{
	struct x86_fixture *f = *state;
	struct x86_cpu *cpu = f->cpu;

	assert_true(cpu->mode == X86_MODE_16 && cpu->cpl == 0 && cpu->stack_size == 2);
	assert_true(!cpu->protected_mode && !cpu->v86 && !cpu->long_mode);
	x86_fixture_protected(f, 3);
	assert_true(cpu->mode == X86_MODE_32 && cpu->cpl == 3 && cpu->stack_size == 4);
	assert_true(cpu->protected_mode && cpu->mmu == X86_MMU_USER);
	cpu->state.rflags |= X86_VM;
	x86_fixture_protected(f, 0);
	assert_true(cpu->v86 && !cpu->protected_mode && cpu->cpl == 3);
	cpu->state.rflags &= ~X86_VM;
	long_mode(f, 0);
	assert_true(cpu->mode == X86_MODE_64 && cpu->stack_size == 8 && cpu->long_mode);
	cpu->state.seg[X86_CS].attr ^= X86_SEG_L | X86_SEG_DB;
	cpu->block_stop = false;
	x86_update_mode(cpu);
	assert_true(cpu->mode == X86_MODE_32 && cpu->stack_size == 4 && cpu->block_stop);
}

/* ---- the TLB: what it keeps and what it forgets ---- */

static bool sees(struct x86_fixture *f, unsigned page, uint64_t marker)
{
	return x86_load64(f->cpu, page * 4096 + 8) == marker;
}

/* Page 9 holds 1 where it is, and 2 where it will be mapped to behind the TLB's back. */
static void two_markers(struct x86_fixture *f, uint64_t flags)
{
	long_mode(f, 0);
	f->cpu->state.cr4 |= X86_CR4_PGE | X86_CR4_PCIDE;
	x86_update_mode(f->cpu);
	x86_poke(f, 0x200008, 1, 8);
	x86_poke(f, 0x201008, 2, 8);
	map_page(f, 9, 0x200000 | P | W | flags);
	assert_true(sees(f, 9, 1));
	x86_poke(f, PT + 9 * 8, 0x201000 | P | W | flags, 8);
	assert_true(sees(f, 9, 1));
}

static void test_flushes(void **state)
{
	struct x86_fixture *f = *state;

	two_markers(f, G);
	x86_tlb_flush_nonglobal(f->cpu);
	assert_true(sees(f, 9, 1));
	x86_tlb_flush_page(f->cpu, 0x9fff);
	assert_true(sees(f, 9, 2));
	two_markers(f, G);
	x86_tlb_flush_all(f->cpu);
	assert_true(sees(f, 9, 2));
	two_markers(f, 0);
	x86_tlb_flush_nonglobal(f->cpu);
	assert_true(sees(f, 9, 2));
	two_markers(f, 0);
	f->cpu->state.cr0 &= ~X86_CR0_WP; /* rights change: all is forgotten */
	x86_update_mode(f->cpu);
	assert_true(sees(f, 9, 2));
}

/* Whichever was used last, both are there, directly, and each is forgotten alone. */
static void test_two_pages_in_one_place(void **state)
{
	struct x86_fixture *f = *state;
	uint64_t near = 9 * 4096 + 8, far = near + ((uint64_t)X86_TLB_ENTRIES << 12);

	two_markers(f, G);
	x86_poke(f, PD + (far >> 21) * 8, 0x14000 | P | W, 8);
	x86_poke(f, 0x14000 + (far >> 12) % 512 * 8, 0x202000 | P | W, 8);
	x86_poke(f, 0x202008, 3, 8);
	assert_int_equal(x86_load64(f->cpu, far), 3);
	for (unsigned round = 0; round < 4; round++) {
		const uint64_t *one = x86_direct(f->cpu, near, 8, X86_READ);
		uint64_t *other = x86_direct(f->cpu, far, 8, X86_WRITE);

		assert_non_null(one);
		assert_non_null(other);
		assert_int_equal(*one, 1);
		assert_int_equal(*other, 3);
	}
	x86_tlb_flush_nonglobal(f->cpu);
	assert_int_equal(x86_load64(f->cpu, near), 1);
	x86_tlb_flush_page(f->cpu, near);
	assert_int_equal(x86_load64(f->cpu, near), 2);
	assert_int_equal(x86_load64(f->cpu, far), 3);
}

static void test_pcids(void **state)
{
	struct x86_fixture *f = *state;

	two_markers(f, 0);
	x86_tlb_switch(f->cpu, 7, false);
	assert_true(sees(f, 9, 2));
	x86_tlb_switch(f->cpu, 0, true);
	assert_true(sees(f, 9, 1));
	x86_tlb_flush_pcid_page(f->cpu, 7, 0x9000);
	x86_tlb_flush_pcid(f->cpu, 7);
	assert_true(sees(f, 9, 1));
	x86_tlb_switch(f->cpu, 7, true);
	x86_tlb_flush_pcid(f->cpu, 0);
	x86_tlb_switch(f->cpu, 0, true);
	assert_true(sees(f, 9, 2));
	/* Flushed from afar, and by MOV CR3. */
	two_markers(f, 0);
	x86_tlb_switch(f->cpu, 7, true);
	x86_tlb_flush_all(f->cpu);
	x86_tlb_switch(f->cpu, 0, true);
	assert_true(sees(f, 9, 2));
	two_markers(f, 0);
	x86_tlb_switch(f->cpu, 0, false);
	assert_true(sees(f, 9, 2));
}

static void test_global_pages_and_pcids(void **state)
{
	struct x86_fixture *f = *state;

	two_markers(f, G);
	/* More PCIDs than there are groups. The one that comes back knows its global page or has
	 * walked anew, but never after the page was flushed. */
	for (unsigned pcid = 1; pcid < 20; pcid++) {
		x86_tlb_switch(f->cpu, pcid, true);
		assert_true(sees(f, 9, 2) || sees(f, 9, 1));
	}
	x86_tlb_flush_page(f->cpu, 0x9000);
	x86_poke(f, 0x202008, 3, 8);
	x86_poke(f, PT + 9 * 8, 0x202000 | P | W | G, 8);
	for (unsigned pcid = 0; pcid < 20; pcid++) {
		x86_tlb_switch(f->cpu, pcid, true);
		assert_true(sees(f, 9, 3));
	}
}

static void test_large_pages_are_forgotten_whole(void **state)
{
	struct x86_fixture *f = *state;
	const uint64_t base = 0x40200000;

	long_mode(f, 0);
	x86_poke(f, PDPT + 8, 0x14000 | P | W, 8);
	x86_poke(f, 0x14000 + 8, 0x400000 | P | W | PS, 8);
	x86_poke(f, 0x400000 + 5 * 4096, 1, 8);
	x86_poke(f, 0x600000 + 5 * 4096, 2, 8);
	assert_int_equal(x86_load64(f->cpu, base + 5 * 4096), 1);
	x86_poke(f, 0x14000 + 8, 0x600000 | P | W | PS, 8);
	assert_int_equal(x86_load64(f->cpu, base + 5 * 4096), 1);
	x86_tlb_flush_page(f->cpu, base + 77 * 4096);
	assert_int_equal(x86_load64(f->cpu, base + 5 * 4096), 2);
	/* And 1 GiB. */
	x86_poke(f, PDPT + 8, FIXTURE_HIGH | P | W | PS, 8);
	x86_poke(f, FIXTURE_HIGH + 5 * 4096, 3, 8);
	x86_tlb_flush_page(f->cpu, base);
	assert_int_equal(x86_load64(f->cpu, 0x40000000 + 5 * 4096), 3);
	x86_poke(f, PDPT + 8, P | W | PS, 8);
	assert_int_equal(x86_load64(f->cpu, 0x40000000 + 5 * 4096), 3);
	x86_tlb_flush_page(f->cpu, 0x7ffff000);
	assert_int_equal(x86_load64(f->cpu, 0x40000000 + 5 * 4096), 0);
}

static void test_dirty_bits(void **state)
{
	struct x86_fixture *f = *state;

	long_mode(f, 3);
	x86_load64(f->cpu, 0x3000);
	assert_int_equal(x86_peek(f, PT + 24, 8) & 0x60, 0x20);
	x86_store64(f->cpu, 0x3000, 1);
	assert_int_equal(x86_peek(f, PT + 24, 8) & 0x60, 0x60);
	x86_probe(f->cpu, 0x4000, 1, X86_WRITE);
	assert_int_equal(x86_peek(f, PT + 32, 8) & 0x60, 0x60);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_loads_and_stores),
		TEST(test_page_crossing),
		TEST(test_accesses_at_the_edges_of_a_page),
		TEST(test_canonical_addresses),
		TEST(test_segment_limits),
		TEST(test_segment_types),
		TEST(test_mmio),
		TEST(test_rom),
		TEST(test_rmw),
		TEST(test_alignment),
		TEST(test_data_breakpoints),
		TEST(test_code_pages),
		TEST(test_writing_a_page_of_code_at_once),
		TEST(test_fetch_faults),
		TEST(test_smap_sets),
		TEST(test_byte_areas),
		TEST(test_stack_widths),
		TEST(test_modes),
		TEST(test_flushes),
		TEST(test_two_pages_in_one_place),
		TEST(test_pcids),
		TEST(test_global_pages_and_pcids),
		TEST(test_large_pages_are_forgotten_whole),
		TEST(test_dirty_bits),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
