/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kill -9 of the process that serves, at all kinds of moments: the front-end goes on with the
 * connection it has, and each request completes once (fe_io_reap refuses one that ends twice).
 */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "keeper/pause.h"
#include "keeper/service.h"

#define DEPTH    8
#define REQUESTS 400
#define SECTORS  64 /* each request has one of its own at a time */

static struct service service;

static int start(void **state)
{
	service_start(&service);
	return 0;
}

static int stop(void **state)
{
	service_stop(&service);
	return 0;
}

static struct fe *open_with(struct fe_options *options)
{
	struct fe *fe;

	options->timeout_ms = 20000;
	if (fe_open(options, &fe))
		fail_msg("%s", options->why);
	return fe;
}

/* ---- load -------------------------------------------------------------------------------- */

struct load {
	struct fe *fe;
	unsigned ring;
	struct fe_blk requests[DEPTH];
	uint8_t data[DEPTH][512];
	uint8_t expected[DEPTH * SECTORS]; /* what each sector holds */
	unsigned sent;
};

/* Each slot writes to sectors of its own. */
static void load_submit(struct load *load, unsigned slot)
{
	unsigned sector = slot * SECTORS + load->sent % SECTORS;
	uint8_t value = (uint8_t)(1 + load->sent % 251);

	memset(load->data[slot], value, sizeof(load->data[slot]));
	load->expected[sector] = value;
	fe_blk_init(&load->requests[slot], FE_BLK_OUT, sector, load->data[slot], 512);
	load->requests[slot].io.user = (void *)(uintptr_t)slot;
	assert_int_equal(fe_io_submit(load->fe->ring[load->ring], &load->requests[slot].io), 0);
	fe_io_publish(load->fe->ring[load->ring]);
	load->sent++;
}

static unsigned load_reap(struct load *load)
{
	struct fe_ring *ring = load->fe->ring[load->ring];
	struct fe_io *io;
	int rc = fe_io_wait(ring, &io, 20000);

	if (rc)
		fail_msg("a request did not end: %d %s", rc, ring->fault);
	assert_int_equal(load->requests[(uintptr_t)io->user].status, 0);
	return (unsigned)(uintptr_t)io->user;
}

static void load_check(struct load *load)
{
	uint8_t sector[512], status;

	for (unsigned i = 0; i < DEPTH * SECTORS; i++) {
		if (!load->expected[i])
			continue;
		assert_int_equal(fe_blk_run(load->fe->ring[load->ring], FE_BLK_IN, i, sector, 512,
					 &status, 20000),
			0);
		assert_int_equal(status, 0);
		assert_int_equal(sector[0], load->expected[i]);
		assert_int_equal(sector[511], load->expected[i]);
	}
}

/* Kills at random moments, always with requests in flight. */
static void load_run(struct load *load, unsigned kills)
{
	unsigned every = REQUESTS / (kills + 1);
	unsigned next = every;
	unsigned done = 0;

	for (unsigned slot = 0; slot < DEPTH; slot++)
		load_submit(load, slot);
	while (done < REQUESTS) {
		unsigned slot = load_reap(load);

		done++;
		if (load->sent < REQUESTS)
			load_submit(load, slot);
		if (done == next && kills) {
			service_kill_server(&service);
			next += every;
			kills--;
		}
	}
	load_check(load);
}

static void run_through_kills(struct fe_options *options, unsigned kills)
{
	struct load *load = calloc(1, sizeof(*load));

	assert_non_null(load);
	load->fe = open_with(options);
	load_run(load, kills);
	assert_int_equal(fe_close(load->fe), 0);
	free(load);
}

static void requests_in_flight_end_once(void **state)
{
	struct fe_options options = fe_options_default(FE_BUS_BLK, service.socket);

	run_through_kills(&options, 2);
}

static void requests_of_packed_rings_end_once(void **state)
{
	struct fe_options options = fe_options_default(FE_BUS_BLK, service.socket);

	options.features |= FE_F_PACKED;
	run_through_kills(&options, 2);
}

