/* SPDX-License-Identifier: MIT */
/* Fuzz target: the 16550A UART, with a back end that is full now and then. */
#include "device_target.h"
#include "legacy/uart.h"
#include "ui/chardev.h"

static struct chardev chardev;
static size_t room;

static size_t take(void *opaque, const uint8_t *data, size_t len)
{
	size_t taken = len < room ? len : room;
	volatile uint8_t seen;

	(void)opaque;
	for (size_t i = 0; i < len; i++)
		seen = data[i];
	(void)seen;
	room -= taken;
	return taken;
}

static const struct chardev_ops ops = { .write = take };

static void event(struct device_target *target, struct fuzz_input *input)
{
	uint8_t what = fuzz_u8(input), data[64];
	size_t can = chardev_can_receive(&chardev), len = what >> 2;

	(void)target;
	if (can > sizeof(data))
		can = sizeof(data);
	if (what & 1) {
		room = len;
		chardev_writable(&chardev);
	} else if (what & 2) {
		chardev_receive_break(&chardev);
	} else {
		len = len < can ? len : can;
		fuzz_take(input, data, len);
		chardev_receive(&chardev, data, len);
	}
}

static void setup(struct device_target *target)
{
	struct uart_config config = { .port = 0x3f8, .irq = device_target_line(target, 4),
				      .chardev = &chardev };

	chardev = (struct chardev){ .ops = &ops };
	room = 1000;
	target->event = event;
	device_target_keep(target, uart_create(&target->env, &config, &target->device[0], NULL));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return device_target_fuzz(data, size, setup);
}
