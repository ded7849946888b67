/* SPDX-License-Identifier: MIT */
/* The PC's devices, as a parts list. */
#include "base/error.h"
#include "board/x86_pc_parts.h"
#include "legacy/pci_host.h"
#include "legacy/piix.h"
#include "legacy/uart.h"

static int add_uarts(struct pc *pc, struct error *err)
{
	static const struct {
		uint16_t port;
		uint8_t irq;
	} coms[] = { { 0x3f8, 4 }, { 0x2f8, 3 }, { 0x3e8, 4 }, { 0x2e8, 3 } };
	int ret = 0;

	for (unsigned i = 0; i < sizeof(coms) / sizeof(coms[0]) && !ret; i++) {
		struct uart_config config = {
			.port = coms[i].port,
			.irq = irq_share_line(&pc->com_irq[i % 2], i),
			.chardev = i == 0 ? pc->vm->console : NULL,
		};
		struct device *dev;

		pc->com_irq[i % 2].out = pc->isa_irq[coms[i].irq];
		ret = uart_create(&pc->vm->env, &config, &dev, err);
		if (!ret)
			ret = vm_add_device(pc->vm, dev, err);
	}
	return ret;
}

int pc_add_devices(struct pc *pc, struct error *err)
{
	return add_uarts(pc, err);
}
