/* SPDX-License-Identifier: MIT */
/* The console's ports have no names in /dev without udev: sysfs tells which is which. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "init.h"

#define PORTS_DIR "/sys/class/virtio-ports"
#define WAIT_STEPS 1000
#define WAIT_STEP_US 5000

/* The node in /dev of the port called name. */
static bool find_port(const char *name, char *node, size_t size)
{
	DIR *dir = opendir(PORTS_DIR);
	const struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir))) {
		char path[sizeof(PORTS_DIR) + sizeof(entry->d_name) + 8], text[64];
		ssize_t length;
		int fd;

		snprintf(path, sizeof(path), PORTS_DIR "/%s/name", entry->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		length = read(fd, text, sizeof(text) - 1);
		close(fd);
		text[length > 0 ? length : 0] = 0;
		text[strcspn(text, "\n")] = 0;
		found = !strcmp(text, name);
		if (found)
			snprintf(node, size, "/dev/%s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

int port_open(const char *name, int flags)
{
	char node[300];
	int fd = -1;

	if (access(PORTS_DIR, F_OK))
		die("this kernel has no virtio console: neither built in nor as a module that was "
		    "found");
	for (unsigned i = 0; i < WAIT_STEPS && fd < 0; i++) {
		if (find_port(name, node, sizeof(node)))
			fd = open(node, flags | O_CLOEXEC);
		if (fd < 0)
			usleep(WAIT_STEP_US);
	}
	if (fd < 0)
		die("the console has no port %s", name);
	return fd;
}
