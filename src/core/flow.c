/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The machinery below AWAIT. A flow is on its reactor's list exactly while it waits: it is taken
 * off before its function runs, since that may free it, and put back when the function says that
 * it waits again. Nothing can have resumed it in between: done is never called before the awaited
 * call has returned, and everything happens on one reactor.
 */
#include "core/flow.h"

#include <stdlib.h>

static void flow_run(struct flow *flow)
{
	struct reactor *reactor = flow->reactor;

	list_remove(&flow->link);
	if (flow->run(flow) == FLOW_WAITING)
		list_add_tail(&reactor->flows, &flow->link);
}

static void flow_start_run(struct deferred *deferred)
{
	flow_run(container_of(deferred, struct flow, start));
}

void flow_start(struct flow *flow, struct reactor *reactor, const char *name,
	enum flow_result (*run)(struct flow *flow))
{
	invariant(reactor_self() == reactor || reactor_self() == NULL);
	flow->start.queued = false;
	flow->start.run = flow_start_run;
	flow->reactor = reactor;
	flow->run = run;
	flow->name = name;
	flow->wait = "start";
	flow->point = 0;
	flow->rc = 0;
	flow->error = 0;
	flow->started_ns = reactor_now(reactor);
	list_add_tail(&reactor->flows, &flow->link);
	reactor_defer(reactor, DEFER_COMPLETE, &flow->start);
}

void flow_resume(void *arg, int rc)
{
	struct flow *flow = arg;

	invariant(reactor_self() == flow->reactor);
	flow->rc = rc;
	if (rc && !flow->error)
		flow->error = rc;
	flow_run(flow);
}

void flow_for_each(
	struct reactor *reactor, void (*fn)(const struct flow *flow, void *arg), void *arg)
{
	struct flow *flow;

	list_for_each_entry (flow, &reactor->flows, link)
		fn(flow, arg);
}

void flow_lost(const struct flow *flow)
{
	log_error("flow %s stands at a point it does not have: %d (%s)", flow->name, flow->point,
		flow->wait);
	abort();
}
