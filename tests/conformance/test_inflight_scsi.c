/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Recovery of virtio-scsi (reference 11.4): commands are repeated before task management, whose
 * answer says that what it aborts will not happen any more; event buffers are buffers again.
 */
#include <setjmp.h>
#include <stdarg.h>
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"11.4 commands are repeated before the task management that aborts them", recovery,
			NULL, NULL, NULL},
		{"11.4 an event buffer in flight is available again", event_buffers, NULL, NULL,
			NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
