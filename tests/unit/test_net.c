/* SPDX-License-Identifier: MIT */
/* Networks without a card: options and forwards as they are written, user mode's process in a thread. */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>
#include <linux/virtio_net.h>

#include "base/error.h"
#include "net/options.h"
#include "net/socket.h"

static struct net_options parse(const char *text, unsigned index)
{
	struct net_options options;
	struct error err = { "" };

	if (net_options_parse(&options, text, index, &err))
		fail_msg("%s: %s", text, err.message);
	return options;
}

static void assert_address(struct in_addr address, const char *text)
{
	assert_string_equal(inet_ntoa(address), text);
}

static void test_user_defaults(void **state)
{
	struct net_options first = parse("user", 0), second = parse("user", 1);

	(void)state;
	assert_int_equal(first.kind, NET_USER);
	assert_address(first.user.network, "10.0.2.0");
	assert_address(first.user.mask, "255.255.255.0");
	assert_address(first.user.host, "10.0.2.2");
	assert_address(first.user.dns, "10.0.2.3");
	assert_address(first.user.guest, "10.0.2.15");
	assert_false(first.user.restricted);
	assert_int_equal(first.user.forward_count, 0);
	assert_address(second.user.guest, "10.0.3.15");
	assert_memory_not_equal(&first.user.prefix, &second.user.prefix, 16);
	assert_memory_not_equal(first.mac, second.mac, 6);
	assert_false(first.mac[0] & 1);
	net_options_release(&first);
	net_options_release(&second);
}

static void test_user_options(void **state)
{
	struct net_options options = parse("user,net=192.168.7.77/27,host=192.168.7.65,restrict,mtu=1400,"
					   "mac=02:aB:00:01:02:03,hostfwd=tcp:8080-:80,"
					   "hostfwd=udp:0.0.0.0:53-192.168.7.80:5353", 0);
	const struct net_user_forward *forward = options.user.forward;
	static const uint8_t mac[6] = { 2, 0xab, 0, 1, 2, 3 };

	(void)state;
	assert_address(options.user.network, "192.168.7.64");
	assert_address(options.user.host, "192.168.7.65");
	assert_address(options.user.guest, "192.168.7.79");
	assert_true(options.user.restricted);
	assert_int_equal(options.user.mtu, 1400);
	assert_memory_equal(options.mac, mac, 6);
	assert_int_equal(options.user.forward_count, 2);
	assert_false(forward[0].udp);
	assert_address(forward[0].host.in.sin_addr, "127.0.0.1");
	assert_int_equal(ntohs(forward[0].host.in.sin_port), 8080);
	assert_address(forward[0].guest.in.sin_addr, "192.168.7.79");
	assert_int_equal(ntohs(forward[0].guest.in.sin_port), 80);
	assert_true(forward[1].udp);
	assert_address(forward[1].host.in.sin_addr, "0.0.0.0");
	assert_address(forward[1].guest.in.sin_addr, "192.168.7.80");
	net_options_release(&options);
	options = parse("user,hostfwd=tcp:[::1]:22-[fd00::5]:2222,hostfwd=tcp::1-:2", 0);
	assert_int_equal(options.user.forward[0].host.any.sa_family, AF_INET6);
	assert_int_equal(ntohs(options.user.forward[0].guest.in6.sin6_port), 2222);
	assert_address(options.user.forward[1].host.in.sin_addr, "127.0.0.1");
	net_options_release(&options);
}

static void test_other_kinds(void **state)
{
	struct net_options options = parse("tap,ifname=a,,b,script=/bin/true,queues=2,mtu=9000", 0);

	(void)state;
	assert_int_equal(options.kind, NET_TAP);
	assert_string_equal(options.ifname, "a,b");
	assert_string_equal(options.script, "/bin/true");
	assert_int_equal(options.queues, 2);
	assert_int_equal(options.mtu, 9000);
	assert_int_equal(options.vhost, NET_VHOST_AUTO);
	net_options_release(&options);
	options = parse("tap,fd=3,vhost=on", 0);
	assert_int_equal(options.vhost, NET_VHOST_ON);
	net_options_release(&options);
	options = parse("tap,vhost=off", 0);
	assert_int_equal(options.vhost, NET_VHOST_OFF);
	net_options_release(&options);
	options = parse("vde,url=vde:///x", 0);
	assert_int_equal(options.kind, NET_VDE);
	assert_string_equal(options.url, "vde:///x");
	net_options_release(&options);
}

