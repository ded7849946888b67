/* SPDX-License-Identifier: MIT */
/*
 * Private to the KVM accelerator: a machine and its CPUs in the kernel, and what the files offer each
 * other. x86 alone, so far.
 *
 *	host.c      is there a KVM, and what can it do;   try.c  does it run what we need
 *	machine.c   the VM: memory, interrupt controllers, life;   writes.c  what its guest wrote;
 *	doorbells.c its devices' doorbells as events
 *	cpuid.c     what its CPUs are
 *	vcpu.c      the loop around KVM_RUN, requests, interrupts;   exits.c  why it returned
 *	state.c     struct x86_state to the kernel and back;   msrs.c, xsave.c, lapic.c  parts of it
 *
 * Two ways to deliver interrupts. Split: local APICs in the kernel, PICs and I/O APIC here; the kernel
 * does HLT, INIT and start-up by itself. Whole: all of them here; we inject vectors, and carry out INIT
 * and start-up by the ISA's own code on the state struct.
 */
#ifndef RINGLET_ACCEL_KVM_KVM_H
#define RINGLET_ACCEL_KVM_KVM_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "accel/accel.h"
#include "accel/kvm/abi.h"
#include "accel/kvm/host.h"
#include "cpu/cpu.h"
#include "cpu/irqchip.h"
#include "cpu/x86_cpuid.h"
#include "cpu/x86_state.h"

#define KVM_PINS 24u
#define KVM_EXIT_KINDS 48u /* counted; there are some forty */

struct accel_machine;

struct kvm_vcpu {
	struct accel_machine *machine;
	struct cpu *cpu;
	int fd;
	struct kvm_run *run;
	size_t run_bytes;
	struct kvm_xsave *xsave;  /* host.xsave_bytes: the kernel's image on its way */
	_Atomic pid_t thread;
	_Atomic bool in_guest;    /* a kick must send a signal */
	bool halted;              /* whole: we sleep for it */
	bool interrupt_maybe;     /* the controller had a vector when last heard of */
	bool io_pending;          /* KVM_RUN must be entered once more to finish an access */
	uint64_t tsc_offset;      /* as the kernel has it … */
	bool tsc_known;           /* … if so */
	uint64_t exits[KVM_EXIT_KINDS], finished; /* --stats */
};

struct accel_machine {
	struct kvm_host host;
	struct mem *mem;
	unsigned cpus;
	bool portable, split, follows_writes;
	int vm;                   /* -1: not made yet, or forgotten */
	unsigned slots;           /* memory regions that the kernel knows */
	struct bus *mmio;         /* listened to; NULL: not yet, or no more */
	struct kvm_cpuid2 *supported;
	struct x86_cpuid_leaves limit;
	struct accel_traits traits;
	struct irqchip_backend backend;
	struct {
		uint32_t address, data;
	} route[KVM_PINS];        /* level-triggered pins of the I/O APIC */
	struct kvm_vcpu *vcpu;    /* one a CPU, while vm is there */
	unsigned vcpus;
	uint64_t clock_ns;        /* of guests with kvmclock, when the CPUs stood last; 0: not known */
};

/* ---- doorbells.c ---- */

/* Has the kernel signal the doorbells on the bus, while vm is there. */
void kvm_doorbells_listen(struct accel_machine *machine, struct bus *mmio);
void kvm_doorbells_ignore(struct accel_machine *machine);

/* ---- writes.c ---- */

/* For struct accel; also while CPUs run, about what they wrote before. */
void kvm_report_writes(struct accel_machine *machine, struct blocks *blocks);

/* ---- cpuid.c ---- */

/* Fills supported and limit. */
int kvm_cpuid_ask(struct accel_machine *machine, struct error *err);
int kvm_cpuid_give(struct kvm_vcpu *vcpu, struct error *err);
/* The list that a CPU gets: model is what the ISA answers. To be freed; NULL: no memory. */
struct kvm_cpuid2 *kvm_cpuid_compose(const struct accel_machine *machine,
				     const struct x86_cpuid_leaves *model);

/* ---- vcpu.c ---- */

void kvm_kick(struct cpu *cpu);
void kvm_run_cpu(struct cpu *cpu);
/* Finishes what the last exit left open, so that the state is at an instruction's boundary. */
int kvm_settle(struct kvm_vcpu *vcpu, struct error *err);

/* ---- exits.c ---- */

/* Handles what KVM_RUN returned with. 0, or -errno and err: the CPU cannot go on. */
int kvm_handle_exit(struct kvm_vcpu *vcpu, struct error *err);

/* ---- state.c: on the CPU's thread, or while it has none ---- */

int kvm_state_push(struct kvm_vcpu *vcpu, struct error *err);
int kvm_state_pull(struct kvm_vcpu *vcpu, struct error *err);

void kvm_segment_from(struct kvm_segment *to, const struct x86_seg *from);
void kvm_segment_to(struct x86_seg *to, const struct kvm_segment *from);
void kvm_events_from(struct kvm_vcpu_events *to, const struct x86_state *from);
void kvm_events_to(struct x86_state *to, const struct kvm_vcpu_events *from);

/* ---- msrs.c ---- */

int kvm_msrs_push(struct kvm_vcpu *vcpu, const struct x86_state *state, struct error *err);
int kvm_msrs_pull(struct kvm_vcpu *vcpu, struct x86_state *state, struct error *err);
/* One register; -EIO: there is none, or it does not take the value. */
int kvm_msr_get(const struct kvm_vcpu *vcpu, uint32_t index, uint64_t *value);
int kvm_msr_set(const struct kvm_vcpu *vcpu, uint32_t index, uint64_t value);

/* ---- xsave.c ---- */

int kvm_xsave_push(struct kvm_vcpu *vcpu, const struct x86_state *state, struct error *err);
int kvm_xsave_pull(struct kvm_vcpu *vcpu, struct x86_state *state, struct error *err);

/* ---- lapic.c: split ---- */

int kvm_lapic_push(struct kvm_vcpu *vcpu, struct error *err);
int kvm_lapic_pull(struct kvm_vcpu *vcpu, struct error *err);
/* While the interpreter carries out an instruction: what it may ask of a local APIC in the kernel. */
struct cpu_intc kvm_lapic_intc(struct kvm_vcpu *vcpu);

#endif
