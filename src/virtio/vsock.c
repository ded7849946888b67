/* SPDX-License-Identifier: MIT */
/*
 * The socket device: see vsock.h. Packets of the guest, and packets for it: links that have
 * something to say stand in a queue and get a packet each in turn. Whatever the guest says that fits
 * no link, or not the state of one, is answered with RST, and the link is over.
 *
 * It runs on the loop's thread (deferred), a bounded number of packets a turn, so that a guest
 * that never stops sending leaves time for everything else.
 */
#include "virtio/vsock.h"

#include <errno.h>
#include <linux/virtio_ids.h>
#include <stdlib.h>

#include "base/error.h"
#include "base/iov.h"
#include "base/json.h"
#include "host/loop.h"
#include "virtio/vsock_link.h"

#define QUEUE_SIZE 256
#define QUEUES 3
#define VSOCK_F_STREAM 0 /* which no driver need negotiate */
#define TURN_PACKETS 256 /* each way */
#define FINISH_MS 1000

enum { QUEUE_RX, QUEUE_TX, QUEUE_EVENT };

#define HEADER_BYTES sizeof(struct virtio_vsock_hdr)

/* ---- to the guest ---- */

static void say_reset(struct vsock *vsock, const struct virtio_vsock_hdr *header)
{
	unsigned last = (vsock->reset_first + vsock->reset_count) % VSOCK_RESETS_MAX;

	/* A guest that takes no packets and causes hundreds of them finds out by itself. */
	if (vsock->reset_count == VSOCK_RESETS_MAX)
		return;
	vsock->reset[last] = *header;
	vsock->reset_count++;
}

/* The answer to a packet that belongs to nothing; never to an RST, or it would go on for ever. */
static void refuse(struct vsock *vsock, const struct virtio_vsock_hdr *packet)
{
	const struct virtio_vsock_hdr header = {
		.src_cid = packet->dst_cid, .dst_cid = packet->src_cid,
		.src_port = packet->dst_port, .dst_port = packet->src_port,
		.type = packet->type, .op = VIRTIO_VSOCK_OP_RST,
	};

	if (packet->op != VIRTIO_VSOCK_OP_RST)
		say_reset(vsock, &header);
}

static struct virtio_vsock_hdr header_of(struct vsock_link *link, uint16_t op)
{
	link->told_forwarded = link->forwarded;
	link->to_say &= ~(unsigned)VSOCK_SAY_CREDIT;
	return (struct virtio_vsock_hdr){
		.src_cid = VSOCK_CID_HOST, .dst_cid = link->vsock->config.guest_cid,
		.src_port = link->host_port, .dst_port = link->guest_port,
		.type = link->type, .op = op,
		.buf_alloc = VSOCK_QUEUE_BYTES, .fwd_cnt = link->forwarded,
	};
}

void vsock_reset(struct vsock_link *link)
{
	const struct virtio_vsock_hdr header = header_of(link, VIRTIO_VSOCK_OP_RST);

	if (link->is_keyed)
		say_reset(link->vsock, &header);
	vsock_link_kill(link);
}

/* A buffer of the guest's for the next packet. */
static bool take_room(struct vsock *vsock)
{
	struct virtio_chain *room = vsock->room;

	if (!room)
		room = virtio_queue_pop(virtio_queue(&vsock->virtio, QUEUE_RX));
	vsock->room = room;
	if (!room)
		return false;
	if (room->in_bytes > HEADER_BYTES && room->in_count <= VSOCK_PIECES_MAX)
		return true;
	virtio_break(&vsock->virtio, "a buffer of %zu bytes for packets", room->in_bytes);
	return false;
}

/* Bytes of the host's, behind where the header comes; how many. */
static size_t fill_data(struct vsock_link *link, bool *ends)
{
	const struct virtio_chain *room = link->vsock->room;
	size_t most = vsock_link_credit(link);
	unsigned count;

	if (!link->readable || !most)
		return 0;
	if (most > VSOCK_PACKET_MAX)
		most = VSOCK_PACKET_MAX;
	count = iov_slice(room->in, room->in_count, HEADER_BYTES, most, link->vsock->pieces);
	return vsock_link_read(link, link->vsock->pieces, count, ends);
}

