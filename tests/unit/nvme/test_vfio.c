/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A real controller through VFIO: run in a guest by tests/system/test_nvme.py, with the address of
 * a drive that is bound to vfio-pci and holds zeroes.
 */
#include "nvme_world.h"

#include <errno.h>
#include <string.h>

#include "nvme/vfio.h"

static const char *address;

static void it_is_what_qemu_made_it(void **state)
{
	const struct nvme_identify_controller *identity;
	struct nvme_health health;
	struct nvme_world world;

	nvme_world_start_real(&world, address);
	identity = nvme_controller_identity(world.controller);
	assert_memory_equal(identity->mn, "QEMU NVMe Ctrl ", 15);
	assert_memory_equal(identity->sn, "sluice-test ", 12);
	assert_int_equal(nvme_world_read_log(&world, NVME_LOG_HEALTH, &health, sizeof(health)), 0);
	assert_int_equal(health.critical_warning, 0);
	nvme_world_end(&world);
}

static void load_and_reset(struct nvme_world *world, struct nvme_load_options *options, bool reset)
{
	struct nvme_load *load = nvme_load_start(world, options);

	if (reset)
		assert_int_equal(nvme_world_reset(world), 0);
	assert_int_equal(nvme_load_finish(load), 0);
}

static void it_holds_its_data_through_a_reset(void **state)
{
	struct nvme_load_options options = {.seed = 1, .workers = 6, .requests = 1500};
	struct nvme_world world;

	nvme_world_start_real(&world, address);
	load_and_reset(&world, &options, true);
	assert_int_equal(nvme_world_memory(&world, true), 0);
	options.mapped = true;
	load_and_reset(&world, &options, true);
	options.aligned = true;
	load_and_reset(&world, &options, false);
	assert_int_equal(nvme_world_memory(&world, false), 0);
	load_and_reset(&world, &options, false);
	assert_int_equal(atomic_load(&world.broken), 0);
	nvme_world_end(&world);
}

static void it_sleeps_when_nothing_is_asked_of_it(void **state)
{
	struct nvme_world world;
	uint32_t turns;

	nvme_world_start_real(&world, address);
	assert_int_equal(nvme_world_io(&world, 0, NVME_REQUEST_FLUSH, 0, NULL, 0, 0, 0), 0);
	host_sleep(&world.host, SEC_NS);
	turns = atomic_load(&world.data[0]->turns);
	host_sleep(&world.host, 2 * SEC_NS);
	assert_true(atomic_load(&world.data[0]->turns) - turns < 3);
	nvme_world_end(&world);
}

static void what_is_no_drive_is_refused_with_a_reason(void **state)
{
	struct nvme_transport *transport;
	struct reason reason = {0};
	struct host host;

	host_start(&host, 1);
	assert_int_equal(nvme_vfio_open(host.os, "0000:ff:1f.7", &reason, &transport), -ENOENT);
	assert_non_null(strstr(reason.text, "0000:ff:1f.7"));
	memset(&reason, 0, sizeof(reason));
	assert_int_equal(nvme_vfio_open(host.os, "0000:00:00.0", &reason, &transport), -ENODEV);
	assert_non_null(strstr(reason.text, "vfio-pci"));
	host_end(&host);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_no_drive_is_refused_with_a_reason),
		cmocka_unit_test(it_is_what_qemu_made_it),
		cmocka_unit_test(it_holds_its_data_through_a_reset),
		cmocka_unit_test(it_sleeps_when_nothing_is_asked_of_it),
	};

	host_select(argc, argv);
	if (argc < 3)
		return 2;
	address = argv[2];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
