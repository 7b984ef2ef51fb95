/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What packed rings have of their own: the form of what comes back, a batch that becomes visible at
 * once, bases, and hostile drivers, who break their ring, once and no more. Each attack is placed
 * raw into the ring. (What both formats have in common: test_virtqueue.c, test_wakeups.c.)
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "queue_world.h"
#include "spec/virtio_ring.h"

#define SIZE  7u /* of the attacked ring */
#define AVAIL VRING_PACKED_DESC_F_AVAIL /* in the first round */

/* ---- a device that answers when told ------------------------------------------------------- */

struct holder {
	struct vq_request *held[16];
	unsigned count;
	unsigned faulty;
	unsigned answer_at; /* so many held: all are answered, last come first; 0: never */
	uint32_t written;
	struct fe_ring *ring;
	bool seen_early; /* a part of a batch */
};

static void holder_answer_all(struct holder *holder)
{
	while (holder->count) {
		virtqueue_push(holder->held[--holder->count], holder->written);
		holder->seen_early |= fe_ring_ready(holder->ring);
	}
}

static void holder_handle(struct vq_request *request)
{
	struct holder *holder = virtqueue_device(request->vq);

	if (request->faulty) {
		holder->faulty++;
		virtqueue_push(request, 0);
		return;
	}
	assert_true(holder->count < ARRAY_SIZE(holder->held));
	holder->held[holder->count++] = request;
	if (holder->count == holder->answer_at)
		holder_answer_all(holder);
}

static const struct virtqueue_ops holder_ops = {
	.request_size = sizeof(struct vq_request),
	.handle = holder_handle,
};

static void holder_world_create(
	struct queue_world *world, struct holder *holder, uint32_t size, bool event_idx)
{
	const struct world_options options = {
		.seed = 1,
		.size = size,
		.packed = true,
		.base = 0x8000,
		.event_idx = event_idx,
		.indirect = true,
		.ops = &holder_ops,
		.device = holder,
	};

	world_create(world, &options);
	holder->ring = world->ring;
	world_start(world);
}

static void world_kick(struct queue_world *world)
{
	world->os->ops->event_signal(world->os, world->kick_fd);
	world_run(world, 10 * MSEC_NS);
}

/* ---- what comes back ----------------------------------------------------------------------- */

static void add_chains(struct queue_world *world, unsigned chains, uint32_t segments)
{
	struct fe_segment segment[4];
	const struct fe_chain chain = {.segments = segment, .count = segments, .direct = segments};

	assert_true(segments <= ARRAY_SIZE(segment));
	for (uint32_t i = 0; i < segments; i++)
		segment[i] = (struct fe_segment){
			.gpa = WORLD_DATA_GPA + i * 64, .len = 64, .write = i + 1 == segments};
	while (chains--)
		assert_int_equal(fe_ring_add(world->ring, &chain, NULL), 0);
}

static void a_batch_becomes_visible_at_once(void **state)
{
	struct holder holder = {.answer_at = 5, .written = 64};
	struct fe_completion completion;
	struct queue_world world;

	holder_world_create(&world, &holder, 11, false);
	for (unsigned round = 0; round < 12; round++) { /* begins at every slot */
		unsigned calls = world.calls;

		fe_ring_interrupts(world.ring, true);
		add_chains(&world, 5, 2);
		world_publish(&world);
		assert_true(world_wait_call(&world, calls));
		assert_false(holder.seen_early);
		for (unsigned i = 0; i < 5; i++)
			assert_int_equal(fe_ring_pop(world.ring, &completion), 1);
		assert_int_equal(world.calls, calls + 1);
	}
	world_stop(&world);
	world_destroy(&world);
}

static void a_chain_comes_back_as_one_descriptor_that_says_what_was_written(void **state)
{
	const uint16_t used = VRING_PACKED_DESC_F_AVAIL | VRING_PACKED_DESC_F_USED;

	for (uint32_t written = 0; written <= 64; written += 32) {
		struct holder holder = {.answer_at = 2, .written = written};
		struct fe_packed_desc before[8];
		struct queue_world world;

		holder_world_create(&world, &holder, 8, false);
		add_chains(&world, 2, 3);
		world_publish(&world);
		memcpy(before, world.ring->packed_desc, sizeof(before));
		assert_true(world_wait_ready(&world));
		for (unsigned slot = 0; slot < 8; slot++) {
			struct fe_packed_desc *desc = &world.ring->packed_desc[slot];

			if (slot != 0 && slot != 3) {
				assert_memory_equal(desc, &before[slot], sizeof(*desc));
				continue;
			}
			/* The last come is first; its id was in the last slot of its chain. */
			assert_int_equal(desc->id, slot ? before[2].id : before[5].id);
			assert_int_equal(desc->len, written);
			assert_int_equal(desc->flags, used | (written ? VRING_DESC_F_WRITE : 0));
		}
		world_stop(&world);
		world_destroy(&world);
	}
}

