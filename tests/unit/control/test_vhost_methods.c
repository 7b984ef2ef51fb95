/* SPDX-License-Identifier: BSD-2-Clause */
/* The vhost methods: results, listings, and every error with its code and text. */
#include <string.h>

#include "control_world.h"

#define V_INVALID   ERROR(-32602, "Invalid argument")
#define V_EXISTS    ERROR(-32602, "File exists")
#define V_NO_DEVICE ERROR(-32602, "No such device")
#define V_IO        ERROR(-32602, "Input/output error")
#define V_NO_SPACE  ERROR(-32602, "No space left on device")
#define V_BUSY      ERROR(-32602, "Device or resource busy")

static const struct exchange make_devices[] = {
	{"bdev_null_create", "{\"name\":\"n0\",\"num_blocks\":8,\"block_size\":512}",
		"\"result\":\"n0\""},
	{"bdev_null_create", "{\"name\":\"n1\",\"num_blocks\":8,\"block_size\":512}",
		"\"result\":\"n1\""},
};

static void blk_controllers_are_created_and_refused_as_clients_expect(void **state)
{
	static const struct exchange exchanges[] = {
		{"vhost_create_blk_controller", "{\"ctrlr\":\"b\",\"dev_name\":\"n0\"}",
			TRUE_RESULT},
		{"vhost_create_blk_controller", "{\"ctrlr\":\"b\",\"dev_name\":\"n1\"}", V_EXISTS},
		{"vhost_create_scsi_controller", "{\"ctrlr\":\"b\"}", V_EXISTS},
		{"vhost_create_blk_controller", "{\"ctrlr\":\"c\",\"dev_name\":\"zz\"}",
			V_NO_DEVICE},
		{"vhost_create_blk_controller", "{\"ctrlr\":\"c\"}", V_INVALID},
		{"vhost_create_blk_controller", NULL, V_INVALID},
		{"vhost_create_blk_controller",
			"{\"ctrlr\":\"c\",\"dev_name\":\"n0\",\"readonly\":1}", V_INVALID},
		{"vhost_create_blk_controller",
			"{\"ctrlr\":\"c\",\"dev_name\":\"n0\",\"transport\":\"other\"}", V_INVALID},
		{"vhost_create_blk_controller",
			"{\"ctrlr\":\"c\",\"dev_name\":\"n0\",\"cpumask\":\"0x2\"}", V_INVALID},
		{"vhost_create_blk_controller",
			"{\"ctrlr\":\"c\",\"dev_name\":\"n0\",\"cpumask\":\"\"}", V_INVALID},
		{"vhost_create_blk_controller",
			"{\"ctrlr\":\"c\",\"dev_name\":\"n0\",\"cpumask\":\"0x0\"}", V_INVALID},
		{"vhost_create_blk_controller",
			"{\"ctrlr\":\"c\",\"dev_name\":\"n0\",\"cpumask\":\"x\"}", V_INVALID},
		{"vhost_create_blk_controller", "{\"ctrlr\":\"\",\"dev_name\":\"n0\"}", V_IO},
		{"vhost_create_blk_controller", "{\"ctrlr\":\".\",\"dev_name\":\"n0\"}", V_IO},
		{"vhost_create_blk_controller",
			"{\"ctrlr\":\"c\",\"dev_name\":\"n0\",\"when_full\":\"stop\"}", V_INVALID},
		/* Unknown parameters are the transport's; controllers may share a device. */
		{"vhost_create_blk_controller",
			"{\"ctrlr\":\"c\",\"dev_name\":\"n0\",\"readonly\":true,\"packed_ring\":"
			"true,"
			"\"when_full\":\"error\","
			"\"cpumask\":\"[0]\",\"transport\":\"vhost_user_blk\",\"more\":[1]}",
			TRUE_RESULT},
		{"vhost_get_controllers", "{\"name\":\"c\"}",
			"\"result\":[{\"ctrlr\":\"c\",\"cpumask\":\"0x1\",\"delay_base_us\":0,"
			"\"iops_threshold\":60000,\"socket\":\"/vhost/c\",\"when_full\":\"error\","
			"\"sessions\":[],"
			"\"backend_specific\":{\"block\":{\"readonly\":true,\"bdev\":\"n0\","
			"\"transport\":\"vhost_user_blk\"}}}]"},
		{"vhost_start_scsi_controller", "{\"ctrlr\":\"b\"}", V_INVALID},
		{"vhost_scsi_controller_add_target",
			"{\"ctrlr\":\"b\",\"scsi_target_num\":0,\"bdev_name\":\"n1\"}", V_INVALID},
		{"vhost_scsi_controller_remove_target", "{\"ctrlr\":\"b\",\"scsi_target_num\":0}",
			V_INVALID},
		{"vhost_delete_controller", "{\"ctrlr\":\"zz\"}", V_NO_DEVICE},
		{"vhost_delete_controller", "{}", V_INVALID},
		{"vhost_delete_controller", "{\"ctrlr\":\"b\"}", TRUE_RESULT},
		{"vhost_delete_controller", "{\"ctrlr\":\"b\"}", V_NO_DEVICE},
	};
	struct world *world = world_start(false);

	EXPECT(world, make_devices);
	EXPECT(world, exchanges);
	world_end(world);
}

