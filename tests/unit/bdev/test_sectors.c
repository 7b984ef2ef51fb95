/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sectors smaller than the backend's units: what a request becomes, and who is alone with a unit.
 */
#include "sectors_place.h"

#include <errno.h>
#include <string.h>

/* ---- what a request becomes ----------------------------------------------------------- */

struct expected {
	enum bdev_io_type type;
	uint64_t offset;
	uint64_t length;
	uint8_t flags;
};

static void expect_requests(struct place *place, const struct expected *expected, unsigned count)
{
	struct gate_record record;

	assert_int_equal(gate_bdev_record_count(place->gate), count);
	for (unsigned i = 0; i < count; i++) {
		gate_bdev_record_at(place->gate, i, &record);
		assert_int_equal(record.type, expected[i].type);
		assert_int_equal(record.offset, expected[i].offset);
		assert_int_equal(record.length, expected[i].length);
		assert_int_equal(record.flags & ~BDEV_IO_PART, expected[i].flags);
	}
	gate_bdev_forget(place->gate);
}

#define EXPECT_REQUESTS(place, ...)                                                                \
	expect_requests(place, (const struct expected[]){__VA_ARGS__},                             \
		sizeof((const struct expected[]){__VA_ARGS__}) / sizeof(struct expected))

static void whole_units_go_straight_to_the_backend(void **state)
{
	static uint8_t buf[2 * UNIT];
	struct place place;

	place_start(&place, 1, NULL);
	assert_int_equal(place_write(&place, UNIT, 2 * UNIT, 'a'), 0);
	EXPECT_REQUESTS(&place, {BDEV_IO_WRITE, UNIT, 2 * UNIT, 0});
	assert_int_equal(world_read(&place.world, place.channels[2], buf, UNIT, UNIT), 0);
	EXPECT_REQUESTS(&place, {BDEV_IO_READ, UNIT, UNIT, 0});
	assert_int_equal(place_clear(&place, BDEV_IO_FLUSH, 0, 512, 512), 0);
	EXPECT_REQUESTS(&place, {BDEV_IO_FLUSH, 512, 512, 0});
	place_end(&place);
}

static void a_write_of_parts_reads_the_ends_and_writes_once(void **state)
{
	struct place place;

	place_start(&place, 1, NULL);
	assert_int_equal(place_write(&place, 0, 4 * UNIT, 'a'), 0);
	gate_bdev_forget(place.gate);

	assert_int_equal(place_write(&place, UNIT + 1024, SECTOR, 'b'), 0);
	EXPECT_REQUESTS(&place, {BDEV_IO_READ, UNIT, UNIT, 0}, {BDEV_IO_WRITE, UNIT, UNIT, 0});
	assert_true(place_holds(&place, 0, UNIT + 1024, 'a'));
	assert_true(place_holds(&place, UNIT + 1024, SECTOR, 'b'));
	assert_true(place_holds(&place, UNIT + 1024 + SECTOR, 3 * UNIT - 1024 - SECTOR, 'a'));

	assert_int_equal(place_write(&place, SECTOR, 3 * UNIT, 'c'), 0);
	EXPECT_REQUESTS(&place, {BDEV_IO_READ, 0, UNIT, 0}, {BDEV_IO_READ, 3 * UNIT, UNIT, 0},
		{BDEV_IO_WRITE, 0, 4 * UNIT, 0});
	assert_true(place_holds(&place, 0, SECTOR, 'a'));
	assert_true(place_holds(&place, SECTOR, 3 * UNIT, 'c'));
	assert_true(place_holds(&place, 3 * UNIT + SECTOR, UNIT - SECTOR, 'a'));

	assert_int_equal(place_write(&place, UNIT, UNIT + SECTOR, 'd'), 0);
	EXPECT_REQUESTS(
		&place, {BDEV_IO_READ, 2 * UNIT, UNIT, 0}, {BDEV_IO_WRITE, UNIT, 2 * UNIT, 0});
	assert_true(place_holds(&place, UNIT, UNIT + SECTOR, 'd'));
	assert_true(place_holds(&place, 2 * UNIT + SECTOR, UNIT, 'c'));
	place_end(&place);
}

