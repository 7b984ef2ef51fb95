/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Operations of several waits, written as one function that stops at each AWAIT and goes on from
 * there. Rules in CONTRIBUTING.md; in short: the only local is the op; no AWAIT inside an inner
 * switch or a helper; the flow keeps the first error; success first, undo below.
 *
 *	struct thing_op {
 *		struct flow flow;
 *		...
 *	};
 *	static enum flow_result thing_run(struct flow *f)
 *	{
 *		struct thing_op *op = container_of(f, struct thing_op, flow);
 *
 *		FLOW_BEGIN(f);
 *		AWAIT(f, first_step(op->x, flow_resume, f));
 *		if (flow_failed(f))
 *			goto finish;
 *		...
 *	finish:
 *		op->done(op->arg, f->error);
 *		free(op);
 *		FLOW_END(f);
 *	}
 *
 * Every asynchronous function of the control path ends with (done, arg): done is called exactly
 * once, on the reactor that made the call, and never before the call has returned.
 */
#ifndef CORE_FLOW_H
#define CORE_FLOW_H

#include "core/reactor.h"

/* rc is 0 or -errno. */
typedef void (*done_fn)(void *arg, int rc);

enum flow_result { FLOW_WAITING, FLOW_ENDED };

struct flow {
	struct deferred start;
	struct reactor *reactor;
	enum flow_result (*run)(struct flow *flow);
	const char *name;
	const char *wait; /* text of the AWAIT it stands at */
	int point;
	int rc; /* of the last wait */
	int error; /* the first failure */
	uint64_t started_ns;
	struct list link; /* reactor.flows */
};

/* Own reactor's thread. Only queues: the flow cannot have ended before this returns. The op that
 * embeds the flow is allocated by the caller and freed by the flow's last lines. */
void flow_start(struct flow *flow, struct reactor *reactor, const char *name,
	enum flow_result (*run)(struct flow *flow));

/* A done_fn: arg is the flow. */
void flow_resume(void *arg, int rc);

/* Did the last wait fail? (error keeps the first failure of all.) */
static inline bool flow_failed(const struct flow *flow)
{
	return flow->rc != 0;
}

/* A failure found between two waits. */
static inline void flow_fail(struct flow *flow, int rc)
{
	if (!flow->error)
		flow->error = rc;
	flow->rc = rc;
}

/* The flows of this reactor: fn(flow, arg) for each. Own thread. */
void flow_for_each(
	struct reactor *reactor, void (*fn)(const struct flow *flow, void *arg), void *arg);

_Noreturn void flow_lost(const struct flow *flow);

#define FLOW_BEGIN(f)                                                                              \
	switch ((f)->point) {                                                                      \
	case 0:

#define AWAIT(f, call)                                                                             \
	do {                                                                                       \
		(f)->point = __LINE__;                                                             \
		(f)->wait = #call;                                                                 \
		call;                                                                              \
		return FLOW_WAITING;                                                               \
	case __LINE__:;                                                                            \
	} while (0)

/* The op has been freed: f is not touched any more. */
#define FLOW_END(f)                                                                                \
	return FLOW_ENDED;                                                                         \
	default:                                                                                   \
		flow_lost(f);                                                                      \
		}

#endif
