/* SPDX-License-Identifier: BSD-2-Clause */
/* Conformance checklist, items 60 to 62, for blk: reference section 17.3. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance/server.h"

#define SECTORS (SERVER_DISK_BYTES / 512)

static int run(struct fe *fe, uint32_t type, uint64_t sector, void *data, uint32_t len)
{
	uint8_t status;

	assert_ok(fe, fe_blk_run(fe->ring[0], type, sector, data, len, &status, 5000));
	return status;
}

static int run_range(
	struct fe *fe, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	uint8_t status;

	assert_ok(fe, fe_blk_run_range(fe->ring[0], type, sector, sectors, flags, &status, 5000));
	return status;
}

static void check_bounds(struct fe *fe)
{
	static uint8_t data[8192];
	static const uint32_t types[] = {FE_BLK_IN, FE_BLK_OUT};

	for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
		uint32_t type = types[i];

		assert_int_equal(run(fe, type, 0, data, 512), FE_BLK_OK);
		assert_int_equal(run(fe, type, SECTORS - 1, data, 512), FE_BLK_OK);
		assert_int_equal(run(fe, type, SECTORS - 16, data, 8192), FE_BLK_OK);
		assert_int_equal(run(fe, type, SECTORS - 15, data, 8192), FE_BLK_IOERR);
		assert_int_equal(run(fe, type, SECTORS, data, 512), FE_BLK_IOERR);
		assert_int_equal(run(fe, type, UINT64_MAX, data, 512), FE_BLK_IOERR);
		assert_int_equal(run(fe, type, UINT64_MAX / 512, data, 1024), FE_BLK_IOERR);
		assert_int_equal(run(fe, type, (UINT64_C(1) << 55) + 1, data, 512), FE_BLK_IOERR);
		assert_int_equal(run(fe, type, 0, data, 511), FE_BLK_IOERR);
		assert_int_equal(run(fe, type, 0, data, 513), FE_BLK_IOERR);
	}
}

static void check_ranges(struct fe *fe, uint32_t type)
{
	struct fe_blk_range segments[64];
	uint8_t odd[17] = {0};

	assert_int_equal(run_range(fe, type, 8, 8, 0), FE_BLK_OK);
	assert_int_equal(run_range(fe, type, SECTORS - 8, 8, 0), FE_BLK_OK);
	assert_int_equal(run_range(fe, type, SECTORS - 7, 8, 0), FE_BLK_IOERR);
	assert_int_equal(run_range(fe, type, UINT64_MAX, 8, 0), FE_BLK_IOERR);
	assert_int_equal(run_range(fe, type, UINT64_MAX - 7, 8, 0), FE_BLK_IOERR);
	assert_int_equal(run_range(fe, type, 0, 8, 2), FE_BLK_UNSUPP);
	assert_int_equal(run_range(fe, type, 0, 8, 0x80000000), FE_BLK_UNSUPP);
	assert_int_equal(
		run_range(fe, type, 0, 8, 1), type == FE_BLK_DISCARD ? FE_BLK_UNSUPP : FE_BLK_OK);
	assert_int_not_equal(run(fe, type, 0, odd, 17), FE_BLK_OK);
	assert_int_not_equal(run(fe, type, 0, odd, 15), FE_BLK_OK);
	assert_int_not_equal(run(fe, type, 0, NULL, 0), FE_BLK_OK);
	/* Several at once; one that is wrong keeps all from being done. */
	for (unsigned i = 0; i < 64; i++)
		segments[i] = (struct fe_blk_range){.sector = 64 + i * 8, .sectors = 8};
	assert_int_equal(run(fe, type, 0, segments, 4 * 16), FE_BLK_OK);
	segments[3].sector = SECTORS;
	assert_int_equal(run(fe, type, 0, segments, 4 * 16), FE_BLK_IOERR);
}

