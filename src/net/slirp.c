/* SPDX-License-Identifier: MIT */
/*
 * See slirp.h. A frame that the socket has no room for waits in a list; while there is one, the
 * host's sockets are not looked at, so that TCP's windows close. The guest's frames are always taken,
 * or both sides could wait for each other.
 */
#include "net/slirp.h"

#if HAVE_SLIRP
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/error.h"
#include "host/clock.h"
#include "net/slirp_library.h"

#include <linux/virtio_net.h>

#define NS_PER_MS (CLOCK_NS_PER_S / 1000)
#define BATCH 64u                    /* of the guest's frames, before the host's sockets' turn */
#define WAITING_BYTES_MAX (8u << 20) /* what comes then is lost, as on a wire */
#define POLLS_MAX 4096u

struct frame {
	struct frame *next;
	size_t len;
	uint8_t bytes[];
};

struct timer {
	SlirpTimerId id;
	void *cb_opaque;
	int64_t expires_ms; /* < 0: not armed */
	struct timer *next;
};

struct slirp {
	struct slirp_library library;
	Slirp *lib;
	int socket;
	bool closed;
	struct frame *waiting, **waiting_end;
	size_t waiting_bytes;
	struct timer *timers;
	unsigned poll_count;
	struct pollfd polls[POLLS_MAX]; /* the first is of socket */
	uint8_t in[NET_HEADER_BYTES + NET_FRAME_MAX];
};

/* ---- to the guest ---- */

