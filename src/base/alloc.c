/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"

void *alloc_op(size_t size)
{
	void *p = calloc(1, size);

	invariant(p != NULL);
	return p;
}

void *alloc_lines(size_t size)
{
	size_t lines = align_up(size, CACHE_LINE);
	void *p = aligned_alloc(CACHE_LINE, lines);

	if (p)
		memset(p, 0, lines);
	return p;
}
