/* SPDX-License-Identifier: MIT */
/*
 * The KVM accelerator with a KVM, of whatever kind this host has (16-bit code is enough): the state's way
 * into it and back, doorbells, what the guest wrote. Without one, what needs it is skipped, and says so.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "accel/kvm/kvm.h"
#include "base/error.h"
#include "cpu/blocks.h"
#include "cpu/exclusive.h"
#include "cpu/isa.h"
#include "dev/bus.h"
#include "host/loop.h"
#include "mem/mem.h"

#define STOP_PORT 0xf4
#define REGISTERS 0xd0000u /* of a device, where real mode reaches */
#define BELL 0x10u

struct rig {
	struct cpu_env env;
	struct cpu_intc intc;
	struct x86_lapic lapic;
	struct accel_machine *machine;
	struct cpu *cpu;
};

static bool lapic_pending(void *opaque)
{
	(void)opaque;
	return false;
}

static int lapic_acknowledge(void *opaque)
{
	(void)opaque;
	return -1;
}

static uint64_t lapic_cr8(void *opaque)
{
	return ((struct rig *)opaque)->lapic.reg[8] >> 4;
}

static bool lapic_msr(void *opaque, uint32_t index, uint64_t *value)
{
	*value = ((struct rig *)opaque)->lapic.base;
	return index == 0x1b;
}

static void lapic_save(void *opaque, struct x86_lapic *lapic)
{
	*lapic = ((struct rig *)opaque)->lapic;
}

static void lapic_restore(void *opaque, const struct x86_lapic *lapic)
{
	((struct rig *)opaque)->lapic = *lapic;
}

static void release(struct block *block)
{
	free(block);
}

static void rig_init(struct rig *rig)
{
	*rig = (struct rig){ .intc = {
		.opaque = rig, .pending = lapic_pending, .acknowledge = lapic_acknowledge,
		.cr8_read = lapic_cr8, .msr_read = lapic_msr, .save = lapic_save,
		.restore = lapic_restore } };
	rig->lapic.base = 0xfee00900;
	rig->lapic.reg[0xe] = ~0u;
	rig->lapic.reg[0xf] = 0x1ff;
	for (unsigned i = 0x32; i < 0x38; i++)
		rig->lapic.reg[i] = 0x10000;
	rig->env.intc = &rig->intc;
	assert_int_equal(loop_create(&rig->env.loop, NULL), 0);
	assert_int_equal(bus_create(&rig->env.pio, "pio", rig->env.loop, NULL), 0);
	assert_int_equal(bus_create(&rig->env.mmio, "mmio", rig->env.loop, NULL), 0);
	assert_int_equal(mem_create(&rig->env.mem, NULL), 0);
	assert_int_equal(mem_add(rig->env.mem, 0, REGISTERS, false, "RAM", NULL), 0);
}

static void rig_release(struct rig *rig)
{
	bus_destroy(rig->env.mmio);
	bus_destroy(rig->env.pio);
	mem_destroy(rig->env.mem);
	loop_destroy(rig->env.loop);
}

static void rig_add_cpu(struct rig *rig)
{
	assert_int_equal(blocks_create(&rig->env.blocks, rig->env.mem, 1 << 20, release, NULL), 0);
	assert_int_equal(exclusive_create(&rig->env.exclusive, NULL), 0);
	assert_int_equal(isa_x86.cpu_create(&rig->env, 0, 1, NULL, &rig->cpu, NULL), 0);
	assert_int_equal(exclusive_add(rig->env.exclusive, rig->cpu, NULL), 0);
}

/* False: no KVM, which is said. */
static bool rig_up(struct rig *rig, const char *without)
{
	struct accel_config config = { .cpus = 1, .portable = true, .changes = true,
				       .without = without };
	struct error err;

	rig_init(rig);
	config.mem = rig->env.mem;
	if (accel_kvm.create(&config, &rig->machine, &err)) {
		print_message("%s\n", err.message);
		rig_release(rig);
		return false;
	}
	rig->env.limit = accel_kvm.traits(rig->machine)->limit;
	rig_add_cpu(rig);
	return true;
}

static void rig_down(struct rig *rig)
{
	if (rig->machine)
		accel_kvm.destroy(rig->machine);
	blocks_destroy(rig->env.blocks);
	isa_x86.cpu_destroy(rig->cpu);
	exclusive_destroy(rig->env.exclusive);
	rig_release(rig);
}

/* ---- there and back ---- */

