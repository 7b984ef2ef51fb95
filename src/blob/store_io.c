/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine's requests to the device below: everything but what volumes' users read and write.
 *
 * Of one call one piece at a time is with the device, of all calls together IO_IN_FLIGHT_MAX;
 * others wait in line, so that loading a store or clearing a volume does not fill the device's
 * queues. A FLUSH does not wait in that line, since whoever flushes holds others up.
 *
 * Flushes are shared. One is under way at most; who comes meanwhile waits for the next, since what
 * has ended since the first began need not be in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "blob/store_impl.h"

#define IO_IN_FLIGHT_MAX 64u
#define IO_PIECE         (1 * MIB) /* READ, WRITE */
#define IO_PIECE_CLEAR   (1 * GIB) /* UNMAP, WRITE_ZEROES */
#define PAGE_WRITES_MAX  32u
#define PAGE_CHUNK       16u /* pages side by side in memory */

/* Never written; in memory it is the kernel's one page of zeroes. */
static uint8_t store_zeroes[IO_PIECE] __attribute__((aligned(4096)));

struct store_io {
	struct bdev_io io;
	struct iovec iov;
	struct list link; /* io_waiting */
	struct blob_store *store;
	uint64_t left; /* bytes, with those of this piece */
	done_fn done;
	void *arg;
};

/* ---- answers ------------------------------------------------------------ */

struct store_answer {
	struct deferred deferred;
	int rc;
	done_fn done;
	void *arg;
};

static void answer_run(struct deferred *deferred)
{
	struct store_answer *answer = container_of(deferred, struct store_answer, deferred);

	answer->done(answer->arg, answer->rc);
	free(answer);
}

void store_answer(struct blob_store *store, int rc, done_fn done, void *arg)
{
	struct store_answer *answer = alloc_op(sizeof(*answer));

	answer->deferred.run = answer_run;
	answer->rc = rc;
	answer->done = done;
	answer->arg = arg;
	reactor_defer(store->engine, DEFER_COMPLETE, &answer->deferred);
}

/* ---- pieces ------------------------------------------------------------- */

static void io_piece(struct store_io *sio)
{
	bool moves = sio->io.type == BDEV_IO_READ || sio->io.type == BDEV_IO_WRITE;

	sio->io.length = u64_min(sio->left, moves ? IO_PIECE : IO_PIECE_CLEAR);
	if (!moves)
		return;
	sio->iov.iov_len = sio->io.length;
	sio->io.iov = &sio->iov;
	sio->io.iovcnt = 1;
}

/* Those behind it move up. */
static void io_leave(struct blob_store *store)
{
	struct store_io *next;

	store->io_in_flight--;
	if (list_is_empty(&store->io_waiting))
		return;
	next = list_first_entry(&store->io_waiting, struct store_io, link);
	list_remove(&next->link);
	store->io_in_flight++;
	bdev_submit(store->md, &next->io);
}

static void io_enter(struct store_io *sio)
{
	struct blob_store *store = sio->store;

	if (store->io_in_flight >= IO_IN_FLIGHT_MAX) {
		list_add_tail(&store->io_waiting, &sio->link);
		return;
	}
	store->io_in_flight++;
	bdev_submit(store->md, &sio->io);
}

static void io_done(struct bdev_io *io)
{
	struct store_io *sio = container_of(io, struct store_io, io);
	struct blob_store *store = sio->store;
	int status = io->status;

	io_leave(store);
	sio->left -= io->length;
	if (!status && sio->left) {
		io->offset += io->length;
		if (sio->iov.iov_base && sio->iov.iov_base != store_zeroes)
			sio->iov.iov_base = (uint8_t *)sio->iov.iov_base + io->length;
		io_piece(sio);
		io_enter(sio);
		return;
	}
	sio->done(sio->arg, status);
	free(sio);
}

