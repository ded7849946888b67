/* SPDX-License-Identifier: MIT */
/*
 * The kernel's KVM interface, from whichever headers there are: constants and structs that came after
 * Linux 5.10 (the headers of the oldest distribution that this builds on) are completed here. Linux,
 * Documentation/virt/kvm/api.rst.
 */
#ifndef RINGLET_ACCEL_KVM_ABI_H
#define RINGLET_ACCEL_KVM_ABI_H

#include <asm/prctl.h>
#include <linux/kvm.h>

/* Its lists end in arrays without a length; here, the elements stand behind them in one struct. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Wgnu-variable-sized-type-not-at-end"
#endif

#ifndef KVM_CAP_XSAVE2 /* Linux 5.17 */
#define KVM_CAP_XSAVE2 208
#define KVM_GET_XSAVE2 _IOR(KVMIO, 0xcf, struct kvm_xsave)
#endif

#ifndef ARCH_REQ_XCOMP_GUEST_PERM /* Linux 5.17 */
#define ARCH_REQ_XCOMP_GUEST_PERM 0x1025
#endif

#ifndef KVM_VCPU_TSC_CTRL /* Linux 5.16 */
#define KVM_VCPU_TSC_CTRL 0
#define KVM_VCPU_TSC_OFFSET 0
#endif

#endif
