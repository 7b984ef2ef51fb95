/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A block device over a crash_image, for the simulated host only (all reactors are one thread). It
 * ends requests at once, or after a while drawn from a seed and so in another order than they came,
 * and writes down in a crash_log what it was asked. Nobody sees an end before it is in the log.
 *
 * It can lie, so that whoever checks what is left after a cut can show that he would notice:
 *  - CRASH_DROPS_FLUSHES: a flush, or FUA, is answered and not done;
 *  - CRASH_SWAPS_WRITES: a write that ended before a flush and one that came after it change their
 *    places: the flush leaves the first out, the second is stable as soon as it has ended.
 * It lies at every fault_nth flush, or write with FUA, beginning with number fault_first.
 *
 * A request that breaks the contract of bdev/io.h ends the test.
 */
#ifndef CRASH_CRASH_DISK_H
#define CRASH_CRASH_DISK_H

#include "bdev/bdev.h"
#include "crash/crash_log.h"

enum crash_fault { CRASH_HONEST, CRASH_DROPS_FLUSHES, CRASH_SWAPS_WRITES };

struct crash_disk_options {
	const char *name;
	uint32_t block_size;
	uint32_t physical_block_size; /* 0: block_size */
	bool unmap_leaves_garbage;
};

struct crash_disk {
	struct bdev bdev;
	struct crash_disk_options options;
	struct crash_image *image; /* what is read; borrowed */
	struct crash_log *log; /* NULL: nothing is written down; borrowed */
	uint64_t slow; /* a seed; 0: requests end at once */
	struct chance chance; /* delays, and which write changes places */
	enum crash_fault fault;
	unsigned fault_nth, fault_first;
	unsigned flushes; /* with writes with FUA */
	bool swap_next; /* the next write that ends is early */
	unsigned in_flight;
	uint64_t reads;
};

void crash_disk_init(struct crash_disk *disk, const struct crash_disk_options *options,
	struct crash_image *image);
/* Another disk in the same place: nothing is in flight. slow: see above. */
void crash_disk_set(
	struct crash_disk *disk, struct crash_image *image, struct crash_log *log, uint64_t slow);
void crash_disk_lie(struct crash_disk *disk, enum crash_fault fault, unsigned first, unsigned nth);

#endif
