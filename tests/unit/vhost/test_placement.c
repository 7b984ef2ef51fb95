/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which data reactor serves which queue: where one starts, and when one is moved by load.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/reactor.h"
#include "sim/sim.h"
#include "vhost/balance_impl.h"

#define REACTORS 4

struct fixture {
	struct sim *sim;
	struct reactor *reactors[REACTORS];
	struct placement placement;
};

static void setup(struct fixture *fixture, unsigned count)
{
	fixture->sim = sim_create(1);
	for (unsigned i = 0; i < count; i++) {
		const struct reactor_options options = {.name = "data", .cpu = (int)i * 2};

		assert_int_equal(
			reactor_create(sim_os(fixture->sim), &options, NULL, &fixture->reactors[i]),
			0);
	}
	assert_int_equal(placement_init(&fixture->placement, fixture->reactors, count), 0);
}

static void teardown(struct fixture *fixture)
{
	for (unsigned i = 0; i < fixture->placement.count; i++)
		reactor_destroy(fixture->reactors[i]);
	placement_fini(&fixture->placement);
	assert_int_equal(sim_destroy(fixture->sim), 0);
}

static void queues_start_where_the_fewest_are(void **state)
{
	struct fixture fixture;
	struct cpu_set cpus = {0};

	setup(&fixture, 3);
	for (unsigned i = 0; i < 6; i++)
		assert_ptr_equal(placement_take(&fixture.placement, NULL), fixture.reactors[i % 3]);
	placement_give(&fixture.placement, fixture.reactors[1]);
	assert_ptr_equal(placement_take(&fixture.placement, NULL), fixture.reactors[1]);
	cpu_set_add(&cpus, 4);
	assert_true(placement_allows(&fixture.placement, &cpus));
	assert_ptr_equal(placement_take(&fixture.placement, &cpus), fixture.reactors[2]);
	placement_add(&fixture.placement, fixture.reactors[0]);
	assert_ptr_equal(placement_take(&fixture.placement, NULL), fixture.reactors[1]);
	teardown(&fixture);
}

static void reactors_are_found_by_their_cpu_within_the_mask(void **state)
{
	struct fixture fixture;
	struct cpu_set cpus = {0};

	setup(&fixture, 3);
	cpu_set_add(&cpus, 2);
	assert_ptr_equal(placement_find(&fixture.placement, NULL, 4), fixture.reactors[2]);
	assert_ptr_equal(placement_find(&fixture.placement, &cpus, 2), fixture.reactors[1]);
	assert_null(placement_find(&fixture.placement, &cpus, 4));
	assert_null(placement_find(&fixture.placement, NULL, 1));
	assert_int_equal(placement_cpu_of(&fixture.placement, fixture.reactors[2]), 4);
	teardown(&fixture);
}

/* ---- by load ----------------------------------------------------------------------------- */

struct scene {
	struct balance_load loads[REACTORS];
	struct balance_queue queues[8];
	unsigned count;
	struct fixture fixture;
	unsigned queue, to;
};

static void scene_add(struct scene *scene, unsigned reactor, uint64_t weight)
{
	scene->queues[scene->count++] =
		(struct balance_queue){.reactor = reactor, .weight = weight, .movable = true};
}

static void scene_set_load(struct scene *scene, unsigned reactor, unsigned busy)
{
	scene->loads[reactor].busy = busy;
	scene->loads[reactor].busy_before = busy;
}

static bool scene_moves(struct scene *scene)
{
	return balance_choose(&scene->fixture.placement, scene->loads, scene->queues, scene->count,
		&scene->queue, &scene->to);
}

static void scene_start(struct scene *scene)
{
	memset(scene, 0, sizeof(*scene));
	setup(&scene->fixture, 3);
	scene_set_load(scene, 0, 1000);
	scene_set_load(scene, 1, 300);
}

static void one_of_two_busy_queues_goes_to_the_idlest_reactor(void **state)
{
	struct scene scene;

	scene_start(&scene);
	scene_add(&scene, 0, 500);
	scene_add(&scene, 1, 10);
	scene_add(&scene, 0, 500);
	assert_true(scene_moves(&scene));
	assert_int_equal(scene.queue, 0);
	assert_int_equal(scene.to, 2);
	teardown(&scene.fixture);
}

static void a_single_busy_queue_stays(void **state)
{
	struct scene scene;

	scene_start(&scene);
	scene_add(&scene, 0, 1000);
	scene_add(&scene, 0, 0);
	scene_add(&scene, 0, 3);
	assert_false(scene_moves(&scene));
	teardown(&scene.fixture);
}

/* Of three equal ones on one and two on another reactor none gains enough. */
static void what_is_balanced_stays(void **state)
{
	struct scene scene;

	scene_start(&scene);
	scene_set_load(&scene, 1, 950);
	scene_set_load(&scene, 2, 900);
	for (unsigned i = 0; i < 6; i++)
		scene_add(&scene, i % 3, 100);
	assert_false(scene_moves(&scene));
	teardown(&scene.fixture);
}

static void a_short_peak_moves_nothing(void **state)
{
	struct scene scene;

	scene_start(&scene);
	scene_add(&scene, 0, 500);
	scene_add(&scene, 0, 500);
	scene.loads[0].busy_before = 700;
	assert_false(scene_moves(&scene));
	scene_set_load(&scene, 0, 799);
	assert_false(scene_moves(&scene));
	teardown(&scene.fixture);
}

static void pinned_queues_and_masks_are_respected(void **state)
{
	struct cpu_set cpus = {0};
	struct scene scene;

	scene_start(&scene);
	scene_add(&scene, 0, 600);
	scene_add(&scene, 0, 400);
	scene.queues[1].movable = false;
	cpu_set_add(&cpus, 0);
	cpu_set_add(&cpus, 2);
	scene.queues[0].cpus = &cpus;
	/* 1000 and 300 become 400 and 900. */
	assert_false(scene_moves(&scene));
	scene_set_load(&scene, 1, 0);
	assert_true(scene_moves(&scene));
	assert_int_equal(scene.queue, 0);
	assert_int_equal(scene.to, 1);
	scene.queues[0].movable = false;
	assert_false(scene_moves(&scene));
	teardown(&scene.fixture);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queues_start_where_the_fewest_are),
		cmocka_unit_test(reactors_are_found_by_their_cpu_within_the_mask),
		cmocka_unit_test(one_of_two_busy_queues_goes_to_the_idlest_reactor),
		cmocka_unit_test(a_single_busy_queue_stays),
		cmocka_unit_test(what_is_balanced_stays),
		cmocka_unit_test(a_short_peak_moves_nothing),
		cmocka_unit_test(pinned_queues_and_masks_are_respected),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
