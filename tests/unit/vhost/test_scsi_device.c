/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtio-scsi device: requests in any layout, task management across reactors, events, claims,
 * and targets that come and go while rings do.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scsi_device_world.h"

#define BLOCK            512
#define INQUIRY          0x12
#define TEST_UNIT_READY  0x00
#define POWER_ON         0x06290000
#define BAD_TARGET       3
#define EVENT_RESCAN     1
#define EVENT_REMOVED    2
#define CAPACITY_CHANGED 0x092a

static struct device_world dw;

static int setup(void **state)
{
	dw_start(&dw, 1);
	return 0;
}

static int teardown(void **state)
{
	dw_halt_all(&dw);
	dw_end(&dw);
	return 0;
}

/* A target that has told of its power-on. */
static void add_ready(unsigned target, unsigned disk)
{
	assert_int_equal(dw_add(&dw, target, disk), 0);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, (uint8_t)target), POWER_ON);
}

/* ---- requests ---------------------------------------------------------------------------- */

static void requests_may_be_cut_at_any_byte(void **state)
{
	static uint8_t out[2 * BLOCK], in[2 * BLOCK];
	struct fe_scsi request;

	dw_run_all(&dw);
	add_ready(0, 0);
	for (uint32_t cut = 1; cut < 120; cut++) {
		const uint32_t cuts[2] = {cut, 13};

		memset(out, (int)cut, sizeof(out));
		fe_scsi_init_write(&request, 0, 0, cut, 2, out, sizeof(out));
		request.io.out_cuts = cuts;
		request.io.out_cut_count = 1 + cut % 2;
		request.io.in_cuts = cuts;
		request.io.in_cut_count = cut < 108 ? 1 : 0;
		dw_run(&dw, 2, &request.io);
		assert_int_equal(request.response.response, 0);
		assert_int_equal(request.io.used_len, 108);
		assert_memory_equal(dw.disks[0].bytes + cut * BLOCK, out, sizeof(out));

		fe_scsi_init_read(&request, 0, 0, cut, 2, in, sizeof(in));
		request.io.in_cuts = cuts;
		request.io.in_cut_count = 1 + cut % 2;
		request.io.out_cuts = cuts;
		request.io.out_cut_count = cut < 51 ? 1 : 0;
		dw_run(&dw, 2, &request.io);
		assert_int_equal(request.response.response, 0);
		assert_int_equal(request.response.residual, 0);
		assert_int_equal(request.io.used_len, 108 + sizeof(in));
		assert_memory_equal(in, out, sizeof(in));
	}
}

static void responses_are_whole_whatever_their_layout(void **state)
{
	static const struct fe_scsi_response zero;
	static const uint32_t cuts[] = {1, 10, 11, 12, 50, 107};
	struct fe_scsi request;
	uint8_t cdb[6] = {0xff}, in[40];

	dw_run_all(&dw);
	add_ready(0, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cuts); i++) {
		fe_scsi_init(&request, 0, 0, cdb, sizeof(cdb), NULL, 0, in, sizeof(in));
		request.io.in_cuts = &cuts[i];
		request.io.in_cut_count = 1;
		dw_run(&dw, 2, &request.io);
		assert_int_equal(fe_scsi_sense(&request.response), 0x052000);
		assert_int_equal(request.response.residual, sizeof(in));
		assert_int_equal(request.response.sense_len, 18);
		assert_memory_equal(request.response.sense + 18, zero.sense + 18, 96 - 18);
		assert_int_equal(request.io.used_len, 108);
	}
}

