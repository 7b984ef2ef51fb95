/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The crash tests' own tools: what the log says can be left after a cut, and that a store whose
 * order of writes is right (toy.h) passes every cut, while the lies of a disk are caught.
 */
#include <stdlib.h>
#include <string.h>

#include "crash/toy.h"

#define SIZE    (64 * KIB)
#define PUTS    40u
#define CHOICES 8u

/* ---- images ---- */

static uint64_t sum_with(struct crash_image *image, uint64_t offset, uint8_t byte)
{
	crash_image_write(image, offset, &byte, 1);
	return crash_image_sum(image);
}

static void images_that_hold_the_same_are_known_wherever_it_lies(void **state)
{
	struct crash_image below, image, flat;
	uint64_t sum;

	crash_image_init(&below, NULL, SIZE);
	crash_image_init(&image, &below, SIZE);
	crash_image_init(&flat, NULL, SIZE);
	assert_int_equal(crash_image_sum(&image), crash_image_sum(&flat));
	crash_image_fill(&below, 3 * KIB, 1, 6 * KIB);
	crash_image_fill(&image, 4 * KIB, 2, 9 * KIB);
	crash_image_fill(&flat, 3 * KIB, 1, 1 * KIB);
	crash_image_fill(&flat, 4 * KIB, 2, 9 * KIB);
	sum = crash_image_sum(&flat);
	assert_int_equal(crash_image_sum(&image), sum);
	crash_image_reset(&image, &below);
	assert_int_not_equal(crash_image_sum(&image), sum);
	crash_image_fill(&image, 4 * KIB, 2, 9 * KIB);
	assert_int_equal(sum_with(&image, 40 * KIB, 0), sum);
	assert_int_not_equal(sum_with(&image, 40 * KIB, 1), sum);
	assert_int_equal(sum_with(&image, 40 * KIB, 0), sum);
	crash_image_fini(&flat);
	crash_image_fini(&image);
	crash_image_fini(&below);
}

/* Each byte, and a page in another's place. */
static void images_that_differ_anywhere_have_another_sum(void **state)
{
	struct crash_image image;
	uint64_t sum;

	crash_image_init(&image, NULL, SIZE);
	crash_image_fill(&image, 0, 7, 2 * CRASH_PAGE_BYTES);
	sum = crash_image_sum(&image);
	for (uint64_t at = 0; at < 3ull * CRASH_PAGE_BYTES; at++) {
		uint8_t was = *crash_image_at(&image, at);

		assert_int_not_equal(sum_with(&image, at, was ^ (uint8_t)(1u << at % 8)), sum);
		assert_int_equal(sum_with(&image, at, was), sum);
	}
	crash_image_reset(&image, NULL);
	crash_image_fill(&image, CRASH_PAGE_BYTES, 7, 2 * CRASH_PAGE_BYTES);
	assert_int_not_equal(crash_image_sum(&image), sum);
	crash_image_fini(&image);
}

/* ---- logs by hand ---- */

struct desk {
	struct crash_log log;
	struct crash_cutter cutter;
	struct crash_image image;
};

static uint32_t desk_write(struct desk *desk, uint64_t offset, uint64_t length, uint8_t byte)
{
	const struct crash_write write = {.offset = offset, .length = length, .fill = byte};

	return crash_log_submit(&desk->log, &write);
}

static uint32_t desk_flush(struct desk *desk)
{
	const struct crash_write flush = {.is_flush = true};

	return crash_log_submit(&desk->log, &flush);
}

/* Cuts at the end. */
static void desk_cut(struct desk *desk)
{
	crash_cutter_init(&desk->cutter, &desk->log, NULL, SIZE);
	crash_image_init(&desk->image, &desk->cutter.stable, SIZE);
	while (crash_cutter_next(&desk->cutter))
		;
}

static uint8_t desk_byte(struct desk *desk, unsigned choice, uint64_t offset)
{
	uint8_t byte;

	(void)crash_cutter_image(&desk->cutter, choice, 1, &desk->image);
	crash_image_read(&desk->image, offset, &byte, 1);
	return byte;
}

static void desk_end(struct desk *desk)
{
	crash_image_fini(&desk->image);
	crash_cutter_fini(&desk->cutter);
	crash_log_fini(&desk->log);
}

