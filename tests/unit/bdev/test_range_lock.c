/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Range locks: what one holds back and lets pass, in which order they are granted, and, against
 * random I/O and locks on several reactors with channels that come and go, that the holder really
 * is alone.
 */
#include "fake.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SIZE (1 * MIB)

struct lock_world {
	struct world world;
	struct fake fake;
	struct world_user user;
	struct bdev_channel *channels[WORLD_REACTORS];
};

static void lock_world_start(struct lock_world *lw, uint64_t seed)
{
	world_start(&lw->world, seed);
	fake_init(&lw->fake, "disk", SIZE);
	assert_int_equal(fake_register(&lw->world, &lw->fake, NULL), 0);
	world_user_init(&lw->user, "first");
	assert_int_equal(world_open(&lw->world, &lw->fake.bdev, &lw->user, NULL), 0);
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		assert_int_equal(world_channel_open(&lw->world, &lw->user, i, &lw->channels[i]), 0);
}

static void lock_world_end(struct lock_world *lw)
{
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		world_channel_close(&lw->world, lw->channels[i]);
	world_close(&lw->world, &lw->user);
	assert_int_equal(world_unregister(&lw->world, &lw->fake.bdev), 0);
	world_end(&lw->world);
}

/* ---- one lock at a time ------------------------------------------------- */

struct lock_call {
	struct world_call lock;
	struct world_call unlock;
	struct bdev_range_lock range;
	uint64_t offset;
	uint64_t length;
	_Atomic unsigned *counter; /* of grants, or NULL */
	unsigned order;
};

static void lock_granted(void *arg, int rc)
{
	struct lock_call *lc = arg;

	if (lc->counter)
		lc->order = atomic_fetch_add(lc->counter, 1);
	world_done(&lc->lock, rc);
}

static void lock_run(struct world_call *call)
{
	struct lock_call *lc = container_of(call, struct lock_call, lock);

	bdev_range_lock(
		&lc->range, call->bdev, call->reactor, lc->offset, lc->length, lock_granted, lc);
}

static void unlock_run(struct world_call *call)
{
	struct lock_call *lc = container_of(call, struct lock_call, unlock);

	bdev_range_unlock(&lc->range, world_done, call);
}

static void lock_begin(struct lock_world *lw, struct lock_call *lc, unsigned reactor,
	uint64_t offset, uint64_t length)
{
	lc->offset = offset;
	lc->length = length;
	lc->lock = (struct world_call){.run = lock_run, .bdev = &lw->fake.bdev};
	lc->unlock = (struct world_call){.run = unlock_run};
	lc->lock.reactor = lw->world.data[reactor];
	lc->unlock.reactor = lw->world.data[reactor];
	world_begin(&lw->world, lc->lock.reactor, &lc->lock);
}

static void lock_wait(struct lock_world *lw, struct lock_call *lc)
{
	assert_int_equal(world_finish(&lw->world, &lc->lock), 0);
}

static void lock_end(struct lock_world *lw, struct lock_call *lc)
{
	assert_int_equal(world_run(&lw->world, lc->unlock.reactor, &lc->unlock), 0);
}

static uint8_t lock_buf[4096];
static const struct iovec lock_iov = {.iov_base = lock_buf, .iov_len = 512};

static void io_begin(struct lock_world *lw, struct world_call *call, unsigned channel,
	enum bdev_io_type type, uint64_t offset, const struct bdev_range_lock *lock)
{
	memset(call, 0, sizeof(*call));
	call->channel = lw->channels[channel];
	call->io = (struct bdev_io){.type = (uint8_t)type,
		.iov = &lock_iov,
		.iovcnt = 1,
		.offset = offset,
		.length = type == BDEV_IO_FLUSH ? 0 : 512,
		.lock = lock};
	world_io_begin(&lw->world, call);
}

