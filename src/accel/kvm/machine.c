/* SPDX-License-Identifier: MIT */
/*
 * The machine in the kernel: its memory, its CPUs' file descriptors, its local APICs. A reset throws
 * it away and makes another: so nothing that the guest had the kernel keep (clocks in its memory,
 * registers of features that we do not know) outlives it.
 */
#include "accel/kvm/kvm.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"
#include "cpu/isa.h"
#include "mem/mem.h"

/* Intel's real mode without "unrestricted guest" wants four pages where nothing else is. */
#define IDENTITY_MAP 0xfeffc000ull
#define TSS_PAGES 0xfeffd000ul
#define MACHINE_CHECK_BANKS 4ull
#define TIMER_HZ 1000000000ull /* of local APICs in the kernel */

/* ---- interrupts ---- */

static void signal_msi(void *opaque, uint32_t address, uint32_t data)
{
	const struct accel_machine *machine = opaque;
	struct kvm_msi msi = { .address_lo = address, .data = data };

	/* Nobody there to take it is no error of ours. */
	ioctl(machine->vm, KVM_SIGNAL_MSI, &msi);
}

/* The kernel's list is what its local APICs report the end of interrupts by. */
static void set_routes(const struct accel_machine *machine)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry[KVM_PINS];
	} list = { 0 };

	for (unsigned pin = 0; pin < KVM_PINS; pin++) {
		if (!machine->route[pin].address)
			continue;
		list.entry[list.head.nr++] = (struct kvm_irq_routing_entry){
			.gsi = pin, .type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = machine->route[pin].address,
				   .data = machine->route[pin].data },
		};
	}
	ioctl(machine->vm, KVM_SET_GSI_ROUTING, &list);
}

static void route(void *opaque, unsigned pin, uint32_t address, uint32_t data)
{
	struct accel_machine *machine = opaque;

	if (pin >= KVM_PINS || (machine->route[pin].address == address &&
				machine->route[pin].data == data))
		return;
	machine->route[pin].address = address;
	machine->route[pin].data = data;
	if (machine->vm >= 0)
		set_routes(machine);
}

/* ---- making it ---- */

static int map_vcpu(struct kvm_vcpu *vcpu, struct error *err)
{
	const struct kvm_host *host = &vcpu->machine->host;
	uint64_t banks = MACHINE_CHECK_BANKS;
	int bytes = ioctl(host->fd, KVM_GET_VCPU_MMAP_SIZE, 0);

	if (bytes < 0)
		return error_set_errno(err, errno, "KVM does not say how large a CPU is");
	vcpu->run_bytes = (size_t)bytes;
	vcpu->run = mmap(NULL, vcpu->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED) {
		vcpu->run = NULL;
		return error_set_errno(err, errno, "KVM: cannot map a CPU");
	}
	vcpu->xsave = calloc(1, host->xsave_bytes);
	if (!vcpu->xsave)
		return error_set(err, ENOMEM, "KVM: no memory for a CPU");
	/* Where it cannot be set, the guest sees more banks that never report. */
	ioctl(vcpu->fd, KVM_X86_SETUP_MCE, &banks);
	return 0;
}

static int make_vcpus(struct accel_machine *machine, struct error *err)
{
	int ret = 0;

	machine->vcpu = calloc(machine->cpus, sizeof(*machine->vcpu));
	if (!machine->vcpu)
		return error_set(err, ENOMEM, "KVM: no memory for %u CPUs", machine->cpus);
	for (unsigned i = 0; i < machine->cpus && !ret; i++) {
		struct kvm_vcpu *vcpu = &machine->vcpu[i];

		vcpu->machine = machine;
		vcpu->fd = ioctl(machine->vm, KVM_CREATE_VCPU, (unsigned long)i);
		if (vcpu->fd < 0)
			return error_set_errno(err, errno, "KVM: cannot make CPU %u of %u", i,
					       machine->cpus);
		machine->vcpus++;
		ret = map_vcpu(vcpu, err);
	}
	return ret;
}

static int split_irqchip(struct accel_machine *machine, struct error *err)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args[0] = KVM_PINS };

	if (ioctl(machine->vm, KVM_ENABLE_CAP, &cap) < 0)
		return error_set_errno(err, errno, "KVM: cannot have the local APICs in the kernel");
	set_routes(machine);
	return 0;
}

