/* SPDX-License-Identifier: MIT */
/* The network card: frames both ways, however their pieces lie; filters, offloads, back-pressure. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/virtio_config.h>
#include <linux/virtio_net.h>

#include "net/socket.h"
#include "virtio/net.h"
#include "virtio_driver.h"

#define QUEUES 2u
#define HEADER DRIVER_DATA
#define DATA (DRIVER_DATA + 0x1000)
#define RX (DRIVER_DATA + 0x100000)
#define CONTROL (DRIVER_DATA + 0x2000)
#define ACK (DRIVER_DATA + 0x2800)
#define CONFIG 0x2000u /* of BAR 4 */
#define ALL_OFFLOADS (NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN | NET_UFO)
#define BIT(n) (1ull << (n))

static const uint8_t own_mac[6] = { 2, 0, 0, 0, 0, 1 };

/* A back end of two queues: a pair of sockets each. */
struct bench {
	struct net net; /* must be first */
	struct virtio_driver driver;
	struct net *queue[QUEUES];
	int peer[QUEUES];
	unsigned offloads, queues;
	bool full; /* it takes no frames */
};

static int bench_send(struct net *net, unsigned queue, const struct iovec *iov, unsigned count)
{
	struct bench *b = (struct bench *)net;

	return b->full ? -EAGAIN : net_send(b->queue[queue], 0, iov, count);
}

static ssize_t bench_receive(struct net *net, unsigned queue, void *frame, size_t size)
{
	return net_receive(((struct bench *)net)->queue[queue], 0, frame, size);
}

static void bench_set_offloads(struct net *net, unsigned offloads)
{
	((struct bench *)net)->offloads = offloads;
}

static void bench_set_queues(struct net *net, unsigned queues)
{
	((struct bench *)net)->queues = queues;
}

static void bench_close(struct net *net)
{
	for (unsigned i = 0; i < QUEUES; i++)
		net_close(((struct bench *)net)->queue[i]);
}

static const struct net_class bench_class = {
	.send = bench_send, .receive = bench_receive, .set_offloads = bench_set_offloads,
	.set_queues = bench_set_queues, .close = bench_close,
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	struct virtio_net_options options = { .net = &b->net };
	struct virtio_device *virtio;

	*state = b;
	b->net = (struct net){ .class = &bench_class, .kind = "bench",
			       .info = { .queues = QUEUES, .from_guest = ALL_OFFLOADS,
					 .to_guest = ALL_OFFLOADS, .mtu = 1500 } };
	for (unsigned i = 0; i < QUEUES; i++) {
		int ends[2];

		assert_int_equal(net_socket_pair(ends, NULL), 0);
		b->net.fd[i] = ends[0];
		b->peer[i] = ends[1];
		assert_int_equal(net_socket_open("bench", ends[0], &b->net.info, &b->queue[i], NULL),
				 0);
	}
	memcpy(options.mac, own_mac, sizeof(own_mac));
	driver_open(&b->driver);
	assert_int_equal(virtio_net_create(&b->driver.fixture->env, &options, &virtio, NULL), 0);
	driver_plug(&b->driver, virtio);
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	driver_close(&b->driver);
	for (unsigned i = 0; i < QUEUES; i++)
		if (b->peer[i] >= 0)
			close(b->peer[i]);
	free(b);
	return 0;
}

static void turn(struct bench *b)
{
	bool done = true;

	run_until(b->driver.fixture, &done);
}

/* ---- frames ---- */

struct packet {
	struct virtio_net_hdr_v1 header;
	uint8_t frame[NET_FRAME_MAX];
};

static void make_frame(uint8_t *frame, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		frame[i] = (uint8_t)(i * 31 + seed + (i >> 8));
	memcpy(frame, own_mac, sizeof(own_mac));
	frame[12] = 8;
	frame[13] = 0;
}

