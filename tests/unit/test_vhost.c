/* SPDX-License-Identifier: MIT */
/*
 * Pairs of queues lent to the host's kernel: the kernel is the test, behind the system calls open
 * and ioctl. It looks at what it is given, takes and gives back chains, signals events, refuses.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/pci_regs.h>
#include <linux/vhost.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "base/error.h"
#include "mem/mem.h"
#include "net/socket.h"
#include "net/vhost.h"
#include "virtio/loan.h"
#include "virtio/net.h"
#include "virtio_driver.h"

#define PAIRS 2u
#define KERNEL_FD 5000 /* and the next ones: no descriptors of ours */
#define CARD PCI_DEVFN(2, 0)
#define HIGH (1ull << 32)
#define FRAME (DRIVER_DATA + 0x1000)
#define RX (DRIVER_DATA + 0x100000)
#define RX_BYTES 2048u
#define CONTROL (DRIVER_DATA + 0x2000)
#define ACK (DRIVER_DATA + 0x2800)
#define BIT(n) (1ull << (n))
#define WANTED (BIT(VIRTIO_NET_F_MRG_RXBUF) | BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_MAC))
#define WANTED_CONTROL (WANTED | BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ))
#define FRAME_BYTES (NET_HEADER_BYTES + 60u)

static const uint8_t own_mac[6] = { 2, 0, 0, 0, 0, 1 };

/* ---- the kernel ---- */

struct ring {
	struct vhost_vring_addr where;
	unsigned size, position, used;
	int kick, call, fault, tap;
};

static struct kernel {
	uint64_t can; /* features */
	int open_errno;
	unsigned long refuses; /* this request */
	unsigned begun; /* how often it has been given a tap */
	struct pair {
		uint64_t features;
		struct vhost_memory_region memory[8];
		unsigned regions;
		struct ring ring[VHOST_RINGS];
	} pair[PAIRS];
} kernel;

int __real_open(const char *path, int flags, ...);
int __wrap_open(const char *path, int flags, ...);
int __real_ioctl(int fd, unsigned long request, ...);
int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_open(const char *path, int flags, ...)
{
	va_list args;
	int mode;

	va_start(args, flags);
	mode = flags & O_CREAT ? va_arg(args, int) : 0;
	va_end(args);
	if (strcmp(path, VHOST_DEVICE))
		return __real_open(path, flags, mode);
	errno = kernel.open_errno;
	return kernel.open_errno ? -1 : eventfd(0, 0);
}

static uint16_t load16(uint64_t host, unsigned offset)
{
	return *(uint16_t *)(uintptr_t)(host + offset);
}

static void store16(uint64_t host, unsigned offset, uint16_t value)
{
	*(uint16_t *)(uintptr_t)(host + offset) = value;
}

static int set_backend(struct ring *ring, int tap)
{
	assert_true(tap < 0 || (ring->where.desc_user_addr && ring->size));
	kernel.begun += tap >= 0 && ring->tap < 0;
	ring->tap = tap;
	if (tap >= 0) {
		ring->used = load16(ring->where.used_user_addr, 2);
		store16(ring->where.used_user_addr, 0, 0);
	}
	return 0;
}

static int pair_ioctl(struct pair *pair, unsigned long request, void *data)
{
	const struct vhost_memory *memory = data;
	struct vhost_vring_state *state = data;
	const struct vhost_vring_file *file = data;
	struct ring *ring = &pair->ring[state->index & 1];

	switch (request) {
	case VHOST_SET_FEATURES:
		pair->features = *(uint64_t *)data;
		return pair->features & ~kernel.can ? -1 : 0;
	case VHOST_SET_MEM_TABLE:
		assert_true(memory->nregions && memory->nregions <= 8 && !memory->padding);
		pair->regions = memory->nregions;
		memcpy(pair->memory, memory->regions, memory->nregions * sizeof(pair->memory[0]));
		return 0;
	case VHOST_SET_VRING_NUM:
		ring->size = state->num;
		break;
	case VHOST_SET_VRING_BASE:
		ring->position = state->num;
		break;
	case VHOST_SET_VRING_ADDR:
		ring->where = *(struct vhost_vring_addr *)data;
		break;
	case VHOST_SET_VRING_KICK:
		ring->kick = file->fd;
		return 0;
	case VHOST_SET_VRING_CALL:
		ring->call = file->fd;
		return 0;
	case VHOST_SET_VRING_ERR:
		ring->fault = file->fd;
		return 0;
	case VHOST_NET_SET_BACKEND:
		return set_backend(ring, file->fd);
	case VHOST_GET_VRING_BASE:
		state->num = ring->position;
		return 0;
	default:
		fail_msg("request %#lx", request);
	}
	/* While it serves them, rings stay what they are. */
	assert_true(ring->tap < 0);
	return 0;
}