static void a_front_end_without_an_in_flight_region_gets_one_of_the_keeper(void **state)
{
	struct fe_options options = fe_options_default(FE_BUS_BLK, service.socket);

	options.protocol_features &= ~(uint64_t)FE_PF_INFLIGHT_SHMFD;
	run_through_kills(&options, 2);
}

static void a_table_of_memory_comes_back_as_one(void **state)
{
	struct fe_options options = fe_options_default(FE_BUS_BLK, service.socket);

	options.protocol_features &= ~(uint64_t)(FE_PF_MEM_SLOTS | FE_PF_REPLY_ACK);
	options.order = FE_QEMU_7_2;
	run_through_kills(&options, 1);
}

/* ---- between a message and its answer ---------------------------------------------------- */

static void an_answer_that_was_not_given_is_given_by_the_successor(void **state)
{
	struct fe_options options = fe_options_default(FE_BUS_BLK, service.socket);
	struct fe *fe = open_with(&options);
	struct fe_msg message, reply;
	pid_t pid = service_freeze_server(&service);

	fe_msg_init(&message, FE_GET_FEATURES, 1, NULL, 0);
	assert_int_equal(fe_msg_send(&fe->conn, &message), 0);
	assert_int_equal(fe_conn_expect_silence(&fe->conn, 20), 0);
	kill(pid, SIGKILL);
	assert_int_equal(fe_msg_recv_reply(&fe->conn, FE_GET_FEATURES, 8, 0, &reply), 0);
	assert_int_equal(reply.u64, fe->offered);
	assert_int_equal(fe_close(fe), 0);
}

/* QEMU's stop: ENABLE 0 without an answer, then GET_VRING_BASE, with requests under way. */
static void a_stop_that_meets_a_kill_leaves_no_request_behind(void **state)
{
	struct fe_options options = fe_options_default(FE_BUS_BLK, service.socket);
	struct load *load = calloc(1, sizeof(*load));

	assert_non_null(load);
	options.order = FE_QEMU_7_2;
	load->fe = open_with(&options);
	for (unsigned i = 0; i < 3; i++) {
		for (unsigned slot = 0; slot < DEPTH; slot++)
			load_submit(load, slot);
		service_kill_server(&service);
		assert_int_equal(fe_stop(load->fe), 0);
		assert_int_equal(fe_start(load->fe), 0);
		for (unsigned slot = 0; slot < DEPTH; slot++)
			load_reap(load);
	}
	load_check(load);
	assert_int_equal(fe_close(load->fe), 0);
	free(load);
}

/* A process that kills at moments of its own. */
static pid_t start_killer(unsigned kills)
{
	pid_t killer = fork();

	if (killer)
		return killer;
	srand((unsigned)getpid());
	while (kills--) {
		pid_t pid;

		usleep(10000 + (unsigned)rand() % 60000);
		pid = service_kill_server(&service);
		service_await_server(&service, pid);
	}
	_exit(0);
}

static void kills_during_set_up_are_not_seen(void **state)
{
	static const enum fe_order orders[] = {FE_QEMU_7_2, FE_QEMU_10};
	uint8_t data[512] = {7}, status;

	for (unsigned order = 0; order < 2; order++) {
		struct fe_options options = fe_options_default(FE_BUS_BLK, service.socket);
		struct fe *fe;
		pid_t killer;
		int result;

		options.order = orders[order];
		fe = open_with(&options);
		killer = start_killer(4);
		while (waitpid(killer, &result, WNOHANG) == 0) {
			assert_int_equal(fe_reset(fe), 0);
			assert_int_equal(fe_create_rings(fe), 0);
			assert_int_equal(fe_start(fe), 0);
			assert_int_equal(fe_blk_run(fe->ring[0], FE_BLK_OUT, order, data, 512,
						 &status, 20000),
				0);
			assert_int_equal(status, 0);
		}
		assert_int_equal(fe_close(fe), 0);
	}
}

static void a_back_channel_goes_on(void **state)
{
	struct fe_options options = fe_options_default(FE_BUS_BLK, service.socket);
	struct fe *fe = open_with(&options);

	assert_true(fe->back.fd >= 0);
	service_kill_server(&service);
	/* The successor cannot know what was told: it tells that there may be something new. */
	assert_int_equal(fe_back_serve(fe, 10000), 1);
	assert_int_equal(fe->config_changes, 1);
	assert_int_equal(fe_close(fe), 0);
}

