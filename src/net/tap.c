/* SPDX-License-Identifier: MIT */
/*
 * See tap.h. An interface that is there already is used as it is (its owner may be who is no root);
 * one that is not is made, for which CAP_NET_ADMIN is needed, and goes with the machine.
 */
#include "net/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "net/options.h"
#include "net/vhost.h"

#define TUN_DEVICE "/dev/net/tun"

struct tap {
	struct net net; /* must be first */
	char ifname[IFNAMSIZ];
};

extern char **environ;

static const struct {
	unsigned offload, flag;
} offload_flags[] = {
	{ NET_CSUM, TUN_F_CSUM },   { NET_TSO4, TUN_F_TSO4 }, { NET_TSO6, TUN_F_TSO6 },
	{ NET_ECN, TUN_F_TSO_ECN }, { NET_UFO, TUN_F_UFO },
};

/* 0 or -errno. */
static int set_offloads(const struct tap *tap, unsigned offloads)
{
	unsigned long flags = 0;

	for (unsigned i = 0; i < sizeof(offload_flags) / sizeof(offload_flags[0]); i++)
		if (offloads & offload_flags[i].offload)
			flags |= offload_flags[i].flag;
	/* All queues share the interface's. */
	return ioctl(tap->net.fd[0], TUNSETOFFLOAD, flags) ? -errno : 0;
}

static void tap_set_offloads(struct net *net, unsigned offloads)
{
	if (set_offloads((struct tap *)net, offloads))
		set_offloads((struct tap *)net, 0);
}

/* A queue that nobody reads gets no frames. */
static void tap_set_queues(struct net *net, unsigned queues)
{
	for (unsigned i = 0; net->info.queues > 1 && i < net->info.queues; i++) {
		struct ifreq request = { .ifr_flags = i < queues ? IFF_ATTACH_QUEUE :
								   IFF_DETACH_QUEUE };

		/* -EINVAL: it is so already. */
		ioctl(net->fd[i], TUNSETQUEUE, &request);
	}
}

static int tap_send(struct net *net, unsigned queue, const struct iovec *iov, unsigned count)
{
	return writev(net->fd[queue], iov, (int)count) < 0 ? -errno : 0;
}

static ssize_t tap_receive(struct net *net, unsigned queue, void *frame, size_t size)
{
	ssize_t got = read(net->fd[queue], frame, size);

	if (got >= 0)
		return got;
	/* Somebody has taken the interface away. */
	return errno == EBADFD ? -EPIPE : -errno;
}

static void tap_close(struct net *net)
{
	for (unsigned i = 0; net->info.vhost && i < net->info.queues; i++)
		close(net->vhost[i]);
	for (unsigned i = 0; i < net->info.queues; i++)
		if (net->fd[i] >= 0)
			close(net->fd[i]);
	free(net);
}

static const struct net_class tap_class = {
	.send = tap_send,
	.receive = tap_receive,
	.set_offloads = tap_set_offloads,
	.set_queues = tap_set_queues,
	.close = tap_close,
};

/* ---- opening ---- */

static int complain(const char *what, const char *ifname, struct error *err)
{
	return error_set_errno(err, errno, "network tap: %s%s%s", what, *ifname ? " " : "", ifname);
}

/* One more queue of the interface called tap->ifname, which is filled in if it is empty. */
static int open_queue(struct tap *tap, bool many)
{
	struct ifreq request = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
					      (many ? IFF_MULTI_QUEUE : 0) };
	int fd = open(TUN_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return -1;
	memcpy(request.ifr_name, tap->ifname, sizeof(tap->ifname));
	if (ioctl(fd, TUNSETIFF, &request)) {
		int saved = errno;

		close(fd);
		errno = saved;
		return -1;
	}
	memcpy(tap->ifname, request.ifr_name, sizeof(tap->ifname));
	return fd;
}

static int open_queues(struct tap *tap, unsigned wanted, struct error *err)
{
	tap->net.fd[0] = open_queue(tap, wanted > 1);
	/* An interface that somebody made for one queue has one. */
	if (tap->net.fd[0] < 0 && errno == EINVAL) {
		tap->net.fd[0] = open_queue(tap, wanted <= 1);
		wanted = 1;
	}
	if (tap->net.fd[0] < 0 && (errno == EPERM || errno == EACCES))
		return error_set(err, errno, "network tap: no permission to make or use %s: root can make "
				 "one for you (ip tuntap add NAME mode tap user YOU), and let you open "
				 TUN_DEVICE, *tap->ifname ? tap->ifname : "an interface");
	if (tap->net.fd[0] < 0)
		return complain("cannot open", *tap->ifname ? tap->ifname : TUN_DEVICE, err);
	for (tap->net.info.queues = 1; tap->net.info.queues < wanted; tap->net.info.queues++) {
		int fd = open_queue(tap, true);

		if (fd < 0)
			return complain("cannot open a queue of", tap->ifname, err);
		tap->net.fd[tap->net.info.queues] = fd;
	}
	return 0;
}

