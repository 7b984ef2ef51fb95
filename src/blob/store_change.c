/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Before metadata changes: the super block says so, and so does the page mask.
 *
 * clean = 0 tells the next load that the masks are not to be trusted. To look for roots in all
 * pages would then take as long as the store is large. So the mask of pages is written ahead: all
 * that are in use and the next AHEAD_PAGES that are free are set in it before one of the latter is
 * used, and a mark in the zeroes behind the mask (struct blobstore_ahead) says that it is so. A
 * load that finds clean = 0 and the mark looks at those pages only.
 *
 * The mark must not outlive what it says. Nobody but us knows it; whoever else opens the store
 * first rewrites the whole region, zeroes behind the mask: at the end of his recovery before he
 * allocates anything, and when he closes the store. He who finds clean = 1 does not rewrite it, so
 * there must not be a mark then: it is written after clean = 0 is stable, and gone, and that
 * stable, before clean = 1 is written.
 *
 * Crash table. Between two writes, what is on the disk, and what a load makes of it; ours, and one
 * that does not know the mark:
 *
 *	1. super block, clean = 0; flush
 *	   masks as they were closed, metadata unchanged	ours: clean load or full scan;
 *								other: the same
 *	2. mask with the pages ahead; flush
 *	   clean = 0, any mixture of old and new mask, no mark	both: full scan
 *	3. mark
 *	   clean = 0, new mask, mark or none		ours: pages of the mask, or full scan;
 *							other: full scan, rewrites the region
 *	(metadata is changed; pages of the mask are used)
 *	4. blocks of the mask with more pages ahead; flush
 *	   clean = 0, mark, bits only come: any mixture has all pages in use
 *							ours: pages of the mask; other: full scan
 *	closing (store_close.c)
 *	5. masks, exact, with zeroes behind them; flush
 *	   clean = 0, any mixture of both, mark or none		as 3: all pages in use are in either
 *	6. super block, clean = 1; flush			both: full scan, or clean load
 *
 * After a recovery 1 is done again, since clean = 0 may have been read from a cache that was never
 * flushed; so may blocks of 4, and that flush is for them as well. Where the region has no room for
 * a mark, 2 to 4 are left out, and the next load scans everything.
 *
 * A write that fails may have happened. In 1, 2 and 4 that makes no difference, as nothing relied
 * on it: the change does not begin, and the next tries again. After a failed 3 the mark may be
 * there, which is right.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/endian.h"
#include "blob/store_impl.h"

#define AHEAD_PAGES 4096u
#define AHEAD_BLOCK 4096u

struct store_ahead {
	struct bdev_gate gate;
	size_t region_bytes;
	bool possible; /* there is room for a mark */
	bool known; /* the region holds `covered` */
	bool marked; /* and the mark */
	struct bitmap covered; /* stable on the disk, or will be before the mark is written */
	uint32_t ready; /* pages from 1 on that store_page_take may take, promised or not */
};

/* ---- the mark ----------------------------------------------------------- */

static void mark_fill(const struct super *super, struct blobstore_ahead *ret_mark)
{
	struct blobstore_ahead *mark = ret_mark;

	memcpy(mark->signature, BLOBSTORE_AHEAD_SIGNATURE, sizeof(mark->signature));
	mark->version = htole32(1);
	mark->cluster_size = htole32(super->cluster_size);
	mark->used_page_mask_start = htole32(super->page_mask_start);
	mark->used_page_mask_len = htole32(super->page_mask_len);
	mark->md_start = htole32(super->md_start);
	mark->md_len = htole32(super->md_len);
	mark->md_page_size = htole32(super->md_page_size);
	mark->crc = htole32(crc32c(mark, offsetof(struct blobstore_ahead, crc)));
}

static size_t region_bytes(const struct super *super)
{
	return (size_t)super->page_mask_len * super->md_page_size;
}

static bool mark_has_room(const struct super *super)
{
	return mask_bytes(super->md_len) + sizeof(struct blobstore_ahead) <= region_bytes(super);
}

bool store_ahead_is_marked(const struct super *super, const void *region)
{
	struct blobstore_ahead mark;

	if (!mark_has_room(super))
		return false;
	mark_fill(super, &mark);
	return memcmp((const uint8_t *)region + region_bytes(super) - sizeof(mark), &mark,
		       sizeof(mark)) == 0;
}

/* ---- what is covered ---------------------------------------------------- */

