/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What can be seen of requests in flight: which, how old, and who has them; while they are held by
 * a disk, a limit or a lack of space, and while their queue is being stopped.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance/server.h"
#include "vhost/requests.h"

#define REQUEST FE_SCSI_RING_REQUEST

struct look {
	uint64_t older_than_ns;
	unsigned count;
	unsigned queue; /* of the last */
	struct vq_request_info found[16];
};

static void look_take(const char *controller, unsigned queue,
	const struct vq_request_info *requests, unsigned count, uint64_t more, void *arg)
{
	struct look *look = arg;

	assert_string_equal(controller, "c");
	assert_int_equal(more, 0);
	assert_true(look->count + count <= 16);
	memcpy(look->found + look->count, requests, count * sizeof(*requests));
	look->count += count;
	look->queue = queue;
}

static void look_start(struct server *server, void *arg, done_fn done, void *done_arg)
{
	struct look *look = arg;
	const struct vhost_requests_query query = {
		.older_than_ns = look->older_than_ns,
		.max_of_queue = 16,
		.queue = look_take,
		.arg = look,
	};

	vhost_query_requests(server->vhost, &query, done, done_arg);
}

static struct look look_at(struct server *server, uint64_t older_than_ns)
{
	struct look look = {.older_than_ns = older_than_ns};

	assert_int_equal(server_await(server, look_start, &look), 0);
	return look;
}

static void a_request_that_a_disk_holds_is_told_with_its_age_and_place(void **state)
{
	struct server server;
	struct fe_blk blks[2];
	uint8_t data[4096];
	struct look look;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	assert_int_equal(look_at(&server, 0).count, 0);
	held_bdev_hold(server.disk);
	fe_blk_init(&blks[0], FE_BLK_IN, 24, data, sizeof(data));
	submit(fe, 0, &blks[0].io);
	assert_true(held_bdev_await(server.disk, 1));
	usleep(30000);
	fe_blk_init(&blks[1], FE_BLK_FLUSH, 0, NULL, 0);
	submit(fe, 0, &blks[1].io);
	assert_true(held_bdev_await(server.disk, 2));
	look = look_at(&server, 0);
	assert_int_equal(look.count, 2);
	look = look_at(&server, 25 * MSEC_NS);
	assert_int_equal(look.count, 1);
	assert_int_equal(look.found[0].state, VQ_REQUEST_PLACED);
	assert_true(look.found[0].age_ns >= 25 * MSEC_NS && look.found[0].age_ns < 60 * SEC_NS);
	assert_int_equal(look.found[0].place.type, BDEV_IO_READ);
	assert_int_equal(look.found[0].place.hold, BDEV_HELD_BY_DEVICE);
	assert_int_equal(look.found[0].place.offset, 24 * 512);
	assert_int_equal(look.found[0].place.length, 4096);
	assert_string_equal(look.found[0].place.module, "held");
	assert_int_equal(look_at(&server, 600 * SEC_NS).count, 0);
	held_bdev_release(server.disk);
	finish(fe, 0, &blks[0].io);
	finish(fe, 0, &blks[1].io);
	assert_int_equal(look_at(&server, 0).count, 0);
	server_close(fe);
	server_stop(&server);
}

static void limits_start(struct server *server, void *arg, done_fn done, void *done_arg)
{
	bdev_set_limits(held_bdev_bdev(server->disk), arg, done, done_arg);
}

static bool sees_one(void *arg)
{
	return look_at(arg, 0).count == 1;
}

static void a_command_that_a_limit_holds_up_is_told_so(void **state)
{
	struct bdev_limits slow = {.r_bytes = 65536}, none = {0};
	struct fe_scsi commands[3];
	struct server server;
	uint8_t data[3][65536];
	struct look look;
	struct fe *fe;

	server_start(&server, FE_BUS_SCSI);
	fe = server_open(&server);
	assert_int_equal(server_await(&server, limits_start, &slow), 0);
	for (unsigned i = 0; i < 3; i++) {
		fe_scsi_init_read(&commands[i], 0, 0, 8 + i, 128, data[i], sizeof(data[i]));
		submit(fe, REQUEST, &commands[i].io);
	}
	finish(fe, REQUEST, &commands[0].io); /* a unit attention */
	finish(fe, REQUEST, &commands[1].io);
	assert_true(await(sees_one, &server)); /* or it has not been taken from the ring yet */
	look = look_at(&server, 0);
	assert_int_equal(look.queue, REQUEST);
	assert_int_equal(look.found[0].place.hold, BDEV_HELD_BY_LIMIT);
	assert_int_equal(look.found[0].place.offset, 10 * 512);
	assert_int_equal(server_await(&server, limits_start, &none), 0);
	finish(fe, REQUEST, &commands[2].io);
	server_close(fe);
	server_stop(&server);
}

