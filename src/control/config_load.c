/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A configuration taken apart into entries: the calls of all its subsystems, in order, each with
 * the pass it belongs to. The form is that of SPDK's configuration files:
 *
 *	[{"subsystem": "bdev", "config": [{"method": ..., "params": {...}}, [{...}, {...}]]}, ...]
 *
 * config may be null; an array among the entries is a batch: its calls belong to one pass. An entry
 * runs before the start if it may, else after it.
 *
 * Entries are owned by control->entries until they have succeeded (config_apply.c).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "control/config_entry_impl.h"

struct loader {
	struct control *control;
	const char *subsystem;
	size_t number; /* of the entry in its subsystem, from 1 */
	struct reason *reason;
};

void config_entry_free(struct config_entry *entry)
{
	list_remove(&entry->link);
	json_decref(entry->call);
	free(entry->subsystem);
	free(entry->error);
	free(entry);
}

void config_entries_clear(struct control *control)
{
	struct config_entry *entry, *next;

	list_for_each_entry_safe (entry, next, &control->entries, link)
		config_entry_free(entry);
}

const char *config_entry_method(const struct config_entry *entry)
{
	return json_string_value(json_object_get(entry->call, "method"));
}

static int load_refuse(const struct loader *loader, const char *what)
{
	return reason_set(loader->reason, -EINVAL, "entry %zu of subsystem %s %s", loader->number,
		loader->subsystem, what);
}

static int call_check(const struct loader *loader, const json_t *call)
{
	const json_t *params = json_object_get(call, "params");

	if (!json_is_object(call) || !json_is_string(json_object_get(call, "method")))
		return load_refuse(loader, "is no object with a method");
	if (params && !json_is_object(params))
		return load_refuse(loader, "has params that are no object");
	if (json_object_size(call) != (params ? 2 : 1))
		return load_refuse(loader, "has members beside method and params");
	return 0;
}

static unsigned pass_of(unsigned states)
{
	return states & RPC_STARTUP ? RPC_STARTUP : states & RPC_RUNTIME;
}

static void entry_add(const struct loader *loader, json_t *call, unsigned pass)
{
	struct config_entry *entry = alloc_op(sizeof(*entry));

	entry->subsystem = strdup(loader->subsystem);
	entry->call = json_incref(call);
	entry->pass = pass;
	list_add_tail(&loader->control->entries, &entry->link);
}

/* A method that is not there: 0 when the entry is to be passed over. */
static int call_unknown(const struct loader *loader, json_t *call)
{
	const char *method = json_string_value(json_object_get(call, "method"));
	char what[128];

	if (loader->control->on_failure == CONFIG_KEEP) {
		entry_add(loader, call, RPC_RUNTIME);
		return 0;
	}
	if (loader->control->on_failure == CONFIG_SKIP ||
		!config_knows_subsystem(loader->subsystem)) {
		log_notice("there is no %s here: entry %zu of subsystem %s is passed over", method,
			loader->number, loader->subsystem);
		return 0;
	}
	snprintf(what, sizeof(what), "calls %.64s, which is not there", method);
	return load_refuse(loader, what);
}

static unsigned call_states(const struct loader *loader, const json_t *call)
{
	return rpc_server_method_states(
		loader->control->options.rpc, json_string_value(json_object_get(call, "method")));
}

static int call_load(const struct loader *loader, json_t *call)
{
	int rc = call_check(loader, call);
	unsigned states;

	if (rc)
		return rc;
	states = call_states(loader, call);
	if (!states)
		return call_unknown(loader, call);
	entry_add(loader, call, pass_of(states));
	return 0;
}

static int batch_load(const struct loader *loader, json_t *batch)
{
	unsigned states = RPC_ANY_STATE;
	json_t *call;
	size_t i;
	int rc;

	json_array_foreach(batch, i, call)
	{
		rc = call_check(loader, call);
		if (rc)
			return rc;
		if (!call_states(loader, call))
			return call_unknown(loader, call);
		states &= call_states(loader, call);
	}
	if (!states)
		return load_refuse(loader, "is a batch of calls that are never possible together");
	json_array_foreach(batch, i, call) entry_add(loader, call, pass_of(states));
	return 0;
}

static int subsystem_load(struct loader *loader, json_t *subsystem)
{
	json_t *config = json_object_get(subsystem, "config");
	json_t *entry;
	size_t i;
	int rc;

	loader->subsystem = json_string_value(json_object_get(subsystem, "subsystem"));
	if (!loader->subsystem || !config || json_object_size(subsystem) != 2)
		return reason_set(loader->reason, -EINVAL,
			"each of the subsystems is an object of two members, subsystem (a name) "
			"and config");
	if (!json_is_array(config) && !json_is_null(config))
		return reason_set(loader->reason, -EINVAL,
			"config of subsystem %s is neither an array nor null", loader->subsystem);
	json_array_foreach(config, i, entry)
	{
		loader->number = i + 1;
		rc = json_is_array(entry) ? batch_load(loader, entry) : call_load(loader, entry);
		if (rc)
			return rc;
	}
	return 0;
}

int control_load_config(struct control *control, const json_t *subsystems,
	enum config_failure on_failure, struct reason *reason)
{
	struct loader loader = {.control = control, .reason = reason};
	json_t *subsystem;
	size_t i;
	int rc = 0;

	invariant(list_is_empty(&control->entries));
	control->on_failure = on_failure;
	if (!json_is_array(subsystems))
		return reason_set(reason, -EINVAL, "its subsystems are no array");
	json_array_foreach(subsystems, i, subsystem)
	{
		rc = subsystem_load(&loader, subsystem);
		if (rc)
			break;
	}
	if (rc)
		config_entries_clear(control);
	return rc;
}
