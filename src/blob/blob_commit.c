/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * First writes and freed clusters: records of data reactors onto the disk. docs/volumes.md, "First
 * writes".
 *
 * A blob has at most one commit at a time. It takes all records that wait, applies them to copies
 * of the slots that they touch, writes each such slot once, and answers: so the more requests wait,
 * the fewer writes each of them costs. What comes meanwhile waits for the next.
 *
 *	1. fresh pages		of slots that have none: with their entries, and with pages of
 *				neighbouring slots, empty, as long as metadata pages are plenty, so
 *				that this is rare
 *	2. flush		what entries will point to, and fresh pages, are stable
 *	3. extent pages		of slots that have one: rewritten in place
 *	4. chain		only if there are fresh pages: they enter the extent table
 *	5. map, answers		data reactors see the clusters
 *
 * One flush, whatever there is to write: nothing refers to fresh pages before 4, so they need not
 * wait for the data. A run-length blob has no extent pages: its chain is written instead of 1, 3
 * and 4.
 *
 * Crash table:
 *	before 3		nothing has happened; clusters and fresh pages are referred to by
 *				nothing
 *	within 3		each slot whose page is rewritten has its new entries, no other has
 *	within 4		where several pages of the table change in place: slots of those
 *				that are written are there, others are not
 *	after 4			all is there
 * Each entry stands for itself, so any subset is a state in which some of the requests were made:
 * none of them has been answered.
 *
 * Where there are no metadata pages for slots that have none, their records find no space, and the
 * rest of the commit goes on.
 *
 * A write that fails may have happened. In 1 that makes no difference. In 3 and 4 the old contents
 * are written again; if that fails too the blob is broken, and the clusters in question stay taken
 * until the next load.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The only keys are slots, and clang warns about the default function. */
#define HASH_FUNCTION(key, len, hash) ((hash) = slot_hash(key))
#include <uthash.h>

#include "base/alloc.h"
#include "blob/store_impl.h"

#define COMMIT_RECORDS_MAX 2048
#define COMMIT_SLOTS_MAX   1024 /* more are another commit */
#define BATCH_SLOTS        64 /* fresh pages side by side, a power of two */
#define BATCH_PAGES        128 /* and in all, unless more slots need one */

static unsigned slot_hash(const uint32_t *slot)
{
	return *slot * 0x9e3779b1u >> 8;
}

/* A slot as it will be. */
struct slot_change {
	UT_hash_handle hh;
	uint32_t slot;
	uint32_t fresh; /* its new page, 0: it has one */
	uint32_t clusters[BLOBSTORE_SLOT_ENTRIES];
};

struct commit_op {
	struct flow flow;
	struct blob *blob;
	struct bdev_gate_turn turn;
	struct list records; /* of this commit */
	struct slot_change *changes;
	unsigned num_changes;
	unsigned num_fresh;
	bool allocates;
	uint32_t pages; /* promised, not taken */
	struct md md; /* with fresh pages */
	struct page_writes writes;
	struct store_release *release;
};

/* ---- records come and go ------------------------------------------------ */

static void record_returned(struct message *message)
{
	struct blob_record *record = container_of(message, struct blob_record, message);

	record->done(record);
}

static void record_answer(struct blob_record *record, int status)
{
	record->status = status;
	record->message.run = record_returned;
	reactor_send(record->home, &record->message);
}

static enum flow_result commit_run(struct flow *f);

static void record_arrived(struct message *message)
{
	struct blob_record *record = container_of(message, struct blob_record, message);
	struct blob *blob = record->blob;
	struct commit_op *op;

	list_add_tail(&blob->records, &record->link);
	if (blob->committing)
		return;
	blob->committing = true;
	op = alloc_op(sizeof(*op));
	op->blob = blob;
	list_init(&op->records);
	page_writes_init(&op->writes, blob->store);
	flow_start(&op->flow, blob->store->engine, "blob_commit", commit_run);
}

