/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A look at everything, by the daemon's own methods, one after the other on the control reactor.
 */
#include "http/http_impl.h"

static const char *const look_methods[] = {
	"spdk_get_version",
	"vhost_get_controllers",
	"vhost_get_queues",
	"vhost_get_requests",
	"bdev_get_bdevs",
	"bdev_get_iostat",
	"bdev_lvol_get_lvstores",
	"bdev_lvol_get_lvols",
	"framework_get_reactors",
};

static enum flow_result look_run(struct flow *f)
{
	struct look *look = container_of(f, struct look, flow);

	FLOW_BEGIN(f);
	for (look->at = 0; look->at < ARRAY_SIZE(look_methods); look->at++) {
		look->call = (struct rpc_call){.method = look_methods[look->at]};
		AWAIT(f, rpc_server_call(look->rpc, &look->call, flow_resume, f));
		f->error = 0; /* it has no device of that kind, or is not ready yet */
		if (look->call.result)
			json_object_set_new(look->found, look_methods[look->at], look->call.result);
	}
	look->done(look->arg, 0);
	FLOW_END(f);
}

void look_start(
	struct look *look, struct reactor *control, struct rpc_server *rpc, done_fn done, void *arg)
{
	*look = (struct look){.rpc = rpc, .found = json_object(), .done = done, .arg = arg};
	flow_start(&look->flow, control, "http_look", look_run);
}
