/* SPDX-License-Identifier: MIT */
/*
 * Doorbells of devices: the kernel signals their file descriptor, and the CPU goes on at once. Linux,
 * api.rst 4.59. Writes of another size than a doorbell's come to the bus as all others do.
 */
#include "accel/kvm/kvm.h"

#include <sys/ioctl.h>

#include "dev/bus.h"

/* On the thread that moves a BAR. What the kernel refuses comes to the bus, which is slower only. */
static void doorbell(void *opaque, uint64_t address, const struct bus_doorbell *bell, bool there)
{
	const struct accel_machine *machine = opaque;
	struct kvm_ioeventfd event = {
		.addr = address, .len = bell->size_bytes, .fd = bell->fd,
		.flags = there ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN,
	};

	ioctl(machine->vm, KVM_IOEVENTFD, &event);
}

void kvm_doorbells_listen(struct accel_machine *machine, struct bus *mmio)
{
	const struct bus_listener listener = { machine, doorbell };

	if (machine->mmio || !machine->traits.doorbells)
		return;
	machine->mmio = mmio;
	bus_listen(mmio, &listener);
}

void kvm_doorbells_ignore(struct accel_machine *machine)
{
	if (machine->mmio)
		bus_listen(machine->mmio, NULL);
	machine->mmio = NULL;
}
