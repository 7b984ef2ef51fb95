/* SPDX-License-Identifier: BSD-2-Clause */
/* Simulated streams: order, splitting, descriptors, limits, hang-ups. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sim/sim.h"

struct pair {
	struct sim *sim;
	struct os *os;
	int listener;
	int client;
	int server;
};

static void pair_start(struct pair *pair, const struct sim_options *options)
{
	*pair = (struct pair){.sim = sim_create_with(options)};
	pair->os = sim_os(pair->sim);
	assert_int_equal(
		pair->os->ops->socket_listen(pair->os, "/run/s", 0600, NULL, &pair->listener), 0);
	assert_int_equal(pair->os->ops->socket_connect(pair->os, "/run/s", &pair->client), 0);
	assert_int_equal(pair->os->ops->socket_accept(pair->os, pair->listener, &pair->server), 0);
}

static void pair_end(struct pair *pair)
{
	pair->os->ops->close(pair->os, pair->listener);
	if (pair->client >= 0)
		pair->os->ops->close(pair->os, pair->client);
	if (pair->server >= 0)
		pair->os->ops->close(pair->os, pair->server);
	assert_int_equal(sim_destroy(pair->sim), 0);
}

static int64_t receive(struct pair *pair, int fd, void *buf, size_t len)
{
	unsigned nfds;

	return pair->os->ops->socket_receive(pair->os, fd, buf, len, NULL, 0, &nfds);
}

static void a_stream_is_split_anywhere_but_keeps_its_bytes_in_order(void **state)
{
	unsigned splits = 0;

	SIM_FOR_EACH_SEED(seed, 50)
	{
		struct pair pair;
		unsigned char sent = 0, expected = 0, buf[40];

		pair_start(&pair, &(struct sim_options){.seed = seed});
		while (expected < 200) {
			int64_t n;

			if (sent < 200 && sim_random(pair.sim, 2)) {
				for (unsigned i = 0; i < 10; i++)
					buf[i] = (unsigned char)(sent + i);
				n = pair.os->ops->socket_send(
					pair.os, pair.client, buf, 10, NULL, 0);
				assert_in_range(n, 1, 10);
				splits += n < 10;
				sent = (unsigned char)(sent + n);
				continue;
			}
			n = receive(&pair, pair.server, buf, sizeof(buf));
			if (n == -EAGAIN) {
				assert_int_equal(sent, expected);
				continue;
			}
			assert_in_range(n, 1, sizeof(buf));
			for (int64_t i = 0; i < n; i++)
				assert_int_equal(buf[i], expected++);
		}
		pair_end(&pair);
	}
	assert_true(splits > 10 || sim_seeds_are_given());
}

static void descriptors_come_with_the_first_byte_and_refer_to_the_same_file(void **state)
{
	SIM_FOR_EACH_SEED(seed, 50)
	{
		struct pair pair;
		int event, fds[4] = {-1, -1, -1, -1};
		unsigned nfds;
		char buf[64];
		int64_t n;

		pair_start(&pair, &(struct sim_options){.seed = seed});
		assert_int_equal(pair.os->ops->event_create(pair.os, &event), 0);
		assert_int_equal(
			pair.os->ops->socket_send(pair.os, pair.client, "a", 1, NULL, 0), 1);
		n = pair.os->ops->socket_send(pair.os, pair.client, "bcdef", 5, &event, 1);
		assert_true(n >= 1);
		assert_int_equal(
			pair.os->ops->socket_send(pair.os, pair.client, "z", 1, NULL, 0), 1);
		pair.os->ops->close(pair.os, event);

		/* Never mixed with what stands before or behind. */
		assert_int_equal(pair.os->ops->socket_receive(
					 pair.os, pair.server, buf, sizeof(buf), fds, 4, &nfds),
			1);
		assert_int_equal(nfds, 0);
		assert_in_range(pair.os->ops->socket_receive(
					pair.os, pair.server, buf, sizeof(buf), fds, 4, &nfds),
			1, n);
		assert_int_equal(nfds, 1);
		assert_int_equal(pair.os->ops->event_signal(pair.os, fds[0]), 0);
		pair.os->ops->close(pair.os, fds[0]);
		pair_end(&pair);
	}
}

static void too_many_descriptors_are_dropped_and_not_leaked(void **state)
{
	struct pair pair;
	int event, fds[2];
	unsigned nfds = 7;
	char c;

	pair_start(&pair, &(struct sim_options){.seed = 1});
	assert_int_equal(pair.os->ops->event_create(pair.os, &event), 0);
	assert_int_equal(
		pair.os->ops->socket_send(pair.os, pair.client, "x", 1, (int[]){event, event}, 2),
		1);
	assert_int_equal(pair.os->ops->socket_receive(pair.os, pair.server, &c, 1, fds, 1, &nfds),
		-EMSGSIZE);
	assert_int_equal(nfds, 0);
	pair.os->ops->close(pair.os, event);
	pair_end(&pair);
}

