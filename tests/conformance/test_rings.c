/* SPDX-License-Identifier: BSD-2-Clause */
/* Conformance checklist, items 18 to 28: when a ring runs, and how it stops. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance/server.h"

static void init_read(struct fe_blk *blk, uint8_t *data)
{
	fe_blk_init(blk, FE_BLK_IN, 0, data, 512);
}

static void init_reads(struct fe_blk *blks, uint8_t (*data)[512], unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		fe_blk_init(&blks[i], FE_BLK_IN, i, data[i], 512);
}

/* Nothing of ring 0 ends for a while. */
static void assert_not_served(struct fe *fe, unsigned ring)
{
	usleep(50000);
	assert_false(fe_ring_ready(fe->ring[ring]));
}

/* As fe_start for one ring, but without enabling it. */
static void setup_disabled(struct fe *fe, unsigned ring)
{
	assert_ok(fe, fe_set_vring_state(fe, FE_SET_VRING_NUM, ring, fe->ring[ring]->size));
	assert_ok(fe, fe_set_vring_state(fe, FE_SET_VRING_BASE, ring, fe->base[ring]));
	assert_ok(fe, fe_set_vring_addr(fe, ring, false));
	assert_ok(fe, fe_set_vring_fd(fe, FE_SET_VRING_CALL, ring, fe->ring[ring]->call_fd));
	assert_ok(fe, fe_set_vring_fd(fe, FE_SET_VRING_KICK, ring, fe->ring[ring]->kick_fd));
	fe->started[ring] = true;
}

static void item_18(void **state)
{
	struct server server;
	struct fe_options options;
	struct fe *fe;
	struct fe_blk blk;
	uint8_t data[512];

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	fe = server_prepare(&server, &options);
	setup_disabled(fe, 0);
	init_read(&blk, data);
	submit(fe, 0, &blk.io);
	fe_ring_kick_always(fe->ring[0]);
	assert_not_served(fe, 0);
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	finish(fe, 0, &blk.io);
	/* The same after a pause: the kick falls into the time when it is disabled. */
	assert_ok(fe, fe_enable_ring(fe, 0, false));
	init_read(&blk, data);
	submit(fe, 0, &blk.io);
	fe_ring_kick_always(fe->ring[0]);
	assert_not_served(fe, 0);
	fe_eventfd_drain(fe->ring[0]->kick_fd);
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	finish(fe, 0, &blk.io);
	server_close(fe);
	server_stop(&server);
}

static void item_19(void **state)
{
	struct server server;
	struct fe_options options;
	struct fe *fe;
	struct fe_blk blk;
	uint8_t data[512];

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.order = FE_LIBBLKIO;
	fe = server_prepare(&server, &options);
	init_read(&blk, data);
	submit(fe, 0, &blk.io);
	fe_eventfd_drain(fe->ring[0]->kick_fd);
	assert_ok(fe, fe_setup_ring(fe, 0));
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	finish(fe, 0, &blk.io);
	server_close(fe);
	server_stop(&server);
}

/* A ring without a kick descriptor is polled. */
static void item_19_polled(void **state)
{
	struct server server;
	struct fe_options options;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	fe = server_prepare(&server, &options);
	setup_disabled(fe, 0);
	assert_ok(fe, fe_set_vring_fd(fe, FE_SET_VRING_KICK, 0, -1));
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	for (unsigned i = 0; i < 3; i++) {
		usleep(20000);
		check_io(fe, 0, 1);
	}
	server_close(fe);
	server_stop(&server);
}

static void item_20(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_vring_state word = {.index = 5};

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	for (unsigned i = 0; i < 4; i++) {
		word.num = i % 2;
		assert_int_equal(ask(fe, FE_SET_VRING_ENABLE, &word, sizeof(word), -1), 0);
	}
	check_io(fe, 0, 3);
	server_close(fe);
	server_stop(&server);
}

/* Sends a message whose reply has to wait for the held requests. */
static void send_waiting(struct fe *fe, uint32_t id, const struct fe_vring_state *payload)
{
	struct fe_msg msg;

	fe_msg_init(&msg, id, FE_FLAG_VERSION | FE_FLAG_NEED_REPLY, payload, sizeof(*payload));
	assert_ok(fe, fe_msg_send(&fe->conn, &msg));
	assert_ok(fe, fe_conn_expect_silence(&fe->conn, 50));
}

