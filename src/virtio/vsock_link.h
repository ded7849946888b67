/* SPDX-License-Identifier: MIT */
/*
 * Inside the socket device. A link is one connection, from the host's first byte or the guest's
 * REQUEST until both sides are done with it. Bytes to the guest wait in the host's socket until the
 * guest has given credit and a buffer; bytes from the guest that the host does not take wait in the
 * link's queue, whose size is the credit that the guest has. So nobody can make us keep more than
 * VSOCK_LINKS_MAX * VSOCK_QUEUE_BYTES, and who does not read stops nobody but his own peer.
 *
 * A link of messages (SOCK_SEQPACKET) keeps them whole: vsock_message.c. A message goes to the host
 * when its last byte is in the queue; of the host's, one at a time is held, until the guest has all
 * of it: as much again as the queue.
 *
 * A link that is over is marked dead, and freed by vsock_bury when no caller holds it any more.
 * Everything runs on the loop's thread with the machine lock held.
 */
#ifndef RINGLET_VIRTIO_VSOCK_LINK_H
#define RINGLET_VIRTIO_VSOCK_LINK_H

#include <linux/virtio_vsock.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/un.h>

#include "ui/fifo.h"
#include "virtio/virtio.h"

struct loop_timer;
struct loop_watch;
struct vsock;

#define VSOCK_LINKS_MAX 512u
#define VSOCK_QUEUE_BYTES (256u << 10)
#define VSOCK_PACKET_MAX (64u << 10)
#define VSOCK_BUCKETS 256u
#define VSOCK_RESETS_MAX 256u
#define VSOCK_PIECES_MAX (VIRTIO_CHAIN_MAX + 64u)
#define VSOCK_CID_HOST 2u

#define VSOCK_BOTH (VIRTIO_VSOCK_SHUTDOWN_RCV | VIRTIO_VSOCK_SHUTDOWN_SEND)

enum vsock_state {
	VSOCK_GREETING, /* a client on the host has yet to say which port it wants */
	VSOCK_ASKING,   /* the guest has yet to answer our REQUEST */
	VSOCK_CALLING,  /* the guest waits until the host's server has room in its queue */
	VSOCK_OPEN,
	VSOCK_DRAINING, /* the guest is done: what it wrote last goes to the host */
	VSOCK_DEAD,
};

/* What the guest has to be told, in the order in which it is; data come before credit. */
enum {
	VSOCK_SAY_REQUEST = 1,
	VSOCK_SAY_RESPONSE = 2,
	VSOCK_SAY_SHUTDOWN = 4,
	VSOCK_SAY_CREDIT = 8,
	VSOCK_SAY_ASK_CREDIT = 16,
};

struct vsock_link {
	struct vsock *vsock;
	enum vsock_state state;
	uint16_t type; /* VIRTIO_VSOCK_TYPE_… */
	LIST_ENTRY(vsock_link) all, bucket;
	TAILQ_ENTRY(vsock_link) ready; /* while it is in the queue of those with something to say */
	bool is_ready, is_keyed;
	uint32_t guest_port, host_port;
	unsigned to_say;
	uint32_t host_shutdown, guest_shutdown; /* VIRTIO_VSOCK_SHUTDOWN_…, of either side */

	/* To the guest: what was sent, and what the guest said of it. */
	uint32_t sent, guest_alloc, guest_forwarded;
	bool readable, ended; /* the host's socket may have bytes; has none any more */

	uint8_t *message; /* the host's that is under way, of message_bytes; NULL: none */
	size_t message_bytes, message_sent;

	/* From the guest. */
	struct fifo queue;
	uint64_t *ends;   /* of messages: a bit for each byte of the queue, set for a message's last */
	uint32_t partial; /* bytes at the queue's end of a message that is not whole yet */
	uint32_t received, forwarded, told_forwarded;
	bool write_ended;

	int fd; /* -1: the host's side is gone */
	struct loop_watch *watch;
	uint32_t watched;
	char greeting[32];
	unsigned greeting_bytes;
	uint64_t call_deadline_ns;
};

LIST_HEAD(vsock_list, vsock_link);
TAILQ_HEAD(vsock_ready, vsock_link);

/* Where the host's clients connect. */
struct vsock_listener {
	struct vsock *vsock;
	struct sockaddr_un address;
	int fd; /* -1: there is none */
	struct loop_watch *watch;
};

#define VSOCK_LISTENERS 2u /* for streams, then for messages */

