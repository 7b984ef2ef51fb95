/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One mutex guards the device's lists and contents: channels of several reactors and the test's
 * thread all come here. Requests end on their channel's reactor only: in submit, or in a message
 * that a release has sent.
 *
 * Stability: every write that ends gets a number; a block remembers its youngest. A FLUSH notes the
 * last number when it is submitted and, when it has ended, everything up to there is stable.
 */
#include "sim/gate_bdev.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define GARBAGE 0xa5

struct gate_fault {
	struct list link;
	unsigned types;
	uint64_t offset;
	uint64_t length;
	int status;
	unsigned count;
};

/* In the request's backend bytes while it is here. */
struct gate_io {
	struct message message;
	struct list link; /* gate_bdev.held, then released until its message has run */
	unsigned record;
	int status;
	uint64_t flush_seq;
};

_Static_assert(sizeof(struct gate_io) <= BDEV_IO_BACKEND_SIZE, "fits in the request");

struct gate_bdev {
	struct bdev bdev;
	pthread_mutex_t mutex;
	struct gate_bdev_options options;
	uint8_t *store;
	uint64_t *write_seqs; /* by block: its youngest write that is not FUA; 0: none */
	uint64_t last_seq;
	uint64_t stable_seq;
	bool hold;
	unsigned hold_types;
	struct list held;
	struct list released;
	struct list faults;
	struct gate_fault nth; /* offset: requests that still pass; count 0: none */
	struct gate_record *records;
	unsigned records_count;
	unsigned records_size;
	unsigned ended;
	bool registered;
};

static struct gate_bdev *gate_of(const struct bdev *bdev)
{
	return container_of(bdev, struct gate_bdev, bdev);
}

static struct gate_io *gate_io_of(struct bdev_io *io)
{
	return (struct gate_io *)io->backend.bytes;
}

static struct bdev_io *io_of_gate(struct gate_io *own)
{
	return container_of((uint8_t *)own, struct bdev_io, backend.bytes);
}

/* ---- contents ---- */

static void gate_copy(struct gate_bdev *gate, const struct bdev_io *io)
{
	uint8_t *at = gate->store + io->offset;

	for (unsigned i = 0; i < io->iovcnt; i++) {
		if (io->type == BDEV_IO_READ)
			memcpy(io->iov[i].iov_base, at, io->iov[i].iov_len);
		else
			memcpy(at, io->iov[i].iov_base, io->iov[i].iov_len);
		at += io->iov[i].iov_len;
	}
}

static void gate_note_write(struct gate_bdev *gate, const struct bdev_io *io)
{
	uint32_t block_size = gate->options.block_size;
	uint64_t seq = io->flags & BDEV_IO_FUA ? 0 : ++gate->last_seq;

	for (uint64_t at = io->offset; at < io->offset + io->length; at += block_size)
		gate->write_seqs[at / block_size] = seq;
}

static void gate_execute(struct gate_bdev *gate, struct bdev_io *io)
{
	bool garbage = io->type == BDEV_IO_UNMAP && gate->options.unmap_leaves_garbage;

	switch ((enum bdev_io_type)io->type) {
	case BDEV_IO_READ:
		gate_copy(gate, io);
		return;
	case BDEV_IO_FLUSH:
		gate->stable_seq = u64_max(gate->stable_seq, gate_io_of(io)->flush_seq);
		return;
	case BDEV_IO_WRITE:
		gate_copy(gate, io);
		break;
	default:
		memset(gate->store + io->offset, garbage ? GARBAGE : 0, io->length);
		break;
	}
	gate_note_write(gate, io);
}

/* ---- requests ---- */

