/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What other systems' drivers send when they find a disk, use it and give it up, with the lengths
 * that they say, and what they need to read in the answers. From public sources: Windows' disk.sys
 * and classpnp.sys (its driver samples) and vioscsi; FreeBSD's scsi_xpt.c and scsi_da.c.
 */
#include <stdlib.h>
#include <string.h>

#include "base/endian.h"
#include "kept.h"
#include "nexuses.h"

#define BLOCK 512

struct step {
	const char *what;
	uint8_t cdb[16];
	uint16_t in; /* the buffer; the allocation length is in the CDB */
	uint16_t moved;
	const void *out;
	uint16_t out_len;
	uint32_t sense;
	bool (*look)(const uint8_t *in, unsigned len);
};

static struct scsi_world w;
static struct kept kept;

static int setup(void **state)
{
	struct disk_options options = SMALL_DISK;

	options.max_iovcnt = 64;
	options.unmap_granularity = 4096;
	options.physical_block_size = 4096;
	options.space = (struct bdev_space){
		.used_bytes = 5 * MIB, .available_bytes = 200 * MIB, .total_bytes = 400 * MIB};
	scsi_world_start(&w, &options);
	kept_begin(&kept, &w, "initiators", false);
	scsi_attention_raise(w.attachment, SCSI_UA_POWER_ON);
	return 0;
}

static int teardown(void **state)
{
	kept_end(&kept);
	scsi_world_end(&w);
	return 0;
}

static void play_step(const struct step *step)
{
	struct command *command = command_new(&w, step->cdb, sizeof(step->cdb));
	unsigned moved = step->sense ? 0 : step->moved + step->out_len;

	command->in_len = step->in;
	command->out = step->out;
	command->out_len = step->out_len;
	command_run(command);
	if (command->task.response != SCSI_RESPONSE_OK || command_sense(command) != step->sense ||
		command->task.transferred != moved)
		fail_msg("%s: response %u, sense %06x, %u bytes", step->what,
			command->task.response, command_sense(command), command->task.transferred);
	if (step->look && !step->look(command->in, moved))
		fail_msg("%s: what was read is not what the driver needs", step->what);
	command_free(command);
}

static void play(const struct step *steps, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		play_step(&steps[i]);
}

/* The power-on attention has been told. */
static void listen_once(void)
{
	wants_sense(COMMAND(&w, SCSI_TEST_UNIT_READY), 0x062900);
}

/* ---- what is looked for ---------------------------------------------------------------------- */

static bool is_disk(const uint8_t *in, unsigned len)
{
	return in[0] == 0 && in[1] == 0 && in[2] >= 5 && (in[3] & 0x0f) == 2 && in[4] >= 31 &&
	       in[7] & 0x02; /* response data format 2, command queuing */
}

static bool is_one_lun(const uint8_t *in, unsigned len)
{
	return be32_get(in) == 8 && be64_get(in + 8) == 0;
}

static bool has_vpd_pages(const uint8_t *in, unsigned len)
{
	static const uint8_t pages[] = {0x80, 0x83, 0x86, 0x8f, 0xb0, 0xb1, 0xb2};

	for (unsigned i = 0; i < ARRAY_SIZE(pages); i++) {
		if (!memchr(in + 4, pages[i], in[3]))
			return false;
	}
	return in[1] == 0 && len == in[3] + 4u && !memchr(in + 4, 0x89, in[3]); /* no ATA disk */
}

static bool is_serial(const uint8_t *in, unsigned len)
{
	return in[1] == 0x80 && in[3] == 32 && len == 36;
}

/* A name of the logical unit that is the same on every path: NAA, EUI-64 or SCSI name. A cluster
 * of Windows asks for one. */
static bool has_names(const uint8_t *in, unsigned len)
{
	unsigned found = 0, at = 4;

	while (at + 4 <= len && at + 4 + in[at + 3] <= len) {
		if ((in[at + 1] & 0x30) == 0 &&
			((in[at + 1] & 0x0f) == 2 || (in[at + 1] & 0x0f) == 3))
			found++;
		at += 4 + in[at + 3];
	}
	return in[1] == 0x83 && found == 2 && at == len && be16_get(in + 2) == len - 4;
}

static bool is_capacity(const uint8_t *in, unsigned len)
{
	return be32_get(in) == 4095 && be32_get(in + 4) == BLOCK;
}

