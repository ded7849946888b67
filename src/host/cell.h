/* SPDX-License-Identifier: MIT */
/*
 * A cell: a process that has nothing but guest memory, mapped where a guest program has it, and
 * that runs the guest program's code as it is. Whatever it does that is not mere computing (a
 * system call, a fault, a signal that we send) ends in a signal handler there, which hands the turn
 * and all registers over to us by shared memory. See cell/cell.c for that side; this header is what
 * both agree on.
 *
 * Guest code cannot touch the shared memory where the processor has protection keys. Still, everything
 * in it is to be distrusted: where there are none, a guest program that finds where it lies could write it, also
 * while it is our turn, because it could say that it is. What we need to know of the cell is kept in
 * struct cell, and what we hand over is made there.
 */
#ifndef RINGLET_HOST_CELL_H
#define RINGLET_HOST_CELL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct error;

/* Descriptors of the cell. */
enum { CELL_FD_SHARED = 3, CELL_FD_MEMORY = 4 };

/* From where the cell's program is to where the shared memory is there. */
#define CELL_FROM_IMAGE (1ull << 20)
/* The protection key of what guest code must not touch; Linux denies it to programs that do not ask for it. */
#define CELL_PKEY 15

/*
 * Whose turn it is: the word is true whatever woke its reader. Where the host can do it, the cell
 * gives the turn by a system call that is held until it has the turn again (host/handover.h), else both
 * wait for the word to change, and wake each other by it. The cell's turn is to be taken, and taken.
 */
enum cell_turn { CELL_OURS, CELL_RUN, CELL_TAKEN };

/* Maps bytes of the guest's memory; protection 0 unmaps. All are multiples of the page size. */
struct cell_change {
	uint64_t linear, bytes, offset;
	uint64_t protection; /* PROT_… */
};

#define CELL_CHANGES 1024
#define CELL_STACK_BYTES (64u << 10)
#define CELL_RANGES 4
#define CELL_LIMIT 0x7ffffffff000ull /* user space ends here */

/*
 * The cell's own pages are all in the part of this size that self is in, where programs rarely have
 * anything; but for what the host's kernel put elsewhere and does not let go. Where the guest's
 * program has pages in that part, the cell is not for it: it would find other memory there than its
 * own.
 */
#define CELL_PART_SHIFT 39

struct cell_range {
	uint64_t start, end;
};

struct cell_shared {
	_Atomic uint32_t turn;         /* enum cell_turn; a futex, but where the cell … */
	bool hands_over;               /* … makes the call */
	_Atomic uint32_t cell_sleeps;  /* on the futex */
	_Atomic uint32_t we_sleep;
	uint32_t spin_ticks;           /* of the TSC, before the cell sleeps */
	uint64_t guest_ticks;          /* that guest code ran, signals' cost included … */
	uint64_t guest_ticks_most;     /* … of which a turn counts for no more: it may have been preempted */
	uint32_t parent;               /* our process */

	uint64_t self;                 /* where this lies in the cell */
	uint64_t entered_at;           /* by the TSC, guest code; the cell's own, as is … */
	uint64_t blocked;              /* … which signals were, in the handler */

	/* What it says at first. */
	bool cpuid_faults;             /* in the cell: the host can */
	bool is_protected;             /* all but stack, by CELL_PKEY */
	uint32_t ranges;               /* what the cell needs for itself */
	struct cell_range range[CELL_RANGES];

	/* What it says when it gives the turn. */
	uint32_t signal;
	int32_t code;                  /* siginfo's */
	uint64_t call_address;         /* siginfo's, of a SIGSYS */
	int32_t failed;                /* errno of a change that could not be made; then nothing ran */
	uint64_t context;              /* address of the signal handler's struct ucontext, in stack */
	uint64_t fs_base, gs_base;     /* and what we say */
	uint16_t ds, es, fs, gs;       /* … */

	uint64_t key;                  /* for the cell's calls; taken away before guest code runs */
	uint32_t changes;              /* to be made before anything else */
	struct cell_change change[CELL_CHANGES];

	uint8_t stack[CELL_STACK_BYTES] __attribute__((aligned(4096)));
};

#ifndef CELL_PROGRAM
#include <sys/types.h>

struct cell {
	_Atomic int pid;          /* or -1 */
	_Atomic unsigned kickers; /* threads that use pid now */
	pid_t owner;
	struct cell_shared *shared;
	_Atomic bool runs;        /* guest code; then a kick has an effect */
	_Atomic bool kicked;      /* in this turn */

	uint64_t self;            /* where shared lies there */
	/* What it said before it ran any guest code: see struct cell_shared. */
	bool cpuid_faults;
	bool is_protected; /* if the guest code's rights deny it CELL_PKEY */
	struct cell_range range[CELL_RANGES];

	int listener;             /* for the call that gives the turn, or -1: by the futex … */
	uint64_t call;            /* … which it waits in */
	uint32_t spin_ticks;      /* of the TSC, before we sleep on the futex */

	uint64_t key;
	unsigned changes;         /* for its next turn */
	struct cell_change change[CELL_CHANGES];
};

/*
 * Starts a cell for the memory that lies in file. It ends with the calling thread, at the latest.
 * Or -errno: the host does not let us, for the time being or at all. cell has none, or was ended.
 */
int cell_start(struct cell *cell, int file, struct error *err);
/* The one that it has, if any: without, pid and listener are -1, and shared is NULL. */
void cell_end(struct cell *cell);

/*
 * Before its first turn: both sides' waits spin for so many ticks of the TSC before they sleep, if
 * they have but the futex.
 */
void cell_spin(struct cell *cell, uint32_t ticks);

/* Was it started by this thread, and not ended? */
bool cell_is_mine(const struct cell *cell);

/*
 * Gives it the turn and waits until it gives it back; its changes are made. The thread that uses
 * the cell. -ENOMEM: not all changes could be made, and no guest code was run. -ECHILD: it is gone,
 * or does not answer; what its registers were is not known. -ESRCH: it is gone, and had not run
 * guest code before. Afterwards CPUID may fault in the thread (cpuid.h); one that will sleep for long
 * allows it again, to sleep and wake faster.
 */
int cell_turn(struct cell *cell);

/* Makes a cell that runs guest code stop soon; any thread. */
void cell_kick(struct cell *cell);

#endif
#endif
