/* SPDX-License-Identifier: MIT */
#include "base/utf8.h"

unsigned utf8_length(const unsigned char *text)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	unsigned length = text[0] < 0x80 ? 1 : text[0] < 0xc0 ? 0 : text[0] < 0xe0 ? 2 :
			  text[0] < 0xf0 ? 3 : text[0] < 0xf8 ? 4 : 0;
	uint32_t code;

	if (length < 2)
		return length;
	code = text[0] & (0x7f >> length);
	for (unsigned i = 1; i < length; i++) {
		if ((text[i] & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (text[i] & 0x3f);
	}
	if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return length;
}

unsigned utf8_encode(uint32_t code, char *text)
{
	unsigned length = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;

	if (length == 1) {
		text[0] = (char)code;
		return 1;
	}
	for (unsigned i = length - 1; i; i--) {
		text[i] = (char)(0x80 | (code & 0x3f));
		code >>= 6;
	}
	text[0] = (char)((0xf00 >> length & 0xff) | code);
	return length;
}
