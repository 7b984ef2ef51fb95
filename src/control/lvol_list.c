/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev_lvol_get_lvols, bdev_lvol_get_fragmap.
 *
 * Members behind lvs are ours. How many clusters are exclusive or shared takes a walk over all maps
 * and is told only when it is asked for (usage): store after store.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "control/lvol_impl.h"

/* ---- bdev_lvol_get_lvols --------------------------------------------------------------- */

struct get_lvols_params {
	const char *lvs_uuid;
	const char *lvs_name;
	bool usage;
};

static const struct rpc_param get_lvols_table[] = {
	{PARAM(RPC_STRING, get_lvols_params, lvs_uuid)},
	{PARAM(RPC_STRING, get_lvols_params, lvs_name)},
	{PARAM(RPC_BOOL, get_lvols_params, usage)},
	{0},
};

struct get_lvols_call {
	struct control *control;
	struct rpc_request *request;
	json_t *list;
	char **stores; /* UUIDs of those whose volumes are listed */
	unsigned count;
	unsigned next;
	struct lvs_usage *usages; /* of that store */
	unsigned usages_count;
	unsigned cursor; /* both lists are in the same order */
};

static void lvol_describe_more(const struct lvol_info *info, json_t *described)
{
	json_object_set_new(described, "size_in_bytes", json_integer((json_int_t)info->size_bytes));
	json_object_set_new(
		described, "num_clusters", json_integer((json_int_t)info->blob.num_clusters));
	json_object_set_new(described, "block_size", json_integer(info->block_size));
	json_object_set_new(described, "read_only", json_boolean(info->blob.read_only));
	json_object_set_new(described, "parent",
		info->parent ? json_pack("s", lvol_name(info->parent)) : json_null());
	json_object_set_new(described, "external_parent",
		info->esnap_id ? json_string(info->esnap_id) : json_null());
}

static json_t *lvol_describe(const struct lvol *lvol)
{
	json_t *described = json_object();
	struct lvol_info info;
	struct lvs_info store;

	lvol_get_info(lvol, &info);
	lvs_get_info(info.lvs, &store);
	json_object_set_new(described, "alias", json_sprintf("%s/%s", store.name, info.name));
	json_object_set_new(described, "uuid", json_string(info.id));
	json_object_set_new(described, "name", json_string(info.name));
	json_object_set_new(described, "is_thin_provisioned", json_boolean(info.blob.thin));
	json_object_set_new(described, "is_snapshot", json_boolean(info.snapshot));
	json_object_set_new(described, "is_clone", json_boolean(info.parent != NULL));
	json_object_set_new(described, "is_esnap_clone", json_boolean(info.blob.esnap));
	json_object_set_new(described, "is_degraded", json_boolean(info.degraded));
	json_object_set_new(described, "num_allocated_clusters",
		json_integer((json_int_t)info.blob.num_allocated));
	json_object_set_new(
		described, "lvs", json_pack("{s:s, s:s}", "name", store.name, "uuid", store.uuid));
	lvol_describe_more(&info, described);
	return described;
}

static void lvol_append(struct lvol *lvol, void *arg)
{
	struct get_lvols_call *call = arg;
	json_t *described = lvol_describe(lvol);

	if (call->cursor < call->usages_count && call->usages[call->cursor].lvol == lvol) {
		const struct lvol_usage *usage = &call->usages[call->cursor++].usage;

		json_object_set_new(described, "num_exclusive_clusters",
			json_integer((json_int_t)usage->exclusive));
		json_object_set_new(
			described, "num_shared_clusters", json_integer((json_int_t)usage->shared));
	}
	json_array_append_new(call->list, described);
}

static void get_lvols_store_done(void *arg, int rc);

/* The next store, as long as there is one and it is still open. */
static void get_lvols_go_on(struct get_lvols_call *call)
{
	while (call->next < call->count) {
		struct lvs *lvs =
			lvs_find_by_uuid(call->control->options.lvols, call->stores[call->next++]);

		if (lvs) {
			lvs_get_usage(lvs, &call->usages, &call->usages_count, get_lvols_store_done,
				call);
			return;
		}
	}
	rpc_request_finish(call->request, call->list);
	for (unsigned i = 0; i < call->count; i++)
		free(call->stores[i]);
	free(call->stores);
	free(call);
}

