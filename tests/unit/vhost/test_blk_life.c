/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of a virtio-blk device below its rings, by seed: rings open and close on two reactors
 * while the block device is removed at any moment. Whatever the order, every call ends once and
 * well, the removal ends when the last channel has gone, and nothing is touched after it was freed
 * (address sanitizer). And requests that end when their connection is gone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "queue_world.h"
#include "sim/gate_bdev.h"
#include "spec/virtio_blk.h"
#include "spec/virtio_ring.h"
#include "vhost/blk.h"

#define RINGS 4

struct blk_world;

/* A ring, from its opening to its close. */
struct blk_ring {
	struct blk_world *world;
	const struct virtqueue_ops *ops;
	void *context;
	bool open;
	bool busy;
	unsigned opened;
};

/* Something that happens on the control reactor at a moment of its own. */
struct moment {
	struct message message;
	struct timer timer;
	struct blk_world *world;
	void (*happen)(struct moment *moment);
	struct blk_ring *ring;
	uint64_t delay_ns;
};

struct blk_world {
	struct sim *sim;
	struct reactor *control;
	struct reactor *data[2];
	struct bdev_registry *registry;
	struct gate_bdev *gate;
	struct vhost_device *device;
	struct blk_ring rings[RINGS];
	bool claimed, closing;
	unsigned claims_under_way;
	bool removed, destroyed;
	unsigned failures;
};

/* ---- calls on the control reactor ------------------------------------------------------------ */

static void moment_fired(struct timer *timer)
{
	struct moment *moment = container_of(timer, struct moment, timer);

	moment->happen(moment);
	free(moment);
}

static void moment_arrived(struct message *message)
{
	struct moment *moment = container_of(message, struct moment, message);

	timer_start(moment->world->control, &moment->timer, moment->delay_ns);
}

static void blk_world_at(struct blk_world *world, uint64_t delay_ns,
	void (*happen)(struct moment *moment), struct blk_ring *ring)
{
	struct moment *moment = calloc(1, sizeof(*moment));

	assert_non_null(moment);
	*moment = (struct moment){
		.message.run = moment_arrived,
		.timer.fired = moment_fired,
		.world = world,
		.happen = happen,
		.ring = ring,
		.delay_ns = delay_ns,
	};
	reactor_send(world->control, &moment->message);
}

/* ---- what a session does --------------------------------------------------------------------- */

static uint64_t blk_world_soon(struct blk_world *world)
{
	return sim_random(world->sim, 30 * USEC_NS);
}

static void ring_toggle(struct moment *moment);

static void ring_closed(void *arg, int rc)
{
	struct blk_ring *ring = arg;

	ring->world->failures += rc != 0;
	ring->open = false;
	ring->busy = false;
	if (!ring->world->closing && ring->opened < 8)
		blk_world_at(ring->world, blk_world_soon(ring->world), ring_toggle, ring);
}

static void ring_opened(void *arg, int rc)
{
	struct blk_ring *ring = arg;

	ring->world->failures += rc != 0 || !ring->context;
	ring->open = rc == 0;
	ring->busy = false;
	blk_world_at(ring->world, blk_world_soon(ring->world), ring_toggle, ring);
}

static void ring_toggle(struct moment *moment)
{
	struct blk_ring *ring = moment->ring;
	struct blk_world *world = moment->world;
	unsigned index = (unsigned)(ring - world->rings);

	if (ring->busy || (!ring->open && world->closing))
		return;
	ring->busy = true;
	if (ring->open) {
		world->device->ops->ring_close(
			world->device, index, ring->context, ring_closed, ring);
		return;
	}
	ring->opened++;
	ring->context = NULL;
	world->device->ops->ring_open(world->device, index, world->data[index % 2], 0, &ring->ops,
		&ring->context, ring_opened, ring);
}

static void claim_ended(void *arg, int rc)
{
	struct blk_world *world = arg;

	world->failures += rc != 0;
	world->claims_under_way--;
}

static void claim_begin(struct moment *moment)
{
	struct blk_world *world = moment->world;

	world->claims_under_way++;
	world->device->ops->claim(world->device, NULL, claim_ended, world);
}

static void release_begin(struct moment *moment)
{
	struct blk_world *world = moment->world;

	world->claims_under_way++;
	world->device->ops->release(world->device, claim_ended, world);
}

static void device_removed(void *arg, int rc)
{
	struct blk_world *world = arg;

	world->failures += rc != 0;
	world->removed = true;
}

static void device_remove(struct moment *moment)
{
	bdev_unregister(gate_bdev_of(moment->world->gate), device_removed, moment->world);
}

