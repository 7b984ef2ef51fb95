/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control queue: VIRTIO 1.2 section 5.6.6.2, reference 16.6.
 *
 * A task management function goes to the control reactor, which alone knows all the places where a
 * logical unit's commands may be, and from there to each of them (scsi/abort.h). It is answered
 * when every command it concerns is in its used ring. A command that the block device holds is
 * waited for; meanwhile everything else goes on, the control queue too.
 *
 * Which logical unit: that of the address; I_T NEXUS RESET is about all of the target. Others who
 * share a unit hear of a reset, or of commands that were cleared, by unit attentions.
 *
 * A request queue that moves to another reactor is for a moment in none of those places, so no move
 * goes on beside a function.
 *
 * Asynchronous notification: of the events that the specification takes from MMC there is one, that
 * of a medium which goes or comes, for units whose medium is removable. A driver has subscribed to
 * what its last request asked for, until a device reset.
 */
#include <string.h>

#include "scsi/lun_state.h"
#include "vhost/scsi_impl.h"

struct control_request {
	struct vq_request vq; /* first */
	struct flow flow;
	struct message message;
	struct scsi_device *device;
	union {
		struct virtio_scsi_ctrl_tmf tmf;
		struct virtio_scsi_ctrl_an an;
	};
	struct vhost_moves_waiter moves;
	struct scsi_address address;
	struct scsi_abort abort;
	uint32_t event_actual;
	uint8_t response;
};

static size_t control_read(const struct vq_request *vq, void *buf, size_t len)
{
	return vq_iov_read(vq->iov, vq->out_iovs, 0, buf, len);
}

static void control_answer(struct vq_request *vq, const void *buf, size_t len)
{
	if (!virtqueue_is_frozen(vq->vq))
		vq_iov_write(vq->iov + vq->out_iovs, vq->in_iovs, 0, buf, len);
	virtqueue_push(vq, (uint32_t)len);
}

/* ---- on the control reactor --------------------------------------------------------------- */

/* A target whose first unit is still being added is none. */
static bool control_has_target(const struct control_request *request)
{
	const struct scsi_slot *slot = request->device->slots[request->address.target];

	for (unsigned i = 0; slot && i < slot->target->lun_count; i++) {
		if (scsi_unit_of(slot->target->luns[i])->state != SCSI_UNIT_ADDING)
			return true;
	}
	return false;
}

/* What stands behind the address now; NULL with the response set. A unit that is being removed may
 * still have commands to end. */
static struct scsi_attachment *control_find_lun(struct control_request *request)
{
	const struct scsi_address *address = &request->address;
	struct scsi_unit *unit = scsi_unit_find(request->device, address->target, address->lun);

	if (unit && unit->state != SCSI_UNIT_ADDING)
		return unit->attachment;
	request->response = control_has_target(request) ? VIRTIO_SCSI_S_INCORRECT_LUN
							: VIRTIO_SCSI_S_BAD_TARGET;
	return NULL;
}

/* False: the function is not known. */
static bool control_prepare(struct control_request *request)
{
	struct scsi_abort *abort = &request->abort;

	memset(abort, 0, sizeof(*abort));
	abort->tag = request->tmf.tag;
	abort->response = SCSI_RESPONSE_ABORTED;
	abort->every_tag = true;
	switch (request->tmf.subtype) {
	case VIRTIO_SCSI_T_TMF_ABORT_TASK:
		abort->every_tag = false;
		return true;
	case VIRTIO_SCSI_T_TMF_ABORT_TASK_SET:
		return true;
	case VIRTIO_SCSI_T_TMF_CLEAR_TASK_SET:
		abort->every_nexus = true;
		abort->tell_others = true;
		return true;
	case VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET:
		abort->response = SCSI_RESPONSE_RESET;
		return true;
	case VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET:
		abort->every_nexus = true;
		abort->response = SCSI_RESPONSE_RESET;
		return true;
	case VIRTIO_SCSI_T_TMF_QUERY_TASK:
		abort->query = true;
		abort->every_tag = false;
		return true;
	case VIRTIO_SCSI_T_TMF_QUERY_TASK_SET:
		abort->query = true;
		return true;
	default:
		return false;
	}
}

