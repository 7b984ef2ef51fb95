/* SPDX-License-Identifier: BSD-2-Clause */
#include "volumes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a blob as a device ------------------------------------------------- */

static struct shown *shown_of(const struct bdev *bdev)
{
	return container_of(bdev, struct shown, bdev);
}

static void shown_prepare(struct bdev_channel *channel, done_fn done, void *arg)
{
	blob_channel_prepare(shown_of(channel->bdev)->blob, channel, done, arg);
}

static void shown_release(struct bdev_channel *channel, done_fn done, void *arg)
{
	blob_channel_release(shown_of(channel->bdev)->blob, channel, done, arg);
}

static int shown_init(struct bdev_channel *channel)
{
	return blob_channel_init(shown_of(channel->bdev)->blob, channel);
}

static bool shown_supports(const struct bdev *bdev, enum bdev_io_type type)
{
	return true;
}

static void shown_destroy(struct bdev *bdev, done_fn done, void *arg)
{
	struct shown *shown = shown_of(bdev);

	/* done may only be called later. */
	shown->destroyed = done;
	shown->destroyed_arg = arg;
	timer_start(shown->volumes->world->control, &shown->timer, 1);
}

static void shown_gone(struct timer *timer)
{
	struct shown *shown = container_of(timer, struct shown, timer);

	shown->used = false;
	shown->destroyed(shown->destroyed_arg, 0);
}

static struct bdev_ops shown_ops = {
	.product_name = "Volume of a test",
	.module = "volume",
	.submit = blob_submit,
	.channel_prepare = shown_prepare,
	.channel_release = shown_release,
	.channel_init = shown_init,
	.channel_fini = blob_channel_fini,
	.supports = shown_supports,
	.destroy = shown_destroy,
};

static struct shown *shown_find(struct volumes *volumes, const struct blob *blob)
{
	for (unsigned i = 0; i < VOLUMES_MAX; i++)
		if (volumes->shown[i].used && volumes->shown[i].blob == blob)
			return &volumes->shown[i];
	return NULL;
}

static struct shown *shown_free(struct volumes *volumes)
{
	for (unsigned i = 0; i < VOLUMES_MAX; i++)
		if (!volumes->shown[i].used)
			return &volumes->shown[i];
	fail_msg("more than %d volumes", VOLUMES_MAX);
	return NULL;
}

/* ---- calls -------------------------------------------------------------- */

static struct volume_call *call_of(struct world_call *call)
{
	return container_of(call, struct volume_call, call);
}

static int volumes_run(
	struct volumes *volumes, struct volume_call *call, void (*run)(struct world_call *call))
{
	call->call.run = run;
	call->volumes = volumes;
	memset(&volumes->reason, 0, sizeof(volumes->reason));
	return world_run(volumes->world, volumes->world->control, &call->call);
}

static void volumes_removed(void *arg)
{
	atomic_store(&((struct volumes *)arg)->removed, true);
}

static void volumes_space(void *arg, enum blob_store_space space)
{
	struct volumes *volumes = arg;

	assert_int_not_equal(space, atomic_load(&volumes->space));
	atomic_store(&volumes->space, space);
	atomic_store(&volumes->low, space != BLOB_STORE_PLENTY);
}

static const struct blob_store_create_options *create_options;

static void run_store_create(struct world_call *call)
{
	struct volumes *volumes = call_of(call)->volumes;
	const struct blob_store_user user = {
		.removed = volumes_removed, .space = volumes_space, .arg = volumes};

	blob_store_create(volumes->base, create_options, &user, &volumes->reason, &volumes->store,
		world_done, call);
}

static void run_store_load(struct world_call *call)
{
	struct volumes *volumes = call_of(call)->volumes;
	const struct blob_store_user user = {
		.removed = volumes_removed, .space = volumes_space, .arg = volumes};

	blob_store_load(
		volumes->base, NULL, &user, &volumes->reason, &volumes->store, world_done, call);
}

static void run_store_close(struct world_call *call)
{
	blob_store_close(call_of(call)->volumes->store, world_done, call);
}

static void run_store_destroy(struct world_call *call)
{
	blob_store_destroy(call_of(call)->volumes->store, world_done, call);
}

static void run_store_grow(struct world_call *call)
{
	struct volumes *volumes = call_of(call)->volumes;

	blob_store_grow(volumes->store, &volumes->reason, world_done, call);
}

static void volumes_start(struct volumes *volumes, struct world *world, struct bdev *base)
{
	memset(volumes, 0, sizeof(*volumes));
	volumes->world = world;
	volumes->base = base;
	shown_ops.channel_size = blob_channel_size;
}