static void a_read_of_parts_is_one_request_and_leaves_the_rest_alone(void **state)
{
	static uint8_t buf[3 * UNIT], around[3 * UNIT];
	struct iovec iov[3] = {{buf, SECTOR}, {buf + 1024, 2 * SECTOR},
		{buf + 4096, UNIT}}; /* of several pieces */
	struct place place;

	memset(buf, 'z', sizeof(buf));
	memset(around, 'z', sizeof(around));
	place_start(&place, 1, NULL);
	for (unsigned i = 0; i < 4 * UNIT / SECTOR; i++)
		assert_int_equal(place_write(&place, i * SECTOR, SECTOR, (uint8_t)(i + 1)), 0);
	gate_bdev_forget(place.gate);
	assert_int_equal(world_io(&place.world, place.channels[1], BDEV_IO_READ, 0, iov, 3,
				 3 * SECTOR, 3 * SECTOR + UNIT),
		0);
	EXPECT_REQUESTS(&place, {BDEV_IO_READ, 0, 2 * UNIT, 0});
	assert_int_equal(buf[0], 4);
	assert_int_equal(buf[1024], 5);
	assert_int_equal(buf[1024 + SECTOR], 6);
	assert_int_equal(buf[4096], 7);
	assert_int_equal(buf[4096 + UNIT - 1], 14);
	assert_memory_equal(buf + SECTOR, around, 1024 - SECTOR);
	assert_memory_equal(buf + 4096 + UNIT, around, UNIT);
	place_end(&place);
}

static void zeroes_are_written_where_there_are_none(void **state)
{
	struct place place;

	place_start(&place, 1, NULL);
	assert_int_equal(place_write(&place, 0, 5 * UNIT, 'a'), 0);
	gate_bdev_forget(place.gate);
	assert_int_equal(place_clear(&place, BDEV_IO_WRITE_ZEROES, 0, UNIT - SECTOR,
				 2 * UNIT + SECTOR + SECTOR),
		0);
	EXPECT_REQUESTS(&place, {BDEV_IO_READ, 0, UNIT, 0}, {BDEV_IO_READ, 3 * UNIT, UNIT, 0},
		{BDEV_IO_WRITE, 0, UNIT, 0}, {BDEV_IO_WRITE, 3 * UNIT, UNIT, 0},
		{BDEV_IO_WRITE_ZEROES, UNIT, 2 * UNIT, 0});
	assert_true(place_holds(&place, 0, UNIT - SECTOR, 'a'));
	assert_true(place_holds(&place, UNIT - SECTOR, 2 * UNIT + 2 * SECTOR, 0));
	assert_true(place_holds(&place, 3 * UNIT + SECTOR, 2 * UNIT - SECTOR, 'a'));

	/* They are there: nothing is allocated for them ... */
	assert_int_equal(place_clear(&place, BDEV_IO_WRITE_ZEROES, 0, UNIT + SECTOR, SECTOR), 0);
	EXPECT_REQUESTS(&place, {BDEV_IO_READ, UNIT, UNIT, 0});
	/* ... unless they must be, or must be stable. */
	assert_int_equal(
		place_clear(&place, BDEV_IO_WRITE_ZEROES, BDEV_IO_NO_UNMAP, UNIT + SECTOR, SECTOR),
		0);
	EXPECT_REQUESTS(&place, {BDEV_IO_READ, UNIT, UNIT, 0}, {BDEV_IO_WRITE, UNIT, UNIT, 0});
	assert_int_equal(
		place_clear(&place, BDEV_IO_WRITE_ZEROES, BDEV_IO_FUA, UNIT + SECTOR, 2 * UNIT), 0);
	EXPECT_REQUESTS(&place, {BDEV_IO_READ, UNIT, UNIT, 0}, {BDEV_IO_READ, 3 * UNIT, UNIT, 0},
		{BDEV_IO_WRITE, UNIT, UNIT, BDEV_IO_FUA},
		{BDEV_IO_WRITE, 3 * UNIT, UNIT, BDEV_IO_FUA},
		{BDEV_IO_WRITE_ZEROES, 2 * UNIT, UNIT, BDEV_IO_FUA});
	assert_true(gate_bdev_is_stable(place.gate, UNIT, 2 * UNIT + SECTOR));
	place_end(&place);
}

