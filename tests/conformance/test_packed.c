/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packed rings, what the conformance checklist says of them in items 12, 22, 24, 29 to 33 and 47 to
 * 51: the same front-end, with RING_PACKED acknowledged. A back-end that is lost is played by a
 * connection that is, as in test_inflight.c.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance/server.h"

#define REQUESTS 5u

static struct fe_options packed_options(const struct server *server)
{
	struct fe_options options = server_options(server);

	options.features |= FE_F_PACKED;
	return options;
}

static struct fe *open_packed(struct server *server, uint32_t size)
{
	struct fe_options options = packed_options(server);
	struct fe *fe;

	if (size)
		options.ring_size = size;
	fe = server_open_with(server, &options);
	assert_true(fe->features & FE_F_PACKED);
	assert_true(fe->ring[0]->packed);
	return fe;
}

/* ---- 24, 29, 30 -------------------------------------------------------------------------- */

static void item_29_sizes(void **state)
{
	static const uint32_t sizes[] = {3, 4, 5, 7, 100, 127, 128, 129, 1000, 32767, 32768};
	struct server server;

	server_start(&server, FE_BUS_BLK);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct fe *fe = open_packed(&server, sizes[i]);
		unsigned depth = sizes[i] / 3;

		check_io(fe, 0, 20);
		run_load(fe, 0, 300, depth > 64 ? 64 : depth, sizes[i]);
		server_close(fe);
	}
	server_stop(&server);
}

/* A ring of one or two entries serves what takes one: a table. */
static void item_29_tiny(void **state)
{
	struct server server;

	server_start(&server, FE_BUS_BLK);
	for (uint32_t size = 1; size <= 2; size++) {
		struct fe *fe = open_packed(&server, size);

		for (unsigned i = 0; i < 9; i++) {
			uint8_t data[512] = {0};
			struct fe_blk blk;

			fe_blk_init(&blk, FE_BLK_IN, i, data, sizeof(data));
			blk.io.direct = 0;
			submit(fe, 0, &blk.io);
			finish(fe, 0, &blk.io);
			assert_int_equal(blk.status, FE_BLK_OK);
		}
		server_close(fe);
	}
	server_stop(&server);
}

static void item_29_refused(void **state)
{
	static const uint32_t nums[] = {0, 32769, 65536, UINT32_MAX};
	static const uint64_t odd[6][3] = {
		{1, 0, 0}, {8, 0, 0}, {0, 1, 0}, {0, 2, 0}, {0, 0, 1}, {0, 0, 2}};
	struct server server;
	struct fe_options options;
	struct fe_vring_state word = {0};
	struct fe_vring_addr addr = {0};
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	options = packed_options(&server);
	options.ring_size = 100;
	fe = server_prepare(&server, &options);
	for (unsigned i = 0; i < ARRAY_SIZE(nums); i++) {
		word.num = nums[i];
		assert_int_not_equal(ask(fe, FE_SET_VRING_NUM, &word, sizeof(word), -1), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(odd); i++) {
		addr.desc = fe_memory_user(&fe->memory, fe->ring[0]->packed_desc) + odd[i][0];
		addr.avail = fe_memory_user(&fe->memory, fe->ring[0]->driver_event) + odd[i][1];
		addr.used = fe_memory_user(&fe->memory, fe->ring[0]->device_event) + odd[i][2];
		assert_int_not_equal(ask(fe, FE_SET_VRING_ADDR, &addr, sizeof(addr), -1), 0);
	}
	/* None of it has left a trace. */
	assert_ok(fe, fe_setup_ring(fe, 0));
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	check_io(fe, 0, 3);
	server_close(fe);

	/* Bases at which this ring cannot begin: beyond its end, or with requests left behind. */
	for (unsigned i = 0; i < 3; i++) {
		static const uint32_t bases[] = {0x80648064, 0xffffffff, 0x80008005};

		fe = server_prepare(&server, &options);
		fe->base[0] = bases[i];
		assert_true(fe_setup_ring(fe, 0) || fe_enable_ring(fe, 0, true));
		fe_destroy(fe);
		assert_true(server_await_idle(&server));
	}
	server_stop(&server);
}

static void check_wrap(struct server *server, bool event_idx, bool notified, uint32_t size)
{
	struct fe_options options = packed_options(server);
	uint16_t start = (uint16_t)(size - 3);
	struct fe *fe;

	if (!event_idx)
		options.features &= ~FE_F_EVENT_IDX;
	options.notified = notified;
	options.ring_size = size;
	fe = server_prepare(server, &options);
	fe_ring_reset_at(fe->ring[0], start);
	fe->base[0] = fe_ring_base(fe->ring[0]);
	assert_int_equal(fe->base[0], start | (uint32_t)start << 16);
	assert_ok(fe, fe_setup_ring(fe, 0));
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	for (unsigned i = 0; i < 4; i++) {
		run_load(fe, 0, 500, size > 256 ? 64 : size / 4, i);
		/* 24: both halves are equal, and what is set again goes on. */
		assert_ok(fe, fe_stop(fe));
		assert_int_equal(fe->base[0], fe_ring_base(fe->ring[0]));
		assert_ok(fe, fe_start(fe));
	}
	check_io(fe, 0, 3);
	server_close(fe);
}

static void item_30(void **state)
{
	static const uint32_t sizes[] = {12, 61, 128, 1000};
	struct server server;

	server_start(&server, FE_BUS_BLK);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++)
		for (unsigned j = 0; j < 4; j++)
			check_wrap(&server, j & 1, j & 2, sizes[i]);
	server_stop(&server);
}

