/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A back-end is killed at every store of fetching, completing and recovering (conformance item 48,
 * reference 11.2 and 11.3), and another takes over from the in-flight region: each request that the
 * driver has out is completed exactly once, executed at least once, in the order in which it was
 * made available, and the ring goes on.
 *
 * The queue's ring format is driven as virtqueue.c does it, without a reactor, so that there is
 * little else to step through: take a chain, give one back, publish. A schedule of these is drawn;
 * between its stages the driver takes what came back and makes more available. Each stage runs once
 * in a child, step by step, for its crash points, and once here, to go on. From every crash point a
 * second life is led to its end, by a driver that has what it had, or that has gone on meanwhile.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "crash_points.h"
#include "frontend/ring.h"
#include "vhost/virtqueue_impl.h"

#define RING_MAX      16u
#define CHAINS        64u /* of which no more are ever out */
#define BUFFER_BYTES  64u
#define SEGMENTS_MAX  3u
#define STAGES        6u
#define STAGE_OPS     10u
#define MEMORY_GPA    UINT64_C(0x10000)
#define MEMORY_BYTES  (256 * KIB)
#define REGION_BYTES  4096u
#define ROUNDS_BEYOND 3u

struct chain_info { /* one buffer of guest memory, so that it is known by its address */
	bool out; /* the driver waits for it */
	bool taken; /* by the back-end that lives */
	uint32_t number; /* in the order of the driver */
	uint32_t segments;
	uint64_t gpa;
};

struct device_op {
	enum { OP_TAKE, OP_GIVE, OP_PUBLISH } kind;
	unsigned pick;
};

struct world {
	bool packed;
	uint32_t size;
	uint16_t desc_num;
	uint64_t random;
	struct fe_memory memory;
	struct guest_memory *table;
	struct fe_ring *ring;
	void *region;
	struct crash_areas areas;
	struct chain_info chain[CHAINS];
	uint32_t added, completed;
	/* the back-end */
	struct virtqueue *vq;
	struct vq_request *held[RING_MAX];
	unsigned held_count;
	uint32_t last_taken; /* number + 1 */
	struct device_op ops[STAGE_OPS];
	unsigned op_count;
};

/* What the driver knows; its part of what a crash leaves as it was. */
struct driver_state {
	struct fe_ring ring;
	struct fe_slot slots[RING_MAX];
	struct chain_info chain[CHAINS];
	uint32_t added, completed;
};

static unsigned draw(struct world *w, unsigned below)
{
	w->random = w->random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)((w->random >> 33) % below);
}

/* ---- the driver ---------------------------------------------------------------------------- */

static void driver_save(const struct world *w, struct driver_state *state)
{
	state->ring = *w->ring;
	memcpy(state->slots, w->ring->slots, w->size * sizeof(state->slots[0]));
	memcpy(state->chain, w->chain, sizeof(state->chain));
	state->added = w->added;
	state->completed = w->completed;
}

static void driver_load(struct world *w, const struct driver_state *state)
{
	*w->ring = state->ring;
	memcpy(w->ring->slots, state->slots, w->size * sizeof(state->slots[0]));
	memcpy(w->chain, state->chain, sizeof(state->chain));
	w->added = state->added;
	w->completed = state->completed;
}

static bool driver_add(struct world *w)
{
	struct fe_segment segment[SEGMENTS_MAX];
	struct fe_chain chain = {.segments = segment};
	struct chain_info *info = w->chain;

	while (info->out)
		info++;
	chain.count = chain.direct = 1 + draw(w, SEGMENTS_MAX);
	chain.token = info;
	for (uint32_t i = 0; i < chain.count; i++)
		segment[i] = (struct fe_segment){.gpa = info->gpa + i * 16,
			.len = 16,
			.write = i > 0 && i + 1 == chain.count};
	if (fe_ring_add(w->ring, &chain, NULL))
		return false;
	info->out = true;
	info->segments = chain.count;
	info->number = w->added++;
	return true;
}

static void driver_add_some(struct world *w, unsigned count)
{
	bool any = false;

	while (count-- && driver_add(w))
		any = true;
	if (any)
		fe_ring_publish(w->ring);
}

static void driver_take_back(struct world *w)
{
	struct fe_completion completion;
	int rc;

	while ((rc = fe_ring_pop(w->ring, &completion)) == 1) {
		struct chain_info *info = completion.token;

		assert_true(info->out);
		info->out = false;
		w->completed++;
	}
	if (rc)
		fail_msg("%s", w->ring->fault);
}

