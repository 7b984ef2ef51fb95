/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Targets and LUNs of scsi controllers: the numbers and errors that the management interface
 * promises (rpc.md 11.1), over scsi_device.h. An operation keeps its controller from being
 * destroyed until it is done.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "vhost/controller_impl.h"
#include "vhost/scsi_device.h"

/* Where target -1 looks for a place: as SPDK, whose clients expect the error. */
#define TARGETS_TO_CHOOSE_FROM 8

struct target_op {
	struct vhost_controller *controller;
	struct deferred refuse; /* a refusal, told later */
	int rc;
	int result; /* when all goes well */
	done_fn done;
	void *arg;
};

int vhost_scsi_start(struct vhost_controller *controller, struct reason *reason)
{
	if (controller->kind != VHOST_SCSI)
		return reason_set(reason, -EINVAL, "%s is no SCSI controller", controller->name);
	return controller->listen_fd >= 0 ? 0 : listener_open(controller, reason);
}

static void target_op_done(void *arg, int rc)
{
	struct target_op *op = arg;
	struct vhost_controller *controller = op->controller;
	struct connection_waiter waiter = controller->idle;

	op->done(op->arg, rc ? rc : op->result);
	free(op);
	if (--controller->busy == 0 && waiter.done) {
		controller->idle.done = NULL;
		waiter.done(waiter.arg, 0);
	}
}

static void target_op_refused(struct deferred *deferred)
{
	struct target_op *op = container_of(deferred, struct target_op, refuse);

	target_op_done(op, op->rc);
}

static void target_op_refuse(struct target_op *op, int rc)
{
	op->rc = rc;
	op->refuse.run = target_op_refused;
	reactor_defer(op->controller->vhost->control, DEFER_COMPLETE, &op->refuse);
}

static struct target_op *target_op_create(
	struct vhost_controller *controller, done_fn done, void *arg)
{
	struct target_op *op = alloc_op(sizeof(*op));

	op->controller = controller;
	op->done = done;
	op->arg = arg;
	controller->busy++;
	return op;
}

static int target_choose(struct vhost_controller *controller, int target, struct reason *reason,
	unsigned *ret_target)
{
	if (controller->kind != VHOST_SCSI)
		return reason_set(reason, -EINVAL, "%s is no SCSI controller", controller->name);
	if (target >= VHOST_SCSI_TARGETS_MAX || target < -1)
		return reason_set(reason, -EINVAL,
			"there is no target %d: targets are 0 to %d, -1 chooses one", target,
			VHOST_SCSI_TARGETS_MAX - 1);
	for (unsigned i = 0; target == -1 && i < TARGETS_TO_CHOOSE_FROM; i++) {
		if (scsi_device_target_is_free(controller->device, i))
			target = (int)i;
	}
	if (target == -1)
		return reason_set(reason, -ENOSPC,
			"the first %d targets of %s are in use: name one", TARGETS_TO_CHOOSE_FROM,
			controller->name);
	*ret_target = (unsigned)target;
	return 0;
}

void vhost_scsi_add_lun(struct vhost_controller *controller,
	const struct vhost_scsi_lun_options *options, struct reason *reason, done_fn done,
	void *arg)
{
	const struct scsi_device_lun_options lun_options = {
		.read_only = options->read_only,
		.removable = options->removable,
		.short_cdbs = options->short_cdbs,
	};
	struct target_op *op = target_op_create(controller, done, arg);
	struct bdev *bdev = bdev_find(controller->vhost->options.registry, options->bdev_name);
	unsigned number = 0;
	int rc = target_choose(controller, options->target, reason, &number);

	if (rc == 0 && !bdev)
		rc = reason_set(reason, -EINVAL, "there is no block device %s", options->bdev_name);
	if (rc) {
		target_op_refuse(op, rc);
		return;
	}
	op->result = (int)number;
	scsi_device_add_lun(controller->device, number, options->lun, bdev, &lun_options, reason,
		target_op_done, op);
}

void vhost_scsi_add_target(struct vhost_controller *controller, int target, int lun,
	const char *bdev_name, struct reason *reason, done_fn done, void *arg)
{
	const struct vhost_scsi_lun_options options = {
		.target = target, .lun = lun, .bdev_name = bdev_name};

	vhost_scsi_add_lun(controller, &options, reason, done, arg);
}

void vhost_scsi_remove_target(struct vhost_controller *controller, unsigned target, int lun,
	struct reason *reason, done_fn done, void *arg)
{
	struct target_op *op = target_op_create(controller, done, arg);

	if (controller->kind != VHOST_SCSI) {
		target_op_refuse(op,
			reason_set(reason, -EINVAL, "%s is no SCSI controller", controller->name));
		return;
	}
	scsi_device_remove_lun(controller->device, target, lun, reason, target_op_done, op);
}

/* ---- listing ------------------------------------------------------------------------------- */

struct lun_walk {
	void (*fn)(const struct vhost_lun_info *info, void *arg);
	void *arg;
};

static void lun_walk_step(const struct scsi_device_lun_info *lun, void *arg)
{
	const struct lun_walk *walk = arg;
	const struct vhost_lun_info info = {
		.target = lun->target,
		.device_id = lun->device_id,
		.lun = lun->lun,
		.bdev_name = lun->bdev_name,
		.read_only = lun->read_only,
		.removable = lun->removable,
		.short_cdbs = lun->short_cdbs,
	};

	walk->fn(&info, walk->arg);
}

void vhost_scsi_for_each_lun(const struct vhost_controller *controller,
	void (*fn)(const struct vhost_lun_info *info, void *arg), void *arg)
{
	struct lun_walk walk = {.fn = fn, .arg = arg};

	if (controller->kind == VHOST_SCSI)
		scsi_device_for_each_lun(controller->device, lun_walk_step, &walk);
}
