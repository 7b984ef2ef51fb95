/* SPDX-License-Identifier: BSD-2-Clause */
/* Slabs: dry, grown, waited for, shrunk. */
#include "host.h"

#include <stdlib.h>
#include <string.h>

#include "core/slab.h"

#define OBJECTS 300
#define WAITERS 5

struct user {
	struct reactor *reactor;
	void *objects[OBJECTS];
	unsigned held;
	unsigned wanted;
	struct slab_waiter waiter;
	struct timer timer;
	unsigned dry;
	bool broken;
	atomic_bool done;
};

static void user_start(struct host *host, struct user *user, uint64_t seed)
{
	*user = (struct user){0};
	host_start(host, seed);
	user->reactor = host_reactor(host, "slabs", POLL_ADAPTIVE);
}

static void user_end(struct host *host, struct user *user)
{
	host_stop_reactor(user->reactor);
	host_end(host);
}

/* Each object holds its own pattern, so that two that overlap are noticed. */
static void object_mark(void *object, unsigned number)
{
	memset(object, (int)(number & 0xff), slab_object_size(SLAB_512));
}

static bool object_is_marked(const void *object, unsigned number)
{
	const unsigned char *bytes = object;

	for (size_t i = 0; i < slab_object_size(SLAB_512); i++) {
		if (bytes[i] != (number & 0xff))
			return false;
	}
	return true;
}

static void user_take(struct user *user)
{
	while (user->held < user->wanted) {
		void *object = slab_get(user->reactor, SLAB_512);

		if (!object) {
			user->dry++;
			slab_wait(user->reactor, SLAB_512, &user->waiter);
			return;
		}
		object_mark(object, user->held);
		user->objects[user->held++] = object;
	}
	atomic_store(&user->done, true);
}

static void user_ready(struct slab_waiter *waiter)
{
	user_take(container_of(waiter, struct user, waiter));
}

static void user_begin(void *arg)
{
	struct user *user = arg;

	user->waiter.ready = user_ready;
	user_take(user);
}

static void user_put_all(void *arg)
{
	struct user *user = arg;

	while (user->held > 0) {
		user->held--;
		user->broken |= !object_is_marked(user->objects[user->held], user->held);
		slab_put(user->reactor, SLAB_512, user->objects[user->held]);
	}
}

static void a_dry_slab_grows_and_calls_who_waits(void **state)
{
	HOST_FOR_EACH_SEED(seed, 50)
	{
		static struct user user;
		struct host host;

		user_start(&host, &user, seed);
		user.wanted = OBJECTS;
		host_call(&host, user.reactor, user_begin, &user);
		assert_true(host_wait_flag(&host, &user.done));
		assert_true(user.dry >= 2);
		host_call(&host, user.reactor, user_put_all, &user);
		assert_false(user.broken);
		user_end(&host, &user);
	}
}

/* How many there are: takes until it is dry and puts back. */
static void user_count_free(void *arg)
{
	struct user *user = arg;

	for (user->held = 0; user->held < OBJECTS; user->held++) {
		void *object = slab_get(user->reactor, SLAB_512);

		if (!object)
			break;
		object_mark(object, user->held);
		user->objects[user->held] = object;
	}
	user->wanted = user->held;
	user_put_all(user);
}

static void a_slab_shrinks_to_where_it_began_when_it_is_idle(void **state)
{
	static struct user user;
	struct host host;
	unsigned before;

	user_start(&host, &user, 1);
	host_call(&host, user.reactor, user_count_free, &user);
	before = user.wanted;
	assert_in_range(before, 1, OBJECTS / 2);
	host_sleep(&host, 100 * SEC_NS);
	user.wanted = OBJECTS;
	host_call(&host, user.reactor, user_begin, &user);
	assert_true(host_wait_flag(&host, &user.done));
	host_call(&host, user.reactor, user_put_all, &user);
	host_call(&host, user.reactor, user_count_free, &user);
	assert_true(user.wanted >= OBJECTS);
	host_sleep(&host, 100 * SEC_NS);
	host_call(&host, user.reactor, user_count_free, &user);
	assert_int_equal(user.wanted, before);
	user_end(&host, &user);
}

static void a_slab_in_use_is_not_shrunk_below_what_it_needs(void **state)
{
	static struct user user;
	struct host host;

	user_start(&host, &user, 1);
	user.wanted = OBJECTS;
	host_call(&host, user.reactor, user_begin, &user);
	assert_true(host_wait_flag(&host, &user.done));
	host_sleep(&host, 20 * SEC_NS);
	host_call(&host, user.reactor, user_put_all, &user);
	assert_false(user.broken);
	user_end(&host, &user);
}

