/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: the file system device, with requests that are whole, beside chains that are anything.
 * The target's own event is "how, opcode, node, length, bytes": the bytes follow the header.
 */
#include <linux/fuse.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "mem/mem.h"
#include "mem/window.h"
#include "tree_target.h"
#include "virtio/fs.h"
#include "virtio_target.h"

#define WINDOW 0x200000u
#define WINDOW_BYTES 0x400000u

static char shared[64];

/* As the engine does (isa/x86/vector/hostfault.c). */
static void on_fault(int signal, siginfo_t *info, void *context)
{
	(void)signal;
	(void)context;
	if (!mem_window_fault(info->si_addr))
		abort();
}

/* The CPU looks at the window, and writes to it. */
static void touch(struct device_target *target, uint8_t where)
{
	volatile uint8_t *byte = mem_ptr(target->env.mem, WINDOW + where * (WINDOW_BYTES / 256), 1);

	(*byte)++;
}

static void more(struct device_target *target, struct fuzz_input *input)
{
	struct {
		struct fuse_in_header head;
		uint8_t data[256];
	} request = { .head.unique = 1 };
	uint8_t how = fuzz_u8(input), length;
	uint32_t size;

	touch(target, how);
	request.head.opcode = fuzz_u8(input) & 0x7f;
	request.head.nodeid = fuzz_u8(input);
	length = fuzz_u8(input);
	fuzz_take(input, request.data, length);
	size = (uint32_t)sizeof(request.head) + length;
	request.head.len = size;
	virtio_target_ask(how & 1, &request, size, how & 2 ? 64 : 0x1000, 1 + (how >> 2) % (sizeof(request.head) - 1));
}

static void setup(struct device_target *target)
{
	struct virtio_fs_config_host config = { .tag = "fuzz",
						.fuse = { .tree.path = shared, .cache_ms = 1000 },
						.window = { WINDOW, WINDOW_BYTES } };
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };
	struct virtio_device *virtio;

	virtio_target_open(target, more);
	if (sigaction(SIGBUS, &action, NULL) ||
	    mem_add_window(target->env.mem, WINDOW, WINDOW_BYTES, "window", NULL))
		abort();
	if (virtio_fs_create(&target->env, &config, &virtio, NULL))
		abort();
	virtio_target_plug(target, virtio);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return tree_target_fuzz_device(shared, data, size, setup);
}
