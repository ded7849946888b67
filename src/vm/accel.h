/* SPDX-License-Identifier: MIT */
/*
 * A machine's accelerator, for vm.c: in the order of calls. On the machine's thread; no CPU runs.
 */
#ifndef RINGLET_VM_ACCEL_H
#define RINGLET_VM_ACCEL_H

#include <stdbool.h>

struct accel;
struct error;
struct vm;

/* The one that --accel auto takes here. 0, or -errno and why it is not KVM. */
int accel_choose_auto(const struct accel **accel, struct error *why);

/* Sets vm->accel, and vm->other_accel when the machine is to change between two. */
int accel_choose(struct vm *vm, struct error *err);
/* Some of the CPUs' accelerators translates. */
bool accel_translates(const struct vm *vm);
/* What it needs of the host, before there are CPUs; vm->traits. */
int accel_create(struct vm *vm, struct error *err);
void accel_destroy(struct vm *vm);
/* The board is built: its interrupt controllers learn where the local APICs are. */
void accel_connect(struct vm *vm);

/* Says, once, why the machine has no KVM, if it might have had. */
void accel_explain(struct vm *vm);
/* Around each run of the CPUs: their state goes to whoever runs them, and comes back. */
int accel_resume(struct vm *vm, struct error *err);
int accel_pause(struct vm *vm, struct error *err);
/* To the other one, between pause and resume. */
void accel_switch(struct vm *vm);

/* The machine is reset, or its memory was written unseen. */
int accel_reset(struct vm *vm, struct error *err);
void accel_forget_code(struct vm *vm);

#endif