void blob_record_send(struct blob_record *record)
{
	record->message.run = record_arrived;
	reactor_send(record->blob->store->engine, &record->message);
}

/* ---- slots -------------------------------------------------------------- */

/* NULL: no memory. */
static struct slot_change *change_of(struct commit_op *op, uint32_t slot)
{
	struct slot_change *change;

	HASH_FIND(hh, op->changes, &slot, sizeof(slot), change);
	if (change)
		return change;
	change = malloc(sizeof(*change));
	if (!change)
		return NULL;
	change->slot = slot;
	change->fresh = 0;
	blob_map_copy_slot(blob_map(op->blob), slot, change->clusters);
	HASH_ADD(hh, op->changes, slot, sizeof(slot), change);
	op->num_changes++;
	return change;
}

static uint32_t slot_of(uint64_t index)
{
	return (uint32_t)(index / BLOBSTORE_SLOT_ENTRIES);
}

static int apply_allocate(struct commit_op *op, const struct blob_record *record)
{
	struct slot_change *change = change_of(op, slot_of(record->index));
	uint32_t *entry;

	if (!change || blob_map_prepare(blob_map(op->blob), change->slot))
		return -ENOMEM;
	entry = &change->clusters[record->index % BLOBSTORE_SLOT_ENTRIES];
	if (*entry)
		return -EEXIST;
	*entry = record->cluster;
	op->allocates = true;
	return 0;
}

static bool slot_has_clusters(const struct commit_op *op, uint32_t slot)
{
	const struct blob_map *map = blob_map(op->blob);

	return atomic_load_explicit(&map->extents[slot], memory_order_relaxed) != NULL;
}

static int apply_free(struct commit_op *op, const struct blob_record *record)
{
	uint64_t end = record->index + record->count;

	for (uint64_t index = record->index; index < end;) {
		uint32_t slot = slot_of(index);
		uint64_t slot_end = u64_min(end, ((uint64_t)slot + 1) * BLOBSTORE_SLOT_ENTRIES);
		struct slot_change *change;

		if (!slot_has_clusters(op, slot)) {
			index = slot_end;
			continue;
		}
		change = change_of(op, slot);
		if (!change)
			return -ENOMEM;
		for (; index < slot_end; index++)
			change->clusters[index % BLOBSTORE_SLOT_ENTRIES] = 0;
	}
	return 0;
}

static int record_apply(struct commit_op *op, const struct blob_record *record)
{
	uint64_t count = record->kind == BLOB_RECORD_FREE ? record->count : 1;
	uint64_t clusters = op->blob->md.num_clusters;

	if (op->blob->broken)
		return -EROFS;
	if (count > clusters || record->index > clusters - count)
		return -EIO; /* it was resized under the request */
	return record->kind == BLOB_RECORD_ALLOCATE ? apply_allocate(op, record)
						    : apply_free(op, record);
}

static bool commit_has_work(const struct commit_op *op)
{
	const struct blob_record *record;

	list_for_each_entry (record, &op->records, link)
		if (record->status == 0)
			return true;
	return false;
}

/* As many of those that wait as one commit takes; false: they all have failed already. */
static bool commit_take(struct commit_op *op)
{
	struct blob_record *record, *next;
	unsigned taken = 0;

	list_for_each_entry_safe (record, next, &op->blob->records, link) {
		if (taken++ == COMMIT_RECORDS_MAX || op->num_changes >= COMMIT_SLOTS_MAX)
			break;
		list_remove(&record->link);
		list_add_tail(&op->records, &record->link);
		record->status = record_apply(op, record);
	}
	return commit_has_work(op);
}

static void changes_free(struct commit_op *op)
{
	struct slot_change *change, *next;

	HASH_ITER (hh, op->changes, change, next) {
		HASH_DEL(op->changes, change);
		free(change);
	}
	op->num_changes = 0;
}

/* ---- fresh extent pages ------------------------------------------------- */

