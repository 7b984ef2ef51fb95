/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A back-end that dies at any store of fetching, completing and recovering (checklist 48): the next
 * one completes each request exactly once, executes each at least once, repeats in the order of
 * fetching and before anything new, and leaves no record behind.
 *
 * All that survives is in struct machine: ring, queue region, and what the driver knows. The driver
 * is made of whole steps: a copy taken in the middle of one is not looked at, since a back-end's
 * death does not stop the driver.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "queue_world.h"
#include "spec/vhost_inflight.h"
#include "spec/virtio_ring.h"
#include "stepped.h"

#define SIZE     8
#define DESC_NUM 12 /* the region is made for larger rings */
#define REQUESTS 28
#define GPA      0x1000
#define BASE     65530

#define ANSWER_NS 1000 /* a disk takes so long */
#define TURN_NS   1800 /* a driver looks so often */

#define SECOND_DEATH_EVERY 37

struct machine {
	struct vring_desc desc[SIZE];
	struct {
		uint16_t flags;
		uint16_t idx;
		uint16_t ring[SIZE + 1];
	} avail;
	struct {
		uint16_t flags;
		uint16_t idx;
		struct vring_used_elem ring[SIZE];
		uint16_t event;
	} used;
	uint64_t buffers[SIZE]; /* the number of the request that uses it */
	uint8_t region[256] __attribute__((aligned(64)));

	/* the driver's */
	bool in_driver;
	uint16_t used_seen;
	bool busy[SIZE];
	uint8_t completed[REQUESTS];
	uint32_t posted;
	uint32_t seed;

	/* the disk's */
	uint8_t executed[REQUESTS];
};

static_assert(sizeof(((struct machine *)0)->region) >=
		      sizeof(struct vhost_inflight_split) +
			      DESC_NUM * sizeof(struct vhost_inflight_split_entry),
	"the region of the ring");

/* ---- the driver -------------------------------------------------------------------------- */

static uint32_t machine_random(struct machine *machine, uint32_t below)
{
	machine->seed = machine->seed * 1103515245 + 12345;
	return (machine->seed >> 16) % below;
}

static void driver_reap(struct machine *machine)
{
	while (machine->used_seen != machine->used.idx) {
		uint32_t head = machine->used.ring[machine->used_seen % SIZE].id;

		machine->used_seen++;
		assert_true(head < SIZE);
		assert_true(machine->busy[head]);
		assert_true(machine->buffers[head] < REQUESTS);
		machine->busy[head] = false;
		machine->completed[machine->buffers[head]]++;
	}
}

static void driver_post(struct machine *machine)
{
	uint32_t head = machine_random(machine, SIZE);

	if (machine->busy[head] || machine->posted == REQUESTS)
		return;
	machine->busy[head] = true;
	machine->buffers[head] = machine->posted++;
	machine->desc[head] = (struct vring_desc){
		.addr = GPA + offsetof(struct machine, buffers[head]),
		.len = sizeof(machine->buffers[head]),
		.flags = VRING_DESC_F_WRITE,
	};
	machine->avail.ring[machine->avail.idx % SIZE] = (uint16_t)head;
	machine->avail.idx++;
}

static void driver_step(struct machine *machine, unsigned posts)
{
	machine->in_driver = true;
	driver_reap(machine);
	for (unsigned i = 0; i < posts; i++)
		driver_post(machine);
	machine->in_driver = false;
}

static bool driver_has_ended(const struct machine *machine)
{
	for (unsigned i = 0; i < REQUESTS; i++) {
		if (!machine->completed[i])
			return false;
	}
	return true;
}

/* ---- the back-end ------------------------------------------------------------------------ */

struct back_end {
	struct machine *machine;
	struct queue_world world;
	struct guest_memory *table;
	struct vq_request *held[SIZE];
	unsigned held_count;
	struct timer timer;
	uint64_t recovered_last; /* request number + 1 */
	bool took_new;
};

/* At least half of them, in any order. */
static void back_end_answer(struct timer *timer)
{
	struct back_end *back = container_of(timer, struct back_end, timer);
	unsigned count = back->held_count - machine_random(back->machine, back->held_count / 2 + 1);

	while (count--) {
		unsigned pick = machine_random(back->machine, back->held_count);
		struct vq_request *request = back->held[pick];

		back->held[pick] = back->held[--back->held_count];
		virtqueue_push(request, 0);
	}
	if (back->held_count)
		timer_start(back->world.data, timer, ANSWER_NS);
}

static void back_end_handle(struct vq_request *request)
{
	struct back_end *back = virtqueue_device(request->vq);
	const uint64_t *number = request->iov[0].iov_base;

	assert_int_equal(request->in_bytes, sizeof(*number));
	assert_true(*number < REQUESTS);
	if (request->recovered) {
		assert_false(back->took_new);
		assert_true(*number + 1 > back->recovered_last);
		back->recovered_last = *number + 1;
	} else {
		back->took_new = true;
	}
	back->machine->executed[*number]++;
	back->held[back->held_count++] = request;
	if (!timer_is_started(&back->timer))
		timer_start(back->world.data, &back->timer, ANSWER_NS);
}

static const struct virtqueue_ops back_end_ops = {
	.request_size = sizeof(struct vq_request),
	.handle = back_end_handle,
};

