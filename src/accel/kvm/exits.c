/* SPDX-License-Identifier: MIT */
/* Why KVM_RUN returned, and what is to be done. Linux, api.rst 5, "The kvm_run structure". */
#include "accel/kvm/kvm.h"

#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "cpu/isa.h"
#include "dev/bus.h"

/* A device answers accesses of 1, 2, 4 or 8 bytes. */
static unsigned piece(unsigned length)
{
	return length == 1 || length == 2 || length == 4 || length == 8 ? length : 1;
}

static void access_bus(const struct kvm_vcpu *vcpu, struct bus *bus, uint64_t address, void *data,
		       unsigned length, bool is_write)
{
	unsigned size = piece(length);
	int cpu = (int)vcpu->cpu->index;

	for (unsigned at = 0; at + size <= length; at += size) {
		uint64_t value = 0;

		if (is_write) {
			memcpy(&value, (char *)data + at, size);
			bus_write(bus, address + at, size, value, cpu);
		} else {
			value = bus_read(bus, address + at, size, cpu);
			memcpy((char *)data + at, &value, size);
		}
	}
}

/* String forms are count elements, all at the same port. */
static void handle_io(const struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	char *data = (char *)run + run->io.data_offset;

	for (unsigned i = 0; i < run->io.count; i++)
		access_bus(vcpu, vcpu->cpu->env.pio, run->io.port, data + i * run->io.size,
			   run->io.size, run->io.direction == KVM_EXIT_IO_OUT);
}

static void handle_mmio(const struct kvm_vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	unsigned length = run->mmio.len <= sizeof(run->mmio.data) ? run->mmio.len :
			  (unsigned)sizeof(run->mmio.data);

	access_bus(vcpu, vcpu->cpu->env.mmio, run->mmio.phys_addr, run->mmio.data, length,
		   run->mmio.is_write);
}

/* ---- when it cannot go on ---- */

static void dump(struct kvm_vcpu *vcpu)
{
	char text[2048];
	struct error err;

	if (kvm_state_pull(vcpu, &err)) {
		log_error("%s", err.message);
		return;
	}
	vcpu->cpu->isa->describe(vcpu->cpu, text, sizeof(text));
	log_error("CPU %u:\n%s", vcpu->cpu->index, text);
}

static int give_up(struct kvm_vcpu *vcpu, struct error *err)
{
	const struct kvm_run *run = vcpu->run;
	unsigned cpu = vcpu->cpu->index;

	dump(vcpu);
	switch (run->exit_reason) {
	case KVM_EXIT_FAIL_ENTRY:
		return error_set(err, EIO, "KVM: CPU %u: the processor refuses its state (reason %#llx)",
				 cpu,
				 (unsigned long long)run->fail_entry.hardware_entry_failure_reason);
	case KVM_EXIT_INTERNAL_ERROR:
		return error_set(err, EIO, "KVM: CPU %u: internal error %u, data %#llx %#llx", cpu,
				 run->internal.suberror,
				 (unsigned long long)run->internal.data[0],
				 (unsigned long long)run->internal.data[1]);
	case KVM_EXIT_UNKNOWN:
		return error_set(err, EIO, "KVM: CPU %u: unknown exit, hardware reason %#llx", cpu,
				 (unsigned long long)run->hw.hardware_exit_reason);
	default:
		return error_set(err, EIO, "KVM: CPU %u: exit %u is none that was asked for", cpu,
				 run->exit_reason);
	}
}

/* ---- an instruction that the kernel does not know ---- */

static int finish_instruction(struct kvm_vcpu *vcpu, struct error *err)
{
	struct cpu *cpu = vcpu->cpu;
	const struct cpu_intc *intc = cpu->env.intc;
	struct cpu_intc in_kernel = kvm_lapic_intc(vcpu);
	int ret = kvm_state_pull(vcpu, err);

	if (ret)
		return ret;
	/* What was decoded here before may have been overwritten under the kernel's eyes alone. */
	kvm_report_writes(vcpu->machine, cpu->env.blocks);
	if (vcpu->machine->split)
		cpu->env.intc = &in_kernel;
	cpu->isa->run(cpu, 1);
	ret = kvm_state_push(vcpu, err);
	cpu->env.intc = intc;
	vcpu->finished++;
	vcpu->interrupt_maybe = true;
	return ret;
}

int kvm_handle_exit(struct kvm_vcpu *vcpu, struct error *err)
{
	const struct kvm_run *run = vcpu->run;
	const struct cpu_env *env = &vcpu->cpu->env;

	if (run->exit_reason < KVM_EXIT_KINDS)
		vcpu->exits[run->exit_reason]++;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		handle_io(vcpu);
		return 0;
	case KVM_EXIT_MMIO:
		handle_mmio(vcpu);
		return 0;
	case KVM_EXIT_HLT:
		vcpu->halted = true;
		return 0;
	case KVM_EXIT_IOAPIC_EOI:
		env->intc->eoi(env->intc->opaque, run->eoi.vector);
		return 0;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_INTR:
	case KVM_EXIT_NMI:
		return 0;
	case KVM_EXIT_SHUTDOWN:
	case KVM_EXIT_SYSTEM_EVENT:
		env->shutdown(env->opaque, vcpu->cpu);
		return 0;
	case KVM_EXIT_INTERNAL_ERROR:
		if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION)
			return finish_instruction(vcpu, err);
		return give_up(vcpu, err);
	default:
		return give_up(vcpu, err);
	}
}
