/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Targets, LUNs, rings, claims, block devices and commands come and go in any order, many at the
 * same time. Whatever the seed: every operation ends, every command is answered, what is there at
 * the end answers and what is not does not, and nothing is left behind.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "scsi_device_world.h"

#define TARGETS  3
#define LUNS     4
#define CALLS    6
#define REQUESTS 12
#define STEPS    300
#define SEEDS    200

#define INQUIRY     0x12
#define REPORT_LUNS 0xa0
#define BAD_TARGET  3

/* Neighbours, one that has the flat form, and the last there can be. */
static const int lun_numbers[LUNS] = {0, 1, 300, 16383};

struct flying {
	struct fe_scsi request;
	unsigned ring;
	bool busy;
	uint8_t data[1024];
};

struct life {
	struct device_world dw;
	struct target_call calls[CALLS]; /* under way, for whatever target and LUN */
	struct flying flying[REQUESTS];
	struct dw_tmf tmf;
	bool tmf_busy;
};

static struct life life;

static unsigned draw(unsigned below)
{
	return (unsigned)sim_random(life.dw.world.host.sim, below);
}

static int draw_lun(void)
{
	return lun_numbers[draw(LUNS)];
}

/* Any number of calls for one LUN: what does not go together is refused. */
static void step_target(void)
{
	struct target_call *call = &life.calls[draw(CALLS)];
	int lun = draw(6) ? draw_lun() : SCSI_DEVICE_LUN_UNSAID;

	if (call->begun) {
		if (dw_call_has_ended(call))
			dw_call_finish(call);
	} else if (draw(2)) {
		dw_add_begin(&life.dw, call, draw(TARGETS), lun, draw(DW_DISKS));
	} else {
		dw_remove_begin(&life.dw, call, draw(TARGETS), lun);
	}
}

static void step_command(void)
{
	struct flying *flying = &life.flying[draw(REQUESTS)];
	unsigned ring = 2 + draw(DW_RINGS - 2);
	uint8_t target = (uint8_t)draw(TARGETS);
	uint16_t lun = (uint16_t)draw_lun();

	if (flying->busy || !life.dw.rings[ring].vq)
		return;
	flying->busy = true;
	flying->ring = ring;
	if (draw(2))
		fe_scsi_init_read(&flying->request, target, lun, draw(256), 2, flying->data, 1024);
	else
		fe_scsi_init_write(&flying->request, target, lun, draw(256), 2, flying->data, 1024);
	dw_submit(&life.dw, ring, &flying->request.io);
}

static void reap(void)
{
	for (unsigned i = 0; i < DW_RINGS; i++) {
		struct fe_io *io;

		while (fe_io_reap(life.dw.rings[i].driver, &io) == 1)
			assert_int_equal(io->stray, 0);
	}
	for (unsigned i = 0; i < REQUESTS; i++) {
		struct flying *flying = &life.flying[i];

		if (!flying->busy || !flying->request.io.done)
			continue;
		assert_true(flying->request.io.used_len >= 108);
		flying->busy = false;
	}
	if (life.tmf_busy && life.tmf.io.done) {
		assert_int_not_equal(life.tmf.response, 0xee);
		life.tmf_busy = false;
	}
}

static void release_disks(void)
{
	for (unsigned disk = 0; disk < DW_DISKS; disk++) {
		for (unsigned i = 0; i < WORLD_REACTORS; i++)
			disk_release(&life.dw.world, &life.dw.disks[disk], life.dw.world.data[i]);
	}
}

static void step_tmf(void)
{
	if (life.tmf_busy || !life.dw.rings[0].vq)
		return;
	life.tmf_busy = true;
	dw_tmf_begin(&life.dw, &life.tmf, draw(9), (uint8_t)draw(TARGETS), (uint16_t)draw_lun(),
		draw(20));
}

static void step_ring(void)
{
	unsigned ring = draw(DW_RINGS);

	if (!life.dw.claimed)
		dw_claim(&life.dw);
	if (!life.dw.rings[ring].vq) {
		dw_ring_run(&life.dw, ring, draw(WORLD_REACTORS));
		return;
	}
	if (draw(3))
		return;
	release_disks(); /* a ring that stops waits for what the disks hold */
	dw_ring_halt(&life.dw, ring);
	reap();
}