static void back_end_create(struct back_end *back, struct machine *machine)
{
	struct world_ring ring = {
		.descriptors = machine->desc,
		.driver_area = &machine->avail,
		.device_area = &machine->used,
		.inflight = machine->region,
		.inflight_size = DESC_NUM,
	};
	const struct world_options options = {
		.seed = 1,
		.own = &ring,
		.size = SIZE,
		.base = BASE, /* of a fresh region; later it does not count */
		.poll_mode = POLL_ALWAYS,
		.ops = &back_end_ops,
		.device = back,
	};
	memset(back, 0, sizeof(*back));
	back->machine = machine;
	back->timer.fired = back_end_answer;
	back->table = calloc(1, sizeof(*back->table) + sizeof(struct guest_region));
	assert_non_null(back->table);
	back->table->count = 1;
	back->table->regions[0] = (struct guest_region){
		.gpa = GPA, .size = sizeof(*machine), .addr = (uint8_t *)machine};
	ring.table = back->table;
	world_create(&back->world, &options);
}

/* Like a session does it. */
static void back_end_start(struct back_end *back)
{
	struct reason reason;
	unsigned recovered;

	if (virtqueue_recover(back->world.vq, &reason))
		fail_msg("%s", reason.text);
	recovered = virtqueue_recovered(back->world.vq);
	world_start(&back->world);
	if (recovered) {
		world_repeat(&back->world);
		world_release(&back->world);
	}
}

static void back_end_serve(struct back_end *back)
{
	struct machine *machine = back->machine;

	for (unsigned turn = 0; turn < 200 && !driver_has_ended(machine); turn++) {
		driver_step(machine, machine_random(machine, 8));
		world_run(&back->world, TURN_NS);
	}
	driver_step(machine, 0);
	world_stop(&back->world);
	world_destroy(&back->world);
	free(back->table);
}

/* ---- what must hold ---------------------------------------------------------------------- */

struct tally {
	unsigned looked;
	unsigned repeated; /* executed twice in all */
	unsigned skipped;
	unsigned second; /* deaths of those that recovered */
	uint16_t used; /* index at the death before */
	unsigned batch_max;
};

static void check_end(const struct machine *machine, struct tally *tally)
{
	const struct vhost_inflight_split *region = (const void *)machine->region;

	for (unsigned i = 0; i < REQUESTS; i++) {
		assert_int_equal(machine->completed[i], 1);
		assert_true(machine->executed[i] >= 1);
		tally->repeated += machine->executed[i] > 1;
	}
	for (unsigned head = 0; head < DESC_NUM; head++)
		assert_int_equal(region->entries[head].inflight, 0);
	assert_int_equal(region->used_idx, machine->used.idx);
}

static void recover(struct machine *machine, struct tally *tally)
{
	struct back_end back;

	back_end_create(&back, machine);
	back_end_start(&back);
	back_end_serve(&back);
	check_end(machine, tally);
}

static void die_again(void *copy, void *arg)
{
	struct machine *machine = copy;
	struct tally *tally = arg;

	if (machine->in_driver)
		return;
	tally->second++;
	recover(machine, tally);
}

static void run_recovery(void *memory)
{
	struct machine *machine = memory;
	struct back_end back;

	back_end_create(&back, machine);
	stepped_begin();
	back_end_start(&back);
	stepped_end();
}

/* The one that recovers dies too, at every store of that. */
static void look_at_second_deaths(const struct machine *machine, struct tally *tally)
{
	struct machine *again = stepped_alloc(sizeof(*again));
	const struct stepped stepped = {
		.memory = again,
		.size = sizeof(*again),
		.run = run_recovery,
		.look = die_again,
		.arg = tally,
	};

	*again = *machine;
	assert_int_equal(stepped_run(&stepped), 0);
	stepped_free(again, sizeof(*again));
}

static void die_and_recover(void *copy, void *arg)
{
	struct machine *machine = copy;
	struct tally *tally = arg;
	uint16_t batch = (uint16_t)(machine->used.idx - tally->used);

	tally->used = machine->used.idx;
	if (batch > tally->batch_max)
		tally->batch_max = batch;
	if (machine->in_driver)
		return;
	if (++tally->looked % SECOND_DEATH_EVERY == 0)
		look_at_second_deaths(machine, tally);
	recover(machine, tally);
}

/* ---- the tests --------------------------------------------------------------------------- */

static void machine_init(struct machine *machine)
{
	memset(machine, 0, sizeof(*machine));
	machine->seed = 12345;
	/* The used index is about to pass its end, and is not where a region begins. */
	machine->avail.idx = machine->used.idx = machine->used_seen = BASE;
}

static void run_all(void *memory)
{
	struct machine *machine = memory;
	struct back_end back;

	back_end_create(&back, machine);
	stepped_begin();
	back_end_start(&back);
	back_end_serve(&back);
	stepped_end();
}

static void death_at_every_store(void **state)
{
	struct machine *machine = stepped_alloc(sizeof(*machine));
	struct tally tally = {.used = BASE};
	const struct stepped stepped = {
		.memory = machine,
		.size = sizeof(*machine),
		.run = run_all,
		.look = die_and_recover,
		.arg = &tally,
	};
	int rc;

	machine_init(machine);
	rc = stepped_run(&stepped);
	if (rc == 0) {
		check_end(machine, &tally);
		print_message("             %u deaths, %u second ones, %u requests repeated, up to "
			      "%u in a batch\n",
			tally.looked, tally.second, tally.repeated, tally.batch_max);
		assert_true(tally.looked > 8 * REQUESTS);
		assert_true(tally.second > 50);
		assert_true(tally.repeated > tally.looked);
		assert_true(tally.batch_max >= 3);
	}
	stepped_free(machine, sizeof(*machine));
	if (rc)
		skip();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		{"a back-end that dies at any store loses nothing and completes nothing twice",
			death_at_every_store, NULL, NULL, NULL},
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
