/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the volume store, an index by file:
 *
 *	format.h and the files it names		the format in memory
 *	store.c		open and close, the engine's thread, what control sees
 *	store_probe.c	is there a store?
 *	store_super.c	the super blob, growing
 *	store_create.c	a new store
 *	store_load.c	super block, masks or scan, blobs, unfinished operations
 *	store_load_impl.h and the files it names	the same
 *	store_change.c	the first change after a load, pages claimed ahead
 *	store_close.c	masks, the clean mark
 *	store_space.c	clusters and pages: taken, freed once that is safe
 *	store_io.c	the engine's reads, writes, flushes
 *	blob.c		a blob in memory, its map
 *	blob_op.c	an operation from control to the engine and back
 *	blob_write.c	a blob's chain onto the disk
 *	blob_commit.c	first writes: records of many requests in few pages
 *	store_refill.c	clusters that data reactors hold ahead of need
 *	blob_create.c, blob_snapshot.c, blob_delete.c, blob_merge.c, blob_resize.c, blob_inflate.c,
 *	blob_parent.c, blob_xattrs.c		one operation each
 *	blob_fill.c	clusters are copied, before blob_inflate.c
 *	io_impl.h and the files it names	the data path
 *
 * Threads. What is marked "engine" belongs to the store's engine reactor, "control" to the control
 * reactor; the atomics of struct blob are written by the engine and read by data reactors.
 *
 * Order of writes. A page that is referenced is stable before the page that refers to it is
 * written; what a page no longer refers to is used again only when that page is stable. Chains are
 * replaced by the write of one page: the root, or in place the only page that differs. Extent pages
 * are rewritten in place only for first writes and frees of clusters, one entry of which never
 * depends on another; everything else takes fresh pages.
 */
#ifndef BLOB_STORE_IMPL_H
#define BLOB_STORE_IMPL_H

#include "blob/blob.h"
#include "blob/format.h"
#include "core/call.h"
#include "core/worker.h"

struct store_release;

/* ---- the store ---------------------------------------------------------------------------- */

struct blob_store {
	/* constant while it is open */
	struct bdev_registry *registry;
	struct reactor *control;
	struct reactor *engine;
	struct os *os;
	uint32_t cluster_size; /* bytes; super is the engine's */
	unsigned cluster_shift; /* 63: cluster_size is no power of two */

	/* control */
	struct bdev_user base; /* open, claimed for writing */
	bool base_removed;
	struct blob_store_user user;
	struct list blobs_seen; /* struct blob.control_link */
	struct list channels; /* struct store_channel of io_impl.h */
	bool opened; /* its user knows it */
	struct blob_store_info info; /* but for what is free */
	bool recovered; /* engine writes, while it is opened */

	/* engine */
	struct bdev_channel *md; /* of the base device, on the engine */
	struct super super;
	struct bitmap used_pages;
	struct bitmap used_clusters; /* reserved ones too */
	struct bitmap used_blobids;
	struct list blobs; /* struct blob.link */
	struct bdev_gate op_gate; /* operations that change the structure */
	struct bdev_gate super_gate; /* who writes the super block */
	uint32_t cluster_hint; /* where the next search starts */
	uint32_t page_hint;
	uint32_t pages_promised; /* by store_begin_change, not taken yet */
	uint32_t pages_lacked; /* a first write wanted so many and found fewer; 0: none did */
	bool dirty; /* clean = 0 is on the disk, and stable */
	bool leaks; /* something is in use for nobody: only a recovery finds out what */
	struct store_ahead *ahead; /* store_change.c */
	struct list io_waiting; /* store_io.c */
	unsigned io_in_flight;
	struct list flush_waiting;
	bool flushing;
	struct list releases; /* store_space.c: under way */
	struct deferred water_check;
	enum blob_store_space space; /* as control was told */
	enum blob_store_space cluster_space;
	done_fn releases_done;
	void *releases_arg;
	struct list seats; /* struct store_seat */
	unsigned num_seats;
	unsigned recalls; /* under way */
	struct list refills; /* struct store_refill that wait for them */

