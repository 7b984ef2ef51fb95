/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a virtqueue: it runs on a data reactor as a poller, goes cold with its kick eventfd
 * watched, drains before it pauses or stops. The format of the ring is behind struct vring_ops.
 *
 * Requests that wait for space are in flight in no sense here: postpone.c has them.
 *
 * The control reactor asks by messages that are embedded in the queue (struct virtqueue_op), and is
 * answered by the same message sent back. One of each kind is under way at most; freeze may
 * overtake a drain. Between the done of start and that of pause or stop, only the data reactor
 * touches the queue; outside, only the control reactor does.
 *
 * Draining ends in the publish step: only then have all completions been made visible. publish is
 * deferred by every push, also by those of a frozen queue, which write nothing.
 */
#include "vhost/virtqueue.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "vhost/virtqueue_impl.h"

/* What reading a descriptor counts for in a poller's budget of bytes, by the time that both take:
 * heads may share one long chain of a few bytes. */
#define DESCRIPTOR_COST_BYTES 64u

static const bool virtqueue_moves[VQ_STATES][VQ_STATES] = {
	[VQ_CREATED] = {[VQ_RUNNING] = true},
	[VQ_RUNNING] = {[VQ_DRAINING] = true},
	[VQ_DRAINING] = {[VQ_PAUSED] = true, [VQ_CREATED] = true, [VQ_RUNNING] = true},
	[VQ_PAUSED] = {[VQ_RUNNING] = true, [VQ_DRAINING] = true},
};

static void virtqueue_set_state(struct virtqueue *vq, enum virtqueue_state state)
{
	invariant(virtqueue_moves[vq->state][state]);
	vq->state = state;
}

void virtqueue_signal(struct virtqueue *vq)
{
	struct os *os = vq->reactor->os;
	int rc;

	if (unlikely(timer_is_started(&vq->coalesce.late)))
		coalesce_forget(vq);
	if (vq->call_fd < 0)
		return;
	rc = os->ops->event_signal(os, vq->call_fd);
	if (likely(rc == 0))
		return;
	vq->call_fd = -1; /* or the front-end closed its end: nobody listens */
	if (rc == -EINTR)
		log_limited(&vq->log_limit, LOG_WARNING,
			"%s: the front-end has made its call descriptor block: the guest is not "
			"signalled there any more",
			vq->name);
}

void virtqueue_set_broken(struct virtqueue *vq, const char *reason, uint64_t value)
{
	struct os *os = vq->reactor->os;

	if (vq->broken)
		return;
	vq->broken = true;
	log_limited(&vq->log_limit, LOG_WARNING,
		"%s: %s (0x%" PRIx64 "): the ring is not served until the guest resets it",
		vq->name, reason, value);
	if (vq->repeat_asked) /* answered there */
		reactor_defer(vq->reactor, DEFER_PUBLISH, &vq->publish);
	if (vq->err_fd >= 0 && !vq->frozen)
		os->ops->event_signal(os, vq->err_fd);
}

/* ---- answers to the control reactor -------------------------------------------------------- */

static void virtqueue_op_answer(struct message *message)
{
	struct virtqueue_op *op = container_of(message, struct virtqueue_op, message);

	op->busy = false;
	op->done(op->arg, op->rc);
}

static void virtqueue_op_finish(struct virtqueue *vq, enum virtqueue_op_kind kind)
{
	struct virtqueue_op *op = &vq->op[kind];

	op->message.run = virtqueue_op_answer;
	reactor_send(op->origin, &op->message);
}

static void virtqueue_op_start(struct virtqueue *vq, enum virtqueue_op_kind kind,
	void (*run)(struct message *message), done_fn done, void *arg)
{
	struct virtqueue_op *op = &vq->op[kind];

	invariant(!op->busy);
	op->busy = true;
	op->rc = 0;
	op->vq = vq;
	op->origin = reactor_self();
	op->done = done;
	op->arg = arg;
	op->message.run = run;
	reactor_send(vq->reactor, &op->message);
}

static struct virtqueue *virtqueue_of_message(struct message *message)
{
	return container_of(message, struct virtqueue_op, message)->vq;
}

/* ---- the data path ------------------------------------------------------------------------- */

/* What was in flight before us, while nothing new is taken. Requests that a stop would leave behind
 * are popped while it drains. */
static struct vq_request *virtqueue_pop_held(struct virtqueue *vq)
{
	bool stopping = vq->state == VQ_DRAINING && vq->draining_for == VQ_OP_STOP;
	struct vq_request *request;

