/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * iobuf_set_options, bdev_set_options, accel_set_options: sizes of pools that SPDK allocates at its
 * start. There are no such pools here and the numbers change nothing; configuration files of
 * existing deployments have these calls, though, so they are taken, checked and told again by
 * framework_get_config.
 *
 * What is left out of a call stays as it is.
 */
#include <errno.h>
#include <stdio.h>

#include "control/config_impl.h"

#define UNSAID32 UINT32_MAX
#define UNSAID64 UINT64_MAX /* more than the decoder lets through */

const struct startup_options startup_options_default = {
	.iobuf = {8192, 1024, 8192, 135168, false, false},
	.bdev = {65535, 256, 128, 16, false},
	.accel = {128, 16, 2048, 2048, 2048, false},
};

static void take32(uint32_t *option, uint32_t wanted)
{
	if (wanted != UNSAID32)
		*option = wanted;
}

static void take64(uint64_t *option, uint64_t wanted)
{
	if (wanted != UNSAID64)
		*option = wanted;
}

#define OPTION32(struct_, field_)                                                                  \
	{                                                                                          \
		PARAM(RPC_U32, struct_, field_), .flags = RPC_UNSAID, .value = UNSAID32            \
	}
#define OPTION64(struct_, field_)                                                                  \
	{                                                                                          \
		PARAM(RPC_U64, struct_, field_), .flags = RPC_UNSAID, .value = -1                  \
	}

/* ---- iobuf --------------------------------------------------------------------------------- */

struct iobuf_params {
	uint64_t small_pool_count;
	uint64_t large_pool_count;
	uint32_t small_bufsize;
	uint32_t large_bufsize;
	const json_t *enable_numa; /* a bool that may be left out */
};

static const struct rpc_param iobuf_table[] = {
	OPTION64(iobuf_params, small_pool_count),
	OPTION64(iobuf_params, large_pool_count),
	OPTION32(iobuf_params, small_bufsize),
	OPTION32(iobuf_params, large_bufsize),
	{PARAM(RPC_JSON, iobuf_params, enable_numa)},
	{0},
};

static int iobuf_check(const struct iobuf_options *options, struct reason *reason)
{
	if (options->small_pool_count >= 64 && options->large_pool_count >= 8 &&
		options->small_bufsize >= 4096 && options->large_bufsize >= 8192)
		return 0;
	return reason_set(reason, -EINVAL,
		"at least 64 small buffers of 4096 bytes and 8 large ones of 8192 are needed");
}

static void iobuf_set_options(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct iobuf_params *wanted = params;
	struct iobuf_options options = control->startup.iobuf;
	struct reason reason = {0};
	int rc;

	if (wanted->enable_numa && !json_is_boolean(wanted->enable_numa)) {
		rpc_request_fail_text(
			request, RPC_INVALID_PARAMS, "spdk_json_decode_object failed", NULL);
		return;
	}
	take64(&options.small_pool_count, wanted->small_pool_count);
	take64(&options.large_pool_count, wanted->large_pool_count);
	take32(&options.small_bufsize, wanted->small_bufsize);
	take32(&options.large_bufsize, wanted->large_bufsize);
	if (wanted->enable_numa)
		options.enable_numa = json_is_true(wanted->enable_numa);
	rc = iobuf_check(&options, &reason);
	if (rc) {
		rpc_request_fail(request, rc, &reason);
		return;
	}
	options.is_set = true;
	control->startup.iobuf = options;
	rpc_request_finish(request, NULL);
}

/* ---- bdev ---------------------------------------------------------------------------------- */

struct bdev_options_params {
	uint32_t bdev_io_pool_size;
	uint32_t bdev_io_cache_size;
	uint32_t iobuf_small_cache_size;
	uint32_t iobuf_large_cache_size;
	bool bdev_auto_examine;
};

static const struct rpc_param bdev_options_table[] = {
	OPTION32(bdev_options_params, bdev_io_pool_size),
	OPTION32(bdev_options_params, bdev_io_cache_size),
	{PARAM(RPC_BOOL, bdev_options_params, bdev_auto_examine), .value = true},
	OPTION32(bdev_options_params, iobuf_small_cache_size),
	OPTION32(bdev_options_params, iobuf_large_cache_size),
	{0},
};

