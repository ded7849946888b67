/* SPDX-License-Identifier: MIT */
/*
 * One virtual CPU, as everyone but its own instruction set sees it: what it may use (env), what it
 * has been asked (requests), and how it sleeps and wakes. An ISA's CPU struct begins with this.
 *
 * Threads: a CPU runs on one thread; cpu_request and cpu_kick may come from any.
 */
#ifndef RINGLET_CPU_CPU_H
#define RINGLET_CPU_CPU_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct block;
struct blocks;
struct bus;
struct cpu;
struct error;
struct exclusive;
struct isa;
struct loop;
struct mem;
struct translator;
struct x86_cpuid_leaves;
struct x86_lapic;

/* Bits of cpu->requests: things to look at before the next block runs. */
enum {
	CPU_REQ_INTERRUPT = 1 << 0, /* the interrupt controller may have a vector */
	CPU_REQ_NMI = 1 << 1,
	CPU_REQ_INIT = 1 << 2,
	CPU_REQ_SIPI = 1 << 3,      /* page number in cpu->sipi_vector */
	CPU_REQ_SMI = 1 << 4,
	CPU_REQ_STOP = 1 << 5,      /* leave the run loop; stays set until the runner clears it */
	CPU_REQ_EXCLUSIVE = 1 << 6, /* another CPU wants everyone at a safe point: see exclusive.h */
	CPU_REQ_FLUSH_TLB = 1 << 7,
	CPU_REQ_CODE = 1 << 8,      /* generated code that it may be in is not valid any more */
	CPU_REQ_HOLD = 1 << 9,      /* goes no further but for a stop, until cpu_release */
};

/* Tables in which generated code looks up where to go on: one for each kind of code that an ISA has. */
#define CPU_TABLES 2
#define CPU_TURN_NONE 1u /* no table has anything there */
#define CPU_JUMP_KEY(turn) ((uint64_t)(turn) << 48)

/* The CPU's local interrupt controller (an APIC's CPU side), given by irqchip/ through the board. */
struct cpu_intc {
	void *opaque;
	/* A deliverable vector (above the task priority)? Cheap; any lock is its own. */
	bool (*pending)(void *opaque);
	/* Acknowledges and returns the vector to deliver, or -1 when it went away. */
	int (*acknowledge)(void *opaque);
	/* CR8: the task priority's upper four bits. */
	uint64_t (*cr8_read)(void *opaque);
	void (*cr8_write)(void *opaque, uint64_t cr8);
	/* APIC base, x2APIC range and TSC deadline MSRs. false: not this controller's MSR or a
	 * value that faults: the CPU raises #GP. */
	bool (*msr_read)(void *opaque, uint32_t index, uint64_t *value);
	bool (*msr_write)(void *opaque, uint32_t index, uint64_t value);
	/* Back to the state after INIT (the APIC ID and base stay). */
	void (*init)(void *opaque);
	/* All that it holds, for a controller outside of this process, and back: no CPU runs. */
	void (*save)(void *opaque, struct x86_lapic *lapic);
	void (*restore)(void *opaque, const struct x86_lapic *lapic);
	/* The one outside ended a level-triggered interrupt. */
	void (*eoi)(void *opaque, uint8_t vector);
};

/* Lent to a CPU for its life. */
struct cpu_env {
	struct mem *mem;
	struct bus *pio;
	struct bus *mmio;
	struct loop *loop;
	struct blocks *blocks;       /* the machine's shared code cache */
	struct exclusive *exclusive;
	struct translator *translator; /* the machine's generated code; NULL: interpret */
	const struct cpu_intc *intc;
	/* The guest asked for the end: triple fault. Any CPU thread, no lock held. */
	void (*shutdown)(void *opaque, struct cpu *cpu);
	/* Translator and interpreter disagree, and stderr has been told how. As shutdown. */
	void (*broken)(void *opaque, struct cpu *cpu);
	/* FERR#: an x87 error with CR0.NE clear raises IRQ 13 on a PC. */
	void (*fpu_error)(void *opaque);
	/* The accelerator cannot go on. Any CPU thread, no lock held; err is lent for the call. */
	void (*failed)(void *opaque, struct cpu *cpu, const struct error *err);
	void *opaque;
	/* Features that the CPU may have, as an accelerator's list; NULL: all that the ISA has. */
	const struct x86_cpuid_leaves *limit;
	uint64_t apic_timer_hz; /* the local APIC timer's clock; 0: the crystal that CPUID names */
};

struct cpu {
	const struct isa *isa;
	/* In front, where generated code has the shortest way to them. */
	_Atomic uint32_t requests;
	/*
	 * What generated code finds the way with from one page of code to another: its turn, below 65536, and
	 * the same as a key. A request makes them lead nowhere, so that the code comes back without having to
	 * look at requests each time.
	 */
	_Atomic uint32_t jump_turn[CPU_TABLES];
	_Atomic uint64_t jump_key[CPU_TABLES];
	struct cpu_env env;
	unsigned index; /* 0 … count-1; the APIC ID on a PC */
	unsigned count; /* CPUs of the machine */
	_Atomic uint32_t sipi_vector;
	_Atomic uint32_t asleep;    /* futex word: 1 while cpu_sleep waits */
	bool in_run;                /* exclusive.c: between enter and leave */
	struct block *block;        /* executing now: the code cache does not free it */
	void *engine;               /* the accelerator's own */
	/* Odd: it runs out of our sight, and hears of requests by kick alone. Counts up. */
	_Atomic uint32_t away;
	/* Makes a CPU that runs out of our sight look at its requests; NULL: it looks by itself.
	 * Changes while no CPU runs. */
	void (*kick)(struct cpu *cpu);
};

/* Sets request bits and wakes the CPU if it sleeps. Any thread. */
void cpu_request(struct cpu *cpu, uint32_t bits);
/* The same for a CPU that does not sleep, or need not wake up for that. */
void cpu_request_quietly(struct cpu *cpu, uint32_t bits);

static inline bool cpu_requested(const struct cpu *cpu, uint32_t bits)
{
	return atomic_load_explicit(&cpu->requests, memory_order_relaxed) & bits;
}

static inline void cpu_request_clear(struct cpu *cpu, uint32_t bits)
{
	atomic_fetch_and(&cpu->requests, ~bits);
}

/* A table's turn, for as long as nothing is requested. The CPU's own thread. */
void cpu_set_turn(struct cpu *cpu, unsigned table, uint32_t turn);

/* Sleeps until a request bit is set, outside of any exclusive section. */
void cpu_sleep(struct cpu *cpu);

/* Ends CPU_REQ_HOLD. Any thread. */
void cpu_release(struct cpu *cpu);
/* The same as cpu_sleep, while the CPU is held and not asked to stop. */
void cpu_sleep_held(struct cpu *cpu);

#endif
