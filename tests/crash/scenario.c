/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash/scenario_impl.h"
#include "crash/store_image.h"

#define SETTLE_IO   10u /* requests of a guest before it gets serious */
#define MAIN_IO     14u
#define WIDE_EVENTS 40u /* in which a wide store is cut: those that write the mask ahead */
#define AFTER_IO    6u

/* ---- volumes --------------------------------------------------------------------------------- */

struct volume_call {
	struct store_call call;
	struct scenario_volume *volume;
};

static void open_run(struct store_call *call)
{
	struct volume_call *own = container_of(call, struct volume_call, call);

	volume_open(&own->volume->volume, call->world, own->volume->blob, call->world->data,
		call->world->num_data, store_call_done, call);
}

void scenario_volume_open(struct scenario *scenario, struct scenario_volume *volume)
{
	struct volume_call own = {.call.run = open_run, .volume = volume};

	assert_int_equal(store_call_run(&scenario->world, &own.call), 0);
	guest_init(&volume->guest, &volume->volume, &scenario->model, volume->subject,
		&scenario->log, chance_next(&scenario->chance));
	volume->is_open = true;
}

static bool guest_is_idle(void *guest)
{
	return ((struct guest *)guest)->active == 0;
}

static void guest_wait(struct scenario *scenario, struct scenario_volume *volume)
{
	if (!host_wait(&scenario->world.host, guest_is_idle, &volume->guest)) {
		fprintf(stderr, "scenario %llu: requests to volume %u do not end\n",
			(unsigned long long)scenario->number, volume->subject->tag);
		assert_true(false);
	}
}

void scenario_volume_quiet(struct scenario *scenario, struct scenario_volume *volume)
{
	if (!volume->is_open)
		return;
	guest_stop(&volume->guest);
	guest_wait(scenario, volume);
}

static void close_run(struct store_call *call)
{
	struct volume_call *own = container_of(call, struct volume_call, call);

	volume_close(&own->volume->volume, store_call_done, call);
}

void scenario_volume_close(struct scenario *scenario, struct scenario_volume *volume)
{
	struct volume_call own = {.call.run = close_run, .volume = volume};

	if (!volume->is_open)
		return;
	scenario_volume_quiet(scenario, volume);
	assert_int_equal(store_call_run(&scenario->world, &own.call), 0);
	if (volume->guest.fault[0] && !scenario->fault[0])
		snprintf(scenario->fault, sizeof(scenario->fault), "%s", volume->guest.fault);
	guest_fini(&volume->guest);
	volume->is_open = false;
}

/* ---- guests ---------------------------------------------------------------------------------- */

static bool volume_wants_guest(struct scenario *s, struct scenario_volume *volume)
{
	struct blob_info info;

	if (!volume->blob || volume->is_busy)
		return false;
	blob_get_info(volume->blob, &info);
	return !info.read_only;
}

static void guests_start(struct scenario *s, unsigned requests)
{
	for (unsigned i = 0; i < s->model.num_volumes; i++) {
		struct scenario_volume *volume = &s->volumes[i];

		if (!volume_wants_guest(s, volume) || chance_one_in(&s->chance, 6))
			continue;
		if (!volume->is_open)
			scenario_volume_open(s, volume);
		volume->is_written = true;
		guest_start(&volume->guest, 1 + (unsigned)chance_below(&s->chance, requests));
	}
}

static void guests_finish(struct scenario *s)
{
	for (unsigned i = 0; i < s->model.num_volumes; i++)
		if (s->volumes[i].is_open)
			guest_wait(s, &s->volumes[i]);
}

static void volumes_close(struct scenario *s)
{
	for (unsigned i = 0; i < s->model.num_volumes; i++)
		scenario_volume_close(s, &s->volumes[i]);
}

/* ---- the store ------------------------------------------------------------------------------- */

static void store_make(struct scenario *s)
{
	const struct blob_store_create_options options = {
		.bstype = "CRASH",
		.cluster_size = s->cluster_size,
		.md_pages_per_cluster_percent = s->md_percent,
	};

	if (s->op == SCENARIO_GROW_STORE)
		s->world.disk.bdev.size_bytes = s->size_bytes - 8 * s->cluster_size;
	assert_int_equal(store_world_create(&s->world, &options), 0);
}

static void blobs_find_run(struct store_call *call)
{
	struct scenario *s = call->arg;

	for (unsigned i = 0; i < s->model.num_volumes; i++)
		if (s->volumes[i].blob)
			s->volumes[i].blob = blob_find(s->world.store, s->volumes[i].id);
	for (unsigned i = 0; i < s->model.num_volumes; i++)
		if (s->volumes[i].blob)
			store_world_lend_foreign(&s->world, s->volumes[i].blob);
	store_call_done(call, 0);
}

