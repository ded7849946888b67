/* SPDX-License-Identifier: MIT */
/*
 * Ringlet's own init: what runs as process 1 of a guest whose root is the host's file system. It
 * comes in an initramfs made for the run, with a file that says what to do (config.c) and the kernel
 * modules that it takes to do it. It loads them, puts the root together, starts one program, tells
 * the host how that ended, and powers off.
 *
 * Nobody but the host writes what it reads before the program runs. A failure ends the machine with
 * one line, on the control port if there is one and on the console.
 */
#ifndef RINGLET_INIT_H
#define RINGLET_INIT_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define RINGLET_DIR "/ringlet"     /* what the host put into the initramfs */
#define NEW_ROOT RINGLET_DIR "/root"
#define RUN_DIR "/run/ringlet"     /* what a service of systemd finds: systemd.c */

/* ---- config.c: a sequence of "key=value", each ended by a NUL ---- */

void config_read(const char *path);
void config_save(const char *path);
/* The value of key; NULL: not given. */
const char *config_get(const char *key);
/* The index-th value of a key that may be given several times; NULL: no more. */
const char *config_at(const char *key, unsigned index);
/* All values of key, as a NULL-terminated array that belongs to nobody. */
char **config_all(const char *key);

/* ---- report.c: what the host is told ---- */

/* Finds the control port, once the console's module is there. */
void report_open(void);
_Noreturn __attribute__((format(printf, 1, 2))) void die(const char *format, ...);
/* What to poll for POLLIN for the host's wishes, or -1. */
int report_fd(void);
/* It is readable: does what the host wants; true when it wants the guest to stop. */
bool report_stop_asked(void);
/* "exit 3", "signal 9": how the program ended. */
void report_status(int wait_status);
/* Writes out what is in memory and turns the machine off. */
_Noreturn void power_off(void);

/* ---- the steps, in order ---- */

/* modules.c: loads RINGLET_DIR/modules/0, 1, 2 … */
void load_modules(void);

/* mounts.c: /proc, /sys and /dev of the initramfs; then the root with its overlay and shares. */
void mount_basics(void);
void mount_root(void);
void enter_root(void);

/* network.c: the host name, the loopback, the cards; in the root, where names are asked for. */
void set_up_network(void);
void set_up_names(void);

/* ports.c: opens the virtio console port called name, waiting for it to appear; dies without. */
int port_open(const char *name, int flags);

/* agent.c: answers the host's further wishes ('ringlet exec') in a process of its own, if it asked. */
void start_agent(void);

/* run.c: starts the program, carries its streams, and returns its status as of waitpid(). *stopping:
 * it was asked to end. */
int run_program(bool *stopping);

/* systemd.c: becomes it; it starts this program again, not as process 1. */
_Noreturn void start_systemd(void);

/* ---- child.c: from a fork to a program ---- */

#define USER_GROUPS_MAX 256

struct user {
	bool given; /* else it is root, as we are */
	uid_t uid;
	gid_t gid, groups[USER_GROUPS_MAX];
	size_t group_count;
};

struct program {
	char **arguments, **variables; /* each ended by a NULL */
	const char *directory;         /* NULL: it stays where we are */
	struct user user;
};

/* In the child: a session of its own, and signals as a program expects them. */
void child_begin(const sigset_t *signals);
/* Its terminal, and its standard streams, are fd from now on. */
void child_take_terminal(int fd);
void terminal_resize(int fd, unsigned rows, unsigned columns);
/* Becomes the program, or ends with 127 (not found) or 126, as a shell's child would. */
_Noreturn void child_run(const struct program *program);
_Noreturn void child_die(const char *what, const char *which);

/* ---- session.c: one connection of the agent's, until its end ---- */

_Noreturn void serve_session(int connection);

/* users.c: who text (a name, UID or UID:GID) is in this guest. */
struct account {
	struct user user;
	char name[64], home[256], shell[256];
};

bool find_account(const char *text, struct account *account);

#endif
