/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A hostile driver breaks its own ring, once and no more; where only a buffer is wrong the device
 * answers with an error. Each attack is placed raw into the ring.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "queue_world.h"
#include "spec/virtio_ring.h"

struct attack {
	const char *name;
	void (*place)(struct queue_world *world, uint64_t data);
	bool faulty; /* answered with an error by the device instead of breaking the ring */
};

static void attack_jump(struct queue_world *world, uint64_t data)
{
	fe_ring_poke_avail_idx(world->ring, 9);
}

static void attack_head(struct queue_world *world, uint64_t data)
{
	fe_ring_poke_avail(world->ring, 0, 8);
	fe_ring_poke_avail_idx(world->ring, 1);
}

static void attack_one(struct queue_world *world)
{
	fe_ring_poke_avail(world->ring, 0, 0);
	fe_ring_poke_avail_idx(world->ring, 1);
}

static void attack_next(struct queue_world *world, uint64_t data)
{
	fe_ring_poke_desc(world->ring, 0, data, 16, VRING_DESC_F_NEXT, 8);
	attack_one(world);
}

static void attack_loop(struct queue_world *world, uint64_t data)
{
	fe_ring_poke_desc(world->ring, 0, data, 16, VRING_DESC_F_NEXT, 1);
	fe_ring_poke_desc(world->ring, 1, data, 16, VRING_DESC_F_NEXT, 0);
	attack_one(world);
}

static void attack_twice(struct queue_world *world, uint64_t data)
{
	fe_ring_poke_desc(world->ring, 0, data, 16, VRING_DESC_F_WRITE, 0);
	fe_ring_poke_avail(world->ring, 0, 0);
	fe_ring_poke_avail(world->ring, 1, 0);
	fe_ring_poke_avail_idx(world->ring, 2);
}

static void attack_order(struct queue_world *world, uint64_t data)
{
	fe_ring_poke_desc(world->ring, 0, data, 16, VRING_DESC_F_WRITE | VRING_DESC_F_NEXT, 1);
	fe_ring_poke_desc(world->ring, 1, data, 16, 0, 0);
	attack_one(world);
}

static void attack_wrap(struct queue_world *world, uint64_t data)
{
	fe_ring_poke_desc(world->ring, 0, UINT64_MAX - 7, 16, 0, 0);
	attack_one(world);
}

static void attack_indirect(struct queue_world *world, uint64_t gpa, uint32_t len, uint16_t flags)
{
	fe_ring_poke_desc(world->ring, 0, gpa, len, flags | VRING_DESC_F_INDIRECT, 1);
	fe_ring_poke_desc(world->ring, 1, gpa, 16, 0, 0);
	attack_one(world);
}

static void attack_table_empty(struct queue_world *world, uint64_t data)
{
	attack_indirect(world, data, 0, 0);
}

static void attack_table_odd(struct queue_world *world, uint64_t data)
{
	attack_indirect(world, data, 17, 0);
}

static void attack_table_huge(struct queue_world *world, uint64_t data)
{
	attack_indirect(world, data, 0xfffffff0, 0);
}

static void attack_table_nowhere(struct queue_world *world, uint64_t data)
{
	attack_indirect(world, UINT64_C(0x700000000000), 32, 0);
}

static void attack_table_wraps(struct queue_world *world, uint64_t data)
{
	attack_indirect(world, UINT64_MAX - 15, 32, 0);
}

static void attack_table_and_next(struct queue_world *world, uint64_t data)
{
	attack_indirect(world, data, 32, VRING_DESC_F_NEXT);
}

static void attack_table_in_table(struct queue_world *world, uint64_t data)
{
	const struct vring_desc inner = {.addr = data, .len = 16, .flags = VRING_DESC_F_INDIRECT};

	assert_int_equal(fe_memory_write(&world->memory, data, &inner, sizeof(inner)), 0);
	attack_indirect(world, data, 16, 0);
}

static void attack_table_next(struct queue_world *world, uint64_t data)
{
	const struct vring_desc inner = {
		.addr = data, .len = 16, .flags = VRING_DESC_F_NEXT, .next = 1};

	assert_int_equal(fe_memory_write(&world->memory, data, &inner, sizeof(inner)), 0);
	attack_indirect(world, data, 16, 0);
}

static void attack_nowhere(struct queue_world *world, uint64_t data)
{
	fe_ring_poke_desc(world->ring, 0, UINT64_C(0x700000000000), 64, VRING_DESC_F_WRITE, 0);
	attack_one(world);
}

static void attack_off_the_end(struct queue_world *world, uint64_t data)
{
	fe_ring_poke_desc(world->ring, 0, WORLD_DATA_GPA + WORLD_DATA_SIZE - 8, 64, 0, 0);
	attack_one(world);
}

static void attack_enormous(struct queue_world *world, uint64_t data)
{
	for (uint32_t i = 0; i < 8; i++)
		fe_ring_poke_desc(
			world->ring, i, data, 0xffffffff, VRING_DESC_F_NEXT, (uint16_t)(i + 1));
	fe_ring_poke_desc(world->ring, 7, data, 0xffffffff, 0, 0);
	attack_one(world);
}

