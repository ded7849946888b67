/* SPDX-License-Identifier: MIT */
/*
 * The user's terminal (or whatever standard input and output are) as a character device's back end.
 * A terminal is put into raw mode and restored on every way out. On a terminal, Ctrl-A begins a
 * command: x ends the machine, h helps, b sends a break, Ctrl-A sends itself. Created and destroyed
 * with the machine lock held or before the loop runs.
 */
#ifndef RINGLET_UI_TERMINAL_H
#define RINGLET_UI_TERMINAL_H

struct chardev;
struct error;
struct loop;
struct terminal;

struct terminal_config {
	struct loop *loop;
	int in_fd, out_fd;           /* stay the caller's */
	void (*quit)(void *opaque);  /* the user wants the end, or is gone; machine lock held */
	const char *quit_help;       /* what that does */
	/* Input that is no terminal's has ended, and all was delivered. NULL: that is no event. */
	void (*ended)(void *opaque);
	void *opaque;
};

int terminal_create(const struct terminal_config *config, struct terminal **terminal,
		    struct error *err);

/* Writes out what the guest wrote (for at most a few seconds, should nobody read it), restores. */
void terminal_destroy(struct terminal *terminal);

/* Lives as long as the terminal. */
struct chardev *terminal_chardev(struct terminal *terminal);

#endif
