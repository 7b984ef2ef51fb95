/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the state has and the daemon could not set up: config_get_missing, config_retry_missing and
 * config_forget_missing (ours). It is part of the configuration that is kept, so that it comes back
 * with the next start when what it needs is there again.
 *
 * Something made since under the same name takes the place of what is missing; and what belongs to
 * a controller (targets, placement) goes with it. Two calls are about the same thing when their
 * identities are equal:
 *
 *	making a block device		bdev NAME
 *	making a controller		ctrlr NAME
 *	something of a controller	ctrlr NAME METHOD TARGET LUN QUEUE
 *	something of a block device	METHOD NAME
 *	anything else			METHOD PARAMETERS
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/config_entry_impl.h"
#include "control/config_impl.h"

/* ---- identities ---------------------------------------------------------------------------- */

static bool text_ends_with(const char *text, const char *end)
{
	size_t len = strlen(text), end_len = strlen(end);

	return len >= end_len && strcmp(text + len - end_len, end) == 0;
}

static bool call_makes_controller(const char *method)
{
	return strncmp(method, "vhost_create_", strlen("vhost_create_")) == 0;
}

static int number_of(const json_t *params, const char *name)
{
	return (int)json_integer_value(json_object_get(params, name));
}

/* The caller frees it; NULL without memory. */
static char *call_identity(const json_t *call)
{
	const char *method = json_string_value(json_object_get(call, "method"));
	const json_t *params = json_object_get(call, "params");
	const char *ctrlr = json_string_value(json_object_get(params, "ctrlr"));
	const char *name = json_string_value(json_object_get(params, "name"));
	char *identity = NULL;
	char *text;
	int len;

	if (ctrlr && call_makes_controller(method)) {
		len = asprintf(&identity, "ctrlr %s", ctrlr);
	} else if (ctrlr) {
		len = asprintf(&identity, "ctrlr %s %s %d %d %d", ctrlr, method,
			number_of(params, "scsi_target_num"), number_of(params, "lun"),
			number_of(params, "queue"));
	} else if (name && text_ends_with(method, "_create")) {
		len = asprintf(&identity, "bdev %s", name);
	} else if (name) {
		len = asprintf(&identity, "%s %s", method, name);
	} else {
		text = json_dumps(params, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
		len = asprintf(&identity, "%s %s", method, text ? text : "");
		free(text);
	}
	return len < 0 ? NULL : identity;
}

static void identity_add(json_t *set, const json_t *call)
{
	char *identity = call_identity(call);

	if (identity)
		json_object_set_new(set, identity, json_true());
	free(identity);
}

/* Of all that is there. */
static json_t *identities_of(json_t *config)
{
	json_t *set = json_object();
	json_t *subsystem, *call;
	size_t i, j;

	json_array_foreach(config, i, subsystem)
	{
		json_array_foreach(json_object_get(subsystem, "config"), j, call)
			identity_add(set, call);
	}
	return set;
}

/* Does it belong to a controller that is neither there nor missing? */
static bool entry_is_orphan(const struct config_entry *entry, const json_t *live, json_t *missing)
{
	const char *method = config_entry_method(entry);
	const char *ctrlr =
		json_string_value(json_object_get(json_object_get(entry->call, "params"), "ctrlr"));
	char *controller;
	bool orphan;

	if (!ctrlr || call_makes_controller(method) || asprintf(&controller, "ctrlr %s", ctrlr) < 0)
		return false;
	orphan = !json_object_get(live, controller) && !json_object_get(missing, controller);
	free(controller);
	return orphan;
}

static bool entry_is_superseded(
	const struct config_entry *entry, const json_t *live, json_t *missing)
{
	char *identity;
	bool superseded;

	if (!entry->error)
		return false;
	if (entry_is_orphan(entry, live, missing))
		return true;
	identity = call_identity(entry->call);
	superseded = identity && json_object_get(live, identity);
	free(identity);
	return superseded;
}

static json_t *identities_missing(const struct control *control)
{
	const struct config_entry *entry;
	json_t *set = json_object();

	list_for_each_entry (entry, &control->entries, link)
		identity_add(set, entry->call);
	return set;
}

void config_drop_superseded(struct control *control)
{
	json_t *config = config_collect(control);
	json_t *live = identities_of(config);
	json_t *missing = identities_missing(control);
	struct config_entry *entry, *next;

	list_for_each_entry_safe (entry, next, &control->entries, link) {
		if (entry_is_superseded(entry, live, missing))
			config_entry_free(entry);
	}
	json_decref(missing);
	json_decref(live);
	json_decref(config);
}

/* ---- in the state -------------------------------------------------------------------------- */

static int subsystem_append(json_t *config, const struct config_entry *entry)
{
	json_t *subsystem = NULL;
	json_t *candidate;
	size_t i;

	json_array_foreach(config, i, candidate)
	{
		const json_t *name = json_object_get(candidate, "subsystem");

		if (strcmp(json_string_value(name), entry->subsystem) == 0)
			subsystem = candidate;
	}
	if (!subsystem) {
		subsystem = json_pack("{s:s, s:[]}", "subsystem", entry->subsystem, "config");
		if (json_array_append_new(config, subsystem))
			return -ENOMEM;
	}
	return json_array_append_new(
		json_object_get(subsystem, "config"), json_deep_copy(entry->call));
}

json_t *control_get_config(const struct control *control)
{
	json_t *config = config_collect(control);
	const struct config_entry *entry;
	json_t *live, *missing;
	int rc = 0;

	if (!config || list_is_empty(&control->entries))
		return config;
	live = identities_of(config);
	missing = identities_missing(control);
	list_for_each_entry (entry, &control->entries, link) {
		if (!rc && !entry_is_superseded(entry, live, missing))
			rc = subsystem_append(config, entry);
	}
	json_decref(missing);
	json_decref(live);
	if (rc) {
		json_decref(config);
		return NULL;
	}
	return config;
}

/* ---- methods ------------------------------------------------------------------------------- */

static json_t *missing_describe(struct control *control)
{
	json_t *list = json_array();
	const struct config_entry *entry;

	if (!control->applying)
		config_drop_superseded(control);
	list_for_each_entry (entry, &control->entries, link) {
		json_t *described = json_object();

		json_object_update(described, entry->call);
		json_object_set_new(described, "subsystem", json_string(entry->subsystem));
		json_object_set_new(described, "error",
			json_string(entry->error ? entry->error : "not tried yet"));
		json_array_append_new(list, described);
	}
	return list;
}

static void config_get_missing(struct rpc_request *request, const void *params, void *context)
{
	rpc_request_finish(request, missing_describe(context));
}

/* False and answered: the entries are being worked on. */
static bool missing_is_free(struct control *control, struct rpc_request *request)
{
	struct reason reason = {0};

	if (!control->applying)
		return true;
	reason_set(&reason, -EBUSY, "the configuration is being applied just now: try again");
	rpc_request_fail(request, -EBUSY, &reason);
	return false;
}

struct retry_call {
	struct control *control;
	struct rpc_request *request;
};

static void missing_retried(void *arg, int rc)
{
	struct retry_call *call = arg;

	rpc_request_finish(call->request, missing_describe(call->control));
	free(call);
}

static void config_retry_missing(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	struct retry_call *call;

	if (!missing_is_free(control, request))
		return;
	call = calloc(1, sizeof(*call));
	if (!call) {
		rpc_request_fail(request, -ENOMEM, NULL);
		return;
	}
	call->control = control;
	call->request = request;
	config_drop_superseded(control);
	config_apply(control, RPC_RUNTIME, NULL, missing_retried, call);
}

struct forget_params {
	const char *name;
};

static const struct rpc_param forget_table[] = {
	{PARAM(RPC_STRING, forget_params, name)},
	{0},
};

static bool entry_is_about(const struct config_entry *entry, const char *name)
{
	static const char *const members[] = {
		"name", "ctrlr", "bdev_name", "dev_name", "base_bdev_name", "base_bdev"};
	const json_t *params = json_object_get(entry->call, "params");

	for (size_t i = 0; i < ARRAY_SIZE(members); i++) {
		const char *value = json_string_value(json_object_get(params, members[i]));

		if (value && strcmp(value, name) == 0)
			return true;
	}
	return false;
}

static void config_forget_missing(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct forget_params *wanted = params;
	struct config_entry *entry, *next;
	struct reason reason = {0};
	unsigned forgotten = 0;

	if (!missing_is_free(control, request))
		return;
	list_for_each_entry_safe (entry, next, &control->entries, link) {
		if (!wanted->name || entry_is_about(entry, wanted->name)) {
			config_entry_free(entry);
			forgotten++;
		}
	}
	if (wanted->name && !forgotten) {
		reason_set(&reason, -ENOENT,
			"nothing of the name %s is missing: config_get_missing lists what is",
			wanted->name);
		rpc_request_fail(request, -ENOENT, &reason);
		return;
	}
	rpc_request_finish(request, json_integer(forgotten));
}

const struct rpc_method missing_methods[] = {
	{"config_get_missing", RPC_RUNTIME, config_get_missing},
	{"config_retry_missing", RPC_RUNTIME, config_retry_missing, .changes_configuration = true},
	{"config_forget_missing", RPC_RUNTIME, config_forget_missing, forget_table,
		sizeof(struct forget_params), .changes_configuration = true,
		.decode_error = {RPC_INVALID_PARAMS, "Invalid parameters"}},
	{0},
};
