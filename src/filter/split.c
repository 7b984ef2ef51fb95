/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device divided into parts of equal size. Parts that do not fit any more are left out: a base
 * that is smaller than what was asked for gives fewer of them.
 */
#include <errno.h>
#include <stdio.h>

#include "filter/filter_impl.h"

#define SPLIT_COUNT_MAX 4096

struct split {
	struct filter filter;
	uint64_t size_mib;
};

static const struct split *split_of(const struct filter *filter)
{
	return container_of((struct filter *)(uintptr_t)filter, struct split, filter);
}

static int split_fit(struct filter *filter, const struct bdev *base, struct reason *reason)
{
	uint64_t size = split_of(filter)->size_mib * MIB;
	uint64_t count = filter->parts_count;
	uint32_t unit = base->io_unit_size ? base->io_unit_size : base->block_size;

	if (!size)
		size = bdev_size(base) / count;
	size = align_down(size, unit);
	if (size == 0 || size > bdev_size(base))
		return reason_set(reason, -EINVAL,
			"%s has %llu bytes, too few for %s: ask for fewer or smaller parts",
			base->name, (unsigned long long)bdev_size(base),
			size ? "a part of that size" : "so many parts");
	for (unsigned i = 0; i < count; i++) {
		filter->parts[i].offset = i * size;
		filter->parts[i].bdev.size_bytes = size;
		filter->parts[i].absent = bdev_size(base) / size <= i;
	}
	return 0;
}

static json_t *split_describe(const struct bdev *bdev)
{
	const struct filter_part *part = filter_part_of(bdev);

	return json_pack("{s:{s:s, s:I}}", "split", "base_bdev", part->filter->base.bdev->name,
		"offset_blocks", (json_int_t)(part->offset / bdev->block_size));
}

static const struct bdev_ops split_ops = {
	.product_name = "Split Disk",
	.module = "split",
	.submit = filter_forward,
	.channel_size = sizeof(struct filter_channel),
	.channel_init = filter_channel_init,
	.channel_prepare = filter_channel_prepare,
	.channel_release = filter_channel_release,
	.supports = filter_supports,
	.describe = split_describe,
	.destroy = filter_part_destroy,
};

static const struct bdev_user_ops split_user_ops = FILTER_USER_OPS("split");

static const struct filter_kind split_kind = {
	.type = FILTER_SPLIT,
	.namespace = "976b899e-3e1e-4d71-ab69-c2b08e9df8b8",
	.text = "split",
	.ops = &split_ops,
	.user_ops = &split_user_ops,
	.fit = split_fit,
};

static int split_check(
	struct filters *filters, const struct split_options *options, struct reason *reason)
{
	if (options->count == 0 || options->count > SPLIT_COUNT_MAX)
		return reason_set(
			reason, -EINVAL, "a device is split into 1 to %u parts", SPLIT_COUNT_MAX);
	if (options->size_mib > INT64_MAX / MIB)
		return reason_set(reason, -EINVAL, "the size of a part is in MiB");
	if (filter_find(filters, FILTER_SPLIT, options->base))
		return reason_set(reason, -EEXIST, "%s is split already", options->base);
	return 0;
}

static int split_name_parts(struct filter *filter, struct reason *reason)
{
	char name[512];
	int rc = 0;

	for (unsigned i = 0; !rc && i < filter->parts_count; i++) {
		if (snprintf(name, sizeof(name), "%sp%u", filter->base_name, i) >=
			(int)sizeof(name))
			return reason_set(reason, -ENAMETOOLONG,
				"the name of the device is too "
				"long");
		rc = filter_name_part(filter, i, name, reason);
	}
	return rc;
}

void split_create(struct filters *filters, const struct split_options *options,
	struct reason *reason, done_fn done, void *arg)
{
	const struct filter_options named = {.name = options->base, .base = options->base};
	int rc = split_check(filters, options, reason);
	struct filter *filter = NULL;

	if (!rc) {
		filter = filter_alloc(
			filters, &split_kind, sizeof(struct split), &named, options->count);
		rc = filter ? split_name_parts(filter, reason) : -ENOMEM;
	}
	if (filter)
		container_of(filter, struct split, filter)->size_mib = options->size_mib;
	filter_start(filters, filter, rc, reason, done, arg);
}

void split_get_options(const struct filter *filter, struct split_options *ret_options)
{
	*ret_options = (struct split_options){
		.base = filter->base_name,
		.count = filter->parts_count,
		.size_mib = split_of(filter)->size_mib,
	};
}
