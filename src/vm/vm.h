/* SPDX-License-Identifier: MIT */
/*
 * A machine from its configuration to its end. What it made is released before a function here
 * returns, whatever happened; several machines may live in one process, each on its own thread.
 */
#ifndef RINGLET_VM_VM_H
#define RINGLET_VM_VM_H

#include <stdbool.h>

struct error;
struct json;
struct vm;
struct vm_config;

enum vm_end {
	VM_END_POWEROFF,     /* the guest switched itself off */
	VM_END_RESET,        /* it asked for a reset and the configuration said not to start again */
	VM_END_TRIPLE_FAULT, /* it could not deliver a fault */
	VM_END_PANIC,        /* it said that it has crashed */
	VM_END_DEBUG_EXIT,   /* it wrote to the debug-exit port */
	VM_END_DISAGREEMENT, /* --debug-lockstep found a difference */
	VM_END_QUIT,         /* the user ended it, from the terminal or by a command */
	VM_END_FAILED,       /* the monitor cannot go on: vm_run returns an error instead */
};

/* What our init told, where it ran. */
struct vm_outcome {
	enum { VM_OUTCOME_NONE, VM_OUTCOME_EXIT, VM_OUTCOME_SIGNAL, VM_OUTCOME_FAILED } kind;
	unsigned number; /* the exit status, the signal */
	char text[512];  /* why it could not run the program */
};

struct vm_result {
	enum vm_end end;
	unsigned value; /* VM_END_DEBUG_EXIT: what the guest wrote */
	struct vm_outcome outcome;
	bool output_lost; /* what its program wrote could not be, and the user has been told */
};

/* Of a guest with our init: it did not get as far as to tell how its program ended. */
bool vm_crashed(const struct vm_result *result);

/* Somebody who looks after the machine as long as there is one; on its thread, while no CPU runs. */
struct vm_attendant {
	/* The machine is built. */
	int (*begin)(void *opaque, struct vm *vm, struct error *err);
	/* It is about to be taken apart; only if begin returned 0. */
	void (*end)(void *opaque);
	void *opaque;
};

/*
 * Builds the machine, runs it to its end. The calling thread becomes its event loop. 0 and result,
 * or -errno and err when it could not be built or the monitor failed. attendant may be NULL.
 */
int vm_run(const struct vm_config *config, const struct vm_attendant *attendant,
	   struct vm_result *result, struct error *err);

/*
 * Builds the machine without running it and writes what it is made of (configuration, memory map,
 * ports, devices) as members of the object that is open in json.
 */
int vm_describe(const struct vm_config *config, struct json *json, struct error *err);

/* Accelerators that this build has, best first; ended by NULL. */
const char *const *vm_accel_names(void);

#endif
