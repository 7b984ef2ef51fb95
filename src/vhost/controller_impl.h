/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A controller from the inside, for controller.c (the set of them, their life), listener.c (the
 * socket and who is connected), controller_scsi.c (targets), controller_queues.c (placing and
 * listing queues) and balance.c.
 */
#ifndef VHOST_CONTROLLER_IMPL_H
#define VHOST_CONTROLLER_IMPL_H

#include "core/watchdog.h"
#include "vhost/balance_impl.h"
#include "vhost/controller.h"
#include "vhost/overdue_impl.h"
#include "vhost/session_impl.h"

struct vhost {
	struct vhost_options options;
	char *socket_dir;
	struct os *os;
	struct reactor *control;
	struct placement placement;
	struct balance balance;
	struct list controllers; /* sorted by name */
	unsigned next_vid;
	int sigbus_fd; /* signalled by the handler of sigbus.c */
	struct os_watch sigbus_watch;
	struct watchdog watchdog; /* over the data reactors, while a front-end is connected */
	unsigned sessions;
	struct overdue overdue; /* while there are sessions */
	/* vhost_destroy */
	struct flow flow;
	bool destroying;
	done_fn done;
	void *arg;
};

struct vhost_controller {
	struct vhost *vhost;
	struct list link;
	char *name;
	char *socket_path;
	enum vhost_kind kind;
	struct cpu_set cpus;
	bool has_cpus;
	struct reactor *pins[VHOST_QUEUES_MAX]; /* queues placed by hand */
	struct session_coalescing coalescing;
	struct vhost_device *device;
	struct log_limit log_limit; /* of lines that front-ends cause */

	/* listener.c */
	int listen_fd; /* -1: no socket (yet) */
	bool socket_left; /* closed, its name not removed yet */
	struct worker_job unlink_job;
	struct os_watch watch;
	struct timer accept_later;
	uint64_t accept_window_ns;
	unsigned accept_count;
	struct vhost_session *session; /* NULL: nobody is connected */
	unsigned next_session_id;
	struct connection_waiter session_gone;

	/* operations on targets under way; deleting waits for them */
	unsigned busy;
	struct connection_waiter idle;

	bool deleting;
	struct flow flow;
	done_fn done;
	void *arg;
};

/* -EIO with a sentence. */
int listener_open(struct vhost_controller *controller, struct reason *reason) MUST_CHECK;
/* No new connections. */
void listener_close(struct vhost_controller *controller);
/* Its name in the file system, after listener_close. */
void listener_remove_socket(struct vhost_controller *controller, done_fn done, void *arg);
/* Disconnects who is connected; later, when everything of the session is given back. */
void listener_disconnect(struct vhost_controller *controller, done_fn done, void *arg);

#endif
