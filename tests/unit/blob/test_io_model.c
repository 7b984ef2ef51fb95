/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Random requests from three reactors at volumes that are snapshots and clones of one another,
 * while snapshots are taken, volumes inflated, deleted, requests failed; against a model of every
 * sector.
 *
 * A sector of the model has the values that it may have: one, when nothing is under way; of writes
 * that overlap in time any of theirs, and while they are under way what was there before as well. A
 * write that failed may have happened in part. Values are stamps: who wrote it, where.
 */
#include "io_place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define CLUSTER         (16 * KIB)
#define SECTOR          512u
#define CLUSTER_SECTORS (CLUSTER / SECTOR)
#define CLUSTERS        12u
#define SECTORS         (CLUSTERS * CLUSTER_SECTORS)
#define VOLUMES         8
#define REQUESTS        16
#define VALUES          24 /* that a sector may have; more: any */

struct sector {
	uint64_t values[VALUES];
	uint8_t count;
	uint8_t group; /* the last so many are of writes under way, or that have just ended */
	uint8_t busy; /* writes under way */
	bool any; /* nothing is known */
	uint32_t changes; /* writes that began */
};

struct model_volume {
	struct blob *blob; /* NULL: none */
	bool read_only;
	uint64_t id;
	uint64_t num_sectors;
	struct sector sectors[SECTORS];
};

struct model_request {
	struct world_call call;
	struct model_volume *volume;
	struct iovec iov[3];
	uint8_t *buf;
	uint64_t stamp;
	uint64_t first;
	uint64_t count;
	uint32_t *changes; /* reads: of each sector at the start; UINT32_MAX: it was busy */
	bool used;
};

struct model {
	struct io_place place;
	struct sim *sim;
	bool faults;
	uint64_t stamp;
	struct model_volume volumes[VOLUMES];
	struct model_request requests[REQUESTS];
};

static uint64_t draw(struct model *m, uint64_t below)
{
	return sim_random(m->sim, below);
}

/* ---- sectors ------------------------------------------------------------ */

static uint64_t value_of(uint64_t stamp, uint64_t sector)
{
	return stamp ? stamp << 20 | sector : 0;
}

static void buf_fill(uint8_t *buf, uint64_t stamp, uint64_t first, uint64_t count)
{
	for (uint64_t i = 0; i < count * SECTOR / 8; i++) {
		uint64_t value = value_of(stamp, first + i * 8 / SECTOR);

		memcpy(buf + i * 8, &value, 8);
	}
}

static void sector_add(struct sector *s, uint64_t value)
{
	if (s->count == VALUES) {
		s->any = true;
		return;
	}
	s->values[s->count++] = value;
	s->group++;
}

static void sector_begin(struct sector *s, uint64_t value)
{
	if (s->busy == 0)
		s->group = 0;
	s->busy++;
	s->changes++;
	sector_add(s, value);
}

/* A write ended. What was there before is gone, unless it failed. */
static void sector_end(struct sector *s, bool failed, bool may_keep)
{
	s->busy--;
	if (failed || may_keep)
		s->group = s->count; /* the old ones may be there still */
	if (s->busy > 0)
		return;
	memmove(s->values, s->values + s->count - s->group, s->group * sizeof(s->values[0]));
	s->count = s->group;
}

static bool sector_may_be(const struct sector *s, uint64_t value)
{
	if (s->any)
		return true;
	for (unsigned i = 0; i < s->count; i++)
		if (s->values[i] == value)
			return true;
	return false;
}

