/* SPDX-License-Identifier: MIT */
/*
 * Between the control socket's parts: one client, as commands see it. Loop's thread, machine lock
 * held.
 */
#ifndef RINGLET_CONTROL_SESSION_H
#define RINGLET_CONTROL_SESSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/json.h"
#include "base/json_read.h"
#include "ui/fifo.h"
#include "ui/hub.h"
#include "vm/stand.h"

struct control;
struct error;
struct loop_watch;
struct session;
struct vm;

/* What a command returns that answers later. */
#define SESSION_LATER 1

/* Writes the result's members. 0, SESSION_LATER, or -errno and err. arguments may be NULL. */
typedef int session_run(struct session *session, const struct json_value *arguments,
			struct json *result, struct error *err);

struct control_command {
	const char *name;
	session_run *run;
};

/* commands.c; ended by a NULL name. */
extern const struct control_command control_commands[];

struct control {
	struct vm *vm;
	int listener, spare; /* spare: given up to turn a client away when there are no descriptors */
	struct loop_watch *watch;
	uint64_t began_ns;
	struct session *sessions;
	unsigned session_count;
};

struct session {
	struct control *control;
	struct session *next;
	int fd;
	struct loop_watch *watch;
	char *in; /* CONTROL_LINE_MAX bytes, of which so many are there */
	size_t in_used;
	char *out; /* an answer on its way; NULL: none */
	size_t out_bytes, out_sent;
	bool waits;  /* a command answers later */
	bool broken; /* to be closed as soon as nobody uses it */
	struct json_text request;
	struct vm_visit visit; /* of a command that looks at the CPUs */
	bool attached;         /* the bytes are the console's */
	struct hub_tap tap;
	struct fifo screen;    /* what the guest wrote and the client has not read */
};

/* Answers the request in hand by what run says, which is SESSION_LATER only for the first time. */
void session_answer(struct session *session, session_run *run);

/* Has the loop tell of what the session waits for now. */
void session_watch(struct session *session);

/* debug.c, console.c: commands. */
session_run debug_run, console_run;

/* commands.c: text, which is lines, as an array of strings. */
void session_lines(struct json *result, const char *name, const char *text);

/* console.c: an attached session can be read or written; it ends. */
void console_read(struct session *session);
void console_write(struct session *session);
void console_detach(struct session *session);
size_t console_room(const struct session *session);

#endif
