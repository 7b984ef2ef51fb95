/* SPDX-License-Identifier: BSD-2-Clause */
/* Names, events, sizes, opening and the end of a device. */
#include "fake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SIZE (1 * MIB)

static void names_and_uuids_share_one_name_space(void **state)
{
	const char *uuid = "3f0e6a1c-9d55-4a43-8d11-52c7be1f0a77";
	struct fake one, two, three;
	struct reason reason = {0};
	struct world world;

	world_start(&world, 1);
	fake_init(&one, "one", SIZE);
	uuid_parse(uuid, one.bdev.uuid);
	assert_int_equal(fake_register(&world, &one, &reason), 0);
	assert_ptr_equal(world_find(&world, "one"), &one.bdev);
	assert_ptr_equal(world_find(&world, uuid), &one.bdev);
	assert_null(world_find(&world, "3F0E6A1C-9D55-4A43-8D11-52C7BE1F0A77"));
	assert_null(world_find(&world, "two"));
	assert_string_equal(one.bdev.name, "one");

	fake_init(&two, "one", SIZE);
	assert_int_equal(fake_register(&world, &two, &reason), -EEXIST);
	assert_non_null(strstr(reason.text, "one"));
	fake_init(&two, uuid, SIZE);
	assert_int_equal(fake_register(&world, &two, NULL), -EEXIST);
	fake_init(&two, "two", SIZE);
	uuid_parse(uuid, two.bdev.uuid);
	assert_int_equal(fake_register(&world, &two, NULL), -EEXIST);
	assert_null(world_find(&world, "two")); /* nothing of it is left behind */

	/* The name of a logical volume is its uuid. */
	fake_init(&three, "a4d3b8f0-0c5e-4a0b-9f6a-0b4c4f0f7a10", SIZE);
	uuid_parse(three.bdev.name, three.bdev.uuid);
	assert_int_equal(fake_register(&world, &three, NULL), 0);

	fake_init(&two, "two", SIZE);
	assert_int_equal(fake_register(&world, &two, NULL), 0);
	assert_false(uuid_is_null(two.bdev.uuid));
	assert_int_equal(world_unregister(&world, &one.bdev), 0);
	assert_null(world_find(&world, "one"));
	assert_null(world_find(&world, uuid));
	fake_init(&one, "one", SIZE);
	uuid_parse(uuid, one.bdev.uuid);
	assert_int_equal(fake_register(&world, &one, NULL), 0);
	assert_int_equal(world_unregister(&world, &one.bdev), 0);
	assert_int_equal(world_unregister(&world, &two.bdev), 0);
	assert_int_equal(world_unregister(&world, &three.bdev), 0);
	world_end(&world);
}

struct alias_list {
	char text[256];
};

static void alias_append(const char *alias, void *arg)
{
	struct alias_list *list = arg;
	size_t used = strlen(list->text);

	snprintf(list->text + used, sizeof(list->text) - used, "%s;", alias);
}

static void alias_steps(struct world_call *call)
{
	const char *uuid = "3f0e6a1c-9d55-4a43-8d11-52c7be1f0a77";
	struct alias_list list = {{0}};

	assert_int_equal(bdev_alias_add(call->bdev, "lvs/one", NULL), 0);
	assert_int_equal(bdev_alias_add(call->bdev, "lvs/one", NULL), -EEXIST);
	assert_int_equal(bdev_alias_add(call->bdev, "one", NULL), -EEXIST);
	assert_int_equal(bdev_alias_add(call->bdev, "", NULL), -EINVAL);
	assert_ptr_equal(bdev_find(call->world->registry, "lvs/one"), call->bdev);
	bdev_alias_for_each(call->bdev, alias_append, &list);
	assert_string_equal(list.text, "3f0e6a1c-9d55-4a43-8d11-52c7be1f0a77;lvs/one;");
	assert_int_equal(bdev_alias_remove(call->bdev, "one", NULL), -ENOENT);
	assert_int_equal(bdev_alias_remove(call->bdev, uuid, NULL), -ENOENT);
	assert_int_equal(bdev_alias_remove(call->bdev, "lvs/one", NULL), 0);
	assert_int_equal(bdev_alias_remove(call->bdev, "lvs/one", NULL), -ENOENT);
	assert_null(bdev_find(call->world->registry, "lvs/one"));
	assert_int_equal(bdev_alias_add(call->bdev, "lvs/two", NULL), 0);
	world_done(call, 0);
}

static void aliases_come_and_go(void **state)
{
	struct world_call call = {.run = alias_steps};
	struct world world;
	struct fake one;

	world_start(&world, 1);
	fake_init(&one, "one", SIZE);
	uuid_parse("3f0e6a1c-9d55-4a43-8d11-52c7be1f0a77", one.bdev.uuid);
	assert_int_equal(fake_register(&world, &one, NULL), 0);
	call.bdev = &one.bdev;
	world_run(&world, world.control, &call);
	assert_int_equal(world_unregister(&world, &one.bdev), 0);
	assert_null(world_find(&world, "lvs/two"));
	world_end(&world);
}

