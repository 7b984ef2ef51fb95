/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several logical units behind one target: each a disk of its own, added, removed and resized by
 * itself, told of by its own address, and none harmed by what happens to another.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scsi_device_world.h"

#define BLOCK            512
#define INQUIRY          0x12
#define TEST_UNIT_READY  0x00
#define REPORT_LUNS      0xa0
#define POWER_ON         0x06290000
#define RESET            0x06290300
#define NEXUS_LOSS       0x06290700
#define LUNS_CHANGED     0x063f0e00
#define CAPACITY_CHANGED 0x062a0900
#define NOT_READY        0x02040100
#define NO_LUN           0x05250000
#define BAD_TARGET       3
#define EVENT_RESCAN     1
#define EVENT_REMOVED    2
#define UNSAID           SCSI_DEVICE_LUN_UNSAID

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

static uint32_t ready(uint8_t target, uint16_t lun)
{
	return dw_probe_lun(&dw, 2, TEST_UNIT_READY, target, lun);
}

/* Takes the unit attentions that wait: the unit is ready then. */
static void calm(uint8_t target, uint16_t lun)
{
	for (unsigned i = 0; i < 8 && ready(target, lun); i++)
		;
	assert_int_equal(ready(target, lun), 0);
}

static void add_calm(unsigned target, int lun, unsigned disk)
{
	assert_int_equal(dw_add_lun(&dw, target, lun, disk), 0);
	calm((uint8_t)target, (uint16_t)lun);
}

/* The LUNs as they are encoded; answers for a LUN that does not exist as well. */
static void wants_luns(
	unsigned ring, uint8_t target, uint16_t lun, const uint16_t *luns, unsigned n)
{
	const uint8_t cdb[12] = {REPORT_LUNS, [8] = 1};
	struct fe_scsi request;
	uint8_t in[256];

	fe_scsi_init(&request, target, lun, cdb, sizeof(cdb), NULL, 0, in, sizeof(in));
	dw_run(&dw, ring, &request.io);
	assert_int_equal(request.response.response, 0);
	assert_int_equal(request.response.status, 0);
	assert_int_equal(in[3], n * 8);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(in[8 + 8 * i] << 8 | in[8 + 8 * i + 1], luns[i]);
}

/* On whichever ring: 0x7f when there is no such LUN. */
static uint8_t qualifier(unsigned ring, uint8_t target, uint16_t lun)
{
	const uint8_t cdb[6] = {INQUIRY, [4] = 36};
	struct fe_scsi request;
	uint8_t in[36];

	fe_scsi_init(&request, target, lun, cdb, sizeof(cdb), NULL, 0, in, sizeof(in));
	dw_run(&dw, ring, &request.io);
	assert_int_equal(request.response.response, 0);
	return in[0];
}

static void hold_read(struct fe_scsi *request, unsigned ring, uint16_t lun, unsigned disk)
{
	static uint8_t in[BLOCK];
	unsigned held = atomic_load(&dw.disks[disk].held_count);

	atomic_store(&dw.disks[disk].hold, true);
	fe_scsi_init_read(request, 0, lun, 1, 1, in, BLOCK);
	dw_submit(&dw, ring, &request->io);
	disk_wait_held(&dw.world, &dw.disks[disk], held + 1);
}

static void release(unsigned disk)
{
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		disk_release(&dw.world, &dw.disks[disk], dw.world.data[i]);
}

/* ---- what a target with several is ------------------------------------------------------- */

