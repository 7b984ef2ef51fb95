/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk that has no space left, on both buses: what waits for space, what is told so, and that
 * waiting keeps nobody from anything: not the ring's other requests, not its pause, move or stop,
 * not the next session, not the disk's removal.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance/server.h"

#define REQUEST      FE_SCSI_RING_REQUEST
#define REQUESTS_MAX 32

#define SPACE_ALLOCATION_FAILED 0x072707

struct writes {
	struct fe_blk blks[REQUESTS_MAX];
	uint8_t data[REQUESTS_MAX][512];
	unsigned count;
};

/* Sector `sector` + i gets `value` + i. */
static void put_writes(struct fe *fe, unsigned ring, struct writes *writes, unsigned count,
	unsigned sector, uint8_t value)
{
	writes->count = count;
	for (unsigned i = 0; i < count; i++) {
		memset(writes->data[i], value + (int)i, sizeof(writes->data[i]));
		fe_blk_init(&writes->blks[i], FE_BLK_OUT, sector + i, writes->data[i],
			sizeof(writes->data[i]));
		submit(fe, ring, &writes->blks[i].io);
	}
}

static void end_writes(struct fe *fe, unsigned ring, struct writes *writes, uint8_t status)
{
	struct fe_io *ended;

	while (fe->ring[ring]->outstanding)
		assert_int_equal(fe_io_wait(fe->ring[ring], &ended, 5000), 0);
	for (unsigned i = 0; i < writes->count; i++) {
		assert_true(writes->blks[i].io.done);
		assert_int_equal(writes->blks[i].status, status);
	}
}

/* Nobody waits for them any more. */
static void drop_writes(struct fe *fe, unsigned ring, struct writes *writes)
{
	for (unsigned i = 0; i < writes->count; i++)
		fe_io_drop(fe->ring[ring], &writes->blks[i].io);
}

static void check_stored(struct server *server, const struct writes *writes, unsigned sector)
{
	for (unsigned i = 0; i < writes->count; i++)
		assert_memory_equal(
			held_bdev_data(server->disk) + (sector + i) * 512, writes->data[i], 512);
}

static void read_one(struct fe *fe, unsigned ring)
{
	uint8_t data[512], status;

	assert_ok(fe, fe_blk_run(fe->ring[ring], FE_BLK_IN, 0, data, 512, &status, 5000));
	assert_int_equal(status, FE_BLK_OK);
}

struct look {
	unsigned queue;
	unsigned postponed;
};

static void look_at(const struct vhost_queue_info *info, void *arg)
{
	struct look *look = arg;

	if (info->queue == look->queue)
		look->postponed = info->postponed;
}

static void look_at_queue(struct server *server, void *arg)
{
	vhost_controller_for_each_queue(server->controller, look_at, arg);
}

/* Until so many wait. */
static void await_postponed(struct server *server, unsigned queue, unsigned count)
{
	struct look look = {.queue = queue};

	for (unsigned i = 0; i < 2000; i++) {
		server_call(server, look_at_queue, &look);
		if (look.postponed == count)
			return;
		usleep(1000);
	}
	fail_msg("%u requests wait, not %u", look.postponed, count);
}

/* Of which each needs a request's room, and the disk has none. */
static void fill_and_wait(struct server *server, struct fe *fe, struct writes *writes)
{
	held_bdev_set_room(server->disk, 0);
	put_writes(fe, 0, writes, 5, 10, 0x40);
	await_postponed(server, 0, 5);
}

static void open_waiting(struct server *server, struct fe **ret_fe, struct fe_options *options,
	struct writes *writes)
{
	server_start(server, FE_BUS_BLK);
	*options = server_options(server);
	*ret_fe = server_open_with(server, options);
	fill_and_wait(server, *ret_fe, writes);
}

static void close_all(struct server *server, struct fe *fe)
{
	server_close(fe);
	server_stop(server);
}

/* ---- blk --------------------------------------------------------------------------------- */

