/* SPDX-License-Identifier: BSD-2-Clause */
#include "filter_world.h"

#include <string.h>

#include "backend/backends.h"

struct make_call {
	struct world_call call;
	struct filter_world *fw;
	struct filter_options filter;
	struct split_options split;
	struct delay_options delay;
	struct malloc_bdev_options memory;
	enum filter_type type;
	const char *name;
	struct filter *found;
	struct bdev *bdev;
};

static struct make_call *make_of(struct world_call *call)
{
	return container_of(call, struct make_call, call);
}

static int make_run(
	struct filter_world *fw, struct make_call *make, void (*run)(struct world_call *call))
{
	make->fw = fw;
	make->call.run = run;
	return world_run(&fw->world, fw->world.control, &make->call);
}

static void world_make_run(struct world_call *call)
{
	struct make_call *make = make_of(call);

	world_done(call, filters_create(make->fw->world.registry, &make->fw->filters));
}

void filter_world_start(struct filter_world *fw, uint64_t seed)
{
	struct make_call make = {0};

	memset(fw, 0, sizeof(*fw));
	world_start(&fw->world, seed);
	assert_int_equal(make_run(fw, &make, world_make_run), 0);
}

static void first_find(struct bdev *bdev, void *arg)
{
	struct bdev **first = arg;

	if (!*first)
		*first = bdev;
}

static void first_run(struct world_call *call)
{
	struct make_call *make = make_of(call);

	make->bdev = NULL;
	bdev_for_each(make->fw->world.registry, first_find, &make->bdev);
	world_done(call, 0);
}

static void close_run(struct world_call *call)
{
	filters_close(make_of(call)->fw->filters);
	world_done(call, 0);
}

void filter_world_close(struct filter_world *fw)
{
	struct make_call make = {0};

	make_run(fw, &make, close_run);
}

void filter_world_end(struct filter_world *fw)
{
	struct make_call make = {0};

	filter_world_close(fw);
	for (;;) {
		make_run(fw, &make, first_run);
		if (!make.bdev)
			break;
		world_unregister(&fw->world, make.bdev);
	}
	world_settle(&fw->world);
	world_stop(&fw->world);
	filters_destroy(fw->filters);
	host_end(&fw->world.host);
}

static void passthru_run(struct world_call *call)
{
	struct make_call *make = make_of(call);

	passthru_create(make->fw->filters, &make->filter, call->reason, world_done, call);
}

int passthru_make(
	struct filter_world *fw, const char *name, const char *base, struct reason *reason)
{
	struct make_call make = {.filter = {.name = name, .base = base}, .call.reason = reason};

	return make_run(fw, &make, passthru_run);
}

static void split_run(struct world_call *call)
{
	struct make_call *make = make_of(call);

	split_create(make->fw->filters, &make->split, call->reason, world_done, call);
}

int split_make(struct filter_world *fw, const char *base, uint32_t count, uint64_t size_mib)
{
	struct make_call make = {.split = {.base = base, .count = count, .size_mib = size_mib}};

	return make_run(fw, &make, split_run);
}

static void delay_run(struct world_call *call)
{
	struct make_call *make = make_of(call);

	delay_create(make->fw->filters, &make->delay, call->reason, world_done, call);
}

int delay_make(struct filter_world *fw, const char *name, const char *base,
	const uint64_t latency_us[DELAY_LATENCIES])
{
	struct make_call make = {.delay.filter = {.name = name, .base = base}};

	memcpy(make.delay.latency_us, latency_us, sizeof(make.delay.latency_us));
	return make_run(fw, &make, delay_run);
}

static void error_run(struct world_call *call)
{
	struct make_call *make = make_of(call);

	error_create(make->fw->filters, &make->filter, call->reason, world_done, call);
}

int error_make(struct filter_world *fw, const char *base)
{
	struct make_call make = {.filter = {.base = base}};

	return make_run(fw, &make, error_run);
}

static void find_run(struct world_call *call)
{
	struct make_call *make = make_of(call);

	make->found = filter_find(make->fw->filters, make->type, make->name);
	make->bdev = bdev_find(make->fw->world.registry, make->name);
	world_done(call, 0);
}

struct filter *filter_get_named(struct filter_world *fw, enum filter_type type, const char *name)
{
	struct make_call make = {.type = type, .name = name};

	make_run(fw, &make, find_run);
	return make.found;
}

struct bdev *device_named(struct filter_world *fw, const char *name)
{
	struct make_call make = {.name = name};

	make_run(fw, &make, find_run);
	return make.bdev;
}

static void settle_run(struct world_call *call)
{
	filters_wait_settled(make_of(call)->fw->filters, world_done, call);
}

void filters_settle(struct filter_world *fw)
{
	struct make_call make = {0};

	make_run(fw, &make, settle_run);
}

void wait_until_gone(struct filter_world *fw, const char *name)
{
	for (unsigned tries = 0; tries < 1000000; tries++) {
		if (!device_named(fw, name))
			return;
	}
	fail_msg("%s is still there", name);
}

static void remove_run(struct world_call *call)
{
	filter_delete(make_of(call)->found, world_done, call);
}

void filter_remove(struct filter_world *fw, enum filter_type type, const char *name)
{
	struct make_call make = {.found = filter_get_named(fw, type, name)};

	assert_non_null(make.found);
	assert_int_equal(make_run(fw, &make, remove_run), 0);
}

static void malloc_run(struct world_call *call)
{
	struct make_call *make = make_of(call);

	world_done(call,
		malloc_bdev_create(make->fw->world.registry, &make->memory, NULL, &make->bdev));
}

struct bdev *malloc_make(struct filter_world *fw, const char *name, uint64_t size)
{
	struct make_call make = {
		.memory = {.name = name, .num_blocks = size / 512, .block_size = 512}};

	assert_int_equal(make_run(fw, &make, malloc_run), 0);
	return make.bdev;
}

void opened_start(
	struct filter_world *fw, struct opened *opened, const char *name, unsigned reactor)
{
	struct bdev *bdev = device_named(fw, name);

	assert_non_null(bdev);
	world_user_init(&opened->user, "second");
	assert_int_equal(world_open(&fw->world, bdev, &opened->user, NULL), 0);
	assert_int_equal(
		world_channel_open(&fw->world, &opened->user, reactor, &opened->channel), 0);
}

void opened_end(struct filter_world *fw, struct opened *opened)
{
	world_channel_close(&fw->world, opened->channel);
	world_close(&fw->world, &opened->user);
}