static void each_lun_is_a_disk_of_its_own_on_every_reactor(void **state)
{
	static const uint16_t luns[] = {0, 5, 0x412c}, more[] = {0, 5, 0x412c, 0x7fff};
	static const uint16_t numbers[] = {0, 5, 300};
	static uint8_t out[BLOCK], in[BLOCK];
	struct fe_scsi request;

	dw_claim(&dw);
	dw_ring_run(&dw, 2, 0);
	add_calm(9, 300, 2); /* in any order; the first need not be LUN 0 */
	add_calm(9, 0, 0);
	add_calm(9, 5, 1);
	dw_ring_run(&dw, 3, 1); /* a reactor that comes later has them all */
	for (unsigned i = 0; i < 3; i++) {
		memset(out, 'a' + (int)i, BLOCK);
		fe_scsi_init_write(&request, 9, numbers[i], 7, 1, out, BLOCK);
		dw_run(&dw, 2, &request.io);
		assert_int_equal(request.response.status, 0);
	}
	for (unsigned i = 0; i < 3; i++) {
		fe_scsi_init_read(&request, 9, numbers[i], 7, 1, in, BLOCK);
		dw_run(&dw, 3, &request.io);
		assert_int_equal(in[0], 'a' + i);
		assert_int_equal(dw.disks[i].bytes[7 * BLOCK], 'a' + i);
	}
	wants_luns(2, 9, 5, luns, 3);
	wants_luns(3, 9, 77, luns, 3);
	add_calm(9, 16383, 0); /* the last there is; one device may be several LUNs */
	wants_luns(3, 9, 0, more, 4);
	assert_int_equal(qualifier(3, 9, 16383), 0);
	assert_int_equal(qualifier(3, 9, 1), 0x7f);
	assert_int_equal(ready(9, 1), NO_LUN);
}

static void what_cannot_be_is_refused_with_a_reason(void **state)
{
	static const struct {
		bool add;
		unsigned target;
		int lun;
		int rc;
		const char *reason;
	} cases[] = {
		{true, 3, UNSAID, -EEXIST, "target 3 of c is in use"},
		{true, 3, 1, -EEXIST, "LUN 1 of target 3 of c is in use"},
		{true, 3, 16384, -EINVAL, "LUNs are 0 to 16383"},
		{true, 4, -2, -EINVAL, "LUNs are 0 to 16383"},
		{true, 256, 0, -EINVAL, "no target 256"},
		{false, 3, 0, -EBUSY, "target 3 of c has no LUN 0"},
		{false, 3, 16384, -EINVAL, "LUNs are 0 to 16383"},
		{false, 4, 0, -EBUSY, "c has no target 4"},
		{false, 4, UNSAID, -EBUSY, "c has no target 4"},
		{false, 256, 1, -EINVAL, "no target 256"},
	};
	struct target_call op;

	assert_int_equal(dw_add_lun(&dw, 3, 1, 0), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		if (cases[i].add)
			dw_add_begin(&dw, &op, cases[i].target, cases[i].lun, 1);
		else
			dw_remove_begin(&dw, &op, cases[i].target, cases[i].lun);
		assert_int_equal(dw_call_finish(&op), cases[i].rc);
		assert_non_null(strstr(op.reason.text, cases[i].reason));
	}
	assert_true(scsi_device_target_is_free(dw.device, 4));
	dw_run_all(&dw);
	atomic_store(&dw.disks[1].claim_status, -EBUSY);
	dw_add_begin(&dw, &op, 3, 2, 1);
	assert_int_equal(dw_call_finish(&op), -EBUSY);
	assert_non_null(strstr(op.reason.text, "4711"));
	assert_int_equal(qualifier(2, 3, 2), 0x7f);
	calm(3, 1);
	assert_int_equal(dw_remove_lun(&dw, 3, 1), 0);
	assert_true(scsi_device_target_is_free(dw.device, 3));
}