struct vsock {
	struct virtio_device virtio; /* must be first */
	struct virtio_vsock_config config;
	struct vsock_listener listener[VSOCK_LISTENERS];
	struct loop_timer *retry; /* servers whose queue is full; accepting when descriptors ran out */
	struct loop_timer *again; /* more to do than one turn of the loop should */
	struct vsock_list links, dead;
	unsigned link_count; /* of both */
	struct vsock_list bucket[VSOCK_BUCKETS];
	struct vsock_ready ready;
	struct virtio_chain *room; /* of the guest's, for the next packet to it */
	struct virtio_vsock_hdr reset[VSOCK_RESETS_MAX]; /* RSTs to be said: their links are gone */
	unsigned reset_first, reset_count;
	uint32_t next_port; /* for links that the host begins */
	struct iovec pieces[VSOCK_PIECES_MAX];
};

/* ---- vsock_link.c ---- */

/* NULL: there are too many, or no memory; fd, which it takes over, is closed then. */
struct vsock_link *vsock_link_create(struct vsock *vsock, enum vsock_state state, uint16_t type,
				     int fd);
/* From now on it is found by its ports. */
void vsock_link_key(struct vsock_link *link, uint32_t guest_port, uint32_t host_port);
struct vsock_link *vsock_link_find(struct vsock *vsock, uint32_t guest_port, uint32_t host_port);
/* It is over at once, whatever is left in it. */
void vsock_link_kill(struct vsock_link *link);
/* The guest is done with it; what it wrote goes on to the host. */
void vsock_link_forget(struct vsock_link *link);
/* Frees the dead. */
void vsock_bury(struct vsock *vsock);

/* After any change: watches the socket for what is awaited, queues it if it has something to say. */
void vsock_link_update(struct vsock_link *link);

/*
 * len bytes from the guest, no more than it has credit for, in pieces that it may be changing; ends:
 * a message does, with them.
 */
void vsock_link_receive(struct vsock_link *link, const struct iovec *pieces, unsigned count,
			size_t len, bool ends);
void vsock_link_guest_shutdown(struct vsock_link *link, uint32_t flags);

/* How many bytes the guest still takes, and may still send. */
uint32_t vsock_link_credit(const struct vsock_link *link);
uint32_t vsock_link_guest_credit(const struct vsock_link *link);

/*
 * Reads what the host has into pieces. 0: nothing for the moment, or (which it notes) ever. *ends: a
 * message does, with these bytes.
 */
size_t vsock_link_read(struct vsock_link *link, const struct iovec *pieces, unsigned count,
		       bool *ends);
/* The host writes no more, or has gone altogether. */
void vsock_link_read_ended(struct vsock_link *link);

/* Nobody on the host holds the other end any more. */
void vsock_link_host_gone(struct vsock_link *link);

/* Writes out what is left for the host, for at most this long in all. */
void vsock_links_finish(struct vsock *vsock, int milliseconds);

/* ---- vsock_message.c: links of messages ---- */

static inline bool vsock_has_messages(const struct vsock_link *link)
{
	return link->type == VIRTIO_VSOCK_TYPE_SEQPACKET;
}

/* The last byte of the queue is a message's. */
void vsock_message_end(struct vsock_link *link);
/* The oldest message of the queue, which is whole; returns in how many pieces. */
unsigned vsock_message_peek(const struct vsock_link *link, struct iovec pieces[2]);
/* It is the host's. */
void vsock_message_drop(struct vsock_link *link, size_t bytes);
/* As vsock_link_read. */
size_t vsock_message_read(struct vsock_link *link, const struct iovec *pieces, unsigned count,
			  bool *ends);

/* ---- vsock_host.c: how links begin ---- */

int vsock_host_listen(struct vsock *vsock, const char *path, struct error *err);
void vsock_host_close(struct vsock *vsock);
/* The guest wants a connection: a link, or NULL: refuse. */
struct vsock_link *vsock_host_call(struct vsock *vsock, const struct virtio_vsock_hdr *packet);
/* The guest has accepted what a client asked for. */
void vsock_host_accepted(struct vsock_link *link);
/* Events of links that are not open yet. */
void vsock_host_event(struct vsock_link *link, uint32_t events);

/* ---- vsock.c ---- */

/* Packets for the guest, as far as it has given buffers. Buries the dead. */
void vsock_pump(struct vsock *vsock);
/* Tells the guest that it is over, and kills it. */
void vsock_reset(struct vsock_link *link);

#endif