/* One of the things that link has to say; false: nothing, after all. */
static bool choose(struct vsock_link *link, uint16_t *op, uint32_t *len, bool *ends)
{
	static const struct {
		unsigned say;
		uint16_t op;
	} order[] = {
		{ VSOCK_SAY_REQUEST, VIRTIO_VSOCK_OP_REQUEST },
		{ VSOCK_SAY_RESPONSE, VIRTIO_VSOCK_OP_RESPONSE },
		{ VSOCK_SAY_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN },
		{ 0, VIRTIO_VSOCK_OP_RW },
		/* Reading may have ended just now. */
		{ VSOCK_SAY_SHUTDOWN, VIRTIO_VSOCK_OP_SHUTDOWN },
		{ VSOCK_SAY_CREDIT, VIRTIO_VSOCK_OP_CREDIT_UPDATE },
		{ VSOCK_SAY_ASK_CREDIT, VIRTIO_VSOCK_OP_CREDIT_REQUEST },
	};

	*len = 0;
	*ends = false;
	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		*op = order[i].op;
		if (!order[i].say)
			*len = (uint32_t)fill_data(link, ends);
		if (*len || link->to_say & order[i].say) {
			link->to_say &= ~order[i].say;
			return true;
		}
	}
	return false;
}

static size_t compose(struct vsock_link *link)
{
	struct virtio_vsock_hdr header;
	uint16_t op;
	uint32_t len;
	bool ends;

	if (!choose(link, &op, &len, &ends))
		return 0;
	header = header_of(link, op);
	header.len = len;
	header.flags = op == VIRTIO_VSOCK_OP_SHUTDOWN ? link->host_shutdown :
		       ends ? VIRTIO_VSOCK_SEQ_EOM : 0;
	link->sent += len;
	if (len && !vsock_link_credit(link))
		link->to_say |= VSOCK_SAY_ASK_CREDIT;
	return virtio_chain_write(link->vsock->room, 0, &header, sizeof(header)) + len;
}

static size_t compose_next(struct vsock *vsock)
{
	struct vsock_link *link = TAILQ_FIRST(&vsock->ready);
	size_t bytes;

	if (vsock->reset_count) {
		bytes = virtio_chain_write(vsock->room, 0, &vsock->reset[vsock->reset_first],
					   HEADER_BYTES);
		vsock->reset_first = (vsock->reset_first + 1) % VSOCK_RESETS_MAX;
		vsock->reset_count--;
		return bytes;
	}
	TAILQ_REMOVE(&vsock->ready, link, ready);
	link->is_ready = false;
	bytes = compose(link);
	vsock_link_update(link);
	return bytes;
}

void vsock_pump(struct vsock *vsock)
{
	struct virtio_queue *queue = virtio_queue(&vsock->virtio, QUEUE_RX);

	for (unsigned turn = 0; vsock->reset_count || TAILQ_FIRST(&vsock->ready); turn++) {
		size_t bytes;

		if (turn == TURN_PACKETS)
			loop_timer_arm(vsock->again, 0);
		if (turn == TURN_PACKETS || !take_room(vsock))
			break;
		bytes = compose_next(vsock);
		if (!bytes)
			continue;
		virtio_queue_push(queue, vsock->room, bytes);
		vsock->room = NULL;
	}
	virtio_queue_notify(queue);
	vsock_bury(vsock);
}

/* ---- from the guest ---- */

static void answer_stranger(struct vsock *vsock, const struct virtio_vsock_hdr *packet)
{
	struct vsock_link *link = NULL;

	if (packet->op == VIRTIO_VSOCK_OP_REQUEST)
		link = vsock_host_call(vsock, packet);
	if (!link) {
		refuse(vsock, packet);
		return;
	}
	link->guest_alloc = packet->buf_alloc;
	link->guest_forwarded = packet->fwd_cnt;
	vsock_link_update(link);
}

