/* SPDX-License-Identifier: MIT */
/*
 * A machine's life: make, build, boot, run, stop; take apart in reverse. The calling thread is the
 * event loop's, every CPU has its own. CPUs' threads end with each run, so that a reset works on a
 * machine that stands still.
 */
#include "vm/vm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/error.h"
#include "base/json.h"
#include "base/log.h"
#include "cpu/blocks.h"
#include "cpu/exclusive.h"
#include "cpu/isa.h"
#include "dev/bus.h"
#include "host/clock.h"
#include "host/loop.h"
#include "host/signals.h"
#include "mem/mem.h"
#include "ui/hub.h"
#include "ui/keep.h"
#include "ui/sink.h"
#include "ui/source.h"
#include "ui/terminal.h"
#include "vm/accel.h"
#include "vm/config.h"
#include "vm/machine.h"
#include "vm/stand.h"
#include "vm/stats.h"

#define BLOCKS_BYTES (128ull << 20)

/* ---- what boards call ---- */

int vm_add_device(struct vm *vm, struct device *dev, struct error *err)
{
	if (vm->device_count == VM_DEVICES_MAX) {
		dev->class->destroy(dev);
		return error_set(err, ENOSPC, "more than %d devices", VM_DEVICES_MAX);
	}
	vm->devices[vm->device_count++] = dev;
	return 0;
}

int vm_add_cpu(struct vm *vm, const struct cpu_env *env, struct cpu **out, struct error *err)
{
	struct cpu_env complete = *env;
	struct cpu *cpu;
	int ret;

	complete.mem = vm->env.mem;
	complete.pio = vm->env.pio;
	complete.mmio = vm->env.mmio;
	complete.loop = vm->env.loop;
	complete.blocks = vm->blocks;
	complete.exclusive = vm->exclusive;
	complete.translator = vm->translator;
	complete.limit = vm->traits.limit;
	complete.apic_timer_hz = vm->traits.apic_timer_hz;
	ret = isa_x86.cpu_create(&complete, vm->cpu_count, vm->config->cpus, vm->config->cpu_model,
				 &cpu, err);
	if (ret)
		return ret;
	vm->threads[vm->cpu_count++] = (struct vm_thread){ .cpu = cpu, .accel = vm->accel };
	*out = cpu;
	return exclusive_add(vm->exclusive, cpu, err);
}

void vm_end(struct vm *vm, enum vm_end end, unsigned value)
{
	int running = 0;

	if (!atomic_compare_exchange_strong(&vm->end, &running, (int)end + 1))
		return;
	atomic_store(&vm->end_value, value);
	/* At once: the CPU that asked for the end goes no further. */
	for (unsigned i = 0; i < vm->cpu_count; i++)
		cpu_request(vm->threads[i].cpu, CPU_REQ_STOP);
	loop_stop(vm->env.loop);
}

void vm_fail(struct vm *vm, const struct error *err)
{
	struct error mine = *err;
	bool first;

	loop_lock(vm->env.loop);
	first = !atomic_load(&vm->end);
	if (first)
		vm->failure = mine;
	loop_unlock(vm->env.loop);
	vm_end(vm, VM_END_FAILED, 0);
}

/* ---- life ---- */

static void release_block(struct block *block)
{
	free(block);
}

static void destroy(struct vm *vm)
{
	stats_ignore(vm);
	while (vm->device_count) {
		struct device *dev = vm->devices[--vm->device_count];

		dev->class->destroy(dev);
	}
	if (vm->config->board->destroy)
		vm->config->board->destroy(vm);
	accel_destroy(vm);
	blocks_destroy(vm->blocks);
	isa_x86.translator_destroy(vm->translator);
	for (unsigned i = 0; i < vm->cpu_count; i++)
		vm->threads[i].cpu->isa->cpu_destroy(vm->threads[i].cpu);
	exclusive_destroy(vm->exclusive);
	bus_destroy(vm->env.mmio);
	bus_destroy(vm->env.pio);
	mem_destroy(vm->env.mem);
	hub_destroy(vm->hub);
	if (vm->terminal)
		terminal_destroy(vm->terminal);
	if (vm->switch_timer)
		loop_timer_destroy(vm->switch_timer);
	source_destroy(vm->input);
	sink_destroy(vm->output[0]);
	sink_destroy(vm->output[1]);
	keep_destroy(vm->kernel_log);
	loop_destroy(vm->env.loop);
	free(vm->threads);
}

