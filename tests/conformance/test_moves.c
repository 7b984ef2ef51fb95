/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Queues that move between data reactors while a driver uses them: no request is lost, none fails,
 * and nobody waits for storage that does not answer.
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance/server.h"

#define REQUEST FE_SCSI_RING_REQUEST

/* ---- placing ----------------------------------------------------------------------------- */

struct place {
	struct server *server;
	unsigned queue;
	int cpu;
	int rc;
	struct reason reason;
};

static void place_start(struct server *server, void *arg, done_fn done, void *done_arg)
{
	struct place *place = arg;

	place->reason.text[0] = '\0';
	vhost_controller_place_queue(
		server->controller, place->queue, place->cpu, &place->reason, done, done_arg);
}

static int place_queue(struct server *server, unsigned queue, int cpu)
{
	struct place place = {.server = server, .queue = queue, .cpu = cpu};

	return server_await(server, place_start, &place);
}

static void *place_thread(void *arg)
{
	struct place *place = arg;

	place->rc = server_await(place->server, place_start, place);
	return NULL;
}

struct find_queue {
	unsigned queue;
	struct vhost_queue_info info;
	bool found;
};

static void find_queue(const struct vhost_queue_info *info, void *arg)
{
	struct find_queue *find = arg;

	if (info->queue != find->queue)
		return;
	find->info = *info;
	find->found = true;
}

static void look_at_queue(struct server *server, void *arg)
{
	vhost_controller_for_each_queue(server->controller, find_queue, arg);
}

static struct vhost_queue_info queue_info(struct server *server, unsigned queue)
{
	struct find_queue find = {.queue = queue};

	server_call(server, look_at_queue, &find);
	assert_true(find.found);
	return find.info;
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void set_coalescing(struct server *server, void *arg)
{
	assert_int_equal(
		vhost_controller_set_coalescing(server->controller, *(uint32_t *)arg, 100, NULL),
		0);
}

/* ---- under load -------------------------------------------------------------------------- */

struct driver {
	struct fe *fe;
	unsigned ring;
	unsigned requests;
	pthread_t thread;
	_Atomic bool over;
};

static void *drive(void *arg)
{
	struct driver *driver = arg;

	if (driver->fe->options.bus == FE_BUS_BLK)
		run_load(driver->fe, driver->ring, driver->requests, 32, driver->ring + 1);
	else
		check_io(driver->fe, driver->ring, driver->requests);
	driver->over = true;
	return NULL;
}

static void start_driver(struct driver *driver, struct fe *fe, unsigned ring, unsigned requests)
{
	*driver = (struct driver){.fe = fe, .ring = ring, .requests = requests};
	assert_int_equal(pthread_create(&driver->thread, NULL, drive, driver), 0);
}

static uint64_t packed_rings; /* the feature bit, where a test wants them */

/* Two queues, both moved to and fro until their drivers have ended. (Of scsi only one is driven:
 * the helper knows but one place on the disk.) */
static void move_under_load(
	enum fe_bus bus, bool notified, bool event_idx, uint32_t delay_base_us, unsigned requests)
{
	unsigned first = bus == FE_BUS_BLK ? 0 : REQUEST;
	unsigned count = bus == FE_BUS_BLK ? 2 : 1;
	struct driver drivers[2];
	struct server server;
	struct fe_options options;
	unsigned moves[2] = {0};
	struct fe *fe;

