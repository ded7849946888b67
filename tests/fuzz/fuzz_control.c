/* SPDX-License-Identifier: MIT */
/*
 * Fuzz target: what a client writes to a machine's control socket, in pieces as it comes, and what the
 * guest writes to its console meanwhile. Each answer is a line of JSON, and there are no more of them
 * than lines were sent. The machine has no CPU, so that each input does the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/json_read.h"
#include "base/log.h"
#include "control/control.h"
#include "cpu/blocks.h"
#include "host/loop.h"
#include "input.h"
#include "mem/mem.h"
#include "ui/chardev.h"
#include "ui/hub.h"
#include "vm/config.h"
#include "vm/machine.h"
#include "vm/stand.h"

#define PIECE_MAX 4096
#define MEM_BYTES (1ull << 20)

static size_t swallow(void *opaque, const uint8_t *data, size_t len)
{
	(void)opaque;
	(void)data;
	return len;
}

static size_t has_room(void *opaque)
{
	(void)opaque;
	return 16;
}

static void take_key(void *opaque, const uint8_t *data, size_t len)
{
	(void)opaque;
	if (!len || len > 16 || !data)
		abort();
}

static void ignore(void *opaque)
{
	(void)opaque;
}

static void press(struct vm *vm)
{
	(void)vm;
}

static bool press_nmi(struct vm *vm)
{
	(void)vm;
	return true;
}

static void release(struct block *block)
{
	(void)block;
}

struct bench {
	struct vm vm;
	struct vm_config config;
	struct chardev terminal;
	struct control *control;
	int listener, client;
	uint8_t seen[1 << 16]; /* what the client got and has not judged */
	size_t seen_bytes;
	unsigned sent, answers; /* lines */
	bool attached;
};

static void must(bool fine)
{
	if (!fine)
		abort();
}

static void open_machine(struct bench *b)
{
	static const struct vm_board board = { .name = "none", .press_power_button = press,
						.press_nmi_button = press_nmi };
	static const struct chardev_ops ops = { .write = swallow };
	const struct chardev_front front = { .can_receive = has_room, .receive = take_key,
					     .receive_break = ignore };

	vm_config_init(&b->config);
	b->config.board = &board;
	b->config.mem_bytes = MEM_BYTES;
	b->vm.config = &b->config;
	b->vm.accel = &accel_interp;
	b->terminal = (struct chardev){ .ops = &ops };
	report_init(&b->vm.report);
	must(!loop_create(&b->vm.env.loop, NULL) && !mem_create(&b->vm.env.mem, NULL) &&
	     !blocks_create(&b->vm.blocks, b->vm.env.mem, MEM_BYTES, release, NULL) &&
	     !hub_create(&b->terminal, &b->vm.hub, NULL));
	b->vm.console = hub_chardev(b->vm.hub);
	chardev_attach(b->vm.console, &front);
}

static void open_bench(struct bench *b)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t size = sizeof(address);

	open_machine(b);
	b->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	b->client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	/* Without a path, the kernel finds a name that nobody has. */
	must(!bind(b->listener, (struct sockaddr *)&address, sizeof(sa_family_t)) &&
	     !listen(b->listener, 1) &&
	     !getsockname(b->listener, (struct sockaddr *)&address, &size) &&
	     !connect(b->client, (struct sockaddr *)&address, size));
	must(!control_create(&b->vm, b->listener, &b->control, NULL));
}

static void close_bench(struct bench *b)
{
	control_destroy(b->control);
	close(b->client);
	close(b->listener);
	hub_destroy(b->vm.hub);
	blocks_destroy(b->vm.blocks);
	mem_destroy(b->vm.env.mem);
	loop_destroy(b->vm.env.loop);
}

static void stop(void *opaque)
{
	loop_stop(opaque);
}

/* A round of the loop, then who waits for CPUs that stand, as vm.c has it. */
static void turn(struct bench *b)
{
	struct vm_visit *visit;

	must(!loop_post(b->vm.env.loop, stop, b->vm.env.loop));
	loop_run(b->vm.env.loop);
	while ((visit = b->vm.visits)) {
		b->vm.visits = visit->next;
		visit->run(&b->vm, visit->opaque);
	}
}

static void judge(struct bench *b, const uint8_t *line, size_t length)
{
	struct json_text json;
	const struct json_value *result;

	must(!json_read(&json, (const char *)line, length, NULL));
	result = json_member(&json, json.value, "result");
	must(!result != !json_member(&json, json.value, "error"));
	must(json_member(&json, json.value, "id") && ++b->answers <= b->sent + 1);
	json_release(&json);
}

static void look(struct bench *b)
{
	ssize_t got = recv(b->client, b->seen + b->seen_bytes, sizeof(b->seen) - b->seen_bytes,
			   MSG_DONTWAIT);
	uint8_t *end;

	b->seen_bytes += got > 0 ? (size_t)got : 0;
	while (!b->attached && (end = memchr(b->seen, '\n', b->seen_bytes))) {
		size_t length = (size_t)(end - b->seen);

		judge(b, b->seen, length);
		b->seen_bytes -= length + 1;
		memmove(b->seen, end + 1, b->seen_bytes);
	}
	if (b->attached)
		b->seen_bytes = 0;
}

static void send_piece(struct bench *b, struct fuzz_input *input)
{
	uint8_t data[PIECE_MAX];
	size_t length = fuzz_uint(input, 2) % PIECE_MAX;

	if (length > input->left)
		length = input->left;
	fuzz_take(input, data, length);
	for (size_t i = 0; i < length; i++)
		b->sent += data[i] == '\n';
	/* Once the machine has hung up, nobody listens. */
	send(b->client, data, length, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void guest_writes(struct bench *b, struct fuzz_input *input)
{
	uint8_t data[256];
	size_t length = fuzz_u8(input);

	fuzz_take(input, data, length);
	chardev_write(b->vm.console, data, length);
	chardev_input_room(b->vm.console);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input input = { data, size };
	struct bench *b = calloc(1, sizeof(*b));

	must(b);
	log_set_level(LOG_LEVEL_ERROR);
	open_bench(b);
	turn(b);
	while (input.left) {
		if (fuzz_u8(&input) & 1)
			guest_writes(b, &input);
		else
			send_piece(b, &input);
		turn(b);
		/* Answers of before "console" are read with what the console shows. */
		b->attached |= !!memmem(data, size, "console", 7);
		look(b);
	}
	close_bench(b);
	free(b);
	return 0;
}