static void a_lock_holds_back_what_overlaps_and_nothing_else(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct world_call before, inside, after, own, flush, edge;
		struct lock_call lc = {0};
		struct lock_world lw;

		lock_world_start(&lw, seed);
		lock_begin(&lw, &lc, 1, 4096, 4096);
		lock_wait(&lw, &lc);
		for (unsigned i = 0; i < WORLD_REACTORS; i++) {
			io_begin(&lw, &before, i, BDEV_IO_WRITE, 3584, NULL);
			io_begin(&lw, &after, i, BDEV_IO_WRITE, 8192, NULL);
			io_begin(&lw, &flush, i, BDEV_IO_FLUSH, 0, NULL);
			io_begin(&lw, &own, i, BDEV_IO_WRITE, 4096, &lc.range);
			assert_int_equal(world_finish(&lw.world, &before), 0);
			assert_int_equal(world_finish(&lw.world, &after), 0);
			assert_int_equal(world_finish(&lw.world, &flush), 0);
			assert_int_equal(world_finish(&lw.world, &own), 0);
		}
		io_begin(&lw, &inside, 0, BDEV_IO_READ, 4096, NULL);
		io_begin(&lw, &edge, 2, BDEV_IO_WRITE, 7680, NULL);
		host_sleep(&lw.world.host, 1 * MSEC_NS);
		assert_false(atomic_load(&inside.ended));
		assert_false(atomic_load(&edge.ended));
		lock_end(&lw, &lc);
		assert_int_equal(world_finish(&lw.world, &inside), 0);
		assert_int_equal(world_finish(&lw.world, &edge), 0);
		lock_world_end(&lw);
	}
}

static void a_lock_of_the_whole_device_holds_back_flushes(void **state)
{
	struct world_call flush, own;
	struct lock_call lc = {0};
	struct lock_world lw;

	lock_world_start(&lw, 1);
	lock_begin(&lw, &lc, 1, 0, BDEV_RANGE_ALL);
	lock_wait(&lw, &lc);
	io_begin(&lw, &flush, 0, BDEV_IO_FLUSH, 0, NULL);
	io_begin(&lw, &own, 0, BDEV_IO_FLUSH, 0, &lc.range);
	assert_int_equal(world_finish(&lw.world, &own), 0);
	host_sleep(&lw.world.host, 1 * MSEC_NS);
	assert_false(atomic_load(&flush.ended));
	lock_end(&lw, &lc);
	assert_int_equal(world_finish(&lw.world, &flush), 0);
	lock_world_end(&lw);
}

static void a_lock_waits_for_what_is_in_flight(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct lock_call first = {0}, second = {0};
		struct world_call io, later;
		struct lock_world lw;

		lock_world_start(&lw, seed);
		atomic_store(&lw.fake.hold, true);
		io_begin(&lw, &io, 2, BDEV_IO_WRITE, 0, NULL);
		lock_begin(&lw, &first, 0, 0, 512);
		lock_begin(&lw, &second, 1, 4096, 512);
		world_settle(&lw.world);
		assert_false(atomic_load(&first.lock.ended));
		atomic_store(&lw.fake.hold, false);
		io_begin(&lw, &later, 2, BDEV_IO_WRITE, 0, NULL); /* may not overtake the lock */
		host_sleep(&lw.world.host, 1 * MSEC_NS);
		assert_false(atomic_load(&later.ended));
		fake_kick(&lw.world, lw.channels[2]);
		lock_wait(&lw, &first);
		lock_wait(&lw, &second);
		assert_int_equal(world_finish(&lw.world, &io), 0);
		assert_false(atomic_load(&later.ended));
		lock_end(&lw, &first);
		assert_int_equal(world_finish(&lw.world, &later), 0);
		lock_end(&lw, &second);
		lock_world_end(&lw);
	}
}

static void overlapping_locks_are_granted_in_order(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		/* The third overlaps the second only, the fourth nobody. */
		static const struct {
			uint64_t offset, length;
		} ranges[] = {{0, 4096}, {2048, 8192}, {8192, 4096}, {65536, 512}};
		struct lock_call locks[4] = {0};
		_Atomic unsigned counter = 0;
		struct lock_world lw;

		lock_world_start(&lw, seed);
		for (unsigned i = 0; i < 4; i++) {
			locks[i].counter = &counter;
			lock_begin(&lw, &locks[i], 0, ranges[i].offset, ranges[i].length);
		}
		lock_wait(&lw, &locks[0]);
		lock_wait(&lw, &locks[3]);
		host_sleep(&lw.world.host, 1 * MSEC_NS);
		assert_int_equal(atomic_load(&counter), 2);
		lock_end(&lw, &locks[0]);
		lock_wait(&lw, &locks[1]);
		assert_false(atomic_load(&locks[2].lock.ended));
		lock_end(&lw, &locks[1]);
		lock_wait(&lw, &locks[2]);
		assert_int_equal(locks[1].order, 2);
		assert_int_equal(locks[2].order, 3);
		lock_end(&lw, &locks[2]);
		lock_end(&lw, &locks[3]);
		lock_world_end(&lw);
	}
}