static int take_fd(struct tap *tap, int fd, struct error *err)
{
	struct ifreq request = { .ifr_flags = 0 };

	if (ioctl(fd, TUNGETIFF, &request) || !(request.ifr_flags & IFF_TAP) ||
	    !(request.ifr_flags & IFF_VNET_HDR) || !(request.ifr_flags & IFF_NO_PI))
		return error_set(err, EINVAL, "network tap: descriptor %d is not that of a tap with "
				 "IFF_VNET_HDR and IFF_NO_PI", fd);
	memcpy(tap->ifname, request.ifr_name, sizeof(tap->ifname));
	tap->net.fd[0] = fd;
	tap->net.info.queues = 1;
	fcntl(fd, F_SETFD, FD_CLOEXEC);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	return 0;
}

/* The headers are virtio's, whole and little-endian. */
static int set_headers(const struct tap *tap, struct error *err)
{
	const int bytes = NET_HEADER_BYTES, little = 1;

	for (unsigned i = 0; i < tap->net.info.queues; i++)
		if (ioctl(tap->net.fd[i], TUNSETVNETHDRSZ, &bytes) ||
		    ioctl(tap->net.fd[i], TUNSETVNETLE, &little))
			return complain("no virtio headers on", tap->ifname, err);
	return 0;
}

static void find_offloads(struct tap *tap)
{
	const unsigned all = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_ECN, more = all | NET_UFO;

	/* What is sent may be anything: the kernel sees to it. */
	tap->net.info.from_guest = more;
	tap->net.info.to_guest = !set_offloads(tap, more) ? more : !set_offloads(tap, all) ? all : 0;
	set_offloads(tap, 0);
}

/* To or from the interface: how many bytes a frame carries. */
static int settle_mtu(struct tap *tap, unsigned mtu, struct error *err)
{
	struct ifreq request = { .ifr_mtu = (int)mtu };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), ret = 0;

	memcpy(request.ifr_name, tap->ifname, sizeof(tap->ifname));
	if (fd < 0 || ioctl(fd, mtu ? SIOCSIFMTU : SIOCGIFMTU, &request))
		ret = complain(mtu ? "cannot set the MTU of" : "cannot ask for the MTU of",
			       tap->ifname, err);
	if (fd >= 0)
		close(fd);
	tap->net.info.mtu = (unsigned)request.ifr_mtu;
	return ret;
}

/* The user's program that gives the interface an address, puts it into a bridge … */
static int run_script(const struct tap *tap, const char *script, struct error *err)
{
	char *const argv[] = { (char *)script, (char *)tap->ifname, NULL };
	int status = 0;
	pid_t process;
	int ret = posix_spawnp(&process, script, NULL, NULL, argv, environ);

	if (ret)
		return error_set_errno(err, ret, "network tap: cannot run %s", script);
	while (waitpid(process, &status, 0) < 0 && errno == EINTR)
		;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return error_set(err, EINVAL, "network tap: '%s %s' failed", script, tap->ifname);
	return 0;
}

/* A descriptor a queue, or none at all. */
static int open_vhost(struct net *net, struct error *err)
{
	unsigned count = 0;

	while (count < net->info.queues) {
		int fd = vhost_open(err);

		if (fd < 0) {
			while (count)
				close(net->vhost[--count]);
			return fd;
		}
		net->vhost[count++] = fd;
	}
	net->info.vhost = true;
	return 0;
}

static int settle_vhost(struct net *net, enum net_vhost wanted, struct error *err)
{
	struct error why;

	if (wanted == NET_VHOST_OFF || !open_vhost(net, &why))
		return 0;
	if (wanted == NET_VHOST_ON)
		return error_set(err, EINVAL, "network tap: vhost=on: %s", why.message);
	log_info("network tap: we serve it ourselves: %s", why.message);
	return 0;
}

int net_tap_open(const struct net_options *options, struct net **net, struct error *err)
{
	struct tap *tap = calloc(1, sizeof(*tap));
	int ret;

	if (!tap)
		return error_set(err, ENOMEM, "no memory for a network");
	tap->net = (struct net){ .class = &tap_class, .kind = "tap" };
	if (options->ifname && strlen(options->ifname) >= sizeof(tap->ifname)) {
		free(tap);
		return error_set(err, EINVAL, "network tap: '%s' is too long a name", options->ifname);
	}
	if (options->ifname)
		strcpy(tap->ifname, options->ifname);
	ret = options->fd ? take_fd(tap, (int)options->fd, err) :
			    open_queues(tap, options->queues, err);
	if (!ret)
		ret = set_headers(tap, err);
	if (!ret)
		ret = settle_mtu(tap, options->mtu, err);
	if (!ret)
		ret = settle_vhost(&tap->net, options->vhost, err);
	if (!ret && options->script)
		ret = run_script(tap, options->script, err);
	if (ret) {
		tap_close(&tap->net);
		return ret;
	}
	find_offloads(tap);
	*net = &tap->net;
	return 0;
}