static void a_discard_keeps_the_promise_of_its_device(void **state)
{
	const struct gate_bdev_options garbage = {.unmap_leaves_garbage = true};
	struct place place;

	place_start(&place, 1, NULL);
	assert_int_equal(place_write(&place, 0, 4 * UNIT, 'a'), 0);
	assert_int_equal(place_clear(&place, BDEV_IO_UNMAP, 0, SECTOR, 2 * UNIT), 0);
	assert_true(place_holds(&place, 0, SECTOR, 'a'));
	assert_true(place_holds(&place, SECTOR, 2 * UNIT, 0));
	assert_true(place_holds(&place, 2 * UNIT + SECTOR, UNIT, 'a'));
	place_end(&place);

	/* What promises nothing is given whole units, and what is left of others stays. */
	place_start(&place, 1, &garbage);
	assert_int_equal(place_write(&place, 0, 4 * UNIT, 'a'), 0);
	gate_bdev_forget(place.gate);
	assert_int_equal(place_clear(&place, BDEV_IO_UNMAP, 0, SECTOR, 2 * UNIT), 0);
	EXPECT_REQUESTS(&place, {BDEV_IO_UNMAP, UNIT, UNIT, 0});
	assert_int_equal(place_clear(&place, BDEV_IO_UNMAP, 0, SECTOR, UNIT), 0);
	assert_int_equal(gate_bdev_record_count(place.gate), 0);
	assert_true(place_holds(&place, 0, UNIT, 'a'));
	assert_true(place_holds(&place, 2 * UNIT, 2 * UNIT, 'a'));
	place_end(&place);
}

static void a_write_through_is_stable(void **state)
{
	uint8_t buf[SECTOR] = {1};
	struct iovec iov = {buf, sizeof(buf)};
	struct place place;

	place_start(&place, 1, NULL);
	assert_int_equal(place_write(&place, SECTOR, SECTOR, 'a'), 0);
	assert_false(gate_bdev_is_stable(place.gate, 0, UNIT));
	assert_int_equal(world_io(&place.world, place.channels[0], BDEV_IO_WRITE, BDEV_IO_FUA, &iov,
				 1, 2 * SECTOR, SECTOR),
		0);
	assert_true(gate_bdev_is_stable(place.gate, 0, UNIT));
	place_end(&place);
}

static void what_the_device_says_is_of_whole_units(void **state)
{
	const struct gate_bdev_options few = {.max_iovcnt = 5};
	uint8_t buf[3 * SECTOR] = {1};
	const struct iovec iov[3] = {
		{buf, SECTOR}, {buf + SECTOR, SECTOR}, {buf + 2 * SECTOR, SECTOR}};
	struct place place;

	place_start(&place, 1, &few);
	assert_int_equal(place.bdev->block_size, SECTOR);
	assert_int_equal(place.bdev->physical_block_size, UNIT);
	assert_int_equal(place.bdev->unmap_granularity, UNIT);
	assert_int_equal(place.bdev->max_iovcnt, 3);
	/* So many it takes, whatever is around them. */
	assert_int_equal(world_io(&place.world, place.channels[0], BDEV_IO_WRITE, 0, iov, 3,
				 UNIT + SECTOR, 3 * SECTOR),
		0);
	place_end(&place);
}

static void statistics_count_what_was_asked_for(void **state)
{
	static uint8_t buf[SECTOR];
	struct bdev_io_stats stats;
	struct place place;

	place_start(&place, 1, NULL);
	assert_int_equal(place_write(&place, SECTOR, 2 * UNIT, 'a'), 0);
	assert_int_equal(place_clear(&place, BDEV_IO_WRITE_ZEROES, 0, SECTOR, 2 * UNIT), 0);
	assert_int_equal(world_read(&place.world, place.channels[2], buf, SECTOR, SECTOR), 0);
	gate_bdev_fail(place.gate, 1u << BDEV_IO_READ, 0, UNIT, -EIO, 1);
	assert_int_equal(place_write(&place, SECTOR, SECTOR, 'a'), -EIO);
	world_stats(&place.world, place.bdev, &stats);
	assert_int_equal(stats.of[BDEV_IO_READ].ops, 1);
	assert_int_equal(stats.of[BDEV_IO_READ].bytes, SECTOR);
	assert_int_equal(stats.of[BDEV_IO_WRITE].ops, 2);
	assert_int_equal(stats.of[BDEV_IO_WRITE].bytes, 2 * UNIT);
	assert_int_equal(stats.of[BDEV_IO_WRITE_ZEROES].ops, 1);
	assert_int_equal(stats.of[BDEV_IO_WRITE_ZEROES].bytes, 2 * UNIT);
	assert_int_equal(stats.errors, 1);
	place_end(&place);
}

