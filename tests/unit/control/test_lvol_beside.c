/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is asked of a store while clusters of one of its volumes are being copied. Reads of the
 * device wait, so the copying stands still; operations on volumes read nothing. And while clusters
 * of all volumes are being counted, which takes many turns.
 */
#include <stdio.h>
#include <string.h>

#include "fault_world.h"

#define BUSY    ERROR(-32602, "Device or resource busy")
#define STORE   "{\"lvs_name\":\"lvs0\"}"
#define SOON_NS (10 * MSEC_NS)

static void call_well(struct world *world, const char *method, const char *params)
{
	const char *answer = world_call(world, method, params);

	if (strncmp(answer, "\"result\":", 9) != 0)
		fail_msg("%s %s: %s", method, params ? params : "", answer);
}

/* A volume that is written, "v"; its snapshot "s"; a clone of that, "c". */
static void beside_start(struct fault_world *fw)
{
	fault_world_start(fw);
	call_well(fw->world, "bdev_lvol_create_lvstore",
		"{\"bdev_name\":\"gate\",\"lvs_name\":\"lvs0\",\"cluster_sz\":16384}");
	call_well(fw->world, "bdev_lvol_create",
		"{\"lvs_name\":\"lvs0\",\"lvol_name\":\"v\",\"size_in_mib\":1}");
	call_well(fw->world, "bdev_lvol_snapshot",
		"{\"lvol_name\":\"lvs0/v\",\"snapshot_name\":\"s\"}");
	call_well(fw->world, "bdev_lvol_clone",
		"{\"snapshot_name\":\"lvs0/s\",\"clone_name\":\"c\"}");
}

static bool copying_stands(void *gate)
{
	return gate_bdev_held(gate) > 0;
}

static void copying_begin(struct fault_world *fw, const char *method, const char *params)
{
	gate_bdev_hold_types(fw->gate, 1u << BDEV_IO_READ);
	gate_bdev_hold(fw->gate, true);
	world_say(fw->world, method, params);
	assert_true(sim_run(fw->world->sim, copying_stands, fw->gate, SEC_NS));
}

static void copying_goes_on(struct fault_world *fw)
{
	gate_bdev_hold(fw->gate, false);
	gate_bdev_release_all(fw->gate, 0);
}

static const char *const ways[] = {"bdev_lvol_inflate", "bdev_lvol_decouple_parent"};

static void other_volumes_are_worked_on_while_one_is_made_independent(void **state)
{
	static const struct exchange others[] = {
		{"bdev_lvol_resize", "{\"name\":\"lvs0/w\",\"size_in_mib\":2}", TRUE_RESULT},
		{"bdev_lvol_rename", "{\"old_name\":\"lvs0/c\",\"new_name\":\"d\"}", TRUE_RESULT},
		{"bdev_lvol_delete", "{\"name\":\"lvs0/w\"}", TRUE_RESULT},
		{"bdev_lvol_delete", "{\"name\":\"lvs0/x\"}", TRUE_RESULT},
		{"bdev_lvol_delete", "{\"name\":\"lvs0/y\"}", TRUE_RESULT},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		struct fault_world fw;
		uint64_t began;

		beside_start(&fw);
		copying_begin(&fw, ways[i], "{\"name\":\"lvs0/c\"}");
		began = sim_now(fw.world->sim);
		call_well(fw.world, "bdev_lvol_create",
			"{\"lvs_name\":\"lvs0\",\"lvol_name\":\"w\",\"size_in_mib\":1}");
		call_well(fw.world, "bdev_lvol_snapshot",
			"{\"lvol_name\":\"lvs0/w\",\"snapshot_name\":\"x\"}");
		call_well(fw.world, "bdev_lvol_clone",
			"{\"snapshot_name\":\"lvs0/s\",\"clone_name\":\"y\"}");
		EXPECT(fw.world, others);
		assert_in_range(sim_now(fw.world->sim) - began, 0, SOON_NS);
		copying_goes_on(&fw);
		assert_string_equal(world_hear(fw.world), TRUE_RESULT);
		fault_world_end(&fw);
	}
}

