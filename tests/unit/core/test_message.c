/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages between reactors: order, sleep, stop. */
#include "host.h"

#include <errno.h>
#include <stdlib.h>

#define SENDERS 3
#define BURSTS  40

/* ---- many senders, one receiver that sleeps in between ---- */

struct post {
	struct message message;
	struct sender *sender;
	unsigned number;
};

struct sender {
	struct reactor *reactor;
	struct receiver *receiver;
	struct timer timer;
	uint64_t random;
	unsigned sent;
	unsigned bursts;
	unsigned received; /* by the receiver's thread */
	struct post posts[BURSTS * 3];
};

struct receiver {
	struct reactor *reactor;
	atomic_uint wrong;
	atomic_uint received;
	unsigned expected; /* of all senders, once they have finished */
	atomic_uint finished;
	struct sender senders[SENDERS];
};

static void post_run(struct message *message)
{
	struct post *post = container_of(message, struct post, message);
	struct receiver *receiver = post->sender->receiver;

	if (post->number != post->sender->received++ || reactor_self() != receiver->reactor)
		atomic_fetch_add(&receiver->wrong, 1);
	atomic_fetch_add(&receiver->received, 1);
}

static uint64_t sender_draw(struct sender *sender, uint64_t below)
{
	sender->random = sender->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (sender->random >> 33) % below;
}

static void sender_fired(struct timer *timer)
{
	struct sender *sender = container_of(timer, struct sender, timer);

	for (uint64_t count = 1 + sender_draw(sender, 3); count > 0; count--) {
		struct post *post = &sender->posts[sender->sent];

		*post = (struct post){
			.message.run = post_run, .sender = sender, .number = sender->sent++};
		reactor_send(sender->receiver->reactor, &post->message);
	}
	if (++sender->bursts < BURSTS)
		timer_start(sender->reactor, timer, sender_draw(sender, 30 * USEC_NS));
	else
		atomic_fetch_add(&sender->receiver->finished, 1);
}

static void sender_begin(void *arg)
{
	struct sender *sender = arg;

	sender->timer.fired = sender_fired;
	timer_start(sender->reactor, &sender->timer, 0);
}

static bool receiver_has_all(void *arg)
{
	struct receiver *receiver = arg;
	unsigned sent = 0;

	if (atomic_load(&receiver->finished) < SENDERS)
		return false;
	for (unsigned i = 0; i < SENDERS; i++)
		sent += receiver->senders[i].sent;
	return atomic_load(&receiver->received) == sent;
}

static void a_senders_messages_arrive_in_order_and_none_is_lost_across_sleep(void **state)
{
	HOST_FOR_EACH_SEED(seed, 60)
	{
		static struct receiver receiver;
		struct host host;

		receiver = (struct receiver){0};
		host_start(&host, seed);
		receiver.reactor = host_reactor(&host, "receiver", POLL_ADAPTIVE);
		for (unsigned i = 0; i < SENDERS; i++) {
			receiver.senders[i] = (struct sender){
				.receiver = &receiver, .random = seed * SENDERS + i};
			receiver.senders[i].reactor = host_reactor(&host, "sender", POLL_ADAPTIVE);
			host_call(&host, receiver.senders[i].reactor, sender_begin,
				&receiver.senders[i]);
		}
		assert_true(host_wait(&host, receiver_has_all, &receiver));
		assert_int_equal(receiver.wrong, 0);
		for (unsigned i = 0; i < SENDERS; i++)
			host_stop_reactor(receiver.senders[i].reactor);
		host_stop_reactor(receiver.reactor);
		host_end(&host);
	}
}

/* ---- ping-pong: both sides sleep before each message ---- */

struct ball {
	struct message message;
	struct reactor *sides[2];
	unsigned passes;
	unsigned goal;
	atomic_bool done;
};

static void ball_run(struct message *message)
{
	struct ball *ball = container_of(message, struct ball, message);

	if (++ball->passes == ball->goal)
		atomic_store(&ball->done, true);
	else
		reactor_send(ball->sides[ball->passes % 2], message);
}

static void a_message_wakes_a_sleeping_reactor_every_time(void **state)
{
	HOST_FOR_EACH_SEED(seed, 60)
	{
		struct host host;
		struct ball ball = {.message.run = ball_run};

		host_start(&host, seed);
		ball.goal = host.sim ? 300 : 20000;
		ball.sides[0] = host_reactor(&host, "ping", POLL_ADAPTIVE);
		ball.sides[1] = host_reactor(&host, "pong", POLL_ADAPTIVE);
		reactor_send(ball.sides[0], &ball.message);
		assert_true(host_wait_flag(&host, &ball.done));
		host_stop_reactor(ball.sides[0]);
		host_stop_reactor(ball.sides[1]);
		host_end(&host);
	}
}

/* ---- to itself, at the last moment before sleep ---- */

struct selfie {
	struct deferred deferred;
	struct message message;
	struct reactor *reactor;
	atomic_bool done;
};

static void selfie_message_run(struct message *message)
{
	atomic_store(&container_of(message, struct selfie, message)->done, true);
}

