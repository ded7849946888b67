/* SPDX-License-Identifier: MIT */
/*
 * The console device: see console.h. Queues: port 0's input and output, control to and from the
 * driver, then input and output of each further port. What the driver has still to be told is a set
 * of bits a port, so that a driver that gives no buffers costs nothing. Machine lock held.
 */
#include "virtio/console.h"

#include <errno.h>
#include <linux/virtio_console.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "virtio/console_port.h"

#define QUEUE_SIZE 64
#define QUEUE_CONTROL_IN 2
#define QUEUE_CONTROL_OUT 3
#define NAME_MAX_BYTES 64u

struct console {
	struct virtio_device virtio; /* must be first */
	struct virtio_console_config config;
	struct console_port port[VIRTIO_CONSOLE_PORTS_MAX];
	unsigned ports;
};

/* Messages to the driver, in the order in which they go out; bits of to_say. */
static const uint16_t messages[] = {
	VIRTIO_CONSOLE_PORT_ADD, VIRTIO_CONSOLE_CONSOLE_PORT,
	/* Before the name, by which a guest finds a port: it would find one that is closed. */
	VIRTIO_CONSOLE_PORT_OPEN, VIRTIO_CONSOLE_PORT_NAME,
	VIRTIO_CONSOLE_PORT_OPEN, /* with 0: closed */
};

#define MESSAGES (sizeof(messages) / sizeof(messages[0]))
enum { SAY_ADD = 1, SAY_CONSOLE = 2, SAY_OPEN = 4, SAY_NAME = 8, SAY_CLOSED = 16 };

/* ---- control ---- */

/* Says one thing; false: the driver has no buffer for it. */
static bool say(struct console *console, unsigned number, uint16_t event, uint16_t value)
{
	struct virtio_queue *queue = virtio_queue(&console->virtio, QUEUE_CONTROL_IN);
	struct virtio_chain *chain = virtio_queue_pop(queue);
	const char *name = console->port[number].setup.name;
	struct {
		struct virtio_console_control control;
		char name[NAME_MAX_BYTES];
	} message = { .control = { .id = number, .event = event, .value = value } };
	size_t len = sizeof(message.control);

	if (!chain)
		return false;
	if (event == VIRTIO_CONSOLE_PORT_NAME) {
		len += strnlen(name, NAME_MAX_BYTES);
		memcpy(message.name, name, len - sizeof(message.control));
	}
	virtio_queue_push(queue, chain, virtio_chain_write(chain, 0, &message, len));
	return true;
}

static void say_pending(struct console *console)
{
	for (unsigned number = 0; number < console->ports; number++) {
		struct console_port *port = &console->port[number];

		for (unsigned i = 0; i < MESSAGES; i++) {
			if (!(port->to_say >> i & 1))
				continue;
			if (!say(console, number, messages[i], 1u << i != SAY_CLOSED))
				goto out;
			port->to_say &= ~(1u << i);
		}
	}
out:
	virtio_queue_notify(virtio_queue(&console->virtio, QUEUE_CONTROL_IN));
}

static void port_ready(struct console_port *port)
{
	port->to_say |= SAY_OPEN | (port->setup.console ? SAY_CONSOLE : 0) |
			(port->setup.name ? SAY_NAME : 0) | (port->hung_up ? SAY_CLOSED : 0);
	port->ready = true;
}

static void hear(struct console *console, const struct virtio_console_control *control)
{
	if (control->event == VIRTIO_CONSOLE_DEVICE_READY) {
		for (unsigned i = 0; control->value && i < console->ports; i++)
			console->port[i].to_say |= SAY_ADD;
		return;
	}
	if (control->id >= console->ports)
		return;
	if (control->event == VIRTIO_CONSOLE_PORT_READY && control->value)
		port_ready(&console->port[control->id]);
	if (control->event == VIRTIO_CONSOLE_PORT_OPEN) {
		console->port[control->id].open = control->value;
		console_port_input_room(&console->port[control->id]);
	}
}

