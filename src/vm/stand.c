/* SPDX-License-Identifier: MIT */
/*
 * The machine's run is left by loop_stop; here it is seen why. While it is paused, the loop runs on
 * without CPUs.
 */
#include "vm/stand.h"

#include "cpu/isa.h"
#include "host/loop.h"
#include "vm/machine.h"

void vm_pause(struct vm *vm)
{
	vm->paused = true;
	loop_stop(vm->env.loop);
}

void vm_resume(struct vm *vm)
{
	vm->paused = false;
	loop_stop(vm->env.loop);
}

bool vm_is_paused(const struct vm *vm)
{
	return vm->paused;
}

void vm_visit(struct vm *vm, struct vm_visit *visit)
{
	visit->next = vm->visits;
	vm->visits = visit;
	loop_stop(vm->env.loop);
}

void vm_unvisit(struct vm *vm, const struct vm_visit *visit)
{
	for (struct vm_visit **at = &vm->visits; *at; at = &(*at)->next) {
		if (*at == visit) {
			*at = visit->next;
			return;
		}
	}
}

static void let_visit(struct vm *vm)
{
	struct vm_visit *visit;

	loop_lock(vm->env.loop);
	while ((visit = vm->visits)) {
		vm->visits = visit->next;
		visit->run(vm, visit->opaque);
	}
	loop_unlock(vm->env.loop);
}

/* True: it was paused. */
static bool wait_for_resume(struct vm *vm)
{
	bool paused = vm->paused;

	while (vm->paused && !atomic_load(&vm->end)) {
		loop_run(vm->env.loop);
		let_visit(vm);
	}
	return paused;
}

void stand_still(struct vm *vm)
{
	uint64_t began, ended, began_ns, now_ns;
	bool paused;

	if (!vm->paused && !vm->visits)
		return;
	/* The guest compares its clocks: they stop together. */
	isa_x86.clock_sample(&began, &began_ns);
	loop_guest_clock_stop(vm->env.loop, began_ns);
	let_visit(vm);
	paused = wait_for_resume(vm);
	isa_x86.clock_sample(&ended, &now_ns);
	for (unsigned i = 0; i < vm->cpu_count; i++)
		vm->threads[i].cpu->isa->clock_set_back(vm->threads[i].cpu, ended - began);
	loop_guest_clock_start(vm->env.loop, now_ns);
	if (!paused)
		return;
	loop_lock(vm->env.loop);
	report_sleep(&vm->report, now_ns - began_ns);
	loop_unlock(vm->env.loop);
}