/* Thin, zeroes after UNMAP, eight logical blocks to a physical one. */
static bool is_capacity_16(const uint8_t *in, unsigned len)
{
	return be64_get(in) == 4095 && be32_get(in + 8) == BLOCK && (in[13] & 0x0f) == 3 &&
	       (in[14] & 0xc0) == 0xc0;
}

/* Pages one behind the other from the block descriptor to the end, none cut. */
static bool has_mode_pages(const uint8_t *in, unsigned len)
{
	unsigned at = 4 + in[3];

	if (in[0] + 1u != len || in[3] != 8 || in[2] & 0x80)
		return false;
	while (at < len)
		at += 2 + in[at + 1];
	return at == len;
}

static bool is_caching_page(const uint8_t *in, unsigned len)
{
	return len == 32 && in[3] == 8 && (in[12] & 0x3f) == 0x08 && in[13] == 18 && in[14] & 0x04;
}

static bool is_write_through(const uint8_t *in, unsigned len)
{
	return (in[12] & 0x3f) == 0x08 && !(in[14] & 0x04);
}

static bool is_exceptions_page(const uint8_t *in, unsigned len)
{
	return (in[12] & 0x3f) == 0x1c && in[13] == 10;
}

static bool is_control_page(const uint8_t *in, unsigned len)
{
	return (in[12] & 0x3f) == 0x0a && !(in[15] & 0x02); /* DQUE */
}

static bool is_extended_inquiry(const uint8_t *in, unsigned len)
{
	return in[1] == 0x86 && in[3] == 0x3c;
}

/* Windows looks for the limits of tokens, and without them copies by itself. */
static bool has_no_tokens(const uint8_t *in, unsigned len)
{
	unsigned at = 4;

	while (at + 4 <= len && be16_get(in + at) != 0)
		at += 4 + be16_get(in + at + 2);
	return in[1] == 0x8f && at == len;
}

static bool has_unmap_limits(const uint8_t *in, unsigned len)
{
	return in[1] == 0xb0 && be16_get(in + 2) == 0x3c && be32_get(in + 8) > 0 &&
	       be32_get(in + 20) > 0 && be32_get(in + 24) > 0 && be32_get(in + 28) == 8 &&
	       in[32] & 0x80;
}

static bool is_no_spindle(const uint8_t *in, unsigned len)
{
	return in[1] == 0xb1 && be16_get(in + 2) == 0x3c && be16_get(in + 4) == 1;
}

/* UNMAP and WRITE SAME (16) with UNMAP; thin; a threshold set is 2^11 blocks. */
static bool is_thin(const uint8_t *in, unsigned len)
{
	return in[1] == 0xb2 && be16_get(in + 2) >= 4 && in[4] == 11 && (in[5] & 0xc0) == 0xc0 &&
	       (in[6] & 7) == 2;
}

static bool tells_space(const uint8_t *in, unsigned len)
{
	return (in[0] & 0x3f) == 0x0c && be16_get(in + 4) == 1 && be32_get(in + 8) == 200 &&
	       be16_get(in + 16) == 2 && be32_get(in + 20) == 5;
}

static bool is_deallocated(const uint8_t *in, unsigned len)
{
	return be32_get(in) >= 20 && be64_get(in + 8) == 16 && (in[20] & 0x0f) == 1;
}

/* ---- Windows --------------------------------------------------------------------------------- */

static void windows_finds_a_disk(void **state)
{
	static const struct step steps[] = {
		{"REPORT LUNS", {0xa0, [9] = 16}, 16, 16, .look = is_one_lun},
		{"INQUIRY", {0x12, 0, 0, 0, 36}, 36, 36, .look = is_disk},
		{"INQUIRY, all", {0x12, 0, 0, 0, 255}, 255, 96, .look = is_disk},
		{"VPD 00h", {0x12, 1, 0, 0, 255}, 255, 14, .look = has_vpd_pages},
		{"VPD 80h", {0x12, 1, 0x80, 0, 255}, 255, 36, .look = is_serial},
		{"VPD 83h", {0x12, 1, 0x83, 0, 255}, 255, 124, .look = has_names},
		{"power on", {0x00}, .sense = 0x062900},
		{"TEST UNIT READY", {0x00}},
		{"READ CAPACITY (10)", {0x25}, 8, 8, .look = is_capacity},
		{"READ CAPACITY (16)", {0x9e, 0x10, [13] = 32}, 32, 32, .look = is_capacity_16},
		{"MODE SENSE, all", {0x1a, 0, 0x3f, 0, 192}, 192, 124, .look = has_mode_pages},
		{"MODE SENSE, caching", {0x1a, 0, 0x08, 0, 192}, 192, 32, .look = is_caching_page},
		{"MODE SENSE, exceptions", {0x1a, 0, 0x1c, 0, 192}, 192, 24,
			.look = is_exceptions_page},
		{"VPD B1h", {0x12, 1, 0xb1, 0, 64}, 64, 64, .look = is_no_spindle},
		{"VPD B2h", {0x12, 1, 0xb2, 0, 255}, 255, 8, .look = is_thin},
		{"VPD B0h", {0x12, 1, 0xb0, 0, 255}, 255, 64, .look = has_unmap_limits},
		{"VPD 8Fh", {0x12, 1, 0x8f, 0, 255}, 255, 104, .look = has_no_tokens},
		{"LOG SENSE", {0x4d, 0, 0x0c, [8] = 255}, 255, 40, .look = tells_space},
	};

	play(steps, ARRAY_SIZE(steps));
}