static bool is_postponed(void *arg)
{
	struct look look = look_at(arg, 0);

	return look.count == 1 && look.found[0].state == VQ_REQUEST_POSTPONED;
}

static void a_write_that_waits_for_space_is_told_so(void **state)
{
	struct server server;
	struct fe_blk blk;
	uint8_t data[512] = {1};
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	held_bdev_set_room(server.disk, 0);
	fe_blk_init(&blk, FE_BLK_OUT, 3, data, sizeof(data));
	submit(fe, 0, &blk.io);
	assert_true(await(is_postponed, &server));
	held_bdev_set_room(server.disk, HELD_BDEV_ROOMY);
	finish(fe, 0, &blk.io);
	server_close(fe);
	server_stop(&server);
}

static void *stop_it(void *arg)
{
	struct fe *fe = arg;

	assert_ok(fe, fe_stop(fe));
	return NULL;
}

static bool sees_two(void *arg)
{
	return look_at(arg, 0).count == 2;
}

/* The stop waits for what is looked for; looks under way when it ends do no harm. */
static void a_queue_that_stops_is_looked_at_until_it_is_gone(void **state)
{
	struct server server;
	struct fe_blk blks[2];
	uint8_t data[2][512];
	pthread_t stopper;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	held_bdev_hold(server.disk);
	for (unsigned i = 0; i < 2; i++) {
		fe_blk_init(&blks[i], FE_BLK_IN, i, data[i], sizeof(data[i]));
		submit(fe, 0, &blks[i].io);
	}
	assert_true(held_bdev_await(server.disk, 2));
	assert_int_equal(pthread_create(&stopper, NULL, stop_it, fe), 0);
	usleep(20000);
	assert_true(await(sees_two, &server));
	held_bdev_release(server.disk);
	for (unsigned i = 0; i < 200; i++)
		look_at(&server, 0);
	assert_int_equal(pthread_join(stopper, NULL), 0);
	for (unsigned i = 0; i < 2; i++)
		finish(fe, 0, &blks[i].io);
	fe_destroy(fe);
	assert_true(server_await_idle(&server));
	assert_int_equal(look_at(&server, 0).count, 0);
	server_stop(&server);
}

/* What was logged since. */
static void log_read(int log, char *text, size_t size)
{
	ssize_t len = pread(log, text, size - 1, 0);

	text[len > 0 ? len : 0] = '\0';
}

struct logged {
	int log;
	char text[4096];
};

static bool names_the_read(void *arg)
{
	struct logged *logged = arg;

	log_read(logged->log, logged->text, sizeof(logged->text));
	return strstr(logged->text, "c queue 0: a read of ") != NULL;
}

static void a_request_older_than_the_limit_is_named_in_the_log(void **state)
{
	struct server server = {.overdue_limit_ns = 80 * MSEC_NS};
	struct logged logged = {.log = memfd_create("log", 0)};
	int stderr_before = dup(STDERR_FILENO);
	const char *named;
	struct fe_blk blk;
	uint8_t data[4096];
	struct fe *fe;

	assert_true(logged.log >= 0 && dup2(logged.log, STDERR_FILENO) >= 0);
	server_start_with(&server, FE_BUS_BLK);
	fe = server_open(&server);
	held_bdev_hold(server.disk);
	fe_blk_init(&blk, FE_BLK_IN, 24, data, sizeof(data));
	submit(fe, 0, &blk.io);
	assert_true(await(names_the_read, &logged));
	usleep(100000);
	assert_true(names_the_read(&logged));
	dup2(stderr_before, STDERR_FILENO);
	named = strstr(logged.text, "c queue 0: a read of ");
	assert_non_null(strstr(named, "block 24, 4096 bytes, is 0 s old: held "));
	held_bdev_release(server.disk);
	finish(fe, 0, &blk.io);
	server_close(fe);
	server_stop(&server);
	close(stderr_before);
	close(logged.log);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_request_that_a_disk_holds_is_told_with_its_age_and_place),
		cmocka_unit_test(a_command_that_a_limit_holds_up_is_told_so),
		cmocka_unit_test(a_write_that_waits_for_space_is_told_so),
		cmocka_unit_test(a_queue_that_stops_is_looked_at_until_it_is_gone),
		cmocka_unit_test(a_request_older_than_the_limit_is_named_in_the_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
