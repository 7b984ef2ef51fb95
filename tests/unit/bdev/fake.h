/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A backend of the tests: a device that ends its requests after a random while, or when it is told,
 * and whose claim, channels and destruction do as they are told.
 */
#ifndef UNIT_BDEV_FAKE_H
#define UNIT_BDEV_FAKE_H

#include "world.h"

struct fake {
	struct bdev bdev;

	/* what it does; set before or atomically */
	atomic_bool hold; /* requests stay until this is false and fake_kick was called */
	atomic_int io_status;
	atomic_int prepare_status; /* of channel_prepare */
	atomic_int channel_status; /* of channel_init */
	atomic_int claim_status;
	uint64_t claim_ns; /* how long claim, release and destroy take */
	uint64_t latency_ns; /* of a request: 0 .. this; 0: at once */
	void (*watch)(struct fake *fake, struct bdev_io *io, bool begins); /* any data reactor */
	void *watch_arg;

	/* what has happened */
	atomic_uint submitted;
	atomic_uint prepared; /* channels: prepared and not released */
	atomic_uint channels;
	atomic_uint claims;
	atomic_uint releases;
	atomic_bool claimed;
	atomic_bool destroyed;
};

/* Fills in what bdev_register needs. The memory is the test's. */
void fake_init(struct fake *fake, const char *name, uint64_t size);
int fake_register(struct world *world, struct fake *fake, struct reason *reason);
/* Ends what is held on this channel's reactor. */
void fake_kick(struct world *world, struct bdev_channel *channel);

#endif
