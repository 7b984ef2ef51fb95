/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The dirty log, items 41 to 45 of the checklist. Its oracle is memory itself: requests are held at
 * the disk, all of the guest's memory is copied, they are let go and the device is stopped; what
 * differs then and was not the driver's doing has to be in a log.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance/server.h"

#define PAGE     4096u
#define REQUESTS 12u
#define DATA     9000u
#define MEMORY   (4 * MIB)

struct log_test {
	struct server server;
	struct fe *fe;
	uint8_t *before; /* a copy of all memory */
	uint8_t *old_bits; /* of the bitmap before the last */
	uint64_t old_bytes;
	struct fe_blk blk[REQUESTS];
	uint8_t data[REQUESTS][DATA];
	unsigned seed;
};

static uint8_t *memory_of(struct log_test *t)
{
	return t->fe->memory.region[0].ptr;
}

static void test_begin(struct log_test *t, bool packed, bool event_idx, unsigned seed)
{
	struct fe_options options;

	memset(t, 0, sizeof(*t));
	t->seed = seed;
	server_start(&t->server, FE_BUS_BLK);
	options = server_options(&t->server);
	options.memory_size = MEMORY;
	options.memory_gpa = 0x40000000;
	if (packed)
		options.features |= FE_F_PACKED;
	if (!event_idx)
		options.features &= ~FE_F_EVENT_IDX;
	t->fe = server_open_with(&t->server, &options);
	assert_true(t->fe->offered & FE_F_LOG_ALL);
	assert_true(t->fe->protocol_offered & FE_PF_LOG_SHMFD);
	t->before = malloc(MEMORY);
	assert_non_null(t->before);
}

static void forget_old(struct log_test *t)
{
	if (t->old_bits)
		munmap(t->old_bits, t->old_bytes);
	t->old_bits = NULL;
}

static void test_end(struct log_test *t)
{
	forget_old(t);
	server_close(t->fe);
	server_stop(&t->server);
	free(t->before);
}

/* Another bitmap; the one before it can still be looked into. */
static void change_base(struct log_test *t)
{
	struct fe_log *log = &t->fe->log;

	forget_old(t);
	if (log->fd >= 0) {
		t->old_bytes = log->size;
		t->old_bits = mmap(NULL, log->size, PROT_READ, MAP_SHARED, log->fd, 0);
		assert_true(t->old_bits != MAP_FAILED);
	}
	assert_ok(t->fe, fe_log_set_base(t->fe, 0));
}

/* Reads of random lengths, layouts and alignments; all of them are at the disk at the end. */
static void send_requests(struct log_test *t)
{
	unsigned inside = held_bdev_waiting(t->server.disk);

	for (unsigned i = 0; i < REQUESTS; i++) {
		uint32_t sectors = (uint32_t)rand_r(&t->seed) % (DATA / 512) + 1;
		uint32_t cut = (uint32_t)rand_r(&t->seed) % (sectors * 512) + 1;
		struct fe_blk *blk = &t->blk[i];

		fe_blk_init(blk, FE_BLK_IN, (uint64_t)rand_r(&t->seed) % 1000, t->data[i],
			sectors * 512);
		blk->io.in_cuts = &cut;
		blk->io.in_cut_count = rand_r(&t->seed) % 2;
		blk->io.direct = rand_r(&t->seed) % 2 ? 0 : FE_IO_ALL_DIRECT;
		blk->io.skew = (uint32_t)rand_r(&t->seed) % 3 * 8;
		blk->io.fill = (uint8_t)(0x80 | i);
		submit(t->fe, 0, &blk->io);
	}
	assert_true(held_bdev_await(t->server.disk, inside + REQUESTS));
}

/* Lets them end: nothing touches memory afterwards. */
static void end_requests(struct log_test *t)
{
	held_bdev_release(t->server.disk);
	assert_ok(t->fe, fe_stop(t->fe));
}

static void reap_requests(struct log_test *t)
{
	struct fe_io *io;

	for (unsigned i = 0; i < REQUESTS; i++)
		assert_int_equal(fe_io_wait(t->fe->ring[0], &io, 5000), 0);
	for (unsigned i = 0; i < REQUESTS; i++)
		assert_int_equal(t->blk[i].status, FE_BLK_OK);
}

/* Every page that differs from the copy is in the log. Returns how many do. */
static unsigned check_logged(struct log_test *t, unsigned round)
{
	const struct fe_region *region = &t->fe->memory.region[0];
	unsigned changed = 0;

	for (uint64_t at = 0; at < MEMORY; at += PAGE) {
		if (memcmp(t->before + at, region->ptr + at, PAGE) == 0)
			continue;
		changed++;
		if (!fe_log_test(t->fe, region->gpa + at))
			fail_msg("round %u: page 0x%llx was written and is not in the log", round,
				(unsigned long long)at);
	}
	return changed;
}