/* 64-bit mode, and a value of its own in each register. */
static void fill(struct x86_state *state)
{
	for (unsigned i = 0; i < X86_GPRS; i++)
		state->gpr[i] = 0x1111111111111111ull * (i + 1) ^ i;
	state->rip = 0xffffffff81234567;
	state->rflags = X86_F1 | X86_CF | X86_DF | X86_AC | X86_IF;
	for (unsigned i = 0; i < X86_SEGS; i++)
		state->seg[i] = (struct x86_seg){ .limit = ~0u, .attr = 0xc093,
						  .selector = (uint16_t)(0x10 + 8 * i) };
	state->seg[X86_CS].attr = 0xa09b;
	state->seg[X86_FS].base = 0x7fff12345000;
	state->seg[X86_GS].base = 0xffff888000000000;
	state->tr = (struct x86_seg){ .base = 0x7000, .limit = 0x67, .attr = 0x8b, .selector = 0x40 };
	state->ldtr = (struct x86_seg){ .base = 0x6000, .limit = 0xfff, .attr = 0x82,
					.selector = 0x48 };
	state->gdtr = (struct x86_table){ 0xffff888000001000, 0x7f };
	state->idtr = (struct x86_table){ 0xffff888000002000, 0xfff };
	state->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP | X86_CR0_ET | X86_CR0_NE | X86_CR0_MP;
	state->cr2 = 0xdeadbeef000;
	state->cr3 = 0x5000;
	state->cr4 = X86_CR4_PAE | X86_CR4_PGE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT;
	state->efer = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
	for (unsigned i = 0; i < 4; i++)
		state->dr[i] = 0x1000 * (i + 1);
	state->dr6 = 0xffff0ff1;
	state->dr7 = 0x401;
	state->star = 0x0023001000000000;
	state->lstar = 0xffffffff81000000;
	state->cstar = 0xffffffff81000100;
	state->sfmask = 0x47700;
	state->kernel_gs_base = 0x7ffff0001000;
	state->sysenter_cs = 0x10;
	state->sysenter_esp = 0xffff888000003000;
	state->sysenter_eip = 0xffffffff81000200;
	state->pat = 0x0407010600070106;
	state->mtrr_phys_base[1] = 0xc0000000;
	state->mtrr_phys_mask[1] = 0xfc0000800;
	state->mtrr_def_type = 0xc06;
	/* A KVM in software may have no clock but the host's. */
	state->tsc_offset = 0;
	state->nmi_blocked = true;
	state->halted = false;
	memcpy(state->xsave + 160, "sixteen bytes!!!", 16);
	state->xsave[512] = 3;
	state->fpu_ip = 0x1234;
	state->fpu_dp = 0x5678;
	state->fpu_opcode = 0x123;
}

#define SAME(member) assert_memory_equal(&after->member, &before.member, sizeof(before.member))

static void check_there_and_back(const char *without)
{
	static struct x86_state before;
	struct x86_state *after;
	struct rig rig;
	struct error err = { 0 };

	if (!rig_up(&rig, without))
		skip();
	after = isa_x86.state(rig.cpu);
	fill(after);
	before = *after;
	rig.lapic.reg[8] = 0x50;
	assert_int_equal(accel_kvm.resume(rig.machine, &rig.cpu, 1, &err), 0);
	assert_int_equal(((struct kvm_vcpu *)rig.cpu->engine)->run->if_flag, 1);
	/* All that comes back comes from the kernel. */
	memset(after, 0, sizeof(*after));
	after->tsc_offset = 1;
	assert_int_equal(accel_kvm.pause(rig.machine, &err), 0);
	SAME(gpr);
	SAME(rip);
	SAME(rflags);
	SAME(seg);
	SAME(ldtr);
	SAME(tr);
	SAME(gdtr);
	SAME(idtr);
	SAME(cr0);
	SAME(cr2);
	SAME(cr3);
	SAME(cr4);
	SAME(efer);
	SAME(dr);
	SAME(dr6);
	SAME(dr7);
	SAME(star);
	SAME(lstar);
	SAME(cstar);
	SAME(sfmask);
	SAME(kernel_gs_base);
	SAME(sysenter_cs);
	SAME(sysenter_esp);
	SAME(sysenter_eip);
	SAME(pat);
	SAME(mtrr_phys_base);
	SAME(mtrr_phys_mask);
	SAME(mtrr_def_type);
	SAME(tsc_offset);
	SAME(nmi_blocked);
	SAME(fpu_ip);
	SAME(fpu_dp);
	SAME(fpu_opcode);
	assert_memory_equal(after->xsave + 160, "sixteen bytes!!!", 16);
	assert_int_equal(rig.lapic.reg[8], 0x50);
	assert_int_equal(rig.lapic.base, 0xfee00900);
	rig_down(&rig);
}

static void test_there_and_back(void **state)
{
	(void)state;
	check_there_and_back(NULL);
}

static void test_there_and_back_with_an_old_kernel(void **state)
{
	(void)state;
	check_there_and_back("all");
}