/* From the host. */
static void inject(struct bench *b, unsigned queue, const struct packet *packet, size_t len)
{
	assert_int_equal(send(b->peer[queue], packet, NET_HEADER_BYTES + len, 0),
			 NET_HEADER_BYTES + len);
}

/* What came out on the host's side: the frame's length, or -1. */
static ssize_t collect(struct bench *b, unsigned queue, struct packet *packet)
{
	ssize_t got = recv(b->peer[queue], packet, sizeof(*packet), MSG_DONTWAIT);

	return got < 0 ? -1 : got - (ssize_t)NET_HEADER_BYTES;
}

static void offer(struct bench *b, unsigned pair, unsigned slot, uint32_t len)
{
	const struct driver_buffer buffer = { RX + slot * 0x20000, len, true };

	driver_add(&b->driver, 2 * pair, &buffer, 1, 0);
}

static void put_out(struct bench *b, const struct virtio_net_hdr_v1 *header, const uint8_t *frame,
		    size_t len)
{
	driver_put(&b->driver, HEADER, header, sizeof(*header));
	driver_put(&b->driver, DATA, frame, len);
}

/* Whether a frame that the guest sends with such a header gets out. */
static bool sends(struct bench *b, const struct virtio_net_hdr_v1 *header, size_t len)
{
	const struct driver_buffer buffers[2] = { { HEADER, NET_HEADER_BYTES, false },
						  { DATA, (uint32_t)len, false } };
	static struct packet packet;
	uint8_t frame[4096];
	uint16_t id;
	uint32_t used;

	make_frame(frame, len, 1);
	put_out(b, header, frame, len);
	driver_add(&b->driver, 1, buffers, 2, 0);
	driver_kick(&b->driver, 1);
	assert_true(driver_used(&b->driver, 1, &id, &used));
	return collect(b, 0, &packet) == (ssize_t)len;
}

static void test_sending(void **state)
{
	static const uint32_t cuts[][2] = { { 12, 100 }, { 5, 1 }, { 13, 900 }, { 500, 300 } };
	static struct packet packet;
	struct bench *b = *state;
	uint8_t frame[1500];
	uint16_t id;
	uint32_t len;

	for (unsigned i = 0; i < 8; i++) {
		const uint32_t *cut = cuts[i / 2];
		const struct driver_buffer buffers[3] = {
			{ DATA, cut[0], false }, { DATA + cut[0], cut[1], false },
			{ DATA + cut[0] + cut[1], 1512 - cut[0] - cut[1], false },
		};
		const struct virtio_net_hdr_v1 header = { .num_buffers = 77 };

		driver_start(&b->driver, (int)i & 1, 0);
		make_frame(frame, sizeof(frame), i);
		driver_put(&b->driver, DATA, &header, sizeof(header));
		driver_put(&b->driver, DATA + 12, frame, sizeof(frame));
		driver_add(&b->driver, 1, buffers, 3, 0);
		driver_kick(&b->driver, 1);
		assert_true(driver_used(&b->driver, 1, &id, &len));
		assert_int_equal(collect(b, 0, &packet), sizeof(frame));
		assert_memory_equal(packet.frame, frame, sizeof(frame));
		assert_int_equal(packet.header.num_buffers, 0);
	}
}

static void test_receiving(void **state)
{
	struct bench *b = *state;
	struct packet packet = { .header = { 0 } };
	uint8_t found[1200];
	uint16_t id;
	uint32_t len;

	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		driver_start(&b->driver, format, 0);
		make_frame(packet.frame, 1000, 9);
		inject(b, 0, &packet, 1000);
		turn(b);
		/* It waits for a buffer. */
		offer(b, 0, 0, 2000);
		driver_kick(&b->driver, 0);
		assert_true(driver_used(&b->driver, 0, &id, &len));
		assert_int_equal(len, 1012);
		driver_get(&b->driver, RX, found, 1012);
		assert_memory_equal(found + 12, packet.frame, 1000);
		assert_int_equal(found[10] | found[11] << 8, 1);
		/* And a buffer waits for it. */
		offer(b, 0, 0, 2000);
		driver_kick(&b->driver, 0);
		turn(b);
		assert_false(driver_used(&b->driver, 0, &id, &len));
		inject(b, 0, &packet, 60);
		turn(b);
		assert_true(driver_used(&b->driver, 0, &id, &len));
		assert_int_equal(len, 72);
	}
}

