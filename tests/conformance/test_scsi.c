/* SPDX-License-Identifier: BSD-2-Clause */
/* Conformance checklist, items 58 to 60, for scsi: reference section 16. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance/server.h"

#define CONTROL FE_SCSI_RING_CONTROL
#define EVENT   FE_SCSI_RING_EVENT
#define REQUEST FE_SCSI_RING_REQUEST

#define GOOD            0x00
#define CHECK_CONDITION 0x02

static const uint8_t inquiry[6] = {0x12, 0, 0, 0, 96, 0};
static const uint8_t test_unit_ready[6] = {0};
static const uint8_t report_luns[12] = {0xa0, [8] = 1};

static struct fe *open_device(struct server *server)
{
	struct fe *fe = server_open(server);

	check_io(fe, REQUEST, 1); /* takes the first unit attention */
	return fe;
}

static void run(struct fe *fe, struct fe_scsi *request)
{
	assert_ok(fe, fe_scsi_run(fe->ring[REQUEST], request, 5000));
}

/* ---- 58 ---------------------------------------------------------------------------------- */

static void item_58(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_scsi request;
	uint8_t data[256];

	server_start(&server, FE_BUS_SCSI);
	fe = open_device(&server);
	for (unsigned target = 1; target < 256; target++) {
		fe_scsi_init(&request, (uint8_t)target, 0, inquiry, 6, NULL, 0, data, 96);
		run(fe, &request);
		assert_int_equal(request.response.response, FE_SCSI_BAD_TARGET);
	}
	/* An address that begins with neither 1 nor a well-known LUN. */
	fe_scsi_init(&request, 0, 0, inquiry, 6, NULL, 0, data, 96);
	request.header.lun[0] = 2;
	run(fe, &request);
	assert_int_equal(request.response.response, FE_SCSI_BAD_TARGET);
	/* Absent LUNs: INQUIRY says so, REPORT LUNS works, all else 05h/25h. */
	fe_scsi_init(&request, 0, 5, inquiry, 6, NULL, 0, data, 96);
	run(fe, &request);
	assert_int_equal(request.response.response, FE_SCSI_OK);
	assert_int_equal(request.response.status, GOOD);
	assert_int_equal(data[0], 0x7f);
	fe_scsi_init(&request, 0, 5, report_luns, 12, NULL, 0, data, 256);
	run(fe, &request);
	assert_int_equal(request.response.status, GOOD);
	assert_int_equal(data[3], 8);
	fe_scsi_init(&request, 0, 5, test_unit_ready, 6, NULL, 0, NULL, 0);
	run(fe, &request);
	assert_int_equal(request.response.status, CHECK_CONDITION);
	assert_int_equal(fe_scsi_sense(&request.response), 0x052500);
	/* Both methods of addressing reach LUN 0. */
	for (unsigned method = 0; method <= 0x40; method += 0x40) {
		fe_scsi_init(&request, 0, 0, inquiry, 6, NULL, 0, data, 96);
		request.header.lun[2] = (uint8_t)method;
		run(fe, &request);
		assert_int_equal(request.response.response, FE_SCSI_OK);
		assert_int_equal(data[0], 0);
	}
	server_close(fe);
	server_stop(&server);
}

static void add_target_7(struct server *server, void *arg, done_fn done, void *done_arg)
{
	vhost_scsi_add_target(
		server->controller, 7, VHOST_SCSI_LUN_UNSAID, "disk", NULL, done, done_arg);
}

static void remove_target_7(struct server *server, void *arg, done_fn done, void *done_arg)
{
	vhost_scsi_remove_target(
		server->controller, 7, VHOST_SCSI_LUN_UNSAID, NULL, done, done_arg);
}

static void check_event(struct fe *fe, uint32_t reason)
{
	struct fe_scsi_event event;
	struct fe_scsi request;
	uint8_t data[256];

	assert_int_equal(fe_scsi_wait_event(fe->ring[EVENT], &event, false, 5000), 0);
	assert_int_equal(event.event, FE_EVENT_TRANSPORT_RESET);
	assert_int_equal(event.reason, reason);
	assert_int_equal(event.lun[0], 1);
	assert_int_equal(event.lun[1], 7);
	if (reason != 1)
		return;
	/* As REPORT LUNS has it: Linux takes the bytes as they are. */
	fe_scsi_init(&request, 7, 0, report_luns, 12, NULL, 0, data, 256);
	run(fe, &request);
	assert_int_equal(request.response.status, GOOD);
	assert_memory_equal(event.lun + 2, data + 8, 2);
}

