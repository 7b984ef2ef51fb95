/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * No wake-up is lost between a driver and a virtqueue that are really at work at the same time: a
 * driver on this thread, the queue on a data reactor of the real host, eventfds of the kernel. The
 * simulated host runs one thread at a time and so cannot stand between two accesses of one
 * function; here the moments are drawn at random, close to those that matter:
 *
 *  - the driver publishes just when the queue, having answered, goes to sleep: either the queue
 *    sees the entry in its last look, or the driver sees that a kick is wanted;
 *  - the driver goes to sleep just when the queue publishes: the same the other way around;
 *  - meanwhile the control reactor pauses, stops, or gives the queue another kick or call.
 *
 * The moments are not left to chance alone: where the queue wanted a kick it was asleep already, so
 * the driver comes a little earlier the next time, and later where it wanted none; so also for its
 * own sleep. Both hover about the moment of the race.
 *
 * A lost wake-up shows as a wait that never ends: each round waits for all its chains, with nothing
 * going on any more that would make either side look again by itself.
 */
#include <errno.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "frontend/ring.h"
#include "spec/virtio_ring.h"
#include "vhost/virtqueue.h"

#define RING_SIZE  16u
#define RUN_NS     (800 * MSEC_NS) /* each combination */
#define PATIENCE   10000 /* ms, on a host that is busy with other things */
#define AIM_MAX    200000u
#define BUFFER_GPA UINT64_C(0x10000)

struct world {
	struct os *os;
	struct reactor *control;
	struct reactor *data;
	struct fe_memory memory;
	struct fe_ring *ring;
	struct guest_memory *table;
	struct virtqueue *vq;
	uint64_t buffer_gpa;
	uint64_t random; /* the driver's */
	unsigned kick_aim; /* from the queue's answer to its sleep, in spins */
	unsigned call_aim; /* from a kick to the queue's answer */
	uint64_t late_random; /* the device's */
	bool late_answers;
	/* the operation of the control reactor under way */
	struct message message;
	unsigned op;
	int fd; /* the kick or call that the queue uses, if not the ring's own */
	int old_fd;
	sem_t answered;
};

static uint64_t draw(uint64_t *random, uint64_t below)
{
	*random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (*random >> 33) % below;
}

/* ---- the device: answers at once or, where asked to, a little later -------------------------- */

struct late_request {
	struct vq_request vq;
	struct timer timer;
};

static void late_answer(struct timer *timer)
{
	struct late_request *request = container_of(timer, struct late_request, timer);

	virtqueue_push(&request->vq, 0);
}

static void device_handle(struct vq_request *vq)
{
	struct late_request *request = container_of(vq, struct late_request, vq);
	struct world *world = virtqueue_device(vq->vq);

	if (!world->late_answers || draw(&world->late_random, 2) == 0) {
		virtqueue_push(vq, 0);
		return;
	}
	request->timer.fired = late_answer;
	timer_start(world->data, &request->timer, draw(&world->late_random, 60 * USEC_NS));
}

static const struct virtqueue_ops device_ops = {
	.request_size = sizeof(struct late_request),
	.handle = device_handle,
};

/* ---- operations of the control reactor, one at a time ---------------------------------------- */

enum { OP_NONE, OP_START, OP_STOP, OP_PAUSE, OP_RESUME, OP_KICK, OP_CALL };

static void op_done(void *arg, int rc)
{
	struct world *world = arg;

	sem_post(&world->answered);
}

static void op_run(struct message *message)
{
	struct world *world = container_of(message, struct world, message);

	switch (world->op) {
	case OP_START:
		virtqueue_start(world->vq, world->data, op_done, world);
		break;
	case OP_STOP:
		virtqueue_stop(world->vq, op_done, world);
		break;
	case OP_PAUSE:
		virtqueue_pause(world->vq, op_done, world);
		break;
	case OP_RESUME:
		virtqueue_resume(world->vq, op_done, world);
		break;
	case OP_KICK:
		virtqueue_set_kick(world->vq, world->fd, op_done, world);
		break;
	case OP_CALL:
		virtqueue_set_call(world->vq, world->fd, op_done, world);
		break;
	}
}

