/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A device that is another one under a second name.
 */
#include <errno.h>

#include "filter/filter_impl.h"

static json_t *passthru_describe(const struct bdev *bdev)
{
	const struct filter *filter = filter_part_of(bdev)->filter;

	return json_pack("{s:{s:s, s:s}}", "passthru", "name", filter->name, "base_bdev_name",
		filter->base.bdev->name);
}

static const struct bdev_ops passthru_ops = {
	.product_name = "passthru",
	.module = "passthru",
	.submit = filter_forward,
	.channel_size = sizeof(struct filter_channel),
	.channel_init = filter_channel_init,
	.channel_prepare = filter_channel_prepare,
	.channel_release = filter_channel_release,
	.supports = filter_supports,
	.describe = passthru_describe,
	.destroy = filter_part_destroy,
};

static const struct bdev_user_ops passthru_user_ops = FILTER_USER_OPS("passthru");

static const struct filter_kind passthru_kind = {
	.type = FILTER_PASSTHRU,
	.namespace = "7e25812e-c8c0-4d3f-8599-16d790555b85",
	.text = "passthru",
	.ops = &passthru_ops,
	.user_ops = &passthru_user_ops,
	.fit = filter_fit_all,
};

void passthru_create(struct filters *filters, const struct filter_options *options,
	struct reason *reason, done_fn done, void *arg)
{
	struct filter *filter = filter_alloc(filters, &passthru_kind, sizeof(*filter), options, 1);
	int rc = filter ? filter_name_part(filter, 0, options->name, reason) : -ENOMEM;

	filter_start(filters, filter, rc, reason, done, arg);
}
