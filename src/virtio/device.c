/* SPDX-License-Identifier: MIT */
/*
 * The life of a virtio device (virtio 1.2, 2.1-2.5, 3.1): features, status, configuration, resets,
 * notifications. Invariant: the class's start and stop alternate; start is called when DRIVER_OK
 * is set, stop by the reset after it.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "host/loop.h"
#include "virtio/ring.h"

#define QUEUES_MAX 64u /* deferred_queues has a bit each */

#define CORE_FEATURES                                                                              \
	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_F_RING_PACKED |                               \
	 1ull << VIRTIO_RING_F_INDIRECT_DESC | 1ull << VIRTIO_RING_F_EVENT_IDX)

bool virtio_running(const struct virtio_device *dev)
{
	return dev->status & VIRTIO_CONFIG_S_DRIVER_OK &&
	       !(dev->status & VIRTIO_CONFIG_S_NEEDS_RESET) && !dev->resetting;
}

static void tell_config(struct virtio_device *dev)
{
	if (dev->status & VIRTIO_CONFIG_S_DRIVER_OK)
		dev->transport->config_interrupt(dev->transport_opaque);
}

void virtio_break(struct virtio_device *dev, const char *fmt, ...)
{
	char text[160];
	va_list args;

	if (dev->status & VIRTIO_CONFIG_S_NEEDS_RESET)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	log_guest(&dev->log_limit, "%s needs a reset: %s", dev->class->name, text);
	dev->status |= VIRTIO_CONFIG_S_NEEDS_RESET;
	virtio_settle(dev);
	tell_config(dev);
}

void virtio_settle(struct virtio_device *dev)
{
	if (dev->status & VIRTIO_CONFIG_S_DRIVER_OK && !dev->resetting && dev->class->settle)
		dev->class->settle(dev);
}

/* ---- features ---- */

uint32_t virtio_features_read(const struct virtio_device *dev, uint32_t select)
{
	return select < 2 ? (uint32_t)(dev->features >> 32 * select) : 0;
}

uint32_t virtio_driver_features_read(const struct virtio_device *dev, uint32_t select)
{
	return select < 2 ? (uint32_t)(dev->driver_features >> 32 * select) : 0;
}

void virtio_driver_features_write(struct virtio_device *dev, uint32_t select, uint32_t value)
{
	uint64_t mask, features;

	if (select >= 2)
		return;
	mask = 0xffffffffull << 32 * select;
	features = (dev->driver_features & ~mask) | (uint64_t)value << 32 * select;
	if (features == dev->driver_features)
		return;
	if (dev->status & VIRTIO_CONFIG_S_FEATURES_OK)
		virtio_break(dev, "its features changed after they were settled");
	else
		dev->driver_features = features;
}

static bool features_are_good(const struct virtio_device *dev)
{
	return !(dev->driver_features & ~dev->features) && virtio_has(dev, VIRTIO_F_VERSION_1);
}

/* ---- status ---- */

static void driver_ok(struct virtio_device *dev)
{
	if (!(dev->status & VIRTIO_CONFIG_S_FEATURES_OK)) {
		virtio_break(dev, "started before its features were settled");
		return;
	}
	dev->status |= VIRTIO_CONFIG_S_DRIVER_OK;
	if (dev->class->start)
		dev->class->start(dev);
	virtio_kick_all(dev);
}

void virtio_status_write(struct virtio_device *dev, uint8_t value)
{
	uint8_t added = value & (uint8_t)~dev->status;

	if (!value) {
		virtio_reset(dev);
		return;
	}
	/* Bits only come; a driver that finds FEATURES_OK missing knows what that means. */
	dev->status |= added & (VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER |
				VIRTIO_CONFIG_S_FAILED);
	if (added & VIRTIO_CONFIG_S_FEATURES_OK && features_are_good(dev))
		dev->status |= VIRTIO_CONFIG_S_FEATURES_OK;
	if (added & VIRTIO_CONFIG_S_DRIVER_OK)
		driver_ok(dev);
}

bool virtio_reset_begin(struct virtio_device *dev)
{
	bool started = dev->status & VIRTIO_CONFIG_S_DRIVER_OK;

	if (!dev->resetting && started && dev->class->quiesce)
		dev->resetting = !dev->class->quiesce(dev);
	return !dev->resetting;
}

void virtio_quiet(struct virtio_device *dev)
{
	if (dev->resetting)
		dev->transport->reset(dev->transport_opaque);
}

