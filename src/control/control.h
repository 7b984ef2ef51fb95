/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The RPC methods: they decode, call, encode, one file per noun. Names, parameters, results and
 * errors are those of SPDK v26.05 (docs/rpc/), so that its clients manage this daemon unchanged.
 * A method whose feature is not there does not exist. Control reactor.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include "backend/nvme_drives.h"
#include "bdev/bdev.h"
#include "filter/filters.h"
#include "lvol/lvol.h"
#include "rpc/server.h"
#include "vhost/controller.h"

struct control;

struct control_options { /* everything is borrowed for the life of control */
	struct reactor *control;
	struct reactor *const *data;
	unsigned data_count;
	struct bdev_registry *registry;
	struct nvme_drives *drives;
	struct filters *filters;
	struct lvols *lvols;
	struct vhost *vhost;
	struct rpc_server *rpc;
	struct cpu_set cpus; /* the application's mask: one bit per data reactor */
	bool pinned; /* data reactors run on those CPUs; else the mask is a name only */
	const char *version;
	/* framework_start_init has failed and has been answered: the daemon is to end. NULL: it
	 * goes on. */
	void (*failed)(void *arg, int rc, const struct reason *reason);
	void *failed_arg;
	const char *directory; /* where names of files without a path are looked up; NULL: unsaid */
};

/* Registers all methods with the server. */
int control_create(const struct control_options *options, struct control **ret_control) MUST_CHECK;
/* The server has stopped. */
void control_destroy(struct control *control);

/*
 * A configuration to be applied at the start, of the form below; nothing is called yet. -EINVAL and
 * what is wrong with it. At most once, before the two that follow.
 */
enum config_failure {
	CONFIG_STOP, /* an entry that fails is the end of the start */
	CONFIG_SKIP, /* it is passed over */
	CONFIG_KEEP, /* it is kept and may be tried again */
};

int control_load_config(struct control *control, const json_t *subsystems,
	enum config_failure on_failure, struct reason *reason) MUST_CHECK;

/* Makes the calls of that configuration that are for the start; then, when the second is called,
 * the others: from then on all methods may be called, and when they are done framework_wait_init
 * is answered. done gets 0, or the code of the call that failed. */
void control_begin_startup(struct control *control, struct reason *reason, done_fn done, void *arg);
void control_begin_runtime(struct control *control, struct reason *reason, done_fn done, void *arg);

/*
 * The configuration as it is: [{"subsystem": ..., "config": [{"method": ..., "params": ...}, ...]},
 * ...], all of it new. NULL: no memory. Calling all of it in this order on another daemon makes
 * the same there. What nobody has chosen is left out; names of files are absolute; what was kept
 * because it could not be applied is in it.
 */
json_t *control_get_config(const struct control *control);

/* The daemon ends: requests that wait for something to happen are answered with an error. */
void control_stop(struct control *control);

#endif