static void gate_check(const struct gate_bdev *gate, const struct bdev_io *io)
{
	uint64_t size = gate->options.size_bytes;
	uint64_t in_iovs = 0;

	invariant(io->type < BDEV_IO_TYPES);
	invariant(!(gate->options.unsupported & 1u << io->type));
	invariant(!(io->flags & BDEV_IO_FUA) || io->type != BDEV_IO_READ);
	if (io->type == BDEV_IO_FLUSH)
		return;
	invariant(!gate->options.read_only || io->type == BDEV_IO_READ);
	invariant((io->offset | io->length) % gate->bdev.io_unit_size == 0);
	invariant(io->offset <= size && io->length <= size - io->offset);
	if (io->type != BDEV_IO_READ && io->type != BDEV_IO_WRITE)
		return;
	invariant(!gate->options.max_iovcnt || io->iovcnt <= gate->options.max_iovcnt);
	for (unsigned i = 0; i < io->iovcnt; i++)
		in_iovs += io->iov[i].iov_len;
	invariant(in_iovs == io->length);
}

/* With the mutex. */
static void gate_end(struct gate_bdev *gate, struct bdev_io *io, int status)
{
	struct gate_record *record = &gate->records[gate_io_of(io)->record];

	if (!status)
		gate_execute(gate, io);
	record->ended = true;
	record->status = status;
	record->end_order = ++gate->ended;
}

static void gate_released(struct message *message)
{
	struct gate_io *own = container_of(message, struct gate_io, message);
	struct bdev_io *io = io_of_gate(own);
	struct gate_bdev *gate = gate_of(io->channel->bdev);
	int status = own->status;

	pthread_mutex_lock(&gate->mutex);
	list_remove(&own->link);
	gate_end(gate, io, status);
	pthread_mutex_unlock(&gate->mutex);
	bdev_io_complete(io, status);
}

static int gate_find_fault(struct gate_bdev *gate, const struct bdev_io *io)
{
	struct gate_fault *fault = &gate->nth;

	if (fault->count > 0 && (fault->types & 1u << io->type) && fault->offset-- == 0) {
		fault->count = 0;
		return fault->status;
	}
	list_for_each_entry (fault, &gate->faults, link) {
		bool apart = io->offset >= fault->offset + fault->length ||
			     io->offset + u64_max(io->length, 1) <= fault->offset;

		if (fault->count > 0 && (fault->types & 1u << io->type) && !apart) {
			fault->count--;
			return fault->status;
		}
	}
	return 0;
}

static void gate_record_add(struct gate_bdev *gate, struct bdev_io *io)
{
	struct gate_io *own = gate_io_of(io);

	if (gate->records_count == gate->records_size) {
		gate->records_size = gate->records_size ? gate->records_size * 2 : 64;
		gate->records =
			realloc(gate->records, gate->records_size * sizeof(struct gate_record));
		invariant(gate->records != NULL);
	}
	*own = (struct gate_io){
		.message.run = gate_released,
		.record = gate->records_count,
		.flush_seq = gate->last_seq,
	};
	list_init(&own->link);
	gate->records[gate->records_count++] = (struct gate_record){
		.type = io->type,
		.flags = io->flags,
		.offset = io->offset,
		.length = io->length,
		.reactor = io->channel->reactor,
	};
}

static void gate_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	struct gate_bdev *gate = gate_of(channel->bdev);
	bool held;
	int status;

	pthread_mutex_lock(&gate->mutex);
	gate_check(gate, io);
	gate_record_add(gate, io);
	status = gate_find_fault(gate, io);
	held = !status && gate->hold && (gate->hold_types & 1u << io->type);
	if (held)
		list_add_tail(&gate->held, &gate_io_of(io)->link);
	else
		gate_end(gate, io, status);
	pthread_mutex_unlock(&gate->mutex);
	if (!held)
		bdev_io_complete(io, status);
}

static bool gate_supports(const struct bdev *bdev, enum bdev_io_type type)
{
	return !(gate_of(bdev)->options.unsupported & 1u << type);
}

static void gate_gone(struct message *message);

struct gate_farewell {
	struct message message;
	struct gate_bdev *gate;
	done_fn done;
	void *arg;
};

/* The memory stays the test's. */
static void gate_bdev_gone(struct bdev *bdev, done_fn done, void *arg)
{
	struct gate_farewell *farewell = calloc(1, sizeof(*farewell));

	invariant(farewell != NULL);
	*farewell = (struct gate_farewell){
		.message.run = gate_gone, .gate = gate_of(bdev), .done = done, .arg = arg};
	reactor_send(bdev_registry_control(bdev->registry), &farewell->message);
}