/* The abort of one logical unit has ended well. */
static void control_conclude(struct control_request *request, struct scsi_attachment *attachment)
{
	request->response = VIRTIO_SCSI_S_OK;
	switch (request->tmf.subtype) {
	case VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET:
		if (attachment) {
			scsi_lun_reset_reservation(attachment->lun);
			scsi_lun_state_reset(attachment->lun);
			scsi_lun_raise_others(attachment->lun, NULL, SCSI_UA_DEVICE_RESET);
		}
		break;
	case VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET:
		if (attachment) {
			scsi_attachment_lose_nexus(attachment);
			scsi_lun_state_lose_nexus(attachment);
			scsi_attention_raise(attachment, SCSI_UA_I_T_NEXUS_LOSS);
		}
		break;
	case VIRTIO_SCSI_T_TMF_QUERY_TASK:
	case VIRTIO_SCSI_T_TMF_QUERY_TASK_SET:
		if (request->abort.found)
			request->response = VIRTIO_SCSI_S_FUNCTION_SUCCEEDED;
		break;
	default:
		break;
	}
}

static void control_answer_message(struct message *message)
{
	struct control_request *request = container_of(message, struct control_request, message);

	control_answer(&request->vq, &request->response, 1);
}

static void control_send_answer(struct control_request *request)
{
	request->message.run = control_answer_message;
	reactor_send(virtqueue_reactor(request->vq.vq), &request->message);
}

/* An I_T NEXUS RESET goes from LUN to LUN: moves on to the first of the target from address.lun on.
 * Units come and go meanwhile. False: no more. */
static bool control_seek_lun(struct control_request *request)
{
	struct scsi_address *address = &request->address;
	const struct scsi_slot *slot = request->device->slots[address->target];
	unsigned at = slot ? scsi_target_seek(slot->target, address->lun) : 0;

	for (; slot && at < slot->target->lun_count; at++) {
		address->lun = slot->target->luns[at]->number;
		if (scsi_unit_of(slot->target->luns[at])->state != SCSI_UNIT_ADDING)
			return true;
	}
	return false;
}

static enum flow_result control_tmf_run(struct flow *f)
{
	struct control_request *request = container_of(f, struct control_request, flow);

	FLOW_BEGIN(f);
	vhost_device_hold_moves(&request->device->device);
	if (request->device->device.moves)
		AWAIT(f, vhost_device_await_moves(
				 &request->device->device, &request->moves, flow_resume, f));
	if (!control_prepare(request)) {
		request->response = VIRTIO_SCSI_S_FUNCTION_REJECTED;
		goto finish;
	}
	if (request->tmf.subtype == VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET)
		goto nexus;

	if (!control_find_lun(request))
		goto finish;
	AWAIT(f, scsi_abort_run(&request->abort, control_find_lun(request), flow_resume, f));
	if (flow_failed(f))
		goto failed;
	control_conclude(request, control_find_lun(request));
	goto finish;

nexus:
	request->address.lun = 0;
	request->response = VIRTIO_SCSI_S_BAD_TARGET;
	for (; control_seek_lun(request); request->address.lun++) {
		AWAIT(f,
			scsi_abort_run(&request->abort, control_find_lun(request), flow_resume, f));
		if (flow_failed(f))
			goto failed;
		control_conclude(request, control_find_lun(request));
	}
	goto finish;

failed:
	request->response = VIRTIO_SCSI_S_FAILURE;
finish:
	vhost_device_release_moves(&request->device->device);
	control_send_answer(request);
	FLOW_END(f);
}

static void control_tmf_message(struct message *message)
{
	struct control_request *request = container_of(message, struct control_request, message);

	flow_start(&request->flow, request->device->control, "scsi_tmf", control_tmf_run);
}

/* ---- asynchronous notification ----------------------------------------------------------- */

static void control_answer_notification(struct control_request *request)
{
	const struct virtio_scsi_ctrl_an_resp response = {
		.event_actual = request->event_actual, .response = request->response};

	control_answer(&request->vq, &response, sizeof(response));
}

static void control_notification_back(struct message *message)
{
	control_answer_notification(container_of(message, struct control_request, message));
}

/* On the control reactor. */
static void control_notification_message(struct message *message)
{
	struct control_request *request = container_of(message, struct control_request, message);
	struct scsi_attachment *attachment = control_find_lun(request);

	if (attachment) {
		request->response = VIRTIO_SCSI_S_OK;
		if (attachment->lun->removable)
			request->event_actual =
				request->an.event_requested & VIRTIO_SCSI_EVT_ASYNC_MEDIA_CHANGE;
		if (request->an.type == VIRTIO_SCSI_T_AN_SUBSCRIBE)
			scsi_unit_of(attachment)->subscribed = request->event_actual;
	}
	request->message.run = control_notification_back;
	reactor_send(virtqueue_reactor(request->vq.vq), &request->message);
}