static void addresses_are_parsed_by_the_rules(void **state)
{
	static const struct {
		uint8_t lun[8];
		uint8_t response;
		uint32_t sense;
	} cases[] = {
		{{1, 5, 0, 0}, 0, 0},
		{{1, 5, 0x40, 0}, 0, 0},
		{{1, 4, 0, 0}, 3, 0},
		{{1, 5, 0, 1}, 0, 0x052500},
		{{1, 5, 0x7f, 0xff}, 0, 0x052500},
		{{1, 5, 0x80, 0}, 12, 0},
		{{1, 5, 0xc1, 1}, 12, 0},
		{{1, 5, 0, 0, 1}, 12, 0},
		{{1, 5, 0, 0, 0, 0, 0, 1}, 12, 0},
		{{0, 5, 0, 0}, 3, 0},
		{{2, 5, 0, 0, 0, 0, 0, 1}, 3, 0},
		{{0xc1, 1}, 0, 0},
		{{0xc1, 2}, 12, 0},
		{{0xc1, 1, 0, 1}, 12, 0},
	};
	const uint8_t cdb[6] = {TEST_UNIT_READY};

	dw_run_all(&dw);
	add_ready(5, 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fe_scsi request;

		fe_scsi_init(&request, 5, 0, cdb, sizeof(cdb), NULL, 0, NULL, 0);
		memcpy(request.header.lun, cases[i].lun, 8);
		dw_run(&dw, 2, &request.io);
		assert_int_equal(request.response.response, cases[i].response);
		assert_int_equal(fe_scsi_sense(&request.response), cases[i].sense);
	}
}

static void the_well_known_unit_lists_all_targets(void **state)
{
	static const uint8_t expected[] = {
		0, 0, 0, 16, 0, 0, 0, 0, 1, 5, 0, 0, 0, 0, 0, 0, 1, 200, 0, 0, 0, 0, 0, 0};
	const uint8_t cdb[12] = {0xa0, 0, 0, 0, 0, 0, 0, 0, 1, 0};
	struct fe_scsi request;
	uint8_t in[256];

	dw_run_all(&dw);
	add_ready(5, 0);
	add_ready(200, 1);
	fe_scsi_init(&request, 0, 0, cdb, sizeof(cdb), NULL, 0, in, sizeof(in));
	memcpy(request.header.lun, "\xc1\x01\0\0\0\0\0\0", 8);
	dw_run(&dw, 2, &request.io);
	assert_int_equal(request.response.response, 0);
	assert_int_equal(request.io.used_len, 108 + sizeof(expected));
	assert_memory_equal(in, expected, sizeof(expected));
}

static void data_outside_memory_is_a_failure_and_only_that(void **state)
{
	struct fe_scsi_header header = {.lun = {1, 0}};
	uint8_t *mine = fe_memory_alloc(&dw.memory, 4096, 64);
	struct fe_segment segments[] = {
		{fe_memory_gpa(&dw.memory, mine), 51, false},
		{fe_memory_gpa(&dw.memory, mine) + 1024, 108, true},
		{UINT64_C(0x7000000000), BLOCK, true},
	};
	const struct fe_chain chain = {
		.segments = segments, .count = 3, .direct = 3, .token = &header};
	const struct fe_scsi_response *response = (void *)(mine + 1024);
	struct fe_completion completion;

	dw_run_all(&dw);
	add_ready(0, 0);
	header.cdb[0] = 0x28;
	header.cdb[8] = 1;
	memcpy(mine, &header, sizeof(header));
	memset(mine + 1024, 0xee, 108);
	assert_int_equal(fe_ring_add(dw.rings[2].driver, &chain, NULL), 0);
	dw_publish(&dw, 2);
	host_sleep(&dw.world.host, MSEC_NS);
	assert_int_equal(fe_ring_pop(dw.rings[2].driver, &completion), 1);
	assert_int_equal(completion.len, 108);
	assert_int_equal(response->response, 9);
	assert_int_equal(response->sense_len, 0);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 0), 0);
	fe_memory_free(&dw.memory, mine);
}

/* As vioscsi sends it: a buffer of 512 pages that begins within a page is 513 segments, with header
 * and response in an indirect table that is much longer than the ring. The device had said 126. */
