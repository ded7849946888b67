/* SPDX-License-Identifier: MIT */
/*
 * The sockets by which a guest is reached: what 'ringlet run' makes of --vsock, and how 'ringlet exec'
 * and 'ringlet cp' find the agent of a machine that runs. Main thread.
 */
#ifndef RINGLET_CLI_GUEST_SOCKET_H
#define RINGLET_CLI_GUEST_SOCKET_H

#include <sys/un.h>

#include "vm/config.h"

struct error;

#define GUEST_SOCKET "vsock" /* NAME.vsock, beside the machine's NAME.sock */

#define GUEST_WAIT_S 30u
#define GUEST_WAIT_OPTION(owner, member)                                                           \
	{ .name = "wait", .type = OPTION_UINT, .offset = offsetof(owner, member),                  \
	  .metavar = "SECONDS", .max = 86400,                                                      \
	  .help = "how long to wait for a guest that is still starting (30)" }

/* option: the argument of --vsock, or NULL; name: that of --name, or NULL. Sets the address. */
int guest_socket_choose(struct vm_config *config, const char *option, const char *name,
			struct error *err);

struct guest_socket {
	struct sockaddr_un address;
};

/*
 * If the guest shall have sockets and no path was given for them: in dir (host/machines.h), which
 * stays open. Without such a directory, -EINVAL says that a path is needed.
 */
int guest_socket_place(struct guest_socket *place, struct vm_config *config, int dir,
		       struct error *err);

/*
 * Connects to the agent of machine name, waiting wait_s seconds for a guest that is still starting.
 * A blocking socket, after the agent's greeting; or -ENOENT: there is no such machine, or no way to
 * its agent.
 */
int guest_agent_connect(const char *name, unsigned wait_s, struct error *err);

/* What a guest says, made fit for a terminal: what is no printable UTF-8 becomes '?'. */
void guest_text_clean(char *text);

#endif
