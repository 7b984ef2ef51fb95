/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/log.h"

#define ALLOC_PAGE 4096u

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

/* Less than a page is not worth a mapping of its own. */
static bool is_small(size_t size)
{
	return size < ALLOC_PAGE;
}

void *alloc_pages(size_t size)
{
	void *pages;

	if (is_small(size))
		return alloc_lines(size);
	pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		return NULL;
	/* Else the first use of one could make two megabytes of it and its neighbours there. */
	madvise(pages, size, MADV_NOHUGEPAGE);
	return pages;
}

/* Into or out of the heap, or within it. */
static void *resize_small(void *pages, size_t size, size_t new_size)
{
	void *moved = alloc_pages(new_size);

	if (!moved)
		return NULL;
	memcpy(moved, pages, u64_min(size, new_size));
	free_pages(pages, size);
	return moved;
}

void *resize_pages(void *pages, size_t size, size_t new_size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *moved;

	if (is_small(size) || is_small(new_size))
		return resize_small(pages, size, new_size);
	moved = mremap(pages, size, new_size, MREMAP_MAYMOVE);
	if (moved == MAP_FAILED)
		return NULL;
	if (new_size < size) /* the rest of the last page may be grown into again */
		memset((char *)moved + new_size, 0,
			u64_min(size, align_up(new_size, page)) - new_size);
	return moved;
}

void free_pages(void *pages, size_t size)
{
	if (is_small(size))
		free(pages);
	else if (pages)
		munmap(pages, size);
}
