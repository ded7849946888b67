/* SPDX-License-Identifier: MIT */
/*
 * The xAPIC page: one physical address, behind which each CPU finds its own APIC. A CPU that moves
 * its page gets a window of its own, shared with others that moved to the same address. An access
 * by a CPU whose page is elsewhere, or that has its APIC off or in x2APIC mode, or by no CPU, finds
 * nothing there.
 *
 * A page that was moved on top of RAM is not seen: RAM is looked at first.
 */
#include "irqchip/apic_regs.h"

#include "dev/bus.h"

#define REGISTER_ALIGN 16

static struct apic *page_apic(const struct apic_window *window, int cpu)
{
	struct apic_set *set = window->set;
	struct apic *apic;

	if (cpu < 0 || (unsigned)cpu >= set->config.cpus)
		return NULL;
	apic = &set->apic[cpu];
	pthread_mutex_lock(&apic->lock);
	if ((apic->state->base & BASE_MODE) == BASE_ENABLE &&
	    (apic->state->base & BASE_PAGE) == atomic_load(&window->base))
		return apic;
	pthread_mutex_unlock(&apic->lock);
	return NULL;
}

static uint64_t page_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct apic *apic = page_apic(opaque, cpu);
	uint32_t value = 0;

	(void)size;
	if (!apic)
		return ~0ull;
	/* Only the first four bytes of each sixteen are a register's. */
	if (offset % REGISTER_ALIGN < 4 &&
	    !apic_reg_read(apic, offset / REGISTER_ALIGN, &value))
		apic_error(apic, ESR_REGISTER);
	pthread_mutex_unlock(&apic->lock);
	return (uint64_t)value >> 8 * (offset % 4);
}

static void page_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct apic *apic = page_apic(opaque, cpu);
	struct apic_after after = { 0 };

	if (!apic)
		return;
	if (offset % REGISTER_ALIGN == 0 && size >= 4 &&
	    !apic_reg_write(apic, offset / REGISTER_ALIGN, value, &after))
		apic_error(apic, ESR_REGISTER);
	pthread_mutex_unlock(&apic->lock);
	apic_finish(apic, &after);
}

static int window_map(struct apic_window *window, struct apic_set *set, uint64_t base,
		      struct error *err)
{
	struct bus_range range = {
		.base = base,
		.size = 0x1000,
		.flags = BUS_UNLOCKED,
		.name = "apic",
		.opaque = window,
		.read = page_read,
		.write = page_write,
	};
	int ret;

	window->set = set;
	atomic_store(&window->base, base);
	ret = bus_add(set->mmio, &range, err);
	window->mapped = !ret;
	return ret;
}

static void window_unmap(struct apic_window *window)
{
	if (window->mapped)
		bus_remove(window->set->mmio, atomic_load(&window->base));
	window->mapped = false;
}

int apic_page_map(struct apic_set *set, struct error *err)
{
	return window_map(&set->default_window, set, APIC_DEFAULT_BASE, err);
}

void apic_page_unmap(struct apic_set *set)
{
	for (unsigned i = 0; i < set->config.cpus; i++)
		window_unmap(&set->window[i]);
	window_unmap(&set->default_window);
}

static uint64_t current_base(struct apic *apic)
{
	uint64_t base;

	pthread_mutex_lock(&apic->lock);
	base = apic->state->base;
	pthread_mutex_unlock(&apic->lock);
	return base & BASE_PAGE;
}

/* Where another device or another CPU's window is already, there is nothing to add. */
void apic_page_sync(struct apic_set *set)
{
	for (unsigned i = 0; i < set->config.cpus; i++)
		if (set->window[i].mapped && current_base(&set->apic[i]) != set->window[i].base)
			window_unmap(&set->window[i]);
	for (unsigned i = 0; i < set->config.cpus; i++) {
		uint64_t base = current_base(&set->apic[i]);

		if (base != APIC_DEFAULT_BASE && !set->window[i].mapped)
			window_map(&set->window[i], set, base, NULL);
	}
}
