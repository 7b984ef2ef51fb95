/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A queue pair: a submission and a completion queue of one reactor (base 3.3).
 *
 *	submit -> queue -> fill: cut into commands, one a slot -> submission queue
 *	DEFER_SUBMIT: one write of the tail doorbell for all of a turn
 *	poll: completions by their phase bit -> slot -> request; one write of the head doorbell;
 *	      then fill again
 *
 * There are as many slots as a queue has entries, less one, so neither queue can overflow. A cid is
 * a slot and its generation: a completion for a command that has ended, or never was, is seen as
 * such. After one, as after a sq head or id that makes no sense, nothing that the controller says
 * is believed: the queue pair pauses and asks for a reset (alarm.c).
 *
 * Hot, the completion queue is polled and interrupts are held back; cold, its eventfd is watched
 * (core/poller.h). Going cold is switching interrupts on, then looking once more: what was
 * completed before is seen, what comes later interrupts.
 *
 * A reset: pause; the controller is disabled and the queues made anew; run, which repeats whatever
 * had a slot. A command that has failed in passing, or was ended by a reset, is repeated so many
 * times as the options say. It keeps its slot, and its bounce pages, so that it never has to wait
 * for them a second time.
 */
#include <errno.h>
#include <string.h>

#include "nvme/qpair_impl.h"

#define NVME_SC_NOT_READY  NVME_STATUS(0, 0x82)
#define NVME_SCT_PATH      3
#define NVME_DSM_ONE_RANGE 0

static void nvme_qpair_fill(struct nvme_qpair *qpair);

/* ---- requests ----------------------------------------------------------- */

static void nvme_request_end(struct nvme_request *request, int status)
{
	request->status = status;
	request->done(request);
}

static void nvme_qpair_enqueue(struct nvme_qpair *qpair, struct nvme_request *request)
{
	request->next = NULL;
	request->queued = true;
	*qpair->queue_tail = request;
	qpair->queue_tail = &request->next;
}

static struct nvme_request *nvme_qpair_dequeue(struct nvme_qpair *qpair)
{
	struct nvme_request *request = qpair->queue;

	qpair->queue = request->next;
	if (!qpair->queue)
		qpair->queue_tail = &qpair->queue;
	request->queued = false;
	return request;
}

void nvme_qpair_submit(struct nvme_qpair *qpair, struct nvme_request *request)
{
	bool flush = request->type == NVME_REQUEST_FLUSH;

	request->progress = 0;
	request->iov_index = 0;
	request->iov_skip = 0;
	request->commands = 0;
	request->status = 0;
	request->flushing = flush;
	if (unlikely(qpair->state == QPAIR_FAILED)) {
		nvme_request_end(request, qpair->error);
		return;
	}
	if (unlikely(flush ? !qpair->limits.write_cache : request->length == 0)) {
		nvme_request_end(request, 0);
		return;
	}
	nvme_qpair_enqueue(qpair, request);
	nvme_qpair_fill(qpair);
}

/* All its commands have ended. */
static void nvme_request_finish(struct nvme_qpair *qpair, struct nvme_request *request)
{
	/* A command that deallocates cannot say FUA. */
	if (request->type == NVME_REQUEST_DEALLOCATE && request->flags & NVME_REQUEST_FUA &&
		!request->flushing && !request->status && qpair->limits.write_cache &&
		qpair->state != QPAIR_FAILED) {
		request->flushing = true;
		nvme_qpair_enqueue(qpair, request);
		return;
	}
	nvme_request_end(request, request->status);
}

/* ---- commands ----------------------------------------------------------- */

static uint64_t nvme_part_length(const struct nvme_qpair *qpair, const struct nvme_request *request)
{
	const struct nvme_namespace *ns = request->ns;
	uint64_t left = request->length - request->progress;
	uint64_t boundary = (uint64_t)ns->boundary << ns->block_shift;

	if (request->flushing)
		return 0;
	if (request->type == NVME_REQUEST_ZEROES)
		return u64_min(left, (uint64_t)NVME_RW_BLOCKS_MAX << ns->block_shift);
	if (request->type == NVME_REQUEST_DEALLOCATE)
		return u64_min(left, (uint64_t)NVME_DSM_RANGE_BLOCKS_MAX << ns->block_shift);
	left = u64_min(
		left, align_down(qpair->limits.transfer_max, UINT64_C(1) << ns->block_shift));
	if (unlikely(boundary))
		left = u64_min(left, boundary - (request->offset + request->progress) % boundary);
	return left;
}