static void op_begin(struct world *world, unsigned op)
{
	world->op = op;
	world->message.run = op_run;
	reactor_send(world->control, &world->message);
}

static void op_await(struct world *world)
{
	while (sem_wait(&world->answered) < 0)
		assert_int_equal(errno, EINTR);
}

/* Another descriptor of the same event: the driver need not know. The old one is closed once the
 * queue has said that it uses it no more. */
static void op_begin_swap(struct world *world, unsigned op, int own_fd)
{
	world->old_fd = world->fd;
	world->fd = dup(own_fd);
	assert_true(world->fd >= 0);
	op_begin(world, op);
}

static void op_end_swap(struct world *world, int own_fd, unsigned op)
{
	int dup_fd = world->fd;

	/* Back to the ring's own, so that there is one descriptor to keep. */
	world->fd = own_fd;
	op_begin(world, op);
	op_await(world);
	close(dup_fd);
	world->fd = world->old_fd;
}

/* ---- the driver ------------------------------------------------------------------------------ */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * SEC_NS + (uint64_t)ts.tv_nsec;
}

static void pause_for(uint64_t ns)
{
	uint64_t end_ns = now_ns() + ns;

	while (now_ns() < end_ns)
		;
}

/* Finer than a clock can be read. */
static void spin(unsigned spins)
{
	while (spins--)
		__asm__ volatile("" ::: "memory");
}

static unsigned aim_scatter(struct world *world, unsigned aim)
{
	return aim - aim / 8 + (unsigned)draw(&world->random, aim / 4 + 1);
}

static void aim_correct(unsigned *aim, bool was_late)
{
	unsigned step = *aim / 16 + 1;

	if (was_late)
		*aim -= *aim > step ? step : 0;
	else if (*aim < AIM_MAX)
		*aim += step;
}

/* Was the queue kicked? */
static bool driver_send(struct world *world, unsigned count)
{
	const struct fe_segment segment = {.gpa = world->buffer_gpa, .len = 64};
	const struct fe_chain chain = {.segments = &segment, .count = 1, .direct = 1};

	while (count--)
		assert_int_equal(fe_ring_add(world->ring, &chain, NULL), 0);
	fe_ring_publish(world->ring);
	return fe_ring_kick(world->ring);
}

static void driver_wait_all(struct world *world)
{
	struct fe_completion completion;
	int rc;

	while (world->ring->outstanding) {
		rc = fe_ring_wait(world->ring, PATIENCE);
		if (rc == -ENOMSG)
			fail_msg("the queue forgot to call");
		if (rc == -ETIMEDOUT)
			fail_msg("the queue sleeps and nobody knows");
		assert_int_equal(rc, 0);
		while ((rc = fe_ring_pop(world->ring, &completion)) == 1)
			;
		if (rc)
			fail_msg("%s", world->ring->fault);
	}
}

static void driver_await_answer(struct world *world)
{
	uint64_t end_ns = now_ns() + MSEC_NS;

	while (!fe_ring_ready(world->ring) && now_ns() < end_ns)
		;
}

/* Sends once more when the queue is about to sleep. */
static void driver_aim_at_sleep(struct world *world)
{
	fe_ring_interrupts(world->ring, false);
	driver_send(world, 1);
	driver_await_answer(world);
	spin(aim_scatter(world, world->kick_aim));
	aim_correct(&world->kick_aim, driver_send(world, 1));
}

/* Goes to sleep when the queue is about to answer. */
static void driver_aim_at_answer(struct world *world)
{
	fe_ring_interrupts(world->ring, false);
	fe_eventfd_drain(world->ring->call_fd);
	driver_send(world, 1);
	spin(aim_scatter(world, world->call_aim));
	aim_correct(&world->call_aim, fe_ring_ready(world->ring));
}

