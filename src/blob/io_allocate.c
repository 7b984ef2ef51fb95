/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first write to a cluster of a thin blob. One flow for each cluster that is being allocated
 * on this channel; pieces that come meanwhile wait with it and run afterwards, when the map has
 * the cluster.
 *
 *	a cluster	from the reserve; waits for the engine only when that is empty
 *	a buffer	where what is below must be copied; there are so many (io_buffers.c)
 *	data		all of the cluster is written, so that nothing of a former tenant is left:
 *			the guest's bytes and, around them, what is below
 *	record		the engine writes the entry and publishes it in the map
 *
 * What is written depends on what is below:
 *
 *	whole		the cluster is overwritten: the guest's write, nothing else
 *	zeroes		small clusters: one write of zeroes, data, zeroes from a shared page;
 *			large ones: the guest's write, beside it WRITE_ZEROES before and after
 *	data		a step at a time (the cluster, 1 MiB at most): what the guest does not
 *			overwrite is read, and one write takes both
 *
 * What becomes of the cluster:
 *
 *	a read failed	back to the reserve
 *	a write failed	to the engine, which clears it: here it would be the next to be tried
 *	-EEXIST		another channel's record was first: back to the reserve, dirty; the guest's
 *			request runs again and finds the winner's cluster
 *	a failed record	the engine's: it alone knows whether the entry may be on the disk
 *
 * Until its record is there the blob reads what is below, from every channel. A read at the same
 * time as a first write sees either.
 */
#include <errno.h>
#include <string.h>

#include "blob/io_impl.h"

#define STEP_BYTES (1 * MIB)

struct allocation {
	struct flow flow;
	struct blob_channel *own;
	struct list link; /* own->allocations */
	uint64_t index;
	struct list pieces; /* the first is what allocates */
	struct blob_piece *piece; /* the first */
	struct reserve_wait wait;
	struct io_buffers_wait room;
	size_t room_bytes; /* of the store's buffers */
	struct slab_waiter slab;
	enum slab_class dry; /* what it waits for */
	uint32_t cluster;
	bool in_parts; /* each part of the cluster by a request of its own */
	bool wrote; /* the cluster is dirty */
	bool write_failed;
	struct blob_source source;
	uint64_t data; /* bytes within the cluster: where the guest's begin */
	uint64_t data_end;
	uint64_t at; /* the step under way */
	uint64_t step;
	uint8_t *buffer; /* of a step, or NULL: not needed */
	struct iovec *iov;
	unsigned iov_room;
	bool gather; /* of more entries than the device below takes: into the buffer */
	unsigned pending;
	int status; /* first error of what is pending */
	struct blob_record record;
	struct store_refill give;
	struct iovec read_iov[2];
	struct bdev_io ios[3];
	struct iovec few[];
};

#define FEW_ENTRIES ((slab_object_size(SLAB_4K) - sizeof(struct allocation)) / sizeof(struct iovec))

_Static_assert(sizeof(struct allocation) <= 2048, "most of a slab object is vectors");

static struct list *allocations_of(struct blob_channel *own, uint64_t index)
{
	return &own->allocations[index % BLOB_ALLOCATION_LISTS];
}

/* ---- the requests below ------------------------------------------------- */

static void allocation_io_done(struct allocation *op, const struct bdev_io *io)
{
	if (io->status && !op->status)
		op->status = io->status;
	if (io->status && io->type != BDEV_IO_READ)
		op->write_failed = true;
	if (--op->pending == 0)
		flow_resume(&op->flow, op->status);
}

static void first_io_done(struct bdev_io *io)
{
	allocation_io_done(container_of(io, struct allocation, ios[0]), io);
}

static void second_io_done(struct bdev_io *io)
{
	allocation_io_done(container_of(io, struct allocation, ios[1]), io);
}

static void third_io_done(struct bdev_io *io)
{
	allocation_io_done(container_of(io, struct allocation, ios[2]), io);
}

static void allocation_submit(struct allocation *op, unsigned nth, struct bdev_channel *channel,
	const struct bdev_io *what)
{
	static void (*const dones[])(struct bdev_io * io) = {
		first_io_done, second_io_done, third_io_done};
	struct bdev_io *io = &op->ios[nth];

	*io = *what;
	io->done = dones[nth];
	op->pending++;
	op->wrote |= io->type != BDEV_IO_READ;
	bdev_submit(channel, io);
}

static uint64_t allocation_offset(const struct allocation *op, uint64_t within)
{
	return (uint64_t)op->cluster * op->own->cluster_size + within;
}

/* ---- in parts ----------------------------------------------------------- */