static void scsi_controllers_and_targets_are_as_clients_expect(void **state)
{
	static const struct exchange exchanges[] = {
		{"vhost_create_scsi_controller", "{\"ctrlr\":\"s\"}", TRUE_RESULT},
		{"vhost_create_scsi_controller", "{\"ctrlr\":\"s\"}", V_EXISTS},
		{"vhost_create_scsi_controller", "{\"ctrlr\":\"t\",\"more\":1}", V_INVALID},
		{"vhost_create_scsi_controller", "{\"ctrlr\":\"t\",\"cpumask\":\"0x3\"}",
			V_INVALID},
		{"vhost_create_scsi_controller", "{\"ctrlr\":\"d\",\"delay\":true}", TRUE_RESULT},
		{"vhost_start_scsi_controller", "{\"ctrlr\":\"d\"}", TRUE_RESULT},
		{"vhost_start_scsi_controller", "{\"ctrlr\":\"d\"}", TRUE_RESULT},
		{"vhost_start_scsi_controller", "{\"ctrlr\":\"zz\"}", V_NO_DEVICE},
		{"vhost_scsi_controller_add_target",
			"{\"ctrlr\":\"s\",\"scsi_target_num\":1,\"bdev_name\":\"n0\"}",
			"\"result\":1"},
		{"vhost_scsi_controller_add_target",
			"{\"ctrlr\":\"s\",\"scsi_target_num\":-1,\"bdev_name\":\"n1\"}",
			"\"result\":0"},
		{"vhost_scsi_controller_add_target",
			"{\"ctrlr\":\"s\",\"scsi_target_num\":1,\"bdev_name\":\"n1\"}", V_EXISTS},
		{"vhost_scsi_controller_add_target",
			"{\"ctrlr\":\"s\",\"scsi_target_num\":2,\"bdev_name\":\"zz\"}", V_INVALID},
		{"vhost_scsi_controller_add_target",
			"{\"ctrlr\":\"s\",\"scsi_target_num\":-2,\"bdev_name\":\"n1\"}", V_INVALID},
		{"vhost_scsi_controller_add_target",
			"{\"ctrlr\":\"s\",\"scsi_target_num\":1000,\"bdev_name\":\"n1\"}",
			V_INVALID},
		{"vhost_scsi_controller_add_target",
			"{\"ctrlr\":\"zz\",\"scsi_target_num\":2,\"bdev_name\":\"n1\"}",
			V_NO_DEVICE},
		{"vhost_scsi_controller_add_target", "{\"ctrlr\":\"s\",\"scsi_target_num\":2}",
			V_INVALID},
		{"vhost_get_controllers", "{}",
			"\"result\":[{\"ctrlr\":\"d\",\"cpumask\":\"0x1\",\"delay_base_us\":0,"
			"\"iops_threshold\":60000,\"socket\":\"/vhost/d\",\"when_full\":\"error\","
			"\"sessions\":[],"
			"\"backend_specific\":{\"scsi\":[]}},"
			"{\"ctrlr\":\"s\",\"cpumask\":\"0x1\",\"delay_base_us\":0,"
			"\"iops_threshold\":60000,\"socket\":\"/vhost/s\",\"when_full\":\"error\","
			"\"sessions\":[],"
			"\"backend_specific\":{\"scsi\":[{\"scsi_dev_num\":0,\"id\":1,\"target_"
			"name\":"
			"\"Target 0\",\"luns\":[{\"id\":0,\"bdev_name\":\"n1\"}]},"
			"{\"scsi_dev_num\":1,\"id\":0,\"target_name\":\"Target 1\",\"luns\":"
			"[{\"id\":0,\"bdev_name\":\"n0\"}]}]}}]"},
		{"scsi_get_devices", NULL,
			"\"result\":[{\"id\":1,\"device_name\":\"Target 0\"},"
			"{\"id\":0,\"device_name\":\"Target 1\"}]"},
		{"vhost_scsi_controller_remove_target", "{\"ctrlr\":\"s\",\"scsi_target_num\":1}",
			TRUE_RESULT},
		{"vhost_scsi_controller_remove_target", "{\"ctrlr\":\"s\",\"scsi_target_num\":1}",
			V_BUSY},
		{"vhost_scsi_controller_remove_target",
			"{\"ctrlr\":\"s\",\"scsi_target_num\":1000}", V_INVALID},
		{"vhost_scsi_controller_remove_target", "{\"ctrlr\":\"zz\",\"scsi_target_num\":0}",
			V_NO_DEVICE},
		{"vhost_scsi_controller_remove_target", "{\"ctrlr\":\"s\",\"scsi_target_num\":-1}",
			V_INVALID},
		{"vhost_delete_controller", "{\"ctrlr\":\"s\"}", TRUE_RESULT},
	};
	struct world *world = world_start(false);

	EXPECT(world, make_devices);
	EXPECT(world, exchanges);
	world_end(world);
}