static void impossible_units_are_refused(void **state)
{
	static const struct gate_bdev_options wrong[] = {
		{.block_size = 4096, .io_unit_size = 512},
		{.block_size = 512, .io_unit_size = 1536},
		{.block_size = 512, .io_unit_size = 65536},
		{.block_size = 512, .io_unit_size = 4096, .max_iovcnt = 2},
	};
	struct world world;

	world_start(&world, 1);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct gate_bdev_options options = wrong[i];
		struct reason reason = {0};
		struct gate_bdev *gate;

		options.name = "disk";
		options.size_bytes = 5 * UNIT;
		gate = gate_bdev_create(&options);
		assert_int_equal(gate_bdev_register(gate, world.registry, &reason), -EINVAL);
		assert_true(reason.text[0]);
		gate_bdev_destroy(gate);
	}
	world_end(&world);
}

/* ---- alone ---------------------------------------------------------------------------- */

static void place_begin(struct place *place, struct world_call *call, unsigned reactor,
	enum bdev_io_type type, const struct iovec *iov, uint64_t offset, uint64_t length)
{
	memset(call, 0, sizeof(*call));
	call->channel = place->channels[reactor];
	call->io = (struct bdev_io){
		.type = (uint8_t)type,
		.iov = iov,
		.iovcnt = iov ? 1 : 0,
		.offset = offset,
		.length = length,
	};
	world_io_begin(&place->world, call);
}

struct held {
	struct place *place;
	unsigned count;
};

static bool as_many_are_held(void *arg)
{
	const struct held *held = arg;

	return gate_bdev_held(held->place->gate) == held->count;
}

static void place_wait_held(struct place *place, unsigned count)
{
	struct held held = {place, count};

	assert_true(host_wait(&place->world.host, as_many_are_held, &held));
}

/* While the unit has been read and not written yet nobody else gets at it. */
static void nobody_writes_between_the_read_and_the_write(void **state)
{
	static uint8_t one[UNIT], two[UNIT], three[UNIT];
	const struct iovec first = {one, SECTOR}, second = {two, SECTOR}, third = {three, UNIT};

	memset(one, 1, sizeof(one));
	memset(two, 2, sizeof(two));
	memset(three, 3, sizeof(three));
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct world_call calls[3];
		struct place place;

		place_start(&place, seed, NULL);
		gate_bdev_hold_types(place.gate, 1u << BDEV_IO_READ);
		gate_bdev_hold(place.gate, true);
		place_begin(&place, &calls[0], 0, BDEV_IO_WRITE, &first, SECTOR, SECTOR);
		place_wait_held(&place, 1);
		place_begin(&place, &calls[1], 1, BDEV_IO_WRITE, &second, 2 * SECTOR, SECTOR);
		place_begin(&place, &calls[2], 2, BDEV_IO_WRITE, &third, UNIT, UNIT);
		assert_int_equal(world_finish(&place.world, &calls[2]), 0);
		world_settle(&place.world);
		assert_int_equal(gate_bdev_held(place.gate), 1);
		gate_bdev_release_all(place.gate, 0);
		assert_int_equal(world_finish(&place.world, &calls[0]), 0);
		place_wait_held(&place, 1);
		place_begin(&place, &calls[2], 2, BDEV_IO_WRITE, &third, 0, UNIT);
		gate_bdev_release_all(place.gate, 0);
		assert_int_equal(world_finish(&place.world, &calls[1]), 0);
		assert_int_equal(world_finish(&place.world, &calls[2]), 0);
		assert_true(place_holds(&place, 0, UNIT, 3));
		place_end(&place);
	}
}

struct lock_call {
	struct world_call call;
	struct bdev_range_lock lock;
	struct place *place;
	uint64_t offset;
	uint64_t length;
};

static struct lock_call *lock_call_of(struct world_call *call)
{
	return container_of(call, struct lock_call, call);
}

static void lock_run(struct world_call *call)
{
	struct lock_call *lc = lock_call_of(call);

	bdev_range_lock(&lc->lock, lc->place->bdev, lc->place->world.data[0], lc->offset,
		lc->length, world_done, call);
}

static void unlock_run(struct world_call *call)
{
	bdev_range_unlock(&lock_call_of(call)->lock, world_done, call);
}

