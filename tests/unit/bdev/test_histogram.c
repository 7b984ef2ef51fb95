/* SPDX-License-Identifier: BSD-2-Clause */
/* Histograms of latency: which request is in which bucket. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"

#define SIZE (1 * MIB)

struct counted {
	struct world world;
	struct fake fake;
	struct world_user user;
	struct bdev_channel *channel;
};

struct histogram_call {
	struct world_call call;
	const struct bdev_histogram_options *options;
	struct bdev_histogram *histogram;
};

static void set_run(struct world_call *call)
{
	bdev_set_histogram(call->bdev, container_of(call, struct histogram_call, call)->options,
		world_done, call);
}

static void get_run(struct world_call *call)
{
	bdev_get_histogram(call->bdev, &container_of(call, struct histogram_call, call)->histogram,
		world_done, call);
}

static void histogram_set(struct counted *c, const struct bdev_histogram_options *options)
{
	struct histogram_call call = {
		.call = {.run = set_run, .bdev = &c->fake.bdev}, .options = options};

	assert_int_equal(world_run(&c->world, c->world.control, &call.call), 0);
}

static int histogram_get(struct counted *c, struct bdev_histogram **ret_histogram)
{
	struct histogram_call call = {.call = {.run = get_run, .bdev = &c->fake.bdev}};
	int rc = world_run(&c->world, c->world.control, &call.call);

	*ret_histogram = call.histogram;
	return rc;
}

static void counted_start(struct counted *c)
{
	memset(c, 0, sizeof(*c));
	world_start(&c->world, 1);
	fake_init(&c->fake, "counted", SIZE);
	c->fake.latency_ns = 300 * USEC_NS;
	assert_int_equal(fake_register(&c->world, &c->fake, NULL), 0);
	world_user_init(&c->user, "first");
	assert_int_equal(world_open(&c->world, &c->fake.bdev, &c->user, NULL), 0);
	assert_int_equal(world_channel_open(&c->world, &c->user, 0, &c->channel), 0);
}

static void counted_end(struct counted *c)
{
	world_channel_close(&c->world, c->channel);
	world_close(&c->world, &c->user);
	assert_int_equal(world_unregister(&c->world, &c->fake.bdev), 0);
	world_end(&c->world);
}

static uint64_t count_of(const struct bdev_histogram *histogram, unsigned type)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < histogram->buckets; i++)
		count += bdev_histogram_count(histogram, type, i);
	return count;
}

static const struct bdev_histogram_options usual = {.granularity = 7,
	.min_ns = 1000,
	.max_ns = 120 * SEC_NS,
	.types = 1 << BDEV_IO_READ | 1 << BDEV_IO_WRITE};

static void each_request_is_counted_once_whatever_channel_it_went_by(void **state)
{
	struct bdev_histogram *histogram;
	struct counted c;
	uint8_t buf[512] = {0};

	counted_start(&c);
	assert_int_equal(histogram_get(&c, &histogram), -ENOENT);
	assert_int_equal(world_read(&c.world, c.channel, buf, 0, 512), 0);
	histogram_set(&c, &usual);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(world_read(&c.world, c.channel, buf, 0, 512), 0);
	world_channel_close(&c.world, c.channel);
	assert_int_equal(world_channel_open(&c.world, &c.user, 1, &c.channel), 0);
	for (unsigned i = 0; i < 5; i++)
		assert_int_equal(world_write(&c.world, c.channel, buf, 0, 512), 0);
	assert_int_equal(world_io(&c.world, c.channel, BDEV_IO_FLUSH, 0, NULL, 0, 0, SIZE), 0);
	assert_int_equal(histogram_get(&c, &histogram), 0);
	assert_int_equal(histogram->min_range, 3);
	assert_int_equal(histogram->max_range, 30);
	assert_int_equal(histogram->buckets, 28 * 128);
	assert_int_equal(count_of(histogram, BDEV_IO_READ), 20);
	assert_int_equal(count_of(histogram, BDEV_IO_WRITE), 5);
	assert_int_equal(count_of(histogram, BDEV_IO_FLUSH), 0); /* was not asked for */
	free(histogram);
	histogram_set(&c, &usual);
	assert_int_equal(histogram_get(&c, &histogram), 0);
	assert_int_equal(count_of(histogram, BDEV_IO_READ), 0);
	free(histogram);
	histogram_set(&c, NULL);
	assert_int_equal(histogram_get(&c, &histogram), -ENOENT);
	counted_end(&c);
}

/* The statistics know how long one request took: its bucket ends beyond, the one before does
 * not. */
static void a_request_is_in_the_bucket_of_its_time(void **state)
{
	static const unsigned granularities[] = {0, 3, 7, 12};
	uint8_t buf[512];

	for (unsigned g = 0; g < ARRAY_SIZE(granularities); g++) {
		struct bdev_histogram_options options = usual;
		struct bdev_histogram *histogram;
		struct bdev_io_stats stats;
		struct counted c;
		unsigned bucket = 0;

		counted_start(&c);
		options.granularity = granularities[g];
		options.min_ns = 0;
		histogram_set(&c, &options);
		assert_int_equal(world_read(&c.world, c.channel, buf, 0, 512), 0);
		world_stats(&c.world, &c.fake.bdev, &stats);
		assert_int_equal(histogram_get(&c, &histogram), 0);
		while (!bdev_histogram_count(histogram, BDEV_IO_READ, bucket))
			bucket++;
		assert_int_equal(bdev_histogram_count(histogram, BDEV_IO_READ, bucket), 1);
		assert_true(stats.of[BDEV_IO_READ].latency_ns <
			    bdev_histogram_bucket_end(histogram, bucket));
		if (bucket)
			assert_true(stats.of[BDEV_IO_READ].latency_ns >=
				    bdev_histogram_bucket_end(histogram, bucket - 1));
		free(histogram);
		counted_end(&c);
	}
}

static void times_beyond_either_end_are_in_the_first_or_last_bucket(void **state)
{
	static const struct bdev_histogram_options above = {
		.granularity = 4, .min_ns = 1, .max_ns = 100, .types = 1 << BDEV_IO_READ};
	static const struct bdev_histogram_options below = {.granularity = 4,
		.min_ns = SEC_NS,
		.max_ns = 2 * SEC_NS,
		.types = 1 << BDEV_IO_READ};
	struct bdev_histogram *histogram;
	struct counted c;
	uint8_t buf[512];

	counted_start(&c);
	histogram_set(&c, &above);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(world_read(&c.world, c.channel, buf, 0, 512), 0);
	assert_int_equal(histogram_get(&c, &histogram), 0);
	assert_true(bdev_histogram_count(histogram, BDEV_IO_READ, histogram->buckets - 1) >= 45);
	free(histogram);
	histogram_set(&c, &below);
	for (unsigned i = 0; i < 50; i++)
		assert_int_equal(world_read(&c.world, c.channel, buf, 0, 512), 0);
	assert_int_equal(histogram_get(&c, &histogram), 0);
	assert_int_equal(bdev_histogram_count(histogram, BDEV_IO_READ, 0), 50);
	free(histogram);
	counted_end(&c);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_request_is_counted_once_whatever_channel_it_went_by),
		cmocka_unit_test(a_request_is_in_the_bucket_of_its_time),
		cmocka_unit_test(times_beyond_either_end_are_in_the_first_or_last_bucket),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