/* ---- the back-end -------------------------------------------------------------------------- */

static const struct virtqueue_ops life_ops = {.request_size = sizeof(struct vq_request)};

static void life_create(struct world *w)
{
	const struct fe_ring *ring = w->ring;
	const struct virtqueue_config config = {
		.features = VIRTIO_BIT(VIRTIO_F_VERSION_1) |
			    (w->packed ? VIRTIO_BIT(VIRTIO_F_RING_PACKED) : 0),
		.size = (uint16_t)w->size,
		.base = w->packed ? VRING_PACKED_BASE_0 : 0, /* as QEMU says after a crash */
		.descriptors = w->packed ? (void *)ring->packed_desc : ring->desc,
		.driver_area = w->packed ? (void *)ring->driver_event : ring->avail,
		.device_area = w->packed ? (void *)ring->device_event : ring->used,
		.memory = w->table,
		.inflight = w->region,
		.inflight_size = w->desc_num,
		.kick_fd = -1,
		.call_fd = -1,
		.err_fd = -1,
		.name = "ring",
	};
	struct reason reason = {0};

	w->held_count = 0;
	w->last_taken = 0;
	assert_int_equal(virtqueue_create(&life_ops, &config, &reason, &w->vq), 0);
}

static void life_recover(void *arg)
{
	struct world *w = arg;
	struct reason reason = {0};

	if (virtqueue_recover(w->vq, &reason))
		fail_msg("%s", reason.text);
	w->vq->ring->start(w->vq);
}

static void life_begin(struct world *w)
{
	life_create(w);
	life_recover(w);
}

static void life_end(struct world *w)
{
	virtqueue_destroy(w->vq);
	for (unsigned i = 0; i < CHAINS; i++)
		w->chain[i].taken = false;
}

static void life_check(struct world *w, const struct vq_request *request)
{
	uint64_t gpa = fe_memory_gpa(&w->memory, request->iov[0].iov_base);
	struct chain_info *info = &w->chain[(gpa - w->chain[0].gpa) / BUFFER_BYTES];

	assert_int_equal(gpa, info->gpa);
	assert_true(info->out);
	assert_false(info->taken);
	info->taken = true;
	assert_int_equal(request->out_iovs + request->in_iovs, info->segments);
	assert_int_equal(request->in_iovs, info->segments > 1);
	for (uint32_t i = 0; i < info->segments; i++)
		assert_ptr_equal(
			request->iov[i].iov_base, (uint8_t *)request->iov[0].iov_base + i * 16);
	/* In the order of the driver, what was left over first. */
	assert_true(info->number >= w->last_taken);
	w->last_taken = info->number + 1;
}

static bool life_take(struct world *w)
{
	const struct vring_ops *ring = w->vq->ring;
	struct vq_request *request = ring->pop_recovered(w->vq);

	if (!request)
		request = ring->pop(w->vq);
	assert_false(w->vq->broken);
	if (!request)
		return false;
	request->in_flight = VQ_IN_FLIGHT;
	w->held[w->held_count++] = request;
	return true;
}

static void life_give(struct world *w, unsigned pick)
{
	struct vq_request *request = w->held[pick % w->held_count];

	w->held_count--;
	w->held[pick % (w->held_count + 1)] = w->held[w->held_count];
	w->vq->ring->push(w->vq, request, request->in_iovs ? 16 : 0);
	request->in_flight = VQ_IDLE;
}

static void life_run_ops(void *arg)
{
	struct world *w = arg;

	for (unsigned i = 0; i < w->op_count; i++) {
		switch (w->ops[i].kind) {
		case OP_TAKE:
			life_take(w);
			break;
		case OP_GIVE:
			if (w->held_count)
				life_give(w, w->ops[i].pick);
			break;
		case OP_PUBLISH:
			w->vq->ring->publish(w->vq);
			break;
		}
	}
}

static void life_draw_ops(struct world *w)
{
	w->op_count = STAGE_OPS;
	for (unsigned i = 0; i < STAGE_OPS; i++) {
		unsigned dice = draw(w, 8);

		w->ops[i].kind = dice < 4 ? OP_TAKE : dice < 7 ? OP_GIVE : OP_PUBLISH;
		w->ops[i].pick = draw(w, RING_MAX);
	}
}