static void gate_gone(struct message *message)
{
	struct gate_farewell *farewell = container_of(message, struct gate_farewell, message);
	struct gate_bdev *gate = farewell->gate;

	pthread_mutex_lock(&gate->mutex);
	invariant(list_is_empty(&gate->held));
	gate->registered = false;
	pthread_mutex_unlock(&gate->mutex);
	farewell->done(farewell->arg, 0);
	free(farewell);
}

static const struct bdev_ops gate_ops = {
	.product_name = "Gate disk",
	.module = "gate",
	.submit = gate_submit,
	.supports = gate_supports,
	.destroy = gate_bdev_gone,
};

/* ---- life ---- */

struct gate_bdev *gate_bdev_create(const struct gate_bdev_options *options)
{
	struct gate_bdev *gate = calloc(1, sizeof(*gate));

	invariant(gate != NULL);
	gate->options = *options;
	pthread_mutex_init(&gate->mutex, NULL);
	list_init(&gate->held);
	list_init(&gate->released);
	list_init(&gate->faults);
	gate->hold_types = ~0u;
	gate->store = calloc(1, options->size_bytes);
	gate->write_seqs = calloc(options->size_bytes / options->block_size, sizeof(uint64_t));
	invariant(gate->store && gate->write_seqs);
	gate->bdev.ops = &gate_ops;
	gate->bdev.name = options->name;
	gate->bdev.block_size = options->block_size;
	gate->bdev.physical_block_size = options->physical_block_size;
	gate->bdev.read_only = options->read_only;
	gate->bdev.max_iovcnt = options->max_iovcnt;
	gate->bdev.unmap_reads_zeroes = !options->unmap_leaves_garbage;
	gate->bdev.size_bytes = options->size_bytes;
	return gate;
}

void gate_bdev_destroy(struct gate_bdev *gate)
{
	struct gate_fault *fault, *next;

	invariant(!gate->registered);
	list_for_each_entry_safe (fault, next, &gate->faults, link) {
		list_remove(&fault->link);
		free(fault);
	}
	pthread_mutex_destroy(&gate->mutex);
	free(gate->records);
	free(gate->write_seqs);
	free(gate->store);
	free(gate);
}

int gate_bdev_register(
	struct gate_bdev *gate, struct bdev_registry *registry, struct reason *reason)
{
	int rc;

	gate->bdev.name = gate->options.name; /* the registry's was freed with the last life */
	gate->bdev.io_unit_size = gate->options.io_unit_size;
	gate->bdev.max_iovcnt = gate->options.max_iovcnt;
	rc = bdev_register(registry, &gate->bdev, reason);
	gate->registered = rc == 0;
	return rc;
}

struct bdev *gate_bdev_of(struct gate_bdev *gate)
{
	return &gate->bdev;
}

/* ---- the test's hand ---- */

void gate_bdev_hold(struct gate_bdev *gate, bool hold)
{
	SCOPED_LOCK(&gate->mutex);
	gate->hold = hold;
}

void gate_bdev_hold_types(struct gate_bdev *gate, unsigned types)
{
	SCOPED_LOCK(&gate->mutex);
	gate->hold_types = types;
}

unsigned gate_bdev_held(struct gate_bdev *gate)
{
	struct gate_io *own;
	unsigned count = 0;

	SCOPED_LOCK(&gate->mutex);
	list_for_each_entry (own, &gate->held, link)
		count++;
	return count;
}

/* With the mutex. */
static struct gate_io *gate_held_io(struct gate_bdev *gate, unsigned nth)
{
	struct gate_io *own;

	list_for_each_entry (own, &gate->held, link) {
		if (nth-- == 0)
			return own;
	}
	return NULL;
}

void gate_bdev_held_at(struct gate_bdev *gate, unsigned nth, struct gate_record *ret_record)
{
	struct gate_io *own;

	SCOPED_LOCK(&gate->mutex);
	own = gate_held_io(gate, nth);
	invariant(own != NULL);
	*ret_record = gate->records[own->record];
}

