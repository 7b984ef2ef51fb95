/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clones of a foreign device: what is read from there, what is copied, what happens without it.
 */
#include "io_place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CLUSTER (16 * KIB)
#define FOREIGN 4 /* clusters that it has */

struct foreign_place {
	struct io_place place;
	struct gate_bdev *foreign;
	struct world_user user;
	struct blob *blob; /* twice as long as the device */
};

struct foreign_call {
	struct world_call call;
	struct foreign_place *fp;
};

static struct foreign_place *place_of(struct world_call *call)
{
	return container_of(call, struct foreign_call, call)->fp;
}

static void create_run(struct world_call *call)
{
	const struct blob_create_options options = {.num_clusters = 2 * FOREIGN,
		.thin = true,
		.esnap_id = "other",
		.esnap_id_length = 5};
	struct foreign_place *fp = place_of(call);

	blob_create(fp->place.volumes.store, &options, NULL, &fp->blob, world_done, call);
}

static void set_run(struct world_call *call)
{
	struct foreign_place *fp = place_of(call);

	blob_set_esnap_bdev(fp->blob, &fp->user.user);
	world_done(call, 0);
}

static void register_run(void *arg)
{
	struct foreign_place *fp = arg;

	assert_int_equal(gate_bdev_register(fp->foreign, fp->place.world.registry, NULL), 0);
}

static int foreign_run(struct foreign_place *fp, void (*run)(struct world_call *call))
{
	struct foreign_call call = {.call.run = run, .fp = fp};

	return world_run(&fp->place.world, fp->place.world.control, &call.call);
}

static void foreign_open(struct foreign_place *fp, bool present)
{
	const struct gate_bdev_options options = {.name = "foreign",
		.size_bytes = FOREIGN * CLUSTER,
		.block_size = 512,
		.read_only = true};
	uint8_t bytes[512];

	memset(bytes, 'f', sizeof(bytes));
	io_place_open(&fp->place, 1, &(struct io_place_options){0});
	fp->foreign = gate_bdev_create(&options);
	for (uint64_t at = 0; at < options.size_bytes; at += sizeof(bytes))
		gate_bdev_poke(fp->foreign, at, bytes, sizeof(bytes));
	host_call(&fp->place.world.host, fp->place.world.control, register_run, fp);
	world_user_init(&fp->user, "second");
	assert_int_equal(
		world_open(&fp->place.world, gate_bdev_of(fp->foreign), &fp->user, NULL), 0);
	assert_int_equal(foreign_run(fp, create_run), 0);
	if (present)
		foreign_run(fp, set_run);
	assert_int_equal(volume_show(&fp->place.volumes, fp->blob), 0);
}

static void foreign_close(struct foreign_place *fp)
{
	assert_int_equal(volumes_close(&fp->place.volumes), 0);
	world_close(&fp->place.world, &fp->user);
	assert_int_equal(world_unregister(&fp->place.world, gate_bdev_of(fp->foreign)), 0);
	gate_bdev_destroy(fp->foreign);
	assert_int_equal(world_unregister(&fp->place.world, gate_bdev_of(fp->place.gate)), 0);
	gate_bdev_destroy(fp->place.gate);
	world_end(&fp->place.world);
}

static bool holds(struct foreign_place *fp, struct blob *blob, uint64_t from, uint64_t to, int byte)
{
	return volume_holds(&fp->place.volumes, blob, from, to - from, byte);
}

static void a_clone_reads_the_foreign_device_and_zeroes_beyond(void **state)
{
	struct foreign_place fp;

	foreign_open(&fp, true);
	assert_true(holds(&fp, fp.blob, 0, FOREIGN * CLUSTER, 'f'));
	assert_true(holds(&fp, fp.blob, FOREIGN * CLUSTER, 2 * FOREIGN * CLUSTER, 0));
	assert_int_equal(io_place_allocated(&fp.place, fp.blob), 0);
	foreign_close(&fp);
}

