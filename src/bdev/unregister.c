/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a device. Users are told first and stop by themselves; what they still submit ends
 * with -ENODEV as soon as their channel has heard of it. The device is destroyed when nobody is
 * left: no user, channel, claim, range lock, nor any operation that looks at one of them.
 */
#include <errno.h>
#include <stdlib.h>

#include "bdev/bdev_impl.h"

struct bdev_remove_op {
	struct flow flow;
	struct bdev *bdev;
	struct bdev_registry *registry;
	struct bdev_gate_turn turn;
	struct reactor_call call;
	struct list *at; /* the channel being told */
	struct deferred wake;
	bool waiting; /* for bdev_removal_check */
	bool already;
	struct list names;
	done_fn done;
	void *arg;
};

static bool bdev_is_unused(const struct bdev *bdev)
{
	return list_is_empty(&bdev->users) && list_is_empty(&bdev->channels) &&
	       list_is_empty(&bdev->range_locks) && bdev->operations == 0;
}

static void bdev_removal_wake(struct deferred *deferred)
{
	struct bdev_remove_op *op = container_of(deferred, struct bdev_remove_op, wake);

	flow_resume(&op->flow, 0);
}

void bdev_removal_check(struct bdev *bdev)
{
	struct bdev_remove_op *op = bdev->remove_op;

	if (!op || !op->waiting || !bdev_is_unused(bdev))
		return;
	op->waiting = false;
	reactor_defer(bdev->registry->control, DEFER_COMPLETE, &op->wake);
}

void bdev_operation_begin(struct bdev *bdev)
{
	bdev->operations++;
}

void bdev_operation_end(struct bdev *bdev)
{
	invariant(bdev->operations > 0);
	bdev->operations--;
	bdev_removal_check(bdev);
}

static void bdev_removal_wait(struct bdev_remove_op *op)
{
	op->waiting = true;
	bdev_removal_check(op->bdev);
}

/* A user may close itself, or others, while it is told. */
static void bdev_users_tell_removed(struct bdev *bdev)
{
	struct bdev_user *user;

again:
	list_for_each_entry (user, &bdev->users, link) {
		if (user->removed_told)
			continue;
		user->removed_told = true;
		user->ops->removed(user);
		goto again;
	}
}

static int bdev_channel_tell_removed(struct reactor_call *call)
{
	struct bdev_remove_op *op = container_of(call, struct bdev_remove_op, call);

	bdev_channel_set_removed(list_entry(op->at, struct bdev_channel, link));
	return 0;
}

static void bdev_remove_tell_channel(struct bdev_remove_op *op, done_fn done, void *arg)
{
	const struct bdev_channel *channel = list_entry(op->at, struct bdev_channel, link);

	reactor_call(&op->call, op->flow.reactor, channel->reactor, bdev_channel_tell_removed, done,
		arg);
}

/* Nobody finds it any more, its names stay taken. */
static void bdev_leave_registry(struct bdev_remove_op *op)
{
	struct bdev *bdev = op->bdev;
	struct bdev_name *name;

	list_remove(&bdev->link);
	list_for_each_entry (name, &bdev->names, link)
		name->bdev = NULL;
	bdev_notify(bdev, BDEV_UNREGISTERED);
	list_move_all(&op->names, &bdev->names);
}

static enum flow_result bdev_remove_run(struct flow *f)
{
	struct bdev_remove_op *op = container_of(f, struct bdev_remove_op, flow);

	FLOW_BEGIN(f);
	if (op->already) {
		flow_fail(f, -EALREADY);
		goto finish;
	}
	bdev_users_tell_removed(op->bdev);

	/* Inside the gate no channel is opened or closed, and none is opened afterwards. */
	AWAIT(f, bdev_gate_enter(&op->bdev->channel_gate, &op->turn, flow_resume, f));
	for (op->at = op->bdev->channels.next; op->at != &op->bdev->channels; op->at = op->at->next)
		AWAIT(f, bdev_remove_tell_channel(op, flow_resume, f));
	bdev_gate_leave(&op->bdev->channel_gate);

	while (!bdev_is_unused(op->bdev))
		AWAIT(f, bdev_removal_wait(op));

	bdev_leave_registry(op);
	free(op->bdev->qos);
	op->bdev->qos = NULL;
	free(op->bdev->histogram);
	op->bdev->histogram = NULL;
	AWAIT(f, op->bdev->ops->destroy(op->bdev, flow_resume, f));
	bdev_names_free(op->registry, &op->names);
finish:
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void bdev_unregister(struct bdev *bdev, done_fn done, void *arg)
{
	struct bdev_remove_op *op = alloc_op(sizeof(*op));

	op->bdev = bdev;
	op->registry = bdev->registry;
	op->already = bdev->removing;
	op->wake.run = bdev_removal_wake;
	list_init(&op->names);
	op->done = done;
	op->arg = arg;
	if (!bdev->removing) {
		bdev->removing = true;
		bdev->remove_op = op;
	}
	flow_start(&op->flow, bdev->registry->control, "bdev_unregister", bdev_remove_run);
}
