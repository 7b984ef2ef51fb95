/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A controller from the time it is found until it is let go.
 */
#include "nvme_world.h"

#include <errno.h>
#include <string.h>

#define BLOCK 512

static void opened_it_tells_what_it_is(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		const struct nvme_sim_options sim = {.namespaces = 3, .block_shift = 12};
		const struct nvme_namespace *ns;
		struct nvme_world world;
		unsigned count;

		nvme_world_start(&world, seed, &sim, NULL);
		assert_int_equal(nvme_controller_state(world.controller), NVME_LIVE);
		assert_int_equal(nvme_controller_version(world.controller), 0x00020000);
		assert_memory_equal(
			nvme_controller_identity(world.controller)->mn, "Simulated drive ", 16);
		ns = nvme_controller_namespaces(world.controller, &count);
		assert_int_equal(count, 3);
		assert_int_equal(ns[2].nsid, 3);
		assert_int_equal(ns[2].blocks, 16384);
		assert_int_equal(ns[2].block_shift, 12);
		assert_int_equal(ns[2].uuid[15], 3);
		assert_int_equal(ns[2].atomic_blocks, 8);
		assert_true(ns[2].zeroes_deallocate);
		nvme_world_end(&world);
	}
}

static void it_is_told_to_shut_down_before_it_is_let_go(void **state)
{
	struct nvme_world world;

	nvme_world_start(&world, 1, NULL, NULL);
	assert_int_equal(nvme_sim_counts(world.sim).enables, 1);
	assert_int_equal(nvme_sim_counts(world.sim).shutdowns, 0);
	nvme_world_let_go(&world);
	assert_int_equal(nvme_sim_counts(world.sim).shutdowns, 1);
	nvme_world_end(&world); /* the simulated controller complains if it is left running */
}

static void stick_enabling(struct nvme_sim *sim)
{
	nvme_sim_set_stuck(sim, true, false);
}

static void pull_out(struct nvme_sim *sim)
{
	nvme_sim_do(sim, NVME_SIM_GONE);
}

static void lose_identify(struct nvme_sim *sim)
{
	nvme_sim_order(sim, NVME_SIM_LOSE, NVME_SIM_ADMIN | NVME_ADMIN_IDENTIFY, 2, 1, 0);
}

static void refuse_queues(struct nvme_sim *sim)
{
	nvme_sim_order(sim, NVME_SIM_STATUS, NVME_SIM_ADMIN | NVME_ADMIN_SET_FEATURES, 1, 1,
		NVME_SC_INTERNAL);
}

static void have_no_memory(struct nvme_sim *sim)
{
	nvme_sim_fail_map(sim, 1);
}

static void what_cannot_be_opened_says_why_and_leaves_nothing(void **state)
{
	static const struct {
		void (*before)(struct nvme_sim *sim);
		int rc;
	} cases[] = {
		{stick_enabling, -ETIMEDOUT},
		{pull_out, -ENODEV},
		{lose_identify, -EIO},
		{refuse_queues, -EIO},
		{have_no_memory, -ENOMEM},
	};

	HOST_FOR_EACH_SEED(seed, 5)
	{
		for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
			struct nvme_options options = NVME_OPTIONS_DEFAULT;
			struct nvme_world world;

			options.admin_timeout_ns = 1 * SEC_NS;
			assert_int_equal(
				nvme_world_try(&world, seed, NULL, &options, cases[i].before),
				cases[i].rc);
			assert_string_not_equal(world.reason.text, "");
			assert_null(world.controller);
			nvme_world_end(&world);
		}
	}
}

static void a_namespace_with_metadata_is_named_and_refused(void **state)
{
	const struct nvme_sim_options sim = {.namespaces = 2, .metadata = 8};
	const struct nvme_namespace *ns;
	struct nvme_world world;
	unsigned count;

	nvme_world_start(&world, 1, &sim, NULL);
	ns = nvme_controller_namespaces(world.controller, &count);
	assert_int_equal(count, 2);
	assert_null(ns[0].problem);
	assert_non_null(strstr(ns[1].problem, "metadata"));
	nvme_world_end(&world);
}