static unsigned region_marks(const struct world *w)
{
	unsigned marks = 0;

	for (unsigned i = 0; i < w->desc_num; i++) {
		const struct vhost_inflight_packed *packed = w->region;
		const struct vhost_inflight_split *split = w->region;

		marks += w->packed ? packed->entries[i].inflight : split->entries[i].inflight;
	}
	return marks;
}

/* Everything that is out comes back, then some rounds more. */
static void life_finish(struct world *w)
{
	uint32_t goal = w->added + ROUNDS_BEYOND * w->size;

	for (unsigned turns = 0; w->completed < w->added || w->added < goal; turns++) {
		assert_true(turns < 1000);
		for (unsigned takes = 1 + draw(w, RING_MAX); takes && life_take(w); takes--)
			life_check(w, w->held[w->held_count - 1]);
		for (unsigned gives = draw(w, RING_MAX); gives && w->held_count; gives--)
			life_give(w, draw(w, RING_MAX));
		w->vq->ring->publish(w->vq);
		driver_take_back(w);
		for (unsigned i = 0; i < CHAINS; i++)
			w->chain[i].taken &= w->chain[i].out;
		if (w->added < goal)
			driver_add_some(w, draw(w, 3));
	}
	assert_int_equal(w->completed, w->added);
	assert_int_equal(w->held_count, 0);
	assert_int_equal(region_marks(w), 0);
	if (w->packed)
		assert_int_equal(w->vq->ring->base(w->vq), fe_ring_base(w->ring));
}

/* ---- the world ----------------------------------------------------------------------------- */

