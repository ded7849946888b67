/* SPDX-License-Identifier: MIT */
/* Virtio over MMIO: see transport_mmio.h. Machine lock held. */
#include "virtio/transport_mmio.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/json.h"
#include "dev/bus.h"
#include "virtio/transport.h"

#define MAGIC 0x74726976u /* "virt" */
#define VERSION 2u
#define VENDOR 0x1af4u

struct virtio_mmio {
	struct device dev; /* must be first */
	const struct device_env *env;
	struct virtio_mmio_config config;
	struct virtio_device *virtio;
	uint32_t device_feature_select, driver_feature_select, queue_select;
	uint8_t isr;
	int resetter; /* the CPU that is held until a reset has taken place; -1: none */
};

/* ---- interrupts ---- */

static void set_isr(struct virtio_mmio *mmio, uint8_t isr)
{
	mmio->isr = isr;
	irq_set(&mmio->config.irq, isr);
}

static void queue_interrupt(void *opaque, unsigned queue)
{
	struct virtio_mmio *mmio = opaque;

	(void)queue;
	set_isr(mmio, mmio->isr | VIRTIO_MMIO_INT_VRING);
}

static void config_interrupt(void *opaque)
{
	struct virtio_mmio *mmio = opaque;

	set_isr(mmio, mmio->isr | VIRTIO_MMIO_INT_CONFIG);
}

static bool is_master(void *opaque)
{
	(void)opaque;
	return true;
}

/* ---- resets ---- */

static void registers_reset(struct virtio_mmio *mmio)
{
	virtio_reset(mmio->virtio);
	mmio->device_feature_select = mmio->driver_feature_select = 0;
	mmio->queue_select = 0;
	set_isr(mmio, 0);
	if (mmio->resetter >= 0)
		mmio->env->hold(mmio->env->opaque, mmio->resetter, false);
	mmio->resetter = -1;
}

static void reset_now(void *opaque)
{
	registers_reset(opaque);
}

/*
 * Drivers do not look when it is done (Linux's frees the rings at once), so the CPU waits: it
 * alone, and not here, with the machine lock.
 */
static void reset_by(struct virtio_mmio *mmio, int cpu)
{
	if (virtio_reset_begin(mmio->virtio)) {
		registers_reset(mmio);
	} else if (cpu >= 0) {
		mmio->resetter = cpu;
		mmio->env->hold(mmio->env->opaque, cpu, true);
	}
}

static const struct virtio_transport transport = {
	.queue_interrupt = queue_interrupt,
	.config_interrupt = config_interrupt,
	.reset = reset_now,
	.is_master = is_master,
};

/* ---- registers ---- */

/* Addresses are pairs of registers: the area, and by how much the value is shifted in it. */
static bool is_area(uint64_t offset, enum virtio_queue_area *area, unsigned *shift)
{
	if (offset < VIRTIO_MMIO_QUEUE_DESC_LOW || offset > VIRTIO_MMIO_QUEUE_USED_HIGH ||
	    offset & 8)
		return false;
	*area = (offset - VIRTIO_MMIO_QUEUE_DESC_LOW) / 16;
	*shift = offset & 4 ? 32 : 0;
	return true;
}

static uint32_t register_read(struct virtio_mmio *mmio, uint64_t offset)
{
	struct virtio_device *virtio = mmio->virtio;

	switch (offset) {
	case VIRTIO_MMIO_MAGIC_VALUE:
		return MAGIC;
	case VIRTIO_MMIO_VERSION:
		return VERSION;
	case VIRTIO_MMIO_DEVICE_ID:
		return virtio->class->id;
	case VIRTIO_MMIO_VENDOR_ID:
		return VENDOR;
	case VIRTIO_MMIO_DEVICE_FEATURES:
		return virtio_features_read(virtio, mmio->device_feature_select);
	case VIRTIO_MMIO_QUEUE_NUM_MAX:
		return virtio_queue_size_max(virtio, mmio->queue_select);
	case VIRTIO_MMIO_QUEUE_READY:
		return virtio_queue_enabled(virtio, mmio->queue_select);
	case VIRTIO_MMIO_INTERRUPT_STATUS:
		return mmio->isr;
	case VIRTIO_MMIO_STATUS:
		return virtio->status;
	case VIRTIO_MMIO_SHM_LEN_LOW:
	case VIRTIO_MMIO_SHM_LEN_HIGH:
	case VIRTIO_MMIO_SHM_BASE_LOW:
	case VIRTIO_MMIO_SHM_BASE_HIGH:
		return UINT32_MAX; /* there is none */
	case VIRTIO_MMIO_CONFIG_GENERATION:
		return virtio->config_generation;
	}
	return 0;
}

