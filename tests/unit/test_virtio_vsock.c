/* SPDX-License-Identifier: MIT */
/*
 * The socket device: a driver's side of connections, written out packet by packet, and real sockets
 * on the host's side.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_vsock.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "host/loop.h"
#include "virtio/vsock.h"
#include "virtio_driver.h"

#define CID 5u
#define RX 0
#define TX 1
#define ROOM 0x1000u /* of a buffer for packets to the guest */
#define RX_DATA DRIVER_DATA
#define TX_DATA (DRIVER_DATA + 0x100000u)
#define TX_MAX 0x10000u
#define LINKS_MAX 512
#define QUEUE_BYTES (256u << 10)

struct bench {
	struct virtio_driver driver;
	char dir[32], path[48];
	unsigned given; /* buffers for packets to the guest */
	uint8_t data[ROOM];
	uint16_t type;
	uint32_t buf_alloc, fwd_cnt; /* of what the guest sends */
};

/* ---- set-up ---- */

static void stop(void *opaque)
{
	loop_stop(opaque);
}

/* Whatever the loop has to do by now. */
static void turn(struct bench *b)
{
	struct loop *loop = b->driver.fixture->env.loop;

	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(loop_post(loop, stop, loop), 0);
		loop_run(loop);
	}
}

static int create(struct bench *b, uint64_t cid, const char *path, struct error *err)
{
	const struct virtio_vsock_options options = { .cid = cid, .path = path };
	struct virtio_device *virtio;
	int ret = virtio_vsock_create(&b->driver.fixture->env, &options, &virtio, err);

	if (!ret)
		driver_plug(&b->driver, virtio);
	return ret;
}

static void give_room(struct bench *b, unsigned count)
{
	while (count--) {
		const struct driver_buffer buffer = {
			RX_DATA + b->given++ % DRIVER_QUEUE_SIZE * ROOM, ROOM, true,
		};

		driver_add(&b->driver, RX, &buffer, 1, 0);
	}
	driver_kick(&b->driver, RX);
	turn(b);
}

static void begin(struct bench *b, int format)
{
	driver_start(&b->driver, format, 0);
	b->given = 0;
	give_room(b, DRIVER_QUEUE_SIZE);
}

/* The same with SOCK_SEQPACKET, of which the rest of the test is. */
static void begin_messages(struct bench *b, int format)
{
	driver_start(&b->driver, format, 1ull << VIRTIO_VSOCK_F_SEQPACKET);
	b->given = 0;
	b->type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	give_room(b, DRIVER_QUEUE_SIZE);
}

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	*state = b;
	strcpy(b->dir, "/tmp/vsock-XXXXXX");
	assert_non_null(mkdtemp(b->dir));
	snprintf(b->path, sizeof(b->path), "%s/v", b->dir);
	b->buf_alloc = 1000;
	b->type = VIRTIO_VSOCK_TYPE_STREAM;
	driver_open(&b->driver);
	assert_int_equal(create(b, CID, b->path, NULL), 0);
	begin(b, DRIVER_SPLIT);
	return 0;
}

/* The device has taken its own socket with it; what is left is the test's. */
static int teardown(void **state)
{
	struct bench *b = *state;

	driver_close(&b->driver);
	assert_int_equal(access(b->path, F_OK), -1);
	assert_int_equal(rmdir(b->dir), 0);
	free(b);
	return 0;
}

/* ---- the guest ---- */

static void send_packet(struct bench *b, const struct virtio_vsock_hdr *header, const void *data,
			uint32_t len)
{
	const struct driver_buffer buffers[3] = {
		{ TX_DATA, sizeof(*header), false },
		{ TX_DATA + sizeof(*header), len - len / 2, false },
		{ TX_DATA + sizeof(*header) + len - len / 2, len / 2, false },
	};
	uint32_t used;
	uint16_t id;

	assert_true(len <= TX_MAX);
	driver_put(&b->driver, TX_DATA, header, sizeof(*header));
	if (len)
		driver_put(&b->driver, TX_DATA + sizeof(*header), data, len);
	driver_add(&b->driver, TX, buffers, len > 1 ? 3 : 1 + len, 0);
	driver_kick(&b->driver, TX);
	turn(b);
	assert_true(driver_used(&b->driver, TX, &id, &used) && used == 0);
}

static struct virtio_vsock_hdr header(struct bench *b, uint32_t guest_port, uint32_t host_port,
				      uint16_t op)
{
	return (struct virtio_vsock_hdr){
		.src_cid = CID, .dst_cid = 2, .src_port = guest_port, .dst_port = host_port,
		.type = b->type, .op = op, .buf_alloc = b->buf_alloc,
		.fwd_cnt = b->fwd_cnt,
	};
}

static void tell(struct bench *b, uint32_t guest_port, uint32_t host_port, uint16_t op,
		 uint32_t flags)
{
	struct virtio_vsock_hdr packet = header(b, guest_port, host_port, op);

	packet.flags = flags;
	send_packet(b, &packet, NULL, 0);
}