	/* engine writes, control reads, relaxed */
	_Atomic uint64_t free_clusters;
	_Atomic uint32_t free_pages;
	_Atomic unsigned page_space; /* enum blob_store_space */
	_Atomic uint64_t reserved_clusters; /* of free ones: in channels' reserves */
	_Atomic uint64_t super_blob;
	_Atomic unsigned low_water_percent; /* control writes */
	/* Commits of records, counted before they are answered: a FUA write whose count has changed
	 * since the last flush needs one. Data reactors read. */
	_Atomic uint64_t commits;
};

static inline const char *store_name(const struct blob_store *store) /* of its device */
{
	return store->md->bdev->name;
}

/* ---- store.c, store_create.c, store_load.c, store_close.c: engine, alone ------------------- */

/* Takes the super block, and makes empty maps for it; -ENOMEM and nothing is there. */
int store_init_super(struct blob_store *store, const struct super *super) MUST_CHECK;
void store_fini_super(struct blob_store *store);
/* Options and bstype are borrowed until done. */
void store_create(struct blob_store *store, const struct blob_store_create_options *options,
	struct reason *reason, done_fn done, void *arg);
void store_load(struct blob_store *store, const char *bstype, struct reason *reason, done_fn done,
	void *arg);
/* Releases have ended, masks and the clean mark are written. */
void store_close(struct blob_store *store, done_fn done, void *arg);
/* Releases have ended, the super block is zeroes, and stable. */
void store_destroy(struct blob_store *store, done_fn done, void *arg);

/* ---- blobs -------------------------------------------------------------------------------- */

/* Device cluster of 512 clusters of a blob, 0: none. */
struct blob_extent {
	_Atomic uint32_t clusters[BLOBSTORE_SLOT_ENTRIES];
};

/* Shape is constant: another size is another map. Extents appear, filled before they are seen, and
 * go with the map. */
struct blob_map {
	uint64_t num_clusters;
	uint32_t num_slots;
	size_t bytes; /* of this allocation */
	_Atomic(struct blob_extent *) extents[]; /* one a slot, NULL: all are 0 */
};

/* How an operation leaves control's knowledge of a blob. */
struct blob_view {
	uint64_t num_clusters;
	bool thin;
	bool read_only;
	bool esnap;
	bool broken;
	enum blobstore_clear_method clear_method;
	struct blob *parent;
};

struct page_mark { /* of a page of the chain as it is on the disk */
	uint32_t index;
	uint32_t crc; /* of its descriptors, both */
	uint64_t hash;
	bool known; /* false: a write of it has failed */
};

struct blob {
	/* read by data reactors without locks. To look a cluster up: parent first, then the map's
	 * entry (both acquire); an entry of 0 then means: ask that parent. */
	_Atomic(struct blob_map *) map;
	_Atomic(struct blob *) parent; /* NULL: zeroes, or the foreign device */
	struct blob_store *store;
	uint64_t id;
	_Atomic bool thin;
	_Atomic bool read_only; /* also: broken */
	_Atomic bool foreign_below; /* below is a foreign device, not a parent */

	/* engine; on other lines: first writes change it, and every request reads the above */
	CACHE_ALIGNED struct list link; /* store's blobs */
	_Atomic uint64_t num_allocated; /* read by anybody */
	struct md md; /* runs is not used any more: the map is */
	struct page_mark *chain; /* chain[0] is the root */
	unsigned chain_length;
	bool chain_is_ours; /* on the disk it is as we would encode md */
	struct bdev_gate md_gate; /* whoever writes its metadata */
	struct list records; /* struct blob_record, waiting for a commit */
	bool committing;
	bool broken;
	unsigned num_clones; /* blobs whose parent it is */

