/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What volumes may hold: the history of what was asked of a store and answered, in the time of the
 * disk's log (crash_log.h), and from it what is right at any moment and after a cut.
 *
 * A write W of a volume is superseded for whoever counts on a set of writes when one of them, Y,
 * was called after W had been acknowledged. A sector may hold whatever is not superseded:
 *  - for a read, by the writes that were acknowledged before the read was called;
 *  - after a cut, by the writes that were stable: acknowledged with FUA, or before a flush was
 *    called that was acknowledged;
 *  - in a snapshot, by the writes that were acknowledged before it was called, and by all of which
 *    are acknowledged before the youngest write that is in it (it is of one moment).
 * Of a set only the latest call matters: the floor, one number for each sector. What no write says
 * is what the base says: zeroes, or the snapshot of which the volume is a clone.
 *
 * Every sector written tells its write, and from whom: another one's data is never taken for right.
 *
 * An operation that was answered has happened, one that was not called has not; between the two it
 * has or has not, whole.
 */
#ifndef CRASH_MODEL_H
#define CRASH_MODEL_H

#include "base/util.h"

#define MODEL_SECTOR       512u
#define MODEL_VOLUMES_MAX  32u
#define MODEL_VERSIONS_MAX 32u /* sizes, names ... of a volume */

struct model_span {
	uint64_t called; /* 0: never */
	uint64_t done; /* 0: not yet */
	int rc;
};

/* Something that changes from one to the next. */
struct model_version {
	uint64_t value;
	struct model_span span;
};

struct model_versions {
	struct model_version list[MODEL_VERSIONS_MAX];
	unsigned count;
};

enum model_write_kind {
	MODEL_WRITE,
	MODEL_ZEROES,
	MODEL_DISCARD, /* zeroes, what was there, or what a discard leaves on the disk */
	MODEL_TRIM, /* by a shrink: nobody sees it before it was answered */
};

struct model_write {
	struct model_volume *volume;
	enum model_write_kind kind;
	uint32_t first, end; /* sectors */
	uint64_t called;
	uint64_t acked; /* 0: not yet */
	uint64_t stable; /* since when; 0: not yet */
};

struct model_volume {
	uint32_t tag; /* 1 and up; on the disk in an xattr */
	struct model_span created;
	struct model_span deleted;
	struct model_versions sizes; /* clusters */
	struct model_versions names; /* numbers */
	struct model_versions bases; /* tags, 0: zeroes */
	struct model_versions facts; /* model_facts of what the store said of it */
	struct model_volume *origin; /* of a snapshot: of which it shows a moment */
	bool was_thick, had_parent; /* once, or it will be when an operation under way has ended */
	uint64_t *floor; /* of each sector: at the cut; of a snapshot, at its call */
	uint64_t *live; /* at this moment */
	uint32_t *zeroes; /* writes that leave zeroes, numbers */
	unsigned num_zeroes, room_zeroes;
};

struct model {
	uint32_t cluster_sectors;
	uint32_t sectors_max; /* of a volume */
	struct model_volume *volumes[MODEL_VOLUMES_MAX]; /* tag - 1 */
	unsigned num_volumes;
	struct model_write *writes; /* its id is the number + 1 */
	uint32_t num_writes, room_writes;
	uint32_t *by_stability; /* numbers, once it is over */
	uint32_t num_stable, next_stable;
	uint64_t now; /* of the cut */
};

void model_init(struct model *model, uint32_t cluster_sectors, uint32_t clusters_max);
void model_fini(struct model *model);

static inline bool model_span_must(const struct model_span *span, uint64_t now)
{
	return span->called && span->done && span->done <= now && span->rc == 0;
}

static inline bool model_span_may(const struct model_span *span, uint64_t now)
{
	return span->called && span->called <= now &&
	       (!span->done || span->done > now || span->rc == 0);
}

/*
 * The clusters of a volume that tests write and look at, ten of them: its first ones, and some on
 * both sides of where one extent page ends and the next begins.
 */
#define MODEL_HOT       10u
#define MODEL_HOT_FIRST 6u

static inline bool model_is_hot(uint64_t cluster)
{
	return cluster < MODEL_HOT_FIRST || cluster == 511 || cluster == 512 || cluster == 1023 ||
	       cluster == 1024;
}

