/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may write. Claims and releases of a device go through its gate one at a time, so that the
 * backend's claim is taken by the first writer and given up by the last, and whoever comes while
 * that is under way waits for how it ends. Who only relies on a device (WRITE_NONE) keeps writers
 * of this daemon out; the backend's claim is not asked for, since it is one for writing.
 */
#include <errno.h>
#include <stdlib.h>

#include "bdev/bdev_impl.h"

struct bdev_claim_op {
	struct flow flow;
	struct bdev *bdev;
	struct bdev_user *user;
	struct bdev_gate_turn turn;
	enum bdev_claim claim;
	struct reason *reason;
	done_fn done;
	void *arg;
};

static bool bdev_claim_writes(enum bdev_claim claim)
{
	return claim != BDEV_CLAIM_NONE && claim != BDEV_CLAIM_READ_MANY_WRITE_NONE;
}

static const struct bdev_user *bdev_find_user(
	const struct bdev *bdev, bool (*wanted)(enum bdev_claim claim))
{
	const struct bdev_user *user;

	list_for_each_entry (user, &bdev->users, link)
		if (wanted(user->claim))
			return user;
	return NULL;
}

static int bdev_claim_check(const struct bdev_claim_op *op)
{
	const struct bdev *bdev = op->bdev;
	const struct bdev_user *writer = bdev_find_user(bdev, bdev_claim_writes);

	if (bdev->removing)
		return reason_set(op->reason, -ENODEV, "device %s is being removed", bdev->name);
	if (bdev->read_only && bdev_claim_writes(op->claim))
		return reason_set(op->reason, -EROFS, "device %s is read-only: attach it read-only",
			bdev->name);
	if (bdev->claim == BDEV_CLAIM_READ_MANY_WRITE_NONE && bdev_claim_writes(op->claim))
		return reason_set(op->reason, -EPERM,
			"device %s is relied on by %s and cannot be written: attach it read-only",
			bdev->name, bdev->claim_holder->ops->name);
	if (bdev->claim_holder && bdev_claim_writes(bdev->claim))
		return reason_set(op->reason, -EPERM,
			"device %s belongs to %s: remove that first, or use what it provides",
			bdev->name, bdev->claim_holder->ops->name);
	if (bdev_claim_excludes(op->claim) && writer)
		return reason_set(op->reason, -EPERM,
			"device %s is written by %s: detach it there first", bdev->name,
			writer->ops->name);
	return 0;
}

int bdev_check_usable(const struct bdev *bdev, bool read_only, struct reason *reason)
{
	bool reads = read_only || bdev->read_only;

	if (!bdev_claim_excludes(bdev->claim) ||
		(bdev->claim == BDEV_CLAIM_READ_MANY_WRITE_NONE && reads))
		return 0;
	return reason_set(reason, -EPERM, "block device %s is in use by %s", bdev->name,
		bdev->claim_holder->ops->name);
}

static void bdev_claim_set(struct bdev_claim_op *op)
{
	struct bdev *bdev = op->bdev;

	op->user->claim = op->claim;
	bdev->claims++;
	bdev->writers += bdev_claim_writes(op->claim);
	bdev->claim = op->claim;
	if (bdev_claim_excludes(op->claim))
		bdev->claim_holder = op->user;
}

static void bdev_claim_clear(struct bdev_claim_op *op)
{
	struct bdev *bdev = op->bdev;

	bdev->writers -= bdev_claim_writes(op->user->claim);
	op->user->claim = BDEV_CLAIM_NONE;
	/* One of several that rely on it may be left. */
	bdev->claim_holder = bdev_find_user(bdev, bdev_claim_excludes);
	if (--bdev->claims == 0)
		bdev->claim = BDEV_CLAIM_NONE;
}

static void bdev_claim_op_leave(struct bdev_claim_op *op)
{
	bdev_gate_leave(&op->bdev->claim_gate);
	bdev_operation_end(op->bdev);
}

static enum flow_result bdev_claim_run(struct flow *f)
{
	struct bdev_claim_op *op = container_of(f, struct bdev_claim_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->bdev->claim_gate, &op->turn, flow_resume, f));
	invariant(op->user->claim == BDEV_CLAIM_NONE);
	flow_fail(f, bdev_claim_check(op));
	if (flow_failed(f))
		goto leave;
	if (op->bdev->writers == 0 && bdev_claim_writes(op->claim) && op->bdev->ops->claim) {
		AWAIT(f, op->bdev->ops->claim(op->bdev, op->reason, flow_resume, f));
		if (flow_failed(f))
			goto leave;
	}
	bdev_claim_set(op);
leave:
	bdev_claim_op_leave(op);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static enum flow_result bdev_release_run(struct flow *f)
{
	struct bdev_claim_op *op = container_of(f, struct bdev_claim_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->bdev->claim_gate, &op->turn, flow_resume, f));
	if (op->user->claim == BDEV_CLAIM_NONE)
		goto leave;
	op->claim = op->user->claim;
	bdev_claim_clear(op);
	if (op->bdev->writers == 0 && bdev_claim_writes(op->claim) && op->bdev->ops->release)
		AWAIT(f, op->bdev->ops->release(op->bdev, flow_resume, f));
leave:
	bdev_claim_op_leave(op);
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

static void bdev_claim_op_start(struct bdev_user *user, enum bdev_claim claim,
	struct reason *reason, done_fn done, void *arg, const char *name,
	enum flow_result (*run)(struct flow *flow))
{
	struct bdev_claim_op *op = alloc_op(sizeof(*op));

	op->bdev = user->bdev;
	op->user = user;
	op->claim = claim;
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	bdev_operation_begin(op->bdev);
	flow_start(&op->flow, user->bdev->registry->control, name, run);
}

void bdev_claim(struct bdev_user *user, enum bdev_claim claim, struct reason *reason, done_fn done,
	void *arg)
{
	invariant(claim != BDEV_CLAIM_NONE);
	bdev_claim_op_start(user, claim, reason, done, arg, "bdev_claim", bdev_claim_run);
}

void bdev_release(struct bdev_user *user, done_fn done, void *arg)
{
	bdev_claim_op_start(
		user, BDEV_CLAIM_NONE, NULL, done, arg, "bdev_release", bdev_release_run);
}
