/* SPDX-License-Identifier: MIT */
/* The host bridge: see pci_host.h. Machine lock held throughout. */
#include "legacy/pci_host.h"

#include <stdlib.h>
#include <string.h>

#include <errno.h>

#include "base/error.h"
#include "dev/bus.h"

#define PORT_ADDRESS 0xcf8
#define PORT_COUNT 8
#define RESET_CONTROL_OFFSET 1
#define ADDRESS_ENABLE 0x80000000u
#define ADDRESS_WRITABLE 0x80fffffcu

#define I440FX_PAM_FIRST 0x59 /* programmable attribute map: ROM shadowing */
#define I440FX_PAM_COUNT 7
#define I440FX_SMRAM 0x72

struct pci_host {
	struct device dev;
	const struct device_env *env;
	struct pci_host_config config;
	struct pci_bus *bus;
	struct pci_function bridge;
	struct irq_line pirq[PCI_PIRQS];
	uint32_t address; /* port 0xcf8 */
	uint32_t gsi_high[PCI_INTX_GSIS]; /* functions that hold the wire up */
	uint32_t pirq_high[PCI_PIRQS];
};

/* Counts who holds a shared wire, and drives it when it changes. */
static void drive(uint32_t *high, const struct irq_line *line, bool level)
{
	*high += level ? 1 : -1u;
	if (*high == (level ? 1 : 0))
		irq_set(line, level);
}

static void host_intx(void *opaque, unsigned slot, unsigned pin, bool level)
{
	struct pci_host *host = opaque;
	unsigned gsi = pci_intx_gsi(slot, pin), pirq = pci_intx_pirq(slot, pin);

	drive(&host->gsi_high[gsi], &host->config.gsi[gsi], level);
	drive(&host->pirq_high[pirq], &host->pirq[pirq], level);
}

static void host_msi(void *opaque, uint64_t address, uint32_t data)
{
	const struct pci_host *host = opaque;

	if (host->config.msi)
		host->config.msi(host->config.msi_opaque, address, data);
}

/* Which function and register port 0xcfc + byte means now; false: configuration is not enabled. */
static bool selected(const struct pci_host *host, uint64_t offset, unsigned size, uint8_t *devfn,
		     unsigned *bus, unsigned *reg)
{
	if (!(host->address & ADDRESS_ENABLE) || offset < 4 || size > 4)
		return false;
	*bus = host->address >> 16 & 0xff;
	*devfn = host->address >> 8 & 0xff;
	*reg = (host->address & 0xfc) + (unsigned)(offset - 4);
	return true;
}

static uint64_t port_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct pci_host *host = opaque;
	unsigned bus, reg;
	uint8_t devfn;

	(void)cpu;
	if (offset == 0 && size == 4)
		return host->address;
	if (offset == RESET_CONTROL_OFFSET && size == 1 && host->config.reset_control_read)
		return host->config.reset_control_read(host->config.opaque);
	if (!selected(host, offset, size, &devfn, &bus, &reg))
		return UINT32_MAX >> (32 - 8 * size);
	return pci_config_read(host->bus, bus, devfn, reg, size);
}

static void port_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct pci_host *host = opaque;
	unsigned bus, reg;
	uint8_t devfn;

	(void)cpu;
	if (offset == 0 && size == 4)
		host->address = (uint32_t)value & ADDRESS_WRITABLE;
	else if (offset == RESET_CONTROL_OFFSET && size == 1 && host->config.reset_control_write)
		host->config.reset_control_write(host->config.opaque, (uint8_t)value);
	else if (selected(host, offset, size, &devfn, &bus, &reg))
		pci_config_write(host->bus, bus, devfn, reg, size, (uint32_t)value);
}

/* ECAM offset:  27:20 bus  19:15 device  14:12 function  11:0 register */
static uint64_t ecam_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct pci_host *host = opaque;

	(void)cpu;
	return pci_config_read(host->bus, (unsigned)(offset >> 20), (uint8_t)(offset >> 12),
			       offset & 0xfff, size);
}