static int create_translator(struct vm *vm, struct error *err)
{
	const struct translator_config config = {
		.code_bytes = vm->config->code_cache_bytes,
		.dump = vm->config->debug_translate,
		.lockstep = vm->config->debug_lockstep,
		.direct = vm->config->direct,
		.perf_map = vm->config->perf_map,
	};

	return isa_x86.translator_create(&vm->translator, vm->blocks, &config, err);
}

static void device_wrote(void *opaque, uint64_t gpa, uint64_t len)
{
	struct vm *vm = opaque;

	blocks_wrote(vm->blocks, gpa, len);
}

static void stop_exec(void *opaque)
{
	blocks_stop_exec(((struct vm *)opaque)->blocks);
}

static void pause_machine(void *opaque)
{
	vm_pause(opaque);
}

static void hold_cpu(void *opaque, int number, bool held)
{
	struct cpu *cpu = ((struct vm *)opaque)->threads[number].cpu;

	if (held)
		cpu_request(cpu, CPU_REQ_HOLD);
	else
		cpu_release(cpu);
}

static int create_parts(struct vm *vm, struct error *err)
{
	int ret = loop_create(&vm->env.loop, err);

	if (!ret)
		ret = mem_create(&vm->env.mem, err);
	/* Without a file it does as well: the translator maps it a second time, and so do cells. */
	if (!ret && accel_translates(vm))
		mem_share(vm->env.mem);
	if (!ret)
		ret = bus_create(&vm->env.pio, "pio", vm->env.loop, err);
	if (!ret)
		ret = bus_create(&vm->env.mmio, "mmio", vm->env.loop, err);
	if (!ret)
		ret = exclusive_create(&vm->exclusive, err);
	if (!ret)
		ret = blocks_create(&vm->blocks, vm->env.mem, BLOCKS_BYTES, release_block, err);
	if (ret)
		return ret;
	blocks_set_cpus(vm->blocks, vm->exclusive);
	if (accel_translates(vm))
		ret = create_translator(vm, err);
	if (!ret)
		ret = accel_create(vm, err);
	if (ret)
		return ret;
	vm->env.pause = pause_machine;
	vm->env.hold = hold_cpu;
	vm->env.opaque = vm;
	vm->env.dma = (struct dma){ .mem = vm->env.mem, .wrote = device_wrote, .opaque = vm };
	if (mem_file(vm->env.mem) >= 0)
		vm->env.dma.stop_exec = stop_exec;
	vm->threads = calloc(vm->config->cpus, sizeof(*vm->threads));
	if (!vm->threads)
		return error_set(err, ENOMEM, "no memory for %u CPUs", vm->config->cpus);
	return 0;
}

static void user_quits(void *opaque)
{
	vm_end(opaque, VM_END_QUIT, 0);
}

static int open_terminal(struct vm *vm, struct error *err)
{
	struct terminal_config config = {
		.loop = vm->env.loop, .in_fd = STDIN_FILENO, .out_fd = STDOUT_FILENO,
		.quit = user_quits, .quit_help = "end the machine", .opaque = vm,
	};
	int ret = terminal_create(&config, &vm->terminal, err);

	if (!ret)
		ret = hub_create(terminal_chardev(vm->terminal), &vm->hub, err);
	if (!ret)
		vm->console = hub_chardev(vm->hub);
	return ret;
}

static int open_streams(struct vm *vm, struct error *err)
{
	int ret;

	/* A reader that goes away is the guest's affair. */
	signals_ignore_pipe();
	ret = source_create(vm->env.loop, STDIN_FILENO, &vm->input, err);

	if (!ret)
		ret = sink_create(vm->env.loop, STDOUT_FILENO, &vm->output[0], err);
	if (!ret)
		ret = sink_create(vm->env.loop, STDERR_FILENO, &vm->output[1], err);
	return ret;
}

/* Whatever the guest talks to. */
static int open_user(struct vm *vm, struct error *err)
{
	int ret = 0;

	if (vm->config->guest_init && vm->config->console == VM_CONSOLE_VIRTIO)
		ret = keep_create(&vm->kernel_log, err);
	if (!ret)
		ret = vm->config->streams ? open_streams(vm, err) : open_terminal(vm, err);
	return ret;
}

static int create(struct vm *vm, const struct vm_config *config, bool with_terminal,
		  struct error *err)
{
	int ret;