static void io_start(struct blob_store *store, enum bdev_io_type type, uint64_t offset, void *buf,
	uint64_t length, done_fn done, void *arg)
{
	struct store_io *sio;

	if (!length) {
		store_answer(store, 0, done, arg);
		return;
	}
	sio = alloc_op(sizeof(*sio));
	sio->store = store;
	sio->left = length;
	sio->iov.iov_base = buf;
	sio->io.type = (uint8_t)type;
	sio->io.offset = offset;
	sio->io.done = io_done;
	sio->done = done;
	sio->arg = arg;
	list_init(&sio->link);
	io_piece(sio);
	io_enter(sio);
}

void store_read(struct blob_store *store, uint64_t offset, void *buf, size_t length, done_fn done,
	void *arg)
{
	io_start(store, BDEV_IO_READ, offset, buf, length, done, arg);
}

void store_write(struct blob_store *store, uint64_t offset, const void *buf, size_t length,
	done_fn done, void *arg)
{
	io_start(store, BDEV_IO_WRITE, offset, (void *)(uintptr_t)buf, length, done, arg);
}

void store_zero(struct blob_store *store, uint64_t offset, uint64_t length, done_fn done, void *arg)
{
	if (bdev_supports(store->md->bdev, BDEV_IO_WRITE_ZEROES))
		io_start(store, BDEV_IO_WRITE_ZEROES, offset, NULL, length, done, arg);
	else
		io_start(store, BDEV_IO_WRITE, offset, store_zeroes, length, done, arg);
}

void store_clear(struct blob_store *store, uint64_t offset, uint64_t length,
	enum blobstore_clear_method method, done_fn done, void *arg)
{
	switch (method) {
	case BLOBSTORE_CLEAR_NONE:
		break;
	case BLOBSTORE_CLEAR_WRITE_ZEROES:
		store_zero(store, offset, length, done, arg);
		return;
	default:
		if (!bdev_supports(store->md->bdev, BDEV_IO_UNMAP))
			break;
		io_start(store, BDEV_IO_UNMAP, offset, NULL, length, done, arg);
		return;
	}
	store_answer(store, 0, done, arg);
}

/* ---- flushes ------------------------------------------------------------ */

struct store_flush_wait {
	struct list link;
	done_fn done;
	void *arg;
};

struct store_flush {
	struct bdev_io io;
	struct blob_store *store;
	struct list waits;
};

static void flush_start(struct blob_store *store);

static void flush_done(struct bdev_io *io)
{
	struct store_flush *flush = container_of(io, struct store_flush, io);
	struct blob_store *store = flush->store;
	struct list waits = LIST_INIT(waits);
	int status = io->status;

	list_move_all(&waits, &flush->waits);
	free(flush);
	store->flushing = false;
	if (!list_is_empty(&store->flush_waiting))
		flush_start(store);
	while (!list_is_empty(&waits)) {
		struct store_flush_wait *wait =
			list_first_entry(&waits, struct store_flush_wait, link);

		list_remove(&wait->link);
		wait->done(wait->arg, status);
		free(wait);
	}
}

static void flush_start(struct blob_store *store)
{
	struct store_flush *flush = alloc_op(sizeof(*flush));

	store->flushing = true;
	flush->store = store;
	flush->io.type = BDEV_IO_FLUSH;
	flush->io.done = flush_done;
	list_init(&flush->waits);
	list_move_all(&flush->waits, &store->flush_waiting);
	bdev_submit(store->md, &flush->io);
}

void store_flush(struct blob_store *store, done_fn done, void *arg)
{
	struct store_flush_wait *wait;

	if (!bdev_supports(store->md->bdev, BDEV_IO_FLUSH)) {
		store_answer(store, 0, done, arg);
		return;
	}
	wait = alloc_op(sizeof(*wait));
	wait->done = done;
	wait->arg = arg;
	list_add_tail(&store->flush_waiting, &wait->link);
	if (!store->flushing)
		flush_start(store);
}

/* ---- pages -------------------------------------------------------------- */

struct page_write {
	uint32_t index;
	void *page;
};

