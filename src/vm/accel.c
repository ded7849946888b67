/* SPDX-License-Identifier: MIT */
/*
 * Which accelerator runs the machine's CPUs, and the change to another one while they stand. All that
 * an accelerator keeps elsewhere is here between accel_pause and accel_resume: so a change is to give
 * it to the other.
 */
#include "vm/accel.h"

#include <errno.h>

#include "accel/accel.h"
#include "base/error.h"
#include "base/log.h"
#include "cpu/blocks.h"
#include "cpu/isa.h"
#include "mem/mem.h"
#include "vm/config.h"
#include "vm/machine.h"

static const struct accel *engine(void)
{
	return accel_translate.probe(NULL) ? &accel_interp : &accel_translate;
}

int accel_choose_auto(const struct accel **accel, struct error *why)
{
	int ret = accel_kvm.probe(why);

	*accel = ret ? engine() : &accel_kvm;
	return ret;
}

void accel_explain(struct vm *vm)
{
	const char *why = vm->no_kvm.message;

	if (!*why)
		return;
	/* Where there is no KVM at all, nobody expects one. A command's standard error is its own. */
	if (vm->no_kvm_device || vm->config->streams)
		log_info("%s; the engine '%s' runs the CPUs", why, vm->accel->name);
	else
		log_warn("%s; the engine '%s' runs the CPUs", why, vm->accel->name);
	*vm->no_kvm.message = 0;
}

int accel_choose(struct vm *vm, struct error *err)
{
	static const struct accel *const accels[] = {
		[VM_ACCEL_KVM] = &accel_kvm,
		[VM_ACCEL_TRANSLATE] = &accel_translate,
		[VM_ACCEL_INTERP] = &accel_interp,
	};

	if (vm->config->debug_lockstep && vm->config->accel == VM_ACCEL_AUTO)
		vm->accel = &accel_translate;
	else if (vm->config->accel == VM_ACCEL_AUTO)
		vm->no_kvm_device = accel_choose_auto(&vm->accel, &vm->no_kvm) == -ENOENT;
	else
		vm->accel = accels[vm->config->accel];
	if (vm->config->switch_accel_ms)
		vm->other_accel = vm->accel == &accel_kvm ? engine() : &accel_kvm;
	/* KVM says why when it is made, and runs what it can when it is asked for by name. */
	return vm->accel == &accel_kvm ? 0 : vm->accel->probe(err);
}

bool accel_translates(const struct vm *vm)
{
	return vm->accel->translates || (vm->other_accel && vm->other_accel->translates);
}

int accel_create(struct vm *vm, struct error *err)
{
	const struct vm_config *config = vm->config;
	struct accel_config wanted = {
		.mem = vm->env.mem,
		.cpus = config->cpus,
		.portable = config->switch_accel_ms || config->cpu_model,
		.changes = config->switch_accel_ms,
		.without = config->kvm_without,
	};
	int ret;

	vm->host_accel = vm->accel->create ? vm->accel : vm->other_accel;
	if (!vm->host_accel || !vm->host_accel->create) {
		vm->host_accel = NULL;
		return 0;
	}
	ret = vm->host_accel->create(&wanted, &vm->accel_machine, err);
	if (ret)
		return ret;
	vm->traits = *vm->host_accel->traits(vm->accel_machine);
	vm->env.doorbells = vm->traits.doorbells;
	if (vm->traits.tsc_hz)
		isa_x86.clock_known(vm->traits.tsc_hz);
	return 0;
}

void accel_destroy(struct vm *vm)
{
	if (vm->accel_machine)
		vm->host_accel->destroy(vm->accel_machine);
}

void accel_connect(struct vm *vm)
{
	bool outside = vm->accel == vm->host_accel;

	if (vm->traits.irqchip)
		vm->config->board->connect_irqchip(vm, outside ? vm->traits.irqchip : NULL);
	for (unsigned i = 0; i < vm->cpu_count; i++)
		vm->threads[i].accel = vm->accel;
}

int accel_resume(struct vm *vm, struct error *err)
{
	struct cpu *cpus[VM_CPUS_MAX];

	if (vm->accel != vm->host_accel)
		return 0;
	for (unsigned i = 0; i < vm->cpu_count; i++)
		cpus[i] = vm->threads[i].cpu;
	return vm->accel->resume(vm->accel_machine, cpus, vm->cpu_count, err);
}

int accel_pause(struct vm *vm, struct error *err)
{
	return vm->accel == vm->host_accel ? vm->accel->pause(vm->accel_machine, err) : 0;
}

int accel_reset(struct vm *vm, struct error *err)
{
	return vm->host_accel ? vm->host_accel->reset(vm->accel_machine, err) : 0;
}

void accel_forget_code(struct vm *vm)
{
	for (unsigned i = 0; i < mem_region_count(vm->env.mem); i++) {
		const struct mem_region *region = mem_region_at(vm->env.mem, i);

		blocks_wrote(vm->blocks, region->gpa, region->size_bytes);
	}
}

void accel_switch(struct vm *vm)
{
	const struct accel *from = vm->accel;

	vm->accel = vm->other_accel;
	vm->other_accel = from;
	vm->switches++;
	if (from == vm->host_accel)
		from->report_writes(vm->accel_machine, vm->blocks);
	accel_connect(vm);
	log_debug("CPUs go on by accelerator '%s'", vm->accel->name);
}