/* The longest of frames over several buffers; what fits into one does not take another. */
static void test_merging(void **state)
{
	static struct packet packet, found;
	struct bench *b = *state;
	uint16_t id;
	uint32_t len, total = 0;

	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		driver_start(&b->driver, format, BIT(VIRTIO_NET_F_MRG_RXBUF));
		make_frame(packet.frame, NET_FRAME_MAX, 5);
		inject(b, 0, &packet, NET_FRAME_MAX);
		for (unsigned i = 0; i < 3; i++)
			offer(b, 0, i, 20000);
		driver_kick(&b->driver, 0);
		turn(b);
		assert_false(driver_used(&b->driver, 0, &id, &len));
		offer(b, 0, 3, 20000);
		offer(b, 0, 4, 20000);
		driver_kick(&b->driver, 0);
		total = 0;
		for (unsigned i = 0; i < 4; i++) {
			assert_true(driver_used(&b->driver, 0, &id, &len));
			driver_get(&b->driver, RX + i * 0x20000, (uint8_t *)&found + total, len);
			total += len;
		}
		assert_int_equal(total, NET_HEADER_BYTES + NET_FRAME_MAX);
		assert_int_equal(found.header.num_buffers, 4);
		assert_memory_equal(found.frame, packet.frame, NET_FRAME_MAX);
		assert_false(driver_used(&b->driver, 0, &id, &len));
		inject(b, 0, &packet, 14);
		turn(b);
		assert_true(driver_used(&b->driver, 0, &id, &len));
		assert_int_equal(len, 26);
	}
}

/* A frame that never fits is lost, and those behind it come. */
static void test_small_buffers(void **state)
{
	struct packet packet = { .header = { 0 } };
	struct bench *b = *state;
	uint16_t id;
	uint32_t len;

	driver_start(&b->driver, DRIVER_SPLIT, 0);
	make_frame(packet.frame, 1000, 9);
	offer(b, 0, 0, 100);
	driver_kick(&b->driver, 0);
	inject(b, 0, &packet, 1000);
	inject(b, 0, &packet, 50);
	turn(b);
	assert_true(driver_used(&b->driver, 0, &id, &len));
	assert_int_equal(len, 62);
	/* Runts and headers alone are no frames. */
	offer(b, 0, 0, 100);
	driver_kick(&b->driver, 0);
	inject(b, 0, &packet, 13);
	inject(b, 0, &packet, 0);
	turn(b);
	assert_false(driver_used(&b->driver, 0, &id, &len));
}

