/* SPDX-License-Identifier: MIT */
/*
 * What makes a run reachable: its name among this user's machines, and the control socket behind it.
 * Main thread.
 */
#ifndef RINGLET_CLI_ATTEND_H
#define RINGLET_CLI_ATTEND_H

#include "host/machines.h"
#include "vm/stand.h"
#include "vm/vm.h"

struct control;
struct detachment;
struct error;

struct attendance {
	char name[MACHINES_NAME_BYTES];
	int dir, listener; /* -1: there is no socket */
	struct control *control;
	struct vm_attendant attendant; /* for vm_run */
	struct vm_visit visit;         /* to see that the machine runs … */
	struct detachment *detachment; /* … and say so */
};

/*
 * Takes the name, or one that nobody has where it is NULL: then it is no error that there is no place
 * for sockets. Once the machine runs, detachment is finished. Released by attend_release, also after
 * an error.
 */
int attend_claim(struct attendance *attendance, const char *name, struct detachment *detachment,
		 struct error *err);
void attend_release(struct attendance *attendance);

#endif
