/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int error_set(struct error *err, int errnum, const char *fmt, ...)
{
	if (err) {
		va_list args;

		va_start(args, fmt);
		vsnprintf(err->message, sizeof(err->message), fmt, args);
		va_end(args);
	}
	return -errnum;
}

int error_set_errno(struct error *err, int errnum, const char *fmt, ...)
{
	if (err) {
		va_list args;
		size_t length;

		va_start(args, fmt);
		vsnprintf(err->message, sizeof(err->message), fmt, args);
		va_end(args);
		length = strlen(err->message);
		snprintf(err->message + length, sizeof(err->message) - length, ": %s",
			 strerrordesc_np(errnum));
	}
	return -errnum;
}
