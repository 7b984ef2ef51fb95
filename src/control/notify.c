/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * notify_get_types, notify_get_notifications: block devices that came, went, changed their size,
 * and volume stores whose space got little, ended, or is there again. Ids count from 0 and never
 * repeat; the last NOTIFY_KEPT events are kept, and who asks for older ones gets the oldest that
 * are left.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/control_impl.h"

static const char *const event_types[] = {
	[BDEV_REGISTERED] = "bdev_register",
	[BDEV_UNREGISTERED] = "bdev_unregister",
	[BDEV_RESIZED] = "bdev_resize",
};

/* Ours. */
static const char *const space_types[] = {
	[BLOB_STORE_PLENTY] = "lvstore_space_ok",
	[BLOB_STORE_LOW] = "lvstore_space_low",
	[BLOB_STORE_FULL] = "lvstore_space_full",
};

static void notify_keep(struct control *control, const char *type, const char *name)
{
	uint64_t id = control->events_count++;
	struct notify_event *kept = &control->events[id % NOTIFY_KEPT];

	free(kept->name);
	kept->type = type;
	kept->name = strdup(name); /* NULL: the listing skips it */
	kept->id = id;
}

void notify_add(struct control *control, const struct bdev_event *event)
{
	notify_keep(control, event_types[event->kind], event->bdev->name);
}

/* By its UUID, as a volume: names change. */
void notify_add_space(struct lvs *lvs, enum blob_store_space space, void *control)
{
	struct lvs_info info;

	lvs_get_info(lvs, &info);
	notify_keep(control, space_types[space], info.uuid);
}

void notify_fini(struct control *control)
{
	for (size_t i = 0; i < NOTIFY_KEPT; i++)
		free(control->events[i].name);
}

static void notify_get_types(struct rpc_request *request, const void *params, void *context)
{
	json_t *types = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(event_types); i++)
		json_array_append_new(types, json_string(event_types[i]));
	for (size_t i = 0; i < ARRAY_SIZE(space_types); i++)
		json_array_append_new(types, json_string(space_types[i]));
	rpc_request_finish(request, types);
}

struct get_notifications_params {
	uint64_t id;
	uint64_t max;
};

static const struct rpc_param get_notifications_table[] = {
	{PARAM(RPC_U64, get_notifications_params, id)},
	{PARAM(RPC_U64, get_notifications_params, max), .value = INT64_MAX},
	{0},
};

static void notify_get_notifications(struct rpc_request *request, const void *params, void *context)
{
	const struct get_notifications_params *wanted = params;
	const struct control *control = context;
	uint64_t oldest =
		control->events_count > NOTIFY_KEPT ? control->events_count - NOTIFY_KEPT : 0;
	json_t *events = json_array();

	for (uint64_t id = u64_max(wanted->id, oldest); id < control->events_count; id++) {
		const struct notify_event *event = &control->events[id % NOTIFY_KEPT];

		if (json_array_size(events) >= wanted->max)
			break;
		if (event->name)
			json_array_append_new(
				events, json_pack("{s:s, s:s, s:I}", "type", event->type, "ctx",
						event->name, "id", (json_int_t)event->id));
	}
	rpc_request_finish(request, events);
}

const struct rpc_method notify_methods[] = {
	{"notify_get_types", RPC_RUNTIME, notify_get_types,
		.decode_error = {RPC_INVALID_PARAMS, "No parameters required"}},
	{"notify_get_notifications", RPC_RUNTIME, notify_get_notifications, get_notifications_table,
		sizeof(struct get_notifications_params),
		.decode_error = {RPC_INVALID_PARAMS, "Invalid argument"}},
	{0},
};