int volumes_create(struct volumes *volumes, struct world *world, struct bdev *base,
	const struct blob_store_create_options *options)
{
	volumes_start(volumes, world, base);
	create_options = options;
	return volumes_run(volumes, &(struct volume_call){0}, run_store_create);
}

int volumes_load(struct volumes *volumes, struct world *world, struct bdev *base)
{
	volumes_start(volumes, world, base);
	return volumes_run(volumes, &(struct volume_call){0}, run_store_load);
}

void volumes_hide_all(struct volumes *volumes)
{
	for (unsigned i = 0; i < VOLUMES_MAX; i++)
		if (volumes->shown[i].used)
			volume_hide(volumes, volumes->shown[i].blob);
}

int volumes_close(struct volumes *volumes)
{
	volumes_hide_all(volumes);
	return volumes_run(volumes, &(struct volume_call){0}, run_store_close);
}

int volumes_destroy(struct volumes *volumes)
{
	volumes_hide_all(volumes);
	return volumes_run(volumes, &(struct volume_call){0}, run_store_destroy);
}

int volumes_grow(struct volumes *volumes)
{
	return volumes_run(volumes, &(struct volume_call){0}, run_store_grow);
}

static void run_store_info(struct world_call *call)
{
	blob_store_get_info(
		call_of(call)->volumes->store, (struct blob_store_info *)call_of(call)->buf);
	world_done(call, 0);
}

void volumes_info(struct volumes *volumes, struct blob_store_info *ret_info)
{
	volumes_run(volumes, &(struct volume_call){.buf = (char *)ret_info}, run_store_info);
}

static void run_find(struct world_call *call)
{
	call_of(call)->result = blob_find(call_of(call)->volumes->store, call_of(call)->number);
	world_done(call, 0);
}

struct blob *volumes_find(struct volumes *volumes, uint64_t id)
{
	struct volume_call call = {.number = id};

	volumes_run(volumes, &call, run_find);
	return call.result;
}

static void count_one(struct blob *blob, void *arg)
{
	++*(uint64_t *)arg;
}

static void run_count(struct world_call *call)
{
	blob_for_each(call_of(call)->volumes->store, count_one, &call_of(call)->number);
	world_done(call, 0);
}

unsigned volumes_count(struct volumes *volumes)
{
	struct volume_call call = {0};

	volumes_run(volumes, &call, run_count);
	return (unsigned)call.number;
}

/* ---- showing ------------------------------------------------------------ */

static void run_show(struct world_call *call)
{
	struct volume_call *own = call_of(call);
	struct volumes *volumes = own->volumes;
	struct shown *shown = shown_free(volumes);
	struct blob_store_info store;
	struct blob_info info;
	int rc;

	blob_store_get_info(volumes->store, &store);
	blob_get_info(own->blob, &info);
	memset(shown, 0, sizeof(*shown));
	snprintf(shown->name, sizeof(shown->name), "v%u", (unsigned)info.id);
	shown->blob = own->blob;
	shown->volumes = volumes;
	shown->timer.fired = shown_gone;
	shown->bdev.ops = &shown_ops;
	shown->bdev.name = shown->name;
	shown->bdev.block_size = 512;
	shown->bdev.io_unit_size = store.io_unit_size;
	atomic_init(&shown->bdev.size_bytes, info.num_clusters * store.cluster_size);
	rc = bdev_register(volumes->world->registry, &shown->bdev, &volumes->reason);
	if (!rc) {
		shown->used = true;
		world_user_init(&shown->user, "first");
		rc = bdev_open(&shown->bdev, &shown->user.user, &volumes->reason);
		blob_set_bdev(own->blob, &shown->bdev);
	}
	world_done(call, rc);
}

int volume_show(struct volumes *volumes, struct blob *blob)
{
	return volumes_run(volumes, &(struct volume_call){.blob = blob}, run_show);
}

static void run_unset(struct world_call *call)
{
	blob_set_bdev(call_of(call)->blob, NULL);
	world_done(call, 0);
}

void volume_hide(struct volumes *volumes, struct blob *blob)
{
	struct shown *shown = shown_find(volumes, blob);

	if (!shown)
		return;
	for (unsigned i = 0; i < WORLD_REACTORS; i++)
		if (shown->channels[i])
			world_channel_close(volumes->world, shown->channels[i]);
	world_close(volumes->world, &shown->user);
	volumes_run(volumes, &(struct volume_call){.blob = blob}, run_unset);
	assert_int_equal(world_unregister(volumes->world, &shown->bdev), 0);
}

bool volume_is_shown(struct volumes *volumes, const struct blob *blob)
{
	return shown_find(volumes, blob) != NULL;
}

struct bdev_channel *volume_channel(struct volumes *volumes, struct blob *blob, unsigned reactor)
{
	struct shown *shown = shown_find(volumes, blob);

