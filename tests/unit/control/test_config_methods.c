/* SPDX-License-Identifier: BSD-2-Clause */
/* What framework_get_config tells makes the same again, called on a daemon that has nothing. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_world.h"

static const char *const subsystems[] = {
	"iobuf", "accel", "bdev", "vhost_blk", "scsi", "vhost_scsi"};

static void subsystems_are_listed_after_what_they_depend_on(void **state)
{
	static const struct exchange exchanges[] = {
		{"framework_get_subsystems", "{\"x\":1}",
			ERROR(-32602, "'framework_get_subsystems' requires no arguments")},
		{"framework_get_config", NULL, ERROR(-32602, "Invalid arguments")},
		{"framework_get_config", "{\"name\":\"x\"}",
			ERROR(-32602, "Subsystem 'x' not found")},
		{"framework_get_config", "{\"name\":\"scsi\"}", "\"result\":null"},
		{"framework_get_config", "{\"name\":\"vhost_scsi\"}", "\"result\":[]"},
		{"framework_get_config", "{\"name\":\"iobuf\"}",
			"\"result\":[{\"method\":\"iobuf_set_options\",\"params\":{\"small_pool_"
			"count\":8192,\"large_pool_count\":1024,\"small_bufsize\":8192,\"large_"
			"bufsize\":135168,\"enable_numa\":false}}]"},
		{"framework_get_config", "{\"name\":\"bdev\",\"with_batches\":true}",
			"\"result\":[{\"method\":\"bdev_set_options\",\"params\":{\"bdev_io_pool_"
			"size\":65535,\"bdev_io_cache_size\":256,\"bdev_auto_examine\":true,"
			"\"iobuf_small_cache_size\":128,\"iobuf_large_cache_size\":16}},{"
			"\"method\":\"bdev_wait_for_examine\"}]"},
	};
	struct world *world = world_start(false);
	const char *list = world_call(world, "framework_get_subsystems", NULL);
	size_t at = 0;

	for (size_t i = 0; i < ARRAY_SIZE(subsystems); i++) {
		char text[64];
		const char *found;

		snprintf(text, sizeof(text), "{\"subsystem\":\"%s\"", subsystems[i]);
		found = strstr(list, text);
		assert_non_null(found);
		assert_true((size_t)(found - list) >= at);
		at = (size_t)(found - list);
	}
	EXPECT(world, exchanges);
	world_end(world);
}

static void options_are_for_the_start_and_told_again(void **state)
{
	static const struct exchange exchanges[] = {
		{"iobuf_set_options", "{\"small_pool_count\":4096,\"enable_numa\":true}",
			TRUE_RESULT},
		{"iobuf_set_options", "{\"large_bufsize\":8192}", TRUE_RESULT},
		{"iobuf_set_options", "{\"small_pool_count\":63}", INVALID},
		{"iobuf_set_options", "{\"enable_numa\":1}",
			ERROR(-32602, "spdk_json_decode_object failed")},
		{"bdev_set_options", "{\"bdev_io_pool_size\":10}",
			ERROR(-32602, "Pool size 10 too small for cache size 256")},
		{"bdev_set_options", "{\"x\":10}", ERROR(-32602, "Invalid parameters")},
		{"bdev_set_options", "{\"bdev_auto_examine\":false}", INVALID},
		{"bdev_set_options", NULL, TRUE_RESULT},
		{"accel_set_options", "{\"task_count\":1}", TRUE_RESULT},
		{"accel_set_options", "{\"task_count\":-1}",
			ERROR(-32700, "spdk_json_decode_object failed")},
	};
	struct world *world = world_start(true);
	const char *config;

	EXPECT(world, exchanges);
	world_call(world, "framework_start_init", NULL);
	config = world_call(world, "framework_get_config", "{\"name\":\"iobuf\"}");
	assert_non_null(strstr(config, "\"small_pool_count\":4096,\"large_pool_count\":1024"));
	assert_non_null(strstr(config, "\"large_bufsize\":8192,\"enable_numa\":true"));
	config = world_call(world, "framework_get_config", "{\"name\":\"accel\"}");
	assert_non_null(strstr(config, "\"task_count\":1,\"sequence_count\":2048"));
	world_end(world);
}

/* ---- there and back ------------------------------------------------------------------------ */