static void write_bytes(struct bench *b, uint32_t guest_port, uint32_t host_port, const void *data,
			uint32_t len)
{
	struct virtio_vsock_hdr packet = header(b, guest_port, host_port, VIRTIO_VSOCK_OP_RW);

	packet.len = len;
	send_packet(b, &packet, data, len);
}

/* A message, or a part of one. */
static void write_part(struct bench *b, uint32_t host_port, const void *data, uint32_t len, bool end)
{
	struct virtio_vsock_hdr packet = header(b, 77, host_port, VIRTIO_VSOCK_OP_RW);

	packet.len = len;
	packet.flags = end ? VIRTIO_VSOCK_SEQ_EOM : 0;
	send_packet(b, &packet, data, len);
}

/* The next packet for the guest, its data in b->data; the buffer is given again. */
static bool hear_any(struct bench *b, struct virtio_vsock_hdr *packet)
{
	uint32_t len;
	uint16_t id;

	if (!driver_used(&b->driver, RX, &id, &len))
		return false;
	assert_true(len >= sizeof(*packet));
	driver_get(&b->driver, RX_DATA + id * ROOM, packet, sizeof(*packet));
	assert_int_equal(packet->len, len - sizeof(*packet));
	driver_get(&b->driver, RX_DATA + id * ROOM + sizeof(*packet), b->data, packet->len);
	assert_true(packet->dst_cid == CID);
	give_room(b, 1);
	return true;
}

static struct virtio_vsock_hdr hear(struct bench *b, uint16_t op)
{
	struct virtio_vsock_hdr packet;

	assert_true(hear_any(b, &packet));
	assert_int_equal(packet.op, op);
	return packet;
}

static void hear_nothing(struct bench *b)
{
	struct virtio_vsock_hdr packet;

	assert_false(hear_any(b, &packet));
}

/* ---- the host ---- */

static struct sockaddr_un address_of(const struct bench *b, int port)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	if (port < 0)
		snprintf(address.sun_path, sizeof(address.sun_path), "%s%s", b->path,
			 b->type == VIRTIO_VSOCK_TYPE_STREAM ? "" : "_seqpacket");
	else
		snprintf(address.sun_path, sizeof(address.sun_path), "%s_%d", b->path, port);
	return address;
}

static int open_socket(const struct bench *b)
{
	int kind = b->type == VIRTIO_VSOCK_TYPE_STREAM ? SOCK_STREAM : SOCK_SEQPACKET;

	return socket(AF_UNIX, kind | SOCK_NONBLOCK, 0);
}

static int client(struct bench *b)
{
	struct sockaddr_un address = address_of(b, -1);
	int fd = open_socket(b);

	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

static void put_text(int fd, const char *text)
{
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* What fd has just now. */
static void expect_text(int fd, const char *text)
{
	char have[256];
	ssize_t got = read(fd, have, sizeof(have) - 1);

	assert_true(got >= 0);
	have[got] = 0;
	assert_string_equal(have, text);
}

static void expect_end(int fd)
{
	char byte;

	assert_int_equal(read(fd, &byte, 1), 0);
}

static int server(struct bench *b, int port, int backlog)
{
	struct sockaddr_un address = address_of(b, port);
	int fd = open_socket(b);

	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	assert_int_equal(listen(fd, backlog), 0);
	return fd;
}

static void close_server(struct bench *b, int port, int fd)
{
	struct sockaddr_un address = address_of(b, port);

	close(fd);
	assert_int_equal(unlink(address.sun_path), 0);
}

/* A client that the guest's port 77 has accepted. */
static int connected(struct bench *b, uint32_t *host_port)
{
	char expected[32];
	int fd = client(b);

	put_text(fd, "CONNECT 77\n");
	turn(b);
	*host_port = hear(b, VIRTIO_VSOCK_OP_REQUEST).src_port;
	tell(b, 77, *host_port, VIRTIO_VSOCK_OP_RESPONSE, 0);
	snprintf(expected, sizeof(expected), "OK %u\n", *host_port);
	expect_text(fd, expected);
	return fd;
}

/* ---- tests ---- */

static void test_from_the_host(void **state)
{
	struct bench *b = *state;

	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		struct virtio_vsock_hdr packet;
		uint32_t port;
		int fd;

		begin(b, format);
		assert_int_equal(driver_in(&b->driver, 0x2000, 4), CID);
		fd = connected(b, &port);
		put_text(fd, "to the guest");
		turn(b);
		packet = hear(b, VIRTIO_VSOCK_OP_RW);
		assert_true(packet.src_cid == 2 && packet.src_port == port &&
			    packet.dst_port == 77 && packet.type == VIRTIO_VSOCK_TYPE_STREAM);
		assert_int_equal(packet.buf_alloc, QUEUE_BYTES);
		assert_int_equal(packet.fwd_cnt, 0);
		assert_int_equal(packet.len, 12);
		assert_memory_equal(b->data, "to the guest", 12);
		write_bytes(b, 77, port, "to the host", 11);
		expect_text(fd, "to the host");
		tell(b, 77, port, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
		assert_int_equal(hear(b, VIRTIO_VSOCK_OP_CREDIT_UPDATE).fwd_cnt, 11);
		close(fd);
		turn(b);
		assert_int_equal(hear(b, VIRTIO_VSOCK_OP_SHUTDOWN).flags, 3);
		tell(b, 77, port, VIRTIO_VSOCK_OP_RST, 0);
		hear_nothing(b);
	}
}

static void test_from_the_guest(void **state)
{
	struct bench *b = *state;
	int listener = server(b, 80, 1), fd;

	tell(b, 1000, 81, VIRTIO_VSOCK_OP_REQUEST, 0);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_RST).dst_port, 1000);
	tell(b, 1000, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_RESPONSE).src_port, 80);
	fd = accept(listener, NULL, NULL);
	assert_true(fd >= 0);
	write_bytes(b, 1000, 80, "hello", 5);
	expect_text(fd, "hello");
	put_text(fd, "welcome");
	turn(b);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_RW).len, 7);
	assert_memory_equal(b->data, "welcome", 7);
	/* The guest closes; what it wrote last arrives all the same. */
	write_bytes(b, 1000, 80, "bye", 3);
	tell(b, 1000, 80, VIRTIO_VSOCK_OP_SHUTDOWN, 3);
	hear(b, VIRTIO_VSOCK_OP_RST);
	expect_text(fd, "bye");
	expect_end(fd);
	close(fd);
	close_server(b, 80, listener);
}

