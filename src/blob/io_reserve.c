/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clusters that a reactor holds ready, so that a first write need not ask for one. It asks for more
 * when half of them are gone; whenever it has run dry it holds twice as many from then on. When the
 * engine recalls them (another reactor has none, and the store is full otherwise) all go back and
 * it begins small again.
 *
 * Some are dirty: something was written into them before it turned out that another channel had
 * allocated the same cluster of the blob. They are used first, since that overwrites them, and are
 * cleared by the engine before they become free, as whoever opens the store next may expect free
 * clusters to be.
 *
 * Leaving (control): to the reactor, LEAVE to the engine and back (by the order of messages every
 * refill and recall has been answered then), the rest is given back, to control.
 */
#include <errno.h>
#include <string.h>

#include "blob/io_impl.h"

#define RESERVE_START 4

static void reserve_refill(struct store_reserve *reserve, bool urgent)
{
	if (reserve->taking)
		return;
	reserve->taking = true;
	reserve->take.urgent = urgent;
	reserve->take.wanted = reserve->ahead;
	reserve->take.clusters = reserve->taken;
	store_refill_send(&reserve->take);
}

static void reserve_refill_ahead(struct store_reserve *reserve)
{
	if (!reserve->scarce && reserve->count <= reserve->ahead / 2)
		reserve_refill(reserve, false);
}

bool reserve_take(struct store_reserve *reserve, uint32_t *ret_cluster)
{
	if (!list_is_empty(&reserve->waiting))
		return false;
	if (reserve->dirty_count > 0)
		*ret_cluster = reserve->dirty[--reserve->dirty_count];
	else if (reserve->count > 0)
		*ret_cluster = reserve->clusters[--reserve->count];
	else
		return false;
	reserve_refill_ahead(reserve);
	return true;
}

void reserve_wait(struct store_reserve *reserve, struct reserve_wait *wait, done_fn done, void *arg)
{
	wait->done = done;
	wait->arg = arg;
	list_add_tail(&reserve->waiting, &wait->link);
	reserve->ahead = (unsigned)u64_min(reserve->ahead * 2, STORE_REFILL_MAX);
	reserve_refill(reserve, true);
}

static void reserve_serve(struct store_reserve *reserve, int rc)
{
	struct reserve_wait *wait;

	while (!list_is_empty(&reserve->waiting)) {
		wait = list_first_entry(&reserve->waiting, struct reserve_wait, link);
		if (!rc && reserve->dirty_count > 0)
			wait->cluster = reserve->dirty[--reserve->dirty_count];
		else if (!rc && reserve->count > 0)
			wait->cluster = reserve->clusters[--reserve->count];
		else if (!rc)
			return;
		list_remove(&wait->link);
		wait->done(wait->arg, rc);
	}
}

/* At the bottom and turned round, so that they are used in rising order. */
static void reserve_add_taken(struct store_reserve *reserve, unsigned count)
{
	memmove(reserve->clusters + count, reserve->clusters,
		reserve->count * sizeof(*reserve->clusters));
	for (unsigned i = 0; i < count; i++)
		reserve->clusters[count - 1 - i] = reserve->taken[i];
	reserve->count += count;
}

static void reserve_taken(struct store_refill *refill)
{
	struct store_reserve *reserve = container_of(refill, struct store_reserve, take);
	bool urgent = refill->urgent;
	bool any = refill->count > 0;

	reserve->taking = false;
	reserve->scarce = !any;
	reserve_add_taken(reserve, refill->count);
	/* One that was not urgent says nothing to those who came meanwhile. */
	if (any || reserve->dirty_count > 0)
		reserve_serve(reserve, 0);
	else if (urgent)
		reserve_serve(reserve, -ENOSPC);
	if (!list_is_empty(&reserve->waiting))
		reserve_refill(reserve, true);
	else
		reserve_refill_ahead(reserve);
}

bool reserve_put(struct store_reserve *reserve, uint32_t cluster, bool dirty)
{
	if (dirty) {
		if (reserve->dirty_count == RESERVE_DIRTY_MAX)
			return false;
		reserve->dirty[reserve->dirty_count++] = cluster;
	} else {
		if (reserve->count + STORE_REFILL_MAX >= RESERVE_ROOM)
			return false;
		reserve->clusters[reserve->count++] = cluster;
	}
	reserve_serve(reserve, 0);
	return true;
}

/* ---- giving back -------------------------------------------------------- */

static void reserve_give(
	struct store_reserve *reserve, struct store_refill *refill, bool dirty, uint32_t *given)
{
	uint32_t *from = dirty ? reserve->dirty : reserve->clusters;
	unsigned *count = dirty ? &reserve->dirty_count : &reserve->count;

	memcpy(given, from, *count * sizeof(*from));
	refill->kind = STORE_REFILL_GIVE;
	refill->dirty = dirty;
	refill->clusters = given;
	refill->count = *count;
	*count = 0;
	store_refill_send(refill);
}

/* The answer that counts as such comes last. */
static void reserve_recalled(struct message *message)
{
	struct store_reserve *reserve = container_of(message, struct store_reserve, seat.recall);

	reserve->ahead = RESERVE_START;
	if (reserve->dirty_count > 0)
		reserve_give(
			reserve, &reserve->recall_dirty, true, reserve->recalled + RESERVE_ROOM);
	reserve->recall.recalled = true;
	reserve_give(reserve, &reserve->recall, false, reserve->recalled);
}

static void reserve_recall_done(struct store_refill *refill)
{
}

static void reserve_left(struct message *message)
{
	struct store_reserve *reserve = container_of(message, struct store_reserve, left);

	reserve->left_done(reserve->left_arg, 0);
}

static void reserve_leave_step(struct store_refill *refill)
{
	struct store_reserve *reserve = container_of(refill, struct store_reserve, leave);

	invariant(!reserve->taking && list_is_empty(&reserve->waiting));
	if (reserve->count > 0) {
		reserve_give(reserve, refill, false, reserve->given);
	} else if (reserve->dirty_count > 0) {
		reserve_give(reserve, refill, true, reserve->given);
	} else {
		reserve->left.run = reserve_left;
		reactor_send(reserve->control, &reserve->left);
	}
}

static void reserve_leave_begin(struct message *message)
{
	struct store_reserve *reserve = container_of(message, struct store_reserve, left);

	reserve->leave.kind = STORE_REFILL_LEAVE;
	store_refill_send(&reserve->leave);
}

void reserve_leave(struct store_reserve *reserve, struct reactor *control, done_fn done, void *arg)
{
	reserve->control = control;
	reserve->left_done = done;
	reserve->left_arg = arg;
	reserve->left.run = reserve_leave_begin;
	reactor_send(reserve->seat.home, &reserve->left);
}

void reserve_init(struct store_reserve *reserve, struct blob_store *store, struct reactor *home)
{
	struct store_refill *refills[] = {
		&reserve->take, &reserve->recall, &reserve->recall_dirty, &reserve->leave};

	reserve->store = store;
	reserve->ahead = RESERVE_START;
	reserve->seat.home = home;
	reserve->seat.recall.run = reserve_recalled;
	list_init(&reserve->seat.link);
	list_init(&reserve->waiting);
	for (unsigned i = 0; i < ARRAY_SIZE(refills); i++) {
		refills[i]->store = store;
		refills[i]->seat = &reserve->seat;
	}
	reserve->take.done = reserve_taken;
	reserve->recall.done = reserve_recall_done;
	reserve->recall_dirty.done = reserve_recall_done;
	reserve->leave.done = reserve_leave_step;
}