/* ---- 31, 32, 33 -------------------------------------------------------------------------- */

static void item_31(void **state)
{
	struct server server;
	struct fe_options options;
	struct fe *fe;
	unsigned seed = 31;

	server_start(&server, FE_BUS_BLK);
	options = packed_options(&server);
	options.notified = true;
	options.ring_size = 50;
	fe = server_open_with(&server, &options);
	assert_true(fe->features & FE_F_EVENT_IDX);
	for (unsigned i = 0; i < 400; i++) {
		unsigned burst = (unsigned)rand_r(&seed) % 6 + 1;

		run_load(fe, 0, burst, burst, seed);
		if (rand_r(&seed) % 3)
			usleep((unsigned)rand_r(&seed) % 2000);
	}
	server_close(fe);
	server_stop(&server);
}

static void item_32(void **state)
{
	struct server server;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = open_packed(&server, 0);
	for (unsigned i = 0; i < 32; i++) {
		uint32_t out_cut = i / 2 + 1, in_cut = 40 * i + 1;
		uint8_t data[1024], back[1024];
		struct fe_blk blk;

		memset(data, (int)i + 1, sizeof(data));
		fe_blk_init(&blk, FE_BLK_OUT, 4, data, sizeof(data));
		blk.io.out_cuts = &out_cut;
		blk.io.out_cut_count = 1;
		blk.io.direct = i & 1 ? 0 : FE_IO_ALL_DIRECT;
		blk.io.indirect_write = i & 2;
		submit(fe, 0, &blk.io);
		finish(fe, 0, &blk.io);
		assert_int_equal(blk.status, FE_BLK_OK);
		assert_int_equal(blk.io.used_len, 1);
		fe_blk_init(&blk, FE_BLK_IN, 4, back, sizeof(back));
		blk.io.in_cuts = &in_cut;
		blk.io.in_cut_count = in_cut < 1024;
		blk.io.direct = i & 1 ? FE_IO_ALL_DIRECT : 0;
		submit(fe, 0, &blk.io);
		finish(fe, 0, &blk.io);
		assert_int_equal(blk.status, FE_BLK_OK);
		assert_int_equal(blk.io.used_len, 1025);
		assert_memory_equal(data, back, sizeof(data));
	}
	server_close(fe);
	server_stop(&server);
}

/* The error descriptor is signalled once, the other ring goes on, a restart recovers this one. (All
 * attacks: unit tests.) */
static void item_33(void **state)
{
	struct server server;
	struct fe_options options;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	options = packed_options(&server);
	options.ring_count = 2;
	options.ring_size = 17;
	fe = server_open_with(&server, &options);
	check_io(fe, 0, 3);
	for (unsigned i = 0; i < 3; i++) {
		struct fe_ring *ring = fe->ring[0];

		fe_ring_poke_packed(ring, ring->avail_idx, UINT64_C(0x1000), 16, 17,
			ring->avail_wrap ? FE_PACKED_AVAIL : FE_PACKED_USED);
		fe_ring_kick_always(ring);
		assert_int_equal(fe_eventfd_wait(fe->err_fd[0], 5000), 0);
		assert_int_equal(fe_eventfd_drain(fe->err_fd[0]), 1);
		check_io(fe, 1, 3);
		assert_ok(fe, fe_stop_ring(fe, 0));
		assert_int_equal(fe->base[0], fe_ring_base(ring));
		fe_ring_reset_at(ring, (uint16_t)fe->base[0]);
		assert_ok(fe, fe_setup_ring(fe, 0));
		check_io(fe, 0, 3);
	}
	server_close(fe);
	server_stop(&server);
}

