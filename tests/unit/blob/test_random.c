/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random operations on random volumes, with writes under way meanwhile, against a model that knows
 * what each block must hold. Each run is repeated by its seed.
 */
#include "volumes.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim/gate_bdev.h"

#define CLUSTER      (16 * KIB)
#define BLOCK        4096u
#define BASE         (96 * MIB)
#define VOLUMES      10
#define CLUSTERS_MAX 540 /* beyond a slot of 512 */
#define BLOCKS_MAX   (CLUSTERS_MAX * CLUSTER / BLOCK)
#define STEPS        60
#define WRITES       6 /* under way while an operation is */

struct model {
	struct blob *blob;
	uint64_t id;
	uint64_t clusters;
	bool read_only;
	unsigned char blocks[BLOCKS_MAX];
};

struct writing {
	struct world_call call;
	struct iovec iov;
	struct model *model;
	uint64_t block;
	uint64_t count;
	unsigned char value;
};

struct scene {
	struct world world;
	struct gate_bdev *gate;
	struct volumes volumes;
	struct model models[VOLUMES];
	struct writing writes[WRITES];
	unsigned writing;
	uint64_t random;
	unsigned char value;
};

static uint64_t draw(struct scene *scene, uint64_t below)
{
	scene->random = scene->random * UINT64_C(6364136223846793005) + 1442695040888963407u;
	return (scene->random >> 33) % below;
}

static struct model *any_model(struct scene *scene, bool in_use)
{
	unsigned start = (unsigned)draw(scene, VOLUMES);

	for (unsigned i = 0; i < VOLUMES; i++) {
		struct model *model = &scene->models[(start + i) % VOLUMES];

		if ((model->blob != NULL) == in_use)
			return model;
	}
	return NULL;
}

static uint64_t blocks_of(const struct model *model)
{
	return model->clusters * CLUSTER / BLOCK;
}

/* ---- writes that go on meanwhile ---------------------------------------- */

static void write_begin(struct scene *scene, struct model *model)
{
	struct writing *writing = &scene->writes[scene->writing];
	uint64_t block = draw(scene, blocks_of(model));
	uint64_t count = 1 + draw(scene, u64_min(blocks_of(model) - block, 9));
	void *buf = aligned_alloc(BLOCK, count * BLOCK);

	for (unsigned i = 0; i < scene->writing; i++)
		if (scene->writes[i].model == model &&
			block < scene->writes[i].block + scene->writes[i].count &&
			scene->writes[i].block < block + count) {
			free(buf);
			return; /* which of them wins would be open */
		}
	memset(writing, 0, sizeof(*writing));
	if (++scene->value == 0)
		scene->value = 1;
	writing->model = model;
	writing->block = block;
	writing->count = count;
	writing->value = scene->value;
	memset(buf, writing->value, count * BLOCK);
	writing->iov = (struct iovec){.iov_base = buf, .iov_len = count * BLOCK};
	writing->call.channel =
		volume_channel(&scene->volumes, model->blob, (unsigned)draw(scene, WORLD_REACTORS));
	writing->call.io = (struct bdev_io){
		.type = BDEV_IO_WRITE,
		.iov = &writing->iov,
		.iovcnt = 1,
		.offset = block * BLOCK,
		.length = count * BLOCK,
	};
	world_io_begin(&scene->world, &writing->call);
	scene->writing++;
}

static void writes_begin(struct scene *scene)
{
	unsigned count = (unsigned)draw(scene, WRITES);

	for (unsigned i = 0; i < count; i++) {
		struct model *model = any_model(scene, true);

		if (model && !model->read_only && scene->writing < WRITES)
			write_begin(scene, model);
	}
}

static void writes_finish(struct scene *scene)
{
	for (unsigned i = 0; i < scene->writing; i++) {
		struct writing *writing = &scene->writes[i];

		assert_int_equal(world_finish(&scene->world, &writing->call), 0);
		memset(writing->model->blocks + writing->block, writing->value, writing->count);
		free(writing->iov.iov_base);
	}
	scene->writing = 0;
}

/* ---- looking ------------------------------------------------------------ */

/* What a volume holds, and what it may hold: as the model says, or, of a snapshot that was taken
 * while writes were under way, what those wrote. */
