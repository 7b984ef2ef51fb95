/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The RPC methods: they decode, call, encode, one file per noun. Names, parameters, results and
 * errors are those of SPDK v26.05 (docs/rpc/), so that its clients manage this daemon unchanged.
 * A method whose feature is not there does not exist. Control reactor.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

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
	struct filters *filters;
	struct lvols *lvols;
	struct vhost *vhost;
	struct rpc_server *rpc;
	struct cpu_set cpus; /* the application's mask: one bit per data reactor */
	bool pinned; /* data reactors run on those CPUs; else the mask is a name only */
	const char *version;
	const char *directory; /* where names of files without a path are looked up; NULL: unsaid */
};

/* Registers all methods with the server. */
int control_create(const struct control_options *options, struct control **ret_control) MUST_CHECK;
/* The server has stopped. */
void control_destroy(struct control *control);

/* All methods may be called from now on; framework_wait_init is answered. */
void control_begin_runtime(struct control *control);
/*
 * The configuration as it is: [{"subsystem": ..., "config": [{"method": ..., "params": ...}, ...]},
 * ...], a new reference. NULL: no memory. Calling all of it in this order on another daemon makes
 * the same there. What nobody has chosen is left out; names of files are absolute.
 */
json_t *control_get_config(const struct control *control);

/* The daemon ends: requests that wait for something to happen are answered with an error. */
void control_stop(struct control *control);

#endif