void gate_bdev_release(struct gate_bdev *gate, unsigned nth, int status)
{
	struct gate_io *own;

	pthread_mutex_lock(&gate->mutex);
	own = gate_held_io(gate, nth);
	invariant(own != NULL);
	list_remove(&own->link);
	list_add_tail(&gate->released, &own->link);
	own->status = status;
	pthread_mutex_unlock(&gate->mutex);
	reactor_send(io_of_gate(own)->channel->reactor, &own->message);
}

void gate_bdev_release_all(struct gate_bdev *gate, int status)
{
	for (unsigned count = gate_bdev_held(gate); count > 0; count--)
		gate_bdev_release(gate, 0, status);
}

void gate_bdev_fail(struct gate_bdev *gate, unsigned types, uint64_t offset, uint64_t length,
	int status, unsigned count)
{
	struct gate_fault *fault = calloc(1, sizeof(*fault));

	invariant(fault != NULL && status < 0);
	*fault = (struct gate_fault){.types = types,
		.offset = offset,
		.length = length,
		.status = status,
		.count = count};
	SCOPED_LOCK(&gate->mutex);
	list_add_tail(&gate->faults, &fault->link);
}

bool gate_bdev_fail_nth(struct gate_bdev *gate, unsigned types, unsigned nth, int status)
{
	bool carried_out;

	SCOPED_LOCK(&gate->mutex);
	carried_out = gate->nth.types && !gate->nth.count;
	gate->nth = (struct gate_fault){
		.types = types, .offset = nth, .status = status, .count = types != 0};
	return carried_out;
}

void gate_bdev_fail_no_more(struct gate_bdev *gate)
{
	struct gate_fault *fault;

	SCOPED_LOCK(&gate->mutex);
	list_for_each_entry (fault, &gate->faults, link)
		fault->count = 0;
}

/* ---- what has happened ---- */

unsigned gate_bdev_record_count(struct gate_bdev *gate)
{
	SCOPED_LOCK(&gate->mutex);
	return gate->records_count;
}

void gate_bdev_record_at(struct gate_bdev *gate, unsigned nth, struct gate_record *ret_record)
{
	SCOPED_LOCK(&gate->mutex);
	invariant(nth < gate->records_count);
	*ret_record = gate->records[nth];
}

static void gate_record_move(struct list *ios, unsigned from, unsigned to)
{
	struct gate_io *own;

	list_for_each_entry (own, ios, link) {
		if (own->record == from)
			own->record = to;
	}
}

void gate_bdev_forget(struct gate_bdev *gate)
{
	unsigned kept = 0;

	SCOPED_LOCK(&gate->mutex);
	for (unsigned i = 0; i < gate->records_count; i++) {
		if (gate->records[i].ended)
			continue;
		gate_record_move(&gate->held, i, kept);
		gate_record_move(&gate->released, i, kept);
		gate->records[kept++] = gate->records[i];
	}
	gate->records_count = kept;
}

void gate_bdev_peek(struct gate_bdev *gate, uint64_t offset, void *buf, size_t len)
{
	SCOPED_LOCK(&gate->mutex);
	invariant(offset <= gate->options.size_bytes && len <= gate->options.size_bytes - offset);
	memcpy(buf, gate->store + offset, len);
}

void gate_bdev_poke(struct gate_bdev *gate, uint64_t offset, const void *buf, size_t len)
{
	SCOPED_LOCK(&gate->mutex);
	invariant(offset <= gate->options.size_bytes && len <= gate->options.size_bytes - offset);
	memcpy(gate->store + offset, buf, len);
}

bool gate_bdev_is_stable(struct gate_bdev *gate, uint64_t offset, uint64_t length)
{
	uint32_t block_size = gate->options.block_size;

	SCOPED_LOCK(&gate->mutex);
	for (uint64_t at = align_down(offset, block_size); at < offset + length; at += block_size) {
		if (gate->write_seqs[at / block_size] > gate->stable_seq)
			return false;
	}
	return true;
}
