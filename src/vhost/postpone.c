/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests for which there is no space: instead of an error the guest gets its answer when there is
 * some. A device that found none calls virtqueue_postpone instead of virtqueue_push. The request is
 * the queue's again then, as if it had just been fetched: it counts as in flight nowhere, not here
 * and not at the storage, holds no memory, and stands in a line. When its turn comes it is read
 * anew from the ring (packed: from the queue region, the slots may have been used for others) and
 * given to the device once more, from its beginning.
 *
 * Nobody tells when there is space again; it may have come in any of many ways. So a few of the
 * line are tried now and then: an eighth, at intervals that double up to POSTPONED_PERIOD_MAX_NS.
 * What does not succeed goes to the end of the line, so each has its turn within eight intervals,
 * also behind requests for another disk that stays full. Each that succeeds lets two more be tried
 * at once: when a store has grown the whole line goes within few turns, and when there is nothing,
 * little is done for nothing, however many wait.
 *
 * What becomes of the line:
 *
 *	paused, memory changes	stays; its requests are read by the new table
 *	leaves, enters		goes along to the other reactor
 *	frozen			nothing is tried any more, nothing answered
 *	broken			nothing is tried any more
 *	stopped, recorded	unanswered; they are in the queue region, so whoever starts the ring
 *				next (we, a back-end after us) repeats them, in their order
 *	stopped, split, not	those that were fetched last are as good as not fetched: the base is
 *	  recorded		before them. Behind an answered one that cannot be said: those are
 *				tried a last time and answered, with the error if it must be
 *	the process is killed	as stopped and recorded; without a record the front-end decides
 *	has to repeat		one that was repeated and waits is repeated: new ones may be taken
 *
 * A packed ring without a queue region postpones nothing: there is nowhere to read a chain from
 * once its slots have been overwritten.
 */
#include "vhost/virtqueue_impl.h"

#define POSTPONED_PERIOD_MIN_NS (50 * MSEC_NS)
#define POSTPONED_PERIOD_MAX_NS (400 * MSEC_NS)
#define POSTPONED_SHARE         8

static unsigned postponed_count(const struct virtqueue *vq)
{
	return atomic_load_explicit(&vq->postponed.count, memory_order_relaxed);
}

/* ---- the line ------------------------------------------------------------------------------ */

static void postponed_add(struct virtqueue *vq, uint16_t head)
{
	struct vq_postponed *line = &vq->postponed;

	line->heads[(line->first + postponed_count(vq)) % vq->size] = head;
	COUNTER_ADD(line->count, 1);
}

static struct vq_request *postponed_first(const struct virtqueue *vq)
{
	return virtqueue_request_at(vq, vq->postponed.heads[vq->postponed.first]);
}

static void postponed_drop_first(struct virtqueue *vq)
{
	struct vq_postponed *line = &vq->postponed;

	line->first = (line->first + 1) % vq->size;
	COUNTER_ADD(line->count, -1);
}

bool virtqueue_postpone(struct vq_request *request)
{
	struct virtqueue *vq = request->vq;
	struct vq_postponed *line = &vq->postponed;

	invariant(request->in_flight);
	if (vq->broken || vq->frozen || line->last_try || (vq->is_packed && !vq->inflight.region))
		return false;
	chain_release(vq, request);
	request->in_flight = VQ_POSTPONED;
	if (postponed_count(vq) == 0)
		log_limited(&vq->log_limit, LOG_WARNING,
			"%s: its storage has no space left: what is written there waits until it "
			"has grown or something was deleted",
			vq->name);
	postponed_add(vq, request->head);
	COUNTER_ADD(vq->in_flight, -1);
	reactor_defer(vq->reactor, DEFER_PUBLISH, &vq->publish);
	if (vq->state == VQ_RUNNING && !timer_is_started(&line->timer))
		postponed_resume(vq);
	return true;
}

/* ---- tries --------------------------------------------------------------------------------- */

static bool postponed_may_go(const struct virtqueue *vq)
{
	return (vq->state == VQ_RUNNING || vq->postponed.last_try) && !vq->broken && !vq->frozen;
}

