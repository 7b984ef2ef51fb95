/* SPDX-License-Identifier: BSD-2-Clause */
/* Who may write a device. */
#include "fake.h"

#include <errno.h>
#include <string.h>

#define SIZE (1 * MIB)

struct claim_world {
	struct world world;
	struct fake fake;
	struct world_user first;
	struct world_user second;
};

static void claim_world_start(struct claim_world *cw, uint64_t seed, bool read_only)
{
	world_start(&cw->world, seed);
	fake_init(&cw->fake, "disk", SIZE);
	cw->fake.bdev.read_only = read_only;
	assert_int_equal(fake_register(&cw->world, &cw->fake, NULL), 0);
	world_user_init(&cw->first, "first");
	world_user_init(&cw->second, "second");
	assert_int_equal(world_open(&cw->world, &cw->fake.bdev, &cw->first, NULL), 0);
	assert_int_equal(world_open(&cw->world, &cw->fake.bdev, &cw->second, NULL), 0);
}

static void claim_world_end(struct claim_world *cw)
{
	world_close(&cw->world, &cw->first);
	world_close(&cw->world, &cw->second);
	assert_int_equal(world_unregister(&cw->world, &cw->fake.bdev), 0);
	world_end(&cw->world);
}

static void the_backend_is_claimed_by_the_first_writer_and_released_by_the_last(void **state)
{
	struct claim_world cw;

	claim_world_start(&cw, 1, false);
	assert_int_equal(world_claim(&cw.world, &cw.first, BDEV_CLAIM_SHARED_WRITE, NULL), 0);
	assert_int_equal(cw.fake.bdev.claim, BDEV_CLAIM_SHARED_WRITE);
	assert_int_equal(world_claim(&cw.world, &cw.second, BDEV_CLAIM_SHARED_WRITE, NULL), 0);
	assert_int_equal(atomic_load(&cw.fake.claims), 1);
	assert_int_equal(world_release(&cw.world, &cw.first), 0);
	assert_true(atomic_load(&cw.fake.claimed));
	assert_int_equal(world_release(&cw.world, &cw.second), 0);
	assert_false(atomic_load(&cw.fake.claimed));
	assert_int_equal(cw.fake.bdev.claim, BDEV_CLAIM_NONE);
	assert_int_equal(world_release(&cw.world, &cw.second), 0); /* nothing to give back */
	assert_int_equal(atomic_load(&cw.fake.releases), 1);
	claim_world_end(&cw);
}

static void an_exclusive_claim_excludes_and_names_its_holder(void **state)
{
	struct reason reason = {0};
	struct claim_world cw;

	claim_world_start(&cw, 1, false);
	assert_int_equal(world_claim(&cw.world, &cw.first, BDEV_CLAIM_EXCLUSIVE_WRITE, NULL), 0);
	assert_int_equal(
		world_claim(&cw.world, &cw.second, BDEV_CLAIM_SHARED_WRITE, &reason), -EPERM);
	assert_non_null(strstr(reason.text, "first"));
	assert_int_equal(
		world_claim(&cw.world, &cw.second, BDEV_CLAIM_EXCLUSIVE_WRITE, NULL), -EPERM);
	assert_int_equal(cw.fake.bdev.claim, BDEV_CLAIM_EXCLUSIVE_WRITE);
	assert_int_equal(world_release(&cw.world, &cw.first), 0);

	reason.text[0] = '\0';
	assert_int_equal(world_claim(&cw.world, &cw.second, BDEV_CLAIM_SHARED_WRITE, NULL), 0);
	assert_int_equal(
		world_claim(&cw.world, &cw.first, BDEV_CLAIM_EXCLUSIVE_WRITE, &reason), -EPERM);
	assert_non_null(strstr(reason.text, "second"));
	assert_int_equal(world_release(&cw.world, &cw.second), 0);
	claim_world_end(&cw);
}

static void who_relies_on_a_device_keeps_writers_out_and_others_like_him_not(void **state)
{
	struct reason reason = {0};
	struct claim_world cw;

	claim_world_start(&cw, 1, false);
	assert_int_equal(
		world_claim(&cw.world, &cw.first, BDEV_CLAIM_READ_MANY_WRITE_NONE, NULL), 0);
	assert_int_equal(
		world_claim(&cw.world, &cw.second, BDEV_CLAIM_SHARED_WRITE, &reason), -EPERM);
	assert_non_null(strstr(reason.text, "first"));
	assert_int_equal(
		world_claim(&cw.world, &cw.second, BDEV_CLAIM_READ_MANY_WRITE_NONE, NULL), 0);
	assert_int_equal(atomic_load(&cw.fake.claims), 0); /* nobody writes */
	assert_int_equal(world_release(&cw.world, &cw.first), 0);
	assert_int_equal(cw.fake.bdev.claim, BDEV_CLAIM_READ_MANY_WRITE_NONE);
	reason.text[0] = '\0';
	assert_int_equal(
		world_claim(&cw.world, &cw.first, BDEV_CLAIM_READ_MANY_WRITE_ONE, &reason), -EPERM);
	assert_non_null(strstr(reason.text, "second"));
	assert_int_equal(world_release(&cw.world, &cw.second), 0);

	assert_int_equal(
		world_claim(&cw.world, &cw.first, BDEV_CLAIM_READ_MANY_WRITE_ONE, NULL), 0);
	assert_int_equal(
		world_claim(&cw.world, &cw.second, BDEV_CLAIM_READ_MANY_WRITE_NONE, NULL), -EPERM);
	assert_int_equal(atomic_load(&cw.fake.claims), 1);
	assert_int_equal(world_release(&cw.world, &cw.first), 0);
	assert_int_equal(atomic_load(&cw.fake.releases), 1);
	claim_world_end(&cw);
}

