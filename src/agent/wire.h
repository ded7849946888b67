/* SPDX-License-Identifier: MIT */
/*
 * What 'ringlet exec' and 'ringlet cp' and the agent in a guest (guest/init) say to each other, over
 * one connection (a vsock port) each time; docs/VSOCK.md has the order. Built into both, so it
 * stands on the C library alone. Frames: a header, then len bytes; numbers are little-endian.
 *
 * Either side takes the other for hostile: a guest's agent may have been replaced, a host's client
 * may be anybody who may reach the machine's socket. Any thread; one at a time for a connection.
 */
#ifndef RINGLET_AGENT_WIRE_H
#define RINGLET_AGENT_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_VERSION 1u
#define AGENT_PORT 1023u /* below 1024: only a privileged program of the guest's could take it */
#define AGENT_DATA_MAX (64u << 10) /* of what is not AGENT_SET */
#define AGENT_FRAME_MAX (192u << 10) /* the longest argument that Linux takes has 128 KiB */
#define AGENT_WINDOW (128u << 10) /* of standard input, beyond what AGENT_ROOM has told */

struct agent_header {
	uint32_t type, len;
};

enum agent_type {
	AGENT_HELLO = 1, /* the agent's first: uint32_t, AGENT_VERSION */

	/* From the host: what to do. */
	AGENT_SET,    /* "arg=…", "env=…", "dir=…", "user=…", "tty=ROWS COLUMNS" */
	AGENT_RUN,    /* runs what was set */
	AGENT_STDIN,  /* bytes; none: no more will come */
	AGENT_RESIZE, /* two uint32_t: rows, columns */
	AGENT_SIGNAL, /* uint32_t: a signal for the program */
	AGENT_GET,    /* a path: its tree comes; "-r" and a NUL before it: directories, too */
	AGENT_PUT,    /* a path, a NUL, the source's last name: a tree follows */

	/* From the agent. */
	AGENT_STDOUT, /* bytes */
	AGENT_STDERR,
	AGENT_ROOM,   /* uint32_t: so many bytes of standard input have been written */
	AGENT_EXIT,   /* uint32_t: a status as of waitpid(); the last frame */
	AGENT_FAIL,   /* text: why it went wrong; the last frame */

	/* A tree (agent/copy.h), of whoever sends it. */
	AGENT_DIR,    /* uint32_t mode, name: what comes up to AGENT_UP is in it */
	AGENT_FILE,   /* uint32_t mode, name: AGENT_DATA up to AGENT_UP is its content */
	AGENT_LINK,   /* uint32_t mode, name, a NUL, what it names */
	AGENT_DATA,
	AGENT_UP,
	AGENT_WARN,   /* text: what was left out */
	AGENT_END,    /* that was all */
};

/* Writes a whole frame, blocking. 0 or -errno. The process ignores SIGPIPE. */
int agent_send(int fd, enum agent_type type, const void *data, size_t len);
int agent_send_u32(int fd, enum agent_type type, uint32_t value);
/* AGENT_FAIL and the like, at most AGENT_DATA_MAX bytes of it. */
int agent_send_text(int fd, enum agent_type type, const char *text);

/*
 * Reads a whole frame, blocking: its data, with a NUL behind them, into data (AGENT_FRAME_MAX + 1
 * bytes). 0; -EPIPE: the connection has ended; -EPROTO: a frame that cannot be; or -errno.
 */
int agent_receive(int fd, struct agent_header *header, uint8_t *data);

/* The number in a frame of one; false: it is none. */
bool agent_u32(const struct agent_header *header, const void *data, uint32_t *value);

#endif
