/* SPDX-License-Identifier: BSD-2-Clause */
/* The bdev methods: results, and every error with its code and text. */
#include <stdio.h>
#include <string.h>

#include "control_world.h"

#define UUID "3f0e6a1c-9d55-4a43-8d11-52c7be1f0a77"

static void null_devices_are_created_and_refused_as_clients_expect(void **state)
{
	static const struct exchange exchanges[] = {
		{"bdev_null_create", "{\"name\":\"n0\",\"num_blocks\":2048,\"block_size\":512}",
			"\"result\":\"n0\""},
		{"bdev_null_create", "{\"name\":\"n0\",\"num_blocks\":2048,\"block_size\":512}",
			EXISTS},
		{"bdev_null_create",
			"{\"name\":\"n1\",\"num_blocks\":8,\"block_size\":4096,\"uuid\":\"" UUID
			"\",\"physical_block_size\":4096,\"md_size\":0,\"dif_type\":0,"
			"\"dif_is_head_of_md\":false,\"dif_pi_format\":0}",
			"\"result\":\"n1\""},
		{"bdev_null_create",
			"{\"name\":\"n2\",\"num_blocks\":8,\"block_size\":512,\"uuid\":\"" UUID
			"\"}",
			EXISTS},
		{"bdev_null_create", "{\"name\":\"" UUID "\",\"num_blocks\":8,\"block_size\":512}",
			EXISTS},
		{"bdev_null_create", "{\"name\":\"\",\"num_blocks\":8,\"block_size\":512}",
			INVALID},
		{"bdev_null_create", "{\"name\":\"n2\",\"num_blocks\":0,\"block_size\":512}",
			INVALID},
		{"bdev_null_create", "{\"name\":\"n2\",\"num_blocks\":8,\"block_size\":0}",
			INVALID},
		{"bdev_null_create", "{\"name\":\"n2\",\"num_blocks\":8,\"block_size\":513}",
			INVALID},
		{"bdev_null_create",
			"{\"name\":\"n2\",\"num_blocks\":4611686018427387904,\"block_size\":4096}",
			INVALID},
		{"bdev_null_create",
			"{\"name\":\"n2\",\"num_blocks\":8,\"block_size\":512,\"md_size\":8}",
			INVALID},
		{"bdev_null_create",
			"{\"name\":\"n2\",\"num_blocks\":8,\"block_size\":512,\"dif_type\":1}",
			INVALID},
		{"bdev_null_create", "{\"num_blocks\":8,\"block_size\":512}", DECODE},
		{"bdev_null_create", "{\"name\":\"n2\",\"num_blocks\":\"8\",\"block_size\":512}",
			DECODE},
		{"bdev_null_create",
			"{\"name\":\"n2\",\"num_blocks\":8,\"block_size\":512,\"zz\":1}", DECODE},
		{"bdev_null_create",
			"{\"name\":\"n2\",\"num_blocks\":8,\"block_size\":512,\"uuid\":\"5\"}",
			DECODE},
		{"bdev_null_create", NULL, DECODE},
		{"bdev_null_resize", "{\"name\":\"n0\",\"new_size\":2}", TRUE_RESULT},
		{"bdev_null_resize", "{\"name\":\"n0\",\"new_size\":1}", INVALID},
		{"bdev_null_resize", "{\"name\":\"n0\",\"new_size\":9223372036854775807}", INVALID},
		{"bdev_null_resize", "{\"name\":\"zz\",\"new_size\":4}", NO_DEVICE},
		{"bdev_null_resize", "{\"name\":\"n0\"}", DECODE},
		{"bdev_null_delete", "{\"name\":\"zz\"}", NO_DEVICE},
		{"bdev_malloc_delete", "{\"name\":\"n0\"}", NO_DEVICE},
		{"bdev_aio_delete", "{\"name\":\"n0\"}", NO_DEVICE},
		{"bdev_uring_delete", "{\"name\":\"n0\"}", NO_DEVICE},
		{"bdev_null_delete", "{\"name\":5}", DECODE},
		{"bdev_null_delete", "{\"name\":\"n0\"}", TRUE_RESULT},
		{"bdev_null_delete", "{\"name\":\"n0\"}", NO_DEVICE},
		{"bdev_null_delete", "{\"name\":\"" UUID "\"}", TRUE_RESULT},
		{"bdev_get_bdevs", NULL, "\"result\":[]"},
	};
	struct world *world = world_start(false);

	EXPECT(world, exchanges);
	world_end(world);
}

