/* SPDX-License-Identifier: MIT */
/* UTF-8 (RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF). Any thread. */
#ifndef RINGLET_BASE_UTF8_H
#define RINGLET_BASE_UTF8_H

#include <stdint.h>

/*
 * Length of the well-formed sequence at text, or 0. A terminating NUL ends every sequence that is cut
 * short.
 */
unsigned utf8_length(const unsigned char *text);

/* Writes code's sequence of 1 to 4 bytes to text and returns how many. code is no surrogate. */
unsigned utf8_encode(uint32_t code, char *text);

#endif