void virtio_reset(struct virtio_device *dev)
{
	/* Chains that come back from now on are of a life that is over. */
	bool started = dev->status & VIRTIO_CONFIG_S_DRIVER_OK;

	/* What stop pushes changes no ring. */
	dev->resetting = started;
	if (started && dev->class->stop)
		dev->class->stop(dev);
	dev->generation++;
	dev->resetting = false;
	dev->status = 0;
	dev->driver_features = 0;
	dev->deferred_queues = 0;
	ring_queues_reset(dev);
}

/* ---- configuration ---- */

uint32_t virtio_config_read(const struct virtio_device *dev, uint64_t offset, unsigned size)
{
	uint32_t value = 0;

	for (unsigned i = 0; i < size && offset + i < dev->config_bytes; i++)
		value |= (uint32_t)((const uint8_t *)dev->config)[offset + i] << i * 8;
	return value;
}

void virtio_config_write(struct virtio_device *dev, uint64_t offset, unsigned size,
			 uint32_t value)
{
	if (dev->class->config_write && offset < dev->config_bytes &&
	    size <= dev->config_bytes - offset)
		dev->class->config_write(dev, (unsigned)offset, size, value);
}

void virtio_config_changed(struct virtio_device *dev)
{
	dev->config_generation++;
	tell_config(dev);
}

/* ---- notifications ---- */

static void handle(struct virtio_device *dev, unsigned index)
{
	struct virtio_queue *queue = virtio_queue(dev, index);

	if (!queue)
		return;
	if (queue->loan)
		ring_loan_kick(queue);
	else if (virtio_queue_ready(queue))
		dev->class->handle(dev, queue);
}

static void deferred(void *opaque)
{
	struct virtio_device *dev = opaque;
	uint64_t queues = dev->deferred_queues;

	dev->deferred_queues = 0;
	for (unsigned i = 0; i < dev->queue_count; i++)
		if (queues >> i & 1)
			handle(dev, i);
}

void virtio_kick(struct virtio_device *dev, unsigned index)
{
	if (!dev->class->deferred || index >= dev->queue_count) {
		handle(dev, index);
		return;
	}
	/* A timer that is due: unlike a posted call, it goes with the device. */
	if (!dev->deferred_queues)
		loop_timer_arm(dev->deferral, 0);
	dev->deferred_queues |= 1ull << index;
}

void virtio_kick_all(struct virtio_device *dev)
{
	for (unsigned i = 0; i < dev->queue_count; i++)
		virtio_kick(dev, i);
}

/* ---- life ---- */

void virtio_attach(struct virtio_device *dev, const struct virtio_transport *transport,
		   void *opaque)
{
	dev->transport = transport;
	dev->transport_opaque = opaque;
}

static int out_of_memory(const struct virtio_setup *setup, struct error *err)
{
	return error_set(err, ENOMEM, "no memory for %s", setup->class->name);
}

int virtio_device_init(struct virtio_device *dev, const struct virtio_setup *setup,
		       struct error *err)
{
	dev->class = setup->class;
	dev->env = setup->env;
	dev->features = setup->features | CORE_FEATURES;
	dev->config = setup->config;
	dev->config_bytes = setup->config_bytes;
	dev->queue_count = setup->queue_count;
	dev->window = setup->window;
	if (setup->queue_count > QUEUES_MAX)
		return error_set(err, EINVAL, "%s: more than %u queues", setup->class->name,
				 QUEUES_MAX);
	if (ring_queues_create(dev, setup->queue_size))
		return out_of_memory(setup, err);
	if (setup->class->deferred &&
	    loop_timer_create(setup->env->loop, deferred, dev, &dev->deferral)) {
		virtio_device_release(dev);
		return out_of_memory(setup, err);
	}
	return 0;
}

void virtio_device_release(struct virtio_device *dev)
{
	loop_timer_destroy(dev->deferral);
	ring_queues_destroy(dev);
	dev->deferral = NULL;
	dev->queues = NULL;
}

void virtio_device_count(const struct virtio_device *dev, struct json *json)
{
	json_string(json, "device", dev->class->name);
	json_array_begin(json, "queues");
	for (unsigned i = 0; i < dev->queue_count; i++) {
		const struct virtio_counts *counts = &dev->queues[i].counts;

		if (!counts->chains && !counts->loans)
			continue;
		json_object_begin(json, NULL);
		json_uint(json, "queue", i);
		json_uint(json, "chains", counts->chains);
		json_uint(json, "from_driver_bytes", counts->out_bytes);
		json_uint(json, "to_driver_bytes", counts->in_bytes);
		json_uint(json, "interrupts", counts->interrupts);
		json_uint(json, "loans", counts->loans);
		json_object_end(json);
	}
	json_array_end(json);
}