static void device_destroyed(void *arg, int rc)
{
	struct blk_world *world = arg;

	world->failures += rc != 0;
	world->destroyed = true;
}

static void device_destroy(struct moment *moment)
{
	struct blk_world *world = moment->world;

	world->device->ops->destroy(world->device, device_destroyed, world);
}

/* ---- the world ------------------------------------------------------------------------------- */

static bool is_set(void *arg)
{
	return *(bool *)arg;
}

static void blk_world_await(struct blk_world *world, bool *flag)
{
	assert_true(sim_run(world->sim, is_set, flag, SEC_NS));
}

static struct reactor *blk_world_reactor(struct os *os, const char *name)
{
	const struct reactor_options options = {.name = name, .cpu = -1};
	struct reactor *reactor;

	assert_int_equal(reactor_create(os, &options, NULL, &reactor), 0);
	assert_int_equal(reactor_start(reactor, NULL), 0);
	return reactor;
}

static void device_create(struct moment *moment)
{
	struct blk_world *world = moment->world;
	const struct blk_device_options options = {.control = world->control, .name = "vm0"};

	assert_int_equal(gate_bdev_register(world->gate, world->registry, NULL), 0);
	assert_int_equal(
		blk_device_create(gate_bdev_of(world->gate), &options, NULL, &world->device), 0);
}

static bool device_exists(void *arg)
{
	return ((struct blk_world *)arg)->device != NULL;
}

/* On reactors that are there already. */
static void blk_world_create(struct blk_world *world, struct os *os)
{
	const struct gate_bdev_options options = {
		.name = "disk0", .size_bytes = MIB, .block_size = 512};

	assert_int_equal(bdev_registry_create(os, world->control, &world->registry), 0);
	world->gate = gate_bdev_create(&options);
	blk_world_at(world, 0, device_create, NULL);
	assert_true(sim_run(world->sim, device_exists, world, SEC_NS));
	for (unsigned i = 0; i < RINGS; i++)
		world->rings[i].world = world;
}

static void blk_world_destroy(struct blk_world *world)
{
	blk_world_at(world, 0, device_destroy, NULL);
	blk_world_await(world, &world->destroyed);
	if (!world->removed)
		blk_world_at(world, 0, device_remove, NULL);
	blk_world_await(world, &world->removed);
	gate_bdev_destroy(world->gate);
	bdev_registry_destroy(world->registry);
}

static bool rings_are_closed(void *arg)
{
	struct blk_world *world = arg;

	for (unsigned i = 0; i < RINGS; i++) {
		if (world->rings[i].busy || world->rings[i].open)
			return false;
	}
	return world->claims_under_way == 0;
}

static void a_device_may_be_removed_at_any_moment_of_its_rings_lives(void **state)
{
	for (uint64_t seed = sim_seed_first(); seed < sim_seed_end(400); seed++) {
		struct blk_world world = {.sim = sim_create(seed)};
		struct os *os = sim_os(world.sim);

		world.control = blk_world_reactor(os, "control");
		world.data[0] = blk_world_reactor(os, "data0");
		world.data[1] = blk_world_reactor(os, "data1");
		blk_world_create(&world, os);
		blk_world_at(&world, blk_world_soon(&world), claim_begin, NULL);
		for (unsigned i = 0; i < RINGS; i++)
			blk_world_at(&world, blk_world_soon(&world), ring_toggle, &world.rings[i]);
		blk_world_at(&world, sim_random(world.sim, 300 * USEC_NS), device_remove, NULL);
		sim_run_for(world.sim, sim_random(world.sim, MSEC_NS));
		world.closing = true;
		for (unsigned i = 0; i < RINGS; i++)
			blk_world_at(&world, 0, ring_toggle, &world.rings[i]);
		assert_true(sim_run(world.sim, rings_are_closed, &world, SEC_NS));
		blk_world_at(&world, 0, release_begin, NULL);
		sim_run_for(world.sim, USEC_NS);
		assert_true(sim_run(world.sim, rings_are_closed, &world, SEC_NS));
		blk_world_await(&world, &world.removed);
		assert_null(blk_device_bdev_name(world.device));
		sim_run_for(world.sim, MSEC_NS); /* moments that came too late */
		blk_world_destroy(&world);
		assert_int_equal(world.failures, 0);
		reactor_stop(world.data[0]);
		reactor_stop(world.data[1]);
		reactor_stop(world.control);
		reactor_destroy(world.data[0]);
		reactor_destroy(world.data[1]);
		reactor_destroy(world.control);
		assert_int_equal(sim_destroy(world.sim), 0);
	}
}

/* ---- requests -------------------------------------------------------------------------------- */

#define UNTOUCHED 0xee

