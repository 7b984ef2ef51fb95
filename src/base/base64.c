/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/base64.h"

#include <errno.h>
#include <string.h>

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

static int digit_value(char digit)
{
	if (digit >= 'A' && digit <= 'Z')
		return digit - 'A';
	if (digit >= 'a' && digit <= 'z')
		return digit - 'a' + 26;
	if (digit >= '0' && digit <= '9')
		return digit - '0' + 52;
	return digit == '+' ? 62 : digit == '/' ? 63 : -1;
}

int64_t base64_decode(const char *text, void *ret_bytes, size_t room)
{
	size_t length = strlen(text), count = 0;
	uint8_t *out = ret_bytes;

	if (length % 4)
		return -EINVAL;
	for (size_t at = 0; at < length; at += 4) {
		bool last = at + 4 == length;
		int digits = last && text[at + 2] == '=' ? 2 : last && text[at + 3] == '=' ? 3 : 4;
		uint32_t word = 0;

		if (digits == 2 && text[at + 3] != '=')
			return -EINVAL;
		for (int i = 0; i < digits; i++) {
			if (digit_value(text[at + (size_t)i]) < 0)
				return -EINVAL;
			word |= (uint32_t)digit_value(text[at + (size_t)i]) << (18 - 6 * i);
		}
		for (int i = 0; i < digits - 1; i++) {
			if (count == room)
				return -EINVAL;
			out[count++] = (uint8_t)(word >> (16 - 8 * i));
		}
	}
	return (int64_t)count;
}
