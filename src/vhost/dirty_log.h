/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bitmap in which a front-end learns what we write into its guest's memory: a bit for each page
 * of 4096 bytes of guest-physical space, reference section 10. It is shared with the front-end,
 * which takes bits away at any time, and with the back-ends of its other devices, which set some:
 * so bits are set by atomic OR, after the write that they tell of.
 *
 * The session owns it (session_log.c); virtqueues are told where it is, and mark on their reactors.
 */
#ifndef VHOST_DIRTY_LOG_H
#define VHOST_DIRTY_LOG_H

#include "base/util.h"

#define DIRTY_LOG_PAGE_SHIFT 12

struct dirty_log {
	uint8_t *bits;
	uint64_t bytes;
	/* session_log.c's */
	void *map_addr;
	size_t map_len;
	struct sigbus_slot *sigbus;
};

/* [gpa, gpa + len) was written by this thread, or by a device that has said so. What the bitmap has
 * no bit for is left out. */
static inline void dirty_log_mark(const struct dirty_log *log, uint64_t gpa, uint64_t len)
{
	uint64_t page = gpa >> DIRTY_LOG_PAGE_SHIFT;
	uint64_t last;

	if (unlikely(len == 0 || gpa + (len - 1) < gpa))
		return;
	last = (gpa + (len - 1)) >> DIRTY_LOG_PAGE_SHIFT;
	while (page <= last && page / 8 < log->bytes) {
		uint64_t next = (page | 7) + 1;
		uint8_t mask = (uint8_t)(0xff << page % 8);

		if (next > last + 1) {
			mask &= (uint8_t)(0xff >> (next - last - 1));
			next = last + 1;
		}
		/* After the data: whoever finds the bit finds what was written. */
		__atomic_fetch_or(&log->bits[page / 8], mask, __ATOMIC_RELEASE);
		page = next;
	}
}

#endif