static void windows_changes_the_cache_as_it_found_it(void **state)
{
	uint8_t list[32] = {[3] = 8, [10] = BLOCK >> 8};
	struct command *command = COMMAND(&w, SCSI_MODE_SENSE_6, 0, 0x08, 0, 192);
	struct step steps[] = {
		{"MODE SELECT, saved", {0x15, 0x11, 0, 0, 32}, 0, 0, list, 32},
		{"MODE SENSE", {0x1a, 0, 0x08, 0, 192}, 192, 32, .look = is_write_through},
		{"MODE SENSE, saved", {0x1a, 0, 0xc8, 0, 192}, 192, 32, .look = is_write_through},
	};

	listen_once();
	command->in_len = 192;
	command_run(command);
	memcpy(list + 12, command->in + 12, 20); /* PS is still set in it */
	command_free(command);
	list[14] &= (uint8_t)~0x04;
	play(steps, ARRAY_SIZE(steps));
}

static void windows_uses_a_disk_and_gives_it_up(void **state)
{
	static const uint8_t unmap[40] = {0, 38, 0, 32, [15] = 16, [19] = 8, [31] = 64, [35] = 16};
	static const uint8_t block[BLOCK];
	static const struct step steps[] = {
		{"WRITE (10), FUA", {0x2a, 0x08, [5] = 16, [8] = 1}, 0, 0, block, BLOCK},
		{"READ (10)", {0x28, 0, [5] = 16, [8] = 1}, BLOCK, BLOCK},
		{"VERIFY (10)", {0x2f, 0, [5] = 16, [8] = 128}},
		{"VERIFY (16)", {0x8f, 0, [9] = 16, [13] = 128}},
		{"UNMAP", {0x42, [8] = 40}, 0, 0, unmap, 40},
		{"GET LBA STATUS", {0x9e, 0x12, [9] = 16, [13] = 255}, 255, 24,
			.look = is_deallocated},
		{"SYNCHRONIZE CACHE (10)", {0x35}},
		/* classpnp puts the number of the LUN into CDBs, as SCSI-2 had it. */
		{"START STOP UNIT of LUN 5", {0x1b, 5 << 5, 0, 0, 1}},
		{"TEST UNIT READY", {0x00}},
		{"PREVENT", {0x1e, 0, 0, 0, 1}},
		{"ALLOW", {0x1e}},
		{"REASSIGN BLOCKS", {0x07}, .sense = 0x052000},
		{"POPULATE TOKEN", {0x83, 0x10}, .sense = 0x052400},
		{"RECEIVE ROD TOKEN INFORMATION", {0x84, 0x07}, .sense = 0x052400},
		{"ATA PASS-THROUGH (16)", {0x85}, .sense = 0x052000},
		{"SECURITY PROTOCOL IN", {0xa2}, .sense = 0x052000},
		{"READ DISC INFORMATION", {0x51}, .sense = 0x052000},
		{"START STOP UNIT, stop", {0x1b, 0, 0, 0, 0}},
	};

	listen_once();
	play(steps, ARRAY_SIZE(steps));
}

/* vioscsi takes up to 512 pages and one more for a buffer that begins within a page, whatever the
 * device says of segments: more than the disk takes in one request. */