/* More bytes than the guest has credit for wait; it is asked, and says what it has room for. */
static void test_credit_of_the_guest(void **state)
{
	struct bench *b = *state;
	uint32_t port;
	int fd;

	b->buf_alloc = 10;
	fd = connected(b, &port);
	put_text(fd, "0123456789abcdef");
	turn(b);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_RW).len, 10);
	hear(b, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	hear_nothing(b);
	b->fwd_cnt = 4;
	tell(b, 77, port, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_RW).len, 4);
	assert_memory_equal(b->data, "abcd", 4);
	hear(b, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	/* Nonsense: more forwarded than was sent; less room than is under way. */
	b->fwd_cnt = 5000;
	tell(b, 77, port, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	b->fwd_cnt = 4;
	b->buf_alloc = 5;
	tell(b, 77, port, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	hear_nothing(b);
	b->buf_alloc = 1000;
	tell(b, 77, port, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_RW).len, 2);
	assert_memory_equal(b->data, "ef", 2);
	close(fd);
}

/* A packet is cut to the guest's buffer. */
static void test_many_bytes_to_the_guest(void **state)
{
	static uint8_t bytes[60000];
	struct bench *b = *state;
	size_t done = 0;
	uint32_t port;
	int fd;

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 7 + i / 251);
	b->buf_alloc = 1 << 20;
	fd = connected(b, &port);
	assert_int_equal(write(fd, bytes, sizeof(bytes)), sizeof(bytes));
	turn(b);
	while (done < sizeof(bytes)) {
		uint32_t len = hear(b, VIRTIO_VSOCK_OP_RW).len;

		assert_true(len && len <= ROOM - sizeof(struct virtio_vsock_hdr));
		assert_memory_equal(b->data, bytes + done, len);
		done += len;
	}
	hear_nothing(b);
	close(fd);
}