static void sector_check(struct model_volume *v, uint64_t index, const uint8_t *bytes)
{
	struct sector *s = &v->sectors[index];
	uint64_t value, other;

	memcpy(&value, bytes, 8);
	for (unsigned i = 8; i < SECTOR; i += 8) {
		memcpy(&other, bytes + i, 8);
		if (other != value)
			fail_msg("sector %u of %llx is a mixture", (unsigned)index,
				(unsigned long long)v->id);
	}
	if (!sector_may_be(s, value))
		fail_msg("sector %u of %llx holds %llx, one of %u others beginning with %llx "
			 "was expected",
			(unsigned)index, (unsigned long long)v->id, (unsigned long long)value,
			s->count, (unsigned long long)s->values[0]);
	/* What was read once, with nothing under way, stays. */
	if (s->busy == 0 && !s->any) {
		s->values[0] = value;
		s->count = 1;
	}
}

/* ---- requests ----------------------------------------------------------- */

static bool request_is_write(const struct model_request *r)
{
	return r->call.io.type != BDEV_IO_READ && r->call.io.type != BDEV_IO_FLUSH;
}

static void request_end(struct model *m, struct model_request *r, int rc)
{
	struct model_volume *v = r->volume;
	bool unmap = r->call.io.type == BDEV_IO_UNMAP;

	if (!m->faults && !(v->read_only && rc == -EROFS))
		assert_int_equal(rc, 0);
	if (request_is_write(r))
		for (uint64_t i = 0; i < r->count; i++)
			sector_end(&v->sectors[r->first + i], rc != 0, unmap);
	if (r->call.io.type == BDEV_IO_READ && rc == 0)
		for (uint64_t i = 0; i < r->count; i++)
			if (v->sectors[r->first + i].changes == r->changes[i] &&
				v->sectors[r->first + i].busy == 0)
				sector_check(v, r->first + i, r->buf + i * SECTOR);
	free(r->buf);
	free(r->changes);
	r->used = false;
}

static void requests_reap(struct model *m)
{
	for (unsigned i = 0; i < REQUESTS; i++)
		if (m->requests[i].used && atomic_load(&m->requests[i].call.ended))
			request_end(m, &m->requests[i], m->requests[i].call.rc);
}

static bool requests_any_ended(void *arg)
{
	struct model *m = arg;

	for (unsigned i = 0; i < REQUESTS; i++)
		if (!m->requests[i].used || atomic_load(&m->requests[i].call.ended))
			return true;
	return false;
}

static bool requests_all_ended(void *arg)
{
	struct model *m = arg;

	for (unsigned i = 0; i < REQUESTS; i++)
		if (m->requests[i].used && !atomic_load(&m->requests[i].call.ended))
			return false;
	return true;
}

static void model_quiesce(struct model *m)
{
	assert_true(host_wait(&m->place.world.host, requests_all_ended, m));
	requests_reap(m);
}

/* Vectors of three parts, wherever they end. */
static void request_take_buf(struct model *m, struct model_request *r)
{
	uint64_t bytes = r->count * SECTOR;
	uint64_t a = draw(m, bytes - 1) + 1;
	uint64_t b = a + draw(m, bytes - a + 1);

	r->buf = malloc(bytes);
	r->changes = calloc(r->count, sizeof(uint32_t));
	assert_non_null(r->buf);
	assert_non_null(r->changes);
	r->iov[0] = (struct iovec){.iov_base = r->buf, .iov_len = a};
	r->iov[1] = (struct iovec){.iov_base = r->buf + a, .iov_len = b - a};
	r->iov[2] = (struct iovec){.iov_base = r->buf + b, .iov_len = bytes - b};
	r->call.io.iov = r->iov;
	r->call.io.iovcnt = 3;
	if (!r->iov[2].iov_len)
		r->call.io.iovcnt = r->iov[1].iov_len ? 2 : 1;
	else if (!r->iov[1].iov_len) {
		r->iov[1] = r->iov[2];
		r->call.io.iovcnt = 2;
	}
	for (uint64_t i = 0; i < r->count; i++) {
		const struct sector *s = &r->volume->sectors[r->first + i];

		r->changes[i] = s->busy ? UINT32_MAX : s->changes;
	}
	buf_fill(r->buf, r->stamp, r->first, r->count);
}

