/* SPDX-License-Identifier: MIT */
/*
 * How instructions fault, and how events reach their handlers. Intel SDM vol. 3, chapter 6.
 *
 * Delivery itself may fault. For an instruction that asked for it (INT n, INT1) such a fault is the
 * instruction's own: it unwinds to the run loop, which takes RIP back. For an exception or an
 * external interrupt it is caught here, and joined with the first event by the double-fault rules
 * (table 6-5) into the next one to deliver. Each delivery that faults has left the state as it was,
 * so RIP is still the one to push. A third fault shuts the CPU down.
 */
#include "isa/x86/direct/direct.h"
#include "isa/x86/event/trap.h"

#include "isa/x86/system/debug.h"

/* ---- raising ---- */

static _Noreturn void unwind(struct x86_cpu *cpu, enum x86_vector vector, bool has_error,
			     uint32_t error)
{
	cpu->fault = (struct x86_fault){ .vector = (uint8_t)vector, .has_error = has_error,
					 .error = error };
	longjmp(*cpu->unwind, X86_UNWIND_FAULT);
}

_Noreturn void x86_raise(struct x86_cpu *cpu, enum x86_vector vector)
{
	unwind(cpu, vector, false, 0);
}

_Noreturn void x86_raise_error(struct x86_cpu *cpu, enum x86_vector vector, uint32_t error)
{
	unwind(cpu, vector, true, error);
}

_Noreturn void x86_raise_page_fault(struct x86_cpu *cpu, uint64_t linear, uint32_t error)
{
	cpu->fault_address = linear;
	unwind(cpu, X86_PF_FAULT, true, error);
}

_Noreturn void x86_undefined(struct x86_cpu *cpu)
{
	unwind(cpu, X86_UD, false, 0);
}

_Noreturn void x86_general_protection(struct x86_cpu *cpu)
{
	unwind(cpu, X86_GP, true, 0);
}

_Noreturn void x86_raise_idt(struct x86_cpu *cpu, enum x86_vector vector,
			     const struct x86_event *event)
{
	unwind(cpu, vector, true, event->vector * 8u + 2 + x86_event_ext(event));
}

/* ---- delivery ---- */

/* #DB is left out: of it, only the breakpoint on an instruction is a fault, and that one pushes RF
 * as it stands. So are aborts. */
static bool is_fault(unsigned vector)
{
	const uint32_t faults = 1u << X86_DE | 1u << X86_BR | 1u << X86_UD | 1u << X86_NM |
				1u << X86_TS | 1u << X86_NP | 1u << X86_SS_FAULT | 1u << X86_GP |
				1u << X86_PF_FAULT | 1u << X86_MF | 1u << X86_AC_FAULT |
				1u << X86_XM;

	return vector < 32 && (faults >> vector & 1);
}

uint64_t x86_event_flags(const struct x86_cpu *cpu, const struct x86_event *event)
{
	if (event->kind == X86_EVENT_EXCEPTION && is_fault(event->vector))
		return cpu->state.rflags | X86_RF;
	return cpu->state.rflags;
}

static void deliver_once(struct x86_cpu *cpu, const struct x86_event *event)
{
	if (!(cpu->state.cr0 & X86_CR0_PE))
		x86_deliver_real(cpu, event);
	else if (cpu->long_mode)
		x86_deliver_long(cpu, event);
	else
		x86_deliver_protected(cpu, event);
	cpu->state.halted = false;
	cpu->state.shadow_sti = false;
	cpu->state.shadow_mov_ss = false;
	if (event->vector == X86_DB && event->kind != X86_EVENT_EXTERNAL)
		cpu->state.dr7 &= ~X86_DR7_GD;
}

/* A function of its own: no local lives across the setjmp. */
static bool __attribute__((noinline)) try_deliver(struct x86_cpu *cpu,
						  const struct x86_event *event)
{
	if (_setjmp(*cpu->unwind))
		return false;
	deliver_once(cpu, event);
	return true;
}

enum fault_class { BENIGN, CONTRIBUTORY, PAGE_FAULT, DOUBLE_FAULT };

static enum fault_class classify(unsigned vector)
{
	switch (vector) {
	case X86_DE:
	case X86_TS:
	case X86_NP:
	case X86_SS_FAULT:
	case X86_GP:
		return CONTRIBUTORY;
	case X86_PF_FAULT:
		return PAGE_FAULT;
	case X86_DF_FAULT:
		return DOUBLE_FAULT;
	default:
		return BENIGN;
	}
}

static void take_cr2(struct x86_cpu *cpu, unsigned vector)
{
	if (vector == X86_PF_FAULT)
		cpu->state.cr2 = cpu->fault_address;
}

/* Delivering *event raised cpu->fault: *event becomes what to deliver next. false: shutdown. */
static bool join_faults(struct x86_cpu *cpu, struct x86_event *event)
{
	enum fault_class first = event->kind == X86_EVENT_EXCEPTION ? classify(event->vector) :
								      BENIGN;
	enum fault_class second = classify(cpu->fault.vector);

	take_cr2(cpu, cpu->fault.vector);
	if (second == BENIGN || first == BENIGN || (first == CONTRIBUTORY && second == PAGE_FAULT)) {
		*event = (struct x86_event){ X86_EVENT_EXCEPTION, cpu->fault.vector,
					     cpu->fault.has_error, cpu->fault.error };
		return true;
	}
	*event = (struct x86_event){ X86_EVENT_EXCEPTION, X86_DF_FAULT, true, 0 };
	return first != DOUBLE_FAULT;
}

static void shut_down(struct x86_cpu *cpu)
{
	const struct x86_state *state = &cpu->state;

	x86_vec_park(cpu);
	log_guest(&cpu->log_limit, "CPU %u: triple fault at %04x:%llx, CR2 %llx", cpu->cpu.index,
		  state->seg[X86_CS].selector, (unsigned long long)state->rip,
		  (unsigned long long)state->cr2);
	cpu->state.halted = true;
	cpu->block_stop = true;
	if (cpu->cpu.env.shutdown)
		cpu->cpu.env.shutdown(cpu->cpu.env.opaque, &cpu->cpu);
}

void x86_deliver(struct x86_cpu *cpu, enum x86_event_kind kind, unsigned vector, bool has_error,
		 uint32_t error)
{
	struct x86_event event = { (uint8_t)kind, (uint8_t)vector, has_error, error };
	jmp_buf here, *outer = cpu->unwind;
	bool alive = true;

	direct_left(cpu, kind == X86_EVENT_EXTERNAL);
	if (kind == X86_EVENT_SOFTWARE || kind == X86_EVENT_ICEBP) {
		deliver_once(cpu, &event);
		return;
	}
	if (kind == X86_EVENT_EXCEPTION)
		take_cr2(cpu, vector);
	cpu->unwind = &here;
	while (alive && !try_deliver(cpu, &event))
		alive = join_faults(cpu, &event);
	cpu->unwind = outer;
	if (!alive)
		shut_down(cpu);
}
