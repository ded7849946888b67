/* SPDX-License-Identifier: MIT */
/*
 * The loop around KVM_RUN. Others ask something of a CPU by setting a bit of its requests and kicking
 * it. No request is missed, because
 *
 *	who asks		sets the bit; sets immediate_exit; if in_guest, sends a signal
 *	the CPU's thread	sets in_guest; clears immediate_exit; looks at the requests; KVM_RUN
 *
 * KVM_RUN returns at once when immediate_exit is set. A kernel without it wants the signal blocked but
 * for KVM_RUN: one that came before ends the call as well.
 *
 * For exclusive sections (cpu/exclusive.h) a CPU in KVM_RUN is one that runs guest code.
 */
#include "accel/kvm/kvm.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "cpu/exclusive.h"
#include "cpu/isa.h"
#include "host/signals.h"

#define MSR_APIC_BASE 0x1bu
#define KERNEL_SIGSET_BYTES 8u

static bool immediate(const struct kvm_vcpu *vcpu)
{
	return kvm_has(&vcpu->machine->host, KVM_HAS_IMMEDIATE_EXIT);
}

void kvm_kick(struct cpu *cpu)
{
	struct kvm_vcpu *vcpu = cpu->engine;
	pid_t thread;

	__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
	if (!atomic_load(&vcpu->in_guest))
		return;
	thread = atomic_load(&vcpu->thread);
	if (thread)
		syscall(SYS_tgkill, getpid(), thread, SIGRTMIN);
}

/* ---- the signal of old kernels ---- */

static void set_mask(struct kvm_vcpu *vcpu, bool blocked)
{
	struct {
		struct kvm_signal_mask head;
		uint8_t set[KERNEL_SIGSET_BYTES];
	} __attribute__((packed)) mask = { .head.len = KERNEL_SIGSET_BYTES };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);
	if (!blocked)
		return;
	pthread_sigmask(SIG_BLOCK, NULL, &set);
	sigdelset(&set, SIGRTMIN);
	memcpy(mask.set, &set, sizeof(mask.set));
	ioctl(vcpu->fd, KVM_SET_SIGNAL_MASK, &mask);
}

static void drop_signal(void)
{
	struct timespec none = { 0 };
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN);
	while (sigtimedwait(&set, NULL, &none) >= 0)
		;
}

/* ---- into the guest and out ---- */

/* 0 or -errno; -EINTR: kicked. */
static int enter(struct kvm_vcpu *vcpu)
{
	int ret = ioctl(vcpu->fd, KVM_RUN, 0) < 0 ? -errno : 0;

	vcpu->io_pending = !ret && (vcpu->run->exit_reason == KVM_EXIT_IO ||
				    vcpu->run->exit_reason == KVM_EXIT_MMIO);
	if (ret == -EINTR && !immediate(vcpu))
		drop_signal();
	return ret;
}

