/* SPDX-License-Identifier: MIT */
/* See cpuid.h. */
#include "host/cpuid.h"

#include <asm/prctl.h>
#include <cpuid.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define GENERAL_PROTECTION 13

static _Thread_local bool denied;

/* false: the host cannot. */
static bool set_allowed(bool allowed)
{
	return !syscall(SYS_arch_prctl, ARCH_SET_CPUID, (long)allowed);
}

void cpuid_deny(void)
{
	if (!denied)
		denied = set_allowed(false);
}

void cpuid_allow(void)
{
	if (denied)
		denied = !set_allowed(true);
}

bool cpuid_fault(mcontext_t *machine)
{
	static const uint8_t instruction[] = { 0x0f, 0xa2 };
	greg_t *gregs = machine->gregs;
	uint32_t a, b, c, d;

	if (gregs[REG_TRAPNO] != GENERAL_PROTECTION || syscall(SYS_arch_prctl, ARCH_GET_CPUID, 0) ||
	    memcmp((const void *)gregs[REG_RIP], instruction, sizeof(instruction)) ||
	    !set_allowed(true))
		return false;
	__cpuid_count((uint32_t)gregs[REG_RAX], (uint32_t)gregs[REG_RCX], a, b, c, d);
	set_allowed(false);
	gregs[REG_RAX] = a;
	gregs[REG_RBX] = b;
	gregs[REG_RCX] = c;
	gregs[REG_RDX] = d;
	gregs[REG_RIP] += (greg_t)sizeof(instruction);
	return true;
}