/* Or gives the first ring one: it is only the second that is refused. */
static bool takes_tap_away(unsigned long request, const void *data)
{
	const struct vhost_vring_file *file = data;

	return request == VHOST_NET_SET_BACKEND && (file->fd < 0 || file->index == VHOST_RX);
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *data;

	va_start(args, request);
	data = va_arg(args, void *);
	va_end(args);
	if ((request >> 8 & 0xff) != VHOST_VIRTIO)
		return __real_ioctl(fd, request, data);
	errno = EFAULT;
	if (kernel.refuses == request && !takes_tap_away(request, data))
		return -1;
	if (request == VHOST_SET_OWNER)
		return 0;
	if (request == VHOST_GET_FEATURES) {
		*(uint64_t *)data = kernel.can;
		return 0;
	}
	assert_in_range(fd, KERNEL_FD, KERNEL_FD + PAIRS - 1);
	return pair_ioctl(&kernel.pair[fd - KERNEL_FD], request, data);
}

/* Takes the next chain, which is one buffer, and gives it back; false: there is none. */
static bool kernel_uses(unsigned pair, unsigned which, uint32_t len)
{
	struct ring *ring = &kernel.pair[pair].ring[which];
	uint64_t avail = ring->where.avail_user_addr, used = ring->where.used_user_addr;
	struct vring_used_elem *element;

	assert_true(ring->tap >= 0);
	if (load16(avail, 2) == (uint16_t)ring->position)
		return false;
	element = (struct vring_used_elem *)(uintptr_t)(used + 4) + ring->used % ring->size;
	element->id = load16(avail, 4 + 2 * (ring->position % ring->size));
	element->len = len;
	ring->position = (uint16_t)(ring->position + 1);
	ring->used = (uint16_t)(ring->used + 1);
	store16(used, 2, (uint16_t)ring->used);
	return true;
}

static void kernel_signals(int fd)
{
	const uint64_t once = 1;

	assert_int_equal(write(fd, &once, sizeof(once)), sizeof(once));
}

static bool kernel_is_kicked(unsigned pair, unsigned which)
{
	uint64_t times;

	return read(kernel.pair[pair].ring[which].kick, &times, sizeof(times)) == sizeof(times);
}

static bool kernel_serves(unsigned pair)
{
	const struct ring *ring = kernel.pair[pair].ring;

	assert_int_equal(ring[VHOST_RX].tap >= 0, ring[VHOST_TX].tap >= 0);
	return ring[VHOST_RX].tap >= 0;
}

/* ---- the bench: a card whose back end is sockets, as far as we serve it ourselves ---- */

struct bench {
	struct net net; /* must be first */
	struct virtio_driver driver;
	struct net *queue[PAIRS];
	int peer[PAIRS];
	unsigned wrote; /* how often code was told of writes */
};

static int bench_send(struct net *net, unsigned queue, const struct iovec *iov, unsigned count)
{
	return net_send(((struct bench *)net)->queue[queue], 0, iov, count);
}

static ssize_t bench_receive(struct net *net, unsigned queue, void *frame, size_t size)
{
	return net_receive(((struct bench *)net)->queue[queue], 0, frame, size);
}

static void bench_close(struct net *net)
{
	for (unsigned i = 0; i < PAIRS; i++)
		net_close(((struct bench *)net)->queue[i]);
}