static void more_segments_than_a_disk_takes_are_served(void **state)
{
	static uint8_t data[IN_MAX];
	struct command *command;

	listen_once();
	fill_pattern(data, sizeof(data), 11);
	command = COMMAND(&w, SCSI_WRITE_10, 0, 0, 0, 0, 8, 0, 2, 0);
	command->out = data;
	command->out_len = 512 * BLOCK;
	command->segment = BLOCK - 1; /* 514 */
	wants_good(command);
	command = COMMAND(&w, SCSI_READ_10, 0, 0, 0, 0, 8, 0, 2, 0);
	command->in_len = 512 * BLOCK;
	command->segment = BLOCK - 1;
	command_run(command);
	assert_int_equal(command_sense(command), 0);
	assert_memory_equal(command->in, data, 512 * BLOCK);
	assert_true(w.disk.iovcnt_max <= 64);
	command_free(command);
}

/* ---- a cluster of Windows: validation, arbitration, failover --------------------------------- */

static void windows_nodes_fight_for_a_disk(void **state)
{
	static struct nexuses n;
	struct registrations all;
	struct command *command;
	uint64_t key;
	const uint8_t type = SCSI_WRITE_EXCLUSIVE_REGISTRANTS;
	const uint8_t again = SCSI_SA_REGISTER_AND_IGNORE;

	nexuses_start(&n, NULL);
	wants_status(persistent_out(&n, 0, again, 0, 0, 0xa, 0), SCSI_STATUS_GOOD);
	wants_status(persistent_out(&n, 1, again, 0, 0, 0xb, 0), SCSI_STATUS_GOOD);
	wants_status(persistent_out(&n, 0, SCSI_SA_RESERVE, type, 0xa, 0, 0), SCSI_STATUS_GOOD);
	wants_status(persistent_out(&n, 0, SCSI_SA_RESERVE, type, 0xa, 0, 0), SCSI_STATUS_GOOD);
	wants_conflict(persistent_out(&n, 1, SCSI_SA_RESERVE, type, 0xb, 0, 0));
	wants_good(write_one(&n, 1));
	wants_conflict(write_one(&n, 2));
	wants_good(read_one(&n, 2));
	wants_good(FROM(&n, 2, SCSI_TEST_UNIT_READY));

	/* READ KEYS, first with room for the header only; the owner defends itself so. */
	command = FROM(&n, 0, SCSI_PERSISTENT_IN, 0, [8] = 8);
	command->in_len = 8;
	command_run(command);
	assert_int_equal(be32_get(command->in + 4), 16);
	command_free(command);
	assert_int_equal(read_reservation(&n, 0, &key), type);
	assert_int_equal(key, 0xa);

	/* The challenger takes over from a node that does not defend the disk any more. */
	wants_conflict(persistent_out(&n, 1, SCSI_SA_PREEMPT, type, 0xbad, 0xa, 0));
	wants_status(persistent_out(&n, 1, SCSI_SA_PREEMPT, type, 0xb, 0xa, 0), SCSI_STATUS_GOOD);
	assert_int_equal(read_reservation(&n, 1, &key), type);
	assert_int_equal(key, 0xb);
	wants_sense(FROM(&n, 0, SCSI_TEST_UNIT_READY), 0x062a05);
	wants_conflict(write_one(&n, 0));
	wants_conflict(persistent_out(&n, 0, SCSI_SA_RELEASE, type, 0xa, 0, 0));

	/* It comes back, and hands over in order. */
	wants_status(persistent_out(&n, 0, again, 0, 0, 0xa, 0), SCSI_STATUS_GOOD);
	wants_good(write_one(&n, 0));
	wants_status(persistent_out(&n, 1, SCSI_SA_RELEASE, type, 0xb, 0, 0), SCSI_STATUS_GOOD);
	wants_sense(FROM(&n, 0, SCSI_TEST_UNIT_READY), 0x062a04);
	wants_status(persistent_out(&n, 0, SCSI_SA_RESERVE, type, 0xa, 0, 0), SCSI_STATUS_GOOD);
	wants_status(persistent_out(&n, 0, SCSI_SA_CLEAR, 0, 0xa, 0, 0), SCSI_STATUS_GOOD);
	wants_sense(FROM(&n, 1, SCSI_TEST_UNIT_READY), 0x062a03);
	read_full_status(&n, 1, &all);
	assert_int_equal(all.count, 0);
	wants_good(write_one(&n, 2));
	nexuses_end(&n);
}

/* ---- FreeBSD --------------------------------------------------------------------------------- */