static void bdev_set_options(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct bdev_options_params *wanted = params;
	struct bdev_options options = control->startup.bdev;
	struct reason reason = {0};
	char text[96];

	take32(&options.io_pool_size, wanted->bdev_io_pool_size);
	take32(&options.io_cache_size, wanted->bdev_io_cache_size);
	take32(&options.small_cache_size, wanted->iobuf_small_cache_size);
	take32(&options.large_cache_size, wanted->iobuf_large_cache_size);
	if (options.io_pool_size <
		(uint64_t)options.io_cache_size * (control->options.data_count + 1)) {
		snprintf(text, sizeof(text), "Pool size %u too small for cache size %u",
			options.io_pool_size, options.io_cache_size);
		rpc_request_fail_text(request, RPC_INVALID_PARAMS, text, NULL);
		return;
	}
	if (!wanted->bdev_auto_examine) {
		reason_set(&reason, -EINVAL,
			"every block device is examined here: leave out bdev_auto_examine");
		rpc_request_fail(request, -EINVAL, &reason);
		return;
	}
	options.is_set = true;
	control->startup.bdev = options;
	rpc_request_finish(request, NULL);
}

/* ---- accel --------------------------------------------------------------------------------- */

struct accel_params {
	uint32_t small_cache_size;
	uint32_t large_cache_size;
	uint32_t task_count;
	uint32_t sequence_count;
	uint32_t buf_count;
};

static const struct rpc_param accel_table[] = {
	OPTION32(accel_params, small_cache_size),
	OPTION32(accel_params, large_cache_size),
	OPTION32(accel_params, task_count),
	OPTION32(accel_params, sequence_count),
	OPTION32(accel_params, buf_count),
	{0},
};

static void accel_set_options(struct rpc_request *request, const void *params, void *context)
{
	struct control *control = context;
	const struct accel_params *wanted = params;
	struct accel_options *options = &control->startup.accel;

	take32(&options->small_cache_size, wanted->small_cache_size);
	take32(&options->large_cache_size, wanted->large_cache_size);
	take32(&options->task_count, wanted->task_count);
	take32(&options->sequence_count, wanted->sequence_count);
	take32(&options->buf_count, wanted->buf_count);
	options->is_set = true;
	rpc_request_finish(request, NULL);
}

/* ---- telling ------------------------------------------------------------------------------- */

void iobuf_write_config(struct config_writer *writer)
{
	const struct iobuf_options *options = &writer->control->startup.iobuf;

	if (writer->stored && !options->is_set)
		return;
	config_add(writer, "iobuf_set_options",
		json_pack("{s:I, s:I, s:I, s:I, s:b}", "small_pool_count",
			(json_int_t)options->small_pool_count, "large_pool_count",
			(json_int_t)options->large_pool_count, "small_bufsize",
			(json_int_t)options->small_bufsize, "large_bufsize",
			(json_int_t)options->large_bufsize, "enable_numa",
			(int)options->enable_numa));
}

void accel_write_config(struct config_writer *writer)
{
	const struct accel_options *options = &writer->control->startup.accel;

	if (writer->stored && !options->is_set)
		return;
	config_add(writer, "accel_set_options",
		json_pack("{s:I, s:I, s:I, s:I, s:I}", "small_cache_size",
			(json_int_t)options->small_cache_size, "large_cache_size",
			(json_int_t)options->large_cache_size, "task_count",
			(json_int_t)options->task_count, "sequence_count",
			(json_int_t)options->sequence_count, "buf_count",
			(json_int_t)options->buf_count));
}

void bdev_options_write_config(struct config_writer *writer)
{
	const struct bdev_options *options = &writer->control->startup.bdev;

	if (writer->stored && !options->is_set)
		return;
	config_add(writer, "bdev_set_options",
		json_pack("{s:I, s:I, s:b, s:I, s:I}", "bdev_io_pool_size",
			(json_int_t)options->io_pool_size, "bdev_io_cache_size",
			(json_int_t)options->io_cache_size, "bdev_auto_examine", 1,
			"iobuf_small_cache_size", (json_int_t)options->small_cache_size,
			"iobuf_large_cache_size", (json_int_t)options->large_cache_size));
}

const struct rpc_method option_methods[] = {
	{"iobuf_set_options", RPC_STARTUP, iobuf_set_options, iobuf_table,
		sizeof(struct iobuf_params), .changes_configuration = true,
		.decode_error = {RPC_INVALID_PARAMS, "spdk_json_decode_object failed"}},
	{"bdev_set_options", RPC_STARTUP, bdev_set_options, bdev_options_table,
		sizeof(struct bdev_options_params), .changes_configuration = true,
		.decode_error = {RPC_INVALID_PARAMS, "Invalid parameters"}},
	{"accel_set_options", RPC_STARTUP, accel_set_options, accel_table,
		sizeof(struct accel_params), .changes_configuration = true,
		.decode_error = {RPC_PARSE_ERROR, "spdk_json_decode_object failed"}},
	{0},
};
