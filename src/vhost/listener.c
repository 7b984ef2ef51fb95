/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The socket of a controller and the one front-end that is connected to it. Reference 2.1.
 *
 * A second connection while one lives is left in the backlog: it is accepted when the first has
 * gone and all that belonged to it has been given back. The log says once that it waits, since
 * nothing else would: QEMU stands still without a word. Somebody who connects and disconnects in a
 * loop is slowed down. The other ways to get a connection (connecting to a front-end's socket, an
 * inherited descriptor) will come in beside socket_accept.
 */
#include <errno.h>
#include <string.h>

#include "vhost/controller_impl.h"

#define SOCKET_MODE        0660
#define ACCEPTS_PER_SECOND 20

/* Session limits; the first can be set, the others are generous to any front-end in use. */
#define DRAIN_LIMIT_NS   (30 * SEC_NS)
#define REPLY_LIMIT_NS   (30 * SEC_NS)
#define MEMORY_MAX_BYTES (64 * 1024 * GIB)

static void listener_arm(struct vhost_controller *controller)
{
	if (controller->listen_fd >= 0 && !controller->watch.armed &&
		!timer_is_started(&controller->accept_later))
		reactor_watch(controller->vhost->control, &controller->watch);
}

static void listener_session_ended(void *arg)
{
	struct vhost_controller *controller = arg;
	struct connection_waiter waiter = controller->session_gone;

	controller->session = NULL;
	controller->session_gone.done = NULL;
	if (--controller->vhost->sessions == 0) {
		overdue_stop(&controller->vhost->overdue);
		watchdog_stop(&controller->vhost->watchdog);
		balance_stop(&controller->vhost->balance);
	}
	if (waiter.done)
		waiter.done(waiter.arg, 0);
	else
		listener_arm(controller);
}

/* Whose connection it is: the front-end's own, the keeper's, or that of a process before. */
enum listener_origin { LISTENER_DIRECT, LISTENER_KEPT, LISTENER_RESUMED };

static void listener_begin_session(
	struct vhost_controller *controller, int fd, enum listener_origin origin)
{
	struct vhost *vhost = controller->vhost;
	const struct vhost_options *options = &vhost->options;
	const struct session_options session_options = {
		.os = vhost->os,
		.control = vhost->control,
		.registry = options->registry,
		.placement = &vhost->placement,
		.cpus = controller->has_cpus ? &controller->cpus : NULL,
		.pins = controller->pins,
		.coalescing = &controller->coalescing,
		.device = controller->device,
		.limits =
			{
				.drain_ns = options->drain_limit_ns ? options->drain_limit_ns
								    : DRAIN_LIMIT_NS,
				.reply_ns = REPLY_LIMIT_NS,
				.memory_bytes = options->guest_memory_max_bytes
							? options->guest_memory_max_bytes
							: MEMORY_MAX_BYTES,
			},
		.log_limit = &controller->log_limit,
		.fd = fd,
		.kept = origin != LISTENER_DIRECT,
		.resumed = origin == LISTENER_RESUMED,
		.event_fd = vhost->sigbus_fd,
		.vid = vhost->next_vid,
		.id = controller->next_session_id,
		.ended = listener_session_ended,
		.arg = controller,
	};

	if (session_create(&session_options, &controller->session)) {
		log_error("%s: no memory for a connection", controller->name);
		vhost->os->ops->close(vhost->os, fd);
		return;
	}
	if (vhost->sessions++ == 0) {
		overdue_start(&vhost->overdue);
		watchdog_start(&vhost->watchdog);
		balance_start(&vhost->balance);
	}
	vhost->next_vid++;
	controller->next_session_id++;
}

static bool listener_is_too_fast(struct vhost_controller *controller)
{
	uint64_t now_ns = reactor_now(controller->vhost->control);

	if (now_ns - controller->accept_window_ns >= SEC_NS) {
		controller->accept_window_ns = now_ns;
		controller->accept_count = 0;
	}
	return ++controller->accept_count > ACCEPTS_PER_SECOND;
}

static void listener_accept_later(struct timer *timer)
{
	listener_arm(container_of(timer, struct vhost_controller, accept_later));
}

