/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev_aio_create, bdev_aio_rescan, bdev_aio_delete and the same for bdev_uring: two faces of one
 * device over a file or a block device. They differ in parameters, in how they are listed, and in
 * errors: creation as aio tells the errno, as uring one text for everything.
 */
#include <errno.h>
#include <stdlib.h>

#include "backend/backends.h"
#include "control/config_impl.h"

struct file_params {
	const char *name;
	const char *filename;
	const char *uuid;
	uint32_t block_size;
	bool readonly;
	bool fallocate;
	bool nowait;
};

static const struct rpc_param aio_table[] = {
	{PARAM(RPC_STRING, file_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, file_params, filename), .flags = RPC_REQUIRED},
	{PARAM(RPC_U32, file_params, block_size)},
	{PARAM(RPC_BOOL, file_params, readonly)},
	{PARAM(RPC_BOOL, file_params, fallocate)},
	{PARAM(RPC_UUID, file_params, uuid)},
	{PARAM(RPC_BOOL, file_params, nowait)},
	{0},
};

static const struct rpc_param uring_table[] = {
	{PARAM(RPC_STRING, file_params, filename), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, file_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_U32, file_params, block_size)},
	{PARAM(RPC_UUID, file_params, uuid)},
	{0},
};

/* An asynchronous call on behalf of a request. */
struct file_call {
	struct control *control;
	struct rpc_request *request;
	struct bdev *bdev;
	struct reason reason;
	int face;
	bool relative; /* the name of the file */
};

static struct file_call *file_call_create(
	struct control *control, struct rpc_request *request, int face)
{
	struct file_call *call = calloc(1, sizeof(*call));

	if (!call) {
		rpc_request_fail(request, -ENOMEM, NULL);
		return NULL;
	}
	call->control = control;
	call->request = request;
	call->face = face;
	return call;
}

static void file_created(void *arg, int rc)
{
	struct file_call *call = arg;

	if (rc == -ENOENT && call->relative) {
		call->reason.text[0] = '\0';
		reason_set(&call->reason, rc,
			"there is no such file where the daemon was started: give an absolute "
			"path");
	}
	if (rc && call->face == FILE_BDEV_URING)
		rpc_request_fail_text(call->request, RPC_INTERNAL_ERROR,
			"Unable to create URING bdev.", &call->reason);
	else
		bdev_answer_created(call->control, call->request, call->bdev, rc, &call->reason);
	free(call);
}

static void file_create(
	struct control *control, struct rpc_request *request, const void *params, int face)
{
	const struct file_params *wanted = params;
	struct file_call *call = file_call_create(control, request, face);
	struct file_bdev_options options = {
		.name = wanted->name,
		.filename = wanted->filename,
		.block_size = wanted->block_size,
		.read_only = wanted->readonly,
		.face = face,
		.fallocate = wanted->fallocate,
		.nowait = wanted->nowait,
	};

	if (!call)
		return;
	call->relative = wanted->filename[0] != '/';
	uuid_set(options.uuid, wanted->uuid);
	file_bdev_create(control->options.registry, &options, &call->reason, &call->bdev,
		file_created, call);
}

static void bdev_aio_create(struct rpc_request *request, const void *params, void *context)
{
	file_create(context, request, params, FILE_BDEV_AIO);
}

static void bdev_uring_create(struct rpc_request *request, const void *params, void *context)
{
	file_create(context, request, params, FILE_BDEV_URING);
}

/* NULL and answered when there is no such device with that face. */
static struct bdev *file_find(
	struct control *control, struct rpc_request *request, const void *params, int face)
{
	const struct bdev_name_params *wanted = params;
	struct bdev *bdev = bdev_find_or_fail(control, request, wanted->name);

	if (!bdev || bdev_is_file(bdev, face))
		return bdev;
	bdev_refuse_kind(request, bdev);
	return NULL;
}

static void file_rescanned(void *arg, int rc)
{
	struct file_call *call = arg;

	if (rc)
		rpc_request_fail(call->request, rc, &call->reason);
	else
		rpc_request_finish(call->request, NULL);
	free(call);
}

static void file_rescan(
	struct control *control, struct rpc_request *request, const void *params, int face)
{
	struct bdev *bdev = file_find(control, request, params, face);
	struct file_call *call;

	if (!bdev)
		return;
	call = file_call_create(control, request, face);
	if (call)
		bdev->ops->rescan(bdev, &call->reason, file_rescanned, call);
}

static void bdev_aio_rescan(struct rpc_request *request, const void *params, void *context)
{
	file_rescan(context, request, params, FILE_BDEV_AIO);
}

static void bdev_uring_rescan(struct rpc_request *request, const void *params, void *context)
{
	file_rescan(context, request, params, FILE_BDEV_URING);
}

static void bdev_aio_delete(struct rpc_request *request, const void *params, void *context)
{
	struct bdev *bdev = file_find(context, request, params, FILE_BDEV_AIO);

	if (bdev)
		bdev_delete(context, request, bdev);
}

static void bdev_uring_delete(struct rpc_request *request, const void *params, void *context)
{
	struct bdev *bdev = file_find(context, request, params, FILE_BDEV_URING);

	if (bdev)
		bdev_delete(context, request, bdev);
}

/* ---- configuration ------------------------------------------------------------------------- */

/* The next daemon may be started elsewhere. */
static json_t *filename_config(const struct config_writer *writer, const char *filename)
{
	const char *directory = writer->control->options.directory;
	json_t *absolute = NULL;

	if (writer->stored && directory && filename[0] != '/')
		absolute = json_sprintf("%s/%s", directory, filename);
	return absolute ? absolute : json_string(filename);
}

bool file_bdev_write_config(struct config_writer *writer, const struct bdev *bdev)
{
	bool aio = bdev_is_file(bdev, FILE_BDEV_AIO);
	const struct file_bdev_options *options;
	char uuid[UUID_STR_LEN];
	json_t *params;

	if (!aio && !bdev_is_file(bdev, FILE_BDEV_URING))
		return false;
	options = file_bdev_get_options(bdev);
	uuid_unparse_lower(bdev->uuid, uuid);
	params = json_pack("{s:s, s:o, s:s}", "name", bdev->name, "filename",
		filename_config(writer, options->filename), "uuid", uuid);
	if (options->block_size)
		json_object_set_new(params, "block_size", json_integer(options->block_size));
	if (aio) {
		json_object_set_new(params, "readonly", json_boolean(options->read_only));
		json_object_set_new(params, "fallocate", json_boolean(options->fallocate));
		json_object_set_new(params, "nowait", json_boolean(options->nowait));
	}
	config_add(writer, aio ? "bdev_aio_create" : "bdev_uring_create", params);
	return true;
}

const struct rpc_method file_bdev_methods[] = {
	{"bdev_aio_create", RPC_RUNTIME, bdev_aio_create, aio_table, sizeof(struct file_params),
		.changes_configuration = true, .decode_error = RPC_DECODE_ERROR},
	{"bdev_aio_rescan", RPC_RUNTIME, bdev_aio_rescan, bdev_name_table,
		sizeof(struct bdev_name_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_aio_delete", RPC_RUNTIME, bdev_aio_delete, bdev_name_table,
		sizeof(struct bdev_name_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_uring_create", RPC_RUNTIME, bdev_uring_create, uring_table,
		sizeof(struct file_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_uring_rescan", RPC_RUNTIME, bdev_uring_rescan, bdev_name_table,
		sizeof(struct bdev_name_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_uring_delete", RPC_RUNTIME, bdev_uring_delete, bdev_name_table,
		sizeof(struct bdev_name_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{0},
};