static void look(struct scene *scene, struct model *model)
{
	size_t length = blocks_of(model) * BLOCK;
	unsigned char *buf = aligned_alloc(BLOCK, length);

	assert_int_equal(world_read(&scene->world, volume_channel(&scene->volumes, model->blob, 0),
				 buf, 0, length),
		0);
	for (uint64_t i = 0; i < blocks_of(model); i++) {
		unsigned char found = buf[i * BLOCK];

		if (found != model->blocks[i])
			fail_msg("volume %#llx block %llu: %#x, not %#x",
				(unsigned long long)model->id, (unsigned long long)i, found,
				model->blocks[i]);
		for (unsigned j = 1; j < BLOCK; j += 511)
			assert_int_equal(buf[i * BLOCK + j], found);
	}
	free(buf);
}

/* Taken while writes of its origin were under way: they are in it or not. */
static void look_at_snapshot(
	struct scene *scene, struct model *snapshot, const struct model *origin)
{
	unsigned char block[BLOCK] __attribute__((aligned(BLOCK)));

	for (unsigned i = 0; i < scene->writing; i++) {
		const struct writing *writing = &scene->writes[i];

		for (uint64_t b = 0; writing->model == origin && b < writing->count; b++) {
			uint64_t at = writing->block + b;

			assert_int_equal(world_read(&scene->world,
						 volume_channel(&scene->volumes, snapshot->blob, 1),
						 block, at * BLOCK, BLOCK),
				0);
			if (block[0] == writing->value)
				snapshot->blocks[at] = writing->value;
		}
	}
}

/* ---- operations --------------------------------------------------------- */

static void model_take(struct scene *scene, struct model *model, struct blob *blob)
{
	struct blob_info info;

	volume_info(&scene->volumes, blob, &info);
	model->blob = blob;
	model->id = info.id;
	model->clusters = info.num_clusters;
	model->read_only = info.read_only;
}

static void do_create(struct scene *scene)
{
	struct model *model = any_model(scene, false);
	struct blob *blob;

	if (!model)
		return;
	assert_int_equal(
		volume_create(&scene->volumes, 1 + draw(scene, draw(scene, 2) ? 20 : CLUSTERS_MAX),
			draw(scene, 4) != 0, &blob),
		0);
	memset(model->blocks, 0, sizeof(model->blocks));
	model_take(scene, model, blob);
}

static void do_snapshot(struct scene *scene, struct model *origin)
{
	struct model *model = any_model(scene, false);
	struct volume_call call;

	if (!model || origin->read_only)
		return;
	memcpy(model->blocks, origin->blocks, sizeof(model->blocks));
	writes_begin(scene);
	volume_snapshot_begin(&scene->volumes, origin->blob, &call);
	assert_int_equal(world_finish(&scene->world, &call.call), 0);
	assert_int_equal(volume_show(&scene->volumes, call.result), 0);
	model_take(scene, model, call.result);
	assert_true(model->read_only);
	look_at_snapshot(scene, model, origin);
	writes_finish(scene);
}

static void do_clone(struct scene *scene, struct model *origin)
{
	struct model *model = any_model(scene, false);
	struct blob *blob;

	if (!model || !origin->read_only)
		return;
	memcpy(model->blocks, origin->blocks, sizeof(model->blocks));
	assert_int_equal(volume_clone(&scene->volumes, origin->blob, &blob), 0);
	model_take(scene, model, blob);
}

static void do_delete(struct scene *scene, struct model *model)
{
	struct blob_info info;

	volume_info(&scene->volumes, model->blob, &info);
	if (info.num_clones > 1) {
		assert_int_equal(volume_delete(&scene->volumes, model->blob), -EBUSY);
		return;
	}
	assert_int_equal(volume_delete(&scene->volumes, model->blob), 0);
	model->blob = NULL;
}

static void do_resize(struct scene *scene, struct model *model)
{
	uint64_t clusters = 1 + draw(scene, CLUSTERS_MAX);
	struct blob_info info;

	/* Of a clone that grows again its parent shows (docs/volumes.md, "Resizing"). */
	volume_info(&scene->volumes, model->blob, &info);
	if (info.parent && clusters > model->clusters)
		return;
	if (model->read_only) {
		assert_int_equal(volume_resize(&scene->volumes, model->blob, clusters), -EPERM);
		return;
	}
	assert_int_equal(volume_resize(&scene->volumes, model->blob, clusters), 0);
	for (uint64_t i = clusters * CLUSTER / BLOCK; i < BLOCKS_MAX; i++)
		model->blocks[i] = 0;
	model->clusters = clusters;
}

static void do_clear(struct scene *scene, struct model *model)
{
	uint64_t block = draw(scene, blocks_of(model));
	uint64_t count = 1 + draw(scene, blocks_of(model) - block);

	if (model->read_only)
		return;
	assert_int_equal(volume_clear(&scene->volumes, model->blob, 2, BDEV_IO_WRITE_ZEROES,
				 block * BLOCK, count * BLOCK),
		0);
	memset(model->blocks + block, 0, count);
}

