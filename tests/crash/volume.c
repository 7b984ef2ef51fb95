/* SPDX-License-Identifier: BSD-2-Clause */
#include "crash/volume.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct volume *volume_of(const struct bdev *bdev)
{
	return container_of(bdev, struct volume, bdev);
}

static bool volume_supports(const struct bdev *bdev, enum bdev_io_type type)
{
	return true;
}

static void volume_prepare(struct bdev_channel *channel, done_fn done, void *arg)
{
	blob_channel_prepare(volume_of(channel->bdev)->blob, channel, done, arg);
}

static void volume_release(struct bdev_channel *channel, done_fn done, void *arg)
{
	blob_channel_release(volume_of(channel->bdev)->blob, channel, done, arg);
}

static int volume_channel_init(struct bdev_channel *channel)
{
	return blob_channel_init(volume_of(channel->bdev)->blob, channel);
}

struct volume_farewell {
	struct message message;
	done_fn done;
	void *arg;
};

static void volume_farewell_run(struct message *message)
{
	struct volume_farewell *farewell = container_of(message, struct volume_farewell, message);

	farewell->done(farewell->arg, 0);
	free(farewell);
}

static void volume_gone(struct bdev *bdev, done_fn done, void *arg)
{
	struct volume_farewell *farewell = calloc(1, sizeof(*farewell));

	assert_non_null(farewell);
	*farewell = (struct volume_farewell){
		.message.run = volume_farewell_run, .done = done, .arg = arg};
	reactor_send(volume_of(bdev)->world->control, &farewell->message);
}

static struct bdev_ops volume_ops = {
	.product_name = "Crash volume",
	.module = "crash",
	.submit = blob_submit,
	.channel_prepare = volume_prepare,
	.channel_release = volume_release,
	.channel_init = volume_channel_init,
	.channel_fini = blob_channel_fini,
	.supports = volume_supports,
	.destroy = volume_gone,
};

static void user_removed(struct bdev_user *user)
{
}

static const struct bdev_user_ops user_ops = {.name = "crash test", .removed = user_removed};

struct volume_op {
	struct flow flow;
	struct volume *volume;
	unsigned i;
	done_fn done;
	void *arg;
};

static void volume_init(struct volume *volume, struct store_world *world, struct blob *blob)
{
	struct blob_store_info store;
	struct blob_info info;

	*volume = (struct volume){.blob = blob, .world = world, .user.ops = &user_ops};
	blob_store_get_info(world->store, &store);
	blob_get_info(blob, &info);
	snprintf(volume->name, sizeof(volume->name), "volume-%" PRIx64, info.id);
	volume_ops.channel_size = blob_channel_size;
	volume->bdev.ops = &volume_ops;
	volume->bdev.name = volume->name;
	memcpy(volume->bdev.uuid, &info.id, sizeof(info.id)); /* a random one takes its time */
	/* Of those on a device of 4096 every other one has sectors of 512. */
	volume->bdev.io_unit_size = store.io_unit_size;
	volume->bdev.block_size = info.id % 2 ? 512 : store.io_unit_size;
	volume->bdev.read_only = info.read_only;
	volume->bdev.size_bytes = info.num_clusters * store.cluster_size;
}

static void volume_op_start(struct volume *volume, const char *name,
	enum flow_result (*run)(struct flow *flow), done_fn done, void *arg)
{
	struct volume_op *op = calloc(1, sizeof(*op));

	assert_non_null(op);
	*op = (struct volume_op){.volume = volume, .done = done, .arg = arg};
	flow_start(&op->flow, volume->world->control, name, run);
}

static void volume_op_end(struct volume_op *op, int rc)
{
	op->done(op->arg, rc);
	free(op);
}

static enum flow_result volume_open_run(struct flow *f)
{
	struct volume_op *op = container_of(f, struct volume_op, flow);

	FLOW_BEGIN(f);
	for (op->i = 0; op->i < op->volume->num_channels; op->i++) {
		AWAIT(f, bdev_channel_open(&op->volume->user, op->volume->reactors[op->i],
				 &op->volume->channels[op->i], flow_resume, f));
		assert_false(flow_failed(f));
	}
	volume_op_end(op, f->error);
	FLOW_END(f);
}

void volume_open(struct volume *volume, struct store_world *world, struct blob *blob,
	struct reactor *const *reactors, unsigned num_reactors, done_fn done, void *arg)
{
	volume_init(volume, world, blob);
	assert_true(num_reactors <= STORE_WORLD_DATA);
	volume->num_channels = num_reactors;
	for (unsigned i = 0; i < num_reactors; i++)
		volume->reactors[i] = reactors[i];
	assert_int_equal(bdev_register(world->registry, &volume->bdev, NULL), 0);
	blob_set_bdev(blob, &volume->bdev);
	assert_int_equal(bdev_open(&volume->bdev, &volume->user, NULL), 0);
	volume_op_start(volume, "volume_open", volume_open_run, done, arg);
}

static enum flow_result volume_close_run(struct flow *f)
{
	struct volume_op *op = container_of(f, struct volume_op, flow);

	FLOW_BEGIN(f);
	for (op->i = 0; op->i < op->volume->num_channels; op->i++)
		AWAIT(f, bdev_channel_close(op->volume->channels[op->i], flow_resume, f));
	bdev_close(&op->volume->user);
	blob_set_bdev(op->volume->blob, NULL);
	AWAIT(f, bdev_unregister(&op->volume->bdev, flow_resume, f));
	volume_op_end(op, f->error);
	FLOW_END(f);
}

void volume_close(struct volume *volume, done_fn done, void *arg)
{
	volume_op_start(volume, "volume_close", volume_close_run, done, arg);
}

void volume_set_size(struct volume *volume, uint64_t clusters, uint32_t cluster_size)
{
	bdev_set_size(&volume->bdev, clusters * cluster_size);
}
