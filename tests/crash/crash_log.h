/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a disk was asked and when, and from that what it can hold after a power cut.
 *
 * Time is a counter: every event of the disk (a write or a flush is submitted, or has ended) and
 * every event of whoever uses it (an operation is called, or acknowledged: crash_log_tick) takes
 * the next number. A cut at time t comes after event t and before the next.
 *
 * The disk of the log promises what a disk with a volatile cache does:
 *  - a write that is under way at the cut may be whole, torn or lost, and so may one that has ended
 *    but was not flushed since;
 *  - a FLUSH that has ended has made stable what had ended before it was submitted, no more;
 *  - a write with FUA is stable when it has ended;
 *  - writes tear at 512 bytes; below `atomic_end`, where the metadata is, at 4096.
 * Where writes overlap, the one that ended later lies on top if both survive.
 *
 * A cutter walks through the log once and keeps the stable contents and the writes that may be
 * lost. At each cut point it makes images: one for each choice of what survives.
 *
 *	crash_cutter_init(&cutter, &log, NULL, size_bytes);
 *	while (crash_cutter_next(&cutter)) {
 *		for (unsigned choice = 0; choice < 6; choice++) {
 *			if (!crash_cutter_image(&cutter, choice, seed, &image))
 *				continue;		-- the same as one that was made before
 *			... the disk holds image; check what was promised until cutter.now ...
 *		}
 *	}
 */
#ifndef CRASH_LOG_H
#define CRASH_LOG_H

#include "crash/chance.h"
#include "crash/crash_image.h"

/* A write, write-zeroes, unmap or flush. */
struct crash_write {
	uint64_t offset;
	uint64_t length;
	uint8_t *data; /* NULL: filled with `fill` */
	uint8_t fill;
	bool is_flush;
	bool is_fua;
	uint64_t submitted;
	uint64_t ended; /* 0: not yet */

	/* What a disk that lies does (crash_disk.h) */
	bool dropped; /* a flush that does nothing, or FUA that is not obeyed */
	uint32_t passed_by; /* a flush that leaves it out: its number + 1; 0: none */
	bool early; /* stable as soon as it has ended */
};

struct crash_event {
	uint64_t time;
	uint32_t write;
	bool is_end;
};

struct crash_log {
	uint64_t now;
	uint64_t atomic_end; /* bytes */
	struct crash_write *writes;
	uint32_t num_writes, room_writes;
	struct crash_event *events;
	uint32_t num_events, room_events;
};

void crash_log_init(struct crash_log *log);
void crash_log_fini(struct crash_log *log);
/* An event that is not the disk's: its time. */
static inline uint64_t crash_log_tick(struct crash_log *log)
{
	return ++log->now;
}

/* For the disk. data is handed over. Its number. */
uint32_t crash_log_submit(struct crash_log *log, const struct crash_write *write);
void crash_log_end(struct crash_log *log, uint32_t write);
/* Whatever it is, it is done now, in the image. */
void crash_write_apply(const struct crash_write *write, struct crash_image *image);

/* ---- cuts ---------------------------------------------------------------------------------- */

/* The first two, then by chance. */
enum crash_choice { CRASH_LOSE_ALL, CRASH_KEEP_ALL, CRASH_BY_CHANCE };

struct crash_cutter {
	const struct crash_log *log;
	uint64_t now; /* of the cut */
	struct crash_image stable;
	uint32_t next_event;
	uint32_t *cached; /* ended and not in `stable`, in the order of their ends */
	bool *pinned; /* of each of cached: stable, but one below it is not */
	uint32_t num_cached;
	uint32_t *flying; /* under way */
	uint32_t num_flying;
	uint32_t *order; /* of those, in the image that is made */
	uint64_t version; /* of `stable` */
	uint64_t *seen; /* hashes of images, a table with open addressing */
	uint32_t num_seen, room_seen;
	uint64_t marks; /* events of others until now */
};

/* before: what the disk held, or NULL for zeroes. */
void crash_cutter_init(struct crash_cutter *cutter, const struct crash_log *log,
	const struct crash_image *before, uint64_t size_bytes);
void crash_cutter_fini(struct crash_cutter *cutter);
/* To the next cut point, the last of them after everything; false: there is none. */
bool crash_cutter_next(struct crash_cutter *cutter);
/* False when the image and what was promised are those of an earlier choice. */
bool crash_cutter_image(
	struct crash_cutter *cutter, unsigned choice, uint64_t seed, struct crash_image *ret_image);

#endif
