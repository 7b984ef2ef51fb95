/* SPDX-License-Identifier: BSD-2-Clause */
/* Many clients, slow clients, clients that vanish; the socket's files; the end of the server. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "rpc_world.h"

#define TRUE_OF(id) "{\"jsonrpc\":\"2.0\",\"id\":" id ",\"result\":true}\n"
#define ASK_ECHO    "{\"method\":\"echo\",\"id\":1}"
#define ASK         "{\"method\":\"none\",\"id\":1}"

static void sixty_four_clients_are_served_and_the_next_waits(void **state)
{
	struct world world;
	struct client clients[66];

	world_start(&world, 1);
	for (unsigned i = 0; i < 66; i++) {
		client_open(&world, &clients[i]);
		client_say(&clients[i], ASK);
	}
	for (unsigned i = 0; i < 64; i++)
		assert_string_equal(client_lines(&clients[i], 1), TRUE_OF("1"));
	assert_true(client_hears_nothing(&clients[64]));
	assert_true(client_hears_nothing(&clients[65]));
	client_close(&clients[10]);
	assert_string_equal(client_lines(&clients[64], 1), TRUE_OF("1"));
	assert_true(client_hears_nothing(&clients[65]));
	client_close(&clients[64]);
	assert_string_equal(client_lines(&clients[65], 1), TRUE_OF("1"));
	for (unsigned i = 0; i < 66; i++) {
		if (i != 10 && i != 64)
			client_close(&clients[i]);
	}
	world_end(&world);
}

static void a_client_that_does_not_read_holds_up_only_itself(void **state)
{
	struct world world;
	struct client greedy, other;
	const char *ask = "{\"method\":\"blob\",\"params\":{\"x\":100000},\"id\":1}";
	unsigned executed;

	world_start(&world, 2);
	client_open(&world, &greedy);
	client_open(&world, &other);
	for (unsigned i = 0; i < 100; i++)
		client_say(&greedy, ask);
	/* What it can make the server hold is bounded. */
	do {
		executed = world.executed;
		world_sleep(&world, 200 * MSEC_NS);
	} while (executed == 0 || executed != world.executed);
	assert_in_range(executed, 1, 10);
	client_say(&other, ASK);
	assert_string_equal(client_lines(&other, 1), TRUE_OF("1"));
	assert_int_equal(world.executed, executed + 1);
	/* When it reads, everything comes. */
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(strlen(client_lines(&greedy, 1)), 100000 + 37);
	client_close(&greedy);
	client_close(&other);
	world_end(&world);
}

/* text holds 2000 requests. */
static void expect_no_delay_behind(const char *text, uint64_t seed)
{
	struct world world;
	struct client greedy, other;

	world_start(&world, seed);
	client_open(&world, &greedy);
	client_open(&world, &other);
	client_send(&greedy, text, strlen(text));
	world_wait_executed(&world, 1);
	client_say(&other, ASK_ECHO);
	client_lines(&other, 1);
	assert_in_range(world.executed_at_echo, 1, 1000);
	world_wait_executed(&world, 2001);
	client_close(&greedy);
	client_close(&other);
	world_end(&world);
}

static void a_flood_of_requests_does_not_delay_another_client(void **state)
{
	char *flood = calloc(1, 17 * 2000 + 1);

	for (unsigned i = 0; i < 2000; i++)
		strcat(flood + 17 * i, "{\"method\":\"none\"}");
	expect_no_delay_behind(flood, 3);
	free(flood);
}

static void a_large_batch_does_not_delay_another_client(void **state)
{
	char *batch = calloc(1, 20 * 2000 + 3);

	strcpy(batch, "[");
	for (unsigned i = 0; i < 2000; i++)
		strcat(batch + 18 * i, "{\"method\":\"none\"},");
	batch[strlen(batch) - 1] = ']';
	expect_no_delay_behind(batch, 4);
	free(batch);
}

static void requests_survive_their_client(void **state)
{
	SIM_FOR_EACH_SEED(seed, 10)
	{
		struct world world;
		struct client client;

		world_start(&world, seed);
		client_open(&world, &client);
		client_say(&client, "{\"method\":\"hold\",\"id\":1}[{\"method\":\"hold\",\"id\":2},"
				    "{\"method\":\"none\",\"id\":3},{\"method\":\"hold\"}]");
		world_wait_held(&world, 3);
		client_close(&client);
		world_sleep(&world, 10 * MSEC_NS);
		/* It is gone, its place is free, and the requests can still be answered. */
		expect_exchange(&world, ASK, TRUE_OF("1"), false);
		world_release(&world);
		expect_exchange(&world, ASK, TRUE_OF("1"), false);
		world_end(&world);
	}
}

