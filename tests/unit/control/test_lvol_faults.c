/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Methods on volumes while the device below them fails a request, goes away, or a foreign parent
 * goes: each request is answered, what is listed can be used, nothing is left behind, and the store
 * is found again with the device.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fault_world.h"

#define WRITES (1u << BDEV_IO_WRITE | 1u << BDEV_IO_FLUSH | 1u << BDEV_IO_WRITE_ZEROES)
#define ANY    ((1u << BDEV_IO_TYPES) - 1)

/* ---- the script -------------------------------------------------- */

#define PARENT_UUID "3f0e6a1c-9d55-4a43-8d11-52c7be1f0a77"

struct step {
	const char *method;
	const char *params;
};

static const struct step script[] = {
	{"bdev_lvol_create_lvstore",
		"{\"bdev_name\":\"gate\",\"lvs_name\":\"lvs0\",\"cluster_sz\":16384}"},
	{"bdev_lvol_create", "{\"lvs_name\":\"lvs0\",\"lvol_name\":\"v\",\"size_in_mib\":1,"
			     "\"thin_provision\":true}"},
	{"bdev_lvol_create", "{\"lvs_name\":\"lvs0\",\"lvol_name\":\"t\",\"size_in_mib\":1,"
			     "\"block_size\":4096}"},
	{"bdev_lvol_snapshot", "{\"lvol_name\":\"lvs0/t\",\"snapshot_name\":\"s\"}"},
	{"bdev_lvol_clone", "{\"snapshot_name\":\"lvs0/s\",\"clone_name\":\"c\"}"},
	{"bdev_lvol_rename", "{\"old_name\":\"lvs0/c\",\"new_name\":\"d\"}"},
	{"bdev_lvol_set_parent", "{\"lvol_name\":\"lvs0/v\",\"parent_name\":\"lvs0/s\"}"},
	{"bdev_lvol_resize", "{\"name\":\"lvs0/d\",\"size_in_mib\":2}"},
	{"bdev_lvol_inflate", "{\"name\":\"lvs0/d\"}"},
	{"bdev_lvol_clone_bdev",
		"{\"bdev\":\"parent\",\"lvs_name\":\"lvs0\",\"clone_name\":\"e\"}"},
	{"bdev_lvol_snapshot", "{\"lvol_name\":\"lvs0/e\",\"snapshot_name\":\"f\"}"},
	{"bdev_lvol_set_xattr", "{\"name\":\"lvs0/e\",\"xattr_name\":\"a\",\"xattr_value\":\"b\"}"},
	{"bdev_lvol_set_read_only", "{\"name\":\"lvs0/d\"}"},
	{"bdev_lvol_delete", "{\"name\":\"lvs0/v\"}"},
	{"bdev_lvol_delete", "{\"name\":\"lvs0/s\"}"},
	{"bdev_lvol_delete", "{\"name\":\"lvs0/f\"}"},
	{"bdev_lvol_rename_lvstore", "{\"old_name\":\"lvs0\",\"new_name\":\"lvs1\"}"},
	{"bdev_lvol_delete", "{\"name\":\"lvs1/e\"}"},
	{"bdev_lvol_delete_lvstore", "{\"lvs_name\":\"lvs1\"}"},
};

#define STEPS ARRAY_SIZE(script)

static void parent_create(struct world *world)
{
	assert_string_equal(world_call(world, "bdev_malloc_create",
				    "{\"num_blocks\":2048,\"block_size\":512,\"name\":\"parent\","
				    "\"uuid\":\"" PARENT_UUID "\"}"),
		"\"result\":\"parent\"");
}

static bool is_error(const char *answer)
{
	return strncmp(answer, "\"error\":", 8) == 0;
}

/* Every volume that is listed without being degraded is a device under both of its names. */
static unsigned check_listing(struct world *world)
{
	const char *answer = world_call(world, "bdev_lvol_get_lvols", "{\"usage\":true}");
	char *text;
	json_t *document, *volume;
	unsigned count;
	size_t i;

	assert_false(is_error(answer));
	assert_true(asprintf(&text, "{%s}", answer) > 0);
	document = json_loads(text, 0, NULL);
	assert_non_null(document);
	json_array_foreach(json_object_get(document, "result"), i, volume)
	{
		const char *alias = json_string_value(json_object_get(volume, "alias"));
		char params[256];

		if (json_is_true(json_object_get(volume, "is_degraded")))
			continue;
		snprintf(params, sizeof(params), "{\"name\":\"%s\"}", alias);
		assert_false(is_error(world_call(world, "bdev_get_bdevs", params)));
	}
	count = (unsigned)json_array_size(json_object_get(document, "result"));
	json_decref(document);
	free(text);
	return count;
}

static void device_goes_and_comes(struct fault_world *fw)
{
	fault_world_unregister(fw);
	assert_string_equal(world_call(fw->world, "bdev_lvol_get_lvstores", NULL), "\"result\":[]");
	fault_world_register(fw);
	assert_string_equal(world_call(fw->world, "bdev_wait_for_examine", NULL), TRUE_RESULT);
}

/* ---- tests -------------------------------------------------- */

static void the_script_succeeds_where_nothing_fails(void **state)
{
	static const unsigned volumes[STEPS] = {
		0, 1, 2, 3, 4, 4, 4, 4, 4, 5, 6, 6, 6, 5, 4, 3, 3, 2, 0};
	struct fault_world fw;

	fault_world_start(&fw);
	parent_create(fw.world);
	for (unsigned i = 0; i < STEPS; i++) {
		const char *answer = world_call(fw.world, script[i].method, script[i].params);

		if (is_error(answer))
			fail_msg("%s: %s", script[i].method, answer);
		assert_int_equal(check_listing(fw.world), volumes[i]);
	}
	fault_world_end(&fw);
}

