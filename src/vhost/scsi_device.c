/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio-scsi device as the session sees it (scsi_device.h, device.h): features, life, and the
 * table of operations whose parts are in scsi_ring.c and scsi_claim.c.
 *
 * QEMU keeps the configuration space itself (reference 16.2), so there is none here: CONFIG is not
 * among the protocol features, and what we can do per command is told in VPD page B0h.
 *
 * A session is an I_T nexus: when one begins, or the driver starts anew, every logical unit has a
 * unit attention for it. The initiator port is the controller, by its name: the same machine, when
 * it comes back, is the one that has registered (SPC-4 5.12.5). A target port is a target.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scsi/identity.h"
#include "spec/vhost_user.h"
#include "vhost/scsi_impl.h"

/* ---- features ------------------------------------------------------------------------------ */

static uint64_t scsi_features(const struct vhost_device *device)
{
	return VIRTIO_BIT(VIRTIO_SCSI_F_HOTPLUG) | VIRTIO_BIT(VIRTIO_SCSI_F_CHANGE) |
	       VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT) | VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC) |
	       VIRTIO_BIT(VIRTIO_F_EVENT_IDX) | VIRTIO_BIT(VIRTIO_F_VERSION_1) |
	       VIRTIO_BIT(VIRTIO_F_RING_PACKED) | VIRTIO_BIT(VHOST_F_LOG_ALL) |
	       VIRTIO_BIT(VHOST_USER_F_PROTOCOL_FEATURES);
}

/* QEMU negotiates by itself what is not on its list (reference 6.3); all of it is offered as
 * well. */
static uint64_t scsi_tolerated_features(const struct vhost_device *device)
{
	return VIRTIO_BIT(VIRTIO_SCSI_F_CHANGE) | VIRTIO_BIT(VIRTIO_F_ANY_LAYOUT) |
	       VIRTIO_BIT(VIRTIO_F_VERSION_1);
}

static uint64_t scsi_protocol_features(const struct vhost_device *device)
{
	return VIRTIO_BIT(VHOST_USER_PF_MQ) | VIRTIO_BIT(VHOST_USER_PF_LOG_SHMFD) |
	       VIRTIO_BIT(VHOST_USER_PF_REPLY_ACK) | VIRTIO_BIT(VHOST_USER_PF_BACKEND_REQ) |
	       VIRTIO_BIT(VHOST_USER_PF_INFLIGHT_SHMFD) | VIRTIO_BIT(VHOST_USER_PF_RESET_DEVICE) |
	       VIRTIO_BIT(VHOST_USER_PF_CONFIGURE_MEM_SLOTS);
}

static unsigned scsi_queue_count(const struct vhost_device *device)
{
	return container_of(device, struct scsi_device, device)->queue_count;
}

/* ---- the nexus ----------------------------------------------------------------------------- */

static void for_each_attachment(
	const struct scsi_device *device, void (*fn)(struct scsi_attachment *attachment))
{
	for (unsigned i = 0; i < SCSI_DEVICE_TARGETS_MAX; i++) {
		const struct scsi_slot *slot = device->slots[i];

		for (unsigned j = 0; slot && j < slot->target->lun_count; j++)
			fn(slot->target->luns[j]);
	}
}

static void unsubscribe(struct scsi_attachment *attachment)
{
	scsi_unit_of(attachment)->subscribed = 0;
}

/* Events are about what a driver has seen: a new one looks for itself. */
static void scsi_reset(struct vhost_device *device)
{
	struct scsi_device *scsi = scsi_device_of(device);

	scsi_events_forget(scsi);
	for_each_attachment(scsi, scsi_attachment_lose_nexus);
	for_each_attachment(scsi, scsi_attention_restart);
	for_each_attachment(scsi, unsubscribe);
}

static void scsi_session_begin(struct vhost_device *device, struct vhost_session *session)
{
	device->session = session;
	scsi_reset(device);
}

static void scsi_session_end(struct vhost_device *device)
{
	device->session = NULL;
	scsi_events_forget(scsi_device_of(device));
	for_each_attachment(scsi_device_of(device), scsi_attachment_lose_nexus);
}

/* ---- peers --------------------------------------------------------------------------------- */

