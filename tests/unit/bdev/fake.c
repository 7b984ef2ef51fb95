/* SPDX-License-Identifier: BSD-2-Clause */
#include "fake.h"

#include <stdlib.h>
#include <string.h>

struct fake_channel {
	struct bdev_channel *channel;
	struct bdev_io *held;
	struct timer timer;
	uint64_t random;
};

struct fake_io {
	uint64_t due_ns;
};

static struct fake *fake_of(const struct bdev *bdev)
{
	return container_of(bdev, struct fake, bdev);
}

static struct fake_channel *fake_channel_of(struct bdev_channel *channel)
{
	return (struct fake_channel *)channel->backend;
}

static uint64_t fake_draw(struct fake_channel *own, uint64_t below)
{
	own->random = own->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (own->random >> 33) % below;
}

static void fake_end(struct bdev_io *io)
{
	struct fake *fake = fake_of(io->channel->bdev);

	if (fake->watch)
		fake->watch(fake, io, false);
	bdev_io_complete(io, atomic_load(&fake->io_status));
}

/* Ends what is due and starts the timer for the next. */
static void fake_reap(struct fake_channel *own, bool all)
{
	struct reactor *reactor = own->channel->reactor;
	struct bdev_io **at = &own->held;
	uint64_t next_ns = UINT64_MAX;

	while (*at) {
		struct bdev_io *io = *at;
		uint64_t due_ns = ((struct fake_io *)io->backend.bytes)->due_ns;

		if (all || due_ns <= reactor->now_ns) {
			*at = io->next;
			fake_end(io);
			continue;
		}
		next_ns = u64_min(next_ns, due_ns - reactor->now_ns);
		at = &io->next;
	}
	if (next_ns != UINT64_MAX)
		timer_start(reactor, &own->timer, next_ns);
}

static void fake_fired(struct timer *timer)
{
	fake_reap(container_of(timer, struct fake_channel, timer), false);
}

static void fake_submit(struct bdev_channel *channel, struct bdev_io *io)
{
	struct fake_channel *own = fake_channel_of(channel);
	struct fake *fake = fake_of(channel->bdev);
	bool hold = atomic_load(&fake->hold);

	atomic_fetch_add(&fake->submitted, 1);
	if (fake->watch)
		fake->watch(fake, io, true);
	if (!hold && fake->latency_ns == 0) {
		fake_end(io);
		return;
	}
	((struct fake_io *)io->backend.bytes)->due_ns =
		hold ? UINT64_MAX : channel->reactor->now_ns + fake_draw(own, fake->latency_ns) + 1;
	io->next = own->held;
	own->held = io;
	if (!hold)
		fake_reap(own, false);
}

static int fake_channel_init(struct bdev_channel *channel)
{
	struct fake_channel *own = fake_channel_of(channel);
	int rc = atomic_load(&fake_of(channel->bdev)->channel_status);

	assert_true(atomic_load(&fake_of(channel->bdev)->prepared) >
		    atomic_load(&fake_of(channel->bdev)->channels));
	if (rc)
		return rc;
	own->channel = channel;
	own->random = channel->reactor->now_ns;
	own->timer.fired = fake_fired;
	atomic_fetch_add(&fake_of(channel->bdev)->channels, 1);
	return 0;
}

static void fake_channel_fini(struct bdev_channel *channel)
{
	assert_null(fake_channel_of(channel)->held);
	timer_stop(channel->reactor, &fake_channel_of(channel)->timer);
	atomic_fetch_sub(&fake_of(channel->bdev)->channels, 1);
}

/* ---- what takes a while on the control reactor -------------------------- */

struct fake_wait {
	struct timer timer;
	struct fake *fake;
	void (*end)(struct fake *fake, int rc);
	int rc;
	done_fn done;
	void *arg;
};

static void fake_wait_fired(struct timer *timer)
{
	struct fake_wait *wait = container_of(timer, struct fake_wait, timer);

	wait->end(wait->fake, wait->rc);
	wait->done(wait->arg, wait->rc);
	free(wait);
}

static void fake_wait(
	struct bdev *bdev, int rc, void (*end)(struct fake *fake, int rc), done_fn done, void *arg)
{
	struct fake_wait *wait = calloc(1, sizeof(*wait));