	if (!vq->held || !vq->repeating || vq->broken || vq->frozen ||
		(vq->state != VQ_RUNNING && !stopping))
		return NULL;
	request = vq->ring->pop_recovered(vq);
	if (request)
		request->recovered = true;
	else if (!vq->ops->handle && inflight_left(vq) == 0)
		vq->held = false; /* nobody releases a queue that only its device pops */
	return request;
}

static struct vq_request *virtqueue_pop_any(struct virtqueue *vq)
{
	if (unlikely(vq->held || vq->state != VQ_RUNNING || vq->broken || vq->frozen)) {
		struct vq_request *request = virtqueue_pop_held(vq);

		if (request || vq->held || vq->state != VQ_RUNNING || vq->broken || vq->frozen)
			return request;
	}
	return vq->ring->pop(vq);
}

struct vq_request *virtqueue_pop(struct virtqueue *vq)
{
	struct vq_request *request;

	if (unlikely(vq->due)) {
		request = postponed_pop(vq);
		if (request)
			return request;
	}
	request = virtqueue_pop_any(vq);
	if (!request)
		return NULL;
	request->in_flight = VQ_IN_FLIGHT;
	COUNTER_ADD(vq->in_flight, 1);
	COUNTER_ADD(vq->stat_requests, 1);
	COUNTER_ADD(vq->stat_bytes, request->out_bytes + request->in_bytes);
	return request;
}

static void virtqueue_forget(struct virtqueue *vq, struct vq_request *request)
{
	bool again = request->in_flight == VQ_IN_FLIGHT_AGAIN;

	chain_release(vq, request);
	request->in_flight = VQ_IDLE;
	COUNTER_ADD(vq->in_flight, -1);
	reactor_defer(vq->reactor, DEFER_PUBLISH, &vq->publish);
	if (unlikely(again))
		postponed_answered(vq);
}

void virtqueue_push(struct vq_request *request, uint32_t written)
{
	struct virtqueue *vq = request->vq;

	invariant(request->in_flight);
	if (likely(!vq->frozen))
		vq->ring->push(vq, request, written);
	virtqueue_forget(vq, request);
}

void virtqueue_break(struct vq_request *request, const char *reason)
{
	virtqueue_set_broken(request->vq, reason, request->head);
	request->in_iovs = 0; /* nothing was written: nothing is to be logged */
	virtqueue_push(request, 0);
}

/* Recovered requests that will still be executed. */
static bool virtqueue_has_to_repeat(const struct virtqueue *vq)
{
	return vq->held && vq->ops->handle && inflight_left(vq) > 0 && !vq->broken && !vq->frozen;
}

static void virtqueue_unwatch(struct virtqueue *vq)
{
	if (vq->kick.armed)
		reactor_unwatch(vq->reactor, &vq->kick);
}

static void virtqueue_drained(struct virtqueue *vq)
{
	coalesce_flush(vq);
	if (vq->poller.state != POLLER_STOPPED)
		poller_stop(&vq->poller);
	switch (vq->draining_for) {
	case VQ_OP_PAUSE:
		virtqueue_set_state(vq, VQ_PAUSED);
		break;
	case VQ_OP_LEAVE:
		virtqueue_unwatch(vq);
		virtqueue_set_state(vq, VQ_PAUSED);
		break;
	case VQ_OP_STOP:
		vq->base = vq->ring->base(vq);
		virtqueue_unwatch(vq);
		virtqueue_set_state(vq, VQ_CREATED);
		break;
	default:
		invariant(!"a queue drains for pause, leave or stop");
	}
	virtqueue_op_finish(vq, vq->draining_for);
}

static void virtqueue_publish(struct deferred *deferred)
{
	struct virtqueue *vq = container_of(deferred, struct virtqueue, publish);

	if (likely(!vq->frozen)) {
		bool wanted = vq->ring->publish(vq);

		if (wanted || unlikely(vq->first_decision)) {
			vq->first_decision = false;
			if (likely(!coalesce_is_on(vq)) || !coalesce_delays(vq))
				virtqueue_signal(vq);
		}
		poller_expect_work(&vq->poller);
	}
	if (likely(vq->in_flight != 0 || (vq->state == VQ_RUNNING && !vq->repeat_asked)))
		return;
	if (vq->repeat_asked && !virtqueue_has_to_repeat(vq)) {
		vq->repeat_asked = false;
		virtqueue_op_finish(vq, VQ_OP_REPEAT);
	}
	if (vq->state != VQ_DRAINING)
		return;
	if (vq->draining_for != VQ_OP_STOP ||
		(!virtqueue_has_to_repeat(vq) && !postponed_go_on(vq)))
		virtqueue_drained(vq);
}