/* The host does not read: the guest may send until its credit is used up, and a byte more is wrong. */
static void test_credit_of_the_host(void **state)
{
	static uint8_t piece[TX_MAX], seen[TX_MAX];
	struct bench *b = *state;
	struct virtio_vsock_hdr packet;
	uint32_t port, sent = 0, forwarded = 0, got = 0;
	int fd = connected(b, &port);
	bool exceeded = false;

	memset(piece, 'x', sizeof(piece));
	while (sent - forwarded < QUEUE_BYTES) {
		write_bytes(b, 77, port, piece, TX_MAX);
		sent += TX_MAX;
		while (hear_any(b, &packet)) {
			assert_int_equal(packet.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
			forwarded = packet.fwd_cnt;
		}
		tell(b, 77, port, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
		forwarded = hear(b, VIRTIO_VSOCK_OP_CREDIT_UPDATE).fwd_cnt;
		if (QUEUE_BYTES - (sent - forwarded) < TX_MAX)
			break;
	}
	/* It reads: all comes in order, and the guest hears of it unasked. */
	while (got < sent) {
		ssize_t bytes = read(fd, seen, sizeof(seen));

		assert_true(bytes > 0);
		assert_memory_equal(seen, piece, (size_t)bytes);
		got += (uint32_t)bytes;
		turn(b);
	}
	while (hear_any(b, &packet))
		forwarded = packet.fwd_cnt;
	assert_true(sent - forwarded <= QUEUE_BYTES / 4);
	for (unsigned i = 0; i < 20 && !exceeded; i++) {
		write_bytes(b, 77, port, piece, TX_MAX);
		while (hear_any(b, &packet))
			exceeded |= packet.op == VIRTIO_VSOCK_OP_RST;
	}
	assert_true(exceeded);
	write_bytes(b, 77, port, piece, 10);
	hear(b, VIRTIO_VSOCK_OP_RST);
	close(fd);
}

static void test_half_closed_by_the_host(void **state)
{
	struct bench *b = *state;
	uint32_t port;
	int fd = connected(b, &port);

	put_text(fd, "question");
	shutdown(fd, SHUT_WR);
	turn(b);
	hear(b, VIRTIO_VSOCK_OP_RW);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_SHUTDOWN).flags, VIRTIO_VSOCK_SHUTDOWN_SEND);
	write_bytes(b, 77, port, "answer", 6);
	expect_text(fd, "answer");
	close(fd);
	turn(b);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_SHUTDOWN).flags, 3);
	/* What the guest still sends vanishes, and is no mistake of its. */
	write_bytes(b, 77, port, "more", 4);
	hear_nothing(b);
	tell(b, 77, port, VIRTIO_VSOCK_OP_SHUTDOWN, 3);
	hear(b, VIRTIO_VSOCK_OP_RST);
}

static void test_half_closed_by_the_guest(void **state)
{
	struct bench *b = *state;
	uint32_t port;
	int fd = connected(b, &port);

	write_bytes(b, 77, port, "request", 7);
	tell(b, 77, port, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND);
	expect_text(fd, "request");
	expect_end(fd);
	put_text(fd, "reply");
	turn(b);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_RW).len, 5);
	/* Bytes after the end are none. */
	write_bytes(b, 77, port, "again", 5);
	hear(b, VIRTIO_VSOCK_OP_RST);
	expect_end(fd);
	assert_true(send(fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	close(fd);
}

/* The guest reads no more: the host's writes fail. */
static void test_reading_ended_by_the_guest(void **state)
{
	struct bench *b = *state;
	uint32_t port;
	int fd = connected(b, &port);

	tell(b, 77, port, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_RCV);
	assert_true(send(fd, "x", 1, MSG_NOSIGNAL) < 0 && errno == EPIPE);
	write_bytes(b, 77, port, "still", 5);
	expect_text(fd, "still");
	/* Half after half is both. */
	tell(b, 77, port, VIRTIO_VSOCK_OP_SHUTDOWN, VIRTIO_VSOCK_SHUTDOWN_SEND);
	hear(b, VIRTIO_VSOCK_OP_RST);
	close(fd);
}

/* ---- messages ---- */

static void fill(uint8_t *bytes, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(seed * 31 + i * 7 + i / 251);
}

static void expect_message(int fd, const void *bytes, size_t len)
{
	static uint8_t have[QUEUE_BYTES + 1];

	assert_int_equal(recv(fd, have, sizeof(have), 0), len);
	assert_memory_equal(have, bytes, len);
}

static void expect_none(int fd)
{
	assert_true(recv(fd, &(char){ 0 }, 1, 0) < 0 && errno == EAGAIN);
}

/* A message is packets, of which the last is marked; several wait for each other. */
static void test_messages_to_the_guest(void **state)
{
	static const size_t lengths[] = { 3, ROOM - sizeof(struct virtio_vsock_hdr), ROOM, 50000, 1 };
	static uint8_t bytes[50000];
	struct bench *b = *state;

	b->buf_alloc = 1 << 20;
	for (int format = DRIVER_SPLIT; format <= DRIVER_PACKED; format++) {
		uint32_t port;
		int fd;

		begin_messages(b, format);
		fd = connected(b, &port);
		for (size_t i = 0; i < 5; i++) {
			fill(bytes, lengths[i], (unsigned)i);
			assert_int_equal(send(fd, bytes, lengths[i], 0), lengths[i]);
			/* One without a byte is lost, and no end. */
			assert_int_equal(send(fd, NULL, 0, 0), 0);
		}
		turn(b);
		for (size_t i = 0; i < 5; i++) {
			size_t done = 0;

			fill(bytes, lengths[i], (unsigned)i);
			while (done < lengths[i]) {
				struct virtio_vsock_hdr packet = hear(b, VIRTIO_VSOCK_OP_RW);

				assert_int_equal(packet.type, VIRTIO_VSOCK_TYPE_SEQPACKET);
				assert_memory_equal(b->data, bytes + done, packet.len);
				done += packet.len;
				assert_int_equal(packet.flags,
						 done == lengths[i] ? VIRTIO_VSOCK_SEQ_EOM : 0);
			}
		}
		hear_nothing(b);
		assert_int_equal(send(fd, "last", 4, 0), 4);
		close(fd);
		turn(b);
		assert_int_equal(hear(b, VIRTIO_VSOCK_OP_RW).len, 4);
		assert_int_equal(hear(b, VIRTIO_VSOCK_OP_SHUTDOWN).flags, 3);
	}
}

/* Parts of a message go out as there is credit; one that there can never be enough for ends it all. */
static void test_messages_and_the_guests_credit(void **state)
{
	struct bench *b = *state;
	struct virtio_vsock_hdr packet;
	uint32_t port;
	int fd;

	begin_messages(b, DRIVER_SPLIT);
	b->buf_alloc = 10;
	fd = connected(b, &port);
	assert_int_equal(send(fd, "01234567", 8, 0), 8);
	assert_int_equal(send(fd, "abcdef", 6, 0), 6);
	assert_int_equal(send(fd, "eleven byte", 11, 0), 11);
	turn(b);
	packet = hear(b, VIRTIO_VSOCK_OP_RW);
	assert_true(packet.len == 8 && packet.flags == VIRTIO_VSOCK_SEQ_EOM);
	packet = hear(b, VIRTIO_VSOCK_OP_RW);
	assert_true(packet.len == 2 && packet.flags == 0);
	hear(b, VIRTIO_VSOCK_OP_CREDIT_REQUEST);
	hear_nothing(b);
	b->fwd_cnt = 8;
	tell(b, 77, port, VIRTIO_VSOCK_OP_CREDIT_UPDATE, 0);
	packet = hear(b, VIRTIO_VSOCK_OP_RW);
	assert_true(packet.len == 4 && packet.flags == VIRTIO_VSOCK_SEQ_EOM);
	assert_memory_equal(b->data, "cdef", 4);
	turn(b);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_SHUTDOWN).flags, 3);
	assert_true(send(fd, "x", 1, MSG_NOSIGNAL) < 0 && errno != EAGAIN);
	close(fd);
}

