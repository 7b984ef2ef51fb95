/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Somebody who uses a volume: a few requests at a time from all reactors, drawn from a seed; each
 * goes into the model when it is called and when it is acknowledged, and what is read is checked.
 */
#ifndef CRASH_GUEST_H
#define CRASH_GUEST_H

#include "crash/model.h"
#include "crash/volume.h"

#define GUEST_SLOTS 4u

struct guest_slot {
	struct guest *guest;
	struct message message;
	struct timer timer;
	struct bdev_channel *channel;
	struct bdev_io io;
	struct iovec iov;
	uint8_t *buf;
	uint64_t *floor; /* of what it reads, when it was called */
	uint32_t first, end; /* sectors */
	uint32_t write; /* in the model */
	uint64_t called;
};

struct guest {
	struct volume *volume;
	struct model *model;
	struct model_volume *subject;
	struct crash_log *log;
	struct chance chance;
	uint32_t unit_sectors; /* of a request */
	uint32_t num_sectors; /* it keeps to */
	bool only_reads;
	unsigned budget; /* requests that it may still make */
	unsigned active; /* slots */
	unsigned made;
	char fault[400]; /* what was read and is wrong */
	struct guest_slot slots[GUEST_SLOTS];
};

void guest_init(struct guest *guest, struct volume *volume, struct model *model,
	struct model_volume *subject, struct crash_log *log, uint64_t seed);
void guest_fini(struct guest *guest);
/* Any thread: so many requests more; it begins to make them. */
void guest_start(struct guest *guest, unsigned requests);
/* No more than those that are under way; idle when guest->active is 0. */
void guest_stop(struct guest *guest);

#endif