/* Of another controller, or of the same one under a second number. */
static void scsi_for_each_peer(
	struct vhost_device *device, void (*fn)(struct vhost_device *peer, void *arg), void *arg)
{
	struct scsi_attachment *attachment;
	struct scsi_unit *unit;

	for_each_unit(scsi_device_of(device), unit)
	{
		list_for_each_entry (attachment, &unit->attachment->lun->attachments, link) {
			struct scsi_device *peer = scsi_unit_of(attachment)->slot->device;

			if (&peer->device != device)
				fn(&peer->device, arg);
		}
	}
}

/* ---- life ---------------------------------------------------------------------------------- */

struct destroy_op {
	struct flow flow;
	struct bdev_gate_turn turn;
	struct scsi_device *device;
	done_fn done;
	void *arg;
};

static void destroy_await_removals(struct destroy_op *op)
{
	op->device->destroyer = &op->flow;
}

static void scsi_device_free(struct scsi_device *device)
{
	invariant(list_is_empty(&device->locals));
	scsi_events_fini(device);
	timer_stop(device->control, &device->claim_retry);
	free(device->name);
	free(device);
}

static enum flow_result destroy_run(struct flow *f)
{
	struct destroy_op *op = container_of(f, struct destroy_op, flow);

	FLOW_BEGIN(f);
	/* What stands in the gate before us is the last that will. */
	AWAIT(f, bdev_gate_enter(&op->device->gate, &op->turn, flow_resume, f));
	bdev_gate_leave(&op->device->gate);
	scsi_units_remove_all(op->device);
	if (op->device->removals)
		AWAIT(f, destroy_await_removals(op));
	scsi_device_free(op->device);
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

static void scsi_destroy(struct vhost_device *device, done_fn done, void *arg)
{
	struct destroy_op *op = scsi_op_alloc(sizeof(*op));

	op->device = scsi_device_of(device);
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, op->device->control, "scsi_destroy", destroy_run);
}

static const struct vhost_device_ops scsi_device_ops = {
	.kind = "scsi",
	.features = scsi_features,
	.tolerated_features = scsi_tolerated_features,
	.protocol_features = scsi_protocol_features,
	.queue_count = scsi_queue_count,
	.session_begin = scsi_session_begin,
	.session_end = scsi_session_end,
	.reset = scsi_reset,
	.claim = scsi_device_claim,
	.release = scsi_device_release,
	.ring_open = scsi_device_ring_open,
	.ring_started = scsi_device_ring_started,
	.ring_stopping = scsi_device_ring_stopping,
	.ring_close = scsi_device_ring_close,
	.for_each_peer = scsi_for_each_peer,
	.destroy = scsi_destroy,
};

int scsi_device_create(const struct scsi_device_options *options, struct reason *reason,
	struct vhost_device **ret_device)
{
	unsigned queues =
		options->request_queues ? options->request_queues : SCSI_DEVICE_REQUEST_QUEUES_MAX;
	struct scsi_device *device;

	if (queues + VIRTIO_SCSI_RING_REQUEST > VHOST_QUEUES_MAX)
		return reason_set(reason, -EINVAL, "%u request queues are too many: at most %d",
			queues, VHOST_QUEUES_MAX - VIRTIO_SCSI_RING_REQUEST);
	device = calloc(1, sizeof(*device));
	if (!device)
		return reason_set(reason, -ENOMEM, "out of memory");
	device->name = strdup(options->name);
	if (!device->name) {
		free(device);
		return reason_set(reason, -ENOMEM, "out of memory");
	}
	device->device.ops = &scsi_device_ops;
	device->device.name = device->name;
	device->control = bdev_registry_control(options->registry);
	device->waits_for_space = options->waits_for_space;
	device->state_dir = options->state_dir;
	device->initiator = scsi_identity_of_initiator(options->name);
	device->store = options->store;
	device->queue_count = queues + VIRTIO_SCSI_RING_REQUEST;
	bdev_gate_init(&device->gate, device->control);
	list_init(&device->locals);
	scsi_events_init(device);
	scsi_claim_init(device);
	*ret_device = &device->device;
	return 0;
}

bool scsi_device_waits_for_space(const struct vhost_device *device)
{
	return container_of(device, struct scsi_device, device)->waits_for_space;
}