static void impossible_geometries_are_refused(void **state)
{
	static const struct {
		const char *name;
		uint64_t size;
		uint32_t block_size;
		uint32_t physical;
	} wrong[] = {
		{"", SIZE, 512, 0},
		{"x", SIZE, 0, 0},
		{"x", SIZE, 256, 0},
		{"x", SIZE, 513, 0},
		{"x", SIZE, 520, 0},
		{"x", SIZE, 131072, 0},
		{"x", 0, 512, 0},
		{"x", 1000, 512, 0},
		{"x", UINT64_C(1) << 63, 512, 0},
		{"x", SIZE, 4096, 512},
		{"x", SIZE, 512, 3000},
	};
	struct world world;

	world_start(&world, 1);
	for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
		struct reason reason = {0};
		struct fake fake;

		fake_init(&fake, wrong[i].name, wrong[i].size);
		fake.bdev.block_size = wrong[i].block_size;
		fake.bdev.physical_block_size = wrong[i].physical;
		assert_int_equal(fake_register(&world, &fake, &reason), -EINVAL);
		assert_string_not_equal(reason.text, "");
	}
	assert_null(world_find(&world, "x"));
	world_end(&world);
}

struct event_log {
	char text[256];
	struct world *world;
};

static void event_write(const struct bdev_event *event, void *arg)
{
	static const char kinds[] = {'+', '-', '='};
	struct event_log *log = arg;
	size_t used = strlen(log->text);

	snprintf(log->text + used, sizeof(log->text) - used, "%c%s ", kinds[event->kind],
		event->bdev->name);
	assert_true(event->kind != BDEV_UNREGISTERED ||
		    bdev_find(log->world->registry, event->bdev->name) == NULL);
}

static void subscribe_run(struct world_call *call)
{
	struct event_log *log = (struct event_log *)(uintptr_t)call->options;

	world_done(call, bdev_registry_subscribe(call->world->registry, event_write, log));
}

static void events_and_users_hear_of_sizes(void **state)
{
	struct world_call call = {.run = subscribe_run};
	struct event_log log = {.text = ""};
	struct world_user quiet, user;
	struct world world;
	struct fake one;

	world_start(&world, 1);
	log.world = &world;
	call.options = &log;
	assert_int_equal(world_run(&world, world.control, &call), 0);
	fake_init(&one, "one", SIZE);
	assert_int_equal(fake_register(&world, &one, NULL), 0);
	world_user_init(&user, "first");
	world_user_init(&quiet, "third"); /* does not want to know */
	assert_int_equal(world_open(&world, &one.bdev, &user, NULL), 0);
	assert_int_equal(world_open(&world, &one.bdev, &quiet, NULL), 0);
	world_set_size(&world, &one.bdev, 2 * SIZE);
	world_set_size(&world, &one.bdev, 2 * SIZE); /* no change, no event */
	assert_int_equal(atomic_load(&user.resized), 1);
	assert_int_equal(bdev_size(&one.bdev), 2 * SIZE);
	world_close(&world, &user);
	world_close(&world, &quiet);
	assert_int_equal(world_unregister(&world, &one.bdev), 0);
	assert_string_equal(log.text, "+one =one -one ");
	world_end(&world);
}

static void a_removed_device_waits_for_its_users(void **state)
{
	HOST_FOR_EACH_SEED(seed, 30)
	{
		struct world_call remove = {.run = world_unregister_run};
		struct world_user user, late;
		struct reason reason = {0};
		struct fake one, two;
		struct world world;

		world_start(&world, seed);
		fake_init(&one, "one", SIZE);
		fake_init(&two, "one", SIZE);
		assert_int_equal(fake_register(&world, &one, NULL), 0);
		world_user_init(&user, "first");
		world_user_init(&late, "second");
		assert_int_equal(world_open(&world, &one.bdev, &user, NULL), 0);
		assert_int_equal(world_claim(&world, &user, BDEV_CLAIM_SHARED_WRITE, &reason), 0);

		remove.bdev = &one.bdev;
		world_begin(&world, world.control, &remove);
		assert_true(host_wait_flag(&world.host, &user.removed));
		assert_int_equal(world_unregister(&world, &one.bdev), -EALREADY);
		assert_int_equal(world_open(&world, &one.bdev, &late, &reason), -ENODEV);
		assert_int_equal(fake_register(&world, &two, NULL), -EEXIST);
		host_sleep(&world.host, 2 * MSEC_NS);
		assert_false(atomic_load(&remove.ended));
		assert_false(atomic_load(&one.destroyed));

		assert_int_equal(world_release(&world, &user), 0);
		world_close(&world, &user);
		assert_int_equal(world_finish(&world, &remove), 0);
		assert_true(atomic_load(&one.destroyed));
		assert_int_equal(fake_register(&world, &two, NULL), 0);
		assert_int_equal(world_unregister(&world, &two.bdev), 0);
		world_end(&world);
	}
}

static void a_name_is_taken_until_its_device_is_destroyed(void **state)
{
	struct world_call remove = {.run = world_unregister_run};
	struct fake one, two;
	struct world world;

	world_start(&world, 1);
	fake_init(&one, "one", SIZE);
	one.claim_ns = 20 * MSEC_NS;
	assert_int_equal(fake_register(&world, &one, NULL), 0);
	remove.bdev = &one.bdev;
	world_begin(&world, world.control, &remove);
	fake_init(&two, "one", SIZE);
	assert_int_equal(fake_register(&world, &two, NULL), -EEXIST);
	assert_int_equal(world_finish(&world, &remove), 0);
	assert_int_equal(fake_register(&world, &two, NULL), 0);
	assert_int_equal(world_unregister(&world, &two.bdev), 0);
	world_end(&world);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_uuids_share_one_name_space),
		cmocka_unit_test(aliases_come_and_go),
		cmocka_unit_test(impossible_geometries_are_refused),
		cmocka_unit_test(events_and_users_hear_of_sizes),
		cmocka_unit_test(a_removed_device_waits_for_its_users),
		cmocka_unit_test(a_name_is_taken_until_its_device_is_destroyed),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
