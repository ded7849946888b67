/* SPDX-License-Identifier: MIT */
/*
 * A machine's control socket: docs/CONTROL.md is the protocol. Clients are processes of the same user
 * (or root) and yet not trusted to be quick or right: lines, answers and clients are bounded, what a
 * client does not read waits in its own buffer, and nothing here ever blocks the machine. All on the
 * loop's thread, machine lock held.
 */
#ifndef RINGLET_CONTROL_CONTROL_H
#define RINGLET_CONTROL_CONTROL_H

struct control;
struct error;
struct vm;

#define CONTROL_LINE_MAX 65536u /* bytes of a request, newline included */
#define CONTROL_CLIENTS_MAX 16u

/* Serves commands to vm from listener, a socket that does not block and stays the caller's. */
int control_create(struct vm *vm, int listener, struct control **control, struct error *err);
/* Clients are cut off. The CPUs stand. */
void control_destroy(struct control *control);

#endif