static void requests_under_way_of_one_client_are_bounded(void **state)
{
	struct world world;
	struct client client;

	world_start(&world, 6);
	client_open(&world, &client);
	for (unsigned i = 0; i < 400; i++)
		client_say(&client, "{\"method\":\"hold\",\"id\":1}");
	world_sleep(&world, 100 * MSEC_NS);
	assert_int_equal(world.held_count, 256);
	expect_exchange(&world, ASK, TRUE_OF("1"), false);
	world_release(&world);
	for (unsigned i = 0; i < 256; i++)
		assert_string_equal(client_lines(&client, 1), TRUE_OF("1"));
	world_wait_held(&world, 144);
	world_release(&world);
	for (unsigned i = 0; i < 144; i++)
		assert_string_equal(client_lines(&client, 1), TRUE_OF("1"));
	client_close(&client);
	world_end(&world);
}

static void answers_of_a_batch_are_bounded(void **state)
{
	struct world world;
	struct client client;
	const char *answer;
	char batch[1024] = "[";

	world_start(&world, 7);
	for (unsigned i = 0; i < 3; i++)
		strcat(batch, "{\"method\":\"blob\",\"params\":{\"x\":16000000},\"id\":1},");
	strcat(batch, ASK "]");
	client_open(&world, &client);
	client_say(&client, batch);
	answer = client_lines(&client, 1);
	assert_in_range(strlen(answer), 32000000, 32 * MIB + 1000);
	assert_non_null(
		strstr(answer + 32000000, "{\"jsonrpc\":\"2.0\",\"id\":1,\"error\":{\"code\":-"
					  "32603,\"message\":\"Answer too long\"}}"));
	client_close(&client);
	world_end(&world);
}

static void a_client_that_sends_and_closes_at_once_harms_nobody(void **state)
{
	SIM_FOR_EACH_SEED(seed, 30)
	{
		struct world world;

		world_start(&world, seed);
		for (unsigned i = 0; i < 80; i++) {
			struct client client;

			client_open(&world, &client);
			if (i % 3)
				client_say(&client, i % 2 ? ASK ASK "nope" : ASK "{\"method");
			client_close(&client);
		}
		expect_exchange(&world, ASK, TRUE_OF("1"), false);
		world_end(&world);
	}
}

static void the_stop_answers_what_is_due_and_closes(void **state)
{
	struct world world;
	struct client busy, idle;

	world_start(&world, 9);
	client_open(&world, &busy);
	client_open(&world, &idle);
	client_say(&busy, "{\"method\":\"hold\",\"id\":1}[{\"method\":\"hold\",\"id\":2}]");
	world_wait_held(&world, 2);
	world_stop_server(&world); /* the methods' owner releases them */
	assert_string_equal(client_rest(&busy),
		TRUE_OF("1") "[{\"jsonrpc\":\"2.0\",\"id\":2,\"result\":true}]\n");
	assert_string_equal(client_rest(&idle), "");
	client_close(&busy);
	client_close(&idle);
	reactor_stop(world.reactor);
	rpc_server_destroy(world.server);
	reactor_destroy(world.reactor);
	if (world.sim)
		assert_int_equal(sim_destroy(world.sim), 0);
	else
		os_real_destroy(world.os);
}

static bool path_exists(struct os *os, const char *path)
{
	int fd;
	int rc = os->ops->file_open(os, path, OS_OPEN_READ, 0, &fd);

	if (!rc)
		os->ops->close(os, fd);
	return rc != -ENOENT;
}

static void both_files_are_there_while_it_lives_and_gone_after(void **state)
{
	struct world world;
	struct os *os;
	char lock[80];

	world_start(&world, 10);
	os = world.os;
	snprintf(lock, sizeof(lock), "%s.lock", world.path);
	assert_true(path_exists(os, world.path));
	assert_true(path_exists(os, lock));
	world_stop_server(&world);
	reactor_stop(world.reactor);
	rpc_server_destroy(world.server);
	assert_false(path_exists(os, world.path));
	assert_false(path_exists(os, lock));
	reactor_destroy(world.reactor);
	if (world.sim)
		assert_int_equal(sim_destroy(world.sim), 0);
	else
		os_real_destroy(os);
}

static void a_path_in_use_is_refused_and_left_alone(void **state)
{
	struct world world;
	struct rpc_server *second;
	struct reason reason = {0};
	struct os *os;

	world_start(&world, 11);
	assert_int_equal(rpc_server_create(world.reactor, &second), 0);
	assert_int_equal(rpc_server_listen(second, world.path, &reason), -EBUSY);
	assert_non_null(strstr(reason.text, "in use"));
	assert_non_null(strstr(reason.text, world.path));
	rpc_server_destroy(second);
	os = world.os;
	assert_true(path_exists(os, world.path));
	expect_exchange(&world, ASK, TRUE_OF("1"), false);
	world_end(&world);
}