/* Where there is a keeper, it gets the front-end, and we talk to it. */
static void listener_accepted(struct vhost_controller *controller, int fd)
{
	const struct vhost_keeper *keeper = controller->vhost->options.keeper;
	int kept_fd = -ENOTSUP;

	if (keeper)
		kept_fd = keeper->give(keeper->arg, controller->name,
			controller->device->ops->queue_count(controller->device), fd);
	if (keeper && kept_fd < 0)
		log_warning("%s: the keeper does not take the connection, which ends with this "
			    "process: %s",
			controller->name, strerror(-kept_fd));
	if (kept_fd < 0)
		listener_begin_session(controller, fd, LISTENER_DIRECT);
	else
		listener_begin_session(controller, kept_fd, LISTENER_KEPT);
}

static void listener_resume(struct vhost_controller *controller)
{
	const struct vhost_keeper *keeper = controller->vhost->options.keeper;
	int fd = keeper ? keeper->take(keeper->arg, controller->name) : -1;

	if (fd < 0)
		return;
	log_notice("%s: going on with the front-end of before", controller->name);
	listener_begin_session(controller, fd, LISTENER_RESUMED);
}

static void listener_ready(struct os_watch *watch)
{
	struct vhost_controller *controller = container_of(watch, struct vhost_controller, watch);
	struct os *os = controller->vhost->os;
	int fd;
	int rc;

	if (controller->session) {
		/* Not armed again before the first has gone. */
		log_limited(&controller->log_limit, LOG_NOTICE,
			"%s: another front-end waits until the one that is connected leaves",
			controller->name);
		return;
	}
	if (listener_is_too_fast(controller)) {
		timer_start(controller->vhost->control, &controller->accept_later, SEC_NS / 4);
		return;
	}
	rc = os->ops->socket_accept(os, controller->listen_fd, &fd);
	if (rc == 0) {
		listener_accepted(controller, fd);
	} else if (rc != -EAGAIN) {
		/* No descriptors left, for one: it may get better. */
		log_error("%s: cannot accept a connection: %s", controller->name, strerror(-rc));
		timer_start(controller->vhost->control, &controller->accept_later, SEC_NS);
	}
	listener_arm(controller);
}

int listener_open(struct vhost_controller *controller, struct reason *reason)
{
	struct vhost *vhost = controller->vhost;
	int rc = vhost->os->ops->socket_listen(
		vhost->os, controller->socket_path, SOCKET_MODE, reason, &controller->listen_fd);

	if (rc) {
		controller->listen_fd = -1;
		return reason_set(reason, -EIO, "the socket %s cannot be created: %s",
			controller->socket_path, strerror(-rc));
	}
	controller->watch.fd = controller->listen_fd;
	controller->watch.kind = OS_WATCH_READABLE;
	controller->watch.ready = listener_ready;
	controller->accept_later.fired = listener_accept_later;
	listener_resume(controller);
	listener_arm(controller);
	return 0;
}

void listener_close(struct vhost_controller *controller)
{
	struct vhost *vhost = controller->vhost;

	if (controller->listen_fd < 0)
		return;
	timer_stop(vhost->control, &controller->accept_later);
	if (controller->watch.armed)
		reactor_unwatch(vhost->control, &controller->watch);
	vhost->os->ops->close(vhost->os, controller->listen_fd);
	controller->listen_fd = -1;
	controller->socket_left = true;
}

static int listener_unlink(struct worker_job *job)
{
	struct vhost_controller *controller =
		container_of(job, struct vhost_controller, unlink_job);
	struct os *os = controller->vhost->os;

	return controller->socket_left ? os->ops->file_unlink(os, controller->socket_path) : 0;
}

void listener_remove_socket(struct vhost_controller *controller, done_fn done, void *arg)
{
	worker_run(&controller->unlink_job, controller->vhost->control, listener_unlink, done, arg);
}

void listener_disconnect(struct vhost_controller *controller, done_fn done, void *arg)
{
	controller->session_gone.done = done;
	controller->session_gone.arg = arg;
	session_abort(controller->session, "the controller is being deleted");
}
