/* SPDX-License-Identifier: MIT */
/*
 * The names of this user's machines: a directory, $XDG_RUNTIME_DIR/ringlet or /tmp/ringlet-UID, that
 * is ours alone (mode 0700), with a socket NAME.sock for each machine that runs. Who listens there
 * has the name, and with it all files NAME.* beside it. What machines left that were killed goes away
 * whenever somebody claims a name, lists them or finds one dead. Processes agree by a lock on the directory.
 *
 * Sockets are reached through the directory's descriptor, so that no path is too long for one. Any
 * thread; dir is what machines_open returned.
 */
#ifndef RINGLET_HOST_MACHINES_H
#define RINGLET_HOST_MACHINES_H

#include <stdbool.h>
#include <sys/un.h>

struct error;

#define MACHINES_NAME_BYTES 65u /* of a name and its NUL */
#define MACHINES_SOCKET "sock"

/* Opens the directory, making it when it is not there. Its descriptor, the caller's to close. */
int machines_open(struct error *err);

/* -EINVAL: it is no name. Letters, digits, '.', '_' and '-', up to 64, the first a letter or digit. */
int machines_check_name(const char *name, struct error *err);

/* Where NAME.suffix is, as an address to bind or connect to; as long as dir is open. */
void machines_address(int dir, const char *name, const char *suffix, struct sockaddr_un *address);

/*
 * Takes the name: a socket that listens at NAME.sock, not blocking, the caller's to close after
 * machines_release. -EEXIST: another machine has it.
 */
int machines_claim(int dir, const char *name, struct error *err);
/* Removes all files NAME.*; only who has the name may. */
void machines_release(int dir, const char *name);

/* Connects to the machine NAME, blocking. -ENOENT: there is none, which err says. */
int machines_connect(int dir, const char *name, struct error *err);

/*
 * The names of the machines that run, in order: *names is an array that ends with NULL, to be freed
 * by machines_free_names.
 */
int machines_list(int dir, char ***names, struct error *err);
void machines_free_names(char **names);

#endif