static void a_socket_left_by_a_killed_process_is_replaced(void **state)
{
	const struct reactor_options options = {.name = "control", .cpu = -1};
	struct sim *sim = sim_create(12);
	struct os *dead = sim_process_start(sim, "dead");
	struct reactor *reactor;
	struct rpc_server *server;
	struct reason reason = {0};

	assert_int_equal(reactor_create(dead, &options, NULL, &reactor), 0);
	assert_int_equal(rpc_server_create(reactor, &server), 0);
	assert_int_equal(rpc_server_listen(server, "/rpc", &reason), 0);
	sim_process_kill(dead);
	rpc_server_destroy(server);
	reactor_destroy(reactor);

	assert_int_equal(reactor_create(sim_os(sim), &options, NULL, &reactor), 0);
	assert_int_equal(rpc_server_create(reactor, &server), 0);
	assert_int_equal(rpc_server_listen(server, "/rpc", &reason), 0);
	rpc_server_destroy(server);
	assert_false(path_exists(sim_os(sim), "/rpc"));
	reactor_destroy(reactor);
	assert_int_equal(sim_destroy(sim), 0);
}

static void a_file_that_is_no_socket_is_not_replaced(void **state)
{
	const struct reactor_options options = {.name = "control", .cpu = -1};
	struct sim *sim = sim_create(13);
	struct reactor *reactor;
	struct rpc_server *server;
	struct reason reason = {0};
	char path[120];

	sim_file_create(sim, "/precious", 512);
	assert_int_equal(reactor_create(sim_os(sim), &options, NULL, &reactor), 0);
	assert_int_equal(rpc_server_create(reactor, &server), 0);
	assert_int_equal(rpc_server_listen(server, "/precious", &reason), -EEXIST);
	assert_true(path_exists(sim_os(sim), "/precious"));
	assert_false(path_exists(sim_os(sim), "/precious.lock"));

	memset(path, 'x', sizeof(path));
	path[0] = '/';
	path[108] = '\0';
	assert_int_equal(rpc_server_listen(server, path, NULL), -ENAMETOOLONG);
	path[107] = '\0';
	assert_int_equal(rpc_server_listen(server, path, NULL), 0);
	rpc_server_destroy(server);
	reactor_destroy(reactor);
	assert_int_equal(sim_destroy(sim), 0);
}

static void every_failing_call_of_listen_leaves_nothing_behind(void **state)
{
	const struct reactor_options options = {.name = "control", .cpu = -1};
	unsigned failed = 0;

	for (unsigned nth = 1; nth < 12; nth++) {
		struct sim *sim = sim_create(14);
		struct reactor *reactor;
		struct rpc_server *server;
		int rc;

		assert_int_equal(reactor_create(sim_os(sim), &options, NULL, &reactor), 0);
		assert_int_equal(rpc_server_create(reactor, &server), 0);
		sim_fail_call(sim, SIM_CALL_ANY, nth, EIO);
		rc = rpc_server_listen(server, "/rpc", NULL);
		sim_fail_call(sim, SIM_CALL_ANY, 0, 0);
		failed += rc != 0;
		rpc_server_destroy(server);
		/* The lock file is left only where its own unlink failed. */
		assert_false(path_exists(sim_os(sim), "/rpc"));
		reactor_destroy(reactor);
		assert_int_equal(sim_destroy(sim), 0);
	}
	assert_true(failed >= 3);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest simulated[] = {
		cmocka_unit_test(sixty_four_clients_are_served_and_the_next_waits),
		cmocka_unit_test(a_client_that_does_not_read_holds_up_only_itself),
		cmocka_unit_test(a_flood_of_requests_does_not_delay_another_client),
		cmocka_unit_test(a_large_batch_does_not_delay_another_client),
		cmocka_unit_test(requests_survive_their_client),
		cmocka_unit_test(requests_under_way_of_one_client_are_bounded),
		cmocka_unit_test(a_client_that_sends_and_closes_at_once_harms_nobody),
		cmocka_unit_test(the_stop_answers_what_is_due_and_closes),
		cmocka_unit_test(both_files_are_there_while_it_lives_and_gone_after),
		cmocka_unit_test(a_path_in_use_is_refused_and_left_alone),
		cmocka_unit_test(a_socket_left_by_a_killed_process_is_replaced),
		cmocka_unit_test(a_file_that_is_no_socket_is_not_replaced),
		cmocka_unit_test(every_failing_call_of_listen_leaves_nothing_behind),
	};
	const struct CMUnitTest on_kernel[] = {
		cmocka_unit_test(sixty_four_clients_are_served_and_the_next_waits),
		cmocka_unit_test(a_client_that_does_not_read_holds_up_only_itself),
		cmocka_unit_test(requests_under_way_of_one_client_are_bounded),
		cmocka_unit_test(answers_of_a_batch_are_bounded),
		cmocka_unit_test(the_stop_answers_what_is_due_and_closes),
		cmocka_unit_test(both_files_are_there_while_it_lives_and_gone_after),
		cmocka_unit_test(a_path_in_use_is_refused_and_left_alone),
	};

	world_select(argc, argv);
	if (world_is_simulated())
		return cmocka_run_group_tests(simulated, NULL, NULL);
	return cmocka_run_group_tests(on_kernel, NULL, NULL);
}