static void item_21(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_blk blks[4];
	uint8_t data[4][512];
	struct fe_vring_state off = {0};
	struct fe_msg reply;
	uint64_t sum;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	memset(held_bdev_data(server.disk), 0x5a, 4 * 512);
	held_bdev_hold(server.disk);
	init_reads(blks, data, 4);
	for (unsigned i = 0; i < 3; i++)
		submit(fe, 0, &blks[i].io);
	assert_true(held_bdev_await(server.disk, 3));
	send_waiting(fe, FE_SET_VRING_ENABLE, &off);
	submit(fe, 0, &blks[3].io);
	fe_ring_kick_always(fe->ring[0]);
	held_bdev_release(server.disk);
	assert_ok(fe, fe_msg_recv_reply(&fe->conn, FE_SET_VRING_ENABLE, 8, 0, &reply));
	assert_int_equal(reply.u64, 0);
	/* Here everything has ended, and nothing new has begun. */
	sum = memory_sum(fe);
	assert_int_equal(fe_ring_peek_used_idx(fe->ring[0]), 3);
	usleep(50000);
	assert_true(memory_sum(fe) == sum);
	for (unsigned i = 0; i < 3; i++)
		finish(fe, 0, &blks[i].io);
	assert_int_equal(blks[2].status, FE_BLK_OK);
	assert_int_equal(data[2][511], 0x5a);
	assert_not_served(fe, 0);
	assert_int_equal(held_bdev_count(server.disk, BDEV_IO_READ), 3);
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	finish(fe, 0, &blks[3].io);
	server_close(fe);
	server_stop(&server);
}

static void item_22(void **state)
{
	struct server server;
	struct fe_options options;
	struct fe *fe;
	struct fe_blk blks[3];
	uint8_t data[3][512];
	struct fe_vring_state ring = {0};
	struct fe_msg reply;
	uint64_t sum;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.notified = true;
	fe = server_open_with(&server, &options);
	check_io(fe, 0, 1);
	held_bdev_hold(server.disk);
	init_reads(blks, data, 3);
	for (unsigned i = 0; i < 3; i++)
		submit(fe, 0, &blks[i].io);
	fe_ring_interrupts(fe->ring[0], true);
	assert_true(held_bdev_await(server.disk, 3));
	fe_eventfd_drain(fe->ring[0]->call_fd);
	send_waiting(fe, FE_GET_VRING_BASE, &ring);
	held_bdev_release(server.disk);
	assert_ok(fe, fe_msg_recv_reply(&fe->conn, FE_GET_VRING_BASE, 8, 0, &reply));
	sum = memory_sum(fe);
	assert_int_equal(fe_ring_peek_used_idx(fe->ring[0]), 5);
	assert_int_equal(reply.state.num, 5);
	/* The interrupt that was due has been given, and no other comes. */
	assert_true(fe_eventfd_drain(fe->ring[0]->call_fd) > 0);
	fe_ring_kick_always(fe->ring[0]);
	usleep(50000);
	assert_true(memory_sum(fe) == sum);
	assert_int_equal(fe_eventfd_drain(fe->ring[0]->call_fd), 0);
	for (unsigned i = 0; i < 3; i++) {
		struct fe_io *io;

		assert_int_equal(fe_io_reap(fe->ring[0], &io), 1);
	}
	fe_destroy(fe);
	server_stop(&server);
}

