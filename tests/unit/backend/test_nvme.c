/* SPDX-License-Identifier: BSD-2-Clause */
/* Drives, and their namespaces as block devices, with a simulated controller. */
#include "backend/nvme.h"
#include "model.h"
#include "sim/nvme_sim.h"

#include <errno.h>
#include <string.h>

struct drive_world {
	struct world world;
	struct nvme_sim *sim;
	struct nvme_options options;
	struct nvme_drive *drive;
	struct reason reason;
	struct world_user user;
	struct bdev_channel *channels[2];
};

static struct drive_world *drive_world_of(struct world_call *call)
{
	return container_of(call->world, struct drive_world, world);
}

static void attach_run(struct world_call *call)
{
	struct drive_world *dw = drive_world_of(call);

	nvme_drive_attach(call->world->registry, nvme_sim_transport(dw->sim), "Nvme0", &dw->options,
		&dw->reason, &dw->drive, world_done, call);
}

static void detach_run(struct world_call *call)
{
	nvme_drive_detach(drive_world_of(call)->drive, world_done, call);
}

static void reset_run(struct world_call *call)
{
	struct drive_world *dw = drive_world_of(call);

	nvme_drive_reset(dw->drive, &dw->reason, world_done, call);
}

static int drive_call(struct drive_world *dw, void (*run)(struct world_call *call))
{
	struct world_call call = {.run = run};

	return world_run(&dw->world, dw->world.control, &call);
}

static int drive_world_start(
	struct drive_world *dw, uint64_t seed, const struct nvme_sim_options *sim_options)
{
	struct nvme_options options = NVME_OPTIONS_DEFAULT;
	struct nvme_sim_options own = *sim_options;

	memset(dw, 0, sizeof(*dw));
	world_start(&dw->world, seed);
	own.seed = seed;
	dw->sim = nvme_sim_create(dw->world.host.os, &own);
	dw->options = options;
	return drive_call(dw, attach_run);
}

static void drive_world_end(struct drive_world *dw)
{
	if (dw->drive)
		assert_int_equal(drive_call(dw, detach_run), 0);
	assert_int_equal(nvme_sim_destroy(dw->sim), 0);
	world_end(&dw->world);
}

