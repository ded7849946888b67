/* SPDX-License-Identifier: MIT */
/* Other programs, run to their end. Any thread. */
#ifndef RINGLET_HOST_CHILD_H
#define RINGLET_HOST_CHILD_H

struct error;

/*
 * Runs argv[0], looked for in $PATH, in directory (NULL: ours), with /dev/null as standard input.
 * Standard output goes to *output, a string for the caller to free, or (NULL) to our standard error.
 * An interrupt from the terminal is for it alone. 0: it succeeded; -ENOENT: there is no such program;
 * -EINTR: by that interrupt it ended; -ECHILD: it failed, and err says how.
 */
int child_run(const char *const *argv, const char *directory, char **output, struct error *err);

#endif
