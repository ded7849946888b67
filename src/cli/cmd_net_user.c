/* SPDX-License-Identifier: MIT */
/* Not for users: what net/user.h starts to carry a guest's user-mode network. */
#include <sys/prctl.h>
#include <unistd.h>

#include "cli/commands.h"
#include "net/user.h"

int cmd_net_user(void)
{
	/* Else it is called "exe", after the link that it was started by. */
	prctl(PR_SET_NAME, "ringlet-net");
	return net_user_serve(STDIN_FILENO);
}