static void selfie_deferred_run(struct deferred *deferred)
{
	struct selfie *selfie = container_of(deferred, struct selfie, deferred);

	reactor_send(selfie->reactor, &selfie->message);
}

static void selfie_begin(void *arg)
{
	struct selfie *selfie = arg;

	reactor_defer(selfie->reactor, DEFER_PUBLISH, &selfie->deferred);
}

static void a_reactor_does_not_sleep_over_a_message_to_itself(void **state)
{
	HOST_FOR_EACH_SEED(seed, 50)
	{
		struct selfie selfie = {
			.deferred.run = selfie_deferred_run,
			.message.run = selfie_message_run,
		};
		struct host host;

		host_start(&host, seed);
		selfie.reactor = host_reactor(&host, "selfie", POLL_ADAPTIVE);
		host_call(&host, selfie.reactor, selfie_begin, &selfie);
		assert_true(host_wait_flag(&host, &selfie.done));
		host_stop_reactor(selfie.reactor);
		host_end(&host);
	}
}

/* ---- stop ---- */

struct counted {
	struct message message;
	unsigned *count;
	struct reactor *again; /* sends itself once more */
};

static void counted_run(struct message *message)
{
	struct counted *counted = container_of(message, struct counted, message);
	struct reactor *again = counted->again;

	counted->again = NULL;
	++*counted->count;
	if (again)
		reactor_send(again, message);
}

static void messages_sent_before_stop_have_run_when_it_returns(void **state)
{
	HOST_FOR_EACH_SEED(seed, 50)
	{
		struct counted messages[20];
		struct reactor *reactor;
		struct host host;
		unsigned count = 0;

		host_start(&host, seed);
		reactor = host_reactor(&host, "stopped", POLL_ADAPTIVE);
		for (unsigned i = 0; i < ARRAY_SIZE(messages); i++) {
			messages[i] = (struct counted){
				.message.run = counted_run,
				.count = &count,
				.again = i % 2 ? reactor : NULL,
			};
			reactor_send(reactor, &messages[i].message);
		}
		reactor_stop(reactor);
		assert_int_equal(count, 30); /* those that were sent again as well */
		reactor_destroy(reactor);
		host_end(&host);
	}
}

static void a_reactor_that_was_never_started_can_be_destroyed(void **state)
{
	const struct reactor_options options = {.name = "idle", .cpu = -1};
	struct reactor *reactor;
	struct host host;

	host_start(&host, 1);
	assert_int_equal(reactor_create(host.os, &options, NULL, &reactor), 0);
	reactor_stop(reactor);
	reactor_destroy(reactor);
	host_end(&host);
}

static void a_failure_to_create_or_start_leaves_nothing_and_says_why(void **state)
{
	const struct reactor_options options = {.name = "broken", .cpu = -1};
	struct reason reason = {0};
	struct reactor *reactor;
	struct host host;

	host_start(&host, 1);
	if (host.sim) {
		sim_fail_call(host.sim, SIM_CALL_RING_CREATE, 1, ENOMEM);
		assert_int_equal(reactor_create(host.os, &options, &reason, &reactor), -ENOMEM);
		assert_true(reason.text[0] != '\0');
		reason.text[0] = '\0';
		assert_int_equal(reactor_create(host.os, &options, &reason, &reactor), 0);
		sim_fail_call(host.sim, SIM_CALL_THREAD_START, 1, EAGAIN);
		assert_int_equal(reactor_start(reactor, &reason), -EAGAIN);
		assert_true(reason.text[0] != '\0');
		reactor_stop(reactor);
		reactor_destroy(reactor);
	}
	host_end(&host);
}

/* Joined by a reactor, not by the test. */
struct stopper {
	struct reactor *victim;
	struct reactor *self;
	bool self_kept;
};

static void stopper_run(void *arg)
{
	struct stopper *stopper = arg;

	host_stop_reactor(stopper->victim);
	stopper->self_kept = reactor_self() == stopper->self;
}

static void a_reactor_can_stop_another(void **state)
{
	HOST_FOR_EACH_SEED(seed, 50)
	{
		struct stopper stopper;
		struct host host;

		host_start(&host, seed);
		stopper.victim = host_reactor(&host, "victim", POLL_ALWAYS);
		stopper.self = host_reactor(&host, "stopper", POLL_ADAPTIVE);
		host_call(&host, stopper.self, stopper_run, &stopper);
		assert_true(stopper.self_kept);
		host_stop_reactor(stopper.self);
		host_end(&host);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_senders_messages_arrive_in_order_and_none_is_lost_across_sleep),
		cmocka_unit_test(a_message_wakes_a_sleeping_reactor_every_time),
		cmocka_unit_test(a_reactor_does_not_sleep_over_a_message_to_itself),
		cmocka_unit_test(messages_sent_before_stop_have_run_when_it_returns),
		cmocka_unit_test(a_reactor_that_was_never_started_can_be_destroyed),
		cmocka_unit_test(a_failure_to_create_or_start_leaves_nothing_and_says_why),
		cmocka_unit_test(a_reactor_can_stop_another),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
