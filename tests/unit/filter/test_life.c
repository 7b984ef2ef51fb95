/* SPDX-License-Identifier: BSD-2-Clause */
/* Filters come and go with the device below them. */
#include <errno.h>
#include <string.h>

#include "filter_world.h"

#define SIZE (8 * MIB)

struct place {
	struct filter_world fw;
	struct fake base;
};

static void place_start(struct place *p)
{
	memset(p, 0, sizeof(*p));
	filter_world_start(&p->fw, 1);
	fake_init(&p->base, "base", SIZE);
}

static void base_comes(struct place *p)
{
	assert_int_equal(fake_register(&p->fw.world, &p->base, NULL), 0);
	filters_settle(&p->fw);
}

static void base_goes(struct place *p)
{
	assert_int_equal(world_unregister(&p->fw.world, &p->base.bdev), 0);
	world_settle(&p->fw.world);
	fake_init(&p->base, "base", SIZE);
}

static void a_filter_waits_for_its_device_and_goes_with_it(void **state)
{
	struct place p;
	uuid_t first;

	place_start(&p);
	assert_int_equal(passthru_make(&p.fw, "over", "base", NULL), 0);
	assert_null(device_named(&p.fw, "over"));
	for (unsigned round = 0; round < 3; round++) {
		struct bdev *over;

		base_comes(&p);
		over = device_named(&p.fw, "over");
		assert_non_null(over);
		assert_int_equal(bdev_size(over), SIZE);
		assert_true(atomic_load(&p.base.claimed));
		assert_int_equal(p.base.bdev.claim, BDEV_CLAIM_EXCLUSIVE_WRITE);
		if (round == 0)
			uuid_copy(first, over->uuid);
		else if (round == 2)
			/* It is made from the base's, and that is another each time. */
			assert_int_not_equal(uuid_compare(first, over->uuid), 0);
		base_goes(&p);
		assert_null(device_named(&p.fw, "over"));
	}
	filter_remove(&p.fw, FILTER_PASSTHRU, "over");
	base_comes(&p);
	assert_null(device_named(&p.fw, "over"));
	assert_false(atomic_load(&p.base.claimed));
	filter_world_end(&p.fw);
}

static void filters_over_filters_stand_in_whatever_order_they_were_made(void **state)
{
	struct place p;

	place_start(&p);
	assert_int_equal(passthru_make(&p.fw, "top", "middlep1", NULL), 0);
	assert_int_equal(split_make(&p.fw, "middle", 2, 0), 0);
	assert_int_equal(passthru_make(&p.fw, "middle", "base", NULL), 0);
	base_comes(&p);
	assert_non_null(device_named(&p.fw, "top"));
	assert_int_equal(bdev_size(device_named(&p.fw, "top")), SIZE / 2);
	base_goes(&p);
	assert_null(device_named(&p.fw, "top"));
	assert_null(device_named(&p.fw, "middlep0"));
	assert_null(device_named(&p.fw, "middle"));
	filter_world_end(&p.fw);
}

static void what_cannot_be_had_leaves_nothing_behind(void **state)
{
	struct reason reason = {0};
	struct world_user writer;
	struct place p;

	place_start(&p);
	base_comes(&p);
	world_user_init(&writer, "first");
	assert_int_equal(world_open(&p.fw.world, &p.base.bdev, &writer, NULL), 0);
	assert_int_equal(world_claim(&p.fw.world, &writer, BDEV_CLAIM_SHARED_WRITE, NULL), 0);
	assert_int_equal(passthru_make(&p.fw, "over", "base", &reason), -EPERM);
	assert_non_null(strstr(reason.text, "written by first"));
	assert_null(filter_get_named(&p.fw, FILTER_PASSTHRU, "over"));
	assert_int_equal(split_make(&p.fw, "base", 2, 0), -EPERM);
	assert_int_equal(world_release(&p.fw.world, &writer), 0);
	world_close(&p.fw.world, &writer);

	assert_int_equal(passthru_make(&p.fw, "base", "base", &reason), -EEXIST);
	assert_int_equal(split_make(&p.fw, "base", 0, 0), -EINVAL);
	assert_int_equal(split_make(&p.fw, "base", 3, 100), -EINVAL);
	atomic_store(&p.base.claim_status, -EBUSY);
	assert_int_equal(passthru_make(&p.fw, "over", "base", &reason), -EBUSY);
	atomic_store(&p.base.claim_status, 0);
	assert_int_equal(passthru_make(&p.fw, "over", "base", NULL), 0);
	assert_int_equal(passthru_make(&p.fw, "over", "elsewhere", NULL), -EEXIST);
	assert_int_equal(passthru_make(&p.fw, "again", "base", NULL), -EPERM);
	assert_null(filter_get_named(&p.fw, FILTER_PASSTHRU, "again"));
	filter_world_end(&p.fw);
}