static void malloc_devices_are_created_and_refused_as_clients_expect(void **state)
{
	static const struct exchange exchanges[] = {
		{"bdev_malloc_create", "{\"num_blocks\":16,\"block_size\":512}",
			"\"result\":\"Malloc0\""},
		{"bdev_malloc_create", "{\"num_blocks\":16,\"block_size\":512,\"name\":\"m\"}",
			"\"result\":\"m\""},
		{"bdev_malloc_create",
			"{\"num_blocks\":16,\"block_size\":4096,\"numa_id\":-1,"
			"\"optimal_io_boundary\":0,\"md_interleave\":false}",
			"\"result\":\"Malloc1\""},
		{"bdev_malloc_delete", "{\"name\":\"Malloc0\"}", TRUE_RESULT},
		{"bdev_malloc_create", "{\"num_blocks\":16,\"block_size\":512}",
			"\"result\":\"Malloc2\""},
		{"bdev_malloc_create", "{\"num_blocks\":16,\"block_size\":512,\"name\":\"m\"}",
			EXISTS},
		{"bdev_malloc_create", "{\"num_blocks\":16,\"block_size\":512,\"name\":\"\"}",
			INVALID},
		{"bdev_malloc_create", "{\"num_blocks\":0,\"block_size\":512}", INVALID},
		{"bdev_malloc_create", "{\"num_blocks\":16,\"block_size\":1000}", INVALID},
		{"bdev_malloc_create", "{\"num_blocks\":16,\"block_size\":512,\"md_size\":3}",
			INVALID},
		{"bdev_malloc_create", "{\"num_blocks\":1099511627776,\"block_size\":4096}",
			ERROR(-12, "Cannot allocate memory")},
		{"bdev_malloc_create", "{\"block_size\":512}", DECODE},
		{"bdev_malloc_create", "{\"num_blocks\":16,\"block_size\":512,\"name\":null}",
			DECODE},
		{"bdev_malloc_delete", "{\"name\":\"zz\"}", NO_DEVICE},
		{"bdev_null_resize", "{\"name\":\"m\",\"new_size\":4}", INVALID},
	};
	struct world *world = world_start(false);

	EXPECT(world, exchanges);
	world_end(world);
}

static void file_devices_are_created_and_refused_as_clients_expect(void **state)
{
	static const struct exchange exchanges[] = {
		{"bdev_aio_create",
			"{\"name\":\"a\",\"filename\":\"/disk\",\"readonly\":false,"
			"\"fallocate\":true,\"nowait\":false,\"uuid\":\"" UUID "\"}",
			"\"result\":\"a\""},
		{"bdev_aio_create", "{\"name\":\"a\",\"filename\":\"/disk\"}", EXISTS},
		{"bdev_aio_create", "{\"name\":\"b\",\"filename\":\"/none\"}",
			ERROR(-2, "No such file or directory")},
		{"bdev_aio_create", "{\"name\":\"b\",\"filename\":\"/empty\"}", INVALID},
		{"bdev_aio_create", "{\"name\":\"b\",\"filename\":\"/odd\"}", INVALID},
		{"bdev_aio_create", "{\"name\":\"b\",\"filename\":\"/disk\",\"block_size\":500}",
			INVALID},
		{"bdev_aio_create", "{\"name\":\"b\",\"filename\":\"/small\",\"block_size\":4096}",
			INVALID},
		{"bdev_aio_create", "{\"name\":\"\",\"filename\":\"/disk\"}", INVALID},
		{"bdev_aio_create", "{\"name\":\"b\"}", DECODE},
		{"bdev_aio_create", "{\"name\":\"b\",\"filename\":\"/disk\",\"readonly\":0}",
			DECODE},
		{"bdev_uring_create", "{\"name\":\"u\",\"filename\":\"/disk\",\"block_size\":4096}",
			"\"result\":\"u\""},
		{"bdev_uring_create", "{\"name\":\"u\",\"filename\":\"/disk\"}",
			ERROR(-32603, "Unable to create URING bdev.")},
		{"bdev_uring_create", "{\"name\":\"v\",\"filename\":\"/none\"}",
			ERROR(-32603, "Unable to create URING bdev.")},
		{"bdev_uring_create", "{\"name\":\"v\",\"filename\":\"/disk\",\"readonly\":true}",
			DECODE},
		{"bdev_aio_delete", "{\"name\":\"u\"}", NO_DEVICE},
		{"bdev_uring_delete", "{\"name\":\"a\"}", NO_DEVICE},
		{"bdev_aio_rescan", "{\"name\":\"u\"}", NO_DEVICE},
		{"bdev_aio_rescan", "{\"name\":\"zz\"}", NO_DEVICE},
		{"bdev_uring_rescan", "{\"name\":\"zz\"}", NO_DEVICE},
		{"bdev_aio_rescan", "{}", DECODE},
		{"bdev_aio_rescan", "{\"name\":\"a\"}", TRUE_RESULT},
		{"bdev_uring_rescan", "{\"name\":\"u\"}", TRUE_RESULT},
		{"bdev_aio_delete", "{\"name\":\"a\"}", TRUE_RESULT},
		{"bdev_uring_delete", "{\"name\":\"u\"}", TRUE_RESULT},
		{"bdev_get_bdevs", "{}", "\"result\":[]"},
	};
	struct world *world = world_start(false);

	sim_file_create(world->sim, "/disk", 1 * MIB);
	sim_file_create(world->sim, "/empty", 0);
	sim_file_create(world->sim, "/odd", 1000);
	sim_file_create(world->sim, "/small", 512);
	EXPECT(world, exchanges);
	world_end(world);
}

