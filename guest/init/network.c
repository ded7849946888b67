/* SPDX-License-Identifier: MIT */
/*
 * The host name, the loopback, the network cards: netdevice(7). Every card is brought up; those whose
 * addresses the host knows (net=MAC ADDRESS MASK GATEWAY) get them, the others are the user's. Of
 * IPv6 the kernel sees to itself. Without a network a guest is still good for something: nothing
 * here is fatal.
 */
#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init.h"

#define CARDS_DIR "/sys/class/net"
#define RESOLV_CONF "/etc/resolv.conf"
#define OUR_RESOLV_CONF RUN_DIR "/resolv.conf"

static void set_address(int fd, struct ifreq *request, unsigned long what, struct in_addr address)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = address };

	memcpy(&request->ifr_addr, &in, sizeof(in));
	ioctl(fd, what, request);
}

/* The first card's is the way to the world: lower metrics are better. */
static void add_default_route(int fd, char *card, struct in_addr gateway, unsigned metric)
{
	const struct sockaddr_in any = { .sin_family = AF_INET };
	struct sockaddr_in via = { .sin_family = AF_INET, .sin_addr = gateway };
	struct rtentry route = { .rt_flags = RTF_UP | RTF_GATEWAY, .rt_dev = card,
				 .rt_metric = (short)(metric + 1) };

	memcpy(&route.rt_dst, &any, sizeof(any));
	memcpy(&route.rt_genmask, &any, sizeof(any));
	memcpy(&route.rt_gateway, &via, sizeof(via));
	ioctl(fd, SIOCADDRT, &route);
}

static void bring_up(int fd, struct ifreq *request)
{
	if (ioctl(fd, SIOCGIFFLAGS, request))
		return;
	request->ifr_flags |= IFF_UP | IFF_RUNNING;
	ioctl(fd, SIOCSIFFLAGS, request);
}

static void read_line(const char *path, char *line, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t got = fd >= 0 ? read(fd, line, size - 1) : 0;

	if (fd >= 0)
		close(fd);
	line[got > 0 ? got : 0] = 0;
	line[strcspn(line, "\n")] = 0;
}

/* Nobody else can have an address on a network of its own: it is not to be waited for. */
static void trust_addresses(const char *card)
{
	char path[PATH_MAX];
	int fd;

	snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/accept_dad", card);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	(void)!write(fd, "0", 1);
	close(fd);
}

/* What the host knows of the card with this address; returns its number, or -1. */
static int find_config(const char *mac, struct in_addr address[3])
{
	const char *text;

	for (int i = 0; (text = config_at("net", (unsigned)i)); i++) {
		char known[18], part[3][16];

		if (sscanf(text, "%17s %15s %15s %15s", known, part[0], part[1], part[2]) != 4 ||
		    strcmp(known, mac))
			continue;
		for (unsigned j = 0; j < 3; j++)
			inet_aton(part[j], &address[j]);
		return i;
	}
	return -1;
}

static void set_up_card(int fd, const char *name)
{
	struct ifreq request = { .ifr_flags = 0 };
	char path[PATH_MAX], mac[18];
	struct in_addr address[3]; /* of the card, the mask, the gateway */
	int number;

	snprintf(path, sizeof(path), CARDS_DIR "/%s/address", name);
	read_line(path, mac, sizeof(mac));
	strncpy(request.ifr_name, name, sizeof(request.ifr_name) - 1);
	number = find_config(mac, address);
	if (number < 0) {
		bring_up(fd, &request);
		return;
	}
	trust_addresses(name);
	set_address(fd, &request, SIOCSIFADDR, address[0]);
	set_address(fd, &request, SIOCSIFNETMASK, address[1]);
	bring_up(fd, &request);
	add_default_route(fd, request.ifr_name, address[2], (unsigned)number);
}

/* Network cards have a device behind them, which tunnels and the like have not. */
static void set_up_cards(int fd)
{
	DIR *dir = opendir(CARDS_DIR);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char path[PATH_MAX];

		snprintf(path, sizeof(path), CARDS_DIR "/%s/device", entry->d_name);
		if (!access(path, F_OK))
			set_up_card(fd, entry->d_name);
	}
	if (dir)
		closedir(dir);
}

void set_up_network(void)
{
	struct ifreq loopback = { .ifr_name = "lo" };
	const char *name = config_get("hostname");
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (name)
		sethostname(name, strlen(name));
	if (fd < 0)
		return; /* a kernel without networks */
	bring_up(fd, &loopback);
	set_up_cards(fd);
	close(fd);
}

/* An empty file, with the directories on the way to it. */
static void make_file(char *path)
{
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(path, 0755);
		*slash = '/';
	}
	close(open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
}

/* Where the tree's file is a link into /run, which is empty in a guest, there is nothing to cover yet. */
static void make_target(void)
{
	char target[PATH_MAX];
	ssize_t length = readlink(RESOLV_CONF, target, sizeof(target) - 1);
	char *path = target;

	target[length > 0 ? length : 0] = 0;
	if (!strncmp(path, "..", 2))
		path += 2;
	if (!strncmp(path, "/run/", 5))
		make_file(path);
}

/* The tree's own file says what is right on the host: it is covered, not written. */
void set_up_names(void)
{
	const char *server = config_get("dns");
	FILE *file;

	if (!server)
		return;
	mkdir(RUN_DIR, 0700);
	file = fopen(OUR_RESOLV_CONF, "we");
	if (!file)
		return;
	fprintf(file, "nameserver %s\n", server);
	fclose(file);
	make_target();
	mount(OUR_RESOLV_CONF, RESOLV_CONF, NULL, MS_BIND, NULL);
}