static json_t *config_of(struct world *world, const char *name, bool with_batches)
{
	char params[96];
	char *text;
	json_t *answer, *config;

	snprintf(params, sizeof(params), "{\"name\":\"%s\",\"with_batches\":%s}", name,
		with_batches ? "true" : "false");
	assert_true(asprintf(&text, "{%s}", world_call(world, "framework_get_config", params)) > 0);
	answer = json_loads(text, 0, NULL);
	config = json_incref(json_object_get(answer, "result"));
	assert_non_null(config);
	json_decref(answer);
	free(text);
	return config;
}

static void entry_play(struct world *world, const json_t *entry)
{
	const char *method = json_string_value(json_object_get(entry, "method"));
	char *params = json_dumps(json_object_get(entry, "params"), 0);
	const char *answer;

	/* Options are for the start. */
	if (!strstr(method, "_set_options")) {
		answer = world_call(world, method, params);
		if (!strstr(answer, "\"result\""))
			fail_msg("%s %s: %s", method, params, answer);
	}
	free(params);
}

static void entries_play(struct world *world, const json_t *entries)
{
	const json_t *entry;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)entries, i, entry)
	{
		if (json_is_array(entry))
			entries_play(world, entry);
		else
			entry_play(world, entry);
	}
}

static struct world *with_a_file(void)
{
	struct world *world = world_start(false);

	sim_file_create(world->sim, "/images/disk", 64 * MIB);
	return world;
}

static void say_all(struct world *world, const char *const (*calls)[2], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		const char *answer = world_call(world, calls[i][0], calls[i][1]);

		if (!strstr(answer, "\"result\""))
			fail_msg("%s %s: %s", calls[i][0], calls[i][1], answer);
	}
}

#define SAY_ALL(world, calls) say_all(world, calls, ARRAY_SIZE(calls))

static void make_much(struct world *world)
{
	static const char *const calls[][2] = {
		{"bdev_malloc_create", "{\"num_blocks\":8192,\"block_size\":512}"},
		{"bdev_malloc_create", "{\"name\":\"m1\",\"num_blocks\":1024,\"block_size\":4096,"
				       "\"optimal_io_boundary\":8}"},
		{"bdev_null_create", "{\"name\":\"n0\",\"num_blocks\":4096,\"block_size\":512,"
				     "\"physical_block_size\":4096}"},
		{"bdev_null_resize", "{\"name\":\"n0\",\"new_size\":8}"},
		{"bdev_null_create", "{\"name\":\"gone\",\"num_blocks\":1,\"block_size\":512}"},
		{"bdev_null_delete", "{\"name\":\"gone\"}"},
		{"bdev_aio_create",
			"{\"name\":\"a0\",\"filename\":\"/images/disk\",\"block_size\":4096,"
			"\"nowait\":true}"},
		{"bdev_uring_create", "{\"name\":\"u0\",\"filename\":\"/images/disk\"}"},
		{"vhost_create_blk_controller",
			"{\"ctrlr\":\"b0\",\"dev_name\":\"n0\",\"readonly\":true,\"cpumask\":\"1\","
			"\"when_full\":\"error\"}"},
		{"vhost_create_blk_controller", "{\"ctrlr\":\"b1\",\"dev_name\":\"m1\"}"},
		{"vhost_controller_set_coalescing",
			"{\"ctrlr\":\"b1\",\"delay_base_us\":50,\"iops_threshold\":1000}"},
		{"vhost_controller_set_queue_placement",
			"{\"ctrlr\":\"b1\",\"queue\":1,\"cpu\":0}"},
		{"vhost_create_scsi_controller",
			"{\"ctrlr\":\"s0\",\"delay\":true,\"when_full\":\"wait\"}"},
		{"vhost_scsi_controller_add_target",
			"{\"ctrlr\":\"s0\",\"scsi_target_num\":3,\"bdev_name\":\"Malloc0\"}"},
		{"vhost_scsi_controller_add_target",
			"{\"ctrlr\":\"s0\",\"scsi_target_num\":3,\"lun\":7,\"bdev_name\":\"n0\","
			"\"readonly\":true,\"removable\":true,\"short_cdbs\":true}"},
		{"vhost_create_scsi_controller", "{\"ctrlr\":\"s1\"}"},
		{"vhost_scsi_controller_add_target",
			"{\"ctrlr\":\"s1\",\"scsi_target_num\":0,\"lun\":2,\"bdev_name\":\"a0\"}"},
		{"bdev_null_create", "{\"name\":\"n1\",\"num_blocks\":4096,\"block_size\":512}"},
		{"bdev_split_create", "{\"base_bdev\":\"n1\",\"split_count\":3}"},
		{"bdev_delay_create",
			"{\"name\":\"d\",\"base_bdev_name\":\"n1p0\",\"avg_read_latency\":1,"
			"\"p99_read_latency\":2,\"avg_write_latency\":3,\"p99_write_latency\":4}"},
		{"bdev_delay_update_latency",
			"{\"delay_bdev_name\":\"d\",\"latency_type\":\"p99_read\","
			"\"latency_us\":9}"},
		{"bdev_error_create", "{\"base_name\":\"n1p1\"}"},
		{"bdev_passthru_create",
			"{\"name\":\"later\",\"base_bdev_name\":\"absent\",\"uuid\":"
			"\"11111111-2222-3333-4444-555555555555\"}"},
		{"bdev_set_qos_limit", "{\"name\":\"d\",\"rw_ios_per_sec\":1500}"},
		{"bdev_enable_histogram",
			"{\"name\":\"m1\",\"enable\":true,\"opc\":\"write\",\"granularity\":5}"},
	};

	SAY_ALL(world, calls);
}

