/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/alloc.h"

#include <stdlib.h>

#include "base/log.h"

void *alloc_op(size_t size)
{
	void *p = calloc(1, size);

	invariant(p != NULL);
	return p;
}