static bool take_data(struct vsock_link *link, const struct virtio_vsock_hdr *packet,
		      const struct virtio_chain *chain)
{
	bool ends = vsock_has_messages(link) && packet->flags & VIRTIO_VSOCK_SEQ_EOM;
	struct vsock *vsock = link->vsock;
	uint32_t len = packet->len;
	unsigned count;

	if (link->guest_shutdown & VIRTIO_VSOCK_SHUTDOWN_SEND ||
	    len > vsock_link_guest_credit(link) || chain->out_count > VSOCK_PIECES_MAX)
		return false;
	count = iov_slice(chain->out, chain->out_count, HEADER_BYTES, len, vsock->pieces);
	vsock_link_receive(link, vsock->pieces, count, len, ends);
	return true;
}

static bool take_shutdown(struct vsock_link *link, const struct virtio_vsock_hdr *packet)
{
	vsock_link_guest_shutdown(link, packet->flags);
	if (link->guest_shutdown != VSOCK_BOTH)
		return true;
	/* The guest waits to hear that it is over; what it wrote before still goes to the host. */
	refuse(link->vsock, packet);
	vsock_link_forget(link);
	return true;
}

/* False: it makes no sense. */
static bool take_packet(struct vsock_link *link, const struct virtio_vsock_hdr *packet,
			const struct virtio_chain *chain)
{
	if (packet->op == VIRTIO_VSOCK_OP_RST) {
		vsock_link_forget(link);
		return true;
	}
	if (packet->op == VIRTIO_VSOCK_OP_RESPONSE && link->state == VSOCK_ASKING &&
	    !(link->to_say & VSOCK_SAY_REQUEST)) {
		vsock_host_accepted(link);
		return true;
	}
	if (link->state != VSOCK_OPEN)
		return false;
	switch (packet->op) {
	case VIRTIO_VSOCK_OP_RW:
		return take_data(link, packet, chain);
	case VIRTIO_VSOCK_OP_SHUTDOWN:
		return take_shutdown(link, packet);
	case VIRTIO_VSOCK_OP_CREDIT_UPDATE:
		return true;
	case VIRTIO_VSOCK_OP_CREDIT_REQUEST:
		link->to_say |= VSOCK_SAY_CREDIT;
		return true;
	default:
		return false;
	}
}

static bool knows_type(const struct vsock *vsock, uint16_t type)
{
	return type == VIRTIO_VSOCK_TYPE_STREAM || (type == VIRTIO_VSOCK_TYPE_SEQPACKET &&
						    virtio_has(&vsock->virtio, VIRTIO_VSOCK_F_SEQPACKET));
}

static void receive(struct vsock *vsock, const struct virtio_chain *chain)
{
	struct virtio_vsock_hdr packet;
	struct vsock_link *link;

	if (virtio_chain_read(chain, 0, &packet, HEADER_BYTES) < HEADER_BYTES) {
		log_guest(&vsock->virtio.log_limit, "virtio-vsock: a packet of %zu bytes",
			  chain->out_bytes);
		return;
	}
	/* There is nobody to answer to. */
	if (packet.src_cid != vsock->config.guest_cid)
		return;
	if (packet.dst_cid != VSOCK_CID_HOST || !knows_type(vsock, packet.type)) {
		refuse(vsock, &packet);
		return;
	}
	link = vsock_link_find(vsock, packet.src_port, packet.dst_port);
	if (!link) {
		answer_stranger(vsock, &packet);
		return;
	}
	link->guest_alloc = packet.buf_alloc;
	link->guest_forwarded = packet.fwd_cnt;
	if (packet.type != link->type || packet.len > chain->out_bytes - HEADER_BYTES ||
	    !take_packet(link, &packet, chain))
		vsock_reset(link);
	vsock_link_update(link);
}

static void receive_all(struct vsock *vsock)
{
	struct virtio_queue *queue = virtio_queue(&vsock->virtio, QUEUE_TX);
	struct virtio_chain *chain;

	for (unsigned turn = 0; turn < TURN_PACKETS; turn++) {
		chain = virtio_queue_pop(queue);
		if (!chain)
			break;
		receive(vsock, chain);
		virtio_queue_push(queue, chain, 0);
		/* No notification comes before the queue has been seen empty. */
		if (turn == TURN_PACKETS - 1)
			loop_timer_arm(vsock->again, 0);
	}
	virtio_queue_notify(queue);
	vsock_pump(vsock);
}

