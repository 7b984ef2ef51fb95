/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many requests at once, and a controller that does all kinds of things to them.
 * SIM_SEEDS=1000 makes millions of requests of it.
 */
#include "nvme_world.h"

#include <errno.h>

#include "base/log.h"

#define BLOCKS 65536

static struct nvme_sim_options usual_sim(void)
{
	return (struct nvme_sim_options){.namespaces = 1, .blocks = BLOCKS};
}

static void load_run(struct nvme_world *world, const struct nvme_load_options *options)
{
	assert_int_equal(nvme_load_finish(nvme_load_start(world, options)), 0);
}

static void all_kinds_of_requests_hold_their_data(void **state)
{
	HOST_FOR_EACH_SEED(seed, 6)
	{
		struct nvme_sim_options sim = usual_sim();
		struct nvme_load_options load = {.seed = seed, .requests = 2000};
		struct nvme_world world;

		sim.mdts = (uint8_t)(seed % 8);
		sim.boundary = (uint16_t)(seed % 3 * 24);
		sim.block_shift = seed % 2 ? 12 : 9;
		sim.blocks = sim.block_shift == 12 ? 4096 : BLOCKS;
		sim.entries = seed % 4 == 3 ? 5 : 0;
		sim.vectors = seed % 5 == 4 ? 2 : 0; /* the second queue pair has none */
		nvme_world_start(&world, seed, &sim, NULL);
		load.workers = sim.block_shift == 12 ? 4 : 24;
		load_run(&world, &load);
		if (sim.block_shift == 9) {
			assert_int_equal(nvme_world_memory(&world, true), 0);
			load.workers = 6;
			load.mapped = true;
			load_run(&world, &load);
			load.aligned = true;
			load_run(&world, &load);
			assert_int_equal(nvme_world_memory(&world, false), 0);
			load_run(&world, &load);
		}
		nvme_world_end(&world);
	}
}

static void submissions_of_a_turn_ring_once(void **state)
{
	struct nvme_sim_options sim = usual_sim();
	struct nvme_load_options load = {.workers = 24, .requests = 4000};
	struct nvme_sim_counts counts;
	uint64_t commands;
	struct nvme_world world;

	sim.latency_min_ns = sim.latency_max_ns = 20 * USEC_NS;
	nvme_world_start(&world, 1, &sim, NULL);
	load_run(&world, &load);
	counts = nvme_sim_counts(world.sim);
	commands = counts.commands[NVME_READ] + counts.commands[NVME_WRITE] +
		   counts.commands[NVME_WRITE_ZEROES];
	assert_true(counts.bells * 2 < commands);
	assert_true(counts.interrupts < counts.bells);
	nvme_world_end(&world);
}

/* What ends by itself is repeated, and nobody notices. */
static void passing_errors_are_repeated(void **state)
{
	HOST_FOR_EACH_SEED(seed, 3)
	{
		struct nvme_sim_options sim = usual_sim();
		struct nvme_load_options load = {.seed = seed, .workers = 16, .requests = 3000};
		struct nvme_options options = NVME_OPTIONS_DEFAULT;
		struct nvme_world world;

		options.retries = 20;
		nvme_world_start(&world, seed, &sim, &options);
		nvme_sim_chance(world.sim, 1u << NVME_SIM_STATUS, 5, NVME_SC_INTERNAL);
		load_run(&world, &load);
		assert_true(nvme_sim_counts(world.sim).faults > 0);
		assert_int_equal(atomic_load(&world.broken), 0);
		nvme_world_end(&world);
	}
}

static void errors_that_stay_are_told(void **state)
{
	struct nvme_sim_options sim = usual_sim();
	struct nvme_load_options load = {.workers = 16, .requests = 2000};
	struct nvme_world world;

	nvme_world_start(&world, 1, &sim, NULL);
	nvme_sim_chance(world.sim, 1u << NVME_SIM_STATUS, 5, NVME_SC_WRITE_FAULT | NVME_CQE_DNR);
	assert_true(nvme_load_finish(nvme_load_start(&world, &load)) > 0);
	nvme_sim_chance(world.sim, 0, 0, 0);
	load_run(&world, &load);
	nvme_world_end(&world);
}

