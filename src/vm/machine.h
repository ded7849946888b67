/* SPDX-License-Identifier: MIT */
/*
 * The machine from the inside, for boards: what it owns and how a board fills it. vm.c makes the
 * empty machine (loop, memory, buses, code cache), the board adds memory, CPUs and devices in build
 * and says in boot how the first CPU starts; vm.c runs it, resets it and takes it apart in reverse.
 */
#ifndef RINGLET_VM_MACHINE_H
#define RINGLET_VM_MACHINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "accel/accel.h"
#include "base/error.h"
#include "cpu/cpu.h"
#include "dev/device.h"
#include "vm/report.h"
#include "vm/vm.h"

struct blocks;
struct chardev;
struct exclusive;
struct hub;
struct keep;
struct loop_timer;
struct sink;
struct source;
struct terminal;
struct translator;
struct virtio_device;
struct vm;
struct vm_config;
struct vm_visit;

#define VM_DEVICES_MAX 64

struct vm_board {
	const char *name;
	const char *summary;
	/* Adds memory, CPUs (vm_add_cpu) and devices (vm_add_device). */
	int (*build)(struct vm *vm, struct error *err);
	/* Loads what is to start and sets the CPUs' state; also after each reset. No CPU runs. */
	int (*boot)(struct vm *vm, struct error *err);
	/* The local APICs are outside of this process from now on, or (NULL) here. No CPU runs. */
	void (*connect_irqchip)(struct vm *vm, const struct irqchip_backend *backend);
	/* Somebody presses it: the guest is asked to shut down. Machine lock held. */
	void (*press_power_button)(struct vm *vm);
	/* The same for an NMI; false: the guest has masked it. Machine lock held. */
	bool (*press_nmi_button)(struct vm *vm);
	void (*destroy)(struct vm *vm);
};

struct vm_thread {
	struct cpu *cpu;
	pthread_t thread;
	bool started;
	const struct accel *accel;
};

struct vm {
	const struct vm_config *config;
	const struct accel *accel;       /* that runs the CPUs */
	const struct accel *other_accel; /* to change to; NULL: none */
	const struct accel *host_accel;  /* the one of both that accel_machine is of; NULL: none */
	struct accel_machine *accel_machine;
	struct accel_traits traits;      /* of accel_machine */
	struct error no_kvm;             /* why it is not KVM; empty: it is, or was not asked for */
	bool no_kvm_device;              /* … because there is none */
	struct loop_timer *switch_timer; /* the next change is due */
	bool switch_due;
	unsigned switches;
	bool described;                  /* no more than that: nothing of the host's changes */
	bool paused;                     /* the CPUs stand until somebody lets them go on */
	struct vm_visit *visits;         /* who wants to see them stand */
	struct loop_watch *stats_watch;  /* of stats_fd, which SIGUSR1 writes to; NULL: it does not */
	int stats_fd;
	struct device_env env;  /* loop, memory, buses */
	struct blocks *blocks;
	struct translator *translator; /* NULL when CPUs interpret */
	struct exclusive *exclusive;
	struct terminal *terminal;
	struct keep *kernel_log;   /* the serial console of a guest with our init; else NULL */
	struct report report;      /* what that init tells */
	struct source *input;      /* the standard streams, where config->streams */
	struct sink *output[2];
	struct hub *hub;         /* in front of the terminal; NULL: there is none */
	struct chardev *console; /* the user's terminal, for the device of config->console */
	struct device *devices[VM_DEVICES_MAX];
	unsigned device_count;
	struct vm_thread *threads; /* one a CPU */
	unsigned cpu_count;
	struct virtio_device *balloon; /* the board's; NULL: none */
	void *board_state;         /* the board's own */
	_Atomic int end;           /* enum vm_end + 1 once the machine shall stop, else 0 */
	_Atomic unsigned end_value;
	struct error failure;      /* VM_END_FAILED: what happened; written by who set end */
};

/* The board's device constructor calls, in one line each: takes over dev. */
int vm_add_device(struct vm *vm, struct device *dev, struct error *err);

/* Creates CPU number vm->cpu_count with env completed by the machine's own parts. */
int vm_add_cpu(struct vm *vm, const struct cpu_env *env, struct cpu **cpu, struct error *err);

/* Ends this run of the machine; the first reason wins. Any thread. */
void vm_end(struct vm *vm, enum vm_end end, unsigned value);

/* The same for a monitor that cannot go on: vm_run returns -EIO and err's message. */
void vm_fail(struct vm *vm, const struct error *err);

#endif