static void test_headers(void **state)
{
	struct bench *b = *state;
	const struct virtio_net_hdr_v1 plain = { .gso_size = 7 },
		csum = { .flags = 1, .csum_start = 34, .csum_offset = 16 },
		outside = { .flags = 1, .csum_start = 0xffff, .csum_offset = 0xffff },
		edge = { .flags = 1, .csum_start = 90, .csum_offset = 8 },
		tso = { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 1000,
			.hdr_len = 54, .csum_start = 34, .csum_offset = 16 },
		ecn = { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN,
			.gso_size = 1000, .csum_start = 34, .csum_offset = 16 },
		no_size = { .flags = 1, .gso_type = VIRTIO_NET_HDR_GSO_TCPV4 },
		unknown = { .flags = 1, .gso_type = 2, .gso_size = 1 };

	driver_start(&b->driver, DRIVER_SPLIT, 0);
	assert_true(sends(b, &plain, 100));
	assert_false(sends(b, &csum, 100));
	assert_false(sends(b, &tso, 100));
	driver_start(&b->driver, DRIVER_SPLIT, BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO4) |
						       BIT(VIRTIO_NET_F_HOST_TSO6));
	assert_true(sends(b, &csum, 100));
	assert_true(sends(b, &tso, 4000));
	assert_false(sends(b, &ecn, 4000));
	assert_false(sends(b, &outside, 100));
	assert_true(sends(b, &edge, 100));
	assert_false(sends(b, &edge, 99));
	assert_false(sends(b, &no_size, 4000));
	assert_false(sends(b, &unknown, 4000));
	driver_start(&b->driver, DRIVER_SPLIT, BIT(VIRTIO_NET_F_CSUM) | BIT(VIRTIO_NET_F_HOST_TSO6) |
						       BIT(VIRTIO_NET_F_HOST_ECN));
	assert_true(sends(b, &ecn, 4000));
	assert_false(sends(b, &tso, 4000));
	/* No frame at all. */
	assert_false(sends(b, &plain, 13));
	assert_false(driver_status(&b->driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
}

/* What the guest does not see to is not said to it. */
static void test_headers_to_the_guest(void **state)
{
	struct packet packet = { .header = { .flags = VIRTIO_NET_HDR_F_DATA_VALID } };
	struct bench *b = *state;
	uint8_t flags;

	for (unsigned i = 0; i < 2; i++) {
		driver_start(&b->driver, DRIVER_SPLIT, i ? BIT(VIRTIO_NET_F_GUEST_CSUM) : 0);
		assert_int_equal(b->offloads, i ? NET_CSUM : 0);
		make_frame(packet.frame, 100, 0);
		offer(b, 0, 0, 2000);
		driver_kick(&b->driver, 0);
		inject(b, 0, &packet, 100);
		turn(b);
		driver_get(&b->driver, RX, &flags, 1);
		assert_int_equal(flags, i ? VIRTIO_NET_HDR_F_DATA_VALID : 0);
	}
}

/* A frame that was made for another driver does not come. */
static void test_late_frames(void **state)
{
	const struct virtio_net_hdr_v1 late[] = {
		{ .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM, .csum_start = 34, .csum_offset = 16 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV4, .gso_size = 10 },
		{ .gso_type = VIRTIO_NET_HDR_GSO_TCPV6 | VIRTIO_NET_HDR_GSO_ECN, .gso_size = 10 },
	};
	struct packet packet = { .header = { 0 } };
	struct bench *b = *state;
	uint16_t id;
	uint32_t len;

	driver_start(&b->driver, DRIVER_SPLIT, 0);
	make_frame(packet.frame, 100, 0);
	offer(b, 0, 0, 2000);
	driver_kick(&b->driver, 0);
	for (unsigned i = 0; i < 3; i++) {
		packet.header = late[i];
		inject(b, 0, &packet, 100);
	}
	turn(b);
	assert_false(driver_used(&b->driver, 0, &id, &len));
	driver_start(&b->driver, DRIVER_SPLIT, BIT(VIRTIO_NET_F_GUEST_CSUM) |
						       BIT(VIRTIO_NET_F_GUEST_TSO4) |
						       BIT(VIRTIO_NET_F_GUEST_TSO6));
	offer(b, 0, 0, 2000);
	offer(b, 0, 1, 2000);
	offer(b, 0, 2, 2000);
	driver_kick(&b->driver, 0);
	for (unsigned i = 0; i < 3; i++) {
		packet.header = late[i];
		inject(b, 0, &packet, 100);
	}
	turn(b);
	assert_true(driver_used(&b->driver, 0, &id, &len));
	assert_true(driver_used(&b->driver, 0, &id, &len));
	assert_false(driver_used(&b->driver, 0, &id, &len));
}

/* A back end that takes nothing now gets it later, in order. */
static void test_back_pressure(void **state)
{
	const struct driver_buffer buffers[2] = { { HEADER, NET_HEADER_BYTES, false },
						  { DATA, 64, false } };
	static const struct virtio_net_hdr_v1 header;
	struct packet packet;
	struct bench *b = *state;
	uint8_t frame[64];
	uint16_t id;
	uint32_t len;

	driver_start(&b->driver, DRIVER_PACKED, 0);
	make_frame(frame, sizeof(frame), 3);
	put_out(b, &header, frame, sizeof(frame));
	b->full = true;
	for (unsigned i = 0; i < 3; i++)
		driver_add(&b->driver, 1, buffers, 2, 0);
	driver_kick(&b->driver, 1);
	assert_false(driver_used(&b->driver, 1, &id, &len));
	b->full = false;
	turn(b);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(driver_used(&b->driver, 1, &id, &len));
		assert_int_equal(collect(b, 0, &packet), 64);
	}
	assert_int_equal(collect(b, 0, &packet), -1);
	/* A reset forgets what waits. */
	b->full = true;
	driver_add(&b->driver, 1, buffers, 2, 0);
	driver_kick(&b->driver, 1);
	driver_start(&b->driver, DRIVER_SPLIT, 0);
	b->full = false;
	turn(b);
	assert_int_equal(collect(b, 0, &packet), -1);
}