static void more_segments_than_the_device_says_are_served(void **state)
{
	static uint8_t data[256 * BLOCK], back[256 * BLOCK];
	static uint32_t cuts[513];
	struct fe_scsi request;

	dw_run_all(&dw);
	add_ready(0, 0);
	for (unsigned i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	for (unsigned i = 1; i < ARRAY_SIZE(cuts); i++)
		cuts[i] = sizeof(data) / 512 - (i == 1 ? 100 : 0);
	cuts[0] = sizeof(request.header);
	fe_scsi_init_write(&request, 0, 0, 0, 256, data, sizeof(data));
	request.io.out_cuts = cuts;
	request.io.out_cut_count = ARRAY_SIZE(cuts);
	request.io.direct = 0;
	dw_run(&dw, 2, &request.io);
	assert_int_equal(request.response.response, 0);
	assert_int_equal(request.response.residual, 0);

	cuts[0] = sizeof(request.response);
	fe_scsi_init_read(&request, 0, 0, 0, 256, back, sizeof(back));
	request.io.in_cuts = cuts;
	request.io.in_cut_count = ARRAY_SIZE(cuts);
	request.io.direct = 0;
	dw_run(&dw, 2, &request.io);
	assert_int_equal(request.response.response, 0);
	assert_int_equal(request.io.used_len, 108 + sizeof(back));
	assert_memory_equal(back, data, sizeof(data));
	assert_true(dw.disks[0].iovcnt_max >= 513);
}

/* ---- task management --------------------------------------------------------------------- */

static void hold_read(struct fe_scsi *request, unsigned ring, uint8_t target, uint8_t *in)
{
	unsigned held = atomic_load(&dw.disks[0].held_count);

	atomic_store(&dw.disks[0].hold, true);
	fe_scsi_init_read(request, target, 0, 1, 1, in, BLOCK);
	dw_submit(&dw, ring, &request->io);
	disk_wait_held(&dw.world, &dw.disks[0], held + 1);
}

static void release_all(void)
{
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		disk_release(&dw.world, &dw.disks[0], dw.world.data[i]);
}

static void a_reset_waits_for_commands_on_every_reactor_and_for_no_other_unit(void **state)
{
	struct fe_scsi requests[3];
	struct dw_tmf tmf;
	uint8_t in[3][BLOCK];

	dw_run_all(&dw);
	add_ready(0, 0);
	add_ready(1, 1);
	for (unsigned i = 0; i < 3; i++)
		hold_read(&requests[i], 2 + i, 0, in[i]);
	dw_tmf_begin(&dw, &tmf, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0, 0, 0);
	host_sleep(&dw.world.host, 5 * MSEC_NS);
	assert_false(fe_ring_ready(dw.rings[0].driver));
	assert_int_equal(dw_probe(&dw, 3, TEST_UNIT_READY, 1), 0); /* other units go on */
	assert_int_equal(dw_tmf(&dw, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 1, 0), 0);
	release_all();
	dw_finish(&dw, 0, &tmf.io);
	assert_int_equal(tmf.response, 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_true(fe_ring_ready(dw.rings[2 + i].driver)); /* before the answer */
		dw_finish(&dw, 2 + i, &requests[i].io);
		assert_int_equal(requests[i].response.response, VIRTIO_SCSI_S_RESET);
	}
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 0), 0x06290300);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 0), 0);
}

static void commands_not_yet_fetched_are_aborted_too(void **state)
{
	struct fe_scsi request;
	struct dw_tmf tmf;
	uint8_t in[BLOCK];

	dw_run_all(&dw);
	add_ready(0, 0);
	for (unsigned i = 0; i < 200; i++) {
		/* In the ring, and then the abort: in that order, but no kick for the first. */
		fe_scsi_init_read(&request, 0, 0, 1, 1, in, BLOCK);
		atomic_store(&dw.disks[0].hold, true);
		assert_int_equal(fe_io_submit(dw.rings[3].driver, &request.io), 0);
		fe_ring_publish(dw.rings[3].driver);
		dw_tmf_begin(&dw, &tmf, VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, 0, request.header.tag);
		disk_wait_held(&dw.world, &dw.disks[0], 1);
		release_all();
		dw_finish(&dw, 0, &tmf.io);
		assert_int_equal(tmf.response, 0);
		assert_true(fe_ring_ready(dw.rings[3].driver));
		dw_finish(&dw, 3, &request.io);
	}
}