#define LIMITS                                                                                     \
	"\"assigned_rate_limits\":{\"rw_ios_per_sec\":0,\"rw_mbytes_per_sec\":0,"                  \
	"\"r_mbytes_per_sec\":0,\"w_mbytes_per_sec\":0},\"claimed\":false,\"zoned\":false,"
#define IO_TYPES                                                                                   \
	"\"supported_io_types\":{\"read\":true,\"write\":true,\"unmap\":true,\"flush\":true,"      \
	"\"reset\":true,\"nvme_admin\":false,\"nvme_io\":false,\"nvme_io_md\":false,"              \
	"\"write_zeroes\":true,\"zcopy\":false,\"get_zone_info\":false,"                           \
	"\"zone_management\":false,\"zone_append\":false,\"compare\":false,"                       \
	"\"compare_and_write\":false,\"abort\":false,\"seek_hole\":false,"                         \
	"\"seek_data\":false,\"copy\":false,\"nvme_iov_md\":false,\"nvme_nssr\":false,"            \
	"\"write_uncorrectable\":false},"
#define PREFERRED                                                                                  \
	"\"preferred_write_alignment\":0,\"preferred_write_granularity\":0,"                       \
	"\"optimal_write_size\":0,\"preferred_unmap_alignment\":0,\"preferred_unmap_"              \
	"granularity\":"

