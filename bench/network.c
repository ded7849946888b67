/* SPDX-License-Identifier: MIT */
/*
 * A network to the machine that the guest runs on: BENCH_NET is ADDRESS:PORT of a server (network.py)
 * which does what each command says. Without it, nothing here is usable.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench.h"

#define PART_BYTES (4u << 20) /* of an iteration; network.py has it, too */
#define PIECE_BYTES (64u << 10)
#define TRIPS 64u
#define TRIP_BYTES 64u

struct connection {
	int fd;
	char *buffer;
};

static bool net_usable(void)
{
	return getenv("BENCH_NET");
}

static void *net_prepare(void)
{
	struct connection *connection = bench_alloc(sizeof(*connection));
	struct sockaddr_in server = { .sin_family = AF_INET };
	char address[16];
	const int yes = 1;
	unsigned port;

	connection->buffer = bench_alloc(PIECE_BYTES);
	memset(connection->buffer, 0, PIECE_BYTES);
	bench_check(sscanf(getenv("BENCH_NET"), "%15[0-9.]:%u", address, &port) == 2, "BENCH_NET");
	server.sin_port = htons((uint16_t)port);
	inet_pton(AF_INET, address, &server.sin_addr);
	connection->fd = socket(AF_INET, SOCK_STREAM, 0);
	bench_check(!connect(connection->fd, (struct sockaddr *)&server, sizeof(server)),
		    "cannot connect to BENCH_NET");
	setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	return connection;
}

static void put(const struct connection *connection, size_t bytes)
{
	while (bytes) {
		size_t piece = bytes < PIECE_BYTES ? bytes : PIECE_BYTES;
		ssize_t done = write(connection->fd, connection->buffer, piece);

		bench_check(done > 0, "write to the network");
		bytes -= (size_t)done;
	}
}

static void get(const struct connection *connection, size_t bytes)
{
	while (bytes) {
		size_t piece = bytes < PIECE_BYTES ? bytes : PIECE_BYTES;
		ssize_t done = read(connection->fd, connection->buffer, piece);

		bench_check(done > 0, "read from the network");
		bytes -= (size_t)done;
	}
}

static void command(const struct connection *connection, char what)
{
	bench_check(write(connection->fd, &what, 1) == 1, "write to the network");
}

static uint64_t net_send_run(void *data)
{
	command(data, 's');
	put(data, PART_BYTES);
	get(data, 1);
	return PART_BYTES;
}

static uint64_t net_receive_run(void *data)
{
	command(data, 'r');
	get(data, PART_BYTES);
	return PART_BYTES;
}

static uint64_t net_trips_run(void *data)
{
	for (unsigned i = 0; i < TRIPS; i++) {
		command(data, 'e');
		put(data, TRIP_BYTES);
		get(data, TRIP_BYTES);
	}
	return TRIPS;
}

#define NET(name) const struct bench bench_##name = { #name, "net", net_prepare, name##_run, net_usable };
NET(net_send)
NET(net_receive)
NET(net_trips)