static void a_flush_makes_stable_what_ended_before_it_came(void **state)
{
	struct desk desk = {0};
	uint32_t before = desk_write(&desk, 0, 512, 1);
	uint32_t during = desk_write(&desk, 512, 512, 2);
	uint32_t flush;

	crash_log_end(&desk.log, before);
	flush = desk_flush(&desk);
	crash_log_end(&desk.log, during);
	crash_log_end(&desk.log, flush);
	(void)desk_write(&desk, 1024, 512, 3);
	desk_cut(&desk);
	assert_int_equal(desk_byte(&desk, CRASH_LOSE_ALL, 0), 1);
	assert_int_equal(desk_byte(&desk, CRASH_LOSE_ALL, 512), 0);
	assert_int_equal(desk_byte(&desk, CRASH_KEEP_ALL, 512), 2);
	assert_int_equal(desk_byte(&desk, CRASH_KEEP_ALL, 1024), 3);
	desk_end(&desk);
}

static void a_flush_that_has_not_ended_promises_nothing(void **state)
{
	struct desk desk = {0};

	crash_log_end(&desk.log, desk_write(&desk, 0, 512, 1));
	(void)desk_flush(&desk);
	desk_cut(&desk);
	assert_int_equal(desk_byte(&desk, CRASH_LOSE_ALL, 0), 0);
	desk_end(&desk);
}

static void fua_makes_its_own_write_stable_and_stays_on_top(void **state)
{
	struct desk desk = {0};
	struct crash_write fua = {.offset = 0, .length = 512, .fill = 2, .is_fua = true};

	crash_log_end(&desk.log, desk_write(&desk, 0, 1024, 1));
	crash_log_end(&desk.log, crash_log_submit(&desk.log, &fua));
	desk_cut(&desk);
	assert_int_equal(desk_byte(&desk, CRASH_LOSE_ALL, 0), 2);
	assert_int_equal(desk_byte(&desk, CRASH_LOSE_ALL, 512), 0);
	assert_int_equal(desk_byte(&desk, CRASH_KEEP_ALL, 0), 2);
	assert_int_equal(desk_byte(&desk, CRASH_KEEP_ALL, 512), 1);
	desk_end(&desk);
}

/* How often in many choices two bytes of one write differ. */
static unsigned desk_tears(struct desk *desk, uint64_t one, uint64_t other)
{
	unsigned tears = 0;

	for (unsigned choice = 2; choice < 500; choice++)
		tears += desk_byte(desk, choice, one) != desk_byte(desk, choice, other);
	return tears;
}

static void writes_tear_at_sectors_and_metadata_at_pages(void **state)
{
	struct desk desk = {.log.atomic_end = 16 * KIB};

	(void)desk_write(&desk, 8 * KIB, 8 * KIB, 1);
	(void)desk_write(&desk, 32 * KIB, 4 * KIB, 1);
	desk_cut(&desk);
	assert_true(desk_tears(&desk, 8 * KIB, 12 * KIB) > 20);
	assert_int_equal(desk_tears(&desk, 8 * KIB, 12 * KIB - 1), 0);
	assert_true(desk_tears(&desk, 32 * KIB, 32 * KIB + 512) > 20);
	assert_int_equal(desk_tears(&desk, 32 * KIB, 32 * KIB + 511), 0);
	desk_end(&desk);
}

static void the_same_image_is_not_made_twice(void **state)
{
	struct desk desk = {0};
	unsigned made = 0;

	crash_log_end(&desk.log, desk_write(&desk, 0, 512, 1));
	desk_cut(&desk);
	for (unsigned choice = 0; choice < 100; choice++)
		made += crash_cutter_image(&desk.cutter, choice, 1, &desk.image);
	assert_int_equal(made, 2);
	desk_end(&desk);
}

/* ---- the toy ---- */

struct toy_history {
	unsigned key;
	uint64_t value;
	uint64_t called;
	uint64_t done;
};

struct toy_run {
	struct crash_log log;
	struct toy_history history[PUTS];
	unsigned cuts;
	unsigned wrong;
};

static void toy_run_puts(struct toy_run *run, struct toy *toy, uint64_t seed)
{
	struct chance chance = {.state = seed};

	for (unsigned i = 0; i < PUTS; i++) {
		struct toy_history *put = &run->history[i];

		put->key = (unsigned)chance_below(&chance, TOY_KEYS);
		put->value = i + 1;
		put->called = crash_log_tick(&run->log);
		toy_put(toy, put->key, put->value);
		put->done = crash_log_tick(&run->log);
	}
}

