/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who a virtio-scsi controller is to the disks behind it: an initiator port by its name, a target
 * port for each target; and what of reservations its sessions, resets and LUNs that come and go
 * leave. One disk, behind two targets: two nexuses.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "scsi/identity.h"
#include "scsi_device_world.h"
#include "spec/scsi.h"

#define CONFLICT SCSI_STATUS_RESERVATION_CONFLICT

static struct device_world dw;

static void begin(void)
{
	dw_session_begin(&dw);
	dw_run_all(&dw);
}

/* Every attention that waits. */
static void listen(unsigned target)
{
	while (dw_probe(&dw, 2, SCSI_TEST_UNIT_READY, (uint8_t)target) & 0xffffff00)
		;
}

static int setup(void **state)
{
	dw_start_with_state(&dw, 1);
	begin();
	for (unsigned target = 0; target < 2; target++) {
		assert_int_equal(dw_add(&dw, target, 0), 0);
		listen(target);
	}
	return 0;
}

static int teardown(void **state)
{
	dw_end_session(&dw);
	dw_end(&dw);
	return 0;
}

/* ---- commands -------------------------------------------------------------------------------- */

/* The status; ring 2 + target, so each on a reactor of its own. */
static uint8_t status_of(uint8_t target, const uint8_t cdb[10], const void *out, uint32_t out_len,
	void *in, uint32_t in_len)
{
	struct fe_scsi request;

	fe_scsi_init(&request, target, 0, cdb, 10, out, out_len, in, in_len);
	dw_run(&dw, 2U + target, &request.io);
	assert_int_equal(request.response.response, VIRTIO_SCSI_S_OK);
	return request.response.status;
}

static uint8_t simple(uint8_t target, uint8_t opcode)
{
	const uint8_t cdb[10] = {opcode};

	return status_of(target, cdb, NULL, 0, NULL, 0);
}

static uint8_t reads(uint8_t target)
{
	const uint8_t cdb[10] = {SCSI_READ_10, 0, 0, 0, 0, 0, 0, 0, 1};
	uint8_t in[512];

	return status_of(target, cdb, NULL, 0, in, sizeof(in));
}

static uint8_t persistent(
	uint8_t target, uint8_t action, uint8_t type, uint64_t key, uint64_t action_key)
{
	const uint8_t cdb[10] = {SCSI_PERSISTENT_OUT, action, type, 0, 0, 0, 0, 0, 24};
	uint8_t list[24] = {0};

	be64_put(list, key);
	be64_put(list + 8, action_key);
	return status_of(target, cdb, list, sizeof(list), NULL, 0);
}

static unsigned full_status(uint8_t target, uint8_t in[512])
{
	const uint8_t cdb[10] = {SCSI_PERSISTENT_IN, SCSI_SA_READ_FULL_STATUS, 0, 0, 0, 0, 0, 2, 0};

	assert_int_equal(status_of(target, cdb, NULL, 0, in, 512), 0);
	return be32_get(in + 4) / 48;
}

/* By which the disk tells a machine through which port it sees it. */
static uint16_t relative_port(uint8_t target)
{
	const uint8_t cdb[10] = {SCSI_INQUIRY, 1, SCSI_VPD_DEVICE_IDENTIFICATION, 1, 0};
	uint8_t in[256];
	unsigned at = 4;

	assert_int_equal(status_of(target, cdb, NULL, 0, in, sizeof(in)), 0);
	while (in[at + 1] != 0x14) {
		at += 4U + in[at + 3];
		assert_true(at < 4U + be16_get(in + 2));
	}
	return be16_get(in + at + 6);
}

