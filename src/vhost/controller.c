/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vhost-user controllers of the daemon: made, listed, deleted. Control reactor.
 *
 *	create -> socket listens (scsi with delay: from vhost_scsi_start on) -> sessions come and go
 *	delete -> no new connection; the front-end is disconnected; targets' operations end; the
 *	device is destroyed; done. From the beginning of a delete the name is not found any more.
 */
#include "vhost/controller.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vhost/blk.h"
#include "vhost/controller_impl.h"
#include "vhost/scsi_device.h"

static enum flow_result vhost_destroy_run(struct flow *f);
static enum flow_result controller_delete_run(struct flow *f);

/* ---- all controllers --------------------------------------------------------------------- */

static void vhost_memory_was_taken(struct os_watch *watch)
{
	struct vhost *vhost = container_of(watch, struct vhost, sigbus_watch);
	struct vhost_controller *controller;

	reactor_watch(vhost->control, watch);
	list_for_each_entry (controller, &vhost->controllers, link) {
		struct vhost_session *s = controller->session;

		if (s && atomic_load_explicit(&s->sigbus.hit, memory_order_acquire))
			session_abort(s, "memory that the front-end shared was taken away "
					 "(truncated, or out of huge pages)");
	}
}

static int vhost_init(struct vhost *vhost, const struct vhost_options *options)
{
	int rc;

	vhost->options = *options;
	vhost->os = options->os;
	vhost->control = options->control;
	list_init(&vhost->controllers);
	vhost->socket_dir = strdup(options->socket_dir ? options->socket_dir : "");
	if (!vhost->socket_dir)
		return -ENOMEM;
	rc = placement_init(&vhost->placement, options->data_reactors, options->data_reactor_count);
	if (rc)
		goto free_dir;
	rc = watchdog_init(&vhost->watchdog, options->control, options->data_reactors,
		options->data_reactor_count);
	if (rc)
		goto fini_placement;
	overdue_init(&vhost->overdue, vhost, options->overdue_limit_ns);
	rc = balance_init(&vhost->balance, vhost);
	if (rc)
		goto fini_watchdog;
	rc = vhost->os->ops->event_create(vhost->os, &vhost->sigbus_fd);
	if (rc)
		goto fini_balance;
	rc = sigbus_install();
	if (rc)
		goto close_event;
	vhost->sigbus_watch.fd = vhost->sigbus_fd;
	vhost->sigbus_watch.kind = OS_WATCH_EVENT;
	vhost->sigbus_watch.ready = vhost_memory_was_taken;
	return 0;

close_event:
	vhost->os->ops->close(vhost->os, vhost->sigbus_fd);
fini_balance:
	balance_fini(&vhost->balance);
fini_watchdog:
	watchdog_fini(&vhost->watchdog);
fini_placement:
	placement_fini(&vhost->placement);
free_dir:
	free(vhost->socket_dir);
	return rc;
}

int vhost_create(
	const struct vhost_options *options, struct reason *reason, struct vhost **ret_vhost)
{
	struct vhost *vhost = calloc(1, sizeof(*vhost));
	int rc = vhost ? vhost_init(vhost, options) : -ENOMEM;

	if (rc) {
		free(vhost);
		return reason_set(
			reason, rc, "vhost controllers cannot be set up: %s", strerror(-rc));
	}
	reactor_watch(vhost->control, &vhost->sigbus_watch);
	*ret_vhost = vhost;
	return 0;
}

static void vhost_free(struct vhost *vhost)
{
	if (vhost->sigbus_watch.armed)
		reactor_unwatch(vhost->control, &vhost->sigbus_watch);
	sigbus_uninstall();
	vhost->os->ops->close(vhost->os, vhost->sigbus_fd);
	balance_fini(&vhost->balance);
	watchdog_fini(&vhost->watchdog);
	placement_fini(&vhost->placement);
	free(vhost->socket_dir);
	free(vhost);
}

static void controller_deleted(void *arg, int rc)
{
}

/* Goes on when the last controller has gone: controller_free. */
static void vhost_delete_all(struct vhost *vhost)
{
	struct vhost_controller *controller;

	list_for_each_entry (controller, &vhost->controllers, link) {
		if (!controller->deleting)
			vhost_controller_delete(controller, controller_deleted, NULL);
	}
}

static enum flow_result vhost_destroy_run(struct flow *f)
{
	struct vhost *vhost = container_of(f, struct vhost, flow);

	FLOW_BEGIN(f);
	vhost->destroying = true;
	if (!list_is_empty(&vhost->controllers))
		AWAIT(f, vhost_delete_all(vhost));
	if (vhost->balance.waiting)
		AWAIT(f, balance_await_idle(&vhost->balance, flow_resume, f));
	vhost->done(vhost->arg, 0);
	vhost_free(vhost);
	FLOW_END(f);
}