/* The drain is bounded: then the connection is dropped, and no answer given. */
static void drain_limit(void **state)
{
	struct server server = {.drain_limit_ns = SEC_NS / 5};
	struct fe *fe;
	struct fe_blk blk;
	uint8_t data[512];
	struct fe_vring_state ring = {0};
	struct fe_msg msg;

	server_start_with(&server, FE_BUS_BLK);
	fe = server_open(&server);
	held_bdev_hold(server.disk);
	init_read(&blk, data);
	submit(fe, 0, &blk.io);
	assert_true(held_bdev_await(server.disk, 1));
	fe_msg_init(&msg, FE_GET_VRING_BASE, FE_FLAG_VERSION, &ring, sizeof(ring));
	assert_ok(fe, fe_msg_send(&fe->conn, &msg));
	assert_ok(fe, fe_conn_wait_close(&fe->conn, 5000));
	usleep(20000);
	assert_false(server_is_idle(&server)); /* the storage still has its memory */
	held_bdev_release(server.disk);
	assert_true(server_await_idle(&server));
	/* The data may have arrived; nothing was said about it. */
	assert_int_equal(fe_ring_peek_used_idx(fe->ring[0]), 0);
	fe_io_drop(fe->ring[0], &blk.io);
	fe_destroy(fe);
	fe = server_open(&server);
	check_io(fe, 0, 3);
	server_close(fe);
	server_stop(&server);
}

/* 12.2: nothing is published after the connection is gone; the next session waits for the I/O. */
static void front_end_dies(void **state)
{
	struct server server;
	struct fe *fe, *next;
	struct fe_blk blks[3];
	uint8_t data[3][512];

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	held_bdev_hold(server.disk);
	for (unsigned i = 0; i < 3; i++) {
		memset(data[i], 0x77, 512);
		fe_blk_init(&blks[i], FE_BLK_OUT, i, data[i], 512);
		submit(fe, 0, &blks[i].io);
	}
	assert_true(held_bdev_await(server.disk, 3));
	fe_disconnect(fe);
	next = server_connect(&server);
	assert_ok(next, fe_conn_expect_silence(&next->conn, 50));
	assert_false(server_is_idle(&server));
	held_bdev_release(server.disk);
	assert_ok(next, fe_negotiate(next));
	assert_int_equal(fe_ring_peek_used_idx(fe->ring[0]), 0);
	for (unsigned i = 0; i < 3; i++)
		fe_io_drop(fe->ring[0], &blks[i].io);
	fe_destroy(fe);
	fe_destroy(next);
	server_stop(&server);
}

static void front_end_dies_in_drain(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_blk blk;
	uint8_t data[512];
	struct fe_vring_state ring = {0};
	unsigned fds;

	server_start(&server, FE_BUS_BLK);
	fds = count_fds();
	fe = server_open(&server);
	held_bdev_hold(server.disk);
	init_read(&blk, data);
	submit(fe, 0, &blk.io);
	assert_true(held_bdev_await(server.disk, 1));
	send_waiting(fe, FE_GET_VRING_BASE, &ring);
	fe_disconnect(fe);
	held_bdev_release(server.disk);
	assert_true(server_await_idle(&server));
	fe_io_drop(fe->ring[0], &blk.io);
	fe_destroy(fe);
	fe = server_open(&server);
	check_io(fe, 0, 3);
	server_close(fe);
	assert_true(server_await_idle(&server));
	assert_int_equal(count_fds(), fds);
	server_stop(&server);
}

static struct fe *open_rings(struct server *server, uint32_t count)
{
	struct fe_options options = server_options(server);

	options.ring_count = count;
	return server_open_with(server, &options);
}

static void item_23(void **state)
{
	struct server server;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = open_rings(&server, 3);
	for (unsigned i = 0; i < 3; i++)
		check_io(fe, i, 3);
	assert_ok(fe, fe_stop_ring(fe, 1));
	check_io(fe, 0, 3);
	check_io(fe, 2, 3);
	assert_ok(fe, fe_setup_ring(fe, 1));
	for (unsigned i = 0; i < 3; i++)
		check_io(fe, i, 3);
	server_close(fe);
	server_stop(&server);
}

static void item_24(void **state)
{
	static const enum fe_order orders[] = {
		FE_QEMU_7_2, FE_QEMU_10, FE_CLOUD_HYPERVISOR, FE_LIBBLKIO};

	for (unsigned i = 0; i < ARRAY_SIZE(orders); i++) {
		struct server server;
		struct fe_options options;
		struct fe *fe;
		unsigned done = 0;

		server_start(&server, FE_BUS_BLK);
		options = server_options(&server);
		options.order = orders[i];
		fe = server_open_with(&server, &options);
		for (unsigned round = 1; round < 5; round++) {
			check_io(fe, 0, round * 3);
			done += round * 6;
			assert_ok(fe, fe_stop(fe));
			assert_int_equal(fe->base[0], done);
			assert_int_equal(fe_ring_peek_used_idx(fe->ring[0]), done);
			assert_ok(fe, fe_start(fe));
		}
		check_io(fe, 0, 3);
		server_close(fe);
		server_stop(&server);
	}
}

