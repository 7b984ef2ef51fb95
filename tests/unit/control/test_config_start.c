/* SPDX-License-Identifier: BSD-2-Clause */
/* A configuration applied at the start: its form, its two passes, and what comes of failures. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_world.h"

#define NULL_DEVICE(name)                                                                          \
	"{\"method\":\"bdev_null_create\",\"params\":{\"name\":\"" name                            \
	"\",\"num_blocks\":8,\"block_size\":512}}"
#define FILE_DEVICE(name)                                                                          \
	"{\"method\":\"bdev_aio_create\",\"params\":{\"name\":\"" name                             \
	"\",\"filename\":\"/images/" name "\"}}"
#define IN(subsystem, entries) "{\"subsystem\":\"" subsystem "\",\"config\":[" entries "]}"

static void what_is_of_another_form_is_refused_before_anything_is_called(void **state)
{
	static const struct {
		const char *config, *why;
	} cases[] = {
		{"{}", "no array"},
		{"[1]", "two members"},
		{"[{\"subsystem\":\"bdev\"}]", "two members"},
		{"[{\"subsystem\":1,\"config\":[]}]", "two members"},
		{"[{\"subsystem\":\"bdev\",\"config\":[],\"x\":1}]", "two members"},
		{"[{\"subsystem\":\"bdev\",\"config\":1}]", "neither an array nor null"},
		{"[" IN("bdev", NULL_DEVICE("n") ",1") "]", "entry 2 of subsystem bdev"},
		{"[" IN("bdev", "{}") "]", "no object with a method"},
		{"[" IN("bdev", "{\"method\":\"bdev_examine\",\"params\":1}") "]", "params"},
		{"[" IN("bdev", "{\"method\":\"bdev_examine\",\"x\":1}") "]", "beside method"},
		{"[" IN("bdev", NULL_DEVICE("n") ",{\"method\":\"bdev_make\"}") "]",
			"calls bdev_make"},
		{"[" IN("bdev", "[{\"method\":\"bdev_make\"}]") "]", "calls bdev_make"},
		{"[" IN("bdev", "[[]]") "]", "no object with a method"},
		{"[" IN("bdev", "[{\"method\":\"bdev_set_options\"},"
				"{\"method\":\"bdev_wait_for_examine\"}]") "]",
			"never possible together"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct world *world = world_start_configured(cases[i].config, CONFIG_STOP, false);

		assert_int_equal(world->start_rc, -EINVAL);
		if (!strstr(world->reason.text, cases[i].why))
			fail_msg("%s: %s", cases[i].config, world->reason.text);
		world_end(world);
	}
}

static void other_programs_parts_are_passed_over(void **state)
{
	struct world *world = world_start_configured(
		"[" IN("scheduler",
			"{\"method\":\"framework_set_scheduler\"}") ","
								    "{\"subsystem\":\"nbd\","
								    "\"config\":null}," IN("bdev",
									    NULL_DEVICE("n")) "]",
		CONFIG_STOP, false);

	assert_int_equal(world->start_rc, 0);
	assert_non_null(strstr(world_call(world, "bdev_get_bdevs", NULL), "\"name\":\"n\""));
	world_end(world);
}

/* The options stand behind what is for later, and are called first all the same. */
#define BOTH_PASSES                                                                                \
	"[" IN("bdev", "[" NULL_DEVICE("n") "," NULL_DEVICE(                                       \
			       "m") "],[],"                                                        \
				    "{\"method\":\"bdev_wait_for_examine\"}") "," IN("iobuf",      \
		"{\"method\":\"iobuf_set_options\",\"params\":"                                    \
		"{\"small_pool_count\":100}}") "]"

static void options_come_before_the_start_and_devices_after_it(void **state)
{
	struct world *world = world_start_configured(BOTH_PASSES, CONFIG_STOP, true);

	assert_int_equal(world->start_rc, 0);
	world_say(world, "framework_wait_init", NULL);
	assert_true(world_hears_nothing(world));
	assert_string_equal(world_call(world, "framework_start_init", NULL), TRUE_RESULT);
	assert_string_equal(world_hear(world), TRUE_RESULT);
	assert_non_null(strstr(world_call(world, "bdev_get_bdevs", NULL), "\"name\":\"m\""));
	assert_non_null(strstr(world_call(world, "framework_get_config", "{\"name\":\"iobuf\"}"),
		"\"small_pool_count\":100,"));
	world_end(world);
}

/* ---- failures ------------------------------------------------------------------------------ */

#define TWICE "[" IN("bdev", NULL_DEVICE("n") "," NULL_DEVICE("n") "," NULL_DEVICE("m")) "]"

static void an_entry_that_fails_ends_the_start(void **state)
{
	struct world *world = world_start_configured(TWICE, CONFIG_STOP, false);

	assert_int_equal(world->start_rc, -EEXIST);
	assert_non_null(strstr(world->reason.text, "bdev_null_create n of the configuration"));
	assert_null(bdev_find(world->registry, "m"));
	world_end(world);
}