static void store_load_again(struct scenario *s)
{
	struct store_call call = {.run = blobs_find_run, .arg = s};
	struct reason reason = {0};

	if (store_world_load(&s->world, &reason) != 0) {
		fprintf(stderr, "scenario %llu: it does not load: %s\n",
			(unsigned long long)s->number, reason.text);
		assert_true(false);
	}
	store_call_run(&s->world, &call);
	for (unsigned i = 0; i < s->model.num_volumes; i++)
		assert_true(s->volumes[i].blob || s->volumes[i].id == 0 ||
			    s->volumes[i].subject->deleted.done);
}

static void store_reload(struct scenario *s)
{
	volumes_close(s);
	assert_int_equal(store_world_close(&s->world), 0);
	store_load_again(s);
}

static bool disk_is_idle(void *disk)
{
	return ((struct crash_disk *)disk)->in_flight == 0;
}

/* Without a word: what the disk has been told is there, the store was not closed. */
static void store_die(struct scenario *s)
{
	struct crash_image lost;

	volumes_close(s);
	assert_true(host_wait(&s->world.host, disk_is_idle, &s->world.disk));
	crash_image_init(&lost, &s->image, s->size_bytes);
	s->world.disk.image = &lost;
	s->world.disk.log = NULL;
	assert_int_equal(store_world_close(&s->world), 0);
	s->world.disk.image = &s->image;
	s->world.disk.log = &s->log;
	crash_image_fini(&lost);
	store_load_again(s);
}

/* All volumes are gone with their store. */
static void volumes_lose(struct scenario *s, struct model_span *span)
{
	for (unsigned i = 0; i < s->model.num_volumes; i++) {
		struct model_volume *subject = s->model.volumes[i];

		if (!s->volumes[i].blob)
			continue;
		subject->deleted = *span;
		s->volumes[i].blob = NULL;
	}
}

static void store_remake(struct scenario *s)
{
	volumes_close(s);
	assert_int_equal(store_world_close(&s->world), 0);
	s->remade.called = crash_log_tick(&s->log);
	store_make(s);
	model_span_end(&s->remade, crash_log_tick(&s->log), 0);
	volumes_lose(s, &s->remade);
}

static void store_destroy(struct scenario *s)
{
	volumes_close(s);
	s->destroyed.called = crash_log_tick(&s->log);
	assert_int_equal(store_world_destroy(&s->world), 0);
	model_span_end(&s->destroyed, crash_log_tick(&s->log), 0);
	volumes_lose(s, &s->destroyed);
}

/* ---- the story ------------------------------------------------------------------------------- */

static bool op_whole(struct scenario *s, enum scenario_op_kind kind)
{
	struct scenario_op *op = calloc(1, sizeof(*op));
	bool begun = scenario_op_prepare(s, op, kind);

	if (begun) {
		scenario_op_begin(op);
		scenario_op_finish(op);
	}
	free(op);
	return begun;
}

/* Two volumes or three, a snapshot with a clone, perhaps a second one in the middle of the chain,
 * and an untouched volume of the snapshot's size. */
static void scenario_set_up(struct scenario *s)
{
	store_make(s);
	op_whole(s, chance_one_in(&s->chance, 4) ? SCENARIO_CREATE_ESNAP : SCENARIO_CREATE_THIN);
	op_whole(s, SCENARIO_CREATE_THICK);
	guests_start(s, SETTLE_IO);
	guests_finish(s);
	op_whole(s, SCENARIO_SNAPSHOT);
	if (chance_one_in(&s->chance, 2))
		op_whole(s, SCENARIO_CLONE);
	guests_start(s, SETTLE_IO);
	guests_finish(s);
	if (chance_one_in(&s->chance, 2))
		op_whole(s, SCENARIO_SNAPSHOT);
	if (s->op == SCENARIO_DELETE_SNAPSHOT || chance_one_in(&s->chance, 3)) {
		guests_start(s, SETTLE_IO);
		guests_finish(s);
	}
	if (s->op == SCENARIO_SET_PARENT || s->op == SCENARIO_SET_ESNAP_PARENT ||
		chance_one_in(&s->chance, 4))
		op_whole(s, SCENARIO_CREATE_THIN);
	/* The first change after a load writes the mask. */
	if (chance_one_in(&s->chance, 3) || s->number >= SCENARIO_WIDE)
		store_reload(s);
	else if (chance_one_in(&s->chance, 2))
		store_die(s);
	s->log.atomic_end = store_image_md_end(&s->image);
	s->cut_from = s->log.now;
	s->cut_until = s->number < SCENARIO_WIDE ? UINT64_MAX : s->cut_from + WIDE_EVENTS;
}

