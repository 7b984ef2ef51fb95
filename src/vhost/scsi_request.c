/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * virtio-scsi request queues: VIRTIO 1.2 section 5.6.6.1, reference 16.3 and 16.4.
 *
 * Readable: header (51 bytes), data-out. Writable: response (108 bytes), data-in. Only byte counts
 * say where one ends and the other begins; the usual case, header and response each within one
 * segment, is found by two compares. The response is always written whole.
 *
 * A chain that cannot hold a header or a response breaks the ring: there is no way to answer. One
 * whose data is outside the guest's memory is answered FAILURE.
 *
 * Where the controller is made so, a write that finds no space is postponed (postpone.c) instead of
 * ending with SPACE ALLOCATION FAILED WRITE PROTECT. It is no task of its logical unit meanwhile; a
 * task management function makes it one again before it looks (scsi_local.c).
 *
 * A target that does not exist is answered here at once: firmware asks for all 256.
 */
#include <string.h>

#include "vhost/scsi_impl.h"

#define HEADER_BYTES   sizeof(struct virtio_scsi_req_cmd)
#define RESPONSE_BYTES sizeof(struct virtio_scsi_resp_cmd)

struct scsi_request {
	struct vq_request vq; /* first */
	/* Where the response goes: in one piece, or NULL: over the first writable segments, of
	 * which number cut_index was shortened for data-in and looked like cut before. */
	uint8_t *response;
	uint16_t cut_index;
	struct iovec cut;
	struct scsi_task task;
};

/* ---- answers ------------------------------------------------------------------------------ */

static void request_answer(
	struct scsi_request *request, const struct virtio_scsi_resp_cmd *response, uint32_t moved)
{
	if (unlikely(virtqueue_is_frozen(request->vq.vq))) {
		/* The front-end is gone: its memory is not ours to write any more. */
	} else if (likely(request->response != NULL)) {
		memcpy(request->response, response, RESPONSE_BYTES);
	} else {
		struct iovec *in = request->vq.iov + request->vq.out_iovs;

		if (request->cut_index < request->vq.in_iovs)
			in[request->cut_index] = request->cut;
		vq_iov_write(in, request->vq.in_iovs, 0, response, RESPONSE_BYTES);
	}
	virtqueue_push(&request->vq, (uint32_t)RESPONSE_BYTES + moved);
}

/* Without a logical unit: nothing was moved. */
static void request_refuse(struct scsi_request *request, uint8_t code)
{
	struct virtio_scsi_resp_cmd response = {
		.response = code,
		.residual = (uint32_t)(request->vq.out_bytes - HEADER_BYTES + request->vq.in_bytes -
				       RESPONSE_BYTES),
	};

	request_answer(request, &response, 0);
}

static uint8_t response_code(uint8_t response)
{
	switch (response) {
	case SCSI_RESPONSE_OK:
		return VIRTIO_SCSI_S_OK;
	case SCSI_RESPONSE_OVERRUN:
		return VIRTIO_SCSI_S_OVERRUN;
	case SCSI_RESPONSE_ABORTED:
		return VIRTIO_SCSI_S_ABORTED;
	case SCSI_RESPONSE_RESET:
		return VIRTIO_SCSI_S_RESET;
	default:
		return VIRTIO_SCSI_S_FAILURE;
	}
}

/* In one piece and without sense data: written where it belongs. */
static void request_write_response(struct virtio_scsi_resp_cmd *to, const struct scsi_task *task)
{
	to->sense_len = 0;
	to->residual = scsi_task_residual(task);
	to->status_qualifier = 0;
	to->status = task->status;
	to->response = response_code(task->response);
	memset(to->sense, 0, sizeof(to->sense));
}

/* Instead of the status that tells the guest of it. */
static bool request_postpone(struct scsi_request *request)
{
	const struct scsi_ring *ring = virtqueue_device(request->vq.vq);

	return ring->device->waits_for_space && scsi_task_may_wait_for_space(&request->task) &&
	       virtqueue_postpone(&request->vq);
}

