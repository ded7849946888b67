/* SPDX-License-Identifier: MIT */
/*
 * Model-specific registers that struct x86_state has a place for, to the kernel and back. One that
 * this kernel does not know stays what it is: a guest could not have used it there.
 */
#include "accel/kvm/kvm.h"

#include <errno.h>
#include <sys/ioctl.h>

#include "base/error.h"

#define MSR_TSC 0x10u
#define MSR_TSC_ADJUST 0x3bu
/* Closer to the old offset than this, a clock read at two moments is the same clock. */
#define TSC_NOISE 1000000u

#define AT(member) offsetof(struct x86_state, member)

/* Each stride-th of count registers has the next field. */
static const struct {
	uint32_t index, stride, count, field;
} places[] = {
	{ 0xc0000081, 1, 1, AT(star) },
	{ 0xc0000082, 1, 1, AT(lstar) },
	{ 0xc0000083, 1, 1, AT(cstar) },
	{ 0xc0000084, 1, 1, AT(sfmask) },
	{ 0xc0000102, 1, 1, AT(kernel_gs_base) },
	{ 0xc0000103, 1, 1, AT(tsc_aux) },
	{ 0x174, 1, 1, AT(sysenter_cs) },
	{ 0x175, 1, 1, AT(sysenter_esp) },
	{ 0x176, 1, 1, AT(sysenter_eip) },
	{ 0x277, 1, 1, AT(pat) },
	{ 0x1a0, 1, 1, AT(misc_enable) },
	{ 0x48, 1, 1, AT(spec_ctrl) },
	{ 0xda0, 1, 1, AT(xss) },
	{ 0x1c4, 1, 1, AT(xfd) },
	{ 0x1c5, 1, 1, AT(xfd_err) },
	{ 0x200, 2, 8, AT(mtrr_phys_base) },
	{ 0x201, 2, 8, AT(mtrr_phys_mask) },
	{ 0x250, 1, 1, AT(mtrr_fixed[0]) },
	{ 0x258, 1, 2, AT(mtrr_fixed[1]) },
	{ 0x268, 1, 8, AT(mtrr_fixed[3]) },
	{ 0x2ff, 1, 1, AT(mtrr_def_type) },
	{ 0x17a, 1, 1, AT(mcg_status) },
	{ 0x400, 4, 4, AT(mc_ctl) },
};

#define PLACES_MAX 64u

struct batch {
	struct kvm_msrs head;
	struct kvm_msr_entry entry[PLACES_MAX];
	uint32_t field[PLACES_MAX];
};

int kvm_msr_get(const struct kvm_vcpu *vcpu, uint32_t index, uint64_t *value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} one = { .head.nmsrs = 1, .entry.index = index };

	if (ioctl(vcpu->fd, KVM_GET_MSRS, &one) != 1)
		return -EIO;
	*value = one.entry.data;
	return 0;
}

int kvm_msr_set(const struct kvm_vcpu *vcpu, uint32_t index, uint64_t value)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entry;
	} one = { .head.nmsrs = 1, .entry = { .index = index, .data = value } };

	return ioctl(vcpu->fd, KVM_SET_MSRS, &one) == 1 ? 0 : -EIO;
}

static uint64_t *field_of(const struct x86_state *state, uint32_t field)
{
	return (uint64_t *)((char *)state + field);
}

static void fill(struct batch *batch, const struct x86_state *state)
{
	*batch = (struct batch){ 0 };
	for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		for (uint32_t k = 0; k < places[i].count; k++) {
			unsigned at = batch->head.nmsrs++;

			batch->field[at] = places[i].field + k * (uint32_t)sizeof(uint64_t);
			batch->entry[at].index = places[i].index + k * places[i].stride;
			batch->entry[at].data = *field_of(state, batch->field[at]);
		}
	}
}

/* The kernel stops at the first that it does not know: one call for all that come after it. */
static void transfer(const struct kvm_vcpu *vcpu, struct batch *batch, unsigned long request,
		     bool *known)
{
	unsigned at = 0, total = batch->head.nmsrs;
	struct batch rest;

	while (at < total) {
		int done;

		rest.head.nmsrs = total - at;
		for (unsigned i = at; i < total; i++)
			rest.entry[i - at] = batch->entry[i];
		done = ioctl(vcpu->fd, request, &rest);
		for (int i = 0; i < done; i++) {
			batch->entry[at + (unsigned)i] = rest.entry[i];
			known[at + (unsigned)i] = true;
		}
		at += (done > 0 ? (unsigned)done : 0) + 1;
	}
}

/* ---- time ---- */

static bool tsc_attribute(const struct kvm_vcpu *vcpu, unsigned long request, uint64_t *offset)
{
	struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL, .attr = KVM_VCPU_TSC_OFFSET,
					.addr = (uintptr_t)offset };

	return kvm_has(&vcpu->machine->host, KVM_HAS_TSC_OFFSET) &&
	       !ioctl(vcpu->fd, request, &attr);
}

static int push_tsc(struct kvm_vcpu *vcpu, const struct x86_state *state, struct error *err)
{
	uint64_t offset = state->tsc_offset;

	if (vcpu->tsc_known && vcpu->tsc_offset == offset)
		return 0;
	if (!tsc_attribute(vcpu, KVM_SET_DEVICE_ATTR, &offset) &&
	    kvm_msr_set(vcpu, MSR_TSC, __builtin_ia32_rdtsc() + offset))
		return error_set(err, EIO, "KVM: CPU %u: it does not take the TSC",
				 vcpu->cpu->index);
	vcpu->tsc_offset = state->tsc_offset;
	vcpu->tsc_known = true;
	/* The kernel may count a host's write as the guest's. */
	kvm_msr_set(vcpu, MSR_TSC_ADJUST, state->tsc_adjust);
	return 0;
}

static int pull_tsc(struct kvm_vcpu *vcpu, struct x86_state *state, struct error *err)
{
	uint64_t offset, tsc;

	if (!tsc_attribute(vcpu, KVM_GET_DEVICE_ATTR, &offset)) {
		if (kvm_msr_get(vcpu, MSR_TSC, &tsc))
			return error_set(err, EIO, "KVM: CPU %u: no TSC", vcpu->cpu->index);
		offset = tsc - __builtin_ia32_rdtsc();
		if (vcpu->tsc_offset - offset < TSC_NOISE || offset - vcpu->tsc_offset < TSC_NOISE)
			offset = vcpu->tsc_offset;
	}
	state->tsc_offset = vcpu->tsc_offset = offset;
	kvm_msr_get(vcpu, MSR_TSC_ADJUST, &state->tsc_adjust);
	return 0;
}

/* ---- all ---- */

int kvm_msrs_push(struct kvm_vcpu *vcpu, const struct x86_state *state, struct error *err)
{
	bool known[PLACES_MAX] = { 0 };
	struct batch batch;

	fill(&batch, state);
	transfer(vcpu, &batch, KVM_SET_MSRS, known);
	return push_tsc(vcpu, state, err);
}

int kvm_msrs_pull(struct kvm_vcpu *vcpu, struct x86_state *state, struct error *err)
{
	bool known[PLACES_MAX] = { 0 };
	struct batch batch;

	fill(&batch, state);
	transfer(vcpu, &batch, KVM_GET_MSRS, known);
	for (unsigned i = 0; i < batch.head.nmsrs; i++)
		if (known[i])
			*field_of(state, batch.field[i]) = batch.entry[i].data;
	return pull_tsc(vcpu, state, err);
}
