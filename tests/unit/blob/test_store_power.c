/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Power cut while a store is made, changed for the first time, grown or closed, over a file whose
 * unflushed writes the cut loses, or keeps in part: the next load finds one of the two states that
 * the operation goes between. Pages are torn at 4096 bytes, as the format asks of a device.
 */
#include "store_world.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backends.h"

#define SIZE    (32 * MIB)
#define LARGE   (256 * MIB) /* with a page mask of several pages */
#define CLUSTER (16 * KIB)

/* What a process that a power cut killed had allocated is nobody's: no leak. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
	return "detect_leaks=0";
}

enum operation {
	CREATE,
	CREATE_OVER,
	CHANGE,
	CHANGE_LARGE,
	GROW,
	CLOSE,
	CLOSE_RECOVERED,
	OPERATIONS
};

struct power {
	struct sim *sim;
	struct sim_file *file;
	struct store_world sw;
	struct world_call call;
	enum operation operation;
	struct blob *blob;
};

static void run_attach(struct world_call *call)
{
	struct power *power = container_of(call, struct power, call);
	static const struct file_bdev_options options = {
		.name = "disk", .filename = "/disk.img", .block_size = 512};

	file_bdev_create(call->world->registry, &options, NULL, &power->sw.base, world_done, call);
}

/* Another process, or the first. */
static void power_boot(struct power *power, struct os *os)
{
	world_start_on(&power->sw.world, os, power->sim);
	memset(&power->call, 0, sizeof(power->call));
	power->call.run = run_attach;
	assert_int_equal(world_run(&power->sw.world, power->sw.world.control, &power->call), 0);
}

static void run_operation(struct world_call *call)
{
	struct power *power = container_of(call, struct power, call);
	struct volumes *volumes = &power->sw.volumes;
	static const struct blob_store_create_options store = {.cluster_size = CLUSTER};
	static const struct blob_create_options blob = {.num_clusters = 100};

	switch (power->operation) {
	case CREATE:
	case CREATE_OVER:
		blob_store_create(
			power->sw.base, &store, NULL, NULL, &volumes->store, world_done, call);
		return;
	case CHANGE:
	case CHANGE_LARGE:
		blob_create(volumes->store, &blob, NULL, &power->blob, world_done, call);
		return;
	case GROW:
		blob_store_grow(volumes->store, NULL, world_done, call);
		return;
	default:
		blob_store_close(volumes->store, world_done, call);
		return;
	}
}

static void power_flush(struct power *power)
{
	struct store_world *sw = &power->sw;
	const uint64_t ids[] = {sw->thick, sw->thin, sw->clone};

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++)
		assert_int_equal(volume_clear(&sw->volumes, volumes_find(&sw->volumes, ids[i]), 0,
					 BDEV_IO_FLUSH, 0, 0),
			0);
}

static int power_create(struct power *power)
{
	struct store_world *sw = &power->sw;
	const struct blob_store_create_options options = {
		.cluster_size = CLUSTER,
		.md_pages_per_cluster_percent = power->operation == CHANGE_LARGE ? 220 : 100,
	};

	return volumes_create(&sw->volumes, &sw->world, sw->base, &options);
}

/* What the operation starts from. */
static void power_prepare(struct power *power)
{
	struct store_world *sw = &power->sw;

	if (power->operation == CREATE)
		return;
	if (power->operation == GROW)
		world_set_size(&sw->world, sw->base, SIZE - 2 * MIB);
	assert_int_equal(power_create(power), 0);
	store_world_fill(sw, CLUSTER);
	power_flush(power);
	volumes_hide_all(&sw->volumes);
	if (power->operation == GROW)
		world_set_size(&sw->world, sw->base, SIZE);
	if (power->operation == GROW || power->operation == CLOSE)
		return;
	if (power->operation != CLOSE_RECOVERED) {
		assert_int_equal(store_world_close(sw), 0);
		if (power->operation == CREATE_OVER)
			return;
	} else {
		sim_process_kill(sw->world.host.os);
		power_boot(power, sim_process_start(power->sim, "second"));
	}
	assert_int_equal(store_world_load(sw), 0);
}