static void allocation_zero_part(struct allocation *op, unsigned nth, uint64_t within, uint64_t end)
{
	if (within < end)
		allocation_submit(op, nth, op->own->base,
			&(struct bdev_io){
				.type = BDEV_IO_WRITE_ZEROES,
				.offset = allocation_offset(op, within),
				.length = end - within,
			});
}

static void allocation_write_parts(struct allocation *op)
{
	const struct blob_piece *piece = op->piece;

	op->status = 0;
	allocation_zero_part(op, 0, 0, op->data);
	if (piece->type == BDEV_IO_WRITE)
		allocation_submit(op, 1, op->own->base,
			&(struct bdev_io){
				.type = BDEV_IO_WRITE,
				.offset = allocation_offset(op, op->data),
				.length = piece->length,
				.iov = piece->iov,
				.iovcnt = piece->iovcnt,
			});
	else
		allocation_zero_part(op, 1, op->data, op->data_end);
	allocation_zero_part(op, 2, op->data_end, op->own->cluster_size);
}

/* ---- step by step ------------------------------------------------------- */

struct step {
	uint64_t end;
	uint64_t data; /* the guest's bytes in it; both are end where there are none */
	uint64_t data_end;
};

static struct step allocation_step(const struct allocation *op)
{
	struct step step = {.end = u64_min(op->at + op->step, op->own->cluster_size)};

	step.data = u64_max(op->data, op->at);
	step.data_end = u64_min(op->data_end, step.end);
	if (step.data >= step.data_end)
		step.data = step.data_end = step.end;
	return step;
}

static void allocation_read_part(struct allocation *op, unsigned nth, uint64_t within, uint64_t end)
{
	const struct blob_channel *own = op->own;
	bool foreign = op->source.kind == SOURCE_FOREIGN;
	uint64_t cluster = foreign ? op->index : op->source.cluster;

	if (within >= end)
		return;
	op->read_iov[nth] =
		(struct iovec){.iov_base = op->buffer + (within - op->at), .iov_len = end - within};
	allocation_submit(op, nth, foreign ? own->esnap : own->base,
		&(struct bdev_io){
			.type = BDEV_IO_READ,
			.offset = cluster * own->cluster_size + within,
			.length = end - within,
			.iov = &op->read_iov[nth],
			.iovcnt = 1,
		});
}

static bool allocation_must_read(const struct allocation *op)
{
	struct step step = allocation_step(op);

	return op->source.kind != SOURCE_ZEROES && (op->at < step.data || step.data_end < step.end);
}

static void allocation_read(struct allocation *op)
{
	struct step step = allocation_step(op);

	op->status = 0;
	allocation_read_part(op, 0, op->at, step.data);
	allocation_read_part(op, 1, step.data_end, step.end);
}

static unsigned allocation_add_below(
	struct allocation *op, struct iovec *iov, uint64_t within, uint64_t end)
{
	if (within >= end)
		return 0;
	if (op->source.kind == SOURCE_ZEROES)
		return iov_add_zeroes(iov, end - within);
	*iov = (struct iovec){.iov_base = op->buffer + (within - op->at), .iov_len = end - within};
	return 1;
}

static unsigned allocation_add_data(
	struct allocation *op, struct iovec *iov, const struct step *step)
{
	struct iov_cursor cursor = iov_cursor(op->piece->iov);

	if (op->piece->type != BDEV_IO_WRITE)
		return iov_add_zeroes(iov, step->data_end - step->data);
	iov_skip(&cursor, step->data - op->data);
	return iov_take(&cursor, step->data_end - step->data, iov);
}

/* More vectors than the device below takes: into the buffer, where what is below is already. */
static unsigned allocation_gather(struct allocation *op, unsigned count)
{
	uint8_t *to = op->buffer;

	for (unsigned i = 0; i < count; i++) {
		if (op->iov[i].iov_base != to)
			memcpy(to, op->iov[i].iov_base, op->iov[i].iov_len);
		to += op->iov[i].iov_len;
	}
	op->iov[0] = (struct iovec){.iov_base = op->buffer, .iov_len = (size_t)(to - op->buffer)};
	return 1;
}

static void allocation_write(struct allocation *op)
{
	struct step step = allocation_step(op);
	unsigned count = allocation_add_below(op, op->iov, op->at, step.data);

	if (step.data < step.data_end)
		count += allocation_add_data(op, op->iov + count, &step);
	count += allocation_add_below(op, op->iov + count, step.data_end, step.end);
	invariant(count <= op->iov_room);
	if (op->gather)
		count = allocation_gather(op, count);
	op->status = 0;
	allocation_submit(op, 0, op->own->base,
		&(struct bdev_io){
			.type = BDEV_IO_WRITE,
			.offset = allocation_offset(op, op->at),
			.length = step.end - op->at,
			.iov = op->iov,
			.iovcnt = (uint16_t)count,
		});
}