static void a_device_is_listed_with_all_members_in_order(void **state)
{
	static const struct exchange exchanges[] = {
		{"bdev_null_create",
			"{\"name\":\"n0\",\"num_blocks\":2048,\"block_size\":512,\"uuid\":\"" UUID
			"\"}",
			"\"result\":\"n0\""},
		{"bdev_get_bdevs", "{\"name\":\"n0\"}",
			"\"result\":[{\"name\":\"n0\",\"aliases\":[\"" UUID
			"\"],\"product_name\":\"Null disk\","
			"\"block_size\":512,\"num_blocks\":2048," PREFERRED "0,\"uuid\":\"" UUID
			"\"," LIMITS IO_TYPES "\"driver_specific\":{}}]"},
		{"bdev_get_bdevs", "{\"name\":\"" UUID "\"}",
			"\"result\":[{\"name\":\"n0\",\"aliases\":[\"" UUID
			"\"],\"product_name\":\"Null disk\","
			"\"block_size\":512,\"num_blocks\":2048," PREFERRED "0,\"uuid\":\"" UUID
			"\"," LIMITS IO_TYPES "\"driver_specific\":{}}]"},
		{"bdev_null_delete", "{\"name\":\"n0\"}", TRUE_RESULT},
		{"bdev_malloc_create",
			"{\"name\":\"m\",\"num_blocks\":8,\"block_size\":4096,\"uuid\":\"" UUID
			"\"}",
			"\"result\":\"m\""},
		{"bdev_get_bdevs", NULL,
			"\"result\":[{\"name\":\"m\",\"aliases\":[\"" UUID
			"\"],\"product_name\":\"Malloc disk\","
			"\"block_size\":4096,\"num_blocks\":8," PREFERRED "0,\"uuid\":\"" UUID
			"\",\"numa_id\":-1," LIMITS IO_TYPES "\"driver_specific\":{}}]"},
		{"bdev_malloc_delete", "{\"name\":\"m\"}", TRUE_RESULT},
		{"bdev_aio_create",
			"{\"name\":\"a\",\"filename\":\"/"
			"disk\",\"block_size\":4096,\"uuid\":\"" UUID "\"}",
			"\"result\":\"a\""},
		{"bdev_get_bdevs", NULL,
			"\"result\":[{\"name\":\"a\",\"aliases\":[\"" UUID
			"\"],\"product_name\":\"AIO disk\","
			"\"block_size\":4096,\"num_blocks\":256," PREFERRED "0,\"uuid\":\"" UUID
			"\"," LIMITS IO_TYPES
			"\"driver_specific\":{\"aio\":{\"filename\":\"/disk\","
			"\"block_size_override\":true,\"readonly\":false,\"fallocate\":false,"
			"\"nowait\":false}}}]"},
		{"bdev_aio_delete", "{\"name\":\"a\"}", TRUE_RESULT},
		{"bdev_uring_create",
			"{\"name\":\"u\",\"filename\":\"/disk\",\"uuid\":\"" UUID "\"}",
			"\"result\":\"u\""},
		{"bdev_get_bdevs", NULL,
			"\"result\":[{\"name\":\"u\",\"aliases\":[\"" UUID
			"\"],\"product_name\":\"URING bdev\","
			"\"block_size\":512,\"num_blocks\":2048," PREFERRED "8,\"uuid\":\"" UUID
			"\"," LIMITS IO_TYPES
			"\"driver_specific\":{\"uring\":{\"filename\":\"/disk\"}}}]"},
	};
	struct world *world = world_start(false);

	sim_file_create(world->sim, "/disk", 1 * MIB);
	EXPECT(world, exchanges);
	world_end(world);
}

static void devices_are_listed_in_the_order_they_came(void **state)
{
	struct world *world = world_start(false);
	const char *list, *a, *b, *c;

	world_call(
		world, "bdev_null_create", "{\"name\":\"c\",\"num_blocks\":8,\"block_size\":512}");
	world_call(
		world, "bdev_null_create", "{\"name\":\"a\",\"num_blocks\":8,\"block_size\":512}");
	world_call(
		world, "bdev_null_create", "{\"name\":\"b\",\"num_blocks\":8,\"block_size\":512}");
	list = world_call(world, "bdev_get_bdevs", "null");
	c = strstr(list, "\"name\":\"c\"");
	a = strstr(list, "\"name\":\"a\"");
	b = strstr(list, "\"name\":\"b\"");
	assert_true(c && a && b && c < a && a < b);
	world_end(world);
}

static void a_missing_device_can_be_waited_for(void **state)
{
	static const struct exchange missing[] = {
		{"bdev_get_bdevs", "{\"name\":\"n\"}", NO_DEVICE},
		{"bdev_get_bdevs", "{\"name\":\"n\",\"timeout\":0}", NO_DEVICE},
		{"bdev_get_bdevs", "{\"name\":\"n\",\"timeout\":100}",
			ERROR(-110, "Connection timed out")},
		{"bdev_get_bdevs", "{\"name\":5}", DECODE},
		{"bdev_get_bdevs", "[]", DECODE},
	};
	struct world *world = world_start(false);
	uint64_t before;

	EXPECT(world, missing);
	before = sim_now(world->sim);
	world_say(world, "bdev_get_bdevs", "{\"name\":\"n\",\"timeout\":9223372036854775807}");
	assert_true(world_hears_nothing(world));
	world_say(world, "bdev_null_create",
		"{\"name\":\"other\",\"num_blocks\":8,\"block_size\":512}");
	assert_string_equal(world_hear(world), "\"result\":\"other\"");
	assert_true(world_hears_nothing(world));
	world_say(
		world, "bdev_null_create", "{\"name\":\"n\",\"num_blocks\":8,\"block_size\":512}");
	assert_non_null(strstr(world_hear(world), "\"result\":[{\"name\":\"n\""));
	assert_string_equal(world_hear(world), "\"result\":\"n\"");
	assert_true(sim_now(world->sim) - before < SEC_NS);
	/* One that still waits at the end is answered by the stop. */
	world_say(world, "bdev_get_bdevs", "{\"name\":\"never\",\"timeout\":100000}");
	assert_true(world_hears_nothing(world));
	world_end(world);
}

