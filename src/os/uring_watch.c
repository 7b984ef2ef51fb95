/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Watches of a ring: each armed watch is one IORING_OP_POLL_ADD, one shot, in a slot.
 *
 *	watch:    FREE -> POLLED, or WANTED when the submission queue is full
 *	complete: POLLED, CANCEL_WANTED, CANCELLED -> FREE; ready is called if a watch is there
 *	unwatch:  the slot loses its watch, which alone guarantees that ready is not called; then
 *	          WANTED -> FREE when its turn comes, POLLED -> CANCELLED (or CANCEL_WANTED), since
 *	          a poll left in the kernel would hold the file open
 *
 * A slot is free again only when the completion of its poll has come and it is off the todo list.
 * The generation keeps a late cancel from hitting the next poll in the same slot.
 *
 * An event descriptor that turns out to be at its end or broken (a front-end may send a pipe and
 * close it) stays armed with no slot: it is never ready and costs nothing.
 */
#include "os/uring_impl.h"

#include <poll.h>
#include <stdlib.h>

#define SLOTS_FIRST      64u
#define SLOT_SHIFT       3
#define GENERATION_SHIFT 35

static uint64_t slot_user_data(const struct watch_table *table, uint32_t index)
{
	return (uint64_t)table->slots[index].generation << GENERATION_SHIFT |
	       (uint64_t)index << SLOT_SHIFT | URING_WATCH;
}

void watch_table_init(struct watch_table *table)
{
	table->first_free = SLOT_NONE;
	table->todo_first = SLOT_NONE;
	table->todo_last = SLOT_NONE;
}

void watch_table_fini(struct watch_table *table)
{
	free(table->slots);
}

/* Grows with the largest number of watches ever armed at once; there is no going on without. */
static void table_grow(struct watch_table *table)
{
	uint32_t count = table->count ? table->count * 2 : SLOTS_FIRST;
	struct watch_slot *slots = realloc(table->slots, count * sizeof(*slots));

	invariant(slots != NULL);
	for (uint32_t i = count; i-- > table->count;) {
		slots[i] = (struct watch_slot){.next_free = table->first_free};
		table->first_free = i;
	}
	table->slots = slots;
	table->count = count;
}

static uint32_t slot_get(struct watch_table *table)
{
	uint32_t index;

	if (table->first_free == SLOT_NONE)
		table_grow(table);
	index = table->first_free;
	table->first_free = table->slots[index].next_free;
	return index;
}

/* Its poll is over, or never was. One that is on the todo list is freed when it comes off. */
static void slot_end(struct watch_table *table, uint32_t index)
{
	struct watch_slot *slot = &table->slots[index];

	slot->state = SLOT_FREE;
	slot->watch = NULL;
	slot->generation = (slot->generation + 1) & 0x1fffffff;
	if (slot->on_todo)
		return;
	slot->next_free = table->first_free;
	table->first_free = index;
}

static void todo_add(struct watch_table *table, uint32_t index)
{
	struct watch_slot *slot = &table->slots[index];

	if (slot->on_todo)
		return;
	slot->on_todo = true;
	slot->next_todo = SLOT_NONE;
	if (table->todo_first == SLOT_NONE)
		table->todo_first = index;
	else
		table->slots[table->todo_last].next_todo = index;
	table->todo_last = index;
}

/* Queues the poll or the cancel that the slot wants; false: no room. */
static bool slot_queue(struct uring *uring, uint32_t index)
{
	struct watch_slot *slot = &uring->watches.slots[index];
	struct io_uring_sqe *sqe;

	if (slot->state != SLOT_WANTED && slot->state != SLOT_CANCEL_WANTED)
		return true;
	sqe = io_uring_get_sqe(&uring->uring);
	if (!sqe)
		return false;
	if (slot->state == SLOT_WANTED) {
		io_uring_prep_poll_add(sqe, slot->watch->fd,
			slot->watch->kind == OS_WATCH_WRITABLE ? POLLOUT : POLLIN);
		sqe->user_data = slot_user_data(&uring->watches, index);
		slot->state = SLOT_POLLED;
	} else {
		io_uring_prep_poll_remove(sqe, slot_user_data(&uring->watches, index));
		sqe->user_data = URING_CANCEL;
		slot->state = SLOT_CANCELLED;
	}
	return true;
}

bool watch_table_fill(struct uring *uring)
{
	struct watch_table *table = &uring->watches;

	while (table->todo_first != SLOT_NONE) {
		uint32_t index = table->todo_first;
		struct watch_slot *slot = &table->slots[index];

		if (!slot_queue(uring, index))
			return true;
		table->todo_first = slot->next_todo;
		slot->on_todo = false;
		if (slot->state == SLOT_FREE)
			slot_end(table, index);
	}
	return false;
}

static void slot_want(struct uring *uring, uint32_t index, enum slot_state wanted)
{
	struct watch_table *table = &uring->watches;

	table->slots[index].state = wanted;
	/* What waits already goes first: a cancel must not overtake its poll. */
	if (table->todo_first != SLOT_NONE || !slot_queue(uring, index))
		todo_add(table, index);
}

void uring_watch(struct os_ring *ring, struct os_watch *watch)
{
	struct uring *uring = uring_of(ring);
	uint32_t index;

	if (watch->armed)
		return;
	index = slot_get(&uring->watches);
	uring->watches.slots[index].watch = watch;
	watch->armed = true;
	watch->token = index;
	slot_want(uring, index, SLOT_WANTED);
}

void uring_unwatch(struct os_ring *ring, struct os_watch *watch)
{
	struct uring *uring = uring_of(ring);
	struct watch_slot *slot;

	if (!watch->armed)
		return;
	watch->armed = false;
	if (watch->token == SLOT_NONE)
		return;
	slot = &uring->watches.slots[watch->token];
	invariant(slot->watch == watch);
	slot->watch = NULL;
	if (slot->state == SLOT_WANTED)
		slot_end(&uring->watches, (uint32_t)watch->token);
	else
		slot_want(uring, (uint32_t)watch->token, SLOT_CANCEL_WANTED);
}

unsigned watch_complete(struct uring *uring, uint64_t user_data, int32_t res)
{
	struct watch_table *table = &uring->watches;
	uint32_t index = (uint32_t)(user_data >> SLOT_SHIFT);
	struct os_watch *watch;

	invariant(index < table->count && user_data == slot_user_data(table, index));
	watch = table->slots[index].watch;
	slot_end(table, index);
	if (!watch)
		return 0;
	watch->token = SLOT_NONE;
	/* A failed poll counts as ready: whoever reads next is told the error. */
	if (watch->kind == OS_WATCH_EVENT && !event_drain(watch->fd))
		return 0;
	watch->armed = false;
	watch->ready(watch);
	return 1;
}