static void a_first_write_copies_from_the_foreign_device(void **state)
{
	struct foreign_place fp;
	struct blob *snapshot;

	foreign_open(&fp, true);
	for (unsigned i = 0; i < 2; i++) {
		uint64_t at = i * CLUSTER + 4096;

		assert_int_equal(volume_write(&fp.place.volumes, fp.blob, i, at, 512, 'y'), 0);
		assert_true(holds(&fp, fp.blob, at - 4096, at, 'f'));
		assert_true(holds(&fp, fp.blob, at, at + 512, 'y'));
		assert_true(holds(&fp, fp.blob, at + 512, FOREIGN * CLUSTER, 'f'));
		/* Then through a snapshot, which the device now belongs to. */
		if (!i)
			assert_int_equal(volume_snapshot(&fp.place.volumes, fp.blob, &snapshot), 0);
	}
	assert_true(holds(&fp, snapshot, CLUSTER, FOREIGN * CLUSTER, 'f'));
	assert_int_equal(io_place_allocated(&fp.place, fp.blob), 1);
	foreign_close(&fp);
}

static void zeroes_hide_the_foreign_device_and_unmap_does_not(void **state)
{
	struct foreign_place fp;

	foreign_open(&fp, true);
	assert_int_equal(volume_clear(&fp.place.volumes, fp.blob, 0, BDEV_IO_UNMAP, 0, CLUSTER), 0);
	assert_true(holds(&fp, fp.blob, 0, CLUSTER, 'f'));
	assert_int_equal(volume_clear(&fp.place.volumes, fp.blob, 0, BDEV_IO_WRITE_ZEROES, 512,
				 2 * FOREIGN * CLUSTER - 512),
		0);
	assert_true(holds(&fp, fp.blob, 0, 512, 'f'));
	assert_true(holds(&fp, fp.blob, 512, 2 * FOREIGN * CLUSTER, 0));
	assert_int_equal(io_place_allocated(&fp.place, fp.blob), FOREIGN);
	foreign_close(&fp);
}

static void inflating_needs_the_foreign_device_no_more(void **state)
{
	struct foreign_place fp;

	foreign_open(&fp, true);
	assert_int_equal(volume_inflate(&fp.place.volumes, fp.blob), 0);
	gate_bdev_fail(fp.foreign, 1u << BDEV_IO_READ, 0, FOREIGN * CLUSTER, -EIO, 100);
	assert_true(holds(&fp, fp.blob, 0, FOREIGN * CLUSTER, 'f'));
	assert_true(holds(&fp, fp.blob, FOREIGN * CLUSTER, 2 * FOREIGN * CLUSTER, 0));
	foreign_close(&fp);
}

/* Not zeroes, and nothing is written that would hide what is there. */
static void without_its_device_a_clone_fails(void **state)
{
	struct foreign_place fp;
	uint8_t buf[512];

	foreign_open(&fp, false);
	assert_int_equal(world_read(&fp.place.world, volume_channel(&fp.place.volumes, fp.blob, 0),
				 buf, 0, 512),
		-EIO);
	assert_int_equal(volume_write(&fp.place.volumes, fp.blob, 0, 512, 512, 'y'), -EIO);
	assert_int_equal(volume_write(&fp.place.volumes, fp.blob, 0, CLUSTER, CLUSTER, 'y'), 0);
	assert_true(holds(&fp, fp.blob, CLUSTER, 2 * CLUSTER, 'y'));
	foreign_close(&fp);
}

/* Asked for at once: what the first one hands down the second one hands on. */
static void snapshots_deleted_in_a_row_leave_their_clone_the_foreign_device(void **state)
{
	struct volume_call calls[2];
	struct foreign_place fp;
	struct blob *snapshots[2];

	foreign_open(&fp, true);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(volume_snapshot(&fp.place.volumes, fp.blob, &snapshots[i]), 0);
		volume_hide(&fp.place.volumes, snapshots[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		volume_delete_begin(&fp.place.volumes, snapshots[i], &calls[i]);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(world_finish(&fp.place.world, &calls[i].call), 0);
	assert_true(holds(&fp, fp.blob, 0, FOREIGN * CLUSTER, 'f'));
	assert_int_equal(volume_write(&fp.place.volumes, fp.blob, 1, 4096, 512, 'y'), 0);
	assert_true(holds(&fp, fp.blob, 0, 4096, 'f'));
	foreign_close(&fp);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_clone_reads_the_foreign_device_and_zeroes_beyond),
		cmocka_unit_test(a_first_write_copies_from_the_foreign_device),
		cmocka_unit_test(zeroes_hide_the_foreign_device_and_unmap_does_not),
		cmocka_unit_test(inflating_needs_the_foreign_device_no_more),
		cmocka_unit_test(snapshots_deleted_in_a_row_leave_their_clone_the_foreign_device),
		cmocka_unit_test(without_its_device_a_clone_fails),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