static void item_61(void **state)
{
	static const uint32_t unknown[] = {2, 3, 6, 7, 9, FE_BLK_GET_LIFETIME, 12,
		FE_BLK_SECURE_ERASE, 15, 16, 26, 1000, UINT32_MAX};
	struct server server;
	struct fe *fe;
	uint8_t data[512] = {0};
	char id[24];

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	check_bounds(fe);
	assert_int_equal(run(fe, FE_BLK_FLUSH, 0, NULL, 0), FE_BLK_OK);
	assert_int_equal(run(fe, FE_BLK_FLUSH, UINT64_MAX, NULL, 0), FE_BLK_OK);
	for (unsigned i = 0; i < ARRAY_SIZE(unknown); i++)
		assert_int_equal(run(fe, unknown[i], 0, data, 512), FE_BLK_UNSUPP);
	check_ranges(fe, FE_BLK_DISCARD);
	check_ranges(fe, FE_BLK_WRITE_ZEROES);
	/* GET_ID: 20 bytes, padded with NUL; fewer when the buffer is smaller, no more when larger.
	 */
	memset(id, 0xaa, sizeof(id));
	assert_int_equal(run(fe, FE_BLK_GET_ID, 0, id, 20), FE_BLK_OK);
	assert_string_equal(id, "disk");
	for (unsigned i = 4; i < 20; i++)
		assert_int_equal(id[i], 0);
	assert_int_equal((uint8_t)id[20], 0xaa);
	assert_int_equal(run(fe, FE_BLK_GET_ID, 0, id, 3), FE_BLK_OK);
	assert_memory_equal(id, "dis", 3);
	assert_int_equal(run(fe, FE_BLK_GET_ID, 0, id, 24), FE_BLK_OK);
	/* An error of the device below is one of the request. */
	held_bdev_fail(server.disk, EIO, 1);
	assert_int_equal(run(fe, FE_BLK_IN, 0, data, 512), FE_BLK_IOERR);
	held_bdev_fail(server.disk, ENOSPC, 1); /* but for one: test_space.c */
	assert_int_equal(run(fe, FE_BLK_OUT, 0, data, 512), FE_BLK_OK);
	check_io(fe, 0, 3);
	server_close(fe);
	server_stop(&server);
}

/* A type whose feature was not acknowledged is not there. */
static void item_61_unacknowledged(void **state)
{
	struct server server;
	struct fe_options options;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.features &= ~(FE_BLK_F_DISCARD | FE_BLK_F_WRITE_ZEROES);
	fe = server_open_with(&server, &options);
	assert_int_equal(run_range(fe, FE_BLK_DISCARD, 0, 8, 0), FE_BLK_UNSUPP);
	assert_int_equal(run_range(fe, FE_BLK_WRITE_ZEROES, 0, 8, 0), FE_BLK_UNSUPP);
	server_close(fe);
	server_stop(&server);
}

static void item_61_read_only(void **state)
{
	struct server server = {.read_only = true};
	struct fe_options options;
	struct fe *fe;
	uint8_t data[512] = {0};

	server_start_with(&server, FE_BUS_BLK);
	options = server_options(&server);
	fe = server_open_with(&server, &options);
	assert_true(fe->offered & FE_BLK_F_RO);
	assert_int_equal(run(fe, FE_BLK_IN, 0, data, 512), FE_BLK_OK);
	assert_int_equal(run(fe, FE_BLK_OUT, 0, data, 512), FE_BLK_IOERR);
	/* Neither is offered: that may be said as well. */
	assert_int_not_equal(run_range(fe, FE_BLK_DISCARD, 0, 8, 0), FE_BLK_OK);
	assert_int_not_equal(run_range(fe, FE_BLK_WRITE_ZEROES, 0, 8, 0), FE_BLK_OK);
	assert_int_equal(held_bdev_count(server.disk, BDEV_IO_WRITE), 0);
	assert_int_equal(held_bdev_count(server.disk, BDEV_IO_UNMAP), 0);
	assert_int_equal(held_bdev_count(server.disk, BDEV_IO_WRITE_ZEROES), 0);
	server_close(fe);
	server_stop(&server);
}

