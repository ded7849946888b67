/* SPDX-License-Identifier: MIT */
/*
 * Files and directories on their way through a connection of the agent's (agent/wire.h), either way:
 * content, names, permissions (of which the receiver's umask is taken), symbolic links as such. Who
 * receives trusts no name: each is one component, and is opened without following links in the
 * directory that was opened before it, so that nothing leaves the place where the tree goes.
 */
#ifndef RINGLET_AGENT_COPY_H
#define RINGLET_AGENT_COPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define AGENT_TEXT_BYTES 512u

struct agent_copy {
	int fd;         /* the connection */
	uint8_t *data;  /* AGENT_FRAME_MAX + 1 bytes, of the caller's */
	/* What was left out, which is no error; may be NULL. */
	void (*warn)(void *opaque, const char *text);
	void *opaque;
	char failure[AGENT_TEXT_BYTES]; /* why it failed, if not because the connection did */
};

/*
 * Sends the file or, if that is wanted, the directory at path, up to and with AGENT_END. 0, or
 * -errno: then failure says why, or is empty when the connection broke.
 */
int agent_copy_send(struct agent_copy *copy, const char *path, bool directories);

/*
 * Receives what agent_copy_send sends: to path, or, if that is a directory, to name in it. The same
 * results; -EREMOTEIO: the sender failed, and failure is what it said.
 */
int agent_copy_receive(struct agent_copy *copy, const char *path, const char *name);

/* The last component of path: where it begins, and how long it is; 0 for "/", "." and "..". */
size_t agent_last_name(const char *path, const char **name);

#endif