void vhost_destroy(struct vhost *vhost, done_fn done, void *arg)
{
	vhost->done = done;
	vhost->arg = arg;
	flow_start(&vhost->flow, vhost->control, "vhost_destroy", vhost_destroy_run);
}

static void vhost_insert(struct vhost *vhost, struct vhost_controller *new)
{
	struct vhost_controller *controller;

	list_for_each_entry (controller, &vhost->controllers, link) {
		if (strcmp(controller->name, new->name) > 0)
			break;
	}
	list_add_tail(&controller->link, &new->link); /* before it, or at the end */
}

struct vhost_controller *vhost_controller_find(struct vhost *vhost, const char *name)
{
	struct vhost_controller *controller;

	list_for_each_entry (controller, &vhost->controllers, link) {
		if (!controller->deleting && strcmp(controller->name, name) == 0)
			return controller;
	}
	return NULL;
}

void vhost_controller_for_each(
	struct vhost *vhost, void (*fn)(struct vhost_controller *controller, void *arg), void *arg)
{
	struct vhost_controller *controller;

	list_for_each_entry (controller, &vhost->controllers, link) {
		if (!controller->deleting)
			fn(controller, arg);
	}
}

/* ---- making one -------------------------------------------------------------------------- */

static int controller_check(
	struct vhost *vhost, const char *name, const struct cpu_set *cpus, struct reason *reason)
{
	struct vhost_controller *controller;

	list_for_each_entry (controller, &vhost->controllers, link) {
		if (strcmp(controller->name, name) == 0)
			return reason_set(reason, -EEXIST,
				"a controller named %s exists: choose another name", name);
	}
	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0 || strchr(name, '/'))
		return reason_set(reason, -EIO,
			"'%s' cannot be the name of a socket: use a plain file name", name);
	if (!placement_allows(&vhost->placement, cpus))
		return reason_set(reason, -EINVAL,
			"the CPU mask has to name CPUs that this daemon serves disks on, at least "
			"one");
	return 0;
}

static char *controller_socket_path(const struct vhost *vhost, const char *name)
{
	const char *dir = vhost->socket_dir;
	size_t len = strlen(dir);
	char *path;

	if (asprintf(&path, "%s%s%s", dir, len && dir[len - 1] != '/' ? "/" : "", name) < 0)
		return NULL;
	return path;
}

static void controller_free_memory(struct vhost_controller *controller)
{
	free(controller->name);
	free(controller->socket_path);
	free(controller);
}

static int controller_alloc(struct vhost *vhost, enum vhost_kind kind, const char *name,
	const struct cpu_set *cpus, struct reason *reason, struct vhost_controller **ret_controller)
{
	struct vhost_controller *controller;
	int rc = controller_check(vhost, name, cpus, reason);

	if (rc)
		return rc;
	controller = calloc(1, sizeof(*controller));
	if (!controller)
		return -ENOMEM;
	controller->vhost = vhost;
	controller->kind = kind;
	controller->listen_fd = -1;
	controller->coalescing.iops_threshold = VHOST_IOPS_THRESHOLD_DEFAULT;
	controller->has_cpus = cpus != NULL;
	if (cpus)
		controller->cpus = *cpus;
	controller->name = strdup(name);
	controller->socket_path = controller_socket_path(vhost, name);
	if (!controller->name || !controller->socket_path) {
		controller_free_memory(controller);
		return -ENOMEM;
	}
	*ret_controller = controller;
	return 0;
}

/* The device was made just now and nobody has used it: nothing of it waits. */
static void controller_discarded(void *arg, int rc)
{
	controller_free_memory(arg);
}

/* The last step of both: it has its device. A failure leaves nothing of it. */
static int controller_begin(struct vhost_controller *controller, bool listen, struct reason *reason,
	struct vhost_controller **ret_controller)
{
	int rc = listen ? listener_open(controller, reason) : 0;

	if (rc) {
		controller->device->ops->destroy(
			controller->device, controller_discarded, controller);
		return rc;
	}
	vhost_insert(controller->vhost, controller);
	*ret_controller = controller;
	return 0;
}

int vhost_blk_create(struct vhost *vhost, const struct vhost_blk_options *options,
	struct reason *reason, struct vhost_controller **ret_controller)
{
	struct bdev *bdev = bdev_find(vhost->options.registry, options->bdev_name);
	struct blk_device_options device_options;
	struct vhost_controller *controller;
	int rc = controller_alloc(
		vhost, VHOST_BLK, options->name, options->cpus, reason, &controller);

