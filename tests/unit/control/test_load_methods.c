/* SPDX-License-Identifier: BSD-2-Clause */
/* The methods about what devices do, and may do, in a second. */
#include <string.h>

#include "control_world.h"

#define NULL_DEVICE                                                                                \
	{                                                                                          \
		"bdev_null_create", "{\"name\":\"n0\",\"num_blocks\":2048,\"block_size\":512}",    \
			"\"result\":\"n0\""                                                        \
	}
#define LIMITS(ios, rw, r, w)                                                                      \
	"\"assigned_rate_limits\":{\"rw_ios_per_sec\":" #ios ",\"rw_mbytes_per_sec\":" #rw         \
	",\"r_mbytes_per_sec\":" #r ",\"w_mbytes_per_sec\":" #w "}"

static void expect_limits(struct world *world, const char *limits)
{
	assert_non_null(strstr(world_call(world, "bdev_get_bdevs", "{\"name\":\"n0\"}"), limits));
}

static void limits_are_set_one_by_one_and_told(void **state)
{
	static const struct exchange exchanges[] = {
		NULL_DEVICE,
		{"bdev_set_qos_limit", "{\"name\":\"zz\",\"rw_ios_per_sec\":1000}", NO_DEVICE},
		{"bdev_set_qos_limit", "{\"name\":\"n0\"}", ERROR(-22, "No rate limits specified")},
		{"bdev_set_qos_limit", "{\"rw_ios_per_sec\":1000}", DECODE},
		{"bdev_set_qos_limit", "{\"name\":\"n0\",\"rw_ios_per_sec\":-1}", DECODE},
		{"bdev_set_qos_limit", "{\"name\":\"n0\",\"rw_ios_per_sec\":1001}", TRUE_RESULT},
	};
	struct world *world = world_start(false);

	EXPECT(world, exchanges);
	expect_limits(world, LIMITS(2000, 0, 0, 0));
	world_call(world, "bdev_set_qos_limit",
		"{\"name\":\"n0\",\"rw_mbytes_per_sec\":3,\"r_mbytes_per_sec\":2,"
		"\"w_mbytes_per_sec\":1}");
	expect_limits(world, LIMITS(2000, 3, 2, 1));
	world_call(world, "bdev_set_qos_limit",
		"{\"name\":\"n0\",\"rw_ios_per_sec\":0,\"r_mbytes_per_sec\":0}");
	expect_limits(world, LIMITS(0, 3, 0, 1));
	world_call(world, "bdev_set_qos_limit",
		"{\"name\":\"n0\",\"rw_mbytes_per_sec\":0,\"w_mbytes_per_sec\":0}");
	expect_limits(world, LIMITS(0, 0, 0, 0));
	world_end(world);
}

/* Examining it for a volume store has read the first page. */
static void what_a_device_has_done_is_told_and_forgotten(void **state)
{
	static const struct exchange exchanges[] = {
		NULL_DEVICE,
		{"bdev_get_iostat", "{\"names\":[\"zz\"]}", NO_DEVICE},
		{"bdev_get_iostat", "{\"name\":\"zz\"}", NO_DEVICE},
		{"bdev_get_iostat", "{\"names\":\"n0\"}", DECODE},
		{"bdev_get_iostat", "{\"names\":[1]}", DECODE},
		{"bdev_get_iostat", "{\"per_channel\":true}", INVALID},
		{"bdev_get_iostat", "{\"per_channel\":true,\"names\":[\"n0\",\"n0\"]}", INVALID},
		{"bdev_get_iostat", "{\"reset_mode\":\"zz\"}", DECODE},
		{"bdev_reset_iostat", "{\"name\":\"zz\"}", NO_DEVICE},
	};
	struct world *world = world_start(false);
	const char *told;

	EXPECT(world, exchanges);
	told = world_call(world, "bdev_get_iostat", "{\"names\":[\"n0\"]}");
	assert_non_null(strstr(told, "\"tick_rate\":1000000000,\"ticks\":"));
	assert_non_null(strstr(told, "\"bdevs\":[{\"name\":\"n0\",\"bytes_read\":4096,"
				     "\"num_read_ops\":1,"));
	assert_non_null(strstr(told, "\"num_copy_ops\":0"));
	assert_non_null(strstr(told, "\"io_error\":{}}]"));
	assert_non_null(
		strstr(world_call(world, "bdev_get_iostat", "{\"names\":[]}"), "\"bdevs\":[]"));
	assert_non_null(strstr(
		world_call(world, "bdev_get_iostat", "{\"name\":\"n0\",\"per_channel\":true}"),
		"\"name\":\"n0\",\"channels\":["));
	assert_string_equal(
		world_call(world, "bdev_reset_iostat", "{\"name\":\"n0\"}"), TRUE_RESULT);
	assert_non_null(strstr(world_call(world, "bdev_get_iostat", NULL),
		"\"name\":\"n0\",\"bytes_read\":0,\"num_read_ops\":0,"));
	world_end(world);
}

static void histograms_are_told_while_they_are_on(void **state)
{
	static const struct exchange before[] = {
		NULL_DEVICE,
		{"bdev_get_histogram", "{\"name\":\"n0\"}", ERROR(-12, "Cannot allocate memory")},
		{"bdev_get_histogram", "{\"name\":\"zz\"}", NO_DEVICE},
		{"bdev_enable_histogram", "{\"name\":\"zz\",\"enable\":true}", NO_DEVICE},
		{"bdev_enable_histogram", "{\"name\":\"n0\",\"enable\":true,\"opc\":\"zz\"}",
			ERROR(-32603, "Invalid Io type")},
		{"bdev_enable_histogram", "{\"name\":\"n0\",\"enable\":true,\"granularity\":13}",
			INVALID},
		{"bdev_enable_histogram",
			"{\"name\":\"n0\",\"enable\":true,\"min_nsec\":5,\"max_nsec\":4}", INVALID},
		{"bdev_enable_histogram", "{\"name\":\"n0\",\"enable\":true}", TRUE_RESULT},
		{"bdev_get_histogram_borders", "{\"name\":\"n0\",\"borders\":[10,100]}",
			"\"result\":{\"borders_count\":[0,0,0]}"},
		{"bdev_get_histogram_borders", "{\"name\":\"n0\",\"borders\":[10,9]}", INVALID},
		{"bdev_get_histogram_borders", "{\"name\":\"n0\",\"borders\":[]}", INVALID},
		{"bdev_get_histogram_borders", "{\"name\":\"n0\",\"borders\":[\"1\"]}", INVALID},
	};
	static const struct exchange after[] = {
		{"bdev_enable_histogram", "{\"name\":\"n0\",\"enable\":false}", TRUE_RESULT},
		{"bdev_get_histogram", "{\"name\":\"n0\"}", ERROR(-12, "Cannot allocate memory")},
	};
	struct world *world = world_start(false);
	const char *told;

	EXPECT(world, before);
	told = world_call(world, "bdev_get_histogram", "{\"name\":\"n0\"}");
	assert_non_null(strstr(told, "\"result\":{\"histogram\":\"AAAA"));
	assert_non_null(strstr(told, "\"granularity\":7,\"min_range\":3,\"max_range\":30,"
				     "\"tsc_rate\":1000000000}"));
	EXPECT(world, after);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_are_set_one_by_one_and_told),
		cmocka_unit_test(histograms_are_told_while_they_are_on),
		cmocka_unit_test(what_a_device_has_done_is_told_and_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
