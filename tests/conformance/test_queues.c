/* SPDX-License-Identifier: BSD-2-Clause */
/* Conformance checklist, items 29 to 33: what is in the rings. Split rings; packed ones come with
 * the issue that offers them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "conformance/server.h"

/* ---- 29 ---------------------------------------------------------------------------------- */

/* A request in one ring entry, so that a ring of one entry can serve it. */
static void run_indirect(struct fe *fe, uint8_t value)
{
	struct fe_blk blk;
	uint8_t data[1024];

	memset(data, value, sizeof(data));
	fe_blk_init(&blk, FE_BLK_OUT, 2, data, sizeof(data));
	blk.io.direct = 0;
	submit(fe, 0, &blk.io);
	finish(fe, 0, &blk.io);
	assert_int_equal(blk.status, FE_BLK_OK);
	memset(data, 0, sizeof(data));
	fe_blk_init(&blk, FE_BLK_IN, 2, data, sizeof(data));
	blk.io.direct = 0;
	submit(fe, 0, &blk.io);
	finish(fe, 0, &blk.io);
	assert_int_equal(blk.status, FE_BLK_OK);
	assert_int_equal(data[1023], value);
}

static void item_29_sizes(void **state)
{
	struct server server;
	struct fe_options options;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.ring_size = 1;
	fe = server_open_with(&server, &options);
	for (uint32_t size = 1; size <= 32768; size *= 2) {
		fe->options.ring_size = size;
		assert_ok(fe, fe_reset(fe));
		assert_ok(fe, fe_create_rings(fe));
		assert_ok(fe, fe_start(fe));
		for (unsigned i = 0; i < 5; i++)
			run_indirect(fe, (uint8_t)(size + i));
		if (size >= 4)
			run_load(fe, 0, 300, size > 256 ? 64 : size / 4 + 1, size);
	}
	server_close(fe);
	server_stop(&server);
}