static void a_target_goes_with_its_last_lun_whichever_that_is(void **state)
{
	static const uint16_t two[] = {1, 2}, one[] = {2};

	dw_run_all(&dw);
	for (unsigned lun = 0; lun < 3; lun++)
		add_calm(0, (int)lun, lun);
	assert_int_equal(dw_remove_lun(&dw, 0, 0), 0);
	wants_luns(3, 0, 0, two, 2);
	assert_int_equal(qualifier(4, 0, 0), 0x7f);
	assert_int_equal(dw_remove_lun(&dw, 0, 1), 0);
	wants_luns(2, 0, 0, one, 1);
	assert_false(scsi_device_target_is_free(dw.device, 0));
	assert_int_equal(dw_remove_lun(&dw, 0, 2), 0);
	assert_true(scsi_device_target_is_free(dw.device, 0));
	assert_int_equal(ready(0, 2), BAD_TARGET);
	add_calm(0, 0, 0);
}

/* ---- what the guest hears ---------------------------------------------------------------- */

static void events_name_the_lun_as_report_luns_does(void **state)
{
	dw_session_begin(&dw);
	dw_run_all(&dw);
	dw_post_buffers(&dw, 8);
	assert_int_equal(dw_add_lun(&dw, 3, 0, 0), 0);
	dw_wants_event(&dw, VIRTIO_SCSI_T_TRANSPORT_RESET, EVENT_RESCAN, 3, 0);
	assert_int_equal(dw_add_lun(&dw, 3, 255, 1), 0);
	dw_wants_event(&dw, VIRTIO_SCSI_T_TRANSPORT_RESET, EVENT_RESCAN, 3, 255);
	assert_int_equal(dw_add_lun(&dw, 3, 256, 2), 0);
	dw_wants_event(&dw, VIRTIO_SCSI_T_TRANSPORT_RESET, EVENT_RESCAN, 3, 0x4100);
	calm(3, 0);
	calm(3, 256);
	world_set_size(&dw.world, &dw.disks[2].bdev, 200 * BLOCK);
	dw_wants_event(&dw, VIRTIO_SCSI_T_PARAM_CHANGE, 0x092a, 3, 0x4100);
	assert_int_equal(ready(3, 256), CAPACITY_CHANGED);
	assert_int_equal(ready(3, 0), 0);
	assert_int_equal(dw_remove_lun(&dw, 3, 256), 0);
	dw_wants_event(&dw, VIRTIO_SCSI_T_TRANSPORT_RESET, EVENT_REMOVED, 3, 0x4100);
	assert_int_equal(dw_remove(&dw, 3), 0); /* the others, each by its name */
	dw_wants_event(&dw, VIRTIO_SCSI_T_TRANSPORT_RESET, EVENT_REMOVED, 3, 0);
	dw_wants_event(&dw, VIRTIO_SCSI_T_TRANSPORT_RESET, EVENT_REMOVED, 3, 255);
	dw_wants_no_event(&dw);
	dw_end_session(&dw);
}

static void add_many(unsigned target, unsigned count)
{
	for (unsigned lun = 0; lun < count; lun++)
		assert_int_equal(dw_add_lun(&dw, target, (int)lun, lun % DW_DISKS), 0);
}

/* More than can wait: the guest looks for itself, which is of use only when they are gone. */
static void removals_that_could_not_be_told_are_told_when_they_are_over(void **state)
{
	add_many(3, 40);
	dw_session_begin(&dw);
	dw_run_all(&dw);
	dw_post_buffers(&dw, 40);
	assert_int_equal(dw_remove(&dw, 3), 0);
	dw_wants_event(&dw, VIRTIO_SCSI_T_TRANSPORT_RESET, EVENT_REMOVED, 3, 0);
	dw_wants_event(&dw, VIRTIO_SCSI_T_TRANSPORT_RESET | VIRTIO_SCSI_T_EVENTS_MISSED,
		EVENT_REMOVED, 3, 1);
	for (uint16_t lun = 2; lun < 32; lun++)
		dw_wants_event(&dw, VIRTIO_SCSI_T_TRANSPORT_RESET, EVENT_REMOVED, 3, lun);
	dw_wants_event(&dw, VIRTIO_SCSI_T_EVENTS_MISSED, 0, 0, 0);
	dw_wants_no_event(&dw);
	dw_end_session(&dw);
}