/* ---- control ---- */

/* The answer to a command; control: the queue's index. */
static uint8_t control(struct bench *b, unsigned queue, uint8_t class, uint8_t number,
		       const void *data, size_t len)
{
	const struct virtio_net_ctrl_hdr header = { class, number };
	const struct driver_buffer buffers[3] = { { CONTROL, 2, false },
						  { CONTROL + 2, (uint32_t)len, false },
						  { ACK, 1, true } };
	uint8_t ack = 0xee;
	uint16_t id;
	uint32_t used;

	driver_put(&b->driver, ACK, &ack, 1);
	driver_put(&b->driver, CONTROL, &header, sizeof(header));
	driver_put(&b->driver, CONTROL + 2, data, len);
	driver_add(&b->driver, queue, buffers, 3, 0);
	driver_kick(&b->driver, queue);
	assert_true(driver_used(&b->driver, queue, &id, &used));
	assert_int_equal(used, 1);
	driver_get(&b->driver, ACK, &ack, 1);
	return ack;
}

static uint8_t rx_mode(struct bench *b, uint8_t mode, uint8_t on)
{
	return control(b, 2, VIRTIO_NET_CTRL_RX, mode, &on, 1);
}

/* Whether a frame for to (type and tag besides, if tag) is handed to the guest. */
static bool passes(struct bench *b, const uint8_t *to, unsigned vlan)
{
	struct packet packet = { .header = { 0 } };
	uint16_t id;
	uint32_t len;

	make_frame(packet.frame, 60, 0);
	memcpy(packet.frame, to, 6);
	if (vlan) {
		packet.frame[12] = 0x81;
		packet.frame[14] = (uint8_t)(vlan >> 8);
		packet.frame[15] = (uint8_t)vlan;
	}
	offer(b, 0, 0, 2000);
	driver_kick(&b->driver, 0);
	inject(b, 0, &packet, 60);
	turn(b);
	if (driver_used(&b->driver, 0, &id, &len))
		return true;
	/* The buffer is used up before the next question. */
	memcpy(packet.frame, own_mac, 6);
	packet.frame[12] = 8;
	inject(b, 0, &packet, 60);
	turn(b);
	assert_true(driver_used(&b->driver, 0, &id, &len));
	return false;
}