static void a_namespace_of_blocks_that_are_never_whole_is_refused(void **state)
{
	const struct nvme_sim_options sim = {.namespaces = 1, .block_shift = 14, .mdts = 1};
	const struct nvme_namespace *ns;
	struct nvme_world world;
	unsigned count;

	assert_int_equal(nvme_world_try(&world, 1, &sim, NULL, NULL), 0);
	ns = nvme_controller_namespaces(world.controller, &count);
	assert_int_equal(count, 1);
	assert_non_null(strstr(ns[0].problem, "at once"));
	nvme_world_end(&world);
}

static void queue_pairs_end_where_the_controller_has_no_more(void **state)
{
	const struct nvme_sim_options sim = {.namespaces = 1, .queues = 3};
	struct nvme_qpair *third, *fourth;
	struct nvme_world world;

	nvme_world_start(&world, 1, &sim, NULL);
	assert_int_equal(nvme_world_qpair_open(&world, 0, &third), 0);
	assert_int_equal(nvme_world_qpair_open(&world, 0, &fourth), -ENOSPC);
	assert_int_equal(nvme_world_qpair_close(&world, third), 0);
	assert_int_equal(nvme_world_qpair_open(&world, 1, &fourth), 0);
	assert_int_equal(nvme_world_qpair_close(&world, fourth), 0);
	nvme_world_end(&world);
}

static void a_queue_pair_that_cannot_be_made_leaves_nothing(void **state)
{
	static const unsigned opcodes[] = {NVME_ADMIN_CREATE_CQ, NVME_ADMIN_CREATE_SQ};
	struct nvme_qpair *third;
	struct nvme_world world;

	nvme_world_start(&world, 1, NULL, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(opcodes); i++) {
		nvme_sim_order(world.sim, NVME_SIM_STATUS, NVME_SIM_ADMIN | opcodes[i], 1, 1,
			NVME_SC_INTERNAL);
		assert_int_equal(nvme_world_qpair_open(&world, 0, &third), -EIO);
	}
	nvme_sim_fail_map(world.sim, 1);
	assert_int_equal(nvme_world_qpair_open(&world, 0, &third), -ENOMEM);
	assert_int_equal(nvme_world_qpair_open(&world, 0, &third), 0);
	assert_int_equal(nvme_world_qpair_close(&world, third), 0);
	nvme_world_end(&world);
}

static bool has_changed(void *world)
{
	return atomic_load(&((struct nvme_world *)world)->changed) > 0;
}

static void changes_of_namespaces_are_told(void **state)
{
	HOST_FOR_EACH_SEED(seed, 10)
	{
		const struct nvme_sim_options sim = {.namespaces = 3};
		const struct nvme_namespace *ns;
		struct nvme_world world;
		unsigned count;

		nvme_world_start(&world, seed, &sim, NULL);
		nvme_sim_resize(world.sim, 1, 20000);
		nvme_sim_attach(world.sim, 2, false);
		assert_true(host_wait(&world.host, has_changed, &world));
		assert_int_equal(nvme_world_scan(&world), 0);
		ns = nvme_controller_namespaces(world.controller, &count);
		assert_int_equal(count, 2);
		assert_int_equal(ns[0].blocks, 20000);
		assert_int_equal(ns[1].nsid, 3);
		nvme_sim_tell_health(world.sim, 4); /* logged only */
		host_sleep(&world.host, 10 * MSEC_NS);
		assert_int_equal(atomic_load(&world.broken), 0);
		nvme_world_end(&world);
	}
}

static void log_pages_are_read(void **state)
{
	struct nvme_health health;
	struct nvme_world world;

	nvme_world_start(&world, 1, NULL, NULL);
	assert_int_equal(nvme_world_read_log(&world, NVME_LOG_HEALTH, &health, sizeof(health)), 0);
	assert_int_equal(health.available_spare, 98);
	assert_int_equal(nvme_world_read_log(&world, 0x77, &health, sizeof(health)), -EIO);
	nvme_world_end(&world);
}

/* ---- requests ----------------------------------------------------------- */