/* An access may have several parts, each with an exit of its own. */
int kvm_settle(struct kvm_vcpu *vcpu, struct error *err)
{
	int ret = 0;

	while (vcpu->io_pending && !ret) {
		__atomic_store_n(&vcpu->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
		if (!immediate(vcpu))
			syscall(SYS_tgkill, getpid(), atomic_load(&vcpu->thread), SIGRTMIN);
		ret = enter(vcpu);
		if (ret && ret != -EINTR)
			return error_set_errno(err, -ret, "KVM: CPU %u cannot be stopped",
					       vcpu->cpu->index);
		ret = ret ? 0 : kvm_handle_exit(vcpu, err);
	}
	return ret;
}

/* ---- whole: the interrupt controller is here ---- */

/* What the guest changed of its local APIC without an exit of its own. */
static void notice_apic(struct kvm_vcpu *vcpu, uint64_t cr8, uint64_t base)
{
	const struct cpu_intc *intc = vcpu->cpu->env.intc;

	if (vcpu->run->cr8 != cr8)
		intc->cr8_write(intc->opaque, vcpu->run->cr8);
	if (vcpu->run->apic_base != base)
		intc->msr_write(intc->opaque, MSR_APIC_BASE, vcpu->run->apic_base);
}

static int enter_whole(struct kvm_vcpu *vcpu)
{
	const struct cpu_intc *intc = vcpu->cpu->env.intc;
	uint64_t cr8 = intc->cr8_read(intc->opaque), base = 0;
	int ret;

	intc->msr_read(intc->opaque, MSR_APIC_BASE, &base);
	vcpu->run->cr8 = cr8;
	vcpu->run->apic_base = base;
	ret = enter(vcpu);
	notice_apic(vcpu, cr8, base);
	return ret;
}

/* Split: the PIC's interrupts come this way, too. */
static void offer_interrupt(struct kvm_vcpu *vcpu)
{
	const struct cpu_intc *intc = vcpu->cpu->env.intc;
	struct kvm_interrupt interrupt;
	int vector;

	vcpu->run->request_interrupt_window = 0;
	if (!vcpu->interrupt_maybe)
		return;
	if (!intc->pending(intc->opaque)) {
		vcpu->interrupt_maybe = false;
		return;
	}
	if (vcpu->run->ready_for_interrupt_injection) {
		vector = intc->acknowledge(intc->opaque);
		if (vector >= 0) {
			interrupt.irq = (uint32_t)vector;
			ioctl(vcpu->fd, KVM_INTERRUPT, &interrupt);
			vcpu->run->ready_for_interrupt_injection = 0;
		}
		vcpu->interrupt_maybe = intc->pending(intc->opaque);
	}
	vcpu->run->request_interrupt_window = vcpu->interrupt_maybe;
}

/* ---- requests ---- */

/* INIT and start-up change the whole state: the ISA knows how. */
static int take_by_isa(struct kvm_vcpu *vcpu, struct error *err)
{
	struct cpu *cpu = vcpu->cpu;
	int ret = kvm_settle(vcpu, err);

	if (!ret)
		ret = kvm_state_pull(vcpu, err);
	if (ret)
		return ret;
	cpu->isa->take_requests(cpu);
	/* It may have taken the request that says so. */
	vcpu->interrupt_maybe = true;
	return kvm_state_push(vcpu, err);
}

/* Nothing but a start-up wakes a CPU that waits for it. */
static void take_nmi(struct kvm_vcpu *vcpu)
{
	const struct x86_state *state = vcpu->cpu->isa->state(vcpu->cpu);

	if (!vcpu->machine->split && vcpu->halted && state->wait_for_sipi)
		return;
	ioctl(vcpu->fd, KVM_NMI, 0);
	vcpu->halted = false;
}

static int take_requests(struct kvm_vcpu *vcpu, struct error *err)
{
	struct cpu *cpu = vcpu->cpu;
	uint32_t requests = atomic_load(&cpu->requests);

	if (requests & CPU_REQ_EXCLUSIVE)
		exclusive_yield(cpu);
	if (requests & CPU_REQ_NMI) {
		cpu_request_clear(cpu, CPU_REQ_NMI);
		take_nmi(vcpu);
	}
	if (requests & CPU_REQ_INTERRUPT) {
		cpu_request_clear(cpu, CPU_REQ_INTERRUPT);
		vcpu->interrupt_maybe = true;
	}
	/* An engine's, or nothing (SMI). */
	cpu_request_clear(cpu, requests & (CPU_REQ_SMI | CPU_REQ_FLUSH_TLB | CPU_REQ_CODE));
	if (requests & (CPU_REQ_INIT | CPU_REQ_SIPI))
		return take_by_isa(vcpu, err);
	return 0;
}

/* Whole: is a CPU in HLT, or one that waits for its start-up, to go on sleeping? */
static bool sleeps(struct kvm_vcpu *vcpu)
{
	const struct cpu_intc *intc = vcpu->cpu->env.intc;
	const struct x86_state *state = vcpu->cpu->isa->state(vcpu->cpu);

	if (vcpu->machine->split || !vcpu->halted)
		return false;
	if (!state->wait_for_sipi && vcpu->run->if_flag && intc->pending(intc->opaque)) {
		vcpu->halted = false;
		vcpu->interrupt_maybe = true;
		return false;
	}
	return true;
}

/* ---- the loop ---- */

static int turn(struct kvm_vcpu *vcpu, struct error *err)
{
	struct cpu *cpu = vcpu->cpu;
	int ret;

	atomic_store(&vcpu->in_guest, true);
	__atomic_store_n(&vcpu->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
	if (atomic_load(&cpu->requests)) {
		atomic_store(&vcpu->in_guest, !immediate(vcpu));
		return 0;
	}
	ret = vcpu->machine->split ? enter(vcpu) : enter_whole(vcpu);
	atomic_store(&vcpu->in_guest, !immediate(vcpu));
	if (ret == -EINTR || ret == -EAGAIN)
		return 0;
	if (ret)
		return error_set_errno(err, -ret, "KVM: CPU %u does not run", cpu->index);
	return kvm_handle_exit(vcpu, err);
}

static int run(struct kvm_vcpu *vcpu, struct error *err)
{
	struct cpu *cpu = vcpu->cpu;
	int ret = 0;

	while (!ret && !cpu_requested(cpu, CPU_REQ_STOP)) {
		bool held = cpu_requested(cpu, CPU_REQ_HOLD);

		ret = held ? 0 : take_requests(vcpu, err);
		if (ret)
			break;
		if (held || sleeps(vcpu)) {
			exclusive_leave(cpu);
			(held ? cpu_sleep_held : cpu_sleep)(cpu);
			exclusive_enter(cpu);
			continue;
		}
		offer_interrupt(vcpu);
		ret = turn(vcpu, err);
	}
	return ret ? ret : kvm_settle(vcpu, err);
}

void kvm_run_cpu(struct cpu *cpu)
{
	struct kvm_vcpu *vcpu = cpu->engine;
	struct error err;
	int ret;

	signals_wakeup();
	if (!immediate(vcpu))
		set_mask(vcpu, true);
	atomic_store(&vcpu->thread, (pid_t)syscall(SYS_gettid));
	atomic_store(&vcpu->in_guest, !immediate(vcpu));
	exclusive_enter(cpu);
	ret = run(vcpu, &err);
	exclusive_leave(cpu);
	atomic_store(&vcpu->in_guest, false);
	atomic_store(&vcpu->thread, 0);
	if (!immediate(vcpu))
		drop_signal();
	if (ret)
		cpu->env.failed(cpu->env.opaque, cpu, &err);
}