/* Whole or not at all: what comes in parts, what waits for a host that does not read, and in order. */
static void test_messages_from_the_guest(void **state)
{
	static uint8_t bytes[TX_MAX];
	struct bench *b = *state;
	struct virtio_vsock_hdr packet;
	uint32_t port, sent = 0, forwarded = 0;
	unsigned written = 0;
	int fd;

	begin_messages(b, DRIVER_PACKED);
	fd = connected(b, &port);
	write_part(b, port, "one", 3, true);
	expect_message(fd, "one", 3);
	write_part(b, port, "in ", 3, false);
	write_part(b, port, "par", 3, false);
	expect_none(fd);
	write_part(b, port, "ts", 2, true);
	expect_message(fd, "in parts", 8);
	/* The mark may come alone; without a message it means nothing. */
	write_part(b, port, "late", 4, false);
	write_part(b, port, NULL, 0, true);
	expect_message(fd, "late", 4);
	write_part(b, port, NULL, 0, true);
	expect_none(fd);
	sent = forwarded = 15;
	for (unsigned round = 0; round < 3; round++) {
		unsigned first = written;

		for (uint32_t len = 1; sent + len - forwarded <= QUEUE_BYTES;
		     len = 1 + (len * 7 + 12345) % (TX_MAX - 1)) {
			fill(bytes, len, written);
			if (len > 10)
				write_part(b, port, bytes, len / 2, false);
			write_part(b, port, bytes + (len > 10 ? len / 2 : 0),
				   len - (len > 10 ? len / 2 : 0), true);
			written++;
			sent += len;
		}
		for (uint32_t len = 1; first < written; first++) {
			fill(bytes, len, first);
			expect_message(fd, bytes, len);
			turn(b);
			len = 1 + (len * 7 + 12345) % (TX_MAX - 1);
		}
		expect_none(fd);
		while (hear_any(b, &packet))
			assert_int_equal(packet.op, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
		tell(b, 77, port, VIRTIO_VSOCK_OP_CREDIT_REQUEST, 0);
		forwarded = hear(b, VIRTIO_VSOCK_OP_CREDIT_UPDATE).fwd_cnt;
		assert_int_equal(forwarded, sent);
	}
	assert_true(written > 9);
	close(fd);
}

/* The longest message there is credit for; a byte more is wrong. */
static void test_the_longest_message(void **state)
{
	static uint8_t bytes[QUEUE_BYTES];
	struct bench *b = *state;
	uint32_t port;
	int fd;

	begin_messages(b, DRIVER_SPLIT);
	fd = connected(b, &port);
	fill(bytes, sizeof(bytes), 1);
	for (uint32_t done = 0; done < QUEUE_BYTES; done += TX_MAX)
		write_part(b, port, bytes + done, TX_MAX, done + TX_MAX == QUEUE_BYTES);
	turn(b);
	expect_message(fd, bytes, sizeof(bytes));
	turn(b);
	hear(b, VIRTIO_VSOCK_OP_CREDIT_UPDATE);
	for (uint32_t done = 0; done < QUEUE_BYTES; done += TX_MAX)
		write_part(b, port, bytes, TX_MAX, false);
	hear_nothing(b);
	write_part(b, port, "x", 1, true);
	hear(b, VIRTIO_VSOCK_OP_RST);
	expect_end(fd);
	close(fd);
}

/* Half a message is none, however the guest goes; whole ones before it arrive. */
static void test_half_a_message(void **state)
{
	struct bench *b = *state;
	uint32_t port;
	int fd;

	begin_messages(b, DRIVER_SPLIT);
	for (unsigned flags = VIRTIO_VSOCK_SHUTDOWN_SEND; flags <= 3; flags++) {
		fd = connected(b, &port);
		write_part(b, port, "whole", 5, true);
		write_part(b, port, "half", 4, false);
		tell(b, 77, port, VIRTIO_VSOCK_OP_SHUTDOWN, flags);
		expect_message(fd, "whole", 5);
		expect_end(fd);
		close(fd);
		turn(b);
		hear(b, flags == 3 ? VIRTIO_VSOCK_OP_RST : VIRTIO_VSOCK_OP_SHUTDOWN);
	}
	fd = connected(b, &port);
	write_part(b, port, "half", 4, false);
	driver_set_status(&b->driver, 0);
	turn(b);
	expect_end(fd);
	close(fd);
}

/* A server of the right type is found, one of the other type is none. */
static void test_message_servers(void **state)
{
	struct bench *b = *state;
	int messages, streams, fd;

	streams = server(b, 81, 1);
	begin_messages(b, DRIVER_SPLIT);
	messages = server(b, 80, 1);
	tell(b, 1000, 81, VIRTIO_VSOCK_OP_REQUEST, 0);
	hear(b, VIRTIO_VSOCK_OP_RST);
	tell(b, 77, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_RESPONSE).type, VIRTIO_VSOCK_TYPE_SEQPACKET);
	fd = accept4(messages, NULL, NULL, SOCK_NONBLOCK);
	write_part(b, 80, "hello", 5, true);
	expect_message(fd, "hello", 5);
	/* As a stream, it is somebody else's. */
	b->type = VIRTIO_VSOCK_TYPE_STREAM;
	write_bytes(b, 77, 80, "bytes", 5);
	hear(b, VIRTIO_VSOCK_OP_RST);
	expect_end(fd);
	close(fd);
	close_server(b, 80, messages);
	close_server(b, 81, streams);
}

