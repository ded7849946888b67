/* SPDX-License-Identifier: MIT */
#include "cli/attend.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "cli/detach.h"
#include "control/control.h"

#define NAMES_TRIED 100 /* processes in other PID namespaces may have our number */

static void runs(struct vm *vm, void *opaque)
{
	struct attendance *attendance = opaque;

	(void)vm;
	detach_finish(attendance->detachment, attendance->name);
}

static int begin(void *opaque, struct vm *vm, struct error *err)
{
	struct attendance *attendance = opaque;

	/* The CPUs stand for it once they have begun to run, which a kernel that is none prevents. */
	attendance->visit = (struct vm_visit){ .run = runs, .opaque = attendance };
	if (attendance->detachment->fd >= 0)
		vm_visit(vm, &attendance->visit);
	return attendance->listener < 0 ? 0 : control_create(vm, attendance->listener,
							      &attendance->control, err);
}

static void end(void *opaque)
{
	struct attendance *attendance = opaque;

	control_destroy(attendance->control);
	attendance->control = NULL;
}

/* attendance->listener, or -errno. */
static int claim_any(struct attendance *attendance, struct error *err)
{
	int ret = -EEXIST;

	for (unsigned i = 0; i < NAMES_TRIED && ret == -EEXIST; i++) {
		if (i)
			snprintf(attendance->name, sizeof(attendance->name), "guest-%d-%u",
				 (int)getpid(), i);
		ret = machines_claim(attendance->dir, attendance->name, err);
	}
	return ret;
}

static int claim(struct attendance *attendance, const char *name, struct error *err)
{
	attendance->dir = machines_open(err);
	if (attendance->dir < 0)
		return attendance->dir;
	attendance->listener = name ? machines_claim(attendance->dir, name, err) :
				      claim_any(attendance, err);
	return attendance->listener < 0 ? attendance->listener : 0;
}

int attend_claim(struct attendance *attendance, const char *name, struct detachment *detachment,
		 struct error *err)
{
	int ret = name ? machines_check_name(name, err) : 0;

	*attendance = (struct attendance){
		.dir = -1, .listener = -1, .detachment = detachment,
		.attendant = { .begin = begin, .end = end, .opaque = attendance },
	};
	if (ret)
		return ret;
	if (name)
		strcpy(attendance->name, name);
	else
		snprintf(attendance->name, sizeof(attendance->name), "guest-%d", (int)getpid());
	ret = claim(attendance, name, err);
	if (!ret || name)
		return ret;
	log_info("no commands can reach this machine: %s", err->message);
	return 0;
}

void attend_release(struct attendance *attendance)
{
	if (attendance->listener >= 0) {
		machines_release(attendance->dir, attendance->name);
		close(attendance->listener);
	}
	if (attendance->dir >= 0)
		close(attendance->dir);
}