static void test_filters(void **state)
{
	static const uint8_t broadcast[6] = { 255, 255, 255, 255, 255, 255 },
			     other[6] = { 2, 0, 0, 0, 0, 2 }, group[6] = { 0x33, 0x33, 0, 0, 0, 1 };
	struct {
		uint32_t unicasts;
		uint8_t unicast[6];
		uint32_t multicasts;
		uint8_t multicast[6];
	} __attribute__((packed)) table = { 1, { 2, 0, 0, 0, 0, 2 }, 1, { 0x33, 0x33, 0, 0, 0, 1 } };
	struct bench *b = *state;
	uint16_t vlan = 0x123;

	driver_start(&b->driver, DRIVER_SPLIT, BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) |
						       BIT(VIRTIO_NET_F_CTRL_RX_EXTRA) |
						       BIT(VIRTIO_NET_F_CTRL_VLAN));
	assert_true(passes(b, other, 0));
	assert_int_equal(rx_mode(b, VIRTIO_NET_CTRL_RX_PROMISC, 0), VIRTIO_NET_OK);
	assert_true(passes(b, own_mac, 0));
	assert_true(passes(b, broadcast, 0));
	assert_false(passes(b, other, 0));
	assert_false(passes(b, group, 0));
	rx_mode(b, VIRTIO_NET_CTRL_RX_ALLMULTI, 1);
	assert_true(passes(b, group, 0));
	rx_mode(b, VIRTIO_NET_CTRL_RX_ALLMULTI, 0);
	assert_int_equal(control(b, 2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, &table,
				 sizeof(table)), VIRTIO_NET_OK);
	assert_true(passes(b, other, 0));
	assert_true(passes(b, group, 0));
	rx_mode(b, VIRTIO_NET_CTRL_RX_NOBCAST, 1);
	assert_false(passes(b, broadcast, 0));
	assert_int_equal(rx_mode(b, 6, 1), VIRTIO_NET_ERR);
	assert_false(passes(b, own_mac, 0x123));
	assert_int_equal(control(b, 2, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &vlan, 2),
			 VIRTIO_NET_OK);
	assert_true(passes(b, own_mac, 0x123));
	assert_false(passes(b, own_mac, 0x124));
	vlan = 4096;
	assert_int_equal(control(b, 2, VIRTIO_NET_CTRL_VLAN, VIRTIO_NET_CTRL_VLAN_ADD, &vlan, 2),
			 VIRTIO_NET_ERR);
}

/* Tables whose counts do not agree with what is there; one that is longer than ours. */
static void test_odd_tables(void **state)
{
	static uint8_t text[4 + 6 * 100 + 4];
	static const uint8_t other[6] = { 2, 0, 0, 0, 0, 2 };
	struct bench *b = *state;
	uint32_t count = UINT32_MAX;

	driver_start(&b->driver, DRIVER_SPLIT, BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX));
	rx_mode(b, VIRTIO_NET_CTRL_RX_PROMISC, 0);
	for (uint32_t bad = 1; bad; bad <<= 3) {
		count = bad > 100 ? bad : 101;
		memcpy(text, &count, 4);
		assert_int_equal(control(b, 2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET,
					 text, sizeof(text)), VIRTIO_NET_ERR);
	}
	assert_false(passes(b, other, 0));
	count = 100;
	memcpy(text, &count, 4);
	assert_int_equal(control(b, 2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, text,
				 sizeof(text)), VIRTIO_NET_OK);
	assert_true(passes(b, other, 0));
	assert_int_equal(control(b, 2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_TABLE_SET, text, 3),
			 VIRTIO_NET_ERR);
	/* What was not negotiated. */
	assert_int_equal(rx_mode(b, VIRTIO_NET_CTRL_RX_NOBCAST, 1), VIRTIO_NET_ERR);
	assert_int_equal(control(b, 2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET, other, 6),
			 VIRTIO_NET_ERR);
	assert_int_equal(control(b, 2, VIRTIO_NET_CTRL_VLAN, 0, text, 2), VIRTIO_NET_ERR);
	assert_int_equal(control(b, 2, VIRTIO_NET_CTRL_MQ, 0, text, 2), VIRTIO_NET_ERR);
	assert_int_equal(control(b, 2, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, text, 8), VIRTIO_NET_ERR);
	assert_int_equal(control(b, 2, 77, 0, text, 8), VIRTIO_NET_ERR);
}