	assert_non_null(shown);
	if (!shown->channels[reactor])
		assert_int_equal(world_channel_open(volumes->world, &shown->user, reactor,
					 &shown->channels[reactor]),
			0);
	return shown->channels[reactor];
}

/* ---- operations --------------------------------------------------------- */

static void run_create(struct world_call *call)
{
	struct volume_call *own = call_of(call);
	const struct blob_create_options options = {.num_clusters = own->number, .thin = own->flag};

	blob_create(own->volumes->store, &options, &own->volumes->reason, &own->result, world_done,
		call);
}

static int show_result(
	struct volumes *volumes, struct volume_call *call, int rc, struct blob **ret_blob)
{
	struct blob_info info;

	if (rc)
		return rc;
	*ret_blob = call->result;
	volume_info(volumes, call->result, &info);
	return info.num_clusters ? volume_show(volumes, call->result) : 0;
}

int volume_create(struct volumes *volumes, uint64_t clusters, bool thin, struct blob **ret_blob)
{
	struct volume_call call = {.number = clusters, .flag = thin};

	return show_result(volumes, &call, volumes_run(volumes, &call, run_create), ret_blob);
}

static void run_snapshot(struct world_call *call)
{
	struct volume_call *own = call_of(call);

	blob_snapshot(own->blob, NULL, 0, &own->volumes->reason, &own->result, world_done, call);
}

int volume_snapshot(struct volumes *volumes, struct blob *blob, struct blob **ret_snapshot)
{
	struct volume_call call = {.blob = blob};

	return show_result(volumes, &call, volumes_run(volumes, &call, run_snapshot), ret_snapshot);
}

void volume_snapshot_begin(struct volumes *volumes, struct blob *blob, struct volume_call *call)
{
	*call = (struct volume_call){.blob = blob, .volumes = volumes};
	call->call.run = run_snapshot;
	world_begin(volumes->world, volumes->world->control, &call->call);
}

static void run_clone(struct world_call *call)
{
	struct volume_call *own = call_of(call);

	blob_clone(own->blob, NULL, 0, &own->volumes->reason, &own->result, world_done, call);
}

int volume_clone(struct volumes *volumes, struct blob *blob, struct blob **ret_clone)
{
	struct volume_call call = {.blob = blob};

	return show_result(volumes, &call, volumes_run(volumes, &call, run_clone), ret_clone);
}

static void run_delete(struct world_call *call)
{
	blob_delete(call_of(call)->blob, &call_of(call)->volumes->reason, world_done, call);
}

int volume_delete(struct volumes *volumes, struct blob *blob)
{
	bool was_shown = volume_is_shown(volumes, blob);
	int rc;

	volume_hide(volumes, blob);
	rc = volumes_run(volumes, &(struct volume_call){.blob = blob}, run_delete);
	if (rc && was_shown)
		assert_int_equal(volume_show(volumes, blob), 0);
	return rc;
}

void volume_delete_begin(struct volumes *volumes, struct blob *blob, struct volume_call *call)
{
	*call = (struct volume_call){.blob = blob, .volumes = volumes};
	call->call.run = run_delete;
	world_begin(volumes->world, volumes->world->control, &call->call);
}

static void run_resize(struct world_call *call)
{
	struct volume_call *own = call_of(call);

	blob_resize(own->blob, own->number, &own->volumes->reason, world_done, call);
}

int volume_resize(struct volumes *volumes, struct blob *blob, uint64_t clusters)
{
	struct shown *shown = shown_find(volumes, blob);
	struct volume_call call = {.blob = blob, .number = clusters};
	struct blob_store_info store;
	int rc;

	volumes_info(volumes, &store);
	rc = volumes_run(volumes, &call, run_resize);
	if (!rc && shown && clusters)
		world_set_size(
			volumes->world, &shown->bdev, clusters * (uint64_t)store.cluster_size);
	return rc;
}

static void run_read_only(struct world_call *call)
{
	blob_set_read_only(call_of(call)->blob, &call_of(call)->volumes->reason, world_done, call);
}

int volume_set_read_only(struct volumes *volumes, struct blob *blob)
{
	return volumes_run(volumes, &(struct volume_call){.blob = blob}, run_read_only);
}

static void own_filled(void *arg, int rc);

static void own_decided(void *arg, int rc)
{
	struct volume_call *own = arg;

	if (rc == -EAGAIN)
		blob_fill(own->blob, own->flag, &own->reason, own_filled, own);
	else
		world_done(&own->call, rc);
}

static void own_filled(void *arg, int rc)
{
	struct volume_call *own = arg;

	if (rc)
		world_done(&own->call, rc);
	else if (own->flag)
		blob_decouple(own->blob, &own->reason, own_decided, own);
	else
		blob_inflate(own->blob, &own->reason, own_decided, own);
}