/* ---- the device ---- */

static void again(void *opaque)
{
	receive_all(opaque);
}

static void vsock_handle(struct virtio_device *dev, struct virtio_queue *queue)
{
	struct vsock *vsock = (struct vsock *)dev;

	/* There is no event that we would tell in the third. */
	if (virtio_queue_index(queue) == QUEUE_TX)
		receive_all(vsock);
	else if (virtio_queue_index(queue) == QUEUE_RX)
		vsock_pump(vsock);
}

/* Clients that have asked for nothing yet may ask the next driver. */
static void vsock_stop(struct virtio_device *dev)
{
	struct vsock *vsock = (struct vsock *)dev;
	struct vsock_link *link, *next;

	if (vsock->room)
		virtio_chain_drop(virtio_queue(dev, QUEUE_RX), vsock->room);
	vsock->room = NULL;
	vsock->reset_count = 0;
	loop_timer_disarm(vsock->again);
	for (link = LIST_FIRST(&vsock->links); link; link = next) {
		next = LIST_NEXT(link, all);
		if (link->is_keyed)
			vsock_link_forget(link);
	}
	vsock_bury(vsock);
}

static void vsock_describe(const struct virtio_device *dev, struct json *json)
{
	const struct vsock *vsock = (const struct vsock *)dev;

	json_uint(json, "cid", vsock->config.guest_cid);
	json_string(json, "socket", vsock->listener->fd < 0 ? NULL :
				    vsock->listener->address.sun_path);
}

static void vsock_destroy(struct virtio_device *dev)
{
	struct vsock *vsock = (struct vsock *)dev;

	vsock_host_close(vsock);
	vsock_links_finish(vsock, FINISH_MS);
	loop_timer_destroy(vsock->again);
	virtio_device_release(dev);
	free(vsock);
}

static const struct virtio_class vsock_class = {
	.name = "virtio-vsock",
	.id = VIRTIO_ID_VSOCK,
	.pci_class = 0x028000, /* network, other */
	.deferred = true,
	.handle = vsock_handle,
	.stop = vsock_stop,
	.describe = vsock_describe,
	.destroy = vsock_destroy,
};

int virtio_vsock_create(const struct device_env *env, const struct virtio_vsock_options *options,
			struct virtio_device **dev, struct error *err)
{
	struct vsock *vsock = calloc(1, sizeof(*vsock));
	struct virtio_setup setup = {
		.class = &vsock_class, .env = env, .queue_count = QUEUES, .queue_size = QUEUE_SIZE,
		.config_bytes = sizeof(vsock->config),
		.features = 1ull << VSOCK_F_STREAM | 1ull << VIRTIO_VSOCK_F_SEQPACKET,
	};
	int ret;

	if (!vsock)
		return error_set(err, ENOMEM, "no memory for virtio-vsock");
	for (unsigned i = 0; i < VSOCK_LISTENERS; i++)
		vsock->listener[i].fd = -1;
	vsock->config.guest_cid = options->cid;
	TAILQ_INIT(&vsock->ready);
	setup.config = &vsock->config;
	if (options->cid < VIRTIO_VSOCK_CID_MIN || options->cid > VIRTIO_VSOCK_CID_MAX)
		ret = error_set(err, EINVAL, "vsock: a guest's address is %u to %u",
				VIRTIO_VSOCK_CID_MIN, VIRTIO_VSOCK_CID_MAX);
	else
		ret = virtio_device_init(&vsock->virtio, &setup, err);
	if (!ret && loop_timer_create(env->loop, again, vsock, &vsock->again))
		ret = error_set(err, ENOMEM, "no memory for virtio-vsock");
	if (!ret && options->path)
		ret = vsock_host_listen(vsock, options->path, err);
	if (ret) {
		vsock_destroy(&vsock->virtio);
		return ret;
	}
	*dev = &vsock->virtio;
	return 0;
}