/* The engine finishes what the kernel began: an interrupt in real mode, to a handler that halts. */
static void test_an_engine_goes_on_with_the_event(void **state)
{
	static const uint8_t vector[4] = { 0x00, 0x20, 0x00, 0x00 }, halt = 0xf4;
	struct x86_state *cpu;
	struct rig rig;
	uint16_t frame[3];

	(void)state;
	rig_init(&rig);
	rig_add_cpu(&rig);
	assert_int_equal(mem_write(rig.env.mem, 0x41 * 4, vector, sizeof(vector)), 0);
	assert_int_equal(mem_write(rig.env.mem, 0x2000, &halt, 1), 0);
	cpu = isa_x86.state(rig.cpu);
	cpu->seg[X86_CS] = (struct x86_seg){ .limit = 0xffff, .attr = 0x9b };
	cpu->rip = 0x1234;
	cpu->gpr[X86_RSP] = 0x3000;
	cpu->event = (struct x86_pending){ .kind = X86_PENDING_EXTERNAL, .vector = 0x41 };
	isa_x86.state_changed(rig.cpu);
	exclusive_enter(rig.cpu);
	isa_x86.run(rig.cpu, 10);
	exclusive_leave(rig.cpu);
	assert_int_equal(cpu->rip, 0x2001);
	assert_true(cpu->halted);
	assert_int_equal(cpu->event.kind, X86_PENDING_NONE);
	assert_int_equal(mem_read(rig.env.mem, 0x2ffa, frame, sizeof(frame)), 0);
	assert_int_equal(frame[0], 0x1234);
	rig_down(&rig);
}

/* ---- a guest that runs ---- */

static uint64_t no_value(void *opaque, uint64_t offset, unsigned size, int cpu)
{
	(void)opaque, (void)offset, (void)size, (void)cpu;
	return 0;
}

static void stop(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct rig *rig = opaque;

	(void)offset, (void)size, (void)value, (void)cpu;
	cpu_request(rig->cpu, CPU_REQ_STOP);
}

static void count_write(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	(void)size, (void)value, (void)cpu;
	if (offset == BELL)
		++*(unsigned *)opaque;
}

/* Real-mode code at 0x1000, which ends with a write to the port. */
static void run_code(struct rig *rig, const uint8_t *code, size_t size)
{
	const struct bus_range port = { .base = STOP_PORT, .size = 1, .name = "stop", .opaque = rig,
					.read = no_value, .write = stop };
	struct x86_state *state = isa_x86.state(rig->cpu);

	assert_int_equal(bus_add(rig->env.pio, &port, NULL), 0);
	assert_int_equal(mem_write(rig->env.mem, 0x1000, code, size), 0);
	state->seg[X86_CS] = (struct x86_seg){ .limit = 0xffff, .attr = 0x9b };
	state->rip = 0x1000;
	if (rig->machine)
		assert_int_equal(accel_kvm.resume(rig->machine, &rig->cpu, 1, NULL), 0);
	else
		isa_x86.state_changed(rig->cpu);
	(rig->machine ? &accel_kvm : &accel_interp)->run(rig->cpu);
	if (rig->machine)
		assert_int_equal(accel_kvm.pause(rig->machine, NULL), 0);
	bus_remove(rig->env.pio, STOP_PORT);
}

/* ---- a device that holds the CPU ---- */

struct gate {
	struct cpu *cpu;
	pthread_t keeper;
	bool stop; /* the CPU while it is held */
	atomic_bool open;
	unsigned writes;
};

static void *keep_gate(void *opaque)
{
	struct gate *gate = opaque;

	/* Long enough for a CPU that is not held to come back. */
	usleep(20000);
	if (gate->stop) {
		cpu_request(gate->cpu, CPU_REQ_STOP);
		return NULL;
	}
	cpu_request(gate->cpu, CPU_REQ_INTERRUPT);
	usleep(1000);
	atomic_store(&gate->open, true);
	cpu_release(gate->cpu);
	return NULL;
}

static void enter_gate(void *opaque, uint64_t offset, unsigned size, uint64_t value, int cpu)
{
	struct gate *gate = opaque;

	(void)offset, (void)size, (void)value, (void)cpu;
	if (gate->writes++) {
		assert_true(gate->open);
		return;
	}
	cpu_request(gate->cpu, CPU_REQ_HOLD);
	assert_int_equal(pthread_create(&gate->keeper, NULL, keep_gate, gate), 0);
}

