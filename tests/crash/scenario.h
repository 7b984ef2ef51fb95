/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A story about a store, told by a number: volumes, snapshots and clones are made and written, then
 * comes what it is about: an operation, alone, beside guests' I/O, or beside that and a second
 * operation; then the store is closed. The disk's log and the model keep all of it; cuts are of
 * interest from cut_from on.
 *
 *	number % SCENARIO_OPS			which operation
 *	number / SCENARIO_OPS % 3		alone, with I/O, with I/O and a second operation
 *	number / SCENARIO_OPS / 3		everything that is left to chance
 *
 * From SCENARIO_WIDE on (a multiple of all of these) the store has so many metadata pages that
 * their mask takes two pages, which a cut can part; only that part of the story is cut.
 */
#ifndef CRASH_SCENARIO_H
#define CRASH_SCENARIO_H

#include "crash/guest.h"

#define SCENARIO_WIDE         (UINT64_C(3) * SCENARIO_OPS << 32) /* a number */
#define SCENARIO_FOREIGN      3u /* clusters of the foreign device */
#define SCENARIO_CLUSTERS_MAX 1026u /* of a volume */

enum scenario_op_kind {
	SCENARIO_CREATE_THIN,
	SCENARIO_CREATE_THICK,
	SCENARIO_DELETE,
	SCENARIO_DELETE_SNAPSHOT, /* of one clone */
	SCENARIO_GROW,
	SCENARIO_SHRINK,
	SCENARIO_SNAPSHOT,
	SCENARIO_CLONE,
	SCENARIO_INFLATE,
	SCENARIO_DECOUPLE,
	SCENARIO_SET_PARENT,
	SCENARIO_CREATE_ESNAP, /* clone of a foreign device */
	SCENARIO_SET_ESNAP_PARENT,
	SCENARIO_RENAME,
	SCENARIO_READ_ONLY,
	SCENARIO_RELOAD, /* close and load; alone */
	SCENARIO_GROW_STORE,
	SCENARIO_WRITE, /* nothing but I/O */
	SCENARIO_REMAKE_STORE, /* close, and a new one in its place; alone */
	SCENARIO_DESTROY_STORE, /* alone */
	SCENARIO_OPS,
};

struct scenario_volume {
	struct model_volume *subject;
	struct blob *blob; /* NULL: it is gone */
	uint64_t id;
	bool is_snapshot;
	bool is_open;
	unsigned users; /* operations under way with it */
	bool is_busy; /* one of them wants it for itself */
	bool is_written; /* by a guest, once */
	struct volume volume;
	struct guest guest;
};

struct scenario {
	uint64_t number;
	struct chance chance;
	struct crash_log log;
	struct crash_image image;
	struct crash_image foreign;
	struct model_volume *foreign_subject;
	struct crash_disk_options disk_options;
	uint64_t size_bytes; /* of the disk */
	uint32_t cluster_size;
	uint32_t md_percent;
	struct store_world world;
	struct model model;
	struct scenario_volume volumes[MODEL_VOLUMES_MAX]; /* tag - 1 */
	uint64_t oldest_call; /* of operations under way */
	unsigned ops_under_way;
	struct model_span remade; /* the store; of a cut within, none is a right answer too */
	struct model_span destroyed;
	uint64_t cut_from, cut_until;
	uint32_t names; /* given until now */
	enum scenario_op_kind op;
	bool with_io;
	bool with_second;
	char fault[400]; /* what went wrong without any cut */
};

/* Tells it; log and model are complete then and the model is sealed. */
void scenario_run(struct scenario *scenario, uint64_t number, enum crash_fault fault,
	unsigned fault_first, unsigned fault_nth);
void scenario_fini(struct scenario *scenario);
const char *scenario_op_name(enum scenario_op_kind kind);

#endif
