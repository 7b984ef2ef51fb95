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

/* At most one ring full: a driver that adds as fast as we take does not hold the reactor up. */
static void ring_fetch(struct virtqueue *vq)
{
	unsigned left = virtqueue_size(vq);
	struct vq_request *request;

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

/* ---- channels of a target ------------------------------------------------------------------ */

struct slot_op {
	struct flow flow;
	struct scsi_local *local;
	struct scsi_slot *slot;
	struct scsi_lun_channel *channel;
	unsigned index;
	done_fn done;
	void *arg;
};

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

static int slot_op_create_channel(struct slot_op *op)
{
	return scsi_channel_create(op->slot->target->luns[op->index], op->local->reactor,
		local_fetch, op->local, &op->channel);
}

static enum flow_result open_slot_run(struct flow *f)
{
	struct slot_op *op = container_of(f, struct slot_op, flow);

	FLOW_BEGIN(f);
	for (op->index = 0; op->index < op->slot->target->lun_count; op->index++) {
		flow_fail(f, slot_op_create_channel(op));
		if (flow_failed(f))
			goto close;
		AWAIT(f, scsi_channel_open(op->channel, flow_resume, f));
		if (flow_failed(f)) {
			scsi_channel_destroy(op->channel);
			goto close;
		}
		op->local->refs++;
	}
	goto finish;

close:
	AWAIT(f, scsi_local_close_slot(op->local, op->slot, flow_resume, f));
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static void slot_op_start(struct scsi_local *local, struct scsi_slot *slot, const char *name,
	enum flow_result (*run)(struct flow *f), done_fn done, void *arg)
{
	struct slot_op *op = scsi_op_alloc(sizeof(*op));

	op->local = local;
	op->slot = slot;
	op->done = done;
	op->arg = arg;
	flow_start(&op->flow, local->device->control, name, run);
}

void scsi_local_open_slot(struct scsi_local *local, struct scsi_slot *slot, done_fn done, void *arg)
{
	slot_op_start(local, slot, "scsi_local_open_slot", open_slot_run, done, arg);
}

static bool slot_op_find_channel(struct slot_op *op)
{
	op->channel = local_find_channel(op->local, op->slot->target->luns[op->index]);
	return op->channel != NULL;
}

static enum flow_result close_slot_run(struct flow *f)
{
	struct slot_op *op = container_of(f, struct slot_op, flow);

	FLOW_BEGIN(f);
	for (op->index = 0; op->index < op->slot->target->lun_count; op->index++) {
		if (!slot_op_find_channel(op))
			continue;
		AWAIT(f, scsi_channel_close(op->channel, flow_resume, f));
		scsi_local_put(op->local);
	}
	op->done(op->arg, 0);
	free(op);
	FLOW_END(f);
}

void scsi_local_close_slot(
	struct scsi_local *local, struct scsi_slot *slot, done_fn done, void *arg)
{
	slot_op_start(local, slot, "scsi_local_close_slot", close_slot_run, done, arg);
}

/* ---- the table ----------------------------------------------------------------------------- */

struct scsi_target_view *scsi_local_make_view(
	struct scsi_local *local, const struct scsi_slot *slot)
{
	const struct scsi_target *target = slot->target;
	struct scsi_target_view *view =
		malloc(sizeof(*view) + target->lun_count * sizeof(view->luns[0]));

	if (!view)
		return NULL;
	view->lun_count = target->lun_count;
	for (unsigned i = 0; i < target->lun_count; i++) {
		view->luns[i] = local_find_channel(local, target->luns[i]);
		invariant(view->luns[i]);
	}
	return view;
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

void scsi_local_publish(struct scsi_local *local, unsigned target, struct scsi_target_view *view,
	done_fn done, void *arg)
{
	struct publish_op *op = scsi_op_alloc(sizeof(*op));

	op->local = local;
	op->target = target;
	op->view = view;
	op->done = done;
	op->arg = arg;
	scsi_call(&op->call, local->device->control, local->reactor, publish_run, publish_done, op);
}

void scsi_local_set_view(struct scsi_local *local, unsigned target, struct scsi_target_view *view)
{
	free(local->published[target]);
	local->published[target] = view;
	local->targets[target] = view;
}