static void hear_all(struct console *console, struct virtio_queue *queue)
{
	struct virtio_console_control control;
	struct virtio_chain *chain;

	while ((chain = virtio_queue_pop(queue))) {
		if (virtio_chain_read(chain, 0, &control, sizeof(control)) == sizeof(control))
			hear(console, &control);
		virtio_queue_push(queue, chain, 0);
	}
	virtio_queue_notify(queue);
}

static void hung_up(void *opaque, struct console_port *port)
{
	if (!port->ready)
		return;
	port->to_say |= SAY_CLOSED;
	say_pending(opaque);
}

/* ---- the device ---- */

static void console_handle(struct virtio_device *dev, struct virtio_queue *queue)
{
	struct console *console = (struct console *)dev;
	unsigned index = virtio_queue_index(queue), number = index / 2;

	if (index == QUEUE_CONTROL_OUT)
		hear_all(console, queue);
	if (index == QUEUE_CONTROL_OUT || index == QUEUE_CONTROL_IN) {
		say_pending(console);
		return;
	}
	/* The control queues take the place of a port. */
	if (number)
		number--;
	if (index % 2)
		console_port_send(&console->port[number]);
	else
		console_port_input_room(&console->port[number]);
}

static void console_start(struct virtio_device *dev)
{
	struct console *console = (struct console *)dev;

	/* A driver that knows one port has nothing to open it with. */
	console->port[0].open = !virtio_has(dev, VIRTIO_CONSOLE_F_MULTIPORT);
}

static void console_stop(struct virtio_device *dev)
{
	struct console *console = (struct console *)dev;

	for (unsigned i = 0; i < console->ports; i++)
		console_port_stop(&console->port[i]);
}

/* A byte from a driver that has set up nothing yet. */
static void console_config_write(struct virtio_device *dev, unsigned offset, unsigned size,
				 uint32_t value)
{
	struct console *console = (struct console *)dev;
	const uint8_t byte = (uint8_t)value;

	(void)size;
	if (offset == offsetof(struct virtio_console_config, emerg_wr))
		chardev_write(console->port[0].setup.chardev, &byte, 1);
}

static void console_describe(const struct virtio_device *dev, struct json *json)
{
	json_uint(json, "ports", ((const struct console *)dev)->ports);
}

static void console_destroy(struct virtio_device *dev)
{
	struct console *console = (struct console *)dev;

	for (unsigned i = 0; i < console->ports; i++)
		console_port_detach(&console->port[i]);
	virtio_device_release(dev);
	free(console);
}

static const struct virtio_class console_class = {
	.name = "virtio-console",
	.id = VIRTIO_ID_CONSOLE,
	.pci_class = 0x078000,
	.handle = console_handle,
	.start = console_start,
	.stop = console_stop,
	.config_write = console_config_write,
	.describe = console_describe,
	.destroy = console_destroy,
};

static void add_ports(struct console *console, const struct virtio_console_options *options)
{
	console->ports = options->ports;
	for (unsigned i = 0; i < options->ports; i++) {
		unsigned queue = i ? 2 * i + 2 : 0;

		console->port[i] = (struct console_port){
			.setup = options->port[i], .rx = virtio_queue(&console->virtio, queue),
			.tx = virtio_queue(&console->virtio, queue + 1),
			.on_hangup = hung_up, .opaque = console,
		};
		console_port_attach(&console->port[i]);
	}
}

int virtio_console_create(const struct device_env *env,
			  const struct virtio_console_options *options,
			  struct virtio_device **dev, struct error *err)
{
	struct console *console = calloc(1, sizeof(*console));
	struct virtio_setup setup = {
		.class = &console_class, .env = env, .queue_count = 2 * options->ports + 2,
		.queue_size = QUEUE_SIZE, .config_bytes = sizeof(console->config),
		.features = 1ull << VIRTIO_CONSOLE_F_MULTIPORT |
			    1ull << VIRTIO_CONSOLE_F_EMERG_WRITE,
	};
	int ret;

	if (!console)
		return error_set(err, ENOMEM, "no memory for a virtio console");
	setup.config = &console->config;
	console->config.max_nr_ports = options->ports;
	ret = virtio_device_init(&console->virtio, &setup, err);
	if (ret) {
		free(console);
		return ret;
	}
	add_ports(console, options);
	*dev = &console->virtio;
	return 0;
}
