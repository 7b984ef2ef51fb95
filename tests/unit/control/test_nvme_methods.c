/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Methods about NVMe drives, with simulated controllers at two addresses.
 */
#include "control_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/nvme_drives.h"
#include "sim/nvme_sim.h"

#define FIRST  "0000:5a:00.0"
#define SECOND "0000:5b:00.0"

static struct nvme_sim *sims[2];
static struct nvme_sim_options sim_options = {.seed = 1, .namespaces = 2};

static int sim_open(struct os *os, const char *address, struct reason *reason,
	struct nvme_transport **ret_transport)
{
	unsigned index = strcmp(address, SECOND) == 0;

	if (!index && strcmp(address, FIRST) != 0)
		return reason_set(reason, -ENOENT, "there is no PCI function %s", address);
	assert_null(sims[index]);
	sims[index] = nvme_sim_create(os, &sim_options);
	*ret_transport = nvme_sim_transport(sims[index]);
	return 0;
}

static const struct nvme_kind kinds[] = {
	{"PCIe", sim_open},
	{0},
};

static void sims_end(void)
{
	for (unsigned i = 0; i < ARRAY_SIZE(sims); i++) {
		if (sims[i])
			assert_int_equal(nvme_sim_destroy(sims[i]), 0);
		sims[i] = NULL;
	}
}

static int set_up(void **state)
{
	world_set_drives(kinds, sims_end);
	return 0;
}

#define ATTACH(name, address)                                                                      \
	"{\"name\":\"" name "\",\"trtype\":\"PCIe\",\"traddr\":\"" address "\"}"

#define CONTROLLER(name, address)                                                                  \
	"{\"name\":\"" name "\",\"ctrlrs\":[{\"state\":\"enabled\",\"trid\":{\"trtype\":"          \
	"\"PCIe\",\"traddr\":\"" address "\"},\"cntlid\":1,\"host\":{\"nqn\":\"\",\"addr\":\"\","  \
	"\"svcid\":\"\",\"no_shn_notification\":false},\"numa_id\":-1}]}"

static void drives_are_attached_listed_and_detached(void **state)
{
	static const struct exchange exchanges[] = {
		{"bdev_nvme_get_controllers", NULL, "\"result\":[]"},
		{"bdev_nvme_attach_controller", ATTACH("Nv0", "5A:00.0"),
			"\"result\":[\"Nv0n1\",\"Nv0n2\"]"},
		{"bdev_nvme_get_controllers", NULL, "\"result\":[" CONTROLLER("Nv0", FIRST) "]"},
		{"bdev_nvme_get_controllers", "{\"name\":\"Nv0\"}",
			"\"result\":[" CONTROLLER("Nv0", FIRST) "]"},
		{"bdev_nvme_get_controllers", "{\"name\":\"zz\"}",
			ERROR(-22, "Controller zz does not exist")},
		{"bdev_nvme_reset_controller", "{\"name\":\"Nv0\"}", TRUE_RESULT},
		{"bdev_nvme_reset_controller", "{\"name\":\"zz\"}", NO_DEVICE},
		{"bdev_nvme_detach_controller", "{\"name\":\"zz\"}", NO_DEVICE},
		{"bdev_nvme_detach_controller",
			"{\"name\":\"Nv0\",\"trtype\":\"PCIe\",\"traddr\":\"" SECOND "\"}",
			ERROR(-6, "No such device or address")},
		{"bdev_nvme_detach_controller", "{\"name\":\"Nv0\",\"traddr\":\"" FIRST "\"}",
			TRUE_RESULT},
		{"bdev_nvme_get_controllers", NULL, "\"result\":[]"},
		{"bdev_get_bdevs", NULL, "\"result\":[]"},
	};
	struct world *world = world_start(false);

	EXPECT(world, exchanges);
	world_end(world);
}