static void what_is_told_makes_the_same_again(void **state)
{
	for (int batches = 0; batches < 2; batches++) {
		struct world *first = with_a_file();
		json_t *told[ARRAY_SIZE(subsystems)];
		struct world *second;

		make_much(first);
		for (size_t i = 0; i < ARRAY_SIZE(subsystems); i++)
			told[i] = config_of(first, subsystems[i], batches);
		world_end(first);
		assert_int_equal(json_array_size(told[2]), batches ? 9 : 14);
		assert_int_equal(json_array_size(told[3]), 4);
		assert_int_equal(json_array_size(told[5]), 6);

		second = with_a_file();
		for (size_t i = 0; i < ARRAY_SIZE(subsystems); i++)
			entries_play(second, told[i]);
		for (size_t i = 0; i < ARRAY_SIZE(subsystems); i++) {
			json_t *again = config_of(second, subsystems[i], batches);

			assert_true(json_equal(told[i], again));
			json_decref(again);
			json_decref(told[i]);
		}
		/* Its name is taken. */
		assert_string_equal(world_call(second, "bdev_malloc_create",
					    "{\"num_blocks\":8,\"block_size\":512}"),
			"\"result\":\"Malloc1\"");
		world_end(second);
	}
}

static void a_device_is_encrypted_again_and_its_key_is_told_nobody(void **state)
{
	static const char *const calls[][2] = {
		{"bdev_null_create", "{\"name\":\"n\",\"num_blocks\":8,\"block_size\":512}"},
		{"accel_crypto_key_create",
			"{\"cipher\":\"AES_XTS\",\"key\":\"00112233445566778899aabbccddeeff\","
			"\"key2\":\"ffeeddccbbaa99887766554433221100\",\"name\":\"k\"}"},
		{"bdev_crypto_create",
			"{\"name\":\"c\",\"base_bdev_name\":\"n\",\"key_name\":\"k\"}"},
	};
	struct world *world = world_start(false);

	SAY_ALL(world, calls);
	assert_non_null(strstr(world_call(world, "framework_get_config", "{\"name\":\"bdev\"}"),
		"{\"method\":\"bdev_crypto_create\",\"params\":{\"base_bdev_name\":\"n\","
		"\"name\":\"c\",\"key_name\":\"k\"}}"));
	assert_null(strstr(
		world_call(world, "framework_get_config", "{\"name\":\"accel\"}"), "aabbccddeeff"));
	world_end(world);
}

static void a_controller_that_waits_for_its_start_still_waits(void **state)
{
	struct world *world = world_start(false);
	const char *config;

	world_call(world, "vhost_create_scsi_controller", "{\"ctrlr\":\"s\",\"delay\":true}");
	config = world_call(world, "framework_get_config", "{\"name\":\"vhost_scsi\"}");
	assert_string_equal(config,
		"\"result\":[{\"method\":\"vhost_create_scsi_controller\",\"params\":{\"ctrlr\":"
		"\"s\",\"cpumask\":\"1\",\"delay\":true}}]");
	world_end(world);
}