/* ---- calls --------------------------------------------------------------------------------- */

/* One request after the other through an odd ring: the driver wants to hear of the n-th from now,
 * and hears of that one alone. */
static void a_driver_is_called_when_its_position_is_passed_and_not_before(void **state)
{
	struct holder holder = {.answer_at = 1};
	struct fe_completion completion;
	struct queue_world world;

	holder_world_create(&world, &holder, SIZE, true);
	add_chains(&world, 1, 1); /* the first after a start is signalled in any case */
	world_publish(&world);
	assert_true(world_wait_call(&world, 0));
	assert_int_equal(fe_ring_pop(world.ring, &completion), 1);
	for (unsigned round = 0; round < 30; round++) {
		unsigned ahead = round % SIZE;
		unsigned position = world.ring->used_idx + ahead;
		bool wrap = world.ring->used_wrap ^ (position >= SIZE);
		unsigned calls = world.calls;

		world.ring->driver_event->position =
			(uint16_t)(position % SIZE | (wrap ? VRING_PACKED_WRAP : 0));
		world.ring->driver_event->flags = VRING_PACKED_EVENT_F_DESC;
		for (unsigned i = 0; i <= ahead; i++) {
			world_run(&world, MSEC_NS);
			assert_int_equal(world.calls, calls);
			add_chains(&world, 1, 1);
			world_publish(&world);
			assert_true(world_wait_ready(&world));
			assert_int_equal(fe_ring_pop(world.ring, &completion), 1);
		}
		assert_true(world_wait_call(&world, calls));
		assert_int_equal(world.calls, calls + 1);
	}
	world_stop(&world);
	world_destroy(&world);
}

/* ---- bases --------------------------------------------------------------------------------- */

static void a_base_is_taken_where_the_ring_can_go_on_from_it(void **state)
{
	static const struct {
		uint32_t base, size;
		int rc;
		uint32_t then;
	} bases[] = {
		{0x80008000, 5, 0, 0x80008000},
		{0x00000000, 5, 0, 0x00000000},
		{0x80048004, 5, 0, 0x80048004},
		{0x00048004, 5, -EINVAL, 0}, /* in flight, and nobody knows what */
		{0x00008004, 5, 0, 0x80048004}, /* the lower half alone */
		{0x80058005, 5, -EINVAL, 0},
		{0xffffffff, 32767, -EINVAL, 0},
		{0xffffffff, 32768, 0, 0xffffffff},
	};
	struct holder holder = {0};

	for (size_t i = 0; i < ARRAY_SIZE(bases); i++) {
		struct virtqueue_config config = {
			.features = VIRTIO_BIT(VIRTIO_F_RING_PACKED),
			.size = (uint16_t)bases[i].size,
			.base = bases[i].base,
			.kick_fd = -1,
			.call_fd = -1,
			.err_fd = -1,
			.name = "test queue",
		};
		struct queue_world world;
		struct virtqueue *vq;
		struct reason reason = {0};

		assert_int_equal(virtqueue_create(&holder_ops, &config, &reason, &vq), bases[i].rc);
		assert_int_equal(bases[i].rc != 0, reason.text[0] != '\0');
		if (bases[i].rc)
			continue;
		virtqueue_destroy(vq);
		holder_world_create(&world, &holder, bases[i].size, false);
		world_stop(&world);
		fe_ring_reset_at(world.ring, (uint16_t)bases[i].base);
		world.base = bases[i].base;
		world_set_device(&world, &holder_ops, &holder);
		world_start(&world);
		world_run(&world, MSEC_NS);
		world_stop(&world);
		assert_int_equal(virtqueue_base(world.vq), bases[i].then);
		assert_int_equal(holder.count, 0);
		world_destroy(&world);
	}
}

static void a_ring_of_any_size_is_served(void **state)
{
	static const uint32_t sizes[] = {1, 2, 3, 5, 255, 1000, 32767, 32768};

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct holder holder = {.answer_at = 1};
		struct fe_completion completion;
		struct queue_world world;
		unsigned rounds = sizes[i] < 1000 ? 5 * sizes[i] : 20;

		holder_world_create(&world, &holder, sizes[i], false);
		while (rounds--) {
			add_chains(&world, 1, 1);
			world_publish(&world);
			assert_true(world_wait_ready(&world));
			assert_int_equal(fe_ring_pop(world.ring, &completion), 1);
		}
		world_stop(&world);
		assert_int_equal(virtqueue_base(world.vq), fe_ring_base(world.ring));
		world_destroy(&world);
	}
}

