/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device on one data reactor (struct scsi_local): channels to the logical units of its targets,
 * and the table through which its request queues find them. Control reactor, but for what
 * messages run on the local's own.
 *
 * Counting: an open ring and an open channel each hold the local. A channel names it as the place
 * where a task management function fetches what the driver has sent (scsi_lun_channel.fetch).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "vhost/scsi_impl.h"

/* ---- calls -------------------------------------------------------------------------------- */

static void call_back(struct message *message)
{
	struct scsi_call *call = container_of(message, struct scsi_call, message);

	call->done(call->arg, 0);
}

static void call_run(struct message *message)
{
	struct scsi_call *call = container_of(message, struct scsi_call, message);

	call->fn(call);
	message->run = call_back;
	reactor_send(call->control, message);
}

void scsi_call(struct scsi_call *call, struct reactor *control, struct reactor *reactor,
	void (*fn)(struct scsi_call *call), done_fn done, void *arg)
{
	call->control = control;
	call->fn = fn;
	call->done = done;
	call->arg = arg;
	call->message.run = call_run;
	reactor_send(reactor, &call->message);
}

void *scsi_op_alloc(size_t size)
{
	void *op = calloc(1, size);

	if (!op) {
		log_error("out of memory: not even a refusal can be told");
		abort();
	}
	return op;
}

/* ---- life --------------------------------------------------------------------------------- */

struct scsi_local *scsi_local_find(struct scsi_device *device, struct reactor *reactor)
{
	struct scsi_local *local;

	list_for_each_entry (local, &device->locals, link) {
		if (local->reactor == reactor)
			return local;
	}
	return NULL;
}

struct scsi_local *scsi_local_create(struct scsi_device *device, struct reactor *reactor)
{
	struct scsi_local *local = aligned_alloc(CACHE_LINE, align_up(sizeof(*local), CACHE_LINE));

	if (!local)
		return NULL;
	memset(local, 0, sizeof(*local));
	list_init(&local->rings);
	list_init(&local->link);
	local->device = device;
	local->reactor = reactor;
	local->refs = 1;
	return local;
}

void scsi_local_put(struct scsi_local *local)
{
	if (--local->refs == 0) {
		invariant(list_is_empty(&local->link));
		free(local);
	}
}

/* ---- what the driver has sent already ------------------------------------------------------ */

/* And what waits for space. At most one ring full: a driver that adds as fast as we take does not
 * hold the reactor up. */
static void ring_fetch(struct virtqueue *vq)
{
	unsigned left = virtqueue_size(vq);
	struct vq_request *request;

	virtqueue_try_postponed(vq);
	while (left-- && (request = virtqueue_pop(vq)))
		scsi_request_queue_ops.handle(request);
}

static void local_fetch(void *arg)
{
	struct scsi_local *local = arg;
	struct scsi_ring *ring;

	list_for_each_entry (ring, &local->rings, link)
		ring_fetch(ring->vq);
}

/* ---- channels of a unit -------------------------------------------------------------------- */

struct unit_op {
	struct flow flow;
	struct scsi_local *local;
	struct scsi_unit *unit;
	struct scsi_lun_channel *channel;
	done_fn done;
	void *arg;
};

static void unit_op_start(struct scsi_local *local, struct scsi_unit *unit, const char *name,
	enum flow_result (*run)(struct flow *f), done_fn done, void *arg)
{
	struct unit_op *op = scsi_op_alloc(sizeof(*op));

	op->local = local;
	op->unit = unit;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, local->device->control, name, run);
}

static struct scsi_lun_channel *local_find_channel(
	const struct scsi_local *local, const struct scsi_attachment *attachment)
{
	struct scsi_lun_channel *channel;

	list_for_each_entry (channel, &attachment->channels, link) {
		if (channel->fetch_arg == local)
			return channel;
	}
	return NULL;
}