static void world_memory_create(struct world *w)
{
	const struct fe_region_spec spec = {
		.gpa = MEMORY_GPA, .size = MEMORY_BYTES, .fd = FE_NEW_FILE};
	uint32_t slot;
	uint8_t *buffers;

	fe_memory_init(&w->memory);
	assert_int_equal(fe_memory_add(&w->memory, &spec, &slot), 0);
	w->table = calloc(1, sizeof(*w->table) + sizeof(struct guest_region));
	assert_non_null(w->table);
	w->table->count = 1;
	w->table->regions[0] = (struct guest_region){
		.gpa = spec.gpa, .size = spec.size, .addr = w->memory.region[slot].ptr};
	buffers = fe_memory_alloc(&w->memory, CHAINS * BUFFER_BYTES, BUFFER_BYTES);
	assert_non_null(buffers);
	for (unsigned i = 0; i < CHAINS; i++)
		w->chain[i].gpa = fe_memory_gpa(&w->memory, buffers + i * BUFFER_BYTES);
	w->region =
		mmap(NULL, REGION_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(w->region != MAP_FAILED);
}

static void world_area(struct world *w, void *addr, size_t len)
{
	w->areas.area[w->areas.count].addr = addr;
	w->areas.area[w->areas.count++].len = len;
}

static void world_create(struct world *w, bool packed, uint64_t seed)
{
	struct fe_ring_options options = {.packed = packed};

	memset(w, 0, sizeof(*w));
	w->random = seed;
	w->packed = packed;
	w->size = packed ? 3 + draw(w, 8) : 4u << draw(w, 2);
	w->desc_num = (uint16_t)(w->size + draw(w, 4));
	world_memory_create(w);
	options.size = w->size;
	assert_int_equal(fe_ring_create(&w->memory, &options, &w->ring), 0);
	if (packed) {
		world_area(w, w->ring->packed_desc, 16 * w->size);
		world_area(w, w->ring->device_event, 4);
		world_area(w, w->region, vhost_inflight_packed_stride(w->desc_num));
	} else {
		world_area(w, w->ring->desc, 16 * w->size);
		world_area(w, w->ring->avail, 4 + 2 * w->size);
		world_area(w, w->ring->used, 4 + 8 * w->size);
		world_area(w, w->region, vhost_inflight_split_stride(w->desc_num));
	}
}

static void world_destroy(struct world *w)
{
	fe_ring_destroy(w->ring);
	fe_memory_fini(&w->memory);
	munmap(w->region, REGION_BYTES);
	free(w->table);
}

static void collect(struct world *w, void (*fn)(void *arg), struct crash_points *ret_points)
{
	int rc = crash_points_collect(&w->areas, fn, w, ret_points);

	if (rc == -EPERM)
		skip(); /* ptrace of an own child is forbidden here */
	assert_int_equal(rc, 0);
}

/* ---- lives after death --------------------------------------------------------------------- */

/* meanwhile: the driver goes on while nobody serves it. */
static void live_again(struct world *w, bool meanwhile)
{
	if (meanwhile) {
		driver_take_back(w);
		driver_add_some(w, draw(w, 4));
	}
	life_begin(w);
	life_finish(w);
	life_end(w);
}

/* Each crash point of the recovery as well. */
static void live_again_from_each_recovery(struct world *w, const struct driver_state *driver)
{
	struct crash_points points;

	life_create(w); /* which touches nothing that is shared */
	collect(w, life_recover, &points);
	life_end(w);
	for (unsigned i = 0; i < points.count; i++) {
		crash_points_restore(&w->areas, &points, i);
		driver_load(w, driver);
		live_again(w, i & 1);
	}
	crash_points_free(&points);
}

static unsigned die_everywhere_in_stage(struct world *w, bool in_recovery_too)
{
	uint8_t *before = malloc(crash_areas_bytes(&w->areas));
	struct virtqueue *vq = w->vq;
	struct world *kept = malloc(sizeof(*kept));
	struct crash_points points;
	struct driver_state driver;
	unsigned count;

	driver_save(w, &driver);
	crash_areas_save(&w->areas, before);
	*kept = *w;
	collect(w, life_run_ops, &points);
	for (unsigned i = 0; i < points.count; i++) {
		crash_points_restore(&w->areas, &points, i);
		driver_load(w, &driver);
		live_again(w, i & 1);
		if (!in_recovery_too)
			continue;
		crash_points_restore(&w->areas, &points, i);
		driver_load(w, &driver);
		live_again_from_each_recovery(w, &driver);
	}
	count = points.count;
	crash_points_free(&points);

	/* Nobody died: go on. */
	*w = *kept;
	w->vq = vq;
	driver_load(w, &driver);
	crash_areas_load(&w->areas, before);
	free(kept);
	free(before);
	life_run_ops(w);
	return count;
}

static unsigned die_everywhere(bool packed, uint64_t seed, bool in_recovery_too)
{
	unsigned points = 0;
	struct world w;

	world_create(&w, packed, seed);
	life_begin(&w);
	for (unsigned stage = 0; stage < (in_recovery_too ? STAGES / 2 : STAGES); stage++) {
		driver_take_back(&w);
		driver_add_some(&w, 1 + draw(&w, 4));
		life_draw_ops(&w);
		points += die_everywhere_in_stage(&w, in_recovery_too);
	}
	life_end(&w);
	world_destroy(&w);
	return points;
}

/* Seeds from first on. */
static void die_everywhere_by(bool packed, uint64_t first, unsigned seeds, bool in_recovery_too)
{
	unsigned points = 0;

	for (uint64_t seed = first; seed < first + seeds; seed++)
		points += die_everywhere(packed, seed, in_recovery_too);
	assert_true(points > seeds * STAGES); /* a stage without a store is rare */
}

/* ---- tests --------------------------------------------------------------------------------- */

static void packed_requests_complete_once_wherever_a_back_end_is_killed(void **state)
{
	die_everywhere_by(true, 1, 6, false);
}

static void packed_requests_complete_once_wherever_a_recovery_is_killed(void **state)
{
	die_everywhere_by(true, 100, 1, true);
}

static void split_requests_complete_once_wherever_a_back_end_is_killed(void **state)
{
	die_everywhere_by(false, 1, 6, false);
}

static void split_requests_complete_once_wherever_a_recovery_is_killed(void **state)
{
	die_everywhere_by(false, 100, 1, true);
}

/* The first ring start of all. */
static void a_region_is_whole_wherever_its_initialisation_is_killed(void **state)
{
	for (unsigned packed = 0; packed < 2; packed++) {
		struct driver_state driver;
		struct world w;

		world_create(&w, packed, 7);
		driver_add_some(&w, 2);
		driver_save(&w, &driver);
		live_again_from_each_recovery(&w, &driver);
		world_destroy(&w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_region_is_whole_wherever_its_initialisation_is_killed),
		cmocka_unit_test(packed_requests_complete_once_wherever_a_back_end_is_killed),
		cmocka_unit_test(packed_requests_complete_once_wherever_a_recovery_is_killed),
		cmocka_unit_test(split_requests_complete_once_wherever_a_back_end_is_killed),
		cmocka_unit_test(split_requests_complete_once_wherever_a_recovery_is_killed),
	};

	log_set_level(LOG_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
