/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Flows and workers. The operation under test buys three things and must return what it bought when
 * a later step fails; each of its waits is failed once.
 */
#include "host.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/flow.h"
#include "core/worker.h"

#define STEPS 3

/* ---- a service with asynchronous calls that can be told to fail ---- */

struct shop {
	struct reactor *reactor;
	unsigned owned; /* bought and not returned */
	unsigned calls; /* waits so far */
	unsigned fail_nth; /* 0: none */
	bool fail_undo;
	unsigned inside; /* depth of calls: done must come later */
	unsigned early;
};

struct errand {
	struct timer timer;
	struct worker_job job;
	struct shop *shop;
	done_fn done;
	void *arg;
	int rc;
	int change;
};

static void errand_end(struct errand *errand)
{
	struct shop *shop = errand->shop;
	done_fn done = errand->done;
	void *arg = errand->arg;
	int rc = errand->rc;

	shop->early += shop->inside > 0;
	if (!rc)
		shop->owned = (unsigned)((int)shop->owned + errand->change);
	free(errand);
	done(arg, rc);
}

static void errand_fired(struct timer *timer)
{
	errand_end(container_of(timer, struct errand, timer));
}

static int errand_work(struct worker_job *job)
{
	return container_of(job, struct errand, job)->rc;
}

static void errand_worked(void *arg, int rc)
{
	struct errand *errand = arg;

	if (rc != errand->rc)
		abort();
	errand_end(errand);
}

/* Every other errand goes through a worker. */
static void shop_run(struct shop *shop, int change, bool may_fail, done_fn done, void *arg)
{
	struct errand *errand = calloc(1, sizeof(*errand));

	shop->inside++;
	*errand = (struct errand){.shop = shop, .done = done, .arg = arg, .change = change};
	shop->calls++;
	if (may_fail && shop->calls == shop->fail_nth)
		errand->rc = -EIO;
	else if (change < 0 && shop->fail_undo)
		errand->rc = -ENODEV;
	errand->timer.fired = errand_fired;
	if (shop->calls % 2)
		timer_start(shop->reactor, &errand->timer, 1000);
	else
		worker_run(&errand->job, shop->reactor, errand_work, errand_worked, errand);
	shop->inside--;
}

static void shop_buy(struct shop *shop, done_fn done, void *arg)
{
	shop_run(shop, 1, true, done, arg);
}

static void shop_return(struct shop *shop, done_fn done, void *arg)
{
	shop_run(shop, -1, false, done, arg);
}

/* ---- the flow ---- */

struct order {
	struct flow flow;
	struct shop *shop;
	unsigned bought;
	done_fn done;
	void *arg;
};

static enum flow_result order_run(struct flow *f)
{
	struct order *op = container_of(f, struct order, flow);

	FLOW_BEGIN(f);
	for (op->bought = 0; op->bought < STEPS; op->bought++) {
		AWAIT(f, shop_buy(op->shop, flow_resume, f));
		if (flow_failed(f))
			goto return_all;
	}
	goto finish;

return_all:
	while (op->bought > 0) {
		op->bought--;
		AWAIT(f, shop_return(op->shop, flow_resume, f));
	}
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static void order_start(struct shop *shop, done_fn done, void *arg)
{
	struct order *op = calloc(1, sizeof(*op));

	op->shop = shop;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, shop->reactor, "order", order_run);
}

/* ---- tests ---- */

struct customer {
	struct shop shop;
	unsigned answers;
	int rc;
	bool answered_early;
	bool starting;
	unsigned listed;
	char wait[64];
	atomic_bool done;
};

static void customer_done(void *arg, int rc)
{
	struct customer *customer = arg;

	customer->answered_early = customer->starting;
	customer->answers++;
	customer->rc = rc;
	atomic_store(&customer->done, true);
}

static void customer_start(void *arg)
{
	struct customer *customer = arg;

	customer->starting = true;
	order_start(&customer->shop, customer_done, customer);
	customer->starting = false;
}

static void customer_order(struct host *host, struct customer *customer)
{
	atomic_store(&customer->done, false);
	customer->answers = 0;
	customer->shop.calls = 0;
	host_call(host, customer->shop.reactor, customer_start, customer);
	assert_true(host_wait_flag(host, &customer->done));
	assert_int_equal(customer->answers, 1);
	assert_false(customer->answered_early);
	assert_int_equal(customer->shop.early, 0);
}

static void every_wait_failed_once_leaves_nothing_behind(void **state)
{
	HOST_FOR_EACH_SEED(seed, 50)
	{
		struct customer customer = {0};
		struct host host;

		host_start(&host, seed);
		customer.shop.reactor = host_reactor(&host, "flows", POLL_ADAPTIVE);
		for (unsigned nth = 1; nth <= STEPS; nth++) {
			customer.shop.fail_nth = nth;
			customer_order(&host, &customer);
			assert_int_equal(customer.rc, -EIO);
			assert_int_equal(customer.shop.owned, 0);
			assert_int_equal(customer.shop.calls, nth + nth - 1);
		}
		customer.shop.fail_nth = 0;
		customer_order(&host, &customer);
		assert_int_equal(customer.rc, 0);
		assert_int_equal(customer.shop.owned, STEPS);
		assert_int_equal(customer.shop.calls, STEPS);
		host_stop_reactor(customer.shop.reactor);
		host_end(&host);
	}
}

