/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bdev_enable_histogram, bdev_get_histogram, bdev_get_histogram_borders.
 *
 * Ticks are nanoseconds, as everywhere here. What is told is the sum over the types of requests
 * that are counted: all of them, unless one is chosen.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/base64.h"
#include "base/endian.h"
#include "control/config_impl.h"

#define BORDERS_MAX 256

/* ---- on and off ---------------------------------------------------------------------------- */

struct enable_params {
	const char *name;
	bool enable;
	const char *opc;
	uint32_t granularity;
	uint64_t min_nsec;
	uint64_t max_nsec;
};

static const struct rpc_param enable_table[] = {
	{PARAM(RPC_STRING, enable_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_BOOL, enable_params, enable), .flags = RPC_REQUIRED},
	{PARAM(RPC_STRING, enable_params, opc)},
	{PARAM(RPC_U32, enable_params, granularity), .value = 7},
	{PARAM(RPC_U64, enable_params, min_nsec), .value = 1000},
	{PARAM(RPC_U64, enable_params, max_nsec), .value = 120000000000},
	{0},
};

static const struct {
	const char *name;
	enum bdev_io_type type;
} types[] = {
	{"read", BDEV_IO_READ},
	{"write", BDEV_IO_WRITE},
	{"unmap", BDEV_IO_UNMAP},
	{"flush", BDEV_IO_FLUSH},
	{"write_zeroes", BDEV_IO_WRITE_ZEROES},
};

/* 0: no such type. */
static unsigned types_of(const char *opc)
{
	if (!opc)
		return (1u << BDEV_IO_TYPES) - 1;
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (strcmp(types[i].name, opc) == 0)
			return 1u << types[i].type;
	return 0;
}

/* NULL: all of them. */
static const char *opc_of(unsigned mask)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (mask == 1u << types[i].type)
			return types[i].name;
	return NULL;
}

static void enable_answer(void *request, int rc)
{
	if (rc)
		rpc_request_fail(request, rc, NULL);
	else
		rpc_request_finish(request, NULL);
}

static void bdev_enable_histogram(struct rpc_request *request, const void *params, void *context)
{
	const struct enable_params *wanted = params;
	struct reason reason = {0};
	const struct bdev_histogram_options options = {
		.granularity = wanted->granularity,
		.min_ns = wanted->min_nsec,
		.max_ns = wanted->max_nsec,
		.types = types_of(wanted->opc),
	};
	bool enable = wanted->enable;
	struct bdev *bdev = bdev_find_or_fail(context, request, wanted->name);

	if (!bdev)
		return;
	if (!options.types) {
		rpc_request_fail_text(request, RPC_INTERNAL_ERROR, "Invalid Io type", NULL);
		return;
	}
	if (enable && (options.granularity > BDEV_HISTOGRAM_GRANULARITY_MAX ||
			      options.min_ns > options.max_ns)) {
		reason_set(&reason, -EINVAL,
			"granularity is up to %u, and min_nsec not beyond max_nsec",
			BDEV_HISTOGRAM_GRANULARITY_MAX);
		rpc_request_fail(request, -EINVAL, &reason);
		return;
	}
	bdev_set_histogram(bdev, enable ? &options : NULL, enable_answer, request);
}

/* ---- told ---------------------------------------------------------------------------------- */

struct histogram_call {
	struct rpc_request *request;
	struct bdev_histogram *histogram;
	json_t *(*encode)(const struct histogram_call *call);
	unsigned borders_count;
	uint64_t borders_ns[BORDERS_MAX];
};

static uint64_t count_all(const struct bdev_histogram *histogram, unsigned bucket)
{
	uint64_t count = 0;

	for (unsigned type = 0; type < BDEV_IO_TYPES; type++)
		count += bdev_histogram_count(histogram, type, bucket);
	return count;
}

static json_t *histogram_encode(const struct histogram_call *call)
{
	const struct bdev_histogram *histogram = call->histogram;
	size_t size = histogram->buckets * sizeof(uint64_t);
	uint8_t *counts = malloc(size);
	char *text = malloc(base64_length(size) + 1);
	json_t *told = NULL;

	for (unsigned i = 0; counts && i < histogram->buckets; i++)
		le64_put(counts + i * sizeof(uint64_t), count_all(histogram, i));
	if (counts && text) {
		base64_encode(counts, size, text);
		told = json_pack("{s:s, s:i, s:i, s:i, s:I}", "histogram", text, "granularity",
			(int)histogram->options.granularity, "min_range", (int)histogram->min_range,
			"max_range", (int)histogram->max_range, "tsc_rate", (json_int_t)SEC_NS);
	}
	free(counts);
	free(text);
	return told;
}