/* Used lengths: data and status, and not a byte changed behind them. */
static void item_60(void **state)
{
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t len;
		uint32_t used_min, used_max;
	} cases[] = {
		{FE_BLK_IN, 0, 512, 513, 513},
		{FE_BLK_IN, 0, 4096, 4097, 4097},
		{FE_BLK_IN, SECTORS, 512, 1, 513},
		{FE_BLK_OUT, 0, 512, 1, 1},
		{FE_BLK_OUT, SECTORS, 512, 1, 1},
		{FE_BLK_FLUSH, 0, 0, 1, 1},
		{FE_BLK_GET_ID, 0, 20, 21, 21},
		{77, 0, 512, 1, 513},
	};
	struct server server;
	struct fe *fe;
	uint8_t data[4096];

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		for (unsigned fill = 0; fill < 2; fill++) {
			struct fe_blk blk;

			memset(data, 0, sizeof(data));
			fe_blk_init(&blk, cases[i].type, cases[i].sector, data, cases[i].len);
			blk.io.fill = fill ? 0xff : 0x11;
			submit(fe, 0, &blk.io);
			finish(fe, 0, &blk.io);
			assert_in_range(blk.io.used_len, cases[i].used_min, cases[i].used_max);
			assert_int_not_equal(blk.status, 0xee);
			/* Read back to front: what is in the disk is what comes. */
			if (cases[i].type == FE_BLK_IN && blk.status == FE_BLK_OK)
				assert_memory_equal(
					data, held_bdev_data(server.disk), cases[i].len);
		}
	}
	server_close(fe);
	server_stop(&server);
}

static void check_durable(struct server *server, bool flush)
{
	struct fe_options options = server_options(server);
	struct fe *fe;
	uint8_t data[4096];

	if (!flush)
		options.features &= ~FE_BLK_F_FLUSH;
	fe = server_open_with(server, &options);
	for (unsigned i = 0; i < 10; i++) {
		memset(data, (int)(i + 0x80 + flush), sizeof(data));
		assert_int_equal(run(fe, FE_BLK_OUT, i * 8, data, sizeof(data)), FE_BLK_OK);
		/* Here the power could fail. */
		if (!flush)
			assert_memory_equal(
				held_bdev_stable(server->disk) + i * 4096, data, sizeof(data));
	}
	if (!flush) {
		assert_int_equal(run_range(fe, FE_BLK_WRITE_ZEROES, 0, 8, 0), FE_BLK_OK);
		memset(data, 0, sizeof(data));
		assert_memory_equal(held_bdev_stable(server->disk), data, sizeof(data));
	} else {
		/* With FLUSH a write may wait for it, and it brings all of them. */
		assert_int_equal(run(fe, FE_BLK_FLUSH, 0, NULL, 0), FE_BLK_OK);
		assert_memory_equal(held_bdev_stable(server->disk), held_bdev_data(server->disk),
			SERVER_DISK_BYTES);
	}
	server_close(fe);
}

static void item_62(void **state)
{
	struct server server;

	server_start(&server, FE_BUS_BLK);
	/* Decided by the acknowledged word, anew at each start: firmware, kernel, firmware. */
	check_durable(&server, false);
	check_durable(&server, true);
	check_durable(&server, false);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"24.60 used lengths cover what was written, and nothing else was", item_60, NULL,
			NULL, NULL},
		{"24.61 every type at every boundary has the status of 17.3", item_61, NULL, NULL,
			NULL},
		{"24.61 types that were not acknowledged are UNSUPP", item_61_unacknowledged, NULL,
			NULL, NULL},
		{"24.61 a read-only disk is not written", item_61_read_only, NULL, NULL, NULL},
		{"24.62 without FLUSH each write is stable before its completion", item_62, NULL,
			NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
