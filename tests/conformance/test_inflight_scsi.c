/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Recovery of virtio-scsi (reference 11.4): commands are repeated before task management, whose
 * answer says that what it aborts will not happen any more; event buffers are buffers again.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance/server.h"

#define CONTROL  0
#define EVENT    1
#define REQUEST  2
#define COMMANDS 4

struct tmf {
	struct fe_io io;
	struct fe_tmf request;
	uint8_t response;
};

static void submit_abort(struct fe *fe, struct tmf *tmf, uint64_t tag)
{
	memset(tmf, 0, sizeof(*tmf));
	tmf->request.subtype = FE_TMF_ABORT_TASK;
	tmf->request.tag = tag;
	fe_scsi_lun(tmf->request.lun, 0, 0);
	tmf->response = 0xee;
	tmf->io.head = &tmf->request;
	tmf->io.head_len = sizeof(tmf->request);
	tmf->io.in_first = &tmf->response;
	tmf->io.in_first_len = 1;
	tmf->io.direct = FE_IO_ALL_DIRECT;
	submit(fe, CONTROL, &tmf->io);
}

static void submit_writes(struct fe *fe, struct fe_scsi commands[COMMANDS], uint8_t data[][512])
{
	for (unsigned i = 0; i < COMMANDS; i++) {
		memset(data[i], (int)(0x40 + i), 512);
		fe_scsi_init_write(&commands[i], 0, 0, 100 + i, 1, data[i], 512);
		commands[i].header.tag = 1000 + i;
		submit(fe, REQUEST, &commands[i].io);
	}
}

static void no_call(struct server *server, void *arg)
{
}

static void lose_connection(struct server *server, struct fe *fe)
{
	fe_disconnect(fe);
	for (unsigned turn = 0; turn < 3; turn++) {
		usleep(1000);
		server_call(server, no_call, NULL);
	}
	held_bdev_release(server->disk);
	assert_true(server_await_idle(server));
}

static void finish_writes(struct fe *fe, struct fe_scsi commands[COMMANDS])
{
	for (unsigned i = 0; i < COMMANDS; i++) {
		struct fe_io *ended;

		assert_int_equal(fe_io_wait(fe->ring[REQUEST], &ended, 10000), 0);
	}
	assert_int_equal(fe->ring[REQUEST]->outstanding, 0);
	for (unsigned i = 0; i < COMMANDS; i++)
		assert_true(commands[i].io.done);
}

static void check_recovery(enum fe_order order)
{
	struct fe_scsi commands[COMMANDS];
	uint8_t data[COMMANDS][512];
	struct server server;
	struct fe_options options;
	struct tmf tmf;
	struct fe *fe;
	uint16_t used;

	server_start(&server, FE_BUS_SCSI);
	options = server_options(&server);
	options.order = order;
	options.notified = true;
	fe = server_open_with(&server, &options);
	check_io(fe, REQUEST, 1);
	used = fe_ring_peek_used_idx(fe->ring[REQUEST]);
	held_bdev_hold(server.disk);
	submit_writes(fe, commands, data);
	assert_true(held_bdev_await(server.disk, COMMANDS));
	submit_abort(fe, &tmf, commands[1].header.tag);
	usleep(50000); /* it waits for the disk */
	assert_false(fe_ring_ready(fe->ring[CONTROL]));
	lose_connection(&server, fe);

	held_bdev_hold(server.disk);
	assert_ok(fe, fe_reconnect(fe));
	/* The first of a new nexus meets a unit attention. */
	assert_true(held_bdev_await(server.disk, COMMANDS - 1));
	usleep(100000);
	assert_false(fe_ring_ready(fe->ring[CONTROL]));
	held_bdev_release(server.disk);
	finish(fe, CONTROL, &tmf.io);
	assert_int_equal(tmf.response, FE_SCSI_OK);
	assert_int_equal(fe_ring_peek_used_idx(fe->ring[REQUEST]), (uint16_t)(used + COMMANDS));
	finish_writes(fe, commands);
	for (unsigned i = 0; i < COMMANDS; i++) {
		assert_int_equal(commands[i].response.response, FE_SCSI_OK);
		assert_int_equal(commands[i].response.status, i == 0 ? 2 : 0);
		assert_int_equal(held_bdev_data(server.disk)[(100 + i) * 512], 0x40 + i);
	}
	check_io(fe, REQUEST, 2);
	server_close(fe);
	server_stop(&server);
}

