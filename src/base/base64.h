/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes as text: base64 of RFC 4648, with padding. No state, any thread.
 */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/util.h"

/* Characters of so many bytes, without the NUL. */
static inline size_t base64_length(size_t bytes)
{
	return (bytes + 2) / 3 * 4;
}

/* text has room for base64_length() and a NUL. */
void base64_encode(const void *bytes, size_t count, char *text);
/* At most room bytes; how many there were, or -EINVAL: no base64, or more. */
int64_t base64_decode(const char *text, void *ret_bytes, size_t room);

#endif