static void request_done_rarely(struct scsi_request *request, uint32_t moved)
{
	const struct scsi_task *task = &request->task;
	struct virtio_scsi_resp_cmd response;

	if (request_postpone(request))
		return;
	request_write_response(&response, task);
	response.sense_len = task->sense_len;
	memcpy(response.sense, task->sense, task->sense_len);
	request_answer(request, &response, moved);
}

static void request_done(struct scsi_task *task)
{
	struct scsi_request *request = container_of(task, struct scsi_request, task);
	uint32_t moved = task->in_bytes ? task->transferred : 0;

	if (unlikely(
		    task->sense_len || !request->response || virtqueue_is_frozen(request->vq.vq))) {
		request_done_rarely(request, moved);
		return;
	}
	request_write_response((void *)request->response, task);
	virtqueue_push(&request->vq, (uint32_t)RESPONSE_BYTES + moved);
}

/* ---- taking one apart --------------------------------------------------------------------- */

/* Reads the header and leaves data-out in the task. False: there is none. */
static bool request_read_header(struct scsi_request *request, struct virtio_scsi_req_cmd *header)
{
	struct vq_request *vq = &request->vq;
	struct scsi_task *task = &request->task;
	unsigned count = 0;

	if (unlikely(vq->out_bytes < HEADER_BYTES))
		return false;
	task->out_bytes = vq->out_bytes - (uint32_t)HEADER_BYTES;
	if (likely(vq->iov[0].iov_len == HEADER_BYTES && vq->iov[0].iov_base)) {
		memcpy(header, vq->iov[0].iov_base, HEADER_BYTES);
		/* Once: the guest may change it while we look, so the compiler may not look
		 * again. */
		__asm__ volatile("" : "+m"(*header));
		task->out = vq->iov + 1;
		task->out_iovs = vq->out_iovs - 1;
		return true;
	}
	if (vq_iov_read(vq->iov, vq->out_iovs, 0, header, HEADER_BYTES) != HEADER_BYTES)
		return false;
	task->out = vq->iov;
	if (task->out_bytes)
		task->out =
			vq_iov_slice(vq->iov, vq->out_iovs, HEADER_BYTES, task->out_bytes, &count);
	task->out_iovs = (uint16_t)count;
	return true;
}

/* A response over several segments, or sharing one with data-in. */
static void request_split_response(struct scsi_request *request)
{
	struct vq_request *vq = &request->vq;
	struct scsi_task *task = &request->task;
	struct iovec *in = vq->iov + vq->out_iovs;
	size_t at = 0;
	unsigned index = 0, count = 0;

	request->response = in[0].iov_len >= RESPONSE_BYTES ? in[0].iov_base : NULL;
	while (index < vq->in_iovs && at + in[index].iov_len <= RESPONSE_BYTES)
		at += in[index++].iov_len;
	request->cut_index = (uint16_t)index;
	if (index < vq->in_iovs)
		request->cut = in[index];
	task->in = in;
	if (task->in_bytes)
		task->in = vq_iov_slice(in, vq->in_iovs, RESPONSE_BYTES, task->in_bytes, &count);
	task->in_iovs = (uint16_t)count;
}

/* Finds the place of the response and leaves data-in in the task. False: there is none. */
static bool request_find_response(struct scsi_request *request)
{
	struct vq_request *vq = &request->vq;
	struct scsi_task *task = &request->task;
	struct iovec *in = vq->iov + vq->out_iovs;

	if (unlikely(vq->in_bytes < RESPONSE_BYTES))
		return false;
	task->in_bytes = vq->in_bytes - (uint32_t)RESPONSE_BYTES;
	if (likely(in[0].iov_len == RESPONSE_BYTES)) {
		request->response = in[0].iov_base;
		request->cut_index = UINT16_MAX;
		/* The driver's CPU has these lines: let them travel while the command runs. */
		__builtin_prefetch(request->response, 1);
		__builtin_prefetch(request->response + CACHE_LINE, 1);
		task->in = in + 1;
		task->in_iovs = vq->in_iovs - 1;
		return true;
	}
	request_split_response(request);
	return true;
}