static void test_mac(void **state)
{
	static const uint8_t other[6] = { 2, 0, 0, 0, 0, 2 };
	struct bench *b = *state;

	for (unsigned i = 0; i < 2; i++) {
		driver_start(&b->driver, DRIVER_SPLIT,
			     BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_CTRL_RX) |
				     BIT(VIRTIO_NET_F_CTRL_MAC_ADDR));
		/* A reset brings the old one back. */
		assert_int_equal(driver_in(&b->driver, CONFIG + 5, 1), 1);
		rx_mode(b, VIRTIO_NET_CTRL_RX_PROMISC, 0);
		assert_false(passes(b, other, 0));
		assert_int_equal(control(b, 2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
					 other, 6), VIRTIO_NET_OK);
		assert_int_equal(driver_in(&b->driver, CONFIG + 5, 1), 2);
		assert_int_equal(control(b, 2, VIRTIO_NET_CTRL_MAC, VIRTIO_NET_CTRL_MAC_ADDR_SET,
					 other, 5), VIRTIO_NET_ERR);
	}
}

static uint8_t use_pairs(struct bench *b, uint16_t pairs)
{
	return control(b, 4, VIRTIO_NET_CTRL_MQ, VIRTIO_NET_CTRL_MQ_VQ_PAIRS_SET, &pairs, 2);
}

static void test_queues(void **state)
{
	const uint64_t features = BIT(VIRTIO_NET_F_CTRL_VQ) | BIT(VIRTIO_NET_F_MQ);
	struct packet packet = { .header = { 0 } };
	struct bench *b = *state;
	uint16_t id;
	uint32_t len;

	driver_start(&b->driver, DRIVER_PACKED, features);
	assert_int_equal(driver_in(&b->driver, CONFIG + 8, 2), QUEUES);
	assert_int_equal(driver_in(&b->driver, CONFIG + 10, 2), 1500);
	assert_int_equal(b->queues, 1);
	make_frame(packet.frame, 60, 0);
	inject(b, 1, &packet, 60);
	offer(b, 1, 0, 2000);
	driver_kick(&b->driver, 2);
	turn(b);
	assert_false(driver_used(&b->driver, 2, &id, &len));
	assert_int_equal(use_pairs(b, 0), VIRTIO_NET_ERR);
	assert_int_equal(use_pairs(b, QUEUES + 1), VIRTIO_NET_ERR);
	assert_int_equal(use_pairs(b, QUEUES), VIRTIO_NET_OK);
	assert_int_equal(b->queues, QUEUES);
	turn(b);
	assert_true(driver_used(&b->driver, 2, &id, &len));
	assert_int_equal(use_pairs(b, 1), VIRTIO_NET_OK);
	inject(b, 1, &packet, 60);
	offer(b, 1, 0, 2000);
	driver_kick(&b->driver, 2);
	turn(b);
	assert_false(driver_used(&b->driver, 2, &id, &len));
}

static void test_guest_offloads(void **state)
{
	const uint64_t guest = BIT(VIRTIO_NET_F_GUEST_CSUM) | BIT(VIRTIO_NET_F_GUEST_TSO4);
	uint64_t wanted = BIT(VIRTIO_NET_F_GUEST_CSUM), more = BIT(VIRTIO_NET_F_GUEST_TSO6);
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, guest | BIT(VIRTIO_NET_F_CTRL_VQ) |
						       BIT(VIRTIO_NET_F_CTRL_GUEST_OFFLOADS));
	assert_int_equal(b->offloads, NET_CSUM | NET_TSO4);
	assert_int_equal(control(b, 2, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &wanted, 8),
			 VIRTIO_NET_OK);
	assert_int_equal(b->offloads, NET_CSUM);
	assert_int_equal(control(b, 2, VIRTIO_NET_CTRL_GUEST_OFFLOADS, 0, &more, 8),
			 VIRTIO_NET_ERR);
	assert_int_equal(b->offloads, NET_CSUM);
}

