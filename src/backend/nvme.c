/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A drive. What is done with its controller goes through the gate one after the other: channels
 * that open their queue pair, resets, scans, the end. Block devices are unregistered outside of it,
 * since that waits for channels, which need the gate.
 *
 *	the controller breaks	reset; when that finds it gone, its block devices go
 *	namespaces have changed	scan; block devices come, go and change in size
 *	detach			block devices go; when the last has, and nothing that was begun is
 *				under way, the controller is closed
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/nvme_impl.h"
#include "base/alloc.h"

struct nvme_drive_op {
	struct flow flow;
	struct nvme_drive *drive;
	struct bdev_gate_turn turn;
	struct reason *reason;
	struct nvme_transport *transport;
	struct nvme_options options;
	struct nvme_drive **ret_drive;
	struct nvme_health *ret_health;
	struct list leavers;
	done_fn done;
	void *arg;
};

static struct nvme_drive_op *nvme_drive_op_create(
	struct nvme_drive *drive, struct reason *reason, done_fn done, void *arg)
{
	struct nvme_drive_op *op = alloc_op(sizeof(*op));

	op->drive = drive;
	op->reason = reason;
	op->done = done;
	op->arg = arg;
	return op;
}

void nvme_drive_check_idle(struct nvme_drive *drive)
{
	done_fn idle = drive->idle;

	if (!idle || drive->busy > 0 || !list_is_empty(&drive->bdevs))
		return;
	drive->idle = NULL;
	idle(drive->idle_arg, 0);
}

/* ---- block devices come and go ------------------------------------------ */

static void nvme_bdev_unregistered(void *arg, int rc)
{
}

static void nvme_bdevs_unregister(struct nvme_drive *drive, bool all)
{
	struct nvme_bdev *own, *next;

	list_for_each_entry_safe (own, next, &drive->bdevs, link)
		if ((all || !own->seen) && !own->bdev.removing)
			bdev_unregister(&own->bdev, nvme_bdev_unregistered, NULL);
}

static struct nvme_bdev *nvme_bdev_find(struct nvme_drive *drive, uint32_t nsid)
{
	struct nvme_bdev *own;

	list_for_each_entry (own, &drive->bdevs, link)
		if (own->ns.nsid == nsid && !own->bdev.removing)
			return own;
	return NULL;
}

/* Another format under the same id is another device. */
static bool nvme_bdev_is_same(const struct nvme_bdev *own, const struct nvme_namespace *ns)
{
	return own->ns.block_shift == ns->block_shift && uuid_compare(own->ns.uuid, ns->uuid) == 0;
}

static void nvme_drive_compare(struct nvme_drive *drive)
{
	const struct nvme_namespace *namespaces;
	struct nvme_bdev *own;
	unsigned count;

	namespaces = nvme_controller_namespaces(drive->controller, &count);
	list_for_each_entry (own, &drive->bdevs, link)
		own->seen = false;
	for (unsigned i = 0; i < count; i++) {
		const struct nvme_namespace *ns = &namespaces[i];

		own = nvme_bdev_find(drive, ns->nsid);
		if (ns->problem)
			log_notice("namespace %u of %s is not used: %s", ns->nsid, drive->name,
				ns->problem);
		else if (!own)
			nvme_bdev_create(drive, ns);
		else if (nvme_bdev_is_same(own, ns))
			own->seen = true;
		if (!ns->problem && own && own->seen)
			bdev_set_size(&own->bdev, ns->blocks << ns->block_shift);
	}
}

/* ---- what the controller asks for --------------------------------------- */

static void nvme_drive_begin(
	struct nvme_drive *drive, const char *name, enum flow_result (*run)(struct flow *flow))
{
	struct nvme_drive_op *op = nvme_drive_op_create(drive, NULL, NULL, NULL);

	drive->busy++;
	flow_start(&op->flow, drive->control, name, run);
}

static void nvme_drive_op_end(struct nvme_drive_op *op, int rc)
{
	struct nvme_drive *drive = op->drive;

	bdev_gate_leave(&drive->gate);
	if (rc == -ENODEV) {
		log_error("drive %s is gone, and its block devices with it", drive->name);
		nvme_bdevs_unregister(drive, true);
	}
	if (op->done)
		op->done(op->arg, rc);
	drive->busy--;
	free(op);
	nvme_drive_check_idle(drive);
}

static enum flow_result nvme_drive_reset_run(struct flow *f)
{
	struct nvme_drive_op *op = container_of(f, struct nvme_drive_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->drive->gate, &op->turn, flow_resume, f));
	AWAIT(f, nvme_controller_reset(op->drive->controller, op->reason, flow_resume, f));
	nvme_drive_op_end(op, f->error);
	FLOW_END(f);
}

void nvme_drive_reset(struct nvme_drive *drive, struct reason *reason, done_fn done, void *arg)
{
	struct nvme_drive_op *op = nvme_drive_op_create(drive, reason, done, arg);

	drive->busy++;
	flow_start(&op->flow, drive->control, "nvme_drive_reset", nvme_drive_reset_run);
}

static enum flow_result nvme_drive_health_run(struct flow *f)
{
	struct nvme_drive_op *op = container_of(f, struct nvme_drive_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->drive->gate, &op->turn, flow_resume, f));
	AWAIT(f, nvme_controller_read_log(op->drive->controller, NVME_LOG_HEALTH, op->ret_health,
			 sizeof(*op->ret_health), flow_resume, f));
	nvme_drive_op_end(op, f->error);
	FLOW_END(f);
}

void nvme_drive_read_health(
	struct nvme_drive *drive, struct nvme_health *ret_health, done_fn done, void *arg)
{
	struct nvme_drive_op *op = nvme_drive_op_create(drive, NULL, done, arg);

