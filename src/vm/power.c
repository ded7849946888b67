/* SPDX-License-Identifier: MIT */
#include "vm/power.h"

#include "vm/config.h"
#include "vm/machine.h"

void vm_ask_poweroff(struct vm *vm)
{
	vm->config->board->press_power_button(vm);
	report_ask_stop(&vm->report);
}