static void item_58_events(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_scsi request;
	uint8_t data[96];

	server_start(&server, FE_BUS_SCSI);
	fe = open_device(&server);
	assert_int_equal(fe_scsi_post_events(fe->ring[EVENT], 4), 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(server_await(&server, add_target_7, NULL), 7);
		check_event(fe, 1);
		assert_int_equal(server_await(&server, remove_target_7, NULL), 0);
		check_event(fe, 2);
		fe_scsi_init(&request, 7, 0, inquiry, 6, NULL, 0, data, 96);
		run(fe, &request);
		assert_int_equal(request.response.response, FE_SCSI_BAD_TARGET);
	}
	server_close(fe);
	server_stop(&server);
}

/* With no buffer posted the next event says that one was missed (16.7; item 57 has it in a
 * guest). */
static void missed_events(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_scsi_event event;
	bool missed = false;

	server_start(&server, FE_BUS_SCSI);
	fe = open_device(&server);
	for (unsigned i = 0; i < 20; i++) { /* more than are kept */
		assert_int_equal(server_await(&server, add_target_7, NULL), 7);
		assert_int_equal(server_await(&server, remove_target_7, NULL), 0);
	}
	assert_int_equal(fe_scsi_post_events(fe->ring[EVENT], 8), 0);
	fe_ring_kick_always(fe->ring[EVENT]);
	assert_int_equal(server_await(&server, add_target_7, NULL), 7);
	while (!missed && fe_scsi_wait_event(fe->ring[EVENT], &event, false, 1000) == 0)
		missed = event.event & FE_EVENT_MISSED;
	assert_true(missed);
	server_close(fe);
	server_stop(&server);
}

/* ---- 59 ---------------------------------------------------------------------------------- */

/* Puts a TMF on the control ring without waiting for it. */
struct tmf {
	struct fe_io io;
	struct fe_tmf request;
	uint8_t response;
};