static void the_first_error_is_kept_when_the_undo_fails_as_well(void **state)
{
	struct customer customer = {.shop.fail_nth = 2, .shop.fail_undo = true};
	struct host host;

	host_start(&host, 1);
	customer.shop.reactor = host_reactor(&host, "flows", POLL_ADAPTIVE);
	customer_order(&host, &customer);
	assert_int_equal(customer.rc, -EIO);
	assert_int_equal(customer.shop.owned, 1);
	host_stop_reactor(customer.shop.reactor);
	host_end(&host);
}

/* A flow without a wait ends as late as any other. */
static enum flow_result short_run(struct flow *f)
{
	struct order *op = container_of(f, struct order, flow);

	FLOW_BEGIN(f);
	flow_fail(f, -ENOENT);
	flow_fail(f, -EIO);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static void customer_start_short(void *arg)
{
	struct customer *customer = arg;
	struct order *op = calloc(1, sizeof(*op));

	op->done = customer_done;
	op->arg = customer;
	customer->starting = true;
	flow_start(&op->flow, customer->shop.reactor, "short", short_run);
	customer->starting = false;
	if (customer->answers)
		abort();
}

static void a_flow_cannot_end_before_its_starter_has_returned(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct customer customer = {0};
		struct host host;

		host_start(&host, seed);
		customer.shop.reactor = host_reactor(&host, "flows", POLL_ADAPTIVE);
		host_call(&host, customer.shop.reactor, customer_start_short, &customer);
		assert_true(host_wait_flag(&host, &customer.done));
		assert_int_equal(customer.answers, 1);
		assert_false(customer.answered_early);
		assert_int_equal(customer.rc, -ENOENT);
		host_stop_reactor(customer.shop.reactor);
		host_end(&host);
	}
}

static void customer_note(const struct flow *flow, void *arg)
{
	struct customer *customer = arg;

	customer->listed++;
	strncpy(customer->wait, flow->wait, sizeof(customer->wait) - 1);
	if (strcmp(flow->name, "order") != 0 || flow->started_ns == 0)
		abort();
}

static void customer_start_and_list(void *arg)
{
	struct customer *customer = arg;

	customer_start(customer);
	flow_for_each(customer->shop.reactor, customer_note, customer);
}

static void customer_list(void *arg)
{
	struct customer *customer = arg;

	customer->listed = 0;
	flow_for_each(customer->shop.reactor, customer_note, customer);
}

static void a_flow_is_listed_with_what_it_waits_for_until_it_ends(void **state)
{
	struct customer customer = {0};
	struct host host;

	host_start(&host, 1);
	customer.shop.reactor = host_reactor(&host, "flows", POLL_ADAPTIVE);
	host_call(&host, customer.shop.reactor, customer_start_and_list, &customer);
	assert_int_equal(customer.listed, 1);
	assert_string_equal(customer.wait, "start");
	assert_true(host_wait_flag(&host, &customer.done));
	host_call(&host, customer.shop.reactor, customer_list, &customer);
	assert_int_equal(customer.listed, 0);
	host_stop_reactor(customer.shop.reactor);
	host_end(&host);
}

/* ---- workers ---- */

#define JOBS 50

struct crowd {
	struct reactor *reactor;
	struct crowd_job {
		struct worker_job job;
		struct crowd *crowd;
		atomic_uint ran;
		unsigned done;
	} jobs[JOBS];
	unsigned wrong;
	atomic_uint done;
};

static int crowd_work(struct worker_job *job)
{
	struct crowd_job *mine = container_of(job, struct crowd_job, job);

	atomic_fetch_add(&mine->ran, 1);
	return -(int)(mine - mine->crowd->jobs);
}

static void crowd_done(void *arg, int rc)
{
	struct crowd_job *mine = arg;
	struct crowd *crowd = mine->crowd;

	crowd->wrong += mine->done++ != 0 || mine->ran != 1;
	crowd->wrong += rc != -(int)(mine - crowd->jobs);
	crowd->wrong += reactor_self() != crowd->reactor;
	atomic_fetch_add(&crowd->done, 1);
}

static void crowd_begin(void *arg)
{
	struct crowd *crowd = arg;

	for (unsigned i = 0; i < JOBS; i++) {
		crowd->jobs[i].crowd = crowd;
		worker_run(&crowd->jobs[i].job, crowd->reactor, crowd_work, crowd_done,
			&crowd->jobs[i]);
	}
	crowd->wrong += atomic_load(&crowd->done) != 0;
}

static void a_reactor_ends_only_after_all_its_jobs_have_come_back(void **state)
{
	HOST_FOR_EACH_SEED(seed, 50)
	{
		static struct crowd crowd;
		struct host host;

		crowd = (struct crowd){0};
		host_start(&host, seed);
		crowd.reactor = host_reactor(&host, "crowd", POLL_ADAPTIVE);
		host_call(&host, crowd.reactor, crowd_begin, &crowd);
		reactor_stop(crowd.reactor);
		assert_int_equal(crowd.done, JOBS);
		assert_int_equal(crowd.wrong, 0);
		reactor_destroy(crowd.reactor);
		host_end(&host);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_wait_failed_once_leaves_nothing_behind),
		cmocka_unit_test(the_first_error_is_kept_when_the_undo_fails_as_well),
		cmocka_unit_test(a_flow_cannot_end_before_its_starter_has_returned),
		cmocka_unit_test(a_flow_is_listed_with_what_it_waits_for_until_it_ends),
		cmocka_unit_test(a_reactor_ends_only_after_all_its_jobs_have_come_back),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