static void sixth_seen(struct blob *blob, void *arg)
{
	struct power *power = arg;
	const struct store_world *sw = &power->sw;
	struct blob_info info;

	blob_get_info(blob, &info);
	if (info.id != sw->empty && info.id != sw->thick && info.id != sw->thin &&
		info.id != sw->snapshot && info.id != sw->clone)
		power->blob = blob;
}

static void find_sixth_run(void *arg)
{
	struct power *power = arg;

	blob_for_each(power->sw.volumes.store, sixth_seen, power);
}

static struct blob *find_sixth(struct power *power)
{
	host_call(&power->sw.world.host, power->sw.world.control, find_sixth_run, power);
	return power->blob;
}

/* ended: it was reported done before the cut, so it is. */
static void power_check(struct power *power, bool ended)
{
	struct blob_store_info info;
	struct store_world *sw = &power->sw;
	int rc = store_world_load(sw);

	if (power->operation == CREATE || power->operation == CREATE_OVER) {
		assert_true(rc == 0 || (rc == -EILSEQ && !ended));
		if (rc)
			return;
		if (volumes_count(&sw->volumes) > 0) {
			assert_true(power->operation == CREATE_OVER && !ended);
			store_world_check(sw, CLUSTER);
		}
		assert_int_equal(store_world_close(sw), 0);
		return;
	}
	assert_int_equal(rc, 0);
	volumes_info(&sw->volumes, &info);
	if (ended && power->operation >= CLOSE)
		assert_false(info.recovered);
	if (ended && (power->operation == CHANGE || power->operation == CHANGE_LARGE))
		assert_int_equal(volumes_count(&sw->volumes), 6);
	if (ended && power->operation == GROW)
		assert_int_equal(info.total_data_clusters + info.md_pages / 4 + 1, SIZE / CLUSTER);
	if (volumes_count(&sw->volumes) == 6)
		assert_int_equal(volume_delete(&sw->volumes, find_sixth(power)), 0);
	host_sleep(&sw->world.host, 100 * MSEC_NS); /* for what is being released */
	store_world_check(sw, CLUSTER);
	volumes_info(&sw->volumes, &info);
	assert_int_equal(info.total_data_clusters - info.free_clusters, 704);
	assert_int_equal(store_world_close(sw), 0);
	assert_int_equal(store_world_load(sw), 0);
	volumes_info(&sw->volumes, &info);
	assert_false(info.recovered);
	store_world_check(sw, CLUSTER);
	assert_int_equal(store_world_close(sw), 0);
}

static void power_cut_at(enum operation operation, uint64_t seed)
{
	const struct sim_options options = {.seed = seed, .atomic_bytes = 4096};
	struct power *power = calloc(1, sizeof(*power)); /* the killed go on pointing to it */
	bool ended;

	assert_non_null(power);
	power->operation = operation;
	power->sim = sim_create_with(&options);
	power->file =
		sim_file_create(power->sim, "/disk.img", operation == CHANGE_LARGE ? LARGE : SIZE);
	power_boot(power, sim_os(power->sim));
	power_prepare(power);
	memset(&power->call, 0, sizeof(power->call));
	power->call.run = run_operation;
	world_begin(&power->sw.world, power->sw.world.control, &power->call);
	sim_run_for(power->sim, sim_random(power->sim, 4 * MSEC_NS));
	ended = atomic_load(&power->call.ended);
	sim_power_cut(power->sim);

	power_boot(power, sim_process_start(power->sim, "third"));
	power_check(power, ended);
	assert_int_equal(world_unregister(&power->sw.world, power->sw.base), 0);
	world_stop(&power->sw.world);
	assert_int_equal(sim_destroy(power->sim), 0);
}

static void a_power_cut_leaves_the_state_before_or_the_one_after(void **state)
{
	SIM_FOR_EACH_SEED(seed, 200)
	power_cut_at(seed % OPERATIONS, seed);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_power_cut_leaves_the_state_before_or_the_one_after),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