static void do_reload(struct scene *scene)
{
	assert_int_equal(volumes_close(&scene->volumes), 0);
	assert_int_equal(
		volumes_load(&scene->volumes, &scene->world, gate_bdev_of(scene->gate)), 0);
	for (unsigned i = 0; i < VOLUMES; i++) {
		struct model *model = &scene->models[i];

		if (!model->blob)
			continue;
		model->blob = volumes_find(&scene->volumes, model->id);
		assert_non_null(model->blob);
		assert_int_equal(volume_show(&scene->volumes, model->blob), 0);
	}
}

/* How many clones it has changes meanwhile. */
static void do_delete_beside(struct scene *scene, struct model *model)
{
	int rc;

	writes_finish(scene); /* its channels are closed */
	rc = volume_delete(&scene->volumes, model->blob);
	if (rc)
		assert_int_equal(rc, -EBUSY);
	else
		model->blob = NULL;
}

static void do_beside(struct scene *scene, struct model *model)
{
	struct model *other = any_model(scene, true);
	unsigned what = (unsigned)draw(scene, 8);

	if (what < 3)
		do_snapshot(scene, model);
	else if (what < 5 && other != model)
		do_delete_beside(scene, other);
	else if (what < 6)
		do_snapshot(scene, other);
	else if (what < 7)
		do_resize(scene, model);
}

/* Another operation is made meanwhile, on it, on what it stands on, or elsewhere. Who has no parent
 * (any more) cannot be decoupled. */
static void do_own(struct scene *scene, struct model *model)
{
	bool decouple = draw(scene, 2);
	struct volume_call call;
	int rc;

	volume_own_begin(&scene->volumes, model->blob, decouple, &call);
	writes_begin(scene);
	if (host_is_simulated())
		host_sleep(&scene->world.host, draw(scene, 8) * 20 * USEC_NS);
	do_beside(scene, model);
	writes_begin(scene);
	rc = world_finish(&scene->world, &call.call);
	if (rc)
		assert_true(decouple && rc == -EINVAL);
	writes_finish(scene);
}

static void do_something(struct scene *scene)
{
	struct model *model = any_model(scene, true);
	unsigned what = (unsigned)draw(scene, 16);

	if (!model || what < 3)
		do_create(scene);
	else if (what < 6)
		do_snapshot(scene, model);
	else if (what < 8)
		do_clone(scene, model);
	else if (what < 10)
		do_delete(scene, model);
	else if (what < 12)
		do_own(scene, model);
	else if (what < 13)
		do_clear(scene, model);
	else if (what < 14)
		do_resize(scene, model);
	else if (what < 15)
		do_reload(scene);
	writes_begin(scene);
	writes_finish(scene);
}

static void scene_register(void *arg)
{
	struct scene *scene = arg;

	assert_int_equal(gate_bdev_register(scene->gate, scene->world.registry, NULL), 0);
}

static void volumes_hold_what_the_model_says_whatever_is_done_to_them(void **state)
{
	const struct blob_store_create_options options = {
		.bstype = "TEST", .cluster_size = CLUSTER};
	const struct gate_bdev_options gate = {
		.name = "base", .size_bytes = BASE, .block_size = 512, .physical_block_size = 4096};
	struct scene *scene = calloc(1, sizeof(*scene));

	HOST_FOR_EACH_SEED(seed, 12)
	{
		memset(scene, 0, sizeof(*scene));
		scene->random = seed;
		world_start(&scene->world, seed);
		scene->gate = gate_bdev_create(&gate);
		host_call(&scene->world.host, scene->world.control, scene_register, scene);
		assert_int_equal(volumes_create(&scene->volumes, &scene->world,
					 gate_bdev_of(scene->gate), &options),
			0);
		for (unsigned step = 0; step < STEPS; step++) {
			do_something(scene);
			for (unsigned i = 0; i < VOLUMES; i++)
				if (scene->models[i].blob && (step % 8 == 7 || !draw(scene, 4)))
					look(scene, &scene->models[i]);
		}
		assert_int_equal(volumes_close(&scene->volumes), 0);
		assert_int_equal(world_unregister(&scene->world, gate_bdev_of(scene->gate)), 0);
		gate_bdev_destroy(scene->gate);
		world_end(&scene->world);
	}
	free(scene);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(volumes_hold_what_the_model_says_whatever_is_done_to_them),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
