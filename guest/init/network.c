/* SPDX-License-Identifier: MIT */
/*
 * Interfaces by ioctl (netdevice(7)): "net=ADDRESS NETMASK GATEWAY NAMESERVER". IPv6 needs nothing
 * but the host's router advertisements.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <net/route.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "init.h"

#define RESOLV "/etc/resolv.conf"

static void bring_up(int fd, const char *name)
{
	struct ifreq request = { .ifr_flags = 0 };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFFLAGS, &request))
		return;
	request.ifr_flags |= IFF_UP | IFF_RUNNING;
	ioctl(fd, SIOCSIFFLAGS, &request);
}

static struct sockaddr internet(const char *address)
{
	struct sockaddr_in in = { .sin_family = AF_INET };
	struct sockaddr generic;

	if (inet_pton(AF_INET, address, &in.sin_addr) != 1)
		die("not an address: %s", address);
	memcpy(&generic, &in, sizeof(generic));
	return generic;
}

static void set_address(int fd, const char *name, unsigned long what, const char *address)
{
	struct ifreq request = { .ifr_addr = internet(address) };

	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, what, &request))
		die("cannot set %s's address to %s: %s", name, address, strerror(errno));
}

static void set_gateway(int fd, const char *gateway)
{
	struct rtentry route = {
		.rt_dst = { .sa_family = AF_INET }, .rt_genmask = { .sa_family = AF_INET },
		.rt_gateway = internet(gateway), .rt_flags = RTF_UP | RTF_GATEWAY,
	};

	if (ioctl(fd, SIOCADDRT, &route))
		die("cannot route to %s: %s", gateway, strerror(errno));
}

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		return;
	if (write(fd, text, strlen(text)) < 0)
		unlink(path);
	close(fd);
}

void set_up_network(void)
{
	char address[64], mask[64], gateway[64];
	const char *net = config_get("net"), *name = config_get("hostname");
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (name)
		sethostname(name, strlen(name));
	if (fd < 0)
		return; /* a kernel without networks */
	bring_up(fd, "lo");
	if (net) {
		if (sscanf(net, "%63s %63s %63s", address, mask, gateway) != 3)
			die("the network is described wrongly: %s", net);
		bring_up(fd, "eth0");
		set_address(fd, "eth0", SIOCSIFADDR, address);
		set_address(fd, "eth0", SIOCSIFNETMASK, mask);
		set_gateway(fd, gateway);
	}
	close(fd);
}

/* Where RESOLV leads, if it is a link into /run, which is new here; else a file below it. */
static void choose_resolv(char *path, size_t size)
{
	char link[PATH_MAX];
	ssize_t length = readlink(RESOLV, link, sizeof(link) - 1);
	const char *run;

	link[length > 0 ? length : 0] = 0;
	run = strstr(link, "run/");
	snprintf(path, size, "/run/%s", run ? run + 4 : "ringlet/resolv.conf");
}

void set_up_names(void)
{
	const char *server = config_get("nameserver");
	char path[PATH_MAX + 8], text[96];

	if (!server)
		return;
	choose_resolv(path, sizeof(path));
	for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(path, 0755);
		*slash = '/';
	}
	snprintf(text, sizeof(text), "nameserver %s\n", server);
	write_file(path, text);
	if (!strcmp(path, "/run/ringlet/resolv.conf"))
		mount(path, RESOLV, NULL, MS_BIND, NULL);
}