static void submit_tmf(struct fe *fe, struct tmf *tmf, uint32_t subtype, uint64_t tag)
{
	memset(tmf, 0, sizeof(*tmf));
	tmf->request.subtype = subtype;
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

static void check_tmf(struct server *server, struct fe *fe, uint32_t subtype)
{
	static uint8_t data[3][4096];
	struct fe_scsi requests[3];
	struct tmf tmf;

	held_bdev_hold(server->disk);
	for (unsigned i = 0; i < 3; i++) {
		fe_scsi_init_read(&requests[i], 0, 0, i * 8, 8, data[i], 4096);
		submit(fe, REQUEST, &requests[i].io);
	}
	assert_true(held_bdev_await(server->disk, 3));
	submit_tmf(fe, &tmf, subtype, requests[1].header.tag);
	usleep(50000);
	/* The storage still has them: no answer yet. */
	assert_false(fe_ring_ready(fe->ring[CONTROL]));
	held_bdev_release(server->disk);
	finish(fe, CONTROL, &tmf.io);
	assert_int_equal(tmf.response, FE_SCSI_OK);
	/* Here the affected commands are in the used ring already. */
	if (subtype != FE_TMF_ABORT_TASK)
		assert_int_equal(
			fe_ring_peek_used_idx(fe->ring[REQUEST]), fe->ring[REQUEST]->published_idx);
	for (unsigned i = 0; i < 3; i++) {
		struct fe_io *io;

		if (subtype == FE_TMF_ABORT_TASK)
			assert_int_equal(fe_io_wait(fe->ring[REQUEST], &io, 5000), 0);
		else
			assert_int_equal(fe_io_reap(fe->ring[REQUEST], &io), 1);
	}
	for (unsigned i = 0; i < 3; i++) {
		uint8_t response = requests[i].response.response;

		assert_true(response == FE_SCSI_OK || response == FE_SCSI_ABORTED ||
			    response == FE_SCSI_RESET);
	}
	/* A reset leaves a unit attention. */
	check_io(fe, REQUEST, 1);
}

static void item_59(void **state)
{
	struct server server;
	struct fe *fe;
	uint8_t lun[8];

	server_start(&server, FE_BUS_SCSI);
	fe = open_device(&server);
	check_tmf(&server, fe, FE_TMF_ABORT_TASK);
	check_tmf(&server, fe, FE_TMF_ABORT_TASK_SET);
	check_tmf(&server, fe, FE_TMF_CLEAR_TASK_SET);
	check_tmf(&server, fe, FE_TMF_LOGICAL_UNIT_RESET);
	check_tmf(&server, fe, FE_TMF_I_T_NEXUS_RESET);
	fe_scsi_lun(lun, 0, 0);
	/* Nothing to abort, nothing to find. */
	assert_int_equal(
		fe_scsi_tmf(fe->ring[CONTROL], FE_TMF_ABORT_TASK, lun, 1, 5000), FE_SCSI_OK);
	assert_int_equal(
		fe_scsi_tmf(fe->ring[CONTROL], FE_TMF_QUERY_TASK, lun, 1, 5000), FE_SCSI_OK);
	fe_scsi_lun(lun, 9, 0);
	assert_int_equal(fe_scsi_tmf(fe->ring[CONTROL], FE_TMF_ABORT_TASK_SET, lun, 0, 5000),
		FE_SCSI_BAD_TARGET);
	/* Nobody uses it; it is answered in five bytes. */
	{
		struct fe_an_answer answer;
		uint32_t used;

		fe_scsi_lun(lun, 0, 0);
		assert_int_equal(fe_scsi_an(fe->ring[CONTROL], FE_CONTROL_AN_QUERY, lun, 0xff,
					 &answer, &used, 5000),
			0);
		assert_int_equal(used, 5);
		assert_int_equal(answer.events, 0);
		assert_int_equal(answer.response, FE_SCSI_OK);
	}
	server_close(fe);
	server_stop(&server);
}

static void query_task(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_scsi request;
	uint8_t data[512], lun[8];

	server_start(&server, FE_BUS_SCSI);
	fe = open_device(&server);
	held_bdev_hold(server.disk);
	fe_scsi_init_read(&request, 0, 0, 0, 1, data, sizeof(data));
	submit(fe, REQUEST, &request.io);
	assert_true(held_bdev_await(server.disk, 1));
	fe_scsi_lun(lun, 0, 0);
	assert_int_equal(
		fe_scsi_tmf(fe->ring[CONTROL], FE_TMF_QUERY_TASK, lun, request.header.tag, 5000),
		FE_TMF_SUCCEEDED);
	assert_int_equal(fe_scsi_tmf(fe->ring[CONTROL], FE_TMF_QUERY_TASK_SET, lun, 0, 5000),
		FE_TMF_SUCCEEDED);
	held_bdev_release(server.disk);
	finish(fe, REQUEST, &request.io);
	server_close(fe);
	server_stop(&server);
}

/* ---- 60 ---------------------------------------------------------------------------------- */

/* Runs the command twice over memory filled with different patterns: a byte that nobody wrote, or
 * that was not initialised, differs or changes. */
static void check_response(struct fe *fe, const uint8_t *cdb, uint32_t cdb_len, uint32_t buffer,
	uint32_t expect_moved, uint8_t expect_status)
{
	uint8_t data[2][4096];
	struct fe_scsi request[2];

	for (unsigned i = 0; i < 2; i++) {
		memset(data[i], 0, sizeof(data[i]));
		fe_scsi_init(&request[i], 0, 0, cdb, cdb_len, NULL, 0, data[i], buffer);
		request[i].io.fill = i ? 0xff : 0x11;
		run(fe, &request[i]);
		assert_int_equal(request[i].response.response, FE_SCSI_OK);
		assert_int_equal(request[i].response.status, expect_status);
		assert_int_equal(request[i].response.residual, buffer - expect_moved);
		assert_int_equal(request[i].io.used_len, 108 + expect_moved);
		assert_int_equal(request[i].io.stray, 0);
		/* What was not moved was left alone. */
		for (uint32_t at = expect_moved; at < buffer; at++)
			assert_int_equal(data[i][at], i ? 0xff : 0x11);
		assert_in_range(request[i].response.sense_len, 0, 96);
		for (uint32_t at = request[i].response.sense_len; at < 96; at++)
			assert_int_equal(request[i].response.sense[at], 0);
	}
	assert_memory_equal(data[0], data[1], expect_moved);
	assert_memory_equal(
		&request[0].response, &request[1].response, sizeof(request[0].response));
}

static void item_60(void **state)
{
	static const uint8_t lengths[] = {0, 4, 5, 35, 36, 96, 255};
	struct server server;
	struct fe *fe;
	struct fe_scsi request;
	uint8_t data[4096];

	server_start(&server, FE_BUS_SCSI);
	fe = open_device(&server);
	for (unsigned i = 0; i < ARRAY_SIZE(lengths); i++) {
		uint8_t cdb[6] = {0x12, 0, 0, 0, lengths[i], 0};
		uint32_t whole;

		/* How long the answer is. */
		fe_scsi_init(&request, 0, 0, (const uint8_t[]){0x12, 0, 0, 1, 0, 0}, 6, NULL, 0,
			data, 256);
		run(fe, &request);
		whole = 256 - request.response.residual;
		assert_in_range(whole, 36, 256);
		check_response(fe, cdb, 6, 260, whole < lengths[i] ? whole : lengths[i], GOOD);
		/* A buffer below the allocation length. */
		if (lengths[i] > 36) {
			fe_scsi_init(&request, 0, 0, cdb, 6, NULL, 0, data, 36);
			run(fe, &request);
			assert_int_equal(request.io.used_len, 108 + 36);
			assert_int_equal(request.response.residual, 0);
		}
	}
	/* VPD 00 as OVMF asks for it: 255 into 260. */
	fe_scsi_init(
		&request, 0, 0, (const uint8_t[]){0x12, 1, 0, 0, 255, 0}, 6, NULL, 0, data, 260);
	run(fe, &request);
	assert_int_equal(request.response.status, GOOD);
	assert_int_equal(request.response.residual, 260 - (4 + data[3]));
	check_response(fe, (const uint8_t[]){0x12, 1, 0, 0, 255, 0}, 6, 260, 4 + data[3], GOOD);
	/* READ CAPACITY 10 and 16, REQUEST SENSE, TEST UNIT READY. */
	check_response(fe, (const uint8_t[]){0x25, [9] = 0}, 10, 8, 8, GOOD);
	check_response(fe, (const uint8_t[]){0x9e, 0x10, [13] = 32, [15] = 0}, 16, 32, 32, GOOD);
	check_response(fe, test_unit_ready, 6, 0, 0, GOOD);
	/* Errors carry sense, and move nothing. */
	check_response(fe, (const uint8_t[]){0xff, [9] = 0}, 10, 64, 0, CHECK_CONDITION);
	fe_scsi_init(&request, 0, 0, (const uint8_t[]){0xff, [9] = 0}, 10, NULL, 0, data, 64);
	run(fe, &request);
	assert_int_equal(fe_scsi_sense(&request.response), 0x052000);
	/* Past the end. */
	fe_scsi_init_read(&request, 0, 0, SERVER_DISK_BYTES / 512, 1, data, 512);
	run(fe, &request);
	assert_int_equal(request.response.status, CHECK_CONDITION);
	assert_int_equal(fe_scsi_sense(&request.response), 0x052100);
	assert_int_equal(request.response.residual, 512);
	/* A read into a buffer that is larger, and one that is smaller, than asked for. */
	memset(held_bdev_data(server.disk), 0x66, 4096);
	fe_scsi_init_read(&request, 0, 0, 0, 1, data, 1024);
	run(fe, &request);
	assert_int_equal(request.response.response, FE_SCSI_OK);
	assert_int_equal(request.response.residual, 512);
	assert_int_equal(request.io.used_len, 108 + 512);
	fe_scsi_init_read(&request, 0, 0, 0, 2, data, 512);
	run(fe, &request);
	assert_int_equal(request.response.response, FE_SCSI_OVERRUN);
	assert_int_equal(request.io.stray, 0);
	server_close(fe);
	server_stop(&server);
}

/* 16.3: too short to be answered. */
static void short_chain(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_scsi request;
	uint8_t data[96];

	server_start(&server, FE_BUS_SCSI);
	fe = open_device(&server);
	fe_scsi_init(&request, 0, 0, inquiry, 6, NULL, 0, data, 96);
	request.io.head_len = 50;
	submit(fe, REQUEST, &request.io);
	assert_int_equal(fe_eventfd_wait(fe->err_fd[REQUEST], 5000), 0);
	usleep(5000);
	assert_int_equal(fe_eventfd_drain(fe->err_fd[REQUEST]), 1);
	assert_ok(fe, fe_stop_ring(fe, REQUEST));
	fe_io_drop(fe->ring[REQUEST], &request.io);
	fe_ring_reset(fe->ring[REQUEST]);
	fe->base[REQUEST] = 0;
	assert_ok(fe, fe_setup_ring(fe, REQUEST));
	check_io(fe, REQUEST, 3);
	server_close(fe);
	server_stop(&server);
}

/* ---- who starts ---------------------------------------------------------------------------- */

static uint8_t first_status(struct fe *fe)
{
	struct fe_scsi request;

	fe_scsi_init(&request, 0, 0, test_unit_ready, 6, NULL, 0, NULL, 0);
	run(fe, &request);
	return request.response.status;
}

/* Rings one by one, each enabled before the next is told of; the control ring was never used. */
static void the_same_driver_goes_on(void **state)
{
	static const enum fe_order orders[] = {FE_CLOUD_HYPERVISOR, FE_LIBBLKIO, FE_QEMU_10};

	for (unsigned i = 0; i < ARRAY_SIZE(orders); i++) {
		struct fe_options options;
		struct server server;
		struct fe *fe;

		server_start(&server, FE_BUS_SCSI);
		options = server_options(&server);
		options.order = orders[i];
		fe = server_open_with(&server, &options);
		check_io(fe, REQUEST, 1);
		for (unsigned round = 0; round < 3; round++) {
			assert_ok(fe, fe_stop(fe));
			assert_ok(fe, fe_start(fe));
			assert_int_equal(first_status(fe), GOOD);
			check_io(fe, REQUEST, 1);
		}
		server_close(fe);
		server_stop(&server);
	}
}

/* Nobody tells of the reset, and the first ring to start was never used. */
static void another_driver_starts_anew(void **state)
{
	static const enum fe_order orders[] = {FE_CLOUD_HYPERVISOR, FE_LIBBLKIO, FE_QEMU_7_2};

	for (unsigned i = 0; i < ARRAY_SIZE(orders); i++) {
		struct fe_options options;
		struct server server;
		struct fe *fe;

		server_start(&server, FE_BUS_SCSI);
		options = server_options(&server);
		options.order = orders[i];
		fe = server_open_with(&server, &options);
		check_io(fe, REQUEST, 1);
		for (unsigned round = 0; round < 3; round++) {
			assert_ok(fe, fe_stop(fe));
			for (unsigned ring = 0; ring < fe->ring_count; ring++) {
				if (!fe->ring[ring])
					continue;
				fe_ring_reset(fe->ring[ring]);
				fe->base[ring] = 0;
			}
			assert_ok(fe, fe_start(fe));
			assert_int_equal(first_status(fe), CHECK_CONDITION);
			assert_int_equal(first_status(fe), GOOD);
			check_io(fe, REQUEST, 1);
		}
		server_close(fe);
		server_stop(&server);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"24.58 absent targets and LUNs are answered, both LUN methods accepted", item_58,
			NULL, NULL, NULL},
		{"24.58 the LUN bytes of an event equal those of REPORT LUNS", item_58_events, NULL,
			NULL, NULL},
		{"16.7 an event after lost ones carries MISSED", missed_events, NULL, NULL, NULL},
		{"24.59 a TMF is answered after all commands that it affects", item_59, NULL, NULL,
			NULL},
		{"16.6 QUERY TASK finds what is in flight", query_task, NULL, NULL, NULL},
		{"24.60 residual, used length, sense and allocation length are right", item_60,
			NULL, NULL, NULL},
		{"7.5 a driver that goes on is not taken for a new one, however rings start",
			the_same_driver_goes_on, NULL, NULL, NULL},
		{"7.5 a new driver is known whichever of its rings starts first",
			another_driver_starts_anew, NULL, NULL, NULL},
		{"16.3 a chain too short to be answered breaks its ring", short_chain, NULL, NULL,
			NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
