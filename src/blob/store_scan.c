/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many metadata pages read in large pieces, and what is done with that after a crash: finding the
 * root page of every blob.
 *
 * The pages wanted are a set. Neighbours, and pages with few others between them, are read
 * together, up to SCAN_PIECE bytes, SCAN_PIECES of such reads at a time. A piece that cannot be
 * read is read again page by page, so that one bad sector costs the page that it is in.
 *
 * Which pages may be roots: where our mark stands behind the page mask (store_change.c) those of
 * the mask; else all of them. A page is a root when it says so itself: checksum, sequence 0, and
 * the id that belongs to its index.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "blob/store_load_impl.h"

#define SCAN_PIECE  (1 * MIB)
#define SCAN_PIECES 16u
#define SCAN_GAP    8u /* pages that are read for nothing rather than split a piece */

struct scan_piece {
	struct page_scan *scan;
	uint8_t *buf;
	uint32_t first;
	uint32_t count;
	uint32_t at; /* page by page: this one */
	bool single;
};

struct page_scan {
	struct deferred deferred;
	struct blob_store *store;
	const struct bitmap *wanted;
	page_seen_fn seen;
	void *seen_arg;
	uint32_t next;
	unsigned pending;
	int rc;
	struct scan_piece pieces[SCAN_PIECES];
	done_fn done;
	void *arg;
};

static uint32_t scan_pages_max(const struct page_scan *scan)
{
	return (uint32_t)(SCAN_PIECE / scan->store->super.md_page_size);
}

/* Of a small region a piece is never larger than all of it. */
static size_t scan_piece_bytes(const struct page_scan *scan)
{
	return u64_min(SCAN_PIECE, (uint64_t)scan->wanted->bits * scan->store->super.md_page_size);
}

static uint32_t scan_wanted(const struct page_scan *scan, uint32_t from)
{
	return from < scan->wanted->bits ? bitmap_find_set(scan->wanted, from) : BITMAP_NONE;
}

/* false: nothing is left. */
static bool piece_take(struct scan_piece *piece)
{
	struct page_scan *scan = piece->scan;
	uint32_t first = scan_wanted(scan, scan->next);
	uint32_t last = first;
	uint32_t next;

	if (first == BITMAP_NONE)
		return false;
	while ((next = scan_wanted(scan, last + 1)) != BITMAP_NONE && next - last <= SCAN_GAP &&
		next - first < scan_pages_max(scan))
		last = next;
	piece->first = first;
	piece->count = last - first + 1;
	piece->single = false;
	scan->next = last + 1;
	return true;
}

static void piece_read_done(void *arg, int rc);

static void piece_read(struct scan_piece *piece, uint32_t first, uint32_t count)
{
	const struct super *super = &piece->scan->store->super;
	size_t bytes = (size_t)(count - 1) * super->md_page_size + BLOBSTORE_PAGE_BYTES;

	store_read(piece->scan->store, super_page_offset(super, first), piece->buf, bytes,
		piece_read_done, piece);
}

static void piece_tell(struct scan_piece *piece)
{
	struct page_scan *scan = piece->scan;
	uint32_t index = piece->first;

	for (; !scan->rc; index++) {
		size_t at;

		index = scan_wanted(scan, index);
		if (index == BITMAP_NONE || index - piece->first >= piece->count)
			return;
		at = (size_t)(index - piece->first) * scan->store->super.md_page_size;
		scan->rc = scan->seen(scan->seen_arg, index, piece->buf + at);
	}
}

/* false: it was the last. */
static bool piece_next_single(struct scan_piece *piece, uint32_t from)
{
	piece->at = scan_wanted(piece->scan, from);
	if (piece->at == BITMAP_NONE || piece->at - piece->first >= piece->count)
		return false;
	piece_read(piece, piece->at, 1);
	return true;
}

/* What was read is told; true: the piece reads on. */
static bool piece_go_on(struct scan_piece *piece, int rc)
{
	struct page_scan *scan = piece->scan;

	if (rc == -ENODEV || rc == -ENOMEM)
		scan->rc = scan->rc ? scan->rc : rc;
	if (scan->rc)
		return false;
	if (piece->single) {
		scan->rc = scan->seen(scan->seen_arg, piece->at, rc ? NULL : piece->buf);
		return !scan->rc && piece_next_single(piece, piece->at + 1);
	}
	if (rc) {
		piece->single = true;
		return piece_next_single(piece, piece->first);
	}
	piece_tell(piece);
	return false;
}

static void scan_end(struct page_scan *scan)
{
	for (unsigned i = 0; i < SCAN_PIECES; i++)
		free(scan->pieces[i].buf);
	scan->done(scan->arg, scan->rc);
	free(scan);
}