/* The owner goes away before its lock is there. */
static void a_lock_can_be_given_up_at_any_time(void **state)
{
	HOST_FOR_EACH_SEED(seed, 60)
	{
		struct lock_call held = {0}, given_up = {0}, next = {0};
		struct lock_world lw;
		struct world_call io;
		uint64_t pause;
		int rc;

		lock_world_start(&lw, seed);
		atomic_store(&lw.fake.hold, seed % 2);
		io_begin(&lw, &io, 2, BDEV_IO_WRITE, 65536, NULL);
		if (seed % 3 == 0) {
			lock_begin(&lw, &held, 1, 0, 4096);
			world_settle(&lw.world); /* it is the first */
		}
		lock_begin(&lw, &given_up, 0, 0, 4096);
		pause = seed % 7 * 3 * USEC_NS;
		host_sleep(&lw.world.host, pause);
		world_begin(&lw.world, given_up.unlock.reactor, &given_up.unlock);
		lock_begin(&lw, &next, 0, 0, 4096);
		host_sleep(&lw.world.host, 100 * USEC_NS);
		atomic_store(&lw.fake.hold, false);
		fake_kick(&lw.world, lw.channels[2]);
		if (seed % 3 == 0) {
			lock_wait(&lw, &held);
			lock_end(&lw, &held);
		}
		assert_int_equal(world_finish(&lw.world, &given_up.unlock), 0);
		assert_true(atomic_load(&given_up.lock.ended)); /* before the unlock */
		rc = given_up.lock.rc;
		assert_true(rc == 0 || rc == -ECANCELED);
		lock_wait(&lw, &next);
		lock_end(&lw, &next);
		assert_int_equal(world_finish(&lw.world, &io), 0);
		lock_world_end(&lw);
	}
}

static void a_channel_opened_under_a_lock_honours_it(void **state)
{
	HOST_FOR_EACH_SEED(seed, 30)
	{
		struct lock_call lc = {0};
		struct lock_world lw;
		struct world_call io;

		lock_world_start(&lw, seed);
		world_channel_close(&lw.world, lw.channels[2]);
		lock_begin(&lw, &lc, 0, 0, 4096);
		if (seed % 2)
			lock_wait(&lw, &lc);
		assert_int_equal(world_channel_open(&lw.world, &lw.user, 2, &lw.channels[2]), 0);
		lock_wait(&lw, &lc);
		io_begin(&lw, &io, 2, BDEV_IO_WRITE, 0, NULL);
		host_sleep(&lw.world.host, 1 * MSEC_NS);
		assert_false(atomic_load(&io.ended));
		/* Others come and go meanwhile. */
		world_channel_close(&lw.world, lw.channels[1]);
		assert_int_equal(world_channel_open(&lw.world, &lw.user, 1, &lw.channels[1]), 0);
		lock_end(&lw, &lc);
		assert_int_equal(world_finish(&lw.world, &io), 0);
		lock_world_end(&lw);
	}
}

static void removal_ends_what_a_lock_held_back_and_waits_for_the_unlock(void **state)
{
	HOST_FOR_EACH_SEED(seed, 20)
	{
		struct world_call remove = {.run = world_unregister_run};
		struct lock_call held = {0}, waiting = {0};
		struct lock_world lw;
		struct world_call io, own;

		lock_world_start(&lw, seed);
		lock_begin(&lw, &held, 0, 0, 4096);
		lock_wait(&lw, &held);
		lock_begin(&lw, &waiting, 1, 0, 4096);
		io_begin(&lw, &io, 2, BDEV_IO_WRITE, 0, NULL);
		remove.bdev = &lw.fake.bdev;
		world_begin(&lw.world, lw.world.control, &remove);
		assert_int_equal(world_finish(&lw.world, &io), -ENODEV);
		io_begin(&lw, &own, 0, BDEV_IO_WRITE, 0, &held.range);
		assert_int_equal(world_finish(&lw.world, &own), -ENODEV);
		lock_end(&lw, &held);
		lock_wait(&lw, &waiting);
		for (unsigned i = 0; i < WORLD_REACTORS; i++)
			world_channel_close(&lw.world, lw.channels[i]);
		host_sleep(&lw.world.host, 1 * MSEC_NS);
		assert_false(atomic_load(&remove.ended));
		lock_end(&lw, &waiting);
		world_close(&lw.world, &lw.user);
		assert_int_equal(world_finish(&lw.world, &remove), 0);
		world_end(&lw.world);
	}
}