static void nvme_sqe_set_range(
	struct nvme_sqe *sqe, const struct nvme_slot *slot, const struct nvme_namespace *ns)
{
	uint64_t lba = (slot->request->offset + slot->offset) >> ns->block_shift;

	sqe->cdw10 = (uint32_t)lba;
	sqe->cdw11 = (uint32_t)(lba >> 32);
	sqe->cdw12 = (uint32_t)(slot->length >> ns->block_shift) - 1;
	if (slot->request->flags & NVME_REQUEST_FUA)
		sqe->cdw12 |= NVME_RW_FUA;
}

/* The range stands where a transfer has its list. */
static void nvme_sqe_set_dsm(
	const struct nvme_qpair *qpair, const struct nvme_slot *slot, struct nvme_sqe *sqe)
{
	const struct nvme_namespace *ns = slot->request->ns;
	void *list = nvme_slot_list(qpair, (unsigned)(slot - qpair->slots));
	struct nvme_dsm_range range = {
		.blocks = (uint32_t)(slot->length >> ns->block_shift),
		.lba = (slot->request->offset + slot->offset) >> ns->block_shift,
	};

	memcpy(list, &range, sizeof(range));
	sqe->prp1 = nvme_qpair_iova(qpair, list);
	sqe->cdw10 = NVME_DSM_ONE_RANGE;
	sqe->cdw11 = NVME_DSM_DEALLOCATE;
}

/* False: not enough bounce pages. */
static bool nvme_sqe_build(struct nvme_qpair *qpair, struct nvme_slot *slot, struct nvme_sqe *sqe)
{
	const struct nvme_request *request = slot->request;
	const struct nvme_namespace *ns = request->ns;

	*sqe = (struct nvme_sqe){.nsid = ns->nsid};
	if (request->flushing) {
		sqe->opcode = NVME_FLUSH;
		return true;
	}
	switch ((enum nvme_request_type)request->type) {
	case NVME_REQUEST_READ:
	case NVME_REQUEST_WRITE:
		sqe->opcode = request->type == NVME_REQUEST_READ ? NVME_READ : NVME_WRITE;
		nvme_sqe_set_range(sqe, slot, ns);
		return nvme_prp_build(qpair, slot, sqe);
	case NVME_REQUEST_ZEROES:
		sqe->opcode = NVME_WRITE_ZEROES;
		nvme_sqe_set_range(sqe, slot, ns);
		if (ns->zeroes_deallocate && !(request->flags & NVME_REQUEST_KEEP))
			sqe->cdw12 |= NVME_ZEROES_DEALLOCATE;
		return true;
	case NVME_REQUEST_DEALLOCATE:
		sqe->opcode = NVME_DSM;
		nvme_sqe_set_dsm(qpair, slot, sqe);
		return true;
	case NVME_REQUEST_FLUSH:
		break;
	}
	invariant(!"a request has a type");
	return false;
}

static bool nvme_slot_send(struct nvme_qpair *qpair, struct nvme_slot *slot)
{
	struct nvme_sqe sqe;

	if (!nvme_sqe_build(qpair, slot, &sqe))
		return false;
	slot->generation++;
	slot->aborted = false;
	slot->started_ns = qpair->reactor->now_ns;
	sqe.cid = nvme_slot_cid(qpair, slot);
	qpair->sq[qpair->sq_tail] = sqe;
	if (++qpair->sq_tail == qpair->entries)
		qpair->sq_tail = 0;
	reactor_defer(qpair->reactor, DEFER_SUBMIT, &qpair->ring);
	return true;
}