/* ---- attacks ------------------------------------------------------------------------------- */

static void poke(struct queue_world *world, uint32_t slot, uint64_t gpa, uint32_t len, uint16_t id,
	uint16_t flags)
{
	fe_ring_poke_packed(world->ring, slot, gpa, len, id, flags);
}

static void attack_id(struct queue_world *world, uint64_t data)
{
	poke(world, 0, data, 16, SIZE, AVAIL);
}

static void attack_id_huge(struct queue_world *world, uint64_t data)
{
	poke(world, 0, data, 16, 0xffff, AVAIL);
}

static void attack_id_twice(struct queue_world *world, uint64_t data)
{
	poke(world, 1, data, 16, 3, AVAIL);
	poke(world, 0, data, 16, 3, AVAIL);
}

static void attack_endless(struct queue_world *world, uint64_t data)
{
	for (uint32_t i = SIZE; i--;)
		poke(world, i, data, 16, 0, AVAIL | VRING_DESC_F_NEXT);
}

/* Two slots are out when a chain comes that takes all seven: round again over them. */
static void attack_more_than_all(struct queue_world *world, uint64_t data)
{
	for (uint32_t i = SIZE - 1; i > 1; i--)
		poke(world, i, data, 16, 1, AVAIL | VRING_DESC_F_NEXT);
	poke(world, 1, data, 16, 0, AVAIL);
	poke(world, 0, data, 16, 0, AVAIL | VRING_DESC_F_NEXT);
}

static void attack_order(struct queue_world *world, uint64_t data)
{
	poke(world, 1, data, 16, 0, AVAIL);
	poke(world, 0, data, 16, 0, AVAIL | VRING_DESC_F_WRITE | VRING_DESC_F_NEXT);
}

static void attack_wrap(struct queue_world *world, uint64_t data)
{
	poke(world, 0, UINT64_MAX - 7, 16, 0, AVAIL);
}

static void attack_indirect(struct queue_world *world, uint64_t gpa, uint32_t len, uint16_t flags)
{
	poke(world, 1, gpa, 16, 0, AVAIL);
	poke(world, 0, gpa, len, 0, AVAIL | VRING_DESC_F_INDIRECT | flags);
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

static void attack_table_after_direct(struct queue_world *world, uint64_t data)
{
	poke(world, 1, data, 32, 0, AVAIL | VRING_DESC_F_INDIRECT);
	poke(world, 0, data, 16, 0, AVAIL | VRING_DESC_F_NEXT);
}

static void attack_table_in_table(struct queue_world *world, uint64_t data)
{
	const struct vring_packed_desc inner = {
		.addr = data, .len = 16, .flags = VRING_DESC_F_INDIRECT};

	assert_int_equal(fe_memory_write(&world->memory, data, &inner, sizeof(inner)), 0);
	attack_indirect(world, data, 16, 0);
}

static void attack_table_order(struct queue_world *world, uint64_t data)
{
	const struct vring_packed_desc inner[] = {
		{.addr = data, .len = 16, .flags = VRING_DESC_F_WRITE}, {.addr = data, .len = 16}};

	assert_int_equal(fe_memory_write(&world->memory, data, inner, sizeof(inner)), 0);
	attack_indirect(world, data, sizeof(inner), 0);
}

static void attack_nowhere(struct queue_world *world, uint64_t data)
{
	poke(world, 0, UINT64_C(0x700000000000), 64, 0, AVAIL | VRING_DESC_F_WRITE);
}

static void attack_off_the_end(struct queue_world *world, uint64_t data)
{
	poke(world, 0, WORLD_DATA_GPA + WORLD_DATA_SIZE - 8, 64, 0, AVAIL);
}

static void attack_enormous(struct queue_world *world, uint64_t data)
{
	poke(world, SIZE - 1, data, 0xffffffff, 0, AVAIL);
	for (uint32_t i = SIZE - 1; i--;)
		poke(world, i, data, 0xffffffff, 0, AVAIL | VRING_DESC_F_NEXT);
}

static const struct attack {
	const char *name;
	void (*place)(struct queue_world *world, uint64_t data);
	bool faulty; /* answered with an error by the device instead of breaking the ring */
	unsigned held; /* that come before it */
} attacks[] = {
	{"an id is the size", attack_id, false, 0},
	{"an id is huge", attack_id_huge, false, 0},
	{"an id is given twice", attack_id_twice, false, 1},
	{"a chain has no end", attack_endless, false, 0},
	{"a chain goes over what is out", attack_more_than_all, false, 1},
	{"readable follows writable", attack_order, false, 0},
	{"an address wraps", attack_wrap, false, 0},
	{"a table is empty", attack_table_empty, false, 0},
	{"a table has half a descriptor", attack_table_odd, false, 0},
	{"a table is huge", attack_table_huge, false, 0},
	{"a table is nowhere", attack_table_nowhere, false, 0},
	{"a table wraps", attack_table_wraps, false, 0},
	{"a table has a next", attack_table_and_next, false, 0},
	{"a table follows a direct descriptor", attack_table_after_direct, false, 0},
	{"a table is in a table", attack_table_in_table, false, 0},
	{"readable follows writable in a table", attack_table_order, false, 0},
	{"a buffer is nowhere", attack_nowhere, true, 0},
	{"a buffer leaves memory", attack_off_the_end, true, 0},
	{"a chain has 28 GiB", attack_enormous, true, 0},
};

static void attack_run(const struct attack *attack, bool event_idx)
{
	struct holder holder = {0};
	struct fe_completion completion;
	struct virtqueue_info info;
	struct queue_world world;

	holder_world_create(&world, &holder, SIZE, event_idx);
	attack->place(&world, WORLD_DATA_GPA);
	for (unsigned kicks = 0; kicks < 2; kicks++) { /* the second changes nothing */
		world_kick(&world);
		virtqueue_get_info(world.vq, &info);
		if (info.broken == attack->faulty || holder.count != attack->held)
			fail_msg("%s: broken %d, held %u", attack->name, info.broken, holder.count);
		assert_int_equal(world.errs, !attack->faulty);
		assert_int_equal(holder.faulty, attack->faulty);
	}
	world_stop_begin(&world);
	world_run(&world, MSEC_NS);
	assert_int_equal(world.answered, attack->held == 0);
	holder_answer_all(&holder);
	world.os->ops->ring_wake(world.data->ring);
	world_run(&world, 10 * MSEC_NS);
	assert_true(world.answered);

	/* A restart on a clean ring serves again. */
	fe_ring_reset(world.ring);
	holder.answer_at = 1;
	world_set_device(&world, &holder_ops, &holder);
	world_start(&world);
	add_chains(&world, 1, 3);
	world_publish(&world);
	assert_true(world_wait_ready(&world));
	assert_int_equal(fe_ring_pop(world.ring, &completion), 1);
	world_stop(&world);
	world_destroy(&world);
}

static void what_breaks_virtio_breaks_that_ring_once_and_no_more(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(attacks); i++) {
		attack_run(&attacks[i], false);
		attack_run(&attacks[i], true);
	}
}