static void get_lvols_store_done(void *arg, int rc)
{
	struct get_lvols_call *call = arg;
	struct lvs *lvs =
		lvs_find_by_uuid(call->control->options.lvols, call->stores[call->next - 1]);

	if (!rc && lvs)
		lvol_for_each(call->control->options.lvols, lvs, lvol_append, call);
	if (!rc)
		free(call->usages);
	call->usages = NULL;
	call->usages_count = 0;
	call->cursor = 0;
	get_lvols_go_on(call);
}

static void store_note(struct lvs *lvs, void *arg)
{
	struct get_lvols_call *call = arg;
	char **stores = realloc(call->stores, (call->count + 1) * sizeof(*stores));
	struct lvs_info info;

	invariant(stores != NULL);
	lvs_get_info(lvs, &info);
	call->stores = stores;
	call->stores[call->count++] = strdup(info.uuid);
}

static void bdev_lvol_get_lvols(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct get_lvols_params *wanted = params;
	const struct lvs_choice choice = {.uuid = wanted->lvs_uuid, .lvs_name = wanted->lvs_name};
	struct get_lvols_call at_once = {0};
	struct get_lvols_call *call;
	struct lvs *lvs = NULL;

	if (choice.uuid || choice.lvs_name) {
		lvs = lvs_choose_or_fail(control, request, &choice);
		if (!lvs)
			return;
	}
	if (!wanted->usage) {
		at_once.list = json_array();
		lvol_for_each(control->options.lvols, lvs, lvol_append, &at_once);
		rpc_request_finish(request, at_once.list);
		return;
	}
	call = alloc_op(sizeof(*call));
	call->control = control;
	call->request = request;
	call->list = json_array();
	if (lvs)
		store_note(lvs, call);
	else
		lvs_for_each(control->options.lvols, store_note, call);
	get_lvols_go_on(call);
}

/* ---- bdev_lvol_get_fragmap ------------------------------------------------------------- */

struct fragmap_params {
	const char *name;
	uint64_t offset;
	uint64_t size;
};

static const struct rpc_param fragmap_table[] = {
	{PARAM(RPC_STRING, fragmap_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_U64, fragmap_params, offset)},
	{PARAM(RPC_U64, fragmap_params, size)},
	{0},
};

struct fragmap_call {
	struct rpc_request *request;
	struct reason reason;
	uint32_t cluster_size;
	struct lvol_fragments fragments;
};

static json_t *fragmap_encode(const struct fragmap_call *call)
{
	const struct lvol_fragments *fragments = &call->fragments;
	char *text = malloc(base64_length(fragments->bytes) + 1);
	json_t *described;

	if (!text)
		return NULL;
	base64_encode(fragments->bits, fragments->bytes, text);
	described = json_pack("{s:I, s:I, s:I, s:s}", "cluster_size",
		(json_int_t)call->cluster_size, "num_clusters", (json_int_t)fragments->num_clusters,
		"num_allocated_clusters", (json_int_t)fragments->num_allocated, "fragmap", text);
	free(text);
	return described;
}

static void fragmap_got(void *arg, int rc)
{
	struct fragmap_call *call = arg;
	json_t *described = rc ? NULL : fragmap_encode(call);

	if (described)
		rpc_request_finish(call->request, described);
	else
		lvol_refuse(call->request, rc ? rc : -ENOMEM, &call->reason);
	if (!rc)
		free(call->fragments.bits);
	free(call);
}

static void bdev_lvol_get_fragmap(struct rpc_request *request, const void *params, void *context)
{
	const struct fragmap_params *wanted = params;
	struct lvol *lvol = lvol_find_or_fail(context, request, wanted->name);
	struct fragmap_call *call;
	struct lvol_info lvol_info;
	struct lvs_info store;

	if (!lvol)
		return;
	call = alloc_op(sizeof(*call));
	call->request = request;
	lvol_get_info(lvol, &lvol_info);
	lvs_get_info(lvol_info.lvs, &store);
	call->cluster_size = store.store.cluster_size;
	lvol_get_fragments(lvol, wanted->offset, wanted->size, &call->reason, &call->fragments,
		fragmap_got, call);
}

const struct rpc_method lvol_list_methods[] = {
	{"bdev_lvol_get_lvols", RPC_RUNTIME, bdev_lvol_get_lvols, get_lvols_table,
		sizeof(struct get_lvols_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_lvol_get_fragmap", RPC_RUNTIME, bdev_lvol_get_fragmap, fragmap_table,
		sizeof(struct fragmap_params), .decode_error = RPC_DECODE_ERROR},
	{0},
};