static void targets_have_luns_for_clients_that_know_of_them(void **state)
{
#define ADD    "vhost_scsi_controller_add_target"
#define REMOVE "vhost_scsi_controller_remove_target"
	static const struct exchange exchanges[] = {
		{"vhost_create_scsi_controller", "{\"ctrlr\":\"s\"}", TRUE_RESULT},
		{ADD, "{\"ctrlr\":\"s\",\"scsi_target_num\":2,\"bdev_name\":\"n0\",\"lun\":300}",
			"\"result\":2"},
		{ADD, "{\"ctrlr\":\"s\",\"scsi_target_num\":2,\"bdev_name\":\"n1\"}", V_EXISTS},
		{ADD, "{\"ctrlr\":\"s\",\"scsi_target_num\":2,\"bdev_name\":\"n1\",\"lun\":300}",
			V_EXISTS},
		{ADD, "{\"ctrlr\":\"s\",\"scsi_target_num\":2,\"bdev_name\":\"n1\",\"lun\":-1}",
			V_INVALID},
		{ADD, "{\"ctrlr\":\"s\",\"scsi_target_num\":2,\"bdev_name\":\"n1\",\"lun\":16384}",
			V_INVALID},
		{ADD, "{\"ctrlr\":\"s\",\"scsi_target_num\":2,\"bdev_name\":\"n1\",\"lun\":\"0\"}",
			V_INVALID},
		{ADD, "{\"ctrlr\":\"s\",\"scsi_target_num\":2,\"bdev_name\":\"n1\",\"lun\":0}",
			"\"result\":2"},
		{ADD, "{\"ctrlr\":\"s\",\"scsi_target_num\":-1,\"bdev_name\":\"n1\",\"lun\":1}",
			"\"result\":0"},
		{"vhost_get_controllers", "{}",
			"\"result\":[{\"ctrlr\":\"s\",\"cpumask\":\"0x1\",\"delay_base_us\":0,"
			"\"iops_threshold\":60000,\"socket\":\"/vhost/s\",\"when_full\":\"error\","
			"\"sessions\":[],"
			"\"backend_specific\":{\"scsi\":[{\"scsi_dev_num\":0,\"id\":1,\"target_"
			"name\":"
			"\"Target 0\",\"luns\":[{\"id\":1,\"bdev_name\":\"n1\"}]},"
			"{\"scsi_dev_num\":2,\"id\":0,\"target_name\":\"Target 2\",\"luns\":"
			"[{\"id\":0,\"bdev_name\":\"n1\"},{\"id\":300,\"bdev_name\":\"n0\"}]}]}}]"},
		{"scsi_get_devices", NULL,
			"\"result\":[{\"id\":1,\"device_name\":\"Target 0\"},"
			"{\"id\":0,\"device_name\":\"Target 2\"}]"},
		{REMOVE, "{\"ctrlr\":\"s\",\"scsi_target_num\":2,\"lun\":1}", V_BUSY},
		{REMOVE, "{\"ctrlr\":\"s\",\"scsi_target_num\":2,\"lun\":-1}", V_INVALID},
		{REMOVE, "{\"ctrlr\":\"s\",\"scsi_target_num\":2,\"lun\":0}", TRUE_RESULT},
		{REMOVE, "{\"ctrlr\":\"s\",\"scsi_target_num\":2,\"lun\":0}", V_BUSY},
		{ADD, "{\"ctrlr\":\"s\",\"scsi_target_num\":2,\"bdev_name\":\"n1\",\"lun\":1}",
			"\"result\":2"},
		{REMOVE, "{\"ctrlr\":\"s\",\"scsi_target_num\":2}", TRUE_RESULT},
		{REMOVE, "{\"ctrlr\":\"s\",\"scsi_target_num\":2}", V_BUSY},
		{"scsi_get_devices", NULL, "\"result\":[{\"id\":1,\"device_name\":\"Target 0\"}]"},
		{"vhost_delete_controller", "{\"ctrlr\":\"s\"}", TRUE_RESULT},
	};
	struct world *world = world_start(false);

	EXPECT(world, make_devices);
	EXPECT(world, exchanges);
	world_end(world);
}