static void test_wrong_options(void **state)
{
	static const char *const wrong[] = {
		"", "usr", "none,mtu=1500", "user,", "user,mtu=67", "user,mtu=65536", "user,mtu=1e3",
		"user,mtu", "user,restrict=1", "user,ifname=a", "user,mac=1:2:3:4:5", "tap,fd=3,ifname=a",
		"user,mac=03:00:00:00:00:00", "user,mac=02:00:00:00:00:00:00", "user,net=10.0.0.0/28",
		"user,net=10.0.0/24", "user,net=10.0.0.0/7", "user,net=10.0.0.0/24x", "user,net=1/",
		"user,host=10.0.3.2", "user,host=10.0.2.0", "user,host=10.0.2.15", "user,host=10.0.2.3",
		"user,host=10.0.2.255", "user,host=x", "user,hostfwd=tcp", "user,hostfwd=sctp:1-:2",
		"user,hostfwd=tcp:0-:2", "user,hostfwd=tcp:1-:65536", "user,hostfwd=tcp:1:2",
		"user,hostfwd=tcp:a:1-:2", "user,hostfwd=tcp:[::1]:1-:2", "user,hostfwd=tcp:[::1:1-:2",
		"user,hostfwd=tcp:1-", "user,hostfwd=tcp:1-10.0.2.15", "user,hostfwd=tcp:-1-:2",
		"user,hostfwd=", "tap,queues=0", "tap,queues=9", "tap,fd=2", "vde,sock=x",
		"tap,vhost", "tap,vhost=", "tap,vhost=yes", "user,vhost=on",
	};
	struct net_options options;
	struct error err;

	(void)state;
	for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		err.message[0] = 0;
		if (!net_options_parse(&options, wrong[i], 0, &err))
			fail_msg("'%s' is taken", wrong[i]);
		assert_true(*err.message);
	}
}

/* ---- user mode ---- */

static void *serve(void *socket)
{
	return (void *)(intptr_t)net_user_serve(*(int *)socket);
}

/* The next frame of such a type that comes within some seconds. */
static ssize_t next_frame(struct net *net, unsigned type, uint8_t *packet, size_t size)
{
	struct pollfd ready = { .fd = net->fd[0], .events = POLLIN };

	while (poll(&ready, 1, 10000) == 1) {
		ssize_t got = net_receive(net, 0, packet, size);

		assert_true(got >= (ssize_t)(NET_HEADER_BYTES + NET_FRAME_MIN));
		if ((packet[NET_HEADER_BYTES + 12] << 8 | packet[NET_HEADER_BYTES + 13]) == (int)type)
			return got;
	}
	return -1;
}

/* Who has host's address? */
static void ask(struct net *net, const struct net_options *options)
{
	uint8_t packet[NET_HEADER_BYTES + 42] = { 0 }, *frame = packet + NET_HEADER_BYTES;
	const uint8_t arp[8] = { 0, 1, 8, 0, 6, 4, 0, 1 };
	const struct iovec iov[2] = { { packet, 20 }, { packet + 20, sizeof(packet) - 20 } };

	memset(frame, 0xff, 6);
	memcpy(frame + 6, options->mac, 6);
	frame[12] = 8;
	frame[13] = 6;
	memcpy(frame + 14, arp, sizeof(arp));
	memcpy(frame + 22, options->mac, 6);
	memcpy(frame + 28, &options->user.guest, 4);
	memcpy(frame + 38, &options->user.host, 4);
	assert_int_equal(net_send(net, 0, iov, 2), 0);
}

static void test_user_mode(void **state)
{
	struct net_options options = parse("user,net=10.9.8.0/24,host=10.9.8.9", 0);
	const struct net_info info = { .queues = 1 };
	uint8_t packet[2048], answer[1024];
	struct virtio_net_hdr_v1 header;
	struct net *net;
	pthread_t thread;
	void *status;
	int ends[2];

	(void)state;
	if (!net_has_user())
		skip();
	assert_int_equal(net_socket_pair(ends, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, serve, &ends[1]), 0);
	assert_int_equal(send(ends[0], &options.user, sizeof(options.user), 0), sizeof(options.user));
	assert_int_equal(poll(&(struct pollfd){ .fd = ends[0], .events = POLLIN }, 1, 10000), 1);
	assert_true(recv(ends[0], answer, sizeof(answer), 0) > 0);
	assert_int_equal(*(int *)answer, 0);
	assert_int_equal(net_socket_open("user", ends[0], &info, &net, NULL), 0);
	ask(net, &options);
	assert_true(next_frame(net, 0x0806, packet, sizeof(packet)) >= 54);
	memcpy(&header, packet, sizeof(header));
	assert_int_equal(header.flags, VIRTIO_NET_HDR_F_DATA_VALID);
	assert_memory_equal(packet + NET_HEADER_BYTES, options.mac, 6);
	assert_int_equal(packet[NET_HEADER_BYTES + 21], 2); /* a reply */
	assert_memory_equal(packet + NET_HEADER_BYTES + 28, &options.user.host, 4);
	/* When we go, it ends. */
	net_close(net);
	assert_int_equal(pthread_join(thread, &status), 0);
	assert_int_equal((intptr_t)status, 0);
	close(ends[1]);
	net_options_release(&options);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_user_defaults),
		cmocka_unit_test(test_user_options),
		cmocka_unit_test(test_other_kinds),
		cmocka_unit_test(test_wrong_options),
		cmocka_unit_test(test_user_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
