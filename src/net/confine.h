/* SPDX-License-Identifier: MIT */
/* What user mode's process keeps of a process's powers. */
#ifndef RINGLET_NET_CONFINE_H
#define RINGLET_NET_CONFINE_H

struct error;

/* Of the calling thread, for good: sockets of the Internet, reading /etc and /run, memory. 0 or -errno. */
int net_user_confine(struct error *err);

#endif
