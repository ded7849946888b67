/* SPDX-License-Identifier: MIT */
/*
 * The other end of a machine's control socket: a request, an answer. A machine that does not answer in
 * time is an error, so that no command hangs with it. One thread.
 */
#ifndef RINGLET_CONTROL_CLIENT_H
#define RINGLET_CONTROL_CLIENT_H

#include <sys/types.h>

#include "base/json.h"
#include "base/json_read.h"

struct error;

struct client {
	const char *name; /* borrowed */
	int fd;
	pid_t pid;        /* the machine's process; 0: of a namespace that we do not see */
	struct json_text answer; /* that result is in */
	const struct json_value *result;
};

#define CLIENT_PATIENCE_S 10u

/*
 * Connects to machine name of the directory dir (host/machines.h), and will wait so long for each
 * answer. -ENOENT: there is none.
 */
int client_open(struct client *client, int dir, const char *name, unsigned patience_s,
		struct error *err);
/* Also after an error of client_open. */
void client_close(struct client *client);

/*
 * Sends a command, whose arguments' members fill (NULL: there are none) writes, and waits for the
 * answer: client->result, until the next. -ETIMEDOUT: none came; -ENOENT: the machine ended;
 * -EREMOTEIO: it refuses.
 */
int client_ask(struct client *client, const char *command,
	       void (*fill)(struct json *arguments, const void *opaque), const void *opaque,
	       struct error *err);

/* Waits until the machine is gone. -ETIMEDOUT: it was not in that time. */
int client_wait_end(struct client *client, unsigned seconds);

#endif