static const struct net_class bench_class = {
	.send = bench_send, .receive = bench_receive, .close = bench_close,
};

static void count_write(void *opaque, uint64_t gpa, uint64_t len)
{
	((struct bench *)opaque)->wrote += gpa == HIGH && len == MEM_PAGE_SIZE;
}

static int open_bench(void **state, bool doorbells)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct virtio_net_options options = { .net = &b->net };
	struct device_env *env;
	struct virtio_device *virtio;

	*state = b;
	kernel = (struct kernel){ .can = VHOST_FEATURES | BIT(VHOST_NET_F_VIRTIO_NET_HDR) };
	b->net = (struct net){ .class = &bench_class, .kind = "bench",
			       .info = { .queues = PAIRS, .from_guest = NET_CSUM,
					 .to_guest = NET_CSUM, .mtu = 1500, .vhost = true } };
	for (unsigned i = 0; i < PAIRS; i++) {
		int ends[2];

		for (unsigned which = 0; which < VHOST_RINGS; which++)
			kernel.pair[i].ring[which].tap = -1;
		assert_int_equal(net_socket_pair(ends, NULL), 0);
		b->net.fd[i] = ends[0];
		b->net.vhost[i] = KERNEL_FD + (int)i;
		b->peer[i] = ends[1];
		assert_int_equal(net_socket_open("bench", ends[0], &b->net.info, &b->queue[i], NULL),
				 0);
	}
	memcpy(options.mac, own_mac, sizeof(own_mac));
	driver_open(&b->driver);
	env = &b->driver.fixture->env;
	assert_int_equal(mem_add(env->mem, DRIVER_RAM, MEM_PAGE_SIZE, true, "rom", NULL), 0);
	assert_int_equal(mem_add(env->mem, HIGH, MEM_PAGE_SIZE, false, "high", NULL), 0);
	env->doorbells = doorbells;
	env->unseen_writes = true;
	env->dma.wrote = count_write;
	env->dma.opaque = b;
	assert_int_equal(virtio_net_create(env, &options, &virtio, NULL), 0);
	driver_plug(&b->driver, virtio);
	return 0;
}

static int setup(void **state)
{
	return open_bench(state, false);
}

static int setup_bells(void **state)
{
	return open_bench(state, true);
}

static int teardown(void **state)
{
	struct bench *b = *state;

	driver_close(&b->driver);
	for (unsigned i = 0; i < PAIRS; i++) {
		assert_false(kernel_serves(i));
		if (b->peer[i] >= 0)
			close(b->peer[i]);
	}
	free(b);
	return 0;
}

static void turn(struct bench *b)
{
	bool done = true;

	run_until(b->driver.fixture, &done);
}

static void let_write_unseen(struct bench *b, bool may)
{
	b->driver.fixture->env.unseen_writes = may;
	b->driver.dev->class->settle(b->driver.dev);
}

static void offer_frame(struct bench *b, unsigned queue)
{
	const struct driver_buffer buffer = { FRAME, FRAME_BYTES, false };

	driver_add(&b->driver, queue, &buffer, 1, 0);
	driver_kick(&b->driver, queue);
}

static void offer_room(struct bench *b, unsigned queue)
{
	const struct driver_buffer buffer = { RX, RX_BYTES, true };

	driver_add(&b->driver, queue, &buffer, 1, 0);
	driver_kick(&b->driver, queue);
}

/* How many chains the driver finds used. */
static unsigned used(struct bench *b, unsigned queue)
{
	unsigned count = 0;
	uint16_t id;
	uint32_t len;

	while (driver_used(&b->driver, queue, &id, &len))
		count++;
	return count;
}

static unsigned sent(struct bench *b)
{
	uint8_t frame[FRAME_BYTES];
	unsigned count = 0;

	while (recv(b->peer[0], frame, sizeof(frame), MSG_DONTWAIT) == (ssize_t)sizeof(frame))
		count++;
	return count;
}

static void inject(struct bench *b)
{
	uint8_t frame[FRAME_BYTES] = { 0 };

	memcpy(frame + NET_HEADER_BYTES, own_mac, sizeof(own_mac));
	assert_int_equal(send(b->peer[0], frame, sizeof(frame), 0), sizeof(frame));
}

