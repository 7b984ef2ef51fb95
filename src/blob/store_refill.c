/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clusters that data reactors hold ahead of need: handed out and taken back by the engine. They are
 * taken as far as the bitmap goes, and free for whoever counts (blob_store_get_info).
 */
#include "blob/store_impl.h"

static void refill_returned(struct message *message)
{
	struct store_refill *refill = container_of(message, struct store_refill, message);

	refill->done(refill);
}

static void refill_arrived(struct message *message)
{
	struct store_refill *refill = container_of(message, struct store_refill, message);
	struct blob_store *store = refill->store;

	invariant(refill->wanted <= STORE_REFILL_MAX && refill->count <= STORE_REFILL_MAX);
	if (refill->wanted) {
		refill->count = store_clusters_take(store, refill->wanted, refill->clusters);
		atomic_fetch_add_explicit(
			&store->reserved_clusters, refill->count, memory_order_relaxed);
	} else {
		store_clusters_put_back(store, refill->clusters, refill->count);
		atomic_fetch_sub_explicit(
			&store->reserved_clusters, refill->count, memory_order_relaxed);
	}
	refill->message.run = refill_returned;
	reactor_send(refill->home, &refill->message);
}

void store_refill_send(struct store_refill *refill)
{
	refill->message.run = refill_arrived;
	reactor_send(refill->store->engine, &refill->message);
}

void store_cluster_used(struct blob_store *store)
{
	atomic_fetch_sub_explicit(&store->reserved_clusters, 1, memory_order_relaxed);
}