static struct poll_result virtqueue_poll(struct poller *poller, struct poll_budget budget)
{
	struct virtqueue *vq = container_of(poller, struct virtqueue, poller);
	struct poll_result result = {.waits = vq->in_flight != 0};

	vq->dry = false;
	while (result.requests < budget.requests && result.bytes < budget.bytes) {
		struct vq_request *request = virtqueue_pop(vq);

		if (!request) {
			result.more = vq->dry;
			return result;
		}
		result.requests++;
		result.bytes += request->out_bytes + request->in_bytes +
				request->descriptors * DESCRIPTOR_COST_BYTES;
		vq->ops->handle(request);
	}
	result.more = true;
	return result;
}

static void virtqueue_kicked(struct os_watch *watch)
{
	struct virtqueue *vq = container_of(watch, struct virtqueue, kick);

	poller_wake(&vq->poller);
}

static bool virtqueue_sleep(struct poller *poller)
{
	struct virtqueue *vq = container_of(poller, struct virtqueue, poller);

	if (vq->broken || vq->frozen || vq->held)
		return true; /* nothing will be fetched: no kick needs to wake anybody */
	if (vq->kick.fd < 0)
		return false; /* a ring without a kick descriptor is polled */
	if (!vq->ring->notify_on(vq)) {
		vq->ring->notify_off(vq);
		return false;
	}
	if (!vq->kick.armed)
		reactor_watch(vq->reactor, &vq->kick);
	return true;
}

static void virtqueue_wake(struct poller *poller)
{
	struct virtqueue *vq = container_of(poller, struct virtqueue, poller);

	if (!vq->broken && !vq->frozen)
		vq->ring->notify_off(vq);
}

static void virtqueue_prefetch(struct poller *poller, enum poller_distance distance)
{
	struct virtqueue *vq = container_of(poller, struct virtqueue, poller);

	vq->ring->prefetch(vq, distance);
	if (vq->ops->prefetch)
		vq->ops->prefetch(vq->device, distance);
}

static const struct poller_ops virtqueue_poller_ops = {
	.poll = virtqueue_poll,
	.prefetch = virtqueue_prefetch,
	.sleep = virtqueue_sleep,
	.wake = virtqueue_wake,
};

bool virtqueue_is_frozen(const struct virtqueue *vq)
{
	return vq->frozen;
}

struct reactor *virtqueue_reactor(const struct virtqueue *vq)
{
	return vq->reactor;
}

uint16_t virtqueue_size(const struct virtqueue *vq)
{
	return vq->size;
}

void *virtqueue_device(const struct virtqueue *vq)
{
	return vq->device;
}

uint64_t virtqueue_features(const struct virtqueue *vq)
{
	return vq->features;
}

const char *virtqueue_name(const struct virtqueue *vq)
{
	return vq->name;
}

/* ---- life ---------------------------------------------------------------------------------- */

/* Where it stays for all of its life. */
static int virtqueue_set_inflight(
	struct virtqueue *vq, const struct virtqueue_config *config, struct reason *reason)
{
	if (!config->inflight)
		return 0;
	if (config->inflight_size < config->size)
		return reason_set(reason, -EINVAL,
			"%s: a ring of %u entries does not fit into an in-flight region for %u",
			config->name, config->size, config->inflight_size);
	vq->inflight.region = config->inflight;
	vq->inflight.desc_num = config->inflight_size;
	vq->inflight.batch = alloc_lines(config->size * sizeof(*vq->inflight.batch));
	return vq->inflight.batch ? 0 : -ENOMEM;
}