/* Whether any page's bit is set. */
static bool log_is_empty(const struct fe_log *log)
{
	for (uint64_t i = 0; i < log->size; i++) {
		if (log->ptr[i])
			return false;
	}
	return true;
}

/* ---- 41, 42, 44 -------------------------------------------------------------------------- */

/* A round: fetched before logging was on or the bitmap was there, completed after it. */
static void check_round(struct log_test *t, unsigned round)
{
	uint8_t *old;

	held_bdev_hold(t->server.disk);
	if (round % 3 == 1)
		assert_ok(t->fe, fe_log_enable(t->fe, true));
	send_requests(t);
	usleep(round % 2 ? 3000 : 0); /* the ring sleeps, or not yet */
	if (round % 3 == 0)
		assert_ok(t->fe, fe_log_enable(t->fe, true));
	change_base(t);
	memcpy(t->before, memory_of(t), MEMORY);
	old = malloc(t->old_bytes + 1);
	assert_non_null(old);
	if (t->old_bits)
		memcpy(old, t->old_bits, t->old_bytes);
	end_requests(t);
	assert_true(check_logged(t, round) >= REQUESTS);
	if (t->old_bits)
		assert_memory_equal(old, t->old_bits, t->old_bytes);
	free(old);
	reap_requests(t);
	assert_ok(t->fe, fe_start(t->fe));
	assert_ok(t->fe, fe_log_enable(t->fe, (round + 1) % 3 == 2));
}

static void check_rounds(bool packed, bool event_idx)
{
	struct log_test *t = malloc(sizeof(*t));

	assert_non_null(t);
	test_begin(t, packed, event_idx, 41);
	for (unsigned round = 0; round < 12; round++)
		check_round(t, round);
	test_end(t);
	free(t);
}

static void item_41_split(void **state)
{
	check_rounds(false, true);
	check_rounds(false, false);
}

static void item_41_packed(void **state)
{
	check_rounds(true, true);
	check_rounds(true, false);
}

/* With the log off nothing is marked, whatever is done. */
static void off_is_off(void **state)
{
	struct log_test *t = malloc(sizeof(*t));

	assert_non_null(t);
	test_begin(t, false, true, 1);
	assert_ok(t->fe, fe_log_set_base(t->fe, 0));
	check_io(t->fe, 0, 5);
	assert_true(log_is_empty(&t->fe->log));
	assert_ok(t->fe, fe_log_enable(t->fe, true));
	check_io(t->fe, 0, 5);
	assert_false(log_is_empty(&t->fe->log));
	assert_ok(t->fe, fe_log_enable(t->fe, false));
	change_base(t);
	check_io(t->fe, 0, 5);
	assert_true(log_is_empty(&t->fe->log));
	test_end(t);
	free(t);
}

/* ---- 43, 45 ------------------------------------------------------------------------------ */

/* Bits of other devices in the same words stay. */
static void item_43(void **state)
{
	struct log_test *t = malloc(sizeof(*t));

	assert_non_null(t);
	test_begin(t, false, true, 43);
	assert_ok(t->fe, fe_log_enable(t->fe, true)); /* before there is a bitmap: item 45 */
	check_io(t->fe, 0, 5);
	assert_ok(t->fe, fe_log_set_base(t->fe, PAGE));
	memset(t->fe->log.ptr, 0xff, t->fe->log.size);
	check_io(t->fe, 0, 50);
	for (uint64_t i = 0; i < t->fe->log.size; i++)
		assert_int_equal(t->fe->log.ptr[i], 0xff);
	test_end(t);
	free(t);
}

/* Too small for memory, beyond its file, misaligned, no file: refused, which closes. */
static void refused(void **state)
{
	static const struct fe_log_base bad[] = {
		{.size = 0},
		{.size = 8},
		{.size = 1 << 20, .offset = PAGE},
		{.size = 1 << 20, .offset = UINT64_MAX - PAGE + 1},
		{.size = UINT64_MAX},
		{.size = 1 << 19, .offset = 8},
	};
	struct server server;
	int fd = memfd_create("log", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	server_start(&server, FE_BUS_BLK);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		struct fe *fe = server_open(&server);

		assert_closed(fe, FE_SET_LOG_BASE, &bad[i], sizeof(bad[i]), fd);
		fe_destroy(fe);
		assert_true(server_await_idle(&server));
	}
	close(fd);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(item_41_split),
		cmocka_unit_test(item_41_packed),
		cmocka_unit_test(off_is_off),
		cmocka_unit_test(item_43),
		cmocka_unit_test(refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