/* ---- on the queue's reactor --------------------------------------------------------------- */

static void control_tmf(struct control_request *request, const struct scsi_ring *ring)
{
	uint8_t response;

	if (control_read(&request->vq, &request->tmf, sizeof(request->tmf)) !=
			sizeof(request->tmf) ||
		request->vq.in_bytes < sizeof(response)) {
		virtqueue_break(&request->vq, "a task management request is too short");
		return;
	}
	switch (scsi_address_parse(request->tmf.lun, &request->address)) {
	case SCSI_ADDRESS_LUN:
		break;
	case SCSI_ADDRESS_BAD_TARGET:
		response = VIRTIO_SCSI_S_BAD_TARGET;
		control_answer(&request->vq, &response, 1);
		return;
	default:
		response = VIRTIO_SCSI_S_INCORRECT_LUN;
		control_answer(&request->vq, &response, 1);
		return;
	}
	if (request->tmf.subtype == VIRTIO_SCSI_T_TMF_CLEAR_ACA) {
		response = VIRTIO_SCSI_S_OK; /* there never is one */
		control_answer(&request->vq, &response, 1);
		return;
	}
	request->device = ring->device;
	request->message.run = control_tmf_message;
	reactor_send(ring->device->control, &request->message);
}

static void control_notification(struct control_request *request, const struct scsi_ring *ring)
{
	struct virtio_scsi_ctrl_an *an = &request->an;

	if (control_read(&request->vq, an, sizeof(*an)) != sizeof(*an) ||
		request->vq.in_bytes < sizeof(struct virtio_scsi_ctrl_an_resp)) {
		virtqueue_break(&request->vq, "an asynchronous notification request is too short");
		return;
	}
	request->event_actual = 0;
	switch (scsi_address_parse(an->lun, &request->address)) {
	case SCSI_ADDRESS_LUN:
		request->device = ring->device;
		request->message.run = control_notification_message;
		reactor_send(ring->device->control, &request->message);
		return;
	case SCSI_ADDRESS_WELL_KNOWN: /* nothing about it changes */
		request->response = VIRTIO_SCSI_S_OK;
		break;
	case SCSI_ADDRESS_BAD_TARGET:
		request->response = VIRTIO_SCSI_S_BAD_TARGET;
		break;
	default:
		request->response = VIRTIO_SCSI_S_INCORRECT_LUN;
		break;
	}
	control_answer_notification(request);
}

/* The response of every kind of request is its last byte; of an unknown one we know no more. */
static void control_unknown(struct control_request *request)
{
	struct vq_request *vq = &request->vq;
	uint8_t response = VIRTIO_SCSI_S_FAILURE;

	if (vq->in_bytes == 0 || vq->faulty) {
		virtqueue_break(vq, "an unknown control request has no room for a response");
		return;
	}
	vq_iov_zero(vq->iov + vq->out_iovs, vq->in_iovs, 0, vq->in_bytes - 1);
	vq_iov_write(vq->iov + vq->out_iovs, vq->in_iovs, vq->in_bytes - 1, &response, 1);
	virtqueue_push(vq, vq->in_bytes);
}

static void control_handle(struct vq_request *vq)
{
	struct control_request *request = container_of(vq, struct control_request, vq);
	const struct scsi_ring *ring = virtqueue_device(vq->vq);
	uint32_t type;

	if (vq->faulty) {
		virtqueue_break(vq, "a control request is outside memory");
		return;
	}
	if (control_read(vq, &type, sizeof(type)) != sizeof(type)) {
		virtqueue_break(vq, "a control request has no type");
		return;
	}
	switch (type) {
	case VIRTIO_SCSI_T_TMF:
		control_tmf(request, ring);
		break;
	case VIRTIO_SCSI_T_AN_QUERY:
	case VIRTIO_SCSI_T_AN_SUBSCRIBE:
		control_notification(request, ring);
		break;
	default:
		control_unknown(request);
	}
}

const struct virtqueue_ops scsi_control_queue_ops = {
	.request_size = sizeof(struct control_request),
	.handle = control_handle,
	.repeat_last = true,
};