static void virtqueue_configure(struct virtqueue *vq, const struct virtqueue_config *config)
{
	vq->features = config->features;
	vq->event_idx = config->features & VIRTIO_BIT(VIRTIO_F_EVENT_IDX);
	vq->indirect = config->features & VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC);
	vq->size = config->size;
	vq->chain_max = config->size > VQ_SEGMENTS_MAX ? config->size : VQ_SEGMENTS_MAX;
	vq->base = config->base;
	vq->memory = config->memory;
	vq->device = config->device;
	vq->kick.fd = config->kick_fd;
	vq->kick.kind = OS_WATCH_EVENT;
	vq->kick.ready = virtqueue_kicked;
	vq->call_fd = config->call_fd;
	vq->err_fd = config->err_fd;
	virtqueue_set_coalescing(vq, config->delay_base_us, config->iops_threshold);
	snprintf(vq->name, sizeof(vq->name), "%s", config->name);
	vq->is_packed = config->features & VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	vq->ring = vq->is_packed ? &packed_ops : &split_ops;
	vq->ring->set_areas(vq, config->descriptors, config->driver_area, config->device_area);
	if (config->logging.log)
		virtqueue_apply_logging(vq, &config->logging);
}

void virtqueue_init_request(struct virtqueue *vq, uint16_t head)
{
	struct vq_request *request = virtqueue_request_at(vq, head);

	request->vq = vq;
	request->head = head;
	if (vq->ops->request_init)
		vq->ops->request_init(request);
}

int virtqueue_create(const struct virtqueue_ops *ops, const struct virtqueue_config *config,
	struct reason *reason, struct virtqueue **ret_vq)
{
	struct virtqueue *vq;
	int rc;

	if (config->size == 0 || config->size > VQ_SIZE_MAX)
		return reason_set(reason, -EINVAL, "%s: a ring of %u entries is not possible",
			config->name, config->size);
	vq = alloc_lines(sizeof(*vq));
	if (!vq)
		return -ENOMEM;
	vq->ops = ops;
	vq->request_size = align_up(ops->request_size, CACHE_LINE);
	vq->publish.run = virtqueue_publish;
	list_init(&vq->poller.link);
	virtqueue_configure(vq, config);
	rc = virtqueue_set_inflight(vq, config, reason);
	if (rc)
		goto free_vq;
	rc = vq->ring->create(vq, reason);
	if (rc)
		goto free_batch;
	rc = -ENOMEM;
	vq->postponed.heads = calloc(config->size, sizeof(*vq->postponed.heads));
	if (!vq->postponed.heads)
		goto destroy_ring;
	/* Not touched yet: those of a queue that is never used take no memory. */
	vq->requests = alloc_pages(vq->request_size * config->size);
	if (!vq->requests)
		goto free_heads;
	*ret_vq = vq;
	return 0;

free_heads:
	free(vq->postponed.heads);
destroy_ring:
	vq->ring->destroy(vq);
free_batch:
	free(vq->inflight.batch);
free_vq:
	free(vq);
	return rc;
}

void virtqueue_destroy(struct virtqueue *vq)
{
	invariant(vq->state == VQ_CREATED && vq->in_flight == 0 && !vq->publish.queued);
	invariant(!timer_is_started(&vq->coalesce.late) && vq->postponed.count == 0);
	vq->abandoned = vq->queries > 0;
	if (vq->abandoned)
		return;
	vq->ring->destroy(vq);
	free(vq->postponed.heads);
	free(vq->inflight.recovered);
	free(vq->inflight.batch);
	free_pages(vq->requests, vq->request_size * vq->size);
	free(vq);
}

static void virtqueue_run(struct virtqueue *vq)
{
	virtqueue_set_state(vq, VQ_RUNNING);
	postponed_resume(vq);
	if (vq->ops->handle)
		poller_start(vq->reactor, &vq->poller, &virtqueue_poller_ops);
	else
		vq->ring->notify_off(vq);
}

void virtqueue_poll_again(struct virtqueue *vq)
{
	if (vq->poller.state == POLLER_STOPPED)
		poller_start(vq->reactor, &vq->poller, &virtqueue_poller_ops);
}

static void virtqueue_start_run(struct message *message)
{
	struct virtqueue *vq = virtqueue_of_message(message);

	vq->ring->start(vq);
	vq->broken = false;
	vq->first_decision = true;
	if (vq->inflight.resumed) {
		/* What the back-end before us completed may not have been signalled. */
		reactor_defer(vq->reactor, DEFER_PUBLISH, &vq->publish);
		vq->held |= inflight_left(vq) > 0;
	}
	vq->repeating = !vq->ops->handle;
	virtqueue_run(vq);
	virtqueue_op_finish(vq, VQ_OP_START);
}

void virtqueue_start(struct virtqueue *vq, struct reactor *reactor, done_fn done, void *arg)
{
	vq->reactor = reactor;
	virtqueue_op_start(vq, VQ_OP_START, virtqueue_start_run, done, arg);
}

