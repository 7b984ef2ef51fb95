/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calls that make the filters again, in the order in which they were made: standing ones and
 * those that wait for their base. A base is called by its name of today, but where the names of the
 * filter's own devices are made from it (split, error).
 *
 * Keys are not told to anybody, so they are not kept: a crypto device is missing after a restart
 * until its key is given again.
 */
#include "control/config_impl.h"

static const char *base_name(const struct filter *filter)
{
	const struct bdev *device = filter_device(filter, 0);
	const struct bdev *below = device ? filter_bdev_below(device) : NULL;

	return below ? below->name : filter_base_name(filter);
}

/* NULL: none was given, and the next will be as this one. */
static json_t *uuid_config(const struct filter *filter)
{
	char text[UUID_STR_LEN];
	uuid_t uuid;

	filter_get_uuid(filter, uuid);
	if (uuid_is_null(uuid))
		return NULL;
	uuid_unparse_lower(uuid, text);
	return json_string(text);
}

static json_t *delay_config(const struct filter *filter)
{
	return json_pack("{s:s, s:s, s:o*, s:I, s:I, s:I, s:I}", "name", filter_name(filter),
		"base_bdev_name", base_name(filter), "uuid", uuid_config(filter),
		"avg_read_latency", (json_int_t)delay_get_latency(filter, DELAY_AVG_READ),
		"p99_read_latency", (json_int_t)delay_get_latency(filter, DELAY_P99_READ),
		"avg_write_latency", (json_int_t)delay_get_latency(filter, DELAY_AVG_WRITE),
		"p99_write_latency", (json_int_t)delay_get_latency(filter, DELAY_P99_WRITE));
}

static json_t *split_config(const struct filter *filter)
{
	struct split_options options;

	split_get_options(filter, &options);
	return json_pack("{s:s, s:I, s:I}", "base_bdev", filter_base_name(filter), "split_count",
		(json_int_t)options.count, "split_size_mb", (json_int_t)options.size_mib);
}

static void filter_write_config(struct filter *filter, void *writer)
{
	switch (filter_type(filter)) {
	case FILTER_PASSTHRU:
		config_add(writer, "bdev_passthru_create",
			json_pack("{s:s, s:s, s:o*}", "base_bdev_name", base_name(filter), "name",
				filter_name(filter), "uuid", uuid_config(filter)));
		break;
	case FILTER_SPLIT:
		config_add(writer, "bdev_split_create", split_config(filter));
		break;
	case FILTER_DELAY:
		config_add(writer, "bdev_delay_create", delay_config(filter));
		break;
	case FILTER_ERROR:
		config_add(writer, "bdev_error_create",
			json_pack("{s:s, s:o*}", "base_name", filter_base_name(filter), "uuid",
				uuid_config(filter)));
		break;
	case FILTER_CRYPTO:
		config_add(writer, "bdev_crypto_create",
			json_pack("{s:s, s:s, s:s}", "base_bdev_name", base_name(filter), "name",
				filter_name(filter), "key_name", crypto_key_name(filter)));
		break;
	}
}

void filters_write_config(struct config_writer *writer)
{
	filter_for_each(writer->control->options.filters, filter_write_config, writer);
}
