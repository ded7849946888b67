/* SPDX-License-Identifier: MIT */
/*
 * A machine that lives for a millisecond: 64-bit code with paging, vector and floating-point instructions.
 * A KVM that stands on a processor's virtualisation runs it in microseconds. One that makes do with
 * less (page-table virtualisation for kernels that know of it) interprets guests that do not: it refuses
 * these instructions, and would take a kernel's millions of others for ever.
 *
 * A timer ends what hangs. It counts processor time, so that a busy host makes no difference.
 */
#include "accel/kvm/host.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "accel/kvm/abi.h"
#include "base/error.h"
#include "cpu/x86_state.h"
#include "host/signals.h"

#define PAGE 0x1000u
#define MEMORY_BYTES (8 * PAGE)
#define LIMIT_NS 200000000l
#define PORT 0xf4
#define ANSWER 0x52

/* Where things are in the machine's memory. */
enum { PML4 = PAGE, PDPT = 2 * PAGE, PD = 3 * PAGE, CODE = 4 * PAGE };

static const uint8_t code[] = {
	0x0f, 0x57, 0xc0,       /* xorps xmm0, xmm0 */
	0x66, 0x0f, 0xfe, 0xc0, /* paddd xmm0, xmm0 */
	0xd9, 0xe8,             /* fld1             */
	0xdd, 0xd8,             /* fstp st0         */
	0x0f, 0x20, 0xd8,       /* mov rax, cr3     */
	0x0f, 0x22, 0xd8,       /* mov cr3, rax     */
	0xb0, ANSWER,           /* mov al, ANSWER   */
	0xe6, PORT,             /* out PORT, al     */
	0xf4,                   /* hlt              */
};

struct trial {
	int vm, vcpu;
	uint8_t *memory;
	struct kvm_run *run;
	size_t run_bytes;
};

static void put64(struct trial *trial, unsigned at, uint64_t value)
{
	memcpy(trial->memory + at, &value, sizeof(value));
}

static int enter_long_mode(struct trial *trial)
{
	struct kvm_segment data = { .limit = ~0u, .selector = 0x10, .type = 3, .present = 1, .db = 1,
				    .s = 1, .g = 1 };
	struct kvm_segment cs = { .limit = ~0u, .selector = 8, .type = 0xb, .present = 1, .s = 1,
				  .l = 1, .g = 1 };
	struct kvm_regs regs = { .rip = CODE, .rflags = X86_F1 };
	struct kvm_sregs sregs;

	put64(trial, PML4, PDPT | 3);
	put64(trial, PDPT, PD | 3);
	put64(trial, PD, 0x83);
	memcpy(trial->memory + CODE, code, sizeof(code));
	if (ioctl(trial->vcpu, KVM_GET_SREGS, &sregs) < 0)
		return -errno;
	sregs.cs = cs;
	sregs.ds = sregs.es = sregs.ss = sregs.fs = sregs.gs = data;
	sregs.cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_MP | X86_CR0_ET | X86_CR0_NE;
	sregs.cr3 = PML4;
	sregs.cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
	sregs.efer = X86_EFER_LME | X86_EFER_LMA;
	if (ioctl(trial->vcpu, KVM_SET_SREGS, &sregs) < 0 ||
	    ioctl(trial->vcpu, KVM_SET_REGS, &regs) < 0)
		return -errno;
	return 0;
}

static int give_cpuid(const struct kvm_host *host, struct trial *trial)
{
	struct {
		struct kvm_cpuid2 list;
		struct kvm_cpuid_entry2 entries[256];
	} cpuid = { .list.nent = 256 };

	if (ioctl(host->fd, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0 ||
	    ioctl(trial->vcpu, KVM_SET_CPUID2, &cpuid) < 0)
		return -errno;
	return 0;
}

static int build(const struct kvm_host *host, struct trial *trial)
{
	struct kvm_userspace_memory_region region = { .memory_size = MEMORY_BYTES };
	int bytes = ioctl(host->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	int ret;

	trial->vm = ioctl(host->fd, KVM_CREATE_VM, 0);
	if (trial->vm < 0 || bytes < 0)
		return -errno;
	trial->memory = mmap(NULL, MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			     -1, 0);
	if (trial->memory == MAP_FAILED)
		return -errno;
	region.userspace_addr = (uintptr_t)trial->memory;
	if (ioctl(trial->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return -errno;
	trial->vcpu = ioctl(trial->vm, KVM_CREATE_VCPU, 0);
	if (trial->vcpu < 0)
		return -errno;
	trial->run_bytes = (size_t)bytes;
	trial->run = mmap(NULL, trial->run_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, trial->vcpu, 0);
	if (trial->run == MAP_FAILED)
		return -errno;
	ret = give_cpuid(host, trial);
	return ret ? ret : enter_long_mode(trial);
}

static void take_apart(struct trial *trial)
{
	if (trial->run != MAP_FAILED)
		munmap(trial->run, trial->run_bytes);
	if (trial->vcpu >= 0)
		close(trial->vcpu);
	if (trial->vm >= 0)
		close(trial->vm);
	if (trial->memory != MAP_FAILED)
		munmap(trial->memory, MEMORY_BYTES);
}

/* A timer that interrupts this thread when it has used its time. */
static int set_limit(timer_t *timer)
{
	struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = signals_wakeup() };
	/* Again and again: the first may come before the system call that it is to end. */
	struct itimerspec limit = { .it_value.tv_nsec = LIMIT_NS, .it_interval.tv_nsec = LIMIT_NS };

	event._sigev_un._tid = (pid_t)syscall(SYS_gettid);
	if (timer_create(CLOCK_THREAD_CPUTIME_ID, &event, timer))
		return -errno;
	timer_settime(*timer, 0, &limit, NULL);
	return 0;
}

static int judge(const struct trial *trial, int ret, struct error *err)
{
	const struct kvm_run *run = trial->run;

	if (ret == -EINTR)
		return error_set(err, ENOTSUP, "this host's KVM does not come to the end of a few instructions");
	if (ret)
		return error_set_errno(err, -ret, "KVM cannot run a CPU");
	if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		return error_set(err, ENOTSUP, "this host's KVM is software: it interprets guests "
				 "instead of running them on the processor");
	if (run->exit_reason != KVM_EXIT_IO || run->io.port != PORT ||
	    *((const uint8_t *)run + run->io.data_offset) != ANSWER)
		return error_set(err, ENOTSUP, "this host's KVM cannot run 64-bit code (exit %u)",
				 run->exit_reason);
	return 0;
}

int kvm_host_try(const struct kvm_host *host, struct error *err)
{
	struct trial trial = { .vm = -1, .vcpu = -1, .memory = MAP_FAILED, .run = MAP_FAILED };
	timer_t timer;
	int ret = build(host, &trial);

	if (ret) {
		ret = error_set_errno(err, -ret, "KVM refuses to make a machine");
		goto out;
	}
	ret = set_limit(&timer);
	if (ret) {
		ret = error_set_errno(err, -ret, "no timer to try KVM with");
		goto out;
	}
	ret = ioctl(trial.vcpu, KVM_RUN, 0) < 0 ? -errno : 0;
	timer_delete(timer);
	ret = judge(&trial, ret, err);
out:
	take_apart(&trial);
	return ret;
}