static const struct virtqueue_ops no_device_ops = {.request_size = sizeof(struct vq_request)};

static bool ring_is_open(void *arg)
{
	return ((struct blk_ring *)arg)->open;
}

static void ring_keep_open(void *arg, int rc)
{
	struct blk_ring *ring = arg;

	ring->open = rc == 0;
}

static void ring_open(struct moment *moment)
{
	struct blk_ring *ring = moment->ring;
	struct vhost_device *device = moment->world->device;

	device->ops->ring_open(device, 0, moment->world->data[0], VIRTIO_BIT(VIRTIO_BLK_F_FLUSH),
		&ring->ops, &ring->context, ring_keep_open, ring);
}

static void ring_close(struct moment *moment)
{
	struct blk_ring *ring = moment->ring;
	struct vhost_device *device = moment->world->device;

	ring->busy = true;
	moment->world->closing = true;
	device->ops->ring_close(device, 0, ring->context, ring_closed, ring);
}

/* A WRITE of a sector; its status byte is where this says. */
static uint8_t *blk_write_add(struct queue_world *queue)
{
	uint8_t *data = fe_memory_ptr(&queue->memory, WORLD_DATA_GPA, 1024);
	const struct fe_segment segments[] = {
		{.gpa = WORLD_DATA_GPA, .len = sizeof(struct virtio_blk_outhdr)},
		{.gpa = WORLD_DATA_GPA + 512, .len = 512},
		{.gpa = WORLD_DATA_GPA + 64, .len = 1, .write = true},
	};
	const struct fe_chain chain = {.segments = segments, .count = 3, .direct = 3};

	memset(data, 0, 1024);
	data[0] = VIRTIO_BLK_T_OUT;
	data[64] = UNTOUCHED;
	assert_int_equal(fe_ring_add(queue->ring, &chain, NULL), 0);
	return data + 64;
}

static void a_request_in_flight_at(bool frozen, bool removed, uint8_t expected_status)
{
	struct queue_world queue;
	struct blk_world world = {0};
	const struct world_options options = {.seed = 1, .size = 8, .ops = &no_device_ops};
	const volatile uint8_t *status;

	world_create(&queue, &options);
	world.sim = queue.sim;
	world.control = queue.control;
	world.data[0] = queue.data;
	blk_world_create(&world, queue.os);
	blk_world_at(&world, 0, ring_open, &world.rings[0]);
	assert_true(sim_run(world.sim, ring_is_open, &world.rings[0], SEC_NS));
	world_set_device(&queue, world.rings[0].ops, world.rings[0].context);
	world_start(&queue);
	gate_bdev_hold(world.gate, true);
	status = blk_write_add(&queue);
	world_publish(&queue);
	world_run(&queue, MSEC_NS);
	assert_int_equal(gate_bdev_held(world.gate), 1);
	if (frozen)
		world_freeze(&queue);
	if (removed)
		blk_world_at(&world, 0, device_remove, NULL);
	world_run(&queue, MSEC_NS);
	assert_false(world.removed);
	gate_bdev_release_all(world.gate, 0);
	world_run(&queue, MSEC_NS);
	assert_int_equal(*status, expected_status);
	assert_int_equal(fe_ring_peek_used_idx(queue.ring), !frozen);
	assert_int_equal(world.removed, removed);
	if (removed && !frozen) {
		status = blk_write_add(&queue);
		world_publish(&queue);
		world_run(&queue, MSEC_NS);
		assert_int_equal(*status, VIRTIO_BLK_S_IOERR);
	}
	world_stop(&queue);
	blk_world_at(&world, 0, ring_close, &world.rings[0]);
	assert_true(sim_run(world.sim, rings_are_closed, &world, SEC_NS));
	world_run(&queue, MSEC_NS);
	assert_false(world.rings[0].open);
	blk_world_destroy(&world);
	assert_int_equal(world.failures, 0);
	world_destroy(&queue);
}

static void an_answer_after_the_connection_is_gone_touches_no_memory(void **state)
{
	a_request_in_flight_at(true, false, UNTOUCHED);
	a_request_in_flight_at(true, true, UNTOUCHED);
}

static void a_removal_waits_for_requests_and_later_ones_fail(void **state)
{
	a_request_in_flight_at(false, false, VIRTIO_BLK_S_OK);
	a_request_in_flight_at(false, true, VIRTIO_BLK_S_OK);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_may_be_removed_at_any_moment_of_its_rings_lives),
		cmocka_unit_test(an_answer_after_the_connection_is_gone_touches_no_memory),
		cmocka_unit_test(a_removal_waits_for_requests_and_later_ones_fail),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