/* ---- the keeper itself ------------------------------------------------------------------- */

static unsigned count_keeper_fds(void)
{
	char command[64];
	unsigned count = 0;
	FILE *pipe;

	snprintf(command, sizeof(command), "ls /proc/%d/fd | wc -l", (int)service.keeper);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	assert_int_equal(fscanf(pipe, "%u", &count), 1);
	pclose(pipe);
	return count;
}

static bool keeper_has_let_go(void *arg)
{
	return count_keeper_fds() <= *(unsigned *)arg;
}

static void the_keeper_lets_go_when_the_front_end_hangs_up(void **state)
{
	struct fe_options options = fe_options_default(FE_BUS_BLK, service.socket);
	unsigned before = count_keeper_fds();
	struct fe *fe = open_with(&options);

	assert_true(count_keeper_fds() > before + 3);
	fe_destroy(fe);
	assert_true(service_await(keeper_has_let_go, &before));

	/* Also while nobody serves. */
	fe = open_with(&options);
	service_freeze_server(&service);
	fe_destroy(fe);
	assert_true(service_await(keeper_has_let_go, &before));
	service_await_server(&service, service_kill_server(&service));
}

static void a_successor_that_cannot_start_is_followed_by_another(void **state)
{
	struct fe_options options = fe_options_default(FE_BUS_BLK, service.socket);
	struct fe *fe = open_with(&options);
	uint8_t data[512] = {9}, status;
	pid_t pid, next;

	service_spoil_config(&service);
	pid = service_kill_server(&service);
	next = service_await_server(&service, pid);
	service_await_server(&service, next);
	service_mend_config(&service);
	assert_int_equal(fe_blk_run(fe->ring[0], FE_BLK_OUT, 3, data, 512, &status, 20000), 0);
	assert_int_equal(status, 0);
	assert_int_equal(fe_close(fe), 0);
}

static void what_a_front_end_does_wrong_ends_its_connection(void **state)
{
	struct fe_options options = fe_options_default(FE_BUS_BLK, service.socket);
	const struct fe_header huge = {.id = 1, .flags = 1, .size = 1 << 20};
	struct fe *fe = open_with(&options);

	assert_int_equal(fe_conn_send(&fe->conn, &huge, sizeof(huge), NULL, 0), 0);
	assert_int_equal(fe_conn_wait_close(&fe->conn, 10000), 0);
	fe_destroy(fe);
	fe = open_with(&options);
	assert_int_equal(fe_close(fe), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(requests_in_flight_end_once, start, stop),
		cmocka_unit_test_setup_teardown(requests_of_packed_rings_end_once, start, stop),
		cmocka_unit_test_setup_teardown(
			a_front_end_without_an_in_flight_region_gets_one_of_the_keeper, start,
			stop),
		cmocka_unit_test_setup_teardown(a_table_of_memory_comes_back_as_one, start, stop),
		cmocka_unit_test_setup_teardown(
			an_answer_that_was_not_given_is_given_by_the_successor, start, stop),
		cmocka_unit_test_setup_teardown(
			a_stop_that_meets_a_kill_leaves_no_request_behind, start, stop),
		cmocka_unit_test_setup_teardown(kills_during_set_up_are_not_seen, start, stop),
		cmocka_unit_test_setup_teardown(a_back_channel_goes_on, start, stop),
		cmocka_unit_test_setup_teardown(
			the_keeper_lets_go_when_the_front_end_hangs_up, start, stop),
		cmocka_unit_test_setup_teardown(
			a_successor_that_cannot_start_is_followed_by_another, start, stop),
		cmocka_unit_test_setup_teardown(
			what_a_front_end_does_wrong_ends_its_connection, start, stop),
	};

	service_program = argv[1];
	if (argc == 4 && strcmp(argv[2], "pause") == 0)
		return pause_measure((unsigned)atoi(argv[3]));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
