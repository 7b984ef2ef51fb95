/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A small daemon around one store on a crash_disk, on the simulated host: a control reactor, none
 * or some data reactors, the registry. The test's thread stands outside: each call has its work
 * done on the control reactor and is waited for, or begun and waited for later.
 */
#ifndef CRASH_STORE_WORLD_H
#define CRASH_STORE_WORLD_H

#include "blob/blob.h"
#include "crash/crash_disk.h"
#include "host.h"

#define STORE_WORLD_DATA 2u

struct store_world {
	struct host host;
	struct reactor *control;
	struct reactor *data[STORE_WORLD_DATA];
	unsigned num_data;
	struct bdev_registry *registry;
	struct crash_disk disk;
	struct crash_disk foreign; /* the parent of some volumes */
	struct bdev_user foreign_user;
	struct blob_store *store; /* NULL: not open */
};

/* One call; zeroed, then run and what it needs are set. */
struct store_call {
	struct message message;
	struct store_world *world;
	void (*run)(
		struct store_call *call); /* control: starts it, with store_call_done and call */
	void (*acked)(struct store_call *call); /* control, at once when it is done; optional */
	void *arg;
	struct reason reason;
	int rc;
	bool ended;
};

void store_world_start(struct store_world *world, uint64_t seed,
	const struct crash_disk_options *options, struct crash_image *image,
	struct crash_image *foreign, unsigned num_data);
/* The store is closed, volumes are too. */
void store_world_end(struct store_world *world);

void store_call_done(void *call, int rc);
void store_call_begin(struct store_world *world, struct store_call *call);
bool store_call_wait(struct store_call *call); /* false: it does not end */
int store_call_run(struct store_world *world, struct store_call *call);

/* Control: a clone of the foreign device is told where that is. */
void store_world_lend_foreign(struct store_world *world, struct blob *blob);

int store_world_create(struct store_world *world, const struct blob_store_create_options *options);
/* reason may be NULL. */
int store_world_load(struct store_world *world, struct reason *reason);
int store_world_close(struct store_world *world);
int store_world_destroy(struct store_world *world);

#endif