static void what_would_disturb_the_copying_is_refused_at_once(void **state)
{
	static const struct exchange refused[] = {
		{"bdev_lvol_snapshot", "{\"lvol_name\":\"lvs0/v\",\"snapshot_name\":\"x\"}", BUSY},
		{"bdev_lvol_resize", "{\"name\":\"lvs0/v\",\"size_in_mib\":2}", BUSY},
		{"bdev_lvol_inflate", "{\"name\":\"lvs0/v\"}", BUSY},
		{"bdev_lvol_decouple_parent", "{\"name\":\"lvs0/v\"}", BUSY},
		{"bdev_lvol_detach_parent", "{\"name\":\"lvs0/v\"}", BUSY},
		{"bdev_lvol_detach_parent", "{\"name\":\"lvs0/s\"}", BUSY},
		{"bdev_lvol_delete", "{\"name\":\"lvs0/s\"}", BUSY},
	};
	static const struct exchange afterwards[] = {
		{"bdev_lvol_delete", "{\"name\":\"lvs0/s\"}", TRUE_RESULT},
		{"bdev_lvol_delete", "{\"name\":\"lvs0/v\"}", TRUE_RESULT},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		struct fault_world fw;

		beside_start(&fw);
		call_well(fw.world, "bdev_lvol_delete", "{\"name\":\"lvs0/c\"}");
		copying_begin(&fw, ways[i], "{\"name\":\"lvs0/v\"}");
		EXPECT(fw.world, refused);
		/* Clusters under way come first, the others after it. */
		world_say(fw.world, "bdev_lvol_set_read_only", "{\"name\":\"lvs0/v\"}");
		assert_true(world_hears_nothing(fw.world));
		copying_goes_on(&fw);
		assert_string_equal(world_hear(fw.world), TRUE_RESULT);
		assert_string_equal(world_hear(fw.world), TRUE_RESULT);
		EXPECT(fw.world, afterwards);
		fault_world_end(&fw);
	}
}

static void a_volume_can_be_deleted_while_it_is_made_independent(void **state)
{
	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		struct fault_world fw;

		beside_start(&fw);
		copying_begin(&fw, ways[i], "{\"name\":\"lvs0/c\"}");
		world_say(fw.world, "bdev_lvol_delete", "{\"name\":\"lvs0/c\"}");
		sim_run_for(fw.world->sim, MSEC_NS);
		copying_goes_on(&fw);
		assert_string_equal(world_hear(fw.world), NO_DEVICE);
		assert_string_equal(world_hear(fw.world), TRUE_RESULT);
		fault_world_end(&fw);
	}
}

static void a_store_can_be_deleted_while_a_volume_is_made_independent(void **state)
{
	struct fault_world fw;

	beside_start(&fw);
	copying_begin(&fw, "bdev_lvol_inflate", "{\"name\":\"lvs0/c\"}");
	world_say(fw.world, "bdev_lvol_delete_lvstore", STORE);
	sim_run_for(fw.world->sim, MSEC_NS);
	copying_goes_on(&fw);
	assert_string_equal(world_hear(fw.world), NO_DEVICE);
	assert_string_equal(world_hear(fw.world), TRUE_RESULT);
	fault_world_end(&fw);
}

static void the_device_of_a_store_can_go_while_a_volume_is_made_independent(void **state)
{
	struct fault_world fw;

	beside_start(&fw);
	copying_begin(&fw, "bdev_lvol_inflate", "{\"name\":\"lvs0/c\"}");
	fault_world_unregister_begin(&fw);
	sim_run_for(fw.world->sim, MSEC_NS);
	copying_goes_on(&fw);
	assert_string_equal(world_hear(fw.world), NO_DEVICE);
	fault_world_unregister_finish(&fw);
	fault_world_register(&fw);
	call_well(fw.world, "bdev_wait_for_examine", NULL);
	call_well(fw.world, "bdev_lvol_inflate", "{\"name\":\"lvs0/c\"}");
	fault_world_end(&fw);
}

static void other_volumes_are_worked_on_during_a_shallow_copy(void **state)
{
	struct fault_world fw;

	beside_start(&fw);
	call_well(fw.world, "bdev_malloc_create",
		"{\"name\":\"target\",\"num_blocks\":2048,\"block_size\":512}");
	copying_begin(&fw, "bdev_lvol_start_shallow_copy",
		"{\"src_lvol_name\":\"lvs0/s\",\"dst_bdev_name\":\"target\"}");
	world_hear(fw.world);
	call_well(fw.world, "bdev_lvol_create",
		"{\"lvs_name\":\"lvs0\",\"lvol_name\":\"w\",\"size_in_mib\":1}");
	call_well(fw.world, "bdev_lvol_delete", "{\"name\":\"lvs0/w\"}");
	call_well(fw.world, "bdev_lvol_snapshot",
		"{\"lvol_name\":\"lvs0/v\",\"snapshot_name\":\"x\"}");
	copying_goes_on(&fw);
	fault_world_end(&fw);
}