/* ---- what is needed ----------------------------------------------------- */

/* Below, data and below again. */
static unsigned allocation_iov_needed(const struct allocation *op)
{
	unsigned entries = IO_ZEROES_ENTRIES(STEP_BYTES);

	return 2 + (op->piece->type == BDEV_IO_WRITE ? op->piece->iovcnt : entries);
}

static int allocation_plan(struct allocation *op)
{
	const struct blob_channel *own = op->own;
	const struct blob_piece *piece = op->piece;
	bool whole = piece->length == own->cluster_size;
	bool zeroes = bdev_supports(own->base->bdev, BDEV_IO_WRITE_ZEROES);
	unsigned most = own->base->bdev->max_iovcnt;

	if (blob_cluster(own, op->index))
		return -EEXIST;
	op->source = (struct blob_source){.kind = SOURCE_ZEROES};
	if (!whole)
		op->source = blob_source_below(own, op->index);
	if (op->source.kind == SOURCE_MISSING)
		return -EIO;
	op->data = piece->length ? cluster_within(own, piece->offset) : 0;
	op->data_end = op->data + piece->length;
	if (whole && piece->type == BDEV_IO_WRITE)
		op->in_parts = true;
	else
		op->in_parts =
			zeroes && op->source.kind == SOURCE_ZEROES && own->cluster_size > IO_ZEROES;
	op->step = u64_min(
		own->cluster_size, op->source.kind == SOURCE_ZEROES ? IO_ZEROES : STEP_BYTES);
	op->iov_room = allocation_iov_needed(op);
	op->gather = op->iov_room > (most ? most : UINT16_MAX);
	return 0;
}

static enum slab_class allocation_buffer_class(const struct allocation *op)
{
	enum slab_class class = SLAB_32K;

	while (slab_object_size(class) < op->step)
		class ++;
	return class;
}

static bool allocation_needs_buffer(const struct allocation *op)
{
	return !op->in_parts && (op->gather || op->source.kind != SOURCE_ZEROES);
}

/* false: the store's buffers are in use. */
static bool allocation_get_room(struct allocation *op)
{
	op->room_bytes = slab_object_size(allocation_buffer_class(op));
	return buffers_take(&op->own->store->buffers, op->room_bytes);
}

static void allocation_wait_room(struct allocation *op)
{
	buffers_wait(&op->own->store->buffers, &op->room, op->room_bytes, flow_resume, &op->flow);
}

/* false: a slab is dry. */
static bool allocation_get_memory(struct allocation *op)
{
	struct reactor *reactor = op->own->store->reactor;

	if (op->in_parts)
		return true;
	if (!op->buffer && allocation_needs_buffer(op)) {
		op->dry = allocation_buffer_class(op);
		op->buffer = slab_get(reactor, op->dry);
		if (!op->buffer)
			return false;
	}
	if (!op->iov) {
		op->dry = iov_class(op->iov_room);
		op->iov = op->iov_room <= FEW_ENTRIES ? op->few : slab_get(reactor, op->dry);
	}
	return op->iov != NULL;
}

static void allocation_put_memory(struct allocation *op)
{
	struct reactor *reactor = op->own->store->reactor;

	if (op->buffer)
		slab_put(reactor, allocation_buffer_class(op), op->buffer);
	if (op->iov && op->iov != op->few)
		slab_put(reactor, iov_class(op->iov_room), op->iov);
	if (op->room_bytes)
		buffers_give(&op->own->store->buffers, op->room_bytes);
	op->buffer = NULL;
	op->iov = NULL;
	op->room_bytes = 0;
}

static void allocation_slab_ready(struct slab_waiter *waiter)
{
	flow_resume(&container_of(waiter, struct allocation, slab)->flow, 0);
}

static void allocation_wait_slab(struct allocation *op)
{
	op->slab.ready = allocation_slab_ready;
	slab_wait(op->own->store->reactor, op->dry, &op->slab);
}

/* ---- record and cluster ------------------------------------------------- */

static void allocation_recorded(struct blob_record *record)
{
	struct allocation *op = container_of(record, struct allocation, record);

	flow_resume(&op->flow, record->status);
}

static void allocation_record(struct allocation *op)
{
	op->record = (struct blob_record){
		.blob = op->own->blob,
		.home = op->own->store->reactor,
		.done = allocation_recorded,
		.kind = BLOB_RECORD_ALLOCATE,
		.index = op->index,
		.cluster = op->cluster,
	};
	list_init(&op->record.link);
	blob_record_send(&op->record);
}