static void run_through_gate(struct rig *rig, bool is_stopped)
{
	static const uint8_t code[] = {
		0xb8, 0x00, 0xd0,       /* mov ax, 0xd000   */
		0x8e, 0xd8,             /* mov ds, ax       */
		0xa3, 0x00, 0x00,       /* mov [0], ax      */
		0xa3, 0x00, 0x00,       /* mov [0], ax      */
		0xe6, STOP_PORT,        /* out STOP_PORT,al */
		0xf4,                   /* hlt              */
	};
	struct gate gate = { .cpu = rig->cpu, .stop = is_stopped };
	const struct bus_range range = { .base = REGISTERS, .size = 0x1000, .name = "gate",
					 .opaque = &gate, .read = no_value, .write = enter_gate };

	assert_int_equal(bus_add(rig->env.mmio, &range, NULL), 0);
	run_code(rig, code, sizeof(code));
	pthread_join(gate.keeper, NULL);
	assert_int_equal(gate.writes, is_stopped ? 1 : 2);
	assert_int_equal(cpu_requested(rig->cpu, CPU_REQ_HOLD), is_stopped);
	bus_remove(rig->env.mmio, REGISTERS);
}

static void test_a_held_cpu_waits(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct rig rig;

		if (!rig_up(&rig, NULL))
			skip();
		run_through_gate(&rig, i);
		rig_down(&rig);
	}
}

/* The same of the engines that need no KVM. */
static void test_a_held_cpu_waits_in_engines(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct rig rig;

		rig_init(&rig);
		rig_add_cpu(&rig);
		run_through_gate(&rig, i);
		rig_down(&rig);
	}
}

/* ---- doorbells ---- */

/* How often the write came to the bus, and whether it came to the file descriptor. */
static unsigned ring(const char *without, bool *signalled)
{
	static const uint8_t code[] = {
		0xb8, 0x00, 0xd0,       /* mov ax, 0xd000   */
		0x8e, 0xd8,             /* mov ds, ax       */
		0xa3, BELL, 0x00,       /* mov [BELL], ax   */
		0xe6, STOP_PORT,        /* out STOP_PORT,al */
		0xf4,                   /* hlt              */
	};
	struct bus_doorbell bell = { .offset = BELL, .size_bytes = 2, .fd = eventfd(0, EFD_NONBLOCK) };
	unsigned writes = 0;
	struct bus_range range = { .base = REGISTERS, .size = 0x1000, .name = "device",
				   .opaque = &writes, .read = no_value, .write = count_write,
				   .doorbells = &bell, .doorbell_count = 1 };
	uint64_t times;
	struct rig rig;

	if (!rig_up(&rig, without))
		skip();
	assert_int_equal(bus_add(rig.env.mmio, &range, NULL), 0);
	run_code(&rig, code, sizeof(code));
	*signalled = read(bell.fd, &times, sizeof(times)) == sizeof(times);
	bus_remove(rig.env.mmio, REGISTERS);
	rig_down(&rig);
	close(bell.fd);
	return writes;
}

static void test_doorbell(void **state)
{
	bool signalled;

	(void)state;
	assert_int_equal(ring(NULL, &signalled), 0);
	assert_true(signalled);
}

static void test_doorbell_without_events(void **state)
{
	bool signalled;

	(void)state;
	assert_int_equal(ring("ioeventfd", &signalled), 1);
	assert_false(signalled);
}

/* Whether what was decoded in two pages is still good after the guest wrote to the first. */
static void write_a_page(const char *without, bool left[2])
{
	static const uint8_t code[] = {
		0xb8, 0x00, 0x03,       /* mov ax, 0x300    */
		0x8e, 0xd8,             /* mov ds, ax       */
		0xa3, 0x00, 0x00,       /* mov [0], ax      */
		0xe6, STOP_PORT,        /* out STOP_PORT,al */
		0xf4,                   /* hlt              */
	};
	_Atomic uint8_t *flags;
	struct rig rig;

	if (!rig_up(&rig, without))
		skip();
	flags = &mem_find(rig.env.mem, 0)->page_flags[3];
	for (unsigned i = 0; i < 2; i++)
		atomic_fetch_or(&flags[i], MEM_PAGE_CODE);
	run_code(&rig, code, sizeof(code));
	accel_kvm.report_writes(rig.machine, rig.env.blocks);
	for (unsigned i = 0; i < 2; i++)
		left[i] = atomic_load(&flags[i]) & MEM_PAGE_CODE;
	rig_down(&rig);
}

static void test_writes(void **state)
{
	bool left[2];

	(void)state;
	write_a_page(NULL, left);
	assert_false(left[0]);
	assert_true(left[1]);
}

static void test_writes_without_a_log(void **state)
{
	bool left[2];

	(void)state;
	write_a_page("dirty-log", left);
	assert_false(left[0]);
	assert_false(left[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_engine_goes_on_with_the_event),
		cmocka_unit_test(test_there_and_back),
		cmocka_unit_test(test_there_and_back_with_an_old_kernel),
		cmocka_unit_test(test_a_held_cpu_waits),
		cmocka_unit_test(test_a_held_cpu_waits_in_engines),
		cmocka_unit_test(test_doorbell),
		cmocka_unit_test(test_doorbell_without_events),
		cmocka_unit_test(test_writes),
		cmocka_unit_test(test_writes_without_a_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
