/* SPDX-License-Identifier: MIT */
/*
 * PCI configuration space and BARs: see pci.h. Machine lock held throughout. Invariant: a BAR is on
 * its bus at range.base exactly while mapped is set.
 */
#include "dev/pci.h"

#include <assert.h>
#include <errno.h>
#include <linux/pci_regs.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

#define COMMAND_WRITABLE                                                                           \
	(PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |           \
	 PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE)

struct pci_bus {
	struct pci_bus_config config;
	struct pci_function *function[256];
};

static uint32_t get(const uint8_t *bytes, unsigned size)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint32_t)bytes[i] << (8 * i);
	return value;
}

static void put(uint8_t *bytes, unsigned size, uint32_t value)
{
	for (unsigned i = 0; i < size; i++)
		bytes[i] = (uint8_t)(value >> (8 * i));
}

int pci_bus_create(const struct pci_bus_config *config, struct pci_bus **bus, struct error *err)
{
	*bus = calloc(1, sizeof(**bus));
	if (!*bus)
		return error_set(err, ENOMEM, "no memory for a PCI bus");
	(*bus)->config = *config;
	return 0;
}

void pci_bus_destroy(struct pci_bus *bus)
{
	free(bus);
}

/* ---- interrupt pin ---- */

static bool pin_is_high(const struct pci_function *function)
{
	return function->intx_level &&
	       !(get(function->config + PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE);
}

static void tell_pin(struct pci_function *function, bool was)
{
	const struct pci_bus_config *config = &function->bus->config;
	unsigned pin = function->config[PCI_INTERRUPT_PIN];
	bool is = pin_is_high(function);

	if (is != was && pin && config->intx)
		config->intx(config->opaque, function->devfn >> 3, pin - 1, is);
}

void pci_set_intx(struct pci_function *function, bool level)
{
	bool was = pin_is_high(function);

	function->intx_level = level;
	function->config[PCI_STATUS] &= (uint8_t)~PCI_STATUS_INTERRUPT;
	if (level)
		function->config[PCI_STATUS] |= PCI_STATUS_INTERRUPT;
	tell_pin(function, was);
}

/* ---- bus mastering ---- */

bool pci_is_master(const struct pci_function *function)
{
	return get(function->config + PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

void pci_send_msi(const struct pci_function *function, uint64_t address, uint32_t data)
{
	const struct pci_bus_config *config = &function->bus->config;

	if (config->msi && pci_is_master(function))
		config->msi(config->opaque, address, data);
}

/* ---- BARs ---- */

static struct bus *bar_bus(const struct pci_function *function, const struct pci_bar *bar)
{
	return bar->kind == PCI_BAR_IO ? function->bus->config.pio : function->bus->config.mmio;
}

static void unmap_bar(struct pci_function *function, struct pci_bar *bar)
{
	if (bar->mapped)
		bus_remove(bar_bus(function, bar), bar->range.base);
	bar->mapped = false;
}

/* Where the guest wants the BAR; false: nowhere (decoding off, not programmed, out of reach). */
static bool bar_address(const struct pci_function *function, unsigned index, uint64_t *address)
{
	const struct pci_bar *bar = &function->bar[index];
	const uint8_t *reg = function->config + PCI_BASE_ADDRESS_0 + 4 * index;
	uint32_t command = get(function->config + PCI_COMMAND, 2);
	uint64_t limit = bar->kind == PCI_BAR_MEM64 ? UINT64_MAX : UINT32_MAX;

	if (bar->kind == PCI_BAR_IO) {
		*address = get(reg, 4) & (uint32_t)PCI_BASE_ADDRESS_IO_MASK;
		limit = 0xffff;
	} else {
		*address = get(reg, 4) & (uint32_t)PCI_BASE_ADDRESS_MEM_MASK;
	}
	if (bar->kind == PCI_BAR_MEM64)
		*address |= (uint64_t)get(reg + 4, 4) << 32;
	if (!(command & (bar->kind == PCI_BAR_IO ? PCI_COMMAND_IO : PCI_COMMAND_MEMORY)))
		return false;
	/* All ones is the middle of sizing it. */
	return *address && *address <= limit - (bar->range.size - 1) &&
	       *address + bar->range.size - 1 != limit;
}

static void update_bar(struct pci_function *function, unsigned index)
{
	struct pci_bar *bar = &function->bar[index];
	struct error err;
	uint64_t address;
	bool wanted;

	if (bar->kind == PCI_BAR_NONE || bar->kind == PCI_BAR_UPPER)
		return;
	wanted = bar_address(function, index, &address);
	if (wanted && bar->mapped && bar->range.base == address)
		return;
	unmap_bar(function, bar);
	if (!wanted)
		return;
	bar->range.base = address;
	bar->mapped = !bus_add(bar_bus(function, bar), &bar->range, &err);
	if (!bar->mapped)
		log_guest(&function->log_limit, "pci %02x.%u: BAR %u cannot be mapped: %s",
			  function->devfn >> 3, function->devfn & 7, index, err.message);
}

static void update_bars(struct pci_function *function)
{
	for (unsigned i = 0; i < PCI_BARS; i++)
		update_bar(function, i);
}

void pci_add_bar(struct pci_function *function, unsigned index, enum pci_bar_kind kind,
		 const struct bus_range *range)
{
	unsigned offset = PCI_BASE_ADDRESS_0 + 4 * index;
	uint32_t type = kind == PCI_BAR_IO    ? PCI_BASE_ADDRESS_SPACE_IO :
			kind == PCI_BAR_MEM64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 :
						PCI_BASE_ADDRESS_MEM_TYPE_32;
	uint64_t mask = ~(range->size - 1);

	assert(index < PCI_BARS && function->bar[index].kind == PCI_BAR_NONE);
	assert(range->size >= (kind == PCI_BAR_IO ? 4 : 16) && !(range->size & (range->size - 1)));
	function->bar[index] = (struct pci_bar){ .kind = kind, .range = *range };
	pci_set_initial(function, offset, 4, type, (uint32_t)mask);
	if (kind != PCI_BAR_MEM64)
		return;
	assert(index + 1 < PCI_BARS && function->bar[index + 1].kind == PCI_BAR_NONE);
	function->bar[index + 1].kind = PCI_BAR_UPPER;
	pci_set_initial(function, offset + 4, 4, 0, (uint32_t)(mask >> 32));
}

/* ---- functions ---- */

void pci_set_initial(struct pci_function *function, unsigned offset, unsigned size, uint32_t value,
		     uint32_t writable)
{
	put(function->config + offset, size, value);
	put(function->initial + offset, size, value);
	put(function->writable + offset, size, writable);
}

/* Offset of the byte that the next capability's offset goes to. */
static unsigned capabilities_end(const struct pci_function *function)
{
	unsigned at = PCI_CAPABILITY_LIST;

	while (function->config[at])
		at = function->config[at] + PCI_CAP_LIST_NEXT;
	return at;
}

unsigned pci_add_capability(struct pci_function *function, uint8_t id, unsigned size_bytes)
{
	unsigned offset = PCI_STD_HEADER_SIZEOF + function->capabilities_bytes;

	assert(size_bytes >= PCI_CAP_SIZEOF && offset + size_bytes <= PCI_CONFIG_BYTES);
	pci_set_initial(function, capabilities_end(function), 1, offset, 0);
	pci_set_initial(function, offset + PCI_CAP_LIST_ID, 1, id, 0);
	pci_set_initial(function, PCI_STATUS, 1, PCI_STATUS_CAP_LIST, 0);
	function->capabilities_bytes += (size_bytes + 3) & ~3u;
	return offset;
}

static void fill_header(struct pci_function *function, const struct pci_identity *id)
{
	pci_set_initial(function, PCI_VENDOR_ID, 2, id->vendor, 0);
	pci_set_initial(function, PCI_DEVICE_ID, 2, id->device, 0);
	pci_set_initial(function, PCI_COMMAND, 2, 0, COMMAND_WRITABLE);
	pci_set_initial(function, PCI_CLASS_REVISION, 4, id->class_code << 8 | id->revision, 0);
	pci_set_initial(function, PCI_CACHE_LINE_SIZE, 1, 0, 0xff);
	pci_set_initial(function, PCI_LATENCY_TIMER, 1, 0, 0xff);
	pci_set_initial(function, PCI_HEADER_TYPE, 1, id->multifunction ? 0x80 : 0, 0);
	pci_set_initial(function, PCI_SUBSYSTEM_VENDOR_ID, 2, id->subsystem_vendor, 0);
	pci_set_initial(function, PCI_SUBSYSTEM_ID, 2, id->subsystem, 0);
	pci_set_initial(function, PCI_INTERRUPT_LINE, 1, 0, 0xff);
	pci_set_initial(function, PCI_INTERRUPT_PIN, 1, id->interrupt_pin, 0);
}

int pci_add(struct pci_bus *bus, uint8_t devfn, const struct pci_identity *identity,
	    struct pci_function *function, struct error *err)
{
	if (bus->function[devfn])
		return error_set(err, EEXIST, "PCI slot %02x.%u is taken", devfn >> 3, devfn & 7);
	function->bus = bus;
	function->devfn = devfn;
	fill_header(function, identity);
	bus->function[devfn] = function;
	return 0;
}

void pci_remove(struct pci_function *function)
{
	pci_reset(function);
	function->bus->function[function->devfn] = NULL;
}

void pci_reset(struct pci_function *function)
{
	pci_set_intx(function, false);
	for (unsigned i = 0; i < PCI_BARS; i++)
		unmap_bar(function, &function->bar[i]);
	memcpy(function->config, function->initial, sizeof(function->config));
}

/* ---- configuration cycles ---- */

static struct pci_function *find(struct pci_bus *bus, unsigned bus_number, uint8_t devfn,
				 unsigned offset, unsigned size)
{
	if (bus_number || offset + size > PCI_CONFIG_BYTES)
		return NULL;
	return bus->function[devfn];
}

uint32_t pci_config_read(struct pci_bus *bus, unsigned bus_number, uint8_t devfn, unsigned offset,
			 unsigned size)
{
	struct pci_function *function = find(bus, bus_number, devfn, offset, size);

	if (!function)
		return UINT32_MAX >> (32 - 8 * size);
	if (function->config_reading)
		function->config_reading(function->opaque, offset, size);
	return get(function->config + offset, size);
}

void pci_config_write(struct pci_bus *bus, unsigned bus_number, uint8_t devfn, unsigned offset,
		      unsigned size, uint32_t value)
{
	struct pci_function *function = find(bus, bus_number, devfn, offset, size);
	uint32_t mask, old;
	bool was;

	if (!function)
		return;
	was = pin_is_high(function);
	mask = get(function->writable + offset, size);
	old = get(function->config + offset, size);
	put(function->config + offset, size, (old & ~mask) | (value & mask));
	tell_pin(function, was);
	if (offset < PCI_CARDBUS_CIS)
		update_bars(function);
	if (function->config_written)
		function->config_written(function->opaque, offset, size);
}
