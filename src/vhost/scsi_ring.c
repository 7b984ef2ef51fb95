/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rings come and go: the device's side of vhost_device_ops.ring_*. Control reactor.
 *
 * The first request ring on a reactor makes the local there, with channels to all units; the last
 * one takes it away. Control and event rings need nothing.
 */
#include <errno.h>
#include <stdlib.h>

#include "vhost/scsi_impl.h"

struct ring_op {
	struct flow flow;
	struct bdev_gate_turn turn;
	struct scsi_device *device;
	struct reactor *reactor;
	struct scsi_ring *ring;
	struct scsi_local *local;
	struct scsi_unit *unit;
	const struct virtqueue_ops **ret_ops;
	void **ret_context;
	done_fn done;
	void *arg;
};

static struct ring_op *ring_op_create(struct scsi_device *device, done_fn done, void *arg)
{
	struct ring_op *op = scsi_op_alloc(sizeof(*op));

	op->device = device;
	op->done = done;
	op->arg = arg;
	return op;
}

static void ring_op_end(struct ring_op *op, int rc)
{
	bdev_gate_leave(&op->device->gate);
	op->done(op->arg, rc);
	free(op);
}

/* ---- open --------------------------------------------------------------------------------- */

static const struct virtqueue_ops *ring_ops(unsigned index)
{
	switch (index) {
	case VIRTIO_SCSI_RING_CONTROL:
		return &scsi_control_queue_ops;
	case VIRTIO_SCSI_RING_EVENT:
		return &scsi_event_queue_ops;
	default:
		return &scsi_request_queue_ops;
	}
}

static void ring_op_opened(struct ring_op *op)
{
	op->ring->local = op->local;
	if (op->local)
		op->local->open_rings++;
	*op->ret_ops = ring_ops(op->ring->index);
	*op->ret_context = op->ring;
}

static enum flow_result ring_open_run(struct flow *f)
{
	struct ring_op *op = container_of(f, struct ring_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->device->gate, &op->turn, flow_resume, f));
	if (op->ring->index < VIRTIO_SCSI_RING_REQUEST)
		goto opened;
	op->local = scsi_local_find(op->device, op->reactor);
	if (op->local)
		goto opened;

	op->local = scsi_local_create(op->device, op->reactor);
	if (!op->local) {
		flow_fail(f, -ENOMEM);
		goto finish;
	}
	for_each_unit(op->device, op->unit)
	{
		AWAIT(f, scsi_local_open_unit(op->local, op->unit, flow_resume, f));
		if (f->rc == -ENODEV) { /* its device is going: the others need not go with it */
			f->error = 0;
			continue;
		}
		if (flow_failed(f))
			goto close_units;
	}
	scsi_local_set_views(op->local);
	list_add_tail(&op->device->locals, &op->local->link);
opened:
	ring_op_opened(op);
	goto finish;

close_units:
	for_each_unit(op->device, op->unit)
		AWAIT(f, scsi_local_close_unit(op->local, op->unit, flow_resume, f));
	scsi_local_put(op->local);
finish:
	if (f->error)
		free(op->ring);
	ring_op_end(op, f->error);
	FLOW_END(f);
}

void scsi_device_ring_open(struct vhost_device *device, unsigned index, struct reactor *reactor,
	uint64_t features, const struct virtqueue_ops **ret_ops, void **ret_context, done_fn done,
	void *arg)
{
	struct scsi_device *scsi = scsi_device_of(device);
	struct ring_op *op = ring_op_create(scsi, done, arg);

	scsi->features = features;
	op->reactor = reactor;
	op->ring = scsi_op_alloc(sizeof(*op->ring));
	op->ring->device = scsi;
	op->ring->index = index;
	list_init(&op->ring->link);
	op->ret_ops = ret_ops;
	op->ret_context = ret_context;
	flow_start(&op->flow, scsi->control, "scsi_ring_open", ring_open_run);
}

/* ---- started and stopping ------------------------------------------------------------------ */

static void ring_join(struct message *message)
{
	struct scsi_ring *ring = container_of(message, struct scsi_ring, join);

	list_add_tail(&ring->local->rings, &ring->link);
}

void scsi_device_ring_started(struct vhost_device *device, void *context, struct virtqueue *vq)
{
	struct scsi_device *scsi = scsi_device_of(device);
	struct scsi_ring *ring = context;

	ring->vq = vq;
	if (ring->index == VIRTIO_SCSI_RING_EVENT)
		scsi_events_start(scsi, vq);
	if (!ring->local)
		return;
	ring->join.run = ring_join;
	reactor_send(ring->local->reactor, &ring->join);
}

static void ring_leave(struct scsi_call *call)
{
	struct scsi_ring *ring = container_of(call, struct scsi_ring, leave);

	list_remove(&ring->link);
}

/* Messages keep their order: a ring leaves after it has joined. */
void scsi_device_ring_stopping(struct vhost_device *device, void *context, done_fn done, void *arg)
{
	struct scsi_device *scsi = scsi_device_of(device);
	struct scsi_ring *ring = context;

	if (ring->index == VIRTIO_SCSI_RING_EVENT)
		scsi_events_stop(scsi, done, arg);
	else
		scsi_call(&ring->leave, scsi->control,
			ring->local ? ring->local->reactor : scsi->control, ring_leave, done, arg);
}

/* ---- close -------------------------------------------------------------------------------- */

/* A unit that is in no view any more closes its channels itself. */
static enum flow_result ring_close_run(struct flow *f)
{
	struct ring_op *op = container_of(f, struct ring_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->device->gate, &op->turn, flow_resume, f));
	op->local = op->ring->local;
	if (!op->local || --op->local->open_rings > 0)
		goto finish;

	list_remove(&op->local->link);
	scsi_local_clear_views(op->local);
	for_each_unit(op->device, op->unit)
		AWAIT(f, scsi_local_close_unit(op->local, op->unit, flow_resume, f));
	scsi_local_put(op->local);
finish:
	free(op->ring);
	ring_op_end(op, 0);
	FLOW_END(f);
}

void scsi_device_ring_close(
	struct vhost_device *device, unsigned index, void *context, done_fn done, void *arg)
{
	struct scsi_device *scsi = scsi_device_of(device);
	struct ring_op *op = ring_op_create(scsi, done, arg);

	op->ring = context;
	flow_start(&op->flow, scsi->control, "scsi_ring_close", ring_close_run);
}