static void virtqueue_drain(struct virtqueue *vq, enum virtqueue_op_kind kind)
{
	if (vq->poller.state != POLLER_STOPPED)
		poller_stop(&vq->poller);
	postponed_halt(vq);
	vq->draining_for = kind;
	virtqueue_set_state(vq, VQ_DRAINING);
	if (kind == VQ_OP_STOP && virtqueue_has_to_repeat(vq)) {
		vq->repeating = true;
		virtqueue_poll_again(vq);
	}
	/* Answered by the publish step, at once when nothing is in flight. */
	reactor_defer(vq->reactor, DEFER_PUBLISH, &vq->publish);
}

static void virtqueue_stop_run(struct message *message)
{
	virtqueue_drain(virtqueue_of_message(message), VQ_OP_STOP);
}

void virtqueue_stop(struct virtqueue *vq, done_fn done, void *arg)
{
	virtqueue_op_start(vq, VQ_OP_STOP, virtqueue_stop_run, done, arg);
}

static void virtqueue_pause_run(struct message *message)
{
	virtqueue_drain(virtqueue_of_message(message), VQ_OP_PAUSE);
}

void virtqueue_pause(struct virtqueue *vq, done_fn done, void *arg)
{
	virtqueue_op_start(vq, VQ_OP_PAUSE, virtqueue_pause_run, done, arg);
}

static void virtqueue_resume_run(struct message *message)
{
	struct virtqueue *vq = virtqueue_of_message(message);

	virtqueue_run(vq);
	if (vq->repeat_asked)
		reactor_defer(vq->reactor, DEFER_PUBLISH, &vq->publish);
	virtqueue_op_finish(vq, VQ_OP_RESUME);
}

void virtqueue_resume(struct virtqueue *vq, done_fn done, void *arg)
{
	virtqueue_op_start(vq, VQ_OP_RESUME, virtqueue_resume_run, done, arg);
}

static void virtqueue_repeat_run(struct message *message)
{
	struct virtqueue *vq = virtqueue_of_message(message);

	vq->repeating = true;
	vq->repeat_asked = true;
	if (vq->state == VQ_PAUSED) /* its memory may be changing; resume goes on here */
		return;
	poller_wake(&vq->poller);
	reactor_defer(vq->reactor, DEFER_PUBLISH, &vq->publish);
}

void virtqueue_repeat(struct virtqueue *vq, done_fn done, void *arg)
{
	virtqueue_op_start(vq, VQ_OP_REPEAT, virtqueue_repeat_run, done, arg);
}

static void virtqueue_release_run(struct message *message)
{
	struct virtqueue *vq = virtqueue_of_message(message);

	invariant(!virtqueue_has_to_repeat(vq));
	vq->held = false;
	poller_wake(&vq->poller);
	virtqueue_op_finish(vq, VQ_OP_RELEASE);
}

void virtqueue_release(struct virtqueue *vq, done_fn done, void *arg)
{
	virtqueue_op_start(vq, VQ_OP_RELEASE, virtqueue_release_run, done, arg);
}

static void virtqueue_leave_run(struct message *message)
{
	virtqueue_drain(virtqueue_of_message(message), VQ_OP_LEAVE);
}

void virtqueue_leave(struct virtqueue *vq, done_fn done, void *arg)
{
	virtqueue_op_start(vq, VQ_OP_LEAVE, virtqueue_leave_run, done, arg);
}

/* A publish step that is still deferred finds the queue running and does what it always does. */
static void virtqueue_stay_run(struct message *message)
{
	struct virtqueue *vq = virtqueue_of_message(message);

	if (vq->state == VQ_DRAINING && vq->draining_for == VQ_OP_LEAVE) {
		virtqueue_run(vq);
		vq->op[VQ_OP_LEAVE].rc = -ECANCELED;
		virtqueue_op_finish(vq, VQ_OP_LEAVE);
	}
	virtqueue_op_finish(vq, VQ_OP_STAY);
}

void virtqueue_stay(struct virtqueue *vq, done_fn done, void *arg)
{
	virtqueue_op_start(vq, VQ_OP_STAY, virtqueue_stay_run, done, arg);
}

void virtqueue_enter(
	struct virtqueue *vq, struct reactor *reactor, void *device, done_fn done, void *arg)
{
	invariant(vq->state == VQ_PAUSED && vq->in_flight == 0);
	vq->reactor = reactor;
	vq->device = device;
	virtqueue_resume(vq, done, arg);
}

