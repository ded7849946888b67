/* SPDX-License-Identifier: MIT */
/*
 * Errors: a function that can fail returns 0 or -errno and fills a struct error whose message
 * is made once, where the cause is known: what, where, what to do; one line, no newline.
 * The caller owns the struct (usually on its stack); NULL is allowed where nobody will read it.
 * Any thread.
 */
#ifndef RINGLET_BASE_ERROR_H
#define RINGLET_BASE_ERROR_H

struct error {
	char message[512];
};

/* Fills err (if not NULL) and returns -errnum. */
int error_set(struct error *err, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As error_set, appending ": " and the text of errnum. */
int error_set_errno(struct error *err, int errnum, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
