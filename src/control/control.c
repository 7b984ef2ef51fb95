/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The context that methods share, and its life.
 */
#include <errno.h>
#include <stdlib.h>

#include "control/config_entry_impl.h"
#include "control/config_impl.h"

static void control_bdev_event(const struct bdev_event *event, void *arg)
{
	struct control *control = arg;

	notify_add(control, event);
	if (event->kind == BDEV_REGISTERED)
		bdev_waiters_wake(control, event->bdev->name);
}

int control_create(const struct control_options *options, struct control **ret_control)
{
	static const struct rpc_method *const tables[] = {
		framework_methods,
		describe_methods,
		option_methods,
		config_methods,
		missing_methods,
		reactor_methods,
		log_methods,
		notify_methods,
		bdev_methods,
		memory_bdev_methods,
		file_bdev_methods,
		nvme_methods,
		nvme_list_methods,
		nvme_option_methods,
		bdev_histogram_methods,
		bdev_iostat_methods,
		bdev_limits_methods,
		filter_methods,
		filter_error_methods,
		crypto_methods,
		bdev_copy_methods,
		lvol_store_methods,
		lvol_volume_methods,
		lvol_list_methods,
		lvol_snapshot_methods,
		lvol_copy_methods,
		vhost_methods,
		vhost_list_methods,
		vhost_queue_methods,
		vhost_request_methods,
	};
	struct control *control = calloc(1, sizeof(*control));
	int rc = 0;

	if (!control)
		return -ENOMEM;
	control->options = *options;
	control->startup = startup_options_default;
	control->busy_ns = calloc(options->data_count + 1, sizeof(*control->busy_ns));
	if (!control->busy_ns)
		rc = -ENOMEM;
	list_init(&control->entries);
	list_init(&control->init_waiters);
	list_init(&control->bdev_waiters);
	for (size_t i = 0; !rc && i < ARRAY_SIZE(tables); i++)
		rc = rpc_server_register(options->rpc, tables[i], control);
	if (!rc)
		rc = bdev_registry_subscribe(options->registry, control_bdev_event, control);
	if (rc) {
		free(control->busy_ns);
		free(control);
		return rc;
	}
	lvols_subscribe_space(options->lvols, notify_add_space, control);
	*ret_control = control;
	return 0;
}

void control_destroy(struct control *control)
{
	invariant(list_is_empty(&control->init_waiters) && list_is_empty(&control->bdev_waiters));
	json_decref(control->limits_at_stop);
	json_decref(control->nvme_options);
	config_entries_clear(control);
	notify_fini(control);
	free(control->busy_ns);
	free(control);
}

void control_stop(struct control *control)
{
	if (!control->stopping)
		limits_note_all(control);
	control->stopping = true;
	framework_waiters_finish(control, false);
	bdev_waiters_cancel(control);
}