static void step_disk(void)
{
	unsigned disk = draw(DW_DISKS);

	switch (draw(12)) {
	case 0:
		release_disks();
		disk_end(&life.dw.world, &life.dw.disks[disk]);
		dw_disk_start(&life.dw, disk);
		break;
	case 1:
		world_set_size(&life.dw.world, &life.dw.disks[disk].bdev, 256 * 512);
		break;
	case 2:
		atomic_store(&life.dw.disks[disk].claim_status, draw(2) ? -EBUSY : 0);
		break;
	case 3:
	case 4:
	case 5:
	case 6:
		atomic_store(&life.dw.disks[disk].hold, true);
		break;
	default:
		release_disks();
	}
}

static void step(void)
{
	unsigned kind = draw(20);

	if (kind < 3)
		step_target();
	else if (kind < 14)
		step_command();
	else if (kind < 16)
		step_tmf();
	else if (kind < 17)
		step_ring();
	else
		step_disk();
	if (draw(3))
		host_sleep(&life.dw.world.host, draw(3) ? 20 * USEC_NS : 3 * MSEC_NS);
	reap();
}

static bool all_answered(void *arg)
{
	reap();
	for (unsigned i = 0; i < REQUESTS; i++) {
		if (life.flying[i].busy)
			return false;
	}
	return !life.tmf_busy;
}

static void settle(void)
{
	release_disks();
	for (unsigned i = 0; i < DW_DISKS; i++)
		atomic_store(&life.dw.disks[i].claim_status, 0);
	for (unsigned i = 0; i < CALLS; i++) {
		if (life.calls[i].begun)
			dw_call_finish(&life.calls[i]);
	}
	assert_true(host_wait(&life.dw.world.host, all_answered, NULL));
}

struct listed {
	bool there[TARGETS][LUNS];
	unsigned count[TARGETS];
};

static void list_lun(const struct scsi_device_lun_info *info, void *arg)
{
	struct listed *listed = arg;

	for (unsigned i = 0; i < LUNS; i++) {
		if ((int)info->lun == lun_numbers[i])
			listed->there[info->target][i] = true;
	}
	listed->count[info->target]++;
}

/* REPORT LUNS, by way of a LUN that may not exist. */
static unsigned report_luns(unsigned ring, uint8_t target)
{
	const uint8_t cdb[12] = {REPORT_LUNS, [8] = 1};
	struct fe_scsi request;
	uint8_t in[256];

	fe_scsi_init(&request, target, 0, cdb, sizeof(cdb), NULL, 0, in, sizeof(in));
	dw_run(&life.dw, ring, &request.io);
	assert_int_equal(request.response.response, 0);
	return in[3] / 8;
}

static void check_lun(unsigned ring, uint8_t target, unsigned index, const struct listed *listed)
{
	const uint8_t cdb[6] = {INQUIRY, [4] = 36};
	struct fe_scsi request;
	uint8_t in[36];

	fe_scsi_init(&request, target, (uint16_t)lun_numbers[index], cdb, sizeof(cdb), NULL, 0, in,
		sizeof(in));
	dw_run(&life.dw, ring, &request.io);
	assert_int_equal(request.response.response, listed->count[target] ? 0 : BAD_TARGET);
	if (listed->count[target])
		assert_int_equal(in[0], listed->there[target][index] ? 0 : 0x7f);
}

/* What the device says of itself is what the driver finds on every ring. */
static void check_targets(void)
{
	struct listed listed = {0};

	scsi_device_for_each_lun(life.dw.device, list_lun, &listed);
	for (uint8_t target = 0; target < TARGETS; target++) {
		assert_int_equal(scsi_device_target_is_free(life.dw.device, target),
			listed.count[target] == 0);
		for (unsigned ring = 2; ring < DW_RINGS; ring++) {
			if (!life.dw.rings[ring].vq)
				continue;
			for (unsigned i = 0; i < LUNS; i++)
				check_lun(ring, target, i, &listed);
			if (listed.count[target])
				assert_int_equal(report_luns(ring, target), listed.count[target]);
		}
	}
}

static void a_life(uint64_t seed)
{
	memset(&life, 0, sizeof(life));
	dw_start(&life.dw, seed);
	dw_session_begin(&life.dw);
	dw_run_all(&life.dw);
	for (unsigned i = 0; i < STEPS; i++)
		step();
	settle();
	check_targets();
	dw_halt_all(&life.dw);
	dw_session_end(&life.dw);
	for (unsigned i = 0; i < TARGETS; i++) {
		if (!scsi_device_target_is_free(life.dw.device, i) && draw(2))
			assert_int_equal(dw_remove(&life.dw, i), 0);
	}
	dw_end(&life.dw);
}

static void a_device_survives_any_order_of_things(void **state)
{
	log_set_level(LOG_ERROR);
	SIM_FOR_EACH_SEED(seed, SEEDS)
	a_life(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_survives_any_order_of_things),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