/* The nth of them, and back. */
static inline uint32_t model_hot_cluster(unsigned nth)
{
	static const uint32_t beyond[MODEL_HOT - MODEL_HOT_FIRST] = {511, 512, 1023, 1024};

	return nth < MODEL_HOT_FIRST ? nth : beyond[nth - MODEL_HOT_FIRST];
}

static inline unsigned model_hot_number(uint32_t cluster)
{
	if (cluster < MODEL_HOT_FIRST)
		return cluster;
	return MODEL_HOT_FIRST + (cluster > 511) + (cluster > 512) + (cluster > 1023);
}

/* Thick volumes have no more clusters than that: larger ones have no room in a store. */
#define MODEL_THICK_MAX 9u

static inline uint64_t model_facts(uint32_t parent_tag, bool thin, bool read_only, bool esnap)
{
	return (uint64_t)parent_tag << 4 | esnap << 2 | thin << 1 | read_only;
}

/* ---- history --------------------------------------------------------------------------------- */

/* A new volume; name is a number. origin: of a snapshot; base: of a clone; both may be NULL. */
struct model_volume *model_volume_add(struct model *model, uint64_t clusters, uint64_t name,
	struct model_volume *origin, struct model_volume *base, uint64_t now);
/* What lies on a device of its own, and under volumes of the store: clusters full of one write. */
struct model_volume *model_foreign_add(struct model *model, uint32_t clusters, uint64_t now);
/* The versions get a new value, called now; its answer goes to the span. */
struct model_span *model_versions_add(
	struct model_versions *versions, uint64_t value, uint64_t now);
/* The newest that was answered. */
uint64_t model_versions_last(const struct model_versions *versions);
void model_span_end(struct model_span *span, uint64_t now, int rc);
/* A shrink to that size was answered: what lies beyond is gone. */
void model_trim(struct model *model, struct model_volume *volume, uint64_t clusters,
	const struct model_span *span);

/* Number of the write. A write's sectors are filled with model_fill of it. */
uint32_t model_write_begin(struct model *model, struct model_volume *volume,
	enum model_write_kind kind, uint32_t first, uint32_t end, uint64_t now);
void model_write_end(struct model *model, uint32_t number, bool is_fua, uint64_t now);
/* Before its end: whole clusters of a thin volume without parent read zeroes. */
void model_discard_end(struct model *model, uint32_t number);
/* A flush of that volume, called at `called`, is acknowledged. */
void model_flush(struct model *model, struct model_volume *volume, uint64_t called, uint64_t now);
/* The data of one sector. */
void model_fill(const struct model *model, uint32_t number, uint32_t sector, void *ret_data);

/* ---- what is right --------------------------------------------------------------------------- */

#define MODEL_ZERO           0u
#define MODEL_GARBAGE        UINT32_MAX
#define MODEL_DISCARDED      (UINT32_MAX - 1)
#define MODEL_DISCARDED_BYTE 0xa5 /* all of them: what a disk may leave of a discarded sector */

/* The id of the write that left this, MODEL_ZERO, MODEL_DISCARDED, or MODEL_GARBAGE: no sector of
 * any. */
uint32_t model_recognize(const struct model *model, uint32_t sector, const void *data);

/* For a read called when the floor was that. `now`: when it ended. */
bool model_read_is_right(const struct model *model, const struct model_volume *volume,
	uint32_t sector, uint32_t id, uint64_t floor, uint64_t now);

/* The history is over: cuts follow, in the order of time. */
void model_seal(struct model *model);
void model_set_cut(struct model *model, uint64_t now);
/* After the cut a volume of so many clusters holds these ids: MODEL_HOT * cluster_sectors, hot
 * cluster by hot cluster as far as it has them. 0, or -1 and what is wrong. */
int model_check_volume(const struct model *model, const struct model_volume *volume,
	uint64_t num_clusters, const uint32_t *ids, char *ret_text, size_t size);
/* May that cluster be allocated, now or ever? */
bool model_may_have_cluster(const struct model_volume *volume, uint64_t cluster);
/* Is one of the values that a version may have. */
bool model_versions_allow(const struct model_versions *versions, uint64_t value, uint64_t now);
/* The sizes that a volume may have, those of a snapshot are its origin's. */
bool model_size_is_right(const struct model *model, const struct model_volume *volume,
	uint64_t num_clusters, uint64_t now);

#endif