static void item_29_refused(void **state)
{
	static const uint32_t nums[] = {0, 3, 6, 127, 32767, 65535, 65536, UINT32_MAX};
	static const uint32_t bases[] = {65536, UINT32_MAX, 0x80008000};
	struct server server;
	struct fe_options options;
	struct fe *fe;
	struct fe_vring_state word = {0};
	struct fe_vring_addr addr = {0};

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	fe = server_prepare(&server, &options);
	for (unsigned i = 0; i < ARRAY_SIZE(nums); i++) {
		word.num = nums[i];
		assert_int_not_equal(ask(fe, FE_SET_VRING_NUM, &word, sizeof(word), -1), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(bases); i++) {
		word.num = bases[i];
		assert_int_not_equal(ask(fe, FE_SET_VRING_BASE, &word, sizeof(word), -1), 0);
	}
	for (unsigned i = 0; i < 6; i++) {
		static const uint64_t odd[6][3] = {
			{1, 0, 0}, {8, 0, 0}, {0, 1, 0}, {0, 3, 0}, {0, 0, 1}, {0, 0, 2}};

		addr.desc = fe_memory_user(&fe->memory, fe->ring[0]->desc) + odd[i][0];
		addr.avail = fe_memory_user(&fe->memory, fe->ring[0]->avail) + odd[i][1];
		addr.used = fe_memory_user(&fe->memory, fe->ring[0]->used) + odd[i][2];
		assert_int_not_equal(ask(fe, FE_SET_VRING_ADDR, &addr, sizeof(addr), -1), 0);
	}
	/* None of it has left a trace. */
	assert_ok(fe, fe_setup_ring(fe, 0));
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	check_io(fe, 0, 3);
	/* Started: nothing of it may change, even to good values. */
	word.num = 64;
	assert_int_not_equal(ask(fe, FE_SET_VRING_NUM, &word, sizeof(word), -1), 0);
	assert_int_not_equal(ask(fe, FE_SET_VRING_BASE, &word, sizeof(word), -1), 0);
	assert_int_not_equal(ask(fe, FE_SET_VRING_ADDR, &addr, sizeof(addr), -1), 0);
	check_io(fe, 0, 3);
	server_close(fe);
	server_stop(&server);
}

/* Addresses in no region: the ring does not run, nothing else happens; when the memory comes, it
 * does. */
static void item_29_areas(void **state)
{
	struct server server;
	struct fe_options options;
	struct fe *fe;
	uint32_t slot;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	fe = fe_create(&options);
	assert_int_equal(fe_conn_connect(&fe->conn, server.path, 5000), 0);
	assert_ok(fe, fe_negotiate(fe));
	slot = add_region(fe, 0, 64 * MIB);
	assert_ok(fe, fe_set_features(fe, options.features & fe->offered));
	assert_ok(fe, fe_create_rings(fe));
	assert_ok(fe, fe_setup_ring(fe, 0));
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	usleep(20000);
	assert_ok(fe, fe_add_mem_reg(fe, slot));
	check_io(fe, 0, 3);
	/* Away and back while it is started: it waits, and is not broken. */
	assert_ok(fe, fe_rem_mem_reg(fe, slot));
	usleep(20000);
	assert_ok(fe, fe_add_mem_reg(fe, slot));
	check_io(fe, 0, 3);
	assert_int_equal(fe_eventfd_drain(fe->err_fd[0]), 0);
	server_close(fe);
	server_stop(&server);
}

/* ---- 30, 31 ------------------------------------------------------------------------------ */

static void check_wrap(struct server *server, bool event_idx, bool notified)
{
	struct fe_options options = server_options(server);
	struct fe *fe;

	if (!event_idx)
		options.features &= ~FE_F_EVENT_IDX;
	options.notified = notified;
	fe = server_prepare(server, &options);
	fe_ring_reset_at(fe->ring[0], 65400);
	fe->base[0] = 65400;
	assert_ok(fe, fe_setup_ring(fe, 0));
	assert_ok(fe, fe_enable_ring(fe, 0, true));
	run_load(fe, 0, 1000, 20, 7);
	assert_ok(fe, fe_stop(fe));
	assert_int_equal(fe->base[0], (65400 + 1000) % 65536);
	fe_destroy(fe);
}

static void item_30(void **state)
{
	struct server server;

	server_start(&server, FE_BUS_BLK);
	for (unsigned i = 0; i < 4; i++)
		check_wrap(&server, i & 1, i & 2);
	server_stop(&server);
}

/* A notified driver that sleeps on nothing but its call descriptor, and kicks only when asked to:
 * a lost wake-up in either direction shows as a timeout or as -ENOMSG. */
static void item_31(void **state)
{
	struct server server;
	struct fe_options options;
	struct fe *fe;
	unsigned seed = 31;

	server_start(&server, FE_BUS_BLK);
	options = server_options(&server);
	options.notified = true;
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

/* ---- 32 ---------------------------------------------------------------------------------- */

struct layout {
	uint32_t out_cuts[24], in_cuts[24];
	uint32_t out_count, in_count;
	uint32_t direct;
	bool indirect_write;
};

static void check_layout(struct fe *fe, uint32_t type, const struct layout *layout, uint8_t value)
{
	struct fe_blk blk;
	uint8_t data[1024];

	memset(data, value, sizeof(data));
	fe_blk_init(&blk, type, 4, data, sizeof(data));
	blk.io.out_cuts = layout->out_cuts;
	blk.io.out_cut_count = layout->out_count;
	blk.io.in_cuts = layout->in_cuts;
	blk.io.in_cut_count = type == FE_BLK_IN ? layout->in_count : 0;
	blk.io.direct = layout->direct;
	blk.io.indirect_write = layout->indirect_write;
	submit(fe, 0, &blk.io);
	finish(fe, 0, &blk.io);
	assert_int_equal(blk.status, FE_BLK_OK);
	assert_int_equal(blk.io.used_len, type == FE_BLK_IN ? 1025 : 1);
	for (unsigned i = 0; i < sizeof(data); i++)
		assert_int_equal(data[i], value);
}

static void check_layout_both(struct server *server, struct fe *fe, struct layout *layout)
{
	static uint8_t value;

	value++;
	memset(held_bdev_data(server->disk) + 2048, 0, 1024);
	check_layout(fe, FE_BLK_OUT, layout, value);
	for (unsigned i = 0; i < 1024; i++)
		assert_int_equal(held_bdev_data(server->disk)[2048 + i], value);
	check_layout(fe, FE_BLK_IN, layout, value);
}

static void item_32(void **state)
{
	static const uint32_t direct[] = {FE_IO_ALL_DIRECT, 0, 1, 2};
	struct server server;
	struct fe *fe;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	for (unsigned d = 0; d < ARRAY_SIZE(direct); d++) {
		struct layout layout = {.direct = direct[d]};

		/* The header cut at any byte, data behind it in the same descriptor or not. */
		for (uint32_t cut = 1; cut < 17; cut++) {
			layout.out_cuts[0] = cut;
			layout.out_count = 1;
			check_layout_both(&server, fe, &layout);
			layout.indirect_write = !layout.indirect_write;
		}
		/* One byte a descriptor, with empty ones in between. */
		for (uint32_t i = 0; i < 24; i++)
			layout.out_cuts[i] = i % 3 ? 1 : 0;
		layout.out_count = 24;
		check_layout_both(&server, fe, &layout);
		layout.out_count = 0;
		/* The data cut at odd places, the status alone or together with data. */
		for (uint32_t cut = 1; cut < 1024; cut += 173) {
			layout.in_cuts[0] = cut;
			layout.in_count = 1;
			check_layout_both(&server, fe, &layout);
			layout.in_cuts[1] = 1;
			layout.in_cuts[2] = 150;
			layout.in_count = 3;
			check_layout_both(&server, fe, &layout);
		}
		layout.in_cuts[0] = 1024;
		layout.in_count = 1;
		check_layout_both(&server, fe, &layout);
	}
	server_close(fe);
	server_stop(&server);
}

/* ---- 33 ---------------------------------------------------------------------------------- */

struct attack {
	const char *name;
	void (*launch)(struct fe *fe, struct fe_ring *ring, uint64_t buffer);
};

static void offer(struct fe_ring *ring, uint16_t head)
{
	fe_ring_poke_avail(ring, ring->avail->idx, head);
	fe_ring_poke_avail_idx(ring, (uint16_t)(ring->avail->idx + 1));
}

static void attack_index_jump(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	fe_ring_poke_avail_idx(ring, (uint16_t)(ring->avail->idx + ring->size + 1));
}

static void attack_head(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	offer(ring, (uint16_t)ring->size);
}

static void attack_next(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	fe_ring_poke_desc(ring, 0, buffer, 16, FE_DESC_NEXT, 60000);
	offer(ring, 0);
}

static void attack_loop(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	fe_ring_poke_desc(ring, 0, buffer, 16, FE_DESC_NEXT, 1);
	fe_ring_poke_desc(ring, 1, buffer, 16, FE_DESC_NEXT, 0);
	offer(ring, 0);
}

static void attack_self_loop(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	fe_ring_poke_desc(ring, 0, buffer, 0, FE_DESC_NEXT, 0);
	offer(ring, 0);
}

static void attack_indirect_next(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	fe_ring_poke_desc(ring, 0, buffer, 32, FE_DESC_INDIRECT | FE_DESC_NEXT, 1);
	fe_ring_poke_desc(ring, 1, buffer, 16, FE_DESC_WRITE, 0);
	offer(ring, 0);
}

static void attack_indirect_nested(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	struct fe_desc inner = {.gpa = buffer + 64, .len = 16, .flags = FE_DESC_INDIRECT};

	fe_memory_write(&fe->memory, buffer, &inner, sizeof(inner));
	fe_ring_poke_desc(ring, 0, buffer, 16, FE_DESC_INDIRECT, 0);
	offer(ring, 0);
}

static void attack_indirect_empty(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	fe_ring_poke_desc(ring, 0, buffer, 0, FE_DESC_INDIRECT, 0);
	offer(ring, 0);
}

static void attack_indirect_odd(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	fe_ring_poke_desc(ring, 0, buffer, 24, FE_DESC_INDIRECT, 0);
	offer(ring, 0);
}

static void attack_indirect_huge(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	fe_ring_poke_desc(ring, 0, buffer, 0x100000, FE_DESC_INDIRECT, 0);
	offer(ring, 0);
}

static void attack_indirect_nowhere(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	fe_ring_poke_desc(ring, 0, UINT64_C(1) << 50, 32, FE_DESC_INDIRECT, 0);
	offer(ring, 0);
}

static void attack_table_loop(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	struct fe_desc table[2] = {
		{.gpa = buffer + 64, .len = 16, .flags = FE_DESC_NEXT, .next = 1},
		{.gpa = buffer + 64, .len = 16, .flags = FE_DESC_NEXT, .next = 0}};

	fe_memory_write(&fe->memory, buffer, table, sizeof(table));
	fe_ring_poke_desc(ring, 0, buffer, sizeof(table), FE_DESC_INDIRECT, 0);
	offer(ring, 0);
}

static void attack_order(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	fe_ring_poke_desc(ring, 0, buffer, 512, FE_DESC_NEXT | FE_DESC_WRITE, 1);
	fe_ring_poke_desc(ring, 1, buffer + 512, 16, 0, 0);
	offer(ring, 0);
}

static void attack_wrap(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	fe_ring_poke_desc(ring, 0, UINT64_MAX - 7, 16, 0, 0);
	offer(ring, 0);
}

/* Too short to be answered: no status byte, or no whole header. */
static void attack_no_status(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	fe_ring_poke_desc(ring, 0, buffer, 16, 0, 0);
	offer(ring, 0);
}

static void attack_twice(struct fe *fe, struct fe_ring *ring, uint64_t buffer)
{
	struct fe_blk_header header = {.type = FE_BLK_IN};

	fe_memory_write(&fe->memory, buffer, &header, sizeof(header));
	fe_ring_poke_desc(ring, 0, buffer, 16, FE_DESC_NEXT, 1);
	fe_ring_poke_desc(ring, 1, buffer + 512, 513, FE_DESC_WRITE, 0);
	fe_ring_poke_avail(ring, ring->avail->idx, 0);
	fe_ring_poke_avail(ring, (uint16_t)(ring->avail->idx + 1), 0);
	fe_ring_poke_avail_idx(ring, (uint16_t)(ring->avail->idx + 2));
}

static const struct attack attacks[] = {
	{"avail index jumps by more than the size", attack_index_jump},
	{"head outside the table", attack_head},
	{"next outside the table", attack_next},
	{"loop of two", attack_loop},
	{"loop of one, without a byte", attack_self_loop},
	{"INDIRECT with NEXT", attack_indirect_next},
	{"INDIRECT in a table", attack_indirect_nested},
	{"empty table", attack_indirect_empty},
	{"table of one and a half", attack_indirect_odd},
	{"table beyond the limit", attack_indirect_huge},
	{"table outside memory", attack_indirect_nowhere},
	{"loop in a table", attack_table_loop},
	{"readable after writable", attack_order},
	{"address and length wrap", attack_wrap},
	{"no status byte", attack_no_status},
	{"the same head twice", attack_twice},
};

static void check_attack(struct server *server, struct fe *fe, const struct attack *attack)
{
	uint8_t *buffer = fe_memory_alloc(&fe->memory, 8192, 4096);

	printf("             %s\n", attack->name);
	/* Held, so that the same head is really in flight twice. */
	held_bdev_hold(server->disk);
	attack->launch(fe, fe->ring[0], fe_memory_gpa(&fe->memory, buffer));
	fe_ring_kick_always(fe->ring[0]);
	if (fe_eventfd_wait(fe->err_fd[0], 5000))
		fail_msg("the error descriptor was not signalled");
	held_bdev_release(server->disk);
	usleep(5000);
	assert_int_equal(fe_eventfd_drain(fe->err_fd[0]), 1);
	/* The other ring goes on; this one is dead until it is stopped. */
	check_io(fe, 1, 3);
	fe_ring_kick_always(fe->ring[0]);
	usleep(2000);
	assert_int_equal(fe_eventfd_drain(fe->err_fd[0]), 0);
	/* Its memory going and coming back does not start it either: it would break again. */
	assert_ok(fe, fe_rem_mem_reg(fe, 0));
	assert_ok(fe, fe_add_mem_reg(fe, 0));
	check_io(fe, 1, 1);
	usleep(2000);
	assert_int_equal(fe_eventfd_drain(fe->err_fd[0]), 0);
	assert_ok(fe, fe_stop_ring(fe, 0));
	fe_memory_free(&fe->memory, buffer);
	fe_ring_reset(fe->ring[0]);
	fe->base[0] = 0;
	assert_ok(fe, fe_setup_ring(fe, 0));
	check_io(fe, 0, 3);
}

static void item_33(void **state)
{
	struct server server, neighbour;
	struct fe_options options;
	struct fe *fe, *other;

	server_start(&server, FE_BUS_BLK);
	server_start(&neighbour, FE_BUS_BLK);
	options = server_options(&server);
	options.ring_count = 2;
	fe = server_open_with(&server, &options);
	other = server_open(&neighbour);
	for (unsigned i = 0; i < ARRAY_SIZE(attacks); i++) {
		check_attack(&server, fe, &attacks[i]);
		check_io(other, 0, 1);
	}
	server_close(fe);
	server_close(other);
	server_stop(&neighbour);
	server_stop(&server);
}

/* A data buffer in no region fails the request alone. */
static void item_33_data(void **state)
{
	struct server server;
	struct fe *fe;
	struct fe_ring *ring;
	struct fe_blk_header header = {.type = FE_BLK_IN};
	uint8_t *buffer;

	server_start(&server, FE_BUS_BLK);
	fe = server_open(&server);
	ring = fe->ring[0];
	buffer = fe_memory_alloc(&fe->memory, 64, 64);
	memcpy(buffer, &header, sizeof(header));
	buffer[32] = 0xee;
	fe_ring_poke_desc(ring, 0, fe_memory_gpa(&fe->memory, buffer), 16, FE_DESC_NEXT, 1);
	fe_ring_poke_desc(ring, 1, UINT64_C(1) << 45, 512, FE_DESC_NEXT | FE_DESC_WRITE, 2);
	fe_ring_poke_desc(ring, 2, fe_memory_gpa(&fe->memory, buffer) + 32, 1, FE_DESC_WRITE, 0);
	/* Beyond the grace time after the memory was announced, in which it would be tried
	 * again. */
	usleep(1500000);
	offer(ring, 0);
	fe_ring_kick_always(ring);
	for (unsigned i = 0; i < 5000 && fe_ring_peek_used_idx(ring) == 0; i++)
		usleep(1000);
	assert_int_equal(fe_ring_peek_used_idx(ring), 1);
	assert_int_equal(fe_eventfd_drain(fe->err_fd[0]), 0);
	fe_ring_reset_at(ring, 1);
	check_io(fe, 0, 3);
	fe_memory_free(&fe->memory, buffer);
	server_close(fe);
	server_stop(&server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"24.29 rings of 1 to 32768 entries work", item_29_sizes, NULL, NULL, NULL},
		{"24.29 bad sizes, bases and misaligned addresses are refused", item_29_refused,
			NULL, NULL, NULL},
		{"24.29 a ring whose areas are not there waits for them", item_29_areas, NULL, NULL,
			NULL},
		{"24.30 the index wraps at 65536 under load, with and without EVENT_IDX", item_30,
			NULL, NULL, NULL},
		{"24.31 EVENT_IDX loses no wake-up in either direction", item_31, NULL, NULL, NULL},
		{"24.32 any layout of descriptors gives the same result", item_32, NULL, NULL,
			NULL},
		{"24.33 a malformed chain breaks its ring only, and a restart recovers it", item_33,
			NULL, NULL, NULL},
		{"24.33 a data buffer outside memory fails its request only", item_33_data, NULL,
			NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