static void an_entry_that_fails_ends_the_start_that_was_asked_for(void **state)
{
	struct world *world = world_start_configured(TWICE, CONFIG_STOP, true);

	assert_int_equal(world->start_rc, 0);
	assert_string_equal(world_call(world, "framework_start_init", NULL),
		ERROR(-32603, "framework_initialization failed"));
	assert_int_equal(world->failed_rc, -EEXIST);
	assert_non_null(strstr(world->reason.text, "bdev_null_create n"));
	world_end(world);
}

static void an_entry_that_fails_may_be_passed_over(void **state)
{
	struct world *world = world_start_configured(
		"[" IN("bdev", NULL_DEVICE("n") "," NULL_DEVICE(
				       "n") ","
					    "{\"method\":\"bdev_make\"}," NULL_DEVICE("m")) "]",
		CONFIG_SKIP, false);

	assert_int_equal(world->start_rc, 0);
	assert_non_null(strstr(world_call(world, "bdev_get_bdevs", NULL), "\"name\":\"m\""));
	assert_string_equal(world_call(world, "config_get_missing", NULL), "\"result\":[]");
	world_end(world);
}

/* ---- what is missing ----------------------------------------------------------------------- */

#define DISKS                                                                                      \
	"[" IN("bdev", FILE_DEVICE("a") "," NULL_DEVICE("n") "," FILE_DEVICE(                      \
			       "b") ","                                                            \
				    "{\"method\":\"bdev_wait_for_examine\"}") "," IN("vhost_blk",  \
		"{\"method\":\"vhost_create_blk_controller\",\"params\":"                          \
		"{\"ctrlr\":\"v\",\"dev_name\":\"a\"}}") "," IN("vhost_scsi",                      \
		"{\"method\":\"vhost_create_scsi_controller\",\"params\":{\"ctrlr\":\"s\","        \
		"\"delay\":true}},"                                                                \
		"{\"method\":\"vhost_scsi_controller_add_target\",\"params\":{\"ctrlr\":\"s\","    \
		"\"scsi_target_num\":0,\"bdev_name\":\"n\"}},"                                     \
		"{\"method\":\"vhost_scsi_controller_add_target\",\"params\":{\"ctrlr\":\"s\","    \
		"\"scsi_target_num\":1,\"bdev_name\":\"b\"}},"                                     \
		"{\"method\":\"vhost_start_scsi_controller\",\"params\":{\"ctrlr\":\"s\"}}") "]"

static unsigned count_missing(struct world *world)
{
	const char *list = world_call(world, "config_get_missing", NULL);
	unsigned count = 0;

	while ((list = strstr(list, "\"error\":"))) {
		list++;
		count++;
	}
	return count;
}

static char *kept(struct world *world)
{
	json_t *config = control_get_config(world->methods);
	char *text = json_dumps(config, JSON_COMPACT);

	json_decref(config);
	return text;
}

static bool keeps(struct world *world, const char *what)
{
	char *text = kept(world);
	bool found = strstr(text, what) != NULL;

	free(text);
	return found;
}

static void what_is_missing_is_listed_and_kept_and_all_else_is_there(void **state)
{
	struct world *world = world_start_configured(DISKS, CONFIG_KEEP, false);
	const char *list;

	assert_int_equal(world->start_rc, 0);
	list = world_call(world, "config_get_missing", NULL);
	assert_non_null(strstr(list, "\"method\":\"bdev_aio_create\""));
	assert_non_null(strstr(list, "\"filename\":\"/images/a\""));
	assert_non_null(strstr(list, "\"subsystem\":\"vhost_blk\""));
	assert_int_equal(count_missing(world), 4);
	assert_non_null(strstr(
		world_call(world, "vhost_get_controllers", NULL), "\"scsi\":[{\"scsi_dev_num\":0"));
	assert_true(keeps(world, "/images/a"));
	assert_true(keeps(world, "/images/b"));
	assert_true(keeps(world, "\"ctrlr\":\"v\""));
	assert_true(keeps(world, "\"scsi_target_num\":1"));
	world_end(world);
}

/* As two stores within volumes of each other's devices may make it. */
static void what_stands_before_what_it_needs_is_set_up_all_the_same(void **state)
{
	struct world *world = world_start_configured(
		"[" IN("vhost_blk", "{\"method\":\"vhost_controller_set_coalescing\",\"params\":{"
				    "\"ctrlr\":\"v\","
				    "\"delay_base_us\":1,\"iops_threshold\":1000}},"
				    "{\"method\":\"vhost_create_blk_controller\",\"params\":"
				    "{\"ctrlr\":\"v\",\"dev_name\":\"n\"}}") "," IN("bdev",
			NULL_DEVICE("n")) "]",
		CONFIG_KEEP, false);

	assert_int_equal(count_missing(world), 0);
	assert_non_null(
		strstr(world_call(world, "vhost_get_controllers", NULL), "\"delay_base_us\":1,"));
	world_end(world);
}