/* ---- 22, 47 to 51 ------------------------------------------------------------------------ */

struct requests {
	struct fe_blk blks[REQUESTS];
	uint8_t data[REQUESTS][512];
};

static void put_writes(struct fe *fe, struct requests *requests, unsigned sector, uint8_t value)
{
	for (unsigned i = 0; i < REQUESTS; i++) {
		memset(requests->data[i], value + (int)i, sizeof(requests->data[i]));
		fe_blk_init(&requests->blks[i], FE_BLK_OUT, sector + i, requests->data[i],
			sizeof(requests->data[i]));
		requests->blks[i].io.direct = i & 1 ? 0 : FE_IO_ALL_DIRECT;
		submit(fe, 0, &requests->blks[i].io);
	}
}

static void finish_all(struct fe *fe, struct requests *requests)
{
	for (unsigned i = 0; i < REQUESTS; i++) {
		struct fe_io *ended;
		int rc = fe_io_wait(fe->ring[0], &ended, 10000);

		if (rc)
			fail_msg("request %u did not end: %d %s", i, rc, fe->ring[0]->fault);
	}
	for (unsigned i = 0; i < REQUESTS; i++)
		assert_int_equal(requests->blks[i].status, FE_BLK_OK);
	assert_false(fe_ring_ready(fe->ring[0]));
	assert_int_equal(fe->ring[0]->outstanding, 0);
}

/* By the offsets of section 11.1. */
static uint8_t *entry_mark(struct fe *fe, unsigned entry)
{
	return fe->inflight.ptr + 32 + 32 * entry;
}

static unsigned count_marks(struct fe *fe)
{
	unsigned marks = 0;

	for (unsigned i = 0; i < fe->inflight.desc.queue_size; i++)
		marks += *entry_mark(fe, i);
	return marks;
}

static uint16_t region_u16(struct fe *fe, unsigned offset)
{
	uint16_t value;

	memcpy(&value, fe->inflight.ptr + offset, sizeof(value));
	return value;
}