	/* control */
	struct list control_link; /* store's blobs_seen */
	struct blob_view view;
	unsigned view_clones;
	struct bdev *bdev; /* shows it */
	void *user;
	struct bdev_user *esnap; /* the foreign parent, open */
};

/* blob.c. map: nothing allocated. NULL without memory. */
struct blob *blob_alloc(struct blob_store *store, uint64_t id);
void blob_free(struct blob *blob); /* extents and map too */
struct blob_map *blob_map_create(uint64_t num_clusters);
void blob_map_destroy(struct blob_map *map); /* NULL is allowed */

static inline struct blob_map *blob_map(const struct blob *blob)
{
	return atomic_load_explicit(&blob->map, memory_order_acquire);
}

static inline uint32_t blob_map_get(const struct blob_map *map, uint64_t index)
{
	struct blob_extent *extent = atomic_load_explicit(
		&map->extents[index / BLOBSTORE_SLOT_ENTRIES], memory_order_acquire);

	return extent ? atomic_load_explicit(&extent->clusters[index % BLOBSTORE_SLOT_ENTRIES],
				memory_order_acquire)
		      : 0;
}

/* Beyond its end 0. */
static inline uint32_t blob_map_find(const struct blob_map *map, uint64_t index)
{
	return likely(index < map->num_clusters) ? blob_map_get(map, index) : 0;
}

/* Does the map have so many entries that the near caches will not keep them? */
#define BLOB_MAP_NEAR_SLOTS 64 /* 128 KiB */
static inline bool blob_map_is_far(const struct blob_map *map)
{
	return map->num_slots > BLOB_MAP_NEAR_SLOTS;
}

/* That entry will be looked at soon. */
static inline void blob_map_prefetch(const struct blob_map *map, uint64_t index)
{
	const struct blob_extent *extent;

	if (index >= map->num_clusters)
		return;
	extent = atomic_load_explicit(
		&map->extents[index / BLOBSTORE_SLOT_ENTRIES], memory_order_acquire);
	if (extent)
		__builtin_prefetch((const uint32_t *)extent + index % BLOBSTORE_SLOT_ENTRIES);
}

/* The extent of that slot is there afterwards; -ENOMEM. */
int blob_map_prepare(struct blob_map *map, uint32_t slot) MUST_CHECK;
/* What `from` has of the slots of `to` goes over; slots prepared in both stay those of from. */
void blob_map_move_extents(struct blob_map *to, struct blob_map *from);
/* Engine. The extent is there. Keeps num_allocated. */
void blob_map_set(struct blob *blob, uint64_t index, uint32_t cluster);
/* The clusters of a slot into an array of 512. */
void blob_map_copy_slot(const struct blob_map *map, uint32_t slot, uint32_t *ret_clusters);

static inline uint32_t blob_root_index(const struct blob *blob)
{
	return (uint32_t)blob->id;
}

/* Engine: what data reactors see follows md and broken. */
void blob_refresh(struct blob *blob);
/* Engine: what control will see; control: sees it, clones of parents are counted. At load both are
 * called before anybody else knows the blob. */
void blob_view_fill(const struct blob *blob, struct blob_view *ret_view);
void blob_view_apply(struct blob *blob, const struct blob_view *view);

/* ---- store_io.c: engine ------------------------------------------------------------------- */

/* Byte offsets of the device; buffers are aligned to 4096 and borrowed until done. Lengths are
 * multiples of the device's block. */
void store_read(struct blob_store *store, uint64_t offset, void *buf, size_t length, done_fn done,
	void *arg);
void store_write(struct blob_store *store, uint64_t offset, const void *buf, size_t length,
	done_fn done, void *arg);
/* Reads zeroes afterwards, by the cheapest means the device has (written out where it has none). */
void store_zero(
	struct blob_store *store, uint64_t offset, uint64_t length, done_fn done, void *arg);