	op->ret_health = ret_health;
	drive->busy++;
	flow_start(&op->flow, drive->control, "nvme_drive_read_health", nvme_drive_health_run);
}

static void nvme_drive_broken(void *owner)
{
	nvme_drive_begin(owner, "nvme_drive_reset", nvme_drive_reset_run);
}

static enum flow_result nvme_drive_scan_run(struct flow *f)
{
	struct nvme_drive_op *op = container_of(f, struct nvme_drive_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->drive->gate, &op->turn, flow_resume, f));
	op->drive->scan_asked = false;
	AWAIT(f, nvme_controller_scan(op->drive->controller, flow_resume, f));
	if (!flow_failed(f) && !op->drive->detaching) {
		nvme_drive_compare(op->drive);
		nvme_bdevs_unregister(op->drive, false);
	}
	nvme_drive_op_end(op, 0);
	FLOW_END(f);
}

static void nvme_drive_changed(void *owner)
{
	struct nvme_drive *drive = owner;

	if (drive->scan_asked || drive->detaching)
		return;
	drive->scan_asked = true;
	nvme_drive_begin(drive, "nvme_drive_scan", nvme_drive_scan_run);
}

static const struct nvme_owner_ops nvme_drive_ops = {
	.broken = nvme_drive_broken,
	.changed = nvme_drive_changed,
	.unmapped = nvme_drive_unmapped,
};

/* ---- what it has ---------------------------------------------------------- */

struct bdev *nvme_drive_bdev(const struct nvme_drive *drive, unsigned index)
{
	struct nvme_bdev *own;

	list_for_each_entry (own, &drive->bdevs, link)
		if (index-- == 0)
			return &own->bdev;
	return NULL;
}

const struct nvme_controller *nvme_drive_controller(const struct nvme_drive *drive)
{
	return drive->controller;
}

/* ---- attach and detach -------------------------------------------------- */

static struct nvme_drive *nvme_drive_alloc(struct bdev_registry *registry, const char *name)
{
	struct nvme_drive *drive = alloc_op(sizeof(*drive));
	size_t size = strlen(name) + 1;

	drive->name = memcpy(alloc_op(size), name, size);
	drive->registry = registry;
	drive->control = bdev_registry_control(registry);
	bdev_gate_init(&drive->gate, drive->control);
	list_init(&drive->bdevs);
	list_init(&drive->seats);
	list_init(&drive->spans);
	list_init(&drive->leavers);
	return drive;
}

static void nvme_drive_free(struct nvme_drive *drive)
{
	free(drive->name);
	free(drive);
}

static enum flow_result nvme_drive_attach_run(struct flow *f)
{
	struct nvme_drive_op *op = container_of(f, struct nvme_drive_op, flow);

	FLOW_BEGIN(f);
	AWAIT(f, bdev_gate_enter(&op->drive->gate, &op->turn, flow_resume, f));
	AWAIT(f, nvme_controller_open(op->transport, f->reactor, &op->options, &nvme_drive_ops,
			 op->drive, op->reason, &op->drive->controller, flow_resume, f));
	if (flow_failed(f)) {
		nvme_drive_free(op->drive);
	} else {
		nvme_drive_compare(op->drive);
		bdev_gate_leave(&op->drive->gate);
		*op->ret_drive = op->drive;
	}
	op->done(op->arg, f->error);
	free(op);
	FLOW_END(f);
}

void nvme_drive_attach(struct bdev_registry *registry, struct nvme_transport *transport,
	const char *name, const struct nvme_options *options, struct reason *reason,
	struct nvme_drive **ret_drive, done_fn done, void *arg)
{
	struct nvme_drive_op *op =
		nvme_drive_op_create(nvme_drive_alloc(registry, name), reason, done, arg);

	op->transport = transport;
	op->options = *options;
	op->ret_drive = ret_drive;
	flow_start(&op->flow, op->drive->control, "nvme_drive_attach", nvme_drive_attach_run);
}

static void nvme_drive_idle_run(struct deferred *deferred)
{
	nvme_drive_check_idle(container_of(deferred, struct nvme_drive, idle_check));
}

static void nvme_drive_await_idle(struct nvme_drive *drive, done_fn done, void *arg)
{
	drive->idle = done;
	drive->idle_arg = arg;
	drive->idle_check.run = nvme_drive_idle_run;
	nvme_bdevs_unregister(drive, true);
	reactor_defer(drive->control, DEFER_COMPLETE, &drive->idle_check);
}

static enum flow_result nvme_drive_detach_run(struct flow *f)
{
	struct nvme_drive_op *op = container_of(f, struct nvme_drive_op, flow);

	FLOW_BEGIN(f);
	op->drive->detaching = true;
	for (;;) {
		AWAIT(f, nvme_drive_await_idle(op->drive, flow_resume, f));
		AWAIT(f, bdev_gate_enter(&op->drive->gate, &op->turn, flow_resume, f));
		if (op->drive->busy == 0)
			break;
		bdev_gate_leave(&op->drive->gate); /* something was begun just now */
	}
	op->drive->closing = true;
	AWAIT(f, nvme_controller_close(op->drive->controller, flow_resume, f));
	nvme_drive_free_memory(op->drive, &op->leavers);
	nvme_drive_free(op->drive);
	op->done(op->arg, 0);
	nvme_leavers_end(&op->leavers);
	free(op);
	FLOW_END(f);
}

void nvme_drive_detach(struct nvme_drive *drive, done_fn done, void *arg)
{
	struct nvme_drive_op *op = nvme_drive_op_create(drive, NULL, done, arg);

	flow_start(&op->flow, drive->control, "nvme_drive_detach", nvme_drive_detach_run);
}