static void a_full_stream_says_eagain_and_a_reader_makes_room(void **state)
{
	struct pair pair;
	char buf[1024] = {0};
	int64_t n, total = 0;

	pair_start(&pair,
		&(struct sim_options){.seed = 1, .socket_bytes = 4096, .whole_transfers = true});
	while ((n = pair.os->ops->socket_send(pair.os, pair.client, buf, 1000, NULL, 0)) > 0)
		total += n;
	assert_int_equal(n, -EAGAIN);
	assert_int_equal(total, 4096);
	assert_int_equal(receive(&pair, pair.server, buf, sizeof(buf)), sizeof(buf));
	assert_int_equal(pair.os->ops->socket_send(pair.os, pair.client, buf, 1000, NULL, 0), 1000);
	pair_end(&pair);
}

static void a_closed_peer_is_the_end_after_what_it_had_sent(void **state)
{
	struct pair pair;
	char c;

	pair_start(&pair, &(struct sim_options){.seed = 1});
	assert_int_equal(pair.os->ops->socket_send(pair.os, pair.client, "x", 1, NULL, 0), 1);
	pair.os->ops->close(pair.os, pair.client);
	pair.client = -1;
	assert_int_equal(receive(&pair, pair.server, &c, 1), 1);
	assert_int_equal(receive(&pair, pair.server, &c, 1), 0);
	assert_int_equal(pair.os->ops->socket_send(pair.os, pair.server, "x", 1, NULL, 0), -EPIPE);
	pair_end(&pair);
}

static void closing_with_unread_bytes_resets_the_peer_once(void **state)
{
	struct pair pair;
	char c;

	pair_start(&pair, &(struct sim_options){.seed = 1});
	assert_int_equal(pair.os->ops->socket_send(pair.os, pair.server, "x", 1, NULL, 0), 1);
	pair.os->ops->close(pair.os, pair.client);
	pair.client = -1;
	assert_int_equal(receive(&pair, pair.server, &c, 1), -ECONNRESET);
	assert_int_equal(receive(&pair, pair.server, &c, 1), 0);
	pair_end(&pair);
}

static void a_killed_process_hangs_up_and_its_socket_name_can_be_taken_over(void **state)
{
	struct sim *sim = sim_create(1);
	struct os *client = sim_os(sim);
	struct os *first = sim_process_start(sim, "first");
	struct os *second = sim_process_start(sim, "second");
	struct reason reason = {0};
	struct os_peer peer;
	int listener, fd;
	unsigned nfds;
	char c;

	assert_int_equal(client->ops->socket_connect(client, "/run/s", &fd), -ENOENT);
	assert_int_equal(first->ops->socket_listen(first, "/run/s", 0600, NULL, &listener), 0);
	assert_int_equal(second->ops->socket_listen(second, "/run/s", 0600, &reason, &listener),
		-EADDRINUSE);
	assert_non_null(strstr(reason.text, "/run/s"));
	assert_int_equal(client->ops->socket_connect(client, "/run/s", &fd), 0);
	assert_int_equal(client->ops->socket_peer(client, fd, &peer), 0);
	assert_int_equal(peer.pid, sim_process_pid(first));
	sim_process_kill(first);
	assert_int_equal(client->ops->socket_receive(client, fd, &c, 1, NULL, 0, &nfds), 0);
	client->ops->close(client, fd);
	assert_int_equal(client->ops->socket_connect(client, "/run/s", &fd), -ECONNREFUSED);
	assert_int_equal(second->ops->socket_listen(second, "/run/s", 0600, NULL, &listener), 0);
	second->ops->close(second, listener);
	assert_int_equal(sim_destroy(sim), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_is_split_anywhere_but_keeps_its_bytes_in_order),
		cmocka_unit_test(descriptors_come_with_the_first_byte_and_refer_to_the_same_file),
		cmocka_unit_test(too_many_descriptors_are_dropped_and_not_leaked),
		cmocka_unit_test(a_full_stream_says_eagain_and_a_reader_makes_room),
		cmocka_unit_test(a_closed_peer_is_the_end_after_what_it_had_sent),
		cmocka_unit_test(closing_with_unread_bytes_resets_the_peer_once),
		cmocka_unit_test(a_killed_process_hangs_up_and_its_socket_name_can_be_taken_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