/* As the clear method says; NONE, and UNMAP on a device without it, do nothing. */
void store_clear(struct blob_store *store, uint64_t offset, uint64_t length,
	enum blobstore_clear_method method, done_fn done, void *arg);
/* All that completed before this call is stable at done. Calls that wait share one FLUSH. Devices
 * without FLUSH: done(0). */
void store_flush(struct blob_store *store, done_fn done, void *arg);

/* Several page structures, written in parallel. */
struct page_writes {
	struct blob_store *store;
	struct page_write *writes; /* store_io.c */
	unsigned count;
	unsigned room;
	unsigned pending;
	unsigned next;
	bool fresh;
	int rc;
	done_fn done;
	void *arg;
};

void page_writes_init(struct page_writes *writes, struct blob_store *store);
void page_writes_fini(struct page_writes *writes);
/* A 4096-byte buffer, zeroed, to be filled before run, that goes to that metadata page. NULL: no
 * memory. */
void *page_writes_add(struct page_writes *writes, uint32_t index);
/* done with the first error; all have ended. None: done(0) as well. Empty afterwards. */
void page_writes_run(struct page_writes *writes, done_fn done, void *arg);
/* The same for pages that nothing on the disk refers to: neighbours that were added one after the
 * other go in one write, which a power cut tears anywhere. */
void page_writes_run_fresh(struct page_writes *writes, done_fn done, void *arg);

/* done(arg, rc), later. */
void store_answer(struct blob_store *store, int rc, done_fn done, void *arg);

/* ---- store_change.c: engine ---------------------------------------------------------------- */

/* Before metadata is changed: clean = 0 is stable on the disk, and `pages` free pages (0 is
 * allowed) are there for store_page_take and covered by what a recovery looks at. -ENOSPC. What
 * was promised and is not taken is given back with store_end_change. */
void store_begin_change(
	struct blob_store *store, uint32_t pages, struct reason *reason, done_fn done, void *arg);
void store_end_change(struct blob_store *store, uint32_t pages_left);
/* In super_gate: that super block is on the disk and stable. Afterwards it is store->super. */
void store_super_write(
	struct blob_store *store, const struct super *super, done_fn done, void *arg);
/* clean = 0 is on the disk and stable. */
void store_mark_dirty(struct blob_store *store, done_fn done, void *arg);

/* Of a store whose super block is known; -ENOMEM. */
int store_ahead_create(struct blob_store *store) MUST_CHECK;
void store_ahead_destroy(struct blob_store *store); /* of one that has none, too */
/* Does the region of the page mask end in a mark of ours? */
bool store_ahead_is_marked(const struct super *super, const void *region);
/* used_pages is right. on_disk: what the region holds, with its head; NULL: not known. */
int store_ahead_adopt(
	struct blob_store *store, const struct bitmap *on_disk, bool marked) MUST_CHECK;
/* The first page at or after that index that may be taken as far as a recovery is concerned;
 * BITMAP_NONE. */
uint32_t store_ahead_find(const struct blob_store *store, uint32_t index);
void store_ahead_taken(struct blob_store *store, uint32_t index);
void store_ahead_freed(struct blob_store *store, uint32_t index);

/* ---- store_space.c: engine ----------------------------------------------------------------- */

/* One that was promised. for_extents: not index 0. */
uint32_t store_page_take(struct blob_store *store, bool for_extents);
/* Nothing refers to it and nothing on the disk ever did. */
void store_page_put_back(struct blob_store *store, uint32_t index);

/* Up to count free clusters, in rising order, near each other; how many. They are no longer free,
 * what is in them is undefined. */
unsigned store_clusters_take(struct blob_store *store, unsigned count, uint32_t *ret_clusters);
void store_clusters_put_back(struct blob_store *store, const uint32_t *clusters, unsigned count);
uint64_t store_clusters_free(const struct blob_store *store);
/* That may still be promised. */
uint32_t store_pages_left(const struct blob_store *store);
/* A first write found fewer than that: the store is full. */
void store_pages_lack(struct blob_store *store, uint32_t pages);

