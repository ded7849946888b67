/* SPDX-License-Identifier: MIT */
/*
 * A machine whose CPUs stand still: because somebody paused it, or wants a look at their state. The
 * guest's clocks (TSC, APIC timers, HPET, PIT, ACPI timer) stand as well, so that it does not notice;
 * the RTC alone goes on, as one with a battery does. Devices are served all the while: what was
 * asked for before is still done. Loop's thread.
 */
#ifndef RINGLET_VM_STAND_H
#define RINGLET_VM_STAND_H

#include <stdbool.h>

struct vm;

/* Somebody who wants to be called when all CPUs stand, machine lock held; he owns this, and is
 * forgotten when the machine ends before. */
struct vm_visit {
	void (*run)(struct vm *vm, void *opaque);
	void *opaque;
	struct vm_visit *next;
};

/* ---- machine lock held ---- */

void vm_pause(struct vm *vm);
void vm_resume(struct vm *vm);
bool vm_is_paused(const struct vm *vm);
/* Soon; once. The CPUs then go on, unless the machine is paused. */
void vm_visit(struct vm *vm, struct vm_visit *visit);
/* Whoever waits for it is not called any more. */
void vm_unvisit(struct vm *vm, const struct vm_visit *visit);

/* ---- for vm.c ---- */

/* The CPUs' threads have ended: returns when they are to go on, or the machine ends. */
void stand_still(struct vm *vm);

#endif
