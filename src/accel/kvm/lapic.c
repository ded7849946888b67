/* SPDX-License-Identifier: MIT */
/* Local APICs in the kernel: their registers, to it and back. Linux, api.rst 4.57, 4.58. */
#include "accel/kvm/kvm.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/error.h"
#include "cpu/isa.h"

#define REG_ID 2u
#define ID_SHIFT 24
#define REGISTER_BYTES 16u
#define MSR_APIC_BASE 0x1bu
#define MSR_TSC_DEADLINE 0x6e0u
#define BASE_X2APIC (1ull << 10)

_Static_assert(KVM_APIC_REG_SIZE == X86_LAPIC_REGS * REGISTER_BYTES, "a page of registers");

int kvm_lapic_push(struct kvm_vcpu *vcpu, struct error *err)
{
	const struct cpu_intc *intc = vcpu->cpu->env.intc;
	struct kvm_lapic_state page = { 0 };
	struct x86_lapic lapic;

	intc->save(intc->opaque, &lapic);
	/* IDs have eight bits in the kernel's format, whatever the mode. */
	if (lapic.base & BASE_X2APIC)
		lapic.reg[REG_ID] <<= ID_SHIFT;
	for (unsigned i = 0; i < X86_LAPIC_REGS; i++)
		memcpy(page.regs + i * REGISTER_BYTES, &lapic.reg[i], sizeof(lapic.reg[i]));
	if (ioctl(vcpu->fd, KVM_SET_LAPIC, &page) < 0)
		return error_set_errno(err, errno, "KVM: CPU %u: it does not take the local APIC",
				       vcpu->cpu->index);
	if (lapic.tsc_deadline && kvm_msr_set(vcpu, MSR_TSC_DEADLINE, lapic.tsc_deadline))
		return error_set(err, EIO, "KVM: CPU %u: it does not take the TSC deadline",
				 vcpu->cpu->index);
	return 0;
}

int kvm_lapic_pull(struct kvm_vcpu *vcpu, struct error *err)
{
	const struct cpu_intc *intc = vcpu->cpu->env.intc;
	struct kvm_lapic_state page;
	struct x86_lapic lapic = { 0 };

	if (ioctl(vcpu->fd, KVM_GET_LAPIC, &page) < 0 ||
	    kvm_msr_get(vcpu, MSR_APIC_BASE, &lapic.base))
		return error_set_errno(err, errno, "KVM: CPU %u: no local APIC", vcpu->cpu->index);
	kvm_msr_get(vcpu, MSR_TSC_DEADLINE, &lapic.tsc_deadline);
	for (unsigned i = 0; i < X86_LAPIC_REGS; i++)
		memcpy(&lapic.reg[i], page.regs + i * REGISTER_BYTES, sizeof(lapic.reg[i]));
	if (lapic.base & BASE_X2APIC)
		lapic.reg[REG_ID] >>= ID_SHIFT;
	intc->restore(intc->opaque, &lapic);
	return 0;
}

/* ---- for the interpreter ---- */

/* The kernel keeps what is pending until the CPU is its own again. */
static bool nothing_pending(void *opaque)
{
	(void)opaque;
	return false;
}

static int no_vector(void *opaque)
{
	(void)opaque;
	return -1;
}

static struct x86_state *state_of(void *opaque)
{
	struct kvm_vcpu *vcpu = opaque;

	return vcpu->cpu->isa->state(vcpu->cpu);
}

static uint64_t cr8_read(void *opaque)
{
	return state_of(opaque)->cr8;
}

static void cr8_write(void *opaque, uint64_t cr8)
{
	state_of(opaque)->cr8 = cr8 & 0xf;
}

static bool msr_read(void *opaque, uint32_t index, uint64_t *value)
{
	return !kvm_msr_get(opaque, index, value);
}

static bool msr_write(void *opaque, uint32_t index, uint64_t value)
{
	return !kvm_msr_set(opaque, index, value);
}

static void no_init(void *opaque)
{
	(void)opaque;
}

struct cpu_intc kvm_lapic_intc(struct kvm_vcpu *vcpu)
{
	return (struct cpu_intc){
		.opaque = vcpu,
		.pending = nothing_pending,
		.acknowledge = no_vector,
		.cr8_read = cr8_read,
		.cr8_write = cr8_write,
		.msr_read = msr_read,
		.msr_write = msr_write,
		.init = no_init,
	};
}