static bool slot_needs_page(const struct blob *blob, const struct slot_change *change)
{
	return blob->md.uses_table && !blob->md.pages[change->slot];
}

/* Slots next to one that needs a page get theirs with it while there are plenty, `most` in all. */
static void batch_add(struct commit_op *op, uint32_t slot, unsigned most)
{
	const struct blob *blob = op->blob;
	uint32_t first = slot & ~(uint32_t)(most - 1);

	for (uint32_t s = first; s < first + most && s < blob->md.num_slots; s++)
		if (!blob->md.pages[s])
			change_of(op, s);
}

static bool pages_are_plenty(const struct blob_store *store)
{
	uint32_t free_pages = store->super.md_len - store->used_pages.count;

	return free_pages > store->super.md_len / 4 &&
	       free_pages / 4 > store->pages_promised + COMMIT_SLOTS_MAX;
}

/* The more slots need one, the fewer neighbours each of them takes along. */
static unsigned batch_size(const struct commit_op *op)
{
	const struct slot_change *change;
	unsigned size = BATCH_SLOTS;
	unsigned needed = 0;

	for (change = op->changes; change; change = change->hh.next)
		needed += slot_needs_page(op->blob, change);
	while (size > 1 && needed * size > BATCH_PAGES)
		size /= 2;
	return size;
}

static void commit_batch(struct commit_op *op)
{
	struct slot_change *change, *next;
	unsigned size;

	if (!op->allocates || !pages_are_plenty(op->blob->store))
		return;
	size = batch_size(op);
	HASH_ITER (hh, op->changes, change, next) {
		if (slot_needs_page(op->blob, change))
			batch_add(op, change->slot, size);
	}
}

static uint32_t commit_pages_wanted(struct commit_op *op)
{
	struct slot_change *change, *next;
	uint32_t pages = 0;

	commit_batch(op);
	HASH_ITER (hh, op->changes, change, next)
		pages += slot_needs_page(op->blob, change);
	return pages || !op->blob->md.uses_table ? pages + blob_chain_pages_max(&op->blob->md) : 0;
}

static int commit_take_pages(struct commit_op *op)
{
	struct slot_change *change, *next;
	int rc = md_copy(&op->md, &op->blob->md);

	if (rc)
		return rc;
	HASH_ITER (hh, op->changes, change, next) {
		if (!slot_needs_page(op->blob, change))
			continue;
		change->fresh = store_page_take(op->blob->store, true);
		op->pages--;
		op->md.pages[change->slot] = change->fresh;
		op->num_fresh++;
	}
	return 0;
}

static void commit_put_pages_back(struct commit_op *op)
{
	struct slot_change *change, *next;

	HASH_ITER (hh, op->changes, change, next) {
		if (!change->fresh)
			continue;
		store_page_put_back(op->blob->store, change->fresh);
		change->fresh = 0;
	}
	op->num_fresh = 0;
}

/* There is no page for slots that have none: what would go there finds no space, like whoever lost
 * against it, and the rest goes on. What is freed there never was on the disk. false: nothing is
 * left. */
static bool commit_leave_pageless(struct commit_op *op)
{
	struct slot_change *change, *next;
	struct blob_record *record;

	list_for_each_entry (record, &op->records, link) {
		bool applied = record->status == 0 || record->status == -EEXIST;

		if (applied && record->kind == BLOB_RECORD_ALLOCATE &&
			!op->blob->md.pages[slot_of(record->index)])
			record->status = -ENOSPC;
	}
	HASH_ITER (hh, op->changes, change, next) {
		if (!slot_needs_page(op->blob, change))
			continue;
		HASH_DEL(op->changes, change);
		free(change);
		op->num_changes--;
	}
	return commit_has_work(op);
}

/* ---- writes ------------------------------------------------------------- */

static int slot_write_add(
	struct commit_op *op, const struct slot_change *change, const uint32_t *clusters)
{
	const struct blob *blob = op->blob;
	uint32_t index = change->fresh ? change->fresh : blob->md.pages[change->slot];
	void *page = page_writes_add(&op->writes, index);