/* Of a faulty chain. */
static bool request_response_is_mapped(const struct scsi_request *request)
{
	const struct vq_request *vq = &request->vq;
	size_t at = 0;

	for (unsigned i = 0; i < vq->in_iovs && at < RESPONSE_BYTES; i++) {
		const struct iovec *iov = &vq->iov[vq->out_iovs + i];

		if (!iov->iov_base)
			return false;
		at += i == request->cut_index ? request->cut.iov_len : iov->iov_len;
	}
	return at >= RESPONSE_BYTES;
}

static void request_refuse_address(struct scsi_request *request, enum scsi_address_kind kind)
{
	request_refuse(request, kind == SCSI_ADDRESS_BAD_TARGET ? VIRTIO_SCSI_S_BAD_TARGET
								: VIRTIO_SCSI_S_INCORRECT_LUN);
}

static void request_submit(struct scsi_request *request, const struct virtio_scsi_req_cmd *header)
{
	const struct scsi_ring *ring = virtqueue_device(request->vq.vq);
	struct scsi_local *local = ring->local;
	struct scsi_task *task = &request->task;
	struct scsi_address address;
	enum scsi_address_kind kind = scsi_address_parse(header->lun, &address);

	if (likely(kind == SCSI_ADDRESS_LUN)) {
		const struct scsi_target_view *view = local->targets[address.target];

		if (unlikely(!view)) {
			request_refuse(request, VIRTIO_SCSI_S_BAD_TARGET);
			return;
		}
		task->channel = scsi_target_view_find(view, address.lun);
		task->targets = &local->targets[address.target];
		task->target_count = 1;
		task->well_known = false;
	} else if (kind == SCSI_ADDRESS_WELL_KNOWN) {
		task->channel = NULL;
		task->targets = local->targets;
		task->target_count = SCSI_DEVICE_TARGETS_MAX;
		task->well_known = true;
	} else {
		request_refuse_address(request, kind);
		return;
	}
	task->reactor = local->reactor;
	task->attribute = header->task_attr;
	task->recovered = request->vq.recovered;
	task->tag = header->tag;
	memcpy(task->cdb, header->cdb, sizeof(task->cdb));
	scsi_submit(task);
}

static void request_handle(struct vq_request *vq)
{
	struct scsi_request *request = container_of(vq, struct scsi_request, vq);
	struct virtio_scsi_req_cmd header;

	if (unlikely(!request_read_header(request, &header))) {
		virtqueue_break(vq, "a command has no header");
		return;
	}
	if (unlikely(!request_find_response(request))) {
		virtqueue_break(vq, "a command has no room for its response");
		return;
	}
	if (unlikely(vq->faulty)) {
		if (!request_response_is_mapped(request)) {
			virtqueue_break(vq, "a command's response is outside memory");
			return;
		}
		request_refuse(request, VIRTIO_SCSI_S_FAILURE);
		return;
	}
	request_submit(request, &header);
}

static void request_init(struct vq_request *vq)
{
	struct scsi_request *request = container_of(vq, struct scsi_request, vq);

	request->task.done = request_done;
}

/* What data-in lost at its end was not written. */
static void request_restore(struct vq_request *vq)
{
	struct scsi_request *request = container_of(vq, struct scsi_request, vq);

	if (request->cut_index < vq->in_iovs)
		vq->iov[vq->out_iovs + request->cut_index] = request->cut;
}

static void request_prefetch(void *device, enum poller_distance distance)
{
	const struct scsi_ring *ring = device;

	if (distance == POLLER_SECOND)
		__builtin_prefetch(ring);
	else
		__builtin_prefetch(ring->local->targets);
}

static bool request_get_place(const struct vq_request *vq, struct bdev_io_place *ret_place)
{
	const struct scsi_request *request = container_of(vq, const struct scsi_request, vq);

	return scsi_task_get_place(&request->task, ret_place);
}

const struct virtqueue_ops scsi_request_queue_ops = {
	.get_place = request_get_place,
	.request_size = sizeof(struct scsi_request),
	.handle = request_handle,
	.prefetch = request_prefetch,
	.request_init = request_init,
	.restore = request_restore,
};