static void what_cannot_be_attached_is_refused_as_clients_expect(void **state)
{
	static const struct exchange exchanges[] = {
		{"bdev_nvme_attach_controller", "{}", DECODE},
		{"bdev_nvme_attach_controller", ATTACH("Nv0", "0000:01:00.0"), NO_DEVICE},
		{"bdev_nvme_attach_controller", ATTACH("Nv0", "nowhere"), NO_DEVICE},
		{"bdev_nvme_attach_controller",
			"{\"name\":\"Nv0\",\"trtype\":\"TCP\",\"traddr\":\"192.0.2.7\",\"adrfam\":"
			"\"IPv4\",\"trsvcid\":\"4420\",\"subnqn\":\"nqn.2026-01.example:s1\"}",
			NO_DEVICE},
		{"bdev_nvme_attach_controller",
			"{\"name\":\"Nv0\",\"trtype\":\"PCIe\",\"traddr\":\"" FIRST
			"\",\"adrfam\":\"x\"}",
			ERROR(-22, "Failed to parse adrfam: x")},
		{"bdev_nvme_attach_controller",
			"{\"name\":\"Nv0\",\"trtype\":\"PCIe\",\"traddr\":\"" FIRST
			"\",\"num_io_queues\":0}",
			ERROR(-22, "num_io_queues out of bounds, min: 1 max: 65536")},
		{"bdev_nvme_attach_controller",
			"{\"name\":\"Nv0\",\"trtype\":\"PCIe\",\"traddr\":\"" FIRST
			"\",\"max_bdevs\":0}",
			ERROR(-22, "max_bdevs cannot be zero")},
		{"bdev_nvme_attach_controller",
			"{\"name\":\"Nv0\",\"trtype\":\"PCIe\",\"traddr\":\"" FIRST
			"\",\"prchk_guard\":true}",
			INVALID},
		{"bdev_nvme_attach_controller", ATTACH("Nv0", FIRST),
			"\"result\":[\"Nv0n1\",\"Nv0n2\"]"},
		{"bdev_nvme_attach_controller", ATTACH("Nv0", FIRST),
			ERROR(-114, "A controller named Nv0 already exists with the specified "
				    "network path")},
		{"bdev_nvme_attach_controller", ATTACH("Nv0", SECOND),
			ERROR(-114, "A controller named Nv0 already exists and multipath is "
				    "disabled")},
		{"bdev_nvme_attach_controller", ATTACH("Nv1", FIRST),
			ERROR(-114, "Operation already in progress")},
	};
	struct world *world = world_start(false);

	EXPECT(world, exchanges);
	world_end(world);
}

static void a_controller_that_does_not_come_up_is_an_io_error(void **state)
{
	struct world *world = world_start(false);

	sim_options.block_shift = 9;
	assert_string_equal(world_call(world, "bdev_nvme_attach_controller", ATTACH("A", FIRST)),
		"\"result\":[\"An1\",\"An2\"]");
	nvme_sim_set_stuck(sims[0], true, false);
	assert_non_null(strstr(world_call(world, "bdev_nvme_reset_controller", "{\"name\":\"A\"}"),
		"\"error\":{\"code\":-110"));
	assert_non_null(strstr(
		world_call(world, "bdev_nvme_get_controllers", NULL), "\"state\":\"failed\""));
	assert_non_null(strstr(
		world_call(world, "bdev_nvme_get_controller_health_info", "{\"name\":\"A\"}"),
		ERROR(-32603, "Unable to process the request")));
	nvme_sim_set_stuck(sims[0], false, false);
	assert_string_equal(
		world_call(world, "bdev_nvme_reset_controller", "{\"name\":\"A\"}"), TRUE_RESULT);
	assert_non_null(strstr(
		world_call(world, "bdev_nvme_get_controllers", NULL), "\"state\":\"enabled\""));
	world_end(world);
}

static void namespaces_are_told_as_block_devices(void **state)
{
	struct world *world = world_start(false);
	const char *told;

	world_call(world, "bdev_nvme_attach_controller", ATTACH("Nv0", FIRST));
	told = world_call(world, "bdev_get_bdevs", "{\"name\":\"Nv0n2\"}");
	assert_non_null(strstr(told, "\"product_name\":\"NVMe disk\""));
	assert_non_null(strstr(told, "\"numa_id\":-1"));
	assert_non_null(strstr(told, "\"driver_specific\":{\"nvme\":[{\"pci_address\":\"" FIRST
				     "\",\"trid\":{\"trtype\":\"PCIe\",\"traddr\":\"" FIRST
				     "\"},\"ctrlr_data\":{\"cntlid\":1,\"vendor_id\":\"0x"));
	assert_non_null(strstr(told, "\"ns_data\":{\"id\":2,\"can_share\":false}}],\"mp_policy\":"
				     "\"active_passive\"}"));
	told = world_call(world, "bdev_nvme_get_controller_health_info", "{\"name\":\"Nv0\"}");
	assert_non_null(strstr(told, "\"result\":{\"model_number\":\""));
	assert_non_null(strstr(told, "\"traddr\":\"" FIRST "\",\"critical_warning\":0,"
				     "\"temperature_celsius\":"));
	assert_non_null(strstr(told, "\"critical_composite_temperature_time_minutes\":0"));
	assert_string_equal(
		world_call(world, "bdev_nvme_get_controller_health_info", "{\"name\":\"Nv0n1\"}"),
		ERROR(-32603, "Device not found"));
	world_end(world);
}

