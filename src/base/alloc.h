/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * alloc_op is for the small objects without which a failure could not even be reported: the ops of
 * flows. What is large, or sized by somebody outside, uses calloc or alloc_lines and handles
 * -ENOMEM.
 */
#ifndef BASE_ALLOC_H
#define BASE_ALLOC_H

#include "base/util.h"

/* Zeroed, never NULL: without a few hundred bytes the process says so and ends. */
void *alloc_op(size_t size) __attribute__((malloc, returns_nonnull));

/* Zeroed, on cache lines that nothing else is on: for what a data thread writes all the time. NULL
 * without memory. */
void *alloc_lines(size_t size) __attribute__((malloc));

/* Zeroed; lines, and from 4096 bytes on whole pages, which take memory only when they are
 * touched. NULL without address space. */
void *alloc_pages(size_t size) __attribute__((malloc));
/* The same with new_size bytes, perhaps elsewhere: what is added is zeroed and untouched. Neither
 * size is 0. NULL without address space: nothing has changed. */
void *resize_pages(void *pages, size_t size, size_t new_size) MUST_CHECK;
void free_pages(void *pages, size_t size); /* NULL is allowed */

#endif