static void the_ninth_target_of_any_number_finds_no_space(void **state)
{
	struct world *world = world_start(false);
	const char *add = "{\"ctrlr\":\"s\",\"scsi_target_num\":-1,\"bdev_name\":\"n0\"}";

	EXPECT(world, make_devices);
	world_call(world, "vhost_create_scsi_controller", "{\"ctrlr\":\"s\"}");
	for (char i = '0'; i < '8'; i++) {
		const char *answer = world_call(world, "vhost_scsi_controller_add_target", add);

		assert_memory_equal(answer, "\"result\":", 9);
		assert_int_equal(answer[9], i);
	}
	assert_string_equal(world_call(world, "vhost_scsi_controller_add_target", add), V_NO_SPACE);
	world_end(world);
}

static void a_removed_device_disappears_from_its_controllers(void **state)
{
	static const struct exchange exchanges[] = {
		{"vhost_create_blk_controller", "{\"ctrlr\":\"b\",\"dev_name\":\"n0\"}",
			TRUE_RESULT},
		{"vhost_create_scsi_controller", "{\"ctrlr\":\"s\"}", TRUE_RESULT},
		{"vhost_scsi_controller_add_target",
			"{\"ctrlr\":\"s\",\"scsi_target_num\":0,\"bdev_name\":\"n0\"}",
			"\"result\":0"},
		{"bdev_null_delete", "{\"name\":\"n0\"}", TRUE_RESULT},
		{"vhost_get_controllers", NULL,
			"\"result\":[{\"ctrlr\":\"b\",\"cpumask\":\"0x1\",\"delay_base_us\":0,"
			"\"iops_threshold\":60000,\"socket\":\"/vhost/b\",\"when_full\":\"wait\","
			"\"sessions\":[],"
			"\"backend_specific\":{\"block\":{\"readonly\":false,\"bdev\":null,"
			"\"transport\":\"vhost_user_blk\"}}},"
			"{\"ctrlr\":\"s\",\"cpumask\":\"0x1\",\"delay_base_us\":0,"
			"\"iops_threshold\":60000,\"socket\":\"/vhost/s\",\"when_full\":\"error\","
			"\"sessions\":[],"
			"\"backend_specific\":{\"scsi\":[]}}]"},
	};
	struct world *world = world_start(false);

	EXPECT(world, make_devices);
	EXPECT(world, exchanges);
	world_end(world);
}