static void a_drive_is_detached_from_under_a_store(void **state)
{
	static const struct exchange exchanges[] = {
		{"bdev_nvme_attach_controller", ATTACH("Nv0", FIRST),
			"\"result\":[\"Nv0n1\",\"Nv0n2\"]"},
		{"bdev_passthru_create", "{\"name\":\"p\",\"base_bdev_name\":\"Nv0n2\"}",
			"\"result\":\"p\""},
		{"bdev_lvol_get_lvstores", NULL, "\"result\":[]"},
	};
	struct world *world = world_start(false);

	EXPECT(world, exchanges);
	assert_non_null(strstr(world_call(world, "bdev_lvol_create_lvstore",
				       "{\"bdev_name\":\"Nv0n1\",\"lvs_name\":\"s\","
				       "\"cluster_sz\":65536}"),
		"\"result\":\""));
	assert_non_null(strstr(world_call(world, "bdev_lvol_create",
				       "{\"lvs_name\":\"s\",\"lvol_name\":\"v\","
				       "\"size_in_mib\":1}"),
		"\"result\":\""));
	assert_string_equal(world_call(world, "bdev_nvme_detach_controller", "{\"name\":\"Nv0\"}"),
		TRUE_RESULT);
	assert_string_equal(world_call(world, "bdev_get_bdevs", NULL), "\"result\":[]");
	world_end(world);
}

static void options_are_taken_checked_and_told(void **state)
{
	static const struct exchange exchanges[] = {
		{"bdev_nvme_set_options", "{\"action_on_timeout\":\"x\"}", DECODE},
		{"bdev_nvme_set_options", "{\"enable_flush\":1}", INVALID},
		{"bdev_nvme_set_options", "{\"timeout_admin_us\":1}", INVALID},
		{"bdev_nvme_set_options", "{\"bdev_retry_count\":-2}", INVALID},
		{"bdev_nvme_set_options", "{\"ctrlr_loss_timeout_sec\":5}", INVALID},
		{"bdev_nvme_set_options",
			"{\"action_on_timeout\":\"reset\",\"timeout_us\":2000000,"
			"\"bdev_retry_count\":-1}",
			TRUE_RESULT},
		{"bdev_nvme_set_options", "{\"keep_alive_timeout_ms\":7}", TRUE_RESULT},
		{"bdev_nvme_attach_controller", ATTACH("Nv0", FIRST),
			"\"result\":[\"Nv0n1\",\"Nv0n2\"]"},
		{"bdev_nvme_set_options", "{\"timeout_us\":1}",
			ERROR(-1, "RPC not permitted with nvme controllers already attached")},
	};
	struct world *world = world_start(false);
	const char *told;

	EXPECT(world, exchanges);
	told = world_call(world, "framework_get_config", "{\"name\":\"bdev\"}");
	assert_non_null(strstr(told, "{\"method\":\"bdev_nvme_set_options\",\"params\":{"
				     "\"action_on_timeout\":\"reset\",\"timeout_us\":2000000,"));
	assert_non_null(strstr(told, "\"keep_alive_timeout_ms\":7,"));
	assert_non_null(
		strstr(told, "{\"method\":\"bdev_nvme_attach_controller\",\"params\":{"
			     "\"name\":\"Nv0\",\"trtype\":\"PCIe\",\"traddr\":\"" FIRST "\","));
	world_end(world);
}

static void a_configuration_attaches_drives_and_keeps_what_is_missing(void **state)
{
	struct world *world = world_start_configured(
		"[{\"subsystem\":\"bdev\",\"config\":["
		"{\"method\":\"bdev_nvme_set_options\",\"params\":{\"timeout_us\":5000000}},"
		"{\"method\":\"bdev_nvme_attach_controller\",\"params\":" ATTACH(
			"Nv0", FIRST) "},{\"method\":\"bdev_nvme_attach_controller\","
				      "\"params\":" ATTACH("Nv9", "0000:09:00.0") "}]}]",
		CONFIG_KEEP, false);
	json_t *told;
	char *text;

	assert_int_equal(world->start_rc, 0);
	assert_string_equal(world_call(world, "bdev_nvme_get_controllers", NULL),
		"\"result\":[" CONTROLLER("Nv0", FIRST) "]");
	assert_non_null(strstr(world_call(world, "config_get_missing", NULL), "Nv9"));
	told = control_get_config(world->methods);
	text = json_dumps(told, JSON_COMPACT);
	assert_non_null(strstr(text, "\"timeout_us\":5000000"));
	assert_non_null(strstr(text, "\"traddr\":\"" FIRST "\""));
	assert_non_null(strstr(text, "\"traddr\":\"0000:09:00.0\""));
	free(text);
	json_decref(told);
	world_end(world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(drives_are_attached_listed_and_detached),
		cmocka_unit_test(what_cannot_be_attached_is_refused_as_clients_expect),
		cmocka_unit_test(a_controller_that_does_not_come_up_is_an_io_error),
		cmocka_unit_test(namespaces_are_told_as_block_devices),
		cmocka_unit_test(a_drive_is_detached_from_under_a_store),
		cmocka_unit_test(options_are_taken_checked_and_told),
		cmocka_unit_test(a_configuration_attaches_drives_and_keeps_what_is_missing),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