static void freebsd_finds_a_disk(void **state)
{
	static const struct step steps[] = {
		{"TEST UNIT READY", {0x00}, .sense = 0x062900},
		{"INQUIRY", {0x12, 0, 0, 0, 36}, 36, 36, .look = is_disk},
		{"INQUIRY, full", {0x12, 0, 0, 0, 96}, 96, 96, .look = is_disk},
		{"REPORT LUNS, for one", {0xa0, [9] = 16}, 16, 16, .look = is_one_lun},
		{"MODE SENSE, control", {0x1a, 0, 0x0a, 0, 24}, 24, 24, .look = is_control_page},
		{"VPD 00h", {0x12, 1, 0, 0, 255}, 255, 14, .look = has_vpd_pages},
		{"VPD 83h", {0x12, 1, 0x83, 0, 252}, 252, 124, .look = has_names},
		{"VPD 86h", {0x12, 1, 0x86, 0, 64}, 64, 64, .look = is_extended_inquiry},
		{"VPD 80h", {0x12, 1, 0x80, 0, 255}, 255, 36, .look = is_serial},
		{"TEST UNIT READY", {0x00}},
		{"MODE SENSE, all", {0x1a, 0, 0x3f, 0, 192}, 192, 124, .look = has_mode_pages},
		{"READ CAPACITY (16)", {0x9e, 0x10, [13] = 32}, 32, 32, .look = is_capacity_16},
		{"READ CAPACITY (10)", {0x25}, 8, 8, .look = is_capacity},
		{"VPD B2h", {0x12, 1, 0xb2, 0, 8}, 8, 8, .look = is_thin},
		{"VPD B0h", {0x12, 1, 0xb0, 0, 64}, 64, 64, .look = has_unmap_limits},
		{"VPD B1h", {0x12, 1, 0xb1, 0, 64}, 64, 64, .look = is_no_spindle},
		{"MODE SENSE, caching", {0x1a, 0, 0x08, 0, 32}, 32, 32, .look = is_caching_page},
	};

	play(steps, ARRAY_SIZE(steps));
}

static void freebsd_uses_a_disk_and_gives_it_up(void **state)
{
	static const uint8_t unmap[24] = {0, 22, 0, 16, [15] = 16, [19] = 8};
	static const uint8_t block[BLOCK];
	static const struct step steps[] = {
		{"WRITE (6)", {0x0a, 0, 0, 16, 1}, 0, 0, block, BLOCK},
		{"READ (6)", {0x08, 0, 0, 16, 1}, BLOCK, BLOCK},
		{"WRITE (10)", {0x2a, 0, [5] = 16, [8] = 1}, 0, 0, block, BLOCK},
		{"READ (10)", {0x28, 0, [5] = 16, [8] = 1}, BLOCK, BLOCK},
		{"READ (12)", {0xa8, 0, [5] = 16, [9] = 1}, BLOCK, BLOCK},
		{"READ (16)", {0x88, 0, [9] = 16, [13] = 1}, BLOCK, BLOCK},
		{"UNMAP", {0x42, [8] = 24}, 0, 0, unmap, 24},
		{"WRITE SAME (16), UNMAP", {0x93, 0x08, [9] = 32, [13] = 8}, 0, 0, block, BLOCK},
		{"WRITE SAME (10), UNMAP", {0x41, 0x08, [5] = 64, [8] = 8}, 0, 0, block, BLOCK},
		{"SYNCHRONIZE CACHE (10)", {0x35}},
		{"ATA PASS-THROUGH (16)", {0x85}, .sense = 0x052000},
		{"REPORT ZONES", {0x95}, .sense = 0x052000},
		{"PREVENT", {0x1e, 0, 0, 0, 1}},
		{"ALLOW", {0x1e}},
		{"START STOP UNIT, stop", {0x1b}},
		{"TEST UNIT READY", {0x00}, .sense = 0x020402},
		{"START STOP UNIT, start", {0x1b, 0, 0, 0, 1}},
		{"TEST UNIT READY", {0x00}},
	};

	listen_once();
	play(steps, ARRAY_SIZE(steps));
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(windows_finds_a_disk),
		TEST(windows_changes_the_cache_as_it_found_it),
		TEST(windows_uses_a_disk_and_gives_it_up),
		TEST(more_segments_than_a_disk_takes_are_served),
		cmocka_unit_test(windows_nodes_fight_for_a_disk),
		TEST(freebsd_finds_a_disk),
		TEST(freebsd_uses_a_disk_and_gives_it_up),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