static void the_other_luns_of_the_target_tell_that_the_list_has_changed(void **state)
{
	static const uint16_t luns[] = {0, 1, 2};

	dw_session_begin(&dw);
	dw_run_all(&dw);
	add_calm(0, 0, 0);
	add_calm(1, 0, 0); /* another target is not concerned */
	add_calm(0, 1, 1);
	assert_int_equal(ready(0, 0), LUNS_CHANGED);
	assert_int_equal(ready(0, 0), 0);
	assert_int_equal(dw_add_lun(&dw, 0, 2, 2), 0);
	wants_luns(2, 0, 7, luns, 3); /* a LUN that does not exist has not told it */
	assert_int_equal(ready(0, 0), LUNS_CHANGED);
	wants_luns(2, 0, 2, luns, 3); /* who has read the list knows, by whichever LUN */
	assert_int_equal(ready(0, 1), 0);
	assert_int_equal(ready(0, 2), POWER_ON);
	assert_int_equal(dw_remove_lun(&dw, 0, 1), 0);
	assert_int_equal(ready(0, 0), LUNS_CHANGED);
	assert_int_equal(ready(0, 2), LUNS_CHANGED);
	assert_int_equal(ready(1, 0), 0);
	dw_end_session(&dw);
}

static void a_new_initiator_hears_of_its_power_on_only(void **state)
{
	assert_int_equal(dw_add_lun(&dw, 0, 0, 0), 0);
	assert_int_equal(dw_add_lun(&dw, 0, 1, 1), 0);
	dw_session_begin(&dw);
	dw_run_all(&dw);
	assert_int_equal(ready(0, 0), POWER_ON);
	assert_int_equal(ready(0, 0), 0);
	assert_int_equal(dw_add_lun(&dw, 0, 2, 2), 0);
	dw_halt_all(&dw);
	dw_reset(&dw);
	dw_run_all(&dw);
	assert_int_equal(ready(0, 0), POWER_ON);
	assert_int_equal(ready(0, 0), 0);
	dw_end_session(&dw);
}

/* ---- one beside another ------------------------------------------------------------------ */

static void a_removal_waits_for_its_own_commands_only(void **state)
{
	struct target_call op;
	struct fe_scsi request;

	dw_run_all(&dw);
	add_calm(0, 0, 0);
	add_calm(0, 1, 1);
	hold_read(&request, 3, 1, 1);
	dw_remove_begin(&dw, &op, 0, 1);
	host_sleep(&dw.world.host, 500 * MSEC_NS);
	assert_false(dw_call_has_ended(&op));
	assert_int_equal(ready(0, 1), NO_LUN);
	calm(0, 0);
	assert_int_equal(dw_probe(&dw, 3, TEST_UNIT_READY, 0), 0);
	assert_int_equal(dw_remove_lun(&dw, 0, 1), -EBUSY);
	assert_int_equal(dw_add_lun(&dw, 0, 1, 2), -EEXIST); /* still the old one's number */
	add_calm(0, 2, 2);
	assert_int_equal(dw_remove_lun(&dw, 0, 0), 0); /* even the rest of the target */
	release(1);
	assert_int_equal(dw_call_finish(&op), 0);
	dw_finish(&dw, 3, &request.io);
	assert_int_equal(request.response.response, 0);
	add_calm(0, 1, 1);
}

static void the_last_lun_may_go_while_another_comes(void **state)
{
	struct target_call op;
	struct fe_scsi request;

	dw_run_all(&dw);
	add_calm(0, 0, 0);
	hold_read(&request, 4, 0, 0);
	dw_remove_begin(&dw, &op, 0, 0);
	host_sleep(&dw.world.host, 500 * MSEC_NS);
	assert_int_equal(ready(0, 0), BAD_TARGET);
	add_calm(0, 4, 1);
	release(0);
	assert_int_equal(dw_call_finish(&op), 0);
	dw_finish(&dw, 4, &request.io);
	assert_int_equal(ready(0, 4), 0);
	assert_int_equal(ready(0, 0), NO_LUN);
}