static void listings_and_transports_are_as_clients_expect(void **state)
{
	static const struct exchange exchanges[] = {
		{"vhost_get_controllers", NULL, "\"result\":[]"},
		{"vhost_get_controllers", "{\"name\":\"zz\"}", ERROR(-32603, "No such device")},
		{"vhost_get_controllers", "{\"name\":5}", ERROR(-32603, "Invalid argument")},
		{"scsi_get_devices", "{}", "\"result\":[]"},
		{"scsi_get_devices", "{\"x\":1}",
			ERROR(-32602, "scsi_get_devices requires no parameters")},
		{"virtio_blk_get_transports", NULL, "\"result\":[{\"name\":\"vhost_user_blk\"}]"},
		{"virtio_blk_get_transports", "{\"name\":\"vhost_user_blk\"}",
			"\"result\":[{\"name\":\"vhost_user_blk\"}]"},
		{"virtio_blk_get_transports", "{\"name\":\"zz\"}", NO_DEVICE},
		{"virtio_blk_get_transports", "{\"zz\":1}", ERROR(-32602, "Invalid parameters")},
		{"virtio_blk_create_transport", "{\"name\":\"vhost_user_blk\"}", EXISTS},
		{"virtio_blk_create_transport", "{\"name\":\"zz\"}",
			ERROR(-2, "No such file or directory")},
		{"virtio_blk_create_transport", "{}", INVALID},
	};
	struct world *world = world_start(false);

	EXPECT(world, exchanges);
	world_end(world);
}

static void queues_are_placed_and_listed_before_they_are_there(void **state)
{
	static const struct exchange exchanges[] = {
		{"vhost_create_blk_controller", "{\"ctrlr\":\"b\",\"dev_name\":\"n0\"}",
			TRUE_RESULT},
		{"vhost_create_scsi_controller", "{\"ctrlr\":\"s\"}", TRUE_RESULT},
		{"vhost_get_queues", NULL,
			"\"result\":[{\"ctrlr\":\"b\",\"queues\":[]},"
			"{\"ctrlr\":\"s\",\"queues\":[]}]"},
		{"vhost_controller_set_queue_placement", "{\"ctrlr\":\"b\",\"queue\":3,\"cpu\":0}",
			TRUE_RESULT},
		{"vhost_get_queues", "{\"ctrlr\":\"b\"}",
			"\"result\":[{\"ctrlr\":\"b\",\"queues\":[{\"queue\":3,\"cpu\":0,"
			"\"pinned\":true,\"running\":false,\"moving\":false,\"size\":0,"
			"\"inflight\":0,\"waiting_for_space\":0,\"requests\":0,\"bytes\":0,"
			"\"moves\":0}]}]"},
		{"vhost_controller_set_queue_placement", "{\"ctrlr\":\"b\",\"queue\":3}",
			TRUE_RESULT},
		{"vhost_get_queues", "{\"ctrlr\":\"b\"}",
			"\"result\":[{\"ctrlr\":\"b\",\"queues\":[]}]"},
		{"vhost_get_queues", "{\"ctrlr\":\"zz\"}", V_NO_DEVICE},
		{"vhost_get_queues", "{\"ctrlr\":1}", V_INVALID},
		{"vhost_controller_set_queue_placement", "{\"ctrlr\":\"zz\",\"queue\":0,\"cpu\":0}",
			V_NO_DEVICE},
		{"vhost_controller_set_queue_placement", "{\"ctrlr\":\"b\",\"cpu\":0}", V_INVALID},
		{"vhost_controller_set_queue_placement", "{\"ctrlr\":\"b\",\"queue\":0,\"cpu\":1}",
			V_INVALID},
		{"vhost_controller_set_queue_placement", "{\"ctrlr\":\"b\",\"queue\":64,\"cpu\":0}",
			V_INVALID},
		{"vhost_controller_set_queue_placement", "{\"ctrlr\":\"b\",\"queue\":-1,\"cpu\":0}",
			V_INVALID},
	};
	struct world *world = world_start(false);

	EXPECT(world, make_devices);
	EXPECT(world, exchanges);
	world_end(world);
}