int store_ahead_create(struct blob_store *store)
{
	struct store_ahead *ahead = alloc_op(sizeof(*ahead));
	int rc = bitmap_init(&ahead->covered, store->super.md_len);

	if (rc) {
		free(ahead);
		return rc;
	}
	bdev_gate_init(&ahead->gate, store->engine);
	ahead->region_bytes = region_bytes(&store->super);
	ahead->possible = mark_has_room(&store->super);
	store->ahead = ahead;
	return 0;
}

void store_ahead_destroy(struct blob_store *store)
{
	if (!store->ahead)
		return;
	bitmap_fini(&store->ahead->covered);
	free(store->ahead);
	store->ahead = NULL;
}

static bool ahead_covers(const struct store_ahead *ahead, uint32_t index)
{
	return !ahead->possible || bitmap_test(&ahead->covered, index);
}

static uint32_t ahead_count_ready(const struct blob_store *store)
{
	uint32_t ready = 0;

	if (!store->ahead->possible)
		return store->used_pages.bits - store->used_pages.count -
		       !bitmap_test(&store->used_pages, 0);
	for (uint32_t index = 1;
		(index = bitmap_find_set(&store->ahead->covered, index)) != BITMAP_NONE; index++)
		ready += !bitmap_test(&store->used_pages, index);
	return ready;
}

static bool bitmap_has_all(const struct bitmap *map, const struct bitmap *other)
{
	for (uint32_t bit = 0; (bit = bitmap_find_set(other, bit)) != BITMAP_NONE; bit++)
		if (!bitmap_test(map, bit))
			return false;
	return true;
}

static void bitmap_add_all(struct bitmap *map, const struct bitmap *other)
{
	for (uint32_t bit = 0; (bit = bitmap_find_set(other, bit)) != BITMAP_NONE; bit++)
		bitmap_set(map, bit);
}

int store_ahead_adopt(struct blob_store *store, const struct bitmap *on_disk, bool marked)
{
	struct store_ahead *ahead = store->ahead;

	ahead->known = on_disk && bitmap_has_all(on_disk, &store->used_pages);
	ahead->marked = marked && ahead->known;
	bitmap_add_all(&ahead->covered, ahead->known ? on_disk : &store->used_pages);
	ahead->ready = ahead_count_ready(store);
	return 0;
}

uint32_t store_ahead_find(const struct blob_store *store, uint32_t index)
{
	const struct store_ahead *ahead = store->ahead;

	return ahead->possible ? bitmap_find_set(&ahead->covered, index) : index;
}

void store_ahead_taken(struct blob_store *store, uint32_t index)
{
	if (index && ahead_covers(store->ahead, index))
		store->ahead->ready--;
}

void store_ahead_freed(struct blob_store *store, uint32_t index)
{
	if (index && ahead_covers(store->ahead, index))
		store->ahead->ready++;
}

/* ---- the super block ---------------------------------------------------- */

struct super_op {
	struct flow flow;
	struct blob_store *store;
	struct super super;
	void *page;
	done_fn done;
	void *arg;
};

static enum flow_result super_write_run(struct flow *f)
{
	struct super_op *op = container_of(f, struct super_op, flow);

	FLOW_BEGIN(f);
	if (!op->page) {
		flow_fail(f, -ENOMEM);
		goto finish;
	}
	super_encode(&op->super, op->page);
	AWAIT(f, store_write(op->store, 0, op->page, BLOBSTORE_PAGE_BYTES, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, store_flush(op->store, flow_resume, f));
	if (!flow_failed(f))
		op->store->super = op->super;
finish:
	op->done(op->arg, f->error);
	free(op->page);
	free(op);
	FLOW_END(f);
}

void store_super_write(struct blob_store *store, const struct super *super, done_fn done, void *arg)
{
	struct super_op *op = alloc_op(sizeof(*op));

	op->store = store;
	op->super = *super;
	op->page = aligned_alloc(BLOBSTORE_PAGE_BYTES, BLOBSTORE_PAGE_BYTES);
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, store->engine, "store_super_write", super_write_run);
}

/* ---- the region --------------------------------------------------------- */

/* Pages that are about to be covered, and the blocks of the region that tell it. */
struct ahead_piece {
	uint32_t first;
	uint32_t count;
	size_t at; /* bytes of the region */
	size_t bytes;
	void *buf;
};

static void piece_fini(struct ahead_piece *piece)
{
	free_pages(piece->buf, piece->bytes);
	*piece = (struct ahead_piece){0};
}