/* False: there is no room. */
static bool put(struct slirp *slirp, const void *bytes, size_t len)
{
	/* Nobody but we has had it, and we made its checksums. */
	struct virtio_net_hdr_v1 header = { .flags = VIRTIO_NET_HDR_F_DATA_VALID };
	struct iovec iov[2] = { { &header, sizeof(header) }, { (void *)bytes, len } };
	const struct msghdr message = { .msg_iov = iov, .msg_iovlen = 2 };

	if (sendmsg(slirp->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
		return true;
	if (errno == EAGAIN)
		return false;
	slirp->closed |= errno == EPIPE || errno == ECONNRESET;
	return true;
}

static void put_waiting(struct slirp *slirp)
{
	struct frame *frame;

	while ((frame = slirp->waiting) && put(slirp, frame->bytes, frame->len)) {
		slirp->waiting_bytes -= frame->len;
		slirp->waiting = frame->next;
		if (!slirp->waiting)
			slirp->waiting_end = &slirp->waiting;
		free(frame);
	}
}

static void keep(struct slirp *slirp, const void *bytes, size_t len)
{
	struct frame *frame;

	if (slirp->waiting_bytes + len > WAITING_BYTES_MAX)
		return;
	frame = malloc(sizeof(*frame) + len);
	if (!frame)
		return;
	frame->next = NULL;
	frame->len = len;
	memcpy(frame->bytes, bytes, len);
	*slirp->waiting_end = frame;
	slirp->waiting_end = &frame->next;
	slirp->waiting_bytes += len;
}

static ssize_t on_packet(const void *bytes, size_t len, void *opaque)
{
	struct slirp *slirp = opaque;

	if (slirp->waiting || !put(slirp, bytes, len))
		keep(slirp, bytes, len);
	return (ssize_t)len;
}

/* ---- what libslirp asks for ---- */

static void on_guest_error(const char *message, void *opaque)
{
	(void)message, (void)opaque;
}

static int64_t on_clock(void *opaque)
{
	(void)opaque;
	return (int64_t)clock_now_ns();
}

static void *on_timer_new(SlirpTimerId id, void *cb_opaque, void *opaque)
{
	struct slirp *slirp = opaque;
	struct timer *timer = calloc(1, sizeof(*timer));

	if (!timer)
		abort(); /* libslirp knows no failure here, and dies the same way itself */
	*timer = (struct timer){ id, cb_opaque, -1, slirp->timers };
	slirp->timers = timer;
	return timer;
}

static void on_timer_free(void *opaque_timer, void *opaque)
{
	struct slirp *slirp = opaque;
	struct timer **at = &slirp->timers;

	while (*at && *at != opaque_timer)
		at = &(*at)->next;
	if (*at)
		*at = (*at)->next;
	free(opaque_timer);
}

static void on_timer_mod(void *timer, int64_t expires_ms, void *opaque)
{
	(void)opaque;
	((struct timer *)timer)->expires_ms = expires_ms;
}

static void on_fd(int fd, void *opaque)
{
	(void)fd, (void)opaque;
}

/* All is done on one thread, which looks at everything in each round. */
static void on_notify(void *opaque)
{
	(void)opaque;
}

static const SlirpCb callbacks = {
	.send_packet = on_packet,
	.guest_error = on_guest_error,
	.clock_get_ns = on_clock,
	.timer_free = on_timer_free,
	.timer_mod = on_timer_mod,
	.register_poll_fd = on_fd,
	.unregister_poll_fd = on_fd,
	.notify = on_notify,
	.timer_new_opaque = on_timer_new,
};

/* ---- the loop ---- */

static const struct {
	short poll;
	int slirp;
} poll_bits[] = {
	{ POLLIN, SLIRP_POLL_IN },   { POLLOUT, SLIRP_POLL_OUT }, { POLLPRI, SLIRP_POLL_PRI },
	{ POLLERR, SLIRP_POLL_ERR }, { POLLHUP, SLIRP_POLL_HUP },
};

#define POLL_BITS (sizeof(poll_bits) / sizeof(poll_bits[0]))

static int add_poll(int fd, int events, void *opaque)
{
	struct slirp *slirp = opaque;
	struct pollfd *poll_fd;

	if (slirp->poll_count == POLLS_MAX)
		return -1;
	poll_fd = &slirp->polls[slirp->poll_count];
	*poll_fd = (struct pollfd){ .fd = fd };
	for (unsigned i = 0; i < POLL_BITS; i++)
		if (events & poll_bits[i].slirp)
			poll_fd->events |= poll_bits[i].poll;
	return (int)slirp->poll_count++;
}

static int get_events(int index, void *opaque)
{
	const struct slirp *slirp = opaque;
	int events = 0;

	for (unsigned i = 0; index >= 0 && i < POLL_BITS; i++)
		if (slirp->polls[index].revents & poll_bits[i].poll)
			events |= poll_bits[i].slirp;
	return events;
}

static void run_timers(struct slirp *slirp)
{
	int64_t now_ms = on_clock(NULL) / (int64_t)NS_PER_MS;
	struct timer *timer, *next;

	for (timer = slirp->timers; timer; timer = next) {
		next = timer->next;
		if (timer->expires_ms < 0 || timer->expires_ms > now_ms)
			continue;
		timer->expires_ms = -1;
		slirp->library.handle_timer(slirp->lib, timer->id, timer->cb_opaque);
	}
}

/* Milliseconds until a timer is due, at most limit_ms; -1: there is none. */
static int wait_ms(const struct slirp *slirp, uint32_t limit_ms)
{
	int64_t now_ms = on_clock(NULL) / (int64_t)NS_PER_MS;
	int64_t wait = limit_ms > INT32_MAX ? INT32_MAX : limit_ms;

	for (const struct timer *timer = slirp->timers; timer; timer = timer->next) {
		int64_t left = timer->expires_ms - now_ms;

		if (timer->expires_ms >= 0 && left < wait)
			wait = left < 0 ? 0 : left;
	}
	return wait == INT32_MAX ? -1 : (int)wait;
}

static void take_from_guest(struct slirp *slirp)
{
	for (unsigned i = 0; i < BATCH; i++) {
		ssize_t got = recv(slirp->socket, slirp->in, sizeof(slirp->in), MSG_DONTWAIT);

		if (!got || (got < 0 && errno != EAGAIN && errno != EINTR))
			slirp->closed = true;
		if (got <= 0)
			return;
		if (got >= (ssize_t)(NET_HEADER_BYTES + NET_FRAME_MIN))
			slirp->library.input(slirp->lib, slirp->in + NET_HEADER_BYTES,
				    (int)got - (int)NET_HEADER_BYTES);
	}
}

static void turn(struct slirp *slirp)
{
	uint32_t limit_ms = UINT32_MAX;
	bool hosts_turn = !slirp->waiting;
	int ready;

	slirp->polls[0] = (struct pollfd){ .fd = slirp->socket,
					   .events = POLLIN | (hosts_turn ? 0 : POLLOUT) };
	slirp->poll_count = 1;
	if (hosts_turn)
		slirp->library.pollfds_fill(slirp->lib, &limit_ms, add_poll, slirp);
	/* With no sockets, the library has nothing to wait for, whatever it says. */
	if (slirp->poll_count == 1)
		limit_ms = UINT32_MAX;
	ready = poll(slirp->polls, slirp->poll_count, wait_ms(slirp, limit_ms));
	if (ready > 0 && slirp->polls[0].revents & POLLOUT)
		put_waiting(slirp);
	if (ready > 0 && slirp->polls[0].revents & ~POLLOUT)
		take_from_guest(slirp);
	if (hosts_turn)
		slirp->library.pollfds_poll(slirp->lib, ready < 0, get_events, slirp);
	run_timers(slirp);
}

void slirp_run(struct slirp *slirp)
{
	while (!slirp->closed)
		turn(slirp);
}

/* ---- life ---- */

static int add_forward(struct slirp *slirp, const struct net_user_forward *forward,
		       struct error *err)
{
	bool v4 = forward->host.any.sa_family == AF_INET;
	socklen_t len = v4 ? sizeof(forward->host.in) : sizeof(forward->host.in6);
	int flags = (forward->udp ? SLIRP_HOSTFWD_UDP : 0) | (v4 ? 0 : SLIRP_HOSTFWD_V6ONLY);
	unsigned port = ntohs(v4 ? forward->host.in.sin_port : forward->host.in6.sin6_port);

	if (!slirp->library.add_hostxfwd(slirp->lib, &forward->host.any, len, &forward->guest.any,
					 len, flags))
		return 0;
	return error_set_errno(err, errno ? errno : EINVAL, "cannot forward %s port %u of the host",
			       forward->udp ? "UDP" : "TCP", port);
}

int slirp_open(const struct net_user_plan *plan, int socket, struct slirp **out,
	       struct error *err)
{
	struct slirp *slirp = calloc(1, sizeof(*slirp));
	const SlirpConfig config = {
		.version = 4,
		.restricted = plan->restricted,
		.in_enabled = true, .vnetwork = plan->network, .vnetmask = plan->mask,
		.vhost = plan->host, .vnameserver = plan->dns, .vdhcp_start = plan->guest,
		.in6_enabled = true, .vprefix_addr6 = plan->prefix, .vprefix_len = 64,
		.vhost6 = plan->host6, .vnameserver6 = plan->dns6,
		.if_mtu = plan->mtu, .if_mru = plan->mtu,
	};
	int ret;

	if (!slirp)
		return error_set(err, ENOMEM, "no memory for user-mode networking");
	slirp->socket = socket;
	slirp->waiting_end = &slirp->waiting;
	ret = slirp_library_load(&slirp->library, err);
	if (!ret)
		slirp->lib = slirp->library.new(&config, &callbacks, slirp);
	if (!ret && !slirp->lib)
		ret = error_set(err, EINVAL, "libslirp refuses the network's addresses");
	for (unsigned i = 0; i < plan->forward_count && !ret; i++)
		ret = add_forward(slirp, &plan->forward[i], err);
	if (ret) {
		slirp_close(slirp);
		return ret;
	}
	*out = slirp;
	return 0;
}

void slirp_close(struct slirp *slirp)
{
	struct frame *frame;

	if (slirp->lib)
		slirp->library.cleanup(slirp->lib);
	while ((frame = slirp->waiting)) {
		slirp->waiting = frame->next;
		free(frame);
	}
	free(slirp);
}
#endif