/* ---- random I/O against random locks ------------------------------------ */

#define CROWD_BLOCKS      32 /* few, so that they meet */
#define CROWD_IOS         8 /* at a time, on each reactor */
#define CROWD_LOCKS       2
#define CROWD_IO_ROUNDS   40
#define CROWD_LOCK_ROUNDS 12
#define CROWD_CHURN       15

/* Everything that is in flight at the backend, and every range somebody is alone on. */
struct crowd {
	struct lock_world lw;
	pthread_mutex_t mutex;
	unsigned in_flight[CROWD_BLOCKS]; /* requests without a lock */
	const struct bdev_range_lock *held[CROWD_BLOCKS];
	atomic_uint wrong;
	atomic_uint running; /* actors */
};

struct crowd_actor {
	struct crowd *crowd;
	struct bdev_channel *channel;
	struct reactor *reactor;
	struct message start;
	uint64_t random;
	unsigned rounds;
	struct bdev_io io;
	struct bdev_range_lock lock;
	unsigned first, count;
};

static uint64_t crowd_draw(struct crowd_actor *actor, uint64_t below)
{
	actor->random = actor->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (actor->random >> 33) % below;
}

static void crowd_watch(struct fake *fake, struct bdev_io *io, bool begins)
{
	struct crowd *crowd = fake->watch_arg;
	uint64_t end = (io->offset + io->length) / 512;

	pthread_mutex_lock(&crowd->mutex);
	for (uint64_t block = io->offset / 512; block < end; block++) {
		if (crowd->held[block] && crowd->held[block] != io->lock)
			atomic_fetch_add(&crowd->wrong, 1);
		if (!io->lock)
			crowd->in_flight[block] += begins ? 1 : -1u;
	}
	pthread_mutex_unlock(&crowd->mutex);
}

static void crowd_actor_ended(struct crowd_actor *actor)
{
	atomic_fetch_sub(&actor->crowd->running, 1);
}

static void crowd_draw_range(struct crowd_actor *actor)
{
	actor->count = 1 + (unsigned)crowd_draw(actor, 6);
	actor->first = (unsigned)crowd_draw(actor, CROWD_BLOCKS - actor->count);
}

static void crowd_submit(struct crowd_actor *actor, const struct bdev_range_lock *lock)
{
	actor->io.type = crowd_draw(actor, 2) ? BDEV_IO_READ : BDEV_IO_WRITE;
	actor->io.iov = &lock_iov;
	actor->io.iovcnt = 1;
	actor->io.offset = actor->first * UINT64_C(512);
	actor->io.length = actor->count * UINT64_C(512);
	actor->io.lock = lock;
	bdev_submit(actor->channel, &actor->io);
}

static void crowd_io_done(struct bdev_io *io)
{
	struct crowd_actor *actor = container_of(io, struct crowd_actor, io);

	if (--actor->rounds == 0) {
		crowd_actor_ended(actor);
		return;
	}
	crowd_draw_range(actor);
	crowd_submit(actor, NULL);
}

static void crowd_io_start(struct message *message)
{
	struct crowd_actor *actor = container_of(message, struct crowd_actor, start);

	actor->io.done = crowd_io_done;
	crowd_draw_range(actor);
	crowd_submit(actor, NULL);
}

/* Marks the blocks of a lock as held, or not; held by nobody else, nothing in flight. */
static void crowd_hold(struct crowd_actor *actor, bool held)
{
	struct crowd *crowd = actor->crowd;

	pthread_mutex_lock(&crowd->mutex);
	for (unsigned block = actor->first; block < actor->first + actor->count; block++) {
		const struct bdev_range_lock *expected = held ? NULL : &actor->lock;

		if (crowd->held[block] != expected || crowd->in_flight[block] != 0)
			atomic_fetch_add(&crowd->wrong, 1);
		crowd->held[block] = held ? &actor->lock : NULL;
	}
	pthread_mutex_unlock(&crowd->mutex);
}

static void crowd_lock_next(struct crowd_actor *actor);

static void crowd_unlocked(void *arg, int rc)
{
	struct crowd_actor *actor = arg;

	if (--actor->rounds == 0)
		crowd_actor_ended(actor);
	else
		crowd_lock_next(actor);
}