/* As COMPARE AND WRITE does it: one sector locked, read, written. */
static void the_holder_of_a_lock_reads_and_writes_parts(void **state)
{
	static uint8_t mine[SECTOR], others[SECTOR], read[SECTOR];
	const struct iovec my_iov = {mine, SECTOR}, their_iov = {others, SECTOR},
			   read_iov = {read, SECTOR};

	memset(mine, 1, sizeof(mine));
	memset(others, 2, sizeof(others));
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct place place;
		struct lock_call lc = {.place = &place, .offset = SECTOR, .length = SECTOR};
		struct world_call own, other;

		place_start(&place, seed, NULL);
		lc.call.run = lock_run;
		assert_int_equal(world_run(&place.world, place.world.data[0], &lc.call), 0);
		place_begin(&place, &other, 1, BDEV_IO_WRITE, &their_iov, 0, SECTOR);
		for (unsigned i = 0; i < 2; i++) {
			memset(&own, 0, sizeof(own));
			own.channel = place.channels[0];
			own.io = (struct bdev_io){.type = i ? BDEV_IO_WRITE : BDEV_IO_READ,
				.iov = i ? &my_iov : &read_iov,
				.iovcnt = 1,
				.offset = SECTOR,
				.length = SECTOR,
				.lock = &lc.lock};
			world_io_begin(&place.world, &own);
			assert_int_equal(world_finish(&place.world, &own), 0);
		}
		world_settle(&place.world);
		assert_false(atomic_load(&other.ended));
		lc.call.run = unlock_run;
		assert_int_equal(world_run(&place.world, place.world.data[0], &lc.call), 0);
		assert_int_equal(world_finish(&place.world, &other), 0);
		assert_true(place_holds(&place, 0, SECTOR, 2));
		assert_true(place_holds(&place, SECTOR, SECTOR, 1));
		assert_true(place_holds(&place, 2 * SECTOR, UNIT, 0));
		place_end(&place);
	}
}

/* They come from a device above, whose lock they are made under. */
static void a_lock_of_another_device_is_none_here(void **state)
{
	static const struct bdev_range_lock above;
	static uint8_t bytes[2][SECTOR];
	struct iovec iovs[2];
	struct world_call calls[2];
	struct place place;

	place_start(&place, 1, NULL);
	gate_bdev_hold_types(place.gate, 1u << BDEV_IO_READ);
	gate_bdev_hold(place.gate, true);
	for (unsigned i = 0; i < 2; i++) {
		memset(bytes[i], (int)i + 1, SECTOR);
		iovs[i] = (struct iovec){bytes[i], SECTOR};
		memset(&calls[i], 0, sizeof(calls[i]));
		calls[i].channel = place.channels[i];
		calls[i].io = (struct bdev_io){.type = BDEV_IO_WRITE,
			.iov = &iovs[i],
			.iovcnt = 1,
			.offset = i * SECTOR,
			.length = SECTOR,
			.lock = &above};
		world_io_begin(&place.world, &calls[i]);
	}
	place_wait_held(&place, 1);
	world_settle(&place.world);
	assert_int_equal(gate_bdev_held(place.gate), 1);
	gate_bdev_hold(place.gate, false);
	gate_bdev_release_all(place.gate, 0);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(world_finish(&place.world, &calls[i]), 0);
	assert_true(place_holds(&place, 0, SECTOR, 1));
	assert_true(place_holds(&place, SECTOR, SECTOR, 2));
	place_end(&place);
}

/* Both would read the unit and write it. */
static void locks_of_sectors_of_one_unit_follow_each_other(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		struct place place;
		struct lock_call first = {.place = &place, .offset = SECTOR, .length = SECTOR};
		struct lock_call second = {.place = &place, .offset = 2 * SECTOR, .length = UNIT};
		struct lock_call apart = {.place = &place, .offset = 2 * UNIT, .length = UNIT};

		place_start(&place, seed, NULL);
		first.call.run = second.call.run = apart.call.run = lock_run;
		assert_int_equal(world_run(&place.world, place.world.data[0], &first.call), 0);
		world_begin(&place.world, place.world.data[0], &second.call);
		assert_int_equal(world_run(&place.world, place.world.data[0], &apart.call), 0);
		world_settle(&place.world);
		assert_false(atomic_load(&second.call.ended));
		first.call.run = unlock_run;
		assert_int_equal(world_run(&place.world, place.world.data[0], &first.call), 0);
		assert_int_equal(world_finish(&place.world, &second.call), 0);
		second.call.run = apart.call.run = unlock_run;
		assert_int_equal(world_run(&place.world, place.world.data[0], &second.call), 0);
		assert_int_equal(world_run(&place.world, place.world.data[0], &apart.call), 0);
		place_end(&place);
	}
}