/* Its parts' names may be taken by then. */
static void a_split_comes_whole_or_not_at_all(void **state)
{
	struct fake other;
	struct place p;

	place_start(&p);
	assert_int_equal(split_make(&p.fw, "base", 3, 0), 0);
	fake_init(&other, "basep2", SIZE);
	assert_int_equal(fake_register(&p.fw.world, &other, NULL), 0);
	base_comes(&p);
	wait_until_gone(&p.fw, "basep0");
	assert_int_equal(world_unregister(&p.fw.world, &other.bdev), 0);
	base_goes(&p);
	base_comes(&p);
	assert_non_null(device_named(&p.fw, "basep0"));
	assert_non_null(device_named(&p.fw, "basep2"));

	/* One of them is taken away: the others follow. */
	assert_int_equal(world_unregister(&p.fw.world, device_named(&p.fw, "basep1")), 0);
	wait_until_gone(&p.fw, "basep0");
	wait_until_gone(&p.fw, "basep2");
	filter_remove(&p.fw, FILTER_SPLIT, "base");
	assert_false(atomic_load(&p.base.claimed));
	filter_world_end(&p.fw);
}

static void parts_beyond_the_end_of_the_device_are_left_out(void **state)
{
	struct place p;

	place_start(&p);
	base_comes(&p);
	assert_int_equal(split_make(&p.fw, "base", 5, 3), 0);
	assert_non_null(device_named(&p.fw, "basep1"));
	assert_int_equal(bdev_size(device_named(&p.fw, "basep1")), 3 * MIB);
	assert_null(device_named(&p.fw, "basep2"));
	filter_remove(&p.fw, FILTER_SPLIT, "base");
	assert_null(device_named(&p.fw, "basep0"));
	filter_world_end(&p.fw);
}

struct race {
	struct world_call create;
	struct world_call other;
	struct filter_world *fw;
};

static void race_create_run(struct world_call *call)
{
	struct race *race = container_of(call, struct race, create);
	const struct filter_options options = {.name = "over", .base = "base"};

	passthru_create(race->fw->filters, &options, NULL, world_done, call);
}

static void race_delete_run(struct world_call *call)
{
	struct race *race = container_of(call, struct race, other);

	filter_delete(filter_find(race->fw->filters, FILTER_PASSTHRU, "over"), world_done, call);
}

/* The claim takes a while: the other comes in the middle of it. */
static void a_filter_that_is_being_raised_can_be_deleted_and_lose_its_device(void **state)
{
	for (unsigned removes = 0; removes < 2; removes++) {
		struct place p;
		struct race race = {.create.run = race_create_run, .other.run = race_delete_run};

		place_start(&p);
		p.base.claim_ns = 100 * MSEC_NS;
		base_comes(&p);
		race.fw = &p.fw;
		if (removes) {
			race.other.run = world_unregister_run;
			race.other.bdev = &p.base.bdev;
		}
		world_begin(&p.fw.world, p.fw.world.control, &race.create);
		world_settle(&p.fw.world);
		world_begin(&p.fw.world, p.fw.world.control, &race.other);
		assert_int_equal(world_finish(&p.fw.world, &race.create), removes ? -ENODEV : 0);
		assert_int_equal(world_finish(&p.fw.world, &race.other), 0);
		world_settle(&p.fw.world);
		assert_null(device_named(&p.fw, "over"));
		assert_null(filter_get_named(&p.fw, FILTER_PASSTHRU, "over"));
		filter_world_end(&p.fw);
	}
}

static void what_is_read_only_below_is_read_only_above(void **state)
{
	struct place p;

	place_start(&p);
	p.base.bdev.read_only = true;
	base_comes(&p);
	assert_int_equal(passthru_make(&p.fw, "over", "base", NULL), 0);
	assert_true(device_named(&p.fw, "over")->read_only);
	assert_int_equal(p.base.bdev.claim, BDEV_CLAIM_READ_MANY_WRITE_NONE);
	filter_world_end(&p.fw);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_filter_waits_for_its_device_and_goes_with_it),
		cmocka_unit_test(filters_over_filters_stand_in_whatever_order_they_were_made),
		cmocka_unit_test(what_cannot_be_had_leaves_nothing_behind),
		cmocka_unit_test(a_split_comes_whole_or_not_at_all),
		cmocka_unit_test(parts_beyond_the_end_of_the_device_are_left_out),
		cmocka_unit_test(a_filter_that_is_being_raised_can_be_deleted_and_lose_its_device),
		cmocka_unit_test(what_is_read_only_below_is_read_only_above),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
