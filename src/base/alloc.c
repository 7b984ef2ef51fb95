/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/alloc.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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

void *alloc_pages(size_t size)
{
	void *pages = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (pages == MAP_FAILED)
		return NULL;
	/* Else the first use of one could make two megabytes of it and its neighbours there. */
	madvise(pages, size, MADV_NOHUGEPAGE);
	return pages;
}

void *resize_pages(void *pages, size_t size, size_t new_size)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	void *moved = mremap(pages, size, new_size, MREMAP_MAYMOVE);

	if (moved == MAP_FAILED)
		return NULL;
	if (new_size < size) /* the rest of the last page may be grown into again */
		memset((char *)moved + new_size, 0,
			u64_min(size, align_up(new_size, page)) - new_size);
	return moved;
}

void free_pages(void *pages, size_t size)
{
	if (pages)
		munmap(pages, size);
}
