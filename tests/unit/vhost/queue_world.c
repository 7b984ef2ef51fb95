/* SPDX-License-Identifier: BSD-2-Clause */
#include "queue_world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "spec/vhost_inflight.h"
#include "spec/virtio_ring.h"

static void world_memory_create(struct queue_world *world)
{
	const struct fe_region_spec specs[] = {
		{.gpa = 0x10000, .size = 4 << 20, .fd = FE_NEW_FILE},
		{.gpa = WORLD_DATA_GPA, .size = WORLD_DATA_SIZE / 2, .fd = FE_NEW_FILE},
		{.gpa = WORLD_DATA_GPA + WORLD_DATA_SIZE / 2,
			.size = WORLD_DATA_SIZE / 2,
			.fd = FE_NEW_FILE},
	};

	fe_memory_init(&world->memory);
	world->table = calloc(1, sizeof(*world->table) + 3 * sizeof(struct guest_region));
	assert_non_null(world->table);
	world->table->count = 3;
	for (unsigned i = 0; i < 3; i++) {
		uint32_t slot;

		assert_int_equal(fe_memory_add(&world->memory, &specs[i], &slot), 0);
		world->table->regions[i] = (struct guest_region){
			.gpa = specs[i].gpa,
			.size = specs[i].size,
			.addr = world->memory.region[slot].ptr,
		};
	}
}

static void world_called(struct os_watch *watch)
{
	struct queue_world *world = container_of(watch, struct queue_world, call);

	world->calls++;
	world->os->ops->ring_watch(world->watcher, watch);
}

static void world_erred(struct os_watch *watch)
{
	struct queue_world *world = container_of(watch, struct queue_world, err);

	world->errs++;
	world->os->ops->ring_watch(world->watcher, watch);
}

/* Looks at the call and err eventfds now. */
static void world_look(struct queue_world *world)
{
	while (world->os->ops->ring_enter(world->watcher, 0) > 0)
		;
}

static void world_events_create(struct queue_world *world)
{
	const struct os_ring_options options = {.entries = 8};
	const struct os_ops *ops = world->os->ops;

	assert_int_equal(ops->event_create(world->os, &world->kick_fd), 0);
	assert_int_equal(ops->event_create(world->os, &world->call_fd), 0);
	assert_int_equal(ops->event_create(world->os, &world->err_fd), 0);
	assert_int_equal(ops->ring_create(world->os, &options, &world->watcher), 0);
	world->call = (struct os_watch){
		.fd = world->call_fd, .kind = OS_WATCH_EVENT, .ready = world_called};
	world->err = (struct os_watch){
		.fd = world->err_fd, .kind = OS_WATCH_EVENT, .ready = world_erred};
	ops->ring_watch(world->watcher, &world->call);
	ops->ring_watch(world->watcher, &world->err);
}

static void world_queue_create(
	struct queue_world *world, const struct virtqueue_ops *ops, void *device)
{
	const struct fe_ring *ring = world->ring;
	struct virtqueue_config config = {
		.features = world->features,
		.size = (uint16_t)world->size,
		.base = world->base,
		.descriptors = ring->packed ? (void *)ring->packed_desc : ring->desc,
		.driver_area = ring->packed ? (void *)ring->driver_event : ring->avail,
		.device_area = ring->packed ? (void *)ring->device_event : ring->used,
		.memory = world->table,
		.kick_fd = world->kick_fd,
		.call_fd = world->call_fd,
		.err_fd = world->err_fd,
		.name = "test queue",
		.device = device,
	};

	if (world->own) {
		config.memory = world->own->table;
		config.descriptors = world->own->descriptors;
		config.driver_area = world->own->driver_area;
		config.device_area = world->own->device_area;
		config.inflight = world->own->inflight;
		config.inflight_size = world->own->inflight_size;
	}
	if (world->inflight) {
		config.inflight = world->inflight;
		config.inflight_size = (uint16_t)world->size;
	}
	assert_int_equal(virtqueue_create(ops, &config, NULL, &world->vq), 0);
	if (world->inflight)
		assert_int_equal(virtqueue_recover(world->vq, NULL), 0);
}

void world_create(struct queue_world *world, const struct world_options *options)
{
	const struct reactor_options control = {.name = "control", .cpu = -1};
	const struct reactor_options data = {
		.name = "data", .cpu = -1, .poll_mode = options->poll_mode};
	const struct fe_ring_options ring = {
		.size = options->size, .packed = options->packed, .event_idx = options->event_idx};

	memset(world, 0, sizeof(*world));
	world->sim = sim_create(options->seed);
	world->os = sim_os(world->sim);
	world->own = options->own;
	world->size = options->size;
	world->base = options->base | (options->packed ? (uint32_t)options->base << 16 : 0);
	world->features = VIRTIO_BIT(VIRTIO_F_VERSION_1);
	if (options->event_idx)
		world->features |= VIRTIO_BIT(VIRTIO_F_EVENT_IDX);
	if (options->packed)
		world->features |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
	if (options->indirect)
		world->features |= VIRTIO_BIT(VIRTIO_F_INDIRECT_DESC);
	if (options->recorded)
		world->inflight = calloc(1, vhost_inflight_packed_stride((uint16_t)world->size));
	world_memory_create(world);
	world_events_create(world);
	assert_int_equal(fe_ring_create(&world->memory, &ring, &world->ring), 0);
	fe_ring_reset_at(world->ring, options->base);
	assert_int_equal(reactor_create(world->os, &control, NULL, &world->control), 0);
	assert_int_equal(reactor_start(world->control, NULL), 0);
	assert_int_equal(reactor_create(world->os, &data, NULL, &world->data), 0);
	assert_int_equal(reactor_start(world->data, NULL), 0);
	world->ops = options->ops;
	world_queue_create(world, options->ops, options->device);
}