static void a_flush_goes_to_a_drive_with_a_cache_only(void **state)
{
	for (unsigned no_cache = 0; no_cache < 2; no_cache++) {
		const struct nvme_sim_options sim = {.namespaces = 1, .no_cache = no_cache};
		struct nvme_world world;

		nvme_world_start(&world, 1, &sim, NULL);
		assert_int_equal(nvme_world_io(&world, 0, NVME_REQUEST_FLUSH, 0, NULL, 0, 0, 0), 0);
		assert_int_equal(nvme_world_io(&world, 0, NVME_REQUEST_DEALLOCATE, NVME_REQUEST_FUA,
					 NULL, 0, 0, 8 * BLOCK),
			0);
		assert_int_equal(nvme_sim_counts(world.sim).commands[NVME_FLUSH], no_cache ? 0 : 2);
		nvme_world_end(&world);
	}
}

static void errors_have_names(void **state)
{
	static const struct {
		uint16_t status;
		int rc;
	} cases[] = {
		{NVME_SC_INVALID_OPCODE | NVME_CQE_DNR, -EOPNOTSUPP},
		{NVME_SC_CAPACITY, -ENOSPC},
		{NVME_SC_INVALID_NAMESPACE, -ENODEV},
		{NVME_SC_WRITE_PROTECTED, -EROFS},
		{NVME_SC_WRITE_FAULT | NVME_CQE_DNR, -EIO},
		{NVME_SC_INTERNAL | NVME_CQE_DNR, -EIO},
	};
	struct nvme_world world;

	nvme_world_start(&world, 1, NULL, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		nvme_sim_order(
			world.sim, NVME_SIM_STATUS, NVME_WRITE_ZEROES, 1, 1, cases[i].status);
		assert_int_equal(
			nvme_world_io(&world, 0, NVME_REQUEST_ZEROES, 0, NULL, 0, 0, 4 * BLOCK),
			cases[i].rc);
	}
	nvme_world_end(&world);
}

/* One buffer that does not fit is copied, its neighbours are not: what the drive transfers straight
 * it finds through the mapping. */
static void buffers_that_fit_need_no_mapping_of_the_others(void **state)
{
	static uint8_t odd[BLOCK + 1];
	struct nvme_world world;
	struct iovec iov[3];

	nvme_world_start(&world, 1, NULL, NULL);
	assert_int_equal(nvme_world_memory(&world, true), 0);
	memset(world.memory, 0x11, 3 * 4096);
	memset(odd, 0x22, sizeof(odd));
	iov[0] = (struct iovec){odd + 1, BLOCK};
	iov[1] = (struct iovec){world.memory + 4096, 2 * 4096};
	iov[2] = (struct iovec){world.memory + 8, BLOCK};
	assert_int_equal(
		nvme_world_io(&world, 0, NVME_REQUEST_WRITE, 0, iov, 3, 0, 2 * BLOCK + 8192), 0);
	assert_int_equal(nvme_sim_data(world.sim, 1)[0], 0x22);
	assert_int_equal(nvme_sim_data(world.sim, 1)[BLOCK - 1], 0x22);
	assert_int_equal(nvme_sim_data(world.sim, 1)[BLOCK], 0x11);
	assert_int_equal(nvme_sim_data(world.sim, 1)[2 * BLOCK + 8191], 0x11);
	assert_int_equal(nvme_sim_data(world.sim, 1)[2 * BLOCK + 8192], 0);
	assert_int_equal(nvme_sim_counts(world.sim).commands[NVME_WRITE], 1);
	nvme_world_end(&world);
}

static void a_drive_without_requests_wakes_nobody(void **state)
{
	struct nvme_world world;
	uint64_t sleeps[2];

	nvme_world_start(&world, 1, NULL, NULL);
	assert_int_equal(nvme_world_io(&world, 0, NVME_REQUEST_FLUSH, 0, NULL, 0, 0, 0), 0);
	host_sleep(&world.host, 2 * SEC_NS); /* timers that ran for it end */
	for (unsigned i = 0; i < 2; i++) {
		sleeps[i] = world.data[0]->stats.turns + world.control->stats.turns;
		host_sleep(&world.host, 100 * SEC_NS);
	}
	assert_true(
		sleeps[1] - sleeps[0] < 20); /* the simulated kernel returns early now and then */
	nvme_world_end(&world);
}

/* ---- resets ------------------------------------------------------------- */

