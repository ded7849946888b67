/* SPDX-License-Identifier: MIT */
/*
 * The vector state: both sides have the standard XSAVE image, with the same offsets, because both are
 * this processor's. The struct keeps two things apart that an image mixes in: PKRU, and the x87's
 * pointers with their selectors. Intel SDM vol. 1, chapter 13.
 */
#include "accel/kvm/kvm.h"

#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/error.h"

enum { FOP = 6, FIP = 8, FDP = 16, XSTATE_BV = 512, XCOMP_BV = 520, HEADER_END = 576 };
#define X87 1ull
#define PKRU_COMPONENT 9
#define PKRU (1ull << PKRU_COMPONENT)
#define FOP_BITS 0x7ffu

/* Where PKRU lies in an image; 0: nowhere. */
static uint32_t pkru_offset(uint32_t image_bytes)
{
	uint32_t size, offset, c, d;

	if (__get_cpuid_max(0, NULL) < 0xd)
		return 0;
	__cpuid_count(0xd, PKRU_COMPONENT, size, offset, c, d);
	return size && offset + size <= image_bytes ? offset : 0;
}

static uint32_t image_bytes(const struct kvm_vcpu *vcpu)
{
	uint32_t bytes = vcpu->machine->host.xsave_bytes;

	return bytes < X86_XSAVE_MAX ? bytes : X86_XSAVE_MAX;
}

int kvm_xsave_push(struct kvm_vcpu *vcpu, const struct x86_state *state, struct error *err)
{
	uint8_t *image = (uint8_t *)vcpu->xsave;
	uint32_t bytes = image_bytes(vcpu), pkru = pkru_offset(bytes);
	uint64_t present;

	memcpy(image, state->xsave, bytes);
	memset(image + XCOMP_BV, 0, HEADER_END - XCOMP_BV);
	memcpy(&present, image + XSTATE_BV, sizeof(present));
	if (present & X87) {
		memcpy(image + FOP, &state->fpu_opcode, sizeof(state->fpu_opcode));
		memcpy(image + FIP, &state->fpu_ip, sizeof(state->fpu_ip));
		memcpy(image + FDP, &state->fpu_dp, sizeof(state->fpu_dp));
	}
	present &= ~PKRU;
	if (pkru && state->pkru) {
		memcpy(image + pkru, &state->pkru, sizeof(state->pkru));
		present |= PKRU;
	}
	memcpy(image + XSTATE_BV, &present, sizeof(present));
	if (ioctl(vcpu->fd, KVM_SET_XSAVE, vcpu->xsave) < 0)
		return error_set_errno(err, errno, "KVM: CPU %u: it does not take the vector state",
				       vcpu->cpu->index);
	return 0;
}

int kvm_xsave_pull(struct kvm_vcpu *vcpu, struct x86_state *state, struct error *err)
{
	bool all = kvm_has(&vcpu->machine->host, KVM_HAS_XSAVE2);
	uint8_t *image = (uint8_t *)vcpu->xsave;
	uint32_t bytes = image_bytes(vcpu), pkru = pkru_offset(bytes);
	uint64_t present;

	if (ioctl(vcpu->fd, all ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, vcpu->xsave) < 0)
		return error_set_errno(err, errno, "KVM: CPU %u: no vector state", vcpu->cpu->index);
	memcpy(&present, image + XSTATE_BV, sizeof(present));
	state->pkru = 0;
	if (pkru && present & PKRU)
		memcpy(&state->pkru, image + pkru, sizeof(state->pkru));
	present &= ~PKRU;
	memcpy(state->xsave, image, bytes);
	memcpy(state->xsave + XSTATE_BV, &present, sizeof(present));
	state->fpu_ip = state->fpu_dp = 0;
	state->fpu_opcode = state->fpu_cs = state->fpu_ds = 0;
	if (present & X87) {
		memcpy(&state->fpu_opcode, image + FOP, sizeof(state->fpu_opcode));
		memcpy(&state->fpu_ip, image + FIP, sizeof(state->fpu_ip));
		memcpy(&state->fpu_dp, image + FDP, sizeof(state->fpu_dp));
		state->fpu_opcode &= FOP_BITS;
	}
	return 0;
}
