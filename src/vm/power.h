/* SPDX-License-Identifier: MIT */
/* Asking a guest to shut down. Machine lock held. */
#ifndef RINGLET_VM_POWER_H
#define RINGLET_VM_POWER_H

struct vm;

/* Presses the power button, and tells our init, where it runs, which knows no buttons. */
void vm_ask_poweroff(struct vm *vm);

#endif
