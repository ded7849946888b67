/* SPDX-License-Identifier: MIT */
/* Fuzz target: the console device with three ports, and a host that does as it likes. */
#include <stdlib.h>

#include "ui/chardev.h"
#include "virtio/console.h"
#include "virtio_target.h"

#define PORTS 3u

static struct host {
	struct chardev chardev;
	size_t room;
} hosts[PORTS];

static size_t host_write(void *opaque, const uint8_t *data, size_t len)
{
	struct host *host = opaque;
	uint8_t sum = 0;

	len = len < host->room ? len : host->room;
	for (size_t i = 0; i < len; i++)
		sum ^= data[i];
	host->room -= len;
	return sum == len + 1 ? 0 : len;
}

static const struct chardev_ops host_ops = { .write = host_write };

static void more(struct device_target *target, struct fuzz_input *input)
{
	struct host *host = &hosts[fuzz_u8(input) % PORTS];
	uint8_t data[64];
	size_t len = fuzz_u8(input) % sizeof(data), room = chardev_can_receive(&host->chardev);

	(void)target;
	fuzz_take(input, data, len);
	if (room)
		chardev_receive(&host->chardev, data, len < room ? len : room);
	host->room = fuzz_u16(input);
	chardev_writable(&host->chardev);
}

static void setup(struct device_target *target)
{
	struct virtio_console_options options = { .ports = PORTS };
	struct virtio_device *virtio;

	for (unsigned i = 0; i < PORTS; i++) {
		hosts[i] = (struct host){ { &host_ops, &hosts[i], { 0 } }, 1000 };
		options.port[i].chardev = &hosts[i].chardev;
		options.port[i].name = i ? "a port" : NULL;
		options.port[i].console = !i;
	}
	virtio_target_open(target, more);
	if (virtio_console_create(&target->env, &options, &virtio, NULL))
		abort();
	virtio_target_plug(target, virtio);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