static void a_reset_asked_for_loses_nothing(void **state)
{
	HOST_FOR_EACH_SEED(seed, 5)
	{
		const struct nvme_sim_options sim = {.namespaces = 1, .blocks = 65536};
		const struct nvme_load_options options = {
			.seed = seed, .workers = 16, .requests = 1500};
		struct nvme_options patient = NVME_OPTIONS_DEFAULT;
		struct nvme_load *load;
		struct nvme_world world;

		patient.retries = 100;
		nvme_world_start(&world, seed, &sim, &patient);
		load = nvme_load_start(&world, &options);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(nvme_world_reset(&world), 0);
		assert_int_equal(nvme_load_finish(load), 0);
		assert_int_equal(nvme_sim_counts(world.sim).enables, 6);
		nvme_world_end(&world);
	}
}

static void one_that_cannot_be_enabled_again_is_dead_until_it_can(void **state)
{
	struct nvme_world world;

	nvme_world_start(&world, 1, NULL, NULL);
	nvme_sim_set_stuck(world.sim, true, false);
	assert_int_equal(nvme_world_reset(&world), -ETIMEDOUT);
	assert_int_equal(nvme_controller_state(world.controller), NVME_DEAD);
	assert_int_equal(
		nvme_world_io(&world, 0, NVME_REQUEST_FLUSH, 0, NULL, 0, 0, 0), -ETIMEDOUT);
	nvme_sim_set_stuck(world.sim, false, false);
	assert_int_equal(nvme_world_reset(&world), 0);
	assert_int_equal(nvme_world_io(&world, 0, NVME_REQUEST_FLUSH, 0, NULL, 0, 0, 0), 0);
	nvme_world_end(&world);
}

static void one_that_cannot_be_disabled_is_reset_as_a_whole(void **state)
{
	struct nvme_world world;

	nvme_world_start(&world, 1, NULL, NULL);
	nvme_sim_set_stuck(world.sim, false, true);
	assert_int_equal(nvme_world_reset(&world), 0);
	assert_int_equal(nvme_world_io(&world, 0, NVME_REQUEST_FLUSH, 0, NULL, 0, 0, 0), 0);
	nvme_sim_set_stuck(world.sim, false, false);
	nvme_world_end(&world);
}

static void an_idle_queue_pair_can_be_closed_whatever_state_it_is_in(void **state)
{
	struct nvme_qpair *third;
	struct nvme_world world;

	nvme_world_start(&world, 1, NULL, NULL);
	nvme_sim_do(world.sim, NVME_SIM_GONE);
	assert_int_equal(nvme_world_reset(&world), -ENODEV);
	assert_int_equal(nvme_world_qpair_open(&world, 1, &third), 0);
	assert_int_equal(nvme_world_qpair_close(&world, third), 0);
	nvme_world_end(&world);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(opened_it_tells_what_it_is),
		cmocka_unit_test(it_is_told_to_shut_down_before_it_is_let_go),
		cmocka_unit_test(what_cannot_be_opened_says_why_and_leaves_nothing),
		cmocka_unit_test(a_namespace_with_metadata_is_named_and_refused),
		cmocka_unit_test(a_namespace_of_blocks_that_are_never_whole_is_refused),
		cmocka_unit_test(queue_pairs_end_where_the_controller_has_no_more),
		cmocka_unit_test(a_queue_pair_that_cannot_be_made_leaves_nothing),
		cmocka_unit_test(changes_of_namespaces_are_told),
		cmocka_unit_test(log_pages_are_read),
		cmocka_unit_test(a_flush_goes_to_a_drive_with_a_cache_only),
		cmocka_unit_test(errors_have_names),
		cmocka_unit_test(buffers_that_fit_need_no_mapping_of_the_others),
		cmocka_unit_test(a_drive_without_requests_wakes_nobody),
		cmocka_unit_test(a_reset_asked_for_loses_nothing),
		cmocka_unit_test(one_that_cannot_be_enabled_again_is_dead_until_it_can),
		cmocka_unit_test(one_that_cannot_be_disabled_is_reset_as_a_whole),
		cmocka_unit_test(an_idle_queue_pair_can_be_closed_whatever_state_it_is_in),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
