/* SPDX-License-Identifier: MIT */
/* The host name, and the loopback: netdevice(7). */
#include <net/if.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "init.h"

void set_up_network(void)
{
	struct ifreq loopback = { .ifr_name = "lo" };
	const char *name = config_get("hostname");
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (name)
		sethostname(name, strlen(name));
	if (fd < 0)
		return; /* a kernel without networks */
	if (!ioctl(fd, SIOCGIFFLAGS, &loopback)) {
		loopback.ifr_flags |= IFF_UP | IFF_RUNNING;
		ioctl(fd, SIOCSIFFLAGS, &loopback);
	}
	close(fd);
}