static void every_function_has_its_answer(void **state)
{
	struct fe_scsi request;
	struct dw_tmf tmf;
	uint8_t in[BLOCK];

	dw_run_all(&dw);
	add_ready(0, 0);
	hold_read(&request, 3, 0, in);
	assert_int_equal(dw_tmf(&dw, VIRTIO_SCSI_T_TMF_QUERY_TASK, 0, request.header.tag), 10);
	assert_int_equal(dw_tmf(&dw, VIRTIO_SCSI_T_TMF_QUERY_TASK, 0, request.header.tag + 1), 0);
	assert_int_equal(dw_tmf(&dw, VIRTIO_SCSI_T_TMF_QUERY_TASK_SET, 0, 0), 10);
	assert_int_equal(dw_tmf(&dw, VIRTIO_SCSI_T_TMF_ABORT_TASK, 0, request.header.tag + 1), 0);
	assert_int_equal(dw_tmf(&dw, VIRTIO_SCSI_T_TMF_CLEAR_ACA, 0, 0), 0);
	assert_int_equal(dw_tmf(&dw, 8, 0, 0), VIRTIO_SCSI_S_FUNCTION_REJECTED);
	assert_int_equal(
		dw_tmf(&dw, VIRTIO_SCSI_T_TMF_ABORT_TASK_SET, 9, 0), VIRTIO_SCSI_S_BAD_TARGET);
	assert_int_equal(
		dw_tmf(&dw, VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 9, 0), VIRTIO_SCSI_S_BAD_TARGET);
	assert_false(request.io.done);

	dw_tmf_begin(&dw, &tmf, VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 0, 0, 0);
	host_sleep(&dw.world.host, MSEC_NS);
	release_all();
	dw_finish(&dw, 0, &tmf.io);
	assert_int_equal(tmf.response, 0);
	dw_finish(&dw, 3, &request.io);
	assert_int_equal(request.response.response, VIRTIO_SCSI_S_RESET);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 0), 0x06290700);
	assert_int_equal(dw_tmf(&dw, VIRTIO_SCSI_T_TMF_QUERY_TASK_SET, 0, 0), 0);
}

static void a_wrong_lun_is_told_by_the_control_queue(void **state)
{
	struct dw_tmf tmf;

	dw_run_all(&dw);
	add_ready(0, 0);
	memset(&tmf, 0, sizeof(tmf));
	tmf.request.subtype = VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET;
	fe_scsi_lun(tmf.request.lun, 0, 3);
	tmf.io.head = &tmf.request;
	tmf.io.head_len = sizeof(tmf.request);
	tmf.io.in_first = &tmf.response;
	tmf.io.in_first_len = 1;
	tmf.io.direct = FE_IO_ALL_DIRECT;
	dw_run(&dw, 0, &tmf.io);
	assert_int_equal(tmf.response, VIRTIO_SCSI_S_INCORRECT_LUN);
	fe_scsi_lun(tmf.request.lun, 0, 0);
	tmf.request.lun[2] = 0x80;
	dw_run(&dw, 0, &tmf.io);
	assert_int_equal(tmf.response, VIRTIO_SCSI_S_INCORRECT_LUN);
}

static void control_run(
	const void *head, uint32_t head_len, uint8_t *in, uint32_t in_len, uint32_t used_len)
{
	struct fe_io io = {.head = head,
		.head_len = head_len,
		.in_first = in,
		.in_first_len = in_len,
		.direct = FE_IO_ALL_DIRECT,
		.fill = 0xee};

	dw_run(&dw, 0, &io);
	assert_int_equal(io.used_len, used_len);
}

static void notification_is_answered_and_the_unknown_refused(void **state)
{
	struct fe_an an = {.type = VIRTIO_SCSI_T_AN_SUBSCRIBE, .lun = {1, 4}, .events = 0xffff};
	const uint32_t unknown = 77;
	uint8_t in[9];

	dw_run_all(&dw);
	control_run(&an, sizeof(an), in, 5, 5);
	assert_memory_equal(in, "\0\0\0\0\x03", 5); /* there is none yet */
	assert_int_equal(dw_add(&dw, 4, 0), 0);
	control_run(&an, sizeof(an), in, 5, 5);
	assert_memory_equal(in, "\0\0\0\0\0", 5); /* of a fixed medium there is nothing to tell */
	an.lun[3] = 9;
	control_run(&an, sizeof(an), in, 5, 5);
	assert_memory_equal(in, "\0\0\0\0\x0c", 5);
	memcpy(an.lun, "\xc1\x01\0\0\0\0\0\0", 8);
	control_run(&an, sizeof(an), in, 5, 5);
	assert_memory_equal(in, "\0\0\0\0\0", 5);
	memset(an.lun, 0, sizeof(an.lun));
	an.lun[0] = 2;
	control_run(&an, sizeof(an), in, 5, 5);
	assert_memory_equal(in, "\0\0\0\0\x03", 5); /* BAD TARGET */
	an.lun[0] = 1;
	an.lun[2] = 0x80;
	control_run(&an, sizeof(an), in, 5, 5);
	assert_memory_equal(in, "\0\0\0\0\x0c", 5); /* INCORRECT LUN */
	control_run(&unknown, sizeof(unknown), in, sizeof(in), sizeof(in));
	assert_memory_equal(in, "\0\0\0\0\0\0\0\0\x09", 9);
}

