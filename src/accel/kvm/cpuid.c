/* SPDX-License-Identifier: MIT */
/*
 * What the CPUs are. A portable machine's are what the ISA's model says, which was made from what this
 * kernel supports (the limit). Another's have all that the kernel can give, processor's name and
 * paravirtual features included, with the model's topology. Linux, api.rst 4.46 and
 * Documentation/virt/kvm/x86/cpuid.rst; Intel SDM vol. 2A, CPUID.
 */
#include "accel/kvm/kvm.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "base/error.h"
#include "cpu/isa.h"

#define ENTRIES_MAX 256u

#define ECX1_VMX (1u << 5)
#define ECX1_X2APIC (1u << 21)
#define ECX1_TSC_DEADLINE (1u << 24)
#define ECX1_HYPERVISOR (1u << 31)
#define EDX1_HTT (1u << 28)
#define ECX81_SVM (1u << 2)
#define ECX81_TOPOLOGY (1u << 22)

#define PV_LEAVES 0x40000000u
#define PV_FEATURES 0x40000001u
#define PV_TIMING 0x40000010u
#define PV_CLOCK (1u << 0 | 1u << 3 | 1u << 24)
/* Those that need no local APIC in the kernel: clock, no I/O delays. */
#define PV_WITHOUT_APIC (PV_CLOCK | 1u << 1)

static struct kvm_cpuid_entry2 *find(struct kvm_cpuid2 *list, uint32_t leaf)
{
	for (unsigned i = 0; i < list->nent; i++)
		if (list->entries[i].function == leaf && !list->entries[i].index)
			return &list->entries[i];
	return NULL;
}

static bool has_subleaves(uint32_t leaf)
{
	switch (leaf) {
	case 4: case 7: case 0xb: case 0xd: case 0xf: case 0x10: case 0x12: case 0x14: case 0x17:
	case 0x18: case 0x1d: case 0x1f:
		return true;
	default:
		return false;
	}
}

static void add(struct kvm_cpuid2 *list, const struct x86_cpuid_leaf *leaf)
{
	if (list->nent < ENTRIES_MAX)
		list->entries[list->nent++] = (struct kvm_cpuid_entry2){
			.function = leaf->leaf, .index = leaf->subleaf,
			.flags = has_subleaves(leaf->leaf) ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = leaf->regs[X86_EAX], .ebx = leaf->regs[X86_EBX],
			.ecx = leaf->regs[X86_ECX], .edx = leaf->regs[X86_EDX],
		};
}

static struct kvm_cpuid2 *new_list(void)
{
	return calloc(1, sizeof(struct kvm_cpuid2) +
			 ENTRIES_MAX * sizeof(struct kvm_cpuid_entry2));
}

/* ---- what there is ---- */

/* What depends on where the local APIC is, and what we never give: virtualisation within. */
static void adjust(const struct accel_machine *machine, struct kvm_cpuid2 *list)
{
	struct kvm_cpuid_entry2 *one = find(list, 1), *extended = find(list, 0x80000001);

	if (one) {
		one->ecx &= ~(ECX1_VMX | ECX1_X2APIC | ECX1_TSC_DEADLINE);
		one->ecx |= ECX1_HYPERVISOR;
		one->edx |= EDX1_HTT;
		if (machine->split)
			one->ecx |= ECX1_X2APIC;
		if (machine->split && kvm_has(&machine->host, KVM_HAS_TSC_DEADLINE))
			one->ecx |= ECX1_TSC_DEADLINE;
	}
	if (extended)
		extended->ecx &= ~ECX81_SVM;
}

static void fill_limit(struct accel_machine *machine)
{
	struct x86_cpuid_leaves *limit = &machine->limit;

	limit->count = 0;
	for (unsigned i = 0; i < machine->supported->nent && limit->count < X86_CPUID_LEAVES; i++) {
		const struct kvm_cpuid_entry2 *entry = &machine->supported->entries[i];

		limit->leaf[limit->count++] = (struct x86_cpuid_leaf){
			entry->function, entry->index,
			{ entry->eax, entry->ebx, entry->ecx, entry->edx },
		};
	}
}