static bool command(struct bench *b, const void *data, uint32_t len)
{
	const unsigned queue = 2 * PAIRS;
	const struct driver_buffer buffers[] = { { CONTROL, len, false }, { ACK, 1, true } };
	uint8_t ack = 0xff;

	driver_put(&b->driver, CONTROL, data, len);
	driver_put(&b->driver, ACK, &ack, 1);
	driver_add(&b->driver, queue, buffers, 2, 0);
	driver_kick(&b->driver, queue);
	turn(b);
	driver_get(&b->driver, ACK, &ack, 1);
	return ack == VIRTIO_NET_OK;
}

/* ---- what the kernel is given ---- */

static void check_ring(const struct bench *b, unsigned pair, unsigned which)
{
	const struct driver_ring *there = &b->driver.ring[2 * pair + which];
	const struct ring *ring = &kernel.pair[pair].ring[which];
	const struct mem *mem = b->driver.fixture->env.mem;

	assert_int_equal(ring->size, DRIVER_QUEUE_SIZE);
	assert_int_equal(ring->position, 0);
	assert_int_equal(ring->tap, b->net.fd[pair]);
	assert_ptr_equal(ring->where.desc_user_addr, mem_ptr(mem, there->desc, 1));
	assert_ptr_equal(ring->where.avail_user_addr, mem_ptr(mem, there->driver, 1));
	assert_ptr_equal(ring->where.used_user_addr, mem_ptr(mem, there->device, 1));
	assert_int_equal(ring->where.flags, 0);
}

static void test_begins(void **state)
{
	struct bench *b = *state;
	const struct pair *pair = &kernel.pair[0];

	driver_start(&b->driver, DRIVER_SPLIT, WANTED | BIT(VIRTIO_RING_F_EVENT_IDX));
	assert_true(kernel_serves(0));
	assert_false(kernel_serves(1));
	assert_int_equal(pair->features, BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_RING_F_EVENT_IDX) |
						 BIT(VIRTIO_NET_F_MRG_RXBUF));
	/* RAM; ROM is not to be written to. */
	assert_int_equal(pair->regions, 2);
	assert_true(!pair->memory[0].guest_phys_addr && pair->memory[0].memory_size == DRIVER_RAM);
	assert_int_equal(pair->memory[1].guest_phys_addr, HIGH);
	assert_ptr_equal(pair->memory[1].userspace_addr,
			 mem_ptr(b->driver.fixture->env.mem, HIGH, 1));
	/* What came before it was there is looked for. */
	for (unsigned which = 0; which < VHOST_RINGS; which++) {
		check_ring(b, 0, which);
		assert_true(kernel_is_kicked(0, which));
	}
}

/* Which a card that we serve has. */
static void test_offers_less(void **state)
{
	struct bench *b = *state;
	uint64_t gone = BIT(VIRTIO_F_RING_PACKED) | BIT(VIRTIO_NET_F_CTRL_RX) |
			BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) | BIT(VIRTIO_NET_F_CTRL_VLAN);

	assert_false(b->driver.virtio->features & gone);
	assert_true(b->driver.virtio->features & BIT(VIRTIO_NET_F_CTRL_VQ));
}

static void test_not_for_every_driver(void **state)
{
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, WANTED & ~BIT(VIRTIO_NET_F_MRG_RXBUF));
	assert_false(kernel_serves(0));
	driver_start(&b->driver, DRIVER_SPLIT, WANTED & ~BIT(VIRTIO_NET_F_GUEST_CSUM));
	assert_false(kernel_serves(0));
	let_write_unseen(b, false);
	driver_start(&b->driver, DRIVER_SPLIT, WANTED);
	assert_false(kernel_serves(0));
	offer_frame(b, 1);
	assert_int_equal(sent(b), 1);
	assert_int_equal(kernel.begun, 0);
}

/* ---- events ---- */