/* ---- events ------------------------------------------------------------------------------ */

static void events_tell_of_targets_and_sizes(void **state)
{
	dw_session_begin(&dw);
	dw_run_all(&dw);
	dw_post_buffers(&dw, 4);
	assert_int_equal(dw_add(&dw, 3, 0), 0);
	dw_wants_event(&dw, VIRTIO_SCSI_T_TRANSPORT_RESET, EVENT_RESCAN, 3, 0);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 3), POWER_ON);
	world_set_size(&dw.world, &dw.disks[0].bdev, 200 * BLOCK);
	dw_wants_event(&dw, VIRTIO_SCSI_T_PARAM_CHANGE, CAPACITY_CHANGED, 3, 0);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 3), 0x062a0900);
	assert_int_equal(dw_remove(&dw, 3), 0);
	dw_wants_event(&dw, VIRTIO_SCSI_T_TRANSPORT_RESET, EVENT_REMOVED, 3, 0);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 3), BAD_TARGET);
	dw_end_session(&dw);
}

static void notify(uint32_t type, uint32_t events, uint32_t actual)
{
	struct fe_an an = {.type = type, .lun = {1, 3}, .events = events};
	struct fe_an_answer answer;

	control_run(&an, sizeof(an), (uint8_t *)&answer, 5, 5);
	assert_int_equal(answer.response, VIRTIO_SCSI_S_OK);
	assert_int_equal(answer.events, actual);
}

static void load_or_eject(uint8_t start)
{
	const uint8_t cdb[6] = {0x1b, 0, 0, 0, 0x02 | start, 0};
	struct fe_scsi request;

	fe_scsi_init(&request, 3, 0, cdb, sizeof(cdb), NULL, 0, NULL, 0);
	dw_run(&dw, 2, &request.io);
	assert_int_equal(request.response.status, 0);
}

static void who_has_subscribed_hears_of_a_medium_that_goes_or_comes(void **state)
{
	dw_session_begin(&dw);
	dw.removable = true;
	assert_int_equal(dw_add(&dw, 3, 0), 0);
	dw_reset(&dw);
	dw_run_all(&dw);
	dw_post_buffers(&dw, 4);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 3), POWER_ON);
	notify(VIRTIO_SCSI_T_AN_QUERY, 0xffffffff, 16);
	load_or_eject(0);
	load_or_eject(1);
	dw_wants_no_event(&dw); /* it has only asked */

	notify(VIRTIO_SCSI_T_AN_SUBSCRIBE, 0x7e, 16);
	load_or_eject(1);
	dw_wants_no_event(&dw); /* it was loaded */
	load_or_eject(0);
	dw_wants_event(&dw, VIRTIO_SCSI_T_ASYNC_NOTIFY, 16, 3, 0);
	load_or_eject(0);
	dw_wants_no_event(&dw);
	load_or_eject(1);
	dw_wants_event(&dw, VIRTIO_SCSI_T_ASYNC_NOTIFY, 16, 3, 0);

	notify(VIRTIO_SCSI_T_AN_SUBSCRIBE, 0x08, 0);
	load_or_eject(0);
	dw_wants_no_event(&dw);
	notify(VIRTIO_SCSI_T_AN_SUBSCRIBE, 0x10, 16);
	dw_halt_all(&dw);
	dw_reset(&dw);
	dw_run_all(&dw);
	dw_post_buffers(&dw, 4);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 3), POWER_ON);
	load_or_eject(1);
	dw_wants_no_event(&dw); /* another driver */
	dw_end_session(&dw);
}