static void allocation_given(struct store_refill *refill)
{
	flow_resume(&container_of(refill, struct allocation, give)->flow, 0);
}

static void allocation_give(struct allocation *op)
{
	op->give = (struct store_refill){
		.store = op->own->blob->store,
		.seat = &op->own->store->reserve.seat,
		.done = allocation_given,
		.kind = STORE_REFILL_GIVE,
		.dirty = op->wrote,
		.count = 1,
		.clusters = &op->cluster,
	};
	store_refill_send(&op->give);
}

/* ---- the flow ----------------------------------------------------------- */

/* The first piece ends with the allocation, or like the others has to look at the map again. */
static void allocation_finish(struct allocation *op, int status)
{
	struct blob_piece *first = op->piece;
	struct list pieces;

	list_init(&pieces);
	list_move_all(&pieces, &op->pieces);
	list_remove(&op->link);
	slab_put(op->own->store->reactor, SLAB_4K, op);
	if (status != -EEXIST) {
		list_remove(&first->link);
		first->done(first, status);
	}
	while (!list_is_empty(&pieces)) {
		struct blob_piece *piece = list_first_entry(&pieces, struct blob_piece, link);

		list_remove(&piece->link);
		piece_run(piece);
	}
}

static enum flow_result allocation_run(struct flow *f)
{
	struct allocation *op = container_of(f, struct allocation, flow);

	FLOW_BEGIN(f);
	if (!reserve_take(&op->own->store->reserve, &op->cluster)) {
		AWAIT(f, reserve_wait(&op->own->store->reserve, &op->wait, flow_resume, f));
		if (flow_failed(f))
			goto finish;
		op->cluster = op->wait.cluster;
	}
	flow_fail(f, allocation_plan(op));
	if (flow_failed(f))
		goto put_back;
	if (allocation_needs_buffer(op) && !allocation_get_room(op))
		AWAIT(f, allocation_wait_room(op));
	while (!allocation_get_memory(op))
		AWAIT(f, allocation_wait_slab(op));

	if (op->in_parts)
		AWAIT(f, allocation_write_parts(op));
	for (op->at = 0; !op->in_parts && op->at < op->own->cluster_size; op->at += op->step) {
		if (allocation_must_read(op))
			AWAIT(f, allocation_read(op));
		if (flow_failed(f))
			break;
		AWAIT(f, allocation_write(op));
		if (flow_failed(f))
			break;
	}
	allocation_put_memory(op);
	if (flow_failed(f))
		goto put_back;
	AWAIT(f, allocation_record(op));
	if (f->rc != -EEXIST)
		goto finish;

put_back:
	if (op->write_failed || !reserve_put(&op->own->store->reserve, op->cluster, op->wrote))
		AWAIT(f, allocation_give(op));
finish:
	allocation_finish(op, f->error);
	FLOW_END(f);
}

/* ---- pieces ------------------------------------------------------------- */

static void piece_slab_ready(struct slab_waiter *waiter)
{
	struct bdev_io *io = container_of((uint8_t *)waiter, struct bdev_io, backend.bytes);

	piece_run(container_of(io, struct blob_piece, io));
}

/* Its request to the device below is not used yet. */
static void piece_wait_slab(struct blob_piece *piece, enum slab_class class)
{
	struct slab_waiter *waiter = (struct slab_waiter *)piece->io.backend.bytes;

	waiter->ready = piece_slab_ready;
	slab_wait(piece->own->store->reactor, class, waiter);
}

static struct allocation *allocation_find(struct blob_channel *own, uint64_t index)
{
	struct allocation *op;

	list_for_each_entry (op, allocations_of(own, index), link)
		if (op->index == index)
			return op;
	return NULL;
}

void piece_allocate(struct blob_piece *piece)
{
	struct blob_channel *own = piece->own;
	uint64_t index = cluster_index(own, piece->offset);
	struct allocation *op = allocation_find(own, index);

	if (op) {
		list_add_tail(&op->pieces, &piece->link);
		return;
	}
	op = slab_get(own->store->reactor, SLAB_4K);
	if (!op) {
		piece_wait_slab(piece, SLAB_4K);
		return;
	}
	*op = (struct allocation){.own = own, .index = index, .piece = piece};
	list_init(&op->pieces);
	list_add_tail(&op->pieces, &piece->link);
	list_add_tail(allocations_of(own, index), &op->link);
	flow_start(&op->flow, own->store->reactor, "blob_allocate", allocation_run);
}