/* A driver that knows no messages is not bothered with them. */
static void test_no_messages(void **state)
{
	struct bench *b = *state;
	int fd;

	b->type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	fd = client(b);
	put_text(fd, "CONNECT 5\n");
	turn(b);
	expect_end(fd);
	hear_nothing(b);
	close(fd);
}

/* What makes no sense is answered with RST, but for what nobody can be told. */
static void test_nonsense(void **state)
{
	struct bench *b = *state;
	struct virtio_vsock_hdr packet;
	uint32_t port;

	for (uint16_t op = 0; op < 300; op += op < 10 ? 1 : 50) {
		tell(b, 9, 9, op, 0);
		if (op == VIRTIO_VSOCK_OP_RST)
			hear_nothing(b);
		else
			assert_int_equal(hear(b, VIRTIO_VSOCK_OP_RST).src_port, 9);
	}
	packet = header(b, 9, 9, VIRTIO_VSOCK_OP_REQUEST);
	packet.src_cid = CID + 1;
	send_packet(b, &packet, NULL, 0);
	hear_nothing(b);
	packet.src_cid = CID;
	packet.dst_cid = 7;
	send_packet(b, &packet, NULL, 0);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_RST).src_cid, 7);
	packet.dst_cid = 2;
	packet.type = VIRTIO_VSOCK_TYPE_SEQPACKET;
	send_packet(b, &packet, NULL, 0);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_RST).type, VIRTIO_VSOCK_TYPE_SEQPACKET);
	/* Of a link that is open. */
	for (unsigned i = 0; i < 4; i++) {
		static const uint16_t ops[] = { VIRTIO_VSOCK_OP_REQUEST, VIRTIO_VSOCK_OP_RESPONSE,
						99, VIRTIO_VSOCK_OP_RW };
		int fd = connected(b, &port);

		packet = header(b, 77, port, ops[i]);
		/* RW: longer than its chain. */
		packet.len = ops[i] == VIRTIO_VSOCK_OP_RW ? 5 : 0;
		send_packet(b, &packet, "four", 4);
		hear(b, VIRTIO_VSOCK_OP_RST);
		expect_end(fd);
		close(fd);
	}
	assert_false(driver_status(&b->driver) & 0x40);
}

