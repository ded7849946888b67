/* SPDX-License-Identifier: MIT */
/* What this host has for running guests, what it lacks, and what that costs. */
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "accel/accel.h"
#include "accel/kvm/host.h"
#include "base/error.h"
#include "base/json.h"
#include "base/options.h"
#include "cli/commands.h"
#include "isa/x86/direct/probe.h"
#include "vm/accel.h"

struct doctor_args {
	bool json, help;
};

const struct option_spec doctor_options[] = {
	{ .name = "json", .type = OPTION_FLAG, .offset = offsetof(struct doctor_args, json),
	  .help = "print it as JSON" },
	{ .name = "help", .letter = 'h', .type = OPTION_FLAG,
	  .offset = offsetof(struct doctor_args, help), .help = "print this help" },
	{ .name = NULL },
};

/* One way to run a CPU: does it work here, and if not, why. */
struct finding {
	bool usable;
	struct error why;
};

struct report {
	bool kvm_open; /* its capabilities are known */
	struct kvm_host host;
	struct finding kvm, translate, direct;
	bool is_protected; /* direct execution, by the processor */
	const char *chosen;
};

static void examine(struct report *report)
{
	const struct accel *chosen;
	struct error ignored;
	int ret = kvm_host_open(&report->host, KVM_DEVICE, NULL, &report->kvm.why);

	report->kvm_open = !ret;
	if (!ret) {
		ret = kvm_host_try(&report->host, &report->kvm.why);
		kvm_host_close(&report->host);
	}
	report->kvm.usable = !ret;
	report->translate.usable = !accel_translate.probe(&report->translate.why);
	report->direct.usable = !direct_probe(&report->is_protected, &report->direct.why);
	accel_choose_auto(&chosen, &ignored);
	report->chosen = chosen->name;
}

/* ---- for people ---- */

static void print_finding(const char *name, const struct finding *finding)
{
	if (finding->usable)
		printf("%-10s yes\n", name);
	else
		printf("%-10s no: %s\n", name, finding->why.message);
}

static void print_capabilities(const struct report *report)
{
	for (unsigned i = 0; i < KVM_FEATURE_COUNT; i++) {
		bool has = kvm_has(&report->host, (enum kvm_feature)i);

		printf("  %-16s %s%s%s\n", kvm_features[i].word, has ? "yes" : "no",
		       has ? "" : ": ", has ? "" : kvm_features[i].lost);
	}
}

static void print_direct(const struct report *report)
{
	printf("  %-16s ", "direct execution");
	if (!report->direct.usable)
		printf("no: %s\n", report->direct.why.message);
	else if (report->is_protected)
		printf("yes\n");
	else
		printf("yes, but the processor has no protection keys: --direct never, where the guest's "
		       "programs may attack its kernel\n");
}

static void print(const struct report *report)
{
	print_finding("kvm", &report->kvm);
	if (report->kvm_open)
		print_capabilities(report);
	print_finding("translate", &report->translate);
	print_direct(report);
	printf("%-10s yes\n", "interp");
	printf("\n--accel auto takes %s: %s\n", report->chosen,
	       report->kvm.usable ? "the processor itself runs the guest" :
	       report->translate.usable ? "the fastest without KVM" : "it works everywhere");
}

/* ---- for programs ---- */

static void describe_finding(struct json *json, const struct finding *finding)
{
	json_bool(json, "usable", finding->usable);
	json_string(json, "reason", finding->usable ? NULL : finding->why.message);
}

static void describe_kvm(struct json *json, const struct report *report)
{
	json_object_begin(json, "kvm");
	json_string(json, "device", KVM_DEVICE);
	describe_finding(json, &report->kvm);
	json_array_begin(json, "capabilities");
	for (unsigned i = 0; report->kvm_open && i < KVM_FEATURE_COUNT; i++) {
		json_object_begin(json, NULL);
		json_string(json, "name", kvm_features[i].word);
		json_bool(json, "present", kvm_has(&report->host, (enum kvm_feature)i));
		json_string(json, "without", kvm_features[i].lost);
		json_object_end(json);
	}
	json_array_end(json);
	json_object_end(json);
}

static void describe(const struct report *report)
{
	struct json json;

	json_init(&json, stdout);
	json_object_begin(&json, NULL);
	describe_kvm(&json, report);
	json_object_begin(&json, "translate");
	describe_finding(&json, &report->translate);
	json_object_begin(&json, "direct");
	describe_finding(&json, &report->direct);
	json_bool(&json, "protected", report->is_protected);
	json_object_end(&json);
	json_object_end(&json);
	json_string(&json, "auto", report->chosen);
	json_object_end(&json);
}

int cmd_doctor(int argc, char **argv)
{
	struct doctor_args args = { 0 };
	struct report report = { 0 };
	struct error err;
	int operands;

	if (options_parse(doctor_options, &args, argc, argv, &operands, &err))
		return usage_error(err.message);
	if (operands)
		return usage_error("doctor takes no operands");
	if (args.help) {
		printf("usage: ringlet doctor [OPTION]...\n\n");
		options_help(doctor_options, stdout);
		return finish_output(STATUS_OK);
	}
	examine(&report);
	if (args.json)
		describe(&report);
	else
		print(&report);
	return finish_output(STATUS_OK);
}