static void a_blk_write_waits_until_there_is_space(void **state)
{
	static const uint64_t kinds[] = {0, FE_F_PACKED};

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct server server;
		struct fe_options options;
		struct writes writes;
		struct fe *fe;

		server_start(&server, FE_BUS_BLK);
		options = server_options(&server);
		options.features |= kinds[i];
		fe = server_open_with(&server, &options);
		fill_and_wait(&server, fe, &writes);
		read_one(fe, 0); /* nobody waits with it */
		assert_false(fe_ring_ready(fe->ring[0]));
		held_bdev_set_room(server.disk, HELD_BDEV_ROOMY);
		end_writes(fe, 0, &writes, FE_BLK_OK);
		check_stored(&server, &writes, 10);
		check_io(fe, 0, 2);
		close_all(&server, fe);
	}
}

/* Zeroes and discards take space where something older would show. */
static void zeroes_and_discards_wait_as_well(void **state)
{
	static const uint32_t types[] = {FE_BLK_DISCARD, FE_BLK_WRITE_ZEROES};
	const struct fe_blk_range ranges[2] = {
		{.sector = 3, .sectors = 1}, {.sector = 5, .sectors = 1}};
	struct server server;
	struct fe_blk blk;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		memset(held_bdev_data(server.disk), 0xee, 4096);
		held_bdev_set_room(server.disk, 1);
		fe_blk_init(&blk, types[i], 0, (void *)(uintptr_t)ranges, sizeof(ranges));
		submit(fe, 0, &blk.io);
		await_postponed(&server, 0, 1);
		held_bdev_set_room(server.disk, 2);
		finish(fe, 0, &blk.io);
		assert_int_equal(blk.status, FE_BLK_OK);
		assert_int_equal(held_bdev_data(server.disk)[5 * 512], 0);
	}
	close_all(&server, fe);
}

static void where_that_is_chosen_a_blk_write_fails(void **state)
{
	struct server server = {.fails_when_full = true};
	struct writes writes;
	struct fe *fe;

	server_start_with(&server, FE_BUS_BLK);
	fe = server_open(&server);
	held_bdev_set_room(server.disk, 0);
	put_writes(fe, 0, &writes, 3, 0, 1);
	end_writes(fe, 0, &writes, FE_BLK_IOERR);
	held_bdev_set_room(server.disk, HELD_BDEV_ROOMY);
	close_all(&server, fe);
}

/* And not all of them are tried each time: that would cost as much as if they were served. */
static void each_gets_its_turn_when_there_is_space_for_one(void **state)
{
	struct server server;
	struct writes writes;
	uint64_t tries;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	held_bdev_set_room(server.disk, 0);
	put_writes(fe, 0, &writes, REQUESTS_MAX, 0, 1);
	await_postponed(&server, 0, REQUESTS_MAX);
	tries = held_bdev_count(server.disk, BDEV_IO_WRITE);
	usleep(500000);
	tries = held_bdev_count(server.disk, BDEV_IO_WRITE) - tries;
	assert_in_range(tries, 4, 16);
	for (unsigned left = REQUESTS_MAX; left > REQUESTS_MAX - 4; left--) {
		struct fe_io *ended;

		held_bdev_set_room(server.disk, 1);
		assert_int_equal(fe_io_wait(fe->ring[0], &ended, 5000), 0);
		await_postponed(&server, 0, left - 1);
	}
	held_bdev_set_room(server.disk, REQUESTS_MAX);
	end_writes(fe, 0, &writes, FE_BLK_OK);
	check_stored(&server, &writes, 0);
	close_all(&server, fe);
}

/* ENABLE 0 is answered at once, and what waits goes on waiting with ENABLE 1. */
static void a_pause_takes_along_what_waits(void **state)
{
	struct fe_options options;
	struct writes writes;
	struct server server;
	uint64_t tries;
	uint32_t slot;
	struct fe *fe;

	open_waiting(&server, &fe, &options, &writes);
	assert_ok(fe, fe_enable_ring(fe, 0, false));
	held_bdev_set_room(server.disk, HELD_BDEV_ROOMY);
	tries = held_bdev_count(server.disk, BDEV_IO_WRITE);
	usleep(120000);
	assert_int_equal(held_bdev_count(server.disk, BDEV_IO_WRITE), tries);
	slot = add_region(fe, UINT64_C(1) << 40, 1 << 20); /* another table of memory */
	assert_ok(fe, fe_add_mem_reg(fe, slot));
	assert_false(fe_ring_ready(fe->ring[0]));
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	end_writes(fe, 0, &writes, FE_BLK_OK);
	check_stored(&server, &writes, 10);
	close_all(&server, fe);
}