static void run_own(struct world_call *call)
{
	own_decided(call_of(call), -EAGAIN);
}

int volume_inflate(struct volumes *volumes, struct blob *blob)
{
	return volumes_run(volumes, &(struct volume_call){.blob = blob}, run_own);
}

int volume_decouple(struct volumes *volumes, struct blob *blob)
{
	return volumes_run(volumes, &(struct volume_call){.blob = blob, .flag = true}, run_own);
}

void volume_own_begin(
	struct volumes *volumes, struct blob *blob, bool decouple, struct volume_call *call)
{
	*call = (struct volume_call){.blob = blob, .flag = decouple, .volumes = volumes};
	call->call.run = run_own;
	world_begin(volumes->world, volumes->world->control, &call->call);
}

static void run_set_parent(struct world_call *call)
{
	struct volume_call *own = call_of(call);

	blob_set_parent(own->blob, own->other, &own->volumes->reason, world_done, call);
}

int volume_set_parent(struct volumes *volumes, struct blob *blob, struct blob *parent)
{
	struct volume_call call = {.blob = blob, .other = parent};

	return volumes_run(volumes, &call, run_set_parent);
}

void volume_set_parent_begin(
	struct volumes *volumes, struct blob *blob, struct blob *parent, struct volume_call *call)
{
	*call = (struct volume_call){.blob = blob, .other = parent, .volumes = volumes};
	call->call.run = run_set_parent;
	world_begin(volumes->world, volumes->world->control, &call->call);
}

static void run_set_xattr(struct world_call *call)
{
	struct volume_call *own = call_of(call);
	const struct blob_xattr xattr = {
		.name = own->text,
		.value = own->value,
		.length = own->value ? strlen(own->value) : 0,
	};

	blob_set_xattrs(own->blob, &xattr, 1, &own->volumes->reason, world_done, call);
}

int volume_set_xattr(
	struct volumes *volumes, struct blob *blob, const char *name, const char *value)
{
	struct volume_call call = {.blob = blob, .text = name, .value = value};

	return volumes_run(volumes, &call, run_set_xattr);
}

static void run_get_xattr(struct world_call *call)
{
	struct volume_call *own = call_of(call);

	blob_get_xattr(own->blob, own->text, own->buf, own->size, &own->length, world_done, call);
}

int volume_get_xattr(
	struct volumes *volumes, struct blob *blob, const char *name, char *ret_value, size_t size)
{
	struct volume_call call = {.blob = blob, .text = name, .buf = ret_value, .size = size};
	int rc = volumes_run(volumes, &call, run_get_xattr);

	return rc ? rc : (int)call.length;
}

static void run_info(struct world_call *call)
{
	blob_get_info(call_of(call)->blob, (struct blob_info *)call_of(call)->buf);
	world_done(call, 0);
}

void volume_info(struct volumes *volumes, struct blob *blob, struct blob_info *ret_info)
{
	volumes_run(
		volumes, &(struct volume_call){.blob = blob, .buf = (char *)ret_info}, run_info);
}

/* ---- requests ----------------------------------------------------------- */

int volume_write(struct volumes *volumes, struct blob *blob, unsigned reactor, uint64_t offset,
	size_t length, int byte)
{
	struct bdev_channel *channel = volume_channel(volumes, blob, reactor);
	void *buf = aligned_alloc(4096, align_up(length, 4096));
	int rc;

	assert_non_null(buf);
	memset(buf, byte, length);
	rc = world_write(volumes->world, channel, buf, offset, length);
	free(buf);
	return rc;
}

int volume_clear(struct volumes *volumes, struct blob *blob, unsigned reactor,
	enum bdev_io_type type, uint64_t offset, uint64_t length)
{
	struct bdev_channel *channel = volume_channel(volumes, blob, reactor);

	return world_io(volumes->world, channel, type, 0, NULL, 0, offset, length);
}

bool volume_holds(
	struct volumes *volumes, struct blob *blob, uint64_t offset, size_t length, int byte)
{
	struct bdev_channel *channel = volume_channel(volumes, blob, 0);
	unsigned char *buf = aligned_alloc(4096, align_up(length, 4096));
	size_t right = 0;

	assert_non_null(buf);
	memset(buf, ~byte, length);
	assert_int_equal(world_read(volumes->world, channel, buf, offset, length), 0);
	while (right < length && buf[right] == (unsigned char)byte)
		right++;
	if (right < length)
		print_message("byte %zu is %#x, not %#x\n", (size_t)offset + right, buf[right],
			(unsigned char)byte);
	free(buf);
	return right == length;
}