static void add_second_target(struct server *server, void *arg, done_fn done, void *done_arg)
{
	vhost_scsi_add_target(
		server->controller, 3, VHOST_SCSI_LUN_UNSAID, "disk", NULL, done, done_arg);
}

static void item_25(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_scsi_event event;

	server_start(&server, FE_BUS_SCSI);
	fe = server_open(&server);
	assert_int_equal(fe_scsi_post_events(fe->ring[FE_SCSI_RING_EVENT], 8), 0);
	check_io(fe, 2, 3);
	assert_ok(fe, fe_stop(fe));
	assert_int_equal(fe->base[FE_SCSI_RING_EVENT], 0);
	assert_int_equal(fe_ring_peek_used_idx(fe->ring[FE_SCSI_RING_EVENT]), 0);
	assert_ok(fe, fe_start(fe));
	/* A buffer of before serves an event of after. */
	assert_int_equal(server_await(&server, add_second_target, NULL), 3);
	assert_int_equal(fe_scsi_wait_event(fe->ring[FE_SCSI_RING_EVENT], &event, false, 5000), 0);
	assert_int_equal(event.event, FE_EVENT_TRANSPORT_RESET);
	assert_int_equal(event.lun[1], 3);
	assert_ok(fe, fe_stop(fe));
	assert_int_equal(fe->base[FE_SCSI_RING_EVENT], 1);
	fe_destroy(fe);
	server_stop(&server);
}

static void item_26(void **state)
{
	struct server server;
	struct fe *fe;
	uint32_t base;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	assert_ok(fe, fe_get_vring_base(fe, 7, &base));
	assert_int_equal(base, 0);
	check_io(fe, 0, 2);
	for (unsigned i = 0; i < 2; i++) {
		assert_ok(fe, fe_get_vring_base(fe, 0, &base));
		assert_int_equal(base, 4);
	}
	fe_destroy(fe);
	/* On a session that was never started at all. */
	fe = server_connect(&server);
	assert_ok(fe, fe_get_vring_base(fe, 0, &base));
	fe_destroy(fe);
	server_stop(&server);
}

static void item_27(void **state)
{
	struct server server;
	struct fe_options options;
	struct fe *fe;
	struct fe_blk blk;
	uint8_t data[512];
	int call = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	/* The order of section 7.2: scsi's call descriptors come after the rings run. */
	server_start(&server, FE_BUS_SCSI);
	options = server_options(&server);
	options.notified = true;
	for (unsigned order = FE_QEMU_7_2; order <= FE_QEMU_10; order++) {
		options.order = order;
		fe = server_open_with(&server, &options);
		check_io(fe, 2, 3);
		server_close(fe);
	}
	server_stop(&server);

	/* A completion before there is a call descriptor. */
	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	fe = server_prepare(&server, &options);
	setup_disabled(fe, 0);
	assert_ok(fe, fe_set_vring_fd(fe, FE_SET_VRING_CALL, 0, -1));
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	init_read(&blk, data);
	submit(fe, 0, &blk.io);
	finish(fe, 0, &blk.io);
	assert_ok(fe, fe_set_vring_fd(fe, FE_SET_VRING_CALL, 0, call));
	assert_int_equal(fe_eventfd_wait(call, 5000), 0);
	usleep(20000);
	assert_int_equal(fe_eventfd_drain(call), 1);
	close(call);
	server_close(fe);
	server_stop(&server);
}

/* Both ends of a call descriptor are one open file: what we asked for can be taken back. */
static void make_blocking_and_full(int fd)
{
	const uint64_t most = UINT64_MAX - 1;
	int flags = fcntl(fd, F_GETFL);

	fe_eventfd_drain(fd);
	assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
	assert_int_equal(fcntl(fd, F_SETFL, flags & ~O_NONBLOCK), 0);
}