/* Three volumes of 4096 clusters each, all allocated: two turns of counting each. */
static struct world *counting_start(void)
{
	static const char *const names[] = {"a", "b", "c"};
	struct world *world = world_start(false);
	char params[100];

	call_well(world, "bdev_malloc_create",
		"{\"name\":\"m\",\"num_blocks\":524288,\"block_size\":512}");
	call_well(world, "bdev_lvol_create_lvstore",
		"{\"bdev_name\":\"m\",\"lvs_name\":\"lvs0\",\"cluster_sz\":16384,"
		"\"num_md_pages_per_cluster_ratio\":5}");
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(params, sizeof(params),
			"{\"lvs_name\":\"lvs0\",\"lvol_name\":\"%s\",\"size_in_mib\":64}",
			names[i]);
		call_well(world, "bdev_lvol_create", params);
	}
	return world;
}

static void expect_usage(const char *answer, const char *alias, unsigned exclusive, unsigned shared)
{
	const char *at = strstr(answer, alias);
	char expected[100];

	snprintf(expected, sizeof(expected),
		"\"num_exclusive_clusters\":%u,\"num_shared_clusters\":%u", exclusive, shared);
	assert_non_null(at);
	assert_non_null(strstr(at, expected));
	assert_true(strstr(at, expected) == strstr(at, "\"num_exclusive_clusters\""));
}

static void operations_need_not_wait_until_all_clusters_are_counted(void **state)
{
	struct world *world = counting_start();
	const char *answer;

	world_say(world, "bdev_lvol_get_lvols", "{\"usage\":true}");
	world_say(
		world, "bdev_lvol_snapshot", "{\"lvol_name\":\"lvs0/a\",\"snapshot_name\":\"s\"}");
	world_say(world, "bdev_lvol_delete", "{\"name\":\"lvs0/b\"}");
	answer = world_hear(world);
	assert_null(strstr(answer, "alias"));
	assert_string_equal(world_hear(world), TRUE_RESULT);
	answer = world_hear(world);
	expect_usage(answer, "lvs0/a", 0, 4096);
	expect_usage(answer, "lvs0/c", 4096, 0);
	expect_usage(answer, "lvs0/s", 0, 4096);
	assert_null(strstr(answer, "lvs0/b"));
	world_end(world);
}

static void a_map_is_that_of_the_moment_after_what_came_in_between(void **state)
{
	struct world *world = counting_start();

	world_say(world, "bdev_lvol_get_fragmap", "{\"name\":\"lvs0/a\"}");
	world_say(world, "bdev_lvol_resize", "{\"name\":\"lvs0/a\",\"size_in_mib\":32}");
	assert_string_equal(world_hear(world), TRUE_RESULT);
	assert_non_null(
		strstr(world_hear(world), "\"num_clusters\":2048,\"num_allocated_clusters\":2048"));
	world_say(world, "bdev_lvol_get_fragmap", "{\"name\":\"lvs0/b\"}");
	world_say(world, "bdev_lvol_delete", "{\"name\":\"lvs0/b\"}");
	assert_string_equal(world_hear(world), NO_DEVICE);
	assert_string_equal(world_hear(world), TRUE_RESULT);
	world_end(world);
}

/* Each begins the other's volume again, a few times. */
static void two_that_count_both_come_to_an_end(void **state)
{
	struct world *world = counting_start();

	for (unsigned i = 0; i < 4; i++)
		world_say(world, "bdev_lvol_get_lvols", "{\"usage\":true}");
	for (unsigned i = 0; i < 4; i++)
		expect_usage(world_hear(world), "lvs0/c", 4096, 0);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(other_volumes_are_worked_on_while_one_is_made_independent),
		cmocka_unit_test(what_would_disturb_the_copying_is_refused_at_once),
		cmocka_unit_test(a_volume_can_be_deleted_while_it_is_made_independent),
		cmocka_unit_test(a_store_can_be_deleted_while_a_volume_is_made_independent),
		cmocka_unit_test(the_device_of_a_store_can_go_while_a_volume_is_made_independent),
		cmocka_unit_test(other_volumes_are_worked_on_during_a_shallow_copy),
		cmocka_unit_test(operations_need_not_wait_until_all_clusters_are_counted),
		cmocka_unit_test(a_map_is_that_of_the_moment_after_what_came_in_between),
		cmocka_unit_test(two_that_count_both_come_to_an_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