static enum bdev_io_type request_draw_type(struct model *m)
{
	uint64_t dice = draw(m, 100);

	if (dice < 50)
		return BDEV_IO_WRITE;
	if (dice < 75)
		return BDEV_IO_READ;
	if (dice < 85)
		return BDEV_IO_UNMAP;
	return dice < 97 ? BDEV_IO_WRITE_ZEROES : BDEV_IO_FLUSH;
}

/* Often a whole cluster or a few, often less. */
static void request_draw_range(struct model *m, struct model_request *r)
{
	if (draw(m, 4) == 0) {
		r->first = draw(m, r->volume->num_sectors / CLUSTER_SECTORS) * CLUSTER_SECTORS;
		r->count = (1 + draw(m, 3)) * CLUSTER_SECTORS;
	} else {
		r->first = draw(m, r->volume->num_sectors);
		r->count = 1 + draw(m, draw(m, 2) ? 8 : 2 * CLUSTER_SECTORS);
	}
	r->count = u64_min(r->count, r->volume->num_sectors - r->first);
}

static void request_begin(struct model *m, struct model_request *r, struct model_volume *v)
{
	memset(r, 0, sizeof(*r));
	r->used = true;
	r->volume = v;
	r->call.io.type = request_draw_type(m);
	r->call.channel =
		volume_channel(&m->place.volumes, v->blob, (unsigned)draw(m, WORLD_REACTORS));
	if (r->call.io.type == BDEV_IO_WRITE)
		r->stamp = ++m->stamp;
	if (r->call.io.type != BDEV_IO_FLUSH)
		request_draw_range(m, r);
	if (r->call.io.type == BDEV_IO_WRITE || r->call.io.type == BDEV_IO_READ)
		request_take_buf(m, r);
	if (request_is_write(r) && draw(m, 10) == 0)
		r->call.io.flags |= BDEV_IO_FUA;
	if (r->call.io.type == BDEV_IO_WRITE_ZEROES && draw(m, 3) == 0)
		r->call.io.flags |= BDEV_IO_NO_UNMAP;
	r->call.io.offset = r->first * SECTOR;
	r->call.io.length = r->count * SECTOR;
	for (uint64_t i = 0; i < r->count && request_is_write(r) && !v->read_only; i++)
		sector_begin(&v->sectors[r->first + i], value_of(r->stamp, r->first + i));
	world_io_begin(&m->place.world, &r->call);
}

static struct model_volume *model_draw_volume(struct model *m, bool writable)
{
	for (;;) {
		struct model_volume *v = &m->volumes[draw(m, VOLUMES)];

		if (v->blob && !(writable && v->read_only))
			return v;
	}
}

static void model_request(struct model *m)
{
	struct model_volume *v = model_draw_volume(m, true);
	unsigned i = 0;

	assert_true(host_wait(&m->place.world.host, requests_any_ended, m));
	requests_reap(m);
	while (m->requests[i].used)
		i++;
	request_begin(m, &m->requests[i], v);
}

/* Many at once, whose requests below end in any order, long after they were made. */
static void model_storm(struct model *m)
{
	unsigned held;

	model_quiesce(m);
	gate_bdev_hold_types(m->place.gate, 1u << BDEV_IO_READ | 1u << BDEV_IO_WRITE);
	gate_bdev_hold(m->place.gate, true);
	for (unsigned i = 0; i < REQUESTS; i++)
		request_begin(m, &m->requests[i], model_draw_volume(m, true));
	while (!requests_all_ended(m)) {
		held = gate_bdev_held(m->place.gate);
		if (held > 0 && draw(m, 3))
			gate_bdev_release(m->place.gate, (unsigned)draw(m, held), 0);
		host_sleep(&m->place.world.host, draw(m, 20 * USEC_NS));
	}
	gate_bdev_hold(m->place.gate, false);
	gate_bdev_release_all(m->place.gate, 0);
	model_quiesce(m);
}