/* A packet without a header is passed over; a buffer that holds none ends it. */
static void test_short_buffers(void **state)
{
	const struct driver_buffer too_short = { TX_DATA, 43, false }, small = { RX_DATA, 44, true };
	struct bench *b = *state;
	uint32_t len;
	uint16_t id;

	driver_add(&b->driver, TX, &too_short, 1, 0);
	driver_kick(&b->driver, TX);
	turn(b);
	assert_true(driver_used(&b->driver, TX, &id, &len));
	assert_false(driver_status(&b->driver) & 0x40);
	driver_start(&b->driver, DRIVER_SPLIT, 0);
	driver_add(&b->driver, RX, &small, 1, 0);
	driver_kick(&b->driver, RX);
	tell(b, 9, 9, VIRTIO_VSOCK_OP_RW, 0);
	assert_true(driver_status(&b->driver) & 0x40);
	begin(b, DRIVER_PACKED);
	tell(b, 9, 9, VIRTIO_VSOCK_OP_RW, 0);
	hear(b, VIRTIO_VSOCK_OP_RST);
}

static void test_greetings(void **state)
{
	static const char *const wrong[] = {
		"CONNECT\n", "CONNECT x\n", "CONNECT \n", "connect 1\n", "CONNECT 4294967295\n",
		"CONNECT 99999999999\n", "CONNECT -1\n", "CONNECT 1 2\n", "\n",
		"CONNECT 00000000000000000000000000000000001\n",
	};
	struct bench *b = *state;
	struct virtio_vsock_hdr packet;
	int fd;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		char byte;

		fd = client(b);
		put_text(fd, wrong[i]);
		turn(b);
		/* What was not read makes it a reset instead of an end. */
		errno = 0;
		assert_true(read(fd, &byte, 1) <= 0 && errno != EAGAIN);
		close(fd);
		hear_nothing(b);
	}
	/* Byte by byte, and bytes for the guest right behind it. */
	fd = client(b);
	for (const char *at = "CONNECT 4294967294"; *at; at++) {
		assert_int_equal(write(fd, at, 1), 1);
		turn(b);
	}
	put_text(fd, "\nfirst");
	turn(b);
	packet = hear(b, VIRTIO_VSOCK_OP_REQUEST);
	assert_int_equal(packet.dst_port, 4294967294u);
	hear_nothing(b);
	tell(b, packet.dst_port, packet.src_port, VIRTIO_VSOCK_OP_RESPONSE, 0);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_RW).len, 5);
	close(fd);
	/* Refused by the guest; given up by the client while the guest thinks about it. */
	fd = client(b);
	put_text(fd, "CONNECT 5\n");
	turn(b);
	turn(b);
	hear(b, VIRTIO_VSOCK_OP_SHUTDOWN); /* of the one before */
	packet = hear(b, VIRTIO_VSOCK_OP_REQUEST);
	tell(b, 5, packet.src_port, VIRTIO_VSOCK_OP_RST, 0);
	expect_end(fd);
	close(fd);
	fd = client(b);
	put_text(fd, "CONNECT 5\n");
	turn(b);
	packet = hear(b, VIRTIO_VSOCK_OP_REQUEST);
	close(fd);
	turn(b);
	hear(b, VIRTIO_VSOCK_OP_RST);
	tell(b, 5, packet.src_port, VIRTIO_VSOCK_OP_RESPONSE, 0);
	hear(b, VIRTIO_VSOCK_OP_RST);
}

/* The device is reset with links in every state; bytes that it had taken arrive. */
static void test_reset(void **state)
{
	static uint8_t piece[TX_MAX], seen[TX_MAX];
	struct bench *b = *state;
	uint32_t port, sent = 0, got = 0;
	int open = connected(b, &port), asking = client(b), greeting = client(b);
	ssize_t bytes;

	for (; sent < 5 * TX_MAX; sent += TX_MAX)
		write_bytes(b, 77, port, piece, TX_MAX);
	put_text(asking, "CONNECT 5\n");
	turn(b);
	driver_set_status(&b->driver, 0);
	turn(b);
	expect_end(asking);
	while ((bytes = read(open, seen, sizeof(seen))) > 0) {
		got += (uint32_t)bytes;
		turn(b);
	}
	assert_true(bytes == 0 && got == sent);
	close(open);
	close(asking);
	begin(b, DRIVER_PACKED);
	put_text(greeting, "CONNECT 6\n");
	turn(b);
	hear(b, VIRTIO_VSOCK_OP_REQUEST);
	close(greeting);
	turn(b);
	hear(b, VIRTIO_VSOCK_OP_RST);
	open = connected(b, &port);
	close(open);
}

/* Without a driver nobody answers, and the client is told so. */
static void test_no_driver(void **state)
{
	struct bench *b = *state;
	int fd = client(b);

	driver_set_status(&b->driver, 0);
	put_text(fd, "CONNECT 5\n");
	turn(b);
	expect_end(fd);
	close(fd);
}

