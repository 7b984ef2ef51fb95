/* SPDX-License-Identifier: BSD-2-Clause */
/* The methods about the daemon itself: what it can do, states, log, threads. */
#include <string.h>

#include "control_world.h"

static void the_framework_methods_answer_as_clients_expect(void **state)
{
	static const struct exchange exchanges[] = {
		{"spdk_get_version", NULL,
			"\"result\":{\"version\":\"SPDK v26.05 compatible: Sluice "
			"test\",\"fields\":"
			"{\"major\":26,\"minor\":5,\"patch\":0,\"suffix\":\"\"}}"},
		{"spdk_get_version", "{\"x\":1}",
			ERROR(-32602, "spdk_get_version requires no parameters")},
		{"framework_wait_init", NULL, TRUE_RESULT},
		{"bdev_wait_for_examine", "{}", TRUE_RESULT},
		{"bdev_wait_for_examine", "{\"x\":1}",
			ERROR(-32602, "bdev_wait_for_examine requires no parameters")},
		{"spdk_kill_instance", "{\"sig_name\":\"SIGFOO\"}",
			ERROR(-32602, "Invalid parameters")},
		{"spdk_kill_instance", "{\"sig_name\":\"sigterm\"}",
			ERROR(-32602, "Invalid parameters")},
		{"spdk_kill_instance", NULL, ERROR(-32602, "Invalid parameters")},
		{"rpc_get_methods", "{\"current\":1}", ERROR(-32602, "Invalid parameters")},
		{"log_set_print_level", "{\"level\":\"ERROR\"}", TRUE_RESULT},
		{"log_get_print_level", NULL, "\"result\":\"ERROR\""},
		{"log_set_print_level", "{\"level\":\"warning\"}", TRUE_RESULT},
		{"log_get_print_level", NULL, "\"result\":\"WARNING\""},
		{"log_set_print_level", "{\"level\":\"LOUD\"}", DECODE},
		{"log_get_print_level", "{\"x\":1}",
			ERROR(-32602, "log_get_print_level requires no parameters")},
		{"framework_get_reactors", "{\"x\":1}",
			ERROR(-32602, "`framework_get_reactors` requires no arguments")},
		{"thread_get_stats", "{\"x\":1}",
			ERROR(-32602, "'thread_get_stats' requires no arguments")},
		/* What is not there does not exist. */
		{"bdev_raid_create", "{}", ERROR(-32601, "Method not found")},
		{"bdev_nvme_opal_init", "{}", ERROR(-32601, "Method not found")},
	};
	struct world *world = world_start(false);

	EXPECT(world, exchanges);
	world_end(world);
}

static void methods_are_listed_and_current_ones_apart(void **state)
{
	struct world *world = world_start(false);
	const char *list;

	list = world_call(world, "rpc_get_methods", NULL);
	assert_non_null(strstr(list, "\"framework_start_init\""));
	assert_non_null(strstr(list, "\"bdev_get_bdevs\""));
	list = world_call(world, "rpc_get_methods", "{\"current\":true,\"include_aliases\":true}");
	assert_null(strstr(list, "\"framework_start_init\""));
	assert_non_null(strstr(list, "\"bdev_get_bdevs\""));
	world_end(world);
}

#define TOO_EARLY                                                                                  \
	ERROR(-1, "Method may only be called after framework is initialized using "                \
		  "framework_start_init RPC.")
#define TOO_LATE                                                                                   \
	ERROR(-1,                                                                                  \
		"Method may only be called before framework is initialized. Use --wait-for-rpc "   \
		"command line parameter and then issue this RPC before the framework_start_init "  \
		"RPC.")

static void before_the_start_only_methods_for_then_are_allowed(void **state)
{
	static const struct exchange before[] = {
		{"bdev_get_bdevs", NULL, TOO_EARLY},
		{"vhost_get_controllers", NULL, TOO_EARLY},
		{"spdk_kill_instance", "{\"sig_name\":\"SIGTERM\"}", TOO_EARLY},
		{"log_get_print_level", NULL, "\"result\":\"WARNING\""},
	};
	static const struct exchange after[] = {
		{"framework_start_init", NULL, TOO_LATE},
		{"bdev_get_bdevs", NULL, "\"result\":[]"},
	};
	struct world *world = world_start(true);
	const char *list = world_call(world, "rpc_get_methods", "{\"current\":true}");

	assert_non_null(strstr(list, "\"framework_start_init\""));
	assert_null(strstr(list, "\"bdev_get_bdevs\""));
	EXPECT(world, before);
	world_say(world, "framework_wait_init", NULL);
	assert_true(world_hears_nothing(world));
	/* Both answers: that of the one who waited, and that of the one who started. */
	world_say(world, "framework_start_init", NULL);
	assert_string_equal(world_hear(world), TRUE_RESULT);
	assert_string_equal(world_hear(world), TRUE_RESULT);
	EXPECT(world, after);
	world_end(world);
}

static void who_waits_for_a_start_that_never_comes_is_answered_at_the_end(void **state)
{
	struct world *world = world_start(true);

	world_say(world, "framework_wait_init", NULL);
	assert_true(world_hears_nothing(world));
	world_end(world);
}

/* The names of the members of an object, in order. */
static void expect_members(json_t *object, const char *names)
{
	char found[512] = "";
	const char *name;
	json_t *value;

	assert_true(json_is_object(object));
	json_object_foreach(object, name, value)
	{
		strcat(found, name);
		strcat(found, " ");
	}
	assert_string_equal(found, names);
}

static json_t *result_of(struct world *world, const char *method)
{
	char text[8192] = "{";
	json_t *answer;

	strncat(text, world_call(world, method, NULL), sizeof(text) - 3);
	strcat(text, "}");
	answer = json_loads(text, 0, NULL);
	assert_non_null(json_object_get(answer, "result"));
	return answer;
}

static void reactors_and_threads_have_exactly_the_members_that_are_decoded(void **state)
{
	struct world *world = world_start(false);
	json_t *answer = result_of(world, "framework_get_reactors");
	json_t *result = json_object_get(answer, "result");
	json_t *list = json_object_get(result, "reactors");
	size_t i;
	json_t *entry;

	expect_members(result, "tick_rate pid reactors ");
	assert_int_equal(json_array_size(list), 2);
	json_array_foreach(list, i, entry)
	{
		expect_members(
			entry, "lcore numa_id tid busy idle in_interrupt irq sys usr lw_threads ");
		expect_members(json_array_get(json_object_get(entry, "lw_threads"), 0),
			"name id cpumask elapsed ");
	}
	json_decref(answer);
	answer = result_of(world, "thread_get_stats");
	result = json_object_get(answer, "result");
	list = json_object_get(result, "threads");
	expect_members(result, "tick_rate threads ");
	assert_int_equal(json_array_size(list), 2);
	json_array_foreach(list, i, entry)
		expect_members(entry, "name id cpumask busy idle active_pollers_count "
				      "timed_pollers_count paused_pollers_count ");
	assert_string_equal(
		json_string_value(json_object_get(json_array_get(list, 0), "name")), "app_thread");
	json_decref(answer);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_framework_methods_answer_as_clients_expect),
		cmocka_unit_test(methods_are_listed_and_current_ones_apart),
		cmocka_unit_test(before_the_start_only_methods_for_then_are_allowed),
		cmocka_unit_test(who_waits_for_a_start_that_never_comes_is_answered_at_the_end),
		cmocka_unit_test(reactors_and_threads_have_exactly_the_members_that_are_decoded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