/* ---- volumes ------------------------------------------------------------ */

static struct model_volume *model_free_volume(struct model *m)
{
	for (unsigned i = 0; i < VOLUMES; i++)
		if (!m->volumes[i].blob)
			return &m->volumes[i];
	return NULL;
}

/* A copy of what the other may hold; what was under way when it was made may be in it. */
static void volume_copy(struct model *m, struct model_volume *v, const struct model_volume *from,
	struct blob *blob, bool read_only)
{
	v->blob = blob;
	v->id = io_place_id(&m->place, blob);
	v->read_only = read_only;
	v->num_sectors = from->num_sectors;
	memcpy(v->sectors, from->sectors, sizeof(v->sectors));
	for (unsigned i = 0; i < SECTORS; i++) {
		v->sectors[i].busy = 0;
		v->sectors[i].group = v->sectors[i].count;
	}
}

/* With requests under way: nothing new begins until it is done. */
static void model_snapshot(struct model *m)
{
	struct model_volume *v = model_draw_volume(m, true);
	struct model_volume *to = model_free_volume(m);
	struct model_volume before;
	struct blob *snapshot;
	int rc;

	if (!to)
		return;
	before = *v; /* those under way keep what was there as well */
	rc = volume_snapshot(&m->place.volumes, v->blob, &snapshot);
	assert_int_equal(rc, 0);
	volume_copy(m, to, &before, snapshot, true);
}

static void model_clone(struct model *m)
{
	struct model_volume *v = model_draw_volume(m, false);
	struct model_volume *to = model_free_volume(m);
	struct blob *clone;

	if (!to || !v->read_only)
		return;
	assert_int_equal(volume_clone(&m->place.volumes, v->blob, &clone), 0);
	volume_copy(m, to, v, clone, false);
}

static void model_inflate(struct model *m)
{
	struct model_volume *v = model_draw_volume(m, true);
	int rc = draw(m, 2) ? volume_inflate(&m->place.volumes, v->blob)
			    : volume_decouple(&m->place.volumes, v->blob);

	assert_true(rc == 0 || rc == -EINVAL);
}

/* Not the last that can be written. */
static void model_delete(struct model *m)
{
	struct model_volume *v = model_draw_volume(m, false);
	unsigned writable = 0;
	int rc;

	for (unsigned i = 0; i < VOLUMES; i++)
		writable += m->volumes[i].blob && !m->volumes[i].read_only;
	if (!v->read_only && writable == 1)
		return;
	model_quiesce(m);
	rc = volume_delete(&m->place.volumes, v->blob);
	assert_true(rc == 0 || rc == -EBUSY);
	if (rc == 0)
		v->blob = NULL;
}

static void model_verify_volume(struct model *m, struct model_volume *v)
{
	uint64_t bytes = v->num_sectors * SECTOR;
	uint8_t *buf = malloc(bytes);
	struct bdev_channel *channel =
		volume_channel(&m->place.volumes, v->blob, (unsigned)draw(m, WORLD_REACTORS));

	assert_non_null(buf);
	assert_int_equal(world_read(&m->place.world, channel, buf, 0, bytes), 0);
	for (uint64_t i = 0; i < v->num_sectors; i++)
		sector_check(v, i, buf + i * SECTOR);
	free(buf);
}

/* Nothing is lost: what is not free is somebody's. */
static void model_verify(struct model *m)
{
	struct blob_store_info info;
	uint64_t used = 0;

	for (unsigned i = 0; i < VOLUMES; i++) {
		if (!m->volumes[i].blob)
			continue;
		model_verify_volume(m, &m->volumes[i]);
		used += io_place_allocated(&m->place, m->volumes[i].blob);
	}
	volumes_info(&m->place.volumes, &info);
	assert_int_equal(io_place_free(&m->place) + used, info.total_data_clusters);
}