static void a_whole_target_goes_when_the_last_command_of_all_its_luns_has_ended(void **state)
{
	struct target_call whole, single;
	struct fe_scsi requests[2];

	dw_run_all(&dw);
	for (unsigned lun = 0; lun < 3; lun++)
		add_calm(0, (int)lun, lun);
	hold_read(&requests[0], 3, 1, 1);
	hold_read(&requests[1], 4, 2, 2);
	dw_remove_begin(&dw, &single, 0, 1); /* one is on its way already */
	host_sleep(&dw.world.host, 500 * MSEC_NS);
	dw_remove_begin(&dw, &whole, 0, UNSAID);
	host_sleep(&dw.world.host, 500 * MSEC_NS);
	assert_int_equal(ready(0, 0), BAD_TARGET);
	assert_int_equal(dw_remove(&dw, 0), -EBUSY);
	assert_int_equal(dw_remove_lun(&dw, 0, 2), -EBUSY);
	assert_int_equal(dw_add_lun(&dw, 0, 5, 0), -EEXIST); /* or it would never be gone */
	release(2);
	dw_finish(&dw, 4, &requests[1].io);
	host_sleep(&dw.world.host, 500 * MSEC_NS);
	assert_false(dw_call_has_ended(&whole));
	assert_false(dw_call_has_ended(&single));
	release(1);
	assert_int_equal(dw_call_finish(&single), 0);
	assert_int_equal(dw_call_finish(&whole), 0);
	dw_finish(&dw, 3, &requests[0].io);
	assert_int_equal(dw.disks[0].bdev.writers, 0);
	assert_true(scsi_device_target_is_free(dw.device, 0));
}

static void a_block_device_that_goes_takes_only_its_luns_along(void **state)
{
	dw_run_all(&dw);
	add_calm(0, 0, 0);
	add_calm(0, 1, 1);
	add_calm(0, 2, 0);
	add_calm(1, 1, 0);
	disk_end(&dw.world, &dw.disks[0]);
	assert_int_equal(ready(0, 0), NO_LUN);
	assert_int_equal(ready(0, 2), NO_LUN);
	assert_int_equal(ready(1, 1), BAD_TARGET);
	calm(0, 1);
	dw_disk_start(&dw, 0);
	add_calm(0, 0, 0);
}

static void functions_reach_the_lun_they_name_or_all_of_the_target(void **state)
{
	struct fe_scsi requests[2];
	struct dw_tmf tmf;

	dw_run_all(&dw);
	add_calm(0, 0, 0);
	add_calm(0, 300, 1);
	add_calm(0, 301, 2);
	calm(0, 0);
	calm(0, 300);
	hold_read(&requests[0], 3, 300, 1);
	hold_read(&requests[1], 4, 301, 2);
	assert_int_equal(dw_tmf_lun(&dw, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0, 0), 0);
	assert_int_equal(dw_tmf_lun(&dw, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 0, 1), 12);
	assert_int_equal(ready(0, 0), RESET);
	assert_int_equal(ready(0, 300), 0);
	assert_int_equal(dw_tmf_lun(&dw, VIRTIO_SCSI_T_TMF_QUERY_TASK_SET, 0, 0), 0);
	assert_int_equal(dw_tmf_lun(&dw, VIRTIO_SCSI_T_TMF_QUERY_TASK_SET, 0, 301), 10);

	/* The address' own LUN need not exist. */
	dw_tmf_begin(&dw, &tmf, VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 0, 17, 0);
	host_sleep(&dw.world.host, MSEC_NS);
	release(1);
	host_sleep(&dw.world.host, MSEC_NS);
	assert_false(fe_ring_ready(dw.rings[0].driver));
	release(2);
	dw_finish(&dw, 0, &tmf.io);
	assert_int_equal(tmf.response, 0);
	for (unsigned i = 0; i < 2; i++) {
		dw_finish(&dw, 3 + i, &requests[i].io);
		assert_int_equal(requests[i].response.response, VIRTIO_SCSI_S_RESET);
		assert_int_equal(ready(0, (uint16_t)(300 + i)), NEXUS_LOSS);
	}
}