static void a_rescan_finds_the_new_size(void **state)
{
	struct world *world = world_start(false);
	struct sim_file *file = sim_file_create(world->sim, "/disk", 1 * MIB);

	world_call(world, "bdev_aio_create", "{\"name\":\"a\",\"filename\":\"/disk\"}");
	sim_file_resize(file, 2 * MIB);
	assert_string_equal(world_call(world, "bdev_aio_rescan", "{\"name\":\"a\"}"), TRUE_RESULT);
	assert_non_null(strstr(
		world_call(world, "bdev_get_bdevs", "{\"name\":\"a\"}"), "\"num_blocks\":4096"));
	world_end(world);
}

static void notifications_tell_what_came_and_went(void **state)
{
	static const struct exchange exchanges[] = {
		{"notify_get_types", NULL,
			"\"result\":[\"bdev_register\",\"bdev_unregister\",\"bdev_resize\","
			"\"lvstore_space_ok\",\"lvstore_space_low\",\"lvstore_space_full\"]"},
		{"notify_get_types", "{\"x\":1}", ERROR(-32602, "No parameters required")},
		{"notify_get_notifications", NULL, "\"result\":[]"},
		{"bdev_null_create", "{\"name\":\"n\",\"num_blocks\":8,\"block_size\":512}",
			"\"result\":\"n\""},
		{"bdev_null_resize", "{\"name\":\"n\",\"new_size\":1}", TRUE_RESULT},
		{"bdev_null_delete", "{\"name\":\"n\"}", TRUE_RESULT},
		{"notify_get_notifications", "{}",
			"\"result\":[{\"type\":\"bdev_register\",\"ctx\":\"n\",\"id\":0},"
			"{\"type\":\"bdev_resize\",\"ctx\":\"n\",\"id\":1},"
			"{\"type\":\"bdev_unregister\",\"ctx\":\"n\",\"id\":2}]"},
		{"notify_get_notifications", "{\"id\":1,\"max\":1}",
			"\"result\":[{\"type\":\"bdev_resize\",\"ctx\":\"n\",\"id\":1}]"},
		{"notify_get_notifications", "{\"id\":3}", "\"result\":[]"},
		{"notify_get_notifications", "{\"max\":0}", "\"result\":[]"},
		{"notify_get_notifications", "{\"id\":-1}", ERROR(-32602, "Invalid argument")},
	};
	struct world *world = world_start(false);

	EXPECT(world, exchanges);
	world_end(world);
}

static void the_last_1024_notifications_are_kept(void **state)
{
	struct world *world = world_start(false);
	char expected[80];

	for (unsigned i = 0; i < 600; i++) {
		world_call(world, "bdev_null_create",
			"{\"name\":\"n\",\"num_blocks\":8,\"block_size\":512}");
		world_call(world, "bdev_null_delete", "{\"name\":\"n\"}");
	}
	snprintf(expected, sizeof(expected),
		"\"result\":[{\"type\":\"bdev_register\",\"ctx\":\"n\",\"id\":%d}]", 1200 - 1024);
	assert_string_equal(
		world_call(world, "notify_get_notifications", "{\"id\":5,\"max\":1}"), expected);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(null_devices_are_created_and_refused_as_clients_expect),
		cmocka_unit_test(malloc_devices_are_created_and_refused_as_clients_expect),
		cmocka_unit_test(file_devices_are_created_and_refused_as_clients_expect),
		cmocka_unit_test(a_device_is_listed_with_all_members_in_order),
		cmocka_unit_test(devices_are_listed_in_the_order_they_came),
		cmocka_unit_test(a_missing_device_can_be_waited_for),
		cmocka_unit_test(a_rescan_finds_the_new_size),
		cmocka_unit_test(notifications_tell_what_came_and_went),
		cmocka_unit_test(the_last_1024_notifications_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