struct place {
	unsigned queue;
	int cpu;
};

static void place_start(struct server *server, void *arg, done_fn done, void *done_arg)
{
	const struct place *place = arg;

	vhost_controller_place_queue(
		server->controller, place->queue, place->cpu, NULL, done, done_arg);
}

static void a_queue_moves_with_what_waits(void **state)
{
	struct fe_options options;
	struct writes writes;
	struct server server;
	struct fe *fe;

	open_waiting(&server, &fe, &options, &writes);
	for (int cpu = 0; cpu < SERVER_DATA_REACTORS; cpu++) {
		struct place place = {.cpu = cpu};

		assert_int_equal(server_await(&server, place_start, &place), 0);
		await_postponed(&server, 0, 5);
		assert_false(fe_ring_ready(fe->ring[0]));
	}
	held_bdev_set_room(server.disk, HELD_BDEV_ROOMY);
	end_writes(fe, 0, &writes, FE_BLK_OK);
	check_stored(&server, &writes, 10);
	close_all(&server, fe);
}

/* ---- stops ------------------------------------------------------------------------------- */

/* The record is what the next start repeats. */
static void a_stop_leaves_to_the_record_what_waits(void **state)
{
	static const uint64_t kinds[] = {0, FE_F_PACKED};

	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct server server;
		struct fe_options options;
		struct writes writes;
		struct fe *fe;

		server_start(&server, FE_BUS_BLK);
		options = server_options(&server);
		options.features |= kinds[i];
		fe = server_open_with(&server, &options);
		fill_and_wait(&server, fe, &writes);
		read_one(fe, 0);
		assert_ok(fe, fe_stop(fe));
		assert_false(fe_ring_ready(fe->ring[0]));
		assert_ok(fe, fe_start(fe));
		await_postponed(&server, 0, 5);
		read_one(fe, 0); /* what is repeated and waits is in no other's way */
		held_bdev_set_room(server.disk, HELD_BDEV_ROOMY);
		end_writes(fe, 0, &writes, FE_BLK_OK);
		check_stored(&server, &writes, 10);
		close_all(&server, fe);
	}
}

static void without_a_record_a_stop_takes_back_what_waits(void **state)
{
	struct server server;
	struct fe_options options;
	struct writes writes;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.skip_inflight = true;
	fe = server_open_with(&server, &options);
	check_io(fe, 0, 3);
	fill_and_wait(&server, fe, &writes);
	assert_ok(fe, fe_stop(fe));
	assert_int_equal(fe->base[0], 6);
	assert_false(fe_ring_ready(fe->ring[0]));
	assert_ok(fe, fe_start(fe));
	await_postponed(&server, 0, 5);
	held_bdev_set_room(server.disk, HELD_BDEV_ROOMY);
	end_writes(fe, 0, &writes, FE_BLK_OK);
	check_stored(&server, &writes, 10);
	close_all(&server, fe);
}

/* The first two cannot be taken back, for a read that came after them was answered: they have to
 * end, as their last try says. */
static void check_last_try(uint64_t room, uint8_t status)
{
	struct server server;
	struct fe_options options;
	struct writes before, after;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.skip_inflight = true;
	fe = server_open_with(&server, &options);
	held_bdev_set_room(server.disk, 0);
	put_writes(fe, 0, &before, 2, 0, 1);
	await_postponed(&server, 0, 2);
	read_one(fe, 0);
	put_writes(fe, 0, &after, 2, 8, 8);
	await_postponed(&server, 0, 4);
	assert_ok(fe, fe_enable_ring(fe, 0, false));
	held_bdev_set_room(server.disk, room);
	assert_ok(fe, fe_stop(fe));
	assert_int_equal(fe->base[0], 3);
	assert_ok(fe, fe_start(fe));
	await_postponed(&server, 0, 2);
	held_bdev_set_room(server.disk, HELD_BDEV_ROOMY);
	end_writes(fe, 0, &after, FE_BLK_OK);
	for (unsigned i = 0; i < before.count; i++) {
		assert_true(before.blks[i].io.done);
		assert_int_equal(before.blks[i].status, status);
	}
	close_all(&server, fe);
}