static void toy_record(struct toy_run *run, struct crash_disk *disk, uint64_t seed)
{
	struct world world;
	struct world_user user;
	struct bdev_channel *channel;
	struct reason reason = {0};
	struct toy toy;

	world_start(&world, seed);
	crash_disk_set(disk, disk->image, &run->log, seed);
	assert_int_equal(bdev_register(world.registry, &disk->bdev, &reason), 0);
	world_user_init(&user, "first");
	assert_int_equal(world_open(&world, &disk->bdev, &user, NULL), 0);
	assert_int_equal(world_channel_open(&world, &user, 0, &channel), 0);
	toy_start(&toy, &world, channel);
	toy_run_puts(run, &toy, seed);
	toy_stop(&toy);
	world_channel_close(&world, channel);
	world_close(&world, &user);
	assert_int_equal(world_unregister(&world, &disk->bdev), 0);
	world_end(&world);
}

static bool toy_is_right(const struct toy_run *run, uint64_t now, const struct crash_image *image)
{
	uint64_t found[TOY_KEYS], acked[TOY_KEYS] = {0}, called[TOY_KEYS] = {0};

	for (unsigned i = 0; i < PUTS; i++) {
		const struct toy_history *put = &run->history[i];

		if (put->called <= now)
			called[put->key] = put->value;
		if (put->done <= now)
			acked[put->key] = put->value;
	}
	toy_recover(image, found);
	for (unsigned key = 0; key < TOY_KEYS; key++)
		if (found[key] != acked[key] && found[key] != called[key])
			return false;
	return true;
}

static void toy_cut_everywhere(struct toy_run *run, uint64_t seed)
{
	struct crash_cutter cutter;
	struct crash_image image;

	crash_cutter_init(&cutter, &run->log, NULL, TOY_BYTES);
	crash_image_init(&image, &cutter.stable, TOY_BYTES);
	while (crash_cutter_next(&cutter)) {
		for (unsigned choice = 0; choice < CHOICES; choice++) {
			if (!crash_cutter_image(&cutter, choice, seed, &image))
				continue;
			run->cuts++;
			run->wrong += !toy_is_right(run, cutter.now, &image);
		}
	}
	crash_image_fini(&image);
	crash_cutter_fini(&cutter);
}

static void toy_run(
	struct toy_run *run, uint64_t seed, enum crash_fault fault, unsigned first, unsigned nth)
{
	const struct crash_disk_options options = {.name = "crash0", .block_size = 512};
	struct crash_image image;
	struct crash_disk disk;

	*run = (struct toy_run){0};
	crash_log_init(&run->log);
	crash_image_init(&image, NULL, TOY_BYTES);
	crash_disk_init(&disk, &options, &image);
	crash_disk_lie(&disk, fault, first, nth);
	toy_record(run, &disk, seed);
	toy_cut_everywhere(run, seed);
	crash_image_fini(&image);
	crash_log_fini(&run->log);
}

static void a_right_order_of_writes_passes_every_cut(void **state)
{
	struct toy_run run;

	SIM_FOR_EACH_SEED(seed, 20)
	{
		toy_run(&run, seed, CRASH_HONEST, 0, 1);
		assert_int_equal(run.wrong, 0);
		assert_true(run.cuts > 4 * PUTS);
	}
}

static void a_single_dropped_flush_is_caught(void **state)
{
	struct toy_run run;
	unsigned caught = 0;

	for (unsigned flush = 0; flush < 40; flush++) {
		toy_run(&run, 1 + flush, CRASH_DROPS_FLUSHES, flush, UINT32_MAX);
		caught += run.wrong > 0;
	}
	assert_int_equal(caught, 40);
}

static void two_swapped_writes_are_caught(void **state)
{
	struct toy_run run;
	unsigned caught = 0;

	for (unsigned flush = 0; flush < 40; flush++) {
		toy_run(&run, 1 + flush, CRASH_SWAPS_WRITES, flush, UINT32_MAX);
		caught += run.wrong > 0;
	}
	/* The rest were writes whose order does not matter. */
	assert_true(caught >= 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(images_that_hold_the_same_are_known_wherever_it_lies),
		cmocka_unit_test(images_that_differ_anywhere_have_another_sum),
		cmocka_unit_test(a_flush_makes_stable_what_ended_before_it_came),
		cmocka_unit_test(a_flush_that_has_not_ended_promises_nothing),
		cmocka_unit_test(fua_makes_its_own_write_stable_and_stays_on_top),
		cmocka_unit_test(writes_tear_at_sectors_and_metadata_at_pages),
		cmocka_unit_test(the_same_image_is_not_made_twice),
		cmocka_unit_test(a_right_order_of_writes_passes_every_cut),
		cmocka_unit_test(a_single_dropped_flush_is_caught),
		cmocka_unit_test(two_swapped_writes_are_caught),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
