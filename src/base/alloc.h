/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For the small objects without which a failure could not even be reported: the ops of flows. What
 * is large, or sized by somebody outside, uses calloc and handles -ENOMEM.
 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include "base/util.h"

/* Zeroed, never NULL: without a few hundred bytes the process says so and ends. */
void *alloc_op(size_t size) __attribute__((malloc, returns_nonnull));

#endif