static void a_nexus_reset_passes_luns_that_go_while_it_waits(void **state)
{
	struct fe_scsi requests[2];
	struct target_call op;
	struct dw_tmf tmf;

	dw_run_all(&dw);
	for (unsigned lun = 0; lun < 3; lun++)
		add_calm(0, (int)lun, lun);
	hold_read(&requests[0], 3, 1, 1);
	hold_read(&requests[1], 4, 2, 2);
	dw_tmf_begin(&dw, &tmf, VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 0, 0, 0);
	dw_remove_begin(&dw, &op, 0, 0); /* what lies behind it moves up in the target's list */
	assert_int_equal(dw_call_finish(&op), 0);
	dw_remove_begin(&dw, &op, 0, 1);
	release(1);
	assert_int_equal(dw_call_finish(&op), 0);
	host_sleep(&dw.world.host, MSEC_NS);
	assert_false(fe_ring_ready(dw.rings[0].driver));
	release(2);
	dw_finish(&dw, 0, &tmf.io);
	assert_int_equal(tmf.response, 0);
	dw_finish(&dw, 3, &requests[0].io);
	dw_finish(&dw, 4, &requests[1].io);
	assert_int_equal(requests[1].response.response, VIRTIO_SCSI_S_RESET);
}

static void a_claim_refused_to_one_lun_leaves_the_others_ready(void **state)
{
	for (unsigned lun = 0; lun < 3; lun++)
		assert_int_equal(dw_add_lun(&dw, 0, (int)lun, lun), 0);
	atomic_store(&dw.disks[1].claim_status, -EBUSY);
	dw_run_all(&dw);
	for (uint16_t lun = 0; lun < 3; lun++) {
		assert_int_equal(ready(0, lun), POWER_ON);
		assert_int_equal(ready(0, lun), lun == 1 ? NOT_READY : 0);
		assert_int_equal(dw.disks[lun].bdev.writers, lun != 1);
	}
	assert_int_equal(dw_remove_lun(&dw, 0, 0), 0);
	assert_int_equal(dw.disks[0].bdev.writers, 0);
	atomic_store(&dw.disks[1].claim_status, 0);
	host_sleep(&dw.world.host, 500 * MSEC_NS);
	assert_int_equal(ready(0, 1), 0);
	dw_halt_all(&dw);
	assert_int_equal(dw.disks[1].bdev.writers, 0);
	assert_int_equal(dw.disks[2].bdev.writers, 0);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(each_lun_is_a_disk_of_its_own_on_every_reactor),
		TEST(what_cannot_be_is_refused_with_a_reason),
		TEST(a_target_goes_with_its_last_lun_whichever_that_is),
		TEST(events_name_the_lun_as_report_luns_does),
		TEST(removals_that_could_not_be_told_are_told_when_they_are_over),
		TEST(the_other_luns_of_the_target_tell_that_the_list_has_changed),
		TEST(a_new_initiator_hears_of_its_power_on_only),
		TEST(a_removal_waits_for_its_own_commands_only),
		TEST(the_last_lun_may_go_while_another_comes),
		TEST(a_whole_target_goes_when_the_last_command_of_all_its_luns_has_ended),
		TEST(a_block_device_that_goes_takes_only_its_luns_along),
		TEST(functions_reach_the_lun_they_name_or_all_of_the_target),
		TEST(a_nexus_reset_passes_luns_that_go_while_it_waits),
		TEST(a_claim_refused_to_one_lun_leaves_the_others_ready),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
