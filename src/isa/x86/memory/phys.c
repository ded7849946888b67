/* SPDX-License-Identifier: MIT */
/* Guest-physical accesses: see phys.h. */
#include "isa/x86/memory/phys.h"

#include <stdatomic.h>
#include <string.h>

#include "cpu/blocks.h"
#include "dev/bus.h"
#include "isa/x86/x86.h"
#include "mem/hold.h"
#include "mem/mem.h"

/* A guest may count on an access of a natural size being one access: another CPU looks on. */
static void copy_whole(void *to, const void *from, unsigned len)
{
	switch (len) {
	case 1: *(volatile uint8_t *)to = *(const volatile uint8_t *)from; break;
	case 2: *(volatile uint16_t *)to = *(const volatile uint16_t *)from; break;
	case 4: *(volatile uint32_t *)to = *(const volatile uint32_t *)from; break;
	case 8: *(volatile uint64_t *)to = *(const volatile uint64_t *)from; break;
	default: memcpy(to, from, len); break;
	}
}

/* The widest power of two, up to 8, that is no more than len. */
static unsigned bus_size(unsigned len)
{
	return len >= 8 ? 8 : len >= 4 ? 4 : len >= 2 ? 2 : 1;
}

void x86_phys_hold(struct x86_cpu *cpu, const struct mem_region *region, uint64_t phys)
{
	_Atomic uint8_t *flags = mem_page_flags(region, phys);

	if (likely(!mem_hold_page(flags)))
		return;
	x86_vec_park(cpu);
	blocks_stop_exec(cpu->cpu.env.blocks);
	mem_stopped_page(flags);
}

void x86_phys_release(const struct mem_region *region, uint64_t phys)
{
	mem_release_page(mem_page_flags(region, phys));
}

void x86_phys_wrote(struct x86_cpu *cpu, const struct mem_region *region, uint64_t phys,
		    unsigned len)
{
	_Atomic uint8_t *page = mem_page_flags(region, phys);
	uint8_t flags = atomic_load_explicit(page, memory_order_relaxed);

	if (!(flags & MEM_PAGE_DIRTY))
		atomic_fetch_or_explicit(page, MEM_PAGE_DIRTY, memory_order_relaxed);
	if (likely(!(flags & MEM_PAGE_CODE)))
		return;
	x86_vec_park(cpu);
	if (blocks_wrote(cpu->cpu.env.blocks, phys, len))
		cpu->block_stop = true;
}

void x86_phys_read(struct x86_cpu *cpu, uint64_t phys, void *data, unsigned len)
{
	const struct mem_region *region = mem_find(cpu->cpu.env.mem, phys);
	uint8_t *to = data;

	if (region) {
		copy_whole(data, region->host + (phys - region->gpa), len);
		return;
	}
	x86_vec_park(cpu);
	while (len) {
		unsigned size = bus_size(len);
		uint64_t value = bus_read(cpu->cpu.env.mmio, phys, size, (int)cpu->cpu.index);

		memcpy(to, &value, size);
		to += size;
		phys += size;
		len -= size;
	}
}

/* Code of the page can be new only where all CPUs were stopped: it has some before, or not. */
static void write_memory(struct x86_cpu *cpu, const struct mem_region *region, uint64_t phys,
			 const void *data, unsigned len)
{
	uint8_t flags = atomic_load_explicit(mem_page_flags(region, phys), memory_order_relaxed);
	bool code = flags & MEM_PAGE_CODE;

	if (region->readonly)
		return;
	if (unlikely(code))
		x86_phys_hold(cpu, region, phys);
	copy_whole(region->host + (phys - region->gpa), data, len);
	x86_phys_wrote(cpu, region, phys, len);
	if (unlikely(code))
		x86_phys_release(region, phys);
}

void x86_phys_write(struct x86_cpu *cpu, uint64_t phys, const void *data, unsigned len)
{
	const struct mem_region *region = mem_find(cpu->cpu.env.mem, phys);
	const uint8_t *from = data;

	if (region) {
		write_memory(cpu, region, phys, data, len);
		return;
	}
	x86_vec_park(cpu);
	while (len) {
		unsigned size = bus_size(len);
		uint64_t value = 0;

		memcpy(&value, from, size);
		bus_write(cpu->cpu.env.mmio, phys, size, value, (int)cpu->cpu.index);
		from += size;
		phys += size;
		len -= size;
	}
	if (unlikely(cpu_requested(&cpu->cpu, CPU_REQ_HOLD)))
		cpu->block_stop = true;
}