static void nvme_slot_put(struct nvme_qpair *qpair, struct nvme_slot *slot)
{
	slot->request = NULL;
	slot->next_free = qpair->free_slot;
	qpair->free_slot = (uint16_t)(slot - qpair->slots);
}

/* Makes a command of the first request's next part; false when that has to wait. */
static bool nvme_qpair_send_part(struct nvme_qpair *qpair)
{
	struct nvme_request *request = qpair->queue;
	struct nvme_slot *slot = &qpair->slots[qpair->free_slot];
	struct nvme_place place = {request->iov_index, request->iov_skip};

	qpair->free_slot = slot->next_free;
	slot->request = request;
	slot->offset = request->progress;
	slot->length = nvme_part_length(qpair, request);
	slot->place = place;
	slot->tries = 0;
	if (unlikely(!nvme_slot_send(qpair, slot))) {
		nvme_slot_put(qpair, slot);
		return false;
	}
	qpair->in_flight++;
	request->commands++;
	request->progress += slot->length;
	if (request->flushing || request->progress == request->length) {
		nvme_qpair_dequeue(qpair);
		return true;
	}
	if (request->iovcnt) {
		nvme_place_advance(request->iov, &place, slot->length);
		request->iov_index = (uint16_t)place.index;
		request->iov_skip = place.skip;
	}
	return true;
}

static void nvme_qpair_fill(struct nvme_qpair *qpair)
{
	while (qpair->queue && qpair->state == QPAIR_RUNNING && qpair->free_slot < NVME_SLOTS_MAX)
		if (!nvme_qpair_send_part(qpair))
			return; /* others have pages, and give them back */
}

static void nvme_qpair_ring(struct deferred *deferred)
{
	struct nvme_qpair *qpair = container_of(deferred, struct nvme_qpair, ring);

	if (qpair->state != QPAIR_RUNNING)
		return;
	qpair->transport->ops->write32(qpair->transport, qpair->sq_doorbell, qpair->sq_tail);
	poller_expect_work(&qpair->poller);
	if (qpair->vector == NVME_VECTOR_NONE)
		poller_wake(&qpair->poller);
	nvme_alarm_watch(qpair);
}

/* ---- completions -------------------------------------------------------- */

/* The command has ended for good; its request perhaps. */
static void nvme_slot_end(struct nvme_qpair *qpair, struct nvme_slot *slot, int rc)
{
	struct nvme_request *request = slot->request;

	nvme_prp_end(qpair, slot, request->type == NVME_REQUEST_READ && !rc);
	nvme_slot_put(qpair, slot);
	qpair->in_flight--;
	request->commands--;
	if (unlikely(rc)) {
		if (!request->status)
			request->status = rc;
		if (request->queued) /* what is left of it is not begun: it is the first */
			nvme_qpair_dequeue(qpair);
	}
	if (request->commands == 0 && !request->queued)
		nvme_request_finish(qpair, request);
}

static bool nvme_status_is_passing(uint16_t status)
{
	if (status & NVME_CQE_DNR)
		return false;
	if (NVME_CQE_SCT(status) == NVME_SCT_PATH)
		return true;
	switch (status & NVME_STATUS_CODE) {
	case NVME_SC_TRANSFER_ERROR:
	case NVME_SC_INTERNAL:
	case NVME_SC_ABORT_REQUESTED:
	case NVME_SC_ABORT_SQ_DELETED:
	case NVME_SC_NOT_READY:
		return true;
	default:
		return false;
	}
}

static int nvme_status_errno(uint16_t status)
{
	switch (status & NVME_STATUS_CODE) {
	case NVME_SC_SUCCESS:
		return 0;
	case NVME_SC_INVALID_OPCODE:
		return -EOPNOTSUPP;
	case NVME_SC_CAPACITY:
		return -ENOSPC;
	case NVME_SC_INVALID_NAMESPACE:
		return -ENODEV;
	case NVME_SC_WRITE_PROTECTED:
		return -EROFS;
	default:
		return -EIO;
	}
}