static void what_cannot_be_taken_back_is_tried_a_last_time(void **state)
{
	check_last_try(0, FE_BLK_IOERR);
	check_last_try(2, FE_BLK_OK);
}

static void a_front_end_that_comes_back_finds_its_requests_waiting(void **state)
{
	struct fe_options options;
	struct writes writes;
	struct server server;
	struct fe *fe;

	open_waiting(&server, &fe, &options, &writes);
	fe_disconnect(fe);
	assert_true(server_await_idle(&server));
	assert_ok(fe, fe_reconnect(fe));
	await_postponed(&server, 0, 5);
	read_one(fe, 0);
	held_bdev_set_room(server.disk, HELD_BDEV_ROOMY);
	end_writes(fe, 0, &writes, FE_BLK_OK);
	check_stored(&server, &writes, 10);
	close_all(&server, fe);
}

static void a_reset_forgets_what_waits(void **state)
{
	struct fe_options options;
	struct writes writes;
	struct server server;
	struct fe *fe;

	open_waiting(&server, &fe, &options, &writes);
	drop_writes(fe, 0, &writes);
	assert_ok(fe, fe_reset(fe));
	assert_ok(fe, fe_create_rings(fe));
	assert_ok(fe, fe_start(fe));
	read_one(fe, 0);
	await_postponed(&server, 0, 0);
	held_bdev_set_room(server.disk, HELD_BDEV_ROOMY);
	check_io(fe, 0, 2);
	close_all(&server, fe);
}

/* SIGTERM is this. */
static void the_end_waits_for_nobody(void **state)
{
	struct fe_options options;
	struct writes writes;
	struct server server;
	struct fe *fe;

	open_waiting(&server, &fe, &options, &writes);
	server_stop(&server);
	assert_false(fe_ring_ready(fe->ring[0]));
	drop_writes(fe, 0, &writes);
	fe_destroy(fe);
}

static void what_waits_fails_when_its_disk_goes(void **state)
{
	struct fe_options options;
	struct writes writes;
	struct server server;
	struct fe *fe;

	open_waiting(&server, &fe, &options, &writes);
	server_remove_disk(&server);
	end_writes(fe, 0, &writes, FE_BLK_IOERR);
	close_all(&server, fe);
}

/* ---- scsi -------------------------------------------------------------------------------- */

struct command {
	struct fe_scsi scsi;
	uint8_t data[512];
};

static void put_command(struct fe *fe, struct command *command, unsigned lba, uint8_t value)
{
	memset(command->data, value, sizeof(command->data));
	fe_scsi_init_write(&command->scsi, 0, 0, lba, 1, command->data, sizeof(command->data));
	submit(fe, REQUEST, &command->scsi.io);
}

static void open_scsi(struct server *server, struct fe **ret_fe, bool waits)
{
	memset(server, 0, sizeof(*server));
	server->waits_for_space = waits;
	server_start_with(server, FE_BUS_SCSI);
	*ret_fe = server_open(server);
	check_io(*ret_fe, REQUEST, 1); /* no unit attention is left */
	held_bdev_set_room(server->disk, 0);
}

static void a_scsi_write_ends_with_the_status_for_it(void **state)
{
	struct command command;
	struct server server;
	struct fe *fe;

	open_scsi(&server, &fe, false);
	put_command(fe, &command, 7, 1);
	finish(fe, REQUEST, &command.scsi.io);
	assert_int_equal(command.scsi.response.status, 2);
	assert_int_equal(fe_scsi_sense(&command.scsi.response), SPACE_ALLOCATION_FAILED);
	assert_int_equal(command.scsi.response.sense[0], 0xf0); /* VALID: the first block */
	assert_int_equal(command.scsi.response.sense[6], 7);
	close_all(&server, fe);
}