	if (!page)
		return -ENOMEM;
	extent_page_encode(blob->id, change->slot, clusters,
		extent_page_entries(blob->md.num_clusters, change->slot), page);
	return 0;
}

/* Those of slots that have none, or else those that are rewritten in place. */
static int commit_add_pages(struct commit_op *op, bool fresh)
{
	struct slot_change *change, *next;
	int rc = 0;

	if (!op->blob->md.uses_table)
		return 0;
	HASH_ITER (hh, op->changes, change, next) {
		if (!rc && (change->fresh != 0) == fresh)
			rc = slot_write_add(op, change, change->clusters);
	}
	return rc;
}

/* After a failure, those that are rewritten in place as they were. */
static int commit_add_old_pages(struct commit_op *op)
{
	uint32_t before[BLOBSTORE_SLOT_ENTRIES];
	struct slot_change *change, *next;
	int rc = 0;

	if (!op->blob->md.uses_table)
		return 0;
	HASH_ITER (hh, op->changes, change, next) {
		if (rc || change->fresh)
			continue;
		blob_map_copy_slot(blob_map(op->blob), change->slot, before);
		rc = slot_write_add(op, change, before);
	}
	return rc;
}

/* Of a run-length blob as it will be. */
static uint32_t commit_cluster_at(void *arg, uint64_t index)
{
	struct commit_op *op = arg;
	uint32_t slot = slot_of(index);
	struct slot_change *change;

	HASH_FIND(hh, op->changes, &slot, sizeof(slot), change);
	return change ? change->clusters[index % BLOBSTORE_SLOT_ENTRIES]
		      : blob_map_get(blob_map(op->blob), index);
}

/* ---- the end ------------------------------------------------------------ */

static void slot_publish(struct commit_op *op, const struct slot_change *change)
{
	struct blob *blob = op->blob;
	uint64_t first = (uint64_t)change->slot * BLOBSTORE_SLOT_ENTRIES;

	for (uint32_t i = 0; i < BLOBSTORE_SLOT_ENTRIES; i++) {
		uint32_t before;

		if (first + i >= blob->md.num_clusters)
			break;
		before = blob_map_get(blob_map(blob), first + i);
		if (before == change->clusters[i])
			continue;
		blob_map_set(blob, first + i, change->clusters[i]);
		if (before)
			store_release_cluster(op->release, before);
		if (change->clusters[i])
			store_cluster_used(blob->store);
	}
}

static void commit_publish(struct commit_op *op)
{
	struct slot_change *change, *next;

	op->release = store_release_create(
		op->blob->store, op->blob->md.md_ro_flags & BLOBSTORE_CLEAR_MASK);
	HASH_ITER (hh, op->changes, change, next)
		slot_publish(op, change);
	atomic_fetch_add_explicit(&op->blob->store->commits, 1, memory_order_release);
	store_release_start(op->release);
}

/* Does nobody have the cluster of that record now? A loser keeps his. */
static bool record_is_orphan(
	const struct blob *blob, const struct blob_record *record, int rc, bool unknown)
{
	if (record->kind != BLOB_RECORD_ALLOCATE)
		return false;
	if (record->status == 0)
		return rc && !unknown;
	return rc || record->status != -EEXIST;
}

/* Nothing on the disk refers to the clusters of records that failed; unless what is there is not
 * known. */
static void commit_release_clusters(struct commit_op *op, int rc)
{
	const struct blob *blob = op->blob;
	bool unknown = rc && blob->broken;
	struct blob_record *record;

	op->release =
		store_release_create(blob->store, blob->md.md_ro_flags & BLOBSTORE_CLEAR_MASK);
	list_for_each_entry (record, &op->records, link)
		if (record_is_orphan(blob, record, rc, unknown)) {
			store_cluster_used(blob->store);
			store_release_cluster(op->release, record->cluster);
		}
	store_release_start(op->release);
}

