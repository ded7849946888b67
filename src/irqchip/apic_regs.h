/* SPDX-License-Identifier: MIT */
/*
 * Private to the APIC's files: registers, state, and what the files offer each other. Functions
 * that take a struct apic expect its lock held unless they say otherwise.
 */
#ifndef RINGLET_IRQCHIP_APIC_REGS_H
#define RINGLET_IRQCHIP_APIC_REGS_H

#include <pthread.h>
#include <stdatomic.h>

#include "cpu/irqchip.h"
#include "irqchip/apic.h"

/* Register numbers: offset in the page / 16, MSR - 0x800. */
enum {
	APIC_ID = 0x02,
	APIC_VER = 0x03,
	APIC_TPR = 0x08,
	APIC_APR = 0x09,
	APIC_PPR = 0x0a,
	APIC_EOI = 0x0b,
	APIC_RRD = 0x0c,
	APIC_LDR = 0x0d,
	APIC_DFR = 0x0e,
	APIC_SVR = 0x0f,
	APIC_ISR = 0x10, /* eight of each */
	APIC_TMR = 0x18,
	APIC_IRR = 0x20,
	APIC_ESR = 0x28,
	APIC_ICR = 0x30,
	APIC_ICR_HIGH = 0x31,
	APIC_LVT_FIRST = 0x32,
	APIC_LVT_LAST = 0x37,
	APIC_TIMER_INITIAL = 0x38,
	APIC_TIMER_CURRENT = 0x39,
	APIC_TIMER_DIVIDE = 0x3e,
	APIC_SELF_IPI = 0x3f,
};

enum apic_lvt {
	APIC_LVT_TIMER,
	APIC_LVT_THERMAL,
	APIC_LVT_PERF,
	APIC_LVT_LINT0,
	APIC_LVT_LINT1,
	APIC_LVT_ERROR,
	APIC_LVTS
};

#define LVT_VECTOR 0xffu
#define LVT_MODE_SHIFT 8
#define LVT_LEVEL (1u << 15)
#define LVT_MASKED (1u << 16)
#define LVT_TIMER_MODE (3u << 17)
#define LVT_TIMER_PERIODIC (1u << 17)
#define LVT_TIMER_DEADLINE (2u << 17)

#define SVR_ENABLE (1u << 8)
#define SVR_EOI_QUIET (1u << 12)

#define ESR_SEND_VECTOR (1u << 5)
#define ESR_RECEIVE_VECTOR (1u << 6)
#define ESR_REGISTER (1u << 7)

/*
 * ICR:   19:18 shorthand  15 level-triggered  14 assert  12 send pending  11 logical  10:8 mode
 */
#define ICR_LOGICAL (1u << 11)
#define ICR_PENDING (1u << 12)
#define ICR_ASSERT (1u << 14)
#define ICR_LEVEL (1u << 15)
#define ICR_SHORTHAND_SHIFT 18

#define BASE_BSP (1ull << 8)
#define BASE_X2APIC (1ull << 10)
#define BASE_ENABLE (1ull << 11)
#define BASE_MODE (BASE_X2APIC | BASE_ENABLE)
#define BASE_PAGE (~0xfffull)

/* All of an APIC that a snapshot keeps. */
struct apic_state {
	uint64_t base; /* IA32_APIC_BASE */
	uint32_t id;   /* 8 bits in xAPIC mode, where the guest may write it */
	uint32_t tpr, ldr, dfr, svr, esr, esr_pending;
	uint32_t icr, icr_destination; /* destination: 8 bits at 31:24 in xAPIC mode, else all */
	uint32_t lvt[APIC_LVTS];
	uint32_t irr[8], isr[8], tmr[8];
	bool extint_latched; /* an ExtINT message waits, apart from the LINT0 wire */
	uint32_t timer_initial, timer_divide;
	uint64_t timer_start_ns;  /* when the current count began, host's monotonic clock */
	bool timer_running;
	uint64_t deadline;        /* IA32_TSC_DEADLINE; 0: disarmed */
};

struct apic {
	struct apic_set *set;
	struct apic_state *state;
	unsigned index;
	pthread_mutex_t lock;
	_Atomic bool deliverable; /* what cpu_intc.pending answers */
	_Atomic(struct cpu *) cpu;
	struct cpu_intc intc;
	struct loop_timer *timer;
};

/* A page in memory where some CPUs' registers are. */
struct apic_window {
	struct apic_set *set;
	_Atomic uint64_t base;
	bool mapped;
};

