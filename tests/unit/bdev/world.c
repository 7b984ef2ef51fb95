/* SPDX-License-Identifier: BSD-2-Clause */
#include "world.h"

#include <string.h>

/* ---- life --------------------------------------------------------------- */

void world_start_on(struct world *world, struct os *os, struct sim *sim)
{
	static const char *const names[WORLD_REACTORS] = {"data0", "data1", "data2"};

	world->host = (struct host){.os = os, .sim = sim};
	world->control = host_reactor(&world->host, "control", POLL_ADAPTIVE);
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		world->data[i] = host_reactor(&world->host, names[i], POLL_ADAPTIVE);
	assert_int_equal(bdev_registry_create(os, world->control, &world->registry), 0);
}

void world_start(struct world *world, uint64_t seed)
{
	struct host host;

	host_start(&host, seed);
	world_start_on(world, host.os, host.sim);
}

void world_stop(struct world *world)
{
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		host_stop_reactor(world->data[i]);
	host_stop_reactor(world->control);
	bdev_registry_destroy(world->registry);
}

void world_end(struct world *world)
{
	world_stop(world);
	host_end(&world->host);
}

/* ---- calls -------------------------------------------------------------- */

static void world_call_run(struct message *message)
{
	struct world_call *call = container_of(message, struct world_call, message);

	call->run(call);
}

void world_done(void *arg, int rc)
{
	struct world_call *call = arg;

	call->rc = rc;
	atomic_store(&call->ended, true);
}

void world_begin(struct world *world, struct reactor *reactor, struct world_call *call)
{
	call->world = world;
	call->message.run = world_call_run;
	atomic_store(&call->ended, false);
	reactor_send(reactor, &call->message);
}

int world_finish(struct world *world, struct world_call *call)
{
	assert_true(host_wait_flag(&world->host, &call->ended));
	return call->rc;
}

int world_run(struct world *world, struct reactor *reactor, struct world_call *call)
{
	world_begin(world, reactor, call);
	return world_finish(world, call);
}

static void settle_run(void *arg)
{
}

void world_settle(struct world *world)
{
	for (unsigned hops = 0; hops < 4; hops++) {
		host_call(&world->host, world->control, settle_run, NULL);
		for (unsigned i = 0; i < WORLD_REACTORS; i++)
			host_call(&world->host, world->data[i], settle_run, NULL);
	}
}

/* ---- devices and users -------------------------------------------------- */

static void world_user_removed(struct bdev_user *user)
{
	atomic_store(&container_of(user, struct world_user, user)->removed, true);
}

static void world_user_resized(struct bdev_user *user)
{
	atomic_fetch_add(&container_of(user, struct world_user, user)->resized, 1);
}

static const struct bdev_user_ops world_user_ops[] = {
	{.name = "first", .removed = world_user_removed, .resized = world_user_resized},
	{.name = "second", .removed = world_user_removed, .resized = world_user_resized},
	{.name = "third", .removed = world_user_removed},
};

void world_user_init(struct world_user *user, const char *name)
{
	memset(user, 0, sizeof(*user));
	for (size_t i = 0; i < ARRAY_SIZE(world_user_ops); i++)
		if (strcmp(world_user_ops[i].name, name) == 0)
			user->user.ops = &world_user_ops[i];
	assert_non_null(user->user.ops);
}

static void world_open_run(struct world_call *call)
{
	world_done(call, bdev_open(call->bdev, call->user, call->reason));
}

int world_open(
	struct world *world, struct bdev *bdev, struct world_user *user, struct reason *reason)
{
	struct world_call call = {
		.run = world_open_run, .bdev = bdev, .user = &user->user, .reason = reason};

	return world_run(world, world->control, &call);
}

static void world_close_run(struct world_call *call)
{
	bdev_close(call->user);
	world_done(call, 0);
}

void world_close(struct world *world, struct world_user *user)
{
	struct world_call call = {.run = world_close_run, .user = &user->user};

	assert_int_equal(world_run(world, world->control, &call), 0);
}

static void world_claim_run(struct world_call *call)
{
	bdev_claim(call->user, call->claim, call->reason, world_done, call);
}

int world_claim(
	struct world *world, struct world_user *user, enum bdev_claim claim, struct reason *reason)
{
	struct world_call call = {
		.run = world_claim_run, .user = &user->user, .claim = claim, .reason = reason};

	return world_run(world, world->control, &call);
}

static void world_release_run(struct world_call *call)
{
	bdev_release(call->user, world_done, call);
}