static void where_that_is_chosen_a_scsi_write_waits(void **state)
{
	struct command command;
	struct server server;
	struct fe *fe;

	open_scsi(&server, &fe, true);
	put_command(fe, &command, 7, 1);
	await_postponed(&server, REQUEST, 1);
	held_bdev_set_room(server.disk, HELD_BDEV_ROOMY);
	finish(fe, REQUEST, &command.scsi.io);
	assert_int_equal(command.scsi.response.response, FE_SCSI_OK);
	assert_int_equal(command.scsi.response.status, 0);
	assert_memory_equal(held_bdev_data(server.disk) + 7 * 512, command.data, 512);
	close_all(&server, fe);
}

static void a_command_that_waits_can_be_aborted(void **state)
{
	struct command one, other;
	struct server server;
	uint8_t lun[8];
	struct fe *fe;

	open_scsi(&server, &fe, true);
	put_command(fe, &one, 7, 1);
	put_command(fe, &other, 8, 2);
	await_postponed(&server, REQUEST, 2);
	fe_scsi_lun(lun, 0, 0);
	assert_int_equal(fe_scsi_tmf(fe->ring[FE_SCSI_RING_CONTROL], FE_TMF_ABORT_TASK, lun,
				 one.scsi.header.tag, 5000),
		FE_SCSI_OK);
	finish(fe, REQUEST, &one.scsi.io);
	assert_int_equal(one.scsi.response.response, FE_SCSI_ABORTED);
	await_postponed(&server, REQUEST, 1);
	assert_int_equal(fe_scsi_tmf(fe->ring[FE_SCSI_RING_CONTROL], FE_TMF_LOGICAL_UNIT_RESET, lun,
				 0, 5000),
		FE_SCSI_OK);
	finish(fe, REQUEST, &other.scsi.io);
	assert_int_equal(other.scsi.response.response, FE_SCSI_RESET);
	held_bdev_set_room(server.disk, HELD_BDEV_ROOMY);
	check_io(fe, REQUEST, 1);
	close_all(&server, fe);
}

static void a_command_that_waits_goes_with_its_unit(void **state)
{
	struct command command;
	struct server server;
	struct fe *fe;

	open_scsi(&server, &fe, true);
	put_command(fe, &command, 7, 1);
	await_postponed(&server, REQUEST, 1);
	server_remove_disk(&server);
	finish(fe, REQUEST, &command.scsi.io);
	assert_int_equal(command.scsi.response.response, FE_SCSI_BAD_TARGET);
	close_all(&server, fe);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_blk_write_waits_until_there_is_space),
		cmocka_unit_test(zeroes_and_discards_wait_as_well),
		cmocka_unit_test(where_that_is_chosen_a_blk_write_fails),
		cmocka_unit_test(each_gets_its_turn_when_there_is_space_for_one),
		cmocka_unit_test(a_pause_takes_along_what_waits),
		cmocka_unit_test(a_queue_moves_with_what_waits),
		cmocka_unit_test(a_stop_leaves_to_the_record_what_waits),
		cmocka_unit_test(without_a_record_a_stop_takes_back_what_waits),
		cmocka_unit_test(what_cannot_be_taken_back_is_tried_a_last_time),
		cmocka_unit_test(a_front_end_that_comes_back_finds_its_requests_waiting),
		cmocka_unit_test(a_reset_forgets_what_waits),
		cmocka_unit_test(the_end_waits_for_nobody),
		cmocka_unit_test(what_waits_fails_when_its_disk_goes),
		cmocka_unit_test(a_scsi_write_ends_with_the_status_for_it),
		cmocka_unit_test(where_that_is_chosen_a_scsi_write_waits),
		cmocka_unit_test(a_command_that_waits_can_be_aborted),
		cmocka_unit_test(a_command_that_waits_goes_with_its_unit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
