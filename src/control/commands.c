/* SPDX-License-Identifier: MIT */
/* What a machine can be told: docs/CONTROL.md, in the order of the table below. */
#include <ctype.h>
#include <errno.h>
#include <linux/virtio_balloon.h>
#include <string.h>
#include <unistd.h>

#include "accel/accel.h"
#include "base/error.h"
#include "control/session.h"
#include "cpu/blocks.h"
#include "cpu/isa.h"
#include "host/clock.h"
#include "ui/chardev.h"
#include "ui/keep.h"
#include "virtio/balloon.h"
#include "vm/config.h"
#include "vm/machine.h"
#include "vm/power.h"

/* ---- describe ---- */

static int describe_run(struct session *session, const struct json_value *arguments,
			struct json *result, struct error *err)
{
	const struct control *control = session->control;
	const struct vm_config *config = control->vm->config;

	(void)arguments;
	(void)err;
	json_string(result, "name", config->name);
	json_uint(result, "pid", (uint64_t)getpid());
	json_string(result, "state", vm_is_paused(control->vm) ? "paused" : "running");
	json_uint(result, "cpus", config->cpus);
	json_uint(result, "mem_bytes", config->mem_bytes);
	json_uint(result, "uptime_ms",
		  (clock_now_ns() - control->began_ns) / (CLOCK_NS_PER_S / 1000));
	json_string(result, "accelerator", control->vm->accel->name);
	json_string(result, "kernel", config->kernel);
	json_string(result, "firmware", config->firmware);
	return 0;
}

/* ---- life ---- */

static int power_button_run(struct session *session, const struct json_value *arguments,
			    struct json *result, struct error *err)
{
	struct vm *vm = session->control->vm;

	(void)arguments;
	(void)result;
	if (vm_is_paused(vm))
		return error_set(err, EBUSY, "the machine is paused: resume it first");
	vm_ask_poweroff(vm);
	return 0;
}

static int kill_run(struct session *session, const struct json_value *arguments,
		    struct json *result, struct error *err)
{
	(void)arguments;
	(void)result;
	(void)err;
	vm_end(session->control->vm, VM_END_QUIT, 0);
	return 0;
}

static int resume_run(struct session *session, const struct json_value *arguments,
		      struct json *result, struct error *err)
{
	(void)arguments;
	(void)result;
	(void)err;
	vm_resume(session->control->vm);
	return 0;
}

static int say_nothing(struct session *session, const struct json_value *arguments,
		       struct json *result, struct error *err)
{
	(void)session;
	(void)arguments;
	(void)result;
	(void)err;
	return 0;
}

static void paused_visit(struct vm *vm, void *session)
{
	(void)vm;
	session_answer(session, say_nothing);
}

/* Answered once the CPUs stand. */
static int pause_run(struct session *session, const struct json_value *arguments,
		     struct json *result, struct error *err)
{
	struct vm *vm = session->control->vm;

	(void)arguments;
	(void)result;
	(void)err;
	vm_pause(vm);
	session->visit = (struct vm_visit){ .run = paused_visit, .opaque = session };
	vm_visit(vm, &session->visit);
	return SESSION_LATER;
}

/* ---- memory and counts ---- */

static const char *const balloon_names[] = {
	[VIRTIO_BALLOON_S_SWAP_IN] = "swapped_in_bytes",
	[VIRTIO_BALLOON_S_SWAP_OUT] = "swapped_out_bytes",
	[VIRTIO_BALLOON_S_MAJFLT] = "major_faults",
	[VIRTIO_BALLOON_S_MINFLT] = "minor_faults",
	[VIRTIO_BALLOON_S_MEMFREE] = "free_bytes",
	[VIRTIO_BALLOON_S_MEMTOT] = "total_bytes",
	[VIRTIO_BALLOON_S_AVAIL] = "available_bytes",
	[VIRTIO_BALLOON_S_CACHES] = "caches_bytes",
	[VIRTIO_BALLOON_S_HTLB_PGALLOC] = "huge_pages_allocated",
	[VIRTIO_BALLOON_S_HTLB_PGFAIL] = "huge_pages_failed",
};

static void describe_balloon(const struct vm *vm, struct json *result)
{
	struct virtio_balloon_figures figures;

	if (!vm->balloon)
		return;
	virtio_balloon_figures(vm->balloon, &figures);
	json_object_begin(result, "balloon");
	json_bool(result, "driver", virtio_running(vm->balloon));
	json_uint(result, "target_bytes", figures.target_bytes);
	json_uint(result, "actual_bytes", figures.actual_bytes);
	for (unsigned i = 0; i < sizeof(balloon_names) / sizeof(balloon_names[0]); i++)
		if (figures.stat[i] != UINT64_MAX)
			json_uint(result, balloon_names[i], figures.stat[i]);
	json_object_end(result);
}

static int balloon_run(struct session *session, const struct json_value *arguments,
		       struct json *result, struct error *err)
{
	struct vm *vm = session->control->vm;
	uint64_t bytes;