static void what_has_come_back_is_set_up_when_it_is_tried_again(void **state)
{
	struct world *world = world_start_configured(DISKS, CONFIG_KEEP, false);
	char *before = kept(world);
	char *after;

	assert_non_null(strstr(world_call(world, "config_retry_missing", NULL), "/images/a"));
	assert_int_equal(count_missing(world), 4);
	sim_file_create(world->sim, "/images/b", MIB);
	world_call(world, "config_retry_missing", NULL);
	assert_int_equal(count_missing(world), 2);
	sim_file_create(world->sim, "/images/a", MIB);
	assert_string_equal(world_call(world, "config_retry_missing", NULL), "\"result\":[]");
	assert_non_null(strstr(world_call(world, "vhost_get_controllers", NULL), "\"bdev\":\"a\""));
	after = kept(world);
	assert_int_equal(strlen(after) > strlen(before), true); /* uuids have been given */
	free(before);
	free(after);
	world_end(world);
}

static void what_takes_the_place_of_the_missing_is_not_kept_twice(void **state)
{
	struct world *world = world_start_configured(DISKS, CONFIG_KEEP, false);

	world_call(
		world, "bdev_null_create", "{\"name\":\"a\",\"num_blocks\":8,\"block_size\":512}");
	assert_false(keeps(world, "/images/a"));
	assert_int_equal(count_missing(world), 3);
	world_call(world, "vhost_create_blk_controller", "{\"ctrlr\":\"v\",\"dev_name\":\"n\"}");
	assert_int_equal(count_missing(world), 2);
	world_call(world, "vhost_scsi_controller_add_target",
		"{\"ctrlr\":\"s\",\"scsi_target_num\":1,\"bdev_name\":\"a\"}");
	assert_int_equal(count_missing(world), 1);
	world_end(world);
}

static void what_belongs_to_a_controller_goes_with_it(void **state)
{
	struct world *world = world_start_configured(DISKS, CONFIG_KEEP, false);

	world_call(world, "vhost_delete_controller", "{\"ctrlr\":\"s\"}");
	assert_false(keeps(world, "\"scsi_target_num\":1"));
	assert_int_equal(count_missing(world), 3);
	world_end(world);
}

static void what_is_missing_can_be_forgotten(void **state)
{
	struct world *world = world_start_configured(DISKS, CONFIG_KEEP, false);

	assert_string_equal(world_call(world, "config_forget_missing", "{\"name\":\"x\"}"),
		ERROR(-2, "No such file or directory"));
	assert_string_equal(
		world_call(world, "config_forget_missing", "{\"name\":\"b\"}"), "\"result\":2");
	assert_int_equal(count_missing(world), 2);
	assert_string_equal(world_call(world, "config_forget_missing", NULL), "\"result\":2");
	assert_int_equal(count_missing(world), 0);
	assert_false(keeps(world, "/images"));
	world_end(world);
}

static void what_this_version_does_not_know_is_kept(void **state)
{
	struct world *world = world_start_configured(
		"[" IN("future", "{\"method\":\"future_create\",\"params\":{\"name\":\"f\"}}") "]",
		CONFIG_KEEP, false);

	assert_int_equal(count_missing(world), 1);
	assert_true(keeps(world, "\"subsystem\":\"future\""));
	world_end(world);
}

static void before_the_start_nothing_of_the_configuration_is_lost(void **state)
{
	struct world *world = world_start_configured(DISKS, CONFIG_KEEP, true);

	assert_true(keeps(world, "/images/a"));
	assert_true(keeps(world, "\"name\":\"n\""));
	assert_true(keeps(world, "vhost_start_scsi_controller"));
	world_end(world);
}

static void files_are_kept_by_their_absolute_names(void **state)
{
	struct world *world = world_start(false);

	sim_file_create(world->sim, "disk", MIB);
	world_call(world, "bdev_aio_create", "{\"name\":\"a\",\"filename\":\"disk\"}");
	assert_true(keeps(world, "\"filename\":\"/started/here/disk\""));
	assert_non_null(strstr(world_call(world, "framework_get_config", "{\"name\":\"bdev\"}"),
		"\"filename\":\"disk\""));
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_of_another_form_is_refused_before_anything_is_called),
		cmocka_unit_test(other_programs_parts_are_passed_over),
		cmocka_unit_test(options_come_before_the_start_and_devices_after_it),
		cmocka_unit_test(an_entry_that_fails_ends_the_start),
		cmocka_unit_test(an_entry_that_fails_ends_the_start_that_was_asked_for),
		cmocka_unit_test(an_entry_that_fails_may_be_passed_over),
		cmocka_unit_test(what_is_missing_is_listed_and_kept_and_all_else_is_there),
		cmocka_unit_test(what_stands_before_what_it_needs_is_set_up_all_the_same),
		cmocka_unit_test(what_has_come_back_is_set_up_when_it_is_tried_again),
		cmocka_unit_test(what_takes_the_place_of_the_missing_is_not_kept_twice),
		cmocka_unit_test(what_belongs_to_a_controller_goes_with_it),
		cmocka_unit_test(what_is_missing_can_be_forgotten),
		cmocka_unit_test(what_this_version_does_not_know_is_kept),
		cmocka_unit_test(before_the_start_nothing_of_the_configuration_is_lost),
		cmocka_unit_test(files_are_kept_by_their_absolute_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