static void a_read_only_device_can_be_relied_on(void **state)
{
	struct claim_world cw;

	claim_world_start(&cw, 1, true);
	assert_int_equal(
		world_claim(&cw.world, &cw.first, BDEV_CLAIM_READ_MANY_WRITE_NONE, NULL), 0);
	assert_int_equal(world_release(&cw.world, &cw.first), 0);
	claim_world_end(&cw);
}

static void a_read_only_device_is_not_claimed(void **state)
{
	struct reason reason = {0};
	struct claim_world cw;

	claim_world_start(&cw, 1, true);
	assert_int_equal(
		world_claim(&cw.world, &cw.first, BDEV_CLAIM_SHARED_WRITE, &reason), -EROFS);
	assert_non_null(strstr(reason.text, "read-only"));
	assert_int_equal(atomic_load(&cw.fake.claims), 0);
	claim_world_end(&cw);
}

static void a_refused_claim_can_be_tried_again(void **state)
{
	struct reason reason = {0};
	struct claim_world cw;

	claim_world_start(&cw, 1, false);
	atomic_store(&cw.fake.claim_status, -EBUSY);
	assert_int_equal(
		world_claim(&cw.world, &cw.first, BDEV_CLAIM_SHARED_WRITE, &reason), -EBUSY);
	assert_non_null(strstr(reason.text, "4711"));
	assert_int_equal(cw.fake.bdev.claim, BDEV_CLAIM_NONE);
	atomic_store(&cw.fake.claim_status, 0);
	assert_int_equal(world_claim(&cw.world, &cw.first, BDEV_CLAIM_SHARED_WRITE, NULL), 0);
	assert_int_equal(world_release(&cw.world, &cw.first), 0);
	claim_world_end(&cw);
}

static void claim_begin(struct world_call *call)
{
	bdev_claim(call->user, call->claim, call->reason, world_done, call);
}

static void release_begin(struct world_call *call)
{
	bdev_release(call->user, world_done, call);
}

/* Whoever comes while the claim is being taken, or given up, waits for how that ends. */
static void claims_and_releases_that_meet_are_done_in_order(void **state)
{
	HOST_FOR_EACH_SEED(seed, 50)
	{
		struct world_call first = {.run = claim_begin, .claim = BDEV_CLAIM_SHARED_WRITE};
		struct world_call second = {.run = claim_begin, .claim = BDEV_CLAIM_SHARED_WRITE};
		struct world_call first_end = {.run = release_begin};
		struct world_call second_end = {.run = release_begin};
		struct claim_world cw;

		claim_world_start(&cw, seed, false);
		first.user = first_end.user = &cw.first.user;
		second.user = second_end.user = &cw.second.user;
		world_begin(&cw.world, cw.world.control, &first);
		world_begin(&cw.world, cw.world.control, &first_end);
		world_begin(&cw.world, cw.world.control, &second);
		world_begin(&cw.world, cw.world.control, &second_end);
		assert_int_equal(world_finish(&cw.world, &second_end), 0);
		assert_int_equal(world_finish(&cw.world, &first), 0);
		assert_int_equal(world_finish(&cw.world, &first_end), 0);
		assert_int_equal(world_finish(&cw.world, &second), 0);
		assert_int_equal(atomic_load(&cw.fake.claims), 2);
		assert_int_equal(atomic_load(&cw.fake.releases), 2);
		claim_world_end(&cw);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			the_backend_is_claimed_by_the_first_writer_and_released_by_the_last),
		cmocka_unit_test(an_exclusive_claim_excludes_and_names_its_holder),
		cmocka_unit_test(who_relies_on_a_device_keeps_writers_out_and_others_like_him_not),
		cmocka_unit_test(a_read_only_device_can_be_relied_on),
		cmocka_unit_test(a_read_only_device_is_not_claimed),
		cmocka_unit_test(a_refused_claim_can_be_tried_again),
		cmocka_unit_test(claims_and_releases_that_meet_are_done_in_order),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