static void drive_world_use(struct drive_world *dw, const char *name)
{
	struct bdev *bdev = world_find(&dw->world, name);

	assert_non_null(bdev);
	world_user_init(&dw->user, "first");
	assert_int_equal(world_open(&dw->world, bdev, &dw->user, NULL), 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(world_channel_open(&dw->world, &dw->user, i, &dw->channels[i]), 0);
}

static void drive_world_leave(struct drive_world *dw)
{
	for (unsigned i = 0; i < 2; i++)
		world_channel_close(&dw->world, dw->channels[i]);
	world_close(&dw->world, &dw->user);
}

static void namespaces_are_block_devices(void **state)
{
	const struct nvme_sim_options sim = {.namespaces = 3, .metadata = 8};
	struct drive_world dw;
	struct bdev *bdev;
	json_t *said;

	assert_int_equal(drive_world_start(&dw, 1, &sim), 0);
	bdev = world_find(&dw.world, "Nvme0n2");
	assert_non_null(bdev);
	assert_string_equal(bdev->ops->product_name, "NVMe disk");
	assert_int_equal(bdev->block_size, 512);
	assert_int_equal(bdev_size(bdev), 16384 * 512);
	assert_int_equal(bdev->atomic_write_bytes, 8 * 512);
	assert_false(bdev->unmap_reads_zeroes); /* a drive need not deallocate */
	assert_ptr_equal(world_find(&dw.world, "5a5a5a5a-5a5a-5a5a-5a5a-5a5a5a5a5a02"), bdev);
	assert_null(world_find(&dw.world, "Nvme0n3")); /* has metadata */
	said = bdev->ops->describe(bdev);
	assert_string_equal(
		json_string_value(json_object_get(
			json_object_get(json_array_get(json_object_get(said, "nvme"), 0), "trid"),
			"traddr")),
		"0000:5a:00.0");
	assert_string_equal(
		json_string_value(json_object_get(
			json_object_get(
				json_array_get(json_object_get(said, "nvme"), 0), "ctrlr_data"),
			"serial_number")),
		"SIM0001");
	json_decref(said);
	drive_world_end(&dw);
}

static void a_drive_is_a_disk_on_every_reactor(void **state)
{
	HOST_FOR_EACH_SEED(seed, 4)
	{
		const struct nvme_sim_options sim = {.namespaces = 2, .mdts = 3};
		struct model low, high;
		struct drive_world dw;

		assert_int_equal(drive_world_start(&dw, seed, &sim), 0);
		drive_world_use(&dw, "Nvme0n1");
		model_init(&low, &dw.world, dw.channels[0], 0, 2 * MIB, seed);
		model_init(&high, &dw.world, dw.channels[1], 2 * MIB, 2 * MIB, seed);
		low.longest = 2 * MIB;
		for (unsigned i = 0; i < 8; i++) {
			model_run(&low, 15);
			model_run(&high, 15);
			if (i == 4)
				assert_int_equal(drive_call(&dw, reset_run), 0);
		}
		model_check(&low);
		model_check(&high);
		model_fini(&low);
		model_fini(&high);
		drive_world_leave(&dw);
		drive_world_end(&dw);
	}
}

static void what_is_not_there_is_refused(void **state)
{
	const struct nvme_sim_options sim = {.namespaces = 1, .no_zeroes = true};
	struct drive_world dw;
	struct bdev *bdev;

	assert_int_equal(drive_world_start(&dw, 1, &sim), 0);
	drive_world_use(&dw, "Nvme0n1");
	bdev = world_find(&dw.world, "Nvme0n1");
	assert_false(bdev_supports(bdev, BDEV_IO_UNMAP));
	assert_false(bdev_supports(bdev, BDEV_IO_WRITE_ZEROES));
	assert_false(bdev_supports(bdev, BDEV_IO_EXTENT));
	assert_int_equal(world_io(&dw.world, dw.channels[0], BDEV_IO_EXTENT, 0, NULL, 0, 0, 512),
		-EOPNOTSUPP);
	assert_int_equal(
		world_io(&dw.world, dw.channels[0], BDEV_IO_READ, 0, NULL, 0, bdev_size(bdev), 512),
		-EIO);
	drive_world_leave(&dw);
	drive_world_end(&dw);
}

static void namespaces_share_queue_pairs(void **state)
{
	const struct nvme_sim_options sim = {.namespaces = 2, .queues = 2};
	struct bdev_channel *channel;
	struct world_user other;
	struct drive_world dw;

	assert_int_equal(drive_world_start(&dw, 1, &sim), 0);
	drive_world_use(&dw, "Nvme0n1");
	world_user_init(&other, "second");
	assert_int_equal(world_open(&dw.world, world_find(&dw.world, "Nvme0n2"), &other, NULL), 0);
	assert_int_equal(world_channel_open(&dw.world, &other, 1, &channel), 0);
	world_channel_close(&dw.world, channel);
	assert_int_equal(world_channel_open(&dw.world, &other, 2, &channel), -ENOSPC);
	world_close(&dw.world, &other);
	drive_world_leave(&dw);
	assert_int_equal(nvme_sim_counts(dw.sim).admin[NVME_ADMIN_CREATE_SQ], 2);
	assert_int_equal(nvme_sim_counts(dw.sim).admin[NVME_ADMIN_DELETE_SQ], 2);
	drive_world_end(&dw);
}

struct expected {
	struct world *world;
	const char *name;
	uint64_t size; /* 0: is not there */
};

/* On the control reactor: elsewhere the device may go between finding and looking. */
static void look_run(struct world_call *call)
{
	const struct expected *expected = call->options;
	const struct bdev *bdev = bdev_find(expected->world->registry, expected->name);

	world_done(call, (bdev ? bdev_size(bdev) : 0) == expected->size);
}

static bool is_as_expected(struct expected *expected)
{
	for (unsigned i = 0; i < 100; i++) {
		struct world_call call = {.run = look_run, .options = expected};

		if (world_run(expected->world, expected->world->control, &call))
			return true;
		host_sleep(&expected->world->host, 5 * MSEC_NS);
	}
	return false;
}

static void namespaces_come_go_and_change(void **state)
{
	HOST_FOR_EACH_SEED(seed, 4)
	{
		const struct nvme_sim_options sim = {.namespaces = 3};
		struct drive_world dw;

		assert_int_equal(drive_world_start(&dw, seed, &sim), 0);
		nvme_sim_resize(dw.sim, 1, 20000);
		assert_true(is_as_expected(&(struct expected){&dw.world, "Nvme0n1", 20000 * 512}));
		nvme_sim_attach(dw.sim, 2, false);
		assert_true(is_as_expected(&(struct expected){&dw.world, "Nvme0n2", 0}));
		nvme_sim_attach(dw.sim, 2, true);
		assert_true(is_as_expected(&(struct expected){&dw.world, "Nvme0n2", 16384 * 512}));
		drive_world_end(&dw);
	}
}

static bool was_removed(void *user)
{
	return atomic_load(&((struct world_user *)user)->removed);
}

static void a_drive_pulled_out_takes_its_devices_with_it(void **state)
{
	HOST_FOR_EACH_SEED(seed, 4)
	{
		const struct nvme_sim_options sim = {.namespaces = 2};
		uint8_t buffer[512] = {0};
		struct drive_world dw;

		assert_int_equal(drive_world_start(&dw, seed, &sim), 0);
		drive_world_use(&dw, "Nvme0n1");
		nvme_sim_do(dw.sim, NVME_SIM_GONE);
		assert_int_equal(
			world_write(&dw.world, dw.channels[0], buffer, 0, sizeof(buffer)), -ENODEV);
		assert_true(host_wait(&dw.world.host, was_removed, &dw.user));
		drive_world_leave(&dw);
		assert_true(is_as_expected(&(struct expected){&dw.world, "Nvme0n1", 0}));
		assert_true(is_as_expected(&(struct expected){&dw.world, "Nvme0n2", 0}));
		drive_world_end(&dw);
	}
}

static void detaching_waits_for_those_who_use_it(void **state)
{
	const struct nvme_sim_options sim = {.namespaces = 1};
	struct world_call detach = {.run = detach_run};
	struct drive_world dw;

	assert_int_equal(drive_world_start(&dw, 1, &sim), 0);
	drive_world_use(&dw, "Nvme0n1");
	world_begin(&dw.world, dw.world.control, &detach);
	assert_true(host_wait(&dw.world.host, was_removed, &dw.user));
	host_sleep(&dw.world.host, 50 * MSEC_NS);
	assert_false(atomic_load(&detach.ended));
	drive_world_leave(&dw);
	assert_int_equal(world_finish(&dw.world, &detach), 0);
	dw.drive = NULL;
	drive_world_end(&dw);
}

static void a_drive_that_cannot_be_opened_leaves_nothing(void **state)
{
	const struct nvme_sim_options sim = {.namespaces = 1};
	struct drive_world dw;

	assert_int_equal(drive_world_start(&dw, 1, &sim), 0);
	assert_int_equal(drive_call(&dw, detach_run), 0);
	nvme_sim_do(dw.sim, NVME_SIM_GONE);
	dw.drive = NULL;
	assert_int_equal(drive_call(&dw, attach_run), -ENODEV);
	assert_string_not_equal(dw.reason.text, "");
	assert_null(dw.drive);
	drive_world_end(&dw);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(namespaces_are_block_devices),
		cmocka_unit_test(a_drive_is_a_disk_on_every_reactor),
		cmocka_unit_test(what_is_not_there_is_refused),
		cmocka_unit_test(namespaces_share_queue_pairs),
		cmocka_unit_test(namespaces_come_go_and_change),
		cmocka_unit_test(a_drive_pulled_out_takes_its_devices_with_it),
		cmocka_unit_test(detaching_waits_for_those_who_use_it),
		cmocka_unit_test(a_drive_that_cannot_be_opened_leaves_nothing),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