static const struct attack attacks[] = {
	{"the available index jumps", attack_jump, false},
	{"a head is out of bounds", attack_head, false},
	{"next is out of bounds", attack_next, false},
	{"a chain is a loop", attack_loop, false},
	{"a head is given twice", attack_twice, false},
	{"readable follows writable", attack_order, false},
	{"an address wraps", attack_wrap, false},
	{"a table is empty", attack_table_empty, false},
	{"a table has half a descriptor", attack_table_odd, false},
	{"a table is huge", attack_table_huge, false},
	{"a table is nowhere", attack_table_nowhere, false},
	{"a table wraps", attack_table_wraps, false},
	{"a table has a next", attack_table_and_next, false},
	{"a table is in a table", attack_table_in_table, false},
	{"next leaves the table", attack_table_next, false},
	{"a buffer is nowhere", attack_nowhere, true},
	{"a buffer leaves memory", attack_off_the_end, true},
	{"a chain has 32 GiB", attack_enormous, true},
};

struct victim {
	struct vq_request *held;
	unsigned handled;
	bool faulty;
};

static void victim_handle(struct vq_request *request)
{
	struct victim *victim = virtqueue_device(request->vq);

	victim->handled++;
	victim->faulty = request->faulty;
	if (request->faulty)
		virtqueue_push(request, 0);
	else
		victim->held = request;
}

static const struct virtqueue_ops victim_ops = {
	.request_size = sizeof(struct vq_request),
	.handle = victim_handle,
};

static void attack_run(const struct attack *attack, bool event_idx)
{
	struct queue_world world;
	struct victim victim = {0};
	const struct world_options options = {
		.seed = 1,
		.size = 8,
		.event_idx = event_idx,
		.indirect = true,
		.ops = &victim_ops,
		.device = &victim,
	};
	struct virtqueue_info info;

	world_create(&world, &options);
	world_start(&world);
	attack->place(&world, WORLD_DATA_GPA);
	world.os->ops->event_signal(world.os, world.kick_fd);
	world_run(&world, 10 * MSEC_NS);
	virtqueue_get_info(world.vq, &info);
	assert_int_equal(info.broken, !attack->faulty);
	assert_int_equal(world.errs, !attack->faulty);
	assert_int_equal(victim.faulty, attack->faulty);

	/* Kicks change nothing; err is told once. */
	world.os->ops->event_signal(world.os, world.kick_fd);
	world_run(&world, 10 * MSEC_NS);
	assert_int_equal(world.errs, !attack->faulty);
	world_stop_begin(&world);
	if (victim.held) {
		world_run(&world, MSEC_NS);
		assert_false(world.answered);
		virtqueue_push(victim.held, 0);
		world.os->ops->ring_wake(world.data->ring);
	}
	world_run(&world, 10 * MSEC_NS);
	assert_true(world.answered);

	/* A restart on a clean ring serves again. */
	fe_ring_reset(world.ring);
	victim = (struct victim){0};
	world_destroy(&world);
}

static void what_breaks_virtio_breaks_that_ring_once_and_no_more(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(attacks); i++) {
		attack_run(&attacks[i], false);
		attack_run(&attacks[i], true);
	}
}

/* 2.6.5.2: a table may have as many entries as the ring; one more is too many. */
static bool table_is_served(uint32_t ring_size, uint32_t entries)
{
	struct queue_world world;
	struct victim victim = {0};
	const struct world_options options = {.seed = 1,
		.size = ring_size,
		.indirect = true,
		.ops = &victim_ops,
		.device = &victim};
	uint64_t table = WORLD_DATA_GPA;
	bool served;

	world_create(&world, &options);
	world_start(&world);
	for (uint32_t i = 0; i < entries; i++) {
		const struct vring_desc desc = {
			.addr = WORLD_DATA_GPA + i,
			.len = 1,
			.flags = i + 1 < entries ? VRING_DESC_F_NEXT : 0,
			.next = (uint16_t)(i + 1),
		};

		assert_int_equal(
			fe_memory_write(&world.memory, table + i * 16, &desc, sizeof(desc)), 0);
	}
	fe_ring_poke_desc(world.ring, 0, table, entries * 16, VRING_DESC_F_INDIRECT, 0);
	attack_one(&world);
	world.os->ops->event_signal(world.os, world.kick_fd);
	world_run(&world, 10 * MSEC_NS);
	served = victim.held && victim.held->out_bytes == entries;
	if (victim.held)
		virtqueue_push(victim.held, 0);
	world.os->ops->ring_wake(world.data->ring);
	world_stop(&world);
	world_destroy(&world);
	return served;
}

static void an_indirect_table_may_be_as_long_as_the_ring(void **state)
{
	assert_true(table_is_served(2048, 2048));
	assert_false(table_is_served(2048, 2049));
	assert_true(table_is_served(8, 1026)); /* longer than the ring: some drivers do */
	assert_false(table_is_served(8, 1027));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_breaks_virtio_breaks_that_ring_once_and_no_more),
		cmocka_unit_test(an_indirect_table_may_be_as_long_as_the_ring),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