static void postponed_try(struct virtqueue *vq, unsigned more)
{
	vq->due = (unsigned)u64_min(vq->due + (uint64_t)more, postponed_count(vq));
	if (vq->due && postponed_may_go(vq))
		poller_wake(&vq->poller);
}

static void postponed_timer_fired(struct timer *timer)
{
	struct virtqueue *vq = container_of(timer, struct virtqueue, postponed.timer);
	struct vq_postponed *line = &vq->postponed;
	unsigned count = postponed_count(vq);

	if (count == 0 || !postponed_may_go(vq))
		return;
	postponed_try(vq, (count + POSTPONED_SHARE - 1) / POSTPONED_SHARE);
	line->period_ns = u64_min(line->period_ns * 2, POSTPONED_PERIOD_MAX_NS);
	timer_start(vq->reactor, timer, line->period_ns);
}

void postponed_resume(struct virtqueue *vq)
{
	struct vq_postponed *line = &vq->postponed;

	if (postponed_count(vq) == 0)
		return;
	line->timer.fired = postponed_timer_fired;
	line->period_ns = POSTPONED_PERIOD_MIN_NS;
	timer_start(vq->reactor, &line->timer, line->period_ns);
}

void postponed_halt(struct virtqueue *vq)
{
	timer_stop(vq->reactor, &vq->postponed.timer);
	vq->due = 0;
}

void virtqueue_try_postponed(struct virtqueue *vq)
{
	if (vq->state == VQ_RUNNING)
		postponed_try(vq, postponed_count(vq));
}

struct vq_request *postponed_pop(struct virtqueue *vq)
{
	struct vq_request *request = postponed_first(vq);
	bool recovered = request->recovered;

	if (!postponed_may_go(vq)) {
		/* Frozen or broken: a stop that waits for it need not wait any more. */
		if (vq->postponed.last_try)
			reactor_defer(vq->reactor, DEFER_PUBLISH, &vq->publish);
		return NULL;
	}
	switch (vq->ring->pop_again(vq, request)) {
	case CHAIN_OK:
		break;
	case CHAIN_DRY:
		vq->dry = true;
		request->recovered = recovered;
		return NULL;
	case CHAIN_BROKEN:
		reactor_defer(vq->reactor, DEFER_PUBLISH, &vq->publish);
		return NULL;
	}
	postponed_drop_first(vq);
	vq->due--;
	request->recovered = recovered;
	request->in_flight = VQ_IN_FLIGHT_AGAIN;
	COUNTER_ADD(vq->in_flight, 1);
	return request;
}

void postponed_answered(struct virtqueue *vq)
{
	vq->postponed.period_ns = POSTPONED_PERIOD_MIN_NS;
	if (postponed_count(vq) > 0)
		postponed_try(vq, 2);
}

/* ---- the end ------------------------------------------------------------------------------- */

/* Those that the ring has taken back. */
static void postponed_keep_waiting(struct virtqueue *vq)
{
	for (unsigned left = postponed_count(vq); left; left--) {
		const struct vq_request *request = postponed_first(vq);

		postponed_drop_first(vq);
		if (request->in_flight == VQ_POSTPONED)
			postponed_add(vq, request->head);
	}
}

static void postponed_forget(struct virtqueue *vq)
{
	while (postponed_count(vq)) {
		postponed_first(vq)->in_flight = VQ_IDLE;
		postponed_drop_first(vq);
	}
}

bool postponed_go_on(struct virtqueue *vq)
{
	struct vq_postponed *line = &vq->postponed;

	if (vq->inflight.region || vq->broken || vq->frozen)
		postponed_forget(vq);
	if (!line->last_try && postponed_count(vq)) {
		vq->ring->take_back(vq, postponed_count(vq));
		postponed_keep_waiting(vq);
		line->last_try = true;
		if (postponed_count(vq))
			virtqueue_poll_again(vq);
		postponed_try(vq, postponed_count(vq));
	}
	if (postponed_count(vq))
		return true;
	line->last_try = false;
	return false;
}