static void call_descriptor_blocks(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_blk blks[3];
	uint8_t data[3][512];

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	check_io(fe, 0, 1);
	make_blocking_and_full(fe->ring[0]->call_fd);
	init_reads(blks, data, 3);
	for (unsigned i = 0; i < 3; i++) {
		fe_ring_interrupts(fe->ring[0], true);
		submit(fe, 0, &blks[i].io);
		finish(fe, 0, &blks[i].io);
	}
	server_close(fe);
	server_stop(&server);
}

static void item_28(void **state)
{
	static const enum fe_bus buses[] = {FE_BUS_BLK, FE_BUS_SCSI};

	for (unsigned i = 0; i < ARRAY_SIZE(buses); i++) {
		struct server server;
		struct fe_options options;
		struct fe *fe;
		unsigned ring = buses[i] == FE_BUS_SCSI ? 2 : 0;

		server_start(&server, buses[i]);
		options = server_options(&server);
		fe = fe_create(&options);
		assert_int_equal(fe_conn_connect(&fe->conn, server.path, 5000), 0);
		assert_ok(fe, fe_negotiate(fe));
		for (unsigned n = 0; n < 3; n++)
			assert_ok(fe, fe_set_empty(fe, FE_RESET_DEVICE));
		add_region(fe, 0, 64 * MIB);
		assert_ok(fe, fe_create_rings(fe));
		assert_ok(fe, fe_start(fe));
		for (unsigned round = 0; round < 3; round++) {
			check_io(fe, ring, 3);
			/* Stops, resets; the regions are not sent again. */
			assert_ok(fe, fe_reset(fe));
			assert_true(fe->announced[0]);
			assert_ok(fe, fe_set_empty(fe, FE_RESET_DEVICE));
			assert_ok(fe, fe_create_rings(fe));
			assert_ok(fe, fe_start(fe));
		}
		/* In the middle of running. */
		check_io(fe, ring, 3);
		assert_int_equal(ask(fe, FE_RESET_DEVICE, NULL, 0, -1), 0);
		for (unsigned n = 0; n < fe->ring_count; n++) {
			fe_ring_reset(fe->ring[n]);
			fe->base[n] = 0;
		}
		assert_ok(fe, fe_start(fe));
		check_io(fe, ring, 3);
		server_close(fe);
		server_stop(&server);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"24.18 work that was kicked before ENABLE 1 is done after it", item_18, NULL, NULL,
			NULL},
		{"24.19 a ring started without any kick is served", item_19, NULL, NULL, NULL},
		{"24.19 a ring without a kick descriptor is polled", item_19_polled, NULL, NULL,
			NULL},
		{"24.20 ENABLE of a ring that was never configured succeeds", item_20, NULL, NULL,
			NULL},
		{"24.21 after ENABLE 0 nothing is in flight and memory does not change", item_21,
			NULL, NULL, NULL},
		{"24.22 GET_VRING_BASE is answered when nothing can be touched any more", item_22,
			NULL, NULL, NULL},
		{"2.6 a drain that takes too long drops the connection without an answer",
			drain_limit, NULL, NULL, NULL},
		{"12.2 what completes after the connection is gone is not published",
			front_end_dies, NULL, NULL, NULL},
		{"19 a front-end that dies in the middle of a drain leaves nothing behind",
			front_end_dies_in_drain, NULL, NULL, NULL},
		{"24.23 stopping one ring leaves the others running", item_23, NULL, NULL, NULL},
		{"24.24 the returned base equals the used index and continues without loss",
			item_24, NULL, NULL, NULL},
		{"24.25 event buffers that were not used survive a stop", item_25, NULL, NULL,
			NULL},
		{"24.26 GET_VRING_BASE is answered for unconfigured rings and twice", item_26, NULL,
			NULL, NULL},
		{"24.27 a new call descriptor is signalled once", item_27, NULL, NULL, NULL},
		{"19 a call descriptor that blocks does not stop the thread for long",
			call_descriptor_blocks, NULL, NULL, NULL},
		{"24.28 RESET_DEVICE keeps memory, at any time and repeatedly", item_28, NULL, NULL,
			NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
