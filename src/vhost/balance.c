/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Queues move from a data reactor that has too much to do to one that has little. Control reactor.
 *
 * Once a second, while queues have work, every data reactor is asked for its busy time and every
 * running queue for what it has done. A queue's share of its reactor's load is estimated by its
 * requests and bytes. Then at most one queue moves, live (ring_relocate.c), and only where all of
 * this holds:
 *
 *	- its reactor was busy for more than LOAD_FULL in the last two periods
 *	- afterwards the busier of the two reactors will be less busy by LOAD_GAIN at least, so a
 *	  single queue that fills a reactor stays where it is, and two equal ones do not swap
 *	- nobody placed it by hand, and the controller's cpumask allows the other reactor
 *	- it has not moved, or failed to, in the last QUEUE_REST_NS
 *
 * While no queue has any work the look is taken less often and nobody is asked; without front-ends,
 * or with one data reactor, there is no timer at all.
 */
#include "vhost/balance_impl.h"

#include <errno.h>
#include <stdlib.h>

#include "vhost/controller_impl.h"

#define PERIOD_NS      SEC_NS
#define IDLE_PERIOD_NS (4 * SEC_NS)
#define QUEUE_REST_NS  (10 * SEC_NS)
/* Requests that take longer to end are more trouble than the move is worth. */
#define MOVE_LIMIT_NS (50 * MSEC_NS)

/* Per mille of a reactor's time. */
#define LOAD_FULL 800
#define LOAD_GAIN 150

/* What a request costs beside its bytes, as bytes. */
#define REQUEST_COST_BYTES 16384

/* ---- the choice -------------------------------------------------------------------------- */

static unsigned balance_share(
	const struct balance_load *load, const struct balance_queue *queue, uint64_t weight)
{
	return weight ? (unsigned)(load->busy * queue->weight / weight) : 0;
}

static uint64_t balance_weight_of(
	const struct balance_queue *queues, unsigned count, unsigned reactor)
{
	uint64_t weight = 0;

	for (unsigned i = 0; i < count; i++) {
		if (queues[i].reactor == reactor)
			weight += queues[i].weight;
	}
	return weight;
}

/* Moving the queue to `to`: by how much less the busier of the two will be busy. */
static int balance_gain(
	const struct balance_load *loads, unsigned from, unsigned to, unsigned share)
{
	unsigned rest = loads[from].busy - share;
	unsigned sum = loads[to].busy + share;

	return (int)loads[from].busy - (int)(rest > sum ? rest : sum);
}

bool balance_choose(const struct placement *placement, const struct balance_load *loads,
	const struct balance_queue *queues, unsigned count, unsigned *ret_queue, unsigned *ret_to)
{
	int best = LOAD_GAIN - 1;

	for (unsigned i = 0; i < count; i++) {
		const struct balance_queue *queue = &queues[i];
		const struct balance_load *load = &loads[queue->reactor];
		unsigned share;

		if (!queue->movable || load->busy < LOAD_FULL || load->busy_before < LOAD_FULL)
			continue;
		share = balance_share(
			load, queue, balance_weight_of(queues, count, queue->reactor));
		for (unsigned to = 0; to < placement->count; to++) {
			int gain = balance_gain(loads, queue->reactor, to, share);

			if (to == queue->reactor || gain <= best ||
				!placement_is_allowed(placement, to, queue->cpus))
				continue;
			best = gain;
			*ret_queue = i;
			*ret_to = to;
		}
	}
	return best >= LOAD_GAIN;
}

/* ---- the look ---------------------------------------------------------------------------- */

static void balance_for_each_ring(
	struct balance *balance, void (*fn)(struct balance *balance, struct ring *ring))
{
	struct vhost_controller *controller;

	list_for_each_entry (controller, &balance->vhost->controllers, link) {
		struct vhost_session *s = controller->session;

		for (unsigned i = 0; s && i < s->ring_count; i++) {
			if (s->rings[i].vq)
				fn(balance, &s->rings[i]);
		}
	}
}

/* What it has done since the last look. A queue that was opened again counts from 0. */
static void ring_weigh(struct balance *balance, struct ring *ring)
{
	struct ring_load *load = &ring->load;
	struct virtqueue_info info;

	virtqueue_get_info(ring->vq, &info);
	if (info.requests < load->requests || info.bytes < load->bytes)
		load->requests = load->bytes = 0;
	load->weight =
		(info.requests - load->requests) * REQUEST_COST_BYTES + (info.bytes - load->bytes);
	load->requests = info.requests;
	load->bytes = info.bytes;
	balance->weight += load->weight;
	balance->queue_count++;
}

static void ring_describe(struct balance *balance, struct ring *ring)
{
	const struct session_options *options = &ring->session->options;
	uint64_t now_ns = reactor_now(balance->vhost->control);

	if (balance->described == balance->queue_count) /* opened since they were counted */
		return;
	balance->rings[balance->described] = ring;
	balance->queues[balance->described++] = (struct balance_queue){
		.reactor = placement_index(&balance->vhost->placement, ring->reactor),
		.weight = ring->load.weight,
		.cpus = options->cpus,
		.movable = !options->pins[ring->index] && !ring->relocation &&
			   now_ns >= ring->load.rest_until_ns,
	};
}