	*vm = (struct vm){ .config = config, .described = !with_terminal };
	report_init(&vm->report);
	ret = accel_choose(vm, err);
	if (!ret)
		ret = create_parts(vm, err);
	if (!ret && with_terminal)
		ret = open_user(vm, err);
	if (!ret)
		ret = config->board->build(vm, err);
	if (!ret && config->stats && with_terminal)
		ret = stats_listen(vm, err);
	if (!ret)
		accel_connect(vm);
	return ret;
}

static void *cpu_thread(void *opaque)
{
	struct vm_thread *thread = opaque;

	thread->accel->run(thread->cpu);
	return NULL;
}

static void stop_cpus(struct vm *vm)
{
	for (unsigned i = 0; i < vm->cpu_count; i++)
		cpu_request(vm->threads[i].cpu, CPU_REQ_STOP);
	for (unsigned i = 0; i < vm->cpu_count; i++) {
		if (vm->threads[i].started)
			pthread_join(vm->threads[i].thread, NULL);
		vm->threads[i].started = false;
		cpu_request_clear(vm->threads[i].cpu, CPU_REQ_STOP);
	}
}

static int start_cpus(struct vm *vm, struct error *err)
{
	for (unsigned i = 0; i < vm->cpu_count; i++) {
		int errnum = pthread_create(&vm->threads[i].thread, NULL, cpu_thread,
					    &vm->threads[i]);

		if (errnum) {
			stop_cpus(vm);
			return error_set_errno(err, errnum, "cannot start a thread for CPU %u", i);
		}
		vm->threads[i].started = true;
	}
	return 0;
}

static int reset(struct vm *vm, struct error *err)
{
	int ret = accel_reset(vm, err);

	for (unsigned i = 0; i < vm->device_count; i++)
		vm->devices[i]->class->reset(vm->devices[i]);
	for (unsigned i = 0; i < vm->cpu_count; i++)
		vm->threads[i].cpu->isa->cpu_reset(vm->threads[i].cpu);
	/* What boots next is loaded over the code that ran. */
	accel_forget_code(vm);
	return ret;
}

/* ---- changing the accelerator now and then, to see that nothing is lost on the way ---- */

static void switch_is_due(void *opaque)
{
	struct vm *vm = opaque;

	vm->switch_due = true;
	loop_stop(vm->env.loop);
}

static int arm_switch(struct vm *vm, struct error *err)
{
	uint64_t period_ns = vm->config->switch_accel_ms * (CLOCK_NS_PER_S / 1000);
	int ret = 0;

	if (!period_ns)
		return 0;
	if (!vm->switch_timer)
		ret = loop_timer_create(vm->env.loop, switch_is_due, vm, &vm->switch_timer);
	if (ret)
		return error_set_errno(err, -ret, "no timer to change the accelerator by");
	vm->switch_due = false;
	loop_timer_arm(vm->switch_timer, clock_now_ns() + period_ns);
	return 0;
}

/* Only who runs CPUs outside of this process keeps no code. */
static void let_write_unseen(struct vm *vm, bool running)
{
	loop_lock(vm->env.loop);
	vm->env.unseen_writes = running && vm->host_accel && vm->accel == vm->host_accel;
	for (unsigned i = 0; i < vm->device_count; i++)
		if (vm->devices[i]->class->settle)
			vm->devices[i]->class->settle(vm->devices[i]);
	loop_unlock(vm->env.loop);
}

/* The CPUs run until somebody stops the loop. */
static int run_cpus(struct vm *vm, struct error *err)
{
	int ret = arm_switch(vm, err);

	if (!ret)
		ret = accel_resume(vm, err);
	if (!ret)
		ret = start_cpus(vm, err);
	if (ret)
		return ret;
	let_write_unseen(vm, true);
	loop_run(vm->env.loop);
	stop_cpus(vm);
	let_write_unseen(vm, false);
	return accel_pause(vm, err);
}

/* One power-on to the next reset or the end. */
static int run_once(struct vm *vm, struct error *err)
{
	int ret = vm->config->board->boot(vm, err);

	if (ret)
		return ret;
	accel_explain(vm);
	do {
		ret = run_cpus(vm, err);
		if (!ret && vm->switch_due)
			accel_switch(vm);
		if (!ret)
			stand_still(vm);
	} while (!ret && !atomic_load(&vm->end));
	if (atomic_load(&vm->end) == VM_END_FAILED + 1) {
		if (err)
			*err = vm->failure;
		return -EIO;
	}
	return ret;
}

