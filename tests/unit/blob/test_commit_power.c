/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Power cut during first writes all over a volume whose extent table takes many pages, several of
 * which one commit changes in place: what was flushed is there, what was under way is there or was
 * not made, and the volume is whole.
 */
#include "volumes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backends.h"

#define SIZE     (256 * MIB)
#define CLUSTER  (16 * KIB)
#define BLOCK    4096u
#define CLUSTERS UINT64_C(2000000) /* 3,907 slots: an extent table of eight pages */
#define FLUSHED  24
#define WRITES   24

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

struct first_write {
	struct world_call call;
	struct iovec iov;
	uint64_t offset;
	unsigned char value;
	unsigned char data[BLOCK] __attribute__((aligned(BLOCK)));
};

struct power {
	struct sim *sim;
	struct world world;
	struct world_call attach;
	struct volumes volumes;
	struct bdev *base;
	struct blob *blob;
	struct first_write writes[FLUSHED + WRITES];
};

static void run_attach(struct world_call *call)
{
	struct power *power = container_of(call, struct power, attach);
	static const struct file_bdev_options options = {
		.name = "disk", .filename = "/disk.img", .block_size = 512};

	file_bdev_create(call->world->registry, &options, NULL, &power->base, world_done, call);
}

static void power_boot(struct power *power, struct os *os)
{
	world_start_on(&power->world, os, power->sim);
	memset(&power->attach, 0, sizeof(power->attach));
	power->attach.run = run_attach;
	assert_int_equal(world_run(&power->world, power->world.control, &power->attach), 0);
}

/* Somewhere in a part of the volume of its own, often in a page of the table of its own. */
static void write_begin(struct power *power, unsigned nth)
{
	struct first_write *write = &power->writes[nth];
	uint64_t stride = CLUSTERS / ARRAY_SIZE(power->writes);
	uint64_t cluster = nth * stride + sim_random(power->sim, stride);

	write->offset = cluster * CLUSTER + sim_random(power->sim, 4) * BLOCK;
	write->value = (unsigned char)(nth + 1);
	memset(write->data, write->value, BLOCK);
	write->iov = (struct iovec){.iov_base = write->data, .iov_len = BLOCK};
	write->call.channel = volume_channel(&power->volumes, power->blob, nth % WORLD_REACTORS);
	write->call.io = (struct bdev_io){
		.type = BDEV_IO_WRITE,
		.iov = &write->iov,
		.iovcnt = 1,
		.offset = write->offset,
		.length = BLOCK,
	};
	world_io_begin(&power->world, &write->call);
}

static void power_prepare(struct power *power)
{
	const struct blob_store_create_options options = {
		.bstype = "TEST", .cluster_size = CLUSTER};

	assert_int_equal(volumes_create(&power->volumes, &power->world, power->base, &options), 0);
	assert_int_equal(volume_create(&power->volumes, CLUSTERS, true, &power->blob), 0);
	for (unsigned i = 0; i < FLUSHED; i++)
		write_begin(power, i * 2);
	for (unsigned i = 0; i < FLUSHED; i++)
		assert_int_equal(world_finish(&power->world, &power->writes[i * 2].call), 0);
	assert_int_equal(volume_clear(&power->volumes, power->blob, 0, BDEV_IO_FLUSH, 0, 0), 0);
}

static void power_check_write(struct power *power, const struct first_write *write, bool flushed)
{
	unsigned char found[BLOCK] __attribute__((aligned(BLOCK)));
	uint64_t start = write->offset / CLUSTER * CLUSTER;

	for (uint64_t at = start; at < start + CLUSTER; at += BLOCK) {
		unsigned char first;

		assert_int_equal(
			world_read(&power->world, volume_channel(&power->volumes, power->blob, 0),
				found, at, BLOCK),
			0);
		first = found[0];
		if (at != write->offset)
			assert_int_equal(first, 0);
		else if (flushed || first)
			assert_int_equal(first, write->value);
		for (unsigned i = 0; i < BLOCK; i += 512)
			assert_true(found[i] == first || (!flushed && at == write->offset));
	}
}

static void power_check(struct power *power, uint64_t id)
{
	struct blob_info info;

	for (unsigned loads = 0; loads < 2; loads++) {
		assert_int_equal(volumes_load(&power->volumes, &power->world, power->base), 0);
		power->blob = volumes_find(&power->volumes, id);
		assert_non_null(power->blob);
		volume_info(&power->volumes, power->blob, &info);
		assert_int_equal(info.num_clusters, CLUSTERS);
		assert_false(info.read_only);
		assert_int_equal(volume_show(&power->volumes, power->blob), 0);
		for (unsigned i = 0; i < ARRAY_SIZE(power->writes); i++)
			if (power->writes[i].value)
				power_check_write(power, &power->writes[i], i % 2 == 0);
		assert_int_equal(volumes_close(&power->volumes), 0);
	}
}

static void power_cut_at(uint64_t seed)
{
	const struct sim_options options = {.seed = seed, .atomic_bytes = 4096};
	/* Never freed: what the power cut killed goes on pointing to it. */
	struct power *power = aligned_alloc(BLOCK, sizeof(*power));
	struct blob_info info;

	assert_non_null(power);
	memset(power, 0, sizeof(*power));
	power->sim = sim_create_with(&options);
	assert_non_null(sim_file_create(power->sim, "/disk.img", SIZE));
	power_boot(power, sim_os(power->sim));
	power_prepare(power);
	volume_info(&power->volumes, power->blob, &info);
	for (unsigned i = 0; i < WRITES; i++)
		write_begin(power, i * 2 + 1);
	sim_run_for(power->sim, sim_random(power->sim, 3 * MSEC_NS));
	sim_power_cut(power->sim);

	power_boot(power, sim_process_start(power->sim, "next"));
	power_check(power, info.id);
	assert_int_equal(world_unregister(&power->world, power->base), 0);
	world_stop(&power->world);
	assert_int_equal(sim_destroy(power->sim), 0);
}

static void first_writes_all_over_a_large_volume_survive_a_power_cut(void **state)
{
	SIM_FOR_EACH_SEED(seed, 60)
	power_cut_at(seed);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_writes_all_over_a_large_volume_survive_a_power_cut),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