/*
 * What metadata on the disk has just ceased to refer to (that write has ended): becomes free after
 * a flush and, clusters, after they were cleared. Collect, then start: the release goes on by
 * itself. alloc_op'd; a release is used once.
 */
struct store_release *store_release_create(
	struct blob_store *store, enum blobstore_clear_method method);
void store_release_cluster(struct store_release *release, uint32_t cluster);
void store_release_page(struct store_release *release, uint32_t index);
void store_release_start(struct store_release *release);
void store_release_drop(struct store_release *release); /* instead of start; NULL is allowed */
/* For closing: all have ended. */
void store_releases_wait(struct blob_store *store, done_fn done, void *arg);
/* After the maps were changed by somebody else: control sees what is free. */
void store_space_publish(struct blob_store *store);
/* Free clusters, reserved ones or pages have changed: is the low-water mark crossed? */
void store_water_changed(struct blob_store *store);
void store_space_init(struct blob_store *store);

/* ---- blob_write.c: engine, md_gate held ------------------------------------------------------ */

/* A copy with everything in it; -ENOMEM and `to` is empty. */
int md_copy(struct md *to, const struct md *from) MUST_CHECK;

/*
 * The blob's metadata becomes md, whose contents are taken (md is empty afterwards, in any case).
 * Extent pages and blobs that it refers to are stable already. Within store_begin_change with
 * blob_chain_pages_max(md) pages promised: what of them was taken is subtracted from *pages. At
 * done the one write that decides has been made, and with stable it is flushed.
 * Without stable nothing has changed but that slots have pages that had none, each by itself.
 *
 * cluster_at tells the clusters of a run-length blob as they will be; NULL: as its map says.
 *
 * When a write fails, what is on the disk is not known: the old metadata is written again, and if
 * that fails too the blob is broken. The error is returned either way and blob->md is the old one.
 */
void blob_update(struct blob *blob, struct md *md, md_cluster_at cluster_at, void *cluster_arg,
	uint32_t *pages, bool stable, done_fn done, void *arg);
/* Pages that blob_update may take for this md. */
uint32_t blob_chain_pages_max(const struct md *md);
/* The root is overwritten with zeroes, and stable: there is no such blob any more. */
void blob_write_no_root(struct blob *blob, done_fn done, void *arg);
/* The chain as it was read at load. */
int blob_chain_adopt(struct blob *blob, const uint32_t *indexes, const void *const *pages,
	unsigned count) MUST_CHECK;
/* Every page of the chain, the root too, into a release (for delete). */
void blob_chain_release(struct blob *blob, struct store_release *release);
void blob_set_broken(struct blob *blob, const char *why, int rc); /* logs */

/* ---- blob_commit.c -------------------------------------------------------------------------- */

enum blob_record_kind {
	BLOB_RECORD_ALLOCATE, /* index gets cluster, whose data has been written */
	BLOB_RECORD_FREE, /* [index, index + count) have none any more; nobody else uses them */
};

/* From a data reactor to the engine and back, embedded in the request's state. */
struct blob_record {
	struct message message;
	struct list link; /* engine's */
	struct blob *blob;
	struct reactor *home;
	void (*done)(struct blob_record *record); /* on home */
	enum blob_record_kind kind;
	uint64_t index;
	uint64_t count; /* FREE */
	uint32_t cluster; /* ALLOCATE */
	/* 0: written to the disk, and in the map. -EEXIST: somebody else's cluster is there
	 * already (in the map as well): the caller keeps his. -EIO, -ENOSPC (metadata pages),
	 * -EROFS. */
	int status;
};

void blob_record_send(struct blob_record *record); /* home */

/* ---- store_refill.c -------------------------------------------------------------------------- */

/* A data reactor's reserve of clusters as the engine knows it, from its first refill until it
 * leaves. */