static void events_wait_for_the_ring_and_for_buffers(void **state)
{
	dw_session_begin(&dw);
	assert_int_equal(dw_add(&dw, 1, 0), 0);
	dw_run_all(&dw);
	assert_int_equal(dw_add(&dw, 2, 0), 0);
	host_sleep(&dw.world.host, SEC_NS);
	dw_post_buffers(&dw, 4);
	dw_wants_event(&dw, VIRTIO_SCSI_T_TRANSPORT_RESET, EVENT_RESCAN, 1, 0);
	dw_wants_event(&dw, VIRTIO_SCSI_T_TRANSPORT_RESET, EVENT_RESCAN, 2, 0);
	dw_wants_no_event(&dw);
	dw_end_session(&dw);
}

static void too_many_events_are_told_to_have_been_missed(void **state)
{
	dw_session_begin(&dw);
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(dw_add(&dw, 1, 0), 0);
		assert_int_equal(dw_remove(&dw, 1), 0);
	}
	dw_run_all(&dw);
	dw_post_buffers(&dw, 1);
	dw_wants_event(&dw, VIRTIO_SCSI_T_TRANSPORT_RESET | VIRTIO_SCSI_T_EVENTS_MISSED,
		EVENT_RESCAN, 1, 0);
	dw_post_buffers(&dw, 1);
	dw_wants_event(&dw, VIRTIO_SCSI_T_TRANSPORT_RESET, EVENT_REMOVED, 1, 0);
	dw_end_session(&dw);
}

static void events_are_forgotten_at_a_reset_and_not_sent_to_who_did_not_ask(void **state)
{
	dw_session_begin(&dw);
	assert_int_equal(dw_add(&dw, 1, 0), 0);
	dw_reset(&dw);
	dw.features &= ~VIRTIO_BIT(VIRTIO_SCSI_F_HOTPLUG);
	dw_run_all(&dw);
	dw_post_buffers(&dw, 2);
	assert_int_equal(dw_add(&dw, 2, 0), 0);
	dw_wants_no_event(&dw);
	world_set_size(&dw.world, &dw.disks[0].bdev, 200 * BLOCK);
	dw_wants_event(&dw, VIRTIO_SCSI_T_PARAM_CHANGE, CAPACITY_CHANGED, 1, 0);
	dw_end_session(&dw);
}

/* ---- targets and claims ------------------------------------------------------------------ */

static void a_target_answers_on_every_reactor_old_or_new(void **state)
{
	dw_claim(&dw);
	dw_ring_run(&dw, 2, 0);
	assert_int_equal(dw_add(&dw, 7, 0), 0);
	dw_ring_run(&dw, 3, 1);
	assert_int_equal(dw_probe(&dw, 2, INQUIRY, 7), 0);
	assert_int_equal(dw_probe(&dw, 3, INQUIRY, 7), 0);
	assert_int_equal(dw_remove(&dw, 7), 0);
	assert_int_equal(dw_probe(&dw, 2, INQUIRY, 7), BAD_TARGET);
	assert_int_equal(dw_probe(&dw, 3, INQUIRY, 7), BAD_TARGET);
}

static void targets_are_refused_with_a_reason(void **state)
{
	struct target_call op;

	assert_int_equal(dw_add(&dw, 256, 0), -EINVAL);
	assert_int_equal(dw_add(&dw, 255, 0), 0);
	dw_add_begin(&dw, &op, 255, SCSI_DEVICE_LUN_UNSAID, 1);
	assert_int_equal(dw_call_finish(&op), -EEXIST);
	assert_non_null(strstr(op.reason.text, "in use"));
	dw_remove_begin(&dw, &op, 3, SCSI_DEVICE_LUN_UNSAID);
	assert_int_equal(dw_call_finish(&op), -EBUSY);
	assert_non_null(strstr(op.reason.text, "no target 3"));
	assert_int_equal(dw_remove(&dw, 256), -EINVAL);

	dw_run_all(&dw);
	atomic_store(&dw.disks[1].claim_status, -EBUSY);
	dw_add_begin(&dw, &op, 4, SCSI_DEVICE_LUN_UNSAID, 1);
	assert_int_equal(dw_call_finish(&op), -EBUSY);
	assert_non_null(strstr(op.reason.text, "4711"));
	assert_int_equal(dw_probe(&dw, 2, INQUIRY, 4), BAD_TARGET);
	atomic_store(&dw.disks[1].claim_status, 0);
	assert_int_equal(dw_add(&dw, 4, 1), 0);
}