static void piece_set_bytes(struct ahead_piece *piece, size_t first_byte, size_t last_byte)
{
	piece->at = align_down(first_byte, AHEAD_BLOCK);
	piece->bytes = align_up(last_byte + 1, AHEAD_BLOCK) - piece->at;
}

/* A byte of the map beyond the region's head. */
static uint8_t covered_byte(const struct store_ahead *ahead, size_t byte)
{
	if (byte >= ((size_t)ahead->covered.bits + 7) / 8)
		return 0;
	return (uint8_t)(ahead->covered.words[byte / 8] >> (byte % 8 * 8));
}

static void piece_put(struct ahead_piece *piece, size_t at, const void *bytes, size_t count)
{
	const uint8_t *from = bytes;

	for (size_t i = 0; i < count; i++)
		if (from[i] && at + i >= piece->at && at + i < piece->at + piece->bytes)
			((uint8_t *)piece->buf)[at + i - piece->at] |= from[i];
}

/* Zeroes are not written: memory of a large region that is all zeroes is not touched. */
static int piece_encode(struct ahead_piece *piece, const struct blob_store *store, bool mark)
{
	const struct store_ahead *ahead = store->ahead;
	struct blobstore_mask head = {BLOBSTORE_MASK_PAGES, htole32(store->super.md_len)};
	struct blobstore_ahead tail;

	piece->buf = alloc_pages(piece->bytes);
	if (!piece->buf)
		return -ENOMEM;
	for (size_t at = u64_max(piece->at, sizeof(head)); at < piece->at + piece->bytes; at++) {
		uint8_t byte = covered_byte(ahead, at - sizeof(head));

		if (byte)
			((uint8_t *)piece->buf)[at - piece->at] = byte;
	}
	for (uint32_t bit = piece->first; bit < piece->first + piece->count; bit++) {
		uint8_t byte = (uint8_t)(1u << bit % 8);

		piece_put(piece, sizeof(head) + bit / 8, &byte, 1);
	}
	piece_put(piece, 0, &head, sizeof(head));
	mark_fill(&store->super, &tail);
	if (mark)
		piece_put(piece, ahead->region_bytes - sizeof(tail), &tail, sizeof(tail));
	return 0;
}

/* From the next free page that is not covered on. */
static void piece_choose(struct ahead_piece *piece, const struct blob_store *store)
{
	const struct store_ahead *ahead = store->ahead;
	uint32_t from = store->page_hint;
	unsigned rounds = 0;

	piece->count = 0;
	while (rounds < 2) {
		uint32_t index = bitmap_find_clear(&ahead->covered, from);

		if (index != BITMAP_NONE && !bitmap_test(&store->used_pages, index)) {
			piece->first = index;
			piece->count = (uint32_t)u64_min(AHEAD_PAGES, ahead->covered.bits - index);
			break;
		}
		rounds += index == BITMAP_NONE;
		from = index == BITMAP_NONE ? 0 : index + 1;
	}
	if (ahead->known && piece->count)
		piece_set_bytes(piece, sizeof(struct blobstore_mask) + piece->first / 8,
			sizeof(struct blobstore_mask) + (piece->first + piece->count - 1) / 8);
	else
		piece_set_bytes(piece, 0, ahead->region_bytes - 1);
}

static void piece_choose_end(struct ahead_piece *piece, const struct store_ahead *ahead)
{
	piece->first = 0;
	piece->count = 0;
	piece_set_bytes(piece, ahead->region_bytes - 1, ahead->region_bytes - 1);
}

static void piece_adopt(const struct ahead_piece *piece, struct blob_store *store)
{
	struct store_ahead *ahead = store->ahead;

	ahead->known = true;
	for (uint32_t bit = piece->first; bit < piece->first + piece->count; bit++)
		if (bitmap_set(&ahead->covered, bit) && bit &&
			!bitmap_test(&store->used_pages, bit))
			ahead->ready++;
}

static void piece_write(
	const struct ahead_piece *piece, struct blob_store *store, done_fn done, void *arg)
{
	uint64_t start = (uint64_t)store->super.page_mask_start * store->super.md_page_size;

	store_write(store, start + piece->at, piece->buf, piece->bytes, done, arg);
}

/* ---- changes ------------------------------------------------------------ */

struct change_op {
	struct flow flow;
	struct blob_store *store;
	uint32_t pages;
	struct reason *reason;
	struct bdev_gate_turn turn;
	struct super super;
	struct ahead_piece piece;
	done_fn done;
	void *arg;
};

static struct change_op *change_op_start(struct blob_store *store, const char *name,
	enum flow_result (*run)(struct flow *flow), done_fn done, void *arg)
{
	struct change_op *op = alloc_op(sizeof(*op));

