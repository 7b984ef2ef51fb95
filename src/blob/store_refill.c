/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clusters that data reactors hold ahead of need: handed out and taken back by the engine. They are
 * taken as far as the bitmap goes, and free for whoever counts (blob_store_get_info).
 *
 * The less there is the less a reserve gets at a time. When there is nothing left, what others hold
 * in reserve is recalled before anybody hears that the store is full; and clusters that are about
 * to become free (a release is under way) are waited for. So a store is full only when every
 * cluster holds data, however many reactors use it.
 */
#include "blob/store_impl.h"

static void refill_returned(struct message *message)
{
	struct store_refill *refill = container_of(message, struct store_refill, message);

	refill->done(refill);
}

static void refill_answer(struct store_refill *refill)
{
	refill->message.run = refill_returned;
	reactor_send(refill->seat->home, &refill->message);
}

/* ---- taking ------------------------------------------------------------- */

static void seat_join(struct blob_store *store, struct store_seat *seat)
{
	if (!list_is_empty(&seat->link))
		return;
	list_add_tail(&store->seats, &seat->link);
	store->num_seats++;
}

static bool refill_serve(struct store_refill *refill)
{
	struct blob_store *store = refill->store;
	uint64_t share = store_clusters_free(store) / (2 * (uint64_t)store->num_seats);
	unsigned wanted = (unsigned)u64_min(refill->wanted, u64_max(share, 1));

	refill->count = store_clusters_take(store, wanted, refill->clusters);
	atomic_fetch_add_explicit(&store->reserved_clusters, refill->count, memory_order_relaxed);
	return refill->count > 0;
}

static void seats_recall(struct blob_store *store, const struct store_seat *except)
{
	struct store_seat *seat;

	if (atomic_load_explicit(&store->reserved_clusters, memory_order_relaxed) == 0)
		return;
	list_for_each_entry (seat, &store->seats, link) {
		if (seat == except || seat->recalled)
			continue;
		seat->recalled = true;
		store->recalls++;
		reactor_send(seat->home, &seat->recall);
	}
}

static bool refills_may_hope(const struct blob_store *store)
{
	return store->recalls > 0 || !list_is_empty(&store->releases);
}

static void refill_take(struct store_refill *refill)
{
	struct blob_store *store = refill->store;

	invariant(refill->wanted > 0 && refill->wanted <= STORE_REFILL_MAX);
	seat_join(store, refill->seat);
	if (!refill_serve(refill) && refill->urgent) {
		seats_recall(store, refill->seat);
		if (refills_may_hope(store)) {
			list_add_tail(&store->refills, &refill->link);
			return;
		}
	}
	refill_answer(refill);
}

void store_refills_serve(struct blob_store *store)
{
	struct store_refill *refill, *next;

	list_for_each_entry_safe (refill, next, &store->refills, link) {
		if (!refill_serve(refill) && refills_may_hope(store))
			return;
		list_remove(&refill->link);
		refill_answer(refill);
	}
}

/* ---- giving back -------------------------------------------------------- */

static void clusters_give_back(struct store_refill *refill)
{
	struct blob_store *store = refill->store;
	struct store_release *release;

	atomic_fetch_sub_explicit(&store->reserved_clusters, refill->count, memory_order_relaxed);
	if (!refill->dirty) {
		store_clusters_put_back(store, refill->clusters, refill->count);
		return;
	}
	release = store_release_create(store, BLOBSTORE_CLEAR_DEFAULT);
	for (unsigned i = 0; i < refill->count; i++)
		store_release_cluster(release, refill->clusters[i]);
	store_release_start(release);
}

static void refill_give(struct store_refill *refill)
{
	struct blob_store *store = refill->store;

	if (refill->count)
		clusters_give_back(refill);
	if (refill->recalled) {
		refill->seat->recalled = false;
		store->recalls--;
	}
	refill_answer(refill);
	store_refills_serve(store);
}

static void refill_leave(struct store_refill *refill)
{
	struct blob_store *store = refill->store;
	struct store_refill *other, *next;

	list_for_each_entry_safe (other, next, &store->refills, link) {
		if (other->seat != refill->seat)
			continue;
		list_remove(&other->link);
		refill_answer(other);
	}
	if (!list_is_empty(&refill->seat->link)) {
		list_remove(&refill->seat->link);
		store->num_seats--;
	}
	refill_answer(refill);
}

static void refill_arrived(struct message *message)
{
	struct store_refill *refill = container_of(message, struct store_refill, message);

	switch (refill->kind) {
	case STORE_REFILL_TAKE:
		refill_take(refill);
		break;
	case STORE_REFILL_GIVE:
		refill_give(refill);
		break;
	case STORE_REFILL_LEAVE:
		refill_leave(refill);
		break;
	}
}

void store_refill_send(struct store_refill *refill)
{
	refill->message.run = refill_arrived;
	list_init(&refill->link);
	reactor_send(refill->store->engine, &refill->message);
}

void store_cluster_used(struct blob_store *store)
{
	atomic_fetch_sub_explicit(&store->reserved_clusters, 1, memory_order_relaxed);
	store_water_changed(store);
}

void store_refills_init(struct blob_store *store)
{
	list_init(&store->seats);
	list_init(&store->refills);
}