	if (!vm->balloon)
		return error_set(err, ENODEV, "this machine has no balloon");
	if (!json_uint_of(json_member(&session->request, arguments, "bytes"), &bytes))
		return error_set(err, EINVAL, "balloon takes \"bytes\"");
	if (bytes > vm->config->mem_bytes)
		return error_set(err, EINVAL, "a balloon larger than the memory");
	virtio_balloon_set_target(vm->balloon, bytes);
	describe_balloon(vm, result);
	return 0;
}

void session_lines(struct json *result, const char *name, const char *text)
{
	json_array_begin(result, name);
	while (*text) {
		size_t length = strcspn(text, "\n");
		char line[512];

		snprintf(line, sizeof(line), "%.*s", (int)length, text);
		json_string(result, NULL, line);
		text += length + (text[length] == '\n');
	}
	json_array_end(result);
}

static void describe_devices(const struct vm *vm, struct json *result)
{
	json_array_begin(result, "devices");
	for (unsigned i = 0; i < vm->device_count; i++) {
		const struct device *dev = vm->devices[i];

		if (!dev->class->count)
			continue;
		json_object_begin(result, NULL);
		dev->class->count(dev, result);
		json_object_end(result);
	}
	json_array_end(result);
}

static void describe_cpus(const struct vm *vm, struct json *result)
{
	char text[4096];

	json_array_begin(result, "cpus");
	for (unsigned i = 0; i < vm->cpu_count; i++) {
		struct cpu *cpu = vm->threads[i].cpu;

		json_object_begin(result, NULL);
		cpu->isa->describe_stats(cpu, text, sizeof(text));
		session_lines(result, "engine", text);
		if (vm->host_accel) {
			vm->host_accel->describe_stats(cpu, text, sizeof(text));
			session_lines(result, "accelerator", text);
		}
		json_object_end(result);
	}
	json_array_end(result);
}

static int stat_run(struct session *session, const struct json_value *arguments,
		    struct json *result, struct error *err)
{
	const struct vm *vm = session->control->vm;
	struct blocks_stats blocks;

	(void)arguments;
	(void)err;
	describe_balloon(vm, result);
	blocks_stats(vm->blocks, &blocks);
	json_object_begin(result, "blocks");
	json_uint(result, "made", blocks.inserted);
	json_uint(result, "invalidated", blocks.invalidated);
	json_uint(result, "flushes", blocks.flushes);
	json_object_end(result);
	describe_devices(vm, result);
	describe_cpus(vm, result);
	return 0;
}

/* ---- debugging ---- */

/* By the board's wire, or by no way that hardware has, for CPUs which that does not reach. */
static int nmi_run(struct session *session, const struct json_value *arguments,
		   struct json *result, struct error *err)
{
	const struct json_value *cpu = json_member(&session->request, arguments, "cpu");
	struct vm *vm = session->control->vm;
	uint64_t number;

	(void)result;
	if (!cpu)
		return vm->config->board->press_nmi_button(vm) ? 0 :
			error_set(err, EAGAIN, "the guest has masked NMIs at port 0x70");
	if (!json_uint_of(cpu, &number) || number >= vm->cpu_count)
		return error_set(err, EINVAL, "\"cpu\" is a number below %u", vm->cpu_count);
	cpu_request(vm->threads[number].cpu, CPU_REQ_NMI);
	return 0;
}

/*
 * As the kernel's console wants it: a serial port takes a break before the key, a virtio console
 * Ctrl-O. With our init the kernel's console is the serial port whose output is kept.
 */
static bool send_sysrq(const struct vm *vm, uint8_t key)
{
	const struct chardev *console = vm->kernel_log ? keep_chardev(vm->kernel_log) : vm->console;
	const uint8_t ctrl_o = 0x0f;

	if (!console)
		return false;
	if (console->front.receive_break)
		chardev_receive_break(console);
	else if (chardev_can_receive(console))
		chardev_receive(console, &ctrl_o, 1);
	if (!chardev_can_receive(console))
		return false;
	chardev_receive(console, &key, 1);
	return true;
}

static int sysrq_run(struct session *session, const struct json_value *arguments,
		     struct json *result, struct error *err)
{
	const char *key = json_text_of(json_member(&session->request, arguments, "key"));

	(void)result;
	if (!key || strlen(key) != 1 || !isgraph((unsigned char)*key))
		return error_set(err, EINVAL, "sysrq takes \"key\", one character");
	if (!send_sysrq(session->control->vm, (uint8_t)*key))
		return error_set(err, EAGAIN, "the guest does not read its kernel's console");
	return 0;
}

static int break_run(struct session *session, const struct json_value *arguments,
		     struct json *result, struct error *err)
{
	const struct vm *vm = session->control->vm;

	(void)arguments;
	(void)result;
	if (!vm->hub)
		return error_set(err, ENODEV, "this machine has no console");
	hub_break(vm->hub);
	return 0;
}

const struct control_command control_commands[] = {
	{ "describe", describe_run },
	{ "power-button", power_button_run },
	{ "kill", kill_run },
	{ "pause", pause_run },
	{ "resume", resume_run },
	{ "balloon", balloon_run },
	{ "stat", stat_run },
	{ "debug", debug_run },
	{ "nmi", nmi_run },
	{ "sysrq", sysrq_run },
	{ "break", break_run },
	{ "console", console_run },
	{ NULL, NULL },
};
