/* SPDX-License-Identifier: MIT */
/*
 * Owners and modes that the host does not keep, because the monitor may not: noted in an attribute of
 * the file, "UID GID MODE RDEV" with the mode in octal. Devices, FIFOs and sockets are then regular
 * files with such a note. The host's own mode has the same bits for reading, writing and executing,
 * as far as the monitor itself is not locked out; when somebody on the host changes them, they count.
 * A symbolic link has no attributes: its owner is what the host says. What the host itself can say is
 * not noted.
 */
#ifndef RINGLET_FS_OWNER_H
#define RINGLET_FS_OWNER_H

#include <stdbool.h>
#include <sys/stat.h>

struct tree;

/* All attributes that begin so are ours while notes are taken. */
#define OWNER_XATTR_PREFIX "user.ringlet."

/* What the host keeps of a guest's mode. */
mode_t owner_host_mode(mode_t mode);
/* Replaces in what the host says of fd (O_PATH) what is noted otherwise. */
void owner_read(const struct tree *tree, int fd, struct stat *status);
/* Makes fd (O_PATH) look like wanted (uid, gid, mode, rdev): 0 or an errno. */
int owner_write(const struct tree *tree, int fd, const struct stat *wanted);
/* Whether the file system of fd (any descriptor) keeps notes. */
bool owner_can(int fd);

#endif
