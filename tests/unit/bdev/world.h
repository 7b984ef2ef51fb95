/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small daemon for the tests of block devices: a control reactor with a registry and a few data
 * reactors, on the simulated host or the real kernel (core/host.h). The test's thread stands
 * outside; each world_ function has its work done on the reactor it belongs to and waits for it.
 */
#ifndef UNIT_BDEV_WORLD_H
#define UNIT_BDEV_WORLD_H

#include "bdev/bdev.h"
#include "host.h"

#define WORLD_REACTORS 3

struct world {
	struct host host;
	struct reactor *control;
	struct reactor *data[WORLD_REACTORS];
	struct bdev_registry *registry;
};

/* A user of a device that closes nothing by itself: the test does. */
struct world_user {
	struct bdev_user user;
	atomic_bool removed;
	atomic_uint resized;
};

/* A call that ends with done; the fields are what run needs and leaves. */
struct world_call {
	struct message message;
	void (*run)(struct world_call *call); /* on the reactor: ends in world_done(call, rc) */
	struct bdev *bdev;
	struct bdev_user *user;
	struct bdev_channel *channel;
	struct reactor *reactor;
	enum bdev_claim claim;
	struct reason *reason;
	const void *options;
	struct bdev_io io;
	struct bdev_io_stats stats;
	struct world *world;
	int rc;
	atomic_bool ended;
};

void world_start(struct world *world, uint64_t seed);
/* On a host that is there already (another process). */
void world_start_on(struct world *world, struct os *os, struct sim *sim);
/* All devices are gone; the host stays. */
void world_stop(struct world *world);
void world_end(struct world *world);

/* A done_fn for what a run function starts; arg is the call. */
void world_done(void *arg, int rc);
void world_begin(struct world *world, struct reactor *reactor, struct world_call *call);
/* Waits for a call that was begun. */
int world_finish(struct world *world, struct world_call *call);
int world_run(struct world *world, struct reactor *reactor, struct world_call *call);
/* Until messages that were sent, and what follows from them on other reactors, have run. */
void world_settle(struct world *world);

void world_user_init(struct world_user *user, const char *name);
int world_open(
	struct world *world, struct bdev *bdev, struct world_user *user, struct reason *reason);
void world_close(struct world *world, struct world_user *user);
int world_claim(
	struct world *world, struct world_user *user, enum bdev_claim claim, struct reason *reason);
int world_release(struct world *world, struct world_user *user);
int world_channel_open(struct world *world, struct world_user *user, unsigned reactor,
	struct bdev_channel **ret_channel);
void world_channel_close(struct world *world, struct bdev_channel *channel);
int world_unregister(struct world *world, struct bdev *bdev);
/* For world_begin: unregisters call->bdev. */
void world_unregister_run(struct world_call *call);
struct bdev *world_find(struct world *world, const char *name);
void world_set_size(struct world *world, struct bdev *bdev, uint64_t size);
void world_stats(struct world *world, struct bdev *bdev, struct bdev_io_stats *ret_stats);

/* One request, and its status. */
int world_io(struct world *world, struct bdev_channel *channel, enum bdev_io_type type,
	uint8_t flags, const struct iovec *iov, unsigned iovcnt, uint64_t offset, uint64_t length);
/* How the range begins; must succeed. */
struct bdev_extent world_extent(
	struct world *world, struct bdev_channel *channel, uint64_t offset, uint64_t length);
int world_read(struct world *world, struct bdev_channel *channel, void *buf, uint64_t offset,
	uint64_t length);
int world_write(struct world *world, struct bdev_channel *channel, const void *buf, uint64_t offset,
	uint64_t length);
/* Begun only: fill call->io and call->channel, zeroed before. */
void world_io_begin(struct world *world, struct world_call *call);

#endif