static int unit_op_create_channel(struct unit_op *op)
{
	int rc = scsi_channel_create(
		op->unit->attachment, op->local->reactor, local_fetch, op->local, &op->channel);

	if (rc)
		return rc;
	op->channel->targets = op->local->targets;
	op->channel->target_count = SCSI_DEVICE_TARGETS_MAX;
	return 0;
}

static enum flow_result open_unit_run(struct flow *f)
{
	struct unit_op *op = container_of(f, struct unit_op, flow);

	FLOW_BEGIN(f);
	flow_fail(f, unit_op_create_channel(op));
	if (flow_failed(f))
		goto finish;
	AWAIT(f, scsi_channel_open(op->channel, flow_resume, f));
	if (flow_failed(f))
		scsi_channel_destroy(op->channel);
	else
		op->local->refs++;
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void scsi_local_open_unit(struct scsi_local *local, struct scsi_unit *unit, done_fn done, void *arg)
{
	unit_op_start(local, unit, "scsi_local_open_unit", open_unit_run, done, arg);
}

static enum flow_result close_unit_run(struct flow *f)
{
	struct unit_op *op = container_of(f, struct unit_op, flow);

	FLOW_BEGIN(f);
	op->channel = local_find_channel(op->local, op->unit->attachment);
	if (op->channel) {
		AWAIT(f, scsi_channel_close(op->channel, flow_resume, f));
		scsi_local_put(op->local);
	}
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

void scsi_local_close_unit(
	struct scsi_local *local, struct scsi_unit *unit, done_fn done, void *arg)
{
	unit_op_start(local, unit, "scsi_local_close_unit", close_unit_run, done, arg);
}

/* ---- the table ----------------------------------------------------------------------------- */

/* NULL: nothing of the target is to be seen here. A unit has no channel on this reactor when its
 * device was going already as the local was made. */
static struct scsi_target_view *local_make_view(
	const struct scsi_local *local, const struct scsi_target *target)
{
	struct scsi_target_view *view =
		scsi_op_alloc(sizeof(*view) + (size_t)target->lun_count * sizeof(view->luns[0]));

	for (unsigned i = 0; i < target->lun_count; i++) {
		struct scsi_lun_channel *channel = local_find_channel(local, target->luns[i]);

		if (channel && scsi_unit_of(target->luns[i])->visible)
			view->luns[view->lun_count++] = channel;
	}
	if (view->lun_count)
		return view;
	free(view);
	return NULL;
}

struct publish_op {
	struct scsi_call call;
	struct scsi_local *local;
	unsigned target;
	struct scsi_target_view *view;
	done_fn done;
	void *arg;
};

static void publish_run(struct scsi_call *call)
{
	struct publish_op *op = container_of(call, struct publish_op, call);

	op->local->targets[op->target] = op->view;
}

static void publish_done(void *arg, int rc)
{
	struct publish_op *op = arg;

	free(op->local->published[op->target]);
	op->local->published[op->target] = op->view;
	op->done(op->arg, 0);
	free(op);
}

void scsi_local_publish(struct scsi_local *local, struct scsi_slot *slot, done_fn done, void *arg)
{
	struct publish_op *op = scsi_op_alloc(sizeof(*op));

	op->local = local;
	op->target = slot->target->number;
	op->view = local_make_view(local, slot->target);
	op->done = done;
	op->arg = arg;
	scsi_call(&op->call, local->device->control, local->reactor, publish_run, publish_done, op);
}

static void local_set_view(struct scsi_local *local, unsigned target, struct scsi_target_view *view)
{
	free(local->published[target]);
	local->published[target] = view;
	local->targets[target] = view;
}

void scsi_local_set_views(struct scsi_local *local)
{
	for (unsigned i = 0; i < SCSI_DEVICE_TARGETS_MAX; i++) {
		if (local->device->slots[i])
			local_set_view(
				local, i, local_make_view(local, local->device->slots[i]->target));
	}
}

void scsi_local_clear_views(struct scsi_local *local)
{
	for (unsigned i = 0; i < SCSI_DEVICE_TARGETS_MAX; i++)
		local_set_view(local, i, NULL);
}