static void log_cpus(const struct vm *vm)
{
	char text[2048];

	if (!log_enabled(LOG_LEVEL_INFO))
		return;
	for (unsigned i = 0; i < vm->cpu_count; i++) {
		vm->threads[i].cpu->isa->describe(vm->threads[i].cpu, text, sizeof(text));
		log_info("CPU %u:\n%s", i, text);
	}
}

bool vm_crashed(const struct vm_result *result)
{
	if (result->outcome.kind != VM_OUTCOME_NONE)
		return result->outcome.kind == VM_OUTCOME_FAILED;
	return result->end == VM_END_RESET || result->end == VM_END_TRIPLE_FAULT ||
	       result->end == VM_END_PANIC;
}

/* From power-on to what ends the machine, by way of resets if they do not. */
static int run_to_end(struct vm *vm, struct vm_result *result, struct error *err)
{
	for (;;) {
		int ret = run_once(vm, err);

		if (ret)
			return ret;
		result->end = (enum vm_end)(atomic_load(&vm->end) - 1);
		result->value = atomic_load(&vm->end_value);
		if (result->end == VM_END_TRIPLE_FAULT || result->end == VM_END_QUIT)
			log_cpus(vm);
		if (result->end != VM_END_RESET || !vm->config->reboot)
			return 0;
		ret = reset(vm, err);
		if (ret)
			return ret;
		atomic_store(&vm->end, 0);
	}
}

static int run_attended(struct vm *vm, const struct vm_attendant *attendant,
			struct vm_result *result, struct error *err)
{
	int ret = attendant ? attendant->begin(attendant->opaque, vm, err) : 0;

	if (ret)
		return ret;
	ret = run_to_end(vm, result, err);
	if (attendant)
		attendant->end(attendant->opaque);
	return ret;
}

int vm_run(const struct vm_config *config, const struct vm_attendant *attendant,
	   struct vm_result *result, struct error *err)
{
	struct vm vm;
	int ret = create(&vm, config, true, err);

	if (!ret)
		ret = run_attended(&vm, attendant, result, err);
	if (!ret) {
		result->outcome = vm.report.outcome;
		result->output_lost = sink_lost(vm.output[0]) || sink_lost(vm.output[1]);
		if (vm.kernel_log && vm_crashed(result))
			keep_print(vm.kernel_log, stderr);
	}
	if (!ret && (config->stats || config->debug_lockstep))
		stats_print(&vm);
	destroy(&vm);
	return ret;
}

static void describe_memory(const struct vm *vm, struct json *json)
{
	json_array_begin(json, "memory");
	for (unsigned i = 0; i < mem_region_count(vm->env.mem); i++) {
		const struct mem_region *region = mem_region_at(vm->env.mem, i);

		json_object_begin(json, NULL);
		json_string(json, "name", region->name);
		json_hex(json, "address", region->gpa);
		json_uint(json, "bytes", region->size_bytes);
		json_bool(json, "readonly", region->readonly);
		json_object_end(json);
	}
	json_array_end(json);
}

static void describe_bus(const struct bus *bus, const char *name, struct json *json)
{
	const struct bus_range *range;

	json_array_begin(json, name);
	for (unsigned i = 0; (range = bus_range_at(bus, i)); i++) {
		json_object_begin(json, NULL);
		json_string(json, "device", range->name);
		json_hex(json, "address", range->base);
		json_uint(json, "bytes", range->size);
		json_object_end(json);
	}
	json_array_end(json);
}

static void describe_devices(const struct vm *vm, struct json *json)
{
	json_array_begin(json, "devices");
	for (unsigned i = 0; i < vm->device_count; i++) {
		const struct device *dev = vm->devices[i];

		json_object_begin(json, NULL);
		json_string(json, "name", dev->class->name);
		if (dev->class->describe)
			dev->class->describe(dev, json);
		json_object_end(json);
	}
	json_array_end(json);
}

int vm_describe(const struct vm_config *config, struct json *json, struct error *err)
{
	struct vm vm;
	int ret = create(&vm, config, false, err);

	if (!ret) {
		json_string(json, "board", config->board->name);
		json_string(json, "accelerator", vm.accel->name);
		vm_config_describe(config, json);
		describe_memory(&vm, json);
		describe_bus(vm.env.pio, "ports", json);
		describe_bus(vm.env.mmio, "mmio", json);
		describe_devices(&vm, json);
	}
	destroy(&vm);
	return ret;
}

const char *const *vm_accel_names(void)
{
	static const char *const names[] = { "kvm", "translate", "interp", NULL };

	return names;
}
