/* SPDX-License-Identifier: MIT */
/*
 * The host's KVM: whether there is one that can run guests, and what it can do. Nothing here lasts
 * longer than its caller wants; any thread.
 */
#ifndef RINGLET_ACCEL_KVM_HOST_H
#define RINGLET_ACCEL_KVM_HOST_H

#include <stdbool.h>
#include <stdint.h>

struct error;

/*
 * X(name, word for people, KVM_CAP_…, what is lost without it). Each is asked for when the program
 * runs; none is needed.
 */
#define KVM_FEATURES(X)                                                                            \
	X(SPLIT_IRQCHIP, "split-irqchip", KVM_CAP_SPLIT_IRQCHIP,                                   \
	  "local APICs are emulated outside of the kernel: interrupts and timers cost exits, and "  \
	  "guests see no x2APIC and no TSC deadline")                                              \
	X(SIGNAL_MSI, "signal-msi", KVM_CAP_SIGNAL_MSI, "as without split-irqchip")                \
	X(IRQ_ROUTING, "irq-routing", KVM_CAP_IRQ_ROUTING, "as without split-irqchip")             \
	X(MP_STATE, "mp-state", KVM_CAP_MP_STATE, "as without split-irqchip")                      \
	X(IMMEDIATE_EXIT, "immediate-exit", KVM_CAP_IMMEDIATE_EXIT,                                \
	  "each request to a CPU costs a signal and two system calls more")                        \
	X(TSC_DEADLINE, "tsc-deadline", KVM_CAP_TSC_DEADLINE_TIMER,                                \
	  "guests take the slower one-shot APIC timer")                                            \
	X(READONLY_MEM, "readonly-mem", KVM_CAP_READONLY_MEM,                                      \
	  "a guest's writes to its firmware's ROM stay until a reset")                             \
	X(XSAVE2, "xsave2", KVM_CAP_XSAVE2, "no state beyond the first 4 KiB of XSAVE (AMX)")       \
	X(TSC_KHZ, "tsc-khz", KVM_CAP_GET_TSC_KHZ,                                                 \
	  "the clock's frequency is measured at each start: 10 ms")                                \
	X(TSC_OFFSET, "tsc-offset", KVM_CAP_VCPU_ATTRIBUTES,                                       \
	  "a pause may move the CPUs' clocks apart by some hundred nanoseconds")                   \
	X(IOEVENTFD, "ioeventfd", KVM_CAP_IOEVENTFD,                                               \
	  "a CPU that notifies a virtio device waits until it has heard")                          \
	X(DIRTY_LOG, "dirty-log", KVM_CAP_USER_MEMORY, /* as old, and without a number of its own */ \
	  "a change of the accelerator forgets all translated code")                               \
	X(KVMCLOCK, "kvmclock", KVM_CAP_ADJUST_CLOCK,                                              \
	  "guests calibrate their clock against emulated timers: a slower boot")

enum kvm_feature {
#define X(name, word, cap, lost) KVM_HAS_##name,
	KVM_FEATURES(X)
#undef X
	KVM_FEATURE_COUNT
};

struct kvm_feature_info {
	const char *word, *lost;
	unsigned cap;
};

extern const struct kvm_feature_info kvm_features[KVM_FEATURE_COUNT];

struct kvm_host {
	int fd; /* -1: none */
	uint32_t features; /* bits by enum kvm_feature */
	uint32_t xsave_bytes;
	uint32_t slots;
};

static inline bool kvm_has(const struct kvm_host *host, enum kvm_feature feature)
{
	return host->features >> feature & 1;
}

/* The host's processor has the extension, as far as we can see: 1 VT-x, 2 AMD-V, 0 neither. */
enum { KVM_CPU_NONE, KVM_CPU_VMX, KVM_CPU_SVM };
int kvm_host_cpu(void);

/*
 * Opens path and asks for everything; without: words of capabilities not to use, or NULL. 0; -EINVAL
 * for a word that is none, else -errno with why there is no KVM and what its user can do.
 */
int kvm_host_open(struct kvm_host *host, const char *path, const char *without,
		  struct error *err);
void kvm_host_close(struct kvm_host *host);

/* Forgets features that others' absence makes useless, and those that without names. */
int kvm_host_mask(uint32_t *features, const char *without, struct error *err);

/*
 * Runs some 64-bit code in a machine made for it: 0 if a processor ran it, in the time that this takes.
 * Some KVMs emulate such code instruction by instruction, and stop at the first that they do not know.
 */
int kvm_host_try(const struct kvm_host *host, struct error *err);

#define KVM_DEVICE "/dev/kvm"

#endif