static void ecam_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct pci_host *host = opaque;

	(void)cpu;
	pci_config_write(host->bus, (unsigned)(offset >> 20), (uint8_t)(offset >> 12),
			 offset & 0xfff, size, (uint32_t)value);
}

static void host_reset(struct device *dev)
{
	struct pci_host *host = (struct pci_host *)dev;

	host->address = 0;
	pci_reset(&host->bridge);
}

static void host_destroy(struct device *dev)
{
	struct pci_host *host = (struct pci_host *)dev;

	bus_remove(host->env->mmio, PCI_HOST_ECAM_BASE);
	bus_remove(host->env->pio, PORT_ADDRESS);
	pci_remove(&host->bridge);
	pci_bus_destroy(host->bus);
	free(host);
}

static const struct state_field host_fields[] = {
	STATE_FIELD(struct pci_host, address),
	STATE_FIELD(struct pci_host, bridge.config),
	STATE_FIELD(struct pci_host, gsi_high),
	STATE_FIELD(struct pci_host, pirq_high),
	STATE_FIELDS_END,
};

static const struct device_class host_class = {
	.name = "pci-host",
	.reset = host_reset,
	.destroy = host_destroy,
	.fields = host_fields,
};

static int add_bridge(struct pci_host *host, struct error *err)
{
	const struct pci_identity identity = {
		.vendor = 0x8086, .device = 0x1237, .revision = 2, .class_code = 0x060000,
		/* SeaBIOS and others take these for "a virtual machine with fw_cfg". */
		.subsystem_vendor = 0x1af4, .subsystem = 0x1100,
	};
	int rc = pci_add(host->bus, PCI_DEVFN(0, 0), &identity, &host->bridge, err);

	if (rc)
		return rc;
	for (unsigned i = 0; i < I440FX_PAM_COUNT; i++)
		pci_set_initial(&host->bridge, I440FX_PAM_FIRST + i, 1, 0, 0x33);
	pci_set_initial(&host->bridge, I440FX_SMRAM, 1, 0x02, 0x58);
	return 0;
}

static int add_ranges(struct pci_host *host, struct error *err)
{
	const struct bus_range ports = {
		.base = PORT_ADDRESS, .size = PORT_COUNT, .name = "pci-config", .opaque = host,
		.max_width = 4, .read = port_read, .write = port_write,
	};
	const struct bus_range ecam = {
		.base = PCI_HOST_ECAM_BASE, .size = PCI_HOST_ECAM_SIZE, .name = "pci-ecam",
		.opaque = host, .max_width = 4, .read = ecam_read, .write = ecam_write,
	};
	int rc = bus_add(host->env->pio, &ports, err);

	if (rc)
		return rc;
	rc = bus_add(host->env->mmio, &ecam, err);
	if (rc)
		bus_remove(host->env->pio, PORT_ADDRESS);
	return rc;
}

int pci_host_create(const struct device_env *env, const struct pci_host_config *config,
		    struct device **dev, struct error *err)
{
	struct pci_host *host = calloc(1, sizeof(*host));
	struct pci_bus_config bus_config = {
		.pio = env->pio, .mmio = env->mmio, .intx = host_intx, .msi = host_msi,
		.opaque = host,
	};
	int rc;

	if (!host)
		return error_set(err, ENOMEM, "no memory for the PCI host bridge");
	host->dev.class = &host_class;
	host->env = env;
	host->config = *config;
	rc = pci_bus_create(&bus_config, &host->bus, err);
	if (!rc)
		rc = add_bridge(host, err);
	if (!rc)
		rc = add_ranges(host, err);
	if (rc) {
		pci_bus_destroy(host->bus);
		free(host);
		return rc;
	}
	*dev = &host->dev;
	return 0;
}

struct pci_bus *pci_host_bus(struct device *dev)
{
	return ((struct pci_host *)dev)->bus;
}

void pci_host_connect_pirq(struct device *dev, unsigned pirq, struct irq_line line)
{
	((struct pci_host *)dev)->pirq[pirq] = line;
}