/* ---- the move ---------------------------------------------------------------------------- */

static void balance_moved(void *arg, int rc)
{
	struct balance *balance = arg;

	balance->moving = false;
	if (rc)
		log_debug("balance: %s", reason_text(&balance->reason, rc));
}

static void balance_move(struct balance *balance, struct ring *ring, unsigned to)
{
	const struct placement *placement = &balance->vhost->placement;
	struct reactor *reactor = placement->reactors[to];

	ring->load.rest_until_ns = reactor_now(balance->vhost->control) + QUEUE_REST_NS;
	balance->reason.text[0] = '\0';
	if (ring_relocate(ring, reactor, MOVE_LIMIT_NS, &balance->reason, balance_moved, balance))
		return;
	log_info("%s queue %u moves from busy thread %s to %s", ring->device->name, ring->index,
		ring->reactor->name, reactor->name);
	balance->moving = true;
}

static void balance_decide(struct balance *balance)
{
	unsigned queue, to;

	balance->queues = calloc(balance->queue_count, sizeof(*balance->queues));
	balance->rings = calloc(balance->queue_count, sizeof(struct ring *));
	balance->described = 0;
	if (balance->queues && balance->rings) {
		balance_for_each_ring(balance, ring_describe);
		if (balance_choose(&balance->vhost->placement, balance->loads, balance->queues,
			    balance->described, &queue, &to))
			balance_move(balance, balance->rings[queue], to);
	}
	free(balance->queues);
	free(balance->rings);
}

/* ---- asking ------------------------------------------------------------------------------ */

/* One data reactor's busy time. The message goes there and comes back. */
struct balance_probe {
	struct message message;
	struct balance *balance;
	struct reactor *reactor;
	struct reactor_stats stats;
	struct reactor_stats before;
};

static void balance_finish(struct balance *balance)
{
	if (balance->idle) {
		balance->idle(balance->idle_arg, 0);
		return;
	}
	if (balance->vhost->sessions == 0)
		return;
	/* Two looks at busy times make a load, two loads a decision. */
	if (balance->looks++ > 1 && !balance->moving)
		balance_decide(balance);
	timer_start(balance->vhost->control, &balance->timer, PERIOD_NS);
}

static void probe_back(struct message *message)
{
	struct balance_probe *probe = container_of(message, struct balance_probe, message);
	struct balance *balance = probe->balance;
	struct balance_load *load = &balance->loads[probe - balance->probes];
	uint64_t busy_ns = probe->stats.busy_ns - probe->before.busy_ns;
	uint64_t all_ns = busy_ns + probe->stats.idle_ns - probe->before.idle_ns;

	load->busy_before = load->busy;
	load->busy = all_ns ? (unsigned)(busy_ns * 1000 / all_ns) : 0;
	probe->before = probe->stats;
	if (--balance->waiting == 0)
		balance_finish(balance);
}

/* On the reactor that is asked. */
static void probe_fill(struct message *message)
{
	struct balance_probe *probe = container_of(message, struct balance_probe, message);

	reactor_get_stats(probe->reactor, &probe->stats);
	message->run = probe_back;
	reactor_send(probe->balance->vhost->control, message);
}

static void balance_ask(struct balance *balance)
{
	balance->waiting = balance->vhost->placement.count;
	for (unsigned i = 0; i < balance->vhost->placement.count; i++) {
		balance->probes[i].message.run = probe_fill;
		reactor_send(balance->probes[i].reactor, &balance->probes[i].message);
	}
}

static void balance_look(struct timer *timer)
{
	struct balance *balance = container_of(timer, struct balance, timer);

	balance->queue_count = 0;
	balance->weight = 0;
	balance_for_each_ring(balance, ring_weigh);
	if (balance->weight) {
		balance_ask(balance);
		return;
	}
	balance->looks = 0;
	timer_start(balance->vhost->control, timer, IDLE_PERIOD_NS);
}

/* ---- life -------------------------------------------------------------------------------- */

void balance_start(struct balance *balance)
{
	if (balance->vhost->placement.count > 1 && !balance->waiting)
		timer_start(balance->vhost->control, &balance->timer, PERIOD_NS);
}

void balance_stop(struct balance *balance)
{
	timer_stop(balance->vhost->control, &balance->timer);
	balance->looks = 0;
}

int balance_init(struct balance *balance, struct vhost *vhost)
{
	unsigned count = vhost->placement.count;

	balance->vhost = vhost;
	balance->timer.fired = balance_look;
	balance->probes = calloc(count, sizeof(*balance->probes));
	balance->loads = calloc(count, sizeof(*balance->loads));
	if (!balance->probes || !balance->loads) {
		balance_fini(balance);
		return -ENOMEM;
	}
	for (unsigned i = 0; i < count; i++) {
		balance->probes[i].balance = balance;
		balance->probes[i].reactor = vhost->placement.reactors[i];
	}
	return 0;
}

void balance_await_idle(struct balance *balance, done_fn done, void *arg)
{
	invariant(balance->waiting);
	balance->idle = done;
	balance->idle_arg = arg;
}

void balance_fini(struct balance *balance)
{
	invariant(!balance->waiting);
	free(balance->probes);
	free(balance->loads);
}
