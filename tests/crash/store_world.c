/* SPDX-License-Identifier: BSD-2-Clause */
#include "crash/store_world.h"

#include <string.h>

/* ---- life ------------------------------------------------------------------------------------ */

static void foreign_removed(struct bdev_user *user)
{
}

static const struct bdev_user_ops foreign_user_ops = {
	.name = "crash test", .removed = foreign_removed};

static void register_run(struct store_call *call)
{
	struct store_world *world = call->world;
	int rc = bdev_register(world->registry, &world->disk.bdev, &call->reason);

	if (!rc)
		rc = bdev_register(world->registry, &world->foreign.bdev, &call->reason);
	world->foreign_user.ops = &foreign_user_ops;
	if (!rc)
		rc = bdev_open(&world->foreign.bdev, &world->foreign_user, &call->reason);
	store_call_done(call, rc);
}

void store_world_start(struct store_world *world, uint64_t seed,
	const struct crash_disk_options *options, struct crash_image *image,
	struct crash_image *foreign, unsigned num_data)
{
	static const char *const names[STORE_WORLD_DATA] = {"data0", "data1"};
	struct store_call call = {.run = register_run};
	struct crash_disk_options foreign_options = *options;

	memset(world, 0, sizeof(*world));
	host_start(&world->host, seed);
	world->control = host_reactor(&world->host, "control", POLL_ADAPTIVE);
	world->num_data = num_data;
	for (unsigned i = 0; i < num_data; i++)
		world->data[i] = host_reactor(&world->host, names[i], POLL_ADAPTIVE);
	assert_int_equal(bdev_registry_create(world->host.os, world->control, &world->registry), 0);
	crash_disk_init(&world->disk, options, image);
	foreign_options.name = "foreign0";
	crash_disk_init(&world->foreign, &foreign_options, foreign);
	assert_int_equal(store_call_run(world, &call), 0);
}

static void unregister_run(struct store_call *call)
{
	bdev_unregister(&call->world->disk.bdev, store_call_done, call);
}

static void unregister_foreign_run(struct store_call *call)
{
	bdev_close(&call->world->foreign_user);
	bdev_unregister(&call->world->foreign.bdev, store_call_done, call);
}

void store_world_end(struct store_world *world)
{
	struct store_call call = {.run = unregister_run};

	assert_null(world->store);
	assert_int_equal(store_call_run(world, &call), 0);
	call.run = unregister_foreign_run;
	assert_int_equal(store_call_run(world, &call), 0);
	for (unsigned i = 0; i < world->num_data; i++)
		host_stop_reactor(world->data[i]);
	host_stop_reactor(world->control);
	bdev_registry_destroy(world->registry);
	host_end(&world->host);
}

/* ---- calls ----------------------------------------------------------------------------------- */

static void store_call_start(struct message *message)
{
	struct store_call *call = container_of(message, struct store_call, message);

	call->run(call);
}

void store_call_done(void *arg, int rc)
{
	struct store_call *call = arg;

	call->rc = rc;
	if (call->acked)
		call->acked(call);
	call->ended = true;
}

void store_call_begin(struct store_world *world, struct store_call *call)
{
	call->world = world;
	call->message.run = store_call_start;
	call->ended = false;
	reactor_send(world->control, &call->message);
}

static bool store_call_has_ended(void *arg)
{
	return ((struct store_call *)arg)->ended;
}

bool store_call_wait(struct store_call *call)
{
	return host_wait(&call->world->host, store_call_has_ended, call);
}

int store_call_run(struct store_world *world, struct store_call *call)
{
	store_call_begin(world, call);
	assert_true(store_call_wait(call));
	return call->rc;
}

/* ---- stores ---------------------------------------------------------------------------------- */

static void removed(void *arg)
{
}

static void space(void *arg, enum blob_store_space space)
{
}

static const struct blob_store_user store_user = {.removed = removed, .space = space};

void store_world_lend_foreign(struct store_world *world, struct blob *blob)
{
	struct blob_info info;

	blob_get_info(blob, &info);
	if (info.esnap)
		blob_set_esnap_bdev(blob, &world->foreign_user);
}

static void create_run(struct store_call *call)
{
	blob_store_create(&call->world->disk.bdev, call->arg, &store_user, &call->reason,
		&call->world->store, store_call_done, call);
}

int store_world_create(struct store_world *world, const struct blob_store_create_options *options)
{
	struct store_call call = {.run = create_run, .arg = (void *)(uintptr_t)options};

	return store_call_run(world, &call);
}

static void load_run(struct store_call *call)
{
	blob_store_load(&call->world->disk.bdev, "CRASH", &store_user, &call->reason,
		&call->world->store, store_call_done, call);
}

int store_world_load(struct store_world *world, struct reason *reason)
{
	struct store_call call = {.run = load_run};
	int rc = store_call_run(world, &call);

	if (reason)
		*reason = call.reason;
	return rc;
}

static void close_run(struct store_call *call)
{
	blob_store_close(call->world->store, store_call_done, call);
}

int store_world_close(struct store_world *world)
{
	struct store_call call = {.run = close_run};
	int rc = store_call_run(world, &call);

	world->store = NULL;
	return rc;
}

static void destroy_run(struct store_call *call)
{
	blob_store_destroy(call->world->store, store_call_done, call);
}

int store_world_destroy(struct store_world *world)
{
	struct store_call call = {.run = destroy_run};
	int rc = store_call_run(world, &call);

	world->store = NULL;
	return rc;
}
