/* SPDX-License-Identifier: MIT */
/*
 * The KVM accelerator's parts that need no KVM (what is there and why not, conversions, CPUID), and where
 * there is one, of whatever kind, the state's way into it and back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "accel/kvm/kvm.h"
#include "base/error.h"
#include "cpu/blocks.h"
#include "cpu/exclusive.h"
#include "cpu/isa.h"
#include "host/loop.h"
#include "mem/mem.h"

#define ALL ((1u << KVM_FEATURE_COUNT) - 1)
#define BIT(name) (1u << KVM_HAS_##name)

/* ---- what there is ---- */

static void test_masks(void **state)
{
	uint32_t features = ALL;
	struct error err;

	(void)state;
	assert_int_equal(kvm_host_mask(&features, NULL, &err), 0);
	assert_int_equal(features, ALL);
	assert_int_equal(kvm_host_mask(&features, "xsave2,immediate-exit", &err), 0);
	assert_int_equal(features, ALL & ~BIT(XSAVE2) & ~BIT(IMMEDIATE_EXIT));
	assert_int_equal(kvm_host_mask(&features, "all", &err), 0);
	assert_int_equal(features, 0);
	assert_int_equal(kvm_host_mask(&features, "xsave", &err), -EINVAL);
	assert_non_null(strstr(err.message, "'xsave'"));
}

/* Local APICs in the kernel are given up when a way to reach them is missing. */
static void test_masks_that_go_together(void **state)
{
	static const char *const needed[] = { "signal-msi", "irq-routing", "mp-state",
					      "split-irqchip" };

	(void)state;
	for (unsigned i = 0; i < sizeof(needed) / sizeof(needed[0]); i++) {
		uint32_t features = ALL;

		assert_int_equal(kvm_host_mask(&features, needed[i], NULL), 0);
		assert_false(features & (BIT(SPLIT_IRQCHIP) | BIT(TSC_DEADLINE)));
		assert_true(features & BIT(XSAVE2));
	}
}

static void test_no_device(void **state)
{
	struct kvm_host host;
	struct error err;

	(void)state;
	assert_int_equal(kvm_host_open(&host, "/nowhere/kvm", NULL, &err), -ENOENT);
	assert_non_null(strstr(err.message, "there is no /nowhere/kvm"));
	assert_int_equal(host.fd, -1);
}

static void test_another_device(void **state)
{
	struct kvm_host host;
	struct error err;

	(void)state;
	assert_int_equal(kvm_host_open(&host, "/dev/null", NULL, &err), -ENOTSUP);
	assert_non_null(strstr(err.message, "/dev/null is not what it should be"));
	assert_int_equal(host.fd, -1);
}

