/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/base64.h"

void base64_encode(const void *bytes, size_t count, char *text)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *in = bytes;

	for (size_t at = 0; at < count; at += 3) {
		size_t left = count - at;
		uint32_t word = (uint32_t)in[at] << 16 |
				(left > 1 ? (uint32_t)in[at + 1] << 8 : 0) |
				(left > 2 ? in[at + 2] : 0u);

		*text++ = digits[word >> 18];
		*text++ = digits[word >> 12 & 63];
		*text++ = '=';
		*text++ = '=';
		if (left > 1)
			text[-2] = digits[word >> 6 & 63];
		if (left > 2)
			text[-1] = digits[word & 63];
	}
	*text = '\0';
}