/* QEMU 7.2's scsi does not connect again, but others may in its order; that it has a new region at
 * each start is left out. */
static void recovery(void **state)
{
	check_recovery(FE_QEMU_10);
	check_recovery(FE_CLOUD_HYPERVISOR);
}

static void resize(struct server *server, void *arg)
{
	bdev_set_size(held_bdev_bdev(server->disk), *(uint64_t *)arg);
}

/* A buffer that was taken and not given back is the first to be used. */
static void event_buffers(void **state)
{
	struct server server;
	struct fe_scsi_event event;
	uint64_t size = SERVER_DISK_BYTES / 2;
	uint8_t *region;
	struct fe *fe;

	server_start(&server, FE_BUS_SCSI);
	fe = server_open(&server);
	check_io(fe, REQUEST, 1);
	assert_int_equal(fe_scsi_post_events(fe->ring[EVENT], 2), 0);
	lose_connection(&server, fe);
	/* As if the back-end had died between taking the first buffer and giving it back. */
	region = fe->inflight.ptr + EVENT * fe_inflight_stride(fe, false);
	region[16 + 16 * fe->ring[EVENT]->avail->ring[0]] = 1;
	assert_ok(fe, fe_reconnect(fe));
	check_io(fe, REQUEST, 2); /* nobody waits for it */
	server_call(&server, resize, &size);
	assert_int_equal(fe_scsi_wait_event(fe->ring[EVENT], &event, true, 5000), 0);
	size = SERVER_DISK_BYTES;
	server_call(&server, resize, &size);
	assert_int_equal(fe_scsi_wait_event(fe->ring[EVENT], &event, true, 5000), 0);
	assert_int_equal(fe->ring[EVENT]->outstanding, 0);
	server_close(fe);
	server_stop(&server);
}

/* ---- a disk of two front-ends ------------------------------------------------------------ */

struct pair {
	struct server server;
	struct vhost_controller *controllers[2];
	char paths[2][64];
	struct fe_options options[2];
	struct fe *fe[2];
};

static void make_second(struct server *server, void *arg)
{
	const struct vhost_scsi_options scsi = {.name = "d"};

	assert_int_equal(vhost_scsi_create(server->vhost, &scsi, NULL, arg), 0);
}

static void add_second(struct server *server, void *arg, done_fn done, void *done_arg)
{
	vhost_scsi_add_target(arg, 0, VHOST_SCSI_LUN_UNSAID, "disk", NULL, done, done_arg);
}

static void pair_start(struct pair *pair)
{
	struct server *server = &pair->server;

	server_start(server, FE_BUS_SCSI);
	pair->controllers[0] = server->controller;
	server_call(server, make_second, &pair->controllers[1]);
	assert_int_equal(server_await(server, add_second, pair->controllers[1]), 0);
	for (unsigned i = 0; i < 2; i++) {
		snprintf(pair->paths[i], sizeof(pair->paths[i]), "%s/%c", server->dir, "cd"[i]);
		pair->options[i] = fe_options_default(FE_BUS_SCSI, pair->paths[i]);
		pair->options[i].order = FE_CLOUD_HYPERVISOR;
		pair->options[i].notified = true;
		pair->fe[i] = server_open_with(server, &pair->options[i]);
		check_io(pair->fe[i], REQUEST, 1);
	}
}