static void driver_wander(struct world *world)
{
	static const uint64_t reach_ns[] = {1000, 4000, 15000, 80000, 400000};
	uint64_t reach = reach_ns[draw(&world->random, ARRAY_SIZE(reach_ns))];

	driver_send(world, 1 + (unsigned)draw(&world->random, 3));
	pause_for(draw(&world->random, reach));
	driver_send(world, 1 + (unsigned)draw(&world->random, 3));
	if (draw(&world->random, 4) == 0)
		pause_for(draw(&world->random, reach));
}

static void driver_round(struct world *world)
{
	switch (draw(&world->random, 8)) {
	case 0:
		driver_wander(world);
		break;
	case 1:
	case 2:
	case 3:
		driver_aim_at_answer(world);
		break;
	default:
		driver_aim_at_sleep(world);
		break;
	}
}

static void disturb_begin(struct world *world, unsigned what)
{
	switch (what) {
	case OP_PAUSE:
	case OP_STOP:
		op_begin(world, what);
		break;
	case OP_KICK:
		op_begin_swap(world, what, world->ring->kick_fd);
		break;
	case OP_CALL:
		op_begin_swap(world, what, world->ring->call_fd);
		break;
	}
}

static void disturb_end(struct world *world, unsigned what)
{
	if (what == OP_NONE)
		return;
	op_await(world);
	pause_for(draw(&world->random, 20000));
	switch (what) {
	case OP_PAUSE:
		op_begin(world, OP_RESUME);
		op_await(world);
		break;
	case OP_STOP:
		op_begin(world, OP_START);
		op_await(world);
		break;
	case OP_KICK:
		op_end_swap(world, world->ring->kick_fd, what);
		break;
	case OP_CALL:
		op_end_swap(world, world->ring->call_fd, what);
		break;
	}
}

static void driver_run(struct world *world, bool disturbed)
{
	static const unsigned disturbances[] = {OP_NONE, OP_PAUSE, OP_STOP, OP_KICK, OP_CALL};
	uint64_t end_ns = now_ns() + RUN_NS;
	unsigned rounds = 0;

	while (now_ns() < end_ns || rounds < 100) {
		unsigned what = OP_NONE;

		if (disturbed)
			what = disturbances[draw(&world->random, ARRAY_SIZE(disturbances))];
		disturb_begin(world, what);
		driver_round(world);
		disturb_end(world, what);
		driver_wait_all(world);
		rounds++;
	}
}

/* ---- the host -------------------------------------------------------------------------------- */

struct combination {
	bool io_uring;
	bool packed;
	enum poll_mode poll_mode;
	bool event_idx;
	bool disturbed;
	bool late_answers;
};

static struct reactor *world_reactor(struct world *world, const char *name, enum poll_mode mode)
{
	const struct reactor_options options = {.name = name, .cpu = -1, .poll_mode = mode};
	struct reactor *reactor;

	assert_int_equal(reactor_create(world->os, &options, NULL, &reactor), 0);
	assert_int_equal(reactor_start(reactor, NULL), 0);
	return reactor;
}

static void world_memory_create(struct world *world)
{
	const struct fe_region_spec spec = {.gpa = BUFFER_GPA, .size = MIB, .fd = FE_NEW_FILE};
	uint32_t slot;

	fe_memory_init(&world->memory);
	assert_int_equal(fe_memory_add(&world->memory, &spec, &slot), 0);
	world->table = calloc(1, sizeof(*world->table) + sizeof(struct guest_region));
	assert_non_null(world->table);
	world->table->count = 1;
	world->table->regions[0] = (struct guest_region){
		.gpa = spec.gpa, .size = spec.size, .addr = world->memory.region[slot].ptr};
	world->buffer_gpa =
		fe_memory_gpa(&world->memory, fe_memory_alloc(&world->memory, 4096, 64));
}