/* A bucket belongs to the first border that it ends at or before. */
static json_t *borders_encode(const struct histogram_call *call)
{
	uint64_t counts[BORDERS_MAX + 1] = {0};
	json_t *list = json_array();
	unsigned border = 0;

	for (unsigned i = 0; i < call->histogram->buckets; i++) {
		uint64_t end_ns = bdev_histogram_bucket_end(call->histogram, i);

		while (border < call->borders_count && end_ns > call->borders_ns[border])
			border++;
		counts[border] += count_all(call->histogram, i);
	}
	for (unsigned i = 0; i <= call->borders_count; i++)
		json_array_append_new(list, json_integer((json_int_t)counts[i]));
	return json_pack("{s:o}", "borders_count", list);
}

static void histogram_taken(void *arg, int rc)
{
	struct histogram_call *call = arg;
	json_t *told = rc ? NULL : call->encode(call);
	struct reason reason = {0};

	/* The known answer when nothing is counted. */
	if (rc == -ENOENT) {
		reason_set(&reason, -ENOMEM,
			"its histogram is off: bdev_enable_histogram switches it on");
		rpc_request_fail(call->request, -ENOMEM, &reason);
	} else if (!told) {
		rpc_request_fail(call->request, rc ? rc : -ENOMEM, NULL);
	} else {
		rpc_request_finish(call->request, told);
	}
	free(call->histogram);
	free(call);
}

static struct histogram_call *histogram_call_create(
	struct rpc_request *request, json_t *(*encode)(const struct histogram_call *call))
{
	struct histogram_call *call = alloc_op(sizeof(*call));

	call->request = request;
	call->encode = encode;
	return call;
}

static void bdev_get_histogram_method(
	struct rpc_request *request, const void *params, void *context)
{
	const struct bdev_name_params *wanted = params;
	struct bdev *bdev = bdev_find_or_fail(context, request, wanted->name);
	struct histogram_call *call;

	if (!bdev)
		return;
	call = histogram_call_create(request, histogram_encode);
	bdev_get_histogram(bdev, &call->histogram, histogram_taken, call);
}

struct borders_params {
	const char *name;
	const json_t *borders;
};

static const struct rpc_param borders_table[] = {
	{PARAM(RPC_STRING, borders_params, name), .flags = RPC_REQUIRED},
	{PARAM(RPC_JSON, borders_params, borders), .flags = RPC_REQUIRED},
	{0},
};

static int borders_read(const json_t *borders, struct histogram_call *call, struct reason *reason)
{
	uint64_t before_ns = 0;

	if (!json_is_array(borders) || json_array_size(borders) == 0 ||
		json_array_size(borders) > BORDERS_MAX)
		return reason_set(
			reason, -EINVAL, "borders is an array of up to %u numbers", BORDERS_MAX);
	for (size_t i = 0; i < json_array_size(borders); i++) {
		const json_t *border = json_array_get(borders, i);
		json_int_t us = json_integer_value(border);

		if (!json_is_integer(border) || us < 0 || us > INT64_MAX / 1000 ||
			(uint64_t)us * 1000 < before_ns)
			return reason_set(reason, -EINVAL,
				"borders are microseconds, each at least the one before");
		before_ns = call->borders_ns[call->borders_count++] = (uint64_t)us * 1000;
	}
	return 0;
}

static void bdev_get_histogram_borders(
	struct rpc_request *request, const void *params, void *context)
{
	const struct borders_params *wanted = params;
	struct bdev *bdev = bdev_find_or_fail(context, request, wanted->name);
	struct histogram_call *call;
	struct reason reason = {0};
	int rc;

	if (!bdev)
		return;
	call = histogram_call_create(request, borders_encode);
	rc = borders_read(wanted->borders, call, &reason);
	if (rc) {
		free(call);
		rpc_request_fail(request, rc, &reason);
		return;
	}
	bdev_get_histogram(bdev, &call->histogram, histogram_taken, call);
}

void histogram_write_config(struct config_writer *writer, const struct bdev *bdev)
{
	const struct bdev_histogram_options *options;

	if (!bdev->histogram)
		return;
	options = &bdev->histogram->options;
	config_add(writer, "bdev_enable_histogram",
		json_pack("{s:s, s:b, s:s*, s:I, s:I, s:I}", "name", bdev->name, "enable", 1, "opc",
			opc_of(options->types), "granularity", (json_int_t)options->granularity,
			"min_nsec", (json_int_t)options->min_ns, "max_nsec",
			(json_int_t)options->max_ns));
}

const struct rpc_method bdev_histogram_methods[] = {
	{"bdev_enable_histogram", RPC_RUNTIME, bdev_enable_histogram, enable_table,
		sizeof(struct enable_params), .changes_configuration = true,
		.decode_error = RPC_DECODE_ERROR},
	{"bdev_get_histogram", RPC_RUNTIME, bdev_get_histogram_method, bdev_name_table,
		sizeof(struct bdev_name_params), .decode_error = RPC_DECODE_ERROR},
	{"bdev_get_histogram_borders", RPC_RUNTIME, bdev_get_histogram_borders, borders_table,
		sizeof(struct borders_params), .decode_error = RPC_DECODE_ERROR},
	{0},
};