int world_release(struct world *world, struct world_user *user)
{
	struct world_call call = {.run = world_release_run, .user = &user->user};

	return world_run(world, world->control, &call);
}

static void world_channel_open_run(struct world_call *call)
{
	bdev_channel_open(call->user, call->reactor, &call->channel, world_done, call);
}

int world_channel_open(struct world *world, struct world_user *user, unsigned reactor,
	struct bdev_channel **ret_channel)
{
	struct world_call call = {.run = world_channel_open_run,
		.user = &user->user,
		.reactor = world->data[reactor]};
	int rc = world_run(world, world->control, &call);

	*ret_channel = call.channel;
	return rc;
}

static void world_channel_close_run(struct world_call *call)
{
	bdev_channel_close(call->channel, world_done, call);
}

void world_channel_close(struct world *world, struct bdev_channel *channel)
{
	struct world_call call = {.run = world_channel_close_run, .channel = channel};

	assert_int_equal(world_run(world, world->control, &call), 0);
}

void world_unregister_run(struct world_call *call)
{
	bdev_unregister(call->bdev, world_done, call);
}

int world_unregister(struct world *world, struct bdev *bdev)
{
	struct world_call call = {.run = world_unregister_run, .bdev = bdev};

	return world_run(world, world->control, &call);
}

static void world_find_run(struct world_call *call)
{
	call->bdev = bdev_find(call->world->registry, call->options);
	world_done(call, 0);
}

struct bdev *world_find(struct world *world, const char *name)
{
	struct world_call call = {.run = world_find_run, .options = name};

	world_run(world, world->control, &call);
	return call.bdev;
}

static void world_set_size_run(struct world_call *call)
{
	bdev_set_size(call->bdev, *(const uint64_t *)call->options);
	world_done(call, 0);
}

void world_set_size(struct world *world, struct bdev *bdev, uint64_t size)
{
	struct world_call call = {.run = world_set_size_run, .bdev = bdev, .options = &size};

	world_run(world, world->control, &call);
}

static void world_stats_run(struct world_call *call)
{
	bdev_get_stats(call->bdev, &call->stats, world_done, call);
}

void world_stats(struct world *world, struct bdev *bdev, struct bdev_io_stats *ret_stats)
{
	struct world_call call = {.run = world_stats_run, .bdev = bdev};

	assert_int_equal(world_run(world, world->control, &call), 0);
	*ret_stats = call.stats;
}

/* ---- requests ----------------------------------------------------------- */

static void world_io_done(struct bdev_io *io)
{
	struct world_call *call = container_of(io, struct world_call, io);

	world_done(call, io->status);
}

static void world_io_run(struct world_call *call)
{
	bdev_submit(call->channel, &call->io);
}

void world_io_begin(struct world *world, struct world_call *call)
{
	call->run = world_io_run;
	call->io.done = world_io_done;
	world_begin(world, call->channel->reactor, call);
}

int world_io(struct world *world, struct bdev_channel *channel, enum bdev_io_type type,
	uint8_t flags, const struct iovec *iov, unsigned iovcnt, uint64_t offset, uint64_t length)
{
	struct world_call call = {
		.channel = channel,
		.io =
			{
				.type = type,
				.flags = flags,
				.iov = iov,
				.iovcnt = (uint16_t)iovcnt,
				.offset = offset,
				.length = length,
			},
	};

	world_io_begin(world, &call);
	return world_finish(world, &call);
}

struct bdev_extent world_extent(
	struct world *world, struct bdev_channel *channel, uint64_t offset, uint64_t length)
{
	struct bdev_extent extent = {0};
	struct world_call call = {
		.channel = channel,
		.io =
			{
				.type = BDEV_IO_EXTENT,
				.extent = &extent,
				.offset = offset,
				.length = length,
			},
	};

	world_io_begin(world, &call);
	assert_int_equal(world_finish(world, &call), 0);
	return extent;
}

int world_read(struct world *world, struct bdev_channel *channel, void *buf, uint64_t offset,
	uint64_t length)
{
	struct iovec iov = {.iov_base = buf, .iov_len = length};

	return world_io(world, channel, BDEV_IO_READ, 0, &iov, 1, offset, length);
}

int world_write(struct world *world, struct bdev_channel *channel, const void *buf, uint64_t offset,
	uint64_t length)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = length};

	return world_io(world, channel, BDEV_IO_WRITE, 0, &iov, 1, offset, length);
}