static void a_store_within_a_volume_is_asked_for_by_name(void **state)
{
	static const char *const calls[][2] = {
		{"bdev_malloc_create", "{\"name\":\"m\",\"num_blocks\":131072,\"block_size\":512}"},
		{"bdev_lvol_create_lvstore", "{\"bdev_name\":\"m\",\"lvs_name\":\"outer\"}"},
		{"bdev_lvol_create",
			"{\"lvs_name\":\"outer\",\"lvol_name\":\"v\",\"size_in_mib\":32}"},
		{"bdev_lvol_create_lvstore",
			"{\"bdev_name\":\"outer/v\",\"lvs_name\":\"inner\",\"cluster_sz\":65536}"},
	};
	struct world *world = world_start(false);
	json_t *config, *entry;
	const char *name;
	char text[128];

	SAY_ALL(world, calls);
	config = config_of(world, "bdev", false);
	assert_int_equal(json_array_size(config), 4);
	entry = json_array_get(config, 2);
	assert_string_equal(json_string_value(json_object_get(entry, "method")), "bdev_examine");
	name = json_string_value(json_object_get(json_object_get(entry, "params"), "name"));
	snprintf(text, sizeof(text), "{\"name\":\"%s\"}", name);
	assert_non_null(strstr(world_call(world, "bdev_get_bdevs", text), "\"outer/v\""));
	json_decref(config);
	world_end(world);
}

static void a_controller_without_its_device_is_left_out(void **state)
{
	static const char *const calls[][2] = {
		{"bdev_null_create", "{\"name\":\"n\",\"num_blocks\":8,\"block_size\":512}"},
		{"vhost_create_blk_controller", "{\"ctrlr\":\"b\",\"dev_name\":\"n\"}"},
		{"bdev_null_delete", "{\"name\":\"n\"}"},
	};
	struct world *world = world_start(false);

	SAY_ALL(world, calls);
	assert_string_equal(world_call(world, "framework_get_config", "{\"name\":\"vhost_blk\"}"),
		"\"result\":[]");
	world_end(world);
}

/* ---- for the state ------------------------------------------------------------------------- */

static void the_state_leaves_out_what_nobody_chose(void **state)
{
	struct world *world = with_a_file();
	json_t *config;
	char *text;

	make_much(world);
	config = control_get_config(world->methods);
	text = json_dumps(config, JSON_COMPACT);
	assert_null(strstr(text, "_set_options"));
	assert_null(strstr(text, "cpumask"));
	assert_int_equal(json_array_size(config), ARRAY_SIZE(subsystems));
	free(text);
	json_decref(config);
	world_end(world);
}

struct stop {
	struct message message;
	struct world *world;
	json_t *config;
	bool done;
};

static void limits_lifted(void *arg, int rc)
{
	struct stop *stop = arg;

	assert_int_equal(rc, 0);
	stop->config = control_get_config(stop->world->methods);
	stop->done = true;
}

/* As the daemon does while a change may be under way. */
static void stop_begins(struct message *message)
{
	static const struct bdev_limits none;
	struct stop *stop = container_of(message, struct stop, message);

	control_stop(stop->world->methods);
	bdev_set_limits(bdev_find(stop->world->registry, "n"), &none, limits_lifted, stop);
}

static bool stop_is_done(void *arg)
{
	return ((struct stop *)arg)->done;
}

static void limits_that_the_stop_lifts_are_kept(void **state)
{
	static const char *const calls[][2] = {
		{"bdev_null_create", "{\"name\":\"n\",\"num_blocks\":8,\"block_size\":512}"},
		{"bdev_set_qos_limit", "{\"name\":\"n\",\"rw_ios_per_sec\":7000}"},
	};
	struct world *world = world_start(false);
	struct stop stop = {.message.run = stop_begins, .world = world};
	char *text;

	SAY_ALL(world, calls);
	reactor_send(world->control, &stop.message);
	assert_true(sim_run(world->sim, stop_is_done, &stop, SEC_NS));
	text = json_dumps(stop.config, JSON_COMPACT);
	assert_non_null(strstr(text, "\"rw_ios_per_sec\":7000"));
	free(text);
	json_decref(stop.config);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(subsystems_are_listed_after_what_they_depend_on),
		cmocka_unit_test(options_are_for_the_start_and_told_again),
		cmocka_unit_test(what_is_told_makes_the_same_again),
		cmocka_unit_test(a_device_is_encrypted_again_and_its_key_is_told_nobody),
		cmocka_unit_test(a_controller_that_waits_for_its_start_still_waits),
		cmocka_unit_test(a_store_within_a_volume_is_asked_for_by_name),
		cmocka_unit_test(a_controller_without_its_device_is_left_out),
		cmocka_unit_test(the_state_leaves_out_what_nobody_chose),
		cmocka_unit_test(limits_that_the_stop_lifts_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