static void reserve_persistently(void)
{
	assert_int_equal(persistent(0, SCSI_SA_REGISTER, 0, 0, 7), 0);
	assert_int_equal(persistent(0, SCSI_SA_RESERVE, SCSI_EXCLUSIVE_ACCESS, 7, 0), 0);
	assert_int_equal(reads(0), 0);
	assert_int_equal(reads(1), CONFLICT);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void a_nexus_is_the_controller_by_its_name_and_the_target_by_its_port(void **state)
{
	uint8_t in[512];

	assert_int_not_equal(relative_port(0), relative_port(1));
	for (uint8_t target = 0; target < 2; target++)
		assert_int_equal(persistent(target, SCSI_SA_REGISTER, 0, 0, 5), 0);
	assert_int_equal(full_status(0, in), 2);
	for (unsigned i = 0; i < 2; i++) {
		const uint8_t *at = in + 8 + i * 48;

		assert_int_equal(be16_get(at + 18), relative_port((uint8_t)i));
		assert_int_equal(at[24], SCSI_TRANSPORT_SAS);
		assert_true(be64_get(at + 28) == scsi_identity_of_initiator("c"));
	}
	/* For ever, and locally assigned. */
	assert_true(scsi_identity_of_initiator("c") == UINT64_C(0x33ba5606f4ba51c0));
	assert_true(scsi_identity_of_initiator("d") != scsi_identity_of_initiator("c"));
}

static void a_reserve_ends_with_any_reset_of_who_has_it(void **state)
{
	assert_int_equal(simple(0, SCSI_RESERVE_6), 0);
	assert_int_equal(reads(1), CONFLICT);
	assert_int_equal(dw_tmf(&dw, VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 1, 0), 0);
	listen(1);
	assert_int_equal(reads(1), CONFLICT);
	assert_int_equal(dw_tmf(&dw, VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 0, 0), 0);
	listen(0);
	assert_int_equal(reads(1), 0);

	assert_int_equal(simple(0, SCSI_RESERVE_6), 0);
	assert_int_equal(dw_tmf(&dw, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 1, 0), 0);
	listen(0);
	listen(1);
	assert_int_equal(reads(1), 0);

	assert_int_equal(simple(0, SCSI_RESERVE_6), 0);
	dw_reset(&dw);
	listen(0);
	listen(1);
	assert_int_equal(reads(1), 0);
}

static void a_persistent_reservation_outlives_resets_and_sessions(void **state)
{
	reserve_persistently();
	assert_int_equal(dw_tmf(&dw, VIRTIO_SCSI_T_TMF_LOGICAL_UNIT_RESET, 1, 0), 0);
	assert_int_equal(dw_tmf(&dw, VIRTIO_SCSI_T_TMF_I_T_NEXUS_RESET, 0, 0), 0);
	dw_end_session(&dw);
	begin();
	listen(0);
	listen(1);
	assert_int_equal(reads(0), 0);
	assert_int_equal(reads(1), CONFLICT);
}

static void a_reserve_ends_with_the_session(void **state)
{
	assert_int_equal(simple(0, SCSI_RESERVE_6), 0);
	dw_end_session(&dw);
	begin();
	listen(0);
	listen(1);
	assert_int_equal(reads(1), 0);
}

static void what_is_attached_again_is_reserved_as_before(void **state)
{
	uint8_t in[512];

	reserve_persistently();
	for (unsigned target = 0; target < 2; target++)
		assert_int_equal(dw_remove(&dw, target), 0);
	for (unsigned target = 2; target-- > 0;) {
		assert_int_equal(dw_add(&dw, target, 0), 0);
		listen(target);
	}
	assert_int_equal(full_status(0, in), 1);
	assert_int_equal(in[8 + 12], 1); /* the holder */
	assert_int_equal(reads(0), 0);
	assert_int_equal(reads(1), CONFLICT);
	/* Through another target it is another nexus. */
	assert_int_equal(dw_remove(&dw, 0), 0);
	assert_int_equal(dw_add(&dw, 2, 0), 0);
	listen(2);
	assert_int_equal(reads(2), CONFLICT);
}

static void a_lun_whose_reservations_cannot_be_read_is_not_added(void **state)
{
	reserve_persistently();
	for (unsigned target = 0; target < 2; target++)
		assert_int_equal(dw_remove(&dw, target), 0);
	sim_fail_call(dw.world.host.sim, SIM_CALL_FILE_READ, 1, EIO);
	assert_int_equal(dw_add(&dw, 0, 0), -EIO);
	assert_int_equal(dw_add(&dw, 1, 0), 0);
	listen(1);
	assert_int_equal(reads(1), CONFLICT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(a_nexus_is_the_controller_by_its_name_and_the_target_by_its_port),
		TEST(a_reserve_ends_with_any_reset_of_who_has_it),
		TEST(a_persistent_reservation_outlives_resets_and_sessions),
		TEST(a_reserve_ends_with_the_session),
		TEST(what_is_attached_again_is_reserved_as_before),
		TEST(a_lun_whose_reservations_cannot_be_read_is_not_added),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