/* As a snapshot does it, while parts are being written. */
static void a_lock_of_the_whole_device_is_granted_between_requests(void **state)
{
	static uint8_t byte[SECTOR];
	const struct iovec iov = {byte, SECTOR};

	HOST_FOR_EACH_SEED(seed, 30)
	{
		struct place place;
		struct lock_call lc = {.place = &place, .length = BDEV_RANGE_ALL};
		struct world_call calls[12];

		place_start(&place, seed, NULL);
		for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
			if (i == ARRAY_SIZE(calls) / 2) {
				lc.call.run = lock_run;
				world_begin(&place.world, place.world.data[0], &lc.call);
			}
			place_begin(&place, &calls[i], i % WORLD_REACTORS,
				i % 4 == 3 ? BDEV_IO_READ : BDEV_IO_WRITE, &iov, i * SECTOR,
				SECTOR);
		}
		assert_int_equal(world_finish(&place.world, &lc.call), 0);
		gate_bdev_forget(place.gate);
		world_settle(&place.world);
		assert_int_equal(gate_bdev_record_count(place.gate), 0);
		lc.call.run = unlock_run;
		assert_int_equal(world_run(&place.world, place.world.data[0], &lc.call), 0);
		for (unsigned i = 0; i < ARRAY_SIZE(calls); i++)
			assert_int_equal(world_finish(&place.world, &calls[i]), 0);
		place_end(&place);
	}
}

/* Wherever it stands when its device goes. */
static void a_device_that_goes_takes_its_requests_along(void **state)
{
	static uint8_t byte[SECTOR];
	const struct iovec iov = {byte, SECTOR};

	HOST_FOR_EACH_SEED(seed, 60)
	{
		struct world_call remove = {.run = world_unregister_run};
		struct world_call calls[9];
		struct place place;

		place_start(&place, seed, NULL);
		remove.bdev = place.bdev;
		gate_bdev_hold(place.gate, seed % 2);
		for (unsigned i = 0; i < ARRAY_SIZE(calls); i++)
			place_begin(&place, &calls[i], i % WORLD_REACTORS, BDEV_IO_WRITE, &iov,
				i / 3 * SECTOR, SECTOR);
		if (seed % 2)
			place_wait_held(&place, 1);
		world_begin(&place.world, place.world.control, &remove);
		world_settle(&place.world);
		gate_bdev_hold(place.gate, false);
		gate_bdev_release_all(place.gate, 0);
		for (unsigned i = 0; i < ARRAY_SIZE(calls); i++) {
			int rc = world_finish(&place.world, &calls[i]);

			assert_true(rc == 0 || rc == -ENODEV);
		}
		for (unsigned i = 0; i < WORLD_REACTORS; i++)
			world_channel_close(&place.world, place.channels[i]);
		world_close(&place.world, &place.user);
		assert_int_equal(world_finish(&place.world, &remove), 0);
		gate_bdev_destroy(place.gate);
		world_end(&place.world);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_units_go_straight_to_the_backend),
		cmocka_unit_test(a_write_of_parts_reads_the_ends_and_writes_once),
		cmocka_unit_test(a_read_of_parts_is_one_request_and_leaves_the_rest_alone),
		cmocka_unit_test(zeroes_are_written_where_there_are_none),
		cmocka_unit_test(a_discard_keeps_the_promise_of_its_device),
		cmocka_unit_test(a_write_through_is_stable),
		cmocka_unit_test(what_the_device_says_is_of_whole_units),
		cmocka_unit_test(statistics_count_what_was_asked_for),
		cmocka_unit_test(impossible_units_are_refused),
		cmocka_unit_test(nobody_writes_between_the_read_and_the_write),
		cmocka_unit_test(the_holder_of_a_lock_reads_and_writes_parts),
		cmocka_unit_test(a_lock_of_another_device_is_none_here),
		cmocka_unit_test(locks_of_sectors_of_one_unit_follow_each_other),
		cmocka_unit_test(a_lock_of_the_whole_device_is_granted_between_requests),
		cmocka_unit_test(a_device_that_goes_takes_its_requests_along),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
