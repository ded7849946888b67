/* SPDX-License-Identifier: MIT */
/*
 * A character device's output, kept in case somebody asks: the end of it, when it was much. What a
 * guest's kernel says on its serial console is noise, until something went wrong. Machine lock held.
 */
#ifndef RINGLET_UI_KEEP_H
#define RINGLET_UI_KEEP_H

#include <stdio.h>

struct chardev;
struct error;
struct keep;

int keep_create(struct keep **keep, struct error *err);
void keep_destroy(struct keep *keep);
struct chardev *keep_chardev(struct keep *keep);

/* Writes what was kept, beginning with a whole line. The machine does not run. */
void keep_print(const struct keep *keep, FILE *stream);

#endif
