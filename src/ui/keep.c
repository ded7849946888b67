/* SPDX-License-Identifier: MIT */
#include "ui/keep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "ui/chardev.h"

#define KEEP_BYTES 16384u

struct keep {
	struct chardev chardev;
	size_t total; /* that came; the last KEEP_BYTES of it are in text, at their number modulo that */
	uint8_t text[KEEP_BYTES];
};

static size_t keep_write(void *opaque, const uint8_t *data, size_t len)
{
	struct keep *keep = opaque;

	for (size_t i = 0; i < len; i++)
		keep->text[keep->total++ % KEEP_BYTES] = data[i];
	return len;
}

static const struct chardev_ops keep_ops = { .write = keep_write };

int keep_create(struct keep **out, struct error *err)
{
	struct keep *keep = calloc(1, sizeof(*keep));

	if (!keep)
		return error_set(err, ENOMEM, "no memory for the console");
	keep->chardev = (struct chardev){ .ops = &keep_ops, .opaque = keep };
	*out = keep;
	return 0;
}

void keep_destroy(struct keep *keep)
{
	free(keep);
}

struct chardev *keep_chardev(struct keep *keep)
{
	return &keep->chardev;
}

void keep_print(const struct keep *keep, FILE *stream)
{
	size_t at = keep->total > KEEP_BYTES ? keep->total - KEEP_BYTES : 0;

	if (at)
		while (at < keep->total && keep->text[at++ % KEEP_BYTES] != '\n')
			;
	for (; at < keep->total; at++) {
		uint8_t c = keep->text[at % KEEP_BYTES];

		/* What a guest says must not speak to our terminal. */
		if (c == '\n' || c == '\t' || (c >= ' ' && c < 0x7f))
			fputc(c, stream);
	}
}