static void world_queue_create(struct world *world, const struct combination *combination)
{
	const struct fe_ring_options options = {.size = RING_SIZE,
		.packed = combination->packed,
		.event_idx = combination->event_idx,
		.notified = true};
	struct virtqueue_config config = {
		.features = VIRTIO_BIT(VIRTIO_F_VERSION_1),
		.size = RING_SIZE,
		.memory = world->table,
		.err_fd = -1,
		.name = "queue",
		.device = world,
	};

	assert_int_equal(fe_ring_create(&world->memory, &options, &world->ring), 0);
	if (combination->event_idx)
		config.features |= VIRTIO_BIT(VIRTIO_F_EVENT_IDX);
	config.descriptors = world->ring->desc;
	config.driver_area = world->ring->avail;
	config.device_area = world->ring->used;
	if (combination->packed) {
		config.features |= VIRTIO_BIT(VIRTIO_F_RING_PACKED);
		config.base = VRING_PACKED_BASE_0;
		config.descriptors = world->ring->packed_desc;
		config.driver_area = world->ring->driver_event;
		config.device_area = world->ring->device_event;
	}
	config.kick_fd = world->ring->kick_fd;
	config.call_fd = world->ring->call_fd;
	assert_int_equal(virtqueue_create(&device_ops, &config, NULL, &world->vq), 0);
}

static void world_create(struct world *world, const struct combination *combination)
{
	const struct os_real_options options = {.io_uring = combination->io_uring};

	memset(world, 0, sizeof(*world));
	world->random = now_ns();
	world->late_random = world->random + 1;
	world->late_answers = combination->late_answers;
	world->kick_aim = 1000;
	world->call_aim = 1000;
	world->fd = -1;
	assert_int_equal(sem_init(&world->answered, 0, 0), 0);
	assert_int_equal(os_real_create(&options, NULL, &world->os), 0);
	world->control = world_reactor(world, "control", POLL_ADAPTIVE);
	world->data = world_reactor(world, "data", combination->poll_mode);
	world_memory_create(world);
	world_queue_create(world, combination);
	op_begin(world, OP_START);
	op_await(world);
}

static void world_destroy(struct world *world)
{
	op_begin(world, OP_STOP);
	op_await(world);
	virtqueue_destroy(world->vq);
	reactor_stop(world->data);
	reactor_stop(world->control);
	reactor_destroy(world->data);
	reactor_destroy(world->control);
	os_real_destroy(world->os);
	fe_ring_destroy(world->ring);
	fe_memory_fini(&world->memory);
	free(world->table);
	sem_destroy(&world->answered);
}

static void run_combination(void **state)
{
	const struct combination *combination = *state;
	struct world world;

	world_create(&world, combination);
	driver_run(&world, combination->disturbed);
	world_destroy(&world);
}

/* ---- all combinations ------------------------------------------------------------------------ */

#define TEST(sentence, ...)                                                                        \
	{                                                                                          \
		.name = sentence, .test_func = run_combination,                                    \
		.initial_state = &(struct combination)                                             \
		{                                                                                  \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}

#define TESTS(host, uring, packed)                                                                 \
	TEST("no kick is lost by a queue that polls for a while, " host, uring, packed,            \
		POLL_ADAPTIVE, false, false, false),                                               \
		TEST("no kick is lost by a queue that polls for a while, event idx, " host, uring, \
			packed, POLL_ADAPTIVE, true, false, false),                                \
		TEST("no kick is lost by a queue that never polls, " host, uring, packed,          \
			POLL_NEVER, false, false, false),                                          \
		TEST("no kick is lost by a queue that never polls, event idx, " host, uring,       \
			packed, POLL_NEVER, true, false, false),                                   \
		TEST("no call is lost by a driver that waits for late answers, " host, uring,      \
			packed, POLL_NEVER, false, false, true),                                   \
		TEST("no call is lost by a driver that waits for late answers, event idx, " host,  \
			uring, packed, POLL_ADAPTIVE, true, false, true),                          \
		TEST("pauses, stops and new descriptors lose nothing, " host, uring, packed,       \
			POLL_ADAPTIVE, false, true, true),                                         \
		TEST("pauses, stops and new descriptors lose nothing, event idx, " host, uring,    \
			packed, POLL_NEVER, true, true, true)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TESTS("split, io_uring", true, false),
		TESTS("split, epoll", false, false),
		TESTS("packed, io_uring", true, true),
		TESTS("packed, epoll", false, true),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