void world_set_device(struct queue_world *world, const struct virtqueue_ops *ops, void *device)
{
	virtqueue_destroy(world->vq);
	world_queue_create(world, ops, device);
}

void world_renew(struct queue_world *world, uint32_t base)
{
	void *device = virtqueue_device(world->vq);

	world->base = base;
	world_set_device(world, world->ops, device);
}

/* ---- operations, made on the control reactor ------------------------------------------------ */

struct world_op {
	struct message message;
	struct queue_world *world;
	void (*call)(struct virtqueue *vq, done_fn done, void *arg);
};

static void world_op_done(void *arg, int rc)
{
	struct world_op *op = arg;

	assert_int_equal(rc, 0);
	op->world->answered = true;
	free(op);
}

static void world_op_run(struct message *message)
{
	struct world_op *op = container_of(message, struct world_op, message);

	op->call(op->world->vq, world_op_done, op);
}

static bool world_op_answered(void *arg)
{
	const struct queue_world *world = arg;

	return world->answered;
}

static void world_op_begin(
	struct queue_world *world, void (*call)(struct virtqueue *vq, done_fn done, void *arg))
{
	struct world_op *op = calloc(1, sizeof(*op));

	assert_non_null(op);
	world->answered = false;
	op->world = world;
	op->call = call;
	op->message.run = world_op_run;
	reactor_send(world->control, &op->message);
}

static void world_op_await(
	struct queue_world *world, void (*call)(struct virtqueue *vq, done_fn done, void *arg))
{
	world_op_begin(world, call);
	assert_true(sim_run(world->sim, world_op_answered, world, SEC_NS));
	world_look(world);
}

/* virtqueue_start has a reactor to name. */
static struct reactor *world_start_reactor;

static void world_start_call(struct virtqueue *vq, done_fn done, void *arg)
{
	virtqueue_start(vq, world_start_reactor, done, arg);
}

void world_start(struct queue_world *world)
{
	world_start_reactor = world->data;
	world_op_await(world, world_start_call);
}

void world_stop(struct queue_world *world)
{
	world_op_await(world, virtqueue_stop);
}

void world_stop_begin(struct queue_world *world)
{
	world_op_begin(world, virtqueue_stop);
}

void world_pause(struct queue_world *world)
{
	world_op_await(world, virtqueue_pause);
}

void world_resume(struct queue_world *world)
{
	world_op_await(world, virtqueue_resume);
}

void world_repeat(struct queue_world *world)
{
	world_op_await(world, virtqueue_repeat);
}

void world_release(struct queue_world *world)
{
	world_op_await(world, virtqueue_release);
}

void world_freeze(struct queue_world *world)
{
	world_op_await(world, virtqueue_freeze);
}

void world_destroy(struct queue_world *world)
{
	const struct os_ops *ops = world->os->ops;

	virtqueue_destroy(world->vq);
	reactor_stop(world->data);
	reactor_stop(world->control);
	reactor_destroy(world->data);
	reactor_destroy(world->control);
	ops->ring_unwatch(world->watcher, &world->call);
	ops->ring_unwatch(world->watcher, &world->err);
	ops->ring_destroy(world->watcher);
	ops->close(world->os, world->kick_fd);
	ops->close(world->os, world->call_fd);
	ops->close(world->os, world->err_fd);
	fe_ring_destroy(world->ring);
	fe_memory_fini(&world->memory);
	free(world->table);
	free(world->inflight);
	assert_int_equal(sim_destroy(world->sim), 0);
}

/* ---- the driver's side ----------------------------------------------------------------------- */

void world_publish(struct queue_world *world)
{
	fe_ring_publish(world->ring);
	if (fe_ring_kick(world->ring) == 1)
		world->os->ops->event_signal(world->os, world->kick_fd);
}

void world_run(struct queue_world *world, uint64_t ns)
{
	sim_run_for(world->sim, ns);
	world_look(world);
}

bool world_wait_call(struct queue_world *world, unsigned calls)
{
	for (unsigned i = 0; i < 1000; i++) {
		world_look(world);
		if (world->calls > calls)
			return true;
		sim_run_for(world->sim, MSEC_NS);
	}
	return false;
}

static bool world_ring_is_ready(void *arg)
{
	const struct queue_world *world = arg;

	return fe_ring_ready(world->ring);
}

bool world_wait_ready(struct queue_world *world)
{
	return sim_run(world->sim, world_ring_is_ready, world, SEC_NS);
}