int kvm_cpuid_ask(struct accel_machine *machine, struct error *err)
{
	machine->supported = new_list();
	if (!machine->supported)
		return error_set(err, ENOMEM, "KVM: no memory for CPUID");
	machine->supported->nent = ENTRIES_MAX;
	if (ioctl(machine->host.fd, KVM_GET_SUPPORTED_CPUID, machine->supported) < 0)
		return error_set_errno(err, errno, "KVM does not say what CPUs it has");
	adjust(machine, machine->supported);
	fill_limit(machine);
	return 0;
}

/* ---- what a CPU gets ---- */

/* Leaves that say where a CPU is among others: the model's. AMD's own are not given at all. */
static bool is_ours(uint32_t leaf)
{
	switch (leaf) {
	case 4: case 0xb: case 0x1f:
	case 0x15: /* a clock that the local APIC's timer has not */
	case PV_TIMING:
	case 0x8000000a: case 0x8000001d: case 0x8000001e:
		return true;
	default:
		return false;
	}
}

static void place_cpu(struct kvm_cpuid2 *list, const struct x86_cpuid_leaves *model)
{
	struct kvm_cpuid_entry2 *entry = find(list, 1);
	unsigned cpus = 1, bits = 0;

	for (unsigned i = 0; i < model->count; i++) {
		const struct x86_cpuid_leaf *leaf = &model->leaf[i];

		if (leaf->leaf == 1 && entry) {
			cpus = leaf->regs[X86_EBX] >> 16 & 0xff;
			entry->ebx = leaf->regs[X86_EBX];
			entry->edx &= ~EDX1_HTT | (leaf->regs[X86_EDX] & EDX1_HTT);
		}
		if (is_ours(leaf->leaf))
			add(list, leaf);
	}
	while (1u << bits < cpus)
		bits++;
	entry = find(list, 0x80000001);
	if (entry)
		entry->ecx &= ~ECX81_TOPOLOGY;
	entry = find(list, 0x80000008);
	if (entry)
		entry->ecx = (entry->ecx & ~0xf0ffu) | bits << 12 | (cpus - 1);
}

static void choose_paravirtual(const struct accel_machine *machine, struct kvm_cpuid2 *list)
{
	struct kvm_cpuid_entry2 *entry = find(list, PV_LEAVES);

	if (entry)
		entry->eax = PV_TIMING;
	entry = find(list, PV_FEATURES);
	if (!entry)
		return;
	if (!kvm_has(&machine->host, KVM_HAS_KVMCLOCK))
		entry->eax &= ~PV_CLOCK;
	if (!machine->split)
		entry->eax &= PV_WITHOUT_APIC;
}

struct kvm_cpuid2 *kvm_cpuid_compose(const struct accel_machine *machine,
				     const struct x86_cpuid_leaves *model)
{
	struct kvm_cpuid2 *list = new_list();

	if (!list)
		return NULL;
	if (machine->portable) {
		for (unsigned i = 0; i < model->count; i++)
			add(list, &model->leaf[i]);
		return list;
	}
	for (unsigned i = 0; i < machine->supported->nent; i++)
		if (!is_ours(machine->supported->entries[i].function))
			list->entries[list->nent++] = machine->supported->entries[i];
	place_cpu(list, model);
	choose_paravirtual(machine, list);
	return list;
}

int kvm_cpuid_give(struct kvm_vcpu *vcpu, struct error *err)
{
	struct cpu *cpu = vcpu->cpu;
	struct kvm_cpuid2 *list = kvm_cpuid_compose(vcpu->machine, cpu->isa->cpuid(cpu));
	int ret = 0;

	if (!list)
		return error_set(err, ENOMEM, "KVM: no memory for CPUID");
	if (ioctl(vcpu->fd, KVM_SET_CPUID2, list) < 0)
		ret = error_set_errno(err, errno, "KVM: CPU %u: it does not take CPUID's answers",
				      cpu->index);
	free(list);
	return ret;
}