static void nvme_slot_failed(struct nvme_qpair *qpair, struct nvme_slot *slot, uint16_t status)
{
	static struct log_limit limit;

	if (nvme_status_is_passing(status) && slot->tries < qpair->limits.retries) {
		slot->tries++;
		if (!nvme_slot_send(qpair, slot))
			invariant(!"a command that is repeated has its bounce pages");
		return;
	}
	log_limited(&limit, LOG_WARNING,
		"%s ends a command on namespace %u at byte %llu with status %x/%02x",
		qpair->transport->address, slot->request->ns->nsid,
		(unsigned long long)(slot->request->offset + slot->offset), NVME_CQE_SCT(status),
		NVME_CQE_SC(status));
	nvme_slot_end(qpair, slot, nvme_status_errno(status));
}

/* NULL: it was never given such a command, or has ended it before. */
static struct nvme_slot *nvme_qpair_find(struct nvme_qpair *qpair, const struct nvme_cqe *cqe)
{
	unsigned index = cqe->cid & 0xff;
	struct nvme_slot *slot = &qpair->slots[index];

	if (unlikely(index >= NVME_SLOTS_MAX || cqe->sq_head >= qpair->entries ||
		     cqe->sq_id != qpair->qid))
		return NULL;
	if (unlikely(!slot->request || nvme_slot_cid(qpair, slot) != cqe->cid))
		return NULL;
	return slot;
}

static bool nvme_qpair_has_completion(const struct nvme_qpair *qpair, uint16_t *ret_status)
{
	*ret_status = __atomic_load_n(&qpair->cq[qpair->cq_head].status, __ATOMIC_ACQUIRE);
	return (*ret_status & NVME_CQE_PHASE) == qpair->phase;
}

/* False: nothing was there, or nothing that makes sense. */
static bool nvme_qpair_take(struct nvme_qpair *qpair, struct poll_result *result)
{
	struct nvme_slot *slot;
	struct nvme_cqe cqe;
	uint16_t status;

	if (!nvme_qpair_has_completion(qpair, &status))
		return false;
	cqe = qpair->cq[qpair->cq_head];
	slot = nvme_qpair_find(qpair, &cqe);
	if (unlikely(!slot)) {
		nvme_qpair_pause(qpair);
		nvme_alarm_wrong(qpair);
		return false;
	}
	if (++qpair->cq_head == qpair->entries) {
		qpair->cq_head = 0;
		qpair->phase ^= NVME_CQE_PHASE;
	}
	result->requests++;
	result->bytes += slot->length;
	if (likely(!(status & NVME_STATUS_CODE)))
		nvme_slot_end(qpair, slot, 0);
	else
		nvme_slot_failed(qpair, slot, status);
	return true;
}

static struct poll_result nvme_qpair_poll(struct poller *poller, struct poll_budget budget)
{
	struct nvme_qpair *qpair = container_of(poller, struct nvme_qpair, poller);
	struct poll_result result = {0};

	while (result.requests < budget.requests && result.bytes < budget.bytes)
		if (!nvme_qpair_take(qpair, &result))
			break;
	result.more = result.requests == budget.requests || result.bytes >= budget.bytes;
	if (result.requests && qpair->state == QPAIR_RUNNING) {
		qpair->transport->ops->write32(
			qpair->transport, qpair->cq_doorbell, qpair->cq_head);
		nvme_qpair_fill(qpair);
	}
	return result;
}

/* ---- hot and cold ------------------------------------------------------- */

static void nvme_qpair_interrupts(struct nvme_qpair *qpair, bool on)
{
	if (qpair->vector != NVME_VECTOR_NONE)
		qpair->transport->ops->interrupt_set(qpair->transport, qpair->vector, on);
}

static bool nvme_qpair_sleep(struct poller *poller)
{
	struct nvme_qpair *qpair = container_of(poller, struct nvme_qpair, poller);
	uint16_t status;

	if (qpair->vector == NVME_VECTOR_NONE)
		return qpair->in_flight == 0;
	nvme_qpair_interrupts(qpair, true);
	if (nvme_qpair_has_completion(qpair, &status)) {
		nvme_qpair_interrupts(qpair, false);
		return false;
	}
	if (!qpair->watch.armed)
		reactor_watch(qpair->reactor, &qpair->watch);
	return true;
}

