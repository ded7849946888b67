/* SPDX-License-Identifier: MIT */
/*
 * A program in a guest, from here: its standard streams are ours, or its terminal is. An event loop
 * of its own carries what the agent (agent/wire.h) and our streams have for each other. Main thread.
 */
#ifndef RINGLET_CLI_EXEC_SESSION_H
#define RINGLET_CLI_EXEC_SESSION_H

#include <stdbool.h>

struct error;

/*
 * Runs what the agent at connection has been told to, to its end: *status as of waitpid(). -EPIPE: the
 * connection ended first; -ECANCELED: the user left it. Does not return where nobody reads our output
 * any more: that is a SIGPIPE.
 */
int exec_session(int connection, bool terminal, int *status, struct error *err);

#endif