static void test_events(void **state)
{
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, WANTED);
	assert_true(kernel_is_kicked(0, VHOST_TX));
	offer_frame(b, 1);
	assert_true(kernel_is_kicked(0, VHOST_TX));
	assert_false(kernel_is_kicked(0, VHOST_TX));
	turn(b);
	assert_int_equal(sent(b), 0); /* we have kept out of it */
	assert_true(kernel_uses(0, VHOST_TX, 0));
	kernel_signals(kernel.pair[0].ring[VHOST_TX].call);
	turn(b);
	assert_int_equal(b->driver.messages[2], 1);
	assert_int_equal(b->driver.messages[1], 0);
	assert_int_equal(used(b, 1), 1);
}

static void test_fault(void **state)
{
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, WANTED);
	kernel_signals(kernel.pair[0].ring[VHOST_RX].fault);
	turn(b);
	assert_true(driver_status(&b->driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_false(kernel_serves(0));
	driver_start(&b->driver, DRIVER_SPLIT, WANTED);
	assert_true(kernel_serves(0));
}

/* ---- taking it back ---- */

/* Each goes on where the other came to; nothing is done twice, nothing is forgotten. */
static void test_to_and_fro(void **state)
{
	struct bench *b = *state;
	const struct ring *tx = &kernel.pair[0].ring[VHOST_TX];

	driver_start(&b->driver, DRIVER_SPLIT, WANTED);
	for (unsigned round = 0; round < 20; round++) {
		offer_frame(b, 1);
		offer_frame(b, 1);
		offer_room(b, 0);
		assert_true(kernel_uses(0, VHOST_TX, 0) && kernel_uses(0, VHOST_RX, FRAME_BYTES));
		store16(tx->where.used_user_addr, 0, VRING_USED_F_NO_NOTIFY);
		b->wrote = 0;
		let_write_unseen(b, false);
		assert_false(kernel_serves(0));
		assert_int_equal(tx->kick, -1);
		assert_int_equal(tx->call, -1);
		assert_true(b->wrote >= 1);
		/* The frame that the kernel had not seen, and the driver is asked to notify. */
		assert_int_equal(sent(b), 1);
		assert_int_equal(load16(tx->where.used_user_addr, 0), 0);
		offer_frame(b, 1);
		turn(b);
		assert_int_equal(sent(b), 1);
		assert_int_equal(used(b, 1), 3);
		inject(b);
		offer_room(b, 0);
		turn(b);
		assert_int_equal(used(b, 0), 2);
		let_write_unseen(b, true);
		assert_true(kernel_serves(0));
		assert_int_equal(tx->position, 3 * (round + 1));
		assert_false(kernel_uses(0, VHOST_TX, 0));
		assert_false(kernel_uses(0, VHOST_RX, 0));
	}
}

/* The last interrupt is not lost when the kernel ends before we have heard of it. */
static void test_late_call(void **state)
{
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, WANTED);
	offer_frame(b, 1);
	assert_true(kernel_uses(0, VHOST_TX, 0));
	kernel_signals(kernel.pair[0].ring[VHOST_TX].call);
	let_write_unseen(b, false);
	assert_int_equal(b->driver.messages[2], 1);
}

static void test_late_fault(void **state)
{
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, WANTED);
	kernel_signals(kernel.pair[0].ring[VHOST_RX].fault);
	let_write_unseen(b, false);
	assert_true(driver_status(&b->driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	let_write_unseen(b, true);
	assert_false(kernel_serves(0));
}

static void test_reset(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < 3; i++) {
		driver_start(&b->driver, DRIVER_SPLIT, WANTED);
		offer_frame(b, 1);
		assert_true(kernel_uses(0, VHOST_TX, 0));
		check_ring(b, 0, VHOST_RX);
		driver_reset(&b->driver);
		assert_false(kernel_serves(0));
		assert_int_equal(sent(b), 0);
	}
}

