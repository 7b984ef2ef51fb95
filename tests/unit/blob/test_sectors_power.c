/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Power cut while sectors of 512 bytes are written on a device of 4096, which writes a block at
 * once or not at all: each sector holds what was last flushed to it or something that was written
 * later, whatever has become of its neighbours in the block.
 */
#include "volumes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backends.h"

#define SIZE     (16 * MIB)
#define CLUSTER  (16 * KIB)
#define CLUSTERS 16u
#define SECTOR   512u
#define BLOCK    4096u
#define SECTORS  (CLUSTERS * CLUSTER / SECTOR)
#define SLOTS    6u
#define MOST     12u /* sectors of a request */
#define WRITES   120u

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

struct slot {
	struct world_call call;
	struct iovec iov;
	unsigned first;
	unsigned count; /* 0: free */
	uint16_t stamp;
	unsigned char data[MOST * SECTOR] __attribute__((aligned(BLOCK)));
};

/* Stamps only grow, and of a sector one request is under way at a time: it holds any stamp that
 * was given to it from `stable` on. */
struct sector {
	uint16_t stamps[WRITES]; /* in the order they were written */
	unsigned count;
	unsigned ended; /* of them */
	unsigned stable; /* of them: the last is there at least */
};

struct power {
	struct sim *sim;
	struct world world;
	struct world_call attach;
	struct volumes volumes;
	struct bdev *base;
	struct blob *blob;
	uint16_t stamp;
	struct slot slots[SLOTS];
	struct sector sectors[SECTORS];
};

static void run_attach(struct world_call *call)
{
	struct power *power = container_of(call, struct power, attach);
	static const struct file_bdev_options options = {.name = "disk", .filename = "/dev/sim0"};

	file_bdev_create(call->world->registry, &options, NULL, &power->base, world_done, call);
}

static void power_boot(struct power *power, struct os *os)
{
	world_start_on(&power->world, os, power->sim);
	memset(&power->attach, 0, sizeof(power->attach));
	power->attach.run = run_attach;
	assert_int_equal(world_run(&power->world, power->world.control, &power->attach), 0);
	assert_int_equal(power->base->block_size, BLOCK);
}

/* ---- requests ------------------------------------------------------------------------- */

static bool slot_overlaps(const struct slot *slot, unsigned first, unsigned count)
{
	return slot->count && first < slot->first + slot->count && slot->first < first + count;
}

static void sector_fill(unsigned char *data, uint16_t stamp)
{
	for (unsigned i = 0; i < SECTOR; i += 2)
		memcpy(data + i, &stamp, 2);
}

static void slot_begin(struct power *power, struct slot *slot)
{
	unsigned first = (unsigned)sim_random(power->sim, SECTORS);
	unsigned count = 1 + (unsigned)sim_random(power->sim, MOST);

	if (first + count > SECTORS)
		return;
	for (unsigned i = 0; i < SLOTS; i++)
		if (slot_overlaps(&power->slots[i], first, count))
			return;
	slot->first = first;
	slot->count = count;
	slot->stamp = ++power->stamp;
	for (unsigned i = 0; i < count; i++) {
		struct sector *sector = &power->sectors[first + i];

		sector->stamps[sector->count++] = slot->stamp;
		sector_fill(slot->data + i * SECTOR, slot->stamp);
	}
	slot->iov = (struct iovec){.iov_base = slot->data, .iov_len = count * SECTOR};
	memset(&slot->call, 0, sizeof(slot->call));
	slot->call.channel = volume_channel(
		&power->volumes, power->blob, (unsigned)sim_random(power->sim, WORLD_REACTORS));
	slot->call.io = (struct bdev_io){
		.type = BDEV_IO_WRITE,
		.flags = sim_random(power->sim, 5) == 0 ? BDEV_IO_FUA : 0,
		.iov = &slot->iov,
		.iovcnt = 1,
		.offset = first * SECTOR,
		.length = count * SECTOR,
	};
	world_io_begin(&power->world, &slot->call);
}

static void slot_end(struct power *power, struct slot *slot)
{
	assert_int_equal(slot->call.rc, 0);
	for (unsigned i = 0; i < slot->count; i++) {
		struct sector *sector = &power->sectors[slot->first + i];

		sector->ended = sector->count;
		if (slot->call.io.flags & BDEV_IO_FUA)
			sector->stable = sector->ended;
	}
	slot->count = 0;
}