	server_start(&server, bus);
	options = server_options(&server);
	options.ring_count = first + 2;
	options.notified = notified;
	options.features |= packed_rings;
	if (!event_idx)
		options.features &= ~FE_F_EVENT_IDX;
	fe = server_open_with(&server, &options);
	assert_int_equal(fe->ring[first]->packed, packed_rings != 0);
	server_call(&server, set_coalescing, &delay_base_us);
	check_io(fe, first, 1);
	for (unsigned i = 0; i < count; i++)
		start_driver(&drivers[i], fe, first + i, requests);
	for (int cpu = 0; !drivers[0].over || !drivers[count - 1].over; cpu = !cpu) {
		for (unsigned i = 0; i < 2; i++) {
			assert_int_equal(place_queue(&server, first + i, cpu), 0);
			assert_int_equal(queue_info(&server, first + i).cpu, cpu);
			moves[i]++;
		}
		usleep(200);
	}
	for (unsigned i = 0; i < count; i++)
		pthread_join(drivers[i].thread, NULL);
	for (unsigned i = 0; i < 2; i++) {
		assert_true(moves[i] > 3);
		assert_true(queue_info(&server, first + i).moves >= moves[i] - 1);
	}
	server_close(fe);
	server_stop(&server);
}

static void blk_polled(void **state)
{
	move_under_load(FE_BUS_BLK, false, true, 0, 20000);
}

static void blk_notified(void **state)
{
	move_under_load(FE_BUS_BLK, true, true, 0, 20000);
	move_under_load(FE_BUS_BLK, true, false, 0, 10000);
}

/* Packed rings are polled or notified like split ones. */
static void blk_packed(void **state)
{
	packed_rings = FE_F_PACKED;
	move_under_load(FE_BUS_BLK, false, true, 0, 10000);
	move_under_load(FE_BUS_BLK, true, true, 3, 10000);
	move_under_load(FE_BUS_BLK, true, false, 0, 10000);
	packed_rings = 0;
}

static void blk_coalesced(void **state)
{
	move_under_load(FE_BUS_BLK, true, true, 3, 10000);
	move_under_load(FE_BUS_BLK, true, false, 3, 10000);
}

static void scsi_polled(void **state)
{
	move_under_load(FE_BUS_SCSI, false, true, 0, 4000);
}

static void scsi_notified(void **state)
{
	move_under_load(FE_BUS_SCSI, true, true, 0, 4000);
}

/* The control and the event queue move as well as any. */
static void scsi_every_queue(void **state)
{
	struct server server;
	struct fe *fe;

	server_start(&server, FE_BUS_SCSI);
	fe = server_open(&server);
	check_io(fe, REQUEST, 1);
	for (unsigned round = 0; round < 10; round++) {
		for (unsigned queue = 0; queue <= REQUEST; queue++)
			assert_int_equal(place_queue(&server, queue, round % 2), 0);
		check_io(fe, REQUEST, 3);
	}
	server_close(fe);
	server_stop(&server);
}

/* ---- by load ----------------------------------------------------------------------------- */

static void *drive_until_over(void *arg)
{
	struct driver *driver = arg;

	for (unsigned seed = 1; !driver->over; seed++)
		run_load(driver->fe, driver->ring, 200, 32, seed);
	return NULL;
}

static bool are_apart(void *arg)
{
	struct server *server = arg;

	return queue_info(server, 0).cpu != queue_info(server, 1).cpu;
}

static void balanced(void **state)
{
	struct driver drivers[2] = {{.ring = 0}, {.ring = 1}};
	struct server server;
	struct fe_options options;
	bool apart = false;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.ring_count = 2;
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(place_queue(&server, i, 1), 0);
	fe = server_open_with(&server, &options);
	held_bdev_set_cost(server.disk, 100);
	for (unsigned i = 0; i < 2; i++) {
		drivers[i].fe = fe;
		assert_int_equal(
			pthread_create(&drivers[i].thread, NULL, drive_until_over, &drivers[i]), 0);
	}
	sleep(5);
	/* Placed by hand they stay together; left to themselves they do not. */
	assert_false(are_apart(&server));
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(place_queue(&server, i, -1), 0);
	for (unsigned i = 0; i < 5 && !apart; i++)
		apart = await(are_apart, &server);
	for (unsigned i = 0; i < 2; i++)
		drivers[i].over = true;
	for (unsigned i = 0; i < 2; i++)
		pthread_join(drivers[i].thread, NULL);
	assert_true(apart);
	assert_int_equal(queue_info(&server, 0).moves + queue_info(&server, 1).moves, 1);
	server_close(fe);
	server_stop(&server);
}

/* ---- storage that does not answer -------------------------------------------------------- */

static void submit_read(struct fe *fe, unsigned ring, struct fe_blk *blk, uint8_t *data)
{
	fe_blk_init(blk, FE_BLK_IN, 0, data, 512);
	submit(fe, ring, &blk->io);
}

static void start_stuck_move(struct server *server, struct place *place, pthread_t *ret_thread)
{
	*place = (struct place){.server = server, .queue = 0, .cpu = !queue_info(server, 0).cpu};
	assert_int_equal(pthread_create(ret_thread, NULL, place_thread, place), 0);
	while (!queue_info(server, 0).moving)
		usleep(1000);
}

static void stuck_storage(void **state)
{
	struct fe_blk held, later;
	struct server server;
	struct fe_options options;
	struct place place;
	pthread_t thread;
	uint8_t data[2][512];
	struct fe *fe;
	int cpu;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.ring_count = 2;
	fe = server_open_with(&server, &options);
	cpu = queue_info(&server, 0).cpu;
	held_bdev_hold(server.disk);
	submit_read(fe, 0, &held, data[0]);
	assert_true(held_bdev_await(server.disk, 1));
	start_stuck_move(&server, &place, &thread);
	/* Meanwhile the other queue moves. */
	assert_int_equal(place_queue(&server, 1, !queue_info(&server, 1).cpu), 0);
	submit_read(fe, 0, &later, data[1]);
	pthread_join(thread, NULL);
	assert_int_equal(place.rc, -EBUSY);
	assert_non_null(strstr(place.reason.text, "queue 0"));
	/* It goes on where it was, also with what came meanwhile. */
	assert_int_equal(queue_info(&server, 0).cpu, cpu);
	assert_false(queue_info(&server, 0).pinned);
	assert_true(held_bdev_await(server.disk, 2));
	held_bdev_release(server.disk);
	finish(fe, 0, &held.io);
	finish(fe, 0, &later.io);
	assert_int_equal(place_queue(&server, 0, !cpu), 0);
	server_close(fe);
	server_stop(&server);
}

static void message_during_stuck_move(void **state)
{
	struct server server;
	struct place place;
	struct fe_blk held;
	pthread_t thread;
	uint8_t data[512];
	uint64_t begin_ms;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	held_bdev_hold(server.disk);
	submit_read(fe, 0, &held, data);
	assert_true(held_bdev_await(server.disk, 1));
	start_stuck_move(&server, &place, &thread);
	begin_ms = now_ms();
	assert_ok(fe, fe_set_vring_fd(fe, FE_SET_VRING_CALL, 0, fe->ring[0]->call_fd));
	assert_ok(fe, fe_set_vring_fd(fe, FE_SET_VRING_KICK, 0, fe->ring[0]->kick_fd));
	assert_int_equal(ask(fe, FE_SET_OWNER, NULL, 0, -1), 0);
	assert_true(now_ms() - begin_ms < 1000);
	pthread_join(thread, NULL);
	assert_int_equal(place.rc, -EBUSY);
	held_bdev_release(server.disk);
	finish(fe, 0, &held.io);
	check_io(fe, 0, 4);
	server_close(fe);
	server_stop(&server);
}

static void front_end_leaves_during_stuck_move(void **state)
{
	struct server server;
	struct place place;
	struct fe_blk held;
	pthread_t thread;
	uint8_t data[512];
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	held_bdev_hold(server.disk);
	submit_read(fe, 0, &held, data);
	assert_true(held_bdev_await(server.disk, 1));
	start_stuck_move(&server, &place, &thread);
	fe_disconnect(fe);
	pthread_join(thread, NULL);
	assert_int_equal(place.rc, -EBUSY);
	held_bdev_release(server.disk);
	assert_true(server_await_idle(&server));
	fe_io_abandon(fe->ring[0], &held.io);
	fe_destroy(fe);
	fe = server_open(&server);
	check_io(fe, 0, 4);
	server_close(fe);
	server_stop(&server);
}

/* The same without storage that holds anything: the connection goes at any moment of a move. */
static void front_end_leaves_during_moves(void **state)
{
	struct server server;

	server_start(&server, FE_BUS_SCSI);
	for (unsigned round = 0; round < 60; round++) {
		struct place place = {.server = &server, .queue = REQUEST, .cpu = round % 2};
		struct fe *fe = server_open(&server);
		pthread_t thread;

		check_io(fe, REQUEST, 1);
		assert_int_equal(pthread_create(&thread, NULL, place_thread, &place), 0);
		usleep(round * 7 % 300);
		fe_disconnect(fe);
		pthread_join(thread, NULL);
		assert_true(place.rc == 0 || place.rc == -EBUSY);
		assert_true(server_await_idle(&server));
		fe_destroy(fe);
	}
	server_stop(&server);
}

static void function_during_stuck_move(void **state)
{
	uint8_t lun[8] = {1, 0, 0x40, 0};
	struct fe_scsi held;
	struct server server;
	struct place place;
	uint8_t data[512];
	pthread_t thread;
	struct fe *fe;

	server_start(&server, FE_BUS_SCSI);
	fe = server_open(&server);
	check_io(fe, REQUEST, 1);
	held_bdev_hold(server.disk);
	fe_scsi_init_read(&held, 0, 0, 0, 1, data, sizeof(data));
	submit(fe, REQUEST, &held.io);
	assert_true(held_bdev_await(server.disk, 1));
	place = (struct place){
		.server = &server, .queue = REQUEST, .cpu = !queue_info(&server, REQUEST).cpu};
	assert_int_equal(pthread_create(&thread, NULL, place_thread, &place), 0);
	while (!queue_info(&server, REQUEST).moving)
		usleep(1000);
	/* It finds the command, wherever the queue is just now, and ends the wait. */
	assert_int_equal(fe_scsi_tmf(fe->ring[FE_SCSI_RING_CONTROL], FE_TMF_QUERY_TASK, lun,
				 held.header.tag, 1000),
		FE_TMF_SUCCEEDED);
	pthread_join(thread, NULL);
	assert_int_equal(place.rc, -EBUSY);
	held_bdev_release(server.disk);
	finish(fe, REQUEST, &held.io);
	server_close(fe);
	server_stop(&server);
}

/* ---- what is chosen ---------------------------------------------------------------------- */

static void choices_last(void **state)
{
	struct server server;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	for (int cpu = 0; cpu < 2; cpu++) {
		assert_int_equal(place_queue(&server, 0, cpu), 0);
		assert_true(queue_info(&server, 0).pinned);
		assert_false(queue_info(&server, 0).running);
		for (unsigned round = 0; round < 2; round++) {
			fe = server_open(&server);
			assert_int_equal(queue_info(&server, 0).cpu, cpu);
			check_io(fe, 0, 2);
			server_close(fe);
			assert_true(server_await_idle(&server));
		}
	}
	assert_int_equal(place_queue(&server, 0, -1), 0);
	fe = server_open(&server);
	assert_false(queue_info(&server, 0).pinned);
	server_close(fe);
	server_stop(&server);
}

/* The first waits for the guest, the second is content with where the queue is. */
static void later_choice_holds(void **state)
{
	struct server server;
	struct place place;
	pthread_t thread;
	struct fe *fe;
	int cpu;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	cpu = queue_info(&server, 0).cpu;
	assert_ok(fe, fe_enable_ring(fe, 0, false));
	place = (struct place){.server = &server, .queue = 0, .cpu = !cpu};
	assert_int_equal(pthread_create(&thread, NULL, place_thread, &place), 0);
	while (!queue_info(&server, 0).pinned)
		usleep(1000);
	assert_int_equal(place_queue(&server, 0, cpu), 0);
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	pthread_join(thread, NULL);
	assert_int_equal(queue_info(&server, 0).cpu, cpu);
	assert_int_equal(place.rc, -EBUSY);
	check_io(fe, 0, 2);
	server_close(fe);
	server_stop(&server);
}

static void impossible_choices(void **state)
{
	struct server server;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	assert_int_equal(place_queue(&server, 0, SERVER_DATA_REACTORS), -EINVAL);
	assert_int_equal(place_queue(&server, 64, 0), -EINVAL);
	assert_int_equal(place_queue(&server, UINT32_MAX, 0), -EINVAL);
	assert_false(queue_info(&server, 0).pinned);
	assert_ok(fe, fe_enable_ring(fe, 0, false));
	assert_int_equal(place_queue(&server, 0, !queue_info(&server, 0).cpu), -EBUSY);
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	check_io(fe, 0, 2);
	server_close(fe);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"queues of a polled blk device move under load and lose nothing", blk_polled, NULL,
			NULL, NULL},
		{"queues of a notified blk device move under load and lose no wake-up",
			blk_notified, NULL, NULL, NULL},
		{"packed queues move under load and lose nothing", blk_packed, NULL, NULL, NULL},
		{"queues whose signals are delayed move under load and lose no wake-up",
			blk_coalesced, NULL, NULL, NULL},
		{"queues of a polled scsi device move under load and lose nothing", scsi_polled,
			NULL, NULL, NULL},
		{"queues of a notified scsi device move under load and lose no wake-up",
			scsi_notified, NULL, NULL, NULL},
		{"every queue of a scsi device can be moved", scsi_every_queue, NULL, NULL, NULL},
		{"one of two queues that fill a thread moves to an idle one", balanced, NULL, NULL,
			NULL},
		{"a queue whose storage does not answer goes on where it was, others move",
			stuck_storage, NULL, NULL, NULL},
		{"a message is answered at once while a queue cannot leave",
			message_during_stuck_move, NULL, NULL, NULL},
		{"a front-end may leave while a queue cannot", front_end_leaves_during_stuck_move,
			NULL, NULL, NULL},
		{"a front-end may leave at any moment of a move", front_end_leaves_during_moves,
			NULL, NULL, NULL},
		{"a task management function finds the commands of a queue that cannot leave",
			function_during_stuck_move, NULL, NULL, NULL},
		{"a queue placed by hand stays there for every front-end", choices_last, NULL, NULL,
			NULL},
		{"of two choices for a queue the later one holds", later_choice_holds, NULL, NULL,
			NULL},
		{"what cannot be chosen is refused", impossible_choices, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