	assert_non_null(wait);
	wait->timer.fired = fake_wait_fired;
	wait->fake = fake_of(bdev);
	wait->end = end;
	wait->rc = rc;
	wait->done = done;
	wait->arg = arg;
	timer_start(bdev_registry_control(bdev->registry), &wait->timer, wait->fake->claim_ns);
}

/* ---- channels ----------------------------------------------------------- */

static void fake_prepare_end(struct fake *fake, int rc)
{
	if (!rc)
		atomic_fetch_add(&fake->prepared, 1);
}

static void fake_channel_prepare(struct bdev_channel *channel, done_fn done, void *arg)
{
	const struct fake *fake = fake_of(channel->bdev);

	assert_ptr_equal(reactor_self(), bdev_registry_control(channel->bdev->registry));
	fake_wait(channel->bdev, atomic_load(&fake->prepare_status), fake_prepare_end, done, arg);
}

static void fake_release_channel_end(struct fake *fake, int rc)
{
	assert_true(atomic_fetch_sub(&fake->prepared, 1) > atomic_load(&fake->channels));
}

static void fake_channel_release(struct bdev_channel *channel, done_fn done, void *arg)
{
	assert_ptr_equal(reactor_self(), bdev_registry_control(channel->bdev->registry));
	fake_wait(channel->bdev, 0, fake_release_channel_end, done, arg);
}

/* ---- claims and the end ------------------------------------------------- */

static void fake_claim_end(struct fake *fake, int rc)
{
	if (!rc)
		assert_false(atomic_exchange(&fake->claimed, true));
}

static void fake_claim(struct bdev *bdev, struct reason *reason, done_fn done, void *arg)
{
	struct fake *fake = fake_of(bdev);
	int rc = atomic_load(&fake->claim_status);

	atomic_fetch_add(&fake->claims, 1);
	if (rc)
		reason_set(reason, rc, "held by pid 4711");
	fake_wait(bdev, rc, fake_claim_end, done, arg);
}

static void fake_release_end(struct fake *fake, int rc)
{
	assert_true(atomic_exchange(&fake->claimed, false));
}

static void fake_release(struct bdev *bdev, done_fn done, void *arg)
{
	atomic_fetch_add(&fake_of(bdev)->releases, 1);
	fake_wait(bdev, 0, fake_release_end, done, arg);
}

static void fake_destroy_end(struct fake *fake, int rc)
{
	assert_false(atomic_exchange(&fake->destroyed, true));
}

static void fake_destroy(struct bdev *bdev, done_fn done, void *arg)
{
	assert_int_equal(atomic_load(&fake_of(bdev)->channels), 0);
	assert_int_equal(atomic_load(&fake_of(bdev)->prepared), 0);
	assert_false(atomic_load(&fake_of(bdev)->claimed));
	fake_wait(bdev, 0, fake_destroy_end, done, arg);
}

static bool fake_supports(const struct bdev *bdev, enum bdev_io_type type)
{
	return true;
}

static const struct bdev_ops fake_ops = {
	.product_name = "Fake disk",
	.module = "fake",
	.submit = fake_submit,
	.channel_size = sizeof(struct fake_channel),
	.channel_init = fake_channel_init,
	.channel_fini = fake_channel_fini,
	.channel_prepare = fake_channel_prepare,
	.channel_release = fake_channel_release,
	.supports = fake_supports,
	.claim = fake_claim,
	.release = fake_release,
	.destroy = fake_destroy,
};

void fake_init(struct fake *fake, const char *name, uint64_t size)
{
	memset(fake, 0, sizeof(*fake));
	fake->bdev.ops = &fake_ops;
	fake->bdev.name = name;
	fake->bdev.block_size = 512;
	fake->bdev.size_bytes = size;
	fake->claim_ns = 10 * USEC_NS;
}

static void fake_register_run(struct world_call *call)
{
	world_done(call, bdev_register(call->world->registry, call->bdev, call->reason));
}

int fake_register(struct world *world, struct fake *fake, struct reason *reason)
{
	struct world_call call = {.run = fake_register_run, .bdev = &fake->bdev, .reason = reason};

	return world_run(world, world->control, &call);
}

static void fake_kick_run(struct world_call *call)
{
	fake_reap(fake_channel_of(call->channel), true);
	world_done(call, 0);
}

void fake_kick(struct world *world, struct bdev_channel *channel)
{
	struct world_call call = {.run = fake_kick_run, .channel = channel};

	world_run(world, channel->reactor, &call);
}