static void crowd_lock_io_done(struct bdev_io *io)
{
	struct crowd_actor *actor = container_of(io, struct crowd_actor, io);

	crowd_hold(actor, false);
	bdev_range_unlock(&actor->lock, crowd_unlocked, actor);
}

static void crowd_locked(void *arg, int rc)
{
	struct crowd_actor *actor = arg;

	if (rc)
		atomic_fetch_add(&actor->crowd->wrong, 1);
	crowd_hold(actor, true);
	crowd_submit(actor, &actor->lock);
}

static void crowd_lock_next(struct crowd_actor *actor)
{
	crowd_draw_range(actor);
	bdev_range_lock(&actor->lock, actor->channel->bdev, actor->reactor,
		actor->first * UINT64_C(512), actor->count * UINT64_C(512), crowd_locked, actor);
}

static void crowd_lock_start(struct message *message)
{
	struct crowd_actor *actor = container_of(message, struct crowd_actor, start);

	actor->io.done = crowd_lock_io_done;
	crowd_lock_next(actor);
}

static void crowd_actor_start(struct crowd *crowd, struct crowd_actor *actor, unsigned reactor,
	uint64_t random, bool locks)
{
	actor->crowd = crowd;
	actor->channel = crowd->lw.channels[reactor];
	actor->reactor = crowd->lw.world.data[reactor];
	actor->random = random;
	actor->rounds = locks ? CROWD_LOCK_ROUNDS : CROWD_IO_ROUNDS;
	actor->start.run = locks ? crowd_lock_start : crowd_io_start;
	atomic_fetch_add(&crowd->running, 1);
	reactor_send(actor->reactor, &actor->start);
}

/* Channels of the last reactor come and go, each used by one request. */
static void crowd_churn(struct crowd *crowd, uint64_t seed)
{
	struct world *world = &crowd->lw.world;
	unsigned last = WORLD_REACTORS - 1;

	for (unsigned i = 0; i < CROWD_CHURN; i++) {
		struct bdev_channel *channel;
		uint64_t block = (seed + i * 7) % CROWD_BLOCKS;

		assert_int_equal(world_channel_open(world, &crowd->lw.user, last, &channel), 0);
		assert_int_equal(world_write(world, channel, lock_buf, block * 512, 512), 0);
		world_channel_close(world, channel);
	}
}

static bool crowd_has_ended(void *arg)
{
	return atomic_load(&((struct crowd *)arg)->running) == 0;
}

static void whoever_holds_a_lock_is_alone(void **state)
{
	HOST_FOR_EACH_SEED(seed, 60)
	{
		static struct crowd_actor actors[(WORLD_REACTORS - 1) * (CROWD_IOS + CROWD_LOCKS)];
		struct crowd crowd = {.mutex = PTHREAD_MUTEX_INITIALIZER};
		struct lock_world *lw = &crowd.lw;
		unsigned last = WORLD_REACTORS - 1;
		unsigned next = 0;

		lock_world_start(lw, seed);
		world_channel_close(&lw->world, lw->channels[last]);
		lw->fake.latency_ns = 60 * USEC_NS;
		lw->fake.watch = crowd_watch;
		lw->fake.watch_arg = &crowd;
		memset(actors, 0, sizeof(actors));
		for (unsigned reactor = 0; reactor < last; reactor++)
			for (unsigned i = 0; i < CROWD_IOS + CROWD_LOCKS; i++, next++)
				crowd_actor_start(&crowd, &actors[next], reactor,
					seed * 1000 + next, i >= CROWD_IOS);
		crowd_churn(&crowd, seed);
		assert_true(host_wait(&lw->world.host, crowd_has_ended, &crowd));
		assert_int_equal(atomic_load(&crowd.wrong), 0);
		assert_int_equal(
			world_channel_open(&lw->world, &lw->user, last, &lw->channels[last]), 0);
		lock_world_end(lw);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_lock_holds_back_what_overlaps_and_nothing_else),
		cmocka_unit_test(a_lock_of_the_whole_device_holds_back_flushes),
		cmocka_unit_test(a_lock_waits_for_what_is_in_flight),
		cmocka_unit_test(overlapping_locks_are_granted_in_order),
		cmocka_unit_test(a_lock_can_be_given_up_at_any_time),
		cmocka_unit_test(a_channel_opened_under_a_lock_honours_it),
		cmocka_unit_test(removal_ends_what_a_lock_held_back_and_waits_for_the_unlock),
		cmocka_unit_test(whoever_holds_a_lock_is_alone),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