	if (rc)
		return rc;
	if (!bdev) {
		rc = reason_set(reason, -ENODEV, "there is no block device %s", options->bdev_name);
		goto free_controller;
	}
	rc = bdev_check_usable(bdev, options->read_only, reason);
	if (rc)
		goto free_controller;
	device_options = (struct blk_device_options){
		.control = vhost->control,
		.name = controller->name,
		.read_only = options->read_only,
		.fails_when_full = options->fails_when_full,
	};
	rc = blk_device_create(bdev, &device_options, reason, &controller->device);
	if (rc)
		goto free_controller;
	return controller_begin(controller, true, reason, ret_controller);

free_controller:
	controller_free_memory(controller);
	return rc;
}

int vhost_scsi_create(struct vhost *vhost, const struct vhost_scsi_options *options,
	struct reason *reason, struct vhost_controller **ret_controller)
{
	struct vhost_controller *controller;
	struct scsi_device_options device_options = {
		.registry = vhost->options.registry,
		.waits_for_space = options->waits_for_space,
		.state_dir = vhost->options.state_dir,
		.store = vhost->options.scsi_store,
	};
	int rc = controller_alloc(
		vhost, VHOST_SCSI, options->name, options->cpus, reason, &controller);

	if (rc)
		return rc;
	device_options.name = controller->name;
	rc = scsi_device_create(&device_options, reason, &controller->device);
	if (rc)
		goto free_controller;
	return controller_begin(controller, !options->delay, reason, ret_controller);

free_controller:
	controller_free_memory(controller);
	return rc;
}

/* ---- deleting one ------------------------------------------------------------------------ */

static void controller_await_idle(struct vhost_controller *controller, done_fn done, void *arg)
{
	controller->idle.done = done;
	controller->idle.arg = arg;
}

static void controller_free(struct vhost_controller *controller)
{
	struct vhost *vhost = controller->vhost;

	list_remove(&controller->link);
	controller_free_memory(controller);
	if (vhost->destroying && list_is_empty(&vhost->controllers))
		flow_resume(&vhost->flow, 0);
}

static enum flow_result controller_delete_run(struct flow *f)
{
	struct vhost_controller *controller = container_of(f, struct vhost_controller, flow);

	FLOW_BEGIN(f);
	AWAIT(f, listener_remove_socket(controller, flow_resume, f));
	if (controller->session)
		AWAIT(f, listener_disconnect(controller, flow_resume, f));
	if (controller->busy)
		AWAIT(f, controller_await_idle(controller, flow_resume, f));
	AWAIT(f, controller->device->ops->destroy(controller->device, flow_resume, f));
	controller->done(controller->arg, 0);
	controller_free(controller);
	FLOW_END(f);
}

void vhost_controller_delete(struct vhost_controller *controller, done_fn done, void *arg)
{
	invariant(!controller->deleting);
	controller->deleting = true;
	controller->done = done;
	controller->arg = arg;
	listener_close(controller);
	flow_start(&controller->flow, controller->vhost->control, "vhost_controller_delete",
		controller_delete_run);
}

const char *vhost_controller_name(const struct vhost_controller *controller)
{
	return controller->name;
}

/* ---- listing ----------------------------------------------------------------------------- */

void vhost_controller_get_info(
	const struct vhost_controller *controller, struct vhost_controller_info *ret_info)
{
	const struct vhost_session *s = controller->session;

	memset(ret_info, 0, sizeof(*ret_info));
	ret_info->name = controller->name;
	ret_info->kind = controller->kind;
	ret_info->socket_path = controller->socket_path;
	ret_info->cpus = controller->has_cpus ? &controller->cpus : NULL;
	ret_info->delay_base_us = controller->coalescing.delay_base_us;
	ret_info->iops_threshold = controller->coalescing.iops_threshold;
	ret_info->connected = s != NULL;
	if (s) {
		ret_info->session.vid = s->options.vid;
		ret_info->session.id = s->options.id;
		ret_info->session.started = session_is_started(s);
		ret_info->session.max_queues = session_queues(s);
		ret_info->session.in_flight = session_in_flight(s);
	}
	if (controller->kind == VHOST_BLK) {
		ret_info->read_only = blk_device_is_read_only(controller->device);
		ret_info->waits_for_space = blk_device_waits_for_space(controller->device);
		ret_info->bdev_name = blk_device_bdev_name(controller->device);
	} else {
		ret_info->delayed = controller->listen_fd < 0;
		ret_info->waits_for_space = scsi_device_waits_for_space(controller->device);
	}
}