static void region_set_u16(struct fe *fe, unsigned offset, uint16_t value)
{
	memcpy(fe->inflight.ptr + offset, &value, sizeof(value));
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

static void item_47(void **state)
{
	struct requests requests;
	struct server server;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = open_packed(&server, 100);
	assert_int_equal(region_u16(fe, 8), 1); /* version */
	assert_int_equal(region_u16(fe, 10), 100); /* desc_num */
	check_io(fe, 0, 3); /* six requests of three slots */
	usleep(1000);
	assert_int_equal(region_u16(fe, 16), 18); /* used_idx */
	assert_int_equal(region_u16(fe, 18), 18);
	assert_int_equal(region_u16(fe, 20), 0x0101);
	assert_int_equal(count_marks(fe), 0);
	held_bdev_hold(server.disk);
	put_writes(fe, &requests, 0, 1);
	assert_true(held_bdev_await(server.disk, REQUESTS));
	assert_int_equal(count_marks(fe), REQUESTS);
	held_bdev_release(server.disk);
	finish_all(fe, &requests);
	usleep(1000);
	assert_int_equal(count_marks(fe), 0);
	server_close(fe);
	server_stop(&server);
}

/* 22: nothing of the ring or the region changes when GET_VRING_BASE has been answered. */
static void item_22(void **state)
{
	struct requests requests;
	struct server server;
	uint8_t *copy;
	uint64_t sum;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = open_packed(&server, 31);
	put_writes(fe, &requests, 0, 7);
	assert_ok(fe, fe_stop(fe));
	sum = memory_sum(fe);
	copy = malloc(fe->inflight.desc.mmap_size);
	memcpy(copy, fe->inflight.ptr, fe->inflight.desc.mmap_size);
	fe_ring_kick_always(fe->ring[0]);
	usleep(50000);
	assert_true(memory_sum(fe) == sum);
	assert_memory_equal(copy, fe->inflight.ptr, fe->inflight.desc.mmap_size);
	free(copy);
	assert_ok(fe, fe_start(fe));
	finish_all(fe, &requests);
	check_io(fe, 0, 2);
	server_close(fe);
	server_stop(&server);
}

/* 49: QEMU knows nothing of a packed ring's indices after a crash; it says what it said before. */
static void check_recovery(enum fe_order order, bool notified, uint32_t base)
{
	struct fe_options options;
	struct requests requests;
	struct server server;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	options = packed_options(&server);
	options.order = order;
	options.notified = notified;
	options.ring_size = 23;
	fe = server_open_with(&server, &options);
	for (unsigned round = 0; round < 6; round++) {
		check_io(fe, 0, 2);
		held_bdev_hold(server.disk);
		put_writes(fe, &requests, 100, (uint8_t)(0x30 + round));
		assert_true(held_bdev_await(server.disk, REQUESTS));
		lose_connection(&server, fe);
		assert_false(fe_ring_ready(fe->ring[0]));
		assert_int_equal(count_marks(fe), REQUESTS);
		memset(held_bdev_data(server.disk) + 100 * 512, 0, REQUESTS * 512);
		if (base)
			fe->base[0] = base;
		assert_ok(fe, fe_reconnect(fe));
		finish_all(fe, &requests);
		for (unsigned i = 0; i < REQUESTS; i++)
			assert_int_equal(
				held_bdev_data(server.disk)[(100 + i) * 512], 0x30 + round + i);
		usleep(1000);
		assert_int_equal(count_marks(fe), 0);
	}
	server_close(fe);
	server_stop(&server);
}

static void item_49(void **state)
{
	check_recovery(FE_QEMU_7_2, true, 0x80008000);
	check_recovery(FE_QEMU_10, false, 0);
	check_recovery(FE_CLOUD_HYPERVISOR, true, 0);
}

/* A driver begins anew while the front-end keeps the region of the one before it, and tells nobody
 * of the reset (7.5). The one before may even have been firmware with a split ring. */
static void a_new_driver(void **state)
{
	struct fe_options options;
	struct server server;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	for (unsigned was_split = 0; was_split < 2; was_split++) {
		options = was_split ? server_options(&server) : packed_options(&server);
		options.ring_size = 32;
		options.order = FE_QEMU_7_2;
		fe = server_open_with(&server, &options);
		check_io(fe, 0, 7);
		assert_ok(fe, fe_stop(fe));
		fe_ring_destroy(fe->ring[0]);
		fe->ring[0] = NULL;
		fe->options.features |= FE_F_PACKED;
		assert_ok(fe, fe_set_features(fe, fe->options.features & fe->offered));
		assert_ok(fe, fe_create_rings(fe));
		assert_true(fe->ring[0]->packed);
		assert_int_equal(fe->base[0], 0x80008000);
		assert_ok(fe, fe_start(fe));
		check_io(fe, 0, 7);
		server_close(fe);
	}
	server_stop(&server);
}

/* ---- 51 ---------------------------------------------------------------------------------- */

static unsigned first_marked(struct fe *fe)
{
	unsigned i = 0;

	while (!*entry_mark(fe, i))
		i++;
	return i;
}

static void forge_version(struct fe *fe)
{
	region_set_u16(fe, 8, 2);
}

static void forge_desc_num(struct fe *fe)
{
	region_set_u16(fe, 10, 22);
}

static void forge_position(struct fe *fe)
{
	region_set_u16(fe, 16, 23);
}

static void forge_old_position(struct fe *fe)
{
	region_set_u16(fe, 18, 0xffff);
}

static void forge_free_head(struct fe *fe)
{
	region_set_u16(fe, 14, (uint16_t)first_marked(fe));
}

static void forge_no_free(struct fe *fe)
{
	region_set_u16(fe, 14, 0xffff);
}

static void forge_free_loop(struct fe *fe)
{
	uint16_t head = region_u16(fe, 14);

	memcpy(entry_mark(fe, head) + 2, &head, sizeof(head));
}

static void forge_num(struct fe *fe)
{
	*(entry_mark(fe, first_marked(fe)) + 6) = 24;
}

static void forge_num_zero(struct fe *fe)
{
	memset(entry_mark(fe, first_marked(fe)) + 6, 0, 2);
}

static void forge_chain_loop(struct fe *fe)
{
	uint16_t first = (uint16_t)first_marked(fe);

	memset(entry_mark(fe, first) + 6, 0, 2);
	*(entry_mark(fe, first) + 6) = 3;
	memcpy(entry_mark(fe, first) + 2, &first, sizeof(first));
}

static void forge_marks(struct fe *fe)
{
	for (unsigned i = 0; i < 23; i++)
		*entry_mark(fe, i) = 0xff;
}

static void forge_all(struct fe *fe)
{
	memset(fe->inflight.ptr + 12, 0xff, 32 * 23 + 20);
}

static void forge_id(struct fe *fe)
{
	for (unsigned i = 0; i < 23; i++)
		memset(entry_mark(fe, i) + 16, 0x17, 2);
}

static void forge_same_id(struct fe *fe)
{
	for (unsigned i = 0; i < 23; i++)
		memset(entry_mark(fe, i) + 16, 0, 2);
}

static void forge_descriptors(struct fe *fe)
{
	for (unsigned i = 0; i < 23; i++)
		memset(entry_mark(fe, i) + 18, 0xff, 14);
}

static const struct forgery {
	const char *name;
	void (*forge)(struct fe *fe);
	bool refused; /* or the ring breaks, or it is served as far as it goes */
} forgeries[] = {
	{"a version of the future", forge_version, true},
	{"another number of entries", forge_desc_num, true},
	{"a position outside", forge_position, true},
	{"an old position outside", forge_old_position, true},
	{"a free list that begins in a chain", forge_free_head, false},
	{"no free list", forge_no_free, true},
	{"a free list that is a loop", forge_free_loop, true},
	{"a chain that is longer than the ring", forge_num, true},
	{"a chain of nothing", forge_num_zero, true},
	{"a chain that is a loop", forge_chain_loop, true},
	{"marks everywhere", forge_marks, false},
	{"all bits", forge_all, true},
	{"ids outside", forge_id, false},
	{"the same id in all", forge_same_id, false},
	{"descriptors of nothing", forge_descriptors, false},
};

static void item_51(void **state)
{
	struct requests requests;
	struct server server;
	int rc;

	server_start(&server, FE_BUS_BLK);
	for (unsigned i = 0; i < ARRAY_SIZE(forgeries); i++) {
		struct fe *fe = open_packed(&server, 23);

		print_message("             %s\n", forgeries[i].name);
		check_io(fe, 0, 3);
		held_bdev_hold(server.disk);
		put_writes(fe, &requests, 0, 1);
		assert_true(held_bdev_await(server.disk, REQUESTS));
		lose_connection(&server, fe);
		forgeries[i].forge(fe);
		rc = fe_reconnect(fe);
		if (forgeries[i].refused)
			assert_int_not_equal(rc, 0);
		else
			assert_ok(fe, rc);
		usleep(20000);
		for (unsigned j = 0; j < REQUESTS; j++)
			fe_io_drop(fe->ring[0], &requests.blks[j].io);
		fe_destroy(fe);
		assert_true(server_await_idle(&server));
		fe = server_open(&server);
		check_io(fe, 0, 3);
		server_close(fe);
	}
	server_stop(&server);
}

/* ---- 12 ---------------------------------------------------------------------------------- */

static void item_12(void **state)
{
	struct server server;
	struct fe_options options;
	struct fe *fe;

	server_start(&server, FE_BUS_SCSI);
	options = packed_options(&server);
	fe = server_open_with(&server, &options);
	assert_true(fe->features & FE_F_PACKED);
	for (unsigned i = 0; i < 3; i++) {
		check_io(fe, 2, 20);
		assert_ok(fe, fe_stop(fe));
		assert_ok(fe, fe_start(fe));
	}
	server_close(fe);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"24.12 scsi serves packed rings, control and event ring too", item_12, NULL, NULL,
			NULL},
		{"24.29 packed rings of any size work", item_29_sizes, NULL, NULL, NULL},
		{"24.29 packed rings of one and two entries work", item_29_tiny, NULL, NULL, NULL},
		{"24.29 bad sizes, bases and misaligned addresses of packed rings are refused",
			item_29_refused, NULL, NULL, NULL},
		{"24.30, 24.24 packed rings wrap under load, and go on from their base", item_30,
			NULL, NULL, NULL},
		{"24.31 EVENT_IDX of a packed ring loses no wake-up", item_31, NULL, NULL, NULL},
		{"24.32 any layout of descriptors in a packed ring gives the same result", item_32,
			NULL, NULL, NULL},
		{"24.33 a packed ring that is broken is alone in it and can be restarted", item_33,
			NULL, NULL, NULL},
		{"24.47 the in-flight region of a packed ring is filled by the rules", item_47,
			NULL, NULL, NULL},
		{"24.22 a stopped packed ring and its records are left alone", item_22, NULL, NULL,
			NULL},
		{"24.49 recovery of a packed ring does not believe SET_VRING_BASE", item_49, NULL,
			NULL, NULL},
		{"11.1 a new driver does not go on where the one before it stood", a_new_driver,
			NULL, NULL, NULL},
		{"24.51 forged records of a packed ring are refused or harmless", item_51, NULL,
			NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