static void power_flush(struct power *power)
{
	unsigned ended[SECTORS];

	for (unsigned i = 0; i < SECTORS; i++)
		ended[i] = power->sectors[i].ended;
	assert_int_equal(
		volume_clear(&power->volumes, power->blob,
			(unsigned)sim_random(power->sim, WORLD_REACTORS), BDEV_IO_FLUSH, 0, 0),
		0);
	for (unsigned i = 0; i < SECTORS; i++)
		if (power->sectors[i].stable < ended[i])
			power->sectors[i].stable = ended[i];
}

static void power_work(struct power *power)
{
	unsigned writes = (unsigned)sim_random(power->sim, WRITES);

	while (power->stamp < writes) {
		struct slot *slot = &power->slots[sim_random(power->sim, SLOTS)];

		if (slot->count && atomic_load(&slot->call.ended))
			slot_end(power, slot);
		if (!slot->count)
			slot_begin(power, slot);
		if (sim_random(power->sim, 25) == 0)
			power_flush(power);
		sim_run_for(power->sim, sim_random(power->sim, 100 * USEC_NS));
	}
	for (unsigned i = 0; i < SLOTS; i++)
		if (power->slots[i].count && atomic_load(&power->slots[i].call.ended))
			slot_end(power, &power->slots[i]);
}

/* ---- what is left --------------------------------------------------------------------- */

static void sector_check(const struct sector *sector, unsigned number, const unsigned char *data)
{
	uint16_t found, other;
	bool right = false;

	memcpy(&found, data, 2);
	for (unsigned i = 2; i < SECTOR; i += 2) {
		memcpy(&other, data + i, 2);
		assert_int_equal(other, found);
	}
	if (found == 0)
		right = sector->stable == 0;
	for (unsigned i = sector->stable ? sector->stable - 1 : 0; i < sector->count; i++)
		right |= sector->stamps[i] == found;
	if (!right)
		fail_msg("sector %u holds the write %u, which is none of its %u after the %uth",
			number, found, sector->count, sector->stable);
}

static void power_check(struct power *power, uint64_t id)
{
	static unsigned char data[SECTORS * SECTOR] __attribute__((aligned(BLOCK)));

	assert_int_equal(volumes_load(&power->volumes, &power->world, power->base), 0);
	power->blob = volumes_find(&power->volumes, id);
	assert_non_null(power->blob);
	assert_int_equal(volume_show(&power->volumes, power->blob), 0);
	assert_int_equal(world_read(&power->world, volume_channel(&power->volumes, power->blob, 0),
				 data, 0, sizeof(data)),
		0);
	for (unsigned i = 0; i < SECTORS; i++)
		sector_check(&power->sectors[i], i, data + i * SECTOR);
	assert_int_equal(volumes_close(&power->volumes), 0);
}

static void power_cut_at(uint64_t seed)
{
	const struct sim_options options = {.seed = seed, .atomic_bytes = BLOCK};
	const struct blob_store_create_options store = {.bstype = "TEST", .cluster_size = CLUSTER};
	/* Never freed: what the power cut killed goes on pointing to it. */
	struct power *power = aligned_alloc(BLOCK, align_up(sizeof(*power), BLOCK));
	struct blob_info info;

	assert_non_null(power);
	memset(power, 0, sizeof(*power));
	power->sim = sim_create_with(&options);
	assert_non_null(sim_device_create(power->sim, "/dev/sim0", SIZE, BLOCK));
	power_boot(power, sim_os(power->sim));
	assert_int_equal(volumes_create(&power->volumes, &power->world, power->base, &store), 0);
	assert_int_equal(volume_create(&power->volumes, CLUSTERS, seed % 2 != 0, &power->blob), 0);
	volume_info(&power->volumes, power->blob, &info);
	power_work(power);
	sim_power_cut(power->sim);

	power_boot(power, sim_process_start(power->sim, "next"));
	power_check(power, info.id);
	assert_int_equal(world_unregister(&power->world, power->base), 0);
	world_stop(&power->world);
	assert_int_equal(sim_destroy(power->sim), 0);
}

static void a_power_cut_harms_no_neighbours_of_what_was_being_written(void **state)
{
	SIM_FOR_EACH_SEED(seed, 40)
	power_cut_at(seed);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_power_cut_harms_no_neighbours_of_what_was_being_written),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