	op->store = store;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, store->engine, name, run);
	return op;
}

static enum flow_result mark_dirty_run(struct flow *f)
{
	struct change_op *op = container_of(f, struct change_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->store->super_gate, &op->turn, flow_resume, f));
	op->super = op->store->super;
	op->super.clean = false;
	AWAIT(f, store_super_write(op->store, &op->super, flow_resume, f));
	if (!flow_failed(f))
		op->store->dirty = true;
	bdev_gate_leave(&op->store->super_gate);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void store_mark_dirty(struct blob_store *store, done_fn done, void *arg)
{
	change_op_start(store, "store_mark_dirty", mark_dirty_run, done, arg);
}

static bool change_is_ready(const struct blob_store *store, uint32_t pages)
{
	const struct store_ahead *ahead = store->ahead;

	return store->dirty && (ahead->marked || !ahead->possible) &&
	       ahead->ready - store->pages_promised >= pages;
}

/* With fewer not even the first volume can be made. */
#define MD_PAGES_LEAST 3

static int change_check(const struct blob_store *store, uint32_t pages, struct reason *reason)
{
	const struct super *super = &store->super;

	if (store_pages_left(store) >= pages)
		return 0;
	if (super->md_len < MD_PAGES_LEAST)
		return reason_set(reason, -ENOSPC,
			"%s is too small for a store of volumes: make it at least %llu bytes",
			store_name(store),
			(unsigned long long)(super->size_bytes / super->md_len * MD_PAGES_LEAST));
	return reason_set(reason, -ENOSPC,
		"the metadata of the store on %s is full: delete snapshots or volumes, or make a "
		"store with more metadata pages per cluster",
		store_name(store));
}

/* 2 to 4: until so many pages are ready. */
static enum flow_result ahead_extend_run(struct flow *f)
{
	struct change_op *op = container_of(f, struct change_op, flow);

	FLOW_BEGIN(f);
	piece_choose(&op->piece, op->store);
	flow_fail(f, piece_encode(&op->piece, op->store, op->store->ahead->marked));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, piece_write(&op->piece, op->store, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, store_flush(op->store, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	piece_adopt(&op->piece, op->store);
	if (op->store->ahead->marked)
		goto finish;

	piece_fini(&op->piece);
	piece_choose_end(&op->piece, op->store->ahead);
	flow_fail(f, piece_encode(&op->piece, op->store, true));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, piece_write(&op->piece, op->store, flow_resume, f));
	if (!flow_failed(f))
		op->store->ahead->marked = true;
finish:
	piece_fini(&op->piece);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

/* In ahead's gate. */
static void ahead_extend(struct blob_store *store, done_fn done, void *arg)
{
	change_op_start(store, "ahead_extend", ahead_extend_run, done, arg);
}

static enum flow_result change_run(struct flow *f)
{
	struct change_op *op = container_of(f, struct change_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->store->ahead->gate, &op->turn, flow_resume, f));
	if (!op->store->dirty)
		AWAIT(f, store_mark_dirty(op->store, flow_resume, f));
	if (!flow_failed(f))
		flow_fail(f, change_check(op->store, op->pages, op->reason));
	while (!flow_failed(f) && !change_is_ready(op->store, op->pages)) {
		AWAIT(f, ahead_extend(op->store, flow_resume, f));
		if (!flow_failed(f))
			flow_fail(f, change_check(op->store, op->pages, op->reason));
	}
	if (flow_failed(f))
		reason_set(op->reason, f->error, "the metadata on %s cannot be changed: %s",
			store_name(op->store), strerror(-f->error));
	else
		op->store->pages_promised += op->pages;
	bdev_gate_leave(&op->store->ahead->gate);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void store_begin_change(
	struct blob_store *store, uint32_t pages, struct reason *reason, done_fn done, void *arg)
{
	struct change_op *op;
	int rc = change_check(store, pages, reason);

	if (rc) {
		store_answer(store, rc, done, arg);
		return;
	}
	if (change_is_ready(store, pages)) {
		store->pages_promised += pages;
		store_answer(store, 0, done, arg);
		return;
	}
	op = change_op_start(store, "store_begin_change", change_run, done, arg);
	op->pages = pages;
	op->reason = reason;
}

void store_end_change(struct blob_store *store, uint32_t pages_left)
{
	invariant(store->pages_promised >= pages_left);
	store->pages_promised -= pages_left;
	if (store->pages_lacked)
		store_water_changed(store);
}