static int make_vm(struct accel_machine *machine, struct error *err)
{
	uint64_t identity = IDENTITY_MAP;
	int ret;

	do
		machine->vm = ioctl(machine->host.fd, KVM_CREATE_VM, 0);
	while (machine->vm < 0 && errno == EINTR);
	if (machine->vm < 0)
		return error_set_errno(err, errno, "KVM: cannot make a machine");
	/* Only some processors want them; those that do say so when a CPU runs. */
	ioctl(machine->vm, KVM_SET_IDENTITY_MAP_ADDR, &identity);
	ioctl(machine->vm, KVM_SET_TSS_ADDR, TSS_PAGES);
	ret = machine->split ? split_irqchip(machine, err) : 0;
	return ret ? ret : make_vcpus(machine, err);
}

static void drop_vm(struct accel_machine *machine)
{
	kvm_doorbells_ignore(machine);
	for (unsigned i = 0; i < machine->vcpus; i++) {
		struct kvm_vcpu *vcpu = &machine->vcpu[i];

		if (vcpu->run)
			munmap(vcpu->run, vcpu->run_bytes);
		free(vcpu->xsave);
		close(vcpu->fd);
		if (vcpu->cpu)
			vcpu->cpu->engine = NULL;
	}
	free(machine->vcpu);
	machine->vcpu = NULL;
	machine->vcpus = machine->slots = 0;
	if (machine->vm >= 0)
		close(machine->vm);
	machine->vm = -1;
}

static void destroy(struct accel_machine *machine)
{
	drop_vm(machine);
	kvm_host_close(&machine->host);
	free(machine->supported);
	free(machine);
}

static uint64_t tsc_hz(const struct accel_machine *machine)
{
	int khz = kvm_has(&machine->host, KVM_HAS_TSC_KHZ) ?
		  ioctl(machine->vcpu[0].fd, KVM_GET_TSC_KHZ, 0) : 0;

	return khz > 0 ? (uint64_t)khz * 1000 : 0;
}

static int create(const struct accel_config *config, struct accel_machine **out, struct error *err)
{
	struct accel_machine *machine = calloc(1, sizeof(*machine));
	int ret;

	if (!machine)
		return error_set(err, ENOMEM, "KVM: no memory");
	machine->mem = config->mem;
	machine->cpus = config->cpus;
	machine->portable = config->portable;
	machine->vm = -1;
	ret = kvm_host_open(&machine->host, KVM_DEVICE, config->without, err);
	machine->split = !ret && kvm_has(&machine->host, KVM_HAS_SPLIT_IRQCHIP);
	machine->follows_writes = !ret && config->changes && kvm_has(&machine->host, KVM_HAS_DIRTY_LOG);
	if (!ret)
		ret = kvm_cpuid_ask(machine, err);
	if (!ret)
		ret = make_vm(machine, err);
	if (ret) {
		destroy(machine);
		return ret;
	}
	machine->backend = (struct irqchip_backend){ machine, signal_msi, route };
	machine->traits = (struct accel_traits){
		.limit = &machine->limit,
		.apic_timer_hz = TIMER_HZ,
		.tsc_hz = tsc_hz(machine),
		.doorbells = kvm_has(&machine->host, KVM_HAS_IOEVENTFD),
		.irqchip = machine->split ? &machine->backend : NULL,
	};
	*out = machine;
	return 0;
}

static const struct accel_traits *traits(struct accel_machine *machine)
{
	return &machine->traits;
}

/* ---- running it ---- */

static int give_memory(struct accel_machine *machine, struct error *err)
{
	bool readonly = kvm_has(&machine->host, KVM_HAS_READONLY_MEM);
	uint32_t log = machine->follows_writes ? KVM_MEM_LOG_DIRTY_PAGES : 0;

	while (machine->slots < mem_region_count(machine->mem)) {
		const struct mem_region *region = mem_region_added(machine->mem, machine->slots);
		struct kvm_userspace_memory_region slot = {
			.slot = machine->slots,
			.flags = region->readonly && readonly ? KVM_MEM_READONLY : log,
			.guest_phys_addr = region->gpa,
			.memory_size = region->size_bytes,
			.userspace_addr = (uintptr_t)region->host,
		};

		if (ioctl(machine->vm, KVM_SET_USER_MEMORY_REGION, &slot) < 0)
			return error_set_errno(err, errno, "KVM: cannot have %s at %#" PRIx64,
					       region->name, region->gpa);
		machine->slots++;
	}
	return 0;
}