/* A step that fails has done nothing, or the store must be loaded again to know; then the device
 * goes and comes, and what is left is there. */
static void each_write_fails_once_and_every_request_is_answered(void **state)
{
	bool failed = true;

	for (unsigned nth = 0; failed; nth++) {
		struct fault_world fw;

		fault_world_start(&fw);
		parent_create(fw.world);
		gate_bdev_fail_nth(fw.gate, WRITES, nth, -EIO);
		for (unsigned i = 0; i + 1 < STEPS; i++) {
			world_call(fw.world, script[i].method, script[i].params);
			check_listing(fw.world);
		}
		failed = gate_bdev_fail_nth(fw.gate, 0, 0, 0);
		device_goes_and_comes(&fw);
		check_listing(fw.world);
		world_call(fw.world, "bdev_lvol_delete_lvstore", "{\"lvs_name\":\"lvs1\"}");
		world_call(fw.world, "bdev_lvol_delete_lvstore", "{\"lvs_name\":\"lvs0\"}");
		assert_int_equal(check_listing(fw.world), 0);
		fault_world_end(&fw);
		assert_true(nth < 1000);
	}
}

struct records_wanted {
	struct gate_bdev *gate;
	unsigned count;
};

static bool has_records(void *arg)
{
	const struct records_wanted *wanted = arg;

	return gate_bdev_record_count(wanted->gate) >= wanted->count;
}

/* While one of its requests is under way. true: there were so many. */
static bool device_goes_at(struct fault_world *fw, unsigned nth)
{
	struct records_wanted wanted = {.gate = fw->gate, .count = nth};
	unsigned answers = 0;
	bool went = false;

	for (unsigned i = 0; i + 1 < STEPS; i++) {
		world_say(fw->world, script[i].method, script[i].params);
		if (!went && sim_run(fw->world->sim, has_records, &wanted, 20 * MSEC_NS)) {
			went = true;
			fault_world_unregister(fw);
		}
	}
	while (answers < STEPS - 1) {
		world_hear(fw->world);
		answers++;
	}
	return went;
}

static void the_device_goes_at_each_request_and_every_request_is_answered(void **state)
{
	bool went = true;

	for (unsigned nth = 1; went; nth += 3) {
		struct fault_world fw;

		fault_world_start(&fw);
		parent_create(fw.world);
		went = device_goes_at(&fw, nth);
		if (!went)
			fault_world_unregister(&fw);
		assert_int_equal(check_listing(fw.world), 0);
		fault_world_register(&fw);
		assert_string_equal(
			world_call(fw.world, "bdev_wait_for_examine", NULL), TRUE_RESULT);
		check_listing(fw.world);
		fault_world_end(&fw);
		assert_true(nth < 5000);
	}
}

/* The parent is deleted in the middle of what is asked of its clones. */
static void a_foreign_parent_goes_between_requests_that_wait(void **state)
{
	for (unsigned at = 9; at + 1 < STEPS; at++) {
		struct fault_world fw;

		fault_world_start(&fw);
		parent_create(fw.world);
		for (unsigned i = 0; i + 1 < STEPS; i++) {
			world_say(fw.world, script[i].method, script[i].params);
			if (i == at)
				world_say(fw.world, "bdev_malloc_delete", "{\"name\":\"parent\"}");
		}
		for (unsigned i = 0; i < STEPS; i++)
			world_hear(fw.world);
		check_listing(fw.world);
		parent_create(fw.world);
		check_listing(fw.world);
		device_goes_and_comes(&fw);
		check_listing(fw.world);
		fault_world_end(&fw);
	}
}

/* ---- a device that takes few vectors --------------------------------------------------- */

static void a_clone_takes_no_more_vectors_than_the_device_it_stands_on(void **state)
{
	struct fault_world fw;

	fault_world_start(&fw);
	gate_bdev_of(fw.gate)->max_iovcnt = 4;
	world_call(fw.world, "bdev_malloc_create",
		"{\"name\":\"m\",\"num_blocks\":65536,\"block_size\":512}");
	world_call(fw.world, "bdev_lvol_create_lvstore",
		"{\"bdev_name\":\"m\",\"lvs_name\":\"lvs0\",\"cluster_sz\":16384}");
	world_call(fw.world, "bdev_lvol_create",
		"{\"lvs_name\":\"lvs0\",\"lvol_name\":\"v\",\"size_in_mib\":1}");
	world_call(fw.world, "bdev_lvol_clone_bdev",
		"{\"bdev\":\"gate\",\"lvs_name\":\"lvs0\",\"clone_name\":\"c\"}");
	assert_int_equal(bdev_find(fw.world->registry, "lvs0/v")->max_iovcnt, 0);
	assert_int_equal(bdev_find(fw.world->registry, "lvs0/c")->max_iovcnt, 4);
	fault_world_end(&fw);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_script_succeeds_where_nothing_fails),
		cmocka_unit_test(each_write_fails_once_and_every_request_is_answered),
		cmocka_unit_test(the_device_goes_at_each_request_and_every_request_is_answered),
		cmocka_unit_test(a_foreign_parent_goes_between_requests_that_wait),
		cmocka_unit_test(a_clone_takes_no_more_vectors_than_the_device_it_stands_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
