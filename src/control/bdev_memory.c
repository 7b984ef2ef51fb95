/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev_null_create, bdev_null_delete, bdev_null_resize, bdev_malloc_create, bdev_malloc_delete.
 *
 * Metadata beside the blocks and protection information are not there: asking for them is refused
 * as SPDK refuses sizes that it does not know.
 */
#include <errno.h>
#include <stdio.h>

#include "backend/backends.h"
#include "control/config_impl.h"

/* Parameters that both kinds have. */
struct metadata_params {
	uint32_t md_size;
	int32_t dif_type;
	bool dif_is_head_of_md;
	uint32_t dif_pi_format;
};

static int metadata_check(const struct metadata_params *wanted, struct reason *reason)
{
	if (wanted->md_size == 0 && wanted->dif_type == 0)
		return 0;
	return reason_set(reason, -EINVAL,
		"block devices have no metadata here: leave out md_size and dif_type");
}

/* ---- null ------------------------------------------------------------------------------ */

struct null_params {
	const char *name;
	const char *uuid;
	uint64_t num_blocks;
	uint32_t block_size;
	uint32_t physical_block_size;
	struct metadata_params metadata;
};

#define METADATA_PARAM(type_, struct_, field_)                                                     \
	.name = #field_, .type = (type_), .offset = offsetof(struct struct_, metadata.field_)

static const struct rpc_param null_table[] = {
	{PARAM(RPC_STRING, null_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_U64, null_params, num_blocks), .flags = RPC_REQUIRED},
	{PARAM(RPC_U32, null_params, block_size), .flags = RPC_REQUIRED},
	{PARAM(RPC_UUID, null_params, uuid)},
	{PARAM(RPC_U32, null_params, physical_block_size)},
	{METADATA_PARAM(RPC_U32, null_params, md_size)},
	{METADATA_PARAM(RPC_I32, null_params, dif_type)},
	{METADATA_PARAM(RPC_BOOL, null_params, dif_is_head_of_md)},
	{METADATA_PARAM(RPC_U32, null_params, dif_pi_format)},
	{0},
};

static void bdev_null_create(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct null_params *wanted = params;
	struct null_bdev_options options = {
		.name = wanted->name,
		.num_blocks = wanted->num_blocks,
		.block_size = wanted->block_size,
		.physical_block_size = wanted->physical_block_size,
	};
	struct reason reason = {0};
	struct bdev *bdev = NULL;
	int rc = metadata_check(&wanted->metadata, &reason);

	uuid_set(options.uuid, wanted->uuid);
	if (!rc)
		rc = null_bdev_create(control->options.registry, &options, &reason, &bdev);
	bdev_answer_created(control, request, bdev, rc, &reason);
}

/* A device of another kind is as good as none. */
static void memory_bdev_delete(struct control *control, struct rpc_request *request,
	const char *name, bool (*is_kind)(const struct bdev *bdev))
{
	struct bdev *bdev = bdev_find_or_fail(control, request, name);

	if (!bdev)
		return;
	if (is_kind(bdev))
		bdev_delete(control, request, bdev);
	else
		bdev_refuse_kind(request, bdev);
}

static void bdev_null_delete(struct rpc_request *request, const void *params, void *context)
{
	const struct bdev_name_params *wanted = params;

	memory_bdev_delete(context, request, wanted->name, bdev_is_null);
}

struct null_resize_params {
	const char *name;
	uint64_t new_size; /* MiB */
};

static const struct rpc_param null_resize_table[] = {
	{PARAM(RPC_STRING, null_resize_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_U64, null_resize_params, new_size), .flags = RPC_REQUIRED},
	{0},
};

static void bdev_null_resize(struct rpc_request *request, const void *params, void *context)
{
	const struct null_resize_params *wanted = params;
	struct bdev *bdev = bdev_find_or_fail(context, request, wanted->name);
	struct reason reason = {0};
	int rc;

	if (!bdev)
		return;
	if (!bdev_is_null(bdev))
		rc = reason_set(&reason, -EINVAL, "%s is a %s, not a null device", wanted->name,
			bdev->ops->product_name);
	else if (wanted->new_size > INT64_MAX / MIB)
		rc = reason_set(&reason, -EINVAL, "new_size is in MiB: %s cannot be that large",
			wanted->name);
	else
		rc = null_bdev_resize(bdev, wanted->new_size * MIB / bdev->block_size, &reason);
	if (rc)
		rpc_request_fail(request, rc, &reason);
	else
		rpc_request_finish(request, NULL);
}