static void nvme_qpair_wake(struct poller *poller)
{
	nvme_qpair_interrupts(container_of(poller, struct nvme_qpair, poller), false);
}

static void nvme_qpair_interrupted(struct os_watch *watch)
{
	poller_wake(&container_of(watch, struct nvme_qpair, watch)->poller);
}

static const struct poller_ops nvme_qpair_poller_ops = {
	.poll = nvme_qpair_poll,
	.sleep = nvme_qpair_sleep,
	.wake = nvme_qpair_wake,
};

/* ---- life --------------------------------------------------------------- */

void nvme_qpair_init(struct nvme_qpair *qpair)
{
	qpair->queue_tail = &qpair->queue;
	qpair->ring.run = nvme_qpair_ring;
	qpair->watch.kind = OS_WATCH_EVENT;
	qpair->watch.ready = nvme_qpair_interrupted;
	qpair->free_slot = NVME_SLOTS_MAX;
	for (unsigned i = qpair->entries - 1u; i-- > 0;) {
		qpair->slots[i].bounces = NVME_BOUNCE_NONE;
		nvme_slot_put(qpair, &qpair->slots[i]);
	}
	qpair->free_bounce = NVME_BOUNCE_NONE;
	for (unsigned i = NVME_BOUNCE_PAGES; i-- > 0;) {
		qpair->bounces[i].next = qpair->free_bounce;
		qpair->free_bounce = (uint16_t)i;
	}
	nvme_alarm_init(qpair);
}

static void nvme_qpair_take_limits(struct nvme_qpair *qpair)
{
	const struct nvme_controller *controller = qpair->controller;

	qpair->limits = (struct nvme_limits){
		.write_cache = controller->write_cache,
		.transfer_max = controller->transfer_max,
		.retries = controller->options.retries,
		.timeout_ns = controller->options.timeout_ns,
		.action = controller->options.action,
	};
}

void nvme_qpair_run(struct nvme_qpair *qpair)
{
	nvme_qpair_take_limits(qpair);
	qpair->sq_tail = 0;
	qpair->cq_head = 0;
	qpair->phase = NVME_CQE_PHASE;
	qpair->state = QPAIR_RUNNING;
	poller_start(qpair->reactor, &qpair->poller, &nvme_qpair_poller_ops);
	for (unsigned i = 0; i + 1u < qpair->entries; i++) {
		struct nvme_slot *slot = &qpair->slots[i];

		if (!slot->request)
			continue;
		if (slot->tries++ >= qpair->limits.retries || !nvme_slot_send(qpair, slot))
			nvme_slot_end(qpair, slot, -EIO);
	}
	nvme_qpair_fill(qpair);
}

void nvme_qpair_pause(struct nvme_qpair *qpair)
{
	if (qpair->state != QPAIR_RUNNING)
		return;
	poller_stop(&qpair->poller);
	if (qpair->watch.armed)
		reactor_unwatch(qpair->reactor, &qpair->watch);
	timer_stop(qpair->reactor, &qpair->timer);
	qpair->state = QPAIR_PAUSED;
}

void nvme_qpair_fail(struct nvme_qpair *qpair, int error)
{
	nvme_qpair_pause(qpair);
	qpair->state = QPAIR_FAILED;
	qpair->error = error;
	for (unsigned i = 0; i + 1u < qpair->entries; i++)
		if (qpair->slots[i].request)
			nvme_slot_end(qpair, &qpair->slots[i], error);
	while (qpair->queue)
		nvme_request_end(nvme_qpair_dequeue(qpair), error);
}

int nvme_qpair_stop(struct nvme_qpair *qpair)
{
	if (qpair->alarm.busy || qpair->want.busy)
		return -EBUSY;
	invariant(qpair->in_flight == 0 && !qpair->queue);
	nvme_qpair_pause(qpair);
	qpair->state = QPAIR_STOPPED;
	return 0;
}