/* rc: of the commit; what had failed by itself keeps its own, but a loser whose winner failed did
 * not lose. */
static void commit_answer(struct commit_op *op, int rc)
{
	struct blob_record *record, *next;

	list_for_each_entry_safe (record, next, &op->records, link) {
		list_remove(&record->link);
		if (rc && (record->status == 0 || record->status == -EEXIST))
			record->status = rc == -EROFS || rc == -ENOSPC ? rc : -EIO;
		record_answer(record, record->status);
	}
}

static void commit_end(struct commit_op *op)
{
	changes_free(op);
	md_fini(&op->md);
	memset(&op->md, 0, sizeof(op->md));
	md_init(&op->md, 0);
	page_writes_fini(&op->writes);
	page_writes_init(&op->writes, op->blob->store);
	store_end_change(op->blob->store, op->pages);
	op->pages = 0;
	op->num_fresh = 0;
	op->allocates = false;
	op->flow.error = 0;
	bdev_gate_leave(&op->blob->md_gate);
}

/* Who uses the store hears of it. */
static bool commit_lacks_pages(struct commit_op *op, int rc)
{
	if (rc != -ENOSPC)
		return false;
	store_pages_lack(op->blob->store, op->pages);
	if (op->blob->md.uses_table)
		op->flow.error = 0;
	return op->blob->md.uses_table;
}

static enum flow_result commit_run(struct flow *f)
{
	struct commit_op *op = container_of(f, struct commit_op, flow);

	FLOW_BEGIN(f);
	md_init(&op->md, 0);
next:
	AWAIT(f, bdev_gate_enter(&op->blob->md_gate, &op->turn, flow_resume, f));
	if (!commit_take(op))
		goto answer;
	op->pages = commit_pages_wanted(op);
	AWAIT(f, store_begin_change(op->blob->store, op->pages, NULL, flow_resume, f));
	if (commit_lacks_pages(op, f->rc)) {
		op->pages = 0;
		if (!commit_leave_pageless(op))
			goto answer;
		AWAIT(f, store_begin_change(op->blob->store, 0, NULL, flow_resume, f));
	}
	if (flow_failed(f)) {
		op->pages = 0;
		goto answer;
	}
	flow_fail(f, commit_take_pages(op));
	if (flow_failed(f))
		goto answer;
	flow_fail(f, commit_add_pages(op, true));
	if (flow_failed(f))
		goto put_back;
	AWAIT(f, page_writes_run_fresh(&op->writes, flow_resume, f));
	if (flow_failed(f))
		goto put_back;
	if (op->allocates)
		AWAIT(f, store_flush(op->blob->store, flow_resume, f));
	if (flow_failed(f))
		goto put_back;
	flow_fail(f, commit_add_pages(op, false));
	if (flow_failed(f))
		goto put_back;
	AWAIT(f, page_writes_run(&op->writes, flow_resume, f));
	if (flow_failed(f))
		goto restore;
	if (op->num_fresh || !op->blob->md.uses_table) {
		AWAIT(f, blob_update(op->blob, &op->md, commit_cluster_at, op, &op->pages, false,
				 flow_resume, f));
		if (flow_failed(f))
			goto restore;
	}
	commit_publish(op);
	goto answer;

restore:
	flow_fail(f, commit_add_old_pages(op));
	if (!flow_failed(f))
		AWAIT(f, page_writes_run(&op->writes, flow_resume, f));
	if (flow_failed(f))
		blob_set_broken(op->blob, "writing an extent page", f->error);
	if (op->blob->broken)
		goto answer; /* what the disk refers to is not known: all stay taken */
put_back:
	commit_put_pages_back(op);
answer:
	commit_release_clusters(op, f->error);
	commit_answer(op, f->error);
	commit_end(op);
	if (!list_is_empty(&op->blob->records))
		goto next;
	op->blob->committing = false;
	page_writes_fini(&op->writes);
	free(op);
	FLOW_END(f);
}