static void virtqueue_freeze_run(struct message *message)
{
	struct virtqueue *vq = virtqueue_of_message(message);

	vq->frozen = true;
	coalesce_forget(vq);
	vq->call_fd = -1;
	vq->err_fd = -1;
	if (vq->repeat_asked) /* answered there */
		reactor_defer(vq->reactor, DEFER_PUBLISH, &vq->publish);
	virtqueue_op_finish(vq, VQ_OP_FREEZE);
}

void virtqueue_freeze(struct virtqueue *vq, done_fn done, void *arg)
{
	virtqueue_op_start(vq, VQ_OP_FREEZE, virtqueue_freeze_run, done, arg);
}

void virtqueue_set_memory(struct virtqueue *vq, struct guest_memory *memory, void *descriptors,
	void *driver_area, void *device_area)
{
	invariant(vq->state == VQ_PAUSED || vq->state == VQ_CREATED);
	vq->memory = memory;
	vq->memory_changed_ns = reactor_now(reactor_self());
	vq->ring->set_areas(vq, descriptors, driver_area, device_area);
}

static void virtqueue_set_kick_run(struct message *message)
{
	struct virtqueue *vq = virtqueue_of_message(message);

	virtqueue_unwatch(vq);
	vq->kick.fd = vq->op[VQ_OP_SET_KICK].fd;
	/* A kick may have gone to the old one: look once. */
	if (vq->poller.state == POLLER_COLD)
		poller_wake(&vq->poller);
	virtqueue_op_finish(vq, VQ_OP_SET_KICK);
}

void virtqueue_set_kick(struct virtqueue *vq, int fd, done_fn done, void *arg)
{
	vq->op[VQ_OP_SET_KICK].fd = fd;
	virtqueue_op_start(vq, VQ_OP_SET_KICK, virtqueue_set_kick_run, done, arg);
}

static void virtqueue_set_call_run(struct message *message)
{
	struct virtqueue *vq = virtqueue_of_message(message);

	vq->call_fd = vq->op[VQ_OP_SET_CALL].fd;
	/* What completed before it came was signalled to nobody (reference of section 13 in 4). */
	if (!vq->frozen)
		virtqueue_signal(vq);
	virtqueue_op_finish(vq, VQ_OP_SET_CALL);
}

void virtqueue_set_call(struct virtqueue *vq, int fd, done_fn done, void *arg)
{
	vq->op[VQ_OP_SET_CALL].fd = fd;
	virtqueue_op_start(vq, VQ_OP_SET_CALL, virtqueue_set_call_run, done, arg);
}

static void virtqueue_set_err_run(struct message *message)
{
	struct virtqueue *vq = virtqueue_of_message(message);

	vq->err_fd = vq->op[VQ_OP_SET_ERR].fd;
	virtqueue_op_finish(vq, VQ_OP_SET_ERR);
}

void virtqueue_set_err(struct virtqueue *vq, int fd, done_fn done, void *arg)
{
	vq->op[VQ_OP_SET_ERR].fd = fd;
	virtqueue_op_start(vq, VQ_OP_SET_ERR, virtqueue_set_err_run, done, arg);
}

static void virtqueue_set_logging_run(struct message *message)
{
	struct virtqueue *vq = virtqueue_of_message(message);

	virtqueue_apply_logging(vq, &vq->dirty.next);
	virtqueue_op_finish(vq, VQ_OP_SET_LOGGING);
}

void virtqueue_set_logging(
	struct virtqueue *vq, const struct virtqueue_logging *logging, done_fn done, void *arg)
{
	vq->dirty.next = *logging;
	virtqueue_op_start(vq, VQ_OP_SET_LOGGING, virtqueue_set_logging_run, done, arg);
}

uint32_t virtqueue_base(const struct virtqueue *vq)
{
	return vq->base;
}

/* ---- listing ------------------------------------------------------------------------------- */

void virtqueue_get_info(const struct virtqueue *vq, struct virtqueue_info *ret_info)
{
	*ret_info = (struct virtqueue_info){
		.in_flight = atomic_load_explicit(&vq->in_flight, memory_order_relaxed),
		.postponed = atomic_load_explicit(&vq->postponed.count, memory_order_relaxed),
		.broken = atomic_load_explicit(&vq->broken, memory_order_relaxed),
		.requests = atomic_load_explicit(&vq->stat_requests, memory_order_relaxed),
		.bytes = atomic_load_explicit(&vq->stat_bytes, memory_order_relaxed),
	};
}