/* In a child that is nobody: may it open a device of this mode, and what is it told? */
static void check_refusal(mode_t mode, const char *said)
{
	char path[] = "/tmp/ringlet-test-kvm-XXXXXX";
	int fd = mkstemp(path), status;
	pid_t child;

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(chmod(path, mode), 0);
	child = fork();
	if (!child) {
		struct kvm_host host;
		struct error err;
		bool ok = !setgroups(0, NULL) && !setgid(65534) && !setuid(65534) &&
			  kvm_host_open(&host, path, NULL, &err) == -EACCES &&
			  strstr(err.message, said);

		_exit(ok ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	unlink(path);
	assert_int_equal(status, 0);
}

static void test_no_permission(void **state)
{
	char said[128];

	(void)state;
	if (geteuid()) {
		print_message("only root can become somebody without permission\n");
		skip();
	}
	snprintf(said, sizeof(said), "join the group '%s'", getgrgid(getegid())->gr_name);
	check_refusal(0660, said);
	check_refusal(0600, "only its owner may");
}

/* ---- conversions ---- */

static void test_segments(void **state)
{
	(void)state;
	for (uint32_t bits = 0; bits < 1 << 13; bits++) {
		/* 7:0 as they are, 12 … 16 above them. A segment that is not present is unusable. */
		uint32_t attr = (bits & 0xff) | (bits >> 8) << 12;
		struct x86_seg from = { .base = 0x123456789abcull, .limit = 0xfffff, .selector = 0x2b,
					.attr = attr & X86_SEG_P ? attr : attr | X86_SEG_UNUSABLE };
		struct kvm_segment segment;
		struct x86_seg to;

		kvm_segment_from(&segment, &from);
		kvm_segment_to(&to, &segment);
		assert_int_equal(to.attr, from.attr);
		assert_int_equal(to.base, from.base);
		assert_int_equal(to.limit, from.limit);
		assert_int_equal(to.selector, from.selector);
	}
}

static struct x86_state events_there_and_back(const struct x86_state *from)
{
	struct x86_state to = { .event.kind = X86_PENDING_EXTERNAL, .event.vector = 0xff };
	struct kvm_vcpu_events events;

	kvm_events_from(&events, from);
	kvm_events_to(&to, &events);
	return to;
}

static void test_events(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 16; bits++) {
		struct x86_state from = { .nmi_pending = bits & 1, .nmi_blocked = bits & 2,
					  .shadow_sti = bits & 4, .shadow_mov_ss = bits & 8 };
		struct x86_state to = events_there_and_back(&from);

		assert_int_equal(to.nmi_pending, from.nmi_pending);
		assert_int_equal(to.nmi_blocked, from.nmi_blocked);
		assert_int_equal(to.shadow_sti, from.shadow_sti);
		assert_int_equal(to.shadow_mov_ss, from.shadow_mov_ss);
		assert_int_equal(to.event.kind, X86_PENDING_NONE);
	}
}

static void test_events_under_way(void **state)
{
	struct x86_state from = { .event = { .kind = X86_PENDING_EXTERNAL, .vector = 0x41 } };
	struct x86_state to = events_there_and_back(&from);
	struct kvm_vcpu_events events = { .interrupt = { .injected = 1, .soft = 1, .nr = 0x80 } };

	(void)state;
	assert_int_equal(to.event.kind, X86_PENDING_EXTERNAL);
	assert_int_equal(to.event.vector, 0x41);
	from.event = (struct x86_pending){ X86_PENDING_EXCEPTION, X86_PF_FAULT, true, 6 };
	to = events_there_and_back(&from);
	assert_memory_equal(&to.event, &from.event, sizeof(to.event));
	/* INT 80H is executed again. */
	kvm_events_to(&to, &events);
	assert_int_equal(to.event.kind, X86_PENDING_NONE);
	events = (struct kvm_vcpu_events){ .nmi = { .injected = 1, .masked = 1 } };
	kvm_events_to(&to, &events);
	assert_true(to.nmi_pending);
	assert_false(to.nmi_blocked);
}

/* ---- CPUID ---- */

static const struct x86_cpuid_leaves model = { 4, {
	{ 1, 0, { 0x111, 2 << 24 | 4 << 16, 0x222, 1 << 28 } },
	{ 0xb, 0, { 0, 1, 0x100, 2 } },
	{ 0xb, 1, { 2, 4, 0x201, 2 } },
	{ 0x40000010, 0, { 2000000, 1000000, 0, 0 } },
} };

static struct kvm_cpuid2 *kernel_list(void)
{
	static const struct kvm_cpuid_entry2 entries[] = {
		{ .function = 1, .eax = 0x777, .ecx = 0x888, .edx = 1u << 28 | 1 },
		{ .function = 7, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX, .ebx = 0x999 },
		{ .function = 0x40000000, .eax = 0x40000001 },
		{ .function = 0x40000001, .eax = ~0u },
		{ .function = 0x80000001, .ecx = ~0u },
		{ .function = 0x80000008, .eax = 0x3030, .ecx = 0 },
		{ .function = 0x8000001e, .eax = 7 },
	};
	struct kvm_cpuid2 *list = calloc(1, sizeof(*list) + sizeof(entries));

	assert_non_null(list);
	list->nent = sizeof(entries) / sizeof(entries[0]);
	memcpy(list->entries, entries, sizeof(entries));
	return list;
}

static const struct kvm_cpuid_entry2 *entry(const struct kvm_cpuid2 *list, uint32_t leaf,
					    uint32_t subleaf)
{
	for (unsigned i = 0; i < list->nent; i++)
		if (list->entries[i].function == leaf && list->entries[i].index == subleaf)
			return &list->entries[i];
	return NULL;
}

static void test_cpuid_of_a_portable_machine(void **state)
{
	struct accel_machine machine = { .portable = true, .supported = kernel_list() };
	struct kvm_cpuid2 *list = kvm_cpuid_compose(&machine, &model);

	(void)state;
	assert_int_equal(list->nent, model.count);
	assert_int_equal(entry(list, 1, 0)->eax, 0x111);
	assert_int_equal(entry(list, 0xb, 1)->flags, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
	assert_int_equal(entry(list, 0xb, 1)->ebx, 4);
	assert_null(entry(list, 0x40000001, 0));
	free(list);
	free(machine.supported);
}

static void test_cpuid_of_the_host(void **state)
{
	struct accel_machine machine = { .split = true, .supported = kernel_list(),
					 .host.features = ALL };
	struct kvm_cpuid2 *list = kvm_cpuid_compose(&machine, &model);

	(void)state;
	/* The kernel's features, the model's place among four CPUs. */
	assert_int_equal(entry(list, 1, 0)->eax, 0x777);
	assert_int_equal(entry(list, 1, 0)->ebx, 2 << 24 | 4 << 16);
	assert_int_equal(entry(list, 7, 0)->ebx, 0x999);
	assert_int_equal(entry(list, 0xb, 1)->edx, 2);
	assert_int_equal(entry(list, 0x80000008, 0)->ecx, 2 << 12 | 3);
	assert_null(entry(list, 0x8000001e, 0));
	assert_false(entry(list, 0x80000001, 0)->ecx & 1 << 22);
	assert_int_equal(entry(list, 0x40000000, 0)->eax, 0x40000010);
	assert_int_equal(entry(list, 0x40000001, 0)->eax, ~0u);
	assert_int_equal(entry(list, 0x40000010, 0)->eax, 2000000);
	free(list);
	machine.split = false;
	machine.host.features = ALL & ~BIT(KVMCLOCK);
	list = kvm_cpuid_compose(&machine, &model);
	assert_int_equal(entry(list, 0x40000001, 0)->eax, 2);
	free(list);
	free(machine.supported);
}

/* ---- there and back ---- */

struct rig {
	struct cpu_env env;
	struct cpu_intc intc;
	struct x86_lapic lapic;
	struct accel_machine *machine;
	struct cpu *cpu;
};

static bool lapic_pending(void *opaque)
{
	(void)opaque;
	return false;
}

static int lapic_acknowledge(void *opaque)
{
	(void)opaque;
	return -1;
}

static uint64_t lapic_cr8(void *opaque)
{
	return ((struct rig *)opaque)->lapic.reg[8] >> 4;
}

static bool lapic_msr(void *opaque, uint32_t index, uint64_t *value)
{
	*value = ((struct rig *)opaque)->lapic.base;
	return index == 0x1b;
}

static void lapic_save(void *opaque, struct x86_lapic *lapic)
{
	*lapic = ((struct rig *)opaque)->lapic;
}

static void lapic_restore(void *opaque, const struct x86_lapic *lapic)
{
	((struct rig *)opaque)->lapic = *lapic;
}

static void release(struct block *block)
{
	free(block);
}

static void rig_init(struct rig *rig)
{
	*rig = (struct rig){ .intc = {
		.opaque = rig, .pending = lapic_pending, .acknowledge = lapic_acknowledge,
		.cr8_read = lapic_cr8, .msr_read = lapic_msr, .save = lapic_save,
		.restore = lapic_restore } };
	rig->lapic.base = 0xfee00900;
	rig->lapic.reg[0xe] = ~0u;
	rig->lapic.reg[0xf] = 0x1ff;
	for (unsigned i = 0x32; i < 0x38; i++)
		rig->lapic.reg[i] = 0x10000;
	rig->env.intc = &rig->intc;
	assert_int_equal(mem_create(&rig->env.mem, NULL), 0);
	assert_int_equal(mem_add(rig->env.mem, 0, 1 << 20, false, "RAM", NULL), 0);
}

static void rig_add_cpu(struct rig *rig)
{
	assert_int_equal(blocks_create(&rig->env.blocks, rig->env.mem, 1 << 20, release, NULL), 0);
	assert_int_equal(exclusive_create(&rig->env.exclusive, NULL), 0);
	assert_int_equal(isa_x86.cpu_create(&rig->env, 0, 1, NULL, &rig->cpu, NULL), 0);
	assert_int_equal(exclusive_add(rig->env.exclusive, rig->cpu, NULL), 0);
}

/* False: no KVM, which is said. */
static bool rig_up(struct rig *rig, const char *without)
{
	struct accel_config config = { .cpus = 1, .portable = true, .without = without };
	struct error err;

	rig_init(rig);
	config.mem = rig->env.mem;
	if (accel_kvm.create(&config, &rig->machine, &err)) {
		print_message("%s\n", err.message);
		mem_destroy(rig->env.mem);
		return false;
	}
	rig->env.limit = accel_kvm.traits(rig->machine)->limit;
	rig_add_cpu(rig);
	return true;
}

static void rig_down(struct rig *rig)
{
	if (rig->machine)
		accel_kvm.destroy(rig->machine);
	blocks_destroy(rig->env.blocks);
	isa_x86.cpu_destroy(rig->cpu);
	exclusive_destroy(rig->env.exclusive);
	mem_destroy(rig->env.mem);
}
/* 64-bit mode, and a value of its own in each register. */
static void fill(struct x86_state *state)
{
	for (unsigned i = 0; i < X86_GPRS; i++)
		state->gpr[i] = 0x1111111111111111ull * (i + 1) ^ i;
	state->rip = 0xffffffff81234567;
	state->rflags = X86_F1 | X86_CF | X86_DF | X86_AC | X86_IF;
	for (unsigned i = 0; i < X86_SEGS; i++)
		state->seg[i] = (struct x86_seg){ .limit = ~0u, .attr = 0xc093,
						  .selector = (uint16_t)(0x10 + 8 * i) };
	state->seg[X86_CS].attr = 0xa09b;
	state->seg[X86_FS].base = 0x7fff12345000;
	state->seg[X86_GS].base = 0xffff888000000000;
	state->tr = (struct x86_seg){ .base = 0x7000, .limit = 0x67, .attr = 0x8b, .selector = 0x40 };
	state->ldtr = (struct x86_seg){ .base = 0x6000, .limit = 0xfff, .attr = 0x82,
					.selector = 0x48 };
	state->gdtr = (struct x86_table){ 0xffff888000001000, 0x7f };
	state->idtr = (struct x86_table){ 0xffff888000002000, 0xfff };
	state->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP | X86_CR0_ET | X86_CR0_NE | X86_CR0_MP;
	state->cr2 = 0xdeadbeef000;
	state->cr3 = 0x5000;
	state->cr4 = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
	state->efer = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
	for (unsigned i = 0; i < 4; i++)
		state->dr[i] = 0x1000 * (i + 1);
	state->dr6 = 0xffff0ff1;
	state->dr7 = 0x401;
	state->star = 0x0023001000000000;
	state->lstar = 0xffffffff81000000;
	state->cstar = 0xffffffff81000100;
	state->sfmask = 0x47700;
	state->kernel_gs_base = 0x7ffff0001000;
	state->sysenter_cs = 0x10;
	state->sysenter_esp = 0xffff888000003000;
	state->sysenter_eip = 0xffffffff81000200;
	state->pat = 0x0407010600070106;
	state->mtrr_phys_base[1] = 0xc0000000;
	state->mtrr_phys_mask[1] = 0xfc0000800;
	state->mtrr_def_type = 0xc06;
	/* A KVM in software may have no clock but the host's. */
	state->tsc_offset = 0;
	state->nmi_blocked = true;
	state->halted = false;
	memcpy(state->xsave + 160, "sixteen bytes!!!", 16);
	state->xsave[512] = 3;
	state->fpu_ip = 0x1234;
	state->fpu_dp = 0x5678;
	state->fpu_opcode = 0x123;
}

#define SAME(member) assert_memory_equal(&after->member, &before.member, sizeof(before.member))

static void check_there_and_back(const char *without)
{
	static struct x86_state before;
	struct x86_state *after;
	struct rig rig;
	struct error err = { 0 };

	if (!rig_up(&rig, without))
		skip();
	after = isa_x86.state(rig.cpu);
	fill(after);
	before = *after;
	rig.lapic.reg[8] = 0x50;
	assert_int_equal(accel_kvm.resume(rig.machine, &rig.cpu, 1, &err), 0);
	assert_int_equal(((struct kvm_vcpu *)rig.cpu->engine)->run->if_flag, 1);
	/* All that comes back comes from the kernel. */
	memset(after, 0, sizeof(*after));
	after->tsc_offset = 1;
	assert_int_equal(accel_kvm.pause(rig.machine, &err), 0);
	SAME(gpr);
	SAME(rip);
	SAME(rflags);
	SAME(seg);
	SAME(ldtr);
	SAME(tr);
	SAME(gdtr);
	SAME(idtr);
	SAME(cr0);
	SAME(cr2);
	SAME(cr3);
	SAME(cr4);
	SAME(efer);
	SAME(dr);
	SAME(dr6);
	SAME(dr7);
	SAME(star);
	SAME(lstar);
	SAME(cstar);
	SAME(sfmask);
	SAME(kernel_gs_base);
	SAME(sysenter_cs);
	SAME(sysenter_esp);
	SAME(sysenter_eip);
	SAME(pat);
	SAME(mtrr_phys_base);
	SAME(mtrr_phys_mask);
	SAME(mtrr_def_type);
	SAME(tsc_offset);
	SAME(nmi_blocked);
	SAME(fpu_ip);
	SAME(fpu_dp);
	SAME(fpu_opcode);
	assert_memory_equal(after->xsave + 160, "sixteen bytes!!!", 16);
	assert_int_equal(rig.lapic.reg[8], 0x50);
	assert_int_equal(rig.lapic.base, 0xfee00900);
	rig_down(&rig);
}

static void test_there_and_back(void **state)
{
	(void)state;
	check_there_and_back(NULL);
}

static void test_there_and_back_with_an_old_kernel(void **state)
{
	(void)state;
	check_there_and_back("all");
}

/* The engine finishes what the kernel began: an interrupt in real mode, to a handler that halts. */
static void test_an_engine_goes_on_with_the_event(void **state)
{
	static const uint8_t vector[4] = { 0x00, 0x20, 0x00, 0x00 }, halt = 0xf4;
	struct x86_state *cpu;
	struct rig rig;
	uint16_t frame[3];

	(void)state;
	rig_init(&rig);
	rig_add_cpu(&rig);
	assert_int_equal(mem_write(rig.env.mem, 0x41 * 4, vector, sizeof(vector)), 0);
	assert_int_equal(mem_write(rig.env.mem, 0x2000, &halt, 1), 0);
	cpu = isa_x86.state(rig.cpu);
	cpu->seg[X86_CS] = (struct x86_seg){ .limit = 0xffff, .attr = 0x9b };
	cpu->rip = 0x1234;
	cpu->gpr[X86_RSP] = 0x3000;
	cpu->event = (struct x86_pending){ .kind = X86_PENDING_EXTERNAL, .vector = 0x41 };
	isa_x86.state_changed(rig.cpu);
	exclusive_enter(rig.cpu);
	isa_x86.run(rig.cpu, 10);
	exclusive_leave(rig.cpu);
	assert_int_equal(cpu->rip, 0x2001);
	assert_true(cpu->halted);
	assert_int_equal(cpu->event.kind, X86_PENDING_NONE);
	assert_int_equal(mem_read(rig.env.mem, 0x2ffa, frame, sizeof(frame)), 0);
	assert_int_equal(frame[0], 0x1234);
	rig_down(&rig);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_masks),
		cmocka_unit_test(test_masks_that_go_together),
		cmocka_unit_test(test_no_device),
		cmocka_unit_test(test_another_device),
		cmocka_unit_test(test_no_permission),
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_events_under_way),
		cmocka_unit_test(test_cpuid_of_a_portable_machine),
		cmocka_unit_test(test_cpuid_of_the_host),
		cmocka_unit_test(test_an_engine_goes_on_with_the_event),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_there_and_back_with_an_old_kernel),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