/* ---- waiters ---- */

struct queue {
	struct reactor *reactor;
	struct queue_waiter {
		struct slab_waiter waiter;
		struct queue *queue;
		unsigned number;
	} waiters[WAITERS];
	void *objects[OBJECTS];
	unsigned held;
	unsigned called[WAITERS];
	unsigned calls;
	bool inside_put;
	unsigned early;
	atomic_bool done;
};

static void queue_waiter_ready(struct slab_waiter *waiter)
{
	struct queue_waiter *mine = container_of(waiter, struct queue_waiter, waiter);
	struct queue *queue = mine->queue;

	queue->early += queue->inside_put;
	queue->called[queue->calls++] = mine->number;
	if (queue->calls == WAITERS - 1)
		atomic_store(&queue->done, true);
}

static void queue_begin(void *arg)
{
	struct queue *queue = arg;
	void *object;

	while ((object = slab_get(queue->reactor, SLAB_4K)))
		queue->objects[queue->held++] = object;
	for (unsigned i = 0; i < WAITERS; i++) {
		queue->waiters[i] = (struct queue_waiter){
			.waiter.ready = queue_waiter_ready, .queue = queue, .number = i};
		slab_wait(queue->reactor, SLAB_4K, &queue->waiters[i].waiter);
	}
	slab_wait_cancel(&queue->waiters[2].waiter);
	queue->inside_put = true;
	while (queue->held > 0)
		slab_put(queue->reactor, SLAB_4K, queue->objects[--queue->held]);
	queue->inside_put = false;
}

static void waiters_are_called_in_order_later_and_not_when_cancelled(void **state)
{
	HOST_FOR_EACH_SEED(seed, 50)
	{
		static struct queue queue;
		struct host host;

		queue = (struct queue){0};
		host_start(&host, seed);
		queue.reactor = host_reactor(&host, "slabs", POLL_ADAPTIVE);
		host_call(&host, queue.reactor, queue_begin, &queue);
		assert_true(host_wait_flag(&host, &queue.done));
		host_stop_reactor(queue.reactor);
		assert_int_equal(queue.calls, WAITERS - 1);
		assert_int_equal(queue.early, 0);
		assert_memory_equal(queue.called, ((unsigned[]){0, 1, 3, 4}), 4 * sizeof(unsigned));
		host_end(&host);
	}
}

/* ---- shape and end ---- */

static void classes_take_one(void *arg)
{
	struct user *user = arg;

	for (unsigned class = 0; class < SLAB_CLASSES; class ++) {
		void *object = slab_get(user->reactor, class);

		user->dry += !object;
		if (!object)
			continue;
		memset(object, 0xa5, slab_object_size(class));
		user->broken |= (uintptr_t)object % CACHE_LINE != 0;
		if (class >= SLAB_128K)
			user->broken |= (uintptr_t)object % 4096 != 0;
		slab_put(user->reactor, class, object);
	}
}

static void objects_are_aligned_and_as_large_as_they_say(void **state)
{
	HOST_FOR_EACH_SEED(seed, 5)
	{
		static struct user user;
		struct host host;

		user_start(&host, &user, seed);
		do { /* until each class has grown */
			user.dry = 0;
			host_call(&host, user.reactor, classes_take_one, &user);
			host_sleep(&host, MSEC_NS);
		} while (user.dry);
		assert_false(user.broken);
		user_end(&host, &user);
	}
}

static void a_reactor_may_stop_while_a_slab_grows(void **state)
{
	HOST_FOR_EACH_SEED(seed, 50)
	{
		static struct user user;
		struct host host;

		user_start(&host, &user, seed);
		host_call(&host, user.reactor, classes_take_one, &user);
		assert_true(user.dry > 0);
		user_end(&host, &user); /* the leak checks see what is lost */
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_dry_slab_grows_and_calls_who_waits),
		cmocka_unit_test(waiters_are_called_in_order_later_and_not_when_cancelled),
		cmocka_unit_test(objects_are_aligned_and_as_large_as_they_say),
		cmocka_unit_test(a_reactor_may_stop_while_a_slab_grows),
		/* these take minutes of real time */
		cmocka_unit_test(a_slab_shrinks_to_where_it_began_when_it_is_idle),
		cmocka_unit_test(a_slab_in_use_is_not_shrunk_below_what_it_needs),
	};

	host_select(argc, argv);
	return _cmocka_run_group_tests(
		"tests", tests, ARRAY_SIZE(tests) - (!host_is_simulated() ? 2 : 0), NULL, NULL);
}
