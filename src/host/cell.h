/* SPDX-License-Identifier: MIT */
/*
 * A cell: a process that has nothing but guest memory, mapped where a guest program has it, and that runs the
 * guest program's code as it is. Whatever it does that is not mere computing (a system call, a fault, a
 * signal that we send) ends in a signal handler there, which hands the turn and all registers over to us by
 * shared memory. See cell/cell.c for that side; this header is what both agree on.
 *
 * Everything in the shared memory is to be distrusted: a guest program that finds where it lies could
 * write it. That is why the cell's own pages are at random addresses.
 */
#ifndef RINGLET_HOST_CELL_H
#define RINGLET_HOST_CELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct error;

/* Descriptors of the cell. */
enum { CELL_FD_SHARED = 3, CELL_FD_MEMORY = 4 };

/* Whose turn it is; CELL_MAP: the cell's, to change its mappings and give the turn back. */
enum cell_turn { CELL_OURS, CELL_RUN, CELL_MAP };

/* Maps bytes of the guest's memory; protection 0 unmaps. All are multiples of the page size. */
struct cell_change {
	uint64_t linear, bytes, offset;
	uint64_t protection; /* PROT_… */
};

#define CELL_CHANGES 128
#define CELL_STACK_BYTES (64u << 10)
#define CELL_RANGES 4
#define CELL_LIMIT 0x7ffffffff000ull /* user space ends here */

struct cell_range {
	uint64_t start, end;
};

struct cell_shared {
	_Atomic uint32_t turn;         /* enum cell_turn; a futex */
	_Atomic uint32_t cell_sleeps;  /* … on which it waits */
	_Atomic uint32_t we_sleep;
	uint32_t spin_ticks;           /* of the TSC, before one of us sleeps */
	uint64_t guest_ticks;          /* that guest code ran, signals' cost included … */
	uint64_t guest_ticks_most;     /* … of which a turn counts for no more: it may have been preempted */
	uint64_t self;                 /* where this lies in the cell */
	bool cpuid_faults;             /* in the cell: the host can */
	uint32_t ranges;               /* what the cell needs for itself */
	struct cell_range range[CELL_RANGES];

	/* What it says when it gives the turn. */
	uint32_t signal;
	int32_t code;                  /* siginfo's */
	uint64_t call_address;         /* siginfo's, of a SIGSYS */
	int32_t failed;                /* -errno of a change that could not be made */
	uint64_t context;              /* address of the signal handler's struct ucontext, in stack */
	uint64_t fs_base, gs_base;     /* and what we say */
	uint16_t ds, es, fs, gs;       /* … */

	uint32_t changes;              /* to be made before anything else */
	struct cell_change change[CELL_CHANGES];

	uint8_t stack[CELL_STACK_BYTES] __attribute__((aligned(4096)));
};

#ifndef CELL_PROGRAM
#include <sys/types.h>

struct cell {
	int pid;
	pid_t owner;
	struct cell_shared *shared;
	_Atomic bool runs; /* guest code; then a kick has an effect */
};

/*
 * Starts a cell for the memory that lies in file. It ends with the calling thread, at the latest. -ENOTSUP: this host
 * cannot, err says why.
 */
int cell_start(struct cell *cell, int file, struct error *err);
void cell_end(struct cell *cell);

/* Was it started by this thread, and not ended? */
bool cell_is_mine(const struct cell *cell);

/* Gives it the turn and waits until it gives it back. false: it has died. The thread that uses the cell. */
bool cell_turn(struct cell *cell, enum cell_turn turn);

/* Makes a cell that runs guest code stop soon; any thread. */
void cell_kick(struct cell *cell);

#endif
#endif