static void coalescing_is_set_and_refused_as_clients_expect(void **state)
{
	static const struct exchange exchanges[] = {
		{"vhost_create_blk_controller", "{\"ctrlr\":\"b\",\"dev_name\":\"n0\"}",
			TRUE_RESULT},
		{"vhost_controller_set_coalescing",
			"{\"ctrlr\":\"b\",\"delay_base_us\":20,\"iops_threshold\":100}",
			TRUE_RESULT},
		{"vhost_get_controllers", NULL,
			"\"result\":[{\"ctrlr\":\"b\",\"cpumask\":\"0x1\",\"delay_base_us\":20,"
			"\"iops_threshold\":100,\"socket\":\"/vhost/b\",\"when_full\":\"wait\","
			"\"sessions\":[],"
			"\"backend_specific\":{\"block\":{\"readonly\":false,\"bdev\":\"n0\","
			"\"transport\":\"vhost_user_blk\"}}}]"},
		{"vhost_controller_set_coalescing",
			"{\"ctrlr\":\"b\",\"delay_base_us\":20,\"iops_threshold\":99}", V_INVALID},
		{"vhost_controller_set_coalescing",
			"{\"ctrlr\":\"b\",\"delay_base_us\":4294968,\"iops_threshold\":100}",
			V_INVALID},
		{"vhost_controller_set_coalescing",
			"{\"ctrlr\":\"b\",\"delay_base_us\":4294967,\"iops_threshold\":100}",
			TRUE_RESULT},
		{"vhost_controller_set_coalescing",
			"{\"ctrlr\":\"zz\",\"delay_base_us\":20,\"iops_threshold\":100}",
			V_NO_DEVICE},
		{"vhost_controller_set_coalescing", "{\"ctrlr\":\"b\",\"delay_base_us\":20}",
			V_INVALID},
		{"vhost_controller_set_coalescing",
			"{\"ctrlr\":\"b\",\"delay_base_us\":-1,\"iops_threshold\":100}", V_INVALID},
	};
	struct world *world = world_start(false);

	EXPECT(world, make_devices);
	EXPECT(world, exchanges);
	world_end(world);
}

static void the_device_of_a_store_is_no_disk_of_a_machine(void **state)
{
	static const struct exchange exchanges[] = {
		{"vhost_create_scsi_controller", "{\"ctrlr\":\"s\"}", "\"result\":true"},
		{"vhost_scsi_controller_add_target",
			"{\"ctrlr\":\"s\",\"scsi_target_num\":0,\"bdev_name\":\"m\"}",
			ERROR(-32602, "Operation not permitted")},
		{"vhost_create_blk_controller", "{\"ctrlr\":\"b\",\"dev_name\":\"m\"}",
			ERROR(-32602, "Operation not permitted")},
	};
	struct world *world = world_start(false);

	world_call(world, "bdev_malloc_create",
		"{\"num_blocks\":262144,\"block_size\":512,\"name\":\"m\"}");
	world_call(
		world, "bdev_lvol_create_lvstore", "{\"bdev_name\":\"m\",\"lvs_name\":\"lvs0\"}");
	EXPECT(world, exchanges);
	assert_non_null(strstr(
		world_call(world, "vhost_get_controllers", "{\"name\":\"s\"}"), "\"scsi\":[]"));
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(blk_controllers_are_created_and_refused_as_clients_expect),
		cmocka_unit_test(scsi_controllers_and_targets_are_as_clients_expect),
		cmocka_unit_test(targets_have_luns_for_clients_that_know_of_them),
		cmocka_unit_test(the_ninth_target_of_any_number_finds_no_space),
		cmocka_unit_test(a_removed_device_disappears_from_its_controllers),
		cmocka_unit_test(listings_and_transports_are_as_clients_expect),
		cmocka_unit_test(queues_are_placed_and_listed_before_they_are_there),
		cmocka_unit_test(coalescing_is_set_and_refused_as_clients_expect),
		cmocka_unit_test(the_device_of_a_store_is_no_disk_of_a_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