static void test_bus_mastering(void **state)
{
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, WANTED);
	pci_config_write(b->driver.pci, 0, CARD, PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
	assert_false(kernel_serves(0));
	offer_frame(b, 1);
	turn(b);
	assert_int_equal(sent(b), 0);
	pci_config_write(b->driver.pci, 0, CARD, PCI_COMMAND, 2,
			 PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
	assert_true(kernel_serves(0) && kernel_uses(0, VHOST_TX, 0));
}

static void test_cable(void **state)
{
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, WANTED);
	close(b->peer[0]);
	b->peer[0] = -1;
	turn(b);
	assert_false(kernel_serves(0));
	assert_false(driver_in(&b->driver, 0x2000 + offsetof(struct virtio_net_config, status), 2));
}

/* With a tap, nobody says so before a frame cannot be sent. */
static void test_cable_by_fault(void **state)
{
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, WANTED);
	close(b->peer[0]);
	b->peer[0] = -1;
	kernel_signals(kernel.pair[0].ring[VHOST_TX].fault);
	let_write_unseen(b, false);
	assert_false(driver_status(&b->driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_false(driver_in(&b->driver, 0x2000 + offsetof(struct virtio_net_config, status), 2));
	offer_frame(b, 1);
	assert_int_equal(used(b, 1), 1);
}

/* A driver that breaks the control queue's rules has broken the device. */
static void test_broken_driver(void **state)
{
	struct bench *b = *state;
	const struct driver_buffer bad = { CONTROL, 1, false };

	driver_start(&b->driver, DRIVER_SPLIT, WANTED_CONTROL);
	driver_add(&b->driver, 2 * PAIRS, &bad, 1, 0);
	driver_kick(&b->driver, 2 * PAIRS);
	turn(b);
	assert_true(driver_status(&b->driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	assert_false(kernel_serves(0));
}

/* ---- the driver's wishes ---- */

static void test_pairs(void **state)
{
	struct bench *b = *state;
	uint8_t set_pairs[] = { VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, 2, 0 };

	driver_start(&b->driver, DRIVER_SPLIT, WANTED_CONTROL);
	assert_true(kernel_serves(0) && !kernel_serves(1));
	assert_true(command(b, set_pairs, sizeof(set_pairs)));
	assert_true(kernel_serves(0) && kernel_serves(1));
	check_ring(b, 1, VHOST_RX);
	set_pairs[2] = 1;
	assert_true(command(b, set_pairs, sizeof(set_pairs)));
	assert_true(kernel_serves(0) && !kernel_serves(1));
	assert_int_equal(kernel.begun, 2 * VHOST_RINGS);
}

/* Who does not want to hear of checksums any more is served by us, who say nothing of them. */
static void test_offloads(void **state)
{
	struct bench *b = *state;
	uint8_t set_offloads[10] = { VIRTIO_NET_CTRL_GUEST_OFFLOADS,
				     VIRTIO_NET_CTRL_GUEST_OFFLOADS_SET };

	driver_start(&b->driver, DRIVER_SPLIT, WANTED_CONTROL | BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS));
	assert_true(command(b, set_offloads, sizeof(set_offloads)));
	assert_false(kernel_serves(0));
	set_offloads[2] = 1 << VIRTIO_NET_F_GUEST_CSUM;
	assert_true(command(b, set_offloads, sizeof(set_offloads)));
	assert_true(kernel_serves(0));
}

/* Frames that were made for a driver that took more are none for the next; others wait for it. */
static void test_frames_between_drivers(void **state)
{
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, WANTED);
	driver_reset(&b->driver);
	inject(b);
	let_write_unseen(b, false);
	driver_start(&b->driver, DRIVER_SPLIT, WANTED);
	offer_room(b, 0);
	turn(b);
	assert_int_equal(used(b, 0), 1);
	driver_reset(&b->driver);
	inject(b);
	driver_start(&b->driver, DRIVER_SPLIT, WANTED & ~BIT(VIRTIO_NET_F_GUEST_CSUM));
	offer_room(b, 0);
	turn(b);
	assert_int_equal(used(b, 0), 0);
}

/* ---- refusals ---- */

/* Whatever the kernel refuses, we serve the card; the next driver may have more luck. */
static void test_refused(void **state)
{
	static const unsigned long requests[] = {
		VHOST_SET_FEATURES, VHOST_SET_MEM_TABLE, VHOST_SET_VRING_NUM, VHOST_SET_VRING_BASE,
		VHOST_SET_VRING_ADDR, VHOST_SET_VRING_KICK, VHOST_SET_VRING_CALL, VHOST_SET_VRING_ERR,
		VHOST_NET_SET_BACKEND,
	};
	struct bench *b = *state;

	for (unsigned i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
		kernel.refuses = requests[i];
		driver_start(&b->driver, DRIVER_SPLIT, WANTED);
		assert_false(kernel_serves(0));
		offer_frame(b, 1);
		turn(b);
		assert_int_equal(sent(b), 1);
		kernel.refuses = 0;
		let_write_unseen(b, true);
		assert_false(kernel_serves(0));
		driver_start(&b->driver, DRIVER_SPLIT, WANTED);
		assert_true(kernel_serves(0));
	}
	assert_int_equal(kernel.begun, 1 + VHOST_RINGS * sizeof(requests) / sizeof(requests[0]));
}

/* It came we do not know how far: the driver begins anew. */
static void test_position_unknown(void **state)
{
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, WANTED);
	kernel.refuses = VHOST_GET_VRING_BASE;
	let_write_unseen(b, false);
	assert_true(driver_status(&b->driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

static void test_open(void **state)
{
	struct error err;
	int fd = vhost_open(&err);

	(void)state;
	assert_true(fd >= 0);
	close(fd);
	kernel.open_errno = ENOENT;
	assert_int_equal(vhost_open(&err), -ENOENT);
	assert_non_null(strstr(err.message, "modprobe"));
	kernel.open_errno = EACCES;
	assert_int_equal(vhost_open(&err), -EACCES);
	assert_non_null(strstr(err.message, "permission"));
	kernel.open_errno = 0;
	kernel.can &= ~BIT(VIRTIO_NET_F_MRG_RXBUF);
	assert_int_equal(vhost_open(&err), -ENOTSUP);
	assert_non_null(strstr(err.message, "lacks features 0x8000"));
}

/* ---- lending ---- */

static void test_lending(void **state)
{
	struct bench *b = *state;
	struct virtio_memory memory[2];
	struct virtio_loan loan;
	struct virtio_queue *queue = virtio_queue(b->driver.virtio, 1);

	/* Not before the driver is ready; not without leave. */
	assert_int_equal(virtio_queue_lend(queue, &loan), -EPERM);
	let_write_unseen(b, false);
	driver_start(&b->driver, DRIVER_SPLIT, WANTED);
	assert_int_equal(virtio_queue_lend(queue, &loan), -EPERM);
	b->driver.fixture->env.unseen_writes = true;
	assert_int_equal(virtio_queue_lend(queue, &loan), 0);
	assert_true(virtio_queue_is_lent(queue));
	assert_false(virtio_queue_ready(queue));
	offer_frame(b, 1);
	assert_null(virtio_queue_pop(queue));
	virtio_queue_take_back(queue, loan.position);
	assert_true(virtio_queue_ready(queue));
	assert_int_equal(virtio_lent_memory(b->driver.fixture->env.mem, memory, 2), 2);
	assert_int_equal(virtio_lent_memory(b->driver.fixture->env.mem, memory, 1), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_BELLS(name) cmocka_unit_test_setup_teardown(name, setup_bells, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_begins), TEST_BELLS(test_begins), TEST(test_offers_less),
		TEST(test_not_for_every_driver), TEST(test_events), TEST_BELLS(test_events),
		TEST(test_fault), TEST(test_to_and_fro), TEST_BELLS(test_to_and_fro),
		TEST(test_late_call), TEST(test_late_fault), TEST(test_reset), TEST_BELLS(test_reset),
		TEST(test_bus_mastering), TEST_BELLS(test_bus_mastering), TEST(test_cable),
		TEST(test_cable_by_fault), TEST(test_broken_driver), TEST(test_pairs), TEST(test_offloads),
		TEST(test_frames_between_drivers), TEST(test_refused),
		TEST(test_position_unknown), TEST(test_open), TEST(test_lending),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
