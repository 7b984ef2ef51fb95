/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A store's life: made, closed, loaded, wiped; what is on the device in between, and what is
 * refused.
 */
#include "store_world.h"

#include <errno.h>
#include <string.h>

#define SIZE    (32 * MIB)
#define CLUSTER (16 * KIB)

static const struct gate_bdev_options disk = {
	.name = "disk", .size_bytes = SIZE, .block_size = 512, .physical_block_size = 4096};

static void a_new_store_is_empty_and_not_closed(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct blob_store_info info;
		struct store_world sw;
		struct super super;

		store_world_start(&sw, seed, &disk);
		assert_int_equal(store_world_create(&sw, CLUSTER), 0);
		volumes_info(&sw.volumes, &info);
		assert_int_equal(info.cluster_size, CLUSTER);
		assert_int_equal(info.io_unit_size, 512);
		assert_int_equal(info.free_clusters, info.total_data_clusters);
		assert_int_equal(info.md_pages, info.md_pages_free);
		assert_false(info.recovered);
		disk_super(&sw, &super);
		assert_false(super.clean);
		assert_true(gate_bdev_is_stable(sw.gate, 0, SIZE));
		assert_int_equal(store_world_close(&sw), 0);
		disk_super(&sw, &super);
		assert_true(super.clean);
		assert_true(gate_bdev_is_stable(sw.gate, 0, SIZE));
		store_world_end(&sw);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_store_is_empty_and_not_closed),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