static void queue_write(struct virtio_mmio *mmio, uint64_t offset, uint32_t value)
{
	enum virtio_queue_area area;
	unsigned shift;

	if (offset == VIRTIO_MMIO_QUEUE_NUM)
		virtio_queue_size_write(mmio->virtio, mmio->queue_select, value);
	else if (offset == VIRTIO_MMIO_QUEUE_READY && value == 1)
		virtio_queue_enable(mmio->virtio, mmio->queue_select);
	else if (offset == VIRTIO_MMIO_QUEUE_READY)
		virtio_queue_disable(mmio->virtio, mmio->queue_select);
	else if (is_area(offset, &area, &shift))
		virtio_queue_area_write(mmio->virtio, mmio->queue_select, area,
					0xffffffffull << shift, (uint64_t)value << shift);
}

static void register_write(struct virtio_mmio *mmio, uint64_t offset, uint32_t value, int cpu)
{
	/* Another CPU; it may be the one that takes the interrupts. */
	if (mmio->virtio->resetting && offset != VIRTIO_MMIO_INTERRUPT_ACK)
		return;
	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		mmio->device_feature_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		mmio->driver_feature_select = value;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		virtio_driver_features_write(mmio->virtio, mmio->driver_feature_select, value);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		mmio->queue_select = value;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		virtio_kick(mmio->virtio, value);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		set_isr(mmio, mmio->isr & (uint8_t)~value);
		break;
	case VIRTIO_MMIO_STATUS:
		if (value & 0xff)
			virtio_status_write(mmio->virtio, (uint8_t)value);
		else
			reset_by(mmio, cpu);
		break;
	default:
		queue_write(mmio, offset, value);
	}
}

/* Registers are 32 bits wide and accessed as such; the configuration behind them in any way. */
static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	struct virtio_mmio *mmio = opaque;

	(void)cpu;
	if (offset >= VIRTIO_MMIO_CONFIG)
		return virtio_config_read(mmio->virtio, offset - VIRTIO_MMIO_CONFIG, size);
	return size == 4 ? register_read(mmio, offset) : 0;
}

static void mmio_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct virtio_mmio *mmio = opaque;

	if (offset >= VIRTIO_MMIO_CONFIG)
		virtio_config_write(mmio->virtio, offset - VIRTIO_MMIO_CONFIG, size,
				    (uint32_t)value);
	else if (size == 4)
		register_write(mmio, offset, (uint32_t)value, cpu);
}

/* ---- life ---- */

static void mmio_reset(struct device *dev)
{
	registers_reset((struct virtio_mmio *)dev);
}

static void mmio_destroy(struct device *dev)
{
	struct virtio_mmio *mmio = (struct virtio_mmio *)dev;

	registers_reset(mmio);
	bus_remove(mmio->env->mmio, mmio->config.base);
	mmio->virtio->class->destroy(mmio->virtio);
	free(mmio);
}

static void mmio_settle(struct device *dev)
{
	virtio_settle(((struct virtio_mmio *)dev)->virtio);
}

static void mmio_describe(const struct device *dev, struct json *json)
{
	const struct virtio_mmio *mmio = (const struct virtio_mmio *)dev;

	json_string(json, "virtio", mmio->virtio->class->name);
	json_hex(json, "address", mmio->config.base);
	json_uint(json, "queues", mmio->virtio->queue_count);
	if (mmio->virtio->class->describe)
		mmio->virtio->class->describe(mmio->virtio, json);
}

static void mmio_count(const struct device *dev, struct json *json)
{
	virtio_device_count(((const struct virtio_mmio *)dev)->virtio, json);
}

static const struct device_class virtio_mmio_class = {
	.name = "virtio-mmio",
	.reset = mmio_reset,
	.destroy = mmio_destroy,
	.settle = mmio_settle,
	.describe = mmio_describe,
	.count = mmio_count,
};

int virtio_mmio_create(const struct device_env *env, const struct virtio_mmio_config *config,
		       struct virtio_device *virtio, struct device **dev, struct error *err)
{
	struct virtio_mmio *mmio = calloc(1, sizeof(*mmio));
	const struct bus_range range = {
		.base = config->base, .size = VIRTIO_MMIO_BYTES, .name = virtio->class->name,
		.opaque = mmio, .max_width = 4, .read = mmio_read, .write = mmio_write,
	};
	int ret;

	if (mmio)
		ret = bus_add(env->mmio, &range, err);
	else
		ret = error_set(err, ENOMEM, "no memory for %s", virtio->class->name);
	if (ret) {
		virtio->class->destroy(virtio);
		free(mmio);
		return ret;
	}
	mmio->dev.class = &virtio_mmio_class;
	mmio->env = env;
	mmio->config = *config;
	mmio->virtio = virtio;
	mmio->resetter = -1;
	virtio_attach(virtio, &transport, mmio);
	*dev = &mmio->dev;
	return 0;
}