static void model_reload(struct model *m)
{
	model_quiesce(m);
	io_place_reload(&m->place);
	for (unsigned i = 0; i < VOLUMES; i++)
		if (m->volumes[i].blob)
			m->volumes[i].blob = io_place_find(&m->place, m->volumes[i].id);
	model_verify(m);
}

static void model_fail_something(struct model *m)
{
	unsigned types = 1u << draw(m, BDEV_IO_TYPES);

	gate_bdev_fail(m->place.gate, types, draw(m, 8) * MIB, 8 * MIB, -EIO, 1);
}

/* Volumes whose metadata could not be written are as they were when the store is loaded again. */
static void model_mend(struct model *m)
{
	model_quiesce(m);
	gate_bdev_fail_no_more(m->place.gate);
	model_reload(m);
}

static void model_step(struct model *m)
{
	uint64_t dice = draw(m, 1000);

	if (m->faults && dice % 50 == 47)
		model_fail_something(m);
	if (m->faults && dice < 38)
		model_mend(m);
	if (dice < 10)
		model_snapshot(m);
	else if (dice < 18)
		model_clone(m);
	else if (dice < 24)
		model_inflate(m);
	else if (dice < 36)
		model_delete(m);
	else if (dice < 38)
		model_reload(m);
	else if (dice < 55)
		model_storm(m);
	else
		model_request(m);
}

static void model_open(struct model *m, uint64_t seed, const struct io_place_options *options)
{
	struct model_volume *v = &m->volumes[0];

	io_place_open(&m->place, seed, options);
	m->sim = m->place.world.host.sim;
	assert_int_equal(volume_create(&m->place.volumes, CLUSTERS, true, &v->blob), 0);
	v->id = io_place_id(&m->place, v->blob);
	v->num_sectors = SECTORS;
	for (unsigned i = 0; i < SECTORS; i++)
		v->sectors[i].count = 1;
}

static void model_run(const struct io_place_options *options, unsigned seeds, bool faults)
{
	HOST_FOR_EACH_SEED(seed, seeds)
	{
		struct model *m = calloc(1, sizeof(*m));

		assert_non_null(m);
		model_open(m, seed, options);
		m->faults = faults;
		for (unsigned i = 0; i < 700; i++)
			model_step(m);
		model_mend(m);
		io_place_close(&m->place);
		free(m);
	}
}

static void volumes_hold_what_was_written_last(void **state)
{
	const struct io_place_options options = {.base_bytes = 16 * MIB};

	model_run(&options, 40, false);
}

static void volumes_on_a_device_that_can_only_write_do_as_well(void **state)
{
	const struct io_place_options options = {
		.base_bytes = 16 * MIB,
		.unsupported = 1u << BDEV_IO_UNMAP | 1u << BDEV_IO_WRITE_ZEROES,
	};

	model_run(&options, 10, false);
}

/* Requests of 512 bytes become reads and writes of whole blocks. */
static void volumes_on_a_device_of_larger_blocks_do_as_well(void **state)
{
	const struct io_place_options options = {.base_bytes = 16 * MIB, .block_size = 4096};

	model_run(&options, 10, false);
}

static void failed_requests_on_a_device_of_larger_blocks_harm_no_neighbours(void **state)
{
	const struct io_place_options options = {.base_bytes = 16 * MIB, .block_size = 4096};

	model_run(&options, 10, true);
}

static void failed_requests_may_have_happened_and_nothing_else_has(void **state)
{
	const struct io_place_options options = {.base_bytes = 16 * MIB};

	model_run(&options, 40, true);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(volumes_hold_what_was_written_last),
		cmocka_unit_test(volumes_on_a_device_that_can_only_write_do_as_well),
		cmocka_unit_test(failed_requests_may_have_happened_and_nothing_else_has),
		cmocka_unit_test(volumes_on_a_device_of_larger_blocks_do_as_well),
		cmocka_unit_test(failed_requests_on_a_device_of_larger_blocks_harm_no_neighbours),
	};

	host_select(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