static int adopt(struct kvm_vcpu *vcpu, struct cpu *cpu, struct error *err)
{
	if (vcpu->cpu)
		return 0;
	vcpu->cpu = cpu;
	return kvm_cpuid_give(vcpu, err);
}

/* The kernel's clock for guests with kvmclock stands while the CPUs do. */
static void start_clock(struct accel_machine *machine)
{
	struct kvm_clock_data clock = { .clock = machine->clock_ns };

	if (machine->clock_ns)
		ioctl(machine->vm, KVM_SET_CLOCK, &clock);
}

static void stop_clock(struct accel_machine *machine)
{
	struct kvm_clock_data clock = { 0 };

	machine->clock_ns = ioctl(machine->vm, KVM_GET_CLOCK, &clock) ? 0 : clock.clock;
}

static int resume(struct accel_machine *machine, struct cpu *const *cpus, unsigned count,
		  struct error *err)
{
	int ret = machine->vm < 0 ? make_vm(machine, err) : 0;

	if (!ret)
		ret = give_memory(machine, err);
	if (!ret)
		kvm_doorbells_listen(machine, cpus[0]->env.mmio);
	if (!ret)
		start_clock(machine);
	for (unsigned i = 0; i < count && !ret; i++) {
		struct kvm_vcpu *vcpu = &machine->vcpu[i];

		ret = adopt(vcpu, cpus[i], err);
		if (!ret)
			ret = kvm_state_push(vcpu, err);
		if (!ret && machine->split)
			ret = kvm_lapic_push(vcpu, err);
		vcpu->interrupt_maybe = true;
		cpus[i]->engine = vcpu;
		cpus[i]->kick = kvm_kick;
	}
	return ret;
}

static int pause_machine(struct accel_machine *machine, struct error *err)
{
	int ret = 0;

	stop_clock(machine);
	for (unsigned i = 0; i < machine->vcpus && !ret; i++) {
		struct kvm_vcpu *vcpu = &machine->vcpu[i];

		if (!vcpu->cpu)
			continue;
		vcpu->cpu->kick = NULL;
		ret = kvm_state_pull(vcpu, err);
		if (!ret && machine->split)
			ret = kvm_lapic_pull(vcpu, err);
		/* We took the request that said so; whoever goes on has to look again. */
		cpu_request(vcpu->cpu, CPU_REQ_INTERRUPT);
	}
	return ret;
}

static int reset(struct accel_machine *machine, struct error *err)
{
	(void)err;
	drop_vm(machine);
	machine->clock_ns = 0;
	for (unsigned pin = 0; pin < KVM_PINS; pin++)
		machine->route[pin].address = 0;
	return 0;
}

static int probe(struct error *err)
{
	struct kvm_host host;
	int ret = kvm_host_open(&host, KVM_DEVICE, NULL, err);

	if (!ret) {
		ret = kvm_host_try(&host, err);
		kvm_host_close(&host);
	}
	return ret;
}

static void describe_stats(struct cpu *cpu, char *text, size_t size)
{
	static const char *const names[KVM_EXIT_KINDS] = {
		[KVM_EXIT_IO] = "port", [KVM_EXIT_MMIO] = "memory", [KVM_EXIT_HLT] = "halt",
		[KVM_EXIT_IRQ_WINDOW_OPEN] = "interrupt window", [KVM_EXIT_INTR] = "request",
		[KVM_EXIT_INTERNAL_ERROR] = "instruction not emulated",
		[KVM_EXIT_IOAPIC_EOI] = "end of interrupt",
	};
	const struct kvm_vcpu *vcpu = cpu->engine;
	int used = snprintf(text, size, "KVM exits:");

	for (unsigned i = 0; vcpu && i < KVM_EXIT_KINDS; i++) {
		if (!vcpu->exits[i] || used < 0 || (size_t)used >= size)
			continue;
		if (names[i])
			used += snprintf(text + used, size - (size_t)used, " %s %" PRIu64, names[i],
					 vcpu->exits[i]);
		else
			used += snprintf(text + used, size - (size_t)used, " %u: %" PRIu64, i,
					 vcpu->exits[i]);
	}
	if (used >= 0 && (size_t)used < size)
		snprintf(text + used, size - (size_t)used, "\n");
}

const struct accel accel_kvm = {
	.name = "kvm",
	.probe = probe,
	.create = create,
	.destroy = destroy,
	.traits = traits,
	.resume = resume,
	.pause = pause_machine,
	.reset = reset,
	.report_writes = kvm_report_writes,
	.run = kvm_run_cpu,
	.describe_stats = describe_stats,
};
