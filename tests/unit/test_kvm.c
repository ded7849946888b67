/* SPDX-License-Identifier: MIT */
/* The KVM accelerator's parts that need no KVM: what is there and why not, conversions, CPUID. */
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
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
