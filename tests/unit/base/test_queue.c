/* SPDX-License-Identifier: BSD-2-Clause */
/* Lists, and the queue of many producers with real threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "base/list.h"
#include "base/mpsc.h"

/* ---- lists against an array ---- */

#define ITEMS 16

struct item {
	struct list link;
	unsigned number;
};

struct model {
	unsigned numbers[ITEMS];
	unsigned count;
};

static void model_insert(struct model *model, unsigned at, unsigned number)
{
	for (unsigned i = model->count++; i > at; i--)
		model->numbers[i] = model->numbers[i - 1];
	model->numbers[at] = number;
}

static void model_remove(struct model *model, unsigned number)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < model->count; i++) {
		if (model->numbers[i] != number)
			model->numbers[kept++] = model->numbers[i];
	}
	model->count = kept;
}

static void model_check(const struct model *model, struct list *head)
{
	struct item *item;
	unsigned i = 0;

	list_for_each_entry (item, head, link)
		assert_int_equal(item->number, model->numbers[i++]);
	assert_int_equal(i, model->count);
	assert_int_equal(list_is_empty(head), model->count == 0);
}

static void lists_agree_with_a_model(void **state)
{
	struct list head, other;
	struct item items[ITEMS];
	struct model model = {0};
	uint64_t random = 1;

	list_init(&head);
	list_init(&other);
	for (unsigned i = 0; i < ITEMS; i++) {
		items[i].number = i;
		list_init(&items[i].link);
	}
	for (unsigned i = 0; i < 20000; i++) {
		struct item *item;

		random = random * UINT64_C(6364136223846793005) + 1442695040888963407u;
		item = &items[(random >> 40) % ITEMS];
		list_remove(&item->link);
		list_remove(&item->link); /* may be called twice */
		model_remove(&model, item->number);
		switch ((random >> 33) % 4) {
		case 0:
			list_add_head(&head, &item->link);
			model_insert(&model, 0, item->number);
			break;
		case 1:
			list_add_tail(&head, &item->link);
			model_insert(&model, model.count, item->number);
			break;
		case 2: /* there and back, behind nothing */
			list_move_all(&other, &head);
			assert_true(list_is_empty(&head));
			list_move_all(&head, &other);
			list_move_all(&head, &other);
			break;
		default:
			break;
		}
		model_check(&model, &head);
	}
}

static void lists_are_joined_in_order_and_may_lose_entries_while_walked(void **state)
{
	struct list a = LIST_INIT(a), b = LIST_INIT(b);
	struct item items[ITEMS], *item, *next;
	struct model model = {0};

	for (unsigned i = 0; i < ITEMS; i++) {
		items[i].number = i;
		list_add_tail(i < ITEMS / 2 ? &a : &b, &items[i].link);
	}
	list_move_all(&a, &b);
	assert_true(list_is_empty(&b));
	list_for_each_entry_safe (item, next, &a, link) {
		if (item->number % 3 == 0)
			list_remove(&item->link);
		else
			model_insert(&model, model.count, item->number);
	}
	model_check(&model, &a);
	assert_ptr_equal(list_first_entry(&a, struct item, link), &items[1]);
}

/* ---- many producers ---- */

#define PRODUCERS 3
#define NODES     20000

struct node {
	struct mpsc_node node;
	unsigned producer;
	unsigned number;
};

struct producer {
	pthread_t thread;
	struct mpsc *queue;
	struct node *nodes;
	unsigned wakes; /* pushes that found it empty */
};

static void *producer_run(void *arg)
{
	struct producer *producer = arg;

	for (unsigned i = 0; i < NODES; i++) {
		producer->wakes += mpsc_push(producer->queue, &producer->nodes[i].node);
		if (i % 64 == 0)
			sched_yield();
	}
	return NULL;
}

static void what_producers_push_comes_out_once_and_in_their_order(void **state)
{
	static struct mpsc queue;
	struct producer producers[PRODUCERS];
	unsigned next[PRODUCERS] = {0};
	unsigned taken = 0, batches = 0, wakes = 0;

	for (unsigned p = 0; p < PRODUCERS; p++) {
		producers[p] = (struct producer){
			.queue = &queue, .nodes = calloc(NODES, sizeof(struct node))};
		for (unsigned i = 0; i < NODES; i++) {
			producers[p].nodes[i].producer = p;
			producers[p].nodes[i].number = i;
		}
	}
	for (unsigned p = 0; p < PRODUCERS; p++)
		assert_int_equal(
			pthread_create(&producers[p].thread, NULL, producer_run, &producers[p]), 0);
	while (taken < PRODUCERS * NODES) {
		struct mpsc_node *node = mpsc_take_all(&queue);

		if (!node)
			sched_yield();
		batches += node != NULL;
		for (; node; node = node->next, taken++) {
			struct node *mine = container_of(node, struct node, node);

			assert_int_equal(mine->number, next[mine->producer]++);
		}
	}
	for (unsigned p = 0; p < PRODUCERS; p++) {
		pthread_join(producers[p].thread, NULL);
		wakes += producers[p].wakes;
		free(producers[p].nodes);
	}
	assert_true(mpsc_is_empty(&queue));
	/* Exactly one producer of each batch was told to wake the consumer. */
	assert_int_equal(wakes, batches);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_agree_with_a_model),
		cmocka_unit_test(lists_are_joined_in_order_and_may_lose_entries_while_walked),
		cmocka_unit_test(what_producers_push_comes_out_once_and_in_their_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