/* The driver shall not set them; the device looks at none but WRITE (2.8.7). */
static void flags_and_ids_in_a_table_mean_nothing(void **state)
{
	const struct vring_packed_desc table[] = {
		{.addr = WORLD_DATA_GPA + 512, .len = 16, .id = 0xffff, .flags = AVAIL},
		{.addr = WORLD_DATA_GPA + 1024,
			.len = 0,
			.id = 77,
			.flags = VRING_DESC_F_WRITE | VRING_PACKED_DESC_F_USED},
		{.addr = WORLD_DATA_GPA + 1024, .len = 48, .flags = VRING_DESC_F_NEXT},
		{.addr = WORLD_DATA_GPA + 2048, .len = 32, .flags = VRING_DESC_F_WRITE},
	};
	struct holder holder = {0};
	struct queue_world world;

	holder_world_create(&world, &holder, SIZE, false);
	assert_int_equal(fe_memory_write(&world.memory, WORLD_DATA_GPA, table, sizeof(table)), 0);
	poke(&world, 0, WORLD_DATA_GPA, sizeof(table), 2,
		AVAIL | VRING_DESC_F_INDIRECT | VRING_DESC_F_WRITE);
	world_kick(&world);
	assert_int_equal(holder.count, 1);
	assert_int_equal(holder.held[0]->out_bytes, 64);
	assert_int_equal(holder.held[0]->in_bytes, 32);
	assert_int_equal(holder.held[0]->out_iovs, 2);
	assert_int_equal(holder.held[0]->in_iovs, 1);
	holder_answer_all(&holder);
	world.os->ops->ring_wake(world.data->ring);
	world_stop(&world);
	world_destroy(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_batch_becomes_visible_at_once),
		cmocka_unit_test(a_chain_comes_back_as_one_descriptor_that_says_what_was_written),
		cmocka_unit_test(a_driver_is_called_when_its_position_is_passed_and_not_before),
		cmocka_unit_test(a_base_is_taken_where_the_ring_can_go_on_from_it),
		cmocka_unit_test(a_ring_of_any_size_is_served),
		cmocka_unit_test(what_breaks_virtio_breaks_that_ring_once_and_no_more),
		cmocka_unit_test(flags_and_ids_in_a_table_mean_nothing),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
