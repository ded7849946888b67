/* SPDX-License-Identifier: MIT */
/* See stats.h. The signal is the process's, so of several machines only the last one listens. */
#include "vm/stats.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "cpu/blocks.h"
#include "cpu/isa.h"
#include "host/loop.h"
#include "host/signals.h"
#include "vm/accel.h"
#include "vm/machine.h"

static void on_signal(void *opaque, uint32_t events)
{
	const struct vm *vm = opaque;
	uint64_t count;

	(void)events;
	if (read(vm->stats_fd, &count, sizeof(count)) == sizeof(count))
		stats_print(vm);
}

int stats_listen(struct vm *vm, struct error *err)
{
	int ret;

	vm->stats_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->stats_fd < 0)
		return error_set_errno(err, errno, "no event for SIGUSR1");
	ret = loop_watch_add(vm->env.loop, vm->stats_fd, EPOLLIN, on_signal, vm, &vm->stats_watch);
	if (ret) {
		close(vm->stats_fd);
		return error_set_errno(err, -ret, "cannot wait for SIGUSR1");
	}
	signals_forward(SIGUSR1, vm->stats_fd);
	return 0;
}

void stats_ignore(struct vm *vm)
{
	if (!vm->stats_watch)
		return;
	signals_forward(SIGUSR1, -1);
	loop_watch_remove(vm->stats_watch);
	close(vm->stats_fd);
	vm->stats_watch = NULL;
}

void stats_print(const struct vm *vm)
{
	struct blocks_stats blocks;
	char text[4096];

	blocks_stats(vm->blocks, &blocks);
	fprintf(stderr, "blocks: made %lu, invalidated %lu, thrown away as a whole %lu times\n",
		blocks.inserted, blocks.invalidated, blocks.flushes);
	if (vm->other_accel)
		fprintf(stderr, "changes of the accelerator: %u\n", vm->switches);
	for (unsigned i = 0; i < vm->cpu_count; i++) {
		vm->threads[i].cpu->isa->describe_stats(vm->threads[i].cpu, text, sizeof(text));
		fprintf(stderr, "CPU %u: %s", i, text);
		if (!vm->host_accel)
			continue;
		vm->host_accel->describe_stats(vm->threads[i].cpu, text, sizeof(text));
		fprintf(stderr, "CPU %u: %s", i, text);
	}
}