struct store_seat {
	struct list link; /* store's seats; engine */
	bool recalled; /* engine: a recall is under way */
	struct message recall; /* to home: gives back what it does not need, with `recalled` set */
	struct reactor *home;
};

enum store_refill_kind {
	STORE_REFILL_TAKE, /* up to `wanted` clusters; count 0: there are none */
	STORE_REFILL_GIVE, /* `count` of them are given back */
	STORE_REFILL_LEAVE, /* the reserve takes no more; its recalls have come before done */
};

/* Clusters ahead of need: from a data reactor to the engine and back. */
#define STORE_REFILL_MAX 64
struct store_refill {
	struct message message;
	struct list link; /* engine: waits for what is recalled */
	struct blob_store *store;
	struct store_seat *seat;
	void (*done)(struct store_refill *refill); /* on seat->home */
	enum store_refill_kind kind;
	bool urgent; /* TAKE: if there are none, others are asked to give theirs back first */
	bool recalled; /* GIVE: it answers a recall */
	bool dirty; /* GIVE: something was written into them: cleared before they are free */
	unsigned wanted; /* up to STORE_REFILL_MAX */
	unsigned count;
	uint32_t *clusters; /* room for wanted */
};

void store_refill_send(struct store_refill *refill); /* home */
/* Engine: clusters have become free, or a release has ended. */
void store_refills_serve(struct blob_store *store);
/* Before the store is known to anybody. */
void store_refills_init(struct blob_store *store);
/* Engine: one of those that were handed out is in use now. */
void store_cluster_used(struct blob_store *store);

/* ---- blob_op.c ------------------------------------------------------------------------------- */

#define BLOB_OP_VIEWS 3

/*
 * The head of an operation's struct, which alloc_op made on control. blob_op_start puts it in the
 * store's line; the engine enters op_gate and runs the flow; its last line is blob_op_end, which
 * hands back to control and leaves the gate: views are applied, ended is called, then done, and
 * the op is freed. When it is asked for others may be before it, which change what control knows:
 * what an op needs of that it takes in ended.
 */
struct blob_op {
	struct flow flow; /* engine */
	struct message message;
	struct bdev_gate_turn turn;
	struct blob_store *store;
	struct reason *reason;
	enum flow_result (*run)(struct flow *flow);
	const char *name;
	void (*ended)(struct blob_op *op, int rc); /* control, optional */
	done_fn done;
	void *arg;
	int rc;
	struct {
		struct blob *blob;
		struct blob_view view;
	} views[BLOB_OP_VIEWS];
	unsigned num_views;
	bool keep; /* what is on the disk is not known: nothing is given back */
	struct blob *born; /* joins control's list with its view */
	struct blob *gone; /* leaves it, and is freed */
	struct blob *freezes; /* or NULL */
	/* devices whose I/O stands still between blob_op_freeze and blob_op_thaw */
	struct blob_op_frozen *frozen;
	unsigned num_frozen;
	unsigned frozen_pending;
	done_fn frozen_done;
	void *frozen_arg;
};

/* Control: fills the head of a zeroed op. */
void blob_op_start(struct blob_op *op, struct blob_store *store, const char *name,
	enum flow_result (*run)(struct flow *flow), struct reason *reason, done_fn done, void *arg);
/* Before start: the device of that blob, if any, and of all blobs below it, as they are when the
 * operation's turn has come. */
void blob_op_freezes(struct blob_op *op, struct blob *blob);
/* Engine: nothing of them is in flight at done; and goes on. */
void blob_op_freeze(struct blob_op *op, done_fn done, void *arg);
void blob_op_thaw(struct blob_op *op, done_fn done, void *arg);
/* Engine: control will see the blob as it is now. */
void blob_op_view(struct blob_op *op, struct blob *blob);
/* Engine, last line of the flow. */
void blob_op_end(struct blob_op *op, int rc);

#endif