static void piece_read_done(void *arg, int rc)
{
	struct scan_piece *piece = arg;
	struct page_scan *scan = piece->scan;

	if (piece_go_on(piece, rc))
		return;
	if (!scan->rc && piece_take(piece)) {
		piece_read(piece, piece->first, piece->count);
		return;
	}
	if (--scan->pending == 0)
		scan_end(scan);
}

static void scan_run(struct deferred *deferred)
{
	struct page_scan *scan = container_of(deferred, struct page_scan, deferred);

	for (unsigned i = 0; i < SCAN_PIECES; i++) {
		struct scan_piece *piece = &scan->pieces[i];

		piece->scan = scan;
		if (!piece_take(piece))
			break;
		piece->buf = aligned_alloc(BLOBSTORE_PAGE_BYTES, scan_piece_bytes(scan));
		if (!piece->buf) {
			scan->rc = -ENOMEM;
			break;
		}
		scan->pending++;
		piece_read(piece, piece->first, piece->count);
	}
	if (!scan->pending)
		scan_end(scan);
}

void pages_read(struct blob_store *store, const struct bitmap *wanted, page_seen_fn seen,
	void *seen_arg, done_fn done, void *arg)
{
	struct page_scan *scan = alloc_op(sizeof(*scan));

	scan->store = store;
	scan->wanted = wanted;
	scan->seen = seen;
	scan->seen_arg = seen_arg;
	scan->done = done;
	scan->arg = arg;
	scan->deferred.run = scan_run;
	reactor_defer(store->engine, DEFER_COMPLETE, &scan->deferred);
}

/* ---- roots -------------------------------------------------------------- */

struct roots_op {
	struct flow flow;
	struct load *load;
	size_t bytes;
	void *region; /* of the page mask */
	struct bitmap all;
	done_fn done;
	void *arg;
};

static int root_seen(void *arg, uint32_t index, const void *page)
{
	struct load *load = arg;

	if (!page)
		return reason_set(load->reason, -EIO,
			"metadata page %u of the store on %s cannot be read, and there may be a "
			"volume in it: mend the device, or copy it to another",
			index, store_name(load->store));
	if (md_page_is_root(page, index))
		bitmap_set(&load->store->used_blobids, index);
	return 0;
}

/* Without the mark, or when the mask does not fit it, all pages are looked at. */
static int roots_choose(struct roots_op *op)
{
	struct load *load = op->load;
	const struct super *super = &load->store->super;

	load->marked = !super->clean && store_ahead_is_marked(super, op->region) &&
		       mask_decode(BLOBSTORE_MASK_PAGES, op->region, op->bytes, super->md_len,
			       &load->on_disk, NULL) == 0;
	if (load->marked)
		return 0;
	bitmap_fini(&load->on_disk);
	load->on_disk = (struct bitmap){0};
	if (bitmap_init(&op->all, super->md_len))
		return -ENOMEM;
	bitmap_set_range(&op->all, 0, super->md_len);
	return 0;
}

static const struct bitmap *roots_wanted(const struct roots_op *op)
{
	return op->load->marked ? &op->load->on_disk : &op->all;
}

static enum flow_result roots_run(struct flow *f)
{
	struct roots_op *op = container_of(f, struct roots_op, flow);

	FLOW_BEGIN(f);
	if (!op->region || bitmap_init(&op->load->on_disk, op->load->store->super.md_len)) {
		flow_fail(f, -ENOMEM);
		goto finish;
	}
	AWAIT(f, load_read_region(op->load, op->load->store->super.page_mask_start, op->region,
			 op->bytes, flow_resume, f));
	if (flow_failed(f))
		goto finish;
	flow_fail(f, roots_choose(op));
	if (flow_failed(f))
		goto finish;
	log_notice("%s: the volume store was not closed: looking for volumes in %u of %u metadata "
		   "pages",
		store_name(op->load->store), roots_wanted(op)->count,
		op->load->store->super.md_len);
	AWAIT(f,
		pages_read(op->load->store, roots_wanted(op), root_seen, op->load, flow_resume, f));
finish:
	bitmap_fini(&op->all);
	free_pages(op->region, op->bytes);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void load_find_roots(struct load *load, done_fn done, void *arg)
{
	struct roots_op *op = alloc_op(sizeof(*op));
	const struct super *super = &load->store->super;

	op->load = load;
	op->bytes = (size_t)super->page_mask_len * super->md_page_size;
	op->region = alloc_pages(op->bytes);
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, load->store->engine, "load_find_roots", roots_run);
}