static void test_no_command(void **state)
{
	const struct driver_buffer bad[2][2] = {
		{ { CONTROL, 1, false }, { ACK, 1, true } },
		{ { CONTROL, 2, false }, { CONTROL + 2, 8, false } },
	};
	struct bench *b = *state;

	for (unsigned i = 0; i < 2; i++) {
		driver_start(&b->driver, DRIVER_PACKED, BIT(VIRTIO_NET_F_CTRL_VQ));
		driver_add(&b->driver, 2, bad[i], 2, 0);
		driver_kick(&b->driver, 2);
		assert_true(driver_status(&b->driver) & VIRTIO_CONFIG_S_NEEDS_RESET);
	}
}

/* ---- life ---- */

static void test_the_other_side_goes(void **state)
{
	struct bench *b = *state;
	const struct virtio_net_hdr_v1 header = { 0 };

	driver_start(&b->driver, DRIVER_SPLIT, BIT(VIRTIO_NET_F_STATUS));
	assert_int_equal(driver_in(&b->driver, CONFIG + 6, 2), VIRTIO_NET_S_LINK_UP);
	close(b->peer[0]);
	b->peer[0] = -1;
	turn(b);
	assert_int_equal(driver_in(&b->driver, CONFIG + 6, 2), 0);
	assert_int_equal(b->driver.messages[0], 1);
	/* What is sent is lost, and does no harm. */
	put_out(b, &header, own_mac, 6);
	driver_add(&b->driver, 1, &(struct driver_buffer){ HEADER, 100, false }, 1, 0);
	driver_kick(&b->driver, 1);
	turn(b);
	driver_start(&b->driver, DRIVER_SPLIT, BIT(VIRTIO_NET_F_STATUS));
	assert_int_equal(driver_in(&b->driver, CONFIG + 6, 2), 0);
}

/* While a frame waits for buffers, nobody reads; that must not turn into a loop. */
static void test_it_goes_while_a_frame_waits(void **state)
{
	struct packet packet = { .header = { 0 } };
	struct bench *b = *state;

	driver_start(&b->driver, DRIVER_SPLIT, BIT(VIRTIO_NET_F_STATUS));
	make_frame(packet.frame, 60, 0);
	inject(b, 0, &packet, 60);
	inject(b, 0, &packet, 60);
	turn(b);
	close(b->peer[0]);
	b->peer[0] = -1;
	turn(b);
	assert_int_equal(driver_in(&b->driver, CONFIG + 6, 2), 0);
}

static void test_resets(void **state)
{
	struct packet packet = { .header = { 0 } };
	struct bench *b = *state;
	uint8_t byte;

	make_frame(packet.frame, 60, 0);
	for (unsigned i = 0; i < 20; i++) {
		driver_start(&b->driver, (int)i & 1, i & 2 ? BIT(VIRTIO_NET_F_MRG_RXBUF) : 0);
		for (unsigned j = 0; j < 3; j++)
			inject(b, 0, &packet, 60);
		offer(b, 0, 0, 2000);
		if (i & 4)
			driver_kick(&b->driver, 0);
		if (i & 8)
			turn(b);
		driver_set_status(&b->driver, 0);
		byte = 0x5a;
		driver_put(&b->driver, RX + 12, &byte, 1);
		turn(b);
		driver_get(&b->driver, RX + 12, &byte, 1);
		assert_int_equal(byte, 0x5a);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sending),
		TEST(test_receiving),
		TEST(test_merging),
		TEST(test_small_buffers),
		TEST(test_headers),
		TEST(test_headers_to_the_guest),
		TEST(test_late_frames),
		TEST(test_back_pressure),
		TEST(test_filters),
		TEST(test_odd_tables),
		TEST(test_mac),
		TEST(test_queues),
		TEST(test_guest_offloads),
		TEST(test_no_command),
		TEST(test_the_other_side_goes),
		TEST(test_it_goes_while_a_frame_waits),
		TEST(test_resets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