/* ---- malloc ---------------------------------------------------------------------------- */

struct malloc_params {
	const char *name;
	const char *uuid;
	uint64_t num_blocks;
	uint32_t block_size;
	uint32_t physical_block_size;
	uint32_t optimal_io_boundary;
	bool md_interleave;
	int32_t numa_id; /* memory comes from where it is touched first */
	struct metadata_params metadata;
};

static const struct rpc_param malloc_table[] = {
	{PARAM(RPC_U64, malloc_params, num_blocks), .flags = RPC_REQUIRED},
	{PARAM(RPC_U32, malloc_params, block_size), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, malloc_params, name)},
	{PARAM(RPC_UUID, malloc_params, uuid)},
	{PARAM(RPC_U32, malloc_params, physical_block_size)},
	{PARAM(RPC_U32, malloc_params, optimal_io_boundary)},
	{METADATA_PARAM(RPC_U32, malloc_params, md_size)},
	{PARAM(RPC_BOOL, malloc_params, md_interleave)},
	{METADATA_PARAM(RPC_I32, malloc_params, dif_type)},
	{METADATA_PARAM(RPC_BOOL, malloc_params, dif_is_head_of_md)},
	{METADATA_PARAM(RPC_U32, malloc_params, dif_pi_format)},
	{PARAM(RPC_I32, malloc_params, numa_id), .value = -1},
	{0},
};

static void bdev_malloc_create(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct malloc_params *wanted = params;
	char name[32];
	struct malloc_bdev_options options = {
		.name = wanted->name ? wanted->name : name,
		.num_blocks = wanted->num_blocks,
		.block_size = wanted->block_size,
		.physical_block_size = wanted->physical_block_size,
		.optimal_io_boundary = wanted->optimal_io_boundary,
	};
	struct reason reason = {0};
	struct bdev *bdev = NULL;
	int rc = metadata_check(&wanted->metadata, &reason);

	uuid_set(options.uuid, wanted->uuid);
	/* One that is there from before a restart has kept its name. */
	do
		snprintf(name, sizeof(name), "Malloc%u", control->malloc_count);
	while (!wanted->name && bdev_find(control->options.registry, name) &&
		++control->malloc_count);
	if (!rc)
		rc = malloc_bdev_create(control->options.registry, &options, &reason, &bdev);
	if (!rc && !wanted->name)
		control->malloc_count++;
	bdev_answer_created(control, request, bdev, rc, &reason);
}

static void bdev_malloc_delete(struct rpc_request *request, const void *params, void *context)
{
	const struct bdev_name_params *wanted = params;

	memory_bdev_delete(context, request, wanted->name, bdev_is_malloc);
}

/* ---- configuration --------------------------------------------------------------------- */

bool memory_bdev_write_config(struct config_writer *writer, const struct bdev *bdev)
{
	json_int_t blocks = (json_int_t)(bdev_size(bdev) / bdev->block_size);
	char uuid[UUID_STR_LEN];
	json_t *params;

	if (!bdev_is_null(bdev) && !bdev_is_malloc(bdev))
		return false;
	uuid_unparse_lower(bdev->uuid, uuid);
	params = json_pack("{s:s, s:I, s:I, s:I, s:s}", "name", bdev->name, "num_blocks", blocks,
		"block_size", (json_int_t)bdev->block_size, "physical_block_size",
		(json_int_t)bdev->physical_block_size, "uuid", uuid);
	if (bdev_is_malloc(bdev) && bdev->optimal_io_bytes)
		json_object_set_new(params, "optimal_io_boundary",
			json_integer(bdev->optimal_io_bytes / bdev->block_size));
	config_add(writer, bdev_is_null(bdev) ? "bdev_null_create" : "bdev_malloc_create", params);
	return true;
}

const struct rpc_method memory_bdev_methods[] = {
	{"bdev_null_create", RPC_RUNTIME, bdev_null_create, null_table, sizeof(struct null_params),
		.changes_configuration = true, .decode_error = RPC_DECODE_ERROR},
	{"bdev_null_delete", RPC_RUNTIME, bdev_null_delete, bdev_name_table,
		sizeof(struct bdev_name_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_null_resize", RPC_RUNTIME, bdev_null_resize, null_resize_table,
		sizeof(struct null_resize_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_malloc_create", RPC_RUNTIME, bdev_malloc_create, malloc_table,
		sizeof(struct malloc_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_malloc_delete", RPC_RUNTIME, bdev_malloc_delete, bdev_name_table,
		sizeof(struct bdev_name_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{0},
};