static void second_op(struct scenario *s, struct scenario_op *op)
{
	enum scenario_op_kind kind;

	do
		kind = (enum scenario_op_kind)chance_below(&s->chance, SCENARIO_OPS);
	while (kind >= SCENARIO_RELOAD || !scenario_op_prepare(s, op, kind));
	if (chance_one_in(&s->chance, 2))
		host_sleep(&s->world.host, chance_below(&s->chance, MSEC_NS));
	scenario_op_begin(op);
}

static void scenario_main(struct scenario *s)
{
	struct scenario_op *op = calloc(1, sizeof(*op));
	struct scenario_op *second = calloc(1, sizeof(*second));
	bool possible = s->op < SCENARIO_RELOAD || s->op == SCENARIO_GROW_STORE;

	if (possible)
		possible = scenario_op_prepare(s, op, s->op);
	if (s->with_io)
		guests_start(s, MAIN_IO);
	if (s->op == SCENARIO_RELOAD)
		store_reload(s);
	if (s->op == SCENARIO_REMAKE_STORE)
		store_remake(s);
	if (s->op == SCENARIO_DESTROY_STORE)
		store_destroy(s);
	if (possible && s->with_io)
		host_sleep(&s->world.host, chance_below(&s->chance, 2 * MSEC_NS));
	if (possible)
		scenario_op_begin(op);
	if (s->with_second && s->world.store)
		second_op(s, second);
	if (possible)
		scenario_op_finish(op);
	if (s->with_second && s->world.store)
		scenario_op_finish(second);
	guests_finish(s);
	free(second);
	free(op);
}

static void scenario_tell(struct scenario *s)
{
	scenario_set_up(s);
	scenario_main(s);
	if (!s->world.store)
		return;
	if (chance_one_in(&s->chance, 2)) {
		guests_start(s, AFTER_IO);
		guests_finish(s);
	}
	volumes_close(s);
	assert_int_equal(store_world_close(&s->world), 0);
}

static void foreign_make(struct scenario *s)
{
	uint64_t size = SCENARIO_FOREIGN * s->cluster_size;
	uint8_t sector[MODEL_SECTOR];

	crash_image_init(&s->foreign, NULL, size);
	s->foreign_subject =
		model_foreign_add(&s->model, SCENARIO_FOREIGN, crash_log_tick(&s->log));
	crash_log_tick(&s->log);
	for (uint32_t at = 0; at < size / MODEL_SECTOR; at++) {
		model_fill(&s->model, 0, at, sector);
		crash_image_write(&s->foreign, (uint64_t)at * MODEL_SECTOR, sector, sizeof(sector));
	}
}

static void scenario_init(struct scenario *s, uint64_t number)
{
	static const uint32_t cluster_sizes[] = {16 * KIB, 16 * KIB, 16 * KIB, 16 * KIB, 32 * KIB};

	*s = (struct scenario){
		.number = number,
		.chance.state = chance_mix(number),
		.op = (enum scenario_op_kind)(number % SCENARIO_OPS),
		.with_io = number / SCENARIO_OPS % 3 > 0,
		.with_second = number / SCENARIO_OPS % 3 == 2,
	};
	s->cluster_size = cluster_sizes[chance_below(&s->chance, ARRAY_SIZE(cluster_sizes))];
	s->disk_options = (struct crash_disk_options){
		.name = "crash0",
		.block_size = chance_one_in(&s->chance, 3) ? 4096 : 512,
		.physical_block_size = 4096,
		.unmap_leaves_garbage = chance_one_in(&s->chance, 3),
	};
	s->size_bytes = number < SCENARIO_WIDE ? 4 * MIB : 144 * MIB;
	s->md_percent = number < SCENARIO_WIDE ? 40 : 360;
	if (number >= SCENARIO_WIDE)
		s->cluster_size = 16 * KIB;
	crash_image_init(&s->image, NULL, s->size_bytes);
	crash_log_init(&s->log);
	model_init(&s->model, s->cluster_size / MODEL_SECTOR, SCENARIO_CLUSTERS_MAX);
	foreign_make(s);
}

void scenario_run(struct scenario *scenario, uint64_t number, enum crash_fault fault,
	unsigned fault_first, unsigned fault_nth)
{
	struct scenario *s = scenario;

	scenario_init(s, number);
	store_world_start(
		&s->world, number, &s->disk_options, &s->image, &s->foreign, STORE_WORLD_DATA);
	crash_disk_lie(&s->world.disk, fault, fault_first, fault_nth);
	crash_disk_set(&s->world.disk, &s->image, &s->log, chance_next(&s->chance) | 1);
	crash_disk_set(&s->world.foreign, &s->foreign, NULL, chance_next(&s->chance) | 1);
	scenario_tell(s);
	store_world_end(&s->world);
	model_seal(&s->model);
}

void scenario_fini(struct scenario *scenario)
{
	model_fini(&scenario->model);
	crash_log_fini(&scenario->log);
	crash_image_fini(&scenario->foreign);
	crash_image_fini(&scenario->image);
}