static void pair_lose(struct pair *pair)
{
	/* The second first: what it has in flight ends when it is gone. */
	for (unsigned i = 2; i-- > 0;) {
		pair->server.controller = pair->controllers[i];
		lose_connection(&pair->server, pair->fe[i]);
	}
	pair->server.controller = pair->controllers[0];
}

static void pair_end(struct pair *pair)
{
	for (unsigned i = 0; i < 2; i++) {
		check_io(pair->fe[i], REQUEST, 2);
		server_close(pair->fe[i]);
	}
	server_stop(&pair->server);
}

static void submit_probe(struct fe *fe, struct fe_scsi *probe)
{
	static const uint8_t test_unit_ready[6] = {0};

	fe_scsi_init(probe, 0, 0, test_unit_ready, 6, NULL, 0, NULL, 0);
	submit(fe, REQUEST, &probe->io);
}

/* The one that comes back first takes nothing new before the other has repeated its writes. */
static void shared_disk(void **state)
{
	struct fe_scsi commands[COMMANDS], probe;
	uint8_t data[COMMANDS][512];
	struct pair pair;

	pair_start(&pair);
	held_bdev_hold(pair.server.disk);
	submit_writes(pair.fe[1], commands, data);
	assert_true(held_bdev_await(pair.server.disk, COMMANDS));
	pair_lose(&pair);

	held_bdev_hold(pair.server.disk);
	assert_ok(pair.fe[0], fe_reconnect(pair.fe[0]));
	submit_probe(pair.fe[0], &probe);
	usleep(100000);
	assert_false(fe_ring_ready(pair.fe[0]->ring[REQUEST]));
	assert_ok(pair.fe[1], fe_reconnect(pair.fe[1]));
	/* The first of a new nexus meets a unit attention. */
	assert_true(held_bdev_await(pair.server.disk, COMMANDS - 1));
	usleep(3000000); /* longer than one that does not come is waited for */
	assert_false(fe_ring_ready(pair.fe[0]->ring[REQUEST]));
	held_bdev_release(pair.server.disk);
	finish_writes(pair.fe[1], commands);
	finish(pair.fe[0], REQUEST, &probe.io);
	pair_end(&pair);
}

/* Nothing says that it was there before the restart. */
static void shared_disk_of_one_that_does_not_come(void **state)
{
	struct fe_scsi probe;
	struct pair pair;
	uint64_t start;

	pair_start(&pair);
	pair_lose(&pair);
	assert_ok(pair.fe[0], fe_reconnect(pair.fe[0]));
	start = pair.server.os->ops->now_ns(pair.server.os);
	submit_probe(pair.fe[0], &probe);
	finish(pair.fe[0], REQUEST, &probe.io);
	assert_in_range(
		pair.server.os->ops->now_ns(pair.server.os) - start, 1 * SEC_NS, 4 * SEC_NS);
	assert_ok(pair.fe[1], fe_reconnect(pair.fe[1]));
	/* A pause and another start are no restart. */
	assert_ok(pair.fe[1], fe_stop(pair.fe[1]));
	fe_disconnect(pair.fe[1]);
	start = pair.server.os->ops->now_ns(pair.server.os);
	assert_ok(pair.fe[0], fe_stop(pair.fe[0]));
	assert_ok(pair.fe[0], fe_start(pair.fe[0]));
	check_io(pair.fe[0], REQUEST, 1);
	assert_true(pair.server.os->ops->now_ns(pair.server.os) - start < 1 * SEC_NS);
	assert_ok(pair.fe[1], fe_reconnect(pair.fe[1]));
	pair_end(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"11.4 commands are repeated before the task management that aborts them", recovery,
			NULL, NULL, NULL},
		{"11.4 a disk of two front-ends takes nothing new until both have repeated",
			shared_disk, NULL, NULL, NULL},
		{"11.4 a front-end that does not come is not waited for long",
			shared_disk_of_one_that_does_not_come, NULL, NULL, NULL},
		{"11.4 an event buffer in flight is available again", event_buffers, NULL, NULL,
			NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
