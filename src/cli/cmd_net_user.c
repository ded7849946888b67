/* SPDX-License-Identifier: MIT */
/* Not for users: what net/user.h starts to carry a guest's user-mode network. */
#include <unistd.h>

#include "cli/commands.h"
#include "net/user.h"

int cmd_net_user(void)
{
	return net_user_serve(STDIN_FILENO);
}