struct apic_set {
	struct device dev;
	struct apic_config config;
	struct loop *loop;
	struct bus *mmio;
	const struct irqchip_backend *backend; /* NULL: the APICs are here */
	_Atomic bool lint0;        /* level of the PIC's INTR */
	bool lint1;                /* … of the NMI wire; machine lock */
	_Atomic unsigned rotor;    /* spreads lowest-priority messages among equals */
	struct apic_window default_window;
	struct apic_window window[APIC_CPUS_MAX]; /* of CPUs that moved their page */
	struct apic_state state[APIC_CPUS_MAX];
	struct apic apic[APIC_CPUS_MAX];
};

/* What a register write leaves to be done with no APIC's lock held. */
struct apic_after {
	bool eoi;
	uint8_t eoi_vector;
	bool send;
	unsigned shorthand; /* ICR 19:18 */
	struct apic_message message;
};

/* ---- apic.c: state and priorities ---- */

static inline bool apic_enabled(const struct apic *apic)
{
	return apic->state->base & BASE_ENABLE;
}

static inline bool apic_is_x2apic(const struct apic *apic)
{
	return (apic->state->base & BASE_MODE) == BASE_MODE;
}

/* All registers as after INIT; the base MSR and the ID stay. */
void apic_init_state(struct apic *apic);
/* Recomputes deliverable and tells the CPU: after any change of IRR, ISR, TPR, LVT or a wire. */
void apic_update(struct apic *apic);
uint32_t apic_ppr(const struct apic *apic);
/* Accepts a fixed interrupt: IRR and TMR. A vector below 16 is a receive error. */
void apic_accept(struct apic *apic, uint8_t vector, bool level);
/* Notes ESR bits and raises the error LVT. */
void apic_error(struct apic *apic, uint32_t esr_bits);
/* Fires a local vector table entry, unless masked. */
void apic_fire_lvt(struct apic *apic, enum apic_lvt which);
/* Ends the interrupt in service with the highest priority. */
void apic_end_of_interrupt(struct apic *apic, struct apic_after *after);

/* ---- apic_message.c: who gets a message; no APIC's lock held ---- */

unsigned apic_send(struct apic_set *set, const struct apic_message *message, unsigned shorthand,
		   unsigned sender);
/* Does what apic's register write left. */
void apic_finish(struct apic *apic, const struct apic_after *after);

/* ---- apic_regs.c ---- */

/* false: no such register (or, for the write, a value or direction that x2APIC refuses). */
bool apic_reg_read(struct apic *apic, unsigned reg, uint32_t *value);
bool apic_reg_write(struct apic *apic, unsigned reg, uint32_t value, struct apic_after *after);
uint32_t apic_x2apic_ldr(const struct apic *apic);

/* ---- apic_page.c: the registers in memory; takes the lock itself ---- */

int apic_page_map(struct apic_set *set, struct error *err);
void apic_page_unmap(struct apic_set *set);
/* Some CPU's base moved: machine lock held, no APIC's lock. */
void apic_page_sync(struct apic_set *set);

/* ---- apic_msr.c: the CPU's calls; take the lock themselves ---- */

bool apic_msr_read(void *opaque, uint32_t index, uint64_t *value);
bool apic_msr_write(void *opaque, uint32_t index, uint64_t value);

/* ---- apic_state.c: struct cpu_intc's save and restore ---- */

void apic_save(void *opaque, struct x86_lapic *lapic);
void apic_restore(void *opaque, const struct x86_lapic *lapic);

/* ---- apic_timer.c ---- */

int apic_timer_create(struct apic *apic, struct error *err);
void apic_timer_destroy(struct apic *apic);
void apic_timer_set_initial(struct apic *apic, uint32_t value);
void apic_timer_set_divide(struct apic *apic, uint32_t value);
uint32_t apic_timer_current(const struct apic *apic);
/* The LVT entry changed: old is its value before. */
void apic_timer_lvt_changed(struct apic *apic, uint32_t old);
uint64_t apic_timer_deadline(const struct apic *apic);
void apic_timer_set_deadline(struct apic *apic, uint64_t deadline);
void apic_timer_stop(struct apic *apic);
/* After a snapshot's state was read. */
void apic_timer_rearm(struct apic *apic);
/* A count of timer_initial that has left to go; 0: it stands. */
void apic_timer_set_current(struct apic *apic, uint32_t left);

#endif
