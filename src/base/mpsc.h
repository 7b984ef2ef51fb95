/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Intrusive queue, many producers, one consumer. Producers push onto a stack with one compare and
 * exchange; the consumer takes the whole stack with one exchange and reverses it, so that what one
 * producer pushed comes out in its order. A node belongs to the queue until it has been taken.
 *
 * The release of the push pairs with the acquire of the take: what a producer wrote before pushing
 * is seen by the consumer.
 */
#ifndef BASE_MPSC_H
#define BASE_MPSC_H

#include <stdatomic.h>

#include "base/util.h"

struct mpsc_node {
	struct mpsc_node *next;
};

struct mpsc {
	_Atomic(struct mpsc_node *) top;
};

/* True when the queue was empty: this push is the one that has to wake the consumer. */
static inline bool mpsc_push(struct mpsc *queue, struct mpsc_node *node)
{
	struct mpsc_node *top = atomic_load_explicit(&queue->top, memory_order_relaxed);

	do {
		node->next = top;
	} while (!atomic_compare_exchange_weak_explicit(
		&queue->top, &top, node, memory_order_seq_cst, memory_order_relaxed));
	return top == NULL;
}

static inline bool mpsc_is_empty(struct mpsc *queue)
{
	return atomic_load_explicit(&queue->top, memory_order_seq_cst) == NULL;
}

/* All that was pushed so far, oldest first, linked by next; NULL when there is nothing. */
static inline struct mpsc_node *mpsc_take_all(struct mpsc *queue)
{
	struct mpsc_node *node;
	struct mpsc_node *first = NULL;

	if (atomic_load_explicit(&queue->top, memory_order_relaxed) == NULL)
		return NULL;
	node = atomic_exchange_explicit(&queue->top, NULL, memory_order_acquire);
	while (node) {
		struct mpsc_node *next = node->next;

		node->next = first;
		first = node;
		node = next;
	}
	return first;
}

#endif