static rlim_t limit_descriptors(rlim_t count)
{
	struct rlimit limit;
	rlim_t before;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	before = limit.rlim_cur;
	limit.rlim_cur = count;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return before;
}

static void test_too_many(void **state)
{
	struct bench *b = *state;
	rlim_t before = limit_descriptors(4 * LINKS_MAX);
	int fd[LINKS_MAX + 1];

	for (unsigned i = 0; i <= LINKS_MAX; i++) {
		fd[i] = client(b);
		turn(b);
	}
	expect_end(fd[LINKS_MAX]);
	assert_int_equal(read(fd[0], &(char){ 0 }, 1), -1);
	tell(b, 1, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	hear(b, VIRTIO_VSOCK_OP_RST);
	for (unsigned i = 0; i <= LINKS_MAX; i++)
		close(fd[i]);
	turn(b);
	for (unsigned i = 0; i < LINKS_MAX / 32; i++)
		turn(b);
	fd[0] = connected(b, &(uint32_t){ 0 });
	close(fd[0]);
	limit_descriptors(before);
}

/* The process can open no more files: who wants in waits until it can. */
static void test_no_descriptors(void **state)
{
	struct bench *b = *state;
	int waiting = client(b);
	rlim_t before = limit_descriptors((rlim_t)waiting + 1);

	put_text(waiting, "CONNECT 5\n");
	turn(b);
	hear_nothing(b);
	tell(b, 1, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	hear(b, VIRTIO_VSOCK_OP_RST);
	limit_descriptors(before);
	for (bool done = false; !done;) {
		uint16_t used = driver_get16(&b->driver, b->driver.ring[RX].device + 2);

		turn(b);
		done = used != b->driver.ring[RX].next_used;
	}
	hear(b, VIRTIO_VSOCK_OP_REQUEST);
	close(waiting);
}

/* A server whose queue is full for the moment has it tried again. */
static void test_a_busy_server(void **state)
{
	struct bench *b = *state;
	int listener = server(b, 80, 0), first, second;

	tell(b, 1, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	hear(b, VIRTIO_VSOCK_OP_RESPONSE);
	tell(b, 2, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	hear_nothing(b);
	/* Not before it is open. */
	tell(b, 3, 80, VIRTIO_VSOCK_OP_REQUEST, 0);
	write_bytes(b, 3, 80, "early", 5);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_RST).dst_port, 3);
	first = accept(listener, NULL, NULL);
	assert_true(first >= 0);
	for (second = -1; second < 0; second = accept(listener, NULL, NULL))
		turn(b);
	turn(b);
	assert_int_equal(hear(b, VIRTIO_VSOCK_OP_RESPONSE).dst_port, 2);
	write_bytes(b, 2, 80, "now", 3);
	expect_text(second, "now");
	close(first);
	close(second);
	close_server(b, 80, listener);
}

static void test_the_socket(void **state)
{
	struct bench *b = *state, other = { .given = 0 };
	struct error err;
	struct stat status;
	char path[200];
	int fd;

	assert_int_equal(stat(b->path, &status), 0);
	assert_int_equal(status.st_mode, S_IFSOCK | 0600);
	driver_open(&other.driver);
	assert_int_equal(create(&other, CID, b->path, &err), -EADDRINUSE);
	assert_int_equal(create(&other, 2, b->path, &err), -EINVAL);
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = 0;
	assert_int_equal(create(&other, CID, path, &err), -EINVAL);
	/* What is no socket stays; one that nobody listens at goes. */
	snprintf(path, sizeof(path), "%s/w", b->dir);
	close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(create(&other, CID, path, &err), -EADDRINUSE);
	assert_int_equal(unlink(path), 0);
	strcpy(other.path, path);
	fd = server(&other, -1, 1);
	assert_int_equal(create(&other, CID, path, &err), -EADDRINUSE);
	close(fd);
	assert_int_equal(create(&other, CID, path, &err), 0);
	driver_close(&other.driver);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(access(b->path, F_OK), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_from_the_host),
		TEST(test_from_the_guest),
		TEST(test_credit_of_the_guest),
		TEST(test_many_bytes_to_the_guest),
		TEST(test_credit_of_the_host),
		TEST(test_half_closed_by_the_host),
		TEST(test_half_closed_by_the_guest),
		TEST(test_reading_ended_by_the_guest),
		TEST(test_messages_to_the_guest),
		TEST(test_messages_and_the_guests_credit),
		TEST(test_messages_from_the_guest),
		TEST(test_the_longest_message),
		TEST(test_half_a_message),
		TEST(test_message_servers),
		TEST(test_no_messages),
		TEST(test_nonsense),
		TEST(test_short_buffers),
		TEST(test_greetings),
		TEST(test_reset),
		TEST(test_no_driver),
		TEST(test_too_many),
		TEST(test_no_descriptors),
		TEST(test_a_busy_server),
		TEST(test_the_socket),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