/* Lost, spoilt and doubled completions, failures of the controller: with resets enough all requests
 * succeed, and each ends once. */
static void faults_of_every_kind_lose_no_request(void **state)
{
	HOST_FOR_EACH_SEED(seed, 12)
	{
		struct nvme_sim_options sim = usual_sim();
		struct nvme_load_options load = {.seed = seed, .workers = 12, .requests = 1500};
		struct nvme_options options = NVME_OPTIONS_DEFAULT;
		struct nvme_world world;

		options.timeout_ns = 20 * MSEC_NS;
		options.admin_timeout_ns = 500 * MSEC_NS;
		options.retries = 1000;
		options.action = seed % 3 ? NVME_TIMEOUT_ABORT : NVME_TIMEOUT_RESET;
		nvme_world_start(&world, seed, &sim, &options);
		nvme_sim_chance(world.sim, ((1u << NVME_SIM_FAULTS) - 1) & ~(1u << NVME_SIM_GONE),
			40, NVME_SC_TRANSFER_ERROR);
		load_run(&world, &load);
		assert_true(atomic_load(&world.resets) > 0);
		nvme_world_end(&world);
	}
}

static void a_limit_of_repetitions_ends_requests_once(void **state)
{
	HOST_FOR_EACH_SEED(seed, 6)
	{
		struct nvme_sim_options sim = usual_sim();
		struct nvme_load_options load = {.seed = seed, .workers = 12, .requests = 600};
		struct nvme_options options = NVME_OPTIONS_DEFAULT;
		struct nvme_world world;

		options.timeout_ns = 20 * MSEC_NS;
		options.retries = 0;
		nvme_world_start(&world, seed, &sim, &options);
		nvme_sim_chance(world.sim, 1u << NVME_SIM_KEEP | 1u << NVME_SIM_CID, 40, 0);
		assert_true(nvme_load_finish(nvme_load_start(&world, &load)) > 0);
		nvme_world_end(&world);
	}
}

static void a_controller_pulled_out_ends_all_requests(void **state)
{
	HOST_FOR_EACH_SEED(seed, 6)
	{
		struct nvme_sim_options sim = usual_sim();
		struct nvme_load_options load = {.seed = seed, .workers = 24, .requests = 2000};
		struct nvme_world world;

		nvme_world_start(&world, seed, &sim, NULL);
		nvme_sim_order(world.sim, NVME_SIM_GONE, NVME_SIM_ANY, 700, 1, 0);
		assert_true(nvme_load_finish(nvme_load_start(&world, &load)) > 0);
		assert_true(host_wait(&world.host, nvme_world_is_settled, &world));
		assert_int_equal(atomic_load(&world.reset_rc), -ENODEV);
		assert_int_equal(nvme_controller_state(world.controller), NVME_DEAD);
		assert_int_equal(
			nvme_world_io(&world, 0, NVME_REQUEST_FLUSH, 0, NULL, 0, 0, 0), -ENODEV);
		nvme_world_end(&world);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_kinds_of_requests_hold_their_data),
		cmocka_unit_test(submissions_of_a_turn_ring_once),
		cmocka_unit_test(passing_errors_are_repeated),
		cmocka_unit_test(errors_that_stay_are_told),
		cmocka_unit_test(faults_of_every_kind_lose_no_request),
		cmocka_unit_test(a_limit_of_repetitions_ends_requests_once),
		cmocka_unit_test(a_controller_pulled_out_ends_all_requests),
	};

	host_select(argc, argv);
	log_set_level(LOG_ERROR); /* hundreds of resets are noticed otherwise */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