static void a_removal_waits_for_commands_and_holds_nobody_else_up(void **state)
{
	struct target_call op;
	struct fe_scsi request;
	uint8_t in[BLOCK];

	dw_run_all(&dw);
	add_ready(0, 0);
	add_ready(1, 1);
	hold_read(&request, 3, 0, in);
	dw_remove_begin(&dw, &op, 0, SCSI_DEVICE_LUN_UNSAID);
	host_sleep(&dw.world.host, 500 * MSEC_NS);
	assert_false(dw_call_has_ended(&op));
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 0), BAD_TARGET);
	assert_int_equal(dw_probe(&dw, 3, TEST_UNIT_READY, 1), 0);
	assert_int_equal(dw_remove(&dw, 0), -EBUSY);
	add_ready(2, 2); /* even adding another */
	release_all();
	assert_int_equal(dw_call_finish(&op), 0);
	dw_finish(&dw, 3, &request.io);
	assert_int_equal(request.response.response, 0);
}

static void a_unit_whose_claim_is_refused_becomes_ready_when_it_is_granted(void **state)
{
	assert_int_equal(dw_add(&dw, 0, 0), 0);
	assert_int_equal(dw_add(&dw, 1, 1), 0);
	atomic_store(&dw.disks[1].claim_status, -EBUSY);
	dw_run_all(&dw);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 0), POWER_ON);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 1), POWER_ON);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 0), 0);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 1), 0x02040100);
	assert_int_equal(dw_probe(&dw, 2, INQUIRY, 1), 0);
	atomic_store(&dw.disks[1].claim_status, 0);
	host_sleep(&dw.world.host, 500 * MSEC_NS);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 1), 0);
}

static void claims_are_held_exactly_while_rings_run(void **state)
{
	assert_int_equal(dw_add(&dw, 0, 0), 0);
	assert_int_equal(dw.disks[0].bdev.writers, 0);
	dw_run_all(&dw);
	assert_int_equal(dw.disks[0].bdev.writers, 1);
	assert_int_equal(dw_add(&dw, 1, 1), 0);
	assert_int_equal(dw.disks[1].bdev.writers, 1);
	assert_int_equal(dw_remove(&dw, 1), 0);
	assert_int_equal(dw.disks[1].bdev.writers, 0);
	dw_halt_all(&dw);
	assert_int_equal(dw.disks[0].bdev.writers, 0);
}

static void a_block_device_that_goes_takes_its_targets_along(void **state)
{
	dw_run_all(&dw);
	add_ready(0, 0);
	add_ready(1, 0);
	add_ready(2, 1);
	disk_end(&dw.world, &dw.disks[0]);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 0), BAD_TARGET);
	assert_int_equal(dw_probe(&dw, 3, TEST_UNIT_READY, 1), BAD_TARGET);
	assert_int_equal(dw_probe(&dw, 2, TEST_UNIT_READY, 2), 0);
	dw_disk_start(&dw, 0);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(requests_may_be_cut_at_any_byte),
		TEST(responses_are_whole_whatever_their_layout),
		TEST(addresses_are_parsed_by_the_rules),
		TEST(the_well_known_unit_lists_all_targets),
		TEST(more_segments_than_the_device_says_are_served),
		TEST(data_outside_memory_is_a_failure_and_only_that),
		TEST(a_reset_waits_for_commands_on_every_reactor_and_for_no_other_unit),
		TEST(commands_not_yet_fetched_are_aborted_too),
		TEST(every_function_has_its_answer),
		TEST(a_wrong_lun_is_told_by_the_control_queue),
		TEST(notification_is_answered_and_the_unknown_refused),
		TEST(events_tell_of_targets_and_sizes),
		TEST(who_has_subscribed_hears_of_a_medium_that_goes_or_comes),
		TEST(events_wait_for_the_ring_and_for_buffers),
		TEST(too_many_events_are_told_to_have_been_missed),
		TEST(events_are_forgotten_at_a_reset_and_not_sent_to_who_did_not_ask),
		TEST(a_target_answers_on_every_reactor_old_or_new),
		TEST(targets_are_refused_with_a_reason),
		TEST(a_removal_waits_for_commands_and_holds_nobody_else_up),
		TEST(a_unit_whose_claim_is_refused_becomes_ready_when_it_is_granted),
		TEST(claims_are_held_exactly_while_rings_run),
		TEST(a_block_device_that_goes_takes_its_targets_along),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