void page_writes_init(struct page_writes *writes, struct blob_store *store)
{
	*writes = (struct page_writes){.store = store};
}

static void page_writes_empty(struct page_writes *writes)
{
	for (unsigned i = 0; i < writes->count; i += PAGE_CHUNK)
		free(writes->writes[i].page);
	free(writes->writes);
	writes->writes = NULL;
	writes->count = 0;
	writes->room = 0;
}

void page_writes_fini(struct page_writes *writes)
{
	invariant(writes->pending == 0);
	page_writes_empty(writes);
}

/* Of the page that comes next. */
static void *page_writes_memory(const struct page_writes *writes)
{
	if (writes->count % PAGE_CHUNK == 0)
		return aligned_alloc(BLOBSTORE_PAGE_BYTES, PAGE_CHUNK * BLOBSTORE_PAGE_BYTES);
	return (uint8_t *)writes->writes[writes->count - 1].page + BLOBSTORE_PAGE_BYTES;
}

void *page_writes_add(struct page_writes *writes, uint32_t index)
{
	struct page_write *write;

	if (writes->count == writes->room) {
		unsigned room = writes->room ? writes->room * 2 : 8;
		struct page_write *more = realloc(writes->writes, room * sizeof(*more));

		if (!more)
			return NULL;
		writes->writes = more;
		writes->room = room;
	}
	write = &writes->writes[writes->count];
	write->index = index;
	write->page = page_writes_memory(writes);
	if (!write->page)
		return NULL;
	memset(write->page, 0, BLOBSTORE_PAGE_BYTES);
	writes->count++;
	return write->page;
}

static void page_written(void *arg, int rc);

/* How many from the next on go together: neighbours on the disk and in memory. Only fresh ones: of
 * a longer write devices do not promise that each page is there or not. */
static unsigned page_writes_together(const struct page_writes *writes)
{
	const struct page_write *first = &writes->writes[writes->next];
	unsigned most = PAGE_CHUNK - writes->next % PAGE_CHUNK;
	unsigned count = 1;

	if (!writes->fresh || writes->store->super.md_page_size != BLOBSTORE_PAGE_BYTES)
		return 1;
	while (count < most && writes->next + count < writes->count &&
		first[count].index == first->index + count)
		count++;
	return count;
}

static void page_writes_continue(struct page_writes *writes)
{
	struct blob_store *store = writes->store;

	while (!writes->rc && writes->next < writes->count && writes->pending < PAGE_WRITES_MAX) {
		const struct page_write *write = &writes->writes[writes->next];
		unsigned count = page_writes_together(writes);

		writes->next += count;
		writes->pending++;
		store_write(store, super_page_offset(&store->super, write->index), write->page,
			(size_t)count * BLOBSTORE_PAGE_BYTES, page_written, writes);
	}
}

static void page_writes_end(void *arg, int rc)
{
	struct page_writes *writes = arg;

	page_writes_empty(writes);
	writes->done(writes->arg, rc);
}

static void page_written(void *arg, int rc)
{
	struct page_writes *writes = arg;

	writes->pending--;
	if (rc && !writes->rc)
		writes->rc = rc;
	page_writes_continue(writes);
	if (!writes->pending)
		page_writes_end(writes, writes->rc);
}

static void page_writes_start(struct page_writes *writes, bool fresh, done_fn done, void *arg)
{
	invariant(writes->pending == 0);
	writes->fresh = fresh;
	writes->next = 0;
	writes->rc = 0;
	writes->done = done;
	writes->arg = arg;
	if (writes->count)
		page_writes_continue(writes);
	else
		store_answer(writes->store, 0, page_writes_end, writes);
}

void page_writes_run(struct page_writes *writes, done_fn done, void *arg)
{
	page_writes_start(writes, false, done, arg);
}

void page_writes_run_fresh(struct page_writes *writes, done_fn done, void *arg)
{
	page_writes_start(writes, true, done, arg);
}
