/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * framework_get_subsystems and framework_get_config; and the same for the state that is kept over a
 * restart.
 *
 * A subsystem's configuration is derived from what is there, not from a record of the calls that
 * made it: so it says how things are after all changes, deletions and renamings, and cannot
 * disagree with them. Order within a subsystem: options; then objects in the order in which they
 * came, filters last, so that what stands on another comes after it; then what is set for them.
 * Volumes and their stores tell nothing: they are on their disks and found there, except that a
 * store within a volume is looked for only when that is asked (bdev_examine).
 *
 * The names and their dependencies are those of SPDK, as far as there is something to set here. A
 * configuration file's parts for other subsystems are passed over, those for these are not.
 */
#include <errno.h>
#include <string.h>

#include "control/config_impl.h"

void config_add(struct config_writer *writer, const char *method, json_t *params)
{
	json_t *entry = params ? json_pack("{s:s, s:o}", "method", method, "params", params) : NULL;

	if (json_array_append_new(writer->entries, entry))
		writer->failed = true;
}

static void config_add_bare(struct config_writer *writer, const char *method)
{
	if (json_array_append_new(writer->entries, json_pack("{s:s}", "method", method)))
		writer->failed = true;
}

/* ---- block devices ------------------------------------------------------------------------- */

static void bdev_write_config(struct bdev *bdev, void *arg)
{
	static bool (*const kinds[])(struct config_writer * writer, const struct bdev *bdev) = {
		memory_bdev_write_config,
		file_bdev_write_config,
	};

	if (bdev->removing)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
		if (kinds[i](arg, bdev))
			return;
	}
}

static void bdev_write_settings(struct bdev *bdev, void *arg)
{
	if (bdev->removing)
		return;
	limits_write_config(arg, bdev);
	histogram_write_config(arg, bdev);
}

/* A store within a volume of another. */
static void store_write_config(struct lvs *lvs, void *arg)
{
	struct config_writer *writer = arg;
	const struct bdev *base;
	struct lvs_info info;

	lvs_get_info(lvs, &info);
	base = bdev_find(writer->control->options.registry, info.base_bdev);
	if (base && lvol_bdev_below(base))
		config_add(writer, "bdev_examine", json_pack("{s:s}", "name", base->name));
}

static void bdevs_write_config(struct config_writer *writer)
{
	const struct control_options *options = &writer->control->options;

	bdev_options_write_config(writer);
	bdev_for_each(options->registry, bdev_write_config, writer);
	nvme_write_config(writer);
	filters_write_config(writer);
	lvs_for_each(options->lvols, store_write_config, writer);
	bdev_for_each(options->registry, bdev_write_settings, writer);
	config_add_bare(writer, "bdev_wait_for_examine");
}

/* ---- subsystems ---------------------------------------------------------------------------- */

#define DEPENDS_MAX 3

struct subsystem {
	const char *name;
	const char *depends_on[DEPENDS_MAX];
	void (*write)(struct config_writer *writer); /* NULL: has nothing to set */
};

/* In the order in which they can be set up. */
static const struct subsystem subsystems[] = {
	{"iobuf", {0}, iobuf_write_config},
	{"accel", {"iobuf"}, accel_write_config},
	{"bdev", {"accel", "iobuf"}, bdevs_write_config},
	{"vhost_blk", {"bdev"}, vhost_blk_write_config},
	{"scsi", {"bdev"}, NULL},
	{"vhost_scsi", {"scsi"}, vhost_scsi_write_config},
};

static const struct subsystem *subsystem_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(subsystems); i++) {
		if (strcmp(subsystems[i].name, name) == 0)
			return &subsystems[i];
	}
	return NULL;
}

bool config_knows_subsystem(const char *name)
{
	return subsystem_find(name) != NULL;
}

static void framework_get_subsystems(struct rpc_request *request, const void *params, void *context)
{
	json_t *list = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(subsystems); i++) {
		json_t *depends = json_array();

		for (size_t d = 0; d < DEPENDS_MAX && subsystems[i].depends_on[d]; d++)
			json_array_append_new(depends, json_string(subsystems[i].depends_on[d]));
		json_array_append_new(list, json_pack("{s:s, s:o}", "subsystem", subsystems[i].name,
						    "depends_on", depends));
	}
	rpc_request_finish(request, list);
}

/* ---- framework_get_config ------------------------------------------------------------------ */

struct get_config_params {
	const char *name;
	bool with_batches;
};

static const struct rpc_param get_config_table[] = {
	{PARAM(RPC_STRING, get_config_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_BOOL, get_config_params, with_batches)},
	{0},
};

static bool entry_creates(const json_t *entry)
{
	static const char *const methods[] = {
		"bdev_malloc_create", "bdev_null_create", "bdev_aio_create", "bdev_uring_create"};
	const char *method = json_string_value(json_object_get(entry, "method"));

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		if (strcmp(method, methods[i]) == 0)
			return true;
	}
	return false;
}

/* Devices that stand on none other may be made side by side: runs of them become arrays. */
static json_t *entries_batch(json_t *entries)
{
	json_t *batched = json_array();
	json_t *batch = NULL; /* the last of batched, while it may grow */
	json_t *entry;
	size_t i;

	json_array_foreach(entries, i, entry)
	{
		if (!entry_creates(entry)) {
			batch = NULL;
			json_array_append(batched, entry);
			continue;
		}
		if (!batch) {
			batch = json_array();
			json_array_append_new(batched, batch);
		}
		json_array_append(batch, entry);
	}
	json_decref(entries);
	return batched;
}

static void framework_get_config(struct rpc_request *request, const void *params, void *context)
{
	const struct get_config_params *wanted = params;
	const struct subsystem *subsystem = subsystem_find(wanted->name);
	struct config_writer writer = {.control = context};
	char text[128];

	if (!subsystem) {
		snprintf(text, sizeof(text), "Subsystem '%s' not found", wanted->name);
		rpc_request_fail_text(request, RPC_INVALID_PARAMS, text, NULL);
		return;
	}
	if (!subsystem->write) {
		rpc_request_finish(request, json_null());
		return;
	}
	writer.entries = json_array();
	subsystem->write(&writer);
	if (writer.failed) {
		json_decref(writer.entries);
		rpc_request_fail(request, -ENOMEM, NULL);
		return;
	}
	if (wanted->with_batches)
		writer.entries = entries_batch(writer.entries);
	rpc_request_finish(request, writer.entries);
}

/* ---- for the state ------------------------------------------------------------------------- */

json_t *config_collect(const struct control *control)
{
	json_t *config = json_array();
	bool failed = !config;

	for (size_t i = 0; i < ARRAY_SIZE(subsystems) && !failed; i++) {
		struct config_writer writer = {
			.control = control, .entries = json_array(), .stored = true};

		if (subsystems[i].write)
			subsystems[i].write(&writer);
		failed = writer.failed ||
			 json_array_append_new(
				 config, json_pack("{s:s, s:o}", "subsystem", subsystems[i].name,
						 "config", writer.entries));
	}
	if (failed) {
		json_decref(config);
		return NULL;
	}
	return config;
}

const struct rpc_method config_methods[] = {
	{"framework_get_subsystems", RPC_RUNTIME, framework_get_subsystems,
		.decode_error = {RPC_INVALID_PARAMS,
			"'framework_get_subsystems' requires no arguments"}},
	{"framework_get_config", RPC_RUNTIME, framework_get_config, get_config_table,
		sizeof(struct get_config_params),
		.decode_error = {RPC_INVALID_PARAMS, "Invalid arguments"}},
	{0},
};
