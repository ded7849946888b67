/* SPDX-License-Identifier: MIT */
/* The host has resolved what needs what and unpacked it: here they are loaded in order. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "init.h"

void load_modules(void)
{
	const char *name;

	for (unsigned i = 0; (name = config_at("module", i)); i++) {
		char path[64];
		int fd;

		snprintf(path, sizeof(path), RINGLET_DIR "/modules/%u", i);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			die("%s: %s", path, strerror(errno));
		if (syscall(SYS_finit_module, fd, "", 0) && errno != EEXIST)
			die("the kernel refuses its module %s: %s", name, strerror(errno));
		close(fd);
		unlink(path);
	}
}
